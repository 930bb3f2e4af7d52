/** The ids of a channel's last messages, by which one that comes twice is known, and when they were stored. */

const MAX_RECENT = 32;

export class RecentIds {
  /** A ring: the id at `#first` is at 0, and so is the MAX_RECENTth after it. */
  readonly #ids: string[] = [];
  readonly #times: number[] = [];
  readonly #first: number;
  #next: number;

  /** @param first the offset of the first one that is added */
  constructor(first: number) {
    this.#first = first;
    this.#next = first;
  }

  /** That of the next offset. */
  add(id: string, time: number): void {
    const at = (this.#next++ - this.#first) % MAX_RECENT;
    this.#ids[at] = id;
    this.#times[at] = time;
  }

  /** When the message with this id was stored, in milliseconds since 1970; as `knows`. */
  timeOf(offset: number, id: string): number | undefined {
    return this.knows(offset, id) === true ? this.#times[(offset - this.#first) % MAX_RECENT] : undefined;
  }

  /** Whether this is the id at that offset; `undefined` for one that came too long ago, or not yet. */
  knows(offset: number, id: string): boolean | undefined {
    const oldest = Math.max(this.#first, this.#next - MAX_RECENT);
    if (offset < oldest || offset >= this.#next) return undefined;
    return this.#ids[(offset - this.#first) % MAX_RECENT] === id;
  }
}
