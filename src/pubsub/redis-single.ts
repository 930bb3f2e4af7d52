/** One Redis server, or the master that Sentinels point to: a connection for commands, one for subscriptions. */
import { clearTimeout, setTimeout } from '../clock.ts';
import { RedisError } from './redis-errors.ts';
import type { LinkSettings } from './redis-link.ts';
import { describeEndpoint, type RedisOptions } from './redis-options.ts';
import type { SentinelWatch } from './redis-sentinel.ts';
import type { RedisTopology, ScriptCall, TopologyHooks } from './redis-topology.ts';
import { RespClient } from './resp-client.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';
import { type RawListener, RespSubscriber } from './resp-subscriber.ts';

/** Milliseconds before a refused subscription is asked for again. */
const ASK_AGAIN = 1000;

export class SingleTopology implements RedisTopology {
  readonly publishCommand = 'PUBLISH';
  readonly #sentinels: SentinelWatch | undefined;
  readonly #settings: Pick<LinkSettings, 'locate' | 'role'>;
  readonly #client: RespClient;
  #subscriber: RespSubscriber | undefined;
  /** For WAIT and blocking reads, by purpose. */
  readonly #dedicated = new Map<string, RespClient>();
  #hooks: TopologyHooks | undefined;
  /** Channels that Redis would not subscribe to again after the connection was lost. */
  readonly #refused = new Set<string>();
  #askTimer: NodeJS.Timeout | undefined;
  #isUp = false;
  #isDownTold = false;
  /** Settles `open`. */
  #opened: { resolve: () => void; reject: (error: Error) => void } | undefined;

  /** @param sentinels say where the server is, in place of the URL */
  constructor(url: string | RedisOptions, options: RedisOptions = {}, sentinels?: SentinelWatch) {
    this.#sentinels = sentinels;
    this.#settings =
      sentinels === undefined ? {} : { locate: () => sentinels.locate(), role: 'master' as const };
    this.#client = new RespClient(url, options, this.#settings);
  }

  async open(hooks: TopologyHooks): Promise<void> {
    this.#hooks = hooks;
    const settle = (): void => this.#settle();
    this.#subscriber = new RespSubscriber(
      this.#client.options,
      {
        up: settle,
        down: (error) => this.#lost(error),
        retry: (error) => this.#lost(error),
        ended: (name, error) => this.#refuse(name, error),
      },
      this.#settings,
    );
    this.#client.on('ready', settle);
    this.#client.on('down', (error) => this.#lost(error));
    this.#client.on('retry', (error) => this.#lost(error));
    this.#subscriber.connect();
    this.#sentinels?.watch((master) => this.#leave(describeEndpoint(master)));
    const opened = new Promise<void>((resolve, reject) => {
      this.#opened = { resolve, reject };
    });
    await Promise.all([this.#client.connect(), opened]);
  }

  evaluate({ script, keys, args, returnBuffers }: ScriptCall): Promise<RespReply> {
    return returnBuffers === true
      ? this.#client.evaluateBuffers(script, keys, args)
      : this.#client.evaluate(script, keys, args);
  }

  command(_key: string, [name, ...args]: readonly [string, ...RespArgument[]]): Promise<RespReply> {
    return this.#client.command(name, ...args);
  }

  async evaluateReplicated(
    { script, keys, args }: ScriptCall,
    replicas: number,
    timeout: number,
  ): Promise<[RespReply, number]> {
    // While WAIT blocks, nothing else is answered, so the connection is silent for longer than others may be.
    const client = this.#dedicatedClient('wait', { probeInterval: 60_000 });
    // WAIT is about what this same connection wrote before it: both in one write, and by EVAL, as the repetition
    // after NOSCRIPT would come too late.
    const [reply, confirmed] = await Promise.all([
      client.command('EVAL', script.source, keys.length, ...keys, ...args),
      client.command('WAIT', replicas, Math.max(1, timeout)),
    ]);
    return [reply, Number(confirmed)];
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
    clearTimeout(this.#askTimer);
    this.#refused.clear();
    const { address } = this.#client;
    this.#opened?.reject(
      new RedisError('REDIS_CLOSED', `Redis at ${address} was not reached before the end`),
    );
    await Promise.all([
      this.#client.close(),
      this.#subscriber?.close(),
      this.#sentinels?.close(),
      ...[...this.#dedicated.values()].map((client) => client.close()),
    ]);
  }

  /** A demoted master may not notice for long, cut off as it is: whoever is connected to it must go. */
  #leave(master: string): void {
    for (const client of [this.#client, this.#subscriber!, ...this.#dedicated.values()]) {
      if (client.address !== master) client.reconnect(`is no longer the master; ${master} is`);
    }
  }

  readonly #message: RawListener = (bytes, start, end, busChannel) => {
    this.#hooks!.message(busChannel, bytes, start, end);
  };

  #dedicatedClient(purpose: string, options: RedisOptions = {}): RespClient {
    let client = this.#dedicated.get(purpose);
    if (client === undefined) {
      client = new RespClient(this.#client.options, { commandTimeout: 0, ...options }, this.#settings);
      this.#dedicated.set(purpose, client);
    }
    return client;
  }

  /** A subscription that was in force is so no more, as Redis' ACL has changed: down until it is again. */
  #refuse(busChannel: string, error: RedisError): void {
    this.#refused.add(busChannel);
    this.#lost(error);
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
    if (this.#isUp || this.#refused.size > 0 || !this.#client.isReady || !this.#subscriber?.isUp) return;
    this.#isUp = true;
    this.#isDownTold = false;
    if (this.#opened === undefined) {
      this.#hooks!.up();
    } else {
      this.#opened.resolve();
      this.#opened = undefined;
    }
  }

  #lost(error: RedisError): void {
    this.#isUp = false;
    if (this.#isDownTold) return;
    this.#isDownTold = true;
    this.#hooks!.down(error);
  }
}
