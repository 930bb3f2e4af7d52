import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { clientBundle, coreBundle } from '../../scripts/client-bundle.ts';

async function script(bundle = clientBundle): Promise<string> {
  const { outputFiles } = await build({ ...bundle, sourcemap: false, write: false });
  return outputFiles[0]!.text;
}

for (const [what, bundle, limit] of [
  ['with fallback is under 11 KB', clientBundle, 11_000],
  ['without fallback is under 8.2 KB', coreBundle, 8200],
] as const) {
  test(`the script for a <script> tag ${what} gzipped`, async () => {
    const size = gzipSync(await script(bundle), { level: 9 }).length;
    assert.ok(size < limit, `${size} bytes`);
  });
}

test('the scripts have what the modules have', async () => {
  for (const [bundle, module] of [
    [clientBundle, await import('../../src/client/index.ts')],
    [coreBundle, await import('../../src/client/core.ts')],
  ] as const) {
    const context = createContext({ URL, crypto });
    runInContext(await script(bundle), context);
    assert.deepEqual([...runInContext('Object.keys(tidings)', context)].sort(), Object.keys(module).sort());
  }
});

test('the script brings one global, tidings, and needs nothing of Node', async () => {
  const context = createContext({ URL, setTimeout, clearTimeout, crypto, queueMicrotask });
  const before = new Set(Object.keys(context));
  runInContext(await script(), context);
  assert.deepEqual(
    Object.keys(context).filter((name) => !before.has(name)),
    ['tidings'],
  );
  assert.equal(runInContext('typeof tidings.connect', context), 'function');
  assert.throws(() => runInContext(`tidings.connect({ url: 'ws://x/' })`, context), /no WebSocket here/);
});
