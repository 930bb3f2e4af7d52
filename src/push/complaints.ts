/** What goes wrong again and again is logged once in a while, each kind by itself; of very many kinds the rest is one. */
import { monotonicNow } from '../clock.ts';
import type { Log, LogFields, LogLevel } from './options.ts';

const PAUSE = 60_000;
const MAX_KINDS = 100;
const REST = '';

export class Complaints {
  readonly #kinds = new Map<string, { since: number; left: number }>();

  /** @param log where it goes if it is time */
  say(log: Log, level: LogLevel, kind: string, text: string, fields: LogFields): void {
    const now = monotonicNow();
    const known = this.#hasRoom(kind, now) ? kind : REST;
    const last = this.#kinds.get(known);
    if (last !== undefined && now - last.since < PAUSE) {
      last.left++;
      return;
    }
    this.#kinds.set(known, { since: now, left: 0 });
    if (last === undefined || last.left === 0) log(level, text, fields);
    else log(level, `${text} (and ${last.left} times before)`, { ...fields, before: last.left });
  }

  #hasRoom(kind: string, now: number): boolean {
    if (this.#kinds.has(kind) || this.#kinds.size < MAX_KINDS) return true;
    for (const [old, { since }] of this.#kinds) if (now - since >= PAUSE) this.#kinds.delete(old);
    return this.#kinds.size < MAX_KINDS;
  }
}
