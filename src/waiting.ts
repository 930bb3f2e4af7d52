/** Waiting: for something within a time, which goes on when it took longer, and for one's turn. */
import { clearTimeout, setTimeout } from './clock.ts';
import { Queue } from './server/queue.ts';

/** It took longer than it may. */
export class TimeoutError extends Error {
  constructor(milliseconds: number) {
    super(`no answer within ${milliseconds} ms`);
    this.name = 'TimeoutError';
  }
}

/** What the promise gives. @throws {TimeoutError} where it takes longer, or what the promise rejects with */
export async function inTime<T>(milliseconds: number, promise: PromiseLike<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(milliseconds)), milliseconds);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
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
