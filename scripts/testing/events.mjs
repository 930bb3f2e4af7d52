/**
 * The reporter that runs within each test file's process: writes what becomes of its tests, an event a line, to the
 * file that TEST_EVENTS names; at once, so that a process that crashes has said in which test it was. At TEST_ENDS, a time in
 * milliseconds, shortly before it is ended, what it is waiting for.
 */
import { openSync, writeSync } from 'node:fs';
import { inspect } from 'node:util';

const { TEST_EVENTS: path, TEST_ENDS: ends } = process.env;
// Not for processes that this one starts.
delete process.env.TEST_EVENTS;
delete process.env.TEST_ENDS;
const file = path ? openSync(path, 'a') : undefined;
const { now } = performance;

if (file !== undefined && ends) {
  const tell = () => {
    const open = process.getActiveResourcesInfo();
    const counts = [...new Set(open)].map((kind) => `${open.filter((one) => one === kind).length} ${kind}`);
    write({ type: 'late', message: [...waits(), `open in the process: ${counts.join(', ')}`].join('\n') });
  };
  setTimeout(tell, ends - Date.now()).unref();
}

export default async function* events(source) {
  for await (const { type, data } of source) {
    if (file === undefined || !WANTED.has(type)) continue;
    const { name, nesting, line, column, skip, todo, message, details } = data;
    const event = { type: type.slice('test:'.length), name, nesting, line, column, skip, todo, message };
    write({ ...event, suite: details?.type === 'suite', ...failure(details?.error) });
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

function write(event) {
  writeSync(file, `${JSON.stringify(event)}\n`);
}

/** What `until` of test/support/net.ts waits for, the longest first. */
function waits() {
  const all = [...(globalThis[Symbol.for('tidings.waits')] ?? [])];
  return all.map(
    ({ what, since }) =>
      `it was waiting for: ${what} (${Math.round((now.call(performance) - since) / 1000)} s)`,
  );
}

function failure(error) {
  if (!error) return undefined;
  // What the test has thrown is the cause; of an assertion the message says all.
  const { cause = error, failureType } = error;
  const text = !(cause instanceof Error)
    ? String(cause)
    : cause.code === 'ERR_ASSERTION'
      ? cause.stack
      : inspect(cause);
  const plain = text.replaceAll(/\n\s+at (?:async )?[^\n]*node:internal[^\n]*/g, '');
  return {
    failure: failureType,
    error: failureType === 'testTimeoutFailure' ? [plain, ...waits()].join('\n') : plain,
  };
}
