/** The package as others get it: built from a copy of the sources, packed, installed into a folder of its own. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';

export interface InstalledPackage {
  /** A project with tidings in its node_modules, and nothing else of ours. */
  folder: string;
  /** The paths inside the package. */
  files: string[];
  remove(): void;
}

/** Nothing is fetched: the one dependency is installed from our own node_modules. */
export async function installPackage(): Promise<InstalledPackage> {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-package-'));
  const source = join(folder, 'source');
  mkdirSync(source);
  for (const path of [
    'src',
    'scripts',
    'package.json',
    'tsconfig.json',
    'tsconfig.client.json',
    'LICENSE',
    'README.md',
    'CHANGELOG.md',
  ]) {
    cpSync(path, join(source, path), { recursive: true });
  }
  symlinkSync(resolve('node_modules'), join(source, 'node_modules'));
  const { stdout } = await run(npm, ['pack', '--json', '--loglevel=error'], { cwd: source });
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [
    { filename: string; files: { path: string }[] },
  ];

  const project = join(folder, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{"name":"project","version":"1.0.0","private":true}');
  const dependencies = ['redis-parser', 'redis-errors'].map((name) => resolve('node_modules', name));
  await run(
    npm,
    [
      'install',
      '--offline',
      '--install-links',
      '--no-audit',
      '--no-fund',
      join(source, packed.filename),
      ...dependencies,
    ],
    { cwd: project },
  );
  return {
    folder: project,
    files: packed.files.map(({ path }) => path),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
