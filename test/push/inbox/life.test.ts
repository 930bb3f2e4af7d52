/** The life of a message: what is withdrawn, replaced or expires is gone for everybody, in inboxes and on topics. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PushServerOptions, redisBroker } from '../../../src/index.ts';
import type { Broker, Receipt } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import type { WireMessage } from '../../../src/push/talk/wire.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';
import { onEachStore, onMemory } from '../stores.ts';
import { Page, type Running, startPush } from '../support.ts';
import { knownTo, PollingPage, positionOf, shown, showsCounts } from './mail-page.ts';

async function pair(broker: () => Broker, more: PushServerOptions = {}): Promise<[Running, Running]> {
  const options = { sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 }, ...more };
  const start = (): Promise<Running> => startPush({ ...options, broker: broker() });
  return [await start(), await start()];
}

const shows = (page: { received: unknown[] }, data: unknown[], channel = 'inbox'): Promise<unknown> =>
  until(
    `${channel} to show ${JSON.stringify(data)}`,
    () => JSON.stringify(shown(page, channel)) === JSON.stringify(data),
  );

onEachStore('a message is withdrawn: who has it is told, who comes later never gets it', async (broker) => {
  const [a, b] = await pair(broker);
  const here = await Page.open(a.url, 'alice');
  const there = await PollingPage.open(b.url, 'alice');
  const plain = await Page.plain(b.url, 'alice');
  const origin = here.position()!;
  const receipts: Receipt[] = [];
  for (let i = 1; i <= 4; i++) receipts.push(await a.push.send('alice', i));
  for (const page of [here, there]) await shows(page, [1, 2, 3, 4]);

  assert.equal(await b.push.withdraw('alice', { id: receipts[1]!.id }), true);
  assert.equal(await b.push.withdraw('alice', { id: receipts[1]!.id }), false);
  assert.equal(await a.push.withdraw('alice', positionOf(receipts[3]!)), true);
  assert.equal(await a.push.withdraw('alice', { ...positionOf(receipts[0]!), id: 'other' }), false);
  assert.equal(await a.push.withdraw('bob', { id: receipts[0]!.id }), false);
  for (const page of [here, there]) {
    await shows(page, [1, 3]);
    await showsCounts(page, { unseen: 2, unread: 2, all: 2 });
  }

  const late = await Page.open(b.url, 'alice', { positions: { inbox: origin } });
  await until('all places', () => late.messages().length === 4);
  assert.deepEqual(
    late.messages().map(({ data, gone, offset }) => [offset, data, gone]),
    [
      [1, 1, undefined],
      [2, null, true],
      [3, 3, undefined],
      [4, null, true],
    ],
  );
  await showsCounts(late, { unseen: 2, unread: 2, all: 2 });
  // The place of one that is gone is a place to go on from.
  const position = late.position()!;
  await late.close();
  await a.push.send('alice', 5);
  const again = await Page.open(a.url, 'alice', { positions: { inbox: position } });
  assert.equal(again.frames('welcome')[0]!.channels['inbox']!.recovered, true);
  await shows(again, [5]);
  assert.deepEqual(plain.received, ['1', '2', '3', '4', '5']);

  for (const which of [{}, { id: 1 }, { key: '' }, null, 'x', { epoch: 'e', offset: 1 }]) {
    await assert.rejects(async () => a.push.withdraw('alice', which as never), TypeError);
  }
  await assert.rejects(async () => a.push.withdraw('', { id: 'x' }), TypeError);
  await assert.rejects(async () => a.push.withdrawFrom('inbox', { id: 'x' }), TypeError);
});

onEachStore('a message takes the place of another, unread again, and pages are told once', async (broker) => {
  const [a, b] = await pair(broker);
  const page = await Page.open(a.url, 'alice');
  const origin = page.position()!;
  await a.push.send('alice', 'other');
  await a.push.send('alice', '1 order', { replaces: 'orders' });
  await shows(page, ['other', '1 order']);
  page.say({ type: 'mark', as: 'read' });
  await showsCounts(page, { unseen: 0, unread: 0, all: 2 });
  const told = page.frames('state').length;
  await b.push.send('alice', '2 orders', { replaces: 'orders', idempotencyKey: 'k' });
  await shows(page, ['other', '2 orders']);
  await showsCounts(page, { unseen: 1, unread: 1, all: 2 });
  assert.equal(page.frames('state').length, told + 1);
  const types = page.received.map((frame) => (frame as { type: string }).type).slice(-2);
  assert.deepEqual(types, ['message', 'state']);

  // What is known is neither stored nor replaced again.
  const again = await a.push.send('alice', '2 orders', { replaces: 'orders', idempotencyKey: 'k' });
  assert.equal(again.duplicate, true);
  const late = await Page.open(b.url, 'alice', { positions: { inbox: origin } });
  await until('all places', () => late.messages().length === 3);
  assert.deepEqual(late.data(), ['other', null, '2 orders']);
  assert.equal(await a.push.withdraw('alice', { key: 'orders' }), true);
  assert.equal(await a.push.withdraw('alice', { key: 'orders' }), false);
  for (const one of [page, late]) await shows(one, ['other']);
  for (const replaces of ['', 'x'.repeat(257), '\ud800', 5]) {
    await assert.rejects(a.push.send('alice', 1, { replaces: replaces as string }), TypeError);
  }
});

onEachStore(
  'a message expires by itself: pages are told, and who comes later gets nothing of it',
  async (broker) => {
    const [a, b] = await pair(broker);
    const pages = [await Page.open(a.url, 'alice'), await Page.open(b.url, 'alice')];
    const origin = pages[0]!.position()!;
    await a.push.send('alice', 'stays');
    await a.push.send('alice', 'short', { ttl: 300 });
    // Longer than a timer of Node's can wait.
    await a.push.send('alice', 'long', { ttl: 40 * 24 * 60 * 60 * 1000 });
    for (const page of pages) await until('all', () => page.messages().length === 3);
    const [stays, short, long] = pages[0]!.messages();
    assert.deepEqual([stays!.expires, short!.expires! - short!.time], [undefined, 300]);
    assert.equal(long!.expires! - long!.time, 40 * 24 * 60 * 60 * 1000);
    for (const page of pages) {
      await shows(page, ['stays', 'long']);
      await showsCounts(page, { unseen: 2, unread: 2, all: 2 });
    }
    const late = await Page.open(a.url, 'alice', { positions: { inbox: origin } });
    await until('all places', () => late.messages().length === 3);
    assert.deepEqual(late.data(), ['stays', null, 'long']);
    for (const ttl of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5']) {
      await assert.rejects(a.push.send('alice', 1, { ttl: ttl as number }), TypeError);
    }
  },
);

onEachStore('what expires while nobody looks is gone for who comes', async (broker) => {
  const [a, b] = await pair(broker);
  await a.push.send('alice', 'short', { ttl: 50 });
  await a.push.publish('news', 'short', { ttl: 50 });
  await until('it to be gone', async () => (await b.push.counts('alice')).all === 0);
  const page = await Page.open(b.url, 'alice', { topics: ['news'], start: 'retained' });
  assert.deepEqual(page.frames('welcome')[0]!.channels['inbox']!.state!.counts, {
    unseen: 0,
    unread: 0,
    all: 0,
  });
  await until('their places', () => page.messages().length + page.messages('news').length === 2);
  assert.deepEqual([page.data(), page.data('news')], [[null], [null]]);
  const plain = await Page.plain(a.url, 'alice');
  await a.push.send('alice', 'next');
  await until('the next', () => plain.received.length === 1);
  assert.deepEqual(plain.received, ['next']);
});

onEachStore('on a topic as well: withdrawn, replaced, expired', async (broker) => {
  const [a, b] = await pair(broker);
  const pages = [
    await Page.open(a.url, 'alice', { topics: ['news'] }),
    await Page.open(b.url, 'bob', { topics: ['news'] }),
    await PollingPage.open(b.url, 'carol', { topics: ['news'] }),
  ];
  assert.equal((pages[0] as Page).frames('welcome')[0]!.channels['news']!.state, undefined);
  const origin = (pages[0] as Page).position('news')!;
  const first = await a.push.publish('news', 'first');
  await a.push.publish('news', 'score 1:0', { replaces: 'score' });
  for (const page of pages) await shows(page, ['first', 'score 1:0'], 'news');
  await b.push.publish('news', 'score 2:0', { replaces: 'score' });
  for (const page of pages) await shows(page, ['first', 'score 2:0'], 'news');
  assert.equal(await b.push.withdrawFrom('news', { id: first.id }), true);
  for (const page of pages) await shows(page, ['score 2:0'], 'news');
  await a.push.publish('news', 'soon over', { ttl: 200 });
  for (const page of pages) {
    await until('the message', () => shown(page, 'news').length > 0);
    await until('it to expire', () => knownTo(page, 'news')?.state.gone.some(([, last]) => last === 4));
    await shows(page, ['score 2:0'], 'news');
  }
  const { state } = knownTo(pages[0]!, 'news')!;
  assert.deepEqual([state.seen, state.counts], [undefined, undefined]);

  const late = await Page.open(a.url, 'dora', { positions: { news: origin } });
  assert.deepEqual(late.frames('welcome')[0]!.channels['news']!.state!.gone, [
    [1, 2],
    [4, 4],
  ]);
  await until('all places', () => late.messages('news').length === 4);
  assert.deepEqual(late.data('news'), [null, null, 'score 2:0', null]);
  late.say({ type: 'unsubscribe', channel: 'news' });
  late.say({ type: 'subscribe', channel: 'news' });
  assert.deepEqual((await late.frame('subscribed')).state!.gone, [
    [1, 2],
    [4, 4],
  ]);
});

onMemory(
  'a slow page of a conflating topic gets nothing that was withdrawn while it waited',
  async (broker) => {
    const { push, url } = await startPush({
      broker: broker(),
      topics: { prices: { overflow: 'conflate' } },
      limits: { outbox: 64 * 1024, message: 16 * 1024 * 1024 },
    });
    const page = await Page.open(url, 'alice', { topics: ['prices'] });
    await push.publish('prices', 'first');
    await until('the first', () => page.messages('prices').length === 1);
    page.socket.pause();
    await push.publish('prices', 'x'.repeat(15 * 1024 * 1024));
    await push.publish('prices', 'older');
    const last = await push.publish('prices', 'withdrawn');
    await push.withdrawFrom('prices', { id: last.id });
    page.socket.resume();
    await until('its place', () => page.messages('prices').some(({ offset }) => offset === last.offset));
    await until('the state', () => knownTo(page, 'prices')?.state.gone.length === 1);
    assert.doesNotMatch(JSON.stringify(page.received), /withdrawn/);
  },
);

onMemory('a message by reference that is withdrawn while it is looked up is not sent', async (broker) => {
  let answer: (() => void) | undefined;
  const { push, url } = await startPush({
    broker: broker(),
    references: {
      cache: 0,
      resolve: (key) =>
        new Promise((resolve) => {
          answer = () => resolve({ user: 'alice', data: `mail ${key}` });
        }),
    },
  });
  const page = await Page.open(url, 'alice');
  const { id } = await push.sendReference('alice', '42');
  await until('the question', () => answer);
  await push.withdraw('alice', { id });
  await push.send('alice', 'behind it');
  answer!();
  await until('both', () => page.messages().length === 2);
  assert.deepEqual(page.data(), [null, 'behind it']);
  await showsCounts(page, { unseen: 1, unread: 1, all: 1 });
  assert.doesNotMatch(JSON.stringify(page.received), /mail 42/);
});

onEachStore('a page may replace what its own user has published, and nothing else', async (broker) => {
  const [a, b] = await pair(broker, { authorize: { subscribe: () => true, publish: () => true } });
  const alice = await Page.open(a.url, 'alice', { topics: ['chat'] });
  const bob = await Page.open(b.url, 'bob', { topics: ['chat'] });
  await a.push.publish('chat', 'of the server', { replaces: 'k' });
  const publish = (page: Page, data: string, more: object): void =>
    page.say({ type: 'publish', channel: 'chat', data, replaces: 'k', ...more });
  publish(alice, 'of alice', {});
  await shows(bob, ['of the server', 'of alice'], 'chat');
  publish(bob, 'of bob', {});
  for (const page of [alice, bob]) await shows(page, ['of the server', 'of alice', 'of bob'], 'chat');
  publish(await Page.open(b.url, 'alice'), 'of alice, again', {});
  for (const page of [alice, bob]) await shows(page, ['of the server', 'of bob', 'of alice, again'], 'chat');
  publish(alice, 'short', { replaces: undefined, ttl: 200 });
  await until('the short one', () => (bob.messages('chat').at(-1) as WireMessage).expires !== undefined);
  for (const page of [alice, bob]) await shows(page, ['of the server', 'of bob', 'of alice, again'], 'chat');
  for (const more of [
    { ttl: 0 },
    { ttl: '5' },
    { replaces: '' },
    { replaces: 7 },
    { replaces: 'x'.repeat(257) },
  ]) {
    const told = alice.frames('error').length;
    publish(alice, 'refused', { ref: 'r', ...more });
    assert.equal((await alice.frame('error', told)).code, 'bad-frame');
  }
});

onEachStore(
  '`confirm: acked` rejects at once where the message is gone before it was acknowledged',
  async (broker) => {
    const [a, b] = await pair(broker);
    await Page.open(a.url, 'alice', { device: 'd' });
    for (const life of [{ replaces: 'k' }, { ttl: 300 }]) {
      const sent = a.push.send('alice', 1, { confirm: 'acked', timeout: 50_000, ...life });
      const rejected = assert.rejects(
        sent,
        (error: Error & { code?: string; receipt?: { offset: number } }) => {
          assert.equal(error.code, 'MESSAGE_GONE');
          assert.equal(typeof error.receipt!.offset, 'number');
          return true;
        },
      );
      if (life.replaces !== undefined) {
        await until('it to be there', async () => (await b.push.counts('alice')).all === 1);
        assert.equal(await b.push.withdraw('alice', { key: 'k' }), true);
      }
      await rejected;
    }
  },
);

onEachStore('what is pending is what is not gone', async (broker) => {
  const [a] = await pair(broker);
  const receipts: Receipt[] = [];
  for (let i = 1; i <= 5; i++) receipts.push(await a.push.send('alice', i));
  await a.push.withdraw('alice', { id: receipts[0]!.id });
  await a.push.withdraw('alice', { id: receipts[3]!.id });
  const { count, messages } = await a.push.pending('alice');
  assert.deepEqual([count, messages.map(({ data }) => data)], [3, [2, 3, 5]]);
  assert.deepEqual(
    (await a.push.pending('alice', 2)).messages.map(({ data }) => data),
    [2, 3],
  );
});

onEachStore('retention takes messages out of the counts, by number and by age', async (broker) => {
  const [a, b] = await pair(broker, { retention: { inbox: { maxMessages: 8, maxAge: 2_000 } } });
  const pages = [await Page.open(a.url, 'alice'), await Page.open(b.url, 'alice')];
  for (let i = 1; i <= 30; i++) await a.push.send('alice', i);
  for (const page of pages) {
    await until('all', () => page.messages().length === 30);
    await showsCounts(page, await a.push.counts('alice'));
  }
  assert.ok((await b.push.counts('alice')).all <= 9);
  // Then they grow too old, and nobody says so.
  for (const page of pages) await showsCounts(page, { unseen: 0, unread: 0, all: 0 });
});

onEachStore('plain pages are told the counts where the server is set to it', async (broker) => {
  const [a, b] = await pair(broker, { plainCounts: true });
  const plain = await Page.plain(a.url, 'alice');
  const counts = (unseen: number, unread: number, all: number): string =>
    JSON.stringify({ type: 'counts', unseen, unread, all });
  await until('the first counts', () => plain.received.length === 1);
  const { id } = await b.push.send('alice', 'one');
  await b.push.send('alice', 'two');
  await until('the messages', () => plain.received.length === 5);
  await b.push.mark('alice', { as: 'seen' });
  await until('seen', () => plain.received.length === 6);
  await b.push.mark('alice', { as: 'read', ids: [id] });
  await until('read', () => plain.received.length === 7);
  await b.push.withdraw('alice', { id });
  await until('withdrawn', () => plain.received.length === 8);
  assert.deepEqual(plain.received, [
    counts(0, 0, 0),
    'one',
    counts(1, 1, 1),
    'two',
    counts(2, 2, 2),
    counts(0, 2, 2),
    counts(0, 1, 2),
    counts(0, 1, 1),
  ]);
  // Who is in tidings.1 has what he needs, and other servers say nothing.
  const page = await Page.open(a.url, 'alice');
  assert.ok(!page.received.some((frame) => (frame as { type: string }).type === 'counts'));
});

test('plain pages are told no counts by themselves', async () => {
  const { push, url } = await startPush({ broker: memoryBroker(new MemoryStore()) });
  const plain = await Page.plain(url, 'alice');
  await push.send('alice', 'one');
  await push.mark('alice', { as: 'read' });
  await push.send('alice', 'two');
  await until('both', () => plain.received.includes('two'));
  assert.deepEqual(plain.received, ['one', 'two']);
});

test('other programs give their messages a life on the intake stream', needs('redis'), async () => {
  const redis = await startRedis();
  try {
    const { push, url } = await startPush({ broker: redisBroker(redis.url) });
    const page = await Page.open(url, 'alice');
    const add = (data: string, ...more: string[]): Promise<unknown> =>
      ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'user:alice', 'data', data, ...more);
    await add('1 order', 'replaces', 'orders');
    await shows(page, ['1 order']);
    await add('2 orders', 'replaces', 'orders', 'ttl', '60000');
    await shows(page, ['2 orders']);
    const [, second] = page.messages();
    assert.equal(second!.expires! - second!.time, 60_000);
    await add('short', 'ttl', '200');
    await until('the short one', () => page.messages().length === 3);
    await shows(page, ['2 orders']);
    await add('refused', 'replaces', '');
    await until('the refusal', async () => (await ask(redis, 'XLEN', 'tidings:in:rejected')) === 1);
    await push.close();
  } finally {
    await redis.stop();
  }
});
