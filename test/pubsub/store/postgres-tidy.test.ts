/** What PostgreSQL does not keep for ever: partitions whose time is over, and what nobody uses any more. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { PostgresLink } from '../../../src/pubsub/postgres/link.ts';
import { resolvePostgresOptions } from '../../../src/pubsub/postgres/options.ts';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import { Faults } from '../../../src/pubsub/store/faults.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { PostgresTidy } from '../../../src/pubsub/store/postgres-tidy.ts';
import { cleanups } from '../../support/cleanups.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { options, Recorder, text } from './broker-suite.ts';

const postgres = { ...needs('postgres'), timeout: 60_000 };
const DAY = 86_400_000;
let server: PostgresServer;
before(async () => {
  if (!postgres.skip) server = await startPostgres();
});
after(() => server?.stop());

interface Subject {
  url: string;
  broker: Broker;
  tidy: PostgresTidy;
  sql(query: string): Promise<Record<string, unknown>[]>;
}

async function begin(age = 7 * DAY): Promise<Subject> {
  const url = await server.database();
  const broker = postgresBroker(url, { connections: 3 });
  cleanups.push(() => broker.close());
  await broker.open(new Recorder());
  const link = new PostgresLink(resolvePostgresOptions(url, { connections: 2 }), 'tidings');
  cleanups.push(() => link.close());
  const faults = new Faults({ warn: (message) => assert.fail(message), mended() {} });
  const said = { idle: 30 * DAY, maxMessage: 0, retentions: undefined };
  const tidy = new PostgresTidy(
    link,
    () => ({ age, window: DAY }),
    () => true,
    () => said,
    faults,
  );
  return { url, broker, tidy, sql: (query) => server.query(query, url) };
}

const kept = (maxAge: number) => options({ retention: { maxMessages: 1000, maxAge } });
const parts = async ({ sql }: Subject): Promise<number> =>
  Number(
    (await sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'tidings.message'::regclass"))[0]!.count,
  );

test(
  'what goes with a partition is the beginning of a log, and what comes next counts on',
  postgres,
  async () => {
    const subject = await begin();
    const { broker, tidy, sql } = subject;
    await broker.publish('x', 'text', text('1'), kept(1000));
    await broker.publish('x', 'text', text('2'), kept(6 * DAY));
    // Shorter than the one before: it is not gone before that.
    const third = await broker.publish('x', 'text', text('3'), kept(5 * DAY));
    await broker.publish('gone', 'text', text('1'), kept(1000));
    const count = await parts(subject);
    await sql(
      "UPDATE tidings.part SET upper = 1 WHERE parent = 'message' AND upper = (SELECT min(upper) FROM tidings.part WHERE parent = 'message')",
    );
    await tidy.tidy();
    assert.equal(await parts(subject), count - 1);
    // Its time by the channel's own age is not over, as that is longer by now.
    const { messages, first, top } = await broker.read('x', 0, 10);
    assert.deepEqual([messages.map(({ payload }) => String(payload)), first, top.offset], [['2', '3'], 2, 3]);
    assert.equal(top.epoch, third.epoch);
    const empty = await broker.read('gone', 0, 10);
    assert.deepEqual([empty.messages, empty.first, empty.top.offset], [[], 2, 1]);
    assert.equal((await broker.publish('gone', 'text', text('2'), kept(6 * DAY))).offset, 2);
    const marked = await broker.marks('x');
    assert.equal(marked.first, 2);
  },
);

test('while somebody reads for long it keeps nobody waiting, and is done later', postgres, async () => {
  const subject = await begin();
  const { broker, tidy, sql, url } = subject;
  await broker.publish('x', 'text', text('1'), kept(1000));
  await sql(
    "UPDATE tidings.part SET upper = 1 WHERE parent = 'message' AND upper = (SELECT min(upper) FROM tidings.part WHERE parent = 'message')",
  );
  const count = await parts(subject);
  const reader = new pg.Client({ connectionString: url });
  await reader.connect();
  cleanups.push(() => reader.end());
  await reader.query('BEGIN; SELECT count(*) FROM tidings.message');
  const tidying = tidy.tidy();
  await Promise.all(
    Array.from({ length: 50 }, (_, i) => broker.publish(`y${i}`, 'text', text('1'), kept(DAY))),
  );
  await tidying;
  assert.equal(await parts(subject), count);
  await reader.query('COMMIT');
  await tidy.tidy();
  assert.equal(await parts(subject), count - 1);
});

test('a partition that somebody has removed by himself keeps no other one', postgres, async () => {
  const subject = await begin();
  const { tidy, sql } = subject;
  const [first] = await sql("SELECT name FROM tidings.part WHERE parent = 'message' ORDER BY upper LIMIT 1");
  await sql(`DROP TABLE tidings."${first!.name}"`);
  const count = await parts(subject);
  // Two of them are over by now.
  await sql(
    "UPDATE tidings.part p SET upper = n FROM (SELECT upper, row_number() OVER (ORDER BY upper) AS n FROM tidings.part WHERE parent = 'message') those WHERE p.parent = 'message' AND p.upper = those.upper AND n <= 2",
  );
  await tidy.tidy();
  assert.equal(await parts(subject), count - 1);
});

test('partitions are made before they are needed, for however long messages are kept', postgres, async () => {
  const subject = await begin(DAY);
  const { broker, sql } = subject;
  for (const age of [1, 3_600_000, 30 * DAY, 2000 * DAY]) {
    await Promise.all(
      Array.from({ length: 5 }, (_, i) => broker.publish(`x${i} ${age}`, 'text', text('x'), kept(age))),
    );
  }
  assert.ok((await parts(subject)) < 40, `${await parts(subject)} partitions`);
  assert.deepEqual(await sql('SELECT FROM tidings.message WHERE hold > 0'), []);
  // Where none was made for long, the last one holds what comes, as long as it is to be kept.
  await sql(
    'DELETE FROM tidings.part WHERE upper > (extract(epoch FROM now()) * 1000)::bigint + 8 * 86400000::bigint',
  );
  await sql(
    'INSERT INTO tidings.setting (name, value) VALUES (\'retention\', \'{"inbox": [8640000000, 10], "topic": [1, 1], "topics": {}}\') ON CONFLICT (name) DO UPDATE SET value = excluded.value',
  );
  await sql("SELECT tidings.send('late', '1')");
  const [held] = await sql(
    'SELECT hold - (extract(epoch FROM now()) * 1000)::bigint AS more FROM tidings.message WHERE hold > 0',
  );
  assert.ok(Number(held!.more) > 99 * DAY);
  assert.equal((await broker.read('user:late', 0, 10)).messages.length, 1);
});

test('channels and cursors that nobody uses are forgotten, and begin anew', postgres, async () => {
  const { broker, tidy, sql } = await begin();
  const used = await broker.publish('used', 'text', text('x'), kept(DAY));
  const old = await broker.publish('old', 'text', text('x'), options({ idempotencyKey: 'k' }));
  await broker.mark('old', { as: 'read' });
  const position = ({ epoch, offset, id }: typeof old) => ({ epoch, offset, id });
  await broker.acknowledge({ channel: 'used', device: 'kept', position: position(used) }, DAY);
  await broker.acknowledge({ channel: 'used', device: 'over', position: position(used) }, 1);
  await broker.acknowledge({ channel: 'old', device: 'd', position: position(old) }, DAY);
  await sql("UPDATE tidings.channel SET used = 0 WHERE name = 'old'");
  await tidy.tidy();
  for (const table of ['channel', 'message', 'receipt', 'marks', 'cursor']) {
    const rows = await sql(`SELECT * FROM tidings.${table}`);
    assert.equal(rows.length, { channel: 1, message: 1, receipt: 0, marks: 0, cursor: 1 }[table], table);
  }
  const { top } = await broker.opening('old');
  assert.equal(top.offset, 0);
  const anew = await broker.publish('old', 'text', text('y'), options({ idempotencyKey: 'k' }));
  assert.deepEqual([anew.offset, anew.duplicate], [1, false]);
});

test('a channel that is stored into without end takes no more room', postgres, async () => {
  const { broker, sql } = await begin();
  const retention = { maxMessages: 100, maxAge: DAY };
  const size = async (): Promise<number> =>
    Number(
      (
        await sql(
          "SELECT sum(pg_total_relation_size(inhrelid)) AS n FROM pg_inherits WHERE inhparent = 'tidings.message'::regclass",
        )
      )[0]!.n,
    );
  const fill = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) {
      await Promise.all(
        Array.from({ length: 100 }, (_, k) =>
          broker.publish(`c${k % 4}`, 'binary', Buffer.alloc(500), options({ retention })),
        ),
      );
    }
    await sql('VACUUM tidings.message');
  };
  await fill();
  const before = await size();
  for (let i = 0; i < 4; i++) await fill();
  assert.ok((await size()) < before * 1.5, `${before} bytes, then ${await size()}`);
  const [rows] = await sql('SELECT count(*) AS n FROM tidings.message');
  assert.ok(Number(rows!.n) <= 4 * 113);
});
