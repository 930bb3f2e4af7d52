/** What `npm pack` makes can be used by others: as ES modules, by require, with types, and as a program. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { type InstalledPackage, installPackage } from './support/package.ts';

const run = promisify(execFile);
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const modules = Object.entries(manifest.exports as Record<string, { types: string } | string>)
  .filter(([, target]) => typeof target === 'object')
  .map(([path]) => path.replace('.', 'tidings'));

/** One name of each export that users rely on. */
const names: Record<string, string> = {
  tidings: 'PushServer',
  'tidings/ws': 'WebSocketServer',
  'tidings/protocol': 'FrameReader',
  'tidings/redis': 'RespClient',
  'tidings/policy': 'PolicyServer',
  'tidings/client': 'connect',
  'tidings/client/core': 'connect',
};

let installed: InstalledPackage;
before(async () => {
  installed = await installPackage();
});
after(() => installed?.remove());

test('every export can be imported and required', async () => {
  assert.deepEqual(modules, Object.keys(names));
  const esm = modules.map((name) => `console.log(typeof (await import('${name}')).${names[name]})`);
  const cjs = modules.map((name) => `console.log(typeof require('${name}').${names[name]})`);
  for (const [file, lines] of [
    ['all.mjs', esm],
    ['all.cjs', cjs],
  ] as const) {
    writeFileSync(join(installed.folder, file), lines.join('\n'));
    const { stdout } = await run(process.execPath, [file], { cwd: installed.folder });
    assert.deepEqual(stdout.trim().split('\n'), Array(modules.length).fill('function'), file);
  }
});

test('every export has types that a strict project compiles against', async () => {
  symlinkSync(resolve('node_modules/@types'), join(installed.folder, 'node_modules/@types'));
  symlinkSync(resolve('node_modules/undici-types'), join(installed.folder, 'node_modules/undici-types'));
  const lines = modules.map(
    (name, i) => `import { ${names[name]} as x${i} } from '${name}';\nexport const y${i}: Function = x${i};`,
  );
  const wrong = `import { PushServer } from 'tidings';\nexport const n: number = PushServer;\n`;
  writeFileSync(join(installed.folder, 'right.mts'), lines.join('\n'));
  writeFileSync(join(installed.folder, 'wrong.mts'), wrong);
  const compile = (file: string) =>
    run(
      process.execPath,
      [
        resolve('node_modules/typescript/bin/tsc'),
        ...['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', file],
      ],
      { cwd: installed.folder },
    );
  await compile('right.mts');
  await assert.rejects(compile('wrong.mts'), ({ stdout }) => /TS2322/.test(stdout));
});

test('the program runs', async () => {
  const program = join(installed.folder, 'node_modules/.bin/tidings');
  const { stdout } = await run(program, ['--version']);
  assert.equal(stdout.trim(), manifest.version);
});

test('it holds what it needs, and neither sources nor tests', () => {
  const root = join(installed.folder, 'node_modules/tidings');
  for (const path of [
    'dist/index.js',
    'dist/cli.js',
    'dist/client/tidings.js',
    'dist/client/tidings-core.js',
    'LICENSE',
    'README.md',
  ]) {
    assert.ok(existsSync(join(root, path)), path);
  }
  assert.deepEqual(
    readdirSync(root).filter((name) => ['src', 'test', 'scripts', 'bench', 'examples'].includes(name)),
    [],
  );
});
