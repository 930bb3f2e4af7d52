/**
 * Stores that Debian has in a later release: fetched by apt-get, of which only `download` is asked, and
 * unpacked below node_modules/.cache. Nothing is installed, and it takes no root.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';

/** Debian's next release, by its packages; and of the same release the libraries that they need, where ours are older. */
const SUITE = 'trixie';
const LIBRARIES = [
  ...[
    'libc6',
    'libstdc++6',
    'libgcc-s1',
    'libatomic1',
    'libssl3t64',
    'libsystemd0',
    'libjemalloc2',
    'liblzf1',
  ],
  ...['libcap2', 'libzstd1', 'zlib1g'],
];

interface Store {
  package: string;
  /** The server goes by the name of another program as well, and asks what it was called by. */
  program: string;
}

const STORES: Record<string, Store> = {
  valkey: { package: 'valkey-tools', program: 'usr/bin/valkey-check-rdb' },
  8: { package: 'redis-tools', program: 'usr/bin/redis-check-rdb' },
};

const CACHE = resolve('node_modules/.cache/tidings-stores');

/** @returns the folder that has it, by the name redis-server. @throws where it can't be had, saying why */
export function fetchStore(name: string): string {
  const store = STORES[name];
  if (store === undefined) throw new Error(`nobody knows where to get ${name}`);
  const place = join(CACHE, name);
  if (!existsSync(join(place, 'redis-server'))) fetch(store, place);
  const version = execFileSync(join(place, 'redis-server'), ['--version'], { encoding: 'utf8' });
  console.log(`# ${version.trim()}`);
  return place;
}

function fetch({ package: own, program }: Store, place: string): void {
  mkdirSync(CACHE, { recursive: true });
  const fresh = mkdtempSync(`${place}-`);
  try {
    for (const folder of ['lists/partial', 'archives/partial', 'root'])
      mkdirSync(join(fresh, folder), { recursive: true });
    writeFileSync(join(fresh, 'sources.list'), `deb http://deb.debian.org/debian ${SUITE} main\n`);
    const options = {
      'Dir::Etc::sourcelist': join(fresh, 'sources.list'),
      'Dir::Etc::sourceparts': '-',
      'Dir::State::lists': join(fresh, 'lists'),
      'Dir::Cache': fresh,
      'APT::Sandbox::User': '',
    };
    const flags = Object.entries(options).flatMap(([option, value]) => ['-o', `${option}=${value}`]);
    const apt = (...args: string[]) =>
      execFileSync('apt-get', ['-q', ...flags, ...args], {
        cwd: fresh,
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: 120_000,
      });
    apt('update');
    apt('download', own, ...LIBRARIES);
    const root = join(fresh, 'root');
    for (const file of readdirSync(fresh)) {
      if (file.endsWith('.deb')) execFileSync('dpkg-deb', ['--extract', join(fresh, file), root]);
    }
    const folders = [
      'usr/lib/x86_64-linux-gnu',
      'lib/x86_64-linux-gnu',
      'usr/lib/aarch64-linux-gnu',
      'lib/aarch64-linux-gnu',
    ];
    const libraries = folders.map((folder) => `"$here/root/${folder}"`).join(':');
    const loader = folders
      .flatMap((folder) =>
        ['ld-linux-x86-64.so.2', 'ld-linux-aarch64.so.1'].map((file) => join(folder, file)),
      )
      .find((file) => existsSync(join(root, file)));
    if (loader === undefined) throw new Error('there is no loader for this processor');
    // Under the name of a server, and with the loader and the libraries of its own release.
    const run = `exec "$here/root/${loader}" --argv0 redis-server --library-path ${libraries} "$here/root/${program}" "$@"`;
    writeFileSync(
      join(fresh, 'redis-server'),
      `#!/bin/bash\nhere=$(dirname "$(readlink -f "$0")")\n${run}\n`,
    );
    chmodSync(join(fresh, 'redis-server'), 0o755);
    chmodSync(fresh, 0o755);
    for (const folder of ['lists', 'archives']) rmSync(join(fresh, folder), { recursive: true });
    rmSync(place, { recursive: true, force: true });
    renameSync(fresh, place);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    const { stderr } = error as { stderr?: Buffer };
    throw new Error(`Debian's ${SUITE} can't be asked for ${own}: ${String(stderr || error).trim()}`);
  }
}
