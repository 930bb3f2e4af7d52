/**
 * What has to be done now and then in the database, by whichever instance: partitions for what is still to come, those whose
 * time is over, channels that nobody uses any more, and messages of applications that were left pending.
 */
import { clearInterval, monotonicNow, setInterval } from '../../clock.ts';
import { PostgresReplyError, wasNotExecutedByPostgres } from '../postgres/errors.ts';
import type { PostgresLink, Query, Statement } from '../postgres/link.ts';
import { toText } from '../postgres/text.ts';
import { bounded, LONGEST } from './bounds.ts';
import type { Retention, Retentions } from './broker.ts';
import type { Faults } from './faults.ts';
import { ANY_NUMBER } from './marks.ts';
import { PREPARE } from './postgres-writer.ts';

const SWEEP: Statement = { name: 'sweep', text: 'SELECT * FROM tidings.sweep($1, $2)' };
const SETTINGS: Statement = {
  name: 'settings',
  text: `INSERT INTO tidings.setting (name, value) SELECT * FROM unnest($1::text[], $2::jsonb[])
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE setting.value <> excluded.value`,
};
const DROP: Statement = { name: 'drop', text: 'SELECT tidings.drop_part() AS "hasMore"' };
const TIDY: Statement = { name: 'tidy', text: 'SELECT tidings.tidy($1, $2) AS last' };

const SWEEP_INTERVAL = 1_000;
const INTERVAL = 60_000;
/** Channels whose pending messages are appended in one step. */
const SWEPT_AT_ONCE = 100;
/** Channels that are looked at in one step. */
const TIDIED_AT_ONCE = 10_000;
/** As tidings.sweep has it. */
interface Swept {
  last: string | null;
  state: string | null;
  problem: string | null;
}

/** What is said to tidings.send, which is called where no instance need be. */
export interface Said {
  /** Milliseconds that a channel is remembered after its last use. */
  idle: number;
  /** Bytes. */
  maxMessage: number;
  retentions: Retentions | undefined;
}

/** Milliseconds that dropping a partition may keep others waiting. */
const PATIENCE = 100;

export class PostgresTidy {
  readonly #link: PostgresLink;
  readonly #longest: () => { age: number; window: number };
  readonly #isThere: () => boolean;
  readonly #said: () => Said;
  readonly #faults: Faults;
  #timer: NodeJS.Timeout | undefined;
  #isSweeping = false;
  #isTidying = false;
  #next = monotonicNow() + INTERVAL * Math.random();
  #last = 0;

  /**
   * @param longest how long messages and idempotency keys are kept
   * @param isThere whether the store is
   */
  constructor(
    link: PostgresLink,
    longest: () => { age: number; window: number },
    isThere: () => boolean,
    said: () => Said,
    faults: Faults,
  ) {
    this.#faults = faults;
    this.#said = said;
    this.#link = link;
    this.#longest = longest;
    this.#isThere = isThere;
    // Messages that can't be appended by who has sent them.
    link.hear('q', () => void this.#sweep());
  }

  open(): void {
    this.#timer = setInterval(() => {
      if (!this.#isThere()) return;
      void this.#sweep();
      if (monotonicNow() < this.#next) return;
      this.#next = monotonicNow() + INTERVAL;
      void this.tidy();
    }, SWEEP_INTERVAL).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Says what tidings.send has to know, and makes partitions for that. */
  async say(): Promise<void> {
    const { idle, maxMessage, retentions } = this.#said();
    const names = ['idle'];
    const values: unknown[] = [idle];
    if (maxMessage > 0) {
      names.push('maxMessage');
      values.push(maxMessage);
    }
    if (retentions !== undefined) {
      const { inbox, topic, topics } = retentions;
      const all = [inbox, topic, ...Object.values(topics)];
      const age = Math.max(...all.map(({ maxAge }) => bounded(maxAge, LONGEST)));
      await this.#link.query(PREPARE, [Math.max(age, this.#longest().age), this.#longest().window]);
      names.push('retention');
      values.push({
        inbox: encoded(inbox),
        topic: encoded(topic),
        topics: Object.fromEntries(Object.entries(topics).map(([name, own]) => [toText(name), encoded(own)])),
      });
    }
    await this.#link.query(SETTINGS, [names, values.map((value) => JSON.stringify(value))]);
  }

  /** What is done each minute. What fails is done the next time. */
  async tidy(): Promise<void> {
    if (this.#isTidying) return;
    this.#isTidying = true;
    try {
      const { age, window } = this.#longest();
      if (age > 0) await this.#link.query(PREPARE, [age, window]);
      await this.say();
      while (await this.#link.transaction((query) => dropOne(query))) {
        // There is another one.
      }
      const [row] = await this.#link.query<{ last: number | null }>(TIDY, [this.#last, TIDIED_AT_ONCE]);
      this.#last = row!.last ?? 0;
      this.#faults.over('tidy');
    } catch (error) {
      this.#failed('tidy', error);
    } finally {
      this.#isTidying = false;
    }
  }

  /** It is done again the next time. Where others are in the way, or the store is away, that is all. */
  #failed(what: string, error: unknown): void {
    if (!(error instanceof PostgresReplyError) || wasNotExecutedByPostgres(error)) return;
    this.#faults.met(
      what,
      `what has to be done now and then in PostgreSQL fails (${what}): ${error.message}`,
      {
        event: 'postgres-tidy-failing',
        what,
        error: error.message,
      },
    );
  }

  async #sweep(): Promise<void> {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    try {
      let problem: PostgresReplyError | undefined;
      for (let after: string | null = ''; after !== null && this.#timer !== undefined; ) {
        const rows: Swept[] = await this.#link.query<Swept>(SWEEP, [after, SWEPT_AT_ONCE]);
        const { last, state, problem: what } = rows[0]!;
        if (state !== null) problem = new PostgresReplyError(state, what!, SWEEP.name);
        after = last;
      }
      if (problem !== undefined) throw problem;
      this.#faults.over('sweep');
    } catch (error) {
      this.#failed('sweep', error);
    } finally {
      this.#isSweeping = false;
    }
  }
}

/** As tidings.retention_of gives them. */
function encoded({ maxAge, maxMessages }: Retention): [age: number, most: number] {
  return [bounded(maxAge, LONGEST), bounded(maxMessages, ANY_NUMBER)];
}

/** Whoever reads or writes messages waits while this waits for others, so it gives up soon. */
async function dropOne(query: Query): Promise<boolean> {
  await query({ name: undefined, text: `SET LOCAL lock_timeout = ${PATIENCE}` }, []);
  try {
    const [row] = await query<{ hasMore: boolean }>(DROP, []);
    return row!.hasMore;
  } catch (error) {
    if (error instanceof PostgresReplyError && error.sqlstate === '55P03') return false;
    throw error;
  }
}
