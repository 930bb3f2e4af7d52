/** Storing messages in PostgreSQL: in order for each channel, and what is said in one turn in one call (sql/log.sql). */
import { PostgresReplyError } from '../postgres/errors.ts';
import type { Statement } from '../postgres/link.ts';
import { toText } from '../postgres/text.ts';
import { bounded, DEFAULT_IDEMPOTENCY_WINDOW, LONGEST } from './bounds.ts';
import type { PublishOptions, Receipt } from './broker.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { type Item, type LaneSettings, Lanes, type Outcome } from './lanes.ts';
import { ANY_NUMBER, expiryOf } from './marks.ts';
import { encodeKnown, type PostgresChannels } from './postgres-channels.ts';
import { LETTERS } from './postgres-letters.ts';
import type { RewindWatch } from './rewind-watch.ts';

const PUBLISH: Statement = {
  name: 'publish',
  text: 'SELECT * FROM tidings.publish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)',
};
/** Partitions for messages and idempotency keys that are kept so long. */
export const PREPARE: Statement = {
  name: 'prepare',
  text: "SELECT tidings.prepare('message', $1), tidings.prepare('receipt', $2)",
};

/** As many messages as are stored in one step weigh one that takes another's place. */
const LIFE_WEIGHT = 8;

interface PostgresItem extends Item {
  channel: string;
}

/** What a lane sends at a time. */
interface Shipment extends Part {
  items: PostgresItem[];
}

interface Row {
  r_place: number;
  r_epoch: string | null;
  r_number: number | null;
  r_id: string | null;
}

export class PostgresWriter {
  readonly #channels: PostgresChannels;
  readonly #watch: RewindWatch;
  readonly #lanes: Lanes<PostgresItem>;
  readonly #calls = new JoinedCalls<Shipment, Outcome[]>((shipments) => this.#ship(shipments));
  /** The longest times that there are partitions for. */
  #age = 0;
  #window = DEFAULT_IDEMPOTENCY_WINDOW;
  #preparing: Promise<void> | undefined;

  constructor(
    channels: PostgresChannels,
    watch: RewindWatch,
    settings: Omit<LaneSettings, 'call' | 'weightOf' | 'failures'>,
  ) {
    this.#channels = channels;
    this.#watch = watch;
    this.#lanes = new Lanes<PostgresItem>({
      ...settings,
      failures: channels.failures,
      weightOf: ({ options }) => (options?.replaces === undefined ? 1 : LIFE_WEIGHT),
      call: (items) => this.#store(items),
    });
  }

  /** @returns what became of it: see `toReceipt` */
  add(channel: string, item: Item): Promise<string> {
    return this.#lanes.add(channel, { ...item, channel });
  }

  /** Tries nothing again any more; what is under way settles. */
  close(): void {
    this.#lanes.close();
  }

  /** The longest times for which there have to be partitions. */
  get longest(): { age: number; window: number } {
    return { age: this.#age, window: this.#window };
  }

  /** The call of a lane: all that waits for one channel. */
  async #store(items: PostgresItem[]): Promise<Outcome[]> {
    await this.#prepare(items);
    const bytes = items.reduce((sum, { payload }) => sum + payload.length, 0);
    let outcomes: Outcome[];
    try {
      outcomes = await this.#calls.add(undefined, { items, count: items.length, bytes });
    } catch (error) {
      // Nothing of the whole call was done, perhaps because of another channel.
      if (!(error instanceof PostgresReplyError)) throw error;
      outcomes = [];
    }
    if (outcomes.length > 0) return outcomes;
    return this.#channels.waiters.run(async () => storedOf(await this.#send(items, true)));
  }

  /** One call for all that goes at a time. Who is locked is passed over, and has no outcomes. */
  async #ship(shipments: Shipment[]): Promise<Outcome[][]> {
    const outcomes = await this.#send(
      shipments.flatMap(({ items }) => items),
      false,
    );
    let at = 0;
    return shipments.map(({ items }) => {
      const own = outcomes.slice(at, at + items.length);
      at += items.length;
      return storedOf(own);
    });
  }

  /** @returns for each: epoch, offset and id, `HANDED_ON`, or '' where it could not be done yet */
  async #send(items: PostgresItem[], waits: boolean): Promise<string[]> {
    const column = <T>(value: (item: PostgresItem) => T): T[] => items.map(value);
    const rows = await this.#channels.link.query<Row>(PUBLISH, [
      column(({ channel }) => toText(channel)),
      column(({ id }) => id),
      column(({ kind, options }) => (options === undefined ? null : LETTERS[kind])),
      column(({ payload }) => payload.length),
      Buffer.concat(column(({ payload }) => payload)),
      column(({ options }) => ttlOf(options)),
      column(({ options }) => (options?.replaces === undefined ? null : toText(options.replaces))),
      column(({ options }) => options?.trace ?? null),
      column(({ options }) =>
        options?.idempotencyKey === undefined ? null : toText(options.idempotencyKey),
      ),
      column(({ options }) => windowOf(options)),
      column(({ options }) => (options === undefined ? null : bounded(options.retention.maxAge, LONGEST))),
      column(({ options }) =>
        options === undefined ? null : bounded(options.retention.maxMessages, ANY_NUMBER),
      ),
      column(({ channel }) => encodeKnown(this.#watch.knownOf(channel))),
      column(({ channel, options }) =>
        options?.replaces === undefined ? '' : encodeKnown(this.#watch.versionOf(channel)),
      ),
      this.#channels.idleTtl,
      waits,
    ]);
    const outcomes: string[] = new Array(items.length).fill('');
    for (const { r_place, r_epoch, r_number, r_id } of rows) {
      if (r_epoch !== null) outcomes[r_place - 1] = `${r_epoch} ${r_number} ${r_id}`;
      else if (r_number !== null) outcomes[r_place - 1] = HANDED_ON;
    }
    return outcomes;
  }

  /** Partitions for what is kept longer than anything before. */
  async #prepare(items: readonly PostgresItem[]): Promise<void> {
    let { age, window } = this.longest;
    for (const { options } of items) {
      if (options === undefined) continue;
      age = Math.max(age, bounded(options.retention.maxAge, LONGEST));
      if (options.idempotencyKey !== undefined) window = Math.max(window, windowOf(options)!);
    }
    if (age === this.#age && window === this.#window) return;
    const former = this.#preparing;
    const own = (async (): Promise<void> => {
      // Who has begun it is told how it ended.
      await former?.catch(() => {});
      if (age <= this.#age && window <= this.#window) return;
      await this.#channels.link.query(PREPARE, [age, window]);
      this.#age = Math.max(this.#age, age);
      this.#window = Math.max(this.#window, window);
    })();
    this.#preparing = own;
    await own;
  }
}

/** Nothing is kept of it. */
const HANDED_ON = '-';

/** Of what `#send` has said of one channel, those that are done. */
function storedOf(outcomes: string[]): Outcome[] {
  const undone = outcomes.indexOf('');
  const done = undone === -1 ? outcomes : outcomes.slice(0, undone);
  return done.map((outcome) => (outcome === HANDED_ON ? '' : outcome));
}

/** Whole milliseconds. */
function ttlOf(options: PublishOptions | undefined): number | null {
  return expiryOf(0, options?.ttl) ?? null;
}

function windowOf(options: PublishOptions | undefined): number | null {
  if (options?.idempotencyKey === undefined) return null;
  return bounded(options.idempotencyWindow ?? DEFAULT_IDEMPOTENCY_WINDOW, LONGEST);
}

/** @param id that this call chose: a receipt with it is of this call's own first attempt, and no duplicate */
export function toReceipt(channel: string, reply: string, id: string): Receipt {
  const [epoch, offset, stored] = reply.split(' ') as [string, string, string];
  return { channel, epoch, offset: Number(offset), id: stored, duplicate: stored !== id };
}
