/**
 * A Redis Cluster: commands on their way to the master of their slot (cluster-map.ts), and the redirections by which
 * the Cluster corrects the map.
 */
import { retry } from '../../waiting.ts';
import { ClusterMap, REFRESH_PAUSE } from './cluster-map.ts';
import type { ClusterNode } from './cluster-node.ts';
import { ClusterSubscriptions } from './cluster-subscriptions.ts';
import { RedisError } from './errors.ts';
import {
  describeEndpoint,
  type RedisOptions,
  type ResolvedRedisOptions,
  resolveRedisOptions,
} from './options.ts';
import { ask, isTryAgain, mayPass, redirection } from './redirection.ts';
import type { Replicated } from './replication.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';
import { slotOf } from './slots.ts';
import type { RedisTopology, ScriptCall, TopologyHooks } from './topology.ts';
import { transaction } from './transaction.ts';

/** A Redis Cluster. */
export interface ClusterTarget {
  /** Some of its nodes: URLs or options. The others are found through them. User, password and TLS are shared. */
  cluster: readonly (string | RedisOptions)[];
}

/** Redirections of one command before it counts as failed. */
const MAX_REDIRECTIONS = 16;

export class ClusterTopology implements RedisTopology {
  readonly database = 0;
  readonly #options: ResolvedRedisOptions;
  readonly #map: ClusterMap;
  #subscriptions: ClusterSubscriptions | undefined;
  #hooks: TopologyHooks | undefined;
  #isClosed = false;

  /** @throws {TypeError} if there is no node, or a URL can't be read */
  constructor({ cluster }: ClusterTarget, options: RedisOptions = {}) {
    if (cluster.length === 0) throw new TypeError('a Cluster needs the address of at least one node');
    const seeds = cluster.map((seed) => resolveRedisOptions(seed, options));
    this.#options = seeds[0]!;
    this.#map = new ClusterMap(seeds, {
      settled: () => this.#settle(),
      changed: () => {
        this.#subscriptions!.follow();
        this.#settle();
      },
      lost: (error) => this.#hooks!.lost(error),
      ended: (busChannel) => this.#subscriptions!.ended(busChannel),
      missed: (busChannel) => this.#hooks!.missed(busChannel),
    });
  }

  get publishCommand(): 'PUBLISH' | 'SPUBLISH' {
    return this.#map.publishCommand;
  }

  get address(): string {
    return `the Cluster of ${describeEndpoint(this.#options)}`;
  }

  acceptReplies(bytes: number): void {
    this.#options.maxReplySize = bytes;
    for (const node of this.#map.nodes) node.acceptReplies(bytes);
  }

  open(hooks: TopologyHooks): void {
    this.#hooks = hooks;
    this.#subscriptions = new ClusterSubscriptions(this.#map, hooks, () => this.#settle());
    this.#map.open();
  }

  evaluate({ script, keys, args, returnBuffers }: ScriptCall): Promise<RespReply> {
    return this.#route(keys[0]!, (node, isAsking) => {
      // By its text where ASKING must come right before it: the repetition after NOSCRIPT would be without.
      if (isAsking)
        return ask(node.client, ['EVAL', script.source, keys.length, ...keys, ...args], returnBuffers);
      return returnBuffers === true
        ? node.client.evaluateBuffers(script, keys, args)
        : node.client.evaluate(script, keys, args);
    });
  }

  command(key: string, args: readonly [string, ...RespArgument[]]): Promise<RespReply> {
    const [name, ...rest] = args;
    return this.#route(key, (node, isAsking) =>
      isAsking ? ask(node.client, args) : node.client.command(name, ...rest),
    );
  }

  commandBuffers(key: string, args: readonly [string, ...RespArgument[]]): Promise<RespReply> {
    const [name, ...rest] = args;
    return this.#route(key, (node, isAsking) =>
      isAsking ? ask(node.client, args, true) : node.client.commandBuffers(name, ...rest),
    );
  }

  slotOf(key: string): number {
    return slotOf(key);
  }

  transaction(
    key: string,
    commands: readonly (readonly [string, ...RespArgument[]])[],
  ): Promise<RespReply[]> {
    return this.#route(key, (node, isAsking) => transaction(node.client, commands, isAsking));
  }

  replicated(written: Replicated, replicas: number, timeout: number): Promise<number> {
    return this.#route(written.key, (node) => node.replication.confirm(written, replicas, timeout));
  }

  blocking(purpose: string, key: string, args: readonly [string, ...RespArgument[]]): Promise<RespReply> {
    const [name, ...rest] = args;
    return this.#route(key, (node, isAsking) => {
      const client = node.dedicated(purpose);
      return isAsking ? ask(client, args, true) : client.commandBuffers(name, ...rest);
    });
  }

  subscribe(busChannel: string): Promise<void> {
    return this.#subscriptions!.subscribe(busChannel);
  }

  unsubscribe(busChannel: string): Promise<void> {
    return this.#subscriptions!.unsubscribe(busChannel);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#subscriptions?.close();
    await this.#map.close();
  }

  // ── commands ──

  /** Runs a command on the node of its slot, and again where the Cluster says that it was the wrong one. */
  #route<T>(key: string, run: (node: ClusterNode, isAsking: boolean) => Promise<T>): Promise<T> {
    const slot = slotOf(key);
    let failure: unknown;
    return retry(
      async (count) => {
        // What is on its way comes; for all else the map is asked whose the slot is by now.
        if (count > 0 && !isTryAgain(failure)) await this.#map.refresh();
        try {
          return await this.#follow(slot, run);
        } catch (error) {
          failure = error;
          throw error;
        }
      },
      {
        maxWait: this.#options.queueMaxWait,
        mayRepeat: (error) => mayPass(error) && !this.#isClosed,
        min: REFRESH_PAUSE / 4,
        max: REFRESH_PAUSE * 2,
      },
    );
  }

  async #follow<T>(slot: number, run: (node: ClusterNode, isAsking: boolean) => Promise<T>): Promise<T> {
    let node = this.#map.of(slot);
    for (let isAsking = false, redirections = 0; ; redirections++) {
      if (node === undefined)
        throw new RedisError('REDIS_UNAVAILABLE', this.#noNode(slot), { cause: this.#map.lastError });
      try {
        return await run(node, isAsking);
      } catch (error) {
        const target = redirection(error, node);
        if (target === undefined || redirections === MAX_REDIRECTIONS || this.#isClosed) throw error;
        node = this.#map.node(target.address);
        isAsking = target.isAsk;
        if (isAsking) continue;
        this.#map.moved(slot, node);
      }
    }
  }

  #noNode(slot: number): string {
    const cause = this.#map.lastError === undefined ? '' : `; ${this.#map.lastError.message}`;
    return `no node of the Redis Cluster serves slot ${slot} at the moment, nothing was sent${cause}`;
  }

  #settle(): void {
    if (this.#isClosed || !this.#subscriptions?.isWhole || !this.#map.isWhole) return;
    this.#map.rest();
    this.#hooks!.whole();
  }
}
