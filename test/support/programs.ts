/**
 * The programs that tests run for real: where they are, how they get here, and what to say where they can't.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
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
  systemd: { names: ['systemd-notify'], package: 'systemd' },
  python: { names: ['python3'], package: 'python3' },
  go: { names: ['go'], package: 'golang-go' },
  promtool: { names: ['promtool'], package: 'prometheus' },
  prometheus: { names: ['prometheus'], package: 'prometheus' },
  bash: { names: ['bash'], package: 'bash' },
  zsh: { names: ['zsh'], package: 'zsh' },
  fish: { names: ['fish'], package: 'fish' },
  script: { names: ['script'], package: 'bsdutils' },
  mono: { names: ['mcs'], package: MONO },
} satisfies Record<string, Program>;

export type ProgramName = keyof typeof programs;

/** For child processes that would only be slowed by having their coverage taken. */
export const uncovered: NodeJS.ProcessEnv = { ...process.env, NODE_V8_COVERAGE: undefined };

/** What Node starts with to run TypeScript: a program of ours in a process of its own. */
export const typescript = ['--import', new URL('../../scripts/typescript.mjs', import.meta.url).href];

/** The path of a program, or undefined where it isn't installed. TEST_WITHOUT=redis,nginx hides some. */
export function find(name: ProgramName): string | undefined {
  if (process.env.TEST_WITHOUT?.split(',').includes(name)) return undefined;
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

/** Why nothing is installed on this machine; undefined where it can be. */
function whyNot(): string | undefined {
  if (process.env.TEST_INSTALL === 'no') return 'TEST_INSTALL is "no"';
  if (process.getuid?.() !== 0) return 'that takes root';
  if (!existsSync('/etc/debian_version')) return 'this is no Debian';
  return undefined;
}

/** Says which of the programs are missing and what becomes of that, then installs them where that can be done. */
export function provide(names: ProgramName[]): void {
  const missing = names.filter((name) => find(name) === undefined);
  if (missing.length === 0) return;
  const obstacle = whyNot();
  console.error(
    [
      'Some of these tests need what this machine does not have:',
      ...missing.map((name) => `  ${programs[name].names.join(' or ')} (Debian's ${programs[name].package})`),
      obstacle === undefined
        ? 'Installed now, as root, by apt-get; with TEST_INSTALL=no nothing is, and their tests do not run.'
        : `Not installed: ${obstacle}. Their tests do not run.`,
    ].join('\n'),
  );
  install(missing.flatMap((name) => programs[name].package.split(' ')));
}

/** Installs packages on Debian, as root; elsewhere it does nothing. */
export function install(packages: string[]): void {
  if (packages.length === 0 || whyNot() !== undefined) return;
  console.error(`apt-get install ${packages.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-q'], { stdio: 'ignore', env });
  const { status, error } = withoutServices(() =>
    spawnSync('apt-get', ['install', '-qy', '--no-install-recommends', ...packages], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env,
    }),
  );
  if (status !== 0) console.error(`apt-get install failed: ${error?.message ?? `status ${status}`}`);
}

/** Where it is not forbidden anyway: no package starts its server, which nobody has asked for. */
function withoutServices<T>(run: () => T): T {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return run();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return run();
  } finally {
    rmSync(policy, { force: true });
  }
}

/** What a reason to skip a test begins with where the machine is to blame: with CI=true that fails the run. */
export const LACKING = 'for want of ';

/**
 * Options for node:test: `test(name, needs('redis'), fn)` runs where the programs are here, and is
 * otherwise reported, with the reason, at the end of `npm test`.
 */
export function needs(...names: ProgramName[]): { skip: string | false } {
  const missing = names.filter((name) => find(name) === undefined);
  if (missing.length === 0) return { skip: false };
  const wanted = missing.map((name) => programs[name].names.join(' or ')).join(' and ');
  const packages = missing.map((name) => programs[name].package).join(' ');
  return { skip: `${LACKING}${wanted} (Debian: apt-get install ${packages})` };
}
