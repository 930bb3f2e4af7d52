/**
 * One instance at a time reads a queue or stream, so that the order is kept, and a stream is read on where it was left. Both are
 * in a queue of our own with one message in it: RabbitMQ hands that to one of those who wait for it, and to the next one as soon
 * as the connection of that ends. What the message says is how far the stream was read; with a newer one in the queue, the older
 * one is acknowledged. So it is done from time to time also where nothing has changed: RabbitMQ ends a channel over which a message was
 * not acknowledged for long (`consumer_timeout`).
 */
import { clearInterval, setInterval } from '../../clock.ts';
import type { AmqpChannel, AmqpMessage } from './amqplib.ts';
import type { RabbitLink } from './link.ts';

/** How far a stream was read. */
export interface Place {
  /** How often the stream was found to be another one. */
  generation: number;
  /** Of the last message that is dealt with; not there before the first one. */
  offset?: number;
  /** Of the body of that message: whether it is still the same stream. */
  digest?: string;
  /** Milliseconds since 1970: from where to read before the first one, where not from the beginning. */
  since?: number;
}

/** Milliseconds for which a message is held. */
const RENEWAL = 10_000;
const BEGINNING: Place = { generation: 0 };

export class RabbitLead {
  /** Resolves once this instance leads, with how far the last one came. */
  readonly gained: Promise<Place>;
  readonly #reading: RabbitLink;
  readonly #writing: RabbitLink;
  readonly #queue: string;
  readonly #writer: AmqpChannel;
  #channel!: AmqpChannel;
  #held: { message: AmqpMessage; place: Place } | undefined;
  #gain!: (place: Place) => void;
  #renewal: NodeJS.Timeout | undefined;
  #isRenewing = false;

  private constructor(reading: RabbitLink, writing: RabbitLink, writer: AmqpChannel, queue: string) {
    this.#reading = reading;
    this.#writing = writing;
    this.#writer = writer;
    this.#queue = queue;
    this.gained = new Promise((resolve) => {
      this.#gain = resolve;
    });
  }

  /**
   * Waits in line.
   *
   * @param writing where messages are published: another connection, as RabbitMQ may stop to listen to who publishes
   * @param writer a channel of that
   * @param known how far this process came when it led before, should the queue be lost
   */
  static async enter(
    reading: RabbitLink,
    writing: RabbitLink,
    writer: AmqpChannel,
    queue: string,
    known = BEGINNING,
    renewal = RENEWAL,
  ): Promise<RabbitLead> {
    const lead = new RabbitLead(reading, writing, writer, queue);
    await lead.#enter(known);
    lead.#renewal = setInterval(() => lead.#renew(), renewal);
    return lead;
  }

  /** Call it at the end. Who leads then does so until the connection is closed. */
  leave(): void {
    clearInterval(this.#renewal);
  }

  #renew(): void {
    if (this.#held === undefined || this.#isRenewing) return;
    this.#isRenewing = true;
    this.save(this.#held.place)
      .catch((error) => this.#reading.fail(error))
      .finally(() => {
        this.#isRenewing = false;
      });
  }

  async #enter(known: Place): Promise<void> {
    const found = (await this.#reading.queue(this.#queue)) ?? (await this.#make());
    // Who waits in line has seen to it that there is a message; who has it will put another one in before it is gone.
    if (found.messageCount === 0 && found.consumerCount === 0)
      await this.#writing.answer(this.save(known), `the first message in ${this.#queue}`);
    this.#channel = await this.#reading.channel();
    await this.#reading.answer(
      this.#channel.consume(this.#queue, (message) => this.#took(message), {}),
      `queue ${this.#queue}`,
    );
  }

  async #make(): Promise<{ messageCount: number; consumerCount: number }> {
    try {
      return await this.#reading.attempt(`making the queue ${this.#queue}`, (channel) =>
        channel.assertQueue(this.#queue, { durable: true, arguments: { 'x-single-active-consumer': true } }),
      );
    } catch (error) {
      throw new Error(`the queue ${this.#queue} can't be made: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Resolves when RabbitMQ has it: not before it listens to who publishes. */
  save(place: Place): Promise<void> {
    return new Promise((resolve, reject) => {
      const body = Buffer.from(JSON.stringify(place));
      this.#writer.publish('', this.#queue, body, { persistent: true }, (error) =>
        error ? reject(new Error(`RabbitMQ did not take the position: ${String(error)}`)) : resolve(),
      );
    });
  }

  #took(message: AmqpMessage | null): void {
    if (message === null) {
      this.#reading.fail(new Error(`the queue ${this.#queue} is gone`));
      return;
    }
    const taken = { message, place: placeIn(message.content) };
    const held = this.#held;
    const older = held !== undefined && isBefore(taken.place, held.place) ? taken : held;
    if (older !== taken) this.#held = taken;
    if (older === undefined) this.#gain(taken.place);
    else this.#channel.ack(older.message);
  }
}

/** What is no place is none before which there was one. */
function placeIn(body: Buffer): Place {
  try {
    const { generation, offset, digest, since } = JSON.parse(body.toString()) as Record<string, unknown>;
    return {
      generation: wholeOf(generation) ?? 0,
      ...(wholeOf(offset) !== undefined && { offset: wholeOf(offset)! }),
      ...(typeof digest === 'string' && { digest }),
      ...(wholeOf(since) !== undefined && { since: wholeOf(since)! }),
    };
  } catch {
    // Somebody else has put it into the queue: reading begins anew, and finds stored what is.
    return BEGINNING;
  }
}

function wholeOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

function isBefore(one: Place, other: Place): boolean {
  if (one.generation !== other.generation) return one.generation < other.generation;
  return (one.offset ?? -1) < (other.offset ?? -1);
}
