/**
 * `npm test [-- FILTER …] [--set usual|browser|programs|package|heavy] [--all] [--again]`: runs the test files below test/
 * whose path contains a FILTER, or those of a set, or all of them; without any of these, the usual ones. First it sees to the
 * programs that they need. A line says what became of each file; what failed, and what could not run and why, stands at the
 * end. `--again`: what has failed is run once more, alone, and told as unsteady where it passes then. With CI=true every test
 * must run. Where all are run, what they cover must keep to the limits of .c8rc.json.
 */
import { parseArgs } from 'node:util';
import { LACKING, provide } from '../test/support/programs.ts';
import { runAgain } from './testing/again.ts';
import { covered, forgetCoverage, reportCoverage } from './testing/coverage.ts';
import { COVERING, isApart, SETS, type Set as SetName, testFiles } from './testing/files.ts';
import { endAll, runFile } from './testing/one-file.ts';
import { pool } from './testing/pool.ts';
import { programsOf } from './testing/programs-of.ts';
import { Report } from './testing/report.ts';

const { values, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: {
    set: { type: 'string', multiple: true, default: [] },
    all: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
  },
});
const isSet = (name: string): name is SetName => (SETS as readonly string[]).includes(name);
if (!values.set.every(isSet)) fail(`the sets are ${SETS.join(', ')}`);
const isAsked = filters.length + values.set.length > 0;
const sets = values.all ? SETS : isAsked ? values.set.filter(isSet) : ['usual' as const];

const files = testFiles({ filters, sets });
if (files.length === 0) fail(`no test file matches ${filters.join(' ')}`);

provide(programsOf(files));

const report = new Report(files.length);
const counts = new Set(values.all ? testFiles({ sets: COVERING }) : []);
if (values.all) forgetCoverage();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    endAll();
    report.conclude();
    process.exit(1);
  });
}
const run = (file: string) => runFile(file, counts.has(file) ? covered() : process.env);
await pool(
  files,
  async (file) => {
    report.began(file);
    report.ended(await run(file));
  },
  isApart,
);
if (values.again) await runAgain(report, run);
report.conclude();
const hasFailed = report.failed.length > 0;
if (hasFailed) process.exitCode = 1;
if (report.lacks(LACKING) && process.env.CI === 'true') fail('CI=true: every test must run');
if (values.all && !hasFailed) {
  if (report.lacks(LACKING)) console.log('what is covered was not looked at, as not all tests ran');
  else if (!reportCoverage()) process.exitCode = 1;
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
