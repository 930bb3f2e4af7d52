/** The last bytes of what went one way over a connection: the context that DEFLATE may refer to (RFC 7692 §7.1.1). */

const EMPTY = Buffer.alloc(0);

/** Keeps the last `size` bytes, in memory that grows with what has come to 1.25 times `size`. */
export class SlidingWindow {
  readonly #size: number;
  #buffer = EMPTY;
  #length = 0;

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
    const old = this.bytes.subarray(Math.max(0, this.bytes.length + added.length - this.#size));
    const needed = old.length + added.length;
    const capacity = Math.min(needed * 2, this.#size + (this.#size >> 2));
    const target = capacity > this.#buffer.length ? Buffer.allocUnsafeSlow(capacity) : this.#buffer;
    old.copy(target, 0);
    added.copy(target, old.length);
    this.#buffer = target;
    this.#length = needed;
  }

  clear(): void {
    this.#buffer = EMPTY;
    this.#length = 0;
  }
}
