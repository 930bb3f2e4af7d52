/** What belongs to a push server without being one of its rooms, such as sources of messages. */
import type { Family } from '../metrics/family.ts';
import { histogram } from '../metrics/histogram.ts';
import { mergeMetrics } from '../metrics/merge.ts';
import type { Observed } from '../metrics/otel.ts';
import type { Limits } from './options.ts';

type Histograms = ReturnType<Observed['histograms']>;

/** One of them. */
export interface Part {
  /** What it has counted. Several parts may have the same names. */
  families(): Family[];
  /** The same of what is counted one by one. */
  histograms(): Histograms;
  /** The push server begins to close: its store is there until this resolves, but no longer than it waits. */
  close(): Promise<void>;
}

const known = new WeakMap<object, Parts>();

export class Parts {
  readonly #parts = new Set<Part>();
  /** Those of the push server, as they are now. */
  readonly limits: Readonly<Limits>;
  isClosing = false;

  constructor(limits: Readonly<Limits>) {
    this.limits = limits;
  }

  /** @throws {TypeError} for what is no push server */
  static of(push: object): Parts {
    const parts = known.get(push);
    if (parts === undefined) throw new TypeError('the first argument must be a PushServer');
    return parts;
  }

  belongTo(push: object): void {
    known.set(push, this);
  }

  /** @throws {Error} once the push server is closed, or about to be */
  add(part: Part): void {
    if (this.isClosing) throw new Error('the push server is closed');
    this.#parts.add(part);
  }

  remove(part: Part): void {
    this.#parts.delete(part);
  }

  /** With what is counted one by one. Of several parts that have the same labels it is the sum. */
  families(): Family[] {
    return mergeMetrics(
      [...this.#parts].map((part) => [
        ...part.families(),
        ...part.histograms().map(({ name, help, of }) => histogram(name, help, of)),
      ]),
    );
  }

  histograms(): Histograms {
    const found = new Map<string, Histograms[number]>();
    for (const each of [...this.#parts].flatMap((part) => part.histograms())) {
      found.set(each.name, { ...each, of: [...(found.get(each.name)?.of ?? []), ...each.of] });
    }
    return [...found.values()];
  }

  async close(): Promise<void> {
    this.isClosing = true;
    await Promise.all([...this.#parts].map((part) => part.close()));
  }
}
