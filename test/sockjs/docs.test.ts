import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const docs = readFileSync('docs/sockjs.md', 'utf8');
const tests = readFileSync('test/sockjs/protocol.test.ts', 'utf8');

test('docs/sockjs.md accounts for all 68 tests of the published suite, and each is there', () => {
  const named = [...docs.matchAll(/^\| `(\w+)\.(test_\w+)` \|/gm)];
  assert.equal(named.length, 68);
  assert.equal(new Set(named.map(([row]) => row)).size, 68);
  for (const [, group, name] of named) {
    // Two groups share the tests that run for both.
    const isThere = [`${group}.`, '$' + '{group}.'].some((prefix) => tests.includes(`${prefix}${name}: `));
    assert.ok(isThere, `${group}.${name}`);
  }
});

test('docs/sockjs.md lists every option of the push server’s SockJS endpoint, and no other', () => {
  const source = readFileSync('src/push/options.ts', 'utf8');
  const [, picked = ''] = /PushSockJsOptions = Pick<([^>]*)>/.exec(source) ?? [];
  const options = [...picked.matchAll(/'(\w+)'/g)].map(([, name]) => name);
  const section = docs.split('## Options\n')[1]!.split('\n## ')[0]!;
  const listed = [...section.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
  assert.deepEqual(listed.sort(), options.sort());
});
