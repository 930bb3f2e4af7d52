/**
 * The reporter that runs within each test file's process: writes what becomes of its tests, an event a line, to the
 * file that TEST_EVENTS names; at once, so that a process that crashes has said in which test it was.
 */
import { openSync, writeSync } from 'node:fs';
import { inspect } from 'node:util';

const path = process.env.TEST_EVENTS;
// Not for processes that this one starts.
delete process.env.TEST_EVENTS;
const file = path ? openSync(path, 'a') : undefined;

export default async function* events(source) {
  for await (const { type, data } of source) {
    if (file === undefined || !WANTED.has(type)) continue;
    const { name, nesting, line, column, skip, todo, message, details } = data;
    const event = { type: type.slice('test:'.length), name, nesting, line, column, skip, todo, message };
    writeSync(
      file,
      `${JSON.stringify({ ...event, suite: details?.type === 'suite', ...failure(details?.error) })}\n`,
    );
  }
  // A reporter is a generator; this one has nothing to say on standard output.
  yield '';
}

const WANTED = new Set([
  'test:dequeue',
  'test:complete',
  'test:start',
  'test:pass',
  'test:fail',
  'test:diagnostic',
]);

function failure(error) {
  if (!error) return undefined;
  // What the test has thrown is the cause; of an assertion the message says all.
  const { cause = error, failureType } = error;
  const text = !(cause instanceof Error)
    ? String(cause)
    : cause.code === 'ERR_ASSERTION'
      ? cause.stack
      : inspect(cause);
  return {
    failure: failureType,
    error: text.replaceAll(/\n\s+at (?:async )?[^\n]*node:internal[^\n]*/g, ''),
  };
}
