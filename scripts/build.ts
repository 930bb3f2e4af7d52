/**
 * `npm run build`: compiles src/ to dist/ (ES modules, declarations, source maps), copies what is not
 * TypeScript, and bundles the browser client into one script file for a <script> tag, with and without fallback.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { clientBundle, coreBundle } from './client-bundle.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');

function compile(project: string): void {
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

rmSync('dist', { recursive: true, force: true });
compile('tsconfig.json');
compile('tsconfig.client.json');

// Assets (.lua, .wasm, .html, .css, page scripts) keep their place beside the module that reads them.
for (const entry of readdirSync('src', { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (entry.isFile() && extname(path) !== '.ts') cpSync(path, path.replace(/^src/, 'dist'));
}

// The compiler rewrites the extensions of imports, but not those of a module that is added to.
const types = 'dist/ws.d.ts';
writeFileSync(types, readFileSync(types, 'utf8').replace(/^(declare module '.*)\.ts'/m, "$1.js'"));

await build(clientBundle);
await build(coreBundle);

if (existsSync('dist/cli.js')) chmodSync('dist/cli.js', 0o755);
