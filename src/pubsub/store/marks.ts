/**
 * What a user has done with the messages of his inbox: seen, read, archived; and which messages of a channel are gone.
 * Kept beside the channel's log, as ranges of offsets, so that a thousand messages that were read one after another are
 * one range. What is below the first message that is kept may be in a range or not: nobody asks for it.
 */
import type { Position } from './position.ts';

/** Offsets, each from the first to the last of a range: `[[1, 40], [43, 43]]`. Ascending, and never side by side. */
export type Ranges = readonly (readonly [first: number, last: number])[];

/** The marks of a channel, all of them: whoever gets new ones forgets the old. */
export interface Marks {
  /**
   * Counts the changes as a position counts messages: the offset is the number of changes, the id that of the last one,
   * the epoch another one after a store has lost changes. Offset 0 with empty strings: there was none yet.
   */
  version: Position;
  /** The list was opened and showed it. Whatever was read was seen. */
  seen: Ranges;
  read: Ranges;
  archived: Ranges;
  /** Withdrawn, replaced, deleted or expired: no page gets it any more, and nothing of it is kept but its place. */
  gone: Ranges;
  /**
   * Milliseconds since 1970 by the store's clock: before that, nothing that is kept expires or becomes too old for the
   * channel. From then on the store has to be asked again, as it tells nobody by itself that time has passed. Left out:
   * nothing is kept. It is no change of the marks when this moves.
   */
  next?: number;
}

/** What can be done with messages of an inbox. All but `deleted` can be undone, by another one or by marking anew. */
export type MarkAs = (typeof MARK_AS)[number];
export const MARK_AS = ['seen', 'read', 'unread', 'archived', 'unarchived', 'deleted'] as const;

/**
 * A change: of these messages, or of everything up to and including `upTo`; with neither, of all that the channel has
 * when the change is made. A position that is none of the channel's, by its epoch and id, changes nothing; nor does one of
 * `messages` that is not kept any more, or an `upTo` below all that is kept. Messages that are gone are left out.
 */
export interface Mark {
  as: MarkAs;
  /** Not together with `messages`. */
  upTo?: Position;
  /** At most 1,000; with none of them, nothing changes. */
  messages?: readonly Position[];
}

/** How many messages: of those kept, neither gone nor archived. */
export interface Counts {
  /** Not yet shown in a list. */
  unseen: number;
  /** Not yet read. */
  unread: number;
  /** All that are kept. */
  all: number;
}

/** The marks of a channel, and what they are about, read or written in one step. */
export interface Marked {
  marks: Marks;
  /** The newest position of the channel. */
  top: Position;
  /** The lowest offset that is kept; `top.offset + 1` when nothing is. */
  first: number;
  /**
   * How many messages the channel keeps at most: with each new one, `first` is at least `offset - most + 1`. In a channel
   * that was never used, nobody has said how many: then it is `ANY_NUMBER`.
   */
  most: number;
}

/** Which message to remove: the one at a position, or the newest one that was published with this `replaces` key. */
export type Removal = { position: Position } | { key: string };

export const NO_MARKS: Marks = Object.freeze({
  version: Object.freeze({ epoch: '', offset: 0, id: '' }),
  seen: [],
  read: [],
  archived: [],
  gone: [],
});

/** `most` of a channel that was never used. */
export const ANY_NUMBER = 2 ** 32 - 1;
/** Ranges of all kinds that a mark may lead to. */
const MAX_RANGES = 4096;
/** Messages that one mark names. */
export const MAX_MARKED = 1000;
/** Characters of a `replaces` key. */
export const MAX_KEY = 256;
/** Milliseconds since 1970 that the stores can write down. */
const LAST_MOMENT = 2 ** 47;

/** A mark was refused, as the channel's marks would be too many ranges: whoever marks every other message of very many. */
export class TooManyRangesError extends RangeError {
  readonly code = 'TOO_MANY_RANGES';

  constructor(count: number) {
    super(`the marks of the channel would be ${count} ranges of messages, and ${MAX_RANGES} are the most`);
    this.name = 'TooManyRangesError';
  }
}

/**
 * @throws {TypeError} for a mark that says nothing
 * @throws {RangeError} for one of too many messages
 */
export function checkMark({ as, upTo, messages }: Mark): void {
  if (!MARK_AS.includes(as)) throw new TypeError(`messages can't be marked as ${JSON.stringify(as)}`);
  if (upTo !== undefined && messages !== undefined) {
    throw new TypeError('a mark is about `messages` or about all `upTo` one, not about both');
  }
  if (messages !== undefined && messages.length > MAX_MARKED) {
    throw new RangeError(`a mark of ${messages.length} messages: ${MAX_MARKED} are the most`);
  }
}

/**
 * @throws {RangeError} for a `ttl` that is not above 0, a `replaces` that is not 1 to 256 characters, and a `trace` that can
 *   not stand in the first line of an entry
 */
export function checkLife({
  ttl,
  replaces,
  trace,
}: {
  ttl?: number;
  replaces?: string;
  trace?: string;
}): void {
  if (trace !== undefined && !/^[!-~]{1,300}$/.test(trace)) {
    throw new RangeError('a trace is 1 to 300 ASCII characters without spaces');
  }
  if (ttl !== undefined && !(ttl > 0)) throw new RangeError(`a ttl of ${ttl} ms: it has to be above 0`);
  if (replaces === undefined) return;
  if (typeof replaces !== 'string' || replaces.length < 1 || replaces.length > MAX_KEY) {
    throw new RangeError(`what a message replaces is named by 1 to ${MAX_KEY} characters`);
  }
}

/** When a message expires that is stored at `time`; `undefined` where it never does. */
export function expiryOf(time: number, ttl: number | undefined): number | undefined {
  if (ttl === undefined || ttl === Number.POSITIVE_INFINITY) return undefined;
  return Math.min(time + Math.ceil(ttl), LAST_MOMENT);
}

/** A log, for what is said of its messages. */
export interface KeptLog {
  readonly epoch: string;
  /** The newest. */
  readonly offset: number;
  /** The lowest offset that is kept. */
  readonly first: number;
  /** The id of the message that is kept at this offset, gone or not. */
  idAt(offset: number): string | undefined;
}

/** The offsets that a mark is about, of all that is kept: those that are gone among them. */
export function targetOf({ upTo, messages }: Mark, log: KeptLog): Ranges {
  const isKept = ({ epoch, offset, id }: Position): boolean => {
    const own = epoch === log.epoch ? log.idAt(offset) : undefined;
    return own !== undefined && own === id;
  };
  if (messages !== undefined) return rangesOf(messages.filter(isKept).map(({ offset }) => offset));
  if (upTo !== undefined) return isKept(upTo) ? [[log.first, upTo.offset]] : [];
  return log.first <= log.offset ? [[log.first, log.offset]] : [];
}

/** How many offsets are in the ranges. */
function sizeOf(ranges: Ranges): number {
  let size = 0;
  for (const [first, last] of ranges) size += last - first + 1;
  return size;
}

/** Offsets in any order, some of them perhaps twice. */
export function rangesOf(offsets: number[]): Ranges {
  const ranges: [number, number][] = [];
  for (const offset of offsets.sort((a, b) => a - b)) {
    const end = ranges.at(-1);
    if (end !== undefined && offset <= end[1] + 1) end[1] = offset;
    else ranges.push([offset, offset]);
  }
  return ranges;
}

/** Without what lies below the first message that is kept. What reaches over it is cut there. */
export function clipped(ranges: Ranges, first: number): Ranges {
  const start = ranges.findIndex(([, last]) => last >= first);
  if (start === -1) return [];
  if (start === 0 && ranges[0]![0] >= first) return ranges;
  return [[Math.max(ranges[start]![0], first), ranges[start]![1]], ...ranges.slice(start + 1)];
}

/** Marks with a change, and how many messages it has changed: with none, they are the same marks. */
export interface Changed {
  /** Still with the version from before. */
  marks: Marks;
  changed: number;
}

/**
 * What becomes of marks. Ranges below `first` are left out of the new ones.
 *
 * @param target offsets that are kept (`targetOf`)
 * @throws {TooManyRangesError} if they would be more than 4,096 ranges, and more than they were
 */
export function applied(marks: Marks, as: MarkAs, target: Ranges, first: number): Changed {
  const about = without(target, marks.gone);
  const change = CHANGES[as](marks, about);
  const changed = sizeOf(change.of);
  if (changed === 0) return { marks, changed };
  const next = withoutOld({ ...marks, ...change.to }, first);
  const count = countRanges(next);
  if (count > MAX_RANGES && count > countRanges(marks)) throw new TooManyRangesError(count);
  return { marks: next, changed };
}

/** For each mark: which messages it changes, and what their ranges become. */
const CHANGES: Record<MarkAs, (marks: Marks, about: Ranges) => { of: Ranges; to: Partial<Marks> }> = {
  seen: ({ seen }, about) => ({ of: without(about, seen), to: { seen: union(seen, about) } }),
  read: ({ seen, read }, about) => ({
    of: without(about, read),
    to: { seen: union(seen, about), read: union(read, about) },
  }),
  unread: ({ read }, about) => ({ of: intersection(about, read), to: { read: without(read, about) } }),
  archived: ({ archived }, about) => ({
    of: without(about, archived),
    to: { archived: union(archived, about) },
  }),
  unarchived: ({ archived }, about) => ({
    of: intersection(about, archived),
    to: { archived: without(archived, about) },
  }),
  deleted: ({ gone }, about) => ({ of: about, to: { gone: union(gone, about) } }),
};

/**
 * Marks with messages that were withdrawn, replaced, or have expired. This is never refused: at worst every other message
 * that the channel keeps is a range.
 */
export function withGone(marks: Marks, which: Ranges, first: number): Changed {
  const about = without(clipped(which, first), marks.gone);
  if (about.length === 0) return { marks, changed: 0 };
  return {
    marks: withoutOld({ ...marks, gone: union(marks.gone, about) }, first),
    changed: sizeOf(about),
  };
}

/** Marks without the ranges below the first message that is kept. */
export function withoutOld(marks: Marks, first: number): Marks {
  const { seen, read, archived, gone } = marks;
  return {
    ...marks,
    seen: clipped(seen, first),
    read: clipped(read, first),
    archived: clipped(archived, first),
    gone: clipped(gone, first),
  };
}

function countRanges({ seen, read, archived, gone }: Marks): number {
  return seen.length + read.length + archived.length + gone.length;
}

/** What is in both. */
export function intersection(a: Ranges, b: Ranges): Ranges {
  return without(a, without(a, b));
}

/** The counts of what is kept from `first` to `last`. */
export function countsOf({ seen, read, archived, gone }: Marks, first: number, last: number): Counts {
  const hidden = union(archived, gone);
  const all = last - first + 1 - sizeWithin(hidden, first, last);
  return {
    unseen: all - (sizeWithin(union(hidden, seen), first, last) - sizeWithin(hidden, first, last)),
    unread: all - (sizeWithin(union(hidden, read), first, last) - sizeWithin(hidden, first, last)),
    all,
  };
}

/** Whether the offset is in one of the ranges. */
export function includes(ranges: Ranges, offset: number): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]![1] < offset) low = middle + 1;
    else high = middle;
  }
  return low < ranges.length && ranges[low]![0] <= offset;
}

/** What is in either. */
export function union(a: Ranges, b: Ranges): Ranges {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const result: [number, number][] = [];
  for (let i = 0, k = 0; i < a.length || k < b.length; ) {
    const [first, last] = k === b.length || (i < a.length && a[i]![0] <= b[k]![0]) ? a[i++]! : b[k++]!;
    const end = result.at(-1);
    if (end !== undefined && first <= end[1] + 1) end[1] = Math.max(end[1], last);
    else result.push([first, last]);
  }
  return result;
}

/** What is in `a` and not in `b`. */
export function without(a: Ranges, b: Ranges): Ranges {
  const result: [number, number][] = [];
  let k = 0;
  for (let [first, last] of a) {
    while (k < b.length && b[k]![1] < first) k++;
    for (let n = k; n < b.length && b[n]![0] <= last; n++) {
      if (b[n]![0] > first) result.push([first, b[n]![0] - 1]);
      first = b[n]![1] + 1;
    }
    if (first <= last) result.push([first, last]);
  }
  return result;
}

/** How many offsets from `first` to `last` are in the ranges. */
export function sizeWithin(ranges: Ranges, first: number, last: number): number {
  let size = 0;
  for (const [from, to] of ranges) size += Math.max(0, Math.min(to, last) - Math.max(from, first) + 1);
  return size;
}
