/**
 * The subscriptions of one connection, kept in force over its losses. Names are subscribed to in batches, with
 * a bounded number unconfirmed, so that 100,000 of them block neither Redis nor this process.
 */
import { nextTick } from '../../clock.ts';
import { Queue } from '../../queue.ts';
import { RedisError, RedisReplyError } from './errors.ts';
import { type LinkOwner, type LinkSettings, RedisLink } from './link.ts';
import type { ResolvedRedisOptions } from './options.ts';
import { rethrow } from './reply-handlers.ts';
import type { MessageKind, RespReply } from './resp-reader.ts';
import { type RawListener, type Subscription, type SubscriptionKind, Subscriptions } from './subscription.ts';

/** What the user of a subscriber is told besides messages. */
export interface SubscriberHooks {
  /** The connection was lost: messages are missing from here on. */
  down?(error: RedisError): void;
  /** Connected, and every subscription is in force (again). */
  up?(): void;
  /** An attempt to connect failed. */
  retry?(error: RedisError): void;
  /**
   * A subscription is no longer in force and was forgotten, because Redis refuses it (ACL) or its slot has
   * moved to another node.
   */
  ended?(name: string, error: RedisError): void;
  /** A message of more bytes than `maxReplySize` came on this channel, or for this pattern, and was passed over. */
  missed?(name: string, limit: number): void;
}

const COMMANDS = {
  channel: ['SUBSCRIBE', 'UNSUBSCRIBE'],
  pattern: ['PSUBSCRIBE', 'PUNSUBSCRIBE'],
  shard: ['SSUBSCRIBE', 'SUNSUBSCRIBE'],
} as const;

/** Names in one command. */
const BATCH = 500;
/** Commands under way while which names are collected, for the next command to have them all. */
const AT_ONCE = 2;
/** Names asked for and not yet confirmed. */
const WINDOW = 10_000;

export class RespSubscriber implements LinkOwner {
  readonly #hooks: SubscriberHooks;
  readonly #link: RedisLink;
  readonly #names = new Subscriptions();
  /** Those whose state in Redis may not be what is wanted. */
  #changed = new Queue<Subscription>();
  #isPumpScheduled = false;
  /** Commands whose confirmations are awaited, in order. */
  #requests = new Queue<Request>();
  #unconfirmed = 0;
  /** Subscriptions that this connection has still to put in force again. */
  #restoring = 0;
  #isUp = false;

  constructor(
    options: ResolvedRedisOptions,
    hooks: SubscriberHooks = {},
    settings: Pick<LinkSettings, 'locate' | 'role'> = {},
  ) {
    this.#hooks = hooks;
    this.#link = new RedisLink(this, options, { ...settings, isSubscriber: true });
  }

  get address(): string {
    return this.#link.address;
  }

  /** True while every subscription is in force. */
  get isUp(): boolean {
    return this.#isUp;
  }

  /** How many names are subscribed to or about to be. */
  get size(): number {
    return this.#names.size;
  }

  connect(): void {
    this.#link.connect();
  }

  /**
   * Resolves when all are in force. Subscribing again to a name replaces its listener.
   *
   * @throws {RedisReplyError} if Redis refuses one; `RedisError` `REDIS_CLOSED`
   */
  subscribe(kind: SubscriptionKind, names: string | readonly string[], listener: RawListener): Promise<void> {
    if (this.#link.isClosed) return Promise.reject(this.#closedError());
    this.#link.connect();
    return forEach(names, (name) => this.#settle(this.#names.want(kind, name, listener)));
  }

  /** Resolves, never rejects, when none of them is in force. Their listeners are not called from now on. */
  unsubscribe(kind: SubscriptionKind, names: string | readonly string[]): Promise<void> {
    return forEach(names, (name) => {
      const subscription = this.#names.get(kind, name);
      if (subscription === undefined) return SETTLED;
      subscription.isWanted = false;
      return this.#settle(subscription);
    });
  }

  /** Drops the connection and makes another, for one that answers but must not be used. */
  reconnect(reason: string): void {
    this.#link.replace(new RedisError('REDIS_CONNECTION', `Redis at ${this.address} ${reason}`));
  }

  async close(): Promise<void> {
    this.#link.close();
    this.#isUp = false;
    const error = this.#closedError();
    for (const subscription of this.#names) {
      // What was to end has ended.
      if (subscription.isWanted) subscription.fail(error);
      else this.#done(subscription);
      this.#names.forget(subscription);
    }
    this.#changed = new Queue();
  }

  // ── bringing Redis to what is wanted ──

  #settle(subscription: Subscription): Promise<void> {
    if (subscription.isSettled) {
      if (!subscription.isWanted) this.#names.forget(subscription);
      return SETTLED;
    }
    this.#change(subscription);
    return new Promise((resolve, reject) => {
      subscription.waiters ??= [];
      subscription.waiters.push({ resolve, reject });
    });
  }

  #change(subscription: Subscription): void {
    if (subscription.isQueued || subscription.isInFlight) return;
    subscription.isQueued = true;
    this.#changed.add(subscription);
    this.#schedule();
  }

  /** Few commands are sent where there is much to do, and nobody waits where there is little. */
  #schedule(): void {
    if (this.#isPumpScheduled || this.#changed.length === 0 || !this.#link.isReady) return;
    const isFull = this.#changed.length >= BATCH && this.#unconfirmed <= WINDOW / 2;
    if (this.#requests.length >= AT_ONCE && !isFull) return;
    this.#isPumpScheduled = true;
    nextTick(() => this.#pump());
  }

  #pump(): void {
    this.#isPumpScheduled = false;
    if (!this.#link.isReady || this.#unconfirmed >= WINDOW) return;
    const taken: Subscription[] = [];
    while (this.#changed.length > 0 && this.#unconfirmed + taken.length < WINDOW)
      taken.push(this.#changed.take()!);
    for (const kind of ['channel', 'pattern', 'shard'] as const) {
      for (const isOn of [true, false]) {
        const due = taken.filter((s) => s.kind === kind && s.isWanted === isOn);
        // In a Cluster the names of one SSUBSCRIBE must share a slot.
        const size = kind === 'shard' ? 1 : BATCH;
        for (let i = 0; i < due.length; i += size) this.#request(kind, isOn, due.slice(i, i + size));
      }
    }
  }

  #request(kind: SubscriptionKind, isOn: boolean, due: Subscription[]): void {
    const subscriptions = due.filter((subscription) => {
      subscription.isQueued = false;
      if (subscription.isOn !== isOn) return true;
      this.#done(subscription);
      return false;
    });
    if (subscriptions.length === 0) return;
    for (const subscription of subscriptions) subscription.isInFlight = true;
    this.#unconfirmed += subscriptions.length;
    this.#requests.add({ kind, isOn, subscriptions, confirmed: 0 });
    this.#link.send([COMMANDS[kind][isOn ? 0 : 1], ...subscriptions.map((s) => s.name)]);
  }

  #confirmed(subscription: Subscription, isOn: boolean): void {
    this.#unconfirmed--;
    subscription.isInFlight = false;
    subscription.isOn = isOn;
    if (subscription.isWanted === isOn) this.#done(subscription);
    else this.#change(subscription);
  }

  #done(subscription: Subscription): void {
    if (!subscription.isWanted) this.#names.forget(subscription);
    const { waiters } = subscription;
    subscription.waiters = undefined;
    if (waiters !== undefined) for (const waiter of waiters) waiter.resolve();
    this.#restored(subscription);
  }

  #restored(subscription: Subscription): void {
    if (!subscription.isRestoring) return;
    subscription.isRestoring = false;
    this.#restoring--;
    if (this.#restoring === 0) this.#up();
  }

  #up(): void {
    this.#isUp = true;
    this.#hooks.up?.();
  }

  #ended(subscription: Subscription, error: RedisError): void {
    this.#names.forget(subscription);
    const wasAwaited = subscription.fail(error);
    if (!wasAwaited && subscription.isWanted) this.#hooks.ended?.(subscription.name, error);
    this.#restored(subscription);
  }

  #closedError(): RedisError {
    return new RedisError('REDIS_CLOSED', `the client of Redis at ${this.address} is closed`);
  }

  // ── what the link tells ──

  /** @internal */
  ready(): void {
    this.#requests = new Queue();
    this.#unconfirmed = 0;
    this.#changed = new Queue();
    this.#restoring = 0;
    for (const subscription of this.#names) {
      subscription.isOn = false;
      subscription.isInFlight = false;
      subscription.isQueued = false;
      subscription.isRestoring = subscription.isWanted;
      if (subscription.isWanted) {
        this.#restoring++;
        this.#change(subscription);
      } else {
        this.#done(subscription);
      }
    }
    if (this.#restoring === 0) this.#up();
  }

  /** @internal */
  lost(error: RedisError): void {
    this.#isUp = false;
    // What is no longer wanted needs no connection to be settled.
    for (const subscription of this.#names) {
      subscription.isOn = false;
      subscription.isInFlight = false;
      subscription.isRestoring = false;
      if (!subscription.isWanted) this.#done(subscription);
    }
    this.#hooks.down?.(error);
  }

  /** @internal */
  failed(error: RedisError): void {
    this.#hooks.retry?.(error);
  }

  /** @internal */
  probe(): void {
    this.#requests.add(PING);
    this.#link.send(['PING']);
  }

  /** @internal */
  reply(value: RespReply): void {
    const kind = Array.isArray(value) ? String(value[0]) : 'pong';
    const request = this.#requests.first;
    if (kind === 'pong') {
      if (request === PING) this.#requests.take();
      this.#schedule();
      return;
    }
    const name = String((value as RespReply[])[1]);
    const expected = request?.subscriptions[request.confirmed];
    if (request === undefined || expected?.name !== name || !matches(kind, request)) {
      // Nobody asked: the slot of a sharded channel has moved.
      const subscription = kind === 'sunsubscribe' ? this.#names.get('shard', name) : undefined;
      if (subscription?.isOn && !subscription.isInFlight) {
        subscription.isOn = false;
        const what = `Redis at ${this.address} ended the subscription to ${name}: its slot has moved`;
        this.#ended(subscription, new RedisError('REDIS_CONNECTION', what));
      }
      return;
    }
    request.confirmed++;
    if (request.confirmed === request.subscriptions.length) this.#requests.take();
    this.#confirmed(expected, request.isOn);
    this.#schedule();
  }

  /** @internal */
  replyError(message: string): void {
    const request = this.#requests.take();
    if (request === undefined) {
      // A server that is about to hang up says why.
      this.reconnect(`said: ${message}`);
      return;
    }
    const { kind, isOn, subscriptions, confirmed } = request;
    const refused = subscriptions.slice(confirmed);
    this.#unconfirmed -= refused.length;
    for (const subscription of refused) subscription.isInFlight = false;
    if (refused.length > 1) {
      // Which of the names it was shows when they are asked for one by one.
      for (const subscription of refused) this.#request(kind, isOn, [subscription]);
      return;
    }
    for (const subscription of refused) {
      subscription.isOn = false;
      if (subscription.isWanted) this.#ended(subscription, new RedisReplyError(message, COMMANDS[kind][0]));
      else this.#done(subscription);
    }
    this.#schedule();
  }

  /** @internal */
  replyTooLong(limit: number): void {
    this.reconnect(`answered a subscription with more than ${limit} bytes`);
  }

  /** @internal */
  messageTooLong(_kind: MessageKind, name: string, limit: number): void {
    this.#hooks.missed?.(name, limit);
  }

  /** @internal */
  wantsBuffers(): boolean {
    return false;
  }

  /** @internal */
  message(
    kind: MessageKind,
    channel: string,
    bytes: Buffer,
    start: number,
    end: number,
    pattern: string,
  ): void {
    const subscription =
      kind === 'message'
        ? this.#names.get('channel', channel)
        : kind === 'smessage'
          ? this.#names.get('shard', channel)
          : this.#names.get('pattern', pattern);
    if (subscription === undefined || !subscription.isWanted) return;
    try {
      subscription.listener(bytes, start, end, channel);
    } catch (error) {
      rethrow(error);
    }
  }
}

interface Request {
  kind: SubscriptionKind;
  isOn: boolean;
  subscriptions: Subscription[];
  /** How many of them are confirmed; Redis confirms in the order of the names. */
  confirmed: number;
}

/** Stands among the requests for a PING. */
const PING: Request = { kind: 'channel', isOn: true, subscriptions: [], confirmed: 0 };

function matches(kind: string, request: Request): boolean {
  return kind === COMMANDS[request.kind][request.isOn ? 0 : 1].toLowerCase();
}

const SETTLED = Promise.resolve();

async function forEach(
  names: string | readonly string[],
  settle: (name: string) => Promise<void>,
): Promise<void> {
  if (typeof names === 'string') return settle(names);
  await Promise.all(names.map(settle));
}
