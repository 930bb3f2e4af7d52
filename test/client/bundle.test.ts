import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { clientBundle } from '../../scripts/client-bundle.ts';

async function script(): Promise<string> {
  const { outputFiles } = await build({ ...clientBundle, sourcemap: false, write: false });
  return outputFiles[0]!.text;
}

test('the script for a <script> tag is under 6 KB gzipped', async () => {
  const size = gzipSync(await script(), { level: 9 }).length;
  assert.ok(size < 6000, `${size} bytes`);
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
