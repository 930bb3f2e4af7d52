/** Tabs that share a connection, and a server that is started anew: nothing is lost where the store keeps it, and told where not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { redisBroker } from '../../src/index.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { Site, type Tab } from './shared-tabs.ts';

const TABS = 4;

describe('a server that is started anew under tabs that share', needs('chromium', 'redis'), () => {
  for (const store of ['Redis', 'memory']) {
    test(`with the log in ${store}`, async (t) => {
      const redis = store === 'Redis' ? await startRedis() : undefined;
      const broker = () => (redis ? redisBroker(redis.url) : memoryBroker());
      const site = await Site.start({ broker: broker() });
      t.after(async () => {
        await site.stop();
        await redis?.stop();
      });
      const tabs = await site.openMany(TABS);
      const seenBy = ({ page }: Tab): Promise<unknown[]> => page.evaluate('seen') as Promise<unknown[]>;
      const have = (last: unknown): Promise<unknown> =>
        Promise.all(
          tabs.map((tab) => until(`${last}`, async () => (await seenBy(tab)).at(-1) === last, 120_000)),
        );
      for (const n of [1, 2, 3]) await site.push.send('alice', n);
      await have(3);
      await site.restart({ broker: broker() });
      // Before anybody is back, and while they come back.
      for (const n of [4, 5]) await site.push.send('alice', n);
      await site.untilOne();
      for (const n of [6, 7]) await site.push.send('alice', n);
      await have(7);
      await until('all back', async () => {
        const names = await Promise.all(tabs.map(({ page }) => page.evaluate('client.state.name')));
        return names.every((name) => name === 'connected');
      });
      await site.untilOne();
      await site.push.send('alice', 8);
      await have(8);
      for (const tab of tabs) {
        const gaps = await tab.page.evaluate(`log.filter(([name]) => name === 'gap').length`);
        const seen = await seenBy(tab);
        // A log that begins anew: what came before a tab was back is lost to it, which is what it is told.
        if (redis) assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8]);
        else
          assert.deepEqual(
            seen,
            [1, 2, 3, 4, 5, 6, 7, 8].filter((n) => n < 4 || n >= Number(seen[3])),
          );
        assert.equal(gaps, redis ? 0 : 1);
        assert.deepEqual(tab.errors, []);
      }
    });
  }
});
