/**
 * The page's connection to a push server: it comes back by itself, and messages go on where they stopped.
 * Its frames are those of the `tidings.1` subprotocol (docs/wire.md).
 */
import {
  type ChannelState,
  type ClientFrame,
  type ErrorFrame,
  INBOX,
  type Published,
  type ServerFrame,
  SUBPROTOCOL,
  type TransientMessage,
  type Welcome,
  type WireMessage,
  type WirePosition,
} from '../push/talk/wire.ts';
import { Acks } from './acks.ts';
import { Channels } from './channels.ts';
import { Connection } from './connection.ts';
import { Emitter } from './emitter.ts';
import type { ClientEvents, ConnectionState, Message } from './events.ts';
import { Identity, pageStorage, randomId } from './identity.ts';
import type { ConnectOptions, Start } from './options.ts';
import { Publishes } from './publishes.ts';
import { webSocketTransport } from './transport.ts';

/** Before the first message of any log. */
const ORIGIN: WirePosition = { epoch: '', offset: 0, id: '' };

interface Waiting {
  resolve(state: ChannelState): void;
  reject(error: Error): void;
}
interface Topic {
  start: Start | undefined;
  position: WirePosition | undefined;
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
    if (this.#options.ack !== 'manual') this.#acks.add(channel, position);
  });
  readonly #acks: Acks;
  readonly #topics = new Map<string, Topic>();
  /** Topics just left, whose late messages are not for the page any more. */
  readonly #leaving = new Set<string>();
  readonly #publishes = new Publishes((frame) => {
    if (this.#connection.isConnected) this.#send(frame);
  });
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
    this.#acks = new Acks(options.ackDelay ?? 200, (channel, position) =>
      this.#send({ type: 'ack', channel, position }),
    );
    for (const channel of options.topics ?? []) this.#addTopic(channel, {});
    this.#connection = new Connection(
      options,
      url,
      options.plain ? [] : [SUBPROTOCOL],
      options.transport ?? webSocketTransport(options.WebSocket),
      {
        opened: () => this.#greet(),
        received: (data) => this.#received(data),
        ping: () => (options.plain ? this.#connection.send('ping') : this.#send({ type: 'ping' })),
        leave: () => this.#acks.flush(),
        state: (state) => this.#changed(state),
        closed: (event) => this.emit('close', event),
        heartbeat: (roundTrip) => this.emit('heartbeat', { roundTrip }),
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

  /** Connects at once: after `close()`, after giving up, or instead of waiting. Otherwise does nothing. */
  connect(): void {
    this.#connection.connect();
  }

  /** Ends the connection, its timers and its listeners on the page. Publishes without an answer are rejected. */
  close(code = 1000, reason = ''): void {
    this.#acks.flush();
    this.#connection.close(code, reason);
  }

  /**
   * Joins a topic, now and after every reconnect. Resolves when the server has confirmed it; rejects, after
   * an `error` event, when it refuses: then the topic is not asked for again.
   */
  subscribe(
    channel: string,
    options: { start?: Start; position?: WirePosition } = {},
  ): Promise<ChannelState> {
    let topic = this.#topics.get(channel);
    if (topic === undefined) {
      topic = this.#addTopic(channel, options);
      if (this.#connection.isConnected) this.#join(channel, topic);
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
    this.#acks.flush();
    this.#acks.forget(channel);
    this.#channels.forget(channel);
    this.#identity.keep(channel, undefined);
    if (!this.#connection.isConnected) return;
    this.#leaving.add(channel);
    this.#send({ type: 'unsubscribe', channel });
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
    return this.#publishes.add(channel, data, options.idempotencyKey ?? randomId());
  }

  /** This device has dealt with this message and all before it in its channel. */
  ack(message: Pick<Message, 'channel' | 'position'>): void {
    if (message.position !== undefined) this.#acks.add(message.channel, message.position);
  }

  #send(frame: ClientFrame): void {
    this.#connection.send(JSON.stringify(frame));
  }

  // ── from greeting to welcome ───────────────────────────────────────────────────────────────────────

  #greet(): void {
    if (this.#options.plain) {
      this.#connection.established();
      this.#opened({ session: '', instance: '', user: '', channels: {} });
      return;
    }
    const { device } = this.#identity;
    const { start } = this.#options;
    this.#send({
      type: 'hello',
      ...(device !== undefined && { device }),
      ...(start !== undefined && start !== 'beginning' && { start }),
      positions: this.#positions(),
      topics: [...this.#topics].filter(([name, topic]) => this.#inHello(name, topic)).map(([name]) => name),
    });
  }

  /** Of the user's own inbox and the topics asked for; what is kept of others is not this server's business. */
  #positions(): Record<string, WirePosition> {
    const known = { ...this.#identity.positions, ...this.#channels.positions() };
    const positions: Record<string, WirePosition> = {};
    const unknown = this.#options.start === 'beginning' ? ORIGIN : undefined;
    for (const [name, topic] of [[INBOX, undefined] as const, ...this.#topics]) {
      const position = known[name] ?? unknown;
      if (position !== undefined && (topic === undefined || this.#inHello(name, topic)))
        positions[name] = position;
    }
    return positions;
  }

  /** A topic with a beginning of its own is joined by a frame of its own, the first time. */
  #inHello(name: string, topic: Topic): boolean {
    return this.#channels.seen(name) !== undefined || (topic.start ?? topic.position) === undefined;
  }

  #welcomed(frame: Welcome): void {
    if (this.#identity.confirm(frame.user)) {
      this.#channels.clear();
      this.#acks.clear();
      this.#connection.redial();
      return;
    }
    this.#leaving.clear();
    const own = [...this.#topics].filter(([name, topic]) => !this.#inHello(name, topic));
    this.#connection.established(frame.heartbeat?.interval, frame.heartbeat?.timeout);
    this.#opened(frame);
    for (const [name, state] of Object.entries(frame.channels)) this.#begin(name, state);
    for (const [name, topic] of own) if (this.#topics.get(name) === topic) this.#join(name, topic);
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
      if (data !== 'hb_ok') this.emit('message', { channel: '', data: data as Data });
      return;
    }
    let frame: ServerFrame;
    try {
      frame = JSON.parse(data as string);
    } catch {
      // What it was can't be known: come back and continue from the last position.
      this.#connection.lost(1007, 'the server sent something that is not JSON');
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
        this.#leaving.delete(frame.channel);
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
      case 'drain':
        this.#connection.drain(frame.window);
        return;
      case 'error':
        this.#refused(frame);
    }
  }

  #message(frame: WireMessage | TransientMessage): void {
    const { channel } = frame;
    if (this.#leaving.has(channel)) return;
    const data = (frame.encoding === 'base64' ? bytes(frame.data as string) : frame.data) as Data;
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
    const topic = this.#topics.get(channel);
    if (topic !== undefined) {
      topic.state = { position, recovered, ...(reason && { reason }), ...(acked && { acked }) };
      for (const { resolve } of topic.waiting.splice(0)) resolve(topic.state);
    }
    if (recovered) return;
    this.#acks.forget(channel);
    this.emit('gap', { channel, reason, position });
  }

  #refused({ code, message, ref, channel }: ErrorFrame): void {
    const error = Object.assign(new Error(message), { code });
    if (this.#publishes.refused(ref, code, error)) return;
    const topic = channel === undefined ? undefined : this.#topics.get(channel);
    if (topic !== undefined && topic.state === undefined) this.#dropTopic(channel as string, topic, error);
    this.emit('error', { code, message, ...(channel !== undefined && { channel }) });
  }

  // ── topics and state ───────────────────────────────────────────────────────────────────────────────

  #addTopic(channel: string, options: { start?: Start; position?: WirePosition }): Topic {
    const topic = { start: options.start, position: options.position, state: undefined, waiting: [] };
    this.#topics.set(channel, topic);
    return topic;
  }

  #dropTopic(channel: string, topic: Topic, error: Error): void {
    this.#topics.delete(channel);
    for (const { reject } of topic.waiting) reject(error);
  }

  #join(channel: string, topic: Topic): void {
    const start = topic.start ?? this.#options.start;
    const position =
      topic.position ?? this.#identity.positions[channel] ?? (start === 'beginning' ? ORIGIN : undefined);
    this.#send({
      type: 'subscribe',
      channel,
      ...(position !== undefined && { position }),
      ...(start !== undefined && start !== 'beginning' && { start }),
    });
  }

  #changed(state: ConnectionState): void {
    if (state.name !== 'connected') {
      this.#acks.disconnected();
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
}

function bytes(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}
