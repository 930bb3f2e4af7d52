/**
 * Node's timers and its monotonic clock, as they were when this module was loaded.
 *
 * Test frameworks replace the global functions while a test runs (`mock.timers` of node:test, vitest, Jest, sinon).
 * What is on its way to a peer must not wait for a clock that stands still. So all code that runs on a server
 * takes them from here, and `Date` alone, which nothing waits for, is the global one.
 *
 * Where they were replaced before, the originals are taken from sinon's fakes, which vitest and Jest use as well.
 * node:test's don't tell theirs: there tidings has to be loaded first.
 */
export const setTimeout: typeof globalThis.setTimeout = original(globalThis, 'setTimeout');
export const clearTimeout: typeof globalThis.clearTimeout = original(globalThis, 'clearTimeout');
export const setInterval: typeof globalThis.setInterval = original(globalThis, 'setInterval');
export const clearInterval: typeof globalThis.clearInterval = original(globalThis, 'clearInterval');
export const setImmediate: typeof globalThis.setImmediate = original(globalThis, 'setImmediate');
export const clearImmediate: typeof globalThis.clearImmediate = original(globalThis, 'clearImmediate');
export const queueMicrotask: typeof globalThis.queueMicrotask = original(globalThis, 'queueMicrotask');
export const nextTick: typeof process.nextTick = original(process, 'nextTick').bind(process);

const performance = original(globalThis, 'performance');
/** Milliseconds on a clock that never goes back. */
export const monotonicNow: () => number = performance.now.bind(performance);
/** The same clock in milliseconds since 1970. It is not set while the process runs, as `Date` may be. */
export const steadyNow = (): number => performance.timeOrigin + performance.now();

/** The longest delay of a timer, in milliseconds: 24 days. Node takes a longer one for 1 ms. */
export const MAX_DELAY = 2 ** 31 - 1;

/** A fake of sinon's has its clock, and that has under `_name` what was there before. */
function original<T extends object, N extends keyof T & string>(holder: T, name: N): T[N] {
  const { clock } = holder[name] as { clock?: Record<string, unknown> };
  return (clock?.[`_${name}`] ?? holder[name]) as T[N];
}
