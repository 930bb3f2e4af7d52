/** What all parts of a broker know of its channels, and what it means for one of them when the store refuses something. */
import type { Failures } from './failures.ts';
import type { Faults } from './faults.ts';

export abstract class Channels {
  abstract readonly failures: Failures;
  /** Milliseconds that a channel is remembered after its last use. */
  readonly idleTtl: number;
  protected readonly faults: Faults;

  constructor(idleTtl: number, faults: Faults) {
    this.idleTtl = idleTtl;
    this.faults = faults;
  }

  /**
   * What is answered about one channel: an error that no other attempt would change is said to be one, and counts as a
   * fault until the channel can be used.
   */
  async about<T>(what: string, channel: string, answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      this.#worked(what, channel);
      return value;
    } catch (error) {
      throw this.blame(what, channel, error);
    }
  }

  /** As `about`, for what has been answered: what is wrong, if anything is. */
  outcome(what: string, channel: string, error: unknown): unknown {
    if (error !== undefined) return this.blame(what, channel, error);
    this.#worked(what, channel);
    return undefined;
  }

  #worked(what: string, channel: string): void {
    if (this.faults.isEmpty) return;
    this.faults.over(`${what} ${channel}`);
    this.faults.over(`refused ${what}`);
  }

  /** What to throw in place of `error`. What it tells of is about `<what> <channel>`, or about `refused <what>` for all channels. */
  abstract blame(what: string, channel: string, error: unknown): unknown;
}
