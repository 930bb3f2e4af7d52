/**
 * The bytes of a message whose end has not come yet, in one buffer of its own.
 *
 * A fragment costs its bytes and nothing else, whether a message comes in one or in a million of them, so
 * limits count bytes. What is allocated is bounded by what has come, not by what a header promised: a peer
 * that announces 100 MiB and sends 10 bytes gets a buffer of 4 KiB.
 */
import { constants } from 'node:buffer';
import type { Lender } from './frame-sink.ts';

/** A buffer is never larger than this many bytes or GROWTH times what has come, headers included. */
const FIRST_CAPACITY = 4096;
const GROWTH = 16;
/** A read of 64 KiB that begins with a header vouches for 1 MiB all the same. */
const HEADER_ROOM = 64;

export class MessageAssembly {
  /** Bytes of the message that have come, kept here or handed on. */
  received = 0;
  #buffer: Buffer | undefined;
  readonly #lender: Lender | undefined;

  /** @param lender who lends the memory: whoever takes the message then releases it */
  constructor(lender?: Lender) {
    this.#lender = lender;
  }

  /**
   * @param expected how many bytes of the frame are known to follow
   * @param isLast whether nothing follows the frame
   * @returns false if there is no memory for it
   */
  append(part: Buffer, expected: number, isLast: boolean): boolean {
    if (part.length === 0) return true;
    const buffer = this.#reserve(this.received + part.length, expected, isLast);
    if (buffer === undefined) return false;
    buffer.set(part, this.received);
    this.received += part.length;
    return true;
  }

  #reserve(needed: number, expected: number, isLast: boolean): Buffer | undefined {
    if (this.#buffer !== undefined && needed <= this.#buffer.length) return this.#buffer;
    if (needed > constants.MAX_LENGTH) return undefined;
    const grown = allocate(this.#capacityFor(needed, expected, isLast), this.#lender);
    if (grown === undefined) return undefined;
    if (this.#buffer !== undefined) {
      this.#buffer.copy(grown, 0, 0, this.received);
      this.#lender?.release(this.#buffer);
    }
    this.#buffer = grown;
    return grown;
  }

  /** The message. It is the caller's from then on. */
  take(): Buffer {
    const buffer = this.#buffer;
    this.#buffer = undefined;
    if (buffer === undefined) return Buffer.alloc(0);
    return buffer.length === this.received ? buffer : buffer.subarray(0, this.received);
  }

  // The frame's end is known. As soon as what has come vouches for that much, there is room for just that, so that a
  // long frame is copied once more at most, when a sixteenth of it has come. Across frames, whose number nobody knows,
  // room doubles each time.
  #capacityFor(needed: number, expected: number, isLast: boolean): number {
    const bound = Math.max(FIRST_CAPACITY, (needed + HEADER_ROOM) * GROWTH);
    const known = needed + expected;
    const doubled = this.#buffer === undefined ? 0 : this.#buffer.length * 2;
    const wanted =
      known > bound ? Math.max(known / GROWTH, doubled) : isLast ? known : Math.max(known, doubled);
    return Math.min(Math.ceil(wanted), bound, constants.MAX_LENGTH);
  }
}

function allocate(length: number, lender: Lender | undefined): Buffer | undefined {
  try {
    return lender?.borrow(length) ?? Buffer.allocUnsafeSlow(length);
  } catch {
    return undefined;
  }
}
