/** How much every store keeps and gives at a time, and for how long where nobody says it: `Broker` promises these. */

/** Devices of a user whose cursors are kept. */
export const MAX_DEVICES = 32;
/** The bound on one page of `read`, in bytes of payload. */
export const PAGE_BYTES = 1024 * 1024;
export const DEFAULT_IDEMPOTENCY_WINDOW = 24 * 60 * 60 * 1000;
export const DEFAULT_IDLE_CHANNEL_TTL = 30 * 24 * 60 * 60 * 1000;
/** Milliseconds, some 1,100 years: each store can count so many, from now on. */
export const LONGEST = 2 ** 45;

/** A whole number, at least 1. */
export function bounded(value: number, most: number): number {
  return Math.max(1, Math.min(Math.ceil(value), most));
}
