/**
 * Bytes of a message that comes in pieces, put together in one buffer of our own. It doubles where it must, so
 * that the work is linear and no piece's memory is kept, however small the pieces are.
 */
export class GatheredBytes {
  #buffer: Buffer | null = null;
  length = 0;

  append(chunk: Uint8Array): void {
    const needed = this.length + chunk.length;
    if (this.#buffer === null || needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, 2 * needed));
      this.#buffer?.copy(larger, 0, 0, this.length);
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.length);
    this.length = needed;
  }

  /** All of it: a view that is good until the next call. */
  get bytes(): Buffer {
    return this.#buffer === null ? EMPTY : this.#buffer.subarray(0, this.length);
  }

  clear(): void {
    this.#buffer = null;
    this.length = 0;
  }
}

const EMPTY = Buffer.alloc(0);
