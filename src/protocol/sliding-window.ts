/** The last bytes of what went one way over a connection: the context that DEFLATE may refer to (RFC 7692 §7.1.1). */

const EMPTY: Buffer = Buffer.alloc(0);
/** What is kept by reference keeps no more memory than this from being freed. */
const MOST_PINNED = 64 * 1024;

/** Keeps the last `size` bytes, in memory that grows with what has come to 1.25 times `size`. */
export class SlidingWindow {
  readonly #size: number;
  #buffer = EMPTY;
  #length = 0;
  /** The buffer is somebody else's, and full. */
  #isShared = false;

  constructor(size: number) {
    this.#size = size;
  }

  /** A view; the next `append` may change it. */
  get bytes(): Buffer {
    return this.#buffer.subarray(Math.max(0, this.#length - this.#size), this.#length);
  }

  append(data: Buffer): void {
    if (this.#length + data.length <= this.#buffer.length) {
      data.copy(this.#buffer, this.#length);
      this.#length += data.length;
      return;
    }
    const added = data.length > this.#size ? data.subarray(data.length - this.#size) : data;
    const bytes = this.bytes;
    const old = bytes.subarray(Math.max(0, bytes.length + added.length - this.#size));
    const needed = old.length + added.length;
    const capacity = Math.min(needed * 2, this.#size + (this.#size >> 2));
    const isTooSmall = this.#isShared || capacity > this.#buffer.length;
    const target = isTooSmall ? Buffer.allocUnsafeSlow(capacity) : this.#buffer;
    old.copy(target, 0);
    added.copy(target, old.length);
    this.#buffer = target;
    this.#length = needed;
    this.#isShared = false;
  }

  /**
   * Forgets what was before, and keeps the end of `data`: without a copy, so that what went to many connections is in
   * memory once. It must never change again.
   */
  replace(data: Buffer): void {
    const end = data.subarray(Math.max(0, data.length - this.#size));
    this.#buffer = end.buffer.byteLength > MOST_PINNED ? Buffer.from(end) : end;
    this.#length = end.length;
    this.#isShared = true;
  }
}
