/**
 * Times by which something must have happened: the opening handshake, the closing handshake, a refusal
 * being read. One timer serves all of them, however many connections there are.
 */
import { clearTimeout, monotonicNow, setTimeout } from '../clock.ts';

export interface Expirable {
  /** Owned by this module: the queue that the item waits in. Starts as null. */
  deadline: DeadlineQueue | null;
  /** Called once, when the time is over. Must not throw. */
  expire(): void;
}

/**
 * Items that wait equally long, in the order in which they came, which is the order in which they are due.
 */
interface DeadlineQueue {
  readonly ms: number;
  readonly due: Map<Expirable, number>;
}

/** Items due this close together are handled in one go. */
const GRANULARITY_MS = 10;

const queues = new Map<number, DeadlineQueue>();
let timer: NodeJS.Timeout | undefined;
let timerDue = Number.POSITIVE_INFINITY;

/** Gives `item` this many milliseconds from now; an earlier deadline of the item is forgotten. */
export function arm(item: Expirable, ms: number): void {
  disarm(item);
  let queue = queues.get(ms);
  if (queue === undefined) {
    queue = { ms, due: new Map() };
    queues.set(ms, queue);
  }
  const due = monotonicNow() + ms;
  queue.due.set(item, due);
  item.deadline = queue;
  if (due < timerDue) schedule(due);
}

export function disarm(item: Expirable): void {
  const queue = item.deadline;
  if (queue === null) return;
  item.deadline = null;
  queue.due.delete(item);
}

function schedule(due: number): void {
  clearTimeout(timer);
  timerDue = due;
  timer = setTimeout(sweep, Math.max(GRANULARITY_MS, due - monotonicNow()));
  timer.unref();
}

function sweep(): void {
  const horizon = monotonicNow() + GRANULARITY_MS;
  timerDue = Number.POSITIVE_INFINITY;
  let next = Number.POSITIVE_INFINITY;
  for (const queue of queues.values()) {
    for (const [item, due] of queue.due) {
      if (due > horizon) {
        next = Math.min(next, due);
        break;
      }
      disarm(item);
      item.expire();
    }
    // An empty queue of a duration that nobody uses any more must not stay for ever.
    if (queue.due.size === 0) queues.delete(queue.ms);
  }
  if (next < timerDue) schedule(next);
}
