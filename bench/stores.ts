/**
 * How far PostgreSQL carries as a store, with Redis beside it: messages a second, how long until another instance hears
 * them, what a commit costs an application that sends in it, and bytes on the disk.
 *
 *     node --import ./scripts/typescript.mjs bench/stores.ts [--seconds 3] [--json]
 *
 * PostgreSQL keeps what is committed (fsync on); Redis writes its append-only file each second.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import type { Broker, BrokerListener, StoredMessage } from '../src/pubsub/store/broker.ts';
import { postgresBroker } from '../src/pubsub/store/postgres-broker.ts';
import { redisBroker } from '../src/pubsub/store/redis-broker.ts';
import { startPostgres } from '../test/support/postgres.ts';
import { startRedis } from '../test/support/redis.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, json: { type: 'boolean', default: false } },
});
const MILLISECONDS = Number(values.seconds) * 1000;
const RETENTION = { maxMessages: 1000, maxAge: 7 * 86_400_000 };
const PAYLOAD = Buffer.alloc(200, 'x');

type Row = [what: string, value: number];

function listener(heard: (message: StoredMessage) => void = () => {}): BrokerListener {
  return { message: heard, transient() {}, acknowledged() {}, down() {}, up() {} };
}

/** So many calls at a time, as long as the time lasts: calls a second. */
async function rate(outstanding: number, one: (n: number) => Promise<unknown>): Promise<number> {
  const end = performance.now() + MILLISECONDS;
  let count = 0;
  const work = async (): Promise<void> => {
    while (performance.now() < end) {
      await one(count);
      count++;
    }
  };
  await Promise.all(Array.from({ length: outstanding }, work));
  return (count * 1000) / MILLISECONDS;
}

const quantile = (sorted: number[], part: number): number => sorted[Math.floor(sorted.length * part)]!;

async function latency(
  sends: (n: number) => Promise<unknown>,
  arrivals: Map<number, () => void>,
): Promise<Row[]> {
  const all: number[] = [];
  const end = performance.now() + MILLISECONDS;
  for (let n = 0; performance.now() < end; n++) {
    const heard = new Promise<void>((resolve) => arrivals.set(n, resolve));
    const start = performance.now();
    await Promise.all([sends(n), heard]);
    all.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  all.sort((a, b) => a - b);
  return [
    ['ms until it is stored and heard, median', quantile(all, 0.5)],
    ['ms until it is stored and heard, 99 %', quantile(all, 0.99)],
  ];
}

async function both(make: () => Broker): Promise<Row[]> {
  const [a, b] = [make(), make()];
  const arrivals = new Map<number, () => void>();
  await a.open(listener());
  await b.open(listener(({ channel, offset }) => channel === 'latency' && arrivals.get(offset - 1)?.()));
  const publish = (channel: string): Promise<unknown> =>
    a.publish(channel, 'binary', PAYLOAD, { retention: RETENTION });
  for (let n = 0; n < 2000; n += 100)
    await Promise.all(Array.from({ length: 100 }, (_, i) => publish(`user:${(n + i) % 1000}`)));
  const rows: Row[] = [
    ['messages/s, 1,000 users, 200 outstanding', await rate(200, (n) => publish(`user:${n % 1000}`))],
    ['messages/s, 1,000 users, one at a time', await rate(1, (n) => publish(`user:${n % 1000}`))],
    ['messages/s, one topic, 200 outstanding', await rate(200, () => publish('news'))],
    ['pages/s that open (opening), 200 outstanding', await rate(200, (n) => a.opening(`user:${n % 1000}`))],
  ];
  await b.subscribe('latency');
  rows.push(...(await latency(() => publish('latency'), arrivals)));
  await Promise.all([a.close(), b.close()]);
  return rows;
}

/** Commits of an application with 16 connections, a row of its own in each. */
async function commits(url: string, send: string | undefined): Promise<number> {
  const clients = await Promise.all(
    Array.from({ length: 16 }, async () => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      return client;
    }),
  );
  await clients[0]!.query('CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, data jsonb)');
  const free = [...clients];
  const result = await rate(clients.length, async (n) => {
    const client = free.pop()!;
    await client.query('BEGIN');
    await client.query({ name: 'order', text: 'INSERT INTO orders (data) VALUES ($1)', values: ['{"a":1}'] });
    if (send !== undefined)
      await client.query({ name: 'send', text: send, values: [`user-${n % 1000}`, '{"subject":"hello"}'] });
    await client.query('COMMIT');
    free.push(client);
  });
  await Promise.all(clients.map((client) => client.end()));
  return result;
}

async function ofPostgres(): Promise<Row[]> {
  const server = await startPostgres({ isDurable: true });
  try {
    const rows = await both(() => postgresBroker(server.url));
    const broker = postgresBroker(server.url);
    const arrivals = new Map<number, () => void>();
    await broker.open(listener(({ offset }) => arrivals.get(offset - 1)?.()));
    await broker.subscribe('user:sent');
    const app = new pg.Client({ connectionString: server.url });
    await app.connect();
    const sent = await latency(
      () => app.query('SELECT tidings.send(\'sent\', \'{"subject":"hello"}\')'),
      arrivals,
    );
    rows.push(
      ...sent.map(([what, value]): Row => [`tidings.send: ${what.replace('stored', 'committed')}`, value]),
    );
    rows.push(['commits/s of an application, 16 connections', await commits(server.url, undefined)]);
    rows.push([
      'the same, with tidings.send in each',
      await commits(server.url, 'SELECT tidings.send($1, $2)'),
    ]);
    rows.push([
      'the same, with pg_notify in its place',
      await commits(server.url, 'SELECT pg_notify($1, $2)'),
    ]);

    // Ten times what is kept, on one channel and on many.
    const small = { maxMessages: 100, maxAge: RETENTION.maxAge };
    const size = async (): Promise<number> => {
      const [row] = await server.query(
        "SELECT sum(pg_total_relation_size(c.oid))::bigint AS n FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace WHERE nspname = 'tidings' AND relkind IN ('r', 'm')",
      );
      return Number(row!.n) / 1024 / 1024;
    };
    const fill = async (rounds: number): Promise<void> => {
      for (let n = 0; n < rounds; n++) {
        await Promise.all(
          Array.from({ length: 200 }, (_, i) =>
            broker.publish(`size:${i}`, 'binary', PAYLOAD, { retention: small }),
          ),
        );
      }
    };
    await fill(100);
    await server.query('VACUUM');
    const before = await size();
    rows.push(['MiB of all tables, 20,000 messages kept', before]);
    for (let i = 0; i < 5; i++) {
      await fill(100);
      await server.query('VACUUM');
    }
    rows.push(['MiB once 100,000 more were stored and trimmed', await size()]);
    await app.end();
    await broker.close();
    return rows;
  } finally {
    await server.stop();
  }
}

async function ofRedis(): Promise<Row[]> {
  const server = await startRedis(['--appendonly', 'yes']);
  try {
    return await both(() => redisBroker(server.url, { intake: false }));
  } finally {
    await server.stop();
  }
}

const postgres = await ofPostgres();
const redis = new Map(await ofRedis());
if (values.json)
  console.log(JSON.stringify({ postgres: Object.fromEntries(postgres), redis: Object.fromEntries(redis) }));
else {
  const shown = (value: number | undefined): string =>
    value === undefined ? '' : value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);
  console.log(`${''.padEnd(60)}${'PostgreSQL'.padStart(12)}${'Redis'.padStart(12)}`);
  for (const [what, value] of postgres) {
    console.log(`${what.padEnd(60)}${shown(value).padStart(12)}${shown(redis.get(what)).padStart(12)}`);
  }
}
