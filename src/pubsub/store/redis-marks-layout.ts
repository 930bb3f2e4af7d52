/** How a channel's marks are kept in Redis, and told: lua/marks.lua is the other side of it. */
import { RedisReplyError } from '../redis/errors.ts';
import type { Position } from './broker.ts';
import { ANY_NUMBER, type Marked, type Marks, NO_MARKS, type Ranges } from './marks.ts';
import { decodeTop, TOP_BYTES, type Top } from './redis-layout.ts';

const EPOCH = 23;
const VERSION = 12;
const ID = 16;
/** Where the numbers begin. */
const NUMBERS = EPOCH + VERSION + 2 * ID;
/** Where the ranges do. */
const HEAD = NUMBERS + 3 * 6 + 5 * 4;
const RANGE = 12;

/** What is in the key. */
export interface StoredMarks {
  /** Where the channel stood when they were written. */
  at: Position;
  /** Their `next` is about what expires, and not about what becomes too old. */
  marks: Marks;
}

/** @throws {RedisReplyError} for what is none */
export function decodeMarks(bytes: Buffer): StoredMarks {
  if (bytes.length < HEAD) throw new RedisReplyError(NO_MARKS_THERE);
  const text = (start: number, length: number): string => bytes.toString('latin1', start, start + length);
  const offset = bytes.readUIntBE(NUMBERS + 6, 6);
  const next = bytes.readUIntBE(NUMBERS + 12, 6);
  let at = HEAD;
  const kinds = [0, 1, 2, 3].map((kind): Ranges => {
    const count = bytes.readUInt32BE(HEAD - 16 + 4 * kind);
    if (at + RANGE * count > bytes.length) throw new RedisReplyError(NO_MARKS_THERE);
    const ranges: [number, number][] = [];
    for (let i = 0; i < count; i++, at += RANGE) {
      ranges.push([bytes.readUIntBE(at, 6), bytes.readUIntBE(at + 6, 6)]);
    }
    return ranges;
  });
  if (at !== bytes.length) throw new RedisReplyError(NO_MARKS_THERE);
  const [seen, read, archived, gone] = kinds as [Ranges, Ranges, Ranges, Ranges];
  const version =
    offset === 0 ? NO_MARKS.version : { epoch: text(EPOCH, VERSION), offset, id: text(EPOCH + VERSION, ID) };
  return {
    at: { epoch: text(0, EPOCH), offset: bytes.readUIntBE(NUMBERS, 6), id: text(NUMBERS - ID, ID) },
    marks: { version, seen, read, archived, gone, ...(next > 0 && { next }) },
  };
}
const NO_MARKS_THERE = 'ERR a string that is no marks of a channel';

/** What a channel's marks are about. @param length of its list */
export function markedOf(top: Top, length: number, { next, ...marks }: Marks): Marked {
  const { epoch, offset, id, most } = top;
  const first = Math.max(offset - Math.min(length, most) + 1, 1);
  const due = Math.min(
    next ?? Number.POSITIVE_INFINITY,
    first > offset ? Number.POSITIVE_INFINITY : top.head + top.age,
  );
  return {
    marks: due === Number.POSITIVE_INFINITY ? marks : { ...marks, next: due },
    top: { epoch, offset, id },
    first,
    // A channel that was begun anew by who looked.
    most: most || ANY_NUMBER,
  };
}

/** What a doorbell of marks holds behind its first line, in bytes[start, end). */
export function decodeMarkedBell(bytes: Buffer, start: number, end: number): Marked | undefined {
  const list = start + TOP_BYTES;
  if (list + 6 > end) return undefined;
  try {
    const { marks } = decodeMarks(bytes.subarray(list + 6, end));
    return markedOf(decodeTop(bytes.subarray(start, list)), bytes.readUIntBE(list, 6), marks);
  } catch {
    // Anybody may publish anything.
    return undefined;
  }
}

/** A version that marks are known to have had, for the scripts. */
export function encodeVersion(known: Position | undefined): Buffer {
  if (known === undefined || known.epoch.length !== VERSION || known.id.length !== ID) return NOTHING;
  const bytes = Buffer.allocUnsafe(VERSION + ID + 6);
  bytes.write(known.epoch + known.id, 0, 'latin1');
  bytes.writeUIntBE(known.offset, VERSION + ID, 6);
  return bytes;
}
const NOTHING = Buffer.alloc(0);

/** Positions of one epoch, for the scripts. @param positions as `ascending` has them */
export function encodePositions(positions: readonly Position[]): Buffer {
  const bytes = Buffer.allocUnsafe(POSITION_BYTES * positions.length);
  for (const [i, { id, offset }] of positions.entries()) {
    bytes.write(id, POSITION_BYTES * i, 'latin1');
    bytes.writeUIntBE(offset, POSITION_BYTES * i + ID, 6);
  }
  return bytes;
}
const POSITION_BYTES = ID + 6;

/** Those that may be a message's, from the lowest offset on. */
export function ascending(positions: readonly Position[]): Position[] {
  return positions.filter(isPossible).sort((a, b) => a.offset - b.offset);
}

function isPossible({ id, offset }: Position): boolean {
  return PRINTABLE.test(id) && Number.isSafeInteger(offset) && offset > 0 && offset < 2 ** 48;
}
const PRINTABLE = /^[!-~]{16}$/;
