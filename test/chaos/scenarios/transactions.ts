/** Messages that an application sends in its own transactions, while it, the database and instances are killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Random } from '../../../src/prove/random.ts';
import { typescript } from '../../support/programs.ts';
import { type ApplicationSettings, PER_WRITER, TABLE } from '../application.ts';
import type { LonePostgres } from '../lone-postgres.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { clientPage, type VictimPage } from '../victims.ts';

const USERS = ['t1', 't2', 't3'];
const WRITERS = 3;

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

export const transactions: Scenario = {
  name: 'postgres-transactions',
  what: 'an application sends by SQL in transactions that are committed and rolled back at random, while it, the database and instances are killed: what is committed comes once, in order, and nothing else',
  expects: 'complete',
  stores: ['postgres'],
  setting: { users: 1, pages: 1, topics: [], interval: 30 },
  async play(stage) {
    const database = stage.lone as LonePostgres;
    const random = new Random(stage.plan.seed);
    await database.query(TABLE);
    const url = `ws://127.0.0.1:${stage.front.port}/socketServer`;
    const pages = new Map(USERS.map((user) => [user, [0, 1].map(() => clientPage(url, user))]));
    const application = new Application(stage);
    await application.start();
    let kills = 0;
    for (let i = 0; i < (stage.plan.isShort ? 6 : 40); i++) {
      await pause(300 + random.below(700));
      kills++;
      if (i % 3 === 0) {
        await application.kill();
        await application.start();
      } else if (i % 3 === 1) {
        await database.kill();
        await database.start();
      } else {
        const instance = random.pick(stage.instances);
        await instance.kill();
        await instance.start();
      }
    }
    await pause(500);
    await application.end();
    const sent = await committed(database);
    await stage
      .until('pages to have what is committed', () =>
        USERS.every((user) => pages.get(user)!.every((page) => page.seen.length >= sent.get(user)!.length)),
      )
      .catch(() => {});
    await pause(300);
    for (const [user, all] of pages) for (const page of all) judge(stage, user, page, sent.get(user)!);
    const count = [...sent.values()].reduce((sum, numbers) => sum + numbers.length, 0);
    stage.check(count > 100, `only ${count} messages were committed: the scenario proves nothing`);
    stage.note(`${count} messages committed, ${kills} kills`);
    await stage.recovered();
    for (const page of [...pages.values()].flat()) page.close();
  },
};

/** By user, what its transactions have committed. */
async function committed(database: LonePostgres): Promise<Map<string, number[]>> {
  const rows = await database.query('SELECT name, n::float8 AS n FROM sent ORDER BY n');
  const sent = new Map(USERS.map((user): [string, number[]] => [user, []]));
  for (const { name, n } of rows) sent.get(String(name))!.push(Number(n));
  return sent;
}

/** Each once, those of each writer in their order, and nothing that was rolled back. */
function judge(stage: Stage, user: string, { seen }: VictimPage, sent: number[]): void {
  const wanted = new Set(sent);
  const found = new Set<number>();
  const last = new Map<number, number>();
  const wrong = { twice: 0, 'rolled back': 0, 'out of order': 0 };
  for (const { n } of seen) {
    const writer = Math.floor(n / PER_WRITER);
    if (found.has(n)) wrong.twice++;
    else if (!wanted.has(n)) wrong['rolled back']++;
    else if (n < (last.get(writer) ?? 0)) wrong['out of order']++;
    found.add(n);
    last.set(writer, n);
  }
  const lost = sent.filter((n) => !found.has(n));
  stage.check(
    lost.length === 0,
    `${user}: ${lost.length} of ${sent.length} committed messages are lost, such as ${lost[0]}`,
  );
  for (const [what, count] of Object.entries(wrong))
    stage.check(count === 0, `${user}: ${count} messages came that were ${what}`);
}

/** The process that sends. */
class Application {
  readonly #stage: Stage;
  #child: ChildProcess | undefined;
  #writers = 1;

  constructor(stage: Stage) {
    this.#stage = stage;
    stage.atEnd(() => this.kill());
  }

  async start(): Promise<void> {
    const { store } = this.#stage;
    if (store.kind !== 'postgres') throw new TypeError('the application needs PostgreSQL');
    const settings: ApplicationSettings = {
      url: store.target,
      first: this.#writers,
      writers: WRITERS,
      users: USERS,
      seed: this.#stage.plan.seed,
    };
    this.#writers += WRITERS;
    const program = fileURLToPath(new URL('../application.ts', import.meta.url));
    const child = spawn(process.execPath, [...typescript, program], {
      env: { ...process.env, CHAOS_APPLICATION: JSON.stringify(settings) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child = child;
    await once(child.stdout!, 'data');
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** What it has begun is finished. */
  end(): Promise<void> {
    return this.kill('SIGTERM');
  }
}
