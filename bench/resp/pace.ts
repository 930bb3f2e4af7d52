/** Messages in one write; the first byte of the first of them is FIRST, that of the others REST. */
export const BATCH = 500;
export const [FIRST, REST] = ['n', 'm'];

/** Messages that the flood publishes before it waits for the subscriber: Redis holds what was not read. */
export const STEP = 10_000;
