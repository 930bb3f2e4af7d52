/** What was thrown, as one line of a log: applications throw anything, and showing it must not throw again. */
import { inspect } from 'node:util';

const MAX_LENGTH = 2_000;
/** Control characters, line breaks, and what turns the direction of writing: all that makes a line look like another. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

export function explain(thrown: unknown): string {
  return printable(text(thrown));
}

/** With its stack. */
export function explainFully(thrown: unknown): string {
  try {
    if (thrown instanceof Error && typeof thrown.stack === 'string')
      // No \s+, which would look at each of many line breaks again and again.
      return printable(thrown.stack.replace(/\n {4}at /g, ' at '));
  } catch {
    // A getter has thrown; the text will do.
  }
  return explain(thrown);
}

/** Text from elsewhere, for a log line: without line breaks and what else moves a terminal's cursor. */
export function printable(text: string, length = MAX_LENGTH): string {
  const escaped = text
    .slice(0, length)
    .replace(CONTROL, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return text.length > length ? `${escaped}…` : escaped;
}

function text(thrown: unknown): string {
  try {
    if (typeof thrown === 'string') return thrown;
    return thrown instanceof Error ? String(thrown) : inspect(thrown);
  } catch {
    // What was thrown throws when it is looked at.
    return 'something that can not be shown';
  }
}
