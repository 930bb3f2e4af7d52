/**
 * `npm run matrix [-- node=22,24 redis=none|valkey|8 user=nobody] [--whole] [--again]`: tests on machines of other kinds.
 * Without words: on each Node that we serve but the one that runs this (`npm test` is on that), without a store, with other
 * stores than the machine's, as a user who is not root; each with the tests that tell most about it. With words: in each
 * cell that can be made of them. `--whole`: the build, and all tests of the usual and the heavy set, in each cell. All cells
 * run side by side. A store or a user that can't be had is left out, and said; a Node fails the run. `--again` as for
 * scripts/test.ts.
 */
import { spawnSync } from 'node:child_process';
import { delimiter, dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { provide } from '../test/support/programs.ts';
import { type Cell, cellsOf, nameOf, testsOf, usual } from './matrix/cells.ts';
import { LeftOut, nodeOf, type Place, placeFor } from './matrix/places.ts';
import { fetchStore } from './matrix/stores.ts';
import { runAgain } from './testing/again.ts';
import { byLength, isApart, testFiles } from './testing/files.ts';
import { endAll, runFile } from './testing/one-file.ts';
import { pool } from './testing/pool.ts';
import { programsOf } from './testing/programs-of.ts';
import { Report } from './testing/report.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { whole: { type: 'boolean', default: false }, again: { type: 'boolean', default: false } },
});

/** A cell that is ready: which Node runs it, where, with what around it. */
interface Ready {
  name: string;
  place: Place;
  env: NodeJS.ProcessEnv;
  files: string[];
}

let cells: Cell[];
try {
  cells = positionals.length > 0 ? cellsOf(positionals) : usual(process.versions.node.split('.')[0]!);
} catch (error) {
  console.error((error as Error).message);
  process.exit(2);
}

/** By the name of the cell; of those that are not wrong, too. */
const verdicts = new Map<string, string>();
const ready: Ready[] = [];
process.on('exit', () => {
  for (const { place } of ready) place.remove();
});
await Promise.all(
  cells.map(async (cell) => {
    try {
      ready.push(prepare(cell, await nodeOf(cell.node)));
    } catch (error) {
      const { message } = error as Error;
      verdicts.set(nameOf(cell), error instanceof LeftOut ? `left out: ${message}` : message);
      if (!(error instanceof LeftOut)) process.exitCode = 1;
    }
  }),
);

const items = new Map(
  ready
    .flatMap((cell) => cell.files.map((file) => ({ cell, file })))
    .sort((a, b) => byLength(a.file, b.file))
    .map((item) => [`${item.cell.name} ${item.file}`, item]),
);
provide(programsOf([...new Set([...items.values()].map(({ file }) => file))]));

const report = new Report(items.size);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    endAll();
    report.conclude();
    process.exit(1);
  });
}
/** By label. */
const passed = new Map<string, number>();
const run = async (label: string) => {
  const { cell, file } = items.get(label)!;
  // What else goes on at the same time may be about time.
  const outcome = await runFile(file, cell.env, { place: cell.place, givesWay: true });
  passed.set(label, outcome.passed);
  return { ...outcome, file: label };
};
await pool(
  [...items.keys()],
  async (label) => {
    report.began(label);
    report.ended(await run(label));
  },
  (label) => isApart(items.get(label)!.file),
);
if (values.again) await runAgain(report, run);
report.conclude();
for (const label of report.failed) verdicts.set(items.get(label)!.cell.name, 'tests fail');
if (report.failed.length > 0) process.exitCode = 1;
console.log('');
for (const name of cells.map(nameOf)) {
  const own = [...passed].filter(([label]) => items.get(label)!.cell.name === name);
  const count = own.reduce((sum, [, each]) => sum + each, 0);
  console.log(`${name}: ${verdicts.get(name) ?? `all is well (${count} tests)`}`);
}

/** @throws where the cell can't be had, or its build fails */
function prepare(cell: Cell, node: string): Ready {
  let place: Place;
  let bins: string[];
  try {
    bins = cell.redis === 'own' || cell.redis === 'none' ? [] : [fetchStore(cell.redis)];
    place = placeFor(cell.user, node);
  } catch (error) {
    throw new LeftOut((error as Error).message);
  }
  const { folder, owner } = place;
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    // Programs that tests start find the same Node and the same store.
    PATH: [...bins, dirname(place.node), process.env.PATH].join(delimiter),
    // What is not there is meant not to be there.
    CI: undefined,
    NODE_V8_COVERAGE: undefined,
    // PostgreSQL is no different where only Redis is: that is tested on the machine as it is.
    ...(cell.redis !== 'own' && { TEST_WITHOUT: cell.redis === 'none' ? 'redis,postgres' : 'postgres' }),
    ...(owner !== undefined && { HOME: `${folder}/home`, TMPDIR: undefined }),
  };
  if (values.whole) {
    const options = { ...owner, cwd: folder, env, stdio: 'inherit' } as const;
    const { status } = spawnSync(
      place.node,
      ['--import', './scripts/typescript.mjs', 'scripts/build.ts'],
      options,
    );
    if (status !== 0) {
      place.remove();
      throw new Error('the build fails');
    }
  }
  const files = testFiles(values.whole ? { sets: ['usual', 'heavy'] } : { filters: testsOf(cell) });
  return { name: nameOf(cell), place, env, files };
}
