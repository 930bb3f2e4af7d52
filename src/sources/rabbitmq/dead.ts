/**
 * Where messages go that can never be stored: as RabbitMQ does not say whether a queue has an exchange for them, and loses
 * those of one that has none, they are published, with the reason in a header, to a queue of our own or an exchange that was
 * named. Only once RabbitMQ has them there, the message itself is acknowledged.
 */
import type { AmqpChannel, AmqpMessage } from './amqplib.ts';
import type { RabbitLink } from './link.ts';

export type DeadPlace =
  | { readonly queue: string }
  /** Without a routing key: the one that the message came with. */
  | { readonly exchange: string; readonly routingKey?: string };

/** Headers that would have it sent to other queues again, perhaps to the one that it comes from. */
const ROUTING = ['CC', 'BCC'];
/** Properties that stay as they were. */
const KEPT = [
  'contentType',
  'contentEncoding',
  'priority',
  'correlationId',
  'replyTo',
  'messageId',
  'timestamp',
  'type',
  'appId',
] as const;

export class RabbitDeadLetters {
  readonly #link: RabbitLink;
  readonly #place: DeadPlace;
  readonly #from: string;
  #channel: Promise<AmqpChannel> | undefined;
  #isThere: Promise<void> | undefined;
  /** One at a time: what comes back as nobody takes it is the one that was just published. */
  #last: Promise<void> = Promise.resolve();

  /**
   * @param link over which nothing is read
   * @param from the queue that the messages come from
   */
  constructor(link: RabbitLink, place: DeadPlace, from: string) {
    this.#link = link;
    this.#place = place;
    this.#from = from;
  }

  /** Resolves when RabbitMQ has it. @throws {Error} where that can't be */
  put(message: AmqpMessage, reason: string): Promise<void> {
    const putting = this.#last.then(() => this.#put(message, reason));
    this.#last = putting.catch(() => {});
    return putting;
  }

  async #put(message: AmqpMessage, reason: string): Promise<void> {
    const place = this.#place;
    if ('queue' in place) {
      this.#isThere ??= this.#make(place.queue);
      await this.#isThere;
      await this.#publish('', place.queue, message, reason);
    } else {
      await this.#publish(place.exchange, place.routingKey ?? message.fields.routingKey, message, reason);
    }
  }

  async #make(queue: string): Promise<void> {
    if ((await this.#link.queue(queue)) !== undefined) return;
    await this.#link.attempt(`making the queue ${queue}`, (channel) =>
      channel.assertQueue(queue, { durable: true }),
    );
  }

  async #publish(exchange: string, routingKey: string, message: AmqpMessage, reason: string): Promise<void> {
    const { fields, properties } = message;
    const own = {
      'x-tidings-reason': reason,
      'x-tidings-queue': this.#from,
      'x-tidings-exchange': fields.exchange,
      'x-tidings-routing-key': fields.routingKey,
    };
    const kept = Object.fromEntries(KEPT.map((name) => [name, properties[name]]));
    const headers = Object.entries(properties.headers ?? {}).filter(([name]) => !ROUTING.includes(name));
    // Headers that fill a frame leave no room for ours, and not all that can be read can be written.
    const ways = [
      { ...kept, headers: { ...Object.fromEntries(headers), ...own } },
      { ...kept, headers: own },
      { headers: own },
    ];
    const what = `a dead letter to ${exchange === '' ? `the queue ${routingKey}` : `the exchange ${exchange}`}`;
    let failure: unknown;
    for (const options of ways) {
      this.#channel ??= this.#link.channel();
      const channel = await this.#channel;
      try {
        const sending = send(channel, exchange, routingKey, message.content, options);
        return await this.#link.answer(sending, what);
      } catch (error) {
        if (!(error instanceof UnwritableError)) throw error;
        failure = error;
        // In some versions of amqplib it waits for a confirmation now that never comes.
        this.#channel = undefined;
        await this.#link.endOf(channel);
      }
    }
    throw failure;
  }
}

/** Resolves when RabbitMQ has it. @throws {UnwritableError}, {Error} where RabbitMQ does not take it, or nobody there */
function send(
  channel: AmqpChannel,
  exchange: string,
  routingKey: string,
  content: Buffer,
  options: object,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let isBack = false;
    const cameBack = (): void => {
      isBack = true;
    };
    channel.once('return', cameBack);
    const done = (error: unknown): void => {
      channel.removeListener('return', cameBack);
      if (error) reject(error instanceof Error ? error : new Error(`RabbitMQ did not take it: ${error}`));
      else if (isBack) reject(new Error('no queue takes it'));
      else resolve();
    };
    try {
      channel.publish(exchange, routingKey, content, { ...options, persistent: true, mandatory: true }, done);
    } catch (error) {
      done(new UnwritableError((error as Error).message, { cause: error }));
    }
  });
}

/** `amqplib` does not take the properties. */
class UnwritableError extends Error {}
