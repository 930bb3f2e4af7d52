/**
 * `npm run build`: makes dist/ of src/.
 *
 * - dist/cjs/: the code that runs on a server, compiled once, to CommonJS: what everybody can load, by `require` as by
 *   `import`, in Jest, in a bundle. A file for each entry, which hands on what is in dist/cjs/parts/: there a folder of src/
 *   is a file, with its names as they are, so that a stack trace can be read.
 * - dist/*.js: ES modules that only hand on, name by name, what is in dist/cjs/. So there is one instance of all
 *   state, however a process has loaded it, and twice as well.
 * - dist/openapi.json: the admin API as an OpenAPI document, of its table of routes.
 * - dist/page/: the page's client as ES modules, for bundlers.
 * - dist/client/: the same as one script file for a <script> tag, with and without fallback, and with the bell.
 * - dist/types/: the declarations of all of them.
 *
 * What modules read from files beside them is put into the code (inline-files.ts).
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules, createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { type Plugin, rollup } from 'rollup';
import { adminDocument } from '../src/admin/routes.ts';
import { bellBundle, clientBundle, coreBundle, shareBundle } from './client-bundle.ts';
import { pruneDeclarations, within } from './declarations.ts';
import { inlineFiles } from './inline-files.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

const require = createRequire(import.meta.url);

/** The entries of package.json's exports that run on a server: the name in dist/, and the source. */
const SERVER_ENTRIES: Record<string, string> = {
  index: 'index',
  ws: 'ws',
  protocol: 'protocol/index',
  redis: 'redis',
  policy: 'policy/index',
  'page-scripts': 'page-scripts',
};
/** Those that run on a page: the name in dist/page/, and the source. */
const PAGE_ENTRIES: Record<string, string> = {
  index: 'client/index',
  core: 'client/core',
  bell: 'client/bell/index',
};
const SCRIPTS = ['tidings', 'tidings-core', 'tidings-bell', 'tidings-share'];

/** The file of dist/cjs/parts/ for a module: the first whose path begins so, else that of its folder. */
const PARTS: [path: string, part: string][] = [
  ['push/talk/wire.ts', 'wire'],
  ['pubsub/redis/', 'redis'],
  ['pubsub/', 'store'],
];

function partOf(file: string): string | null {
  const path = relative(resolve('src'), file).replaceAll('\\', '/');
  const [, part] = PARTS.find(([start]) => path.startsWith(start)) ?? [];
  if (part !== undefined) return part;
  if (path.includes('/')) return path.slice(0, path.indexOf('/'));
  const name = path.replace(/\.ts$/, '');
  // The other files directly in src/ are what several folders use.
  return name in SERVER_ENTRIES || name === 'cli' ? `entry-${name}` : 'base';
}

/** The compiler beside us: it takes longer than all else. */
function declare(): Promise<void> {
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
  const child = spawn(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
  return new Promise((done, fail) => {
    child.on('exit', (status) => {
      if (status !== 0) fail(new Error('the declarations can not be made'));
      else done();
    });
  });
}

const typescript = (target: string): Plugin => ({
  name: 'typescript',
  async transform(source, file) {
    if (!file.endsWith('.ts')) return null;
    // Twice: comments go with the white space, which then comes again. They are in the declarations.
    const { code: dense } = await transform(source, {
      loader: 'ts',
      target,
      sourcefile: file,
      minifyWhitespace: true,
      tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
    });
    const { code } = await transform(dense, { target });
    return { code, map: null };
  },
});

const BUILTIN = new RegExp(`\\brequire\\((['"])((?:node:)?(?:${builtinModules.join('|')}))\\1\\)`, 'g');

/** In a bundle that is an ES module there is no `require` for what is Node's own; this is there in any. */
function takeBuiltins(code: string): string {
  return code.replace(BUILTIN, (_, _quote, name) => `process.getBuiltinModule('${name}')`);
}

/**
 * A module that is imported by a name that is worked out is an optional one, which an application may not have: no bundler is to
 * look for it.
 */
function leaveOptional(code: string): string {
  return code.replace(/\bimport\((?!["'`])/g, 'import(/* webpackIgnore: true */ /* @vite-ignore */ ');
}

/** Indents by tabs, which take less room; not where a text goes over several lines. */
const tabs: Plugin = {
  name: 'tabs',
  renderChunk(code) {
    const texts = [...within(this.parse(code))].filter(({ type }) => type === 'TemplateElement');
    const indented = code.replace(/^(?: {2})+/gm, (spaces, at: number) =>
      texts.some(({ start, end }) => start < at && at <= end) ? spaces : '\t'.repeat(spaces.length / 2),
    );
    return { code: indented, map: null };
  },
};

/** Of redis-parser, too: so it is in the package as one file, in which that is done as well. */
const parser: Plugin = {
  name: 'redis-parser',
  resolveId: (id) =>
    id === 'redis-parser' ? { id: resolve('src/parts/redis-parser.js'), external: 'relative' } : null,
};

async function copyParser(): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [require.resolve('redis-parser')],
    // Its files are named in the output as seen from here: not where somebody's node_modules are.
    absWorkingDir: join(dirname(require.resolve('redis-parser/package.json')), '../..'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    write: false,
  });
  const licenses = ['redis-parser', 'redis-errors'].map((name) => {
    const folder = dirname(require.resolve(`${name}/package.json`));
    return `/*!\n${name}\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8')}*/\n`;
  });
  writeFileSync('dist/cjs/parts/redis-parser.js', licenses.join('') + takeBuiltins(outputFiles[0]!.text));
}

const inputOf = (entries: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(entries).map(([name, source]) => [name, `src/${source}.ts`]));

function failOnWarning({ message }: { message: string }): never {
  throw new Error(message);
}

async function compileServer(): Promise<void> {
  const bundle = await rollup({
    input: {
      ...inputOf(SERVER_ENTRIES),
      client: 'src/client/index.ts',
      'client-core': 'src/client/core.ts',
      bell: 'src/client/bell/index.ts',
      cli: 'src/cli.ts',
    },
    external: (id) => id.startsWith('node:'),
    plugins: [
      typescript('node20.19'),
      inlineFiles,
      parser,
      { name: 'builtins', renderChunk: (code) => ({ code: leaveOptional(takeBuiltins(code)), map: null }) },
      tabs,
    ],
    treeshake: false,
    onwarn: failOnWarning,
  });
  await bundle.write({
    dir: 'dist/cjs',
    format: 'cjs',
    entryFileNames: '[name].js',
    chunkFileNames: 'parts/[name].js',
    manualChunks: partOf,
    minifyInternalExports: false,
    hoistTransitiveImports: false,
    exports: 'named',
    // Without __esModule, whoever asks for the default gets what Node gives: the whole module.
    esModule: false,
    interop: 'default',
  });
  await bundle.close();
  writeFileSync('dist/cjs/package.json', '{"type":"commonjs"}\n');
}

async function compilePage(): Promise<void> {
  const bundle = await rollup({
    input: inputOf(PAGE_ENTRIES),
    plugins: [typescript('es2023'), inlineFiles, tabs],
    onwarn: failOnWarning,
  });
  await bundle.write({
    dir: 'dist/page',
    format: 'es',
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    minifyInternalExports: false,
  });
  await bundle.close();
}

/** They run wherever a script does: as CommonJS, for who imports or requires one for its global. */
async function compileScripts(): Promise<void> {
  for (const each of [clientBundle, shareBundle, coreBundle, bellBundle]) await build(each);
  writeFileSync('dist/client/package.json', '{"type":"commonjs"}\n');
  for (const name of SCRIPTS) {
    const types = readFileSync(`src/client/scripts/${name}.d.ts`, 'utf8');
    writeFileSync(
      `dist/client/${name}.d.ts`,
      types.replace(/'\.\.\/(.*)\.ts'/g, "'../types/client/$1.js'").replace("/tidings.d.ts'", "/tidings.js'"),
    );
  }
}

/** `require('tidings/ws')` is the class itself, as with ws. */
function writeWsModule(): void {
  writeFileSync('dist/cjs/ws.cjs', "module.exports = require('./ws.js').WebSocket;\n");
  writeFileSync('dist/types/ws.d.cts', "import { WebSocket } from './ws.js';\nexport = WebSocket;\n");
}

async function writeDeclarations(): Promise<void> {
  await declare();
  const sources = [...Object.values(SERVER_ENTRIES), ...Object.values(PAGE_ENTRIES)];
  pruneDeclarations('dist/types', sources);
  writeFileSync('dist/types/package.json', '{"type":"commonjs"}\n');
}

function writeEsModules(): void {
  for (const [name, source] of Object.entries(SERVER_ENTRIES)) {
    const names = Object.keys(require(resolve(`dist/cjs/${name}.js`))).filter((each) => each !== 'default');
    const lines = [`import all from './cjs/${name}.js';`, `export const { ${names.join(', ')} } = all;`];
    const types = [`export * from './types/${source}.js';`];
    if (names.includes('WebSocket')) {
      lines.push('export default all.WebSocket;');
      types.push(`export { WebSocket as default } from './types/${source}.js';`);
    }
    writeFileSync(`dist/${name}.js`, `${lines.join('\n')}\n`);
    writeFileSync(`dist/${name}.d.ts`, `${types.join('\n')}\n`);
  }
  for (const [name, source] of Object.entries(PAGE_ENTRIES))
    writeFileSync(`dist/page/${name}.d.ts`, `export * from '../types/${source}.js';\n`);
  writeFileSync('dist/cli.js', "#!/usr/bin/env node\nimport './cjs/cli.js';\n");
  chmodSync('dist/cli.js', 0o755);
}

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist/client', { recursive: true });
const declarations = writeDeclarations();
await compileScripts();
await Promise.all([compileServer(), compilePage()]);
await copyParser();
await declarations;
writeWsModule();
writeEsModules();
writeFileSync('dist/openapi.json', `${JSON.stringify(adminDocument())}\n`);
