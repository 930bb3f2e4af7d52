/** For the build: the declarations of the package, once, for whoever imports or requires it. */
import { readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const SPECIFIER = /((?:\bfrom|\bimport\(|\bimport|\bdeclare module) ?')(\.[^']+)\.ts'/g;

/**
 * Keeps in `folder`, where the compiler has put a declaration for each module, those that the entries lead to, and has them
 * name each other as files of JavaScript, as every compiler understands.
 * @param entries paths below `folder`, without `.d.ts`
 */
export function pruneDeclarations(folder: string, entries: string[]): void {
  const kept = new Set<string>();
  const visit = (file: string): void => {
    if (kept.has(file)) return;
    kept.add(file);
    const text = readFileSync(file, 'utf8').replace(SPECIFIER, "$1$2.js'");
    writeFileSync(file, text);
    for (const [, specifier = ''] of text.matchAll(/'(\.[^']+)\.js'/g))
      visit(join(dirname(file), `${specifier}.d.ts`));
  };
  for (const entry of entries) visit(join(folder, `${entry}.d.ts`));
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !kept.has(path)) rmSync(path);
  }
  removeEmpty(folder);
}

function removeEmpty(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmpty(join(folder, entry.name));
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}
