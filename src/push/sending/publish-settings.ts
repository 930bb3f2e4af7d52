/** What is said with a message that is sent: until when it lives, what it replaces, when it is sent, what is waited for. */
import { checkNames, type Names } from '../../option-names.ts';
import { keyProblem, replacesProblem, ttlProblem, windowProblem } from '../talk/names.ts';
import { checkedAt } from './schedule.ts';
import type { UserResult } from './send-many.ts';

const CONFIRM: readonly unknown[] = ['stored', 'replicated', 'acked'];

/** What `send` and `publish` take besides the message. */
export interface PublishSettings {
  /** The same key for the same user or topic within the window gives the first receipt again, with `duplicate: true`. */
  idempotencyKey?: string;
  /** Milliseconds that the key is remembered. Default 24 hours. */
  idempotencyWindow?: number;
  /** Milliseconds from its being stored after which the message is gone. Default: it stays as long as others. */
  ttl?: number;
  /**
   * A key of 1 to 256 characters: the newest message of the same user or topic that was sent with the same key is gone, in
   * the moment in which this one is there, which is unread.
   */
  replaces?: string;
  /**
   * What to wait for: that the store has it (the default), that a replica of the store has it too (with a
   * {ReplicationError} where none has: docs/guarantees.md), or, for `send`, that a device of the user has acknowledged it.
   */
  confirm?: 'stored' | 'replicated' | 'acked';
  /**
   * Milliseconds for `replicated` and `acked`. Default 10,000. Then it rejects, although it is stored. `acked` rejects at
   * once with a {MessageGoneError} where the message is withdrawn, replaced or deleted, or expires, unacknowledged.
   */
  timeout?: number;
  /**
   * The trace that sending it belongs to, as W3C Trace Context has these headers; what is not as it says counts as not
   * given. Default: the active span of OpenTelemetry, where `tracing` is on.
   */
  traceparent?: string;
  /** Goes with `traceparent`. */
  tracestate?: string;
  /** With a time it is sent later: see `ScheduleSettings`. */
  at?: undefined;
}

/** As `PublishSettings`, for a message that is sent later. What they say counts from then on. */
export interface ScheduleSettings extends Omit<PublishSettings, 'at' | 'confirm' | 'timeout'> {
  /**
   * When: a Date, or milliseconds since 1970. Never before that, and about a second later at the most when all is well. A
   * time that is over means now.
   */
  at: Date | number;
}

/** What holds for `send` holds for each user, `idempotencyKey` as well: so whoever calls again sends to nobody twice. */
export interface SendManySettings extends Omit<PublishSettings, 'at' | 'confirm' | 'timeout'> {
  /** As of `ScheduleSettings`. */
  at?: Date | number | undefined;
  /**
   * Is told of each user, in any order, with his place among the users (from 0 on), in place of a list of results. Where
   * it returns a promise, that is waited for before more is sent; where it throws or rejects, no more is sent, and
   * `sendMany` rejects with that.
   */
  each?(result: UserResult, index: number): unknown;
  /** No more is sent once it is aborted; `sendMany` rejects with its reason. */
  signal?: AbortSignal;
}

/** What any of them may say. */
export type AnySettings = Omit<PublishSettings, 'at'> & { at?: Date | number | undefined };

const SETTINGS: Names<AnySettings> = {
  idempotencyKey: true,
  idempotencyWindow: true,
  ttl: true,
  replaces: true,
  confirm: true,
  timeout: true,
  traceparent: true,
  tracestate: true,
  at: true,
};

/** @throws {TypeError} for a setting that there is not */
export function checkSettingNames(settings: AnySettings): void {
  checkNames('settings', settings, SETTINGS);
}

/** @throws {TypeError} for settings that make no sense, {RangeError} for a time that can't be */
export function checkSettings(settings: AnySettings): void {
  const { idempotencyKey, idempotencyWindow, ttl, replaces, at, confirm } = settings;
  const problem =
    (idempotencyKey === undefined ? undefined : keyProblem(idempotencyKey)) ??
    (replaces === undefined ? undefined : replacesProblem(replaces)) ??
    ttlProblem(ttl) ??
    windowProblem(idempotencyWindow) ??
    confirmProblem(settings);
  if (problem !== undefined) throw new TypeError(problem);
  if (at === undefined) return;
  checkedAt(at);
  if (confirm !== undefined && confirm !== 'stored') {
    throw new TypeError(`a message that is sent later can't wait for confirm: '${confirm}'`);
  }
}

function confirmProblem({ confirm, timeout }: AnySettings): string | undefined {
  if (confirm !== undefined && !CONFIRM.includes(confirm)) return `confirm is one of ${CONFIRM.join(', ')}`;
  const isFit = timeout === undefined || (typeof timeout === 'number' && timeout >= 0);
  return isFit ? undefined : 'timeout is a number of milliseconds';
}
