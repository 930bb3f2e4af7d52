/** Waiting that ends. What was waited for goes on. */
import { clearTimeout, setTimeout } from './clock.ts';

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
