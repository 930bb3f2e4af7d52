/** The settings of a source that are the same for all kinds. */
import { checkNames, type Names } from '../option-names.ts';
import type { Sending, SourceMessage } from './driver.ts';

/** What `map` may give. */
export type Mapped = Sending | readonly Sending[] | undefined | void;

/** What `source` takes besides the place of the messages. All of it is optional. */
export interface SourceOptions {
  /**
   * Says what a message asks to be sent: one thing, several, or nothing (`undefined`, or an empty array): then it is
   * acknowledged and forgotten. Called in the order of the messages; of several at a time, where it gives promises. What it
   * throws or rejects with, and no answer within `mapTimeout`, is the end of that message: it goes to the dead letters.
   * Default: messages are JSON as the admin API takes it, such as `{"user": "alice", "data": …}`.
   */
  map?(message: SourceMessage): Mapped | Promise<Mapped>;
  /** Milliseconds that `map` may take for a message. What comes behind it waits for as long. Default 10,000. */
  mapTimeout?: number;
  /** Messages that are under way at a time. Default 500. */
  prefetch?: number;
  /** Bytes of them, by one message more at most. Default 8 MiB. */
  prefetchBytes?: number;
  /** Milliseconds in which what is under way is stored and acknowledged when the source is closed. Default 5,000. */
  closeTimeout?: number;
  /**
   * Names the source in log lines and metrics, and begins the idempotency keys of its messages: it has to be the same on all
   * instances, and to stay. Of letters, digits, `.`, `_` and `-`, at most 64. Default: made of the kind and its queue or table.
   */
  name?: string;
}

const OPTIONS: Names<SourceOptions> = {
  map: true,
  mapTimeout: true,
  prefetch: true,
  prefetchBytes: true,
  closeTimeout: true,
  name: true,
};

/** The same, once they were looked at. */
export interface EngineSettings {
  readonly map: SourceOptions['map'];
  readonly mapTimeout: number;
  readonly prefetch: number;
  readonly prefetchBytes: number;
  readonly closeTimeout: number;
  readonly name: string | undefined;
}

const MAX_PREFETCH = 65_535;
const MAX_DELAY = 2 ** 31 - 1;

/** @throws {TypeError} or {RangeError} for options that make no sense */
export function checkedOptions(options: SourceOptions): EngineSettings {
  checkNames('source', options, OPTIONS);
  const { map, name } = options;
  if (map !== undefined && typeof map !== 'function') throw new TypeError('map is a function');
  if (name !== undefined && (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name))) {
    throw new TypeError('the name of a source is 1 to 64 letters, digits, ., _ and -');
  }
  return {
    map,
    name,
    mapTimeout: whole('mapTimeout', options.mapTimeout ?? 10_000, 1, MAX_DELAY),
    prefetch: whole('prefetch', options.prefetch ?? 500, 1, MAX_PREFETCH),
    prefetchBytes: whole(
      'prefetchBytes',
      options.prefetchBytes ?? 8 * 1024 * 1024,
      1,
      Number.MAX_SAFE_INTEGER,
    ),
    closeTimeout: whole('closeTimeout', options.closeTimeout ?? 5_000, 0, MAX_DELAY),
  };
}

/** @throws {RangeError} for anything but a whole number from `min` to `max` */
export function whole(name: string, value: unknown, min: number, max: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max)
    return value as number;
  throw new RangeError(`${name} must be a whole number from ${min} to ${max}`);
}
