/** `npm run chaos -- --unit-costs`: what one message, channel and session cost, for the chapter on scale. */
import { redisBroker } from '../../src/index.ts';
import type { Broker, BrokerListener } from '../../src/pubsub/broker.ts';
import { until } from '../support/net.ts';
import { startRedis } from '../support/redis.ts';
import { ask } from '../support/redis-groups.ts';
import { Instance, instanceProgram } from './instances.ts';
import { openPage, type Page } from './page.ts';

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
  return [...(await ofRedis()), ...(await ofInstance())];
}

async function ofRedis(): Promise<UnitCost[]> {
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

interface Usage {
  rss: number;
  cpu: NodeJS.CpuUsage;
  sessions: number;
}

async function ofInstance(): Promise<UnitCost[]> {
  const redis = await startRedis();
  const instance = await Instance.start(await instanceProgram(), {
    store: redis.url,
    redis: { intake: false },
    drain: 0,
    options: {},
  });
  const usage = (): Promise<Usage> => instance.ask('/memory');
  const sender = redisBroker(redis.url, { intake: false });
  await sender.open(silent);
  const pages: Page[] = [];
  let seen = 0;
  const open = async (count: number, topics: string[]): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const page = openPage({
        url: `ws://127.0.0.1:${instance.port}/socketServer`,
        user: `u${pages.length}`,
        topics,
        promised: () => 0,
        client: { start: 'now', heartbeat: { interval: 60_000, timeout: 60_000 }, connectTimeout: 60_000 },
      });
      pages.push(page);
    }
    await until('pages', () => pages.every((page) => page.isConnected), 120_000);
  };
  const count = (): number => {
    seen = 0;
    for (const page of pages) for (const [, sightings] of page.seen) seen += sightings.length;
    return seen;
  };
  try {
    await open(100, ['t']);
    const before = await usage();
    await open(1000, []);
    const after = await usage();
    const costs: UnitCost[] = [
      {
        what: 'instance: a session with its inbox (resident set)',
        value: (after.rss - before.rss) / 1000,
        unit: 'bytes',
      },
    ];
    const deliveries = async (what: string, times: number, each: number, channel: (i: number) => string) => {
      const send = (i: number): Promise<unknown> =>
        sender.publish(channel(i), 'json', Buffer.from(`{"n":${i + 1},"padding":"${'x'.repeat(80)}"}`), {
          retention: RETENTION,
        });
      const start = count();
      const from = await usage();
      await manyTimes(times, send);
      await until('deliveries', () => count() >= start + times * each, 60_000);
      const to = await usage();
      const cpu = to.cpu.user + to.cpu.system - from.cpu.user - from.cpu.system;
      costs.push({ what, value: cpu / (times * each), unit: 'µs of CPU' });
    };
    await deliveries('', 5_000, 1, (i) => `user:u${i % 1000}`);
    costs.pop();
    await deliveries(
      'instance: a message of 100 bytes to a user with one page',
      20_000,
      1,
      (i) => `user:u${i % 1000}`,
    );
    await deliveries(
      'instance: a message of 100 bytes on a topic, for each of its 100 pages',
      1_000,
      100,
      () => 't',
    );
    return costs;
  } finally {
    for (const page of pages) page.close();
    await sender.close();
    await instance.kill();
    await redis.stop();
  }
}
