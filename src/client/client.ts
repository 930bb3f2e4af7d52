/**
 * The page's connection to a push server: it comes back by itself, and messages go on where they stopped.
 * Its frames are those of the `tidings.1` subprotocol (docs/wire.md).
 */
import {
  type ChannelState,
  type ClientFrame,
  CloseCode,
  type ErrorFrame,
  INBOX,
  type Published,
  SUBPROTOCOL,
  type TransientMessage,
  type Unsubscribed,
  type Welcome,
  type WireMessage,
  type WirePosition,
} from '../push/talk/wire.ts';
import { Acks } from './acks.ts';
import { Channels } from './channels.ts';
import { Connection } from './connection.ts';
import { Emitter } from './emitter.ts';
import type { ClientEvents, CloseEvent, ConnectionState, Message } from './events.ts';
import { MALFORMED, readFrame, UNKNOWN } from './frames.ts';
import { Identity, pageStorage, randomId } from './identity.ts';
import type { ConnectOptions, Start, Ticket, TicketSource } from './options.ts';
import { Pace } from './pace.ts';
import { Publishes } from './publishes.ts';
import { isFinal, NONSENSE } from './reconnect.ts';
import { webSocketTransport } from './transport.ts';

/** Before the first message of any log. */
const ORIGIN: WirePosition = { epoch: '', offset: 0, id: '' };

/** A server's error frame says no more of a name than this. */
const MAX_NAME = 300;
/** Milliseconds before asking again where the server's store was away. */
const RETRY_DELAY = 2_000;
/** RFC 6455 §7.4.1: a frame of ours was too long. */
const TOO_BIG = 1009;

/** Close codes after which the client stays away, as `error` events call them. */
const FINAL = new Map<number, string>([
  [CloseCode.MALFORMED, 'malformed'],
  [CloseCode.NOT_AUTHENTICATED, 'not-authenticated'],
  [CloseCode.FORBIDDEN, 'forbidden'],
  [CloseCode.REPLACED, 'replaced'],
]);

interface Waiting {
  resolve(state: ChannelState): void;
  reject(error: Error): void;
}
/** Where a topic begins, and what permits it. */
export interface TopicWishes {
  start?: Start;
  position?: WirePosition;
  /** Of `signTopicTicket`; or what gets one, each time that it is needed. */
  ticket?: TicketSource;
  /** Whether `presence` events tell who is on the topic, where the application permits it. */
  presence?: boolean;
}

interface Topic extends TopicWishes {
  /** As the server has confirmed it on this connection. */
  state: ChannelState | undefined;
  waiting: Waiting[];
}

export class Client<Data = unknown> extends Emitter<ClientEvents<Data>> {
  readonly #options: ConnectOptions;
  readonly #identity: Identity;
  readonly #connection: Connection;
  readonly #channels = new Channels((channel, position) => {
    this.#identity.keep(channel, position);
    if (this.#options.ack !== 'manual') this.#ack(channel, position);
  });
  readonly #acks: Acks;
  readonly #topics = new Map<string, Topic>();
  /** Topics that the application has given to this page, which has not asked for them. */
  readonly #given = new Set<string>();
  /** Topics just left, by how many answers are to come: late messages of these are not for the page any more. */
  readonly #leaving = new Map<string, number>();
  readonly #pace = new Pace((text) => this.#connection.send(text));
  readonly #publishes = new Publishes((frame) => {
    if (this.#connection.isConnected) this.#pace.add(frame);
  });
  /** Topics that the hello of this connection names. */
  #greeted = new Set<string>();
  /** Characters that a hello may have, as far as is known; and that this connection's has. */
  #helloLimit = Number.POSITIVE_INFINITY;
  #helloLength = 0;
  #isWelcome = false;
  /** Topics that the server could not join, as its store is away or damaged, and when they are asked for again. */
  readonly #unavailable = new Set<string>();
  #later: ReturnType<typeof setTimeout> | undefined;
  /** Channels that the server's store can't use, as the page was told. */
  readonly #damaged = new Set<string>();
  #resumed = false;

  /** @throws {TypeError} where `url` is not one; {Error} where there is no WebSocket */
  constructor(options: ConnectOptions = {}) {
    super();
    this.#options = options;
    const url = new URL(options.url ?? '/socketServer', globalThis.location?.href);
    url.protocol = url.protocol.replace('http', 'ws');
    url.hash = '';
    if (options.user !== undefined) url.searchParams.set(options.userParameter ?? 'operator', options.user);
    this.#identity = new Identity({
      device: options.device,
      user: options.user,
      storage: options.storage ?? pageStorage(),
      positions: options.positions,
      scope: url.host + url.pathname,
    });
    this.#acks = new Acks(options.ackDelay ?? 200, () => this.#pace.add(() => this.#ackFrame(), true));
    for (const channel of options.topics ?? []) this.subscribe(channel);
    this.#connection = new Connection(
      options,
      url,
      options.plain ? [] : [SUBPROTOCOL],
      options.transport ?? webSocketTransport(options.WebSocket),
      {
        opened: () => this.#greet(),
        received: (data) => this.#received(data),
        ping: () => this.#pace.now(options.plain ? 'ping' : '{"type":"ping"}'),
        leave: () => this.#flush(),
        state: (state) => this.#changed(state),
        closed: (event) => this.#closed(event),
        heartbeat: (roundTrip) => this.emit('heartbeat', { roundTrip }),
        renew: (ticket) => options.plain || this.#send({ type: 'renew', ticket }),
        failed: ({ message }) => this.emit('error', { code: 'connect', message }),
      },
    );
    this.#connection.connect();
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** The user as the server knows them; before it has said so, the one given or the last one known. */
  get user(): string | undefined {
    return this.#identity.user;
  }

  get device(): string | undefined {
    return this.#identity.device;
  }

  /**
   * Connects at once: after `close()`, after giving up, or instead of waiting. Otherwise does nothing.
   * @param options.ticket takes the place of the one given before, in this attempt and all later ones
   */
  connect({ ticket }: { ticket?: TicketSource } = {}): void {
    if (ticket !== undefined) this.#connection.setTicket(ticket);
    this.#connection.connect();
  }

  /** Ends the connection, its timers and its listeners on the page. Publishes without an answer are rejected. */
  close(code = 1000, reason = ''): void {
    this.#flush();
    this.#connection.close(code, reason);
  }

  /**
   * Joins a topic, now and after every reconnect. Resolves when the server has confirmed it; rejects, after
   * an `error` event, when it refuses: then the topic is not asked for again.
   */
  subscribe(channel: string, options: TopicWishes = {}): Promise<ChannelState> {
    let topic = this.#topics.get(channel);
    if (topic === undefined) {
      if (isReserved(channel)) return this.#refuseName(channel);
      topic = { ...options, state: undefined, waiting: [] };
      this.#topics.set(channel, topic);
      if (this.#connection?.isConnected) this.#join(channel, topic);
      else this.#connection?.resume();
    }
    if (topic.state !== undefined) return Promise.resolve(topic.state);
    const { waiting } = topic;
    const promise = new Promise<ChannelState>((resolve, reject) => waiting.push({ resolve, reject }));
    // Whoever doesn't look at the promise is told by the error event.
    promise.catch(() => {});
    return promise;
  }

  unsubscribe(channel: string): void {
    const topic = this.#topics.get(channel);
    if (topic === undefined) return;
    this.#dropTopic(channel, topic, new Error(`unsubscribed from ${channel}`));
    this.#forget(channel);
    if (this.#connection.isConnected) this.#leave(channel);
  }

  /**
   * Publishes to a channel, where the application permits it; resolves when the message is stored. Without a
   * connection it waits for one, and where no answer came it asks again with the same idempotency key, so
   * that the message is stored once. Rejects when the server refuses, on `close()`, and with 1,000 under way.
   */
  publish(channel: string, data: unknown, options: { idempotencyKey?: string } = {}): Promise<Published> {
    const why = this.#options.plain
      ? 'plain mode has no way to'
      : this.state.name === 'closed' && 'the client is closed';
    if (why) return Promise.reject(new Error(`can't publish to ${channel}: ${why}`));
    this.#connection.resume();
    return this.#publishes.add(channel, data, options.idempotencyKey ?? randomId());
  }

  /** This device has dealt with this message and all before it in the inbox. Of topics nobody keeps that. */
  ack({ channel, position }: Pick<Message, 'channel' | 'position'>): void {
    if (position !== undefined) this.#ack(channel, position);
  }

  #ack(channel: string, position: WirePosition): void {
    if (channel !== INBOX || this.device === undefined) return;
    const seen = this.#channels.seen(INBOX);
    // Of a log that is gone, or not from here.
    if (seen?.epoch === position.epoch && position.offset <= seen.offset) this.#acks.add(position);
  }

  #ackFrame(): string | undefined {
    const position = this.#acks.take();
    return position && JSON.stringify({ type: 'ack', channel: INBOX, position } satisfies ClientFrame);
  }

  /** What can't wait for its turn: the page may be about to end. */
  #flush(): void {
    const frame = this.#ackFrame();
    if (frame !== undefined) this.#pace.now(frame);
  }

  #send(frame: ClientFrame): void {
    const text = JSON.stringify(frame);
    this.#pace.add(() => text);
  }

  // ── from greeting to welcome ───────────────────────────────────────────────────────────────────────

  #greet(): void {
    this.#pace.start();
    if (this.#options.plain) {
      this.#connection.established();
      this.#opened({ session: '', instance: '', user: '', channels: {} });
      return;
    }
    const hello = this.#hello();
    this.#helloLength = hello.length;
    this.#pace.now(hello);
  }

  /** Names as many topics as there is room for; the others are joined by frames of their own. */
  #hello(): string {
    const { device } = this.#identity;
    const { start } = this.#options;
    const positions = new Map<string, WirePosition>();
    const own = this.#positionOf(INBOX);
    if (own !== undefined) positions.set(INBOX, own);
    this.#greeted = new Set();
    // Names can have three bytes for a character, and six where JSON escapes them.
    let room = this.#helloLimit - 300;
    for (const [name, topic] of this.#topics) {
      // A topic with a beginning of its own is joined by a frame of its own, the first time; one with a ticket or with
      // presence, always.
      if ((topic.ticket ?? topic.presence) !== undefined) continue;
      if (this.#channels.seen(name) === undefined && (topic.start ?? topic.position) !== undefined) continue;
      const position = this.#positionOf(name);
      room -= JSON.stringify([name, name, position]).length + 2;
      if (room < 0) continue;
      this.#greeted.add(name);
      if (position !== undefined) positions.set(name, position);
    }
    for (const name of this.#given) {
      const position = this.#positionOf(name);
      room -= JSON.stringify([name, position]).length + 1;
      if (room >= 0 && position !== undefined) positions.set(name, position);
    }
    return JSON.stringify({
      type: 'hello',
      ...(device !== undefined && { device }),
      ...(start !== undefined && start !== 'beginning' && { start }),
      positions: Object.fromEntries(positions),
      topics: [...this.#greeted],
    } satisfies ClientFrame);
  }

  /** After which message a channel goes on, as far as this page knows. */
  #positionOf(name: string): WirePosition | undefined {
    const known = this.#channels.seen(name) ?? this.#identity.positions.get(name);
    return known ?? (this.#options.start === 'beginning' ? ORIGIN : undefined);
  }

  #welcomed(frame: Welcome): void {
    if (this.#identity.confirm(frame.user)) {
      this.#channels.clear();
      this.#acks.clear();
      this.#connection.redial();
      return;
    }
    const greeted = this.#greeted;
    this.#isWelcome = true;
    this.#leaving.clear();
    this.#connection.established(frame.heartbeat?.interval, frame.heartbeat?.timeout);
    this.#connection.endsIn(frame.expiresIn);
    this.#opened(frame);
    // Without those that the page has left since it said hello.
    for (const [name, state] of Object.entries(frame.channels))
      if (!greeted.has(name) || this.#topics.has(name)) this.#begin(name, state);
    // A listener may have ended it, and so on.
    if (!this.#connection.isConnected || greeted !== this.#greeted) return;
    for (const name of greeted) if (!this.#topics.has(name)) this.#leave(name);
    for (const [name, topic] of this.#topics) if (!greeted.has(name)) this.#join(name, topic);
    this.#acks.connected();
    this.#publishes.again();
  }

  #opened({
    session,
    instance,
    user,
    channels,
  }: Pick<Welcome, 'session' | 'instance' | 'user' | 'channels'>) {
    const resumed = this.#resumed;
    this.#resumed = true;
    this.emit('open', { session, instance, user, channels, resumed });
  }

  // ── frames ─────────────────────────────────────────────────────────────────────────────────────────

  #received(data: unknown): void {
    if (this.#options.plain) {
      if (data === 'hb_ok') this.#connection.answered();
      else this.emit('message', { channel: '', data: data as Data });
      return;
    }
    const frame = readFrame(data);
    if (frame === UNKNOWN) {
      this.#tell('unknown-type', 'the server sent a frame of a type that this client does not know');
      return;
    }
    const isConnected = this.#connection.isConnected;
    if (frame === MALFORMED || (frame.type === 'welcome' && isConnected)) {
      // What it was can't be known: come back and continue from the last position.
      const message = 'the server sent what is no frame of tidings.1';
      this.#connection.lost(NONSENSE, message);
      this.#tell('malformed', message);
      return;
    }
    switch (frame.type) {
      case 'message':
      case 'transient':
        this.#message(frame);
        return;
      case 'welcome':
        this.#welcomed(frame);
        return;
      case 'subscribed':
      case 'gap':
        if (!this.#leaving.has(frame.channel)) this.#begin(frame.channel, frame);
        return;
      case 'unsubscribed':
        if (frame.reason === undefined || this.#leaving.has(frame.channel)) this.#left(frame.channel);
        else this.#taken(frame.channel, frame.reason);
        return;
      case 'presence':
        if (!this.#leaving.has(frame.channel)) this.emit('presence', frame);
        return;
      case 'acked':
        this.emit('acked', { channel: frame.channel, device: frame.device, position: frame.position });
        return;
      case 'status':
        this.#connection.alive();
        this.emit('status', { behind: frame.behind });
        return;
      case 'published':
        this.#publishes.answered(frame);
        return;
      case 'renewed':
        this.#connection.endsIn(frame.expiresIn);
        return;
      case 'drain':
        this.#connection.drain(frame.window);
        return;
      case 'pong':
        this.#connection.answered();
        return;
      case 'error':
        this.#refused(frame);
    }
  }

  #message(frame: WireMessage | TransientMessage): void {
    const { channel } = frame;
    if (this.#leaving.has(channel)) return;
    const data = frame.data as Data;
    if (frame.type === 'transient') {
      this.emit('message', { channel, data });
      return;
    }
    const { epoch, offset, id, time, reference, unresolved } = frame;
    const position = { epoch, offset, id };
    if (!this.#channels.advance(channel, position)) return;
    const message: Message<Data> = { channel, data, position, id, time };
    if (reference !== undefined) message.reference = reference;
    if (unresolved) message.unresolved = true;
    this.#channels.handed(channel, position, this.emit('message', message));
  }

  /** A channel goes on after this position, with or without something lost before it. */
  #begin(channel: string, state: ChannelState): void {
    const { position, recovered, reason, acked } = state;
    this.#channels.begin(channel, position, recovered);
    this.#damaged.delete(channel);
    const topic = this.#topics.get(channel);
    if (topic === undefined && channel !== INBOX) this.#given.add(channel);
    if (topic !== undefined) {
      topic.state = { position, recovered, ...(reason && { reason }), ...(acked && { acked }) };
      for (const { resolve } of topic.waiting.splice(0)) resolve(topic.state);
    }
    if (recovered) return;
    if (channel === INBOX) this.#acks.clear();
    this.emit('gap', { channel, reason, position });
  }

  #refused({ code, message, ref, channel }: ErrorFrame): void {
    const error = Object.assign(new Error(message), { code });
    if (this.#publishes.refused(ref, code, error)) return;
    if (channel !== undefined && this.#leaving.has(channel)) {
      // The page has left it, and so it does not matter why it could not be had.
      if (code === 'not-subscribed') this.#left(channel);
      return;
    }
    const topic = channel === undefined ? undefined : this.#topics.get(channel);
    if (code === 'damaged' && channel !== undefined) {
      if (topic !== undefined) {
        topic.state = undefined;
        this.#joinLater(channel);
      }
      if (this.#damaged.has(channel)) return;
      this.#damaged.add(channel);
    } else if (topic !== undefined && topic.state === undefined) {
      if (code === 'unavailable') {
        this.#joinLater(channel as string);
        return;
      }
      this.#dropTopic(channel as string, topic, error);
    }
    // The application does not give it any more.
    if (topic === undefined && channel !== undefined && this.#given.has(channel)) {
      this.#taken(channel, 'unsubscribed');
      return;
    }
    const isHello = channel === undefined && this.state.name === 'connecting';
    if (isHello && this.#shrinkHello()) this.#connection.lost(NONSENSE, message, 0);
    else this.#tell(code, message, channel);
  }

  #tell(code: string, message: string, channel?: string): void {
    this.emit('error', { code, message, ...(channel !== undefined && { channel }) });
  }

  /** The server doesn't take a hello as long as this one. False where it can't be made shorter. */
  #shrinkHello(): boolean {
    this.#helloLimit = this.#helloLength / 2;
    return this.#greeted.size > 0;
  }

  // ── topics and state ───────────────────────────────────────────────────────────────────────────────

  #dropTopic(channel: string, topic: Topic, error: Error): void {
    this.#topics.delete(channel);
    for (const { reject } of topic.waiting) reject(error);
  }

  /** Not a name that a frame should carry: no server could say which one it refuses. */
  #refuseName(channel: string): Promise<never> {
    const code = 'bad-channel';
    const name = String(channel).slice(0, MAX_NAME);
    const error = Object.assign(new Error(`not the name of a topic: ${name}`), { code });
    queueMicrotask(() => this.#tell(code, error.message, name));
    const promise = Promise.reject<never>(error);
    promise.catch(() => {});
    return promise;
  }

  #joinLater(channel: string): void {
    this.#unavailable.add(channel);
    this.#later ??= setTimeout(() => {
      this.#later = undefined;
      for (const name of this.#unavailable) {
        const topic = this.#topics.get(name);
        if (topic !== undefined) this.#join(name, topic);
      }
      this.#unavailable.clear();
    }, RETRY_DELAY);
  }

  /** The server has ended the subscription. */
  #taken(channel: string, reason: NonNullable<Unsubscribed['reason']>): void {
    const topic = this.#topics.get(channel);
    if (topic !== undefined) {
      topic.state = undefined;
      if (reason === 'expired' && topic.ticket instanceof Function) {
        this.#join(channel, topic);
        return;
      }
      this.#dropTopic(channel, topic, new Error(reason));
    }
    this.#given.delete(channel);
    this.#forget(channel);
    this.emit('unsubscribed', { channel, reason });
  }

  #forget(channel: string): void {
    this.#channels.forget(channel);
    this.#identity.keep(channel, undefined);
  }

  #leave(channel: string): void {
    this.#leaving.set(channel, (this.#leaving.get(channel) ?? 0) + 1);
    this.#send({ type: 'unsubscribe', channel });
  }

  #left(channel: string): void {
    const more = (this.#leaving.get(channel) ?? 0) - 1;
    if (more > 0) this.#leaving.set(channel, more);
    else this.#leaving.delete(channel);
  }

  #join(channel: string, topic: Topic): void {
    const { ticket } = topic;
    const greeted = this.#greeted;
    const ask = (one: Ticket): void => {
      // On another connection it is asked for anew; and the page may have left it.
      if (greeted !== this.#greeted || !this.#isWelcome || this.#topics.get(channel) !== topic) return;
      const start = topic.start ?? this.#options.start;
      const position =
        this.#channels.seen(channel) ??
        topic.position ??
        this.#identity.positions.get(channel) ??
        (start === 'beginning' ? ORIGIN : undefined);
      this.#send({
        type: 'subscribe',
        channel,
        ...(one && { ticket: one }),
        ...(topic.presence && { presence: true }),
        ...(position && { position }),
        ...(start && start !== 'beginning' && { start }),
      });
    };
    if (typeof ticket !== 'function') ask(ticket);
    else
      Promise.resolve()
        .then(ticket)
        .then(ask, (error: unknown) => {
          this.#tell('ticket', `${error}`, channel);
          this.#joinLater(channel);
        });
  }

  #changed(state: ConnectionState): void {
    if (state.name !== 'connected') {
      this.#acks.disconnected();
      this.#pace.stop();
      this.#unavailable.clear();
      clearTimeout(this.#later);
      this.#later = undefined;
      const code = 'code' in state ? state.code : undefined;
      if (code === CloseCode.RATE_LIMIT) this.#pace.slower();
      if (code === TOO_BIG && !this.#isWelcome) this.#shrinkHello();
      this.#publishes.lost(code === TOO_BIG);
      this.#isWelcome = false;
      for (const topic of this.#topics.values()) topic.state = undefined;
    }
    if (state.name === 'closed') {
      const error = new Error(`the connection is closed: ${state.code} ${state.reason}`.trimEnd());
      const waiting = [...this.#topics.values()].flatMap((topic) => topic.waiting.splice(0));
      for (const { reject } of waiting) reject(error);
      this.#publishes.close(error);
    }
    this.emit('state', state);
  }

  #closed(event: CloseEvent): void {
    this.emit('close', event);
    if (event.willReconnect || !isFinal(event.code)) return;
    const { code, reason } = event;
    if (code !== CloseCode.MALFORMED && code !== CloseCode.REPLACED)
      this.emit('signed-out', { code, reason });
    this.#tell(FINAL.get(code) ?? 'closed', reason || `the server closed with ${code}`);
  }
}

/** Whether a topic can't have this name, whatever the server thinks of it (docs/wire.md, Words). */
function isReserved(name: unknown): boolean {
  return typeof name !== 'string' || name.length > MAX_NAME || /^(?:inbox$|broadcast$|user:)/.test(name);
}
