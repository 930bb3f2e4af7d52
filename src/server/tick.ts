/**
 * The end of the current turn of the event loop, when everything that was put off is written. It is the
 * check phase of the same turn (setImmediate), so nothing waits for a timer or for another turn.
 */
import { AsyncResource } from 'node:async_hooks';
import { setImmediate } from '../clock.ts';

/** Counts turns in which something was written. */
export let turn = 0;

/** The turn that `time` is of. */
let timed = -1;
let time = 0;

/** What time it is, in milliseconds since 1970: asked once in a turn, as a clock costs. */
export function timeOfTurn(): number {
  if (timed === turn) return time;
  timed = turn;
  endTurnSoon();
  time = Date.now();
  return time;
}

/** What happens at the end of a turn is for many: it belongs to none of those that have asked for it. */
const ofNobody = new AsyncResource('tidings.turn');

/** The process ends: no turn has an end any more, so everything leaves at once. */
export let isLastTurn = false;

/** Those who look at what is about to leave, at the end of each turn in which something was written. */
const watchers = new Set<() => void>();

let scheduled = false;
let fanOut: (() => void) | null = null;
let flush: (() => void) | null = null;

/** Makes sure that `turn` counts on at the end of this one. */
export function endTurnSoon(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(endTurnOfNobody);
}

/**
 * Calls back at the end of every turn in which something was put off, before that leaves. May not throw. Returns what ends
 * it.
 */
export function watchTurns(look: () => void): () => void {
  watchers.add(look);
  return () => watchers.delete(look);
}

/** Before each write of many: the process may have been stopped since the last one. */
export function lookAgain(): void {
  if (watchers.size > 0) for (const look of watchers) look();
}

/** Calls back once at the end of this turn, with shared frames to hand to connections. */
export function fanOutAtEndOfTurn(callback: () => void): void {
  fanOut = callback;
  endTurnSoon();
}

/** Calls back once at the end of this turn, after shared frames were handed out, so that both leave together. */
export function flushAtEndOfTurn(callback: () => void): void {
  flush = callback;
  endTurnSoon();
}

// What was put off is not lost with `process.exit()`: plain sockets are written to at once, even then.
process.on('exit', () => {
  isLastTurn = true;
  endTurn();
});

function endTurnOfNobody(): void {
  ofNobody.runInAsyncScope(endTurn);
}

function endTurn(): void {
  scheduled = false;
  turn = (turn + 1) | 0;
  lookAgain();
  const dueFanOut = fanOut;
  fanOut = null;
  if (dueFanOut !== null) dueFanOut();
  const dueFlush = flush;
  flush = null;
  if (dueFlush !== null) dueFlush();
}
