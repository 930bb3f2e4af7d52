/**
 * `npm test [-- FILTER …]`: scripts/test.ts, and for all tests together what they cover, against the limits of
 * .c8rc.json. Some of them alone cover little, which is no failure.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const filters = process.argv.slice(2);
const tests = [process.execPath, ...process.execArgv, 'scripts/test.ts', ...filters];
const covered = [process.execPath, 'node_modules/c8/bin/c8.js', ...tests];
const [program = '', ...args] = filters.length === 0 ? covered : tests;
const child = spawn(program, args, { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
const [status] = await once(child, 'exit');
process.exitCode = status ?? 1;
