/**
 * Memory for long messages, used again when nobody needs the message any more: to fill fresh memory of that size
 * takes several times as long as the copy itself, as the kernel has to find and to clear every page of it.
 */
import { sharedBuffer } from './simd.ts';

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
const kept: Loan[][] = Array.from({ length: CLASSES }, () => []);
let keptBytes = 0;

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
  let loan = kept[index]!.pop();
  if (loan === undefined) {
    loan = { memory: Buffer.allocUnsafeSlow((SMALLEST << index) + HEADER_ROOM), users: 0 };
    loans.set(loan.memory.buffer, loan);
  } else {
    keptBytes -= loan.memory.length;
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
  if (keptBytes + length > KEPT_BYTES) return;
  keptBytes += length;
  kept[classOf(length)]!.push(loan);
}

/** Bytes that stay as they are: themselves, or a copy of what is on loan or in the shared read buffer. */
export function owned<T extends Uint8Array>(bytes: T): T | Buffer {
  const isBorrowed = bytes.buffer === sharedBuffer.buffer || loans.has(bytes.buffer);
  return isBorrowed ? Buffer.from(bytes) : bytes;
}
