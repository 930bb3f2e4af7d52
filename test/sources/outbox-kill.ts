/** Instances, the database and the store are killed amid the work, in an order that a seed gives: what was committed is sent once, in order. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { redisBroker } from '../../src/index.ts';
import { until } from '../support/net.ts';
import { needs, typescript, uncovered } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { type Database, insert, storedOf } from './outbox-suite.ts';

const INSTANCE = new URL('outbox-instance.ts', import.meta.url).pathname;
const WRITERS = 8;
const USERS = 5;
const ROUNDS = 6;
/** `SEED=7 npm test …` plays another order of events. */
const SEED = Number(process.env['SEED'] ?? 20_261_126);

export function killTest(server: () => Database): void {
  test('what is committed is sent once and in order, whoever is killed', needs('redis'), async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    let random = SEED % 2_147_483_647 || 1;
    const next = (below: number): number => {
      random = (random * 48_271) % 2_147_483_647;
      return random % below;
    };
    const db = server();
    const url = await db.make();
    // What it has said yes to is still there when it was killed.
    const redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
    t.after(() => redis.stop());
    const instances: ChildProcess[] = [];
    const start = async (place: number): Promise<void> => {
      const child = spawn(process.execPath, [...typescript, INSTANCE, redis.url, url], {
        env: uncovered,
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      instances[place] = child;
      t.after(() => child.kill('SIGKILL'));
    };
    const kill = async (child: ChildProcess): Promise<void> => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    };
    await Promise.all([start(0), start(1)]);

    const committed: { writer: number; n: number; user: string }[] = [];
    const unknown = new Set<string>();
    let isOver = false;
    const write = async (writer: number): Promise<void> => {
      for (let n = 0; !isOver; n++) {
        const user = `u${(writer + n) % USERS}`;
        const rows = [0, 1].map((i) => ({ user, data: { writer, n, i } }));
        const isKept = n % 5 !== 4;
        let isCommitting = false;
        try {
          const session = await db.session(url);
          await session.run('BEGIN');
          // Another row of poison between good ones, now and then.
          const poison = n % 7 === 3 ? [{ user: '', data: 'poison' }] : [];
          await session.run(insert(db, rows[0]!, ...poison, rows[1]!));
          isCommitting = isKept;
          await session.run(isKept ? 'COMMIT' : 'ROLLBACK');
          if (isKept) committed.push({ writer, n, user });
          await session.end();
        } catch {
          // The database was killed meanwhile: it may be committed.
          if (isCommitting && !committed.some((each) => each.writer === writer && each.n === n)) {
            unknown.add(`${writer} ${n}`);
          }
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    };
    const writing = Array.from({ length: WRITERS }, (_, writer) => write(writer));
    for (let round = 0; round < ROUNDS; round++) {
      const before = committed.length;
      await until('more to be written', () => committed.length >= before + 20 + next(40));
      const what = next(4);
      if (what < 2) {
        await kill(instances[what]!);
        await start(what);
      } else if (what === 2) {
        await db.kill();
        await db.start();
      } else {
        await redis.kill();
        await redis.start();
      }
    }
    isOver = true;
    await Promise.all(writing);
    await until('all to be sent', async () => {
      const [row] = await db.query('SELECT COUNT(*) AS n FROM tidings_outbox', url);
      return Number(row!['n']) === 0;
    });

    const broker = redisBroker(redis.url);
    const silent = (): void => {};
    await broker.open({ message: silent, transient: silent, acknowledged: silent, down: silent, up: silent });
    t.after(() => broker.close());
    const sent = new Map<string, number>();
    for (let u = 0; u < USERS; u++) {
      const found = (await storedOf(broker, `user:u${u}`)) as { writer: number; n: number; i: number }[];
      const last = new Map<number, number>();
      for (const { writer, n, i } of found) {
        assert.ok(n * 2 + i > (last.get(writer) ?? -1), `u${u}: ${writer} ${n} ${i} in order`);
        last.set(writer, n * 2 + i);
        const key = `${writer} ${n}`;
        sent.set(key, (sent.get(key) ?? 0) + 1);
      }
    }
    for (const { writer, n } of committed) assert.equal(sent.get(`${writer} ${n}`), 2, `${writer} ${n}`);
    const known = new Set(committed.map(({ writer, n }) => `${writer} ${n}`));
    for (const [key, count] of sent) assert.ok(count === 2 && (known.has(key) || unknown.has(key)), key);
    const [dead] = await db.query('SELECT COUNT(*) AS n FROM tidings_outbox_dead', url);
    assert.ok(Number(dead!['n']) > 0);
    t.diagnostic(`${committed.length} transactions committed, ${unknown.size} of which nobody knows`);
  });
}
