/** Calling the methods of an application's handler: what they throw, now or later, ends nothing but its own. */

import { inspect } from 'node:util';

/** Where there is nobody left to be told of a failure: it becomes a warning of the process. */
export function tellHandler(call: () => unknown): void {
  attempt(call, warn);
}

/** A handler's method may be an async function; what it throws comes later. */
export function attempt(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = call();
    if (result !== undefined) whenRejected(result, failed);
  } catch (error) {
    failed(error);
  }
}

export function whenRejected(result: unknown, failed: (error: unknown) => void): void {
  if (typeof (result as Partial<PromiseLike<unknown>> | null)?.then === 'function') {
    Promise.resolve(result).catch(failed);
  }
}

export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(typeof thrown === 'string' ? thrown : inspect(thrown));
}

function warn(thrown: unknown): void {
  process.emitWarning(asError(thrown));
}
