/** What is made of sources, such as a bundle: once for all test files, and anew when a source has changed. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

export interface Wanted {
  /** Of the file or folder that is made; with an extension, if it has one. */
  name: string;
  /** Files, and folders with all in them. */
  sources: string[];
  /** Where it is kept. Default: within the project, as what is made may import packages. */
  folder?: string;
}

/**
 * @param make writes the file or the folder to a path, where nothing is
 * @returns its path
 */
export async function madeOnce(
  { name, sources, folder = 'test/dist' }: Wanted,
  make: (path: string) => Promise<unknown>,
): Promise<string> {
  const hash = createHash('sha256');
  for (const path of sources.flatMap(filesOf)) hash.update(`${path}\0`).update(readFileSync(path));
  const [, stem, extension] = /^(.*?)(\.\w+)?$/.exec(name)!;
  const path = resolve(folder, `${stem}-${hash.digest('hex').slice(0, 16)}${extension ?? ''}`);
  if (existsSync(path)) return path;
  const own = `${path}.${process.pid}`;
  mkdirSync(folder, { recursive: true });
  await make(own);
  try {
    // Processes that start together make the same; none may have half of it.
    renameSync(own, path);
  } catch (error) {
    // A folder does not take the place of another.
    rmSync(own, { recursive: true, force: true });
    if (!existsSync(path)) throw error;
  }
  for (const other of readdirSync(folder)) {
    const old = join(folder, other);
    // A younger one may be in use just now.
    const age = Date.now() - (statSync(old, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (age > 3_600_000) rmSync(old, { recursive: true, force: true });
  }
  return path;
}

function filesOf(path: string): string[] {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
