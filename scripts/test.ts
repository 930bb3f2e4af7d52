/**
 * `npm test [-- FILTER …]`: runs the test files below test/ (or those whose path contains a FILTER) with
 * node:test, first making sure of the programs some of them need. What could not run is listed, with the
 * reason, at the end; with CI=true it fails the run.
 */
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { run } from 'node:test';
import { tap } from 'node:test/reporters';
import { provide } from '../test/support/programs.ts';

/** Those that take long, most of it waiting: begun first, so that none is left alone at the end. */
const LONG = [
  'push/presence-watch',
  'push/slow-pages',
  'push/rate',
  'push/endings-field',
  'push/damaged',
  'push/bounds',
  'sockjs/bounds',
  'push/round-trips',
  'push/sending/schedule',
  'push/talk/renewal',
  'push/recheck',
  'push/closing',
  'push/topic-presence',
  'sockjs/neighbours',
  'cli/serve',
  'push/delivery',
  'proxy',
  'pubsub',
  'client',
  'chaos',
];

/** Milliseconds after which files that have not ended have failed: a socket that a test has left open keeps one up. */
const LIMIT = 8 * 60_000;

function rank(file: string): number {
  const index = LONG.findIndex((part) => file.startsWith(join('test', part)));
  return index === -1 ? LONG.length : index;
}

/**
 * These take minutes, and have commands of their own: what pages do in Chromium (`npm run test:browser`), what is started
 * as a program (`npm run test:programs`), what compilers and bundlers make of the package (`npm run test:package`).
 */
const APART = [
  'test/browser/',
  'test/bench/',
  'test/chaos/',
  'test/cli/',
  'test/conformance/',
  'test/examples.test.ts',
  'test/fuzz/',
  'test/languages.test.ts',
  'test/proxy/',
  'test/readme.test.ts',
  'test/tickets.test.ts',
  'test/types/',
  'test/bundles/',
  'test/package.test.ts',
];

const filters = process.argv.slice(2);
const isAsked = (file: string): boolean =>
  filters.length === 0
    ? !APART.some((part) => file.startsWith(part))
    : filters.some((filter) => file.includes(filter));
const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .map((file) => join('test', file))
  .filter((file) => file.endsWith('.test.ts') && isAsked(file))
  .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
if (files.length === 0) {
  console.error(`no test file matches ${filters.join(' ')}`);
  process.exit(1);
}

provide();

const notes = mkdtempSync(join(tmpdir(), 'tidings-test-'));
process.env.TIDINGS_NOT_RUN = notes;
let failures = 0;
// The files run with the flags of this process, so with tsx.
const tests = run({
  files: files.map((file) => resolve(file)),
  // Of two cores: most of the time files wait.
  concurrency: 6,
  signal: AbortSignal.timeout(LIMIT),
});
tests.on('test:fail', () => failures++);
const report = tests.compose(tap);
report.pipe(process.stdout);
await once(report, 'end');
const notRun = readdirSync(notes).map((file) => readFileSync(join(notes, file), 'utf8'));
rmSync(notes, { recursive: true });

for (const line of notRun) console.error(`not run: ${line}`);
if (notRun.length > 0 && process.env.CI === 'true') {
  console.error('CI=true: every test must run');
  process.exit(1);
}
process.exitCode = failures > 0 ? 1 : 0;
