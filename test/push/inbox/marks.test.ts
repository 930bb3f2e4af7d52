/** What a user has done with his mail, on all his pages: on both stores, by both doors, over two instances. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PushServerOptions } from '../../../src/index.ts';
import { redisBroker } from '../../../src/index.ts';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import type { WirePosition } from '../../../src/push/talk/wire.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { faultyBroker } from '../faulty-broker.ts';
import { onEachStore, onMemory } from '../stores.ts';
import { Page, type Running, startPush } from '../support.ts';
import { ask, countsOn, knownTo, PollingPage, positionOf, showsCounts } from './mail-page.ts';

async function pair(broker: () => Broker, more: PushServerOptions = {}): Promise<[Running, Running]> {
  const options = { sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 }, ...more };
  const start = (): Promise<Running> => startPush({ ...options, broker: broker() });
  return [await start(), await start()];
}

onEachStore(
  'mail that is read on the phone is read on the desktop, whatever its door and instance',
  async (broker) => {
    const [a, b] = await pair(broker);
    const phone = await Page.open(a.url, 'alice', { device: 'phone' });
    const others = [
      await Page.open(a.url, 'alice', { device: 'tablet' }),
      await Page.open(b.url, 'alice', { device: 'desktop' }),
      await PollingPage.open(b.url, 'alice', { device: 'old' }),
      await PollingPage.open(a.url, 'alice'),
    ];
    const bob = await Page.open(a.url, 'bob');
    const pages = [phone, ...others];
    for (let i = 1; i <= 5; i++) await (i % 2 ? a : b).push.send('alice', i);
    for (const page of pages) await showsCounts(page, { unseen: 5, unread: 5, all: 5 });

    const [first, second] = phone.messages().map(positionOf);
    const marked = await ask(phone, { type: 'mark', as: 'read', messages: [first, second], ref: '1' });
    assert.deepEqual([marked.type, marked['changed']], ['marked', 2]);
    for (const page of pages) await showsCounts(page, { unseen: 3, unread: 3, all: 5 });
    phone.say({ type: 'mark', as: 'seen' });
    for (const page of pages) await showsCounts(page, { unseen: 0, unread: 3, all: 5 });
    await others[2]!.say({ type: 'mark', as: 'archived', messages: [first] });
    for (const page of pages) await showsCounts(page, { unseen: 0, unread: 3, all: 4 });
    phone.say({ type: 'mark', as: 'unread', messages: [second] });
    for (const page of pages) await showsCounts(page, { unseen: 0, unread: 4, all: 4 });
    phone.say({ type: 'mark', as: 'deleted', messages: [second] });
    for (const page of pages) await showsCounts(page, { unseen: 0, unread: 3, all: 3 });
    phone.say({ type: 'mark', as: 'unarchived' });
    for (const page of pages) await showsCounts(page, { unseen: 0, unread: 3, all: 4 });
    // What comes is new to him.
    await b.push.send('alice', 6);
    for (const page of pages) await showsCounts(page, { unseen: 1, unread: 4, all: 5 });

    for (const { push } of [a, b])
      assert.deepEqual(await push.counts('alice'), { unseen: 1, unread: 4, all: 5 });
    const versions = pages.map((page) => knownTo(page)!.state.version);
    assert.deepEqual(new Set(versions.map((version) => JSON.stringify(version))).size, 1);
    assert.deepEqual(bob.frames('state'), []);
    assert.deepEqual(countsOn(bob), { unseen: 0, unread: 0, all: 0 });
  },
);

onEachStore('a page that was away gets the counts with its welcome, and no state twice', async (broker) => {
  const [a, b] = await pair(broker);
  const page = await Page.open(a.url, 'alice', { device: 'd' });
  for (let i = 1; i <= 3; i++) await a.push.send('alice', i);
  await until('all', () => page.messages().length === 3);
  const position = page.position()!;
  const { version } = knownTo(page)!.state;
  await page.close();
  await b.push.send('alice', 4);
  assert.deepEqual(await b.push.mark('alice', { as: 'read', messages: [position] }), {
    changed: 1,
    counts: { unseen: 3, unread: 3, all: 4 },
  });

  for (const url of [a.url, b.url]) {
    const again = await Page.open(url, 'alice', {
      device: 'd',
      positions: { inbox: position },
      states: { inbox: version },
    });
    const { state } = again.frames('welcome')[0]!.channels['inbox']!;
    assert.deepEqual(state!.counts, { unseen: 3, unread: 3, all: 4 });
    assert.deepEqual([state!.first, state!.last, state!.rewound], [1, 4, undefined]);
    assert.deepEqual(state!.read, [[3, 3]]);
    await until('what it missed', () => again.messages().length === 1);
    assert.deepEqual(countsOn(again), { unseen: 3, unread: 3, all: 4 });
    again.say({ type: 'ping' });
    await again.frame('pong');
    assert.deepEqual(again.frames('state'), []);
    await again.close();
  }
});

onEachStore('a hundred marks in one packet are obeyed in their order', async (broker) => {
  const [a, b] = await pair(broker, { limits: { messagesPerSecond: 10_000 } });
  const page = await Page.open(a.url, 'alice');
  const other = await Page.open(b.url, 'alice');
  for (let i = 1; i <= 20; i++) await a.push.send('alice', i);
  await until('all', () => page.messages().length === 20);
  const positions = page.messages().map(positionOf);
  for (let i = 0; i < 100; i++) {
    const as = ['read', 'unread', 'archived', 'unarchived', 'seen'][i % 5];
    page.say({ type: 'mark', as, messages: [positions[i % 20]], ref: String(i) });
  }
  await until('all answers', () => page.frames('marked').length === 100);
  assert.deepEqual(
    page.frames('marked').map(({ ref }) => Number(ref)),
    Array.from({ length: 100 }, (_, i) => i),
  );
  const counts = await b.push.counts('alice');
  await showsCounts(page, counts);
  await showsCounts(other, counts);
  const versions = other.frames('state').map(({ version }) => version.offset);
  assert.deepEqual(
    versions,
    versions.toSorted((x, y) => x - y),
  );
});

onEachStore('nobody marks the mail of another', async (broker) => {
  const [a] = await pair(broker);
  const alice = await Page.open(a.url, 'alice');
  const mallory = await Page.open(a.url, 'mallory');
  await a.push.send('alice', 1);
  await a.push.send('mallory', 'own');
  const position = positionOf(await alice.frame('message'));
  for (const more of [{}, { channel: 'user:alice' }, { user: 'alice' }]) {
    const answer = await ask(mallory, {
      type: 'mark',
      as: 'deleted',
      messages: [position],
      ref: JSON.stringify(more),
      ...more,
    });
    assert.deepEqual([answer.type, answer['changed']], ['marked', 0]);
  }
  mallory.say({ type: 'mark', as: 'deleted', upTo: position });
  mallory.say({ type: 'mark', as: 'read', channel: 'user:alice' });
  await showsCounts(mallory, { unseen: 0, unread: 0, all: 1 });
  const listed = await ask(mallory, { type: 'history', channel: 'user:alice', ref: 'h' });
  assert.deepEqual(
    (listed['messages'] as { data: unknown }[]).map(({ data }) => data),
    ['own'],
  );
  assert.deepEqual(await a.push.counts('alice'), { unseen: 1, unread: 1, all: 1 });
  assert.deepEqual(alice.frames('state'), []);
});

onEachStore('what is no mark is refused, with its ref, and changes nothing', async (broker) => {
  const [a] = await pair(broker, { limits: { messagesPerSecond: 10_000 } });
  const page = await Page.open(a.url, 'alice');
  await a.push.send('alice', 1);
  const position = positionOf(await page.frame('message'));
  const hostile: Record<string, unknown>[] = [
    { type: 'mark' },
    { type: 'mark', as: 'toString' },
    { type: 'mark', as: ['read'] },
    { type: 'mark', as: 'read', messages: position },
    { type: 'mark', as: 'read', messages: [null] },
    { type: 'mark', as: 'read', messages: [{ ...position, offset: -1 }] },
    { type: 'mark', as: 'read', messages: [{ ...position, offset: 1.5 }] },
    { type: 'mark', as: 'read', messages: [{ ...position, id: 'x'.repeat(65) }] },
    { type: 'mark', as: 'read', messages: Array(1001).fill(position) },
    { type: 'mark', as: 'read', messages: [position], upTo: position },
    { type: 'mark', as: 'read', upTo: 1 },
    { type: 'mark', as: 'read', upTo: null },
    { type: 'history', limit: 0 },
    { type: 'history', limit: 201 },
    { type: 'history', limit: '5' },
    { type: 'history', state: '__proto__' },
    { type: 'history', before: 5 },
    { type: 'history', before: null },
  ];
  for (const [i, frame] of hostile.entries()) {
    const answer = await ask(page, { ref: `h${i}`, ...frame } as never);
    assert.deepEqual([answer.type, answer['code']], ['error', 'bad-frame'], JSON.stringify(frame));
  }
  page.say({ type: 'mark', as: 'read', ref: 'x'.repeat(65) });
  page.say({ type: 'mark', as: 'read', ref: 7 });
  await until('both', () => page.frames('error').length === hostile.length + 2);

  // Well-formed, but of nothing that is there.
  for (const [i, change] of [{ offset: 99 }, { epoch: 'other' }, { id: 'other' }].entries()) {
    for (const named of ['messages', 'upTo']) {
      const there = { ...position, ...change };
      const answer = await ask(page, {
        type: 'mark',
        as: 'read',
        [named]: named === 'upTo' ? there : [there],
        ref: `n${named}${i}`,
      });
      assert.deepEqual([answer.type, answer['changed']], ['marked', 0]);
    }
  }
  assert.equal((await ask(page, { type: 'mark', as: 'read', messages: [], ref: 'none' }))['changed'], 0);
  assert.deepEqual(await a.push.counts('alice'), { unseen: 1, unread: 1, all: 1 });
  assert.deepEqual(page.frames('state'), []);
  assert.equal(page.closeCode, undefined);
  for (const states of [null, [], 'inbox', { inbox: 1 }, { inbox: { epoch: 'e', offset: -1, id: 'i' } }]) {
    const other = new Page(a.url, 'alice', ['tidings.1']);
    await until('an open page', () => other.socket.readyState === 1);
    other.say({ type: 'hello', states });
    assert.equal((await other.frame('error')).code, 'bad-frame');
  }
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`t${i}`, position]));
  const other = new Page(a.url, 'alice', ['tidings.1']);
  await until('an open page', () => other.socket.readyState === 1);
  other.say({ type: 'hello', states: many });
  assert.equal((await other.frame('error')).code, 'too-many-subscriptions');
});

test(
  'a mark while the store is away is refused as `unavailable`; said again, it is made',
  needs('redis'),
  async () => {
    const redis = await startRedis();
    try {
      const { push, url } = await startPush({ broker: redisBroker(redis.url) });
      const page = await Page.open(url, 'alice');
      await push.send('alice', 1);
      await page.frame('message');
      await redis.kill();
      await until('the loss', () => page.frames('status').some(({ behind }) => behind));
      for (let i = 0; i < 100; i++) page.say({ type: 'mark', as: 'read', ref: `m${i}` });
      page.say({ type: 'history', ref: 'h' });
      await until('refusals', () => page.frames('error').length === 101);
      assert.ok(page.frames('error').every(({ code }) => code === 'unavailable'));
      await redis.start();
      await until('its return', () => page.frames('status').some(({ behind }) => !behind));
      await push.send('alice', 2);
      await until('the message', () => page.data().includes(2));
      const answer = await ask(page, { type: 'mark', as: 'read', ref: 'again' });
      assert.equal(answer.type, 'marked');
      await until('the counts', async () => countsOn(page)?.unread === 0);
      await push.close();
    } finally {
      await redis.stop();
    }
  },
);

test(
  'Redis that comes back without its marks: pages are told, whether they were there or away',
  needs('redis'),
  async () => {
    const redis = await startRedis();
    try {
      const { push, url } = await startPush({ broker: redisBroker(redis.url) });
      const page = await Page.open(url, 'alice');
      await push.send('alice', 1);
      await page.frame('message');
      page.say({ type: 'mark', as: 'read' });
      await showsCounts(page, { unseen: 0, unread: 0, all: 1 });
      const away = await Page.open(url, 'alice');
      const { version } = knownTo(away)!.state;
      const position = away.position()!;
      await away.close();
      await redis.kill();
      await until('the loss', () => page.frames('status').some(({ behind }) => behind));
      await redis.start();
      await page.frame('gap');
      await until('the loss of marks', () => page.frames('state').some(({ rewound }) => rewound === true));
      await showsCounts(page, { unseen: 0, unread: 0, all: 0 });
      const again = await Page.open(url, 'alice', {
        positions: { inbox: position },
        states: { inbox: version },
      });
      assert.equal(again.frames('welcome')[0]!.channels['inbox']!.state!.rewound, true);
      await push.send('alice', 2);
      for (const one of [page, again]) await showsCounts(one, { unseen: 1, unread: 1, all: 1 });
      await push.close();
    } finally {
      await redis.stop();
    }
  },
);

test('a page that reads slowly is told the newest state, not all of them', async () => {
  const store = new MemoryStore();
  const { push, url } = await startPush({
    broker: memoryBroker(store),
    limits: { outbox: 64 * 1024, message: 4 * 1024 * 1024 },
  });
  const slow = await Page.open(url, 'alice');
  const quick = await Page.open(url, 'alice');
  await push.send('alice', 'first');
  await until('both', () => slow.messages().length + quick.messages().length === 2);
  slow.socket.pause();
  // More than the system takes for it.
  for (let i = 0; i < 10; i++) await push.send('alice', 'x'.repeat(3 * 1024 * 1024));
  await until('all', () => quick.messages().length === 11);
  const positions = quick.messages().map(positionOf);
  for (let i = 0; i < 300; i++) {
    await push.mark('alice', { as: i % 2 ? 'unread' : 'read', messages: [positions[i % 11]!] });
  }
  await push.mark('alice', { as: 'read', messages: positions.slice(0, 4) });
  const counts = await push.counts('alice');
  await showsCounts(quick, counts);
  slow.socket.resume();
  await until('it to catch up', () => slow.messages().length === 11);
  await showsCounts(slow, counts);
  assert.ok(slow.frames('state').length < 20, `${slow.frames('state').length} states`);
});

test('a doorbell that comes late, or twice, brings no older state back', async () => {
  const store = new MemoryStore();
  const broker = faultyBroker(memoryBroker(store));
  const { push, url } = await startPush({ broker });
  const page = await Page.open(url, 'alice');
  await push.send('alice', 1);
  await page.frame('message');
  const before = await broker.marks('user:alice');
  await push.mark('alice', { as: 'seen' });
  await showsCounts(page, { unseen: 0, unread: 1, all: 1 });
  await push.mark('alice', { as: 'read' });
  await showsCounts(page, { unseen: 0, unread: 0, all: 1 });
  const now = await broker.marks('user:alice');
  const told = page.frames('state').length;
  for (const marked of [before, now, before, now]) broker.listener.marked!('user:alice', marked);
  // Of a rewind, only the store can tell.
  await push.send('alice', 2);
  await until('the next message', () => page.messages().length === 2);
  await showsCounts(page, { unseen: 1, unread: 1, all: 2 });
  assert.equal(page.frames('state').length, told);
});

test('of what the store says while a channel finds its place, the newest counts', async () => {
  const broker = faultyBroker(memoryBroker(new MemoryStore()));
  const { push, url } = await startPush({ broker });
  const page = await Page.open(url, 'alice');
  await push.send('alice', 1);
  await push.mark('alice', { as: 'seen' });
  await showsCounts(page, { unseen: 0, unread: 1, all: 1 });
  const before = await broker.marks('user:alice');
  /** Has the channel ask for its place, and answers once the rest was done. */
  const { opening } = broker;
  const meanwhile = async (rest: () => unknown): Promise<void> => {
    await new Promise<void>((asked, failed) => {
      broker.opening = async (channel) => {
        broker.opening = opening;
        const answer = await opening(channel);
        await Promise.resolve(rest()).then(() => asked(), failed);
        return answer;
      };
      broker.listener.missed!('user:alice');
    });
    const { length } = page.messages();
    await push.send('alice', 'next');
    await until('the next message', () => page.messages().length > length);
  };
  await meanwhile(() => push.mark('alice', { as: 'read' }));
  await showsCounts(page, { unseen: 1, unread: 1, all: 2 });
  const told = page.frames('state').length;
  await meanwhile(() => broker.listener.marked!('user:alice', before));
  await showsCounts(page, { unseen: 2, unread: 2, all: 3 });
  // Late, or the store has rewound and this is all that it has: it was asked once more.
  await push.send('alice', 'last');
  await until('the last', () => page.data().at(-1) === 'last');
  assert.equal(page.frames('state').length, told);
  assert.ok(!page.frames('state').some(({ rewound }) => rewound));
});

onEachStore('a page that was sent away is told nothing more of the state', async (broker) => {
  const [a, b] = await pair(broker, { lease: 500 });
  const page = await Page.open(a.url, 'alice');
  const other = await Page.open(b.url, 'alice', { device: 'other' });
  await a.push.send('alice', 1);
  await until('both', () => page.messages().length + other.messages().length === 2);
  const session = page.frames('welcome')[0]!.session;
  await b.push.disconnect('alice', { session });
  const told = page.received.length;
  await b.push.mark('alice', { as: 'read' });
  await showsCounts(other, { unseen: 0, unread: 0, all: 1 });
  await page.ended();
  assert.equal(page.received.length, told);
});

test('marks that wait for those of another page are not made once their page was sent away', async () => {
  const broker = memoryBroker();
  const { mark } = broker;
  let isHeld = true;
  let calls = 0;
  broker.mark = async (...all) => {
    calls++;
    await until('the first mark to be let go', () => !isHeld);
    return mark.apply(broker, all);
  };
  const { push, url } = await startPush({ broker });
  const page = await Page.open(url, 'alice');
  const other = await Page.open(url, 'alice');
  await push.send('alice', 1);
  other.say({ type: 'mark', as: 'seen', ref: 'first' });
  await until('the first', () => calls === 1);
  page.say({ type: 'mark', as: 'deleted' });
  page.say({ type: 'ping' });
  await page.frame('pong');
  await push.disconnect('alice', { session: page.frames('welcome')[0]!.session });
  isHeld = false;
  await other.frame('marked');
  assert.equal((await ask(other, { type: 'mark', as: 'seen', ref: 'last' })).type, 'marked');
  assert.equal(calls, 2);
  assert.deepEqual(await push.counts('alice'), { unseen: 0, unread: 1, all: 1 });
});

test('a page that knows of a later change than its new instance is told what the store says, and of no loss', async () => {
  const store = new MemoryStore();
  const one = await startPush({ broker: memoryBroker(store) });
  const deaf = await startPush({ broker: faultyBroker(memoryBroker(store), { losesMarks: () => true }) });
  // It has the channel, and does not hear of the change.
  await Page.open(deaf.url, 'alice', { topics: ['news'] });
  const page = await Page.open(one.url, 'alice', { topics: ['news'] });
  await one.push.send('alice', 1);
  await page.frame('message');
  await one.push.mark('alice', { as: 'read' });
  const { id } = await one.push.publish('news', 1);
  await one.push.withdrawFrom('news', { id });
  await until('both', () => knownTo(page)?.state.version.offset && knownTo(page, 'news'));
  const states = { inbox: knownTo(page)!.state.version, news: knownTo(page, 'news')!.state.version };
  const there = await Page.open(deaf.url, 'alice', { topics: ['news'], states });
  const { inbox, news } = there.frames('welcome')[0]!.channels;
  assert.deepEqual([inbox!.state!.version, inbox!.state!.rewound], [states.inbox, undefined]);
  assert.deepEqual([inbox!.state!.counts, news!.state!.gone], [{ unseen: 0, unread: 0, all: 1 }, [[1, 1]]]);
  assert.deepEqual([news!.state!.version, news!.state!.rewound], [states.news, undefined]);

  // Of what the store has lost, it is told, on a topic that nothing is known of as well.
  const lost = { epoch: 'lost', offset: 7, id: 'x' };
  const told = await Page.open(one.url, 'bob', { topics: ['empty'], states: { inbox: lost, empty: lost } });
  const { inbox: own, empty } = told.frames('welcome')[0]!.channels;
  assert.deepEqual([own!.state!.rewound, empty!.state!.rewound], [true, true]);
  const unsaid = await Page.open(one.url, 'bob', { topics: ['empty'] });
  assert.equal(unsaid.frames('welcome')[0]!.channels['empty']!.state, undefined);
});

onMemory(
  'marks of too many ranges are refused; while there are nearly as many, pages are told at a pace',
  async (broker) => {
    const { push, url, log } = await startPush({
      broker: broker(),
      retention: { inbox: { maxMessages: 10_000 } },
      limits: { messagesPerSecond: 10_000, bytesPerSecond: 1e9, outbox: 16 * 1024 * 1024 },
    });
    const receipts: WirePosition[] = [];
    for (let i = 0; i < 8_400; i++) receipts.push(positionOf(await push.send('alice', i)));
    const page = await Page.open(url, 'alice');
    const other = await Page.open(url, 'alice');
    const everyOther = receipts.filter((_, i) => i % 2 === 0);
    for (let i = 0; i < 4; i++) {
      const messages = everyOther.slice(i * 1000, (i + 1) * 1000);
      assert.equal(
        (await ask(page, { type: 'mark', as: 'archived', messages, ref: `a${i}` }))['changed'],
        1000,
      );
    }
    const before = await push.counts('alice');
    const rest = everyOther.slice(4000);
    const refused = await ask(page, { type: 'mark', as: 'archived', messages: rest, ref: 'refused' });
    assert.deepEqual([refused.type, refused['code']], ['error', 'rejected']);
    // It is a matter between him and his page.
    assert.deepEqual(log, []);
    assert.deepEqual(await push.counts('alice'), before);
    await showsCounts(other, before);

    const told = other.frames('state').length;
    for (let i = 0; i < 200; i++) {
      const as = i % 2 ? 'unarchived' : 'archived';
      page.say({ type: 'mark', as, messages: [rest[0]], ref: `b${i}` });
    }
    page.say({ type: 'mark', as: 'archived', messages: [rest[1]], ref: 'last' });
    await until('all answers', () => page.frames('marked').some(({ ref }) => ref === 'last'));
    const counts = await push.counts('alice');
    for (const one of [page, other]) await showsCounts(one, counts);
    assert.ok(other.frames('state').length - told < 100, `${other.frames('state').length - told} states`);
  },
);
