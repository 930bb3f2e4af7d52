/** What is called when something was sent, or will never be: each by itself, in the context of whoever gave it. */
import { AsyncResource } from 'node:async_hooks';
import { release } from './memory.ts';
import { throwLater } from './throw-later.ts';

/** Called once: without an error when the frame was handed to the operating system. */
export type SendCallback = (error?: Error) => void;

/** A callback that is called later runs in the async context of whoever gave it. */
export function inItsContext(callback: SendCallback): SendCallback {
  const resource = new AsyncResource('tidings.send');
  return (error) => resource.runInAsyncScope(callback, undefined, error);
}

/** Gives a loan of `memory` back, too. */
export function releasing(loan: Uint8Array, callback: SendCallback | undefined): SendCallback {
  return (error) => {
    release(loan);
    if (callback !== undefined) callback(error);
  };
}

/** Each on its own: what one of them throws surfaces as such, and the others are called. */
export function callAll(callbacks: SendCallback[], error?: Error | null): void {
  for (const callback of callbacks) {
    try {
      // null where there is none, as Node has it.
      callback(error as Error | undefined);
    } catch (thrown) {
      throwLater(thrown);
    }
  }
}
