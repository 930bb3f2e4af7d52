/** Which of a channel's messages hold a `replaces` key, and which expire when. */
export class MemoryLives {
  /** By key: the newest message with it. */
  readonly #offsets = new Map<string, number>();
  /** By offset, in their order. */
  readonly #keys = new Map<number, string>();
  readonly #expiries = new Map<number, number>();
  /** None expires before. */
  next = Number.POSITIVE_INFINITY;

  add(offset: number, key: string | undefined, expires: number | undefined): void {
    if (key !== undefined) {
      const former = this.#offsets.get(key);
      if (former !== undefined) this.#keys.delete(former);
      this.#offsets.set(key, offset);
      this.#keys.set(offset, key);
    }
    if (expires === undefined) return;
    this.#expiries.set(offset, expires);
    this.next = Math.min(this.next, expires);
  }

  offsetOf(key: string): number | undefined {
    return this.#offsets.get(key);
  }

  /** The message is gone. */
  delete(offset: number): void {
    const key = this.#keys.get(offset);
    if (key !== undefined) {
      this.#offsets.delete(key);
      this.#keys.delete(offset);
    }
    if (this.#expiries.delete(offset) && this.#expiries.size === 0) this.next = Number.POSITIVE_INFINITY;
  }

  /** Forgets what lies below the first message that is kept. */
  trim(first: number): void {
    for (const entries of [this.#keys, this.#expiries]) {
      for (const offset of entries.keys()) {
        if (offset >= first) break;
        this.delete(offset);
      }
    }
  }

  /** The messages that have expired by now. */
  due(now: number): number[] {
    if (now < this.next) return [];
    const due: number[] = [];
    this.next = Number.POSITIVE_INFINITY;
    for (const [offset, expires] of this.#expiries) {
      if (expires <= now) due.push(offset);
      else this.next = Math.min(this.next, expires);
    }
    return due;
  }
}
