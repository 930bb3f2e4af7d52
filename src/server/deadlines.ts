/**
 * Times by which something must have happened: the opening handshake, the closing handshake, a refusal
 * being read. They don't keep the process going.
 */
import { clearTimeout, MAX_DELAY, setImmediate, setTimeout } from '../clock.ts';

export interface Expirable {
  /** Owned by this module. Starts as null. */
  deadline: NodeJS.Timeout | null;
  /** Called once, when the time is over. Must not throw. */
  expire(): void;
}

/**
 * Gives `item` this many milliseconds from now; an earlier deadline of the item is forgotten. More than 24 days,
 * or Infinity, is no limit.
 */
export function arm(item: Expirable, ms: number): void {
  disarm(item);
  if (ms > MAX_DELAY) return;
  item.deadline = setTimeout(expire, ms, item).unref();
}

export function disarm(item: Expirable): void {
  if (item.deadline === null) return;
  clearTimeout(item.deadline);
  item.deadline = null;
}

/** Where the process stood still, what came in time is read first, and may disarm the item. */
function expire(item: Expirable): void {
  const over = item.deadline;
  setImmediate(() => {
    if (item.deadline !== over) return;
    item.deadline = null;
    item.expire();
  });
}
