/** The package as others get it: built from a copy of the sources, packed, installed into a folder of its own. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { uncovered } from './programs.ts';

const run = promisify(execFile);
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';

const SOURCES = [
  'src',
  'scripts',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'tsconfig.client.json',
  'LICENSE',
  ...readdirSync('.').filter((name) => name.endsWith('.md')),
  'docs',
  'examples',
  'deploy',
];

export interface InstalledPackage {
  /** A project with tidings in its node_modules, and nothing else of ours. */
  folder: string;
  /** The packed package. */
  tarball: string;
  remove(): void;
}

/** Nothing is fetched: the one dependency is installed from our own node_modules. */
export async function installPackage(): Promise<InstalledPackage> {
  const tarball = await pack();
  const folder = mkdtempSync(join(tmpdir(), 'tidings-project-'));
  writeFileSync(join(folder, 'package.json'), '{"name":"project","version":"1.0.0","private":true}');
  const dependencies = ['redis-parser', 'redis-errors'].map((name) => resolve('node_modules', name));
  const flags = ['--offline', '--install-links', '--no-audit', '--no-fund'];
  await run(npm, ['install', ...flags, tarball, ...dependencies], { cwd: folder, env: uncovered });
  return { folder, tarball, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Packs what the sources are at this moment; several test files share the result. */
async function pack(): Promise<string> {
  const cache = resolve('node_modules/.cache/tidings-package');
  const hash = createHash('sha256');
  for (const path of [import.meta.filename, ...SOURCES.flatMap(filesOf)])
    hash.update(`${path}\0`).update(readFileSync(path));
  const tarball = join(cache, `${hash.digest('hex').slice(0, 32)}.tgz`);
  if (existsSync(tarball)) return tarball;

  mkdirSync(cache, { recursive: true });
  // Not below node_modules: what is imported from there the compiler takes for somebody else's.
  const copy = mkdtempSync(join(tmpdir(), 'tidings-build-'));
  try {
    for (const path of SOURCES) cpSync(path, join(copy, path), { recursive: true });
    symlinkSync(resolve('node_modules'), join(copy, 'node_modules'));
    // Runs the build, as "prepack" in package.json says.
    await run(npm, ['pack', '--loglevel=error'], { cwd: copy, env: uncovered });
    const [packed] = readdirSync(copy).filter((name) => name.endsWith('.tgz'));
    const fresh = `${tarball}.${process.pid}`;
    copyFileSync(join(copy, packed as string), fresh);
    renameSync(fresh, tarball);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  for (const name of readdirSync(cache)) {
    const path = join(cache, name);
    // A younger one may be of another work tree whose tests run just now.
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (name.endsWith('.tgz') && age > 3_600_000) rmSync(path, { force: true });
  }
  return tarball;
}

function filesOf(path: string): string[] {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
