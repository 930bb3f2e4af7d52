/** The package as others get it: built from a copy of the sources, packed, installed into a folder of its own. */
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { madeOnce } from './made-once.ts';
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
  const project = await install(tarball);
  const folder = mkdtempSync(join(tmpdir(), 'tidings-project-'));
  cpSync(project, folder, { recursive: true, verbatimSymlinks: true });
  return { folder, tarball, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

const FOLDER = 'node_modules/.cache/tidings-package';

/** Packs what the sources are at this moment. */
function pack(): Promise<string> {
  const sources = ['test/support/package.ts', ...SOURCES];
  return madeOnce({ name: 'tidings.tgz', sources, folder: FOLDER }, async (path) => {
    // Not below node_modules: what is imported from there the compiler takes for somebody else's.
    const copy = mkdtempSync(join(tmpdir(), 'tidings-build-'));
    try {
      for (const each of SOURCES) cpSync(each, join(copy, each), { recursive: true });
      symlinkSync(resolve('node_modules'), join(copy, 'node_modules'));
      // Runs the build, as "prepack" in package.json says.
      await run(npm, ['pack', '--loglevel=error'], { cwd: copy, env: uncovered });
      const [packed] = readdirSync(copy).filter((name) => name.endsWith('.tgz'));
      copyFileSync(join(copy, packed as string), path);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
}

/** A project in which there is the package alone, as npm installs it. */
function install(tarball: string): Promise<string> {
  return madeOnce({ name: 'project', sources: [tarball], folder: FOLDER }, async (path) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-project-'));
    try {
      writeFileSync(join(folder, 'package.json'), '{"name":"project","version":"1.0.0","private":true}');
      const dependencies = ['redis-parser', 'redis-errors'].map((name) => resolve('node_modules', name));
      const flags = ['--offline', '--install-links', '--no-audit', '--no-fund'];
      await run(npm, ['install', ...flags, tarball, ...dependencies], { cwd: folder, env: uncovered });
      cpSync(folder, path, { recursive: true, verbatimSymlinks: true });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
