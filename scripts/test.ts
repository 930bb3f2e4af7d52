/**
 * `npm test [-- FILTER …]`: runs every test file below test/ (or those whose path contains a FILTER) with
 * node:test, first making sure of the programs some of them need. What could not run is listed, with the
 * reason, at the end; with CI=true it fails the run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { provide } from '../test/support/programs.ts';

const filters = process.argv.slice(2);
const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .map((file) => join('test', file))
  .filter(
    (file) => file.endsWith('.test.ts') && (filters.length === 0 || filters.some((f) => file.includes(f))),
  )
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${filters.join(' ')}`);
  process.exit(1);
}

provide();

const notes = mkdtempSync(join(tmpdir(), 'tidings-test-'));
const { status } = spawnSync(
  process.execPath,
  ['--import', 'tsx/esm', '--test', '--test-concurrency=6', ...files],
  { stdio: 'inherit', env: { ...process.env, TIDINGS_NOT_RUN: notes } },
);
const notRun = readdirSync(notes).map((file) => readFileSync(join(notes, file), 'utf8'));
rmSync(notes, { recursive: true });

for (const line of notRun) console.error(`not run: ${line}`);
if (notRun.length > 0 && process.env.CI === 'true') {
  console.error('CI=true: every test must run');
  process.exit(1);
}
process.exit(status ?? 1);
