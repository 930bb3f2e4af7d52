/**
 * Memory for long payloads that must leave the shared read buffer, lent out and taken back: fresh memory of that
 * size costs several times what the copy does.
 */
import { sharedBuffer } from '../protocol/simd.ts';

/** The longest header that a server writes: 2 bytes and 8 of length. */
const MAX_HEADER = 10;
const SIZES = [32 * 1024, 64 * 1024, sharedBuffer.length].map((size) => size + MAX_HEADER);
/** Bytes of each size that are kept for the next loans. */
const KEPT = 1024 * 1024;

const kept = new Map<number, Buffer[]>(SIZES.map((size) => [size, []]));

/** @param payload bytes that lie in the shared read buffer; the loan has room for them and a header */
export function borrow(payload: number): Buffer {
  const size = SIZES.find((one) => payload + MAX_HEADER <= one)!;
  return kept.get(size)!.pop() ?? Buffer.allocUnsafeSlow(size);
}

/** Nobody reads it any more. */
export function giveBack(loan: Buffer): void {
  const same = kept.get(loan.length)!;
  if (same.length * loan.length < KEPT) same.push(loan);
}
