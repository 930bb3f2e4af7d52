/** Sessions in PostgreSQL: written once, there as long as their instance lives, whatever becomes of the calls that write them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { TcpProxy } from '../../../src/prove/proxy.ts';
import { PostgresError } from '../../../src/pubsub/postgres/errors.ts';
import { PostgresLink, type Query } from '../../../src/pubsub/postgres/link.ts';
import { resolvePostgresOptions } from '../../../src/pubsub/postgres/options.ts';
import { migrate } from '../../../src/pubsub/postgres/schema.ts';
import type { PresenceEntry } from '../../../src/pubsub/store/broker.ts';
import { PostgresPresence } from '../../../src/pubsub/store/postgres-presence.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs, typescript } from '../../support/programs.ts';

const TTL = 600;
/** Where nothing is to end before it is said, however slow this machine is. */
const LONG = 60_000;
const about = <T>(_what: string, _channel: string, answer: Promise<T>): Promise<T> => answer;

describe('presence in PostgreSQL', { ...needs('postgres'), timeout: 120_000 }, () => {
  let server: PostgresServer;
  let proxy: TcpProxy;
  const links: PostgresLink[] = [];
  let a: PostgresPresence;
  let b: PostgresPresence;

  async function open(port: number): Promise<PostgresLink> {
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
    const link = new PostgresLink(
      resolvePostgresOptions(url, { reconnectMinDelay: 10, statementTimeout: 2000 }),
      'tidings',
    );
    links.push(link);
    await new Promise<void>((resolve) => link.open({ lost() {}, whole: resolve }));
    await migrate(link);
    return link;
  }

  before(async () => {
    server = await startPostgres();
    proxy = await TcpProxy.start(() => [server.port]);
    a = new PostgresPresence(await open(proxy.port), about);
    b = new PostgresPresence(await open(server.port), about);
  });
  after(async () => {
    await Promise.all([a?.close(), b?.close()]);
    await Promise.all(links.map((link) => link.close()));
    await proxy?.close();
    await server?.stop();
  });

  const entry = (user: string, session = `session of ${user}`): PresenceEntry => ({
    session,
    instance: 'A',
    user,
    since: 1,
  });
  const count = async (table: string): Promise<number> =>
    Number((await server.query(`SELECT count(*) AS count FROM tidings.${table}`))[0]!['count']);

  test('an instance that is killed leaves no session behind once its time is over', async () => {
    const program = `
      import { PostgresLink } from './src/pubsub/postgres/link.ts';
      import { resolvePostgresOptions } from './src/pubsub/postgres/options.ts';
      import { PostgresPresence } from './src/pubsub/store/postgres-presence.ts';
      const link = new PostgresLink(resolvePostgresOptions('${server.url}'), 'tidings');
      await new Promise((resolve) => link.open({ lost() {}, whole: resolve }));
      const ann = { session: 's', instance: 'dead', user: 'ann', since: 1 };
      await new PostgresPresence(link, (_what, _channel, answer) => answer).announce([ann, { ...ann, topic: 'news' }], ${TTL});
      console.log('announced');
    `;
    const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', program]);
    await once(child.stdout, 'data');
    const [{ until: first } = {}] = await server.query(
      'SELECT max(until)::float8 AS until FROM tidings.life',
    );
    // Many times as long as an instance may be silent.
    await until('signs of life', async () => {
      const [{ until: now } = {}] = await server.query(
        'SELECT max(until)::float8 AS until FROM tidings.life',
      );
      return Number(now) > Number(first) + 2 * TTL;
    });
    // On a slow machine a sign may come late.
    await until('her to be there', async () => {
      const [own, { users }, online] = await Promise.all([
        b.of('ann'),
        b.attendance('news', 5),
        b.online(['ann', 'bob']),
      ]);
      return isDeepStrictEqual(
        [own.length, users, online],
        [1, [{ user: 'ann', sessions: 1 }], new Set(['ann'])],
      );
    });
    // Somebody has to be there who clears up.
    await b.announce([entry('bob')], TTL);
    child.kill('SIGKILL');
    await until('the session to be over', async () => (await b.of('ann')).length === 0);
    assert.equal((await b.attendance('news', 5)).sessions, 0);
    assert.deepEqual(await b.online(['ann']), new Set());
    await until(
      'all of it to be removed',
      async () => (await count('session')) === 1 && (await count('life')) === 1,
    );
    await b.withdraw([entry('bob')]);
  });

  test('a crash of the database, which forgets all sessions, is followed by another announcement of each', async () => {
    const users = Array.from({ length: 1200 }, (_, i) => `u${i}`);
    const own = users.map((user) => entry(user));
    const onTopic = own.map((one) => ({ ...one, topic: 'crowd' }));
    await a.announce([...own, ...onTopic], TTL);
    const areThere = async (): Promise<boolean> =>
      (await b.online(users)).size === users.length &&
      (await b.attendance('crowd', 0)).sessions === users.length;
    await until('all of them', areThere);
    // One that nobody announces again: of the others, some may be back as soon as the database is.
    await server.query("INSERT INTO tidings.session VALUES ('user:nobody', 's', 'no life', 'nobody', '{}')");
    await server.kill();
    await server.start();
    const left = await server.query("SELECT FROM tidings.session WHERE place = 'user:nobody'");
    assert.deepEqual(left, [], 'the crash has forgotten them');
    a.returned();
    await until('them to be announced again', areThere);
    await server.query('TRUNCATE tidings.life');
    await until('another life, and all of them under it', areThere);
    await a.withdraw([...own, ...onTopic]);
    assert.deepEqual(await b.of('u7'), []);
    assert.equal((await b.attendance('crowd', 0)).sessions, 0);
    assert.equal((await b.attendance('crowd', 3)).total, 0);
  });

  test('a session that stays is not written again; its instance gives one sign of life for all', async () => {
    const entries = Array.from({ length: 200 }, (_, i) => entry(`idle${i}`));
    const patient = new PostgresPresence(links[0]!, about);
    const ttl = 3000;
    await patient.announce(entries, ttl);
    const written = async (): Promise<unknown> =>
      (await server.query('SELECT sum(xmin::text::bigint) AS sum FROM tidings.session'))[0]!['sum'];
    const [before, [life]] = [
      await written(),
      await server.query('SELECT until::float8 AS until FROM tidings.life ORDER BY 1 DESC'),
    ];
    await until('signs of life', async () => {
      const [now] = await server.query('SELECT until::float8 AS until FROM tidings.life ORDER BY 1 DESC');
      return Number(now!['until']) > Number(life!['until']) + ttl;
    });
    assert.equal(await written(), before);
    await patient.withdraw(entries);
    await patient.close();
  });

  test('what is announced and withdrawn a hundred times at once is there in the end as it was said last', async () => {
    const patient = new PostgresPresence(links[0]!, about);
    const said: Promise<unknown>[] = [];
    for (let n = 0; n < 100; n++) {
      said.push(patient.announce([entry('zoe'), entry('zoe', `s${n % 7}`)], LONG));
      if (n % 3 === 0) said.push(patient.withdraw([entry('zoe')]));
      if (n % 5 === 0) said.push(patient.withdraw([entry('zoe', `s${n % 7}`), entry('zoe', 'never')]));
    }
    said.push(patient.withdraw([entry('zoe')]));
    await Promise.all(said);
    const there = (await b.of('zoe')).map(({ session }) => session).sort();
    // Of each it was the announcement that came last, but for s4 (n = 95).
    assert.deepEqual(there, ['s0', 's1', 's2', 's3', 's5', 's6']);
    await patient.close();
  });

  test('a call whose outcome is not known brings nobody back who was withdrawn after it', async () => {
    // It is sent, and carried out whenever the test says so.
    const link = links[0]!;
    const held: (() => Promise<unknown>)[] = [];
    let isHeld = true;
    const query: Query = async (statement, values) => {
      if (!isHeld || statement.name !== 'presence_change') return link.query(statement, values);
      held.push(() => link.query(statement, values));
      throw new PostgresError('POSTGRES_OUTCOME_UNKNOWN', 'no answer');
    };
    const presence = new PostgresPresence(Object.assign(Object.create(link), { query }), about);
    await assert.rejects(presence.announce([entry('eve'), entry('eve', 'stays')], LONG), {
      code: 'POSTGRES_OUTCOME_UNKNOWN',
    });
    isHeld = false;
    await presence.withdraw([entry('eve')]);
    assert.deepEqual(await b.of('eve'), [entry('eve', 'stays')]);
    assert.ok(held.length > 0);
    for (const carryOut of held) await carryOut();
    assert.deepEqual(await b.of('eve'), [entry('eve', 'stays')]);
    await presence.close();
    assert.deepEqual(await b.of('eve'), []);
  });

  test('a database that is away is told who comes and goes when it is back', async () => {
    await a.announce([entry('cora'), entry('dan')], TTL);
    proxy.refuses = true;
    proxy.cut();
    await assert.rejects(Promise.all([a.withdraw([entry('cora')]), a.announce([entry('fay')], TTL)]));
    proxy.refuses = false;
    await until('what was said meanwhile', async () => {
      const online = await b.online(['cora', 'dan', 'fay']);
      return online.size === 2 && !online.has('cora');
    });
    await a.withdraw([entry('dan'), entry('fay')]);
  });
});
