/** tidings.send from wherever an application may call it, and with whatever settings its sessions have. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import { cleanups } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { nextChannel, options, type Recorder, text } from './broker-suite.ts';
import { open } from './postgres-brokers.ts';

const postgres = { ...needs('postgres'), timeout: 120_000 };
let server: PostgresServer;
before(async () => {
  if (!postgres.skip) server = await startPostgres({ settings: ['max_prepared_transactions = 20'] });
});
after(() => server?.stop());

interface Subject {
  url: string;
  broker: Broker;
  heard: Recorder;
  app: pg.Client;
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  cleanups.push(() => client.end());
  return client;
}

/** A database of its own, an instance, and an application's session. */
async function begin(): Promise<Subject> {
  const url = await server.preparedDatabase();
  const [broker, heard] = await open(url, { connections: 4 });
  return { url, broker, heard, app: await connect(url) };
}

const nextUser = (): string => nextChannel('someone');
async function log(broker: Broker, user: string): Promise<unknown[]> {
  const { messages } = await broker.read(`user:${user}`, 0, 1000);
  return messages.map(({ payload }) => JSON.parse(String(payload)));
}

test('a message without a lifetime has none, and one with the longest is kept', postgres, async () => {
  const { app, broker } = await begin();
  await app.query(
    "SELECT tidings.send('a', '1'), tidings.send('a', '2', ttl => '1 day'), tidings.send('a', '3', ttl => '9999 years')",
  );
  const { messages } = await broker.read('user:a', 0, 10);
  assert.deepEqual(
    messages.map(({ expires, time }) => (expires === undefined ? 'never' : expires - time)).slice(0, 2),
    ['never', 86_400_000],
  );
  assert.ok(messages[2]!.expires! > 100_000_000_000_000);
});

test('names and keys come from columns of any collation', postgres, async () => {
  const { app, broker } = await begin();
  await app.query(
    `CREATE COLLATION whatever (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
     CREATE TABLE people (name text COLLATE whatever, key text COLLATE "C", topic text COLLATE "POSIX");
     INSERT INTO people VALUES ('Ann', 'k', 'news')`,
  );
  for (let i = 0; i < 2; i++) {
    await app.query(
      `SELECT tidings.send(name, '1', replaces => key, idempotency_key => topic),
         tidings.publish(topic, '2', replaces => name, idempotency_key => key) FROM people`,
    );
  }
  assert.deepEqual(await log(broker, 'Ann'), [1]);
  assert.equal((await broker.read('news', 0, 10)).messages.length, 1);
  await assert.rejects(
    app.query(`SELECT tidings.send((name || repeat('x', 200)) , '1') FROM people`),
    /longer than 128/,
  );
  await assert.rejects(
    app.query(`SELECT tidings.publish(('user:' || name) COLLATE whatever, '1') FROM people`),
    /reserved/,
  );
});

test('keys are those of instances, whatever is in them', postgres, async () => {
  const { app, broker } = await begin();
  for (const key of ['a\u0001b', '\u00010', 'a\\nb', "o'neil", '🎉'.repeat(128)]) {
    const user = nextUser();
    await app.query('SELECT tidings.send($1, $2, replaces => $3, idempotency_key => $4)', [
      user,
      '1',
      key,
      `i${key}`.slice(0, 256),
    ]);
    const sent = options({ replaces: key });
    await broker.publish(`user:${user}`, 'json', text('2'), sent);
    const { messages } = await broker.read(`user:${user}`, 0, 10);
    assert.deepEqual(
      messages.map(({ kind }) => kind),
      ['gone', 'json'],
      JSON.stringify(key),
    );
    const again = await broker.publish(
      `user:${user}`,
      'json',
      text('3'),
      options({ idempotencyKey: `i${key}`.slice(0, 256) }),
    );
    assert.equal(again.duplicate, true, JSON.stringify(key));
  }
  for (const name of ['replaces', 'idempotency_key'])
    await assert.rejects(
      app.query(`SELECT tidings.send('a', '1', ${name} => $1)`, ['🎉'.repeat(129)]),
      /256/,
    );
});

const SESSIONS: Record<string, string> = {
  'backslashes that escape': 'SET standard_conforming_strings = off; SET escape_string_warning = off',
  'other ways to write values':
    "SET bytea_output = escape; SET IntervalStyle = iso_8601; SET DateStyle = 'German'; SET TimeZone = 'Asia/Kathmandu'",
  'another search_path': "SET search_path = ''",
  'variables before columns': 'SET plpgsql.variable_conflict = use_variable; SET transform_null_equals = on',
  'triggers off': 'SET session_replication_role = replica',
  'limits of time':
    "SET lock_timeout = '1s'; SET statement_timeout = '5s'; SET idle_in_transaction_session_timeout = '5s'",
  'levels of isolation':
    'SET default_transaction_isolation = serializable; SET default_transaction_deferrable = on',
  'what is read uncommitted': "SET default_transaction_isolation = 'read uncommitted'",
  'no commit that waits': 'SET synchronous_commit = off',
};

for (const [what, settings] of Object.entries(SESSIONS)) {
  test(`it works in a session with ${what}`, postgres, async () => {
    const { app, broker, heard } = await begin();
    await app.query(settings);
    for (const user of ['a\\nb', '\\', "o'neil", '🎉']) {
      await broker.subscribe(`user:${user}`);
      heard.messages.length = 0;
      await app.query('BEGIN');
      await app.query('SELECT tidings.send($1, $2, ttl => $3)', [user, '{"a": "\\\\ \\n"}', '1 hour']);
      await app.query('COMMIT');
      await until('it', () => heard.messages.length === 1);
      assert.deepEqual(await log(broker, user), [{ a: '\\ \n' }]);
      assert.equal(heard.messages[0]!.expires! - heard.messages[0]!.time, 3_600_000);
    }
    await assert.rejects(app.query('SELECT tidings.send($1, $2)', ['a\u0007b', '1']), /control characters/);
    await app.query('ROLLBACK');
  });
}

test('it is called by triggers, procedures, COPY and blocks of code', postgres, async () => {
  const { app, broker } = await begin();
  await app.query(
    `CREATE TABLE orders (who text, total int);
     CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
       BEGIN PERFORM tidings.send(NEW.who, to_jsonb(NEW.total)); RETURN NEW; END $$;
     CREATE TRIGGER told BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION told();
     CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION told();
     CREATE PROCEDURE many() LANGUAGE plpgsql AS $$
       BEGIN
         FOR i IN 10 .. 12 LOOP PERFORM tidings.send('p', to_jsonb(i)); COMMIT; END LOOP;
         PERFORM tidings.send('p', '"not this"'); ROLLBACK;
       END $$`,
  );
  await app.query("INSERT INTO orders SELECT 'a', generate_series(1, 3)");
  await app.query('COPY orders FROM PROGRAM \'printf "a\\t4\\nb\\t5\\n"\'');
  await app.query("UPDATE orders SET total = 50 WHERE who = 'b'");
  await app.query('CALL many()');
  await app.query(`DO $$ BEGIN
    PERFORM tidings.send('d', '1');
    BEGIN PERFORM tidings.send('d', '2'); RAISE 'no'; EXCEPTION WHEN OTHERS THEN PERFORM tidings.send('d', '3'); END;
  END $$`);
  await app.query(
    "WITH gone AS (DELETE FROM orders RETURNING who, total) SELECT tidings.send('w', jsonb_agg(total)) FROM gone",
  );
  assert.deepEqual(await log(broker, 'a'), [1, 2, 3, 4]);
  assert.deepEqual(await log(broker, 'b'), [5, 50]);
  assert.deepEqual(await log(broker, 'p'), [10, 11, 12]);
  assert.deepEqual(await log(broker, 'd'), [1, 3]);
  assert.equal((await log(broker, 'w')).length, 1);
});

test('statements that are sent together may prepare the transaction', postgres, async () => {
  const { app, broker } = await begin();
  const ways = [
    "BEGIN; SELECT tidings.send('a', '1'); PREPARE TRANSACTION 'x'",
    "BEGIN; SELECT tidings.send('a', '2');\n-- now\n/** it **/ prepare /* no */ transaction 'x'".replace(
      ' /* no */',
      '',
    ),
    "/***/ BEGIN; SELECT tidings.send('a', '3'); /* ; */PREPARE\nTRANSACTION 'x'; ",
    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT tidings.send('a', '4'); SELECT tidings.send('a', '5'); PREPARE TRANSACTION 'x'",
    "BEGIN; SET LOCAL tidings.two_phase = 'ON'; SELECT tidings.send('a', '6'); DO $$ BEGIN END $$; PREPARE TRANSACTION 'x'",
    "BEGIN; SELECT tidings.send('a', '7'); prepare/* in between */ -- and\n transaction 'x'",
  ];
  for (const way of ways) {
    await app.query(way);
    await app.query("COMMIT PREPARED 'x'");
  }
  await until('all of them', async () => (await log(broker, 'a')).length === 7);
  assert.deepEqual(await log(broker, 'a'), [1, 2, 3, 4, 5, 6, 7]);
});

test('a database of which all tables are published', postgres, async () => {
  const { app, broker } = await begin();
  await app.query('CREATE PUBLICATION everything FOR ALL TABLES');
  const user = nextUser();
  const retention = { maxMessages: 8, maxAge: 3_600_000 };
  for (let i = 0; i < 20; i++) {
    await app.query('SELECT tidings.send($1, $2, replaces => $3, idempotency_key => $4)', [
      user,
      String(i),
      `r${i % 3}`,
      `i${i}`,
    ]);
    await broker.publish('t', 'json', text(String(i)), options({ retention, idempotencyKey: `i${i}` }));
  }
  await broker.mark(`user:${user}`, { as: 'deleted' });
  assert.ok((await broker.read(`user:${user}`, 0, 100)).messages.every(({ kind }) => kind === 'gone'));
  assert.equal((await broker.read('t', 0, 100)).messages.length, 8);
  await app.query('SELECT tidings.forget(key) FROM tidings.channel');
  assert.equal((await broker.opening('t')).top.offset, 0);
});

test('a user who is made in a transaction that stays open holds up no one else', postgres, async () => {
  const { app, broker, url } = await begin();
  const holder = await connect(url);
  const users = Array.from({ length: 120 }, (_, i) => `new ${String(i).padStart(3, '0')}`);
  await holder.query('BEGIN; SET CONSTRAINTS ALL IMMEDIATE');
  await holder.query('SELECT tidings.send(u, $2) FROM unnest($1::text[]) u', [users, '"held"']);
  // What is sent to them, and to others, by instances and by transactions that see only what was there before.
  const held = users
    .slice(0, 5)
    .map((user) => broker.publish(`user:${user}`, 'json', text('"behind"'), options()));
  await app.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await app.query('SELECT tidings.send(u, $2) FROM unnest($1::text[]) u', [
    [...users, 'z free'],
    '"repeatable"',
  ]);
  await app.query('COMMIT');
  await until('one behind all of them', async () => (await log(broker, 'z free')).length === 1);
  const others = Array.from({ length: 100 }, (_, i) =>
    broker.publish(`other ${i}`, 'json', text('1'), options()),
  );
  const [first, ...more] = await Promise.all([...others, Promise.race([...others])]);
  assert.ok(first !== undefined && more.length === 100);
  // None of the sweeps in between goes round and round.
  const calls = async (): Promise<number> =>
    Number(
      (
        await server.query(
          'SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = current_database()',
          url,
        )
      )[0]!['n'],
    );
  const before = await calls();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const after = await calls();
  assert.ok(after - before < 200, `${after - before} transactions in two seconds`);
  await holder.query('COMMIT');
  await Promise.all(held);
  for (const user of users) await until(user, async () => (await log(broker, user)).includes('repeatable'));
  assert.deepEqual((await log(broker, users[0]!)).sort(), ['behind', 'held', 'repeatable']);
});

test('what can never be appended is told, and keeps nobody waiting', postgres, async () => {
  const { app, broker, heard } = await begin();
  await app.query("SELECT tidings.send('a damaged', '1')");
  await app.query("UPDATE tidings.channel SET number = 9223372036854775807 WHERE name = 'user:a damaged'");
  await app.query('BEGIN ISOLATION LEVEL SERIALIZABLE');
  await app.query("SELECT tidings.send('a damaged', '2'), tidings.send('b', '3')");
  await app.query('COMMIT');
  await until('the other one', async () => (await log(broker, 'b')).length === 1);
  await until('it to be told', () => heard.warnings.length > 0);
  assert.match(heard.warnings[0]!, /sweep.*out of range/);
});

test(
  'where no partition was made for long, nobody waits for who keeps a message longer',
  postgres,
  async () => {
    const { app, broker, url } = await begin();
    await broker.close();
    await app.query(
      `UPDATE tidings.setting SET value = '{"inbox": [8640000000000, 10], "topic": [1, 1], "topics": {}}' WHERE name = 'retention'`,
    );
    const holder = await connect(url);
    await holder.query('BEGIN; SET CONSTRAINTS ALL IMMEDIATE');
    await holder.query("SELECT tidings.send('a', '1', idempotency_key => 'k')");
    await app.query("SET lock_timeout = '3s'");
    await app.query("SELECT tidings.send('b', '2', idempotency_key => 'k')");
    await holder.query("SELECT tidings.send('b', '3')");
    await holder.query('COMMIT');
    // It outlives the time of its partition.
    await app.query('UPDATE tidings.part SET upper = upper - 10000000000000');
    await app.query('SELECT tidings.drop_part() FROM generate_series(1, 50)');
    const [left] = await server.query('SELECT count(*)::int AS n FROM tidings.message', url);
    assert.deepEqual(left, { n: 3 });
  },
);

test('thousands of users in one transaction, and one user from two hundred at once', postgres, async () => {
  const { app, broker, heard, url } = await begin();
  await broker.subscribe('user:u4999');
  await app.query(`SELECT tidings.send('u' || i, to_jsonb(i)) FROM generate_series(0, 4999) i`);
  await until('the last one', () => heard.messages.length === 1);
  const [stored] = await server.query('SELECT count(*)::int AS n FROM tidings.channel', url);
  assert.deepEqual(stored, { n: 5000 });
  const many = await Promise.all(Array.from({ length: 150 }, () => connect(url)));
  await Promise.all(many.map((one, i) => one.query('SELECT tidings.send($1, $2)', ['u4999', String(i)])));
  await until('all of them', () => heard.messages.length === 151);
  assert.deepEqual(
    heard.messages.map(({ offset }) => offset),
    Array.from({ length: 151 }, (_, i) => i + 1),
  );
});

test('more than one step can append is appended in several, and overtaken by nothing', postgres, async () => {
  const url = await server.database();
  // All of it in one step would take longer.
  const [broker, heard] = await open(url, { connections: 4, statementTimeout: 3000 });
  const app = await connect(url);
  await app.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await app.query(`SELECT tidings.publish('many', to_jsonb(i)) FROM generate_series(1, 30000) i`);
  await app.query('COMMIT');
  await broker.subscribe('many');
  await Promise.all([
    broker.publish('many', 'json', text('"behind"'), options()),
    broker.notify('many', text('"by the way"')),
    broker.publish('other', 'json', text('1'), options()),
  ]);
  const { messages, top } = await broker.read('many', 29_995, 100);
  assert.equal(top.offset, 30_001);
  assert.equal(String(messages.at(-1)!.payload), '"behind"');
  await until('what was only handed on', () => heard.transients.length === 1);
  assert.deepEqual(heard.warnings, []);
});

test('marks on channels that somebody keeps locked hold up no other', postgres, async () => {
  const { app, broker, url } = await begin();
  const users = Array.from({ length: 12 }, nextUser);
  for (const user of users) await broker.publish(`user:${user}`, 'json', text('1'), options());
  const free = nextUser();
  await broker.publish(`user:${free}`, 'json', text('1'), options());
  const holder = await connect(url);
  await holder.query('BEGIN; SET CONSTRAINTS ALL IMMEDIATE');
  await holder.query('SELECT tidings.send(u, $2) FROM unnest($1::text[]) u', [users, '2']);
  const marks = users.map((user) => broker.mark(`user:${user}`, { as: 'read' }));
  const publishes = users.map((user) => broker.publish(`user:${user}`, 'json', text('3'), options()));
  await until('some of them to wait', async () => {
    const { rows } = await app.query('SELECT FROM pg_locks WHERE NOT granted');
    return rows.length >= 2;
  });
  for (let i = 0; i < 20; i++) {
    await broker.publish(`user:${free}`, 'json', text('2'), options());
    assert.equal((await broker.mark(`user:${free}`, { as: 'read' })).changed, i === 0 ? 2 : 1);
  }
  await holder.query('COMMIT');
  for (const { changed } of await Promise.all(marks)) assert.ok(changed >= 2);
  await Promise.all(publishes);
});
