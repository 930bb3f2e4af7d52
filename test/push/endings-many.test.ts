/** Endings and blocks by the thousand, on each store. */
import assert from 'node:assert/strict';
import type { PushServerOptions } from '../../src/index.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

onEachStore('a thousand commands at once are all carried out, and none waits for long', async (broker) => {
  const options: PushServerOptions = { confirmTimeout: 30_000 };
  const [a, b] = [
    await startPush({ ...options, broker: broker() }),
    await startPush({ ...options, broker: broker() }),
  ];
  const pages = await Promise.all(
    Array.from({ length: 40 }, (_, i) => Page.open((i % 2 === 0 ? a : b).url, `user${i}`)),
  );
  const counts = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => {
      const { push } = i % 3 === 0 ? a : b;
      if (i % 4 === 1) return push.block(`user${i}`);
      if (i % 4 === 3) return push.revoke(`user${i}`, 'news');
      return push.disconnect(`user${i}`);
    }),
  );
  for (const [i, page] of pages.entries()) {
    if (i % 4 === 3) assert.equal(counts[i], 0);
    else {
      assert.equal(counts[i], 1, String(i));
      assert.equal(await page.ended(), 4501);
    }
  }
  assert.equal((await a.push.blocks()).length, 250);
  assert.equal((await b.push.blocks()).length, 250);
  await Promise.all([a.push.close(), b.push.close()]);
});

onEachStore(
  'an instance that starts with 10,000 blocks knows them all, and no more are taken',
  async (broker) => {
    const one = await startPush({ broker: broker(), confirmTimeout: 60_000 });
    const users = Array.from({ length: 10_000 }, (_, i) => `user ${i}/✓`);
    for (let i = 0; i < users.length; i += 1000) {
      await Promise.all(
        users.slice(i, i + 1000).map((user) => one.push.block(user, { reason: `no ${user}` })),
      );
    }
    await assert.rejects(one.push.block('one more'), RangeError);
    await assert.rejects(one.push.revoke('one more', 'news'), RangeError);
    const two = await startPush({ broker: broker() });
    assert.equal((await two.push.blocks()).length, 10_000);
    assert.equal(await new Page(two.url, users[9_999]!).ended(), 403);
    assert.equal(await new Page(two.url, users[0]!).ended(), 403);
    const other = await Page.open(two.url, 'other');
    // A block that is there may be said anew, and what is lifted makes room.
    await two.push.block(users[5]!, { reason: 'again' });
    assert.equal((await one.push.blockOf(users[5]!))?.reason, 'again');
    assert.equal(await two.push.unblock(users[6]!), true);
    await one.push.block('one more');
    await other.close();
    await Promise.all([one.push.close(), two.push.close()]);
  },
);
