/** What happens to a command from when it is said until all have carried it out. */
import { monotonicNow } from '../../clock.ts';
import { delayOf, inTime, pause, TimeoutError } from '../../waiting.ts';
import { UnconfirmedError } from './control.ts';
import type { Failure } from './control-store.ts';

const ATTEMPTS = { min: 50, max: 1_000 };

/** The time in which a command has to be confirmed, and why it is not. */
export class Saying {
  readonly #timeout: number;
  readonly #failureOf: (error: unknown) => Failure;
  readonly #end: number;
  #attempts = 0;
  #failure: unknown;
  #pending: string[] = [];
  #unknown = 0;

  /** @param timeout milliseconds */
  constructor(timeout: number, failureOf: (error: unknown) => Failure) {
    this.#timeout = timeout;
    this.#failureOf = failureOf;
    this.#end = monotonicNow() + timeout;
  }

  get left(): number {
    return Math.max(0, this.#end - monotonicNow());
  }

  get isOver(): boolean {
    return this.left === 0;
  }

  /** Undefined where the store does not answer, which may be otherwise the next time. @throws what it refuses for good */
  async ask<Answer>(question: () => Promise<Answer>): Promise<Answer | undefined> {
    try {
      const answer = await inTime(Math.max(1, this.left), question());
      this.#failure = undefined;
      return answer;
    } catch (error) {
      const failure = this.#failureOf(error);
      if (failure === 'closed') throw new UnconfirmedError('the store was closed', [], { cause: error });
      if (failure === 'forbidden')
        throw new UnconfirmedError(`the store refuses it: ${String(error)}`, [], { cause: error });
      // What the store has said tells more than that it has said nothing since, when the time was almost over.
      if (!(error instanceof TimeoutError)) this.#failure = error;
      else this.#failure ??= error;
      await pause(Math.min(delayOf(this.#attempts++, ATTEMPTS), this.left));
      return undefined;
    }
  }

  /** @param unknown milliseconds until no lease can be in force that the store does not know of */
  waitsFor(pending: string[], unknown: number): void {
    this.#pending = pending;
    this.#unknown = unknown;
  }

  error(): UnconfirmedError {
    const within = `within ${this.#timeout} ms`;
    if (this.#pending.length > 0) {
      const names = this.#pending.join(', ');
      return new UnconfirmedError(
        `not confirmed ${within} by ${names}, which may still deliver`,
        this.#pending,
      );
    }
    if (this.#unknown > 0) {
      const message = `the store has not been there for as long as a lease, so ${within} nobody could say who holds one`;
      return new UnconfirmedError(message, []);
    }
    const why = this.#failure instanceof Error ? `: ${this.#failure.message}` : '';
    return new UnconfirmedError(`the store could not be told ${within}${why}`, [], { cause: this.#failure });
  }
}
