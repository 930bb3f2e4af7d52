/**
 * The programs that tests run for real: where they are, how they get here, and what to say where they can't.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Program {
  /** Names to look for on PATH, best first. */
  names: string[];
  /** Debian's packages that bring it, with a space between. */
  package: string;
}

const MONO = `mono-mcs ${['net-http', 'runtime-serialization', 'xml-linq'].map((name) => `libmono-system-${name}4.0-cil`).join(' ')}`;

export const programs = {
  redis: { names: ['redis-server', 'valkey-server'], package: 'redis-server' },
  chromium: { names: ['chromium', 'chromium-browser', 'google-chrome'], package: 'chromium' },
  nginx: { names: ['nginx'], package: 'nginx-light' },
  nc: { names: ['nc'], package: 'netcat-openbsd' },
  curl: { names: ['curl'], package: 'curl' },
  haproxy: { names: ['haproxy'], package: 'haproxy' },
  java: { names: ['javac'], package: 'default-jdk-headless' },
  php: { names: ['php'], package: 'php-cli' },
  openssl: { names: ['openssl'], package: 'openssl' },
  python: { names: ['python3'], package: 'python3' },
  go: { names: ['go'], package: 'golang-go' },
  mono: { names: ['mcs'], package: MONO },
} satisfies Record<string, Program>;

export type ProgramName = keyof typeof programs;

/** For child processes that would only be slowed by having their coverage taken. */
export const uncovered: NodeJS.ProcessEnv = { ...process.env, NODE_V8_COVERAGE: undefined };

/** The path of a program, or undefined where it isn't installed. */
export function find(name: ProgramName): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'];
  for (const file of programs[name].names) {
    for (const folder of folders) {
      const path = join(folder, file);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here: the next folder.
      }
    }
  }
  return undefined;
}

/** Installs the programs that are missing where that can be done. */
export function provide(): void {
  const missing = (Object.keys(programs) as ProgramName[]).filter((name) => find(name) === undefined);
  install(missing.flatMap((name) => programs[name].package.split(' ')));
}

/** Installs packages on Debian, as root; elsewhere it does nothing. */
export function install(packages: string[]): void {
  if (packages.length === 0 || !existsSync('/etc/debian_version') || process.getuid?.() !== 0) return;
  console.error(`installing ${packages.join(', ')} for the tests`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore', env });
  const { status } = spawnSync('apt-get', ['install', '-qy', '--no-install-recommends', ...packages], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env,
  });
  if (status !== 0) console.error(`apt-get install ${packages.join(' ')} failed with status ${status}`);
}

/**
 * Options for node:test: `test(name, needs('redis'), fn)` runs where the programs are here, and is
 * otherwise reported, with the reason, at the end of `npm test`.
 */
export function needs(...names: ProgramName[]): { skip: string | false } {
  const missing = names.filter((name) => find(name) === undefined);
  if (missing.length === 0) return { skip: false };
  const reason = `${missing.map((n) => programs[n].names.join(' or ')).join(', ')} not on PATH (Debian: apt-get install ${missing
    .map((n) => programs[n].package)
    .join(' ')})`;
  const notes = process.env.TIDINGS_NOT_RUN;
  const file = process.argv[1] ?? 'a test';
  if (notes) writeFileSync(join(notes, `${process.pid}-${names.join('-')}`), `${file}: ${reason}`);
  return { skip: reason };
}
