/** What the application throws where nobody of the application's is there to catch it. */
import { nextTick } from '../clock.ts';

/** Throws it where it ends no more than its own call: as an uncaught exception of the process, in the next tick. */
export function surface(error: unknown): void {
  nextTick(() => {
    throw error;
  });
}
