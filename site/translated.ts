/**
 * Which Chinese pages are older than their English ones. A Chinese page ends with a line that says from which text it was
 * made: `<!-- docs/inbox.md 1a2b3c4d5e6f -->`. Once it says again what the English page says:
 * `npm run translated -- docs/inbox.zh-CN.md …` writes the line anew.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { repository } from './pages.ts';

const LINE = /\n<!-- (\S+) ([0-9a-f]{12}) -->\n*$/;
const read = (file: string): string => readFileSync(join(repository, file), 'utf8');
export const englishOf = (file: string): string => file.replace('.zh-CN.md', '.md');
const digest = (file: string): string => createHash('sha256').update(read(file)).digest('hex').slice(0, 12);

/** The paths of all Chinese pages, from the root of the repository. */
export function translations(): string[] {
  const of = (folder: string) => readdirSync(join(repository, folder)).map((name) => join(folder, name));
  return [...of('.'), ...of('docs')].filter((file) => file.endsWith('.zh-CN.md')).sort();
}

/** Whether the English page was changed after this was made from it. */
export function isStale(file: string): boolean {
  const [, source, hash] = LINE.exec(read(file)) ?? [];
  return source !== englishOf(file) || hash !== digest(source);
}

/** Says of a page that it is up to date. */
function renew(file: string): void {
  const source = englishOf(file);
  writeFileSync(
    join(repository, file),
    `${read(file).replace(LINE, '\n').trimEnd()}\n\n<!-- ${source} ${digest(source)} -->\n`,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of process.argv.slice(2)) renew(file);
  const stale = translations().filter(isStale);
  console.log(
    stale.length === 0
      ? 'all Chinese pages are up to date'
      : `older than the English page: ${stale.join(', ')}`,
  );
}
