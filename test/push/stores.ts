/** The stores that promises are held against, each once: what is promised does not depend on the store. */
import { after, type TestContext, test } from 'node:test';
import { postgresBroker, redisBroker } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

type Run = (broker: () => Broker, t: TestContext) => Promise<void>;

/** Milliseconds: twice as long as `until` waits, which then says for what. */
const TIMEOUT = 120_000;

export function onMemory(promise: string, run: Run): void {
  test(`${promise} (memory)`, { timeout: TIMEOUT }, async (t) => {
    const store = new MemoryStore();
    await run(() => memoryBroker(store), t);
  });
}

/** @param run is given what makes brokers that share a store; what it has opened it closes */
export function onEachStore(promise: string, run: Run): void {
  onMemory(promise, run);
  test(`${promise} (Redis)`, { timeout: TIMEOUT, ...needs('redis') }, async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    await run(() => redisBroker(redis.url), t);
  });
  test(`${promise} (PostgreSQL)`, { timeout: TIMEOUT, ...needs('postgres') }, async (t) => {
    postgres ??= startPostgres();
    const url = await (await postgres).preparedDatabase();
    await run(() => postgresBroker(url, { connections: 4 }), t);
  });
}

/** One for all tests of a file, each with a database of its own. */
let postgres: Promise<PostgresServer> | undefined;
after(async () => (await postgres)?.stop());
