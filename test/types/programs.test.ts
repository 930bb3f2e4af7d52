/**
 * Programs that were written for @types/ws compile against the packed tidings/ws, with the name of the module as
 * the only change: in each way a project can resolve it, as ES modules and as CommonJS, with declarations
 * checked, by this compiler and by that of before. What must not compile is marked in them with @ts-expect-error.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
// The older one is what attw works with.
import older from '../../node_modules/@arethetypeswrong/core/node_modules/typescript/lib/typescript.js';
import { type InstalledPackage, installPackage } from '../support/package.ts';

const run = promisify(execFile);
const PROGRAMS = resolve('test/types/ws');

let installed: InstalledPackage;
before(async () => {
  installed = await installPackage();
  for (const name of ['@types', 'undici-types']) {
    symlinkSync(resolve('node_modules', name), join(installed.folder, 'node_modules', name));
  }
});
after(() => installed?.remove());

interface Project {
  type: 'module' | 'commonjs';
  files(name: string): boolean;
  /** Where the programs import from. */
  library?: string;
}

let projects = 0;

/** A folder with the programs as they are, but for the name of the module. */
function project({ type, files, library = 'tidings/ws' }: Project): { folder: string; files: string[] } {
  const folder = join(installed.folder, `project-${++projects}`);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type }));
  const names = readdirSync(PROGRAMS).filter(files);
  for (const name of names) {
    const source = readFileSync(join(PROGRAMS, name), 'utf8');
    writeFileSync(join(folder, name), source.replaceAll("'tidings/ws'", `'${library}'`));
  }
  return { folder, files: names };
}

/** What the compiler has to say; empty where all is well. */
async function compile(version: 7 | 5, programs: Project, flags: string[]): Promise<string> {
  const { folder, files } = project(programs);
  assert.ok(files.length > 0);
  const all = ['--noEmit', '--strict', '--types', 'node', '--target', 'es2022'];
  // All declarations are checked but those that the compiler has brought itself.
  all.push('--skipLibCheck', 'false', '--skipDefaultLibCheck', 'true');
  if (version === 5) return compileHere(folder, [...all, ...flags, ...files]);
  const tsc = resolve('node_modules/typescript/bin/tsc');
  try {
    await run(process.execPath, [tsc, ...all, ...flags, ...files], { cwd: folder });
    return '';
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

/** The older compiler, which is JavaScript: started each time anew it takes three times as long. */
function compileHere(folder: string, args: string[]): string {
  const { options, fileNames, errors } = older.parseCommandLine(args);
  const host = older.createCompilerHost(options);
  host.getCurrentDirectory = () => folder;
  const files = fileNames.map((name) => join(folder, name));
  const program = older.createProgram(files, options, host);
  return older.formatDiagnostics([...errors, ...older.getPreEmitDiagnostics(program)], host);
}

const modules = (name: string): boolean => name.endsWith('.ts');
/** `import * as` is the class itself only where nothing makes up for the difference. */
const requiring = (name: string): boolean => name !== 'star.cts';

const resolutions: Record<string, string[]> = {
  nodenext: ['--module', 'nodenext'],
  node16: ['--module', 'node16'],
  bundler: ['--module', 'preserve', '--moduleResolution', 'bundler', '--lib', 'es2022,dom,dom.iterable'],
};

for (const version of [7, 5] as const) {
  for (const [name, flags] of Object.entries(resolutions)) {
    // They resolve alike, and it takes its time.
    if (version === 5 && name === 'nodenext') continue;
    test(`TypeScript ${version}, ${name}: ES modules`, async () => {
      assert.equal(await compile(version, { type: 'module', files: modules }, flags), '');
    });
    test(`TypeScript ${version}, ${name}: CommonJS`, async () => {
      const interop = ['--esModuleInterop', 'true'];
      assert.equal(
        await compile(version, { type: 'commonjs', files: requiring }, [...flags, ...interop]),
        '',
      );
    });
  }
}

test('without esModuleInterop the whole module is the class', async () => {
  const programs: Project = {
    type: 'commonjs',
    files: (name) => ['star.cts', 'required.cts'].includes(name),
  };
  const flags = ['--module', 'node16', '--esModuleInterop', 'false'];
  assert.equal(await compile(5, programs, flags), '');
});

test('they are programs for @types/ws: with its name they compile as well', async () => {
  const programs: Project = { type: 'commonjs', files: requiring, library: 'ws' };
  assert.equal(await compile(7, programs, ['--module', 'nodenext']), '');
});
