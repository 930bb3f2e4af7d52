/** Commands that wait for a connection: bounded in number, in bytes and in time. */
import { clearTimeout, monotonicNow, setTimeout } from '../../clock.ts';
import { Queue } from '../../queue.ts';
import type { ReplyHandler } from './reply-handlers.ts';

interface Entry {
  /** Encoded. */
  bytes: Buffer;
  handlers: ReplyHandler[];
  deadline: number;
}

export interface WaitingLimits {
  queueMaxCommands: number;
  queueMaxBytes: number;
  /** Milliseconds. */
  queueMaxWait: number;
}

const LEAST_WAIT = 1000;

export class WaitingCommands {
  readonly #limits: WaitingLimits;
  readonly #expired: (handlers: ReplyHandler[]) => void;
  #entries = new Queue<Entry>();
  #timer: NodeJS.Timeout | undefined;
  commands = 0;
  bytes = 0;

  /** @param expired gets the handlers of what has waited for too long */
  constructor(limits: WaitingLimits, expired: (handlers: ReplyHandler[]) => void) {
    this.#limits = limits;
    this.#expired = expired;
  }

  /** False if there is no room. What is added together is sent together, or not at all. */
  add(bytes: Buffer, handlers: ReplyHandler[]): boolean {
    const { queueMaxCommands, queueMaxBytes } = this.#limits;
    if (this.commands >= queueMaxCommands || this.bytes + bytes.length > queueMaxBytes) return false;
    this.#entries.add(this.#entry(bytes, handlers));
    return true;
  }

  /** Puts commands before all others, in their order: they were sent before, but are not executed. */
  putFirst(commands: readonly Pick<Entry, 'bytes' | 'handlers'>[]): void {
    if (commands.length === 0) return;
    const entries = commands.map(({ bytes, handlers }) => this.#entry(bytes, handlers));
    // The first is the first to expire.
    const deadline = Math.min(
      entries[0]!.deadline,
      this.#entries.first?.deadline ?? Number.POSITIVE_INFINITY,
    );
    for (const entry of entries) entry.deadline = deadline;
    this.#entries.addFirst(entries);
  }

  get first(): Readonly<Entry> | undefined {
    return this.#entries.first;
  }

  take(): Entry | undefined {
    const entry = this.#entries.take();
    if (entry === undefined) return undefined;
    this.commands -= entry.handlers.length;
    this.bytes -= entry.bytes.length;
    return entry;
  }

  /** Empties it and returns whom to tell. */
  clear(): ReplyHandler[] {
    clearTimeout(this.#timer);
    const handlers = [...this.#entries].flatMap((entry) => entry.handlers);
    this.#entries = new Queue();
    this.commands = 0;
    this.bytes = 0;
    return handlers;
  }

  #entry(bytes: Buffer, handlers: ReplyHandler[]): Entry {
    // Even where nothing may wait for a connection, what is here has one, or was given to it.
    const queueMaxWait = this.#limits.queueMaxWait || LEAST_WAIT;
    this.commands += handlers.length;
    this.bytes += bytes.length;
    this.#timer ??= setTimeout(() => this.#expire(), queueMaxWait);
    return { bytes, handlers, deadline: monotonicNow() + queueMaxWait };
  }

  #expire(): void {
    this.#timer = undefined;
    const now = monotonicNow();
    let first = this.#entries.first;
    for (; first !== undefined && first.deadline <= now; first = this.#entries.first) {
      this.take();
      this.#expired(first.handlers);
    }
    if (first !== undefined)
      this.#timer = setTimeout(() => this.#expire(), Math.max(1, first.deadline - now));
  }
}
