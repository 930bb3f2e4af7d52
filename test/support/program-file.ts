/** The `tidings` program of the sources as one file: a start from hundreds of them takes three times the processor's time. */
import { inlineFilesOfSources } from '../../scripts/inline-files.ts';
import { madeOnce } from './made-once.ts';

const SOURCES = ['package.json', 'src', 'scripts/inline-files.ts', 'test/support/program-file.ts'];

/** Its path. */
export const programFile = await madeOnce({ name: 'tidings.mjs', sources: SOURCES }, async (outfile) => {
  // Only where something is to be made: to load it takes long.
  const { build } = await import('esbuild');
  await build({
    entryPoints: ['src/cli.ts'],
    outfile,
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    logLevel: 'warning',
    plugins: [inlineFilesOfSources],
  });
});
