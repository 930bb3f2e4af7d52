/** Stores that stand alone, and what can happen to them, whichever they are. */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { ask } from '../support/redis-groups.ts';
import { LonePostgres } from './lone-postgres.ts';
import type { StoreKind, StoreTarget } from './store-target.ts';

/** A server that stands alone. */
export interface LoneStore {
  readonly port: number;
  /** As it is found at a port: its own, or a proxy's in front of it. */
  at(port: number): StoreTarget;
  /** What a connection is for, by a chunk of what its client says: only `subscriber` and `commands` can be told. */
  readonly label: (chunk: Buffer) => string | undefined;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again, with what it has kept. */
  start(): Promise<void>;
  /** Its processes stand still, or go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Drops the connections of all its clients. */
  dropClients(): Promise<void>;
  /** Puts by what it has now. */
  save(): Promise<void>;
  /** Of one that was killed: it starts with what it had at the last `save`. */
  rewind(): void;
  /** Of one that was killed: it starts with nothing. */
  empty(): void;
  /** Ends it for good. */
  stop(): Promise<void>;
}

/** @param isDurable whether it keeps everything that it has confirmed; otherwise it may start again with nothing */
export async function startLone(kind: StoreKind, isDurable: boolean): Promise<LoneStore> {
  // That keeps everything in any case.
  if (kind === 'postgres') return LonePostgres.start();
  return new LoneRedis(await startRedis(isDurable ? ['--appendonly', 'yes', '--appendfsync', 'always'] : []));
}

export class LoneRedis implements LoneStore {
  readonly server: RedisServer;

  constructor(server: RedisServer) {
    this.server = server;
  }

  get port(): number {
    return this.server.port;
  }

  at(port: number): StoreTarget {
    return { kind: 'redis', target: `redis://127.0.0.1:${port}` };
  }

  label(chunk: Buffer): string | undefined {
    const text = chunk.toString('latin1');
    if (/\bS?SUBSCRIBE\b/i.test(text)) return 'subscriber';
    // All connections begin alike.
    return /\bEVAL(?:SHA)?\b/i.test(text) ? 'commands' : undefined;
  }

  kill(): Promise<void> {
    return this.server.kill();
  }

  start(): Promise<void> {
    return this.server.start();
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.server.process.kill(name);
  }

  async dropClients(): Promise<void> {
    await ask(this.server, 'CLIENT', 'KILL', 'TYPE', 'normal');
    await ask(this.server, 'CLIENT', 'KILL', 'TYPE', 'pubsub');
  }

  get #snapshot(): string {
    return join(this.server.folder, 'dump.rdb');
  }

  async save(): Promise<void> {
    await ask(this.server, 'SAVE');
    copyFileSync(this.#snapshot, `${this.#snapshot}.old`);
  }

  rewind(): void {
    copyFileSync(`${this.#snapshot}.old`, this.#snapshot);
  }

  empty(): void {
    rmSync(this.#snapshot, { force: true });
  }

  stop(): Promise<void> {
    return this.server.stop();
  }
}
