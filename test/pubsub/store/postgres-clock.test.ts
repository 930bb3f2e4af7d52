/** A PostgreSQL whose clock is a year ahead for a while, and is set right. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { cleanups } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { nextChannel, options, text } from './broker-suite.ts';
import { open } from './postgres-brokers.ts';

const postgres = { ...needs('postgres'), timeout: 120_000 };
const YEAR = 365 * 86_400_000;
let server: PostgresServer;
before(async () => {
  if (!postgres.skip) server = await startPostgres();
});
after(() => server?.stop());

/** A session, and what sets the clock that all of tidings goes by. */
async function begin(): Promise<{
  url: string;
  app: pg.Client;
  ahead(milliseconds: number): Promise<unknown>;
}> {
  const url = await server.database();
  const [first] = await open(url);
  await first.close();
  const app = new pg.Client(url);
  await app.connect();
  cleanups.push(() => app.end());
  const ahead = (milliseconds: number): Promise<unknown> =>
    app.query(
      `CREATE OR REPLACE FUNCTION tidings.clock() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
       AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ${milliseconds} $$`,
    );
  return { url, app, ahead };
}

test('who was there under the other clock and died is over in time', postgres, async () => {
  const { url, app, ahead } = await begin();
  const entry = (user: string) => ({ session: user, instance: 'A', user, since: 1 });
  await ahead(YEAR);
  // As an instance that was killed: it says nothing more.
  await app.query("SELECT tidings.presence_begin('dead', 1000, '')");
  await app.query(
    `SELECT tidings.presence_change('dead', '{user:ann}', '{s}', '{ann}', ARRAY['${JSON.stringify(entry('ann'))}'], '{}', '{}')`,
  );
  const [broker] = await open(url);
  await broker.announce([entry('bob')], 600);
  await ahead(0);
  assert.equal((await broker.presence('bob')).length, 1);
  await until('ann to be gone', async () => (await broker.presence('ann')).length === 0);
  await until('bob to be there', async () => (await broker.presence('bob')).length === 1);
});

/** A command of the control log, and a lease for who has carried it out. */
type Place = { epoch: string; number: string; id: string };

/** @param length of the lease, in milliseconds */
async function lease(
  client: pg.Client,
  instance: string,
  { epoch, number, id }: Place,
  length: number,
): Promise<Place> {
  const text = `SELECT * FROM tidings.control_lease($1, $1, $2, $3, $4, $5, 1000, '{}', '{}')`;
  return (await client.query(text, [instance, length, epoch, number, id])).rows[0];
}

async function progress(client: pg.Client, { epoch, number, id }: Place, length: number) {
  const text = 'SELECT * FROM tidings.control_progress($1, $2, $3, $4)';
  const { rows } = await client.query(text, [epoch, number, id, length]);
  return rows[0] as { unknown: string; pending: string[] };
}

/** Somebody who died under the other clock, which was right for him; and what was said since. */
async function left({ app, ahead }: Awaited<ReturnType<typeof begin>>, length: number): Promise<Place> {
  await ahead(YEAR);
  await app.query('TRUNCATE tidings.control_run');
  const place = await lease(app, 'dead', { epoch: '', number: '0', id: '' }, length);
  await ahead(0);
  await lease(app, 'alive', place, length);
  const text = `SELECT * FROM tidings.control_command('command', '{}', 100, 100, NULL, NULL, NULL)`;
  return { ...(await app.query(text)).rows[0], id: 'command' };
}

test('a command waits for nobody who died under the other clock', postgres, async () => {
  const begun = await begin();
  const command = await left(begun, 500);
  assert.deepEqual((await progress(begun.app, command, 500)).pending.includes('dead'), true);
  await until('nobody to be waited for', async () => {
    await lease(begun.app, 'alive', command, 500);
    const { pending, unknown } = await progress(begun.app, command, 500);
    return pending.length === 0 && unknown === '0';
  });
});

test('no lease is cut that is given while somebody waits to put that right', postgres, async () => {
  const begun = await begin();
  // Nobody looks what the clock says where nobody has a lease.
  const length = 60_000;
  const command = await left(begun, length);
  const other = new pg.Client(begun.url);
  await other.connect();
  cleanups.push(() => other.end());
  await other.query('BEGIN; SELECT FROM tidings.control FOR UPDATE');
  const looked = progress(begun.app, command, length);
  const waiting = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%control_progress%'`;
  // Not by who is in a transaction, which is shown the same every time.
  await until('it to wait', async () => (await server.query(waiting)).length === 1);
  await until(
    'time to pass',
    async () => (await other.query("SELECT WHERE clock_timestamp() > now() + '50ms'")).rowCount === 1,
  );
  await lease(other, 'alive', command, length);
  const given = async () =>
    (await other.query("SELECT until FROM tidings.control_lease WHERE instance = 'alive'")).rows;
  const before = await given();
  await other.query('COMMIT');
  assert.deepEqual((await looked).pending, ['dead']);
  assert.deepEqual(await given(), before);
});

test('logs count on, and what is sent is heard', postgres, async () => {
  const { url, app, ahead } = await begin();
  const [broker, heard] = await open(url);
  const channel = nextChannel('news');
  await broker.subscribe(channel);
  const send = () => broker.publish(channel, 'json', text('1'), options());
  await send();
  await ahead(YEAR);
  await send();
  await app.query('SELECT tidings.publish($1, $2)', [channel, '2']);
  await ahead(0);
  await send();
  await app.query('SELECT tidings.publish($1, $2)', [channel, '2']);
  await until('all of them', () => heard.messages.length === 5);
  assert.deepEqual(
    heard.messages.map(({ offset }) => offset),
    [1, 2, 3, 4, 5],
  );
  // The first one was too old under the other clock.
  const { messages, top } = await broker.read(channel, 0, 10);
  assert.deepEqual([messages.at(-1)!.offset, top.offset], [5, 5]);
});
