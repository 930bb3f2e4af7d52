/**
 * How late the event loop is: all that it has to do waits for so long. Measured for the whole process once somebody asks,
 * until nobody does any more.
 */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { clearInterval, setInterval } from '../clock.ts';

/** Milliseconds between two looks. Each costs some microseconds. */
const RESOLUTION = 20;
/** Milliseconds of one window. */
const WINDOW = 10_000;
/** Windows that are kept. */
const WINDOWS = 6;

/** In milliseconds. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const NONE: LoopDelay = { p50: 0, p99: 0, max: 0 };

let users = 0;
let monitor: IntervalHistogram | undefined;
let timer: NodeJS.Timeout | undefined;
let windows: LoopDelay[] = [];

/**
 * The worst of the last minute: so many may ask, each as often as once a minute, and none overlooks anything.
 *
 * @returns each figure of the window in which it was the highest
 */
export function loopDelay(): LoopDelay {
  const all = monitor === undefined ? windows : [...windows, delayIn(monitor)];
  return all.reduce(worse, NONE);
}

/** Begins to measure. Returns what ends it; others may go on. */
export function watchLoop(): () => void {
  if (users++ === 0) {
    monitor = monitorEventLoopDelay({ resolution: RESOLUTION });
    monitor.enable();
    timer = setInterval(endWindow, WINDOW).unref();
  }
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    if (--users > 0) return;
    clearInterval(timer);
    monitor?.disable();
    monitor = undefined;
    windows = [];
  };
}

function endWindow(): void {
  if (monitor === undefined) return;
  windows.push(delayIn(monitor));
  if (windows.length > WINDOWS) windows.shift();
  monitor.reset();
}

/** What the monitor says is how long a look took to come: its own time is taken off. */
function delayIn(of: IntervalHistogram): LoopDelay {
  if (of.count === 0) return NONE;
  const late = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION);
  return { p50: late(of.percentile(50)), p99: late(of.percentile(99)), max: late(of.max) };
}

function worse(a: LoopDelay, b: LoopDelay): LoopDelay {
  return { p50: Math.max(a.p50, b.p50), p99: Math.max(a.p99, b.p99), max: Math.max(a.max, b.max) };
}
