/** What `npm pack` makes can be used by others: as ES modules, by require, with types, in Jest, and as a program. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { deadLinks } from './support/markdown.ts';
import { type InstalledPackage, installPackage } from './support/package.ts';
import { uncovered } from './support/programs.ts';

const run = promisify(execFile);
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const modules = Object.entries(manifest.exports as Record<string, object | string>)
  .filter(([path]) => !/\.js(?:on)?$/.test(path))
  .map(([path]) => path.replace('.', 'tidings'));

/** One name of each export that users rely on. */
const names: Record<string, string> = {
  tidings: 'PushServer',
  'tidings/ws': 'WebSocketServer',
  'tidings/protocol': 'FrameReader',
  'tidings/redis': 'RespClient',
  'tidings/policy': 'PolicyServer',
  'tidings/page-scripts': 'pageScripts',
  'tidings/client': 'connect',
  'tidings/client/core': 'connect',
  'tidings/bell': 'TidingsBell',
};

let installed: InstalledPackage;
let root: string;
before(async () => {
  installed = await installPackage();
  root = join(installed.folder, 'node_modules/tidings');
  for (const name of ['@types', 'undici-types']) {
    symlinkSync(resolve('node_modules', name), join(installed.folder, 'node_modules', name));
  }
});
after(() => installed?.remove());

/** Runs a program in the project, and gives what it has printed. */
async function output(file: string, source: string): Promise<string> {
  writeFileSync(join(installed.folder, file), source);
  const { stdout } = await run(process.execPath, [file], { cwd: installed.folder, env: uncovered });
  return stdout.trim();
}

test('every export can be imported and required', async () => {
  assert.deepEqual(modules, Object.keys(names));
  const esm = modules.map((name) => `console.log(typeof (await import('${name}')).${names[name]})`);
  const cjs = modules.map((name) => `console.log(typeof require('${name}').${names[name]})`);
  const all = Array(modules.length).fill('function').join('\n');
  assert.equal(await output('all.mjs', esm.join('\n')), all);
  assert.equal(await output('all.cjs', cjs.join('\n')), all);
});

test('JSON Web Tokens work where jose is installed, and say what to do where it is not, by import and by require', async () => {
  const source = (from: string): string => `
    ${from};
    const push = new PushServer({ interceptors: [jwt({ secret: 'x'.repeat(32) })], log: () => {} });
    push.ready.then(() => 'ready', ({ message }) => message).then((text) => {
      console.log(text);
      return push.close();
    });
  `;
  const programs = {
    'jwt.mjs': source("import { jwt, PushServer } from 'tidings'"),
    'jwt.cjs': source("const { jwt, PushServer } = require('tidings')"),
  };
  for (const [file, text] of Object.entries(programs)) {
    assert.match(await output(file, text), /jose, which is not installed beside tidings: npm install jose/);
  }
  const link = join(installed.folder, 'node_modules/jose');
  symlinkSync(resolve('node_modules/jose'), link);
  try {
    for (const [file, text] of Object.entries(programs)) assert.equal(await output(file, text), 'ready');
  } finally {
    unlinkSync(link);
  }
});

test('a store in PostgreSQL without the package pg is not waited for: the server says what to install, and ends', async () => {
  const program = `
    import { postgresBroker, PushServer } from 'tidings';
    const push = new PushServer({ broker: postgresBroker('postgres://127.0.0.1:1/app'), log: () => {} });
    push.ready.then(() => 'ready', ({ message }) => message).then((text) => {
      console.log(text);
      return push.close();
    });
  `;
  const message = /pg, which is not installed beside tidings: npm install pg/;
  assert.match(await output('pg.mjs', program), message);
  const args = [join(root, 'dist/cli.js'), 'serve', '--query-user', 'operator', '--port', '0'];
  await assert.rejects(
    run(process.execPath, [...args, '--postgres', 'postgres://127.0.0.1:1/app'], {
      cwd: installed.folder,
      env: uncovered,
      timeout: 120_000,
    }),
    (error: { code: number; stderr: string }) => error.code === 1 && message.test(error.stderr),
  );
});

test('a source without its packages says all that is to be installed', async () => {
  const sources = {
    'amqp://127.0.0.1:1/?queue=mail': 'amqplib',
    'nats://127.0.0.1:1?stream=EVENTS': '@nats-io/transport-node @nats-io/jetstream',
    'postgres://127.0.0.1:1/app': 'pg',
    'mysql://127.0.0.1:1/app': 'mysql2',
  };
  const program = `
    import { PushServer, source } from 'tidings';
    const push = new PushServer({ log: () => {} });
    for (const url of ${JSON.stringify(Object.keys(sources))}) {
      console.log(await source(push, url).ready.then(() => 'ready', ({ message }) => message.split('npm install ')[1]));
    }
    await push.close();
  `;
  assert.equal(await output('sources.mjs', program), Object.values(sources).join('\n'));
});

test('what is required is what is imported: one class, one state, the same names', async () => {
  const servers = modules.filter((name) => !/^tidings\/(?:client|bell)/.test(name));
  const source = `
    import { createRequire } from 'node:module';
    const require = createRequire(import.meta.url);
    for (const name of ${JSON.stringify(servers)}) {
      const imported = await import(name);
      const required = require(name);
      const others = Object.keys(imported).filter((key) => imported[key] !== required[key]);
      // What ws's class has beside are the states.
      const missing = Object.keys(required).filter((key) => !(key in imported) && typeof required[key] !== 'number');
      if (others.length + missing.length > 0) console.log(name, others, missing);
    }
    console.log('done');`;
  assert.equal(await output('one.mjs', source), 'done');
});

test("require('tidings/ws') is the class, with all that ws's has that is documented", async () => {
  const source = `
    const WebSocket = require('tidings/ws');
    const { createWebSocketStream, Server, WebSocketServer } = WebSocket;
    console.log(WebSocket.name, WebSocket.WebSocket === WebSocket, WebSocket.default === WebSocket);
    console.log(Server === WebSocketServer, typeof createWebSocketStream, WebSocket.__esModule);
    console.log(new WebSocket(null) instanceof WebSocket);`;
  assert.equal(await output('class.cjs', source), 'WebSocket true true\ntrue function undefined\ntrue');
});

test('a worker thread has it, too, whichever way', async () => {
  const source = `
    import { Worker } from 'node:worker_threads';
    const code = "const { PushServer } = require('tidings'); import('tidings/ws').then(({ WebSocketServer }) => " +
      "require('node:worker_threads').parentPort.postMessage([typeof PushServer, typeof WebSocketServer]));";
    new Worker(code, { eval: true }).on('message', (got) => console.log(got.join(' ')));`;
  assert.equal(await output('worker.mjs', source), 'function function');
});

test('Jest requires every export, and an echo comes back in it', async () => {
  writeFileSync(
    join(installed.folder, 'echo.test.js'),
    `
    const WebSocket = require('tidings/ws');
    ${modules.map((name) => `test('${name}', () => expect(typeof require('${name}').${names[name]}).toBe('function'));`).join('\n')}
    test('echo', (done) => {
      const server = new WebSocket.Server({ port: 0, host: '127.0.0.1' });
      server.on('connection', (ws) => ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary })));
      server.on('listening', () => {
        const client = new WebSocket('ws://127.0.0.1:' + server.address().port);
        client.on('open', () => client.send(new Uint8Array([1, 2, 3])));
        client.on('message', (data, isBinary) => {
          expect(isBinary).toBe(true);
          expect([...data]).toEqual([1, 2, 3]);
          client.close();
        });
        client.on('close', () => server.close(done));
      });
    });`,
  );
  const config = JSON.stringify({ rootDir: installed.folder, testEnvironment: 'node', transform: {} });
  const jest = resolve('node_modules/jest/bin/jest.js');
  const flags = ['--config', config, '--watchman=false', '--runInBand', '--no-cache'];
  const { stderr } = await run(process.execPath, [jest, ...flags], { cwd: installed.folder, env: uncovered });
  assert.match(stderr, new RegExp(`Tests: +${modules.length + 1} passed, ${modules.length + 1} total`));
});

test('every export has types that a strict project compiles against', async () => {
  const lines = modules.map(
    (name, i) => `import { ${names[name]} as x${i} } from '${name}';\nexport const y${i}: Function = x${i};`,
  );
  const wrong = `import { PushServer } from 'tidings';\nexport const n: number = PushServer;\n`;
  for (const extension of ['mts', 'cts']) {
    writeFileSync(join(installed.folder, `right.${extension}`), lines.join('\n'));
    writeFileSync(join(installed.folder, `wrong.${extension}`), wrong);
    const compile = (file: string) =>
      run(
        process.execPath,
        [
          resolve('node_modules/typescript/bin/tsc'),
          ...['--noEmit', '--strict', '--module', 'node16', '--target', 'es2023', '--types', 'node', file],
        ],
        { cwd: installed.folder },
      );
    await compile(`right.${extension}`);
    await assert.rejects(compile(`wrong.${extension}`), ({ stdout }) => /TS2322/.test(stdout));
  }
});

test('script files have types: for import, for a reference, and for pages with either of them', async () => {
  const programs: Record<string, string> = {
    'full.mts': `import 'tidings/tidings.js';
      import 'tidings/tidings-bell.js';
      import 'tidings/tidings-share.js';
      const client = tidings.connect<{ text: string }>({ share: true });
      client.on('message', ({ data }) => console.log(data.text.length, client.inbox.counts?.unread));
      export const code: 4412 = tidings.CloseCode.DRAIN;
      // @ts-expect-error: there is no such option
      new tidings.Client({ nonsense: 1 });`,
    'core.cts': `import 'tidings/tidings-core.js';
      const client = tidings.connect({ topics: ['news'] });
      // @ts-expect-error: the core has no inbox
      export const inbox = client.inbox;`,
    'both.mts': `/// <reference types="tidings/tidings.js" />
      /// <reference types="tidings/tidings-core.js" />
      export const client: { close(): void } = tidings.connect();`,
    'bell.mts': `import type { TidingsBell } from 'tidings/bell';
      import 'tidings/tidings-bell.js';
      export const bell: TidingsBell | null = document.querySelector('tidings-bell');`,
  };
  for (const [file, source] of Object.entries(programs)) writeFileSync(join(installed.folder, file), source);
  const newest = resolve('node_modules/typescript/bin/tsc');
  const older = resolve('node_modules/@arethetypeswrong/core/node_modules/typescript/bin/tsc');
  const all = ['full.mts', 'bell.mts'];
  const projects: [string, string[], string[]][] = [
    [newest, ['--module', 'preserve', '--moduleResolution', 'bundler'], all],
    [older, ['--module', 'node16'], all],
    [older, ['--module', 'commonjs', '--moduleResolution', 'node10', '--esModuleInterop'], all],
    // A global is one for all files of a project.
    [newest, ['--module', 'nodenext'], ['core.cts']],
    [newest, ['--module', 'nodenext'], ['both.mts']],
  ];
  const flags = ['--noEmit', '--strict', '--target', 'es2022', '--types', 'node', '--lib', 'es2023,dom'];
  for (const [tsc, way, files] of projects) {
    const args = [
      tsc,
      ...flags,
      '--skipLibCheck',
      'false',
      '--skipDefaultLibCheck',
      'true',
      ...way,
      ...files,
    ];
    const compiled = run(process.execPath, args, { cwd: installed.folder });
    await compiled.catch(({ stdout }) => assert.fail(`${files.join(' ')} with ${way.join(' ')}: ${stdout}`));
  }
});

test('publint finds nothing', async () => {
  const publint = resolve('node_modules/publint/src/cli.js');
  const { stdout } = await run(process.execPath, [publint, installed.tarball, '--strict'], {
    env: uncovered,
  });
  assert.match(stdout, /All good!/);
});

test('attw finds the right types for every way to resolve every export', async () => {
  const attw = resolve('node_modules/@arethetypeswrong/cli/dist/index.js');
  const { stdout } = await run(process.execPath, [attw, installed.tarball, '--format', 'ascii'], {
    env: uncovered,
  });
  assert.match(stdout, /No problems found/);
});

test('the program runs', async () => {
  for (const program of [
    join(installed.folder, 'node_modules/.bin/tidings'),
    join(installed.folder, 'node_modules/tidings/dist/cli.js'),
  ]) {
    const { stdout } = await run(program, ['--version']);
    assert.equal(stdout.trim(), manifest.version);
  }
});

const filesOf = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));

test('it holds what it needs, and nothing else', () => {
  for (const path of [
    'dist/index.js',
    'dist/cli.js',
    'dist/client/tidings.js',
    'dist/client/tidings-core.js',
    'dist/client/tidings-bell.js',
    'dist/client/tidings-share.js',
    'LICENSE',
    'README.md',
  ]) {
    assert.ok(existsSync(join(root, path)), path);
  }
  const places: Record<string, RegExp> = {
    'dist/': /\.(?:js|d\.ts)$/,
    'dist/client/': /\/tidings(?:-\w+)?(?:\.js|\.d\.ts)$/,
    'dist/page/': /\.(?:js|d\.ts)$/,
    'dist/cjs/': /\.js$/,
    'dist/cjs/parts/': /\.js$/,
  };
  const ours = ['dist/client', 'dist/cjs', 'dist/types'].map((folder) => `${folder}/package.json`);
  const known = [...ours, 'dist/openapi.json', 'dist/cjs/ws.cjs', 'dist/types/ws.d.cts'];
  const stray = filesOf('dist').filter((file) => {
    const pattern = file.startsWith('dist/types/')
      ? /\.d\.ts$/
      : places[file.slice(0, file.lastIndexOf('/') + 1)];
    return !known.includes(file) && !pattern?.test(file);
  });
  assert.deepEqual(stray, []);
  const papers = filesOf('.').filter((file) => !/^(?:dist|examples|deploy)\//.test(file));
  assert.deepEqual(
    papers.filter((file) => !/^(?:LICENSE|package\.json|[\w.-]+\.md|docs\/.*\.(?:md|svg))$/.test(file)),
    [],
  );
});

test('it is small: half of what version 0.1.0 was before, at most', () => {
  const files = filesOf('.');
  const bytes = files.reduce((sum, file) => sum + statSync(join(root, file)).size, 0);
  assert.ok(files.length <= 1276 / 2, `${files.length} files`);
  assert.ok(bytes <= 6_800_000 / 2, `${bytes} bytes unpacked`);
  const packed = statSync(installed.tarball).size;
  assert.ok(packed <= 2_000_000 / 2, `${packed} bytes packed`);
});

test('there are no source maps, nor does a file name one: what is not minified can be read as it is', () => {
  for (const file of filesOf('dist')) {
    assert.ok(!file.endsWith('.map'), file);
    assert.doesNotMatch(readFileSync(join(root, file), 'utf8'), /# sourceMappingURL=/, file);
  }
});

test('a stack trace names our functions and files, in which one finds them', async () => {
  const source = `
    import { PushServer } from 'tidings';
    try { new PushServer({ nonsense: 1 }) } catch (error) { console.log(error.stack) }`;
  const stack = await output('trace.mjs', source);
  assert.match(stack, /at new PushServer \(.*tidings.dist.cjs.parts.push\.js:\d+:\d+\)/);
  assert.match(stack, /at (?:Object\.)?checkNames \(.*tidings.dist.cjs.parts.base\.js:\d+:\d+\)/);
});

test('links of the documents in the package lead somewhere; screenshots are in the repository alone', () => {
  const documents = filesOf('.').filter((file) => file.endsWith('.md'));
  assert.ok(documents.length > 10);
  const dead = deadLinks(root, documents).filter((link) => !/\bdemo-[\w-]+\.png$/.test(link));
  assert.deepEqual(dead, []);
});

test('installing it runs nothing', () => {
  const packed = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
    assert.equal(packed.scripts[name], undefined, name);
  }
});

test('what is none of its entries can not be imported', async () => {
  const source = `
    for (const path of ['dist/index.js', 'dist/cjs/index.js', 'dist/cjs/parts/push.js', 'dist/client/tidings.js', 'src/index.ts'])
      await import('tidings/' + path).then(() => console.log(path), ({ code }) => console.log(code));`;
  assert.equal(await output('deep.mjs', source), Array(5).fill('ERR_PACKAGE_PATH_NOT_EXPORTED').join('\n'));
});

test('the scripts for pages are there from memory, the same as the files', async () => {
  const source = `
    import { readFileSync } from 'node:fs';
    import { pageScript, pageScriptNames } from 'tidings/page-scripts';
    for (const name of pageScriptNames)
      console.log(name, pageScript(name).body.equals(readFileSync(new URL(import.meta.resolve('tidings/' + name)))));`;
  assert.equal(
    await output('scripts.mjs', source),
    'tidings.js true\ntidings-core.js true\ntidings-bell.js true\ntidings-share.js true',
  );
});

test('script files give their global to who imports or requires one, with its types', async () => {
  for (const name of ['tidings', 'tidings-core']) {
    const last = 'console.log(Object.keys(tidings).sort().join())';
    const names = 'Client,CloseCode,connect,webSocketTransport';
    assert.equal(await output(`${name}.mjs`, `import 'tidings/${name}.js'; ${last}`), names);
    assert.equal(await output(`${name}.cjs`, `require('tidings/${name}.js'); ${last}`), names);
  }
});
