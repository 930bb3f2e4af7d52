/** What the story needs of Debian: programs, and Java's libraries. */
import { readFileSync } from 'node:fs';
import { find, install, type ProgramName, programs } from '../support/programs.ts';

const NEEDED: ProgramName[] = [
  ...(['redis', 'chromium', 'nginx', 'openssl', 'java'] as const),
  // Libraries: a jar of each is looked for.
  ...(['tomcat', 'shiro', 'spring', 'taglibs'] as const),
];

const JARS = '/usr/share/java';

/** The class path of the example: one jar a line. */
export function classPath(): string[] {
  const names = readFileSync('examples/spring-mvc/jars.txt', 'utf8').split('\n');
  return names.filter((name) => name !== '' && !name.startsWith('#')).map((name) => `${JARS}/${name}`);
}

const missing = (): string[] =>
  NEEDED.filter((name) => find(name) === undefined).map((name) => programs[name].package);

/** Installs what is missing on Debian, as root. @throws where something is still missing, saying what to do */
export function providePackages(): void {
  install(missing());
  const still = missing();
  if (still.length > 0) {
    throw new Error(
      `missing on this machine. On Debian 12, as root:\n\n  apt-get install ${still.join(' ')}\n`,
    );
  }
}
