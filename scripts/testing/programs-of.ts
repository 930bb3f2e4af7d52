/** Which programs test files need. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { importsOf } from '../../test/support/imports.ts';
import { type ProgramName, programs } from '../../test/support/programs.ts';

/** The programs that the files, or what they import, speak of. */
export function programsOf(tests: string[]): ProgramName[] {
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
