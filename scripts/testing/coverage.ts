/** What tests cover of src/, all together, against the limits of .c8rc.json. */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';

/** Where each process notes what it has run. */
const NOTES = resolve('coverage/tmp');

/** @returns the environment for a process whose coverage counts */
export function covered(): NodeJS.ProcessEnv {
  return { ...process.env, NODE_V8_COVERAGE: NOTES };
}

export function forgetCoverage(): void {
  rmSync(NOTES, { recursive: true, force: true });
}

/** @returns whether the limits are kept; says what is covered, file by file in coverage/coverage.txt */
export function reportCoverage(): boolean {
  const c8 = join(dirname(createRequire(import.meta.url).resolve('c8/package.json')), 'bin/c8.js');
  const args = [c8, 'report', '--temp-directory', NOTES];
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status === 0;
}
