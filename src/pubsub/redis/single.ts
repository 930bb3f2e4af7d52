/** One Redis server, or the master that Sentinels point to: a connection for commands, one for subscriptions. */
import { clearTimeout, setTimeout } from '../../clock.ts';
import type { RedisError } from './errors.ts';
import type { LinkSettings } from './link.ts';
import { describeEndpoint, type RedisOptions } from './options.ts';
import { type Replicated, Replication } from './replication.ts';
import { RespClient } from './resp-client.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';
import { RespSubscriber } from './resp-subscriber.ts';
import type { SentinelWatch } from './sentinel.ts';
import type { RawListener } from './subscription.ts';
import type { RedisTopology, ScriptCall, TopologyHooks } from './topology.ts';
import { transaction } from './transaction.ts';

/** Milliseconds before a refused subscription is asked for again. */
const ASK_AGAIN = 1000;

export class SingleTopology implements RedisTopology {
  readonly publishCommand = 'PUBLISH';
  readonly #sentinels: SentinelWatch | undefined;
  readonly #settings: Pick<LinkSettings, 'locate' | 'role'>;
  readonly #client: RespClient;
  #subscriber: RespSubscriber | undefined;
  /** For blocking reads, by purpose. */
  readonly #dedicated = new Map<string, RespClient>();
  readonly #replication: Replication;
  #hooks: TopologyHooks | undefined;
  /** Channels that Redis would not subscribe to again after the connection was lost. */
  readonly #refused = new Set<string>();
  #askTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param sentinels say where the server is, in place of the URL */
  constructor(url: string | RedisOptions, options: RedisOptions = {}, sentinels?: SentinelWatch) {
    this.#sentinels = sentinels;
    this.#settings =
      sentinels === undefined ? {} : { locate: () => sentinels.locate(), role: 'master' as const };
    this.#client = new RespClient(url, options, this.#settings);
    // While WAIT blocks, nothing else is answered, so the connection is silent for longer than others may be.
    this.#replication = new Replication(() => this.#quietClient({ probeInterval: 60_000 }));
  }

  get database(): number {
    return this.#client.options.database;
  }

  get address(): string {
    return this.#client.address;
  }

  acceptReplies(bytes: number): void {
    for (const client of [this.#client, ...this.#dedicated.values()]) client.acceptReplies(bytes);
  }

  open(hooks: TopologyHooks): void {
    this.#hooks = hooks;
    const lost = (error: RedisError): void => hooks.lost(error);
    const settle = (): void => this.#settle();
    this.#subscriber = new RespSubscriber(
      this.#client.options,
      {
        up: settle,
        down: lost,
        retry: lost,
        ended: (name, error) => this.#refuse(name, error),
        missed: (name) => hooks.missed(name),
      },
      this.#settings,
    );
    this.#client.on('ready', settle);
    this.#client.on('down', lost);
    this.#client.on('retry', lost);
    this.#subscriber.connect();
    this.#sentinels?.watch((master) => this.#leave(describeEndpoint(master)));
    // It fails only by being closed.
    this.#client.connect().catch(() => {});
  }

  evaluate({ script, keys, args, returnBuffers }: ScriptCall): Promise<RespReply> {
    return returnBuffers === true
      ? this.#client.evaluateBuffers(script, keys, args)
      : this.#client.evaluate(script, keys, args);
  }

  command(_key: string, [name, ...args]: readonly [string, ...RespArgument[]]): Promise<RespReply> {
    return this.#client.command(name, ...args);
  }

  commandBuffers(_key: string, [name, ...args]: readonly [string, ...RespArgument[]]): Promise<RespReply> {
    return this.#client.commandBuffers(name, ...args);
  }

  slotOf(): undefined {
    return undefined;
  }

  transaction(
    _key: string,
    commands: readonly (readonly [string, ...RespArgument[]])[],
  ): Promise<RespReply[]> {
    return transaction(this.#client, commands);
  }

  replicated(message: Replicated, replicas: number, timeout: number): Promise<number> {
    return this.#replication.confirm(message, replicas, timeout);
  }

  blocking(
    purpose: string,
    _key: string,
    [name, ...args]: readonly [string, ...RespArgument[]],
  ): Promise<RespReply> {
    return this.#dedicatedClient(purpose).commandBuffers(name, ...args);
  }

  subscribe(busChannel: string): Promise<void> {
    return this.#subscriber!.subscribe('channel', busChannel, this.#message);
  }

  unsubscribe(busChannel: string): Promise<void> {
    if (this.#refused.delete(busChannel)) this.#settle();
    return this.#subscriber!.unsubscribe('channel', busChannel);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#askTimer);
    this.#refused.clear();
    await Promise.all([
      this.#client.close(),
      this.#subscriber?.close(),
      this.#sentinels?.close(),
      this.#replication.close(),
      ...[...this.#dedicated.values()].map((client) => client.close()),
    ]);
  }

  /** A demoted master may not notice for long, cut off as it is: whoever is connected to it must go. */
  #leave(master: string): void {
    const others = [...this.#dedicated.values(), ...this.#replication.clients];
    for (const client of [this.#client, this.#subscriber!, ...others]) {
      if (client.address !== master) client.reconnect(`is no longer the master; ${master} is`);
    }
  }

  readonly #message: RawListener = (bytes, start, end, busChannel) => {
    this.#hooks!.message(busChannel, bytes, start, end);
  };

  #dedicatedClient(purpose: string): RespClient {
    let client = this.#dedicated.get(purpose);
    if (client === undefined) {
      client = this.#quietClient({});
      this.#dedicated.set(purpose, client);
    }
    return client;
  }

  #quietClient(options: RedisOptions): RespClient {
    return new RespClient(this.#client.options, { commandTimeout: 0, ...options }, this.#settings);
  }

  /** A subscription that was in force is so no more, as Redis' ACL has changed: down until it is again. */
  #refuse(busChannel: string, error: RedisError): void {
    this.#refused.add(busChannel);
    this.#hooks!.lost(error);
    this.#askTimer ??= setTimeout(() => {
      this.#askTimer = undefined;
      for (const name of this.#refused) {
        this.subscribe(name).then(
          () => {
            this.#refused.delete(name);
            this.#settle();
          },
          (again) => {
            if (this.#refused.has(name)) this.#refuse(name, again);
          },
        );
      }
    }, ASK_AGAIN);
  }

  #settle(): void {
    if (this.#isClosed || this.#refused.size > 0) return;
    if (this.#client.isConnected && this.#subscriber?.isUp) this.#hooks!.whole();
  }
}
