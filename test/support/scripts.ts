/** The page's script files, as `npm run build` makes them of the sources: made once, as that takes seconds. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { bellBundle, clientBundle, coreBundle, shareBundle } from '../../scripts/client-bundle.ts';
import { madeOnce } from './made-once.ts';

const BUNDLES = [clientBundle, coreBundle, shareBundle, bellBundle];
/** Which of them there are. */
export type Bundle = (typeof BUNDLES)[number];

const SOURCES = ['package-lock.json', 'src', 'scripts/client-bundle.ts'];

/** What is in the file. */
export async function scriptOf(bundle: Bundle): Promise<string> {
  const wanted = { name: basename(bundle.outfile), sources: SOURCES };
  const path = await madeOnce(wanted, async (own) => {
    const { build } = await import('esbuild');
    const { outputFiles } = await build({ ...bundle, write: false });
    writeFileSync(own, outputFiles[0]!.contents);
  });
  return readFileSync(path, 'utf8');
}

/** Puts them where `tidings serve` finds them: in one step, as another test's server may just read them. */
export async function placeScripts(): Promise<void> {
  for (const bundle of [clientBundle, shareBundle, bellBundle]) {
    const script = await scriptOf(bundle);
    const { outfile } = bundle;
    const own = `${outfile}.${process.pid}`;
    mkdirSync(dirname(outfile), { recursive: true });
    writeFileSync(own, script);
    renameSync(own, outfile);
  }
}
