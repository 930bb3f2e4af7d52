/** The control log in PostgreSQL: each step is a function of sql/control.sql. */
import {
  isForbiddenByPostgres,
  PostgresError,
  PostgresReplyError,
  wasNotExecutedByPostgres,
} from '../postgres/errors.ts';
import type { PostgresLink, Statement } from '../postgres/link.ts';
import { MAX_RECORDS } from './control.ts';
import type {
  ControlStore,
  Entry,
  Failure,
  KeptRecord,
  LeaseReply,
  LeaseRequest,
  Place,
  Progress,
  Restored,
} from './control-store.ts';
import { MAX_COMMANDS } from './leased-control.ts';

/** Milliseconds for an answer, at the least. */
const LEAST_PATIENCE = 1_000;
/** And for a long one. */
const PATIENCE = 10_000;

const lease: Statement = {
  name: 'control_lease',
  text: 'SELECT * FROM tidings.control_lease($1, $2, $3, $4, $5, $6, $7, $8, $9)',
};
const after: Statement = { name: 'control_after', text: 'SELECT * FROM tidings.control_after($1, $2, $3)' };
const command: Statement = {
  name: 'control_command',
  text: 'SELECT * FROM tidings.control_command($1, $2, $3, $4, $5, $6, $7)',
};
const progress: Statement = {
  name: 'control_progress',
  text: 'SELECT * FROM tidings.control_progress($1, $2, $3, $4)',
};
const restore: Statement = {
  name: 'control_restore',
  text: 'SELECT * FROM tidings.control_restore($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)',
};
const leave: Statement = {
  name: 'control_leave',
  text: 'DELETE FROM tidings.control_lease WHERE instance = $1',
};
const layout: Statement = { name: 'control_layout', text: 'SELECT layout FROM tidings.control' };

/** What `control_after` gives. */
interface Row extends Entry {
  epoch: string;
  /** A command, a record, or nothing but the epoch. */
  kind: 'c' | 'r' | null;
  until: number;
}

export class PostgresControl implements ControlStore {
  readonly #link: PostgresLink;

  constructor(link: PostgresLink) {
    this.#link = link;
  }

  get newer(): { code: string; address: string } {
    return { code: 'POSTGRES_LAYOUT', address: this.#link.address };
  }

  /** The link listens by itself. */
  async subscribe(): Promise<void> {}

  async layout(): Promise<number | undefined> {
    const [row] = await this.#link.query<{ layout: number | null }>(layout, []);
    return row?.layout ?? undefined;
  }

  async lease(request: LeaseRequest): Promise<LeaseReply> {
    const { instance, name, length, place, most, layout, counts } = request;
    const [reply] = await this.#link.urgent<{
      status: 'ok' | 'missed' | 'lost' | 'newer';
      epoch: string;
      number: number;
      id: string;
      time: number;
      top: number;
    }>(
      lease,
      [
        instance,
        name,
        length,
        place.epoch,
        place.number,
        place.id,
        layout,
        counts.map(([id]) => id),
        counts.map(([, count]) => count),
      ],
      Math.max(length / 3, LEAST_PATIENCE),
    );
    const { status, epoch, number, id, time, top } = reply!;
    if (status === 'newer') return { status, layout: number };
    if (status === 'lost') return { status };
    const isAnew = place.epoch === '' || status === 'missed';
    const found = number < top || isAnew ? await this.#after(number, most, isAnew) : undefined;
    // Somebody has said meanwhile that commands may have been lost.
    if (found !== undefined && found.epoch !== epoch) return { status: 'lost' };
    const { entries = [], records = [] } = found ?? {};
    // What comes next was dropped meanwhile, as very much was said: the next answer tells of it.
    const [next] = entries;
    if (next === undefined ? number < top : next.number !== number + 1) return this.lease(request);
    return { status, place: { epoch, number, id }, time, entries, isAll: entries.length < most, records };
  }

  /** What follows a number; read without a lock, so that an instance that reads slowly holds nobody up. */
  async #after(
    number: number,
    most: number,
    withRecords: boolean,
  ): Promise<{ epoch: string; entries: Entry[]; records: [key: string, kept: KeptRecord][] }> {
    const rows = await this.#link.urgent<Row>(after, [number, most, withRecords], PATIENCE);
    const entries: Entry[] = [];
    const records: [string, KeptRecord][] = [];
    for (const { kind, number, id, time, said, until } of rows) {
      if (kind === 'c') entries.push({ number, id, time, said });
      else if (kind === 'r') records.push([id, { time, record: { value: said, until } }]);
    }
    return { epoch: rows[0]?.epoch ?? '', entries, records };
  }

  async command({
    id,
    said,
    change,
  }: Parameters<ControlStore['command']>[0]): Promise<{ epoch: string; number: number } | 'full'> {
    const [reply] = await this.#link.query<{ epoch: string; number: number | null }>(command, [
      id,
      said,
      MAX_COMMANDS,
      MAX_RECORDS,
      change?.key,
      change?.record?.until,
      change?.record?.value,
    ]);
    const { epoch, number } = reply!;
    return number === null ? 'full' : { epoch, number };
  }

  async progress({ epoch, number, id }: Place, length: number): Promise<Progress | 'lost'> {
    const [reply] = await this.#link.query<{ unknown: number | null; pending: string[]; count: number }>(
      progress,
      [epoch, number, id, length],
    );
    const { unknown, pending, count } = reply!;
    return unknown === null ? 'lost' : { unknown, pending, count };
  }

  async restore(
    records: { key: string; kept: KeptRecord; id: string; said: string }[],
    commands: Omit<Entry, 'number'>[],
  ): Promise<Restored> {
    const [reply] = await this.#link.urgent<{
      epoch: string;
      number: number;
      id: string;
      time: number;
      since: number;
    }>(
      restore,
      [
        MAX_COMMANDS,
        records.map(({ key }) => key),
        records.map(({ kept }) => kept.time),
        records.map(({ kept }) => kept.record?.until ?? null),
        records.map(({ kept }) => kept.record?.value ?? null),
        records.map(({ id }) => id),
        records.map(({ said }) => said),
        commands.map(({ id }) => id),
        commands.map(({ time }) => time),
        commands.map(({ said }) => said),
      ],
      PATIENCE,
    );
    const { time, since, ...place } = reply!;
    const found = await this.#after(0, MAX_COMMANDS, true);
    return { place, time, since, entries: found.entries, records: found.records };
  }

  async leave(instance: string): Promise<void> {
    await this.#link.urgent(leave, [instance], LEAST_PATIENCE);
  }

  away(message: string): Error {
    return new PostgresError('POSTGRES_UNAVAILABLE', message);
  }

  failureOf(error: unknown): Failure {
    if (error instanceof PostgresError && error.code === 'POSTGRES_CLOSED') return 'closed';
    if (isForbiddenByPostgres(error)) return 'forbidden';
    return error instanceof PostgresReplyError && !wasNotExecutedByPostgres(error) ? 'refused' : 'passing';
  }
}
