/** Outbox tables in a real MariaDB. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import mysql from 'mysql2/promise';
import { memoryBroker, PushServer, SourceSetupError, source } from '../../src/index.ts';
import { mysqlTableSql } from '../../src/sources/tables/mysql-table.ts';
import { type MariadbServer, startMariadb } from '../support/mariadb.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { killTest } from './outbox-kill.ts';
import {
  type Database,
  outboxSuite,
  refusalOf,
  sendsAndBuries,
  startInstance,
  storedOf,
} from './outbox-suite.ts';

describe('an outbox table in MariaDB', needs('mariadb'), () => {
  let server: MariadbServer;
  before(async () => {
    server = await startMariadb();
  });
  after(() => server.stop());

  const database: Database = {
    checksJson: false,
    async make(table = 'tidings_outbox') {
      const url = await server.database();
      await server.query(mysqlTableSql(table, `${table}_dead`), url);
      return url;
    },
    query: (sql, url) => server.query(sql, url),
    async session(url) {
      const connection = await mysql.createConnection({ uri: url });
      return { run: (sql) => connection.query(sql), end: () => connection.end() };
    },
    async cut(url) {
      const name = new URL(url).pathname.slice(1);
      const rows = await server.query(
        `SELECT ID AS id FROM information_schema.PROCESSLIST WHERE DB = '${name}' AND TIME_MS > 0 AND INFO IS NULL`,
      );
      for (const { id } of rows) await server.query(`KILL ${Number(id)}`).catch(() => {});
    },
    kill: () => server.kill(),
    start: () => server.start(),
    quote: (text) => mysql.escape(text),
  };

  outboxSuite(() => database);
  killTest(() => database);

  test('what is missing is said, with what to do, and without the password', async (t) => {
    const url = (await server.database()).replace('mysql://root@', 'mariadb://root@');
    const said = async (): Promise<string> => (await refusalOf(t, url)).error.message;
    assert.match(await said(), /no table tidings_outbox.*`tidings source-table mysql`/);
    await server.query(mysqlTableSql('tidings_outbox', 'tidings_outbox_dead'), url);
    await server.query('ALTER TABLE tidings_outbox DROP COLUMN settings', url);
    assert.match(await said(), /Unknown column 'settings'/);
    await server.query('ALTER TABLE tidings_outbox ADD COLUMN settings LONGTEXT', url);
    await server.query('ALTER TABLE tidings_outbox_dead DROP COLUMN reason', url);
    assert.match(await said(), /Unknown column 'reason'/);
    await server.query('DROP TABLE tidings_outbox_dead', url);
    assert.match(await said(), /no table tidings_outbox or tidings_outbox_dead/);
    for (const other of [url.replace('root@', 'root:hunter2@'), `${url}_not_there`]) {
      const { error, said: all } = await refusalOf(t, other);
      assert.ok(error instanceof SourceSetupError, error.message);
      assert.ok(!all.includes('hunter2'), all);
    }
  });

  test('a login with the rights that docs/sources.md names is enough', async (t) => {
    const url = await database.make();
    const name = new URL(url).pathname.slice(1);
    await server.query(
      `CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'p:a/s@s'; GRANT SELECT, UPDATE, DELETE ON ${name}.tidings_outbox TO reader@'127.0.0.1';
       GRANT SELECT, INSERT ON ${name}.tidings_outbox_dead TO reader@'127.0.0.1'`,
    );
    const broker = memoryBroker();
    await startInstance(t, url.replace('mysql://root@', 'mariadb://reader:p%3Aa%2Fs%40s@'), broker);
    await sendsAndBuries(database, broker, url);
  });

  test('data in JSON, BLOB and other character sets is what it was, whatever mode the server is in', async (t) => {
    const url = await database.make();
    await server.query(`SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'`);
    t.after(() => server.query(`SET GLOBAL sql_mode = DEFAULT`));
    const broker = memoryBroker();
    await startInstance(t, url, broker);
    const write = async (type: string, text: string): Promise<void> => {
      await server.query(`ALTER TABLE tidings_outbox MODIFY data ${type}`, url);
      await server.query(
        `INSERT INTO tidings_outbox (user_name, data) VALUES ('alice', CONVERT(X'${Buffer.from(text).toString('hex')}' USING utf8mb4))`,
        url,
      );
      await until(
        'it to be gone',
        async () => (await server.query('SELECT id FROM tidings_outbox', url)).length === 0,
      );
    };
    const text = '{"a": "ü 😀 \\\\ \'"}';
    await write('JSON', text);
    await write('LONGBLOB', text);
    await write('LONGTEXT CHARACTER SET utf16', text);
    const data = JSON.parse(text);
    assert.deepEqual(await storedOf(broker, 'user:alice'), [data, data, data]);
    await server.query(`INSERT INTO tidings_outbox (user_name, data) VALUES ('it''s \\', '1')`, url);
    await server.query(
      `INSERT INTO tidings_outbox (user_name, data, settings) VALUES ('alice', '1', '{"it''s \\": 1}')`,
      url,
    );
    await until(
      'the dead one',
      async () => (await server.query('SELECT * FROM tidings_outbox_dead', url)).length === 1,
    );
  });

  test('a server that is read-only is waited for', async (t) => {
    const url = await database.make();
    await server.query('SET GLOBAL read_only = 1');
    const lines: string[] = [];
    const push = new PushServer({ log: (level, message) => lines.push(`${level} ${message}`) });
    t.after(() => push.close());
    await push.ready;
    const running = source(push, url);
    await until('it to be told', () => lines.some((line) => /read-only/.test(line)));
    await server.query('SET GLOBAL read_only = 0');
    await running.ready;
  });
});
