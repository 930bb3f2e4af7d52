/** Who sends faster than he may is held up, by every door, and loses nothing; who goes on nevertheless is closed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { redisBroker } from '../../src/index.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import type { PushServerOptions } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { Page, startPush } from './support.ts';
import { AnyPage, DOORS, startBehindThinLine } from './thin-line.ts';

/** Counts what the application is given, and the most of it within a second. */
class Meter {
  readonly texts: string[] = [];
  readonly #times: number[] = [];

  readonly take = (text: string): void => {
    this.texts.push(text);
    this.#times.push(performance.now());
  };

  get mostInASecond(): number {
    let most = 0;
    for (let from = 0, to = 0; to < this.#times.length; to++) {
      while (this.#times[to]! - this.#times[from]! >= 1000) from++;
      most = Math.max(most, to - from + 1);
    }
    return most;
  }
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

for (const door of DOORS) {
  test(`200 frames at once where 40 a second are allowed: all are obeyed, in order, later (${door}, plain mode)`, async () => {
    const meter = new Meter();
    const { port, push, close } = await startBehindThinLine({
      limits: { messagesPerSecond: 40 },
      handler: { message: (_session, data) => meter.take(data.toString()) },
    });
    const page = await AnyPage.open(door, false, port, 'hasty');
    const all = numbers(200);
    // The answer to a POST comes when it was obeyed.
    assert.equal(await page.say(...all), 204);
    await until('all of them', () => meter.texts.length === 200 || page.closeCode !== undefined);
    assert.deepEqual(meter.texts, all);
    assert.equal(page.closeCode, undefined);
    // A burst, and what a second brings.
    assert.ok(meter.mostInASecond <= 82, `${meter.mostInASecond} in a second`);
    // It is heard and answered as before.
    await push.send('hasty', 'still there');
    void page.say('ping');
    await until('both', () => page.received.includes('still there') && page.received.includes('hb_ok'));
    page.close();
    await close();
  });

  test(`frames of tidings.1 over the rate are obeyed later, in order (${door})`, async () => {
    const { port, close } = await startBehindThinLine({ limits: { messagesPerSecond: 40 } });
    const page = await AnyPage.open(door, true, port, 'hasty');
    const all = numbers(120);
    void page.say(...all.map((data) => ({ type: 'publish', channel: 'news', data, ref: data })), {
      type: 'ping',
    });
    await until('a pong', () => page.of('pong').length === 1 || page.closeCode !== undefined);
    await until('all of them', () => page.of('published').length === 120 || page.closeCode !== undefined);
    assert.deepEqual(
      page.of('published').map(({ ref, offset }) => [ref, offset]),
      all.map((ref, i) => [ref, i + 1]),
    );
    assert.equal(page.closeCode, undefined);
    page.close();
    await close();
  });
}

test('bytes count, too: small frames and big ones; one frame is never too much', async () => {
  const meter = new Meter();
  const { push, url } = await startPush({
    limits: { bytesPerSecond: 100_000, messagesPerSecond: 0 },
    handler: { message: (_session, data) => meter.take(String(data.length)) },
  });
  const one = await Page.plain(url, 'alice');
  one.say('x'.repeat(200_000));
  one.say('after');
  await until('both', () => meter.texts.length === 2);
  for (let i = 0; i < 60; i++) one.say('x'.repeat(5000));
  await until('all', () => meter.texts.length === 62);
  assert.ok(meter.mostInASecond <= 42, `${meter.mostInASecond} in a second`);
  assert.equal(one.closeCode, undefined);
  await push.close();
});

test('who is held up is no silent peer, and says goodbye in his turn', async () => {
  const ends: number[] = [];
  const { push, url } = await startPush({
    limits: { bytesPerSecond: 10_000 },
    heartbeat: { ping: 200 },
    handler: { closed: (_session, code) => void ends.push(code) },
  });
  const page = await Page.plain(url, 'alice');
  page.say('x'.repeat(40_000));
  page.say('ping');
  // Three seconds: the heartbeat gives up a silent peer after some 500 ms.
  await until('the answer', () => page.received.includes('hb_ok') || page.closeCode !== undefined);
  page.say('x'.repeat(15_000));
  page.socket.close(4000, 'goodbye');
  assert.equal(await page.ended(), 4000);
  await until('its end', () => ends.length > 0);
  assert.deepEqual(ends, [4000]);
  await push.close();
});

test('a server that closes takes leave of those it holds up as of others', async () => {
  const { push, url } = await startPush({ limits: { bytesPerSecond: 10_000 } });
  const pages = await Promise.all([0, 1, 2].map((i) => Page.plain(url, `u${i}`)));
  for (const page of pages) {
    page.say('x'.repeat(60_000));
    for (let i = 0; i < 500; i++) page.say(`${i}`);
  }
  await until('them to be held up', () => [...push.localSessions()].every(({ isHeldUp }) => isHeldUp));
  await push.close();
  for (const page of pages) assert.equal(await page.ended(), 1012);
});

test('100 pages that never stop sending: nobody is closed, and what they send stays with them', async () => {
  let count = 0;
  const { push, url } = await startPush({
    limits: { messagesPerSecond: 20 },
    handler: { message: () => void count++ },
  });
  const pages = await Promise.all(Array.from({ length: 100 }, (_, i) => Page.plain(url, `u${i}`)));
  const before = process.memoryUsage();
  const text = 'x'.repeat(4000);
  // More than the kernel takes; the pages are in this process, so what they keep is counted here.
  const quiet = await Page.plain(url, 'quiet');
  for (const page of pages) for (let i = 0; i < 250; i++) page.say(text);
  await until('the first', () => count >= 2000);
  quiet.say('ping');
  await until('an answer for somebody else', () => quiet.received.length === 1);
  const { heapUsed, external } = process.memoryUsage();
  // 100 MB were sent. The server keeps a chunk of each at the most.
  assert.ok(heapUsed + external - before.heapUsed - before.external < 180e6);
  assert.ok(pages.every(({ closeCode }) => closeCode === undefined));
  for (const page of pages) page.cut();
  await push.close();
});

test('SockJS: parallel requests wait for their answers, and over what may wait the session is closed with 4429', async () => {
  const meter = new Meter();
  const { port, close } = await startBehindThinLine({
    limits: { messagesPerSecond: 20 },
    handler: { message: (_session, data) => meter.take(data.toString()) },
  });
  const polite = await AnyPage.open('SockJS polling', false, port, 'polite');
  const answers = await Promise.all(Array.from({ length: 10 }, () => polite.say(...numbers(6))));
  assert.deepEqual(new Set(answers), new Set([204]));
  assert.equal(meter.texts.length, 60);
  const hasty = await AnyPage.open('SockJS polling', false, port, 'hasty');
  void Promise.all(Array.from({ length: 100 }, () => hasty.say(...numbers(30)).catch(() => {})));
  await until('its end', () => hasty.closeCode !== undefined);
  assert.equal(hasty.closeCode, 4429);
  assert.equal(polite.closeCode, undefined);
  for (const page of [polite, hasty]) page.close();
  await close();
});

test(
  'SockJS: what comes by another instance is held up, too, and loses nothing',
  needs('redis'),
  async () => {
    const redis = await startRedis();
    const meter = new Meter();
    const options = (): PushServerOptions => ({
      broker: redisBroker(redis.url),
      limits: { messagesPerSecond: 40 },
      handler: { message: (_session, data) => meter.take(data.toString()) },
    });
    const one = await startBehindThinLine(options());
    const two = await startBehindThinLine(options());
    const page = await AnyPage.open('SockJS polling', false, one.port, 'hasty');
    page.sendBy(two.port);
    for (let i = 0; i < 5; i++) assert.equal(await page.say(...numbers(40).map((n) => `${i} ${n}`)), 204);
    await until('all', () => meter.texts.length === 200 || page.closeCode !== undefined);
    assert.deepEqual(
      meter.texts,
      [0, 1, 2, 3, 4].flatMap((i) => numbers(40).map((n) => `${i} ${n}`)),
    );
    page.close();
    await one.close();
    await two.close();
    await redis.stop();
  },
);

test('hixie-76: messages in one packet are obeyed at the same pace', async () => {
  const meter = new Meter();
  const { push, url } = await startPush({
    sockjs: { prefix: '/sockjs', hixie76: true },
    limits: { messagesPerSecond: 40 },
    handler: { message: (_session, data) => meter.take(data.toString()) },
  });
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  after(() => socket.destroy());
  socket.write(
    'GET /sockjs/000/h76/websocket?user=old HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n' +
      'Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U',
  );
  await once(socket, 'data');
  const all = numbers(200);
  socket.write(Buffer.concat(all.map((n) => Buffer.from(`\0["${n}"]\xff`, 'latin1'))));
  await until('all of them', () => meter.texts.length === 200 || push.stats().sessions === 0);
  assert.deepEqual(meter.texts, all);
  assert.ok(meter.mostInASecond <= 82, `${meter.mostInASecond} in a second`);
  await push.close();
});

test('0 turns a limit off', async () => {
  const { push, url } = await startPush({
    broker: memoryBroker(new MemoryStore()),
    limits: { messagesPerSecond: 0, bytesPerSecond: 0 },
  });
  const page = await Page.plain(url, 'alice');
  for (let i = 0; i < 3000; i++) page.say('ping');
  await until('all answers', () => page.received.length === 3000);
  assert.equal([...push.localSessions()][0]!.isHeldUp, false);
  await push.close();
});

test('what nests counts for more than its bytes', async () => {
  const { push, url } = await startPush({ limits: { bytesPerSecond: 1_000_000 } });
  for (const [user, data, isHeldUp] of [
    ['flat', 'x'.repeat(80_000), false],
    ['nested', Array.from({ length: 20_000 }, () => []), true],
  ] as const) {
    const page = await Page.open(url, user);
    page.say({ type: 'publish', channel: 'news', data });
    assert.equal((await page.frame('error')).code, 'forbidden');
    const session = [...push.localSessions()].find((each) => each.user === user)!;
    assert.equal(session.isHeldUp, isHeldUp, user);
    // A page that nests all it may is heard in the end.
    page.say({ type: 'ping' });
    await page.frame('pong');
  }
  await push.close();
});

for (const mode of ['plain mode', 'tidings.1'] as const) {
  test(`a hundred pages send something long at once: somebody else is answered in between (${mode})`, async () => {
    const isPlain = mode === 'plain mode';
    let obeyed = 0;
    let whenAnswered = Number.POSITIVE_INFINITY;
    let begin = (): void => {};
    const count = (): boolean => {
      if (++obeyed === 1) begin();
      return false;
    };
    const { push, url } = await startPush({
      authorize: { publish: count },
      handler: { message: () => void count() },
    });
    const open = (user: string): Promise<Page> => (isPlain ? Page.plain(url, user) : Page.open(url, user));
    const quiet = await open('quiet');
    const pages = await Promise.all(Array.from({ length: 100 }, (_, i) => open(`u${i}`)));
    begin = () => quiet.say(isPlain ? 'ping' : { type: 'ping' });
    const before = quiet.received.length;
    quiet.socket.on('message', () => {
      whenAnswered = Math.min(whenAnswered, obeyed);
    });
    const long = 'x'.repeat(20_000);
    for (const page of pages) {
      page.say(isPlain ? long : { type: 'publish', channel: 'news', data: long });
      page.say(isPlain ? `after ${long}` : { type: 'publish', channel: 'news', data: `after ${long}` });
    }
    await until('all of them', () => obeyed === 200);
    await until('an answer', () => quiet.received.length > before);
    assert.ok(whenAnswered < 100, `answered after ${whenAnswered}`);
    assert.ok([...push.localSessions()].every(({ queued }) => queued === 0));
    for (const page of pages) assert.equal(page.closeCode, undefined);
    await push.close();
  });
}
