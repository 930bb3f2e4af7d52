/**
 * A program: an application that writes to its own table and sends messages in the same transactions, several at a time, until
 * it is told to end or is killed. A table of its own has what is committed, so that nobody has to ask it.
 */
import pg from 'pg';
import { Random } from '../../src/prove/random.ts';

export interface ApplicationSettings {
  url: string;
  /** Of the application's run: its writers are numbered from there on. */
  first: number;
  writers: number;
  users: string[];
  seed: number;
}

/** Messages of a writer are numbered from here on, by its number. */
export const PER_WRITER = 1_000_000;
export const TABLE = 'CREATE TABLE IF NOT EXISTS sent (name text NOT NULL, n bigint PRIMARY KEY)';

const text = process.env['CHAOS_APPLICATION'];
if (text !== undefined) {
  const { url, first, writers, users, seed } = JSON.parse(text) as ApplicationSettings;
  let isOver = false;
  process.on('SIGTERM', () => {
    isOver = true;
  });
  const pause = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, milliseconds));

  const write = async (writer: number): Promise<void> => {
    const random = new Random(seed + writer);
    let n = writer * PER_WRITER;
    let client: pg.Client | undefined;
    const send = async (user: string): Promise<void> => {
      n++;
      await client!.query('INSERT INTO sent (name, n) VALUES ($1, $2)', [user, n]);
      await client!.query('SELECT tidings.send($1, $2)', [user, JSON.stringify({ n })]);
    };
    const transact = async (): Promise<void> => {
      await client!.query('BEGIN');
      for (let i = 0; i <= random.below(4); i++) {
        const isTakenBack = random.chance(4);
        if (isTakenBack) await client!.query('SAVEPOINT one');
        await send(random.pick(users));
        if (isTakenBack) await client!.query('ROLLBACK TO one');
        if (random.chance(3)) await pause(random.below(30));
      }
      await client!.query(random.chance(3) ? 'ROLLBACK' : 'COMMIT');
    };
    while (!isOver) {
      try {
        if (client === undefined) {
          const next = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 });
          next.on('error', () => {});
          await next.connect();
          client = next;
        }
        await transact();
      } catch {
        // What has become of it says the table.
        client?.end().catch(() => {});
        client = undefined;
        await pause(50);
      }
      await pause(random.below(10));
    }
    await client?.end();
  };
  console.log('at work');
  await Promise.all(Array.from({ length: writers }, (_, i) => write(first + i)));
}
