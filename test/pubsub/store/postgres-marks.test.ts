/** Marks in PostgreSQL: how much a step does, what becomes of them in a crash, and that nobody waits for who is slow. */
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { wasNotExecutedByPostgres } from '../../../src/pubsub/postgres/errors.ts';
import { fromText, toText } from '../../../src/pubsub/postgres/text.ts';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import { decodeMarked } from '../../../src/pubsub/store/postgres-marks.ts';
import { cleanups } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { nextChannel, options, text } from './broker-suite.ts';
import { agreeWithMemory } from './marks-agreement.ts';
import { counts } from './marks-suite.ts';
import { fill, keepThroughKills } from './marks-work.ts';
import { open } from './postgres-brokers.ts';

interface Proxy {
  url: string;
  /** What to do with what comes from the server for a client that has just said this. */
  loses: ((said: Buffer) => boolean) | undefined;
  /** Clients that are connected, until they are frozen: they take nothing any more. */
  freeze(): void;
}

/** Between a broker and the server. */
async function startProxy(url: string): Promise<Proxy> {
  const { port } = new URL(url);
  const clients = new Set<Socket>();
  const proxy: Proxy = {
    url: '',
    loses: undefined,
    freeze: () => {
      for (const client of clients) client.pause();
    },
  };
  const server = createServer((client) => {
    const behind = connect(Number(port), '127.0.0.1');
    clients.add(behind);
    let isLost = false;
    client.on('data', (said) => {
      isLost ||= proxy.loses?.(said) ?? false;
      behind.write(said);
    });
    behind.on('data', (said) => {
      if (!isLost) return void client.write(said);
      proxy.loses = undefined;
      client.destroy();
    });
    for (const [one, other] of [
      [client, behind],
      [behind, client],
    ] as const) {
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    server.close();
    for (const client of clients) client.destroy();
  });
  proxy.url = url.replace(`:${port}`, `:${(server.address() as AddressInfo).port}`);
  return proxy;
}

test('names and keys with U+0000 go to PostgreSQL and back', () => {
  const odd = ['', 'a', '\0', '\u0001', '\u00010', '\u00011', '\0\0\u0001\u0001', 'a\0b\u0001c', 'ü你🎉'];
  for (const name of odd) {
    assert.equal(fromText(toText(name)), name);
    assert.ok(!toText(name).includes('\0'));
  }
  assert.equal(new Set(odd.map(toText)).size, odd.length);
});

test('what somebody else notifies as marks is none', () => {
  const own = ['e', 3, 'i', 1, 10, 5, 'v', 2, 'w', '{[1,3)}', '{}', '{}', '{[2,3),[5,9)}'];
  assert.deepEqual(decodeMarked(JSON.stringify(own))?.marks.gone, [
    [2, 2],
    [5, 8],
  ]);
  const bad = [
    '',
    '[]',
    '{}',
    'null',
    '5',
    '"x"',
    '[[',
    JSON.stringify(own.slice(0, 9)),
    JSON.stringify(own.slice(0, 12)),
  ];
  bad.push(JSON.stringify([...own.slice(0, 9), 1, 2, 3, 4]), JSON.stringify([null, ...own.slice(1)]));
  for (const body of bad) assert.equal(decodeMarked(body), undefined, body);
});

describe('marks in PostgreSQL', { ...needs('postgres'), timeout: 300_000 }, () => {
  let server: PostgresServer;
  let url: string;
  before(async () => {
    server = await startPostgres();
    url = await server.database();
  });
  after(() => server?.stop());

  /** How often the marks of a channel have changed. */
  const versionOf = async (broker: Broker, channel: string): Promise<number> =>
    (await broker.marks(channel)).marks.version.offset;

  test('ten thousand messages: all are read as one range, and deleted in steps, none of which is long', async () => {
    const channel = nextChannel();
    const [a, ra] = await open(url);
    await a.subscribe(channel);
    const positions = await fill(a, channel, 10_000);
    const all = await a.mark(channel, { as: 'read' });
    assert.deepEqual([all.changed, all.marks.read], [10_000, [[1, 10_000]]]);
    assert.equal((await a.mark(channel, { as: 'unread', upTo: positions[4_999]! })).changed, 5_000);
    assert.deepEqual(counts(await a.marks(channel)), { unseen: 0, unread: 5_000, all: 10_000 });
    const { changed, marks } = await a.mark(channel, { as: 'deleted', upTo: positions[8_999]! });
    assert.deepEqual([changed, marks.gone, marks.version.offset], [9_000, [[1, 9_000]], 2 + 18]);
    // What comes while it is done is not meant.
    const [rest] = await Promise.all([a.mark(channel, { as: 'deleted' }), fill(a, channel, 1)]);
    assert.ok(rest.changed === 1_000 || rest.changed === 1_001);
    assert.equal(counts(await a.marks(channel)).all, 10_001 - 9_000 - rest.changed);
    await until('all steps to be told', () => ra.marks.length >= 2 + 18 + 2);
    const left = await server.query(
      "SELECT count(*)::int AS count FROM tidings.message WHERE kind = 'g' AND (payload <> '' OR expires IS NOT NULL)",
      url,
    );
    assert.deepEqual(left, [{ count: 0 }]);
  });

  test('of large messages few are erased in one step', async () => {
    const channel = nextChannel();
    const [a] = await open(url);
    for (let i = 0; i < 30; i++) await a.publish(channel, 'binary', Buffer.alloc(500_000), options());
    const { changed, marks } = await a.mark(channel, { as: 'deleted' });
    assert.deepEqual([changed, marks.gone], [30, [[1, 30]]]);
    assert.ok(marks.version.offset >= 3 && marks.version.offset <= 5, `${marks.version.offset} steps`);
  });

  test('thousands that expire together are taken away in steps, and each is told to be gone', async () => {
    const channel = nextChannel();
    const [a] = await open(url);
    await fill(a, channel, 2_500, { ttl: 200 });
    await fill(a, channel, 1);
    const all = await until('all of them to be gone', async () => {
      const marked = await a.marks(channel);
      return marked.marks.gone[0]?.[1] === 2_500 && marked;
    });
    assert.deepEqual(counts(all), { unseen: 1, unread: 1, all: 1 });
    assert.equal(all.marks.next! > Date.now() + 3_000_000, true, 'nothing else expires');
  });

  test('marks that do not fit into a bell are told nevertheless, to all, the last ones in the end', async () => {
    const channel = nextChannel();
    const [a, ra] = await open(url);
    const [b, rb] = await open(url);
    for (const broker of [a, b]) await broker.subscribe(channel);
    const positions = await fill(a, channel, 2_400);
    const odd = positions.filter(({ offset }) => offset % 2 === 1);
    for (let i = 0; i < 1_200; i += 100) {
      await (i % 200 ? a : b).mark(channel, { as: 'read', messages: odd.slice(i, i + 100) });
    }
    const marked = await a.marks(channel);
    assert.equal(marked.marks.read.length, 1_200);
    for (const { marks } of [ra, rb]) {
      await until('the last ones', () => marks.at(-1)?.[1].marks.version.offset === 12);
      assert.deepEqual(marks.at(-1)![1], marked);
    }
  });

  test('who takes no answer keeps nobody waiting, however long it is', async () => {
    const channel = nextChannel();
    const [a] = await open(url);
    const positions = await fill(a, channel, 8_200);
    const odd = positions.filter(({ offset }) => offset % 2 === 1);
    await a.mark(channel, { as: 'seen' });
    for (let i = 0; i < 4_000; i += 1000) {
      await a.mark(channel, { as: 'read', messages: odd.slice(i, i + 1000) });
    }
    const proxy = await startProxy(url);
    const [stuck] = await open(proxy.url, { statementTimeout: 2_000, publishMaxWait: 5_000 });
    await Promise.all(Array.from({ length: 20 }, () => stuck.marks(channel)));
    proxy.freeze();
    const asked = Array.from(
      { length: 40 },
      (_, i): Promise<unknown> =>
        i % 4 > 0 ? stuck.marks(channel) : stuck.mark(channel, { as: i % 8 ? 'seen' : 'unarchived' }),
    );
    const settled = Promise.allSettled(asked);
    for (let i = 0; i < 20; i++) await a.mark(channel, { as: 'read', messages: [positions[2 * i + 1]!] });
    assert.equal((await a.publish(channel, 'text', text('x'), options())).offset, 8_201);
    await settled;
  });

  test('a mark whose answer was lost is made once, and says what it has changed', async () => {
    const channel = nextChannel();
    const proxy = await startProxy(url);
    const [a] = await open(proxy.url, { connections: 1 });
    const positions = await fill(a, channel, 10);
    const isMark = (said: Buffer): boolean =>
      said.includes(channel) && /\bread\b|\bwithdrawn\b/.test(said.toString('latin1'));
    proxy.loses = isMark;
    const { changed, marks } = await a.mark(channel, { as: 'read', messages: positions.slice(0, 4) });
    assert.deepEqual([changed, marks.version.offset], [4, 1]);
    proxy.loses = isMark;
    assert.equal(await a.remove(channel, { position: positions[6]! }), true);
    proxy.loses = isMark;
    await assert.rejects(a.mark(channel, { as: 'read' }), { code: 'POSTGRES_OUTCOME_UNKNOWN' });
    assert.equal((await a.mark(channel, { as: 'read' })).changed, 0);
  });

  test('hundreds at once on a few channels, by five instances: nothing fails, and no deadlock is ever met', async () => {
    const channels = Array.from({ length: 3 }, () => nextChannel());
    const all = await Promise.all(Array.from({ length: 5 }, () => open(url)));
    const brokers = all.map(([broker]) => broker);
    const sent = await Promise.all(channels.map((channel) => fill(brokers[0]!, channel, 100)));
    const deadlocks = async (): Promise<unknown> =>
      (
        await server.query('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()', url)
      )[0]!['deadlocks'];
    const before = await deadlocks();
    const work = Array.from({ length: 600 }, (_, i): Promise<unknown> => {
      const broker = brokers[i % 5]!;
      const which = i % 3;
      const [channel, messages] = [channels[which]!, sent[which]!];
      if (i % 4 === 0) {
        return broker.publish(
          channel,
          'text',
          text('x'),
          options({ replaces: `k${i % 7}`, ttl: 50 + (i % 9) * 20 }),
        );
      }
      if (i % 4 === 1) return broker.mark(channel, { as: 'read', messages: [messages[i % 100]!] });
      if (i % 4 === 2) return broker.marks(channel);
      return i % 8 === 3
        ? broker.remove(channel, { position: messages[(i * 7) % 100]! })
        : broker.mark(channel, { as: i % 16 < 8 ? 'unread' : 'archived' });
    });
    await Promise.all(work);
    assert.equal(await deadlocks(), before);
    for (const channel of channels) {
      const told = await Promise.all(brokers.map((broker) => broker.marks(channel)));
      await until('what expires to be gone', async () => {
        const marked = await brokers[0]!.marks(channel);
        return (marked.marks.gone.at(-1)?.[1] ?? 0) === marked.top.offset;
      });
      assert.equal(new Set(told.map(({ marks }) => marks.version.epoch)).size, 1);
    }
  });

  test('what is asked of many messages is found by indexes', async () => {
    const channel = nextChannel();
    const [a] = await open(url);
    await fill(a, channel, 5_000, { ttl: 3_600_000 });
    const [first] = await fill(a, channel, 1, { replaces: 'k' });
    await server.query('VACUUM ANALYZE', url);
    const scans = async (): Promise<unknown> => {
      await server.query('SELECT pg_stat_force_next_flush()', url);
      const rows = await server.query(
        "SELECT coalesce(sum(seq_scan), 0)::int AS count FROM pg_stat_user_tables WHERE relname LIKE 'message%' OR relname IN ('marks', 'channel')",
        url,
      );
      return rows[0]!['count'];
    };
    const [b] = await open(url, { connections: 1 });
    await b.marks(channel);
    const before = await scans();
    for (let i = 0; i < 10; i++) {
      await b.marks(channel);
      await b.mark(channel, { as: i % 2 ? 'read' : 'unread', messages: [first!] });
      await b.mark(channel, { as: 'seen', upTo: first! });
      await b.remove(channel, { key: 'k' });
    }
    await b.mark(channel, { as: 'deleted' });
    await b.close();
    assert.equal(await scans(), before);
  });

  test('marks that a restored database has lost get another epoch, and a log that has rewound keeps those of its moment', async () => {
    const channel = nextChannel();
    const [a, ra] = await open(url);
    const [stranger] = await open(url);
    await a.subscribe(channel);
    const positions = await fill(a, channel, 6);
    await a.mark(channel, { as: 'read', upTo: positions[3]! });
    const tables = ['channel', 'message', 'marks'];
    const own = (table: string): string =>
      table === 'channel'
        ? `name = '${channel}'`
        : `channel = (SELECT key FROM tidings.channel WHERE name = '${channel}')`;
    const save = tables.map(
      (table) => `CREATE TABLE kept_${table} AS SELECT * FROM tidings.${table} WHERE ${own(table)}`,
    );
    await server.query(save.join(';'), url);
    const restored = (only: string[]): string =>
      only
        .toReversed()
        .map((table) => `DELETE FROM tidings.${table} WHERE ${own(table)}`)
        .concat(
          only.map(
            (table) => `INSERT INTO tidings.${table} OVERRIDING SYSTEM VALUE SELECT * FROM kept_${table}`,
          ),
        )
        .join(';');
    // Marks only.
    await a.mark(channel, { as: 'archived', messages: positions.slice(0, 2) });
    const { version } = (await a.marks(channel)).marks;
    await server.query(restored(['marks']), url);
    // It knows of nothing, and counts the lost change again.
    await stranger.mark(channel, { as: 'seen' });
    const now = await a.marks(channel);
    assert.notEqual(now.marks.version.epoch, version.epoch);
    assert.deepEqual([now.marks.read, now.marks.archived, now.top], [[[1, 4]], [], positions[5]]);
    await until(
      'that to be told',
      () => ra.marks.at(-1)?.[1].marks.version.epoch === now.marks.version.epoch,
    );
    // All of it.
    const [lost] = await fill(a, channel, 1);
    await a.mark(channel, { as: 'read', messages: [lost!] });
    await server.query(restored(tables), url);
    const { marks, top } = await a.marks(channel);
    assert.notEqual(top.epoch, lost!.epoch);
    assert.deepEqual([top.offset, marks.read, marks.gone], [6, [[1, 4]], []]);
    assert.equal(
      (await a.mark(channel, { as: 'read', messages: positions })).changed,
      0,
      'they are of the old epoch',
    );
  });

  test('the store agrees with that in memory after whatever is sent, marked, replaced and withdrawn', async () => {
    const [a] = await open(url);
    const [b] = await open(url);
    await agreeWithMemory(a, b, 40);
  });

  test('what was said to be marked, replaced or withdrawn is so after kill -9, again and again', async () => {
    await keepThroughKills(nextChannel(), await open(url), await open(url), server);
  });

  test('while PostgreSQL is away marks wait side by side, however many there are of one channel', async () => {
    const channel = nextChannel();
    const [a, ra] = await open(url, { publishMaxWait: 500 });
    const [first] = await fill(a, channel, 1);
    await server.kill();
    try {
      await until('the loss to be told', () => ra.downs > 0);
      const start = performance.now();
      const marks = Array.from({ length: 30 }, () => a.mark(channel, { as: 'read', messages: [first!] }));
      const removal = a.remove(channel, { position: first! });
      for (const outcome of await Promise.allSettled([...marks, removal])) {
        assert.ok(outcome.status === 'rejected' && wasNotExecutedByPostgres(outcome.reason), String(outcome));
      }
      // Half a second each would be fifteen.
      assert.ok(performance.now() - start < 7_500, `${performance.now() - start} ms`);
    } finally {
      await server.start();
    }
    await until('it to be back', () => ra.ups > 0);
    const [again] = await fill(a, channel, 1);
    assert.equal((await a.mark(channel, { as: 'read', messages: [again!] })).changed, 1);
    assert.ok((await versionOf(a, channel)) >= 1);
  });
});
