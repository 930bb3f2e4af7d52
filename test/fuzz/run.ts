/**
 * `npm run fuzz`: random and mutated bytes for every parser that reads from the network. Exit status 1 if
 * one throws what it shouldn't, gives other events when the bytes are cut otherwise, hangs, or keeps memory.
 */
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { FuzzResult } from './fuzz.ts';
import { targets } from './targets.ts';

const HELP = `usage: npm run fuzz -- [options]

  --seconds N   how long (default 60)
  --short       10 seconds, the form that CI runs
  --seed N      repeat a run (default: chosen at random, and printed)
  --target T    only one of: ${targets.map(({ target }) => target.name).join(', ')}
  --json        the result as one JSON object
  --help

An input that fails is printed in hexadecimal. Once mended, it belongs in test/fuzz/corpus.`;

/** Longer than this on one input is a hang. */
const HANG_MS = 10_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    short: { type: 'boolean' },
    seed: { type: 'string' },
    target: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
const seconds = Number(values.seconds ?? (values.short ? 10 : 60));
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
if (!(seconds > 0) || !Number.isInteger(seed) || seed < 0) {
  console.error(`--seconds and --seed take numbers\n\n${HELP}`);
  process.exit(2);
}
if (values.target !== undefined && !targets.some(({ target }) => target.name === values.target)) {
  console.error(`there is no target ${values.target}\n\n${HELP}`);
  process.exit(2);
}

const pulse = new Int32Array(new SharedArrayBuffer(8));
const started = performance.now();
// Threads know nothing of TypeScript by themselves (Node 20).
const boot = `import(${JSON.stringify(import.meta.resolve('../../scripts/typescript.mjs'))})
  .then(() => import(${JSON.stringify(import.meta.resolve('./worker.ts'))}));`;
const workerData = { seed, seconds, only: values.target, pulse };
const worker = new Worker(boot, { eval: true, workerData });

let last = -1;
let since = performance.now();
const watch = setInterval(() => {
  if (pulse[0] !== last) {
    last = pulse[0]!;
    since = performance.now();
  } else if (
    pulse[0] !== 0 &&
    performance.now() - since > HANG_MS &&
    performance.now() - started < seconds * 1000
  ) {
    console.error(`hang: the input with seed ${pulse[1]! >>> 0} has run for ${HANG_MS} ms`);
    process.exit(1);
  }
}, 250);

worker.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
worker.on('message', (result: FuzzResult) => {
  clearInterval(watch);
  report(result);
});

function report({ inputs, byTarget, failures, memory }: FuzzResult): void {
  const perMinute = Math.round((inputs / (performance.now() - started)) * 60_000);
  if (values.json) {
    console.log(JSON.stringify({ seed, seconds, inputs, perMinute, byTarget, memory, failures }));
  } else {
    for (const failure of failures) {
      console.log(`FAILED ${failure.target}, seed ${failure.seed}: ${failure.error}\n  ${failure.input}`);
    }
    const parts = Object.entries(byTarget).map(([name, count]) => `${name} ${count}`);
    console.log(`seed ${seed}: ${inputs} inputs (${parts.join(', ')}), ${perMinute} a minute`);
    console.log(failures.length === 0 ? 'none failed' : `${failures.length} failed`);
  }
  process.exitCode = failures.length === 0 ? 0 : 1;
}
