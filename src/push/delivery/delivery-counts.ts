/** What was delivered, how long it took, and what could not be continued: plain numbers, for metrics. */
import { DELAYS, Histogram } from '../../metrics/histogram.ts';
import { zeros } from '../../metrics/zeros.ts';
import { MARK_AS, type MarkAs } from '../../pubsub/store/marks.ts';
import type { GapReason } from '../talk/wire.ts';

export const GAP_REASONS: readonly GapReason[] = ['trimmed', 'rewound', 'unknown-position'];
export const RECOVERY_RESULTS = ['recovered', ...GAP_REASONS] as const;

/** By the clocks of the store and of this instance, which may differ: never below 0. */
export class DeliveryCounts {
  /** Messages that were written to sessions: as they were published, and from the log. */
  live = 0;
  fromLog = 0;
  /** The same of what no log keeps. */
  transient = 0;
  /** Not written, as the session reads too slowly: what no log keeps, and what a lossy topic passes over. */
  readonly dropped = { transient: 0, overflow: 0 };
  /** From being stored to being written. */
  readonly liveDelays = new Histogram(DELAYS);
  readonly logDelays = new Histogram(DELAYS);
  /** From being stored to being acknowledged by a device. */
  readonly ackDelays = new Histogram(DELAYS);
  acknowledged = 0;
  /** How it was for those who have come back with a position. */
  readonly recoveries = zeros(RECOVERY_RESULTS);
  /** How often a session was told that messages are missing. */
  readonly gaps = zeros(GAP_REASONS);
  /** How often a channel has gone back to its log, as messages may have been missed. */
  doubts = 0;
  /** How often a session's outbox was full. */
  full = 0;
  readonly marks = zeros(MARK_AS);
  /** How many messages have another state by them than before. */
  readonly marked = zeros(MARK_AS);
  withdrawn = 0;

  /** Written as it was published, to so many. @param time when it was stored, in milliseconds since 1970 */
  wroteLive(time: number, now: number, count: number): void {
    this.live += count;
    this.liveDelays.observe(now > time ? now - time : 0, count);
  }

  wroteFromLog(time: number, now: number): void {
    this.fromLog++;
    this.logDelays.observe(now > time ? now - time : 0);
  }

  /** @param time of the message, where it is known */
  acknowledges(time: number | undefined, now: number): void {
    this.acknowledged++;
    if (time !== undefined) this.ackDelays.observe(now > time ? now - time : 0);
  }

  hasMarked(as: MarkAs, changed: number): void {
    this.marks[as]++;
    this.marked[as] += changed;
  }
}
