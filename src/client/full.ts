/** The client with all its parts, but for how it is carried. */
import type { Channels, DataOf, Published, TopicOf } from '../push/talk/wire.ts';
import { type Asks, createAsks } from './asks.ts';
import { Client as Core } from './client.ts';
import { addHiding } from './hiding.ts';
import { randomId } from './identity.ts';
import { createInbox, type Inbox } from './inbox.ts';
import { addLongHello } from './long-hello.ts';
import type { ConnectOptions, TicketSource } from './options.ts';
import { addPace } from './pace.ts';
import { addPositions } from './positions.ts';
import { addPresence } from './presence.ts';
import { addRenewal } from './renewal.ts';
import { addSleep } from './sleep.ts';

/**
 * A page's connection: what `connect` returns.
 *
 * @typeParam Data of all messages, as far as `C` does not say it
 * @typeParam C by channel, what its data are: an interface that extends `Channels`
 */
export class Client<Data = unknown, C = unknown> extends Core<Data, C> {
  /** What the user has in his inbox, and what he has done with it. */
  readonly inbox: Inbox<InboxData<Data, C>>;
  readonly #asks: Asks;
  readonly #renew: () => Promise<void>;

  /** @throws {TypeError} where `url` is not one; {Error} where there is no WebSocket */
  constructor(options: ConnectOptions = {}) {
    super(options);
    addPace(this.talk);
    addLongHello(this.talk);
    addPresence(this.talk);
    addPositions(this.talk, options.positions);
    this.#renew = addRenewal(this.talk);
    addHiding(this.talk);
    addSleep(this.talk);
    this.#asks = createAsks(this.talk);
    options.transport?.lazily?.(this.talk);
    this.inbox = createInbox(this.talk, this.#asks) as Inbox<InboxData<Data, C>>;
  }

  /**
   * Connects at once: after `close()`, after giving up, or instead of waiting. Where it is connected, a
   * ticket renews the session.
   */
  override connect(options: { ticket?: TicketSource } = {}): void {
    super.connect(options);
    if (options.ticket !== undefined && this.state.name === 'connected') this.#renew();
  }

  /**
   * Publishes to a channel, where the application permits it; resolves when the message is stored. Without a
   * connection it waits for one, and where no answer came it asks again with the same idempotency key, so
   * that the message is stored once. Rejects when the server refuses, on `close()`, and with 1,000 under way.
   * With `ttl` the message is gone so many milliseconds after it was stored; with `replaces`, a key, it takes the place of
   * the newest one that this user has published there with the same key.
   */
  publish<Name extends TopicOf<C>>(
    channel: Name,
    data: DataOf<C, Name>,
    options: PublishOptions = {},
  ): Promise<Published> {
    const { idempotencyKey = randomId() } = options;
    const frame = { ...options, type: 'publish', channel, data, idempotencyKey };
    return this.#asks.ask(frame, `publish to ${channel}`);
  }
}

/** What `publish` takes. */
export interface PublishOptions {
  /** The same key on the same channel stores the message once. Default: a random one for each call. */
  idempotencyKey?: string;
  /** Milliseconds. */
  ttl?: number;
  /** 1 to 256 characters. */
  replaces?: string;
}

/** The type of what `connect` returns: `T` is the type of all data, or an interface that extends `Channels`. */
export type ClientOf<T> = T extends Channels ? Client<unknown, T> : Client<T>;
type InboxData<Data, C> = C extends Channels ? DataOf<C, 'inbox'> : Data;

/**
 * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
 * @throws {TypeError} where `url` is not one; {Error} where there is no WebSocket
 */
export function connect<T = unknown>(options: ConnectOptions = {}): ClientOf<T> {
  return new Client(options) as unknown as ClientOf<T>;
}

export type * from './core.ts';
export { CloseCode, webSocketTransport } from './core.ts';
export type { Inbox, InboxCounts, InboxEvents, InboxItem, InboxPage } from './inbox.ts';
