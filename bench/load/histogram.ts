/** Latencies, kept in buckets no wider than 1/32 of their value: 50 ns to 100 s in 900 counters. */
const SUB_BITS = 5;
const SUB = 1 << SUB_BITS;
/** The unit of the counters, in milliseconds. */
const UNIT = 0.00005;

export class Histogram {
  readonly #counts = new Uint32Array(32 * SUB);
  #total = 0;

  /** @param milliseconds @param count how many messages took that long */
  add(milliseconds: number, count: number): void {
    this.#counts[bucketOf(Math.min(milliseconds / UNIT, 0x7fff_ffff) | 0)]! += count;
    this.#total += count;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** Milliseconds that the given part (0…1) of all messages did not exceed; 0 without any. */
  quantile(part: number): number {
    let left = Math.ceil(this.#total * part);
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      left -= this.#counts[bucket]!;
      if (left <= 0 && this.#total > 0) return upperEnd(bucket) * UNIT;
    }
    return 0;
  }
}

function bucketOf(value: number): number {
  if (value < SUB) return Math.max(value, 0);
  const shift = 31 - Math.clz32(value) - SUB_BITS;
  return (shift << SUB_BITS) + (value >>> shift);
}

function upperEnd(bucket: number): number {
  if (bucket < 2 * SUB) return bucket;
  const shift = (bucket >>> SUB_BITS) - 1;
  return (bucket - (shift << SUB_BITS) + 1) * 2 ** shift - 1;
}
