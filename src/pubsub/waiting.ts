/** Waiting, for all of src/pubsub: how long before another attempt, trying again, and not waiting for ever. */
import { clearTimeout, monotonicNow, setTimeout } from '../clock.ts';

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

/** As `event`, but rejects after some milliseconds with `late()`. What it was goes on. */
export async function inTime<T>(event: Promise<T>, milliseconds: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
  });
  try {
    return await Promise.race([event, overdue]);
  } finally {
    clearTimeout(timer);
  }
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
