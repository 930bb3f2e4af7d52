/**
 * Hands acknowledgements to the store: the first at the end of the turn, and what comes in the moment after that
 * together. One at a time for each session, and of what waits the newest.
 */
import { setImmediate, setTimeout } from '../../clock.ts';
import type { Broker, Cursor } from '../../pubsub/store/broker.ts';

/** Milliseconds from one handing over to the next. Nobody waits for one: a page has its message, and waits itself. */
const GATHER = 20;

/** What a session has acknowledged, and what of it is not with the store. */
interface Entry {
  readonly session: object;
  /** To be handed over when the one before it is with the store. */
  next: Cursor | undefined;
  isUnderWay: boolean;
}

/** Hears what becomes of what is handed over. */
export interface AcknowledgerEvents {
  failed(cursor: Cursor, error: unknown): void;
  worked(): void;
}

export class Acknowledger {
  readonly #broker: Broker;
  readonly #ttl: number;
  readonly #events: AcknowledgerEvents;
  readonly #entries = new Map<object, Entry>();
  #due: Entry[] = [];
  /** Something is about to be handed over, or was a moment ago. */
  #isPaced = false;
  /** Who waits until there is nothing left. */
  #flushing: (() => void)[] = [];

  constructor(broker: Broker, ttl: number, events: AcknowledgerEvents) {
    this.#broker = broker;
    this.#ttl = ttl;
    this.#events = events;
  }

  /**
   * Lost if the store is away: clients acknowledge cumulatively, so the next one makes up for it.
   *
   * @param session that has said it: it speaks for one device, of one inbox
   */
  add(session: object, cursor: Cursor): void {
    let entry = this.#entries.get(session);
    if (entry === undefined) {
      entry = { session, next: undefined, isUnderWay: false };
      this.#entries.set(session, entry);
    }
    const { next } = entry;
    if (next === undefined) {
      entry.next = cursor;
      if (!entry.isUnderWay) this.#plan(entry);
    } else if (
      next.position.epoch !== cursor.position.epoch ||
      next.position.offset < cursor.position.offset
    ) {
      entry.next = cursor;
    }
  }

  /** Resolves when all that was added is with the store or has failed. */
  flush(): Promise<void> {
    if (this.#entries.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#flushing.push(resolve));
  }

  #plan(entry: Entry): void {
    this.#due.push(entry);
    if (this.#isPaced) return;
    this.#isPaced = true;
    setImmediate(() => this.#handOver());
  }

  #handOver(): void {
    const due = this.#due;
    this.#isPaced = due.length > 0;
    if (!this.#isPaced) return;
    this.#due = [];
    const cursors: Cursor[] = [];
    for (const entry of due) {
      cursors.push(entry.next!);
      entry.next = undefined;
      entry.isUnderWay = true;
    }
    this.#acknowledge(cursors, (i, error) => {
      if (error === undefined) this.#events.worked();
      else this.#events.failed(cursors[i]!, error);
      this.#finish(due[i]!);
    });
    setTimeout(() => this.#handOver(), GATHER);
  }

  #acknowledge(cursors: Cursor[], done: (index: number, error: unknown) => void): void {
    const broker = this.#broker;
    if (broker.acknowledgeAll !== undefined) {
      broker.acknowledgeAll(cursors, this.#ttl, done);
      return;
    }
    for (const [i, cursor] of cursors.entries()) {
      broker.acknowledge(cursor, this.#ttl).then(
        () => done(i, undefined),
        (error) => done(i, error ?? new Error('no reason was given')),
      );
    }
  }

  #finish(entry: Entry): void {
    entry.isUnderWay = false;
    if (entry.next !== undefined) {
      this.#plan(entry);
      return;
    }
    this.#entries.delete(entry.session);
    if (this.#entries.size > 0) return;
    for (const resolve of this.#flushing) resolve();
    this.#flushing = [];
  }
}
