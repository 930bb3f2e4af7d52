import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Client } from '../../src/client/full.ts';
import { sockJsTransport } from '../../src/client/sockjs-transport.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { Page, type Running, startPush } from './support.ts';

const store = new MemoryStore();
let one: Running;
let two: Running;

before(async () => {
  one = await startPush({ broker: memoryBroker(store) });
  two = await startPush({ broker: memoryBroker(store) });
});

after(() => Promise.all([one.push.close(), two.push.close()]));

test('plain mode: a string arrives as it is, other values as JSON, bytes as bytes, in order', async () => {
  const page = await Page.plain(one.url, 'anna');
  const bytes = Buffer.from([0, 255, 10]);
  await one.push.send('anna', 'hello "world" 你好');
  await one.push.send('anna', { subject: 'mail', n: [1, null] });
  await one.push.send('anna', bytes);
  await two.push.send('anna', 42);
  await until('four messages', () => page.received.length === 4);
  assert.deepEqual(page.received, ['hello "world" 你好', '{"subject":"mail","n":[1,null]}', bytes, '42']);
  await page.close();
});

test('plain mode: ping and "ping" are answered with hb_ok, other frames go to the handler', async () => {
  const heard: string[] = [];
  const { push, url } = await startPush({
    handler: { message: (session, data) => heard.push(`${session.user}: ${data}`) },
  });
  const page = await Page.plain(url, 'ben');
  for (const text of ['ping', '"ping"', 'pong', 'hello']) page.say(text);
  await until('two answers and two messages', () => page.received.length === 2 && heard.length === 2);
  assert.deepEqual(page.received, ['hb_ok', 'hb_ok']);
  assert.deepEqual(heard, ['ben: pong', 'ben: hello']);
  await push.close();
});

test('a message reaches every page of its user, on any instance, and nobody else', async () => {
  const pages = await Promise.all([
    Page.plain(one.url, 'carl'),
    Page.open(one.url, 'carl'),
    Page.open(two.url, 'carl'),
  ]);
  const other = await Page.open(two.url, 'carla');
  await one.push.send('carl', 'for carl');
  await until('it is everywhere', () =>
    pages.every((page) => page.received.includes('for carl') || page.data().length === 1),
  );
  await two.push.send('carla', 'for carla');
  await until('the other one', () => other.data().length === 1);
  assert.deepEqual(other.data(), ['for carla']);
  for (const page of [...pages, other]) await page.close();
});

test('tidings.1: welcome, messages with positions, resume from a position without loss or repetition', async () => {
  const first = await Page.open(one.url, 'dora');
  const [welcome] = first.frames('welcome');
  assert.equal(welcome!.user, 'dora');
  assert.equal(welcome!.channels['inbox']!.recovered, true);
  const receipt = await one.push.send('dora', { n: 1 });
  const message = await first.frame('message');
  assert.deepEqual(
    { epoch: message.epoch, offset: message.offset, id: message.id, data: message.data },
    { epoch: receipt.epoch, offset: receipt.offset, id: receipt.id, data: { n: 1 } },
  );
  const position = first.position()!;
  first.cut();
  for (let n = 2; n <= 450; n++) await two.push.send('dora', { n });
  const back = await Page.open(two.url, 'dora', { positions: { inbox: position } });
  await one.push.send('dora', { n: 451 });
  await until('all of it', () => back.data().length >= 450);
  assert.equal(back.frames('welcome')[0]!.channels['inbox']!.recovered, true);
  assert.deepEqual(
    back.data(),
    Array.from({ length: 450 }, (_, i) => ({ n: i + 2 })),
  );
  await back.close();
});

test('tidings.1: without a position a page begins now, or with what is retained', async () => {
  await one.push.send('emil', 'old');
  const now = await Page.open(one.url, 'emil');
  const retained = await Page.open(one.url, 'emil', { start: 'retained' });
  await one.push.send('emil', 'new');
  await until('both', () => now.data().length === 1 && retained.data().length === 2);
  assert.deepEqual(now.data(), ['new']);
  assert.deepEqual(retained.data(), ['old', 'new']);
  await now.close();
  await retained.close();
});

test('tidings.1: a position behind the retained log is told as trimmed, then what is left follows', async () => {
  const { push, url } = await startPush({ retention: { inbox: { maxMessages: 3 } } });
  const page = await Page.open(url, 'fred');
  await push.send('fred', 0);
  await page.frame('message');
  page.cut();
  for (let n = 1; n <= 9; n++) await push.send('fred', n);
  const back = await Page.open(url, 'fred', { positions: { inbox: page.position()! } });
  const { recovered, reason } = back.frames('welcome')[0]!.channels['inbox']!;
  assert.deepEqual({ recovered, reason }, { recovered: false, reason: 'trimmed' });
  await until('the rest', () => back.data().length === 3);
  assert.deepEqual(back.data(), [7, 8, 9]);
  await push.close();
});

test('tidings.1: a position of another epoch or with another id is told as rewound', async () => {
  await one.push.send('gert', 'a');
  await one.push.send('gert', 'b');
  const page = await Page.open(one.url, 'gert', { start: 'retained' });
  await until('both', () => page.data().length === 2);
  const { epoch, id } = page.messages()[0]!;
  for (const position of [
    { epoch: 'another', offset: 1, id },
    { epoch, offset: 1, id: 'another' },
    { epoch, offset: 77, id },
  ]) {
    const back = await Page.open(one.url, 'gert', { positions: { inbox: position } });
    const { recovered, reason } = back.frames('welcome')[0]!.channels['inbox']!;
    assert.deepEqual({ recovered, reason }, { recovered: false, reason: 'rewound' });
    await until('what the log still has', () => back.data().length === 2);
    await back.close();
  }
  await page.close();
});

test('acknowledgements are seen on the user’s other pages and continue a device that returns', async () => {
  const phone = await Page.open(one.url, 'hans', { device: 'phone' });
  const desk = await Page.open(two.url, 'hans', { device: 'desk' });
  for (const n of [1, 2, 3]) await one.push.send('hans', n);
  await until('all', () => phone.data().length === 3 && desk.data().length === 3);
  const { epoch, offset, id } = phone.messages()[1]!;
  phone.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
  const acked = await desk.frame('acked');
  assert.deepEqual(acked, {
    type: 'acked',
    channel: 'inbox',
    device: 'phone',
    position: { epoch, offset, id },
  });
  assert.deepEqual(
    (await one.push.pending('hans')).messages.map(({ data }) => data),
    [3],
  );
  await phone.close();
  const again = await Page.open(two.url, 'hans', { device: 'phone' });
  const inbox = again.frames('welcome')[0]!.channels['inbox']!;
  const { state: _, ...rest } = inbox;
  assert.deepEqual(rest, { position: { epoch, offset, id }, recovered: true, acked: { epoch, offset, id } });
  await until('what the phone has not acknowledged', () => again.data().length === 1);
  assert.deepEqual(again.data(), [3]);
  await again.close();
  await desk.close();
});

test('send with confirm acked says which device it was, or rejects in time with the receipt', async () => {
  const page = await Page.open(two.url, 'ines', { device: 'tablet' });
  const confirmed = one.push.send('ines', 'read me', { confirm: 'acked', timeout: 60_000 });
  const { epoch, offset, id } = await page.frame('message');
  page.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
  assert.equal((await confirmed).device, 'tablet');
  await assert.rejects(one.push.send('ines', 'again', { confirm: 'acked', timeout: 50 }), (error) => {
    const { code, receipt } = error as { code: string; receipt: { offset: number } };
    return code === 'CONFIRM_TIMEOUT' && receipt.offset === offset + 1;
  });
  await page.close();
});

test('the same idempotency key is stored and delivered once', async () => {
  const page = await Page.open(one.url, 'jane');
  const first = await one.push.send('jane', 'x', { idempotencyKey: 'k' });
  const second = await two.push.send('jane', 'x', { idempotencyKey: 'k' });
  assert.deepEqual({ ...first, duplicate: true }, second);
  await one.push.send('jane', 'y');
  await until('the second one', () => page.data().includes('y'));
  assert.deepEqual(page.data(), ['x', 'y']);
  await page.close();
});

test('topics: subscribing, resuming, leaving; what is not permitted is refused', async () => {
  const { push, url } = await startPush({
    broker: memoryBroker(store),
    authorize: { subscribe: (session, topic) => topic === 'news' || topic === `of-${session.user}` },
  });
  const page = await Page.open(url, 'kurt', { topics: ['news', 'secret'] });
  assert.deepEqual(Object.keys(page.frames('welcome')[0]!.channels).sort(), ['inbox', 'news']);
  const refused = await page.frame('error');
  assert.deepEqual([refused.code, refused.channel], ['forbidden', 'secret']);
  await one.push.publish('news', 'n1');
  await one.push.publish('secret', 's1');
  await until('news', () => page.data('news').length === 1);
  page.say({ type: 'unsubscribe', channel: 'news' });
  await page.frame('unsubscribed');
  const position = page.position('news')!;
  await one.push.publish('news', 'n2');
  page.say({ type: 'subscribe', channel: 'of-kurt' });
  await page.frame('subscribed');
  assert.deepEqual(page.data('news'), ['n1']);
  page.say({ type: 'subscribe', channel: 'news', position });
  const subscribed = await page.frame('subscribed', 1);
  assert.deepEqual([subscribed.recovered, subscribed.position], [true, position]);
  await until('what was missed', () => page.data('news').length === 2);
  assert.deepEqual(page.data('news'), ['n1', 'n2']);
  assert.deepEqual(page.data('secret'), []);
  await push.close();
});

test('the inbox of another user is forbidden, reserved and unfit names are refused', async () => {
  const page = await Page.open(one.url, 'lars');
  const names = ['user:anna', 'broadcast', '', 'a\nb', 'x'.repeat(257), 7];
  for (const channel of names) page.say({ type: 'subscribe', channel });
  await page.frame('error', names.length - 1);
  assert.deepEqual(
    page.frames('error').map(({ code }) => code),
    ['forbidden', ...names.slice(1).map(() => 'bad-channel')],
  );
  await page.close();
});

test('clients publish only where the application permits it', async () => {
  const { push, url } = await startPush({
    authorize: { subscribe: () => true, publish: (_session, topic) => topic === 'chat' },
  });
  const page = await Page.open(url, 'mara', { topics: ['chat'] });
  page.say({ type: 'publish', channel: 'chat', data: { hi: 1 }, ref: '1', idempotencyKey: 'c1' });
  const published = await page.frame('published');
  assert.deepEqual([published.ref, published.offset, published.duplicate], ['1', 1, false]);
  page.say({ type: 'publish', channel: 'chat', data: { hi: 1 }, ref: '2', idempotencyKey: 'c1' });
  assert.equal((await page.frame('published', 1)).duplicate, true);
  for (const channel of ['news', 'inbox', 'user:anna'])
    page.say({ type: 'publish', channel, data: 1, ref: channel });
  await page.frame('error', 2);
  assert.deepEqual(
    page.frames('error').map(({ code, ref }) => [code, ref]),
    [
      ['forbidden', 'news'],
      ['forbidden', 'inbox'],
      ['forbidden', 'user:anna'],
    ],
  );
  assert.deepEqual(page.data('chat'), [{ hi: 1 }]);
  await push.close();
});

test('notify and broadcast reach whoever is there, without a position', async () => {
  const plain = await Page.plain(one.url, 'nora');
  const page = await Page.open(two.url, 'nora');
  const other = await Page.open(one.url, 'otto');
  await one.push.notify('nora', { typing: true });
  await two.push.broadcast('maintenance at noon');
  await until('both', () => page.frames('transient').length === 2 && plain.received.length === 2);
  await other.frame('transient');
  assert.deepEqual(
    page.frames('transient').map(({ channel, data }) => [channel, data]),
    [
      ['inbox', { typing: true }],
      ['broadcast', 'maintenance at noon'],
    ],
  );
  assert.deepEqual(plain.received, ['{"typing":true}', 'maintenance at noon']);
  assert.equal(other.frames('transient').length, 1);
  for (const each of [plain, page, other]) await each.close();
});

test('broadcast: sessions of every kind get each once, in order with what they are sent on their own', async () => {
  const { push, url } = await startPush({
    sockjs: { prefix: '/sockjs/socketServer', disconnectDelay: 60_000 },
    limits: { helloTimeout: 60_000 },
  });
  const names = Array.from({ length: 20 }, (_, i) => `page ${i}`);
  const plain = await Promise.all(names.map((name) => Page.plain(url, name)));
  const pages = await Promise.all(names.map((name) => Page.open(url, name)));
  const late = new Page(url, 'late', ['tidings.1']);
  const streams = names.map((name) => {
    const client = new Client({
      url,
      user: name,
      userParameter: 'user',
      device: null,
      transport: sockJsTransport(undefined, 'xhr_streaming'),
      connectTimeout: 60_000,
    });
    const received: unknown[] = [];
    client.on('message', ({ data }) => void received.push(data));
    return { client, received };
  });
  await until('all of them', () => push.stats().sessions === 61);
  await until('all greetings', () => streams.every(({ client }) => client.state.name === 'connected'));
  const expected: string[] = [];
  for (let i = 0; i < 30; i++) {
    await push.broadcast(`for all ${i}`);
    for (const session of push.localSessions()) session.send(`own ${i}`);
    expected.push(`for all ${i}`, `own ${i}`);
  }
  await push.broadcast('end');
  expected.push('end');
  const all = (): unknown[][] => [
    ...plain.map((page) => page.received),
    ...pages.map((page) => page.frames('transient').map(({ data }) => data)),
    ...streams.map(({ received }) => received),
  ];
  await until('the end', () => all().every((received) => received.at(-1) === 'end'));
  for (const received of all()) assert.deepEqual(received, expected);
  assert.deepEqual(
    new Set(pages[0]!.frames('transient').map(({ channel }) => channel)),
    new Set(['broadcast', 'inbox']),
  );
  assert.equal(late.frames('transient').length, 0);
  late.say({ type: 'hello' });
  await late.frame('welcome');
  await push.broadcast('later');
  // It was there all the time, and is told after its welcome.
  const lateData = (): unknown[] => late.frames('transient').map(({ data }) => data);
  await until('the late one', () => lateData().at(-1) === 'later');
  assert.deepEqual(lateData(), [...expected, 'later']);
  for (const { client } of streams) client.close();
  await push.close();
});

test('sessions and online see all instances', async () => {
  assert.equal(await one.push.online('paul'), false);
  const page = await Page.open(one.url, 'paul', { device: 'd' });
  const plain = await Page.plain(two.url, 'paul');
  const sessions = await until('both are seen', async () => {
    const found = await two.push.sessions('paul');
    return found.length === 2 && found.some(({ device }) => device === 'd') && found;
  });
  assert.deepEqual(
    sessions.map(({ instance }) => instance).sort(),
    [one.push.instance, two.push.instance].sort(),
  );
  await page.close();
  await plain.close();
  await until('nobody is left', async () => !(await one.push.online('paul')));
});

test('tidings.1: what is no frame closes with 4500, what is a wrong one is answered with an error', async () => {
  for (const bad of ['{', '[]', '{}', 'null', '"ping"', '{"type":1}', '{"type":"ack"}']) {
    const page = new Page(one.url, 'quin', ['tidings.1']);
    await until('open', () => page.socket.readyState === 1);
    page.say(bad);
    assert.equal(await page.ended(), 4500, bad);
  }
  const page = await Page.open(one.url, 'quin');
  const wrong = [
    [{ type: 'nonsense' }, 'unknown-type'],
    [{ type: 'hello' }, 'bad-frame'],
    [{ type: 'ack', channel: 'inbox', position: { epoch: 'e', offset: -1, id: '' } }, 'bad-frame'],
    [{ type: 'ack', channel: 'inbox', position: { epoch: 'e', offset: 1, id: 'x' } }, 'bad-ack'],
    [{ type: 'unsubscribe', channel: 'news' }, 'not-subscribed'],
    [{ type: 'unsubscribe', channel: 'inbox' }, 'bad-channel'],
    [{ type: 'subscribe', channel: 'news', start: 'yesterday' }, 'bad-frame'],
    [{ type: 'publish', channel: 'news' }, 'bad-frame'],
  ] as const;
  for (const [frame] of wrong) page.say(frame);
  await page.frame('error', wrong.length - 1);
  assert.deepEqual(
    page
      .frames('error')
      .map(({ code }) => code)
      .sort(),
    wrong.map(([, code]) => code).sort(),
  );
  page.say({ type: 'ping' });
  await page.frame('pong');
  page.socket.send(Buffer.from([1]));
  assert.equal(await page.ended(), 4500);
});

test('limits: hello in time 4408, sessions of a user 4509, subscriptions', async () => {
  const { push, url } = await startPush({
    limits: { sessionsPerUser: 2, subscriptions: 2 },
  });
  const hasty = await startPush({ limits: { helloTimeout: 200 } });
  const silent = new Page(hasty.url, 'rita', ['tidings.1']);
  assert.equal(await silent.ended(), 4408);
  await hasty.push.close();
  const pages = [];
  for (let i = 0; i < 3; i++) pages.push(await Page.plain(url, 'ruth'));
  assert.equal(await pages[0]!.ended(), 4509);
  assert.equal(pages[1]!.socket.readyState, 1);
  const greedy = await Page.open(url, 'rolf');
  for (const channel of ['a', 'b', 'c']) greedy.say({ type: 'subscribe', channel });
  assert.equal((await greedy.frame('error')).code, 'too-many-subscriptions');
  assert.equal(greedy.frames('subscribed').length, 2);
  await assert.rejects(push.send('rolf', 'x'.repeat(1024 * 1024 + 1)), RangeError);
  await push.close();
});

test('admission: 401 without a user, 400 for an unfit name, 403 for a foreign page, 429 and 503 when full', async () => {
  const { push, url } = await startPush({ limits: { sessionsPerAddress: 1 } });
  assert.equal(await new Page(url, '').ended(), 401);
  assert.equal(await new Page(url, 'a\u0007').ended(), 400);
  assert.equal(await new Page(url, 'x'.repeat(129)).ended(), 400);
  assert.equal(await new Page(url, 'anna', [], { Origin: 'https://evil.example' }).ended(), 403);
  await Page.plain(url, 'anna');
  assert.equal(await new Page(url, 'berta').ended(), 429);
  await push.close();
  const full = await startPush({ limits: { sessions: 1 } });
  await Page.plain(full.url, 'anna');
  assert.equal(await new Page(full.url, 'berta').ended(), 503);
  await full.push.close();
});

test('handshakes wait their turn: no more are asked about at once than the limit, refused ones make room', async () => {
  let atOnce = 0;
  let most = 0;
  const { push, url } = await startPush({
    limits: { handshakes: 3 },
    interceptors: [
      queryUser('user'),
      {
        async before(_request, attributes) {
          most = Math.max(most, ++atOnce);
          // However slow they come, the first ones are there together.
          await until('as many as the limit', () => most >= 3);
          await new Promise((resolve) => setImmediate(resolve));
          if (attributes.user === 'broken') throw new Error('no database');
          return attributes.user === 'banned' ? new Response('', { status: 403 }) : undefined;
        },
        after() {
          atOnce--;
        },
      },
    ],
  });
  const names = Array.from({ length: 60 }, (_, i) => ['broken', 'banned', `user${i}`][i % 3]!);
  const pages = names.map((name) => new Page(url, name));
  const outcomes = await Promise.all(
    pages.map((page) => until('an answer', () => page.refusal ?? (page.socket.readyState === 1 && 101))),
  );
  assert.deepEqual(
    outcomes,
    names.map((_, i) => [500, 403, 101][i % 3]),
  );
  assert.equal(most, 3);
  await push.close();
});

test('a port that is taken: ready rejects, and the log says so; for the policy port it runs on', async () => {
  const taken = (one.push.address() as AddressInfo).port;
  const log: string[] = [];
  const failed = new PushServer({ port: taken, host: '127.0.0.1', log: (_level, line) => log.push(line) });
  await assert.rejects(failed.ready, { code: 'EADDRINUSE' });
  assert.match(log.join(), /EADDRINUSE/);
  await failed.close();
  const allow = [{ domain: 'app.example.com', ports: '80,443' }];
  const running = await startPush({ policy: { port: taken, host: '127.0.0.1', allow } });
  assert.match(running.log.join(), new RegExp(`warn: .*${taken}`));
  await Page.plain(running.url, 'anna');
  await running.push.close();
});

test('a push server without a listener sends, and refuses options that make no sense', async () => {
  const page = await Page.open(one.url, 'tina');
  const sender = new PushServer({ broker: memoryBroker(store) });
  await sender.send('tina', 'from a script');
  assert.equal((await page.frame('message')).data, 'from a script');
  assert.equal(sender.address(), null);
  await assert.rejects(sender.send('', 1), TypeError);
  await assert.rejects(sender.send('tina', undefined), TypeError);
  await assert.rejects(
    sender.send('tina', () => {}),
    TypeError,
  );
  await assert.rejects(sender.publish('user:tina', 1), TypeError);
  await assert.rejects(sender.publishReference('mail', 1), TypeError);
  assert.throws(() => new PushServer({ proxies: ['nginx'] }), TypeError);
  assert.throws(() => new PushServer({ origins: ['nonsense'] }), TypeError);
  await sender.close();
  await page.close();
});

test('a handler that throws is logged and ends nothing', async () => {
  const { push, url, log } = await startPush({
    handler: {
      opened: () => {
        throw new Error('opened is broken');
      },
    },
  });
  const page = await Page.plain(url, 'sven');
  await push.send('sven', 'still here');
  await until('the message', () => page.received.length === 1);
  assert.match(log.join('\n'), /opened is broken/);
  await push.close();
});
