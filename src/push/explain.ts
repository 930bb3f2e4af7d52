/** What was thrown, as one line of a log: applications throw anything, and showing it must not throw again. */
import { inspect } from 'node:util';

const MAX_LENGTH = 2_000;
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

export function explain(thrown: unknown): string {
  return printable(text(thrown));
}

/** With its stack, which has line breaks. */
export function explainFully(thrown: unknown): string {
  try {
    if (thrown instanceof Error && typeof thrown.stack === 'string') return thrown.stack.slice(0, MAX_LENGTH);
  } catch {
    // A getter has thrown; the text will do.
  }
  return explain(thrown);
}

/** Text from elsewhere, for a log line: without line breaks and what else moves a terminal's cursor. */
export function printable(text: string): string {
  const escaped = text
    .slice(0, MAX_LENGTH)
    .replace(CONTROL, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return text.length > MAX_LENGTH ? `${escaped}…` : escaped;
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
