/**
 * `npm run chaos -- --unit-costs`: what one message and channel cost Redis, for the chapter on scale. What pages cost
 * an instance, and Redis for them, is in the rows of `npm run bench -- push`.
 */
import { redisBroker } from '../../src/index.ts';
import type { Broker, BrokerListener } from '../../src/pubsub/store/broker.ts';
import { startRedis } from '../support/redis.ts';
import { ask } from '../support/redis-groups.ts';

export interface UnitCost {
  what: string;
  value: number;
  unit: 'µs of CPU' | 'bytes';
}

const RETENTION = { maxMessages: 1000, maxAge: 3_600_000 };
const AT_ONCE = 200;
const silent: BrokerListener = {
  message: () => {},
  transient: () => {},
  acknowledged: () => {},
  down: () => {},
  up: () => {},
};

async function manyTimes(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

export async function measureUnitCosts(): Promise<UnitCost[]> {
  const redis = await startRedis();
  const brokers: Broker[] = [];
  const open = async (): Promise<Broker> => {
    const broker = redisBroker(redis.url, { intake: false });
    brokers.push(broker);
    await broker.open(silent);
    return broker;
  };
  const info = async (section: string, ...names: string[]): Promise<number> => {
    const text = String(await ask(redis, 'INFO', section));
    return names.reduce((sum, name) => sum + Number(new RegExp(`^${name}:(.*)$`, 'm').exec(text)![1]), 0);
  };
  const cpu = (): Promise<number> => info('cpu', 'used_cpu_user', 'used_cpu_sys');
  const memory = (): Promise<number> => info('memory', 'used_memory');
  const costs: UnitCost[] = [];
  try {
    const broker = await open();
    const publish = (channel: string, size: number, key?: string): Promise<unknown> =>
      broker.publish(channel, 'text', Buffer.alloc(size, 'x'), {
        retention: RETENTION,
        ...(key !== undefined && { idempotencyKey: key }),
      });
    const cpuOf = async (what: string, count: number, work: (i: number) => Promise<unknown>) => {
      await manyTimes(count / 10, work);
      const before = await cpu();
      await manyTimes(count, work);
      costs.push({ what, value: ((await cpu()) - before) * (1e6 / count), unit: 'µs of CPU' });
    };
    const memoryOf = async (what: string, count: number, work: (i: number) => Promise<unknown>) => {
      const before = await memory();
      await manyTimes(count, work);
      costs.push({ what, value: ((await memory()) - before) / count, unit: 'bytes' });
    };

    await memoryOf('Redis: a channel with one retained message of 100 bytes', 10_000, (i) =>
      publish(`a${i}`, 100),
    );
    await memoryOf('Redis: each further retained message of 100 bytes', 50_000, (i) =>
      publish(`a${i % 100}`, 100),
    );
    await memoryOf('Redis: each further retained message of 1,000 bytes', 20_000, (i) =>
      publish(`b${i % 100}`, 1000),
    );
    await memoryOf('Redis: an idempotency key (24 hours)', 10_000, async (i) => publish('k', 1, `key-${i}`));
    await memoryOf('Redis: a subscription of one instance to one channel', 10_000, (i) =>
      broker.subscribe(`s${i}`),
    );
    await cpuOf('Redis: publish, 100 bytes, nobody subscribed', 20_000, (i) => publish(`p${i % 1000}`, 100));
    await cpuOf('Redis: publish, 1,000 bytes, nobody subscribed', 20_000, (i) =>
      publish(`p${i % 1000}`, 1000),
    );
    await cpuOf('Redis: publish with an idempotency key, 100 bytes', 20_000, (i) =>
      publish(`q${i % 1000}`, 100, `${i}`),
    );
    await cpuOf('Redis: publish, 100 bytes, one instance subscribed', 20_000, (i) =>
      publish(`s${i % 1000}`, 100),
    );
    for (let i = 0; i < 4; i++) {
      const other = await open();
      await manyTimes(1000, (k) => other.subscribe(`s${k}`));
    }
    await cpuOf('Redis: publish, 100 bytes, five instances subscribed', 20_000, (i) =>
      publish(`s${i % 1000}`, 100),
    );
    await cpuOf('Redis: a read of the log by a page that comes back and has missed nothing', 20_000, (i) =>
      broker.read(`p${i % 1000}`, 1000, 200),
    );
    return costs;
  } finally {
    await Promise.all(brokers.map((broker) => broker.close()));
    await redis.stop();
  }
}
