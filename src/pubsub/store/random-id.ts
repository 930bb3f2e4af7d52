/** Unguessable ids in base64url, from random bytes drawn in bulk: one system call for some hundred ids. */
import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;
const pool = Buffer.alloc(POOL_BYTES);
let used = POOL_BYTES;

/** @param bytes of randomness; the string has a third more characters */
export function randomId(bytes: number): string {
  if (used + bytes > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const start = used;
  used += bytes;
  return pool.toString('base64url', start, used);
}

/**
 * A message's id: 96 bits, so that nobody meets one by chance or by trying. It begins with no `-`, which a command line would
 * take for an option.
 */
export function messageId(): string {
  const id = randomId(12);
  return id.startsWith('-') ? `0${id.slice(1)}` : id;
}
