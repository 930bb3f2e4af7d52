/**
 * `node --import ./scripts/typescript.mjs scripts/keep-release.ts [COMMIT]`: packs what stood at a commit (default: HEAD), and keeps of the
 * package what runs, as test/releases/tidings-VERSION.tgz. Tests have instances of that version and of this one serve the
 * same users: run it for each release, and say in test/releases/README.md of which commit.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Neither documents, nor types, nor maps, nor what only demonstrates: an instance and its page's script don't need them. */
const LEFT_OUT = ['*.map', '*.d.ts', '*.d.cts', '*.md', 'package/docs', 'package/examples', 'package/deploy'];

const [commit = 'HEAD'] = process.argv.slice(2);
// Here, so that what it needs is found in our node_modules.
const folder = mkdtempSync(resolve('release-'));
const run = (program: string, ...args: string[]): void => {
  execFileSync(program, args, { cwd: folder, stdio: ['ignore', 2, 2] });
};
try {
  execFileSync('git', ['archive', '--output', join(folder, 'source.tar'), commit]);
  run('tar', '-xf', 'source.tar');
  run('npm', 'pack', '--loglevel=error');
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const name = readdirSync(folder).find((file) => file.endsWith('.tgz'));
  mkdirSync(join(folder, 'slim'));
  run('tar', '-xzf', String(name), '-C', 'slim', ...LEFT_OUT.map((pattern) => `--exclude=${pattern}`));
  const flags = ['--sort=name', '--mtime=2000-01-01', '--owner=0', '--group=0', '--numeric-owner'];
  run('tar', ...flags, '-C', 'slim', '-I', 'gzip -9n', '-cf', 'kept.tgz', 'package');
  mkdirSync('test/releases', { recursive: true });
  copyFileSync(join(folder, 'kept.tgz'), `test/releases/tidings-${version}.tgz`);
  console.log(`test/releases/tidings-${version}.tgz`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
