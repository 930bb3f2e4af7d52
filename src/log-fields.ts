/** What log lines are made of, whichever part of tidings writes them. */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * What a log line says to programs: the name of the event, which docs/logs.md explains, and what belongs to it. It is flat.
 * What is undefined is left out.
 */
export interface LogFields {
  /** A name in lower case with hyphens. */
  readonly event: string;
  readonly [field: string]: string | number | boolean | undefined;
}

/**
 * Takes one line. Lines that push servers hand out have neither line breaks nor what else moves a terminal's cursor,
 * in `message` and in `fields`, and are bounded in length.
 */
export type Log = (level: LogLevel, message: string, fields: LogFields) => void;
