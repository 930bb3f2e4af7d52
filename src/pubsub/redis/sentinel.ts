/**
 * Finds the master of a group that Redis Sentinels look after: asks them for its address before each attempt
 * to connect, and hears from one of them when it has changed.
 */
import { RedisError } from './errors.ts';
import type { Endpoint } from './link.ts';
import {
  parseRedisUrl,
  type RedisOptions,
  type ResolvedRedisOptions,
  resolveRedisOptions,
} from './options.ts';
import { RespClient } from './resp-client.ts';
import { RespSubscriber } from './resp-subscriber.ts';

/** A master known to Sentinels by name. User, password and TLS of the master itself are the client's options. */
export interface SentinelTarget {
  /**
   * Where the Sentinels are: URLs, or options, with a user, password and TLS of their own. Port 26379 where none is
   * given. A Sentinel has no databases.
   */
  sentinels: readonly (string | RedisOptions)[];
  /** What the Sentinels call the master: `mymaster`. */
  name: string;
}

/** Milliseconds that one Sentinel gets to answer before the next is asked. */
const SENTINEL_TIMEOUT = 1000;

export class SentinelWatch {
  readonly #sentinels: ResolvedRedisOptions[];
  readonly #name: string;
  #subscriber: RespSubscriber | undefined;
  /** The one that is asked first: the last that knew. */
  #first = 0;
  #next = 0;

  /** @throws {TypeError} if there is no Sentinel or no name */
  constructor({ sentinels, name }: SentinelTarget) {
    if (sentinels.length === 0 || name === '') throw new TypeError('Sentinels need addresses and a name');
    const quick = { connectTimeout: SENTINEL_TIMEOUT, commandTimeout: SENTINEL_TIMEOUT };
    this.#sentinels = sentinels.map((sentinel) =>
      resolveRedisOptions(
        { port: 26379, ...(typeof sentinel === 'string' ? parseRedisUrl(sentinel) : sentinel) },
        { ...quick, queueMaxWait: SENTINEL_TIMEOUT, clientName: 'tidings-sentinel', database: 0 },
      ),
    );
    this.#name = name;
  }

  /**
   * Asks one Sentinel after the other, each of them once, whoever else asks at the same time.
   *
   * @throws {RedisError} `REDIS_CONNECTION` if none of them tells
   */
  async locate(): Promise<Endpoint> {
    const complaints: string[] = [];
    const first = this.#first;
    for (let i = 0; i < this.#sentinels.length; i++) {
      const which = (first + i) % this.#sentinels.length;
      const client = new RespClient(this.#sentinels[which]!);
      try {
        const reply = await client.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.#name);
        if (Array.isArray(reply)) {
          this.#first = which;
          return { host: String(reply[0]), port: Number(reply[1]) };
        }
        complaints.push(`Sentinel at ${client.address} does not know it`);
      } catch (error) {
        complaints.push((error as Error).message);
      } finally {
        await client.close();
      }
    }
    throw new RedisError(
      'REDIS_CONNECTION',
      `no Sentinel told where the master ${this.#name} is: ${complaints.join('; ')}`,
    );
  }

  /** Calls `moved` with the new address when a Sentinel says that the master has changed. */
  watch(moved: (master: Endpoint) => void): void {
    const options = { ...this.#sentinels[this.#first]!, commandTimeout: 10_000 };
    this.#subscriber = new RespSubscriber(
      options,
      {},
      { locate: async () => this.#sentinels[(this.#first + this.#next++) % this.#sentinels.length]! },
    );
    const listener = (bytes: Buffer, start: number, end: number): void => {
      const [name, , , host, port] = bytes.toString('utf8', start, end).split(' ');
      if (name === this.#name) moved({ host, port: Number(port) });
    };
    // It fails only by being closed.
    this.#subscriber.subscribe('channel', '+switch-master', listener).catch(() => {});
  }

  async close(): Promise<void> {
    await this.#subscriber?.close();
  }
}
