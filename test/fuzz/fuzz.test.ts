import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { typescript, uncovered } from '../support/programs.ts';
import { fuzz } from './fuzz.ts';
import type { Target } from './target.ts';
import { targets } from './targets.ts';

test('20,000 inputs from a fixed seed break nothing, and every target has its share', async () => {
  const { byTarget, failures } = await fuzz({
    targets,
    seed: 20_260_101,
    isDone: (inputs) => inputs >= 20_000,
  });
  assert.deepEqual(failures, []);
  for (const { target } of targets) assert.ok(byTarget[target.name]! > 500, target.name);
});

test('what is in the corpus breaks nothing', async () => {
  for (const { target } of targets) {
    for (const seed of target.corpus) {
      const { failures } = await fuzz({
        targets: [{ target: { ...target, corpus: [seed] }, weight: 1 }],
        seed: 1,
        isDone: (inputs) => inputs > 0,
      });
      assert.deepEqual(failures, []);
    }
  }
});

test('the fuzzer finds a parser that fails on one byte in an odd place, and names the input', async () => {
  const broken: Target = {
    name: 'broken',
    corpus: [Buffer.from('81 85 37 fa 21 3d 7f 9f 4d 51 58'.replaceAll(' ', ''), 'hex')],
    run(input) {
      if (input[1] === 0xfe && input[3] === 0x7e) throw new TypeError('undefined is not a function');
    },
  };
  const { failures, inputs } = await fuzz({
    targets: [{ target: broken, weight: 1 }],
    seed: 7,
    isDone: (done) => done >= 2_000_000,
    maxFailures: 1,
  });
  assert.equal(failures.length, 1, `not found in ${inputs} inputs`);
  assert.equal(failures[0]?.error, 'TypeError: undefined is not a function');
  const input = Buffer.from(failures[0].input, 'hex');
  assert.throws(() => broken.run(input, undefined as never), TypeError);
});

test('npm run fuzz: the result as JSON and a status', () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [...typescript, 'test/fuzz/run.ts', ...args], {
      encoding: 'utf8',
      env: uncovered,
    });
  const { status, stdout, stderr } = run('--seconds', '1', '--seed', '5', '--json');
  assert.equal(status, 0, stderr);
  const result = JSON.parse(stdout);
  assert.equal(result.seed, 5);
  assert.deepEqual(result.failures, []);
  assert.ok(result.inputs > 0);
  assert.equal(run('--seconds', 'x').status, 2);
  assert.match(run('--help').stdout, /--seconds N/);
});
