import { nextTick } from '../clock.ts';

/**
 * What the application's code has thrown is not the connection's: it surfaces as an uncaught exception, and what
 * was going on goes on.
 */
export function throwLater(error: unknown): void {
  nextTick(() => {
    throw error;
  });
}
