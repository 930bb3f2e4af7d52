/**
 * Programs that use the package, put into one file by the bundlers that people use, run where there is nothing but
 * that file; and the page's client in a bundle for browsers.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { createContext, runInContext } from 'node:vm';
import commonjsPlugin from '@rollup/plugin-commonjs';
import { nodeResolve } from '@rollup/plugin-node-resolve';
import { build as esbuild } from 'esbuild';
import { type Plugin, type RollupBuild, rollup } from 'rollup';
import { build as viteBuild } from 'vite';
import webpack from 'webpack';
import { WebSocket } from 'ws';
import { PushServer, queryUser } from '../../src/index.ts';
import { until } from '../support/net.ts';
import { type InstalledPackage, installPackage } from '../support/package.ts';
import { find, needs, uncovered } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

/** Its types say that it is a module of CommonJS, which it is not. */
const commonjs = commonjsPlugin as unknown as () => Plugin;

const run = promisify(execFile);

let installed: InstalledPackage;
let redis: RedisServer | undefined;
/** Beside nothing: whatever a bundle lacks can't be found from here. */
let elsewhere: string;
before(async () => {
  installed = await installPackage();
  if (find('redis') !== undefined) redis = await startRedis();
  elsewhere = mkdtempSync(join(tmpdir(), 'tidings-bundles-'));
  for (const file of readdirSync('test/bundles').filter((name) => !name.endsWith('.ts'))) {
    copyFileSync(join('test/bundles', file), join(installed.folder, file));
  }
  // The same in CommonJS.
  const app = readFileSync('test/bundles/app.mjs', 'utf8');
  const required = app.replace(/^import (.*) from (.*);$/gm, 'const $1 = require($2);');
  writeFileSync(join(installed.folder, 'app.cjs'), required);
});
after(async () => {
  installed?.remove();
  await redis?.stop();
  rmSync(elsewhere, { recursive: true, force: true });
});

/** Puts the program at `entry` into the one file `outfile`. */
type Bundle = (entry: string, outfile: string) => Promise<unknown>;

const esbuildTo =
  (format: 'esm' | 'cjs', minify = false): Bundle =>
  async (entry, outfile) => {
    const options = { bundle: true, platform: 'node', format, minify, logLevel: 'error' } as const;
    const { warnings } = await esbuild({ entryPoints: [entry], outfile, ...options });
    assert.deepEqual(warnings, []);
  };

/** By entry: what is read is the same, in whichever form it is written. */
const rolled = new Map<string, Promise<RollupBuild>>();

const rollupTo =
  (format: 'esm' | 'cjs'): Bundle =>
  async (entry, file) => {
    if (!rolled.has(entry)) {
      const plugins = [nodeResolve({ preferBuiltins: true, exportConditions: ['node'] }), commonjs()];
      rolled.set(entry, rollup({ input: entry, plugins, onwarn: () => {} }));
    }
    const bundle = await rolled.get(entry)!;
    await bundle.write({ file, format, inlineDynamicImports: true });
  };

const webpackTo =
  (mode: 'production' | 'development'): Bundle =>
  (entry, outfile) =>
    new Promise<void>((resolve, reject) => {
      const output = { path: join(outfile, '..'), filename: outfile.slice(outfile.lastIndexOf('/') + 1) };
      webpack({ entry, output, mode, target: 'node', devtool: false }, (error, stats) => {
        if (error) reject(error);
        else if (stats?.hasErrors() || stats?.hasWarnings()) reject(new Error(stats.toString()));
        else resolve();
      });
    });

const vite: Bundle = (entry, outfile) =>
  viteBuild({
    root: installed.folder,
    configFile: false,
    logLevel: 'error',
    ssr: { noExternal: true },
    build: {
      ssr: entry,
      outDir: join(outfile, '..'),
      emptyOutDir: false,
      rollupOptions: { output: { entryFileNames: outfile.slice(outfile.lastIndexOf('/') + 1) } },
    },
  });

const bundlers: [name: string, bundle: Bundle, extension: string][] = [
  ['esbuild, as an ES module', esbuildTo('esm'), 'mjs'],
  ['esbuild, as CommonJS', esbuildTo('cjs'), 'cjs'],
  ['rollup, as an ES module', rollupTo('esm'), 'mjs'],
  ['rollup, as CommonJS', rollupTo('cjs'), 'cjs'],
  ['webpack, for production', webpackTo('production'), 'cjs'],
  ['webpack, for development', webpackTo('development'), 'cjs'],
  ['vite, for a server', vite, 'mjs'],
];

for (const [name, bundle, extension] of bundlers) {
  for (const source of ['server.mjs', 'server.cjs']) {
    test(`${name}: ${source} serves from the bundle alone`, async (t) => {
      const folder = mkdtempSync(join(elsewhere, 'bundle-'));
      const file = join(folder, `bundle.${extension}`);
      await bundle(join(installed.folder, source), file);
      const { port } = await start(t, file, [], {});
      const peer = new WebSocket(`ws://127.0.0.1:${port}`);
      const echoes: [string, boolean][] = [];
      peer.on('message', (data, isBinary) => echoes.push([String(data), isBinary]));
      await once(peer, 'open');
      peer.send('text');
      peer.send(Buffer.from('binary'));
      await until('the echoes', () => echoes.length === 2);
      assert.deepEqual(echoes, [
        ['text', false],
        ['binary', true],
      ]);
      peer.terminate();
    });
  }
}

/** Runs a bundle where nothing else is, until it says at which port it listens. */
async function start(t: TestContext, file: string, args: string[], env: NodeJS.ProcessEnv) {
  const folder = join(file, '..');
  assert.deepEqual(
    readdirSync(folder).filter((name) => !name.endsWith('.LICENSE.txt')),
    [basename(file)],
  );
  const child = spawn(process.execPath, [file, ...args], {
    cwd: folder,
    env: { ...uncovered, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text) => (output += text));
  const port = await until(file, () => {
    assert.equal(child.exitCode, null, output);
    return /listening on (?:http:\/\/127\.0\.0\.1:)?(\d+)/.exec(output)?.[1];
  });
  return { child, port, output: () => output };
}

const whole: typeof bundlers = [
  ['esbuild, as an ES module', esbuildTo('esm'), 'mjs'],
  ['esbuild, as CommonJS', esbuildTo('cjs'), 'cjs'],
  ['esbuild, as a minified ES module', esbuildTo('esm', true), 'mjs'],
  ['esbuild, as minified CommonJS', esbuildTo('cjs', true), 'cjs'],
  ['rollup, as an ES module', rollupTo('esm'), 'mjs'],
  ['webpack, for development', webpackTo('development'), 'cjs'],
];

for (const [name, bundle, extension] of whole) {
  const source = `app.${extension}`;
  test(
    `${name}: ${source}, a push server over Redis with SockJS and its script, is whole`,
    needs('redis'),
    async (t) => {
      const file = join(mkdtempSync(join(elsewhere, 'app-')), `bundle.${extension}`);
      await bundle(join(installed.folder, source), file);
      const { child, port, output } = await start(t, file, [], { REDIS_URL: redis?.url });
      const site = `http://127.0.0.1:${port}`;
      for (const script of ['tidings.js', 'tidings-core.js', 'tidings-bell.js', 'tidings-share.js']) {
        const path = join(installed.folder, 'node_modules/tidings/dist/client', script);
        const response = await fetch(`${site}/js/${script}`);
        assert.equal(await response.text(), readFileSync(path, 'utf8'), script);
      }
      assert.equal((await fetch(`${site}/sockjs/info`)).status, 200);

      const user = randomUUID();
      const peer = new WebSocket(`ws://127.0.0.1:${port}/socketServer?operator=${user}`);
      const got: string[] = [];
      peer.on('message', (data) => got.push(String(data)));
      await once(peer, 'open');
      child.send({ user, data: { subject: 'hello' } });
      await until(`the message\n${output()}`, () => got.length > 0);
      assert.deepEqual(got, ['{"subject":"hello"}']);
      peer.terminate();
      await until(`the error\n${output()}`, () => /jose, which is not installed/.test(output()));
      assert.doesNotMatch(output(), /^(?:error|warn)/m);
    },
  );
}

for (const [name, bundle, extension] of whole.slice(1, 3)) {
  test(`${name}: the program is whole`, async (t) => {
    const file = join(mkdtempSync(join(elsewhere, 'program-')), `bundle.${extension}`);
    await bundle(join(installed.folder, 'node_modules/tidings/dist/cli.js'), file);
    const { stdout } = await run(process.execPath, [file, '--version'], { env: uncovered });
    assert.equal(stdout.trim(), JSON.parse(readFileSync('package.json', 'utf8')).version);
    const args = ['serve', '--demo', '--port', '0', '--admin-token', 'x'];
    const { port } = await start(t, file, args, {});
    for (const path of ['/', '/admin', '/demo/page.js', '/demo/icon.svg', '/tidings.js', '/tidings-share.js'])
      assert.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 200, path);
    const url = `http://127.0.0.1:${port}`;
    const sent = await run(process.execPath, [file, 'send', 'alice', 'hi', '--url', url, '--token', 'x'], {
      env: uncovered,
    });
    assert.match(sent.stdout, /"channel":"user:alice"/);
  });
}

test('vite, for a browser: the page client in a bundle gets what is sent to its user', async (t) => {
  const outDir = join(elsewhere, 'page');
  mkdirSync(outDir);
  await viteBuild({
    root: installed.folder,
    configFile: false,
    logLevel: 'error',
    build: { outDir, lib: { entry: join(installed.folder, 'page.js'), formats: ['iife'], name: 'page' } },
  });
  const [file = ''] = readdirSync(outDir).filter((name) => name.endsWith('.js'));

  const push = new PushServer({ port: 0, host: '127.0.0.1', interceptors: [queryUser('operator')] });
  t.after(() => push.close({ drain: 0 }));
  await until('the port', () => push.address());
  const { port } = push.address() as { port: number };
  // A page's globals and nothing of Node's.
  const page = createContext({
    ...{
      URL,
      setTimeout,
      clearTimeout,
      setInterval,
      clearInterval,
      queueMicrotask,
      crypto,
      WebSocket,
      console,
    },
    settings: { url: `ws://127.0.0.1:${port}/socketServer`, user: 'alice', device: null },
  });
  runInContext(readFileSync(join(outDir, file), 'utf8'), page);
  const client = page.opened;
  t.after(() => client.close());
  const got: unknown[] = [];
  client.on('message', ({ data }: { data: unknown }) => got.push(data));
  await until('the session', () => client.state.name === 'connected');
  await push.send('alice', { subject: 'hello' });
  await until('the message', () => got.length === 1);
  assert.equal(JSON.stringify(got), '[{"subject":"hello"}]');
});
