/** How the browser client becomes one script file for a <script> tag: `npm run build` and the tests do it alike. */
import type { BuildOptions } from 'esbuild';

/** What the global `tidings` has. */
const NAMES = 'Client, CloseCode, connect, webSocketTransport';

/** The global is made by hand: what esbuild would make one with is longer than some of our own files. */
function bundle(entry: string, script: string) {
  return {
    stdin: {
      contents: `import { ${NAMES} } from './${entry}.ts'; globalThis.tidings = { ${NAMES} };`,
      resolveDir: 'src/client',
      sourcefile: `${script}.ts`,
      loader: 'ts',
    },
    outfile: `dist/client/${script}.js`,
    bundle: true,
    minify: true,
    format: 'iife',
    // Without private methods of classes the script would be a fifth larger: these are the first that have them.
    target: ['chrome84', 'edge84', 'firefox90', 'safari15'],
    sourcemap: true,
  } satisfies BuildOptions;
}

export const clientBundle = bundle('index', 'tidings');

/** The same without the fallback to SockJS. */
export const coreBundle = bundle('core', 'tidings-core');
