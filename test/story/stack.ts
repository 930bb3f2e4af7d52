/** The whole stack on free loopback ports: Redis, two tidings, two Tomcats, and nginx with TLS in front of them. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from '../support/certificates.ts';
import { freePort } from '../support/net.ts';
import { editedText, nginxArguments } from '../support/nginx.ts';
import { find } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { classPath } from './packages.ts';
import { type Running, start } from './processes.ts';

const EXAMPLE = 'examples/spring-mvc';
/** Milliseconds that a session of kim's lives without a request. */
export const SHORT_SESSION = 4_000;
/** Milliseconds over which pages are sent away from an instance that is going. */
const DRAIN = 1_000;

/** Seconds after which the application is asked again, so that the story need not wait for five minutes. */
const RECHECK = 2;

/** In the logs of Tomcat and tidings. */
const UNWANTED = /^(SEVERE|WARNING)|\berror\b|Exception/i;

/** A program that is ended and started again at the same place. */
export interface Instance {
  readonly name: string;
  readonly url: string;
  readonly program: Running;
  /** Of all the times it was started. */
  readonly output: string;
  start(): Promise<void>;
}

export interface Stack {
  /** Of all pages: https. */
  url: string;
  token: string;
  pushes: [Instance, Instance];
  apps: [Instance, Instance];
  /** What the programs have logged that is not in order. */
  complaints(): string[];
  stop(): Promise<void>;
}

export async function startStack(): Promise<Stack> {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-story-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const certificates = makeCertificates();
  process.once('exit', certificates.remove);
  const redis = await startRedis();
  process.once('exit', () => {
    redis.process.kill('SIGKILL');
    rmSync(redis.folder, { recursive: true, force: true });
  });
  const token = randomBytes(16).toString('hex');
  const [tls, ask, app1, app2, push1, push2] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const java = [...classPath(), join(folder, 'launcher'), join(folder, 'classes')].join(':');
  await compile(folder);

  const push = (name: string, port: number): Instance =>
    instance(name, `http://127.0.0.1:${port}`, () =>
      start(
        name,
        [
          process.execPath,
          'dist/cli.js',
          'serve',
          ...['--instance', name, '--port', String(port), '--redis', redis.url],
          ...['--auth-url', `http://127.0.0.1:${ask}/who`, '--recheck', String(RECHECK)],
          ...['--proxies', '127.0.0.1', '--drain', String(DRAIN)],
        ],
        { TIDINGS_ADMIN_TOKEN: token },
      ),
    );
  const pushes: Stack['pushes'] = [push('tidings-1', push1), push('tidings-2', push2)];
  const settings = {
    'redis.host': '127.0.0.1',
    'redis.port': redis.port,
    'tidings.addresses': pushes.map(({ url }) => url).join(','),
  };
  const app = (name: string, port: number): Instance =>
    instance(name, `http://127.0.0.1:${port}`, () =>
      start(
        name,
        [
          'java',
          ...['-Xmx64m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
          `-Djava.util.logging.config.file=${join(EXAMPLE, 'logging.properties')}`,
          ...Object.entries(settings).map(([key, value]) => `-D${key}=${value}`),
          ...['-cp', java, 'Main', String(port), join(EXAMPLE, 'webapp'), join(folder, 'classes')],
          join(folder, name),
        ],
        { TIDINGS_ADMIN_TOKEN: token },
      ),
    );
  const apps: Stack['apps'] = [app('tomcat-1', app1), app('tomcat-2', app2)];
  const seed = start('accounts', [
    'java',
    ...['-cp', java, 'mail.Seed', '127.0.0.1', String(redis.port), String(SHORT_SESSION)],
  ]);
  await Promise.all([...pushes, ...apps].map((each) => each.start()).concat(seed.finished()));

  const site = editedText(`${EXAMPLE}/nginx.conf`, [
    ['127.0.0.1:8081', `127.0.0.1:${app1}`],
    ['127.0.0.1:8082', `127.0.0.1:${app2}`],
    ['127.0.0.1:9081', `127.0.0.1:${push1}`],
    ['127.0.0.1:9082', `127.0.0.1:${push2}`],
    ['listen 127.0.0.1:8090;', `listen 127.0.0.1:${ask};`],
    ['listen 443 ssl;', `listen 127.0.0.1:${tls} ssl;`],
    ['/etc/ssl/mail.example.com.pem', certificates.certFile],
    ['/etc/ssl/mail.example.com.key', certificates.keyFile],
  ]);
  mkdirSync(join(folder, 'nginx'));
  start('nginx', [find('nginx')!, ...nginxArguments(join(folder, 'nginx'), site)]);

  return {
    url: `https://localhost:${tls}`,
    token,
    pushes,
    apps,
    complaints() {
      const log = readFileSync(join(folder, 'nginx', 'error.log'), 'utf8');
      const nginx = log.split('\n').filter((line) => /\[(error|crit|alert|emerg)\]/.test(line));
      return [
        // Those that an instance was away for are as they should be.
        ...nginx.filter((line) => !/Connection refused|prematurely closed|reset by peer/.test(line)),
        ...[...pushes, ...apps].flatMap(({ name, output }) =>
          output.split('\n').flatMap((line) => (UNWANTED.test(line) ? `${name}: ${line}` : [])),
        ),
      ];
    },
    async stop() {
      await redis.stop();
      certificates.remove();
      remove();
    },
  };
}

function instance(name: string, url: string, launch: () => Running): Instance {
  let program: Running | undefined;
  let earlier = '';
  return {
    name,
    url,
    get output() {
      return earlier + (program?.output ?? '');
    },
    get program() {
      if (program === undefined) throw new Error(`${name} was never started`);
      return program;
    },
    async start() {
      earlier += program?.output ?? '';
      program = launch();
      await program.line(/listening on/);
    },
  };
}

/** The launcher apart from the application's classes, which it hands to Tomcat. */
async function compile(folder: string): Promise<void> {
  const javac = (name: string, sources: string[]): Promise<void> => {
    const out = join(folder, name);
    const options = ['--release', '11', '-encoding', 'UTF-8', '-cp', classPath().join(':'), '-d', out];
    return start('javac', ['javac', ...options, ...sources]).finished();
  };
  const sources = readdirSync(join(EXAMPLE, 'src/mail')).map((name) => join(EXAMPLE, 'src/mail', name));
  await Promise.all([javac('classes', sources), javac('launcher', [join(EXAMPLE, 'launcher/Main.java')])]);
}
