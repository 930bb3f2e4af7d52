/** tidings.send and tidings.publish, called by applications in their own transactions. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import type { Broker, BrokerListener, StoredMessage } from '../../../src/pubsub/store/broker.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { cleanups } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { nextChannel, options, Recorder, text } from './broker-suite.ts';

const postgres = needs('postgres');
let server: PostgresServer;
before(async () => {
  if (!postgres.skip) server = await startPostgres({ settings: ['max_prepared_transactions = 20'] });
});
after(() => server?.stop());

async function open(listener: Partial<BrokerListener> = {}): Promise<[Broker, Recorder]> {
  const broker = postgresBroker(server.url, { connections: 4 });
  cleanups.push(() => broker.close());
  const recorder = Object.assign(new Recorder(), listener);
  await broker.open(recorder);
  return [broker, recorder];
}

/** An application's connection. */
async function connect(url = server.url): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  cleanups.push(() => client.end());
  return client;
}

const nextUser = (): string => nextChannel('someone');
const said = (messages: StoredMessage[]): unknown[] =>
  messages.map(({ payload }) => JSON.parse(String(payload)));
async function log(broker: Broker, user: string): Promise<unknown[]> {
  return said((await broker.read(`user:${user}`, 0, 1000)).messages);
}

test('an id is 16 characters of base64url, the first of which is no hyphen', postgres, async () => {
  await open();
  const app = await connect();
  const { rows } = await app.query('SELECT tidings.random_id(12) AS id FROM generate_series(1, 5000)');
  const ids = rows.map(({ id }) => id as string);
  assert.deepEqual(
    ids.filter((id) => !/^[0-9A-Za-z_][0-9A-Za-z_-]{15}$/.test(id)),
    [],
  );
  assert.equal(new Set(ids).size, ids.length);
});

test('what a transaction sends is told when it commits, and not before', postgres, async () => {
  const [broker, heard] = await open();
  const user = nextUser();
  await broker.subscribe(`user:${user}`);
  const app = await connect();
  await app.query('BEGIN');
  const { rows } = await app.query('SELECT tidings.send($1, $2) AS id', [user, { subject: 'hello' }]);
  await app.query(`SELECT tidings.send('${user}', '{"subject": "again"}')`);
  assert.deepEqual(await log(broker, user), []);
  await broker.publish(`user:${user}`, 'json', text('"between"'), options());
  await app.query('COMMIT');
  await until('all of them', () => heard.messages.length === 3);
  assert.deepEqual(said(heard.messages), ['between', { subject: 'hello' }, { subject: 'again' }]);
  assert.deepEqual(
    heard.messages.map(({ offset, kind }) => [offset, kind]),
    [
      [1, 'json'],
      [2, 'json'],
      [3, 'json'],
    ],
  );
  assert.equal(heard.messages[1]!.id, rows[0].id);
  assert.deepEqual((await broker.read(`user:${user}`, 0, 10)).messages, heard.messages);
});

test('what is rolled back is never stored, of a transaction or of a savepoint in it', postgres, async () => {
  const [broker] = await open();
  const user = nextUser();
  const app = await connect();
  const send = (data: string): Promise<unknown> =>
    app.query('SELECT tidings.send($1, to_jsonb($2::text))', [user, data]);
  await app.query('BEGIN');
  await send('gone');
  await app.query('ROLLBACK');
  await app.query('BEGIN');
  await send('one');
  await app.query('SAVEPOINT a');
  await send('not this');
  await app.query('SAVEPOINT b');
  await send('nor this');
  await app.query('RELEASE b');
  await app.query('ROLLBACK TO a');
  await send('two');
  await app.query('SAVEPOINT c');
  await send('three');
  await app.query('RELEASE c');
  await app.query('COMMIT');
  await app.query('BEGIN');
  await send('of a transaction that fails');
  await assert.rejects(app.query('SELECT 1 / 0'));
  await app.query('COMMIT');
  assert.deepEqual(await log(broker, user), ['one', 'two', 'three']);
  assert.deepEqual(await server.query('SELECT * FROM tidings.pending'), []);
});

test(
  'hundreds of transactions to the same users, each in an order of its own, all commit',
  postgres,
  async () => {
    const [broker, heard] = await open();
    const users = Array.from({ length: 5 }, nextUser);
    for (const user of users) await broker.subscribe(`user:${user}`);
    const apps = await Promise.all(Array.from({ length: 30 }, () => connect()));
    await Promise.all(
      apps.map(async (app, a) => {
        for (let i = 0; i < 10; i++) {
          const order = a % 2 ? [...users] : [...users].reverse();
          await app.query('BEGIN');
          for (const user of order)
            await app.query('SELECT tidings.send($1, $2)', [user, { from: a, number: i }]);
          await app.query('COMMIT');
        }
      }),
    );
    await until('all of them', () => heard.messages.length === users.length * 300);
    for (const user of users) {
      const own = heard.messages.filter(({ channel }) => channel === `user:${user}`);
      assert.deepEqual(
        own.map(({ offset }) => offset),
        Array.from({ length: 300 }, (_, i) => i + 1),
      );
      const sent = said(own) as { from: number; number: number }[];
      for (let a = 0; a < apps.length; a++) {
        assert.deepEqual(
          sent.filter(({ from }) => from === a).map(({ number }) => number),
          [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        );
      }
    }
    assert.deepEqual(
      (
        await server.query(
          'SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()',
        )
      )[0],
      { n: 0 },
    );
  },
);

test('a transaction that stays open holds up nobody who sends to the same user', postgres, async () => {
  const [broker] = await open();
  const user = nextUser();
  const [slow, quick] = [await connect(), await connect()];
  await slow.query('BEGIN');
  await slow.query('SELECT tidings.send($1, $2)', [user, '"slow"']);
  await quick.query('SELECT tidings.send($1, $2)', [user, '"quick"']);
  await broker.publish(`user:${user}`, 'json', text('"published"'), options());
  await slow.query('COMMIT');
  assert.deepEqual(await log(broker, user), ['quick', 'published', 'slow']);
});

test('who can’t be sent to, and what is too large, is refused before the commit', postgres, async () => {
  const [broker] = await open({ maxMessage: 2000 });
  const app = await connect();
  const refused: [user: string | null, data: string | null, more: string, problem: RegExp][] = [
    ['', '1', '', /user name is empty/],
    [null, '1', '', /user name is empty/],
    ['.', '1', '', /part of a URL/],
    ['x'.repeat(129), '1', '', /longer than 128/],
    ['🎉'.repeat(65), '1', '', /longer than 128/],
    ['a\nb', '1', '', /control characters/],
    ['a\u0085b', '1', '', /control characters/],
    ['ok', null, '', /is NULL/],
    ['ok', JSON.stringify('x'.repeat(2000)), '', /2002 bytes, and may have 2000/],
    ['ok', '1', ", ttl => '0'", /ttl has to be above 0/],
    ['ok', '1', ", ttl => '-1 hour'", /ttl has to be above 0/],
    ['ok', '1', ", replaces => ''", /1 to 256/],
    ['ok', '1', `, replaces => '${'x'.repeat(257)}'`, /1 to 256/],
    ['ok', '1', `, idempotency_key => '${'x'.repeat(257)}'`, /at most 256/],
  ];
  for (const [user, data, more, problem] of refused) {
    await assert.rejects(
      app.query(`SELECT tidings.send($1, $2${more})`, [user, data]),
      problem,
      String(problem),
    );
  }
  for (const topic of ['inbox', 'broadcast', 'user:alice', '', '..', 'x'.repeat(257)]) {
    await assert.rejects(app.query('SELECT tidings.publish($1, $2)', [topic, '1']), /topic/);
  }
  for (const user of ['🎉'.repeat(64), 'Jürgen 你好', "o'neil", 'x'.repeat(128), 'a\\nb']) {
    await app.query('SELECT tidings.send($1, $2)', [user, '1']);
    assert.deepEqual(await log(broker, user), [1], user);
  }
  await app.query('SELECT tidings.send($1, $2)', ['ok', JSON.stringify('x'.repeat(1998))]);
  assert.equal((await log(broker, 'ok')).length, 1);
});

test(
  'lifetimes, keys that replace and idempotency keys mean what they mean elsewhere',
  postgres,
  async () => {
    const [broker] = await open();
    const user = nextUser();
    const channel = `user:${user}`;
    const app = await connect();
    await app.query("SELECT tidings.send($1, '1', ttl => '1 hour', replaces => 'count')", [user]);
    await app.query("SELECT tidings.send($1, '2', replaces => 'count')", [user]);
    await app.query(
      "SELECT tidings.send($1, '3', idempotency_key => 'k'), tidings.send($1, '4', idempotency_key => 'k')",
      [user],
    );
    await app.query("SELECT tidings.send($1, '5', idempotency_key => 'k')", [user]);
    const again = await broker.publish(channel, 'json', text('6'), options({ idempotencyKey: 'k' }));
    assert.deepEqual([again.duplicate, again.offset], [true, 3]);
    await app.query("SELECT tidings.send($1, '7', ttl => interval '0.2 s')", [user]);
    const { messages } = await broker.read(channel, 0, 100);
    assert.deepEqual(
      messages.map(({ kind, payload }) => `${kind} ${payload}`),
      ['gone ', 'json 2', 'json 3', 'json 7'],
    );
    await until(
      'it to expire',
      async () => (await broker.read(channel, 0, 100)).messages.at(-1)!.kind === 'gone',
    );
    assert.deepEqual((await broker.marks(channel)).marks.gone, [
      [1, 1],
      [4, 4],
    ]);
  },
);

test('a role that may call it and nothing else can send, and can’t look', postgres, async () => {
  const [broker] = await open();
  const user = nextUser();
  await server.query(
    'CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA tidings TO app; ' +
      'GRANT EXECUTE ON FUNCTION tidings.send(text, jsonb, interval, text, text) TO app',
  );
  const app = await connect(server.url.replace('postgres@', 'app@'));
  // Whatever it has put in the way.
  await app.query(
    'SET search_path = pg_temp, public; CREATE TEMP TABLE pending (channel text); SET ROLE app',
  );
  await app.query('SELECT tidings.send($1, $2)', [user, '"hello"']);
  assert.deepEqual(await log(broker, user), ['hello']);
  for (const forbidden of [
    'SELECT * FROM tidings.message',
    'SELECT * FROM tidings.pending',
    "SELECT tidings.ring('m x')",
    "SELECT tidings.enqueue('user:x', '1', NULL, NULL, NULL)",
    "SELECT tidings.publish('t', '1')",
    "SELECT tidings.sweep('', 1)",
    "INSERT INTO tidings.pending (channel, id, kind, payload) VALUES ('user:x', '', 'j', '')",
  ]) {
    await assert.rejects(app.query(forbidden), /permission denied/, forbidden);
  }
});

test(
  'a transaction that is prepared for two phases is delivered when it is committed, and only then',
  postgres,
  async () => {
    const [broker, heard] = await open();
    const user = nextUser();
    await broker.subscribe(`user:${user}`);
    const app = await connect();
    for (const [i, end] of ['COMMIT', 'ROLLBACK', 'COMMIT'].entries()) {
      await app.query('BEGIN');
      await app.query('SELECT tidings.send($1, $2)', [user, String(i)]);
      await app.query(
        i === 2 ? `/* by a driver */ prepare transaction 'p${i}'` : `PREPARE TRANSACTION 'p${i}'`,
      );
      // It holds nobody up meanwhile.
      await broker.publish(`user:${user}`, 'json', text(`"meanwhile ${i}"`), options());
      await app.query(`${end} PREPARED 'p${i}'`);
    }
    await until('both', () => heard.messages.length === 5);
    assert.deepEqual(said(heard.messages), ['meanwhile 0', 0, 'meanwhile 1', 'meanwhile 2', 2]);
    // Where it can't be seen that it will be prepared, it can be said.
    await app.query('BEGIN; SET LOCAL tidings.two_phase = on');
    await app.query('SELECT tidings.send($1, $2)', [user, '"said"']);
    await app.query('COMMIT');
    await until('it', () => heard.messages.length === 6);
  },
);

test(
  'of repeatable read and serializable transactions, all that is sent is delivered, whoever sends meanwhile',
  postgres,
  async () => {
    const [broker, heard] = await open();
    const user = nextUser();
    await broker.subscribe(`user:${user}`);
    const app = await connect();
    for (const level of ['REPEATABLE READ', 'SERIALIZABLE']) {
      await app.query(`BEGIN ISOLATION LEVEL ${level}`);
      await app.query('SELECT 1 FROM pg_class LIMIT 1');
      await broker.publish(`user:${user}`, 'json', text('"between"'), options());
      await app.query('SELECT tidings.send($1, $2)', [user, JSON.stringify(level)]);
      await app.query('COMMIT');
      // Whoever sends next comes behind it.
      await broker.publish(`user:${user}`, 'json', text('"behind"'), options());
    }
    await until('all of them', () => heard.messages.length === 6);
    assert.deepEqual(said(heard.messages), [
      'between',
      'REPEATABLE READ',
      'behind',
      'between',
      'SERIALIZABLE',
      'behind',
    ]);
  },
);

test('constraints that are made immediate change nothing but when', postgres, async () => {
  const [broker] = await open();
  const user = nextUser();
  const app = await connect();
  await app.query('BEGIN; SET CONSTRAINTS ALL IMMEDIATE');
  await app.query('SELECT tidings.send($1, $2)', [user, '1']);
  await app.query('SELECT tidings.send($1, $2), tidings.send($1, $3)', [user, '2', '3']);
  await app.query('SET CONSTRAINTS ALL DEFERRED');
  await app.query('SELECT tidings.send($1, $2)', [user, '4']);
  await app.query('COMMIT');
  await app.query('BEGIN; SET CONSTRAINTS ALL IMMEDIATE');
  await app.query('SELECT tidings.send($1, $2)', [user, '"gone"']);
  await app.query('ROLLBACK');
  assert.deepEqual(await log(broker, user), [1, 2, 3, 4]);
});

test('a channel that somebody keeps locked holds up no other', postgres, async () => {
  const [broker] = await open();
  const [locked, free] = [nextUser(), nextUser()];
  await broker.publish(`user:${locked}`, 'json', text('0'), options());
  const app = await connect();
  await app.query('BEGIN; SET CONSTRAINTS ALL IMMEDIATE');
  await app.query('SELECT tidings.send($1, $2)', [locked, '1']);
  const waits = broker.publish(`user:${locked}`, 'json', text('2'), options());
  // Together with it, and behind it.
  const all = Array.from({ length: 200 }, (_, i) =>
    broker.publish(`user:${free}`, 'json', text(String(i)), options()),
  );
  await Promise.all(all);
  await app.query('COMMIT');
  await waits;
  assert.deepEqual(await log(broker, locked), [0, 1, 2]);
  assert.equal((await log(broker, free)).length, 200);
});

test(
  'how long inboxes and topics are kept is what instances have said, with no instance there',
  postgres,
  async () => {
    const kept = (maxMessages: number) => ({ maxMessages, maxAge: 3_600_000 });
    const retentions = { inbox: kept(2), topic: kept(3), topics: { news: kept(5), 'news*': kept(4) } };
    const url = await server.database();
    const before = postgresBroker(url);
    await before.open(Object.assign(new Recorder(), { retentions, maxMessage: 1000 }));
    await before.close();
    const app = await connect(url);
    const counts: Record<string, number> = { 'user:anna': 2, other: 3, news: 5, newspaper: 4 };
    for (const channel of Object.keys(counts)) {
      const isUser = channel.startsWith('user:');
      for (let i = 0; i < 8; i++) {
        await app.query(`SELECT tidings.${isUser ? 'send' : 'publish'}($1, $2)`, [
          channel.replace('user:', ''),
          String(i),
        ]);
      }
    }
    const broker = postgresBroker(url);
    await broker.open(new Recorder());
    cleanups.push(() => broker.close());
    for (const [channel, count] of Object.entries(counts)) {
      const { messages, first } = await broker.read(channel, 0, 100);
      assert.deepEqual([messages.length, first], [count, 9 - count], channel);
    }
  },
);
