/** The metrics of several processes over their lives, of which some end and others begin. */
import type { Family } from './family.ts';
import { mergeMetrics } from './merge.ts';

/**
 * What the workers of one machine have counted together. A sum of those that happen to answer would fall when one ends or is
 * silent, and whoever takes its rate would see a jump as high as all that was ever counted: so what one has counted stays.
 */
export class ProcessMetrics {
  readonly #last = new Map<string, readonly Family[]>();
  /** Of those that have ended: what only counts. */
  #past: Family[] = [];

  /** What a process says of itself now. It stands until it says something else. @param name never that of another one */
  tell(name: string, families: readonly Family[]): void {
    this.#last.set(name, families);
  }

  /** The process has ended: what it held is no more, what it has counted is. */
  ended(name: string): void {
    const counted = this.#last.get(name)?.filter(({ type }) => type !== 'gauge') ?? [];
    this.#last.delete(name);
    this.#past = mergeMetrics([this.#past, counted]);
  }

  /** All together, as `mergeMetrics` adds up. */
  families(): Family[] {
    // First those that there are, for the order.
    return mergeMetrics([...this.#last.values(), this.#past]);
  }
}
