/**
 * What an outbox table is to its reader, in whatever database: rows, and a connection that can list, read, remove and bury
 * them, and hold locks for as long as it lasts.
 *
 * Rows are shared out by whom they are for: `share` is computed by the database from `user_name` or `topic`, 1 to 16, and 0
 * where there is neither, as for a message to many. A share is read by one instance at a time.
 */
import { JsonText } from '../../push/payload.ts';
import { MessageError, type Sending, type SourceMessage, SourceSetupError } from '../driver.ts';
import { objectOf, sendingOf, textOf } from '../format.ts';

export const DEFAULT_TABLE = 'tidings_outbox';
/** Of rows that are for no single user or topic. */
export const WIDE = 0;
export const NARROW: readonly number[] = Array.from({ length: 16 }, (_, i) => i + 1);
export const SHARES: readonly number[] = [WIDE, ...NARROW];

/** A row's place. Ids are decimal numbers, which JavaScript's can't hold. */
export interface Listed {
  readonly id: string;
  readonly share: number;
}

/** What is read of a row. */
export interface Row {
  readonly id: string;
  /** Null where a view has none. */
  readonly uid: string | null;
  readonly userName: string | null;
  readonly topic: string | null;
  /** JSON text. */
  readonly settings: string | null;
  /** JSON text; null where there is none, or too much. */
  readonly data: Buffer | null;
  /** Bytes of data and settings. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly time: number | undefined;
}

/** Where the table is, once that was looked at. */
export interface TablePlace {
  readonly url: string;
  /** As it is in the catalog: `outbox`, or `schema.outbox`. */
  readonly table: string;
  readonly dead: string;
}

/** One connection. All but `close` reject once it is lost. */
export interface TableConnection {
  /** Is called when there may be new rows, a share to take, or when the connection is lost. */
  onWake: () => void;
  /** Whether inserts wake it, so that looking now and then is for emergencies only. */
  readonly isWoken: boolean;
  /**
   * The rows of these shares that may be stored now, as they were at one moment; of each share the first `most`.
   * `isBarred`: there are rows for many, before which nothing that is newer may be stored.
   */
  list(shares: readonly number[], most: number): Promise<{ rows: Listed[]; isBarred: boolean }>;
  /**
   * Rows that are still there, in the order of their ids: the first one, and as many more as have no more than `bytes`.
   *
   * @param maxBody bytes: of a row with more no data is read
   */
  read(ids: readonly string[], bytes: number, maxBody: number): Promise<Row[]>;
  /** All of them, or none, with an error that may pass, where somebody has locked one for longer than a moment. */
  remove(ids: readonly string[]): Promise<void>;
  /** Those that nobody has locked. @returns the others, as far as they are still there */
  removeFree(ids: readonly string[]): Promise<string[]>;
  /** To the dead letters, in one step. */
  bury(id: string, reason: string): Promise<void>;
  /** Takes those locks that nobody has. @returns which it has got */
  lock(names: readonly string[]): Promise<string[]>;
  unlock(names: readonly string[]): Promise<void>;
  /** How many of these locks somebody has. */
  countLocked(names: readonly string[]): Promise<number>;
  /** So that the server knows that it lives. */
  ping(): Promise<void>;
  /** Whether an error of a statement may pass: it was rolled back, and the connection is as before. */
  isPassing(error: unknown): boolean;
  /** Gives all locks back. Never rejects, and has a bound. */
  close(): Promise<void>;
}

/** What a row asks for. @throws {MessageError} */
export function decodeRow({ body, attributes }: SourceMessage): Sending {
  const { user_name: user, topic, settings } = attributes;
  const fields = typeof settings === 'string' ? objectOf(settings, 'settings') : {};
  for (const name of ['user', 'topic', 'data']) {
    if (name in fields) throw new MessageError(`settings has ${name}, for which there is a column`);
  }
  if (attributes['data'] === null) throw new MessageError('the row has no data');
  const text = textOf(body);
  let data: JsonText;
  try {
    data = new JsonText(text);
  } catch {
    // What V8 says about it quotes the data.
    throw new MessageError('data is not JSON');
  }
  return sendingOf({ ...fields, user, topic }, data);
}

/** What tells a row from all others. */
export function rowName({ id, uid }: Pick<Row, 'id' | 'uid'>): string {
  return uid ?? `row ${id}`;
}

export function messageOf({ id, uid, userName, topic, settings, data, time }: Row): SourceMessage {
  return {
    id: rowName({ id, uid }),
    body: data ?? Buffer.alloc(0),
    attributes: { id, user_name: userName, topic, settings, ...(data === null && { data }) },
    ...(time !== undefined && { time }),
  };
}

/**
 * @param table `outbox` or `schema.outbox`, in the database's own case
 * @throws {TypeError} for what can't be a table's name
 */
export function placeOf(url: string, table: unknown = DEFAULT_TABLE, dead?: unknown): TablePlace {
  return { url, table: nameOf('table', table), dead: nameOf('dead', dead ?? `${String(table)}_dead`) };
}

function nameOf(setting: string, name: unknown): string {
  if (typeof name === 'string' && /^(?:[A-Za-z_][\w$]{0,62}\.)?[A-Za-z_][\w$]{0,62}$/.test(name)) return name;
  throw new TypeError(`${setting} is the name of a table, perhaps behind its schema: outbox, or app.outbox`);
}

/** @param quote of identifiers */
export function quoted(name: string, quote: '"' | '`'): string {
  return name
    .split('.')
    .map((part) => `${quote}${part}${quote}`)
    .join('.');
}

const LARGEST = '9223372036854775807';

/** A statement whose rows are `id` and `share`: what may be stored now; and one with the share -1, the first row for many. */
export function listStatement(table: string, shares: readonly number[], most: number): string {
  const first = (share: number): string => `SELECT MIN(id) AS id FROM ${table} WHERE share = ${share}`;
  const firstNarrow = `SELECT MIN(id) AS id FROM (${NARROW.map(first).join(' UNION ALL ')}) AS narrow`;
  const parts = shares.map((share) => {
    const barrier = share === WIDE ? firstNarrow : first(WIDE);
    return `(SELECT id, share FROM ${table} WHERE share = ${share} AND id <= COALESCE((${barrier}), ${LARGEST}) ORDER BY id LIMIT ${most})`;
  });
  return [`(SELECT MIN(id) AS id, -1 AS share FROM ${table} WHERE share = ${WIDE})`, ...parts].join(
    ' UNION ALL ',
  );
}

/** What a `listStatement` gives, the oldest first. */
export function listedOf(rows: readonly Record<string, unknown>[]): { rows: Listed[]; isBarred: boolean } {
  const listed: Listed[] = [];
  let isBarred = false;
  for (const { id, share } of rows) {
    if (Number(share) < 0) isBarred = id !== null;
    else if (id !== null) listed.push({ id: String(id), share: Number(share) });
  }
  return { rows: listed.sort(byId), isBarred };
}

/** A row as it was read, by the names of `Row`. */
export function rowOf(read: Record<string, unknown>): Row {
  const time = read['time'] === null ? undefined : Number(read['time']);
  return { ...read, size: Number(read['size']), time } as unknown as Row;
}

/** Whole numbers of any length, also below 0. */
export function byId({ id: a }: { id: string }, { id: b }: { id: string }): number {
  if (a.startsWith('-') !== b.startsWith('-')) return a.startsWith('-') ? -1 : 1;
  const bySize = a.length - b.length || (a < b ? -1 : Number(a > b));
  return a.startsWith('-') ? -bySize : bySize;
}

/** @throws {SourceSetupError} */
export function noTable(name: string, kind: string): never {
  throw new SourceSetupError(
    `there is no table ${name} that this login can see: \`tidings source-table ${kind}\` prints what makes it`,
  );
}
