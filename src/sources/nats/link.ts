/** A connection to NATS, every wait of which has a bound, and what is asked of JetStream over it. */
import { clearTimeout, setTimeout } from '../../clock.ts';
import { within } from '../../waiting.ts';
import { SourceSetupError } from '../driver.ts';
import { Lifeline } from '../lifeline.ts';
import {
  headersOf,
  type JetStream,
  type JetStreamManager,
  type NatsConnection,
  type NatsLibrary,
  type NatsMessage,
} from './library.ts';

/** Milliseconds for connecting, and for saying goodbye. */
export const CONNECTING = 5_000;
const GOODBYE = 2_000;
/** Milliseconds between two signs of life of the server, and after how many of them it counts as lost. */
const HEARTBEAT = 2_000;
const MISSED = 2.5;
const NANOS = 1_000_000;
/** What servers have by default. */
const MAX_PAYLOAD = 1_048_576;

/** What a request for messages asks for. */
export interface Pull {
  stream: string;
  consumer: string;
  messages: number;
  bytes: number;
  /** Milliseconds; left out: only what is there at once. */
  expires?: number;
}

export class NatsLink extends Lifeline {
  readonly library: NatsLibrary;
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly jetstream: JetStream;
  readonly #prefix: string;

  private constructor(
    library: NatsLibrary,
    connection: NatsConnection,
    manager: JetStreamManager,
    domain: string | undefined,
  ) {
    super('NATS');
    this.library = library;
    this.connection = connection;
    this.manager = manager;
    this.#prefix = domain === undefined ? '$JS.API' : `$JS.${domain}.API`;
    this.jetstream = library.jetstream.jetstream(connection, domain === undefined ? {} : { domain });
    connection.closed().then(
      (error) => this.fail(error instanceof Error ? error : new Error('NATS has closed the connection')),
      (error) => this.fail(error),
    );
  }

  /** @throws {Error} where it can't be made, or the server has no JetStream */
  static async open(library: NatsLibrary, options: object, domain: string | undefined): Promise<NatsLink> {
    const { transport, jetstream } = library;
    const connecting = transport.connect({
      reconnect: false,
      timeout: CONNECTING,
      pingInterval: CONNECTING,
      maxPingOut: 2,
      ...options,
    });
    const connection = await connecting.catch((error: Error) => {
      throw /authori[sz]ation|authentication/i.test(`${error.name} ${error.message}`)
        ? new SourceSetupError(`NATS has refused the login: ${error.message}`, { cause: error })
        : error;
    });
    try {
      const manager = await jetstream.jetstreamManager(connection, domain === undefined ? {} : { domain });
      return new NatsLink(library, connection, manager, domain);
    } catch (error) {
      await within(GOODBYE, connection.close());
      throw error;
    }
  }

  /** Bytes that the server takes in one message, headers included. */
  get maxPayload(): number {
    return this.connection.info?.max_payload ?? MAX_PAYLOAD;
  }

  /** Says something of a message to the server. */
  say(reply: string, what: '+ACK' | '-NAK' | '+WPI' | '+TERM'): void {
    try {
      this.connection.publish(reply, what);
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * Asks for messages, until so many have come, or no more come.
   *
   * @param end aborted: it asks no more, and resolves once all that was on its way is here
   * @throws {Error} once the connection is lost, the consumer gone, or the server silent
   */
  pull(
    { stream, consumer, messages, bytes, expires }: Pull,
    take: (message: NatsMessage) => void,
    end: AbortSignal,
  ): Promise<void> {
    const { connection } = this;
    const inbox = this.library.transport.createInbox();
    const pulling = new Promise<void>((resolve, reject) => {
      let came = 0;
      let isOver = false;
      const over = (error?: Error): void => {
        if (isOver) return;
        isOver = true;
        clearTimeout(silence);
        end.removeEventListener('abort', stop);
        // What is on its way would have to be waited for by the next reader.
        subscription.drain().then(() => (error === undefined ? resolve() : reject(error)), reject);
      };
      const stop = (): void => over();
      // First of all: on a connection that is closed it throws.
      const subscription = connection.subscribe(inbox, {
        callback(error, message) {
          if (error !== null) return over(error);
          silence.refresh();
          if (message.subject !== inbox || (headersOf(message)?.code ?? 0) === 0) {
            came++;
            take(message);
            if (came >= messages) over();
            return;
          }
          const { code, description } = message.headers!;
          if (code === 100) return;
          if (code === 404 || code === 408 || (code === 409 && /exceed/i.test(description))) return over();
          over(new Error(`NATS gives nothing of the consumer ${consumer}: ${description} (${code})`));
        },
      });
      const limit = expires === undefined ? HEARTBEAT : HEARTBEAT * MISSED;
      const silence = setTimeout(() => {
        // Without waiting there is no sign of life: what came was all.
        over(expires === undefined ? undefined : new Error('NATS shows no sign of life'));
      }, limit);
      end.addEventListener('abort', stop, { once: true });
      if (end.aborted) return over();
      const request = {
        batch: messages,
        max_bytes: bytes,
        ...(expires === undefined
          ? { no_wait: true }
          : { expires: expires * NANOS, idle_heartbeat: HEARTBEAT * NANOS }),
      };
      const subject = `${this.#prefix}.CONSUMER.MSG.NEXT.${stream}.${consumer}`;
      connection.publish(subject, JSON.stringify(request), { reply: inbox });
    });
    return this.orLost(pulling);
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.end();
    await within(GOODBYE, this.connection.flush());
    await within(GOODBYE, this.connection.close());
  }
}
