/**
 * A monotonic clock that a test can hold. src/clock.ts takes the clock when it is loaded, so this file has to be
 * imported before anything of src/.
 */
import type { TestContext } from 'node:test';

const real = performance.now.bind(performance);
let held: number | undefined;
performance.now = () => held ?? real();

/** Lets the servers' time go by only when the test says so: nobody is hurried, and nobody waits. */
export function holdClock(t: TestContext): { pass(milliseconds: number): void; release(): void } {
  // Whole, so that sums and differences are exact.
  held = Math.ceil(real());
  const release = (): void => {
    held = undefined;
  };
  t.after(release);
  return {
    pass(milliseconds) {
      held = (held ?? real()) + milliseconds;
    },
    release,
  };
}
