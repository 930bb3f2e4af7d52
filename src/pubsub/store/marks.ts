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
  /** When the next message expires, in milliseconds since 1970 by the store's clock. Left out: none does. */
  next?: number;
}

/** What can be done with messages of an inbox. All but `deleted` can be undone, by another one or by marking anew. */
export type MarkAs = 'seen' | 'read' | 'unread' | 'archived' | 'unarchived' | 'deleted';

/**
 * A change: of these messages, or of everything up to and including `upTo`; with neither, of all that the channel has
 * when the change is made. A position that is none of the channel's, by its epoch and id, changes nothing; one that is not
 * kept any more changes nothing as one of `messages`, and is believed as `upTo`.
 */
export interface Mark {
  as: MarkAs;
  upTo?: Position;
  /** At most 1,000. */
  messages?: readonly Position[];
}

/** How many messages: of those kept, neither gone nor archived. */
export interface Counts {
  unseen: number;
  unread: number;
  all: number;
}

/** The marks of a channel, and what they are about, read or written in one step. */
export interface Marked {
  marks: Marks;
  /** The newest position of the channel. */
  top: Position;
  /** The lowest offset that is kept; `top.offset + 1` when nothing is. */
  first: number;
  /** How many messages the channel keeps at most: with each new one, `first` is at least `offset - most + 1`. */
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
