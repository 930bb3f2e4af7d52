/** The schedule in PostgreSQL: each step is one function of sql/schedule.sql. */
import type { PostgresLink, Statement } from '../postgres/link.ts';
import { fromText, toText } from '../postgres/text.ts';
import {
  BELL,
  type Damaged,
  type FailedMessage,
  type LaterMessage,
  LIST_BYTES,
  type ListedMessage,
  type ListedPage,
  type Listing,
  MAX_FAILED,
  type Place,
  type Settled,
  type Taken,
  type Wanted,
} from './schedule.ts';
import {
  type Added,
  type Addition,
  decodeLater,
  encodeAbout,
  type ScheduleStore,
} from './stored-schedule.ts';

const ADD: Statement = {
  name: 'schedule_add',
  text: 'SELECT * FROM tidings.schedule_add($1, $2, $3, $4, $5, $6, $7, $8)',
};
const CANCEL: Statement = { name: 'schedule_cancel', text: 'SELECT tidings.schedule_cancel($1) AS done' };
const LIST: Statement = {
  name: 'schedule_list',
  text: 'SELECT * FROM tidings.schedule_list($1, $2, $3, $4, $5, $6)',
};
const FAILED: Statement = {
  name: 'schedule_failed',
  text: 'SELECT failure FROM tidings.schedule_failed ORDER BY number DESC LIMIT $1',
};
const TAKE: Statement = {
  name: 'schedule_take',
  text: 'SELECT * FROM tidings.schedule_take($1, $2, $3, $4, $5)',
};
const TAKEN: Statement = {
  name: 'schedule_taken',
  text: 'SELECT id, channel, settings, payload, at, number FROM tidings.scheduled WHERE number = ANY ($1)',
};
const SETTLE: Statement = {
  name: 'schedule_settle',
  text: 'SELECT tidings.schedule_settle($1, $2, $3, $4, $5, $6, $7)',
};

/** Behind everything that can be scheduled. */
const END: Place = { due: Number.MAX_SAFE_INTEGER, at: 0, number: 0 };

/** A row of tidings.scheduled. */
interface Item {
  id: string;
  channel: string;
  settings: string;
  payload: Buffer;
  at: number;
  number: number;
}

interface TakeAnswer {
  state: Taken['state'];
  moment: number;
  next: number | null;
  numbers: number[];
}

export class PostgresSchedule implements ScheduleStore {
  readonly #link: PostgresLink;
  /** What the next addition waits for: of one moment, messages have the order of the calls. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(link: PostgresLink) {
    this.#link = link;
  }

  add(additions: readonly Addition[], most: number): Promise<Added[]> {
    const answers = this.#turn.then(() => this.#add(additions, most));
    // Whoever comes next only waits for it to be over.
    this.#turn = answers.catch(() => {});
    return answers;
  }

  async #add(additions: readonly Addition[], most: number): Promise<Added[]> {
    const messages = additions.map(({ message }) => message);
    const [answer] = await this.#link.query<{ ats: (number | null)[]; were_there: boolean[] }>(ADD, [
      BELL,
      most,
      messages.map(({ id }) => id),
      additions.map(({ token }) => token),
      messages.map(({ channel }) => toText(channel)),
      messages.map(encodeAbout),
      messages.map(({ payload }) => payload),
      messages.map(({ at }) => at),
    ]);
    return answer!.ats.map((at, i) => (at === null ? 'full' : { at, wasThere: answer!.were_there[i]! }));
  }

  async cancel(id: string): Promise<boolean> {
    if (id.includes('\0')) return false;
    const [answer] = await this.#link.query<{ done: boolean }>(CANCEL, [id]);
    return answer!.done;
  }

  async list({ channel, before, limit }: Listing): Promise<ListedPage> {
    const { due, at, number } = before ?? END;
    const values = [channel === undefined ? undefined : toText(channel), due, at, number, limit, LIST_BYTES];
    const rows = await this.#link.query<Item & { due: number; count: number; has_more: boolean }>(
      LIST,
      values,
    );
    const messages: ListedMessage[] = [];
    for (const row of rows) {
      if (row.payload === null) continue;
      const message = decodeItem(row);
      if ('damage' in message) continue;
      messages.push({ ...message, place: { due: row.due, at: row.at, number: row.number } });
    }
    return { count: rows[0]!.count, messages, hasMore: rows[0]!.has_more };
  }

  async failed(limit: number): Promise<FailedMessage[]> {
    const rows = await this.#link.query<{ failure: string }>(FAILED, [Math.min(limit, MAX_FAILED)]);
    return rows.map(({ failure }) => JSON.parse(failure) as FailedMessage);
  }

  async take(holder: string, { now, lease, most, bytes }: Wanted): Promise<Taken> {
    const values = [holder, Math.floor(now), Math.ceil(lease), most, bytes];
    const [answer] = await this.#link.query<TakeAnswer>(TAKE, values);
    const { state, moment, next, numbers } = answer!;
    if (state === 'none') return { state };
    if (state === 'other') return { state, left: moment };
    // By another statement, which locks nothing: what is long may leave slowly.
    const items = numbers.length === 0 ? [] : await this.#link.query<Item>(TAKEN, [numbers]);
    const byNumber = new Map(items.map((item) => [item.number, item]));
    const messages = numbers.flatMap((number) => {
      const item = byNumber.get(number);
      return item === undefined ? [] : [decodeItem(item)];
    });
    return { state, messages, time: moment, next: next ?? Number.POSITIVE_INFINITY };
  }

  async settle(holder: string, outcomes: readonly Settled[], isLast = false): Promise<void> {
    await this.#link.query(SETTLE, [
      holder,
      MAX_FAILED,
      isLast,
      outcomes.map(({ what }) => what),
      outcomes.map(({ id }) => id),
      outcomes.map((outcome) => ('milliseconds' in outcome ? Math.ceil(outcome.milliseconds) : null)),
      outcomes.map((outcome) => (outcome.what === 'failed' ? JSON.stringify(outcome.failure) : null)),
    ]);
  }
}

function decodeItem({ id, channel, settings, payload, at }: Item): LaterMessage | Damaged {
  return decodeLater(settings, { id, channel: fromText(channel), payload, at });
}
