/** `tidings serve --source` with a real database, whose tables `tidings source-table` has made. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { TcpProxy } from '../../src/prove/proxy.ts';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { needs } from '../support/programs.ts';

const SERVE = ['serve', '--port', '0', '--policy-port', 'off', '--query-user', 'u', '--admin-token', 'T'];

describe('a source of tidings serve', needs('postgres'), () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.stop());

  test('what an application writes into its table is in the inbox; metrics and the log name the table, not the password', async (t) => {
    const url = (await server.database()).replace('postgres@', 'postgres:hunter2@');
    const table = tidings(t, ['source-table', 'postgres', '--table', 'Mail']);
    assert.equal(await table.status(), 0);
    await server.query(table.stdout, url);
    const program = tidings(t, SERVE, { environment: { TIDINGS_SOURCE: `${url}?table=Mail&prefetch=7` } });
    const [at] = await program.line(/listening on (http:\S+)\//);
    await server.query(`INSERT INTO "Mail" (user_name, data) VALUES ('alice', '{"n": 1}'), ('', '2')`, url);
    const ask = async (path: string): Promise<string> =>
      (await fetch(at + path, { headers: { Authorization: 'Bearer T' } })).text();
    await until('the message', async () => (await ask('/api/users/alice/inbox')).includes('{"n": 1}'));
    await until(
      'the dead one',
      async () => (await server.query('SELECT 1 FROM "Mail_dead"', url)).length === 1,
    );
    const metrics = await ask('/metrics');
    assert.match(
      metrics,
      /tidings_source_messages_total\{source="table Mail at [^"]*",kind="postgres",result="stored"\} 1\n/,
    );
    program.process.kill('SIGTERM');
    assert.equal(await program.status(), 0);
    const said = program.stdout + program.stderr;
    assert.match(said, /source-message-dead/);
    assert.match(said, /source-closed/);
    assert.ok(!(said + metrics).includes('hunter2'));
  });

  test('a table that is missing ends it with status 1; a server that is away does not', async (t) => {
    const url = (await server.database()).replace('postgres@', 'postgres:hunter2@');
    const missing = tidings(t, [...SERVE, '--source', url]);
    assert.equal(await missing.status(), 1);
    assert.match(missing.stderr, /source-failed: .*no table tidings_outbox .*tidings source-table/);
    const away = tidings(t, [...SERVE, '--source', url.replace(/:\d+\//, ':1/')]);
    // This one is away, and then it turns out that it can never be used.
    const proxy = await TcpProxy.start(() => [server.port]);
    t.after(() => proxy.close());
    proxy.refuses = true;
    const late = tidings(t, [...SERVE, '--source', url.replace(/:\d+\//, `:${proxy.port}/`)]);
    await Promise.all([away.line(/listening on/), late.line(/listening on/)]);
    for (const each of [away, late]) await until('that it is away', () => /source-away/.test(each.stderr));
    proxy.refuses = false;
    away.process.kill('SIGTERM');
    assert.equal(await away.status(), 0);
    assert.equal(await late.status(), 1);
    assert.match(late.stderr, /source-failed: .*no table tidings_outbox/);
    assert.ok(!(late.stderr + late.stdout).includes('hunter2'));
    assert.ok(!(missing.stderr + away.stderr + away.stdout).includes('hunter2'));
  });

  test('source-table says what it prints for, and refuses what is no name', async (t) => {
    for (const [args, message] of [
      [[], /give one of postgres, mysql, mariadb/],
      [['oracle'], /give one of/],
      [['postgres', 'x'], /give one of/],
      [['postgres', '--table', 'a"; DROP'], /--table is the name of a table/],
    ] as [string[], RegExp][]) {
      const program = tidings(t, ['source-table', ...args]);
      assert.equal(await program.status(), 2);
      assert.match(program.stderr, message);
    }
  });
});
