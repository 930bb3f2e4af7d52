/** A small repeatable generator (mulberry32): the same seed gives the same inputs. Nothing secret comes of it. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 … 2^32 - 1 */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** 0 … bound - 1 */
  below(bound: number): number {
    return this.next() % bound;
  }

  chance(oneIn: number): boolean {
    return this.next() % oneIn === 0;
  }

  pick<T>(values: ArrayLike<T>): T {
    return values[this.below(values.length)]!;
  }
}
