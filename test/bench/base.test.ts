/** `npm run bench -- … --base DIR`: the tidings of another checkout runs beside our own, in every table. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { needs, typescript } from '../support/programs.ts';

interface Result {
  results: { row: { id: string }; peers: { name: string; failure?: string }[] }[];
}

for (const [table, peers] of [
  ['resp', 'tidings'],
  ['codec', 'tidings'],
  ['fanout', 'push'],
  ['echo', 'tidings'],
] as const) {
  test(`${table}: what is ours is measured twice`, { timeout: 120_000, ...needs('redis') }, async () => {
    const words = ['--short', '--time', '0.05', '--quiet', '--json', '--base', '.', '--peers', peers];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...typescript, 'bench/run.ts', table, ...words],
      { maxBuffer: 64 * 1024 * 1024 },
    );
    const { results } = JSON.parse(stdout) as Result;
    assert.ok(results.length > 0);
    for (const { row, peers: measured } of results) {
      assert.deepEqual(
        measured.flatMap(({ name, failure }) =>
          failure === undefined ? [] : [`${row.id} ${name}: ${failure}`],
        ),
        [],
      );
      const names = measured.map(({ name }) => name);
      const own = names.filter((name) => /^(tidings|push)/.test(name) && !name.endsWith('@base'));
      assert.ok(own.length > 0, row.id);
      for (const name of own) assert.ok(names.includes(`${name}@base`), `${row.id}: ${name}`);
    }
  });
}
