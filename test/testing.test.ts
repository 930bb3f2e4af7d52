/** What `npm test` says of files that fail, hang, crash or can't run: scripts/testing. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { testFiles } from '../scripts/testing/files.ts';
import { type Outcome, runFile } from '../scripts/testing/one-file.ts';
import { pool } from '../scripts/testing/pool.ts';
import { until } from './support/net.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidings-testing-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

async function outcome(body: string, limit = 60_000): Promise<Outcome> {
  const file = join(folder, `${files++}.test.ts`);
  writeFileSync(file, `import { describe, test } from 'node:test';\n${body}`);
  return runFile(file, process.env, limit);
}

const errors = ({ failures }: Outcome): string => failures.map(({ error }) => error).join('\n');
const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a test file', { concurrency: 4 }, () => {
  test('whose tests pass, are left out or to be done', async () => {
    const { passed, failures, skipped } = await outcome(`
      describe('a suite', () => { test('a', () => {}); test('b', { skip: 'not here' }, () => {}); });
      test('c', async (t) => { await t.test('d', () => {}); });
      test('e', { todo: true }, () => { throw new Error('one day'); });`);
    assert.deepEqual([passed, failures, [...skipped]], [3, [], [['not here', 1]]]);
  });

  test('with a test that fails: which, where, why, and what the process had to say', async () => {
    const result = await outcome(`
      describe('a suite', () => {
        test('is fine', () => console.log('said before'));
        test('is not', async (t) => { console.error('said then'); await t.test('inside', () => { throw new TypeError('so it is'); }); });
      });`);
    assert.deepEqual(
      result.failures.map(({ names, line }) => [names, line]),
      [[['a suite', 'is not', 'inside'], 5]],
    );
    assert.match(errors(result), /TypeError: so it is\n\s+at \S+ .*\.test\.ts:5:/);
    assert.match(result.output, /said before\n.*said then\n/s);
  });

  test('with a hook that fails', async () => {
    const result = await outcome(`
      import { before } from 'node:test';
      describe('a suite', () => { before(() => { throw new Error('not ready'); }); test('a', () => {}); });`);
    assert.match(errors(result), /not ready/);
  });

  test('that hangs: in which test, and what it has started ends with it', async () => {
    const result = await outcome(
      `import { spawn } from 'node:child_process';
       test('is fine', () => {});
       test('waits for ever', () => {
         console.log(spawn('sleep', ['600']).pid);
         return new Promise(() => setInterval(() => {}, 1000));
       });`,
      4_000,
    );
    assert.equal(result.passed, 1);
    assert.match(errors(result), /did not end within 4 s .*\n {2}waits for ever \(line 4\)$/s);
    const pid = Number(result.output.match(/\d+/)![0]);
    await until('its child to end', () => !isAlive(pid));
  });

  test('that something keeps up after its tests', async () => {
    const result = await outcome(`test('is fine', () => { setInterval(() => {}, 1000); });`, 4_000);
    assert.match(errors(result), /did not end .* after the last of its tests/);
  });

  test('whose process crashes: in which test', async () => {
    const result = await outcome(
      `test('is fine', () => {});
       test('crashes', () => new Promise(() => setImmediate(() => process.kill(process.pid, 'SIGSEGV'))));`,
    );
    assert.match(errors(result), /was ended by SIGSEGV, while this was under way:\n {2}crashes \(line 3\)$/);
  });

  test('whose process ends in the middle', async () => {
    const result = await outcome(
      `test('leaves', () => new Promise(() => setImmediate(() => process.exit(0))));`,
    );
    assert.match(errors(result), /ended with status 0, while this was under way:\n {2}leaves \(line 2\)$/);
  });

  test('with an error that no test waits for', async () => {
    const result = await outcome(
      `test('is fine', () => void setTimeout(() => { throw new Error('too late'); }, 200));`,
    );
    assert.match(errors(result), /too late/);
  });

  test('that is no program', async () => {
    const result = await outcome('this is not;');
    assert.match(errors(result), /ended with status 1, before its first test/);
    assert.match(result.output, /SyntaxError/);
  });

  test('without a test', async () => {
    assert.match(errors(await outcome('')), /the file has no test/);
  });
});

test('a run of no set is all that is in none; a word finds files of sets, too', () => {
  const usual = testFiles({ filters: [], sets: [] });
  assert.ok(usual.includes('test/testing.test.ts'));
  assert.ok(!usual.some((file) => /test\/(?:browser\/|cli\/|package)/.test(file)));
  assert.ok(testFiles({ filters: [], sets: ['package'] }).includes('test/package.test.ts'));
  assert.ok(testFiles({ filters: ['cli/'], sets: [] }).every((file) => file.includes('cli/')));
  assert.ok(testFiles({ filters: ['no such'], sets: [] }).length === 0);
});

test('each item of a pool has its turn, in order, and one that fails ends the run', async () => {
  const begun: number[] = [];
  const items = Array.from({ length: 9 }, (_, i) => i);
  await pool(items, async (item) => void begun.push(item));
  assert.deepEqual(begun, items);
  await assert.rejects(
    pool(items, () => Promise.reject(new Error('no'))),
    /no/,
  );
});
