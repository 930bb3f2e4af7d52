/** Waiting: for a time, for something within a time, which goes on when it took longer, for one's turn, and for another attempt. */
import { clearImmediate, clearTimeout, monotonicNow, setImmediate, setTimeout } from './clock.ts';
import { Queue } from './queue.ts';

/** It took longer than it may. */
export class TimeoutError extends Error {
  constructor(milliseconds: number) {
    super(`no answer within ${Math.round(milliseconds)} ms`);
    this.name = 'TimeoutError';
  }
}

/**
 * Calls `late` after some milliseconds, once what has come until then was read. Where the process stood still, timers are
 * over before it has seen the answer that has been there for long.
 *
 * @returns calls it off
 */
export function afterReading(milliseconds: number, late: () => void): () => void {
  let immediate: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    // The loop reads from sockets between timers and this.
    immediate = setImmediate(late);
  }, milliseconds);
  return () => {
    clearTimeout(timer);
    clearImmediate(immediate);
  };
}

/** What the promise gives. @throws {TimeoutError} where it takes longer, or what the promise rejects with */
export async function inTime<T>(milliseconds: number, promise: PromiseLike<T>): Promise<T> {
  let callOff = (): void => {};
  const timeout = new Promise<never>((_resolve, reject) => {
    callOff = afterReading(milliseconds, () => reject(new TimeoutError(milliseconds)));
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    callOff();
  }
}

/** What the promise gives; `undefined` if it fails or takes longer. */
export function within<T>(milliseconds: number, promise: PromiseLike<T>): Promise<T | undefined> {
  return inTime(milliseconds, promise).catch(() => undefined);
}

/** Whether it happens within the time. Rejects where the event does. */
export async function isIn(event: PromiseLike<unknown>, milliseconds: number): Promise<boolean> {
  try {
    await inTime(milliseconds, event);
    return true;
  } catch (error) {
    if (error instanceof TimeoutError) return false;
    throw error;
  }
}

/** Lets only so many do something at a time; the others wait for their turn. */
export class Turns {
  readonly #most: number;
  readonly #waiting: Queue<() => void> = new Queue();
  #running = 0;

  constructor(most: number) {
    this.#most = most;
  }

  async run<T>(work: () => T | PromiseLike<T>): Promise<T> {
    if (this.#running < this.#most) this.#running++;
    else await new Promise<void>((next) => this.#waiting.add(next));
    try {
      return await work();
    } finally {
      // The place goes straight to who waits longest.
      const next = this.#waiting.take();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

/** Milliseconds before the second attempt and at most. */
export interface Backoff {
  min: number;
  max: number;
}

/** Doubles with each attempt, from 0 on. Half of it is chance, so that many don't come back as one. */
export function delayOf(attempt: number, { min, max }: Backoff): number {
  const full = Math.min(max, min * 2 ** Math.min(attempt, 30));
  return full / 2 + (Math.random() * full) / 2;
}

/** Resolves after some milliseconds, or as soon as `signal` is aborted. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const proceed = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', proceed);
      resolve();
    };
    const timer = setTimeout(proceed, milliseconds);
    signal?.addEventListener('abort', proceed, { once: true });
  });
}

export interface RetryOptions extends Backoff {
  /** Milliseconds in all: no attempt begins after that. */
  maxWait: number;
  /** Whether another attempt may help, and do no harm. */
  mayRepeat(error: unknown): boolean;
  /** Aborted: no attempt begins any more. */
  signal?: AbortSignal;
}

/**
 * Calls `attempt` with 0, 1, 2 … until it succeeds.
 *
 * @throws the last attempt's error, where no other may follow
 */
export async function retry<T>(
  attempt: (count: number) => Promise<T>,
  { maxWait, mayRepeat, signal, ...backoff }: RetryOptions,
): Promise<T> {
  const deadline = monotonicNow() + maxWait;
  for (let count = 0; ; count++) {
    try {
      return await attempt(count);
    } catch (error) {
      const delay = delayOf(count, backoff);
      if (!mayRepeat(error) || signal?.aborted || monotonicNow() + delay > deadline) throw error;
      await pause(delay, signal);
      if (signal?.aborted) throw error;
    }
  }
}
