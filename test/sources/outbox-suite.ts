/** What an outbox table promises, whichever database it is in. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import {
  type Broker,
  MemoryStore,
  memoryBroker,
  PushServer,
  type RunningSource,
  type SourceOptions,
  source,
} from '../../src/index.ts';
import { until } from '../support/net.ts';

/** A connection that a test keeps open, for transactions. */
export interface Session {
  run(sql: string): Promise<unknown>;
  end(): Promise<void>;
}

export interface Database {
  /** An empty database with the tables. */
  make(table?: string): Promise<string>;
  query(sql: string, url: string): Promise<Record<string, unknown>[]>;
  session(url: string): Promise<Session>;
  /** Ends all connections of sources, as an operator might. */
  cut(url: string): Promise<void>;
  kill(): Promise<void>;
  start(): Promise<void>;
  /** What a text is as a literal. */
  quote(text: string): string;
  /** Whether the column refuses what is no JSON. */
  readonly checksJson: boolean;
}

export interface Instance {
  push: PushServer;
  running: RunningSource;
  lines: string[];
  events: string[];
}

/** A row as an application writes it. `raw`: the text of data, which may be no JSON. */
export interface Written {
  user?: string;
  topic?: string;
  data?: unknown;
  raw?: string;
  settings?: unknown;
}

export function insert(db: Database, ...rows: Written[]): string {
  const cell = (value: string | undefined): string => (value === undefined ? 'NULL' : db.quote(value));
  const values = rows.map(({ user, topic, data, raw, settings }) => {
    const more = typeof settings === 'string' ? settings : settings && JSON.stringify(settings);
    return `(${[user, topic, raw ?? JSON.stringify(data), more as string | undefined].map(cell).join(', ')})`;
  });
  return `INSERT INTO tidings_outbox (user_name, topic, data, settings) VALUES ${values.join(', ')}`;
}

export async function startInstance(
  t: TestContext,
  url: string,
  broker: Broker = memoryBroker(),
  options: SourceOptions = {},
): Promise<Instance> {
  const lines: string[] = [];
  const events: string[] = [];
  const push = new PushServer({
    broker,
    limits: { message: 100_000 },
    retention: { inbox: { maxMessages: 100_000 }, topic: { maxMessages: 100_000 } },
    log: (level, message, fields) => {
      events.push(fields.event);
      lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
    },
  });
  await push.ready;
  t.after(() => push.close());
  const running = source(push, url, options);
  await running.ready;
  return { push, running, lines, events };
}

/** Why a source can't be used, and all that is said about it. */
export async function refusalOf(t: TestContext, url: string): Promise<{ error: Error; said: string }> {
  const lines: string[] = [];
  const push = new PushServer({ log: (...line) => lines.push(JSON.stringify(line)) });
  t.after(() => push.close());
  await push.ready;
  const error = await source(push, url).ready.then(
    () => new Error('it runs'),
    (reason: Error) => reason,
  );
  return { error, said: `${lines.join('\n')}${inspect(error, { depth: 9 })}` };
}

/** Of three rows, two are sent, and one is dead. @param writer the login that inserts them */
export async function sendsAndBuries(db: Database, broker: Broker, url: string, writer = url): Promise<void> {
  const rows = [
    { user: 'alice', data: 1 },
    { user: '', data: 2 },
    { user: 'alice', data: 3 },
  ];
  await db.query(insert(db, ...rows), writer);
  await until('them', async () => (await storedOf(broker, 'user:alice')).length === 2);
  await until(
    'the dead one',
    async () => (await db.query('SELECT * FROM tidings_outbox_dead', url)).length === 1,
  );
}

/** All that a channel has, in order. */
export async function storedOf(broker: Broker, channel: string): Promise<unknown[]> {
  const data: unknown[] = [];
  for (let after = 0; ; ) {
    const { messages } = await broker.read(channel, after, 1000);
    if (messages.length === 0) return data;
    for (const { kind, payload } of messages)
      data.push(kind === 'json' ? JSON.parse(payload.toString()) : payload.toString());
    after = messages.at(-1)!.offset;
  }
}

const count = async (db: Database, url: string, table = 'tidings_outbox'): Promise<number> =>
  Number((await db.query(`SELECT COUNT(*) AS n FROM ${table}`, url))[0]!['n']);

const isEmpty = (db: Database, url: string): Promise<unknown> =>
  until('the table to be empty', async () => (await count(db, url)) === 0);

const numbers = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** The connection to the store is lost as often as a test likes. */
function fragile(inner: Broker): Broker & { isAway: boolean } {
  const publish = inner.publish.bind(inner);
  const broker = Object.assign(inner, { isAway: false });
  broker.publish = async (...all) => {
    if (broker.isAway) throw new Error('the store is away');
    return publish(...all);
  };
  return broker;
}

/** @param server the same for all tests of a file */
export function outboxSuite(server: () => Database): void {
  test('a row is sent once it is committed, and removed; one that is rolled back never is', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const { running } = await startInstance(t, url, broker);
    const session = await db.session(url);
    await session.run('BEGIN');
    await session.run(insert(db, { user: 'alice', data: 'rolled back' }));
    await session.run('ROLLBACK');
    await session.run('BEGIN');
    await session.run(insert(db, { user: 'alice', data: { text: 'zwölf 😀 \u2028 \\ \' "' } }));
    await session.run('SAVEPOINT a');
    await session.run(insert(db, { user: 'alice', data: 'rolled back, too' }));
    await session.run('ROLLBACK TO SAVEPOINT a');
    await session.run(insert(db, { user: 'alice', data: 'two' }, { topic: 'news', data: 3 }));
    await db.query(insert(db, { user: 'bob', data: 'meanwhile' }), url);
    await until('bob', async () => (await storedOf(broker, 'user:bob')).length === 1);
    assert.equal(running.counts.stored, 1);
    await session.run('COMMIT');
    await session.end();
    await isEmpty(db, url);
    assert.deepEqual(await storedOf(broker, 'user:alice'), [{ text: 'zwölf 😀 \u2028 \\ \' "' }, 'two']);
    assert.deepEqual(await storedOf(broker, 'news'), [3]);
    assert.equal(running.counts.stored, 4);
  });

  test('what settings say holds, and data stays as it was written', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const { push } = await startInstance(t, url, broker);
    const raw = '{"n": 12345678901234567890.10, "a":1,"a":2}';
    await db.query(
      insert(
        db,
        { user: 'alice', raw },
        { data: 'many', settings: { users: ['alice', 'bob'] } },
        { user: 'alice', data: 'old', settings: { replaces: 'k' } },
        { user: 'alice', data: 'new', settings: { replaces: 'k', ttl: 1e9, traceparent: null } },
        { user: 'alice', data: 'once', settings: { idempotencyKey: 'i' } },
        { user: 'alice', data: 'once', settings: { idempotencyKey: 'i' } },
        { user: 'alice', data: 'later', settings: { at: '2100-01-01' } },
      ),
      url,
    );
    await isEmpty(db, url);
    const { messages } = await push.inbox('alice', {}, (_, bytes) => bytes.toString());
    assert.deepEqual(
      messages.map(({ data }) => data),
      ['once', 'new', 'many', raw],
    );
    assert.deepEqual(await storedOf(broker, 'user:bob'), ['many']);
    assert.equal((await push.scheduled()).count, 1);
  });

  test('poison among good rows goes to the dead letters with its reason, as it was', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const { running, lines } = await startInstance(t, url, broker);
    const poison: [row: Written, reason: RegExp][] = [
      [{ user: '', data: 'secretword' }, /user name is empty/],
      [{ user: 'a'.repeat(200), data: 1 }, /longer than 128/],
      [{ topic: 'inbox', data: 1 }, /is not a topic/],
      [{ data: 'nobody' }, /one of user, users and topic/],
      [{ user: 'a', topic: 'b', data: 1 }, /one of user, users and topic/],
      [{ user: 'alice', data: 1, settings: { users: ['bob'] } }, /one of user, users and topic/],
      [{ user: 'alice', data: 1, settings: { data: 2 } }, /settings has data/],
      [{ user: 'alice', data: 1, settings: [1] }, /settings is no object/],
      [{ user: 'alice', data: 1, settings: { tll: 5 } }, /is ttl meant/],
      [{ user: 'alice', data: 'x'.repeat(100_001) }, /over limits\.message/],
      [{ user: 'alice', data: 'x'.repeat(3_000_000) }, /the row has 3000002 bytes/],
    ];
    if (!db.checksJson) {
      poison.push([{ user: 'alice', raw: '{secretword' }, /^data is not JSON$/]);
      poison.push([{ user: 'alice', data: 1, settings: '{secretword' }, /^settings is not JSON$/]);
    }
    const rows = poison.flatMap(([row], i) => [{ user: 'alice', data: `before ${i}` }, row]);
    for (const row of rows) await db.query(insert(db, row), url);
    await isEmpty(db, url);
    assert.deepEqual(
      await storedOf(broker, 'user:alice'),
      poison.map((_, i) => `before ${i}`),
    );
    const dead = await db.query(
      'SELECT user_name, topic, reason, LENGTH(CAST(data AS CHAR)) AS n FROM tidings_outbox_dead ORDER BY number',
      url,
    );
    assert.equal(running.counts.dead, poison.length);
    for (const [i, [row, reason]] of poison.entries()) {
      const found = dead.find(
        (each) => reason.test(String(each['reason'])) && each['user_name'] === (row.user ?? null),
      );
      assert.ok(found, `${i}: ${reason} in ${JSON.stringify(dead)}`);
    }
    assert.equal(dead.length, poison.length);
    assert.ok(!lines.join().includes('secretword'));
  });

  test('what is written after something was committed comes behind it, whoever writes, and with whatever ids', async (t) => {
    const db = server();
    const url = await db.make();
    const store = new MemoryStore();
    const broker = memoryBroker(store);
    const instances = [
      await startInstance(t, url, broker, { prefetch: 40 }),
      await startInstance(t, url, memoryBroker(store), { prefetch: 40 }),
    ];
    // Each has its part of the shares.
    let early = 0;
    await until('both to work', async () => {
      await db.query(insert(db, { user: `early${early++}`, data: 0 }), url);
      return instances.every(({ running }) => running.counts.stored > 0);
    });
    const users = numbers(10).map((n) => `u${n}`);
    const written = new Map<string, string[]>(users.map((user) => [user, []]));
    const rolledBack: string[] = [];
    let random = 7;
    const next = (below: number): number => {
      random = (random * 48_271) % 2_147_483_647;
      return random % below;
    };
    const writer = async (w: number): Promise<void> => {
      const session = await db.session(url);
      for (let n = 0; n < 12; n++) {
        await session.run('BEGIN');
        const rows: Written[] = [];
        for (let i = 0; i <= next(3); i++) {
          const isWide = next(8) === 0;
          const to = isWide ? [users[next(10)]!, users[next(10)]!] : [users[next(10)]!];
          const data = { w, n, i, to };
          const row: Written = isWide
            ? { data, settings: { users: [...new Set(to)] } }
            : { user: to[0]!, data };
          await session.run(insert(db, row));
          rows.push(row);
        }
        const isKept = next(4) > 0;
        await session.run(isKept ? 'COMMIT' : 'ROLLBACK');
        for (const { data } of rows) {
          const name = JSON.stringify(data);
          if (!isKept) rolledBack.push(name);
          else for (const user of new Set((data as { to: string[] }).to)) written.get(user)!.push(name);
        }
      }
      await session.end();
    };
    await Promise.all(numbers(24).map(writer));
    await isEmpty(db, url);
    for (const user of users) {
      const found = (await storedOf(broker, `user:${user}`)).map((data) => JSON.stringify(data));
      assert.deepEqual([...found].sort(), [...written.get(user)!].sort(), `${user}: each once`);
      for (const w of numbers(24)) {
        const own = (name: string): boolean => name.startsWith(`{"w":${w},`);
        assert.deepEqual(found.filter(own), written.get(user)!.filter(own), `${user}, writer ${w}: in order`);
      }
      assert.ok(!found.some((name) => rolledBack.includes(name)));
    }
  });

  test('a lower id that is committed later is not passed over', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    await startInstance(t, url, broker);
    const sessions = await Promise.all(numbers(5).map(() => db.session(url)));
    for (const [i, session] of sessions.entries()) {
      await session.run('BEGIN');
      await session.run(insert(db, { user: 'alice', data: i }));
    }
    for (const i of [4, 2, 3, 0, 1]) {
      await sessions[i]!.run('COMMIT');
      await until(`${i}`, async () => (await storedOf(broker, 'user:alice')).at(-1) === i);
    }
    await Promise.all(sessions.map((session) => session.end()));
    await isEmpty(db, url);
  });

  test('ids that the application gives are taken in their order, also those below 0', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = fragile(memoryBroker());
    const { running } = await startInstance(t, url, broker, { prefetch: 2 });
    broker.isAway = true;
    await db.query(insert(db, { user: 'first', data: 0 }), url);
    await until('it to wait', () => running.counts.underWay === 1);
    const ids = [1000, -5, 30, -12, -1, '9223372036854775807', '-9223372036854775808', 4];
    // At once, so that they are seen together.
    const values = ids.map((id) => `(${id}, 'alice', '"${id}"')`);
    await db.query(`INSERT INTO tidings_outbox (id, user_name, data) VALUES ${values.join(', ')}`, url);
    broker.isAway = false;
    await isEmpty(db, url);
    const ordered = [...ids].sort((a, b) => Number(a) - Number(b)).map(String);
    assert.deepEqual(await storedOf(broker, 'user:alice'), ordered);
    assert.equal(running.counts.duplicates, 0);
  });

  test('while the store is away nothing is lost or dead, no more is read than may be, and then all goes on in order', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = fragile(memoryBroker());
    const { running } = await startInstance(t, url, broker, { prefetch: 20 });
    broker.isAway = true;
    const rows = numbers(300).map((n) => ({ user: `u${n % 3}`, data: n }));
    await db.query(insert(db, ...rows), url);
    await until('attempts', () => running.counts.retries >= 5);
    assert.equal(running.counts.underWay, 20);
    assert.equal(await count(db, url), 300);
    broker.isAway = false;
    await isEmpty(db, url);
    for (const user of numbers(3)) {
      assert.deepEqual(
        await storedOf(broker, `user:u${user}`),
        numbers(300).filter((n) => n % 3 === user),
      );
    }
    assert.equal(running.counts.dead, 0);
  });

  test('a row for many waits for all that is older, and what is newer for it, whichever instance reads them', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = fragile(memoryBroker());
    const { running } = await startInstance(t, url, broker);
    const many = (data: number): Written => ({ data, settings: { users: ['alice', 'bob'] } });
    const rows = [{ user: 'alice', data: 1 }, many(2), many(3), { user: 'bob', data: 4 }, many(5)];
    broker.isAway = true;
    await db.query(insert(db, ...rows), url);
    await until('attempts', () => running.counts.retries >= 3);
    assert.equal(running.counts.underWay, 1, 'the oldest one');
    broker.isAway = false;
    await isEmpty(db, url);
    assert.deepEqual(await storedOf(broker, 'user:alice'), [1, 2, 3, 5]);
    assert.deepEqual(await storedOf(broker, 'user:bob'), [2, 3, 4, 5]);
    broker.isAway = true;
    await db.query(insert(db, many(6), { user: 'alice', data: 7 }), url);
    const before = running.counts.retries;
    await until('attempts', () => running.counts.retries >= before + 3);
    assert.equal(running.counts.underWay, 1, 'the one for many');
    broker.isAway = false;
    await isEmpty(db, url);
    assert.deepEqual(await storedOf(broker, 'user:alice'), [1, 2, 3, 5, 6, 7]);
  });

  test('a row that somebody has locked holds up no other, and is removed when it is free', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const held = fragile(broker);
    const { running } = await startInstance(t, url, held);
    held.isAway = true;
    await db.query(insert(db, ...numbers(20).map((n) => ({ user: `u${n}`, data: n }))), url);
    await until('they are under way', () => running.counts.underWay === 20);
    const session = await db.session(url);
    await session.run('BEGIN');
    for (const id of [4, 8]) await session.run(`SELECT id FROM tidings_outbox WHERE id = ${id} FOR UPDATE`);
    held.isAway = false;
    await until('the others', async () => (await count(db, url)) === 2);
    await db.query(insert(db, { user: 'later', data: 1 }), url);
    await until('what comes later', async () => (await storedOf(broker, 'user:later')).length === 1);
    await session.run('ROLLBACK');
    await session.end();
    await isEmpty(db, url);
    assert.equal(running.counts.losses, 0);
    assert.equal(running.counts.stored, 21);
  });

  test('connections that are cut are made again, and what was under way is sent once, in order', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const publish = broker.publish.bind(broker);
    broker.publish = async (...all) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return publish(...all);
    };
    const { running, events } = await startInstance(t, url, broker, { prefetch: 50 });
    let isOver = false;
    const cutting = (async () => {
      while (!isOver) {
        await db.cut(url);
        const losses = running.counts.losses;
        await until(
          'another connection',
          () => isOver || running.counts.connected || running.counts.losses > losses,
        );
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
    })();
    for (const n of numbers(60)) {
      await db.query(insert(db, { user: 'alice', data: n }, { user: 'bob', data: n }), url);
    }
    await until('some cuts', () => running.counts.losses >= 3);
    isOver = true;
    await cutting;
    await isEmpty(db, url);
    assert.deepEqual(await storedOf(broker, 'user:alice'), numbers(60));
    assert.deepEqual(await storedOf(broker, 'user:bob'), numbers(60));
    assert.ok(events.includes('source-away') && events.includes('source-back'));
  });

  test('when the database is killed and comes back, all goes on', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const { running, lines } = await startInstance(t, url, broker);
    for (const n of numbers(3)) {
      await db.query(insert(db, ...numbers(50).map((i) => ({ user: 'alice', data: n * 50 + i }))), url);
      await until('the connection', () => running.counts.connected);
      await db.kill();
      await until('the loss', () => running.counts.losses === n + 1);
      await db.start();
    }
    await until('the connection', () => running.counts.connected);
    await isEmpty(db, url);
    assert.deepEqual(await storedOf(broker, 'user:alice'), numbers(150));
    assert.ok(!lines.join().includes('hunter2'));
  });

  test('instances share the work, and take over from one that goes', async (t) => {
    const db = server();
    const url = await db.make();
    const store = new MemoryStore();
    const broker = memoryBroker(store);
    const instances: Instance[] = [];
    for (const _ of numbers(3)) instances.push(await startInstance(t, url, memoryBroker(store)));
    let sent = 0;
    const send = async (): Promise<void> => {
      const rows = numbers(64).map((n) => ({ user: `u${n}`, data: sent++ }));
      await db.query(insert(db, ...rows), url);
      await isEmpty(db, url);
    };
    await until('all of them to work', async () => {
      const before = instances.map(({ running }) => running.counts.stored);
      await send();
      return instances.every(({ running }, i) => running.counts.stored > before[i]!);
    });
    await instances[0]!.running.close();
    await send();
    await instances[1]!.push.close();
    await send();
    for (const n of numbers(64)) {
      const found = (await storedOf(broker, `user:u${n}`)) as number[];
      assert.deepEqual(
        found,
        numbers(sent).filter((each) => each % 64 === n),
      );
    }
  });

  test('closing stores what is under way, removes it, and leaves the rest for others', async (t) => {
    const db = server();
    const url = await db.make();
    const store = new MemoryStore();
    const broker = fragile(memoryBroker(store));
    const first = await startInstance(t, url, broker, { prefetch: 10, closeTimeout: 20_000 });
    broker.isAway = true;
    await db.query(insert(db, ...numbers(100).map((n) => ({ user: 'alice', data: n }))), url);
    await until('they are under way', () => first.running.counts.underWay === 10);
    const closing = first.running.close();
    broker.isAway = false;
    await closing;
    assert.equal(await count(db, url), 90);
    assert.equal(first.running.counts.stored, 10);
    await startInstance(t, url, memoryBroker(store));
    await isEmpty(db, url);
    assert.deepEqual(await storedOf(broker, 'user:alice'), numbers(100));
  });

  test('a uid that the application gives is sent once', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const { running } = await startInstance(t, url, broker);
    for (const uid of ['order 7', 'order 7', 'ü'.repeat(255), 'ü'.repeat(255)]) {
      await db.query(
        `INSERT INTO tidings_outbox (uid, user_name, data) VALUES (${db.quote(uid)}, 'alice', '1')`,
        url,
      );
    }
    await isEmpty(db, url);
    assert.deepEqual(await storedOf(broker, 'user:alice'), [1, 1]);
    assert.equal(running.counts.duplicates, 2);
  });

  test('map gets columns and data, and may leave out what it likes', async (t) => {
    const db = server();
    const url = await db.make();
    const broker = memoryBroker();
    const { running } = await startInstance(t, url, broker, {
      map: ({ id, body, attributes, time }) =>
        attributes['topic'] === 'skip'
          ? undefined
          : {
              user: 'alice',
              data: { ...attributes, id: id.length, time: typeof time, body: JSON.parse(body.toString()) },
            },
    });
    await db.query(
      insert(db, { topic: 'skip', data: 1 }, { topic: 'orders', data: { n: 1 }, settings: { kind: 'x' } }),
      url,
    );
    await isEmpty(db, url);
    const [found] = (await storedOf(broker, 'user:alice')) as Record<string, unknown>[];
    assert.deepEqual(
      { ...found, settings: JSON.parse(String(found!['settings'])) },
      { id: 36, user_name: null, topic: 'orders', settings: { kind: 'x' }, time: 'number', body: { n: 1 } },
    );
    assert.equal(running.counts.skipped, 1);
  });

  test('a table of another name, by its URL or by settings; two tables may have the same ids', async (t) => {
    const db = server();
    const url = await db.make();
    const other = await db.make('Other_1$');
    const broker = memoryBroker();
    const { push } = await startInstance(t, url, broker);
    const named = await startInstance(t, `${other}?table=Other_1$&prefetch=10`, broker);
    assert.ok(named.running.name.includes('Other_1$'));
    assert.throws(() => source(push, `${other}?tabel=x`), /there is no "tabel"; is table meant\?/);
    assert.throws(() => source(push, `${other}?table=x;y`), /name of a table/);
    assert.throws(() => source(push, { url: other, table: 'a"b' }), /name of a table/);
    assert.throws(() => source(push, { url: other, tabel: 'a' } as never), /is table meant/);
    assert.throws(() => source(push, `${other}?poll=0`), /poll/);
  });
}
