/** The subscriptions of a Redis Cluster: each at the node that has its slot, and after it where the slot moves. */
import { pause } from '../../waiting.ts';
import { type ClusterMap, REFRESH_PAUSE } from './cluster-map.ts';
import type { ClusterNode } from './cluster-node.ts';
import { type RedisError, RedisReplyError } from './errors.ts';
import { mayPass, redirection } from './redirection.ts';
import { slotOf } from './slots.ts';
import type { RawListener } from './subscription.ts';
import type { TopologyHooks } from './topology.ts';

/** Milliseconds before a refused subscription is asked for again. */
const ASK_AGAIN = 1000;

/** A channel of the bus: which node has its subscription. */
interface Membership {
  slot: number;
  node: ClusterNode | undefined;
  /** Set while the subscription is being put in force somewhere. */
  joining: Promise<void> | undefined;
}

export class ClusterSubscriptions {
  readonly #map: ClusterMap;
  readonly #hooks: TopologyHooks;
  readonly #settled: () => void;
  readonly #memberships = new Map<string, Membership>();
  #joining = 0;
  #isClosed = false;

  /** @param settled is called when none is on its way any more */
  constructor(map: ClusterMap, hooks: TopologyHooks, settled: () => void) {
    this.#map = map;
    this.#hooks = hooks;
    this.#settled = settled;
  }

  /** None is on its way to another node. */
  get isWhole(): boolean {
    return this.#joining === 0;
  }

  async subscribe(busChannel: string): Promise<void> {
    let membership = this.#memberships.get(busChannel);
    if (membership === undefined) {
      membership = { slot: slotOf(busChannel), node: undefined, joining: undefined };
      this.#memberships.set(busChannel, membership);
    }
    try {
      await this.#join(busChannel, membership);
    } catch (error) {
      if (this.#memberships.get(busChannel) === membership) this.#memberships.delete(busChannel);
      throw error;
    }
  }

  async unsubscribe(busChannel: string): Promise<void> {
    const membership = this.#memberships.get(busChannel);
    this.#memberships.delete(busChannel);
    await membership?.node?.subscriber.unsubscribe(this.#kind, busChannel);
  }

  /** The map has changed. */
  follow(): void {
    for (const [busChannel, membership] of this.#memberships) {
      if (membership.node !== this.#map.of(membership.slot)) void this.#rejoin(busChannel, membership);
    }
  }

  /** A node has ended one. */
  ended(busChannel: string): void {
    const membership = this.#memberships.get(busChannel);
    if (membership === undefined) return;
    void this.#rejoin(busChannel, membership);
  }

  close(): void {
    this.#isClosed = true;
    this.#memberships.clear();
  }

  get #kind(): 'shard' | 'channel' {
    return this.#map.publishCommand === 'SPUBLISH' ? 'shard' : 'channel';
  }

  #join(busChannel: string, membership: Membership): Promise<void> {
    membership.joining ??= this.#subscribeSomewhere(busChannel, membership).finally(() => {
      membership.joining = undefined;
    });
    return membership.joining;
  }

  /** Until it is in force at the node that has the slot, or is no longer wanted. */
  async #subscribeSomewhere(busChannel: string, membership: Membership): Promise<void> {
    while (!this.#isClosed && this.#memberships.get(busChannel) === membership) {
      const node = this.#map.of(membership.slot);
      try {
        if (node !== undefined) {
          membership.node = node;
          await node.subscriber.subscribe(this.#kind, busChannel, this.#message);
          if (this.#map.of(membership.slot) === node) return;
          void node.subscriber.unsubscribe(this.#kind, busChannel);
          continue;
        }
      } catch (error) {
        const isMoved = error instanceof RedisReplyError && redirection(error, node) !== undefined;
        const isPassing = isMoved || mayPass(error) || (error as RedisError).code === 'REDIS_CLOSED';
        if (!isPassing) throw error;
      }
      membership.node = undefined;
      await this.#map.refresh();
      await pause(REFRESH_PAUSE);
    }
  }

  /** Moves a subscription to the node that has its slot now. In between, messages may be missed. */
  async #rejoin(busChannel: string, membership: Membership): Promise<void> {
    if (membership.joining !== undefined) return;
    this.#hooks.moving(busChannel);
    void membership.node?.subscriber.unsubscribe(this.#kind, busChannel);
    membership.node = undefined;
    this.#joining++;
    try {
      while (!(await this.#isJoined(busChannel, membership))) await pause(ASK_AGAIN);
      this.#hooks.missed(busChannel);
    } finally {
      this.#joining--;
      this.#settled();
    }
  }

  /**
   * Whether it is in force again, or no longer wanted. One that Redis refuses, as its ACL has changed, is a loss of the
   * store until it is allowed.
   */
  async #isJoined(busChannel: string, membership: Membership): Promise<boolean> {
    try {
      await this.#join(busChannel, membership);
      return true;
    } catch (error) {
      if (this.#isClosed || this.#memberships.get(busChannel) !== membership) return true;
      this.#hooks.lost(error as RedisError);
      return false;
    }
  }

  readonly #message: RawListener = (bytes, start, end, busChannel) => {
    this.#hooks.message(busChannel, bytes, start, end);
  };
}
