/** Who is away for a moment has not left, as pages are told that watch a topic. */
import assert from 'node:assert/strict';
import { until } from '../support/net.ts';
import { ask, changes, pair, sees, settings } from './presence-pages.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

onEachStore('who comes back within a few seconds, to whatever instance, has not left', async (broker) => {
  const presenceGrace = 5000;
  const [a, b] = await pair(broker, { presenceGrace });
  const ann = await Page.open(a.url, 'ann');
  ask(ann);
  await sees(ann, 'ann');
  let bob = await Page.open(a.url, 'bob', { topics: ['room:1'] });
  await sees(ann, 'ann', 'bob');
  const others: Page[] = [];
  for (const [i, { url }] of [b, a].entries()) {
    bob.cut();
    await until('the store to know it', async () => (await a.push.presence('room:1')).total === 1 + i);
    // Who comes now shows that it was looked while he was away.
    others.push(await Page.open(b.url, `x${i}`, { topics: ['room:1'] }));
    await until('a look', () => changes(ann).includes(`+x${i}`));
    bob = await Page.open(url, 'bob', { topics: ['room:1'] });
    await until('the store to know it', async () => (await a.push.presence('room:1')).total === 3 + i);
  }
  for (const other of others) other.cut();
  await sees(ann, 'ann', 'bob');
  // An instance that restarts: its pages go to the other one.
  const c = await startPush({ ...settings, presenceGrace, broker: broker() });
  const carl = await Page.open(c.url, 'carl', { topics: ['room:1'] });
  await sees(ann, 'ann', 'bob', 'carl');
  await c.push.close();
  await carl.ended();
  await Page.open(a.url, 'carl', { topics: ['room:1'] });
  const dora = await Page.open(b.url, 'dora', { topics: ['room:1'] });
  await sees(ann, 'ann', 'bob', 'carl', 'dora');
  dora.cut();
  await sees(ann, 'ann', 'bob', 'carl');
  const mine = changes(ann).filter((change) => !change.includes('x'));
  assert.deepEqual(mine, ['+bob', '+carl', '+dora', '-dora']);
});
