/** Outbox tables in a real PostgreSQL. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { memoryBroker, SourceSetupError } from '../../src/index.ts';
import { postgresTableSql } from '../../src/sources/tables/postgres-table.ts';
import { NO_ROW, startDamagingProxy } from '../support/damaging-proxy.ts';
import { until } from '../support/net.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { needs } from '../support/programs.ts';
import { killTest } from './outbox-kill.ts';
import {
  type Database,
  insert,
  outboxSuite,
  refusalOf,
  sendsAndBuries,
  startInstance,
  storedOf,
} from './outbox-suite.ts';

describe('an outbox table in PostgreSQL', needs('postgres'), () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.stop());

  const database: Database = {
    checksJson: true,
    async make(table = 'tidings_outbox') {
      const url = await server.database();
      await server.query(postgresTableSql(table, `${table}_dead`), url);
      return url;
    },
    query: (sql, url) => server.query(sql, url),
    async session(url) {
      const client = new pg.Client({ connectionString: url });
      client.on('error', () => {});
      await client.connect();
      return { run: (sql) => client.query(sql), end: () => client.end() };
    },
    async cut() {
      const sql = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings source'`;
      await server.query(sql);
    },
    kill: () => server.kill(),
    start: () => server.start(),
    quote: (text) => `'${text.replaceAll("'", "''")}'`,
  };

  outboxSuite(() => database);
  killTest(() => database);

  test('what is missing is said, with what to do, and without the password', async (t) => {
    const url = (await server.database()).replace('postgres@', 'postgres:hunter2@');
    const said = async (): Promise<string> => (await refusalOf(t, url)).error.message;
    assert.match(await said(), /no table tidings_outbox .*`tidings source-table postgres`/);
    await server.query(postgresTableSql('tidings_outbox', 'tidings_outbox_dead'), url);
    await server.query('ALTER TABLE tidings_outbox_dead RENAME TO elsewhere', url);
    assert.match(await said(), /no table tidings_outbox_dead/);
    await server.query('ALTER TABLE elsewhere RENAME TO tidings_outbox_dead', url);
    await server.query('ALTER TABLE tidings_outbox RENAME COLUMN settings TO more', url);
    assert.match(await said(), /column "settings" does not exist/);
    await server.query('ALTER TABLE tidings_outbox RENAME COLUMN more TO settings', url);
    await server.query('ALTER TABLE tidings_outbox_dead DROP COLUMN reason', url);
    assert.match(await said(), /column "reason" .*does not exist/);
    const nobody = url.replace('postgres:hunter2@', 'nobody_known:hunter2@');
    const wrong = await refusalOf(t, nobody);
    assert.match(wrong.error.message, /nobody_known/);
    assert.ok(wrong.error instanceof SourceSetupError);
    assert.match(wrong.said, /source-failed/);
    assert.ok(!wrong.said.includes('hunter2'), wrong.said);
  });

  test('a login with the rights that docs/sources.md names is enough, and one with fewer is told which', async (t) => {
    const url = await database.make();
    await server.query(
      'DROP ROLE IF EXISTS reader; DROP ROLE IF EXISTS writer; CREATE ROLE reader LOGIN; CREATE ROLE writer LOGIN',
      url,
    );
    await server.query('GRANT SELECT, DELETE ON tidings_outbox TO reader', url);
    await server.query('GRANT INSERT ON tidings_outbox TO writer', url);
    const reader = url.replace('postgres@', 'reader@');
    assert.match(
      (await refusalOf(t, reader)).error.message,
      /needs SELECT, UPDATE and DELETE on tidings_outbox, and INSERT on/,
    );
    await server.query(
      'GRANT UPDATE ON tidings_outbox TO reader; GRANT INSERT ON tidings_outbox_dead TO reader',
      url,
    );
    const broker = memoryBroker();
    await startInstance(t, reader, broker);
    await sendsAndBuries(database, broker, url, url.replace('postgres@', 'writer@'));
  });

  test('of several servers it takes the one that can be written to', async (t) => {
    const url = await database.make();
    const broker = memoryBroker();
    await startInstance(t, url.replace('@', '@127.0.0.1:1,'), broker);
    await server.query(insert(database, { user: 'alice', data: 1 }), url);
    await until('it', async () => (await storedOf(broker, 'user:alice')).length === 1);
  });

  test('what is no answer of PostgreSQL ends its connection, not the process, and nothing is missed', async (t) => {
    const url = await database.make();
    const proxy = await startDamagingProxy(server.port);
    const broker = memoryBroker();
    await startInstance(t, url.replace(`:${server.port}/`, `:${proxy.port}/`), broker);
    for (let n = 1; n <= 3; n++) {
      const known = proxy.damaged;
      proxy.damage(NO_ROW);
      await server.query(insert(database, { user: 'alice', data: n }), url);
      await until('the damage', () => proxy.damaged > known);
      await until('it', async () => (await storedOf(broker, 'user:alice')).length === n);
    }
    assert.deepEqual(await storedOf(broker, 'user:alice'), [1, 2, 3]);
  });

  test('a view of a table that is there already will do, and data in BYTEA', async (t) => {
    const url = await server.database();
    await server.query(
      `CREATE TABLE events (seq bigserial PRIMARY KEY, event_id uuid DEFAULT gen_random_uuid(), customer text, payload bytea, created_at timestamptz DEFAULT now());
       CREATE VIEW tidings_outbox AS SELECT seq AS id, event_id::text AS uid, customer AS user_name, NULL::text AS topic,
         payload AS data, NULL::json AS settings, created_at AS created, 0::smallint AS share FROM events;
       CREATE TABLE tidings_outbox_dead (id bigint, uid text, user_name text, topic text, data bytea, settings json, created timestamptz, reason text)`,
      url,
    );
    const broker = memoryBroker();
    await startInstance(t, url, broker);
    await server.query(
      `INSERT INTO events (customer, payload) VALUES ('alice', '"ü"'::text::bytea), ('alice', '\\xff'), ('alice', '2');
       INSERT INTO events (event_id, customer, payload) VALUES (NULL, 'alice', '3'), (NULL, 'alice', '4')`,
      url,
    );
    await until(
      'them, also those without a uid',
      async () => (await storedOf(broker, 'user:alice')).length === 4,
    );
    await until('none', async () => (await server.query('SELECT * FROM events', url)).length === 0);
    const [dead] = await server.query('SELECT reason FROM tidings_outbox_dead', url);
    assert.equal(dead!['reason'], 'the message is not UTF-8');
  });

  test('what json takes is sent: \\u0000 and halves of surrogate pairs', async (t) => {
    const url = await database.make();
    const broker = memoryBroker();
    await startInstance(t, url, broker);
    await server.query(insert(database, { user: 'alice', raw: '{"a": "\\u0000\\ud83d"}' }), url);
    await until('it', async () => (await storedOf(broker, 'user:alice')).length === 1);
    assert.deepEqual(await storedOf(broker, 'user:alice'), [{ a: '\0\ud83d' }]);
  });

  test('where something shares connections between the two, that is said, and no lock is taken', async (t) => {
    const url = await database.make();
    // PgBouncer tells its clients other process ids than those of the server.
    const proxy = createServer((client) => {
      const upstream = connect(server.port, '127.0.0.1');
      client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
      upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
      client.pipe(upstream);
      upstream.on('data', (bytes) => {
        // BackendKeyData: K, 12 as its length, and the process id.
        const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
        if (at >= 0) bytes.writeInt32BE(4711, at + 5);
        client.write(bytes);
      });
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    t.after(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const { error } = await refusalOf(t, url.replace(`:${server.port}/`, `:${port}/`));
    assert.match(error.message, /PgBouncer/);
    assert.deepEqual(await server.query(`SELECT * FROM pg_locks WHERE locktype = 'advisory'`, url), []);
  });
});
