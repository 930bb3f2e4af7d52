/**
 * The way to zlib's thread pool. It is one for the process, as the pool is: many calls at once fragment the
 * heap badly and keep file and DNS work from running.
 */

import { AsyncResource } from 'node:async_hooks';
import { deflateRaw, deflateRawSync, inflateRaw, inflateRawSync, type ZlibOptions } from 'node:zlib';

type Done = (error: Error | null, result: Buffer) => void;

/** As deflateRaw. Options that zlib does not know are an error as well. */
export function deflateLater(data: Buffer, options: ZlibOptions, done: Done): void {
  callLater(deflateRaw, deflateRawSync, data, options, done);
}

/** As inflateRaw. */
export function inflateLater(data: Buffer, options: ZlibOptions, done: Done): void {
  callLater(inflateRaw, inflateRawSync, data, options, done);
}

function callLater(
  inPool: typeof deflateRaw,
  atOnce: typeof deflateRawSync,
  data: Buffer,
  options: ZlibOptions,
  done: Done,
): void {
  let error: Error | null = null;
  let result = data.subarray(0, 0);
  try {
    // Node tells the end of a call of the pool through process.nextTick. Where a test framework has replaced that (the
    // fakes of sinon, vitest and Jest have a clock), the end is lost, and with it the call's place in the queue.
    if (!('clock' in process.nextTick)) {
      inPool(data, options, done);
      return;
    }
    result = atOnce(data, options);
  } catch (thrown) {
    error = thrown as Error;
  }
  // Not queueMicrotask, which is replaced, too.
  void Promise.resolve().then(() => done(error, result));
}

/** A call that waits for its turn, or has had it. */
export interface ZlibTurn {
  /** Gives up the place, at once. Does nothing for a call that was started: its end frees the place. */
  cancel(): void;
}

/** Starts a call, which calls `release` once when it is over. */
type Start = (release: () => void) => void;

/** A list linked both ways, so that whoever gives up leaves it at once, however many wait. */
class Waiting implements ZlibTurn {
  start: Start;
  previous: Waiting | undefined;
  next: Waiting | undefined;
  isWaiting = true;

  constructor(start: Start) {
    this.start = start;
  }

  cancel(): void {
    if (this.isWaiting) remove(this);
  }
}

const started: ZlibTurn = { cancel() {} };

let first: Waiting | undefined;
let last: Waiting | undefined;
let running = 0;
let isStarting = false;

/**
 * Starts the call while fewer than `limit` are running, or else in turn, one whenever one ends.
 *
 * @param limit 0 or less for none
 */
export function inZlibQueue(limit: number, start: Start): ZlibTurn {
  if (!(limit > 0) || running < limit) {
    running++;
    start(release);
    return started;
  }
  // In its own async context, not in that of the call whose end lets it start.
  const waiting = new Waiting(AsyncResource.bind(start, 'tidings.zlib'));
  waiting.previous = last;
  if (last === undefined) first = waiting;
  else last.next = waiting;
  last = waiting;
  return waiting;
}

function release(): void {
  running--;
  // A loop, not a recursion: a call may be over before `start` returns.
  if (isStarting) return;
  isStarting = true;
  const most = running + 1;
  try {
    while (first !== undefined && running < most) {
      const { start } = first;
      remove(first);
      running++;
      start(release);
    }
  } finally {
    isStarting = false;
  }
}

function remove(waiting: Waiting): void {
  const { previous, next } = waiting;
  if (previous === undefined) first = next;
  else previous.next = next;
  if (next === undefined) last = previous;
  else next.previous = previous;
  waiting.isWaiting = false;
  waiting.start = nothing;
  waiting.previous = waiting.next = undefined;
}

function nothing(): void {}
