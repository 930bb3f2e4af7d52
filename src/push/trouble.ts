/** Something that fails for a while and works again: each of the two is one line of the log, however often it is tried. */
import type { Log, LogFields } from '../log-fields.ts';
import { explain } from './explain.ts';

export interface TroubleLine extends LogFields {
  readonly message: string;
}

export class Trouble {
  readonly #begins: TroubleLine;
  readonly #ends: TroubleLine;
  readonly #log: Log;
  /** Why it fails now. */
  #why: string | undefined;

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
    if (why === this.#why) return;
    this.#why = why;
    const { message, ...fields } = this.#begins;
    this.#log('warn', `${message}: ${why}`, { ...fields, ...more, error: why });
  }

  worked(): void {
    if (this.#why === undefined) return;
    this.#why = undefined;
    const { message, ...fields } = this.#ends;
    this.#log('warn', message, fields);
  }
}
