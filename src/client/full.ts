/** The client with all its parts, but for how it is carried. */
import type { Published } from '../push/talk/wire.ts';
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

export class Client<Data = unknown> extends Core<Data> {
  /** What the user has in his inbox, and what he has done with it. */
  readonly inbox: Inbox<Data>;
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
    this.inbox = createInbox(this.talk, this.#asks) as Inbox<Data>;
  }

  override connect(options: { ticket?: TicketSource } = {}): void {
    super.connect(options);
    if (options.ticket !== undefined && this.state.name === 'connected') this.#renew();
  }

  /**
   * Publishes to a channel, where the application permits it; resolves when the message is stored. Without a
   * connection it waits for one, and where no answer came it asks again with the same idempotency key, so
   * that the message is stored once. Rejects when the server refuses, on `close()`, and with 1,000 under way.
   */
  publish(channel: string, data: unknown, options: { idempotencyKey?: string } = {}): Promise<Published> {
    const { idempotencyKey = randomId() } = options;
    return this.#asks.ask({ type: 'publish', channel, data, idempotencyKey }, `publish to ${channel}`);
  }
}

/**
 * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
 * @throws {TypeError} where `url` is not one; {Error} where there is no WebSocket
 */
export function connect<Data = unknown>(options: ConnectOptions = {}): Client<Data> {
  return new Client<Data>(options);
}

export type * from './core.ts';
export { CloseCode, webSocketTransport } from './core.ts';
export type { Inbox, InboxCounts, InboxEvents, InboxItem, InboxPage } from './inbox.ts';
