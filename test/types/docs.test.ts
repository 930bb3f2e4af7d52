/**
 * The blocks of code in README and docs/: those of JavaScript and TypeScript, also within HTML, are checked by the compiler
 * against the types of what they import; commands against the program's options. Whole programs are run by other tests.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { commands } from '../../src/cli/main.ts';
import { flagName } from '../../src/cli/options.ts';
import { blocksWithLines } from '../support/markdown.ts';

const pages = ['README.md', 'README.zh-CN.md'].concat(
  readdirSync('docs')
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
);
const read = (file: string): string => readFileSync(file, 'utf8');

/** Blocks that are no module, as they show two ways to write the same; and the program of README, which is run. */
const LEFT_OUT =
  /^import WebSocket.*\nconst WebSocket|^import \{ readFileSync \} from 'node:fs';\nimport \{ createServer/;

/** What blocks use that pages have said before, or that is the application's own. */
const AROUND = `
import type * as all from 'tidings';
import type * as page from 'tidings/client';
import type { TidingsBell } from 'tidings/bell';
declare global {
  const push: all.PushServer;
  const session: all.Session;
  const tidings: typeof page;
  const client: page.Client<{ subject: string }>;
  const bell: TidingsBell;
  const options: all.PushServerOptions;
  const { PushServer, askApplication, jwt, signedTicket, signTicket }: typeof all;
  type PushServer<T = unknown> = all.PushServer<T>;
  interface Mails extends all.Channels { inbox: { subject: string }; news: { headline: string }; [room: \`room:\${string}\`]: { line: string } }
  const { readFileSync }: typeof import('node:fs');
  const http: import('node:http').Server;
  const [secret, oldSecret, newSecret]: string[];
  /** Of the application. */
  const app: any, router: any, sessions: any, accounts: any, login: any, logger: any, data: any, list: any, bar: any, badge: any;
  const socket: any, SockJS: any, usersFromTheDatabase: any;
  let WEB_SOCKET_SWF_LOCATION: string;
  function show(...what: any[]): void;
  function add(...what: any[]): void;
  function leave(...what: any[]): any;
  const connect: typeof page.connect;
  function sendWebPush(...what: any[]): Promise<void>;
  function showSignIn(...what: any[]): void;
  function isMember(...what: any[]): boolean;
}
`;

/** Of JavaScript nobody wants to see what may be undefined handled in each line. */
const IN_SCRIPTS_ALLOWED = /^\d+\.mjs.*error TS(1804[678]|253[123]):/;

interface Module {
  /** For messages: the page and the line. */
  place: string;
  text: string;
  isTyped: boolean;
}

function modulesOf(file: string): Module[] {
  return blocksWithLines(read(file)).flatMap(({ language, text, line }) => {
    const place = `${file}:${line}`;
    if (language === 'js' || language === 'ts') return [{ place, text, isTyped: language === 'ts' }];
    if (language !== 'html') return [];
    return [...text.matchAll(/<script>(.*?)<\/script>/gs)].map(([, script]) => ({
      place,
      text: script!,
      isTyped: false,
    }));
  });
}

/** What the compiler says of these modules, by their places. */
async function check(modules: Module[]): Promise<string[]> {
  const { exports } = JSON.parse(read('package.json')) as { exports: Record<string, unknown> };
  const { files } = JSON.parse(read('tsconfig.build.json')) as { files: string[] };
  // The sources of what package.json exports, by the name it is imported by: "./ws" is src/ws.ts or src/ws/index.ts.
  const paths = Object.fromEntries(
    Object.keys(exports).flatMap((name) => {
      const path = name.replace(/^\.\/?/, '').replace(/^bell$/, 'client/bell');
      const source = files.find((file) => [`src/${path}.ts`, join('src', path, 'index.ts')].includes(file));
      return source === undefined ? [] : [[join('tidings', name), [resolve(source)]]];
    }),
  );
  // Below the repository, so that what blocks import besides is found.
  mkdirSync('node_modules/.cache', { recursive: true });
  const folder = mkdtempSync(resolve('node_modules/.cache/docs-'));
  try {
    modules.forEach(({ text, isTyped }, i) => {
      writeFileSync(join(folder, `${i}.${isTyped ? 'mts' : 'mjs'}`), `${text}\nexport {};\n`);
    });
    writeFileSync(join(folder, 'around.d.ts'), AROUND);
    const compilerOptions = {
      ...{ target: 'es2023', lib: ['es2023', 'dom', 'dom.iterable'], module: 'nodenext', types: ['node'] },
      ...{ noEmit: true, allowJs: true, checkJs: true, skipLibCheck: true, allowImportingTsExtensions: true },
      ...{ noImplicitAny: false, useUnknownInCatchVariables: false, strict: true, paths },
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['.'] }));
    const tsc = resolve('node_modules/.bin/tsc');
    const { stdout } = await promisify(execFile)(tsc, ['-p', '.'], { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    );
    return stdout
      .split('\n')
      .filter((line) => line !== '' && !IN_SCRIPTS_ALLOWED.test(line))
      .map((line) => line.replace(/^(\d+)\.m[jt]s/, (_, i) => `${modules[Number(i)]!.place} `));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('what pages show is right for the compiler', async () => {
  const modules = pages.flatMap(modulesOf).filter(({ text }) => !LEFT_OUT.test(text));
  assert.ok(modules.length > 40, `${modules.length}`);
  assert.deepEqual(await check(modules), []);
});

test('and would not be with a name, an option or an argument that there is not', async () => {
  const module = (text: string, isTyped = false): Module => ({ place: text, text, isTyped });
  const wrong = [
    module("push.sendd('alice', {});"),
    module("import { PushServr } from 'tidings';"),
    module('const push = new PushServer({ heartbeats: {} });'),
    module("await push.send('alice', {}, { ttl: '1 day' });"),
    module('client.on("mesage", () => {});'),
    module('const { offst } = await push.send("alice", {});', true),
  ];
  const said = await check(wrong);
  for (const { place } of wrong)
    assert.ok(
      said.some((line) => line.startsWith(place)),
      place,
    );
});

const known = new Map(
  commands.map(({ name, options }) => [
    name,
    new Set(['help', 'config', ...Object.keys(options).map(flagName)]),
  ]),
);

/** Such as the command of another program, as one argument. */
const QUOTED = /'[^']*'/g;

/** What is wrong with the commands of the program in a text of the shell. */
function wrongCommands(script: string): string[] {
  return script.split(/(?<!\\)\n|&& |\| /).flatMap((line) => {
    const [, name, rest = ''] =
      /^\s*(?:[A-Z_]+=\S+ )*(?:npx )?(?:tidings|node dist\/cli\.js) ([a-z]+(?:-[a-z]+)*)\b(.*)/s.exec(line) ??
      [];
    if (name === undefined) return [];
    const options = known.get(name);
    if (options === undefined) return [`there is no command ${name}: ${line}`];
    return [...rest.replace(QUOTED, '').matchAll(/(?<![\w-])--([a-z][a-z0-9-]*)/g)]
      .filter(([, option]) => !options.has(option!))
      .map(([option]) => `${name} has no ${option}: ${line}`);
  });
}

test('commands of the program have the options that pages give them', () => {
  let count = 0;
  for (const file of pages) {
    for (const { language, text, line } of blocksWithLines(read(file))) {
      if (!/^(sh|bash|console)$/.test(language)) continue;
      assert.deepEqual(wrongCommands(text), [], `${file}:${line}`);
      count += text.match(/(^|\s)(tidings|dist\/cli\.js) /g)?.length ?? 0;
    }
  }
  assert.ok(count > 20, `${count}`);
  assert.equal(wrongCommands('tidings send alice hello --policy-port 843\nnpx tidings sned alice').length, 2);
});

test('options in the text of pages are those of a command', () => {
  const all = new Set([...known.values()].flatMap((options) => [...options]));
  // Also those of stories, of benches, of chaos, and of Docker.
  for (const other of ['version', 'json', 'keep', 'peer', 'store', 'later', 'stop-timeout']) all.add(other);
  // These are about programs of the repository, which have options of their own.
  const others = ['docs/conformance.md', 'docs/performance.md', 'docs/bundling.md'];
  const wrong = pages
    .filter((file) => !others.includes(file))
    .flatMap((file) => {
      const texts = read(file)
        .replace(/^```.*?^```/gms, '')
        .matchAll(/`((?:tidings [a-z]+ |--(?!tidings-))[^`\n]*)`/g);
      return [...texts].flatMap(([, text]) =>
        [...text!.matchAll(/(?<![\w-])--([a-z][a-z0-9-]+)/g)]
          .filter(([, option]) => !all.has(option!))
          .map(() => `${file}: ${text}`),
      );
    });
  assert.deepEqual(wrong, []);
});
