/** What one run has to know. */
import type { Adapter } from './adapter.ts';
import type { FaultKind } from './faults.ts';
import type { Victim } from './processes.ts';

export interface TrialSettings {
  urls: readonly URL[];
  adapter: Adapter;
  users: number;
  /** Of each user. */
  pages: number;
  /** Seconds for which faults happen. */
  time: number;
  /** Milliseconds from an acceptance to the next message of the same user. */
  interval: number;
  /** Bytes of each message. */
  size: number;
  seed: number;
  /** Which faults may happen. */
  kinds: ReadonlySet<FaultKind>;
  /** Messages that a page misses in one go at the end; 0 for none. */
  away: number;
  /** Seconds in which pages have to come back when all is well again. */
  patience: number;
  victims: readonly Victim[];
  /** Aborted, it breaks nothing more, and says what it has when pages are back. */
  signal: AbortSignal;
  /** Says how far it is. */
  say(text: string): void;
}
