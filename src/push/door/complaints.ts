/** What goes wrong again and again is logged once in a while, each kind by itself. */
import { monotonicNow } from '../../clock.ts';
import type { Log, LogLevel } from '../options.ts';

const PAUSE = 60_000;
const MAX_KINDS = 100;

export class Complaints {
  readonly #kinds = new Map<string, { since: number; left: number }>();

  /** @param log where it goes if it is time */
  say(log: Log, level: LogLevel, kind: string, text: string): void {
    const now = monotonicNow();
    const last = this.#kinds.get(kind);
    if (last !== undefined && now - last.since < PAUSE) {
      last.left++;
      return;
    }
    if (this.#kinds.size >= MAX_KINDS) this.#kinds.clear();
    this.#kinds.set(kind, { since: now, left: 0 });
    log(level, last === undefined || last.left === 0 ? text : `${text} (and ${last.left} times before)`);
  }
}
