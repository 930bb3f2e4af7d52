/**
 * Who owns a buffer. There are four kinds of memory, and this module knows which is which:
 *
 * - **The shared read buffer.** All sockets are read into it, one after the other: what lies in it is gone with
 *   the next read of any of them.
 * - **Loans.** Long messages in parts, while a handler looks at them, and long frames on their way out. Used
 *   again as soon as nobody needs them: to fill fresh memory of that size takes several times as long as the
 *   copy itself, as the kernel has to find and to clear every page of it.
 * - **The application's.** What is given to `send` is its again when `send` returns.
 * - **Ours for good**, and whoever's we give it to: everything else.
 *
 * `kept` makes of what was read something that may be kept; `copied` makes of the application's bytes something
 * that nobody changes.
 */
import { markAsUntransferable } from 'node:worker_threads';
import type { Lender, ReadMemory } from '../protocol/frame-sink.ts';
import { applyMask, WORDS_FROM, wordsOf } from '../protocol/mask.ts';
import { instantiateSimd, type Simd } from '../protocol/simd.ts';
import { plainMemory } from './diagnostics.ts';

// ── the shared read buffer ─────────────────────────────────────────────────────────────────────────

const SHARED_BYTES = 128 * 1024;
/**
 * Where it begins within its pages. To copy to an address whose last 12 bits are a little more than the source's is
 * ten times slower on some processors (`rep movsb` on AMD's), and from the beginning of one page to the beginning
 * of another is just that. So it begins in the middle of one.
 */
const SHARED_AT = 2048;

const simd = quickMemory();

/** 128 KiB: a message of 64 KiB fits with its header. What lies in it is valid until the next read of any socket. */
export const sharedBuffer: Buffer = Buffer.from(
  simd === undefined ? new ArrayBuffer(SHARED_AT + SHARED_BYTES) : simd.memory.buffer,
  SHARED_AT,
  SHARED_BYTES,
);
const sharedWords = wordsOf(sharedBuffer.buffer);

/** Unmasking in WebAssembly's memory is quicker. Where there is none, the buffer is ordinary memory. */
function quickMemory(): Simd | undefined {
  try {
    return instantiateSimd();
  } catch (error) {
    if (plainMemory.hasSubscribers) plainMemory.publish({ error });
    return undefined;
  }
}

/** `applyMask` for `sharedBuffer`, and for any other bytes as well. Same contract. */
export const unmask: ReadMemory['unmask'] =
  simd === undefined
    ? unmaskByWords
    : (bytes, start, end, key) =>
        bytes === sharedBuffer
          ? simd.unmask(SHARED_AT + start, end - start, key)
          : unmaskByWords(bytes, start, end, key);

/** The plain path, where there is no WebAssembly or the bytes lie elsewhere. */
export function unmaskByWords(bytes: Buffer, start: number, end: number, key: number): number {
  const words =
    bytes === sharedBuffer ? sharedWords : end - start < WORDS_FROM ? undefined : wordsOf(bytes.buffer);
  return applyMask(bytes, words, start, end, key);
}

/** Views of the shared buffer that were given last: one for each start, modulo VIEWS. */
const VIEWS = 4096;
const views: (Buffer | undefined)[] = new Array(VIEWS).fill(undefined);
const viewStarts = new Int32Array(VIEWS);
const viewEnds = new Int32Array(VIEWS);

/**
 * Messages of like size come to lie at like places, and making a view costs as much as unmasking 100 bytes:
 * the same view is given again, as what it shows is gone with the next read anyway.
 */
function view(bytes: Buffer, start: number, end: number): Buffer {
  if (bytes !== sharedBuffer) return bytes.subarray(start, end);
  const slot = start % VIEWS;
  const known = views[slot];
  if (known !== undefined && viewStarts[slot] === start && viewEnds[slot] === end) return known;
  const made = sharedBuffer.subarray(start, end);
  views[slot] = made;
  viewStarts[slot] = start;
  viewEnds[slot] = end;
  return made;
}

/** For the FrameReaders of connections that are read into `sharedBuffer`. */
export const sharedMemory: ReadMemory = { chunk: sharedBuffer, unmask, view };

export function isShared(bytes: Uint8Array): boolean {
  return bytes.buffer === sharedBuffer.buffer;
}

// ── loans ──────────────────────────────────────────────────────────────────────────────────────────

interface Loan {
  readonly memory: Buffer;
  /** Who still needs what is in it. */
  users: number;
}

const SMALLEST = 32 * 1024;
/** 32 KiB, and twice as much each time, up to 4 MiB. */
const CLASSES = 8;
/** Each holds that much more, so that a frame's header fits as well. */
const HEADER_ROOM = 64;
/** What would fill less than half of the smallest is not worth it. */
const WORTH_FROM = SMALLEST / 2;
/** Bytes that are kept for the next loans. */
const KEPT_BYTES = 8 * 1024 * 1024;

const loans = new WeakMap<ArrayBufferLike, Loan>();
const free: Loan[][] = Array.from({ length: CLASSES }, () => []);
let freeBytes = 0;

function classOf(size: number): number {
  return size <= SMALLEST + HEADER_ROOM ? 0 : 32 - Math.clz32((size - HEADER_ROOM - 1) >> 15);
}

/**
 * At least `size` bytes, less than twice as many and 32 KiB; `release` gives them back. Undefined for a size that
 * is not lent.
 *
 * @throws {RangeError} without memory
 */
export function borrow(size: number): Buffer | undefined {
  if (size < WORTH_FROM) return undefined;
  const index = classOf(size);
  if (index >= CLASSES) return undefined;
  let loan = free[index]!.pop();
  if (loan === undefined) {
    loan = { memory: Buffer.allocUnsafeSlow((SMALLEST << index) + HEADER_ROOM), users: 0 };
    loans.set(loan.memory.buffer, loan);
  } else {
    freeBytes -= loan.memory.length;
  }
  loan.users = 1;
  return loan.memory;
}

/**
 * One more who needs what is in it, and will call `release`. False for bytes that are not on loan, or no more: what
 * somebody has kept for too long must not give the same memory back twice.
 */
export function retain(bytes: Uint8Array): boolean {
  const loan = loans.get(bytes.buffer);
  if (loan === undefined || loan.users === 0) return false;
  loan.users++;
  return true;
}

/** The last one to call it gives the memory back. Does nothing for bytes that are not on loan. */
export function release(bytes: Uint8Array): void {
  const loan = loans.get(bytes.buffer);
  if (loan === undefined || --loan.users > 0) return;
  const { length } = loan.memory;
  if (freeBytes + length > KEPT_BYTES) return;
  freeBytes += length;
  free[classOf(length)]!.push(loan);
}

/** For FrameReaders whose messages are views: the memory of those in parts is used again. */
export const lender: Lender = { borrow, release };

// ── what may be kept ───────────────────────────────────────────────────────────────────────────────

/** A view may pin this many bytes for each of its own before it is copied. */
const MAX_PINNED = 2;

/** Of what was read: something that may be kept for as long as anybody likes, and pins no more than it shows. */
export function kept(data: Buffer): Buffer {
  return isShared(data) || data.buffer.byteLength > MAX_PINNED * data.length + 64 ? keptCopy(data) : data;
}

const FastBuffer = (Buffer as unknown as Record<symbol, unknown>)[Symbol.species] as new (
  memory: ArrayBufferLike,
  offset: number,
  length: number,
) => Buffer;

/** Short messages share pieces of memory of this size, as those of `Buffer.from` do. */
const PIECE_BYTES = 8 * 1024;
let piece = newPiece();
let pieceMemory = piece.buffer;
let pieceAt = 0;

/** Nobody may transfer it to a worker: other messages lie in it as well. */
function newPiece(): Buffer {
  const fresh = Buffer.allocUnsafeSlow(PIECE_BYTES);
  markAsUntransferable(fresh.buffer);
  return fresh;
}

/** Of what lies in the shared read buffer. `Buffer.from(data)`, in half the time. */
export function keptCopy(data: Buffer): Buffer {
  const { length } = data;
  if (length > PIECE_BYTES / 2) return Buffer.from(data);
  if (pieceAt + length > PIECE_BYTES) {
    piece = newPiece();
    pieceMemory = piece.buffer;
    pieceAt = 0;
  }
  const at = pieceAt;
  // Eight bytes each: what is read as numbers lies where it should.
  pieceAt = (at + length + 7) & ~7;
  piece.set(data, at);
  return new FastBuffer(pieceMemory, at, length);
}

/** Of bytes that are somebody else's: the same in memory that nobody changes or takes away. */
export function copied(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}
