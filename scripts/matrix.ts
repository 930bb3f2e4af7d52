/**
 * `npm run matrix [-- node=22,24 redis=none|valkey|8 user=nobody] [--whole]`: tests on machines of other kinds. Without
 * words: on each Node that we serve but the one that runs this (`npm test` is on that), without a store, with other
 * stores than the machine's, as a user who is not root; each with the tests that tell most about it. With words: in each
 * cell that can be made of them. `--whole`: the build, and all tests that `npm test` has, in each cell. A store or a user
 * that can't be had is left out, and said; a Node fails the run.
 */
import { spawnSync } from 'node:child_process';
import { delimiter, dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { type Cell, cellsOf, nameOf, testsOf, usual } from './matrix/cells.ts';
import { nodeOf, placeFor } from './matrix/places.ts';
import { fetchStore } from './matrix/stores.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { whole: { type: 'boolean', default: false } },
});

interface Result {
  cell: Cell;
  /** What became of it. */
  text: string;
  isWrong: boolean;
  seconds: number;
}

function run(cell: Cell): Result {
  const began = performance.now();
  const result = (text: string, isWrong: boolean): Result => ({
    cell,
    text,
    isWrong,
    seconds: Math.round((performance.now() - began) / 1000),
  });
  console.log(`\n# ${nameOf(cell)}`);
  let node: string;
  try {
    node = nodeOf(cell.node);
  } catch (error) {
    return result((error as Error).message, true);
  }
  try {
    const bins = cell.redis === 'own' || cell.redis === 'none' ? [] : [fetchStore(cell.redis)];
    const place = placeFor(cell.user, node);
    try {
      const wrong = check(cell, place, bins);
      return result(wrong ?? 'all is well', wrong !== undefined);
    } finally {
      place.remove();
    }
  } catch (error) {
    return result(`left out: ${(error as Error).message}`, false);
  }
}

/** @returns what is wrong; undefined if nothing is */
function check(cell: Cell, place: ReturnType<typeof placeFor>, bins: string[]): string | undefined {
  const { folder, owner } = place;
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    // Programs that tests start find the same Node and the same store.
    PATH: [...bins, dirname(place.node), process.env.PATH].join(delimiter),
    // What is not there is meant not to be there.
    CI: undefined,
    NODE_V8_COVERAGE: undefined,
    ...(cell.redis === 'none' && { TEST_WITHOUT: 'redis' }),
    ...(owner !== undefined && { HOME: `${folder}/home`, TMPDIR: undefined }),
  };
  const node = (...args: string[]): boolean =>
    spawnSync(place.node, ['--import', './scripts/typescript.mjs', ...args], {
      ...owner,
      cwd: folder,
      env,
      stdio: 'inherit',
    }).status === 0;
  if (values.whole && !node('scripts/build.ts')) return 'the build fails';
  if (!node('scripts/test.ts', ...(values.whole ? [] : testsOf(cell)))) return 'tests fail';
  return undefined;
}

let cells: Cell[];
try {
  cells = positionals.length > 0 ? cellsOf(positionals) : usual(process.versions.node.split('.')[0]!);
} catch (error) {
  console.error((error as Error).message);
  process.exit(2);
}
const results = cells.map(run);
console.log('');
for (const { cell, text, seconds } of results) console.log(`${nameOf(cell)}: ${text} (${seconds} s)`);
process.exitCode = results.some(({ isWrong }) => isWrong) ? 1 : 0;
