/**
 * `npm run build`: makes dist/ of src/.
 *
 * - dist/cjs/: the code, compiled once, to CommonJS: what everybody can load, by `require` as by `import`, in Jest,
 *   in a bundle. A module of src/ is a file there, with its declarations beside it.
 * - dist/*.js: ES modules that only hand on, name by name, what is in dist/cjs/. So there is one instance of all
 *   state, however a process has loaded it, and twice as well.
 * - dist/client/: the page's client as ES modules, as a browser wants it, and as one script file for a <script> tag,
 *   with and without fallback, and with the bell.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules, createRequire } from 'node:module';
import { dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { type Plugin, rollup } from 'rollup';
import { bellBundle, clientBundle, coreBundle, shareBundle } from './client-bundle.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');

/** The entries of package.json's exports that run on a server: the ES module's name in dist/, and its source. */
const entries: Record<string, string> = {
  index: 'index',
  ws: 'ws',
  protocol: 'protocol/index',
  redis: 'redis',
  policy: 'policy/index',
};
/** What is not TypeScript and is read when it is asked for. */
const ASSETS = ['.html', '.css', '.js', '.svg'];

function compile(project: string): void {
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const typescript: Plugin = {
  name: 'typescript',
  async transform(source, file) {
    const { code, map } = await transform(source, {
      loader: 'ts',
      target: 'node20.19',
      sourcemap: true,
      sourcefile: file,
      tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
    });
    return { code, map };
  },
  resolveImportMeta: (property) =>
    property === 'url' ? "require('node:url').pathToFileURL(__filename).href" : null,
};

const BUILTIN = new RegExp(`\\brequire\\((['"])((?:node:)?(?:${builtinModules.join('|')}))\\1\\)`, 'g');

/** In a bundle that is an ES module there is no `require` for what is Node's own; this is there in any. */
function takeBuiltins(code: string): string {
  return code.replace(BUILTIN, (_, _quote, name) => `process.getBuiltinModule('${name}')`);
}

/** Of redis-parser, too: so it is in the package as one file, in which that is done as well. */
const parser: Plugin = {
  name: 'redis-parser',
  resolveId: (id) =>
    id === 'redis-parser' ? { id: resolve('src/redis-parser.js'), external: 'relative' } : null,
};

async function copyParser(): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [require.resolve('redis-parser')],
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
  writeFileSync('dist/cjs/redis-parser.js', licenses.join('') + takeBuiltins(outputFiles[0]!.text));
}

async function compileServer(): Promise<void> {
  const bundle = await rollup({
    input: [...Object.values(entries), 'client/index', 'client/core', 'client/bell/index', 'cli'].map(
      (name) => `src/${name}.ts`,
    ),
    external: (id) => id.startsWith('node:'),
    plugins: [
      typescript,
      parser,
      { name: 'builtins', renderChunk: (code) => ({ code: takeBuiltins(code), map: null }) },
    ],
    // The files are modules that others may import one by one: nothing is left out.
    treeshake: false,
    onwarn: (warning) => {
      throw new Error(warning.message);
    },
  });
  await bundle.write({
    dir: 'dist/cjs',
    format: 'cjs',
    preserveModules: true,
    preserveModulesRoot: 'src',
    exports: 'named',
    // Without __esModule, whoever asks for the default gets what Node gives: the whole module.
    esModule: false,
    interop: 'default',
    sourcemap: true,
  });
  writeFileSync('dist/cjs/package.json', '{"type":"commonjs"}\n');
}

/** `require('tidings/ws')` is the class itself, as with ws. */
function writeWsModule(): void {
  writeFileSync('dist/cjs/ws.cjs', "module.exports = require('./ws.js').WebSocket;\n");
  writeFileSync('dist/cjs/ws.d.cts', "import { WebSocket } from './ws.js';\nexport = WebSocket;\n");
  // The compiler rewrites the extensions of imports, but not those of a module that is added to.
  const types = readFileSync('dist/cjs/ws.d.ts', 'utf8');
  writeFileSync('dist/cjs/ws.d.ts', types.replace(/^(declare module '.*)\.ts'/m, "$1.js'"));
}

function writeEsModules(): void {
  for (const [name, source] of Object.entries(entries)) {
    const from = `./cjs/${source}.js`;
    const names = Object.keys(require(join(root, 'dist', from))).filter((each) => each !== 'default');
    const lines = [`import all from '${from}';`, `export const { ${names.join(', ')} } = all;`];
    const types = [`export * from '${from}';`];
    if (names.includes('WebSocket')) {
      lines.push('export default all.WebSocket;');
      types.push(`export { WebSocket as default } from '${from}';`);
    }
    writeFileSync(`dist/${name}.js`, `${lines.join('\n')}\n`);
    writeFileSync(`dist/${name}.d.ts`, `${types.join('\n')}\n`);
  }
  writeFileSync('dist/cli.js', "#!/usr/bin/env node\nimport './cjs/cli.js';\n");
  chmodSync('dist/cli.js', 0o755);
}

/** They keep their place beside the module that reads them. */
function copyAssets(): void {
  for (const entry of readdirSync('src', { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !ASSETS.includes(extname(entry.name))) continue;
    const path = join(entry.parentPath, entry.name);
    const target = path.replace(/^src/, 'dist/cjs');
    mkdirSync(dirname(target), { recursive: true });
    cpSync(path, target);
  }
}

rmSync('dist', { recursive: true, force: true });
compile('tsconfig.build.json');
compile('tsconfig.client.json');
await compileServer();
await copyParser();
writeWsModule();
copyAssets();
writeEsModules();
await build(clientBundle);
await build(shareBundle);
await build(coreBundle);
await build(bellBundle);
