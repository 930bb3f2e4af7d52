/** Pages at different places of one log, read at the same time: each gets all that is behind its own place. */
import assert from 'node:assert/strict';
import { until } from '../../support/net.ts';
import { onEachStore } from '../stores.ts';
import { Page, startPush } from '../support.ts';

onEachStore('positions 0, 1 and 2 at once: nothing is unresolved or told as missing', async (broker) => {
  const { push, url } = await startPush({
    broker: broker(),
    // Beyond what one read of the log gives, so that an entry can fill a page by itself.
    limits: { message: 4 * 1024 * 1024, outbox: 16 * 1024 * 1024 },
    references: { resolve: (key) => ({ user: key.split(' ')[0]!, data: { key } }) },
  });
  for (const [user, first] of [
    ['alice', undefined],
    ['bob', 'x'.repeat(1_500_000)],
  ] as const) {
    const zero = (await (await Page.open(url, user)).frame('welcome')).channels['inbox']!.position;
    const places = [zero];
    for (let i = 1; i <= 3; i++) {
      const { epoch, offset, id } = await (i === 1 && first !== undefined
        ? push.send(user, first)
        : push.sendReference(user, `${user} ${i}`));
      places.push({ epoch, offset, id });
    }
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 1, 0],
    ]) {
      const pages = await Promise.all(
        order.map(async (n) => {
          const page = await Page.open(url, user, { positions: { inbox: places[n]! } });
          return { n, page };
        }),
      );
      for (const { n, page } of pages) {
        await until('all', () => page.messages().length === 3 - n);
        assert.deepEqual(
          page.messages().map(({ offset, unresolved }) => [offset, unresolved]),
          [1, 2, 3].slice(n).map((offset) => [offset, undefined]),
        );
        assert.equal(page.frames('gap').length, 0);
        assert.equal((await page.frame('welcome')).channels['inbox']!.recovered, true);
        await page.close();
      }
    }
  }
  await push.close();
});
