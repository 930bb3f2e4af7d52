/**
 * The log of `tidings serve`, as it leaves the process: one line for each event, as text on standard error, or as JSON on
 * standard output, together with what is announced there. Whoever reads it slowly, or not at all, keeps nothing waiting.
 */
import { monotonicNow, setInterval } from '../clock.ts';
import type { Log, LogFields, LogLevel } from '../log-fields.ts';
import { LEVELS, Logbook } from '../push/log.ts';
import { pause } from '../waiting.ts';
import { choice, reloaded } from './options.ts';

export const logOptions = {
  logLevel: reloaded('at once', choice(LEVELS, 'The least that is logged', 'info')),
  logFormat: choice(
    ['text', 'json'],
    'The log as text on standard error, or as JSON on standard output',
    'text',
  ),
};

/** Bytes that may wait for who reads the log. What is more is left out and counted. */
const MOST = 1024 * 1024;
/** Milliseconds between two looks at what was not told. */
const SWEEP = 5_000;
/** Milliseconds at the end for what waits. */
const LAST_LINES = 1_000;
const RESERVED = new Set(['time', 'level', 'event', 'message', 'instance']);

/** The part of a stream that is needed here. */
export interface Output {
  readonly writable: boolean;
  readonly writableLength: number;
  write(line: string): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export interface LogOutput {
  /** For the lines of `tidings serve` itself. */
  readonly log: Log;
  /** For those of its push server, which are limited and cleaned already: its `log`. */
  readonly write: Log;
  /** Where something listens. Scripts wait for these lines, so no level leaves them out. */
  announce(url: string): void;
  level: LogLevel;
  /** Resolves when all is written, or nobody reads it. */
  flush(): Promise<void>;
}

export interface LogSettings {
  logLevel: LogLevel;
  logFormat: 'text' | 'json';
}

export function logOutput(
  { logLevel, logFormat }: LogSettings,
  instance: string,
  { stdout, stderr }: { stdout: Output; stderr: Output } = process,
): LogOutput {
  const isJson = logFormat === 'json';
  const out = carefully(stdout);
  const err = carefully(stderr);
  const put = isJson ? out : err;
  const own = isJson ? stdout : stderr;
  const render = isJson ? asJson : asText;
  const write: Log = (level, message, fields) =>
    put((lost) => {
      const time = new Date().toISOString();
      const line = render(time, level, message, fields, instance);
      if (lost === 0) return line;
      const text = `${lost} lines of the log were left out, as nobody read them in time`;
      return render(time, 'warn', text, { event: 'log-lines-lost', lines: lost }, instance) + line;
    });
  const logbook = new Logbook(instance, write, logLevel);
  setInterval(() => logbook.sweep(monotonicNow()), SWEEP).unref();
  return {
    log: logbook.log,
    write,
    announce(url) {
      const message = `listening on ${url}`;
      if (isJson) write('info', message, { event: 'listening', url });
      else out(() => `${message}\n`);
    },
    async flush() {
      logbook.flush();
      const isDone = (): boolean => !own.writable || own.writableLength === 0;
      for (let i = 0; i < LAST_LINES / 20 && !isDone(); i++) await pause(20);
    },
    get level() {
      return logbook.level;
    },
    set level(level) {
      logbook.level = level;
    },
  };
}

/** Writes what is made of the number of those that could not be written before. A reader that is gone ends nothing. */
function carefully(stream: Output): (make: (lost: number) => string) => void {
  let lost = 0;
  stream.on('error', () => {});
  return (make) => {
    if (!stream.writable) return;
    if (stream.writableLength >= MOST) {
      lost++;
      return;
    }
    stream.write(make(lost));
    lost = 0;
  };
}

function asJson(time: string, level: LogLevel, message: string, fields: LogFields, instance: string): string {
  const line: Record<string, unknown> = { time, level, event: fields.event, message, instance };
  for (const [name, value] of Object.entries(fields)) if (!RESERVED.has(name)) line[name] = value;
  return `${JSON.stringify(line)}\n`;
}

function asText(time: string, level: LogLevel, message: string, fields: LogFields, instance: string): string {
  const said = [['instance', instance] as const, ...Object.entries(fields)]
    .filter(([name, value]) => name !== 'event' && value !== undefined)
    .map(([name, value]) => ` ${name}=${isPlain(value) ? value : JSON.stringify(value)}`);
  return `${time} ${level} ${fields.event}: ${message}${said.join('')}\n`;
}

/** Whether it can stand in a line without quotes. */
function isPlain(value: unknown): boolean {
  return typeof value !== 'string' || /^[^\s"=\\]+$/.test(value);
}
