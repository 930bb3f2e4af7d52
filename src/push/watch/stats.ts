/** The counts of one instance. */

/** What a push server is doing, for monitoring. */
export interface Stats {
  /** This instance's name. */
  instance: string;
  /** Sessions that are open here. */
  sessions: number;
  /** Channels that have a subscription here. */
  channels: number;
  /** Messages stored through this instance. */
  published: number;
  /** Sessions opened since the start. */
  opened: number;
  /** Whether the store can't be reached. */
  storeAway: boolean;
  /** How many things are wrong with a store that can be reached, such as damaged channels. Each was logged. */
  storeFaults: number;
  /** Whether `close` was called. */
  draining: boolean;
}
