/** The slot map of a Redis Cluster: which master has which slot, as the nodes tell it, asked again and again. */
import { clearInterval, clearTimeout, setInterval, setTimeout } from '../../clock.ts';
import { inTime, TimeoutError } from '../../waiting.ts';
import { ClusterNode, type NodeHooks } from './cluster-node.ts';
import { isForbidden, RedisError } from './errors.ts';
import { describeEndpoint, type ResolvedRedisOptions } from './options.ts';
import { hostOf } from './redirection.ts';
import { RespClient } from './resp-client.ts';
import type { RespReply } from './resp-reader.ts';
import { SLOTS } from './slots.ts';

/** Milliseconds that a command waits for a node before the map is asked whose the slot is by now. */
const NODE_WAIT = 250;
/** Milliseconds between two looks at a map that does not help. */
export const REFRESH_PAUSE = 100;
/** Milliseconds between two looks at the map when all seems well: a failover may go unnoticed by a quiet link. */
const REFRESH_INTERVAL = 5_000;
/** Milliseconds that a node gets to tell the map before the next is asked. */
const MAP_TIMEOUT = 1000;

export interface MapHooks extends NodeHooks {
  /** Slots may be elsewhere now. */
  changed(): void;
}

export class ClusterMap {
  publishCommand: 'PUBLISH' | 'SPUBLISH' = 'SPUBLISH';
  readonly #options: ResolvedRedisOptions;
  readonly #seeds: readonly ResolvedRedisOptions[];
  readonly #hooks: MapHooks;
  readonly #nodes = new Map<string, ClusterNode>();
  readonly #slots: (ClusterNode | undefined)[] = new Array(SLOTS).fill(undefined);
  #refreshing: Promise<void> | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #refresher: NodeJS.Timeout | undefined;
  #isClosed = false;
  #lastError: Error | undefined;

  /** @param seeds where to ask first; what the first says besides is for all nodes */
  constructor(seeds: readonly ResolvedRedisOptions[], hooks: MapHooks) {
    this.#seeds = seeds;
    this.#options = seeds[0]!;
    this.#hooks = hooks;
  }

  open(): void {
    this.#refresher = setInterval(() => void this.refresh(), REFRESH_INTERVAL).unref();
    void this.refresh();
  }

  /** What went wrong last. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  get nodes(): Iterable<ClusterNode> {
    return this.#nodes.values();
  }

  /** The node that has the slot, as far as is known. */
  of(slot: number): ClusterNode | undefined {
    return this.#slots[slot];
  }

  /** What a node has told: the slot is there, which the map will say when it is asked. */
  moved(slot: number, node: ClusterNode): void {
    this.#slots[slot] = node;
    void this.refresh();
  }

  /** Every slot is some node's, and all nodes are connected. */
  get isWhole(): boolean {
    if (this.#nodes.size === 0) return false;
    for (const node of this.#nodes.values()) if (!node.isWhole) return false;
    for (let slot = 0; slot < SLOTS; slot++) if (this.#slots[slot] === undefined) return false;
    return true;
  }

  /** All is there: it is looked for no more. */
  rest(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }

  /** @param address `127.0.0.1:6379`; one that is new is connected to */
  node(address: string): ClusterNode {
    let node = this.#nodes.get(address);
    if (node !== undefined) return node;
    const queueMaxWait = Math.min(NODE_WAIT, this.#options.queueMaxWait);
    const hooks = { ...this.#hooks, lost: (error: RedisError) => this.#lost(error) };
    node = new ClusterNode(address, { ...this.#options, queueMaxWait }, hooks);
    node.connect();
    this.#nodes.set(address, node);
    return node;
  }

  /** Asks for the slot map, of a node that answers. One question at a time. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#readMap().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    clearInterval(this.#refresher);
    const nodes = [...this.#nodes.values()];
    this.#nodes.clear();
    await Promise.all(nodes.map((node) => node.close()));
  }

  async #readMap(): Promise<void> {
    for (const client of this.#informants()) {
      try {
        const reply = (await this.#ask(client, 'CLUSTER', 'SLOTS')) as SlotRange[];
        if (reply.length === 0) throw new Error(`Redis at ${client.address} knows of no slots`);
        if (this.publishCommand === 'SPUBLISH' && this.#nodes.size === 0) {
          // Before Redis 7, messages go over the bus to all nodes. Whoever may not ask is taken to have a newer one.
          const [known] = await this.#ask(client, 'COMMAND', 'INFO', 'SPUBLISH').catch((error) => {
            if (isForbidden(error)) return [];
            throw error;
          });
          if (known === null) this.publishCommand = 'PUBLISH';
        }
        const { host } = this.#options;
        this.#apply(reply, client.options.host || host);
        return;
      } catch (error) {
        this.#lastError = error as Error;
      } finally {
        if (!this.#isOfNode(client)) void client.close();
      }
      if (this.#isClosed) return;
    }
    const message = `no node of the Redis Cluster told its slots: ${this.#lastError?.message}`;
    this.#lost(new RedisError('REDIS_CONNECTION', message, { cause: this.#lastError }));
  }

  /** First the nodes that are connected, then the addresses that were given. */
  *#informants(): Generator<RespClient> {
    const ready = [...this.#nodes.values()].map((node) => node.client).filter((client) => client.isReady);
    // Any of them may be behind; not always the same one.
    const start = Math.floor(Math.random() * ready.length);
    for (let i = 0; i < ready.length; i++) yield ready[(start + i) % ready.length]!;
    for (const seed of this.#seeds) {
      if (!this.#isClosed) yield new RespClient({ ...seed, queueMaxWait: 1000, connectTimeout: 1000 });
    }
  }

  /** A node that hangs must not keep the map from being read elsewhere. */
  async #ask(client: RespClient, name: string, ...args: string[]): Promise<RespReply[]> {
    return (await inTime(MAP_TIMEOUT, client.command(name, ...args)).catch((error) => {
      if (!(error instanceof TimeoutError)) throw error;
      throw new Error(`Redis at ${client.address} did not answer within ${MAP_TIMEOUT} ms`);
    })) as RespReply[];
  }

  #isOfNode(client: RespClient): boolean {
    return this.#nodes.get(client.address)?.client === client;
  }

  #apply(map: SlotRange[], informant: string): void {
    if (this.#isClosed) return;
    const current = new Set<ClusterNode>();
    const slots: (ClusterNode | undefined)[] = new Array(SLOTS).fill(undefined);
    for (const [start, end, master] of map) {
      const host = hostOf(master ?? []) ?? informant;
      const node = this.node(describeEndpoint({ host, port: Number(master?.[1]) }));
      current.add(node);
      slots.fill(node, start, end + 1);
    }
    for (let slot = 0; slot < SLOTS; slot++) this.#slots[slot] = slots[slot];
    for (const node of this.#nodes.values()) {
      if (current.has(node)) continue;
      this.#nodes.delete(node.address);
      void node.close();
      // Another has taken over, perhaps without all that this one acknowledged.
      this.#lost(
        new RedisError('REDIS_CONNECTION', `Redis at ${node.address} is no master of the Cluster any more`),
      );
    }
    this.#hooks.changed();
  }

  /** Something is away: the map is asked until all is there again. */
  #lost(error: RedisError): void {
    if (this.#isClosed) return;
    this.#lastError = error;
    this.#lookAgain();
    this.#hooks.lost(error);
  }

  /** A failover shows in the map only after a while: look until all is there again. */
  #lookAgain(): void {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#lookAgain();
      void this.refresh();
    }, REFRESH_PAUSE * 2);
  }
}

/** Of CLUSTER SLOTS: from, to, and its nodes with the master first: host, port, id, more about it. */
type SlotRange = [start: number, end: number, ...nodes: RespReply[][]];
