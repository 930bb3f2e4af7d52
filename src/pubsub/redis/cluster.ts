/**
 * A Redis Cluster: the slot map, a connection for commands and one for subscriptions to each master in it, and
 * the redirections by which the Cluster corrects the map.
 */
import { clearInterval, clearTimeout, setInterval, setTimeout } from '../../clock.ts';
import { inTime, pause, retry, TimeoutError } from '../../waiting.ts';
import { isForbidden, RedisError, RedisReplyError } from './errors.ts';
import {
  describeEndpoint,
  type RedisOptions,
  type ResolvedRedisOptions,
  resolveRedisOptions,
} from './options.ts';
import { ask, hostOf, isTryAgain, mayPass, redirection } from './redirection.ts';
import { type Replicated, Replication } from './replication.ts';
import { RespClient } from './resp-client.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';
import { type RawListener, RespSubscriber } from './resp-subscriber.ts';
import { SLOTS, slotOf } from './slots.ts';
import type { RedisTopology, ScriptCall, TopologyHooks } from './topology.ts';
import { transaction } from './transaction.ts';

export interface ClusterTarget {
  /** Some of its nodes: URLs or options. The others are found through them. User, password and TLS are shared. */
  cluster: readonly (string | RedisOptions)[];
}

/** Milliseconds that a command waits for a node before the map is asked whose the slot is by now. */
const NODE_WAIT = 250;
/** Milliseconds between two looks at a map that does not help. */
const REFRESH_PAUSE = 100;
/** Milliseconds between two looks at the map when all seems well: a failover may go unnoticed by a quiet link. */
const REFRESH_INTERVAL = 5_000;
/** Milliseconds that a node gets to tell the map before the next is asked. */
const MAP_TIMEOUT = 1000;
/** Redirections of one command before it counts as failed. */
const MAX_REDIRECTIONS = 16;

interface Node {
  address: string;
  client: RespClient;
  subscriber: RespSubscriber;
  /** For blocking reads, by purpose. */
  dedicated: Map<string, RespClient>;
  replication: Replication;
}

/** A channel of the bus: which node has its subscription. */
interface Membership {
  slot: number;
  node: Node | undefined;
  /** Set while the subscription is being put in force somewhere. */
  joining: Promise<void> | undefined;
}

export class ClusterTopology implements RedisTopology {
  publishCommand: 'PUBLISH' | 'SPUBLISH' = 'SPUBLISH';
  readonly database = 0;
  readonly #options: ResolvedRedisOptions;
  readonly #seeds: ResolvedRedisOptions[];
  /** How long a command may wait in all, redirections and failover included. */
  readonly #maxWait: number;
  readonly #nodes = new Map<string, Node>();
  readonly #slots: (Node | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #memberships = new Map<string, Membership>();
  #joining = 0;
  #refreshing: Promise<void> | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #refresher: NodeJS.Timeout | undefined;
  #hooks: TopologyHooks | undefined;
  #isClosed = false;
  #lastError: Error | undefined;

  /** @throws {TypeError} if there is no node, or a URL can't be read */
  constructor({ cluster }: ClusterTarget, options: RedisOptions = {}) {
    if (cluster.length === 0) throw new TypeError('a Cluster needs the address of at least one node');
    this.#seeds = cluster.map((seed) => resolveRedisOptions(seed, options));
    this.#options = this.#seeds[0]!;
    this.#maxWait = this.#options.queueMaxWait;
  }

  get address(): string {
    return `the Cluster of ${describeEndpoint(this.#options)}`;
  }

  acceptReplies(bytes: number): void {
    this.#options.maxReplySize = bytes;
    for (const { client, dedicated } of this.#nodes.values()) {
      for (const one of [client, ...dedicated.values()]) one.acceptReplies(bytes);
    }
  }

  open(hooks: TopologyHooks): void {
    this.#hooks = hooks;
    this.#refresher = setInterval(() => void this.#refresh(), REFRESH_INTERVAL).unref();
    void this.#refresh();
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
      const client = this.#dedicatedClient(node, purpose);
      return isAsking ? ask(client, args, true) : client.commandBuffers(name, ...rest);
    });
  }

  async subscribe(busChannel: string): Promise<void> {
    let membership = this.#memberships.get(busChannel);
    if (membership === undefined) {
      membership = { slot: slotOf(busChannel), node: undefined, joining: undefined };
      this.#memberships.set(busChannel, membership);
    }
    await this.#join(busChannel, membership);
  }

  async unsubscribe(busChannel: string): Promise<void> {
    const membership = this.#memberships.get(busChannel);
    this.#memberships.delete(busChannel);
    await membership?.node?.subscriber.unsubscribe(this.#kind, busChannel);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    clearInterval(this.#refresher);
    this.#memberships.clear();
    await Promise.all([...this.#nodes.values()].map(closeNode));
    this.#nodes.clear();
  }

  // ── commands ──

  /** Runs a command on the node of its slot, and again where the Cluster says that it was the wrong one. */
  #route<T>(key: string, run: (node: Node, isAsking: boolean) => Promise<T>): Promise<T> {
    const slot = slotOf(key);
    let failure: unknown;
    return retry(
      async (count) => {
        // What is on its way comes; for all else the map is asked whose the slot is by now.
        if (count > 0 && !isTryAgain(failure)) await this.#refresh();
        try {
          return await this.#follow(slot, run);
        } catch (error) {
          failure = error;
          throw error;
        }
      },
      {
        maxWait: this.#maxWait,
        mayRepeat: (error) => mayPass(error) && !this.#isClosed,
        min: REFRESH_PAUSE / 4,
        max: REFRESH_PAUSE * 2,
      },
    );
  }

  async #follow<T>(slot: number, run: (node: Node, isAsking: boolean) => Promise<T>): Promise<T> {
    let node = this.#slots[slot];
    for (let isAsking = false, redirections = 0; ; redirections++) {
      if (node === undefined)
        throw new RedisError('REDIS_UNAVAILABLE', this.#noNode(slot), { cause: this.#lastError });
      try {
        return await run(node, isAsking);
      } catch (error) {
        const target = redirection(error, node);
        if (target === undefined || redirections === MAX_REDIRECTIONS || this.#isClosed) throw error;
        node = this.#node(target.address);
        isAsking = target.isAsk;
        if (isAsking) continue;
        this.#slots[slot] = node;
        void this.#refresh();
      }
    }
  }

  #noNode(slot: number): string {
    const cause = this.#lastError === undefined ? '' : `; ${this.#lastError.message}`;
    return `no node of the Redis Cluster serves slot ${slot} at the moment, nothing was sent${cause}`;
  }

  // ── nodes and the map ──

  #node(address: string): Node {
    let node = this.#nodes.get(address);
    if (node !== undefined) return node;
    const colon = address.lastIndexOf(':');
    const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
    const options = {
      ...this.#options,
      path: undefined,
      host,
      port: Number(address.slice(colon + 1)),
      queueMaxWait: Math.min(NODE_WAIT, this.#maxWait),
    };
    const lost = (error: RedisError): void => this.#lost(error);
    const missed = (name: string): void => this.#hooks!.missed(name);
    const settle = (): void => this.#settle();
    const client = new RespClient(options);
    node = {
      address,
      client,
      subscriber: new RespSubscriber(client.options, {
        up: settle,
        down: lost,
        retry: lost,
        ended: (name) => this.#ended(name),
        missed,
      }),
      dedicated: new Map(),
      replication: new Replication(
        () => new RespClient(client.options, { commandTimeout: 0, probeInterval: 60_000 }),
      ),
    };
    node.client.on('ready', settle).on('down', lost).on('retry', lost);
    // Both at once: the first message must not wait for a connection. It fails only by being closed.
    node.client.connect().catch(() => {});
    node.subscriber.connect();
    this.#nodes.set(address, node);
    return node;
  }

  #dedicatedClient(node: Node, purpose: string): RespClient {
    let client = node.dedicated.get(purpose);
    if (client === undefined) {
      client = new RespClient(node.client.options, { commandTimeout: 0 });
      node.dedicated.set(purpose, client);
    }
    return client;
  }

  /** Asks for the slot map, of a node that answers. One question at a time. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#readMap().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
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
    const current = new Set<Node>();
    const slots: (Node | undefined)[] = new Array(SLOTS).fill(undefined);
    for (const [start, end, master] of map) {
      const host = hostOf(master ?? []) ?? informant;
      const node = this.#node(describeEndpoint({ host, port: Number(master?.[1]) }));
      current.add(node);
      slots.fill(node, start, end + 1);
    }
    for (let slot = 0; slot < SLOTS; slot++) this.#slots[slot] = slots[slot];
    for (const node of this.#nodes.values()) {
      if (current.has(node)) continue;
      this.#nodes.delete(node.address);
      void closeNode(node);
      // Another has taken over, perhaps without all that this one acknowledged.
      this.#lost(
        new RedisError('REDIS_CONNECTION', `Redis at ${node.address} is no master of the Cluster any more`),
      );
    }
    for (const [busChannel, membership] of this.#memberships) {
      if (membership.node !== this.#slots[membership.slot]) void this.#rejoin(busChannel, membership);
    }
    this.#settle();
  }

  // ── subscriptions ──

  get #kind(): 'shard' | 'channel' {
    return this.publishCommand === 'SPUBLISH' ? 'shard' : 'channel';
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
      const node = this.#slots[membership.slot];
      try {
        if (node !== undefined) {
          membership.node = node;
          await node.subscriber.subscribe(this.#kind, busChannel, this.#message);
          if (this.#slots[membership.slot] === node) return;
          void node.subscriber.unsubscribe(this.#kind, busChannel);
          continue;
        }
      } catch (error) {
        const isMoved = error instanceof RedisReplyError && redirection(error, node) !== undefined;
        const isPassing = isMoved || mayPass(error) || (error as RedisError).code === 'REDIS_CLOSED';
        if (!isPassing) {
          this.#memberships.delete(busChannel);
          throw error;
        }
      }
      membership.node = undefined;
      await this.#refresh();
      await pause(REFRESH_PAUSE);
    }
  }

  /** Moves a subscription to the node that has its slot now. In between, messages may be missed. */
  async #rejoin(busChannel: string, membership: Membership): Promise<void> {
    if (membership.joining !== undefined) return;
    this.#hooks!.moving(busChannel);
    void membership.node?.subscriber.unsubscribe(this.#kind, busChannel);
    membership.node = undefined;
    this.#joining++;
    try {
      await this.#join(busChannel, membership);
      this.#hooks!.missed(busChannel);
    } catch (error) {
      // The membership is gone, and whoever needs it finds the channel quiet. It is no loss of the store.
      this.#lastError = error as Error;
    } finally {
      this.#joining--;
      this.#settle();
    }
  }

  #ended(busChannel: string): void {
    const membership = this.#memberships.get(busChannel);
    if (membership === undefined) return;
    void this.#rejoin(busChannel, membership);
  }

  readonly #message: RawListener = (bytes, start, end, busChannel) => {
    this.#hooks!.message(busChannel, bytes, start, end);
  };

  // ── up and down ──

  #settle(): void {
    if (this.#isClosed || this.#joining > 0 || this.#nodes.size === 0) return;
    for (const node of this.#nodes.values()) if (!node.client.isConnected || !node.subscriber.isUp) return;
    for (let slot = 0; slot < SLOTS; slot++) if (this.#slots[slot] === undefined) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#hooks!.whole();
  }

  #lost(error: RedisError): void {
    if (this.#isClosed) return;
    this.#lastError = error;
    this.#lookAgain();
    this.#hooks!.lost(error);
  }

  /** A failover shows in the map only after a while: look until all is there again. */
  #lookAgain(): void {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#lookAgain();
      void this.#refresh();
    }, REFRESH_PAUSE * 2);
  }
}

/** Of CLUSTER SLOTS: from, to, and its nodes with the master first: host, port, id, more about it. */
type SlotRange = [start: number, end: number, ...nodes: RespReply[][]];

async function closeNode(node: Node): Promise<void> {
  await Promise.all([
    node.client.close(),
    node.subscriber.close(),
    node.replication.close(),
    ...[...node.dedicated.values()].map((client) => client.close()),
  ]);
}
