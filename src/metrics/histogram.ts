/** Counts how long things take, in buckets that are fixed: a few nanoseconds each, and no memory. */
import type { Family, Sample } from './family.ts';

/** Upper bounds in milliseconds, from what a store in the same rack takes to what a page was away for. */
export const DELAYS: readonly number[] = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 600_000, 3_600_000,
  86_400_000,
];
/** The same for round trips. */
export const ROUND_TRIPS: readonly number[] = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000,
];

type Tap = (milliseconds: number, count: number) => void;

/** Of durations. */
export class Histogram {
  readonly #bounds: readonly number[];
  /** How many are in each bucket alone; the last one is for what is above all bounds. */
  readonly #counts: number[];
  #sum = 0;
  /** Are told of each value, as it comes. */
  #taps: readonly Tap[] = [];

  /** @param bounds in milliseconds, ascending */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Array(bounds.length + 1).fill(0);
  }

  /** @param count how often it took that long */
  observe(milliseconds: number, count = 1): void {
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && milliseconds > bounds[i]!) i++;
    this.#counts[i]! += count;
    this.#sum += milliseconds * count;
    if (this.#taps.length > 0) for (const tap of this.#taps) tap(milliseconds, count);
  }

  /** Upper bounds in seconds. */
  get bounds(): number[] {
    return this.#bounds.map((bound) => bound / 1000);
  }

  /** Has `tap` told of all values from now on. It must not throw. Returns what ends it. */
  tap(tap: Tap): () => void {
    this.#taps = [...this.#taps, tap];
    return () => {
      this.#taps = this.#taps.filter((each) => each !== tap);
    };
  }

  /** In seconds. */
  samples(labels: Readonly<Record<string, string>> = {}): Sample[] {
    const samples: Sample[] = [];
    let count = 0;
    for (const [i, own] of this.#counts.entries()) {
      count += own;
      const bound = this.#bounds[i];
      const le = bound === undefined ? '+Inf' : String(bound / 1000);
      samples.push({ labels: { ...labels, le }, value: count, suffix: '_bucket' });
    }
    samples.push({ labels, value: this.#sum / 1000, suffix: '_sum' });
    samples.push({ labels, value: count, suffix: '_count' });
    return samples;
  }
}

export type LabelledHistogram = readonly [labels: Readonly<Record<string, string>>, of: Histogram];

/** A histogram as it leaves, or several of them with their labels. */
export function histogram(name: string, help: string, values: readonly LabelledHistogram[]): Family {
  return { name, help, type: 'histogram', samples: values.flatMap(([labels, of]) => of.samples(labels)) };
}
