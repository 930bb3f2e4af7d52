/** Sessions of the broker over PostgreSQL, whatever the role, the database or a PgBouncer makes of them; and those of strangers. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { cleanups, started } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { startPgBouncer } from '../../support/pgbouncer.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { nextChannel, options, text } from './broker-suite.ts';
import { open } from './postgres-brokers.ts';

const postgres = { ...needs('postgres'), timeout: 120_000 };
const pooled = { ...(needs('postgres').skip ? needs('postgres') : needs('pgbouncer')), timeout: 120_000 };
let server: PostgresServer;
before(async () => {
  if (!postgres.skip) server = await startPostgres();
});
after(() => server?.stop());

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  cleanups.push(() => client.end());
  return client;
}

/** A bit of everything that is kept. */
async function useAll(url: string, more = {}): Promise<void> {
  const [broker, heard] = await open(url, { connections: 3, ...more });
  const channel = nextChannel('a\\b');
  await broker.subscribe(channel);
  const payloads = ['one', 'two', 'x'.repeat(20_000)];
  const receipts = await Promise.all(
    payloads.map((payload) => broker.publish(channel, 'text', text(payload), options())),
  );
  assert.deepEqual(
    receipts.map(({ offset, duplicate }) => [offset, duplicate]),
    [1, 2, 3].map((offset) => [offset, false]),
  );
  const again = () => broker.publish(channel, 'text', text('four'), options({ idempotencyKey: 'a\\' }));
  assert.deepEqual([(await again()).duplicate, (await again()).duplicate], [false, true]);
  await until('all of it', () => heard.messages.length === 4);
  const { messages } = await broker.read(channel, 0, 10);
  assert.deepEqual(messages, heard.messages);
  const { changed } = await broker.mark(channel, { as: 'read' });
  assert.equal(changed, 4);
  const { epoch, offset, id } = receipts[2]!;
  await broker.acknowledge({ channel, device: 'phone', position: { epoch, offset, id } }, 60_000);
  await until('the cursor', () => heard.cursors.length === 1);
  assert.equal((await broker.opening(channel)).cursors?.length, 1);
  const session = { session: 's', instance: 'A', user: 'ann', since: 1 };
  await broker.announce([session], 60_000);
  assert.deepEqual(await broker.presence('ann'), [session]);
  await broker.withdraw([session]);
  await broker.notify(channel, text('by the way'));
  await until('it', () => heard.transients.length === 1);
  const app = await connect(url);
  await app.query('SELECT tidings.publish($1, $2)', [channel, '5']);
  await until('what the application sends', () => heard.messages.length === 5);
  assert.deepEqual(heard.warnings, []);
  await broker.close();
}

const SETTINGS: Record<string, string[]> = {
  'limits of time': [
    "statement_timeout = '200ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
  ],
  'ways to write values': [
    "bytea_output = 'escape'",
    "extra_float_digits = '-15'",
    "DateStyle = 'German, DMY'",
    "IntervalStyle = 'iso_8601'",
    "TimeZone = 'Asia/Kathmandu'",
    "lc_numeric = 'C'",
  ],
  'ways to read statements': [
    "standard_conforming_strings = 'off'",
    "array_nulls = 'off'",
    "transform_null_equals = 'on'",
    "plpgsql.variable_conflict = 'use_column'",
    "plan_cache_mode = 'force_generic_plan'",
  ],
  transactions: [
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = 'on'",
    "synchronous_commit = 'off'",
  ],
};

for (const [what, settings] of Object.entries(SETTINGS)) {
  test(`whatever a database has for its sessions, all is stored and heard: ${what}`, postgres, async () => {
    const url = await server.database();
    const name = new URL(url).pathname.slice(1);
    for (const one of settings) await server.query(`ALTER DATABASE ${name} SET ${one}`);
    if (what !== 'limits of time') {
      await useAll(url);
      return;
    }
    // The application has its own.
    await server.query('CREATE ROLE patient LOGIN SUPERUSER');
    for (const one of settings) await server.query(`ALTER ROLE postgres IN DATABASE ${name} SET ${one}`);
    for (const one of settings)
      await server.query(`ALTER ROLE patient IN DATABASE ${name} SET ${one.replace(/'.*'/, '0')}`);
    const [broker, heard] = await open(url, { connections: 3 });
    const channel = nextChannel();
    await broker.subscribe(channel);
    await broker.publish(channel, 'text', text('one'), options());
    const app = await connect(url.replace('postgres@', 'patient@'));
    await app.query('BEGIN');
    await app.query('SELECT FROM tidings.channel WHERE name = $1 FOR UPDATE', [channel]);
    const waits = broker.mark(channel, { as: 'read' });
    await until('it to wait', async () => {
      const { rows } = await app.query('SELECT FROM pg_locks WHERE NOT granted');
      return rows.length > 0;
    });
    await app.query('SELECT pg_sleep(0.3)');
    await app.query('COMMIT');
    assert.equal((await waits).changed, 1);
    await until('it', () => heard.messages.length === 1);
  });
}

test('a session that is idle is not one to be ended', postgres, async () => {
  const url = await server.database();
  await server.query(`ALTER DATABASE ${new URL(url).pathname.slice(1)} SET idle_session_timeout = '50ms'`);
  const [broker, heard] = await open(url);
  const channel = nextChannel();
  await broker.subscribe(channel);
  const sessions = async (): Promise<unknown[]> =>
    (
      await server.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'tidings' ORDER BY pid")
    ).map(({ pid }) => pid);
  const before = await sessions();
  // A session without the setting of ours, to see the time pass.
  const other = new pg.Client({ connectionString: url });
  const ended = new Promise((resolve) => other.on('error', resolve));
  await other.connect();
  await ended;
  assert.deepEqual(await sessions(), before);
  assert.equal(heard.downs, 0);
});

test(
  'a database that may only be read is waited for, and asked no more often than one that is away',
  postgres,
  async () => {
    const url = await server.database();
    const name = new URL(url).pathname.slice(1);
    const [broker, heard] = await open(url, { reconnectMinDelay: 200, reconnectMaxDelay: 400 });
    const channel = nextChannel();
    await broker.subscribe(channel);
    await broker.publish(channel, 'text', text('one'), options());
    const isReadOnly = async (value: 'on' | 'off'): Promise<void> => {
      await server.query(`ALTER SYSTEM SET default_transaction_read_only = '${value}'`);
      await server.query('SELECT pg_reload_conf()');
      await until('it to be in force', async () => {
        const [row] = await server.query('SHOW default_transaction_read_only', url);
        return row!['default_transaction_read_only'] === value;
      });
    };
    cleanups.push(() => isReadOnly('off'));
    await isReadOnly('on');
    const sent = broker.publish(channel, 'text', text('two'), options());
    await until('it to be told', () => heard.downs === 1);
    const connections = async (): Promise<number> =>
      Number(
        (await server.query(`SELECT sessions::int AS n FROM pg_stat_database WHERE datname = '${name}'`))[0]![
          'n'
        ],
      );
    const before = await connections();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.ok((await connections()) - before < 60, `${(await connections()) - before} connections`);
    await isReadOnly('off');
    assert.equal((await sent).offset, 2);
    await until('it to be told', () => heard.ups === 1);
  },
);

test('functions that somebody else has put in the way are not called', postgres, async () => {
  const url = await server.database();
  const name = new URL(url).pathname.slice(1);
  await server.query(
    `CREATE SCHEMA evil;
     CREATE TABLE evil.called (what text);
     CREATE FUNCTION evil.json_build_array(VARIADIC text[]) RETURNS json LANGUAGE plpgsql
       AS $$ BEGIN INSERT INTO evil.called VALUES ('json_build_array'); RETURN '[]'; END $$;
     CREATE FUNCTION evil.octet_length(bytea) RETURNS int LANGUAGE plpgsql
       AS $$ BEGIN INSERT INTO evil.called VALUES ('octet_length'); RETURN 1; END $$;
     CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE plpgsql
       AS $$ BEGIN INSERT INTO evil.called VALUES ('pg_notify'); END $$;
     ALTER DATABASE ${name} SET search_path = evil, pg_catalog`,
    url,
  );
  await useAll(url);
  assert.deepEqual(await server.query('SELECT * FROM evil.called', url), []);
});

test('who has no right in the schema can neither hear what is sent nor ring', postgres, async () => {
  const url = await server.database();
  const [a, heard] = await open(url);
  const [b, later] = await open(url);
  const channel = nextChannel();
  await a.subscribe(channel);
  await b.subscribe(channel);
  await server.query('CREATE ROLE stranger LOGIN');
  const stranger = await connect(url.replace('postgres@', 'stranger@'));
  const overheard: unknown[] = [];
  stranger.on('notification', ({ payload }) => overheard.push(payload));
  await stranger.query('LISTEN tidings');
  await stranger.query('SELECT pg_notify($1, $2)', [
    'tidings',
    `m ${channel}\nepoch 1 id 1 j - - ${Buffer.from('"forged"').toString('base64')}`,
  ]);
  await assert.rejects(stranger.query('SELECT bell FROM tidings.store'), /permission denied/);
  const { rows } = await stranger.query("SELECT query FROM pg_stat_activity WHERE query LIKE '%LISTEN%'");
  assert.ok(
    rows.every(({ query }) => !query.includes('tidings.')),
    JSON.stringify(rows),
  );
  await a.publish(channel, 'json', text('"secret"'), options());
  await until('both to hear it', () => heard.messages.length > 0 && later.messages.length > 0);
  for (const { messages, missing } of [heard, later]) {
    assert.deepEqual(
      messages.map(({ payload }) => String(payload)),
      ['"secret"'],
    );
    assert.deepEqual(missing, []);
  }
  await stranger.query('SELECT 1');
  assert.deepEqual(overheard, [
    `m ${channel}\nepoch 1 id 1 j - - ${Buffer.from('"forged"').toString('base64')}`,
  ]);
});

test(
  'a schema that is removed and made again while instances are there is listened to again',
  postgres,
  async () => {
    const url = await server.database();
    const [old, heard] = await open(url, { probeInterval: 100 });
    const channel = nextChannel();
    await old.subscribe(channel);
    await old.publish(channel, 'text', text('before'), options());
    await server.query('DROP SCHEMA tidings CASCADE', url);
    const [anew] = await open(url);
    await until('it to be noticed', () => heard.ups === 1);
    await anew.publish(channel, 'text', text('after'), options());
    await until('it', () => heard.messages.some(({ payload }) => String(payload) === 'after'));
  },
);

test(
  'behind a PgBouncer all is stored and heard, and whoever shares its connections keeps his own settings',
  pooled,
  async () => {
    const url = await server.database();
    const name = new URL(url).pathname.slice(1);
    await server.query(`ALTER DATABASE ${name} SET synchronous_commit = 'off'`);
    await server.query(`ALTER DATABASE ${name} SET default_transaction_isolation = 'repeatable read'`);
    const bouncer = await started(startPgBouncer(server, 2));
    const shared = url.replace(`:${server.port}/`, `:${bouncer.port}/`);
    const app = await connect(shared);
    const settings = async (): Promise<Record<string, unknown>> =>
      (
        await app.query(
          `SELECT current_setting('search_path') AS path, current_setting('statement_timeout') AS timeout,
           current_setting('enable_seqscan') AS seqscan, current_setting('synchronous_commit') AS commit`,
        )
      ).rows[0];
    const before = await settings();
    await useAll(shared, { listenOn: url });
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const one = await connect(shared);
        await one.query('BEGIN');
        const { rows } = await one.query("SELECT current_setting('search_path') AS path");
        assert.equal(rows[0].path, before['path']);
        await one.query('COMMIT');
      }),
    );
    assert.deepEqual(await settings(), before);
  },
);
