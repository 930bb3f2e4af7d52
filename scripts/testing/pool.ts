/** Runs test files side by side: as many as the processors have time for. */
import { availableParallelism, cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

/** Most tests wait most of the time; but even they need a processor when what they wait for has come. */
const MOST = 5;
/** Of the processors' time: where less than that is idle, no further file is begun. */
const ENOUGH = 0.2;
/** Milliseconds over which the processors are watched before one more file is begun. */
const WINDOW = 200;

/**
 * Calls `run` for each item, in order; ends when all have ended.
 *
 * @param weight how many others an item counts for
 * @throws what a `run` threw: then no other begins
 */
export async function pool<Item>(
  items: Item[],
  run: (item: Item) => Promise<void>,
  weight: (item: Item) => number = () => 1,
): Promise<void> {
  const waiting = [...items];
  const processors = availableParallelism();
  const running = new Set<Promise<void>>();
  const idle = idleTime();
  const errors: unknown[] = [];
  let load = 0;
  while (waiting.length > 0 && errors.length === 0) {
    const next = weight(waiting[0]!);
    const hasRoom = running.size < processors || load + next <= processors * MOST;
    if (hasRoom && (running.size < processors || idle() > ENOUGH)) {
      load += next;
      const one = run(waiting.shift()!)
        .catch((error: unknown) => void errors.push(error))
        .finally(() => {
          load -= next;
          running.delete(one);
        });
      running.add(one);
    }
    if (running.size >= processors) await pause(WINDOW);
  }
  await Promise.all(running);
  if (errors.length > 0) throw errors[0];
}

/** @returns what tells the share of the processors' time that was idle since it was last called */
function idleTime(): () => number {
  const times = () =>
    cpus().reduce(
      (sum, { times: { user, nice, sys, idle, irq } }) => ({
        idle: sum.idle + idle,
        all: sum.all + user + nice + sys + idle + irq,
      }),
      { idle: 0, all: 0 },
    );
  let last = times();
  return () => {
    const now = times();
    const share = (now.idle - last.idle) / (now.all - last.all);
    last = now;
    // Where the system does not tell, as if they were busy by half.
    return Number.isNaN(share) ? 0.5 : share;
  };
}
