/**
 * Something that fails for a while and works again: each of the two is one line of the log, however often it is tried, and each
 * of the reasons is, where there are several of them by turns.
 */
import type { Log, LogFields } from '../log-fields.ts';
import { explain } from './explain.ts';

export interface TroubleLine extends LogFields {
  readonly message: string;
}

/** Reasons that are told before it works again: each may be another one, as those that name a channel. */
const MOST_REASONS = 10;

export class Trouble {
  readonly #begins: TroubleLine;
  readonly #ends: TroubleLine;
  readonly #log: Log;
  /** Why it fails, as far as that was told. */
  readonly #why = new Set<string>();

  /**
   * @param begins what is said when it fails, or fails for another reason; the reason follows
   * @param ends what is said when it works again, as loud as that it failed
   */
  constructor(log: Log, begins: TroubleLine, ends: TroubleLine) {
    this.#log = log;
    this.#begins = begins;
    this.#ends = ends;
  }

  /** @param more fields of the line */
  failed(error: unknown, more?: Omit<LogFields, 'event'>): void {
    const why = explain(error);
    if (this.#why.has(why) || this.#why.size >= MOST_REASONS) return;
    this.#why.add(why);
    const { message, ...fields } = this.#begins;
    this.#log('warn', `${message}: ${why}`, { ...fields, ...more, error: why });
  }

  worked(): void {
    if (this.#why.size === 0) return;
    this.#why.clear();
    const { message, ...fields } = this.#ends;
    this.#log('warn', message, fields);
  }
}
