/** `npm run bench -- … --base DIR`: the tidings of another checkout runs beside our own, in every table. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { needs, typescript } from '../support/programs.ts';

interface Result {
  results: {
    row: { id: string; scenario: string; table?: string };
    peers: { name: string; failure?: string }[];
  }[];
}

/** The tables of each run, by whom they measure: what is measured is built once for all of them. */
const RUNS = { tidings: ['resp', 'codec', 'echo'], push: ['fanout'] };

let all: Result['results'] = [];
before(
  async () => {
    if (needs('redis').skip) return;
    for (const [peers, tables] of Object.entries(RUNS)) {
      const words = ['--short', '--time', '0.05', '--quiet', '--json', '--base', '.', '--peers', peers];
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [...typescript, 'bench/run.ts', ...tables, ...words],
        { maxBuffer: 64 * 1024 * 1024 },
      );
      all = all.concat((JSON.parse(stdout) as Result).results);
    }
  },
  { timeout: 540_000 },
);

for (const table of Object.values(RUNS).flat()) {
  test(`${table}: what is ours is measured twice`, needs('redis'), () => {
    const results = all.filter(({ row }) => (row.table ?? row.scenario.split('-')[0]) === table);
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
