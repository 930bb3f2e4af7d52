/** What is sent: a message says of itself whose it is, and which one, so that a wrong one can be told. */

/** Messages of one run. */
export class Payloads {
  readonly #run: string;
  readonly #size: number;
  /** The number of the last message that was made for each user. */
  readonly #made = new Map<string, number>();

  /**
   * @param run a word that no other run has, so that what is left of those counts for nobody
   * @param size bytes of each message, at the least what it takes
   */
  constructor(run: string, size: number) {
    this.#run = run;
    this.#size = size;
  }

  /** The message, which may come from now on. */
  textOf(user: string, n: number): string {
    this.#made.set(user, Math.max(n, this.#made.get(user) ?? 0));
    return JSON.stringify(this.#message(user, n));
  }

  /**
   * Which message of the user this is; `foreign` where it is none of this run, `damaged` where it is none that was ever sent.
   * Servers may write JSON in another way.
   */
  read(text: unknown, user: string): number | 'foreign' | 'damaged' | 'misdelivered' {
    let found: Record<string, unknown>;
    try {
      found = JSON.parse(text as string) ?? {};
    } catch {
      // No JSON: a part of what was sent, or nothing of ours.
      return this.#isPart(text) ? 'damaged' : 'foreign';
    }
    if (found['run'] !== this.#run) return 'foreign';
    const { user: whose, n } = found;
    if (typeof whose !== 'string' || typeof n !== 'number' || !this.#wasMade(whose, n)) return 'damaged';
    const sent = Object.entries(this.#message(whose, n));
    const isWhole =
      Object.keys(found).length === sent.length && sent.every(([key, value]) => found[key] === value);
    if (!isWhole) return 'damaged';
    return whose === user ? n : 'misdelivered';
  }

  /** Whether a part of one of these messages came; a greeting may have the name of the user, which has the run in it. */
  #isPart(text: unknown): boolean {
    if (typeof text !== 'string') return true;
    return text.includes(this.#run) && (text.includes('"run"') || text.includes('"pad"'));
  }

  #wasMade(user: string, n: number): boolean {
    return Number.isInteger(n) && n >= 1 && n <= (this.#made.get(user) ?? 0);
  }

  #message(user: string, n: number): Record<string, string | number> {
    const bare = { run: this.#run, user, n };
    const missing = this.#size - Buffer.byteLength(JSON.stringify({ ...bare, pad: '' }));
    const pad =
      missing <= 0
        ? ''
        : filling(n)
            .repeat(1 + missing / 16)
            .slice(0, missing);
    return { ...bare, pad };
  }
}

/** 16 characters that another message has otherwise. */
const filling = (n: number): string => n.toString(36).padStart(16, '.');
