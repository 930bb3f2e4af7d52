/** The schedule in PostgreSQL when the database or an instance is killed, when hundreds are at it at once, and when somebody meddles. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import type { LaterMessage, Schedule, Settled } from '../../../src/pubsub/store/schedule.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs, typescript, uncovered } from '../../support/programs.ts';
import { open } from './postgres-brokers.ts';

const taker = fileURLToPath(new URL('postgres-taker.ts', import.meta.url));

const message = (id: string, channel: string, at = 1): LaterMessage => ({
  id,
  channel,
  kind: 'text',
  payload: Buffer.from(id),
  at,
  settings: {},
});

const take = (schedule: Schedule, holder: string, lease = 60_000) =>
  schedule.take(holder, { now: Date.now(), lease, most: 100, bytes: 1024 * 1024 });

/** Takes and settles until nothing is left. Gives the ids, in order. */
async function drain(schedule: Schedule, holder: string): Promise<string[]> {
  const found: string[] = [];
  await until('nothing to be left', async () => {
    const answer = await take(schedule, holder);
    if (answer.state !== 'held') return answer.state === 'none';
    found.push(...answer.messages.map(({ id }) => id));
    await schedule.settle(
      holder,
      answer.messages.map(({ id }) => ({ id, what: 'stored' })),
    );
    return false;
  });
  return found;
}

describe('the schedule in PostgreSQL', { ...needs('postgres'), timeout: 300_000 }, () => {
  let server: PostgresServer;
  let url: string;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server?.stop());
  const fresh = async (): Promise<Broker> => {
    url = await server.preparedDatabase();
    return (await open(url))[0];
  };

  test('kill -9 of the database loses nothing that was added, and brings back nothing that was settled', async () => {
    const { schedule } = await fresh();
    const [{ schedule: other }] = await open(url);
    const added: string[] = [];
    const settled = new Set<string>();
    const again: string[] = [];
    let isOver = false;
    let holder = 0;
    const adding = (async () => {
      for (let i = 0; !isOver; i++) {
        await schedule.add(message(`m${i}`, `c${i % 5}`), 0);
        added.push(`m${i}`);
      }
    })();
    const sending = (async () => {
      while (!isOver) {
        try {
          const answer = await take(other, `b.${holder}`, 500);
          if (answer.state !== 'held') continue;
          again.push(...answer.messages.map(({ id }) => id).filter((id) => settled.has(id)));
          const outcomes: Settled[] = answer.messages.map(({ id }) => ({ id, what: 'stored' }));
          await other.settle(`b.${holder}`, outcomes);
          for (const { id } of outcomes) settled.add(id);
        } catch {
          // He may not know what he was given.
          holder++;
        }
      }
    })();
    for (let round = 0; round < 3; round++) {
      const before = added.length;
      await until('some more', () => added.length > before + 40);
      await server.kill();
      await server.start();
    }
    isOver = true;
    await Promise.all([adding, sending]);
    const rest = await drain(schedule, `b.${holder + 1}`);
    assert.deepEqual(again, []);
    assert.ok(rest.every((id) => !settled.has(id)));
    const all = new Set([...settled, ...rest]);
    assert.ok(
      added.every((id) => all.has(id)),
      'what was added is there',
    );
    assert.equal((await schedule.list({ limit: 1 })).count, 0);
  });

  test('what an instance was given that is killed is given to another one, in order, and nothing twice', async () => {
    const { schedule } = await fresh();
    const ids = Array.from({ length: 200 }, (_, i) => `m${i}`);
    for (const [i, id] of ids.entries()) await schedule.add(message(id, 'c', i + 1), 0);
    const child = spawn(process.execPath, [...typescript, taker, url, 'first', '400'], {
      env: uncovered,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const heard = (word: string): string[] =>
      [...said.matchAll(new RegExp(`^${word} (m\\d+)$`, 'gm'))].map(([, id]) => id!);
    try {
      await until('it to be at it', () => heard('settled').length >= 12);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    assert.equal((await take(schedule, 'second.0')).state, 'other', 'its lease is not over');
    const rest = await drain(schedule, 'second.0');
    const settled = new Set(heard('settled'));
    assert.ok(rest.every((id) => !settled.has(id)));
    // The last that it has settled may not have been said any more.
    const unsaid = ids.filter((id) => !settled.has(id) && !rest.includes(id));
    assert.ok(unsaid.length <= 4, `${unsaid} were lost`);
    assert.deepEqual(
      rest,
      ids.filter((id) => rest.includes(id)),
      'in their order',
    );
  });

  test('hundreds at once by four instances: nothing fails, the count is right, and no deadlock is met', async () => {
    const first = await fresh();
    const others = await Promise.all(Array.from({ length: 3 }, () => open(url)));
    const schedules = [first, ...others.map(([broker]) => broker)].map(({ schedule }) => schedule);
    const given = new Set<string>();
    const work = Array.from({ length: 400 }, async (_, i) => {
      const schedule = schedules[i % 4]!;
      const name = `i${i % 4}.0`;
      if (i % 5 < 3)
        return void (await schedule.add(message(`m${i}`, `c${i % 7}`, i % 2 ? 1 : Date.now() + 100_000), 0));
      if (i % 5 === 3) return void (await schedule.cancel(`m${i - 2}`));
      const answer = await take(schedule, name, 50);
      if (answer.state !== 'held') return;
      for (const { id } of answer.messages) given.add(id);
      const outcomes = answer.messages.map(
        ({ id }, k): Settled => (k % 2 ? { id, what: 'stored' } : { id, what: 'back' }),
      );
      await schedule.settle(name, outcomes);
    });
    await Promise.all(work);
    const [counted] = await server.query(
      'SELECT (SELECT count FROM tidings.schedule)::int AS kept, (SELECT count(*) FROM tidings.scheduled)::int AS there',
      url,
    );
    assert.equal(counted!['kept'], counted!['there']);
    const [{ deadlocks }] = (await server.query(
      'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()',
      url,
    )) as [{ deadlocks: number }];
    assert.equal(deadlocks, 0);
  });

  test('of tens of thousands, those that are due, of a channel, or by an id are found by indexes', async () => {
    // Who has made the indexes has read the table for that, and that is counted once he is gone.
    await (await fresh()).close();
    const [{ schedule }] = await open(url);
    await server.query(
      `INSERT INTO tidings.scheduled (id, token, channel, settings, payload, at, due)
         SELECT 'm' || i, 't', 'c' || i % 1000, '{"kind":"text"}', 'x', i, i FROM generate_series(1, 30000) i;
       UPDATE tidings.schedule SET count = 30000; ANALYZE tidings.scheduled`,
      url,
    );
    const scans = async (): Promise<unknown> => {
      await server.query('SELECT pg_stat_force_next_flush()', url);
      const rows = await server.query(
        "SELECT seq_scan::int FROM pg_stat_user_tables WHERE relname = 'scheduled'",
        url,
      );
      return rows[0]!['seq_scan'];
    };
    await schedule.list({ limit: 1 });
    const before = await scans();
    for (let i = 0; i < 8; i++) {
      const answer = await take(schedule, 'a.0');
      assert.ok(answer.state === 'held' && answer.messages.length === 100);
      await schedule.settle('a.0', [
        ...answer.messages.slice(1).map(({ id }): Settled => ({ id, what: 'stored' })),
        { id: answer.messages[0]!.id, what: 'held', milliseconds: 60_000 },
      ]);
      assert.equal((await schedule.list({ channel: 'c7', limit: 5 })).messages.length, 5);
      assert.equal((await schedule.list({ limit: 50 })).messages.length, 50);
      assert.equal(await schedule.cancel(`m${29_000 + i}`), true);
      await schedule.add(message(`new${i}`, 'c'), 0);
    }
    // Another instance takes all of it back.
    await take(schedule, 'a.1');
    assert.equal(await scans(), before);
  });

  test('what somebody has damaged is told to be, and the others go their way', async () => {
    const { schedule } = await fresh();
    for (const id of ['bad', 'good', 'odd']) await schedule.add(message(id, 'c'), 0);
    await server.query(
      `UPDATE tidings.scheduled SET settings = '{' WHERE id = 'bad'; UPDATE tidings.scheduled SET settings = '{"kind":"x"}' WHERE id = 'odd'`,
      url,
    );
    const answer = await take(schedule, 'a.0');
    assert.ok(answer.state === 'held');
    assert.deepEqual(
      answer.messages.map((one) => ['damage' in one, one.id]),
      [
        [true, 'bad'],
        [false, 'good'],
        [true, 'odd'],
      ],
    );
    assert.equal((await schedule.list({ limit: 10 })).messages.length, 0);
    const failure = { id: 'bad', channel: '', at: 1, time: 2, reason: 'damaged' };
    await schedule.settle('a.0', [{ id: 'bad', what: 'failed', failure }]);
    assert.deepEqual(await schedule.failed(5), [failure]);
  });

  test('names and settings with any characters come back as they were', async () => {
    const { schedule } = await fresh();
    const odd = {
      ...message('m', 'a\0\u0001 ü🎉\n'),
      settings: { idempotencyKey: '\0"\n', replaces: '\u0001' },
    };
    await schedule.add(odd, 0);
    assert.equal(await schedule.cancel('no\0thing'), false);
    assert.equal((await schedule.list({ channel: odd.channel, limit: 5 })).messages.length, 1);
    const answer = await take(schedule, 'a.0');
    assert.ok(answer.state === 'held');
    assert.deepEqual(answer.messages, [odd]);
  });

  test('a role that may not take says so once, and misses nothing that it has not scheduled', async () => {
    await fresh();
    await server.query(
      `CREATE ROLE poor LOGIN; GRANT USAGE ON SCHEMA tidings TO poor; GRANT ALL ON ALL TABLES IN SCHEMA tidings TO poor;
       GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidings TO poor; REVOKE EXECUTE ON FUNCTION tidings.schedule_take FROM poor`,
      url,
    );
    const warnings: string[] = [];
    const [poor] = await open(url.replace('postgres@', 'poor@'), {}, { warn: (text) => warnings.push(text) });
    for (let i = 0; i < 3; i++) assert.deepEqual(await take(poor.schedule, 'a.0'), { state: 'none' });
    assert.equal(warnings.filter((text) => /messages that are scheduled are not sent/.test(text)).length, 1);
  });
});
