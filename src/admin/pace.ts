/** How often somebody may ask: so many a second, and as many at once. */
import { isIPv6 } from 'node:net';
import { monotonicNow } from '../clock.ts';

export class Bucket {
  readonly #rate: number;
  readonly #size: number;
  #left: number;
  #at = monotonicNow();

  /**
   * @param rate a second; 0: no limit
   * @param size at once
   */
  constructor(rate: number, size: number = rate) {
    this.#rate = rate;
    this.#size = size;
    this.#left = size;
  }

  /** Takes one. Returns 0, or, where there is none, the seconds until there is one. */
  take(): number {
    if (this.#rate === 0) return 0;
    this.#fill();
    if (this.#left >= 1) {
      this.#left--;
      return 0;
    }
    return Math.max(1, Math.ceil((1 - this.#left) / this.#rate));
  }

  get isFull(): boolean {
    this.#fill();
    return this.#left >= this.#size;
  }

  #fill(): void {
    const now = monotonicNow();
    this.#left = Math.min(this.#size, this.#left + ((now - this.#at) / 1000) * this.#rate);
    this.#at = now;
  }
}

/** Addresses that are remembered. */
const MOST = 10_000;
/** Wrong tokens of one address: a second, and at once. */
const RATE = 5;
const AT_ONCE = 100;

/** Who guesses tokens. A right one is never held up by the wrong ones of others. */
export class Guesses {
  /** The one that guessed last is last. */
  readonly #buckets = new Map<string, Bucket>();

  get size(): number {
    return this.#buckets.size;
  }

  /** Somebody had a wrong token: how long he is to wait, as `Bucket#take` says, and whether he did so before, not long ago. */
  wrong(address: string): { wait: number; isFirst: boolean } {
    const who = networkOf(address);
    const known = this.#buckets.get(who);
    const bucket = known ?? new Bucket(RATE, AT_ONCE);
    this.#buckets.delete(who);
    this.#buckets.set(who, bucket);
    for (const [other, { isFull }] of this.#buckets) {
      if (this.#buckets.size <= MOST && (!isFull || other === who)) break;
      this.#buckets.delete(other);
    }
    return { wait: bucket.take(), isFirst: known === undefined };
  }
}

/** Whoever has one IPv6 address has all of its /64. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('%', 1)[0]!.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  return [...before, ...Array.from({ length: zeros }, () => '0'), ...after].slice(0, 4).join(':');
}
