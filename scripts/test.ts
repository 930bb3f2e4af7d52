/**
 * `npm test [-- FILTER …] [--set browser|programs|package] [--all]`: runs the test files below test/ whose path contains
 * a FILTER, or those of a set, or all of them; without any of these, all but the sets. First it sees to the programs that
 * they need. A line says what became of each file; what failed, and what could not run and why, stands at the end. With
 * CI=true every test must run. Where all are run, what they cover must keep to the limits of .c8rc.json.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { importsOf } from '../test/support/imports.ts';
import { LACKING, type ProgramName, programs, provide } from '../test/support/programs.ts';
import { covered, forgetCoverage, reportCoverage } from './testing/coverage.ts';
import { APART, isSet, testFiles } from './testing/files.ts';
import { endAll, runFile } from './testing/one-file.ts';
import { pool } from './testing/pool.ts';
import { Report } from './testing/report.ts';

const { values, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: { set: { type: 'string', multiple: true }, all: { type: 'boolean' } },
});
const sets = (values.set ?? []).filter(isSet);
if (sets.length < (values.set ?? []).length) fail(`the sets are ${Object.keys(APART).join(', ')}`);

const usual = testFiles({ filters: [], sets: [] });
const asked = testFiles({ filters, sets });
const apart = Object.keys(APART).filter(isSet);
const files = values.all ? testFiles({ filters: ['test/'], sets: apart }) : asked;
if (files.length === 0) fail(`no test file matches ${filters.join(' ')}`);
const isWhole = values.all || filters.length + sets.length === 0;

provide(programsOf(files));

const report = new Report(files.length);
const counts = new Set(isWhole ? usual : []);
if (isWhole) forgetCoverage();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    endAll();
    report.conclude();
    process.exit(1);
  });
}
await pool(
  files,
  async (file) => {
    report.began(file);
    report.ended(await runFile(file, counts.has(file) ? covered() : process.env));
  },
  // A browser is several processes, and pages give up what takes too long.
  (file) => (file.includes('browser/') ? 4 : 1),
);
report.conclude();
if (report.failed) process.exitCode = 1;
if (report.lacks(LACKING) && process.env.CI === 'true') fail('CI=true: every test must run');
if (isWhole && !report.failed) {
  if (report.lacks(LACKING)) console.log('what is covered was not looked at, as not all tests ran');
  else if (!reportCoverage()) process.exitCode = 1;
}

/** The programs that the files, or what they import, speak of. */
function programsOf(tests: string[]): ProgramName[] {
  const names = Object.keys(programs) as ProgramName[];
  const seen = new Set<string>();
  const spoken = new Set<ProgramName>();
  for (const next = [...tests]; next.length > 0; ) {
    const file = next.pop()!;
    if (seen.has(file)) continue;
    seen.add(file);
    const source = readFileSync(file, 'utf8');
    const imported = importsOf(source).filter((name) => /^\.{1,2}\/.*\.ts$/.test(name));
    if (imported.some((name) => name.endsWith('support/programs.ts') || name === './programs.ts')) {
      for (const name of names) if (source.includes(`'${name}'`)) spoken.add(name);
    }
    // Imports within texts lead nowhere, src/ to no program.
    const files = imported.map((name) => join(dirname(file), name));
    next.push(...files.filter((name) => !name.startsWith('src') && existsSync(name)));
  }
  return names.filter((name) => spoken.has(name));
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
