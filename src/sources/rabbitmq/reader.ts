/**
 * Reads a queue or stream. RabbitMQ counts messages that are not acknowledged yet, but no bytes: so the count is chosen by how
 * large messages are, and chosen anew when that changes. That needs another consumer. A quorum queue puts messages back that are
 * on their way to a consumer that is cancelled, behind others: so that is done only when nothing can be on its way, as all that
 * may be unacknowledged is here, and no acknowledgement leaves meanwhile. Where far too much comes before, the channel is
 * closed: then all of it goes back to its old place.
 */
import type { Intake } from '../driver.ts';
import type { AmqpChannel, AmqpMessage } from './amqplib.ts';
import type { RabbitLink } from './link.ts';

/** Bytes that a message counts besides its body. */
const OVERHEAD = 500;
/** Of how many messages the size is an average, roughly. */
const WEIGHT = 8;
/** Messages at first, as long as nobody knows how large they are. */
const FIRST = 16;
/** The count is chosen anew where it is off by this factor. */
const TOLERANCE = 4;

/** What can be said of a message, once. Where its channel is closed it comes again, and nothing is said. */
export interface Delivery {
  readonly message: AmqpMessage;
  ack(): void;
  reject(): void;
}

export interface ReaderEvents {
  /** Arguments of the consumer, asked for each time that it begins. */
  args(): object;
  message(delivery: Delivery): void;
}

/** A channel with its consumers, one after the other. */
class Consumption {
  isOver = false;
  readonly channel: AmqpChannel;
  /** Acknowledgements that wait. */
  #held: (() => void)[] | undefined;

  constructor(channel: AmqpChannel) {
    this.channel = channel;
  }

  /** @param consumer whose message it is: how many it has that are not acknowledged */
  delivery(message: AmqpMessage, consumer: { count: number }): Delivery {
    const once = (say: () => void): void => {
      if (this.isOver) return;
      if (this.#held !== undefined) {
        this.#held.push(() => once(say));
        return;
      }
      consumer.count--;
      say();
    };
    return {
      message,
      ack: () => once(() => this.channel.ack(message)),
      reject: () => once(() => this.channel.nack(message, false, false)),
    };
  }

  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const say of held) say();
  }
}

export class RabbitReader {
  readonly #link: RabbitLink;
  readonly #queue: string;
  readonly #intake: Intake;
  readonly #events: ReaderEvents;
  /** Whether nobody else reads the queue, so that the consumer may be ended and begun again. */
  readonly #isAlone: boolean;
  #window: number;
  #average: number | undefined;
  #wake: () => void = () => {};
  /** What comes is of a consumer that is to end. */
  #isDropping = false;
  #isTooMuch = false;

  constructor(link: RabbitLink, queue: string, intake: Intake, isAlone: boolean, events: ReaderEvents) {
    this.#link = link;
    this.#queue = queue;
    this.#intake = intake;
    this.#isAlone = isAlone;
    this.#events = events;
    this.#window = isAlone ? Math.min(FIRST, intake.prefetch) : intake.prefetch;
  }

  /** Reads until `signal` is aborted; then no message comes any more. @throws {Error} once the link is lost */
  async read(signal: AbortSignal): Promise<void> {
    const wake = (): void => this.#wake();
    signal.addEventListener('abort', wake);
    try {
      let consumption = new Consumption(await this.#link.channel());
      while (!signal.aborted) {
        await this.#consume(consumption, signal);
        if (signal.aborted) return;
        if (this.#isTooMuch) {
          consumption.isOver = true;
          await this.#link.endOf(consumption.channel);
          consumption = new Consumption(await this.#link.channel());
        }
        if (this.#intake.free.messages <= 0 || this.#isTooMuch) await this.#link.orLost(this.#intake.room());
        // What is still under way was of the consumer before.
        this.#window = Math.max(1, Math.min(this.#wanted(), this.#intake.free.messages));
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  /** Ends the consumer and begins it again with other arguments; what is on its way is dropped. */
  restart(): void {
    this.#isDropping = true;
    this.#wake();
  }

  /** One consumer, from its beginning to its end. */
  async #consume(consumption: Consumption, signal: AbortSignal): Promise<void> {
    const { channel } = consumption;
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#isDropping = false;
    this.#isTooMuch = false;
    await this.#link.answer(channel.prefetch(this.#window), 'how many messages may come');
    const consumer = { count: 0 };
    const { consumerTag } = await this.#link.answer(
      channel.consume(
        this.#queue,
        (message) => {
          if (!consumption.isOver) this.#took(message, consumption, consumer);
        },
        { arguments: this.#events.args() },
      ),
      `reading ${this.#queue}`,
    );
    if (!signal.aborted) await this.#link.orLost(woken);
    if (this.#isTooMuch) return;
    await this.#link.answer(channel.cancel(consumerTag), `pausing ${this.#queue}`);
    consumption.release();
  }

  #took(message: AmqpMessage | null, consumption: Consumption, consumer: { count: number }): void {
    if (message === null) {
      this.#link.fail(
        new Error(`RabbitMQ has ended the consumer: the queue ${this.#queue} was deleted or has moved`),
      );
      return;
    }
    if (this.#isDropping) return;
    consumer.count++;
    this.#events.message(consumption.delivery(message, consumer));
    if (!this.#isAlone) return;
    const size = message.content.length + OVERHEAD;
    this.#average = this.#average === undefined ? size : this.#average + (size - this.#average) / WEIGHT;
    if (this.#intake.free.bytes < -this.#intake.prefetchBytes) {
      this.#isTooMuch = true;
      consumption.isOver = true;
      this.#wake();
    } else if (consumer.count >= this.#window && this.#isOff) {
      consumption.hold();
      this.#wake();
    }
  }

  get #isOff(): boolean {
    const wanted = this.#wanted();
    return wanted >= this.#window * TOLERANCE || wanted * TOLERANCE <= this.#window;
  }

  #wanted(): number {
    const { prefetch, prefetchBytes } = this.#intake;
    if (!this.#isAlone) return prefetch;
    if (this.#average === undefined) return Math.min(FIRST, prefetch);
    return Math.max(1, Math.min(prefetch, Math.floor(prefetchBytes / this.#average)));
  }
}
