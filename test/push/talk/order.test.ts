/** The frames of one session are obeyed one after another, whatever the application takes its time for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WebSocket } from 'ws';
import { redisBroker } from '../../../src/index.ts';
import { FrameQueue } from '../../../src/push/talk/frame-queue.ts';
import type { WirePosition } from '../../../src/push/talk/wire.ts';
import { client, session } from '../../sockjs/support.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { onEachStore } from '../stores.ts';
import { Page, startPush } from '../support.ts';

/** All in one packet. */
function sayAtOnce(page: Page, ...frames: unknown[]): void {
  const { _socket: socket } = page.socket as WebSocket & {
    _socket: { cork(): void; uncork(): void };
  };
  socket.cork();
  for (const frame of frames) page.say(frame);
  socket.uncork();
}

const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.random() * 5));

onEachStore('subscribe, unsubscribe, subscribe in one turn ends subscribed', async (broker) => {
  const { push, url } = await startPush({
    broker: broker(),
    authorize: { subscribe: () => soon().then(() => true) },
  });
  const page = await Page.open(url, 'alice');
  const subscribe = { type: 'subscribe', channel: 'news' };
  const unsubscribe = { type: 'unsubscribe', channel: 'news' };
  sayAtOnce(page, subscribe, unsubscribe, subscribe, unsubscribe, subscribe);
  await page.frame('subscribed', 2);
  assert.deepEqual(
    page.received.slice(1).map((frame) => (frame as { type: string }).type),
    ['subscribed', 'unsubscribed', 'subscribed', 'unsubscribed', 'subscribed'],
  );
  await push.publish('news', 'one');
  await push.publish('news', 'two');
  await until('both', () => page.messages('news').length === 2);
  assert.deepEqual(page.data('news'), ['one', 'two']);
  await push.close();
});

onEachStore(
  'what a page publishes is stored in its order, however late each permit comes',
  async (broker) => {
    const { push, url } = await startPush({
      broker: broker(),
      authorize: { subscribe: () => true, publish: () => soon().then(() => true) },
    });
    const reader = await Page.open(url, 'bob', { topics: ['room'] });
    const writer = await Page.open(url, 'alice');
    const numbers = Array.from({ length: 20 }, (_, i) => i);
    sayAtOnce(writer, ...numbers.map((data) => ({ type: 'publish', channel: 'room', data, ref: `${data}` })));
    await until('all of them', () => reader.messages('room').length === 20);
    assert.deepEqual(reader.data('room'), numbers);
    await writer.frame('published', 19);
    assert.deepEqual(
      writer.frames('published').map(({ ref, offset }) => [ref, offset]),
      numbers.map((n) => [`${n}`, n + 1]),
    );
    await push.close();
  },
);

onEachStore(
  'hello and subscribe in one packet: each message once, and none before welcome',
  async (broker) => {
    const { push, url } = await startPush({
      broker: broker(),
      authorize: { subscribe: () => soon().then(() => true) },
    });
    for (let i = 0; i < 10; i++) await push.publish('news', i);
    const pages = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const page = new Page(url, `user ${i}`, ['tidings.1']);
        await until('an open page', () => page.socket.readyState === 1);
        const hello = { type: 'hello', topics: ['news'], start: 'retained' };
        sayAtOnce(
          page,
          hello,
          { type: 'subscribe', channel: 'news' },
          { type: 'subscribe', channel: 'inbox' },
        );
        return page;
      }),
    );
    for (let i = 10; i < 20; i++) await push.publish('news', i);
    const all = Array.from({ length: 20 }, (_, i) => i);
    for (const page of pages) {
      await until('all', () => page.messages('news').length >= 20 && page.frames('subscribed').length === 2);
      assert.equal((page.received[0] as { type: string }).type, 'welcome');
      assert.deepEqual(page.data('news'), all);
    }
    await push.close();
  },
);

onEachStore(
  'over SockJS, too: frames of one request, and of many at once, in their order',
  async (broker) => {
    const { push, url } = await startPush({
      broker: broker(),
      sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 },
      authorize: { subscribe: () => soon().then(() => true), publish: () => soon().then(() => true) },
    });
    const http = client(Number(new URL(url).port));
    const path = session('/sockjs');
    assert.equal((await http.post(`${path}/xhr?user=alice&protocol=tidings.1`)).body, 'o\n');
    const say = async (...frames: unknown[]): Promise<void> => {
      const body = JSON.stringify(frames.map((frame) => JSON.stringify(frame)));
      assert.equal((await http.post(`${path}/xhr_send`, { body })).status, 204);
    };
    const subscribe = { type: 'subscribe', channel: 'news' };
    const unsubscribe = { type: 'unsubscribe', channel: 'news' };
    const publishes = Array.from({ length: 20 }, (_, data) => ({ type: 'publish', channel: 'news', data }));
    await say({ type: 'hello', topics: ['news'] }, subscribe, unsubscribe, subscribe, ...publishes);
    const frames: { type: string; data?: unknown }[] = [];
    const data = (): unknown[] => frames.filter(({ type }) => type === 'message').map((frame) => frame.data);
    await until('all messages', async () => {
      const { body } = await http.post(`${path}/xhr`);
      if (body.startsWith('a'))
        frames.push(...(JSON.parse(body.slice(1)) as string[]).map((text) => JSON.parse(text)));
      return data().length >= 20;
    });
    assert.equal(frames[0]!.type, 'welcome');
    assert.deepEqual(
      data(),
      publishes.map((frame) => frame.data),
    );
    assert.deepEqual(
      frames.filter(({ type }) => type === 'error'),
      [],
    );
    await push.close();
  },
);

test('what comes behind hello in one packet is obeyed after welcome: ack, publish, unsubscribe, a second hello', async () => {
  const { push, url } = await startPush({ authorize: { subscribe: () => true, publish: () => true } });
  const page = new Page(url, 'alice', ['tidings.1']);
  await until('an open page', () => page.socket.readyState === 1);
  sayAtOnce(
    page,
    { type: 'hello', topics: ['news'] },
    { type: 'publish', channel: 'news', data: 1 },
    { type: 'hello' },
    { type: 'unsubscribe', channel: 'news' },
  );
  await page.frame('unsubscribed');
  await page.frame('published');
  const types = page.received.map((frame) => (frame as { type: string }).type);
  assert.equal(types[0], 'welcome');
  assert.equal(page.frames('welcome').length, 1);
  assert.deepEqual(
    page.frames('error').map(({ code, message }) => [code, message]),
    [['bad-frame', 'hello comes once']],
  );
  await push.close();
});

test('an answer that never comes holds up its own session alone, until limits.answer; ping is answered meanwhile', async () => {
  const { push, url, log } = await startPush({
    limits: { answer: 300 },
    authorize: {
      subscribe: (_session, topic) => (topic === 'stuck' ? new Promise(() => {}) : true),
      publish: (_session, topic) => (topic === 'stuck' ? new Promise(() => {}) : true),
    },
  });
  const held = await Page.open(url, 'alice');
  const other = await Page.open(url, 'bob');
  sayAtOnce(
    held,
    { type: 'subscribe', channel: 'stuck' },
    { type: 'publish', channel: 'stuck', data: 1, ref: 'p' },
    { type: 'subscribe', channel: 'news' },
    { type: 'ping' },
  );
  await held.frame('pong');
  assert.equal(held.received.length, 2);
  other.say({ type: 'subscribe', channel: 'news' });
  await other.frame('subscribed');
  assert.equal(held.frames('subscribed').length, 0);
  await held.frame('subscribed');
  assert.deepEqual(
    held.frames('error').map(({ code, channel, ref }) => [code, channel, ref]),
    [
      ['forbidden', 'stuck', undefined],
      ['forbidden', 'stuck', 'p'],
    ],
  );
  assert.equal(log.filter((line) => line.includes('no answer within 300 ms')).length, 2);
  await push.close();
});

onEachStore(
  'an answer to subscribe brings the ref of its question, whatever the subscription',
  async (broker) => {
    const { push, url } = await startPush({ broker: broker(), authorize: { subscribe: () => true } });
    const page = await Page.open(url, 'alice');
    const { id, epoch, offset } = await push.send('alice', 1);
    const asks = [
      { type: 'subscribe', channel: 'news', ref: 'new' },
      { type: 'subscribe', channel: 'news', ref: 'goes on' },
      { type: 'subscribe', channel: 'news', start: 'retained', ref: 'anew' },
      { type: 'subscribe', channel: 'inbox', position: { epoch, offset, id }, ref: 'inbox' },
      { type: 'subscribe', channel: 'news' },
      { type: 'subscribe', channel: 'news', ref: 'x'.repeat(65) },
    ];
    sayAtOnce(page, ...asks);
    assert.deepEqual(
      [(await page.frame('error')).code, page.frames('error')[0]!.ref],
      ['bad-frame', undefined],
    );
    assert.deepEqual(
      page.frames('subscribed').map(({ channel, ref }) => [channel, ref]),
      asks.slice(0, -1).map(({ channel, ref }) => [channel, ref]),
    );
    await push.close();
  },
);

test('of subscriptions that the store keeps waiting each has an answer: where it begins, or that another began in its place', {
  ...needs('redis'),
}, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const { push, url } = await startPush({
    broker: redisBroker(redis.url),
    limits: { answer: 200 },
    authorize: { subscribe: () => true },
  });
  const page = await Page.open(url, 'alice', { topics: ['news'] });
  const places = { inbox: [] as WirePosition[], news: [] as WirePosition[] };
  for (let n = 1; n <= 4; n++) {
    for (const [channel, place] of Object.entries(places)) {
      const stored = channel === 'inbox' ? push.send('alice', n) : push.publish(channel, n);
      const { epoch, offset, id } = await stored;
      place.push({ epoch, offset, id });
    }
  }
  await until('all', () => page.data().length === 4 && page.data('news').length === 4);
  redis.process.kill('SIGSTOP');
  const asks = [0, 1, 2].flatMap((at) =>
    Object.entries(places).map(([channel, place]) => ({
      ...{ type: 'subscribe', channel, position: place[at]!, ref: `${channel} ${at}` },
    })),
  );
  sayAtOnce(page, ...asks);
  // Each of the others has been held for its time by then.
  await new Promise((resolve) => setTimeout(resolve, 200 * asks.length + 300));
  redis.process.kill('SIGCONT');
  await until(
    'all answers',
    () => page.frames('subscribed').length + page.frames('error').length >= asks.length,
  );
  const answers = [...page.frames('subscribed'), ...page.frames('error')];
  assert.deepEqual(answers.map(({ ref }) => ref).sort(), asks.map(({ ref }) => ref).sort());
  for (const { code } of page.frames('error')) assert.equal(code, 'unavailable');
  for (const { ref, position, recovered } of page.frames('subscribed')) {
    assert.deepEqual(position, asks.find((ask) => ask.ref === ref)!.position);
    assert.equal(recovered, true);
  }
  const begun = page.frames('subscribed').map(({ ref }) => ref);
  for (const last of ['inbox 2', 'news 2']) assert.ok(begun.includes(last), begun.join());
  await push.send('alice', 5);
  await push.publish('news', 5);
  await until('the next', () => page.data().at(-1) === 5 && page.data('news').at(-1) === 5);
  await push.close();
});

test('a hello whose topics are never permitted is welcomed without them', async () => {
  const { push, url } = await startPush({
    limits: { answer: 100 },
    authorize: { subscribe: (_session, topic) => (topic === 'stuck' ? new Promise(() => {}) : true) },
  });
  const page = await Page.open(url, 'alice', { topics: ['stuck', 'news'] });
  const { channels } = await page.frame('welcome');
  assert.deepEqual(Object.keys(channels).sort(), ['inbox', 'news']);
  assert.equal((await page.frame('error')).channel, 'stuck');
  await push.close();
});

test('frames that wait are bounded in number and bytes: 4429', async () => {
  for (const [limits, frame] of [
    [{ messagesPerSecond: 0 }, { type: 'unsubscribe', channel: 'x' }],
    [
      { messagesPerSecond: 0, message: 100_000, subscriptions: 1 },
      { type: 'publish', channel: 'x', data: 'x'.repeat(90_000) },
    ],
  ] as const) {
    const { push, url } = await startPush({
      limits,
      authorize: { subscribe: () => new Promise(() => {}), publish: () => true },
    });
    const page = await Page.open(url, 'alice');
    page.say({ type: 'subscribe', channel: 'stuck' });
    for (let i = 0; i < 1500; i++) page.say(frame);
    assert.equal(await page.ended(), 4429);
    await push.close();
  }
});

test('a session that ends while its frames wait: none of them is obeyed', async () => {
  let asked = 0;
  let answer = (_permitted: boolean): void => {};
  const { push, url } = await startPush({
    authorize: {
      subscribe: () => {
        asked++;
        return new Promise((resolve) => {
          answer = resolve;
        });
      },
      publish: () => assert.fail('nobody is there'),
    },
  });
  const page = await Page.open(url, 'alice');
  sayAtOnce(page, { type: 'subscribe', channel: 'a' }, { type: 'publish', channel: 'a', data: 1 });
  await until('the question', () => asked === 1);
  page.cut();
  await until('its end', () => push.stats().sessions === 0);
  answer(true);
  const next = await Page.open(url, 'bob');
  next.say({ type: 'ping' });
  await next.frame('pong');
  assert.equal(asked, 1);
  await push.close();
});

test('a frame queue keeps order and counts frames until they are done', async () => {
  const queue = new FrameQueue(3, 10);
  const order: string[] = [];
  let release = (): void => {};
  const slow = new Promise<void>((resolve) => {
    release = resolve;
  });
  assert.equal(
    queue.add(20, () => slow.then(() => void order.push('slow'))),
    true,
    'one frame is never too much',
  );
  assert.equal(
    queue.add(1, () => undefined),
    false,
    'bytes',
  );
  release();
  await until('it is done', () => order.length === 1);
  for (const name of ['a', 'b', 'c']) {
    const isAdded = queue.add(3, (proceed) => {
      order.push(name);
      proceed();
      return new Promise(() => {});
    });
    assert.equal(isAdded, true);
  }
  assert.deepEqual(order, ['slow', 'a', 'b', 'c']);
  assert.equal(
    queue.add(0, () => undefined),
    false,
    'frames',
  );
});
