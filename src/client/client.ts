/**
 * The page's connection to a push server: it comes back by itself, and messages go on where they stopped. This is the
 * core; `full.ts` adds the rest.
 */
import type { ChannelState, TopicOf } from '../push/talk/wire.ts';
import { Emitter } from './emitter.ts';
import type { ClientEvents, ConnectionState, Message } from './events.ts';
import type { ConnectOptions, TicketSource } from './options.ts';
import { createTalk, type Talk } from './talk.ts';
import type { TopicWishes } from './topics.ts';

/**
 * A page's connection: what `connect` returns.
 *
 * @typeParam Data of all messages, as far as `C` does not say it
 * @typeParam C by channel, what its data are: an interface that extends `Channels`
 */
export class Client<Data = unknown, C = unknown> extends Emitter<ClientEvents<Data, C>> {
  /** What the parts of a client are added to. @internal */
  protected readonly talk: Talk;

  /** @throws {TypeError} where `url` is not one; {Error} where there is no WebSocket */
  constructor(options: ConnectOptions = {}) {
    super();
    this.talk = createTalk(options, (event, value) => this.emit(event, value as never));
    for (const channel of options.topics ?? []) this.subscribe(channel as TopicOf<C>);
    this.talk.connection.connect();
  }

  /** What becomes of the connection at this moment; `state` events bring every change. */
  get state(): ConnectionState {
    return this.talk.connection.state();
  }

  /** The user as the server knows them; before it has said so, the one given or the last one known. */
  get user(): string | undefined {
    return this.talk.identity.user;
  }

  /**
   * The id of this device, by which the server remembers what it has acknowledged. Undefined where it has
   * none.
   */
  get device(): string | undefined {
    return this.talk.identity.device;
  }

  /**
   * Connects at once: after `close()`, after giving up, or instead of waiting. Otherwise does nothing.
   * A `ticket` takes the place of the one given before, in this attempt and all later ones
   */
  connect({ ticket }: { ticket?: TicketSource } = {}): void {
    const { connection } = this.talk;
    if (ticket !== undefined) connection.setTicket(ticket);
    connection.connect();
  }

  /** Ends the connection, its timers and its listeners on the page. What has no answer yet is rejected. */
  close(code = 1000, reason = ''): void {
    this.talk.flush();
    this.talk.connection.close(code, reason);
  }

  /**
   * Joins a topic, now and after every reconnect. Resolves when the server has confirmed it; rejects, after
   * an `error` event, when it refuses: then the topic is not asked for again.
   */
  subscribe(channel: TopicOf<C>, options: TopicWishes = {}): Promise<ChannelState> {
    const { topics, each } = this.talk;
    const promise = topics.subscribe(channel, options);
    each((part) => part.speaks?.());
    // Whoever doesn't look at the promise is told by the error event.
    promise.catch(() => {});
    return promise;
  }

  /** Leaves a topic, now and after every reconnect. Messages of it that are on their way may still come. */
  unsubscribe(channel: TopicOf<C>): void {
    this.talk.topics.unsubscribe(channel);
  }

  /** This device has dealt with this message and all before it in the inbox. Of topics nobody keeps that. */
  ack({ channel, position }: Pick<Message, 'channel' | 'position'>): void {
    if (position) this.talk.ack(channel, position);
  }
}
