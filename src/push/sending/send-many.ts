/**
 * One message to many users: encoded once, so many of them on their way at a time that they share the calls to the store,
 * and never more in memory, however many there are.
 */
import { setImmediate } from '../../clock.ts';
import type { Receipt } from '../../pubsub/store/broker.ts';
import { within } from '../../waiting.ts';
import { explain } from '../explain.ts';
import type { Scheduled } from './schedule.ts';

/** What became of the message to one user: a receipt, or an error. */
export interface UserResult {
  /** The user's name. */
  user: string;
  /** Once the store has it; with `at`, once the store keeps it until then. */
  receipt?: Receipt | Scheduled;
  /** As `send` rejects. */
  error?: Error;
}

/** What `sendMany` resolves with. */
export interface SentMany {
  /** Users whose message is stored, or scheduled. */
  sent: number;
  /** Of these: to whom it was sent before, with this idempotency key. */
  duplicates: number;
  /** Users to whom it could not be sent, or of whom that is not known. */
  failed: number;
}

/** Users whose messages are on their way at a time. */
const MOST = 1024;
/** Bytes of these messages. */
const MOST_BYTES = 4 * 1024 * 1024;
/** Bytes that a message counts besides its payload. */
const OVERHEAD = 200;
/** Milliseconds that what gives the users may take to end. */
const END_TIMEOUT = 500;

/**
 * @param size bytes of the message
 * @throws {TypeError} for what gives no users, what `each` throws, what gives the users throws, and the signal's reason
 */
export async function sendMany(
  users: Iterable<string> | AsyncIterable<string>,
  size: number,
  send: (user: string) => Promise<Receipt | Scheduled>,
  each: (result: UserResult, index: number) => unknown,
  signal: AbortSignal | undefined,
): Promise<SentMany> {
  if (
    typeof users !== 'object' ||
    users === null ||
    !(Symbol.iterator in users || Symbol.asyncIterator in users)
  ) {
    throw new TypeError('users is an array of names, or something else to iterate over');
  }
  if (typeof each !== 'function') throw new TypeError('each is a function');
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError('signal is an AbortSignal');
  const most = Math.max(1, Math.min(MOST, Math.floor(MOST_BYTES / (size + OVERHEAD))));
  const sum: SentMany = { sent: 0, duplicates: 0, failed: 0 };
  let underWay = 0;
  let wake: (() => void) | undefined;
  let failure: { error: unknown } | undefined;
  let stop: (() => void) | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop?.();
  };
  const settle = (): void => {
    underWay--;
    // Half of them together, so that what follows can share calls again.
    if (underWay <= most / 2) wake?.();
  };
  const one = async (user: string, index: number): Promise<void> => {
    let result: UserResult;
    try {
      const receipt = await send(user);
      sum.sent++;
      if (receipt.duplicate) sum.duplicates++;
      result = { user, receipt };
    } catch (error) {
      sum.failed++;
      result = { user, error: error instanceof Error ? error : new Error(explain(error)) };
    }
    try {
      await each(result, index);
    } catch (error) {
      fail(error);
    }
    settle();
  };
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise<void>((resolve) => (wake = resolve));
    wake = undefined;
  };
  const isOver = (): boolean => failure !== undefined || signal?.aborted === true;
  let count = 0;
  const next = async (user: string): Promise<void> => {
    underWay++;
    void one(user, count++);
    if (underWay >= most) await until(() => underWay <= most / 2);
    // A store in this process answers at once: others have their turn, too.
    if (count % MOST === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  };
  const aborted = (): void => stop?.();
  signal?.addEventListener('abort', aborted);
  try {
    if (Symbol.asyncIterator in users) {
      await asTheyCome(users, next, isOver, (proceed) => {
        stop = proceed;
      });
    } else {
      for (const user of users) {
        if (isOver()) break;
        await next(user);
        if (isOver()) break;
      }
    }
  } catch (error) {
    // What gives the users has failed: what is on its way is waited for.
    fail(error);
  } finally {
    signal?.removeEventListener('abort', aborted);
  }
  await until(() => underWay === 0);
  if (failure !== undefined) throw failure.error;
  signal?.throwIfAborted();
  return sum;
}

/** @param onStop is given what ends the wait for a user, who may never come */
async function asTheyCome(
  users: AsyncIterable<string>,
  next: (user: string) => Promise<void>,
  isOver: () => boolean,
  onStop: (stop: () => void) => void,
): Promise<void> {
  const iterator = users[Symbol.asyncIterator]();
  while (!isOver()) {
    const given = await new Promise<IteratorResult<string> | undefined>((resolve, reject) => {
      onStop(() => resolve(undefined));
      Promise.resolve(iterator.next()).then(resolve, reject);
    });
    if (given === undefined) break;
    if (given.done) return;
    if (isOver()) break;
    await next(given.value);
  }
  // What gives no user may not end, either; and why it is over is known.
  await within(END_TIMEOUT, ended(iterator));
}

async function ended(iterator: AsyncIterator<string>): Promise<void> {
  await iterator.return?.();
}
