/** A master of a Redis Cluster, and the connections to it. */
import type { RedisError } from './errors.ts';
import type { RedisOptions } from './options.ts';
import { Replication } from './replication.ts';
import { RespClient } from './resp-client.ts';
import { RespSubscriber } from './resp-subscriber.ts';

/** What a node tells. */
export interface NodeHooks {
  /** Its connections are there, and its subscriptions in force. */
  settled(): void;
  lost(error: RedisError): void;
  /** Redis has ended a subscription. */
  ended(busChannel: string): void;
  missed(busChannel: string): void;
}

export class ClusterNode {
  readonly address: string;
  readonly client: RespClient;
  readonly subscriber: RespSubscriber;
  readonly replication: Replication;
  /** For blocking reads, by purpose. */
  readonly #dedicated = new Map<string, RespClient>();

  /** @param address `127.0.0.1:6379` */
  constructor(address: string, options: RedisOptions, hooks: NodeHooks) {
    this.address = address;
    const colon = address.lastIndexOf(':');
    const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
    const client = new RespClient({
      ...options,
      path: undefined,
      host,
      port: Number(address.slice(colon + 1)),
    });
    const settled = (): void => hooks.settled();
    const lost = (error: RedisError): void => hooks.lost(error);
    this.client = client;
    this.subscriber = new RespSubscriber(client.options, {
      up: settled,
      down: lost,
      retry: lost,
      ended: (name) => hooks.ended(name),
      missed: (name) => hooks.missed(name),
    });
    this.replication = new Replication(
      () => new RespClient(client.options, { commandTimeout: 0, probeInterval: 60_000 }),
    );
    client.on('ready', settled).on('down', lost).on('retry', lost);
  }

  /** Both at once: the first message must not wait for a connection. */
  connect(): void {
    // It fails only by being closed.
    this.client.connect().catch(() => {});
    this.subscriber.connect();
  }

  /** Connected, with every subscription in force. */
  get isWhole(): boolean {
    return this.client.isConnected && this.subscriber.isUp;
  }

  acceptReplies(bytes: number): void {
    for (const client of [this.client, ...this.#dedicated.values()]) client.acceptReplies(bytes);
  }

  dedicated(purpose: string): RespClient {
    let client = this.#dedicated.get(purpose);
    if (client === undefined) {
      client = new RespClient(this.client.options, { commandTimeout: 0 });
      this.#dedicated.set(purpose, client);
    }
    return client;
  }

  async close(): Promise<void> {
    await Promise.all([
      this.client.close(),
      this.subscriber.close(),
      this.replication.close(),
      ...[...this.#dedicated.values()].map((client) => client.close()),
    ]);
  }
}
