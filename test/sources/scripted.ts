/** A source that a test plays: it hands in what it is told to, and remembers what became of it. */
import type { Intake, Outcome, SourceDriver, SourceMessage } from '../../src/sources/driver.ts';

export class ScriptedDriver implements SourceDriver {
  readonly kind = 'postgres';
  readonly name: string = 'a scripted source';
  readonly scope: string;
  /** What became of messages, in the order in which that was known: `id what`. */
  readonly outcomes: string[] = [];
  readonly reasons = new Map<string, string>();
  /** How often it was connected. */
  runs = 0;
  /** What the next run rejects with before it is connected. */
  refusal: Error | undefined;
  intake: Intake | undefined;
  #lose: ((error: Error) => void) | undefined;

  constructor(scope = 'scripted:1') {
    this.scope = scope;
  }

  async run(intake: Intake, signal: AbortSignal): Promise<void> {
    this.runs++;
    if (this.refusal !== undefined) throw this.refusal;
    this.intake = intake;
    intake.connected();
    const taken: Promise<unknown>[] = [];
    this.#take = (message) => {
      const outcome = intake.take(message);
      taken.push(outcome);
      return outcome;
    };
    await new Promise<void>((resolve, reject) => {
      this.#lose = reject;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.all(taken);
  }

  #take: (message: SourceMessage) => Promise<Outcome> = () => Promise.reject(new Error('not connected'));

  /** @param says the body: JSON, text or bytes */
  async hand(id: string, says: unknown, more: Partial<SourceMessage> = {}): Promise<Outcome> {
    const body =
      says instanceof Uint8Array
        ? Buffer.from(says)
        : Buffer.from(typeof says === 'string' ? says : JSON.stringify(says));
    const outcome = await this.#take({ id, body, attributes: {}, ...more });
    this.outcomes.push(`${id} ${outcome.what}`);
    if (outcome.what === 'dead') this.reasons.set(id, outcome.reason);
    return outcome;
  }

  lose(error = new Error('connection lost')): void {
    this.#lose?.(error);
  }
}
