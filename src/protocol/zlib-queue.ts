/**
 * The way to zlib's thread pool. It is one for the process, as the pool is: many calls at once fragment the
 * heap badly and keep file and DNS work from running.
 */

type Task = (done: () => void) => void;

const waiting: Task[] = [];
let running = 0;

/** Runs the task when fewer than `limit` are running; the task calls `done` once. First come, first served. */
export function runInZlibQueue(limit: number, task: Task): void {
  if (running < limit) start(task);
  else waiting.push(task);
}

function start(task: Task): void {
  running++;
  task(finished);
}

function finished(): void {
  running--;
  const next = waiting.shift();
  if (next !== undefined) start(next);
}
