/**
 * What the store costs Redis: CPU for each message and each page, memory, and how long it does nothing else, by a real
 * Redis' own figures (INFO, SLOWLOG).
 *
 *     node --import ./scripts/typescript.mjs bench/store.ts [--base ../before] [--rounds 5] [--only WORD] [--json]
 *
 * `--base` is another checkout: its broker is measured in the same rounds, by turns.
 */
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type {
  Broker,
  BrokerListener,
  Position,
  PublishOptions,
  Receipt,
} from '../src/pubsub/store/broker.ts';
import type { MarkAs } from '../src/pubsub/store/marks.ts';
import { type RedisServer, startRedis } from '../test/support/redis.ts';
import { ask } from '../test/support/redis-groups.ts';

const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
});

const CHANNELS = 1000;
const RETENTION = { maxMessages: 1000, maxAge: 3_600_000 };
const PAYLOAD = Buffer.alloc(100, 'x');
const silent: BrokerListener = {
  message() {},
  transient() {},
  acknowledged() {},
  down() {},
  up() {},
};

interface Subject {
  name: string;
  redis: RedisServer;
  broker: Broker;
}

/** Does one round and says how many messages or pages that were; 0 for what this broker can't do. */
type Work = (broker: Broker, round: number) => Promise<number>;

let sent = 0;
const publish = (broker: Broker, channel: string, more: Partial<PublishOptions> = {}): Promise<Receipt> =>
  broker.publish(channel, 'text', PAYLOAD, { retention: RETENTION, ...more });

/** So many in one turn, the next when they are stored. */
const ticks =
  (each: number, channelOf: (n: number) => string): Work =>
  async (broker) => {
    const count = 8_000;
    for (let i = 0; i < count; i += each) {
      await Promise.all(Array.from({ length: each }, () => publish(broker, channelOf(sent++))));
    }
    return count;
  };

const outstanding =
  (count: number, one: (broker: Broker, n: number) => Promise<unknown>, total = 20_000): Work =>
  async (broker) => {
    let left = total;
    const work = async (): Promise<void> => {
      while (left-- > 0) await one(broker, sent++);
    };
    await Promise.all(Array.from({ length: count }, work));
    return total;
  };

/** With a store that keeps marks. */
const marking = (one: (broker: Broker, n: number) => Promise<unknown>): Work => {
  const work = outstanding(200, one, 10_000);
  return (broker, round) => (typeof broker.mark === 'function' ? work(broker, round) : Promise.resolve(0));
};

const spread = (n: number): string => `user:${n % CHANNELS}`;

const works: Record<string, Work> = {
  'stored, 1 a turn': ticks(1, spread),
  'stored, 8 a turn': ticks(8, spread),
  'stored, 32 a turn': ticks(32, spread),
  'stored, 200 outstanding': outstanding(200, (broker, n) => publish(broker, spread(n))),
  'stored, with a key, 200 outstanding': outstanding(200, (broker, n) =>
    publish(broker, spread(n), { idempotencyKey: `key ${n}` }),
  ),
  'stored, 8 a turn to one channel': ticks(8, () => 'user:burst'),
  'stored, 32 a turn to one channel': ticks(32, () => 'user:burst'),
  'stored, that replaces one, 200 outstanding': marking((broker, n) =>
    publish(broker, spread(n), { replaces: 'key' }),
  ),
  'stored, that expires, 200 outstanding': marking((broker, n) =>
    publish(broker, spread(n), { ttl: 3_600_000 }),
  ),
  'marked as read, all': marking((broker, n) => broker.mark(spread(n), { as: 'read' })),
  'marked as unread, the newest': marking(async (broker, n) =>
    broker.mark(spread(n), { as: 'unread', messages: [await topOf(broker, spread(n))] }),
  ),
  'marked as read, and stored': marking(async (broker, n) => {
    await publish(broker, spread(n));
    await broker.mark(spread(n), { as: 'read' });
  }),
  opening: outstanding(200, (broker, n) => openingOf(broker, spread(n)), 20_000),
  // What a push server asks for a page that opens 20 messages behind, and leaves.
  'page, 20 messages behind': outstanding(50, page(20), 5_000),
  'page, nothing new': outstanding(50, page(0), 5_000),
  acknowledgement: outstanding(200, async (broker, n) => {
    const channel = spread(n);
    const position = await topOf(broker, channel);
    await broker.acknowledge({ channel, device: `device ${n % 3}`, position }, 3_600_000);
  }),
};

async function topOf(broker: Broker, channel: string) {
  const [top] = await broker.tops([channel]);
  if (top === undefined || top instanceof Error) throw new Error(`${channel} has no top`);
  return top;
}

/** Another checkout may not have it yet. */
async function openingOf(broker: Broker, channel: string): Promise<{ top: Position }> {
  if (typeof broker.opening === 'function') return broker.opening(channel);
  const [top] = await Promise.all([topOf(broker, channel), (broker as Broker).cursors(channel)]);
  return { top };
}

function page(behind: number) {
  return async (broker: Broker, n: number): Promise<void> => {
    const user = `${n % CHANNELS}`;
    const channel = `user:${user}`;
    await broker.subscribe(channel);
    const entry = { session: `session ${n}`, instance: 'bench', user, device: 'device', since: Date.now() };
    const [{ top }] = await Promise.all([openingOf(broker, channel), broker.announce([entry], 30_000)]);
    if (behind > 0) {
      const { messages } = await broker.read(channel, top.offset - behind, 200);
      if (messages.length !== behind) throw new Error(`${messages.length} messages in place of ${behind}`);
    }
    await Promise.all([broker.withdraw([entry]), broker.unsubscribe(channel)]);
  };
}

async function info(redis: RedisServer, section: string, ...names: string[]): Promise<number> {
  const text = String(await ask(redis, 'INFO', section));
  return names.reduce((sum, name) => sum + Number(new RegExp(`^${name}:(.*)$`, 'm').exec(text)![1]), 0);
}
const cpuOf = (redis: RedisServer): Promise<number> => info(redis, 'cpu', 'used_cpu_user', 'used_cpu_sys');
const memoryOf = (redis: RedisServer): Promise<number> => info(redis, 'memory', 'used_memory');

const median = (values: number[]): number =>
  values.slice().sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function begin(name: string, folder: string): Promise<Subject> {
  const url = pathToFileURL(`${folder}/src/pubsub/store/redis-broker.ts`);
  const { redisBroker } = (await import(url.href)) as typeof import('../src/pubsub/store/redis-broker.ts');
  const redis = await startRedis();
  const broker = redisBroker(redis.url, { intake: false });
  await broker.open(silent);
  return { name, redis, broker };
}

/** Bytes of a channel that somebody has looked at, and of one with so many messages: keys, and what Redis needs for them. */
async function memory({ broker, redis }: Subject): Promise<[string, number][]> {
  const channels = 10_000;
  const each = async (one: (n: number) => Promise<unknown>): Promise<void> => {
    for (let n = 0; n < channels; n += 200)
      await Promise.all(Array.from({ length: 200 }, (_, i) => one(n + i)));
  };
  await ask(redis, 'FLUSHALL');
  const start = await memoryOf(redis);
  await each((n) => broker.read(`looked:${n}`, 0, 1));
  const rows: [string, number][] = [['bytes, looked at', ((await memoryOf(redis)) - start) / channels]];
  await ask(redis, 'FLUSHALL');
  const before = await memoryOf(redis);
  let stored = 0;
  for (const count of [1, 20, 100]) {
    for (; stored < count; stored++) await each((n) => publish(broker, `memory:${n}`));
    rows.push([`bytes, ${count} of 100 bytes`, ((await memoryOf(redis)) - before) / channels]);
  }
  if (typeof broker.mark === 'function') {
    await each((n) => broker.mark(`memory:${n}`, { as: 'read' }));
    rows.push(['bytes, 100 of 100 bytes, read', ((await memoryOf(redis)) - before) / channels]);
  }
  return rows;
}

/** Milliseconds of the longest call for a mark of 800 messages far apart, in an inbox of 10,000 with 4,000 ranges. */
async function longest(
  { broker, redis }: Subject,
  size: number,
  rounds: number,
): Promise<[string, number][]> {
  if (typeof broker.mark !== 'function') return [];
  const channel = `longest:${size}`;
  const retention = { ...RETENTION, maxMessages: 10_000 };
  const payload = Buffer.alloc(size, 'x');
  const positions: Position[] = [];
  while (positions.length < 10_000) {
    const some = Array.from({ length: 500 }, () => broker.publish(channel, 'text', payload, { retention }));
    for (const { epoch, offset, id } of await Promise.all(some)) positions.push({ epoch, offset, id });
  }
  const every = (distance: number, count: number, from: number): Position[] =>
    Array.from({ length: count }, (_, i) => positions[i * distance + from]!);
  for (const from of [0, 4_800]) await broker.mark(channel, { as: 'read', messages: every(6, 800, from) });
  await ask(redis, 'CONFIG', 'SET', 'slowlog-log-slower-than', 100);
  const rows: [string, number][] = [];
  const measure = async (as: MarkAs, messages: Position[]): Promise<void> => {
    await ask(redis, 'SLOWLOG', 'RESET');
    const { changed } = await broker.mark(channel, { as, messages });
    if (changed !== messages.length) throw new Error(`${changed} messages were ${as}`);
    const calls = (await ask(redis, 'SLOWLOG', 'GET', 128)) as [number, number, number][];
    rows.push([
      `ms, longest call, 800 of ${size} bytes ${as}`,
      Math.max(...calls.map(([, , took]) => took / 1000)),
    ]);
  };
  for (let round = 0; round < Math.min(rounds, 10); round++) {
    // Beside those that are gone already, so that there are no more ranges.
    await measure('deleted', every(12, 800, 2 + round));
  }
  for (let round = 0; round < rounds; round++) {
    await measure('unread', every(12, 800, 0));
    await measure('read', every(12, 800, 0));
  }
  await ask(redis, 'FLUSHALL');
  return rows;
}

const subjects = [await begin('own', process.cwd())];
if (values.base !== undefined) subjects.push(await begin('base', values.base));
const rows = new Map<string, Map<string, number[]>>();
const add = (what: string, subject: Subject, value: number): void => {
  let row = rows.get(what);
  if (row === undefined) {
    row = new Map();
    rows.set(what, row);
  }
  row.set(subject.name, [...(row.get(subject.name) ?? []), value]);
};
try {
  for (const { broker } of subjects) {
    await outstanding(200, (one, n) => publish(one, spread(n)))(broker, -1);
    for (let n = 0; n < CHANNELS * 20; n += 200)
      await Promise.all(Array.from({ length: 200 }, (_, i) => publish(broker, spread(n + i))));
  }
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [what, work] of Object.entries(works).filter(([what]) => what.includes(values.only))) {
      for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
        const before = await cpuOf(subject.redis);
        const count = await work(subject.broker, round);
        if (count === 0) continue;
        add(`µs, ${what}`, subject, (((await cpuOf(subject.redis)) - before) * 1e6) / count);
      }
    }
  }
  for (const subject of subjects) {
    if ('bytes'.includes(values.only))
      for (const [what, value] of await memory(subject)) add(what, subject, value);
    if (!'longest call'.includes(values.only)) continue;
    for (const size of [100, 1_000, 4_000])
      for (const [what, value] of await longest(subject, size, Number(values.rounds)))
        add(what, subject, value);
  }
} finally {
  for (const { broker, redis } of subjects) {
    await broker.close();
    await redis.stop();
  }
}
const table = [...rows].map(([what, row]) => ({
  what,
  ...Object.fromEntries([...row].map(([name, all]) => [name, Number(median(all).toFixed(1))])),
}));
if (values.json) console.log(JSON.stringify(table, null, 2));
else console.table(table);
