/** The ids of a channel's last messages, by which one that comes twice is known, and when they were stored. */

const MAX_RECENT = 32;

export class RecentIds {
  /** A ring of ids, each with its time: the id at `#first` is at 0, and so is the MAX_RECENTth after it. */
  readonly #ring: (string | number)[] = [];
  readonly #first: number;
  #next: number;
  /** The time of the first one. Those of the others are kept as what they are after it, in numbers that take no room. */
  #since = 0;

  /** @param first the offset of the first one that is added */
  constructor(first: number) {
    this.#first = first;
    this.#next = first;
  }

  /** That of the next offset. @param time when it was stored, in milliseconds since 1970 */
  add(id: string, time: number): void {
    if (this.#next === this.#first) this.#since = time;
    const at = this.#place(this.#next++);
    this.#ring[at] = id;
    this.#ring[at + 1] = time - this.#since;
  }

  /** Whether this is the id at that offset; `undefined` for one that came too long ago, or not yet. */
  knows(offset: number, id: string): boolean | undefined {
    const oldest = Math.max(this.#first, this.#next - MAX_RECENT);
    if (offset < oldest || offset >= this.#next) return undefined;
    return this.#ring[this.#place(offset)] === id;
  }

  /** When the message with this id was stored; `undefined` where `knows` is not true. */
  timeOf(offset: number, id: string): number | undefined {
    if (this.knows(offset, id) !== true) return undefined;
    return this.#since + (this.#ring[this.#place(offset) + 1] as number);
  }

  #place(offset: number): number {
    return 2 * ((offset - this.#first) % MAX_RECENT);
  }
}
