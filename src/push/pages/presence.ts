/**
 * Makes this instance's sessions, and which topics they are on, visible to the others, in batches. The broker keeps them
 * so. A page that comes and goes within one batch costs the store nothing.
 */
import { clearTimeout, setTimeout } from '../../clock.ts';
import { type Broker, entryId, type PresenceEntry } from '../../pubsub/store/broker.ts';

/** Milliseconds in which sessions that come and go are collected. */
const BATCH_DELAY = 50;
const ENTRIES_PER_CALL = 500;

/** Hears how it went to tell the store something. */
export interface Telling {
  failed(error: unknown): void;
  worked(): void;
}

export class Presence {
  readonly #broker: Broker;
  readonly #ttl: number;
  readonly #telling: Telling;
  readonly #entries = new Map<string, PresenceEntry>();
  #came = new Map<string, PresenceEntry>();
  /** Of these, whom the broker has never been told of. */
  #new = new Set<string>();
  #went = new Map<string, PresenceEntry>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  /** Is told of topics on which something has changed, once the store knows. */
  onTopics: ((topics: readonly string[]) => void) | undefined;

  constructor(broker: Broker, ttl: number, telling: Telling) {
    this.#broker = broker;
    this.#ttl = ttl;
    this.#telling = telling;
  }

  /** Said again with the same session and topic, an entry replaces the former one. */
  add(entry: PresenceEntry): void {
    const id = entryId(entry);
    if (!this.#went.delete(id) && !this.#entries.has(id)) this.#new.add(id);
    this.#entries.set(id, entry);
    this.#came.set(id, entry);
    this.#schedule();
  }

  /** @param id of the entry; that of a session's own is the session's */
  remove(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#came.delete(id);
    // Who comes and goes within one batch was never there.
    if (this.#new.delete(id)) return;
    this.#went.set(id, entry);
    this.#schedule();
  }

  /** Resolves when the store knows what was added and removed so far, or could not be told. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing = this.#flushing.then(() => this.#tell());
    return this.#flushing;
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.flush(), BATCH_DELAY);
  }

  async #tell(): Promise<void> {
    const came = [...this.#came.values()];
    const went = [...this.#went.values()];
    this.#came = new Map();
    this.#new = new Set();
    this.#went = new Map();
    try {
      for (let i = 0; i < went.length; i += ENTRIES_PER_CALL) {
        await this.#broker.withdraw(went.slice(i, i + ENTRIES_PER_CALL));
      }
      for (let i = 0; i < came.length; i += ENTRIES_PER_CALL) {
        await this.#broker.announce(came.slice(i, i + ENTRIES_PER_CALL), this.#ttl);
      }
      const topics = new Set([...went, ...came].flatMap(({ topic }) => topic ?? []));
      this.#telling.worked();
      if (topics.size > 0) this.onTopics?.([...topics]);
    } catch (error) {
      // The broker goes on by itself with what was announced; what is not withdrawn ends with this instance.
      this.#telling.failed(error);
    }
  }
}
