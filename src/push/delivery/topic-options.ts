/** What can be set for topics by their names. */
import type { Retention } from '../../pubsub/store/broker.ts';

/**
 * What happens to a topic's messages for a session that reads too slowly.
 * - `close`: none is passed over. What does not fit into `limits.outbox` the session gets from the log when there is room;
 *   where it takes nothing for `limits.stall`, it is closed with 4430.
 * - `conflate`: only the newest waits.
 * - `drop-oldest`: the newest `keep` wait.
 */
export type Overflow = 'close' | 'conflate' | 'drop-oldest';

/** How the messages of a topic are kept, what slow pages get of them, and whether it can be asked who is on it. */
export interface TopicOptions {
  /** Default: `retention.topic`. */
  retention?: Partial<Retention>;
  /** Default `close`. */
  overflow?: Overflow;
  /** Messages that wait under `drop-oldest`. Default 100. */
  keep?: number;
  /** Whether it can be asked who is on it (`presence`), which costs the store a write for each subscription. Default false. */
  presence?: boolean;
}

/** Finds a topic's options: an exact name counts more than a pattern, a longer pattern more than a shorter one. */
export class TopicTable {
  #exact: ReadonlyMap<string, TopicOptions>;
  /** Without their asterisks, the longest first. */
  #prefixes: readonly (readonly [string, TopicOptions])[];

  constructor(options: Readonly<Record<string, TopicOptions>> = {}) {
    const entries = Object.entries(options);
    this.#exact = new Map(entries);
    this.#prefixes = entries
      .filter(([name]) => name.endsWith('*'))
      .map(([name, own]) => [name.slice(0, -1), own] as const)
      .sort(([a], [b]) => b.length - a.length);
  }

  /** From here on it finds what the other one does. */
  become(other: TopicTable): void {
    this.#exact = other.#exact;
    this.#prefixes = other.#prefixes;
  }

  /** By name or pattern. */
  get all(): ReadonlyMap<string, TopicOptions> {
    return this.#exact;
  }

  of(topic: string): TopicOptions {
    return (
      this.#exact.get(topic) ?? this.#prefixes.find(([prefix]) => topic.startsWith(prefix))?.[1] ?? NO_OPTIONS
    );
  }
}

/** Of inboxes, and of topics that are not named. */
export const NO_OPTIONS: TopicOptions = {};
