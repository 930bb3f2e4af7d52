/** Messages that the flood publishes before it waits for the subscriber: Redis holds what was not read. */
export const STEP = 10_000;
