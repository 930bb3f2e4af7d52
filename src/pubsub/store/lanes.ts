/**
 * The way of messages into a store, in order: each channel is a lane with one call at a time, and what is given
 * meanwhile goes with the next, together. So whatever happens to a call on its way (a script that the server has
 * forgotten, a failover, a slot that moves) nothing overtakes it, and a burst costs few calls.
 */
import { clearTimeout, monotonicNow, queueMicrotask, setTimeout } from '../../clock.ts';
import { delayOf, pause } from '../../waiting.ts';
import type { PayloadKind, PublishOptions } from './broker.ts';
import { AGAIN, type Failures, patienceOf } from './failures.ts';

const MAX_BATCH = 64;
const MAX_BATCH_BYTES = 512 * 1024;
/** Bytes that a waiting message counts besides its payload. */
const OVERHEAD = 200;

/** What to store, or without options, to hand to whoever listens. */
export interface Item {
  kind: PayloadKind;
  payload: Buffer;
  options: PublishOptions | undefined;
  id: string;
}

/** What became of an item: the text that the store answered, or why it was refused. */
export type Outcome = string | Error;

type Job<I extends Item> = I & {
  deadline: number;
  resolve(reply: string): void;
  reject(error: Error): void;
};

interface Lane<I extends Item> {
  readonly channel: string;
  queue: Job<I>[];
  lastError: Error | undefined;
}

export interface LaneSettings<I extends Item = Item> {
  failures: Failures;
  /** Milliseconds that a message is tried again. 0: not at all. */
  maxWait: number;
  /** Bytes that may wait. */
  maxBytes: number;
  /** Messages that may wait while the store is away. */
  maxCount: number;
  isThere(): boolean;
  /** How many of the 64 messages that go together an item counts for. */
  weightOf(item: I): number;
  /**
   * Stores some, in order. Of those that have no outcome nothing was stored, and they are given again.
   *
   * @throws where that goes for all of them, or is not known: see `Failures`
   */
  call(items: I[]): Promise<Outcome[]>;
}

export class Lanes<I extends Item> {
  readonly #lanes = new Map<string, Lane<I>>();
  readonly #settings: LaneSettings<I>;
  readonly #closing = new AbortController();
  #count = 0;
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(settings: LaneSettings<I>) {
    this.#settings = settings;
  }

  /** @returns the store's answer */
  add(channel: string, item: I): Promise<string> {
    const { maxBytes, maxCount, isThere, failures } = this.#settings;
    const bytes = item.payload.length + OVERHEAD;
    // One that is too large by itself waits for nobody.
    const isFull = this.#bytes > 0 && this.#bytes + bytes > maxBytes;
    if (isFull || (this.#count >= maxCount && !isThere())) {
      return Promise.reject(failures.full(`${this.#count} messages, ${this.#bytes} bytes`));
    }
    return new Promise((resolve, reject) => {
      const deadline = monotonicNow() + this.#settings.maxWait;
      const job: Job<I> = { ...item, deadline, resolve, reject };
      this.#count++;
      this.#bytes += bytes;
      const lane = this.#lanes.get(channel);
      if (lane !== undefined) {
        lane.queue.push(job);
        this.#timer ??= setTimeout(() => this.#expire(), this.#patience);
        return;
      }
      const opened: Lane<I> = { channel, queue: [job], lastError: undefined };
      this.#lanes.set(channel, opened);
      // With all that this turn sends to the channel.
      queueMicrotask(() => void this.#work(opened));
    });
  }

  /** Tries nothing again any more; what is under way settles. */
  close(): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }

  get #patience(): number {
    return patienceOf(this.#settings.maxWait);
  }

  async #work(lane: Lane<I>): Promise<void> {
    for (let failures = 0; lane.queue.length > 0; ) {
      const batch = this.#take(lane);
      let undone: Job<I>[];
      try {
        const outcomes = await this.#settings.call(batch);
        for (let i = 0; i < outcomes.length; i++) this.#settle(batch[i]!, outcomes[i]!);
        if (outcomes.length > 0) failures = 0;
        if (outcomes.length === batch.length) continue;
        undone = batch.slice(outcomes.length);
      } catch (error) {
        lane.lastError = error as Error;
        undone = batch.filter((job) => {
          if (this.#mayRepeat(error, job)) return true;
          this.#settle(job, error as Error);
          return false;
        });
      }
      if (undone.length === 0) continue;
      const delay = delayOf(failures++, AGAIN);
      const now = monotonicNow();
      const error = lane.lastError ?? this.#settings.failures.late('the store has stored nothing', undefined);
      undone = undone.filter((job) => {
        if (job.deadline >= now + delay && !this.#closing.signal.aborted) return true;
        this.#settle(job, error);
        return false;
      });
      if (undone.length === 0) continue;
      lane.queue.unshift(...undone);
      await pause(delay, this.#closing.signal);
    }
    this.#lanes.delete(lane.channel);
  }

  #take(lane: Lane<I>): Job<I>[] {
    if (lane.queue.length === 1) {
      const all = lane.queue;
      lane.queue = [];
      return all;
    }
    let bytes = 0;
    let weight = 0;
    let count = 0;
    for (const job of lane.queue) {
      bytes += job.payload.length;
      weight += this.#settings.weightOf(job);
      if (count > 0 && (weight > MAX_BATCH || bytes > MAX_BATCH_BYTES)) break;
      count++;
    }
    return lane.queue.splice(0, count);
  }

  #settle(job: Job<I>, outcome: Outcome): void {
    this.#count--;
    this.#bytes -= job.payload.length + OVERHEAD;
    if (typeof outcome === 'string') job.resolve(outcome);
    else job.reject(outcome);
  }

  /** What waited too long behind others is not sent any more. */
  #expire(): void {
    this.#timer = undefined;
    const now = monotonicNow();
    const patience = this.#patience;
    const grace = patience - this.#settings.maxWait;
    let next = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.values()) {
      const kept = lane.queue.findIndex(({ deadline }) => deadline + grace > now);
      for (const job of lane.queue.splice(0, kept === -1 ? lane.queue.length : kept)) {
        const cause = lane.lastError;
        const why = cause === undefined ? '' : `; ${cause.message}`;
        const what = `a message of ${lane.channel} waited ${patience} ms behind others, nothing was sent${why}`;
        this.#settle(job, this.#settings.failures.late(what, cause));
      }
      if (lane.queue.length > 0) next = Math.min(next, lane.queue[0]!.deadline + grace);
    }
    if (next === Number.POSITIVE_INFINITY || this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => this.#expire(), Math.max(1, next - now));
  }

  /** What was certainly not executed, or can't be executed twice. */
  #mayRepeat(error: unknown, { options }: I): boolean {
    const { failures } = this.#settings;
    if (failures.wasNotExecuted(error)) return true;
    return options?.idempotencyKey !== undefined && failures.isUnknown(error);
  }
}
