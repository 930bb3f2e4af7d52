/** The stores that promises are held against, each once: what is promised does not depend on the store. */
import { type TestContext, test } from 'node:test';
import { redisBroker } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

type Run = (broker: () => Broker, t: TestContext) => Promise<void>;

export function onMemory(promise: string, run: Run): void {
  test(`${promise} (memory)`, { timeout: 60_000 }, async (t) => {
    const store = new MemoryStore();
    await run(() => memoryBroker(store), t);
  });
}

/** @param run is given what makes brokers that share a store; what it has opened it closes */
export function onEachStore(promise: string, run: Run): void {
  onMemory(promise, run);
  test(`${promise} (Redis)`, { timeout: 60_000, ...needs('redis') }, async (t) => {
    const redis: RedisServer = await startRedis();
    try {
      await run(() => redisBroker(redis.url), t);
    } finally {
      await redis.stop();
    }
  });
}
