/**
 * The programs that tests run for real: where they are, how they get here, and what to say where they can't.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Program {
  /** Names to look for on PATH, or whole paths; best first. */
  names: string[];
  /** Debian's packages that bring it, with a space between. */
  package: string;
}

/** A table of its own, which .ci/run reads before anything that runs TypeScript is here. */
const TABLE = new URL('programs.json', import.meta.url);

export type ProgramName = keyof typeof import('./programs.json');

export const programs: Record<ProgramName, Program> = JSON.parse(readFileSync(TABLE, 'utf8'));

/** For child processes that would only be slowed by having their coverage taken. */
export const uncovered: NodeJS.ProcessEnv = { ...process.env, NODE_V8_COVERAGE: undefined };

/** What Node starts with to run TypeScript: a program of ours in a process of its own. */
export const typescript = [
  ...['--expose-internals', '--import'],
  new URL('../../scripts/typescript.mjs', import.meta.url).href,
];

/** The path of a program, or undefined where it isn't installed. TEST_WITHOUT=redis,nginx hides some. */
export function find(name: ProgramName): string | undefined {
  if (process.env.TEST_WITHOUT?.split(',').includes(name)) return undefined;
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin'];
  const paths = programs[name].names.flatMap((file) =>
    isAbsolute(file) ? [file] : folders.map((folder) => join(folder, file)),
  );
  return paths.find(existsSync);
}

const INSTALL = fileURLToPath(new URL('../../scripts/install.sh', import.meta.url));

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
  const { status, error } = spawnSync(INSTALL, packages, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) console.error(`apt-get install failed: ${error?.message ?? `status ${status}`}`);
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
