/**
 * Times by which something must have happened: the opening handshake, the closing handshake, a refusal
 * being read. They don't keep the process going.
 */
import { clearTimeout, setTimeout } from '../clock.ts';

export interface Expirable {
  /** Owned by this module. Starts as null. */
  deadline: NodeJS.Timeout | null;
  /** Called once, when the time is over. Must not throw. */
  expire(): void;
}

/** Milliseconds: 24 days. Node takes a longer time for 1 ms. */
const LONGEST = 2 ** 31 - 1;

/**
 * Gives `item` this many milliseconds from now; an earlier deadline of the item is forgotten. More than 24 days,
 * or Infinity, is no limit.
 */
export function arm(item: Expirable, ms: number): void {
  disarm(item);
  if (ms > LONGEST) return;
  item.deadline = setTimeout(expire, ms, item).unref();
}

export function disarm(item: Expirable): void {
  if (item.deadline === null) return;
  clearTimeout(item.deadline);
  item.deadline = null;
}

function expire(item: Expirable): void {
  item.deadline = null;
  item.expire();
}
