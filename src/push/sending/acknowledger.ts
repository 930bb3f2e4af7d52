/** Hands acknowledgements to the store: one at a time per device and channel, and of what waits the newest. */
import type { Broker, Cursor } from '../../pubsub/store/broker.ts';

export class Acknowledger {
  readonly #broker: Broker;
  readonly #ttl: number;
  readonly #failed: (cursor: Cursor, error: unknown) => void;
  /** What is under way, with what is to follow it. */
  readonly #underWay = new Map<string, { next: Cursor | undefined; done: Promise<void> }>();

  constructor(broker: Broker, ttl: number, failed: (cursor: Cursor, error: unknown) => void) {
    this.#broker = broker;
    this.#ttl = ttl;
    this.#failed = failed;
  }

  /** Lost if the store is away: clients acknowledge cumulatively, so the next one makes up for it. */
  add(cursor: Cursor): void {
    const key = `${cursor.device} ${cursor.channel}`;
    const busy = this.#underWay.get(key);
    if (busy === undefined) {
      const entry = { next: undefined as Cursor | undefined, done: Promise.resolve() };
      this.#underWay.set(key, entry);
      entry.done = this.#work(key, cursor, entry);
    } else if (
      busy.next === undefined ||
      busy.next.position.epoch !== cursor.position.epoch ||
      busy.next.position.offset < cursor.position.offset
    ) {
      busy.next = cursor;
    }
  }

  /** Resolves when all that was added is with the store or has failed. */
  async flush(): Promise<void> {
    await Promise.all([...this.#underWay.values()].map(({ done }) => done));
  }

  async #work(key: string, first: Cursor, entry: { next: Cursor | undefined }): Promise<void> {
    for (let cursor: Cursor | undefined = first; cursor !== undefined; cursor = entry.next) {
      entry.next = undefined;
      try {
        await this.#broker.acknowledge(cursor, this.#ttl);
      } catch (error) {
        this.#failed(cursor, error);
      }
    }
    this.#underWay.delete(key);
  }
}
