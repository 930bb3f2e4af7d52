/** A connection to RabbitMQ, every wait of which has a bound, and that is given up as a whole when any part of it fails. */
import { inTime, TimeoutError, within } from '../../waiting.ts';
import { SourceSetupError } from '../driver.ts';
import { Lifeline } from '../lifeline.ts';
import type { AmqpChannel, AmqpConnection, Amqplib } from './amqplib.ts';

/** Milliseconds for an answer of the server. */
const ANSWER = 15_000;
/** Milliseconds for saying goodbye. */
const GOODBYE = 2_000;

export class RabbitLink extends Lifeline {
  readonly #connection: AmqpConnection;
  #isClosed = false;
  /** Channels that we have closed. */
  readonly #ended = new WeakSet<AmqpChannel>();
  /** Why the server takes nothing more from us for now, such as an alarm of its memory. */
  #blocked: string | undefined;

  private constructor(connection: AmqpConnection) {
    super('RabbitMQ');
    this.#connection = connection;
    connection.on('error', (error: Error) => this.fail(unreadable(error) ?? error));
    connection.on('close', (error?: Error) => {
      this.#isClosed = true;
      this.fail(error ?? new Error('RabbitMQ has closed the connection'));
    });
    connection.on('blocked', (reason: unknown) => {
      this.#blocked = String(reason);
    });
    connection.on('unblocked', () => {
      this.#blocked = undefined;
    });
  }

  /** @throws {Error} where it can't be made */
  static async open(amqplib: Amqplib, url: string, options: object): Promise<RabbitLink> {
    const connecting = amqplib.connect(url, { timeout: ANSWER, ...options });
    try {
      return new RabbitLink(await inTime(ANSWER, connecting));
    } catch (error) {
      // It may still come, and nobody waits for it.
      connecting.then(
        (connection) => {
          connection.on('error', () => {});
          connection.close().catch(() => {});
        },
        () => {},
      );
      throw explained(error);
    }
  }

  protected override trouble(): string {
    return this.#blocked === undefined ? '' : `; it is blocked: ${this.#blocked}`;
  }

  /** A channel whose end is the end of the link. */
  async channel(): Promise<AmqpChannel> {
    const channel = await this.answer(this.#opening(), 'a channel');
    channel.on('error', (error: Error) => this.fail(error));
    channel.on('close', () => {
      if (!this.#ended.has(channel)) this.fail(new Error('RabbitMQ has closed the channel'));
    });
    return channel;
  }

  /** Closes a channel: what is not acknowledged there goes back. */
  async endOf(channel: AmqpChannel): Promise<void> {
    this.#ended.add(channel);
    await this.answer(closed(channel), 'closing a channel');
  }

  /** Does what may fail on a channel of its own, which RabbitMQ closes then. */
  async attempt<T>(what: string, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const channel = await this.answer(this.#opening(), 'a channel');
    channel.on('error', () => {});
    try {
      return await this.answer(work(channel), what);
    } finally {
      await within(GOODBYE, closed(channel));
    }
  }

  /** On a connection that is closed it throws. */
  async #opening(): Promise<AmqpChannel> {
    return this.#connection.createConfirmChannel();
  }

  /** What the queue is; undefined where there is none. */
  async queue(name: string): Promise<{ messageCount: number; consumerCount: number } | undefined> {
    try {
      return await this.attempt(`queue ${name}`, (channel) => channel.checkQueue(name));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.end();
    if (this.#isClosed) return;
    const gone = new Promise((resolve) => this.#connection.once('close', resolve));
    await within(GOODBYE, Promise.race([closed(this.#connection), gone]));
  }
}

/** What is closed already says so by throwing. */
async function closed(what: { close(): Promise<void> }): Promise<void> {
  await what.close();
}

/** `amqplib` gives the connection up over a header of a type that it does not know, and would again the next time. */
function unreadable(error: Error): Error | undefined {
  if (!/^Unexpected type tag/.test(error.message)) return undefined;
  return new Error(
    `amqplib can not read the headers of a message (${error.message}): nothing behind it is read until it is taken out of the queue`,
    { cause: error },
  );
}

export function isNotFound(error: unknown): boolean {
  return (error as { code?: unknown })?.code === 404;
}

function explained(error: unknown): Error {
  if (error instanceof TimeoutError) return new Error('RabbitMQ did not answer in time');
  const text = (error as Error)?.message ?? String(error);
  // What it says of a virtual host that there is not, or that the user may not enter.
  if (text.includes('Expected ConnectionOpenOk'))
    return new SourceSetupError('RabbitMQ has no such virtual host, or the user may not enter it', {
      cause: error,
    });
  if (text.includes('ACCESS_REFUSED')) return new SourceSetupError(`RabbitMQ has refused the login: ${text}`);
  return error instanceof Error ? error : new Error(text);
}
