/**
 * A push server's log: every line passes here on its way to the application's `log` or the console, and to a diagnostics
 * channel. It is made one line of bounded length, without secrets; and of what happens again and again only the first
 * lines of a minute are told, then how many there were.
 */
import { channel as diagnosticsChannel } from 'node:diagnostics_channel';
import { monotonicNow } from '../clock.ts';
import type { Log, LogFields, LogLevel } from '../log-fields.ts';
import { attempt } from '../server/handler-calls.ts';
import { explain, printable } from './explain.ts';
import { redacted } from './redact.ts';

const logged = diagnosticsChannel('tidings:log');

export const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Lines of one kind within `PERIOD` milliseconds; of what is more, one line tells how many. */
const MOST = 200;
/** Of what strangers can bring about as often as they like, fewer. */
const MOST_OF = new Map([
  ['session-refused', 10],
  ['requests-turned-away', 10],
]);
const PERIOD = 60_000;
/** Kinds that are counted by themselves. The rest is one. */
const MAX_KINDS = 1_000;
/** What somebody with the right to it has asked for, such as the end of a session, is told each time. */
const EACH_TIME = new Set([
  'admin-change',
  'sessions-ended',
  'user-blocked',
  'user-unblocked',
  'topic-rights-changed',
]);
const MAX_FIELD = 500;

interface Kind {
  since: number;
  count: number;
  level: LogLevel;
  fields: LogFields;
}

export class Logbook {
  /** Hands a line in. */
  readonly log: Log = (level, message, fields) => this.#take(level, message, fields);
  readonly #instance: string;
  readonly #target: Log | undefined;
  readonly #kinds = new Map<string, Kind>();
  #least: number;
  /** The console gets only warnings and errors, where nothing else was asked for. */
  #leastOfConsole: number;

  /**
   * @param target the application's; undefined for the console
   * @param level what is below it is left out
   */
  constructor(instance: string, target: Log | undefined, level?: LogLevel) {
    this.#instance = instance;
    this.#target = target;
    this.#least = LEVELS.indexOf(level ?? 'info');
    this.#leastOfConsole = LEVELS.indexOf(level ?? 'warn');
  }

  get level(): LogLevel {
    return LEVELS[this.#least]!;
  }

  /** From the next line on. */
  set level(level: LogLevel) {
    this.#least = LEVELS.indexOf(level);
    this.#leastOfConsole = this.#least;
  }

  /** Whether anybody gets lines of this level: making them may cost something. */
  isHeard(level: LogLevel): boolean {
    const rank = LEVELS.indexOf(level);
    if (rank < this.#least) return false;
    return this.#target !== undefined || rank >= this.#leastOfConsole || logged.hasSubscribers;
  }

  /** Once in a while: says how many lines of a kind there were that were not told. */
  sweep(now: number): void {
    for (const [name, kind] of this.#kinds) if (now - kind.since >= PERIOD) this.#settle(name, kind);
  }

  /** Says that of all kinds. */
  flush(): void {
    for (const [name, kind] of this.#kinds) this.#settle(name, kind);
  }

  #take(level: LogLevel, message: string, fields: LogFields): void {
    if (!this.isHeard(level) || !this.#hasRoom(level, fields)) return;
    this.#write(level, message, fields);
  }

  #hasRoom(level: LogLevel, fields: LogFields): boolean {
    if (level === 'debug' || EACH_TIME.has(fields.event)) return true;
    const now = monotonicNow();
    const wanted = `${level} ${fields.event} ${fields['reason'] ?? ''}`;
    const name = this.#kinds.has(wanted) || this.#kinds.size < MAX_KINDS ? wanted : '';
    let kind = this.#kinds.get(name);
    if (kind !== undefined && now - kind.since >= PERIOD) {
      this.#settle(name, kind);
      kind = undefined;
    }
    if (kind !== undefined) return ++kind.count <= mostOf(kind.fields.event);
    const { event, reason } = name === '' ? { event: 'others', reason: undefined } : fields;
    this.#kinds.set(name, { since: now, count: 1, level, fields: { event, reason } });
    return true;
  }

  #settle(name: string, { count, level, fields }: Kind): void {
    this.#kinds.delete(name);
    const more = count - mostOf(fields.event);
    if (more <= 0) return;
    const { event, reason } = fields;
    const what = reason === undefined ? event : `${event} (${reason})`;
    this.#write(level, `${what}: ${more} more within a minute`, { ...fields, more });
  }

  #write(level: LogLevel, text: string, fields: LogFields): void {
    const message = shown(text);
    const own = cleaned(fields);
    if (logged.hasSubscribers) logged.publish({ level, message, instance: this.#instance, fields: own });
    const target = this.#target;
    if (target !== undefined) {
      attempt(
        () => target(level, message, own),
        (error) => console.error(`tidings: ${message} (and \`log\` failed: ${explain(error)})`),
      );
    } else if (LEVELS.indexOf(level) >= this.#leastOfConsole) console.error(`tidings: ${message}`);
  }
}

function mostOf(event: string): number {
  return MOST_OF.get(event) ?? MOST;
}

/** @throws {TypeError} for what is no level */
export function checkedLevel(level: LogLevel): LogLevel {
  if (LEVELS.includes(level)) return level;
  throw new TypeError(`logLevel must be one of ${LEVELS.join(', ')}`);
}

function cleaned(fields: LogFields): LogFields {
  const own: { [field: string]: string | number | boolean; event: string } = { event: fields.event };
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) own[name] = typeof value === 'string' ? shown(value, MAX_FIELD) : value;
  }
  return own;
}

function shown(text: string, length?: number): string {
  return redacted(printable(text, length));
}
