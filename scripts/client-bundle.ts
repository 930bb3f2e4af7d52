/** How the browser client becomes one script file for a <script> tag: `npm run build` and the tests do it alike. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BuildOptions, Plugin } from 'esbuild';
import { CloseCode } from '../src/push/talk/wire.ts';

/** What the global `tidings` has. */
const NAMES = 'Client, CloseCode, connect, webSocketTransport';

/**
 * Properties by which the files of the client call one another, and nobody else does: neither a page, nor the wire, nor
 * the browser knows them. They are shortened.
 */
export const INTERNAL =
  `advance again alive answer answered askTicket begin begun confirm connected due each end endpoint
  established failed flush forget frames greet greeted handed handled hasTickets heard hello here identity ids
  inTurn isConnected isLeaving isPersonal isPlain isSent isUnsent known later loaded look lost newest opened
  patience probe ranges received redial refused renew retry say says scope setState setTicket speaks stop take
  tell turn underWay wake what woke`.split(/\s+/);

/** Close codes by their names in the source become numbers, where the table itself would be looked up. */
const closeCodes: Plugin = {
  name: 'close-codes',
  setup(build) {
    build.onLoad({ filter: /src.client.*\.ts$/ }, ({ path }) => {
      const codes = new Map<string, number>(Object.entries(CloseCode));
      const contents = readFileSync(path, 'utf8').replace(/\bCloseCode\.(\w+)/g, (whole, name) =>
        String(codes.get(name) ?? whole),
      );
      return { contents, loader: 'ts' };
    });
  },
};

/** What esbuild has minified is gone through once more by terser, which leaves a thirtieth less. */
const smaller: Plugin = {
  name: 'smaller',
  setup(build) {
    const { write = true } = build.initialOptions;
    build.initialOptions.write = false;
    build.onEnd(async ({ outputFiles = [] }) => {
      // Only where something is to be made: to load it takes long.
      const { minify } = await import('terser');
      for (const file of outputFiles) {
        const { code = '' } = await minify(file.text, {
          ecma: 2020,
          toplevel: true,
          compress: { passes: 3, unsafe: true, unsafe_arrows: true, pure_getters: true, hoist_funs: true },
        });
        file.contents = new TextEncoder().encode(code);
        if (write) writeFileSync(file.path, code);
      }
    });
  },
};

/** The rules of the bell's style sheet, without what only its readers need. */
const minifyRules: Plugin = {
  name: 'rules',
  setup(build) {
    build.onLoad({ filter: /bell.rules\.ts$/ }, async ({ path }) => {
      const { rules } = (await import(path)) as { rules: string };
      const { transform } = await import('esbuild');
      const { code } = await transform(rules, { loader: 'css', minify: true, target: 'esnext' });
      return { contents: `export const rules = ${JSON.stringify(code.trim())};` };
    });
  },
};

/** What a bundler would make a chunk of is a script of its own. */
const ownScripts: Plugin = {
  name: 'own-scripts',
  setup(build) {
    build.onResolve({ filter: /^\.\/load\.ts$/ }, ({ resolveDir }) => ({
      path: join(resolveDir, 'load-script.ts'),
    }));
  },
};

/** The global is made by hand: what esbuild would make one with is longer than some of our own files. */
function bundle(entry: string, script: string, extra = '', assign = '=') {
  return {
    stdin: {
      contents: `${extra}import { ${NAMES} } from './${entry}.ts'; globalThis.tidings ${assign} { ${NAMES} };`,
      resolveDir: 'src/client',
      sourcefile: `${script}.ts`,
      loader: 'ts',
    },
    outfile: `dist/client/${script}.js`,
    bundle: true,
    minify: true,
    define: { HAS_TRUSTED_TYPES: 'false' },
    mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`),
    format: 'iife',
    // These are the first that have private methods of classes. Optional chaining they have, too: what is wrong with it
    // in Chrome before 91 is a call that spreads its arguments, as no code of the client does.
    target: ['chrome84', 'edge84', 'firefox90', 'safari15'],
    supported: { 'optional-chain': true },
    plugins: [minifyRules, closeCodes, ownScripts, smaller],
  } satisfies BuildOptions;
}

export const clientBundle = bundle('index', 'tidings');

/** The same without the fallback to SockJS, and without the parts that full.ts adds. */
export const coreBundle = bundle('core', 'tidings-core');

/** `<tidings-bell>` with the client that it uses, for pages that have no other script of ours. */
export const bellBundle = {
  ...bundle('index', 'tidings-bell', "import './bell/index.ts';", '??='),
  define: { HAS_TRUSTED_TYPES: 'true' },
  // Elements have a property `isConnected`, too.
  mangleProps: new RegExp(`^(${INTERNAL.filter((name) => name !== 'isConnected').join('|')})$`),
} satisfies BuildOptions;

/** What tabs that share a connection need besides. */
export const shareBundle = {
  ...clientBundle,
  stdin: undefined,
  entryPoints: ['src/client/share/script.ts'],
  outfile: 'dist/client/tidings-share.js',
  plugins: [closeCodes, smaller],
} satisfies BuildOptions;
