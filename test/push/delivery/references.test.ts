import assert from 'node:assert/strict';
import { test } from 'node:test';
import { References, type Resolved } from '../../../src/push/delivery/references.ts';
import { until } from '../../support/net.ts';
import { Page, startPush } from '../support.ts';

test('a lookup that fails is tried again; what it finds is shared and kept for a while', async () => {
  let calls = 0;
  const resolve = async (key: string): Promise<Resolved> => {
    if (++calls < 3) throw new Error('the database is busy');
    return { user: 'alice', data: key };
  };
  const references = new References(
    { resolve, timeout: 60_000, cache: 60_000, limits: { message: 100 } },
    () => assert.fail('it did not fail'),
  );
  const results = await Promise.all([references.load('42'), references.load('42')]);
  const payload = { kind: 'text', bytes: Buffer.from('42') };
  assert.deepEqual(results, [
    { user: 'alice', payload },
    { user: 'alice', payload },
  ]);
  await references.load('42');
  assert.equal(calls, 3);
});

test('lookups that never answer give up in time and leave their places to others', async () => {
  const failed: string[] = [];
  const resolve = (key: string): Resolved | Promise<Resolved> =>
    key.startsWith('stuck') ? new Promise(() => {}) : { user: 'alice', data: key };
  const references = new References({ resolve, timeout: 100, limits: { message: 100 } }, (key) =>
    failed.push(key),
  );
  const stuck = Array.from({ length: 100 }, (_, i) => references.load(`stuck ${i}`));
  assert.deepEqual(new Set(await Promise.all(stuck)), new Set([undefined]));
  assert.equal(failed.length, 100);
  const fine = await references.load('fine');
  assert.deepEqual(fine, { user: 'alice', payload: { kind: 'text', bytes: Buffer.from('fine') } });
});

test('a message that can’t be resolved holds up what follows until the timeout, then goes without data, in order', async () => {
  let isBroken = true;
  const { push, url } = await startPush({
    references: {
      timeout: 300,
      resolve: (key) => {
        if (key === 'gone') return undefined;
        if (key === 'broken' && isBroken) throw new Error('no database');
        return { user: 'alice', data: { key } };
      },
    },
  });
  const page = await Page.open(url, 'alice');
  const plain = await Page.plain(url, 'alice');
  await push.sendReference('alice', 'a');
  await push.sendReference('alice', 'broken');
  await push.sendReference('alice', 'gone');
  await push.sendReference('alice', 'b');
  await push.send('alice', 'by value');
  await until('five', () => page.data().length === 5 && plain.received.length === 3);
  assert.deepEqual(
    page.messages().map(({ data, reference, unresolved }) => [data, reference, unresolved]),
    [
      [{ key: 'a' }, 'a', undefined],
      [null, 'broken', true],
      [null, 'gone', true],
      [{ key: 'b' }, 'b', undefined],
      ['by value', undefined, undefined],
    ],
  );
  assert.deepEqual(plain.received, ['{"key":"a"}', '{"key":"b"}', 'by value']);

  // The log still has the key: who recovers later gets what could not be had then.
  isBroken = false;
  const later = await Page.open(url, 'alice', { start: 'retained' });
  await until('five', () => later.data().length === 5);
  assert.deepEqual(later.data(), [{ key: 'a' }, { key: 'broken' }, null, { key: 'b' }, 'by value']);
  await push.close();
});

test('a page that comes while references are looked up gets each message once', async () => {
  const { push, url } = await startPush({
    references: {
      resolve: (key) =>
        new Promise((resolve) => setTimeout(() => resolve({ user: 'bob', data: key }), Math.random() * 40)),
    },
  });
  const first = await Page.open(url, 'bob');
  const pages = [first];
  const keys = Array.from({ length: 120 }, (_, i) => `k${i}`);
  for (const [i, key] of keys.entries()) {
    await push.sendReference('bob', key);
    if (i % 20 === 10) pages.push(await Page.open(url, 'bob', { start: 'retained' }));
  }
  await until('all everywhere', () => pages.every((page) => page.data().length >= keys.length));
  for (const page of pages) assert.deepEqual(page.data(), keys);
  await push.close();
});

test('a reference channel must be a topic', async () => {
  const resolve = (): undefined => undefined;
  await assert.rejects(startPush({ references: { channel: 'user:x', resolve } }), /references\.channel/);
});
