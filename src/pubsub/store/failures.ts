/**
 * What it means when a call to a store fails, and how it is said that none was made: each store has its own errors. And how
 * long it is asked again.
 */
import { retry } from '../../waiting.ts';
import { DamagedChannelError } from './broker.ts';

/** Milliseconds between two attempts. */
export const AGAIN = { min: 25, max: 400 };
/** Milliseconds behind others, where nothing is tried again. */
const LEAST_WAIT = 10_000;

export interface Failures {
  /** Nothing was sent, as too much waits. @param held how much that is */
  full(held: string): Error;
  /** Nothing was sent, as it was not its turn in time. @param what could not be sent */
  late(what: string, cause?: Error): Error;
  /** Whether what failed with this error was certainly not done, and may be asked for again. */
  wasNotExecuted(error: unknown): boolean;
  /** Whether it may have been done. */
  isUnknown(error: unknown): boolean;
  /** Whether it is the store's, whatever was asked, and another attempt may succeed. */
  mayPass(error: unknown): boolean;
  /** Whether the store has no such command, or not for this user. */
  isForbidden(error: unknown): boolean;
}

/** Whether what has failed with this error can never be stored: as `BrokerListener.intake` rejects. */
export function isFinal(error: unknown): error is Error {
  return [TypeError, RangeError, DamagedChannelError].some((kind) => error instanceof kind);
}

/** Milliseconds that something waits behind others. @param maxWait for which it would be tried again */
export function patienceOf(maxWait: number): number {
  return maxWait || LEAST_WAIT;
}

export interface Trying {
  /** Milliseconds in all: no attempt begins after that. */
  maxWait: number;
  /** Whether it may be done twice. */
  isHarmless: boolean;
  /** Aborted: no attempt begins any more. */
  signal: AbortSignal;
}

/** Asks again while the store is away or refuses, as long as that does no harm. */
export function tried<T>(
  { wasNotExecuted, isUnknown }: Failures,
  attempt: () => Promise<T>,
  { maxWait, isHarmless, signal }: Trying,
): Promise<T> {
  return retry(attempt, {
    ...AGAIN,
    maxWait,
    signal,
    mayRepeat: (error) => wasNotExecuted(error) || (isHarmless && isUnknown(error)),
  });
}
