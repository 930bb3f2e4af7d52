/** `npm run chaos`: a promise that is kept passes; one that is broken on purpose is found out. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needs, typescript, uncovered } from '../support/programs.ts';
import type { Result } from './scenario.ts';

const program = fileURLToPath(new URL('run.ts', import.meta.url));

function run(...args: string[]): Promise<{ status: number; output: string; errors: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...typescript, program, ...args],
      { env: uncovered },
      (error, output, errors) => resolve({ status: error ? Number(error.code) : 0, output, errors }),
    );
  });
}

async function results(...args: string[]): Promise<{ status: number; results: Result[]; failed: string[] }> {
  const { status, output, errors } = await run('--short', '--json', ...args);
  assert.notEqual(output, '', errors);
  return { status, ...JSON.parse(output) };
}

describe('npm run chaos', { ...needs('redis'), timeout: 900_000 }, () => {
  test('cut connections and a rewound store: nothing lost, twice or out of order, and every gap told', async () => {
    const { status, results: both } = await results('--scenario', '1,redis-rewind', '--messages', '200');
    assert.equal(status, 0, JSON.stringify(both));
    const [cut, rewound] = both as [Result, Result];
    assert.deepEqual([cut.scenario, rewound.scenario], ['client-cut', 'redis-rewind']);
    for (const result of both) {
      assert.ok(result.messages >= 200);
      assert.ok(result.promised > result.messages);
      assert.deepEqual([result.lost, result.duplicated, result.reordered], [0, 0, 0]);
    }
    assert.equal(cut.gaps, 0);
    assert.ok(rewound.gaps > 0 && rewound.told > 0);
  });

  test(
    'on PostgreSQL what is committed is seen once, and what a promoted standby lacks is told',
    needs('postgres'),
    async () => {
      const names = 'postgres-transactions,postgres-lossy-promotion';
      const { status, results: both } = await results(
        '--store',
        'postgres',
        '--scenario',
        names,
        '--messages',
        '200',
      );
      assert.equal(status, 0, JSON.stringify(both));
      const [lossy] = both as [Result];
      assert.ok(lossy.gaps > 0 && lossy.told > 0);
    },
  );

  for (const broken of ['recovery', 'doorbell']) {
    test(`without a guarantee (--broken ${broken}) it finds losses and ends with status 1`, async () => {
      const { status, results: found, failed } = await results('--scenario', '1', '--broken', broken);
      assert.equal(status, 1);
      assert.deepEqual(failed, ['client-cut']);
      assert.ok(found[0]!.lost > 0, JSON.stringify(found));
    });
  }

  test('a page that is told of an error it did not ask for (--broken manners) ends it with status 1', async () => {
    const { status, results: found } = await results('--scenario', 'client-cut', '--broken', 'manners');
    assert.equal(status, 1);
    assert.equal(found[0]!.lost, 0);
    assert.match(found[0]!.failures.join(), /was told of \d+ errors, such as unknown-type/);
  });

  test('callbacks that fail and clients without manners cost nobody else anything', async () => {
    const { status, results: both } = await results('--scenario', 'callbacks,impolite', '--messages', '100');
    assert.equal(status, 0, JSON.stringify(both));
    assert.deepEqual(
      both.map(({ lost, gaps }) => [lost, gaps]),
      [
        [0, 0],
        [0, 0],
      ],
    );
  });

  test('what can not be obeyed is refused with status 2', async () => {
    assert.equal((await run('--scenario', 'client-cut,typo')).status, 2);
    assert.equal((await run('--messages', 'many')).status, 2);
    assert.equal((await run('--broken', 'everything')).status, 2);
    assert.equal((await run('--store', 'redis,paper')).status, 2);
    assert.equal((await run('--store', 'postgres', '--scenario', 'sentinel-failover')).status, 2);
    const { status, output } = await run('--help');
    assert.equal(status, 0);
    assert.match(output, /--seed/);
  });
});
