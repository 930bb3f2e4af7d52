/**
 * For the build: what `readBeside(new URL('page.html', import.meta.url))` would read takes the place of the call. So the
 * built code reads no file beside itself, and runs wherever it is put: in one file with an application, too.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Plugin as EsbuildPlugin } from 'esbuild';
import type { Plugin } from 'rollup';

const CALL = /\breadBeside\(\s*new URL\(\s*(['"])([^'"]+)\1\s*,\s*import\.meta\.url\s*,?\s*\)\s*,?\s*\)/g;

export const inlineFiles: Plugin = {
  name: 'inline-files',
  transform: (code, file) => ({ code: withFilesInline(code, file), map: null }),
  resolveImportMeta(_property, { moduleId }) {
    throw new Error(
      `${moduleId} uses import.meta, which is another place in an application's bundle: ` +
        "read files by readBeside(new URL('name', import.meta.url)), written out like that (src/beside.ts)",
    );
  },
};

/** The same for esbuild, of sources. */
export const inlineFilesOfSources: EsbuildPlugin = {
  name: 'inline-files',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      // In beside.ts it is a comment that shows the call.
      return { contents: path.endsWith('beside.ts') ? text : withFilesInline(text, path), loader: 'ts' };
    });
  },
};

/** The code of a module with the files that it reads. */
export function withFilesInline(code: string, file: string): string {
  return code.replace(CALL, (_call, _quote, path: string) => bufferOf(join(dirname(file), path)));
}

function bufferOf(path: string): string {
  const bytes = readFileSync(path);
  const text = String(bytes);
  if (!Buffer.from(text).equals(bytes)) return `Buffer.from('${bytes.toString('base64')}', 'base64')`;
  return `Buffer.from(${JSON.stringify(text)})`;
}
