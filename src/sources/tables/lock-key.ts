/** Names of locks as the numbers, or short names, that databases have for locks. */
import { createHash } from 'node:crypto';

/** 64 bits, with a sign. */
export function lockKey(name: string): bigint {
  return createHash('sha256').update(name).digest().readBigInt64BE();
}
