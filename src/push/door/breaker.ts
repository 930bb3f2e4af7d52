/**
 * Leaves alone who does not answer: after some failures in a row nothing is tried for a while, then one thing, whose
 * outcome decides for all.
 */
import { monotonicNow } from '../../clock.ts';
import { type Backoff, delayOf } from '../../waiting.ts';

export class Breaker {
  readonly #limit: number;
  readonly #pause: Backoff;
  /** In a row. */
  #failures = 0;
  /** How often it has opened since it was last closed. */
  #openings = 0;
  /** Until when nothing is tried; 0 while it is closed. */
  #until = 0;
  #isProbing = false;

  /**
   * @param limit failures in a row that open it
   * @param pause milliseconds for which it stays open, the first time and at most
   */
  constructor(limit: number, pause: Backoff) {
    this.#limit = limit;
    this.#pause = pause;
  }

  get isOpen(): boolean {
    return this.#until > 0;
  }

  /** Milliseconds until something may be tried, while it is open. */
  get wait(): number {
    return Math.max(0, this.#until - monotonicNow());
  }

  /** Whether an attempt would be let through. */
  get lets(): boolean {
    return !this.isOpen || (!this.#isProbing && this.wait === 0);
  }

  /** An attempt begins: whoever gets true says how it ended. */
  enter(): boolean {
    if (!this.lets) return false;
    this.#isProbing = this.isOpen;
    return true;
  }

  /** @returns whether this has closed it */
  succeeded(): boolean {
    const wasOpen = this.isOpen;
    this.#isProbing = false;
    this.#failures = this.#openings = this.#until = 0;
    return wasOpen;
  }

  /** @returns whether this has opened it */
  failed(): boolean {
    const wasOpen = this.isOpen;
    // What began before it opened says nothing of now.
    if (wasOpen && !this.#isProbing) return false;
    this.#isProbing = false;
    if (++this.#failures < this.#limit) return false;
    this.#until = monotonicNow() + delayOf(this.#openings++, this.#pause);
    return !wasOpen;
  }
}
