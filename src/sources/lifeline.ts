/** What a connection is to those who wait for something over it: they hear when it is lost, and wait no longer than may be. */
import { inTime, TimeoutError } from '../waiting.ts';

/** Milliseconds for an answer. */
const ANSWER = 15_000;

export class Lifeline {
  readonly #peer: string;
  /** Who hears that it is lost. */
  readonly #waiting = new Set<(error: Error) => void>();
  #lost: Error | undefined;
  #isEnding = false;

  /** @param peer who is at the other end, for people */
  constructor(peer: string) {
    this.#peer = peer;
  }

  /** Gives it up. Whatever waits rejects with the error. */
  fail(error: unknown): void {
    if (this.#isEnding || this.#lost !== undefined) return;
    this.#lost = error instanceof Error ? error : new Error(String(error));
    for (const reject of [...this.#waiting]) reject(this.#lost);
  }

  /** From now on nothing is a failure any more. */
  protected end(): void {
    this.#isEnding = true;
  }

  /** What the promise gives. @throws {Error} once the connection is lost */
  orLost<T>(promise: Promise<T>): Promise<T> {
    // Not by Promise.race, which would keep what it is given for as long as the connection lives.
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      promise.finally(() => this.#waiting.delete(reject)).then(resolve, reject);
      if (this.#lost !== undefined) reject(this.#lost);
    });
  }

  /** What the promise gives. @throws {Error} where that takes too long, or the connection is lost */
  async answer<T>(promise: Promise<T>, what: string, milliseconds = ANSWER): Promise<T> {
    try {
      return await inTime(milliseconds, this.orLost(promise));
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
      const seconds = Math.round(milliseconds / 1000);
      throw new Error(`${this.#peer} did not answer in ${seconds} s: ${what}${this.trouble()}`);
    }
  }

  /** What else may be said of why there is no answer. */
  protected trouble(): string {
    return '';
  }
}
