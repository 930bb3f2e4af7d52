/** What a connection is subscribed to, as it is wanted and as Redis has confirmed it. */
import type { RedisError } from './errors.ts';

/**
 * Gets a message whose payload is bytes[start, end). They are read into again after the call: copy or decode
 * what outlives it.
 */
export type RawListener = (bytes: Buffer, start: number, end: number, channel: string) => void;

/** SUBSCRIBE, PSUBSCRIBE or SSUBSCRIBE. */
export type SubscriptionKind = 'channel' | 'pattern' | 'shard';

/** One name: what is wanted, what Redis has confirmed, and who waits for the two to agree. */
export class Subscription {
  readonly kind: SubscriptionKind;
  readonly name: string;
  listener: RawListener;
  isWanted = true;
  isOn = false;
  isInFlight = false;
  isQueued = false;
  isRestoring = false;
  waiters: { resolve: () => void; reject: (error: RedisError) => void }[] | undefined;

  constructor(kind: SubscriptionKind, name: string, listener: RawListener) {
    this.kind = kind;
    this.name = name;
    this.listener = listener;
  }

  get isSettled(): boolean {
    return this.isOn === this.isWanted && !this.isInFlight;
  }

  /** Returns false if nobody waited. */
  fail(error: RedisError): boolean {
    const { waiters } = this;
    this.waiters = undefined;
    if (waiters !== undefined) for (const waiter of waiters) waiter.reject(error);
    return waiters !== undefined;
  }
}

/** All names, of each kind. */
export class Subscriptions {
  readonly #names = {
    channel: new Map<string, Subscription>(),
    pattern: new Map<string, Subscription>(),
    shard: new Map<string, Subscription>(),
  };

  /** How many names are subscribed to or about to be. */
  get size(): number {
    return this.#names.channel.size + this.#names.pattern.size + this.#names.shard.size;
  }

  get(kind: SubscriptionKind, name: string): Subscription | undefined {
    return this.#names[kind].get(name);
  }

  /** Wants it, with this listener from now on. */
  want(kind: SubscriptionKind, name: string, listener: RawListener): Subscription {
    let subscription = this.#names[kind].get(name);
    if (subscription === undefined) {
      subscription = new Subscription(kind, name, listener);
      this.#names[kind].set(name, subscription);
    }
    subscription.listener = listener;
    subscription.isWanted = true;
    return subscription;
  }

  forget(subscription: Subscription): void {
    const names = this.#names[subscription.kind];
    if (names.get(subscription.name) === subscription) names.delete(subscription.name);
  }

  *[Symbol.iterator](): Generator<Subscription> {
    for (const names of Object.values(this.#names)) yield* names.values();
  }
}
