/** Releases of tidings whose packages are kept in test/releases: they run as they did then. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export interface Release {
  version: string;
  /** Its program. */
  cli: string;
  /** The script of its pages, of `tidings.js`. */
  script: string;
}

export const releases: string[] = readdirSync('test/releases').filter((name) => name.endsWith('.tgz'));

/** Takes a package out of its file, until the test is over. */
export function release(t: TestContext, name: string): Release {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-release-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  execFileSync('tar', ['-xzf', join('test/releases', name), '-C', folder]);
  const root = join(folder, 'package');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return {
    version,
    cli: join(root, 'dist/cli.js'),
    script: readFileSync(join(root, 'dist/client/tidings.js'), 'utf8'),
  };
}
