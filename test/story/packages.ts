/** What the story needs of Debian: programs, and Java's libraries. */
import { existsSync, readFileSync } from 'node:fs';
import { find, install, type ProgramName, programs } from '../support/programs.ts';

const PROGRAMS: ProgramName[] = ['redis', 'chromium', 'nginx', 'openssl', 'java'];

/** A jar of each package of libraries, by which one sees that it is there. */
const LIBRARIES = {
  'libtomcat9-java': 'tomcat9-catalina.jar',
  'libshiro-java': 'shiro-web.jar',
  'libspring-web-servlet-java': 'spring3-web.servlet.jar',
  'libtaglibs-standard-impl-java': 'taglibs-standard-impl.jar',
};

const JARS = '/usr/share/java';

/** The class path of the example: one jar a line. */
export function classPath(): string[] {
  const names = readFileSync('examples/spring-mvc/jars.txt', 'utf8').split('\n');
  return names.filter((name) => name !== '' && !name.startsWith('#')).map((name) => `${JARS}/${name}`);
}

function missing(): string[] {
  return [
    ...PROGRAMS.filter((name) => find(name) === undefined).map((name) => programs[name].package),
    ...Object.entries(LIBRARIES)
      .filter(([, jar]) => !existsSync(`${JARS}/${jar}`))
      .map(([name]) => name),
  ];
}

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
