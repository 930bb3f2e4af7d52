/** Runs test files side by side: as many as the processors have time for. */
import { availableParallelism, cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

/** How many are run side by side, by processor: `least` however busy the processors are, more while these have time. */
interface Lane {
  least: number;
  most: number;
}
/** Compilers, browsers, programs: a few of them take all the time that there is. */
const BUSY: Lane = { least: 0.5, most: 2 };
/** What waits for timers and for others; but even that needs a processor when what it waits for has come. */
const WAITING: Lane = { least: 2, most: 8 };

/** Of the processors' time: where less than that is idle, no further item is begun. */
const ENOUGH = 0.2;
/** Milliseconds over which the processors are watched before one more item is begun. */
const WINDOW = 200;

/**
 * Calls `run` for each item; ends when all have ended. Of those that are busy each is begun in its turn, and of the others:
 * the ones wait while the others work, so that neither are left to the end.
 *
 * @throws what a `run` threw: then no other begins
 */
export async function pool<Item>(
  items: Item[],
  run: (item: Item) => Promise<void>,
  isBusy: (item: Item) => boolean = () => false,
): Promise<void> {
  const processors = availableParallelism();
  const lane = ({ least, most }: Lane, items: Item[]) => ({
    least: Math.ceil(least * processors),
    most: most * processors,
    ahead: items,
    running: 0,
  });
  const lanes = [
    lane(BUSY, items.filter(isBusy)),
    lane(
      WAITING,
      items.filter((item) => !isBusy(item)),
    ),
  ];
  const running = new Set<Promise<void>>();
  const idle = idleTime();
  const errors: unknown[] = [];
  for (;;) {
    const open = lanes.filter(({ ahead }) => ahead.length > 0);
    if (open.length === 0 || errors.length > 0) break;
    const hasTime = idle() > ENOUGH;
    const next =
      open.find(({ running, least }) => running < least) ??
      (hasTime ? open.find(({ running, most }) => running < most) : undefined);
    if (next !== undefined) {
      next.running++;
      const one = run(next.ahead.shift()!)
        .catch((error: unknown) => void errors.push(error))
        .finally(() => {
          next.running--;
          running.delete(one);
        });
      running.add(one);
    }
    // What has just begun has yet to show how busy it keeps them.
    await pause(WINDOW);
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
