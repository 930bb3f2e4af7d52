/** Of a machine's sleep nobody tells a page that was shown all the time: a clock does. Hidden pages have slow timers anyway. */
import type { Talk } from './talk.ts';
import { isHidden } from './wake.ts';

/** Milliseconds between looks at the clock, and by how much a look must be late for the machine to have slept. */
const LOOK = 2_000;
const SLEPT = 5_000;

export function addSleep({ add, connection }: Talk): void {
  let clock: ReturnType<typeof setInterval> | undefined;
  const watch = (): void => {
    let last = Date.now();
    clock ??= setInterval(() => {
      const slept = Date.now() - last - LOOK;
      last = Date.now();
      if (slept > SLEPT && !isHidden()) connection.wake();
    }, LOOK);
  };
  add({
    // Also before the next attempt, which may be far away.
    lost: watch,
    closed() {
      clearInterval(clock);
      clock = undefined;
    },
  });
  watch();
}
