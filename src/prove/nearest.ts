/** Which fault is nearest to a moment, of the many that a run of days has. */
import type { Fault } from './faults.ts';

export class Nearest {
  /** In the order in which they began, with their places in what was given. */
  readonly #faults: readonly { fault: Fault; place: number }[];
  /** For each of them, the one that ended last of it and all before it. */
  readonly #lasting: readonly number[];

  constructor(faults: readonly Fault[]) {
    this.#faults = faults
      .map((fault, place) => ({ fault, place }))
      .sort((a, b) => a.fault.from - b.fault.from);
    let longest = 0;
    this.#lasting = this.#faults.map(({ fault }, i) => {
      if (fault.to > this.#faults[longest]!.fault.to) longest = i;
      return longest;
    });
  }

  /** The first given of those that last at this moment, or else the last one before, or the first one after it. */
  to(moment: number): { kind: Fault['kind']; before: number } | undefined {
    const begun = this.#begunBy(moment);
    const last = this.#at(this.#lasting[begun - 1]);
    const next = this.#at(begun);
    let best = last;
    if (last === undefined || (next !== undefined && next.from - moment < moment - last.to)) best = next;
    if (last !== undefined && last.to >= moment) best = this.#atWork(begun, moment);
    return best && { kind: best.kind, before: Math.round(moment - best.from) };
  }

  #at(index: number | undefined): Fault | undefined {
    return index === undefined ? undefined : this.#faults[index]?.fault;
  }

  /** How many had begun. */
  #begunBy(moment: number): number {
    let low = 0;
    let high = this.#faults.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#faults[middle]!.fault.from <= moment) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #atWork(begun: number, moment: number): Fault {
    let first = this.#faults[this.#lasting[begun - 1]!]!;
    for (let i = begun - 1; i >= 0 && this.#at(this.#lasting[i])!.to >= moment; i--) {
      const each = this.#faults[i]!;
      if (each.fault.to >= moment && each.place < first.place) first = each;
    }
    return first.fault;
  }
}
