/** Which Node runs a cell, and where: another user gets a copy of the sources that is his. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

export interface Place {
  folder: string;
  node: string;
  /** Of whom the processes are; undefined: of us. */
  owner: { uid: number; gid: number } | undefined;
  remove(): void;
}

/** It is not wrong that this machine can't have it. */
export class LeftOut extends Error {}

/** @returns the path of a Node of that version, which npm brings. @throws where it can't */
export async function nodeOf(version: string): Promise<string> {
  if (version === 'own') return process.execPath;
  const npx = process.platform === 'win32' ? 'npx.cmd' : 'npx';
  const args = ['--yes', '--package', `node@${version}`, '--', 'node', '--print', 'process.execPath'];
  const { stdout } = await promisify(execFile)(npx, args, { timeout: 300_000 }).catch(({ stderr }) => {
    throw new Error(`Node ${version} can't be had from npm:\n${stderr}`);
  });
  const path = stdout.trim();
  const actual = execFileSync(path, ['--version'], { encoding: 'utf8' }).trim().slice(1);
  if (!`${actual}.`.startsWith(`${version}.`)) throw new Error(`npm gave Node ${actual} for ${version}`);
  return path;
}

/** @throws where we may not become that user */
export function placeFor(user: string, node: string): Place {
  if (user === 'own') return { folder: resolve('.'), node, owner: undefined, remove: () => {} };
  if (process.getuid?.() !== 0) throw new Error(`only root may become ${user}`);
  const id = (kind: '-u' | '-g'): number => Number(execFileSync('id', [kind, user], { encoding: 'utf8' }));
  const owner = { uid: id('-u'), gid: id('-g') };
  const folder = mkdtempSync(join(tmpdir(), `tidings-${user}-`));
  for (const name of readdirSync('.')) {
    if (['node_modules', '.git', 'coverage'].includes(name)) continue;
    cpSync(name, join(folder, name), { recursive: true, verbatimSymlinks: true });
  }
  mkdirSync(join(folder, 'home'));
  const own = join(folder, 'home/bin/node');
  mkdirSync(dirname(own));
  // Where npm has put it, or where our own is, he may not be let in.
  copyFileSync(node, own);
  execFileSync('chown', ['-R', `${owner.uid}:${owner.gid}`, folder]);
  const modules = resolve('node_modules');
  const mayRead = spawnSync('ls', [join(modules, 'c8')], { ...owner, stdio: 'ignore' }).status === 0;
  if (mayRead) symlinkSync(modules, join(folder, 'node_modules'));
  else execFileSync('cp', ['-r', modules, join(folder, 'node_modules')]);
  return { folder, node: own, owner, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
