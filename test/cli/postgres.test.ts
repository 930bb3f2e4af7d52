/** The commands with a PostgreSQL: instances as processes, applications beside them, and a database that goes. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { type Program, tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { needs } from '../support/programs.ts';

const patient = { ...needs('postgres'), timeout: 300_000 };

interface Instance {
  program: Program;
  url: string;
}

async function started(t: TestContext): Promise<PostgresServer> {
  const postgres = await startPostgres();
  t.after(() => postgres.stop());
  return postgres;
}

function begun(t: TestContext, store: string, ...more: string[]): Program {
  return tidings(t, [
    ...['serve', '--port', '0', '--policy-port', 'off', '--query-user', 'u', '--admin-token', 'T'],
    ...['--postgres', store, ...more],
  ]);
}

async function served(t: TestContext, store: string, ...more: string[]): Promise<Instance> {
  const program = begun(t, store, ...more);
  const [url = ''] = await program.line(/^listening on (http:\S+)\/$/m);
  return { program, url };
}

/** What `tidings listen` prints there for a user, once it is connected. */
async function listening(t: TestContext, { url }: Instance, user = 'alice'): Promise<() => unknown[]> {
  const listener = tidings(t, ['listen', '--url', url, '--query-user', 'u', '--user', user]);
  await until('the listener to be connected', () => listener.stderr.includes('connected to'));
  return () =>
    listener.stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { data: unknown }).data);
}

function posted({ url }: Instance, data: unknown, user = 'alice'): Promise<Response> {
  return fetch(`${url}/api/users/${user}/messages`, {
    method: 'POST',
    headers: { Authorization: 'Bearer T', 'Content-Type': 'application/json', Connection: 'close' },
    body: JSON.stringify(data),
  });
}

async function sent(t: TestContext, store: string, text: string): Promise<void> {
  const program = tidings(t, ['send', 'alice', text, '--postgres', store, '--wait', '120000']);
  assert.equal(await program.status(), 0, program.stderr);
}

/** As an application does it, on a connection of its own. */
async function transaction(store: string, texts: string[], end: 'COMMIT' | 'ROLLBACK'): Promise<void> {
  const client = new pg.Client({ connectionString: store });
  await client.connect();
  try {
    await client.query('BEGIN');
    for (const text of texts) {
      await client.query(`SELECT tidings.send('alice', $1::jsonb)`, [JSON.stringify(text)]);
    }
    await client.query(end);
  } finally {
    await client.end();
  }
}

async function health({ url }: Instance): Promise<{ status: number; body: string }> {
  const response = await fetch(`${url}/healthz`, { headers: { Connection: 'close' } });
  return { status: response.status, body: await response.text() };
}

/** A role that has to say a password, in a database of its own. */
async function guarded(postgres: PostgresServer): Promise<string> {
  await postgres.query(`CREATE ROLE guarded LOGIN PASSWORD 'right'`);
  const file = join(postgres.folder, 'pg_hba.conf');
  writeFileSync(file, `host all guarded 127.0.0.1/32 scram-sha-256\n${readFileSync(file, 'utf8')}`);
  await postgres.query('SELECT pg_reload_conf()');
  const store = new URL(await postgres.database());
  await postgres.query(`ALTER DATABASE ${store.pathname.slice(1)} OWNER TO guarded`);
  store.username = 'guarded';
  return store.href;
}

test(
  'listeners of all instances and workers get what send, an admin API and a committed transaction stored, and nothing else',
  patient,
  async (t) => {
    const postgres = await started(t);
    const store = await postgres.database();
    const one = await served(t, store);
    const two = await served(t, store);
    const many = await served(t, store, '--workers', '2');
    const heard = await Promise.all([one, two, many, many, many].map((instance) => listening(t, instance)));
    const expected: string[] = [];
    const all = (last: string) =>
      until(`all to have ${last}`, () => heard.every((got) => got().at(-1) === last));

    await sent(t, store, 'by send');
    expected.push('by send');
    await all('by send');
    for (const [name, instance] of Object.entries({ one, two, many })) {
      const answer = await posted(instance, name);
      assert.equal(answer.status, 201, await answer.text());
      expected.push(name);
    }
    await all('many');
    await transaction(store, ['first', 'second'], 'COMMIT');
    await transaction(store, ['never'], 'ROLLBACK');
    await transaction(store, ['third'], 'COMMIT');
    expected.push('first', 'second', 'third');
    await all('third');
    // A connection that ends in a transaction has not committed it.
    const client = new pg.Client({ connectionString: store });
    client.on('error', () => {});
    await client.connect();
    await client.query('BEGIN');
    await client.query(`SELECT tidings.send('alice', '"cut off"')`);
    await client.query('SELECT pg_terminate_backend(pg_backend_pid())').catch(() => {});
    // Many at once, of which each other one thinks better of it.
    await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        transaction(store, [`n${i}`], i % 2 === 0 ? 'COMMIT' : 'ROLLBACK'),
      ),
    );
    await sent(t, store, 'last');
    await all('last');
    const [first] = heard.map((got) => got());
    assert.deepEqual(first!.slice(0, expected.length), expected);
    const crowd = first!.slice(expected.length, -1);
    assert.deepEqual([...crowd].sort(), Array.from({ length: 30 }, (_, i) => `n${2 * i}`).sort());
    for (const got of heard) assert.deepEqual(got(), first);
    for (const { program } of [one, two, many]) assert.doesNotMatch(program.stderr, /redis/i);
  },
);

test(
  'a database that is killed and comes back: health says that it is away, and everybody goes on where they were',
  patient,
  async (t) => {
    const postgres = await started(t);
    const store = await postgres.database();
    const one = await served(t, store);
    const many = await served(t, store, '--workers', '2');
    const heard = await Promise.all([one, many, many].map((instance) => listening(t, instance)));
    const all = (last: string) =>
      until(`all to have ${last}`, () => heard.every((got) => got().at(-1) === last), 120_000);
    await posted(one, 'before');
    await all('before');
    assert.deepEqual((await health(one)).status, 200);
    // What has not committed goes with it.
    const client = new pg.Client({ connectionString: store });
    client.on('error', () => {});
    await client.connect();
    await client.query('BEGIN');
    await client.query(`SELECT tidings.send('alice', '"uncommitted"')`);

    await postgres.kill();
    for (const instance of [one, many]) {
      const { body } = await until('health to say so', async () => {
        const found = await health(instance);
        return found.status === 503 && found;
      });
      assert.match(body, /"storeAway":true/);
      assert.doesNotMatch(body, /redis/i);
    }
    // It waits for its database; those of an application can't begin.
    const waiting = sent(t, store, 'meanwhile');
    await assert.rejects(transaction(store, ['x'], 'COMMIT'));
    await postgres.start();
    await waiting;
    await until('health to be well', async () => (await health(one)).status === 200, 120_000);
    await until('that of workers', async () => (await health(many)).status === 200, 120_000);
    await transaction(store, ['after', 'last'], 'COMMIT');
    await all('last');
    for (const got of heard) assert.deepEqual(got(), ['before', 'meanwhile', 'after', 'last']);
    for (const { program } of [one, many]) {
      await until('that it was away', () => /store-away.*PostgreSQL at 127\.0\.0\.1/.test(program.stderr));
      assert.doesNotMatch(program.stderr, /redis/i);
    }
  },
);

test('a wrong password or database is told by name, and the password is not', patient, async (t) => {
  const postgres = await started(t);
  const store = await guarded(postgres);
  const wrong = new URL(store);
  wrong.password = 'wr0ng-one';
  const nowhere = new URL(store);
  nowhere.password = 'right';
  nowhere.pathname = '/nowhere';
  const told = [
    [wrong.href, /password authentication failed for user "guarded"/],
    [nowhere.href, /database "nowhere" does not exist/],
  ] as const;
  const waiting = await Promise.all(
    told.map(async ([url, said]) => {
      const program = tidings(t, ['send', 'alice', 'x', '--postgres', url, '--wait', '6000']);
      // An instance may be there before its database: it says what is wrong, and waits.
      const instances = [begun(t, url), begun(t, url, '--workers', '2')];
      assert.equal(await program.status(), 1);
      assert.match(program.stderr, /no PostgreSQL within 6000 ms, so nothing is stored/);
      assert.match(program.stderr, said);
      for (const one of instances) {
        await until('it to be told', () => said.test(one.stderr) && one.stderr.includes('store-awaited'));
        assert.equal(one.process.exitCode, null);
      }
      for (const { stdout, stderr } of [program, ...instances]) {
        assert.doesNotMatch(stdout + stderr, /wr0ng|right|redis/i);
      }
      return instances;
    }),
  );
  await postgres.query('CREATE DATABASE nowhere OWNER guarded');
  for (const one of waiting[1]!) await one.line(/^listening on http:/m);
  await sent(t, nowhere.href, 'x');
});

test(
  'where a role may make nothing, what postgres-schema prints has made all: serve, send and applications work',
  patient,
  async (t) => {
    const postgres = await started(t);
    const store = new URL(await postgres.database());
    await postgres.query('CREATE ROLE plain LOGIN; CREATE ROLE app LOGIN');
    await postgres.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC', store.href);
    const owner = store.href;
    store.username = 'plain';
    const early = begun(t, store.href);
    assert.equal(await early.status(), 1);
    assert.match(early.stderr, /has to be made or changed, which this role may not.*tidings postgres-schema/);

    const printed = tidings(t, ['postgres-schema']);
    assert.equal(await printed.status(), 0, printed.stderr);
    const folder = mkdtempSync(join(tmpdir(), 'tidings-schema-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'schema.sql');
    writeFileSync(file, printed.stdout);
    postgres.own(folder);
    postgres.run('psql', ['-q', '-v', 'ON_ERROR_STOP=1', '-d', owner, '-f', file]);
    await postgres.query(
      `GRANT USAGE ON SCHEMA tidings TO plain, app;
      GRANT ALL ON ALL TABLES IN SCHEMA tidings TO plain;
      GRANT ALL ON ALL SEQUENCES IN SCHEMA tidings TO plain;
      GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidings TO plain;
      GRANT EXECUTE ON FUNCTION tidings.send(text, jsonb, interval, text, text) TO app`,
      owner,
    );
    const one = await served(t, store.href);
    const heard = await listening(t, one);
    assert.equal((await posted(one, 'api')).status, 201);
    await sent(t, store.href, 'send');
    const app = new URL(store);
    app.username = 'app';
    await transaction(app.href, ['app'], 'COMMIT');
    await until('all of them', () => heard().length === 3);
    assert.deepEqual(heard(), ['api', 'send', 'app']);
    assert.equal((await health(one)).status, 200, one.program.stderr);
    assert.doesNotMatch(one.program.stderr, /postgres-(refuses|tidy-failing|schema)/);
  },
);
