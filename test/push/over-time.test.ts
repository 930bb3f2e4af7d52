/** What vanishes by itself, and what must not: presence and subscriptions over time. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { until } from '../support/net.ts';
import { Page, startPush } from './support.ts';

describe('over time', { concurrency: true }, () => {
  test('the sessions of an instance that ends without withdrawing them vanish', async () => {
    const store = new MemoryStore();
    const broker = memoryBroker(store);
    // What a killed instance leaves behind.
    const left = { session: 's', instance: 'dead', user: 'fay', since: Date.now() };
    await broker.announce([left], 600_000);
    const { push, url } = await startPush({ broker: memoryBroker(store) });
    const page = await Page.open(url, 'gus');
    assert.equal(await push.online('fay'), true);
    await broker.close();
    assert.equal(await push.online('fay'), false);
    await page.close();
    await until('it left', async () => (await push.sessions('gus')).length === 0);
    await push.close();
  });

  test('a session that stays is announced again before it would vanish', async () => {
    const store = new MemoryStore();
    const { push, url } = await startPush({ broker: memoryBroker(store), presenceTtl: 3000 });
    const page = await Page.open(url, 'hal');
    const other = memoryBroker(store);
    const isThere = async (): Promise<boolean> => (await other.presence('hal')).length === 1;
    await until('announced', isThere);
    const end = performance.now() + 4500;
    for (let last = performance.now(); last < end; last = performance.now()) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      // Where this process was held up, so was the instance.
      if (performance.now() - last > 400) await until('announced again', isThere);
      else assert.ok(await isThere());
    }
    await page.close();
    await push.close();
  });

  test('channels without a session are not subscribed after a while', async () => {
    const { push, url } = await startPush();
    const page = await Page.open(url, 'ida', { topics: ['t1', 't2'] });
    assert.equal(push.stats().channels, 3);
    await page.close();
    await until('all are let go', () => push.stats().channels === 0);
    await push.close();
  });
});
