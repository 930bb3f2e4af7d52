/** What `npm test` says of files that fail, hang, crash or can't run: scripts/testing. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import { runAgain } from '../scripts/testing/again.ts';
import { APART, LONG, SETS, testFiles } from '../scripts/testing/files.ts';
import { type Outcome, runFile } from '../scripts/testing/one-file.ts';
import { pool } from '../scripts/testing/pool.ts';
import { Report } from '../scripts/testing/report.ts';
import { until } from './support/net.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidings-testing-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

async function outcome(body: string, limit = 60_000): Promise<Outcome> {
  const file = join(folder, `${files++}.test.ts`);
  writeFileSync(file, `import { describe, test } from 'node:test';\n${body}`);
  return runFile(file, process.env, { limit });
}

/** Test files begin so that wait for what never comes. */
const WAITING = `import { until } from '${resolve('test/support/net.ts')}';
  const wait = () => until('a message', () => false);`;
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

  test('with a test that waits in vain: for what', async () => {
    const result = await outcome(`${WAITING} test('waits', { timeout: 500 }, wait);`);
    assert.match(errors(result), /timed out after 500ms\nit was waiting for: a message \(\d+ s\)$/m);
  });

  // Side by side, as each takes all of its time.
  describe('beyond its time', { concurrency: true }, () => {
    /** Milliseconds: a machine that is busy takes some of them to start a file. */
    const PATIENCE = 12_000;

    test('that hangs: in which test, and what it has started ends with it', async () => {
      const result = await outcome(
        `import { spawn } from 'node:child_process';
         test('is fine', () => {});
         test('waits for ever', () => {
           console.log(spawn('sleep', ['600']).pid);
           return new Promise(() => setInterval(() => {}, 1000));
         });`,
        PATIENCE,
      );
      assert.equal(result.passed, 1);
      assert.match(
        errors(result),
        /did not end within 12 s .*\n {2}waits for ever \(line 4\)\nopen in the process: /s,
      );
      const pid = Number(result.output.match(/\d+/)![0]);
      await until('its child to end', () => !isAlive(pid));
    });

    test('that something keeps up after its tests', async () => {
      const result = await outcome(`test('is fine', () => { setInterval(() => {}, 1000); });`, PATIENCE);
      assert.match(errors(result), /did not end .* after the last of its tests/);
    });

    test('that waits in vain: for what', async () => {
      const result = await outcome(`${WAITING} test('waits', wait);`, PATIENCE);
      assert.match(errors(result), /\n {2}waits .*\nit was waiting for: a message \(\d+ s\)\n/s);
    });

    test('that does not come back: in which test', async () => {
      const result = await outcome(
        `test('counts for ever', () => new Promise(() => setTimeout(() => { for (;;); }, 100)));`,
        PATIENCE,
      );
      assert.match(errors(result), /\n {2}counts for ever \(line 2\)\nits event loop stood still$/);
    });
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

test('each file is of one set, and each set has files; a word finds files of all sets', () => {
  const all = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.test.ts'),
  );
  const sets = SETS.map((set) => testFiles({ sets: [set] }));
  for (const [i, files] of sets.entries()) assert.ok(files.length > 0, SETS[i]);
  assert.deepEqual(sets.flat().sort(), all.map((file) => join('test', file)).sort());
  assert.deepEqual(testFiles({ sets: SETS }).sort(), sets.flat().sort());
  const [usual] = sets;
  assert.ok(usual!.includes('test/testing.test.ts'));
  assert.ok(!usual!.some((file) => /test\/(?:browser\/|cli\/|package)/.test(file)));
  assert.ok(testFiles({ sets: ['package'] }).includes('test/package.test.ts'));
  const ofCli = testFiles({ filters: ['cli/'] });
  assert.ok(ofCli.length > 0 && ofCli.every((file) => file.includes('cli/')));
  assert.deepEqual(testFiles({ filters: ['no such'] }), []);
});

test('what is said of files is said of files that there are', () => {
  const files = testFiles({ sets: SETS });
  for (const part of [...Object.values(APART).flat(), ...LONG]) {
    assert.ok(
      files.some((file) => file.startsWith(join('test', part))),
      part,
    );
  }
});

test('each set has its command, which CONTRIBUTING.md names', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  for (const set of Object.keys(APART)) {
    assert.match(scripts[`test:${set}`] ?? '', new RegExp(`scripts/test\\.ts --set ${set}$`));
    assert.match(readFileSync('CONTRIBUTING.md', 'utf8'), new RegExp(`^npm run test:${set} .*#`, 'm'));
  }
});

test('what failed is run again: what passes then is unsteady and told so, what does not has failed; not where it is many', async (t) => {
  const said: string[] = [];
  t.mock.method(console, 'log', (text: string) => said.push(text));
  const outcome = (file: string, ...errors: string[]): Outcome => ({
    ...{ file, seconds: 1, passed: 1, skipped: new Map(), output: `${file} was here` },
    failures: errors.map((error) => ({ names: ['it'], line: 7, error })),
  });
  const play = async (...failing: string[]) => {
    const report = new Report(5);
    said.length = 0;
    report.ended(outcome('fine'));
    for (const file of failing) report.ended(outcome(file, `${file} the first time`));
    const again: string[] = [];
    await runAgain(report, async (file) => {
      again.push(file);
      return file.startsWith('bad') ? outcome(file, `${file} the second time`) : outcome(file);
    });
    report.conclude();
    return { again, failed: report.failed, text: said.join('\n') };
  };
  const some = await play('shaky', 'bad');
  assert.deepEqual([some.again, some.failed], [['shaky', 'bad'], ['bad']]);
  assert.match(some.text, /unsteady shaky:7\n {2}it\n {4}shaky the first time\n\noutput of shaky:/);
  assert.match(some.text, /not ok bad:7\n {2}it\n {4}bad the second time\n/);
  assert.match(some.text, /\n3 files in 0 s: 3 tests passed, 1 failed, 0 not run\n/);
  assert.match(some.text, /unsteady: shaky failed, and passed when it was run again, alone\nfailed: bad$/);
  const many = ['a', 'b', 'c', 'd'];
  const all = await play(...many);
  assert.deepEqual([all.again, all.failed], [[], many]);
  assert.doesNotMatch(all.text, /unsteady/);
});

test('each item of a pool has its turn, in order, the busy ones among the others, and one that fails ends the run', async () => {
  const items = Array.from({ length: 9 }, (_, i) => i);
  const isBusy = (item: number): boolean => item % 3 === 0;
  const begun: number[] = [];
  await pool(items, async (item) => void begun.push(item), isBusy);
  const [busy, others] = [begun.filter(isBusy), begun.filter((item) => !isBusy(item))];
  assert.deepEqual([...busy, ...others], [0, 3, 6, 1, 2, 4, 5, 7, 8]);

  // All that are busy wait for one of the others.
  let came = (): void => {};
  const another = new Promise<void>((done) => {
    came = done;
  });
  await pool(items, async (item) => (isBusy(item) ? another : came()), isBusy);
  await assert.rejects(
    pool(items, () => Promise.reject(new Error('no'))),
    /no/,
  );
});
