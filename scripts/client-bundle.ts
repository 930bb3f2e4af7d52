/** How the browser client becomes one script file for a <script> tag: `npm run build` and the tests do it alike. */
import type { BuildOptions } from 'esbuild';

export const clientBundle = {
  entryPoints: ['src/client/index.ts'],
  outfile: 'dist/client/tidings.js',
  bundle: true,
  minify: true,
  format: 'iife',
  globalName: 'tidings',
  // Without private methods of classes the script would be a fifth larger: these are the first that have them.
  target: ['chrome84', 'edge84', 'firefox90', 'safari15'],
  sourcemap: true,
} satisfies BuildOptions;

/** The same without the fallback to SockJS. */
export const coreBundle = {
  ...clientBundle,
  entryPoints: ['src/client/core.ts'],
  outfile: 'dist/client/tidings-core.js',
} satisfies BuildOptions;
