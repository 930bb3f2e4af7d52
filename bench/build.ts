/**
 * Compiles what is measured, and what measures, to plain JavaScript in bench/dist: no run pays for a
 * TypeScript loader. Imports of our own src/ go to the built dist/, as a user would run it.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

export const benchFolder = fileURLToPath(new URL('.', import.meta.url));
const root = join(benchFolder, '..');
export const outFolder = join(benchFolder, 'dist');
/** The same of another checkout. */
export const baseFolder = join(outFolder, 'base');

/** Programs of these folders run on their own, outside the process of `npm run bench`. */
const PROGRAM_FOLDERS = ['peers', 'load', 'pages', 'resp', 'codec'];

/**
 * An entry of the package is what the build has made of it; what is none is compiled from its source, with all that it
 * imports.
 *
 * @param checkout whose tidings is measured
 * @param outdir where what comes out will be, seen from which the entries have to be found
 */
function fromDist(checkout: string, outdir: string, outbase: string): Plugin {
  return {
    name: 'from-dist',
    setup(builder) {
      builder.onResolve({ filter: /^\.\.\/\.\.\/src\// }, ({ path, importer }) => {
        const module = path.replace('../../src/', '').replace(/\.ts$/, '');
        const built = [`${module}.js`, `${module.replace(/\/index$/, '')}.js`]
          .map((name) => join(checkout, 'dist/cjs', name))
          .find((file) => existsSync(file));
        if (built === undefined) return { path: join(checkout, 'src', `${module}.ts`) };
        const from = join(outdir, relative(outbase, dirname(importer)));
        const found = relative(from, built).replaceAll('\\', '/');
        return { path: found.startsWith('.') ? found : `./${found}`, external: true };
      });
    },
  };
}

/**
 * Builds src/ if its dist/ is missing or older, the peers' packages if they are missing, and bench/dist.
 *
 * @param base another checkout, built: its tidings becomes a peer as well
 */
export async function buildBench({
  installsPeers = true,
  base,
}: {
  installsPeers?: boolean;
  base?: string;
} = {}): Promise<void> {
  if (installsPeers && !existsSync(join(benchFolder, 'node_modules'))) {
    console.error('installing the peers of bench/package.json');
    execFileSync('npm', ['ci', '--prefix', benchFolder, '--no-audit', '--no-fund'], {
      stdio: ['ignore', 2, 2],
    });
  }
  await alone(() => {
    if (newest(join(root, 'src')) <= newest(join(root, 'dist'))) return;
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: ['ignore', 2, 2] });
  });
  const entryPoints = PROGRAM_FOLDERS.filter((folder) => existsSync(join(benchFolder, folder))).flatMap(
    (folder) =>
      readdirSync(join(benchFolder, folder))
        .filter((file) => file.endsWith('.ts'))
        .map((file) => join(benchFolder, folder, file)),
  );
  await compile(entryPoints, { outdir: outFolder, outbase: benchFolder, checkout: root });
  if (base === undefined) return;
  const checkout = resolve(base);
  if (!existsSync(join(checkout, 'dist/cjs/ws.js')))
    throw new Error(`${base} has no dist/: npm run build there`);
  const servers = ['tidings.ts', 'push.ts'].map((file) => join(benchFolder, 'peers', file));
  await compile(servers, { outdir: baseFolder, outbase: join(benchFolder, 'peers'), checkout });
  const others = entryPoints.filter((file) => /^(resp|codec)[\\/]/.test(relative(benchFolder, file)));
  await compile(others, { outdir: baseFolder, outbase: benchFolder, checkout });
}

interface Places {
  outdir: string;
  /** The folder whose files stand directly in `outdir`. */
  outbase: string;
  /** Where our own package is. */
  checkout: string;
}

async function compile(entryPoints: string[], { outdir, outbase, checkout }: Places): Promise<void> {
  const { outputFiles } = await build({
    entryPoints,
    outdir,
    outbase,
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'es2023',
    plugins: [fromDist(checkout, outdir, outbase)],
    logLevel: 'warning',
    write: false,
  });
  // Whole or not at all: another process may be starting what stands there.
  for (const { path, contents } of outputFiles) {
    if (existsSync(path) && readFileSync(path).equals(contents)) continue;
    mkdirSync(dirname(path), { recursive: true });
    const fresh = `${path}.${process.pid}`;
    writeFileSync(fresh, contents);
    renameSync(fresh, path);
  }
}

/** One process after the other, so that none starts what another is still building. */
async function alone(work: () => void): Promise<void> {
  const lock = join(benchFolder, 'dist', 'lock');
  mkdirSync(dirname(lock), { recursive: true });
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      // One that was killed leaves its lock behind.
      const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > 300_000) rmSync(lock, { recursive: true, force: true });
      await setTimeout(100);
    }
  }
  try {
    work();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

/** When the newest file of a folder was changed; 0 for none. */
function newest(folder: string): number {
  if (!existsSync(folder)) return 0;
  let time = 0;
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const stat = statSync(join(folder, entry));
    if (stat.isFile()) time = Math.max(time, stat.mtimeMs);
  }
  return time;
}
