/** Every bound holds against a hundred impolite peers at once. */
import assert from 'node:assert/strict';
import { createConnection, type Socket } from 'node:net';
import { test } from 'node:test';
import type { Receipt } from '../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer } from '../../src/push/index.ts';
import { client, session } from '../sockjs/support.ts';
import { atEnd } from '../support/cleanups.ts';
import { until } from '../support/net.ts';
import { faultyBroker } from './faulty-broker.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

/** A peer on a bare socket: asks, and says nothing any more. */
class Mute {
  readonly socket: Socket;
  status = '';
  isOver = false;

  constructor(url: string, user: string, protocol = '') {
    const { port, pathname } = new URL(url);
    this.socket = createConnection(Number(port), '127.0.0.1');
    atEnd(() => this.socket.destroy());
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isOver = true;
    });
    this.socket.once('data', (data) => {
      this.status = data.toString('latin1', 9, 12);
    });
    const line = protocol === '' ? '' : `Sec-WebSocket-Protocol: ${protocol}\r\n`;
    this.socket.write(
      `GET ${pathname}?user=${encodeURIComponent(user)} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n` +
        `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${line}` +
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

for (const [limit, status] of [
  ['sessions', '503'],
  ['sessionsPerAddress', '429'],
] as const) {
  test(`limits.${limit}: of 300 handshakes at once, 10 get in; whoever leaves makes room for one`, async () => {
    let inside = 0;
    let most = 0;
    const { push, url } = await startPush({
      limits: { [limit]: 10 },
      interceptors: [
        {
          before: async (_request, attributes) => {
            for (let i = 0; i < 20; i++) await turn();
            attributes.user = 'alice';
          },
        },
      ],
      handler: {
        opened: () => {
          most = Math.max(most, ++inside);
        },
        closed: () => {
          inside--;
        },
      },
    });
    for (const round of [1, 2]) {
      const peers = Array.from({ length: 300 }, (_, i) => new Mute(url, `u${i}`, i % 2 ? 'tidings.1' : ''));
      await until('all answers', () => peers.every((peer) => peer.status !== ''));
      assert.equal(peers.filter((peer) => peer.status === '101').length, 10, `round ${round}`);
      assert.equal(peers.filter((peer) => peer.status === status).length, 290);
      assert.equal(push.stats().sessions, 10);
      for (const peer of peers) peer.socket.destroy();
      await until('nobody', () => push.stats().sessions === 0);
    }
    assert.equal(most, 10);
    await push.close();
  });
}

test('limits.sessions holds over all doors together: 100 by WebSocket and 100 by SockJS at once', async () => {
  const { push, url } = await startPush({
    limits: { sessions: 10 },
    sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 },
    interceptors: [
      {
        before: async (_request, attributes) => {
          for (let i = 0; i < 20; i++) await turn();
          attributes.user = 'alice';
        },
      },
    ],
  });
  const http = client(Number(new URL(url).port));
  const answers = Array.from({ length: 100 }, () => http.post(`${session('/sockjs')}/xhr`));
  const peers = Array.from({ length: 100 }, (_, i) => new Mute(url, `u${i}`));
  const statuses = (await Promise.all(answers)).map(({ status }) => String(status));
  await until('all answers', () => peers.every((peer) => peer.status !== ''));
  const all = [...statuses, ...peers.map(({ status }) => status)];
  assert.equal(all.filter((status) => status === '200' || status === '101').length, 10);
  assert.equal(all.filter((status) => status === '503').length, 190);
  assert.equal(push.stats().sessions, 10);
  await push.close();
});

test('places are given back by whoever gives up, is refused or fails on the way in', async () => {
  let asked = 0;
  const { push, url } = await startPush({
    limits: { sessions: 5, handshakes: 3 },
    interceptors: [
      {
        before: async (request, attributes) => {
          asked++;
          const user = new URL(request.url!, 'http://x').searchParams.get('user')!;
          if (user === 'refused') return new Response('no', { status: 403 });
          if (user === 'fails') throw new Error('on purpose');
          if (user === 'hangs') await new Promise(() => {});
          attributes.user = user === 'nobody' ? undefined : user;
          return undefined;
        },
      },
    ],
    log: () => {},
  });
  for (const user of ['refused', 'fails', 'nobody', 'hangs', '\u0001']) {
    for (let i = 0; i < 10; i++) {
      const before = asked;
      const peer = new Mute(url, user);
      if (user === 'hangs') {
        await until('it is asked about', () => asked > before);
        peer.socket.destroy();
      } else await until('an answer', () => peer.status !== '');
    }
  }
  // The server hears of the last one's end when it does.
  const pages: Page[] = [];
  await until('five', async () => {
    const page = new Page(url, `user ${pages.length}`);
    await until('an answer', () => page.refusal !== undefined || page.socket.readyState === 1);
    if (page.refusal === undefined) pages.push(page);
    return pages.length === 5;
  });
  assert.equal(await new Page(url, 'six').ended(), 503);
  for (const page of pages) await page.close();
  await push.close();
});

test('limits.sessionsPerUser: of 100 at once that never answer a close, few connections are left', async () => {
  const { push, url } = await startPush({ limits: { sessionsPerUser: 5 } });
  const peers = Array.from({ length: 100 }, () => new Mute(url, 'alice'));
  await until('all answers', () => peers.every((peer) => peer.status === '101'));
  await until('the others are gone', () => peers.filter((peer) => !peer.isOver).length <= 6);
  assert.equal(push.stats().sessions, 5);
  assert.equal((await push.sessions('alice')).length, 5);
  // Others of the same server are none of it.
  const bob = await Page.open(url, 'bob');
  await push.send('alice', 'x');
  await push.send('bob', 'y');
  await until('it', () => bob.data().length === 1);
  await push.close();
});

test('a polite page whose place is taken is told so with 4509', async () => {
  const { push, url } = await startPush({ limits: { sessionsPerUser: 1 } });
  const pages: Page[] = [];
  for (let i = 0; i < 4; i++) pages.push(await Page.open(url, 'alice'));
  for (const page of pages.slice(0, 3)) assert.equal(await page.ended(), 4509);
  await push.send('alice', 'x');
  await until('it', () => pages[3]!.data().length === 1);
  await push.close();
});

test('while the store is known to be away, handshakes hold no places: 500 pages get in through 2', async () => {
  const broker = faultyBroker(memoryBroker());
  const { push, url } = await startPush({
    broker,
    limits: { handshakes: 2, helloTimeout: 60_000 },
    log: () => {},
  });
  broker.faults.refuses = () => true;
  broker.listener.down(new Error('on purpose'));
  const started = performance.now();
  const peers = Array.from({ length: 500 }, (_, i) => new Mute(url, `u${i}`, 'tidings.1'));
  await until('all', () => peers.every((peer) => peer.status === '101'), 60_000);
  // 250 turns of two seconds each, otherwise.
  assert.ok(performance.now() - started < 60_000);
  broker.faults.refuses = () => false;
  broker.listener.up();
  const page = await Page.open(url, 'u1');
  await push.send('u1', 'x');
  await until('it', () => page.data().length === 1);
  await push.close();
});

test('a store that answers nobody, or was never reached, holds up one handshake and not each', async () => {
  for (const kind of ['never reached', 'without an answer']) {
    const broker = faultyBroker(memoryBroker());
    if (kind === 'never reached') broker.open = () => new Promise(() => {});
    else broker.subscribe = () => new Promise(() => {});
    const { push, url } = await startPush(
      { broker, limits: { handshakes: 2, helloTimeout: 60_000 }, log: () => {} },
      { isReady: false },
    );
    const peers = Array.from({ length: 100 }, (_, i) => new Mute(url, `u${i}`));
    // 50 turns of two seconds each, otherwise.
    await until('all', () => peers.every((peer) => peer.status === '101'), 50_000);
    assert.equal(push.stats().sessions, 100);
    for (const peer of peers) peer.socket.destroy();
    await until('nobody', () => push.stats().sessions === 0);
  }
});

test('limits that can not be are refused at the start, with their name', () => {
  for (const limits of [
    { message: 0 },
    { message: -1 },
    { message: Number.NaN },
    { message: 1.5 },
    { message: Number.POSITIVE_INFINITY },
    { message: '4096' as never },
    { outbox: 0 },
    { subscriptions: 0 },
    { helloTimeout: 0 },
    { helloTimeout: 2 ** 31 },
    { answer: 0 },
    { sessions: -5 },
    { handshakes: null as never },
    { nosuch: 1 } as never,
  ]) {
    const [name] = Object.keys(limits);
    assert.throws(() => new PushServer({ limits }), {
      name: 'TypeError',
      message: new RegExp(`limits.*${name}`),
    });
  }
  for (const heartbeat of [{ ping: -1 }, { interval: 0 }, { timeout: Number.NaN }, { ping: 2 ** 31 }]) {
    assert.throws(() => new PushServer({ heartbeat }), TypeError);
  }
  for (const proxy of [
    '10.0.0.1/',
    '10.0.0.1/33',
    '10.0.0.0/8/8',
    '::1/129',
    '10.0.0.0/-1',
    '10.0.0.0/ 8',
    '10.0.0.0/0x8',
    '',
  ]) {
    assert.throws(() => new PushServer({ proxies: [proxy] }), { name: 'TypeError' }, proxy);
  }
});

test('a small limits.message leaves room for a hello with all its topics, and for a message of that size', async () => {
  const { push, url } = await startPush({
    limits: { message: 100, subscriptions: 40 },
    authorize: { subscribe: () => true, publish: () => true },
  });
  const topics = Array.from({ length: 40 }, (_, i) => '字'.repeat(250) + i);
  const position = { epoch: 'e'.repeat(64), offset: 2 ** 50, id: 'i'.repeat(64) };
  const page = await Page.open(url, 'alice', {
    topics,
    positions: Object.fromEntries(topics.map((topic) => [topic, position])),
  });
  assert.equal(Object.keys((await page.frame('welcome')).channels).length, 41);
  page.say({ type: 'publish', channel: topics[0], data: 'x'.repeat(100), ref: 'fits' });
  assert.equal((await page.frame('published')).ref, 'fits');
  page.say({ type: 'publish', channel: topics[0], data: 'x'.repeat(101), ref: 'too big' });
  const { code, ref, message } = await page.frame('error');
  assert.deepEqual([code, ref], ['bad-frame', 'too big']);
  assert.match(message, /limits\.message/);
  page.say({ type: 'publish', channel: topics[0], data: 'x'.repeat(10_000) });
  assert.equal(await page.ended(), 1009);
  const plain = await Page.plain(url, 'bob');
  plain.say('x'.repeat(101));
  assert.equal(await plain.ended(), 1009);
  await push.close();
});

onEachStore(
  'an acknowledgement of what was never sent is refused: other ids, epochs, offsets',
  async (broker) => {
    const { push, url } = await startPush({ broker: broker() });
    const places: Receipt[] = [];
    for (let i = 1; i <= 60; i++) places.push(await push.send('alice', i));
    const page = await Page.open(url, 'alice', { device: 'd', start: 'retained' });
    await until('all', () => page.messages().length === 60);
    const { epoch } = places[0]!;
    const of = (n: number) => ({ epoch, offset: n, id: places[n - 1]!.id });
    const bad = [
      { ...of(60), id: 'made up' },
      { ...of(60), id: places[58]!.id },
      { ...of(60), epoch: 'other' },
      { ...of(60), offset: 61 },
      { ...of(60), offset: 2 ** 32 + 60 },
      { ...of(60), offset: Number.MAX_SAFE_INTEGER },
      { epoch: 'other', offset: Number.MAX_SAFE_INTEGER, id: of(60).id },
      { epoch: '\u0000', offset: 60, id: '\u0000' },
      { ...of(3), id: 'made up' },
      { ...of(3), id: places[59]!.id },
      { ...of(1), id: '' },
    ];
    for (const position of bad) page.say({ type: 'ack', channel: 'inbox', position });
    await page.frame('error', bad.length - 1);
    assert.deepEqual(new Set(page.frames('error').map(({ code }) => code)), new Set(['bad-ack']));
    // What this session was sent long ago, or an earlier one, is taken.
    page.say({ type: 'ack', channel: 'inbox', position: of(5) });
    assert.equal((await page.frame('acked')).position.offset, 5);
    page.say({ type: 'ack', channel: 'inbox', position: of(60) });
    assert.equal((await page.frame('acked', 1)).position.offset, 60);
    assert.equal(page.frames('error').length, bad.length);
    await page.close();

    const back = await Page.open(url, 'alice', { device: 'd', positions: { inbox: of(60) } });
    back.say({ type: 'ack', channel: 'inbox', position: { ...of(10), id: 'made up' } });
    assert.equal((await back.frame('error')).code, 'bad-ack');
    await back.close();
    const again = await Page.open(url, 'alice', { device: 'd' });
    assert.equal((await again.frame('welcome')).channels['inbox']!.recovered, true);
    await push.close();
  },
);

test('two instances of one name: both log it; by default names differ', async () => {
  const store = new MemoryStore();
  const one = await startPush({ broker: memoryBroker(store), instance: 'same' });
  const two = await startPush({ broker: memoryBroker(store), instance: 'same' });
  const three = await startPush({ broker: memoryBroker(store) });
  const four = await startPush({ broker: memoryBroker(store) });
  for (const { log } of [one, two]) {
    await until('it is noticed', () => log.length > 0);
    assert.deepEqual(log, ['error: another instance is named same, too: give each a name of its own']);
  }
  assert.notEqual(three.push.instance, four.push.instance);
  assert.deepEqual([...three.log, ...four.log], []);
  for (const { push } of [one, two, three, four]) await push.close();
});
