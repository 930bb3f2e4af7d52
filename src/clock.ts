/**
 * Node's timers and its monotonic clock, as they were when this module was loaded.
 *
 * Test frameworks replace the global functions while a test runs (`mock.timers` of node:test, vitest, sinon).
 * What is on its way to a peer must not wait for a clock that stands still. So all code that runs on a server
 * takes them from here, and `Date` alone, which nothing waits for, is the global one.
 */
export const {
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  clearImmediate,
  queueMicrotask,
} = globalThis;

export const nextTick: typeof process.nextTick = process.nextTick.bind(process);

/** Milliseconds on a clock that never goes back. */
export const monotonicNow: () => number = performance.now.bind(performance);
