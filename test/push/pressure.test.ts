/** Pages that don't read, instances that go: memory stays bounded, nobody loses a message over it. */
// Before anything of src/.
import '../support/held-clock.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createConnection, type Socket } from 'node:net';
import { test } from 'node:test';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { atEnd } from '../support/cleanups.ts';
import { holdClock } from '../support/held-clock.ts';
import { until } from '../support/net.ts';
import { Page, startPush } from './support.ts';

const KIB_64 = 'x'.repeat(64 * 1024);
/** A page on a raw socket that stops reading once its handshake is done. */
async function stalledPage(url: string, user: string): Promise<Socket> {
  const { port, pathname } = new URL(url);
  const socket = createConnection(Number(port), '127.0.0.1');
  atEnd(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(
    `GET ${pathname}?user=${user} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  await once(socket, 'data');
  socket.pause();
  return socket;
}

test('200 MB for a page that does not read: the memory stays bounded, and it is closed in the end', async () => {
  const { push, url } = await startPush({
    retention: { inbox: { maxMessages: 10 } },
    limits: { stall: 1000 },
  });
  await stalledPage(url, 'stalled');
  let peak = 0;
  const session = await until('its session', () => [...push.localSessions()][0]);
  const bytes = Buffer.from(KIB_64);
  for (let i = 0; i < 3200; i++) {
    await push.send('stalled', bytes);
    peak = Math.max(peak, session.bufferedAmount);
  }
  assert.ok(peak > 512 * 1024, `the page was not slow: ${peak}`);
  assert.ok(peak <= 1024 * 1024 + 2 * KIB_64.length, `${peak} bytes waited`);
  await until('its session ends', () => push.stats().sessions === 0);
  await push.close();
});

for (const mode of ['plain mode', 'tidings.1'] as const) {
  test(`what no log keeps closes no slow page: it is dropped, and the long message arrives (${mode})`, async () => {
    const { push, url } = await startPush({});
    const isPlain = mode === 'plain mode';
    const page = isPlain ? await Page.plain(url, 'slow') : await Page.open(url, 'slow');
    const session = await until('its session', () => [...push.localSessions()][0]);
    page.socket.pause();
    // More than the kernel takes, so that the last of them fills the outbox.
    const long = 'x'.repeat(900_000);
    let sent = 0;
    while (session.bufferedAmount < 512 * 1024) {
      await push.send('slow', `${sent++} ${long}`);
    }
    await push.send('slow', `${sent++} ${long}`);
    assert.ok(session.bufferedAmount > 1024 * 1024);
    for (let i = 0; i < 100; i++) {
      await push.notify('slow', `transient ${i}`);
      session.send(`own ${i}`);
    }
    assert.equal(session.transport.readyState, 1);
    page.socket.resume();
    const data = (): unknown[] => (isPlain ? page.received : page.data());
    await until(
      'all that is kept',
      () => data().filter((each) => String(each).endsWith(long)).length === sent,
    );
    assert.equal(session.transport.readyState, 1);
    await push.close();
  });
}

test('a page that was closed for being slow comes back and gets everything from the log, at its own pace', {
  timeout: 300_000,
}, async (t) => {
  const store = new MemoryStore();
  const { push, url } = await startPush({ broker: memoryBroker(store), limits: { stall: 90_000 } });
  const slow = await Page.open(url, 'slow');
  await push.send('slow', -1);
  await until('one message', () => slow.data().length === 1);
  slow.socket.pause();
  // Else it would be cut before it has read that it is closed.
  const clock = holdClock(t);
  const [session] = push.localSessions();
  for (let n = 0; n < 400; n++) await push.send('slow', { n, body: KIB_64 });
  await until('a full outbox', () => session!.bufferedAmount > 1024 * 1024);
  clock.pass(89_000);
  assert.equal(session!.transport.readyState, 1);
  clock.pass(1_000);
  await until('it was too slow', () => session!.transport.readyState > 1);
  slow.socket.resume();
  assert.equal(await slow.ended(), 4430);
  clock.release();
  const back = await Page.open(url, 'slow', { positions: { inbox: slow.position()! } });
  back.socket.pause();
  const [again] = push.localSessions();
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok((again?.bufferedAmount ?? 0) <= 512 * 1024);
  }
  back.socket.resume();
  const all = (): number[] =>
    [...slow.data(), ...back.data()].map((data) =>
      typeof data === 'number' ? data : (data as { n: number }).n,
    );
  await until('all of it', () => all().length >= 401);
  assert.deepEqual(
    all(),
    Array.from({ length: 401 }, (_, i) => i - 1),
  );
  assert.equal(back.closeCode, undefined);
  await push.close();
});

test('topics that skip: conflate keeps the newest for a slow page, drop-oldest the newest few, in order', async () => {
  const { push, url } = await startPush({
    topics: { 'price:*': { overflow: 'conflate' }, ticker: { overflow: 'drop-oldest', keep: 5 } },
  });
  const page = await Page.open(url, 'trader', { topics: ['price:a', 'ticker'] });
  page.socket.pause();
  for (let n = 1; n <= 400; n++) {
    await push.publish('price:a', { n, body: KIB_64 });
    await push.publish('ticker', { n, body: KIB_64 });
  }
  assert.equal([...push.localSessions()][0]!.transport.readyState, 1);
  page.socket.resume();
  const numbersOf = (topic: string): number[] => page.data(topic).map((data) => (data as { n: number }).n);
  await until('the newest', () => numbersOf('price:a').at(-1) === 400 && numbersOf('ticker').at(-1) === 400);
  for (const topic of ['price:a', 'ticker']) {
    const seen = numbersOf(topic);
    assert.ok(seen.length < 300, `${topic} skipped nothing`);
    assert.deepEqual(
      seen,
      [...new Set(seen)].sort((a, b) => a - b),
    );
  }
  assert.deepEqual(numbersOf('ticker').slice(-5), [396, 397, 398, 399, 400]);
  await push.close();
});

test('drain: pages are told the window, plain ones closed with 1012, the rest with 4412, newcomers get 503', {
  timeout: 120_000,
}, async (t) => {
  const http = createServer();
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const store = new MemoryStore();
  const push = new PushServer({
    server: http,
    broker: memoryBroker(store),
    interceptors: [queryUser('user')],
  });
  await push.ready;
  const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/socketServer`;
  const pages = await Promise.all([0, 1, 2, 3].map(() => Page.open(url, 'dave', { device: 'd' })));
  const plain = await Promise.all([0, 1, 2].map(() => Page.plain(url, 'dave')));
  await push.send('dave', 'last');
  const { epoch, offset, id } = await pages[0]!.frame('message');
  pages[0]!.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
  await pages[0]!.frame('acked');
  const clock = holdClock(t);
  const closed = push.close({ drain: 60_000 });
  const { window } = await pages[0]!.frame('drain');
  assert.ok(window > 0 && window < 60_000);
  assert.equal(await new Page(url, 'dave').ended(), 503);
  await pages[1]!.close();
  clock.pass(window);
  await closed;
  assert.deepEqual(await Promise.all(plain.map((page) => page.ended())), [1012, 1012, 1012]);
  assert.deepEqual(await Promise.all(pages.map((page) => page.ended())), [4412, 1005, 4412, 4412]);
  assert.equal(http.listening, true);
  http.close();
  const broker = memoryBroker(store);
  assert.equal((await broker.cursors('user:dave'))[0]!.position.offset, 1);
  assert.deepEqual(await broker.presence('dave'), []);
});

test('drain: who is still on the way in is told the rest of the window, who waits for a turn gets 503', {
  timeout: 120_000,
}, async (t) => {
  const arrived: (() => void)[] = [];
  let requests = 0;
  const http = createServer().on('upgrade', () => requests++);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const push = new PushServer({
    server: http,
    limits: { handshakes: 2 },
    interceptors: [
      queryUser('user'),
      {
        before: (_request, { user }) => {
          if (user === 'slow') return new Promise((resolve) => arrived.push(resolve));
          return undefined;
        },
      },
    ],
  });
  await push.ready;
  const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/socketServer`;
  // It never answers a close, so the drain lasts until its deadline.
  await stalledPage(url, 'dave');
  const mute = new Page(url, 'dave', ['tidings.1']);
  const told = await Page.open(url, 'dave');
  const early = new Page(url, 'slow', ['tidings.1']);
  const late = new Page(url, 'slow', ['tidings.1']);
  await until('both to be asked about', () => arrived.length === 2);
  const waiting = new Page(url, 'dave');
  await until('all requests', () => requests === 6);
  const clock = holdClock(t);
  const closed = push.close({ drain: 60_000 });
  const whole = (await told.frame('drain')).window;
  assert.equal(mute.frames('drain').length, 0);
  clock.pass(1000);
  mute.say({ type: 'hello' });
  await mute.frame('welcome');
  arrived[0]!();
  await until('it is in', () => early.socket.readyState === 1);
  early.say({ type: 'hello' });
  await early.frame('welcome');
  for (const page of [mute, early]) {
    const { window } = await page.frame('drain');
    assert.equal(window, whole - 1000);
    assert.equal(page.frames('drain').length, 1);
  }
  assert.equal(await waiting.ended(), 503);
  clock.pass(whole);
  for (const page of [mute, early, told]) assert.equal(await page.ended(), 4412);
  arrived[1]!();
  assert.equal(await late.ended(), 4412);
  clock.pass(60_000);
  await closed;
  http.close();
});

test('drain ends by its deadline even with pages that never answer', async () => {
  const { push, url } = await startPush();
  await stalledPage(url, 'eve');
  for (let i = 0; i < 20; i++) await push.send('eve', KIB_64);
  await push.close({ drain: 500 });
  assert.equal(push.stats().sessions, 0);
});
