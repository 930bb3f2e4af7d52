import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { bellBundle, clientBundle, coreBundle, INTERNAL, shareBundle } from '../../scripts/client-bundle.ts';
import { scriptOf } from '../support/scripts.ts';

for (const [what, bundle, limit] of [
  ['with all that there is is under 11 KB', clientBundle, 11_000],
  ['of the core is under 6 KB', coreBundle, 6000],
  ['with the bell is under 22.5 KB', bellBundle, 22_500],
  ['for tabs that share is under 4.5 KB', shareBundle, 4500],
] as const) {
  test(`the script for a <script> tag ${what} gzipped`, async () => {
    const size = gzipSync(await scriptOf(bundle), { level: 9 }).length;
    assert.ok(size < limit, `${size} bytes`);
  });
}

test('the scripts have what the modules have', async () => {
  for (const [bundle, module] of [
    [clientBundle, await import('../../src/client/index.ts')],
    [coreBundle, await import('../../src/client/core.ts')],
  ] as const) {
    const context = createContext({ URL, crypto });
    runInContext(await scriptOf(bundle), context);
    assert.deepEqual([...runInContext('Object.keys(tidings)', context)].sort(), Object.keys(module).sort());
  }
});

test('the script with the bell brings the client, and disturbs nothing where there are no elements', async () => {
  const context = createContext({ URL, crypto });
  runInContext(await scriptOf(bellBundle), context);
  assert.equal(runInContext('typeof tidings.connect', context), 'function');
});

test('the script brings one global, tidings, and needs nothing of Node', async () => {
  const context = createContext({ URL, setTimeout, clearTimeout, crypto, queueMicrotask });
  const before = new Set(Object.keys(context));
  runInContext(await scriptOf(clientBundle), context);
  assert.deepEqual(
    Object.keys(context).filter((name) => !before.has(name)),
    ['tidings'],
  );
  assert.equal(runInContext('typeof tidings.connect', context), 'function');
  assert.throws(() => runInContext(`tidings.connect({ url: 'ws://x/' })`, context), /no WebSocket here/);
});

/** The members of everything that a file exports, and of what its types have. */
function members(file: string): string[] {
  const source = readFileSync(file, 'utf8');
  return [
    ...source.matchAll(/^ {2,}(?:(?:readonly|get|protected|override|async) )*'?([\w-]+)'?[?<(:]/gm),
  ].map(([, name]) => name as string);
}

test('no name that is shortened in the scripts is one that a page or the wire knows', () => {
  const known = [
    '../push/talk/wire',
    'events',
    'options',
    'storage',
    'transport',
    'reconnect',
    'client',
    'full',
    'emitter',
  ].flatMap((name) => members(`src/client/${name}.ts`));
  assert.ok(
    ['idempotencyKey', 'subscribe', 'isScarce', 'ackDelay', 'recovered'].every((name) =>
      known.includes(name),
    ),
  );
  // What these call themselves is none of theirs.
  const inside = ['talk', 'each'];
  assert.deepEqual(
    INTERNAL.filter((name) => known.includes(name) && !inside.includes(name)),
    [],
  );
});

test('the scripts call no function by ?. with spread arguments, which Chrome before 91 gets wrong', async () => {
  for (const bundle of [clientBundle, coreBundle])
    assert.doesNotMatch(await scriptOf(bundle), /\?\.[\w$.[\]#]*\([^()]*\.\.\./);
});
