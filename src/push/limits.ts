/** Which limits make no sense, by themselves or together; and what follows from them. */
import { MAX_DELAY } from '../clock.ts';
import { checkNames } from '../option-names.ts';
import { DEFAULT_HEARTBEAT, DEFAULT_LIMITS, type Heartbeat, type Limits } from './options.ts';

/** Those that 0 does not turn off. */
const NEVER_OFF: readonly (keyof Limits)[] = ['message', 'outbox', 'subscriptions', 'helloTimeout', 'answer'];
/** Bytes of a frame besides a message's data or a topic's part in `hello`. */
const FRAME = 4096;
/** Bytes of a topic in `hello`: its name, as a position's key and in `topics`, and the position. */
const HELLO_TOPIC = 4096;
const MAX_QUEUED_FRAMES = 1000;

/** @throws {TypeError} saying which limit can't be, and why */
export function checkedLimits(given: Partial<Limits> = {}): Limits {
  checkNames('limits', given, DEFAULT_LIMITS);
  const limits = { ...DEFAULT_LIMITS, ...defined(given) };
  for (const [name, value] of Object.entries(limits) as [keyof Limits, number][]) {
    const least = NEVER_OFF.includes(name) ? 1 : 0;
    if (!Number.isSafeInteger(value) || value < least) {
      throw new TypeError(`limits.${name} is ${String(value)}, and must be a whole number from ${least}`);
    }
  }
  for (const name of ['helloTimeout', 'answer'] as const) {
    if (limits[name] > MAX_DELAY) throw new TypeError(`limits.${name} is over ${MAX_DELAY} ms`);
  }
  return limits;
}

/** @throws {TypeError} for times that can't be */
export function checkedHeartbeat(given: Partial<Heartbeat> = {}): Heartbeat {
  checkNames('heartbeat', given, DEFAULT_HEARTBEAT);
  const heartbeat = { ...DEFAULT_HEARTBEAT, ...defined(given) };
  for (const [name, value] of Object.entries(heartbeat)) {
    const least = name === 'ping' ? 0 : 1;
    if (!(value >= least && value <= MAX_DELAY)) {
      throw new TypeError(
        `heartbeat.${name} is ${String(value)}, and must be from ${least} to ${MAX_DELAY} ms`,
      );
    }
  }
  return heartbeat;
}

/** @throws {TypeError} for a time that can't be; undefined stays undefined */
export function checkedTime(name: string, value: number | undefined, least: number): number | undefined {
  if (value === undefined || (value >= least && value <= MAX_DELAY)) return value;
  throw new TypeError(`${name} is ${String(value)}, and must be from ${least} to ${MAX_DELAY} ms`);
}

/** @throws {TypeError} for what is no number of milliseconds above 0; undefined stays undefined */
export function checkedAge(name: string, value: number | undefined): number | undefined {
  if (value === undefined || (typeof value === 'number' && value > 0)) return value;
  throw new TypeError(`${name} is ${String(value)}, and must be a number of milliseconds above 0`);
}

/** Bytes of a frame other than `hello`: a message and what is around it. */
export function messageFrame({ message }: Limits): number {
  return message + FRAME;
}

/** Bytes of the largest frame that a client may send: a message, or a `hello` that names as many topics as it may. */
export function largestFrame(limits: Limits): number {
  return Math.max(messageFrame(limits), FRAME + (limits.subscriptions + 1) * HELLO_TOPIC);
}

/** What may wait of one session's frames until it is obeyed. */
export function queueLimits(limits: Limits): { frames: number; bytes: number } {
  return { frames: MAX_QUEUED_FRAMES, bytes: 2 * largestFrame(limits) };
}

function defined<T extends object>(given: T): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;
}
