/** What pages are told whose channel somebody has damaged in the store, and that a repair lets them in. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { WebSocket as WsWebSocket } from 'ws';
import { connect, type Message, type WebSocketConstructor } from '../../src/client/full.ts';
import { type PushServer, redisBroker } from '../../src/index.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { ask } from '../support/redis-groups.ts';
import { Page, type Running, startPush } from './support.ts';

/** Whoever does it, and to which of a channel's keys. */
const STRING: Damage = ['SET', 'KEY', 'x'];
const HASH: Damage = ['HSET', 'KEY', 'f', 'v'];
const LIST: Damage = ['RPUSH', 'KEY', 'x'];
type Damage = [string, ...string[]];

/** What keeps a page from its channel: by the key, how it is damaged, and whether a plain page needs it. */
const DAMAGES: { key: string; damage: Damage; isPlainToo: boolean }[] = [
  { key: 'top', damage: STRING, isPlainToo: true },
  { key: 'top', damage: HASH, isPlainToo: true },
  { key: 'top', damage: ['SET', 'KEY', ''], isPlainToo: true },
  { key: 'list', damage: STRING, isPlainToo: true },
  { key: 'list', damage: HASH, isPlainToo: true },
  { key: 'list', damage: LIST, isPlainToo: false },
  { key: 'devices', damage: STRING, isPlainToo: false },
  { key: 'devices', damage: LIST, isPlainToo: false },
];

describe('a channel that is damaged in the store', { timeout: 120_000, ...needs('redis') }, () => {
  let redis: RedisServer;
  let running: Running;
  let push: PushServer;

  before(async () => {
    redis = await startRedis();
    running = await startPush({
      broker: redisBroker(redis.url),
      sockjs: { prefix: '/sockjs' },
      checkInterval: 100,
      limits: { helloTimeout: 60_000 },
      authorize: { subscribe: () => true, publish: () => true },
    });
    push = running.push;
  });
  after(async () => {
    await push?.close();
    await redis?.stop();
  });

  const damage = async (channel: string, key: string, [name, ...args]: Damage): Promise<string> => {
    const full = `{tidings:${channel}}:${key}`;
    await ask(redis, 'DEL', full);
    await ask(redis, name, ...args.map((arg) => (arg === 'KEY' ? full : arg)));
    return full;
  };
  /** Lines of the log about a channel. */
  const lines = (channel: string): string[] => running.log.filter((line) => line.includes(`"${channel}"`));
  const isHealthy = (): Promise<boolean> =>
    until('the fault to be over', () => push.stats().storeFaults === 0 || undefined).then(() => true);

  for (const [i, { key, damage: how, isPlainToo }] of DAMAGES.entries()) {
    const what = `${how[0]} on ${key}${how[2] === '' ? ' to nothing' : ''}`;

    test(`${what}: a page in tidings.1 is told, and let in once it is repaired`, async () => {
      const user = `t${i}`;
      const channel = `user:${user}`;
      const first = await Page.open(running.url, user, { device: 'd' });
      await push.send(user, 'before');
      const message = await first.frame('message');
      first.say({ type: 'ack', channel: 'inbox', position: first.position() });
      await first.frame('acked');
      first.cut();
      await first.ended();
      await push.send(user, 'missed');
      const full = await damage(channel, key, how);
      for (let time = 0; time < 3; time++) {
        const page = new Page(running.url, user, ['tidings.1']);
        await until('an open page', () => page.socket.readyState === WsWebSocket.OPEN);
        const { epoch, offset } = message;
        const position = { epoch, offset: offset - 1, id: '' };
        // Of a position that is none, too: what is damaged comes first.
        const positions = time === 0 ? undefined : { inbox: position };
        page.say({ type: 'hello', device: 'd', start: 'retained', positions });
        const error = await page.frame('error');
        assert.deepEqual([error.code, error.channel], ['damaged', 'inbox']);
        assert.equal(await page.ended(), 4425);
      }
      assert.equal(lines(channel).length, 1, running.log.join('\n'));
      assert.match(lines(channel)[0]!, /error: .*\{tidings:user:t\d\}/);
      assert.ok(push.stats().storeFaults > 0);

      await ask(redis, 'DEL', full);
      const page = await Page.open(running.url, user, { device: 'd' });
      const receipt = await push.send(user, 'after');
      await until('what comes after it', () => page.data().includes('after'));
      page.say({ type: 'ack', channel: 'inbox', position: page.position() });
      await until('it to be acknowledged', () =>
        page.frames('acked').some(({ position }) => position.id === receipt.id),
      );
      await page.close();
      assert.ok(await isHealthy());
    });

    test(`${what}: a page in plain mode ${isPlainToo ? 'is told by 4425, and let in' : 'does not need it'}`, async () => {
      const user = `p${i}`;
      await push.send(user, 'before');
      const full = await damage(`user:${user}`, key, how);
      if (isPlainToo) {
        for (let time = 0; time < 3; time++) {
          const page = new Page(running.url, user);
          assert.equal(await page.ended(), 4425);
          assert.deepEqual(page.received, []);
        }
        assert.equal(lines(`user:${user}`).length, 1);
        assert.ok(push.stats().storeFaults > 0);
        await ask(redis, 'DEL', full);
      }
      const page = await Page.plain(running.url, user);
      if (!isPlainToo) await ask(redis, 'DEL', full);
      await push.send(user, 'after');
      await until('what comes after it', () => page.received.includes('after'));
      await page.close();
      assert.ok(await isHealthy());
    });

    if (key === 'devices') continue;
    test(`${what}: who subscribes to such a topic is told, and can once it is repaired`, async () => {
      const topic = `topic${i}`;
      await push.publish(topic, 'before');
      const full = await damage(topic, key, how);
      const page = await Page.open(running.url, 'tom', { topics: ['fine', topic], start: 'retained' });
      const welcome = await page.frame('welcome');
      assert.deepEqual(Object.keys(welcome.channels).sort(), ['fine', 'inbox']);
      const error = await page.frame('error');
      assert.deepEqual([error.code, error.channel], ['damaged', topic]);
      page.say({ type: 'subscribe', channel: topic, start: 'retained', ref: 'r1' });
      assert.equal((await page.frame('error', 1)).ref, 'r1');
      assert.equal(lines(topic).length, 1);
      await push.publish('fine', 'x');
      await until('the topic beside it', () => page.data('fine').includes('x'));

      await ask(redis, 'DEL', full);
      page.say({ type: 'subscribe', channel: topic, start: 'retained' });
      await page.frame('subscribed');
      await push.publish(topic, 'after');
      await until('what comes after it', () => page.data(topic).includes('after'));
      assert.equal(page.frames('error').length, 2);
      assert.equal(page.socket.readyState, WsWebSocket.OPEN);
      await page.close();
      assert.ok(await isHealthy());
    });
  }

  test('pages that are open already are told when it is noticed', async () => {
    const tidings = await Page.open(running.url, 'olga', { topics: ['open'] });
    const plain = await Page.plain(running.url, 'olga');
    await push.publish('open', 'before');
    await until('the message', () => tidings.data('open').length === 1);
    const topic = await damage('open', 'top', STRING);
    const error = await tidings.frame('error');
    assert.deepEqual([error.code, error.channel], ['damaged', 'open']);
    await assert.rejects(push.publish('open', 'now'), { name: 'DamagedChannelError' });
    tidings.say({ type: 'publish', channel: 'open', data: 1, ref: 'p' });
    const refused = await until('the answer', () => tidings.frames('error').find(({ ref }) => ref === 'p'));
    assert.equal(refused.code, 'damaged');
    await ask(redis, 'DEL', topic);
    tidings.say({ type: 'subscribe', channel: 'open' });
    await tidings.frame('subscribed');
    await push.publish('open', 'after');
    await until('what comes after it', () => tidings.data('open').includes('after'));

    await push.send('olga', 'x');
    const inbox = await damage('user:olga', 'list', STRING);
    assert.deepEqual(await Promise.all([tidings.ended(), plain.ended()]), [4425, 4425]);
    await ask(redis, 'DEL', inbox);
    await Page.plain(running.url, 'olga');
    assert.ok(await isHealthy());
  });

  test('a page that subscribes to its inbox again is told, too', async () => {
    const page = await Page.open(running.url, 'rita');
    await push.send('rita', 'x');
    const full = await damage('user:rita', 'list', HASH);
    page.say({ type: 'subscribe', channel: 'inbox', start: 'retained' });
    assert.equal((await page.frame('error')).code, 'damaged');
    assert.equal(await page.ended(), 4425);
    await ask(redis, 'DEL', full);
    await push.send('rita', 'y');
    const again = await Page.open(running.url, 'rita', { start: 'retained' });
    await until('the message', () => again.data().includes('y'));
    assert.ok(await isHealthy());
  });

  test('a hundred pages of a user whose inbox is damaged keep nobody else waiting', async () => {
    const full = await damage('user:harm', 'top', HASH);
    const harmed = Array.from({ length: 100 }, () => new Page(running.url, 'harm'));
    const others = await Promise.all(Array.from({ length: 20 }, (_, i) => Page.plain(running.url, `ok${i}`)));
    // Subscribed before they were let in: what is sent at once reaches a page that has no positions.
    await Promise.all(others.map((_, i) => push.send(`ok${i}`, 'hello')));
    await until('each of them', () => others.every(({ received }) => received.includes('hello')));
    for (const page of harmed) assert.equal(await page.ended(), 4425);
    assert.equal(lines('user:harm').length, 1);
    await ask(redis, 'DEL', full);
    await Page.plain(running.url, 'harm');
    assert.ok(await isHealthy());
  });

  test("the page's client tells once, and comes back by itself with what it missed", async () => {
    await push.publish('clients', 'before');
    const topic = await damage('clients', 'top', STRING);
    const inbox = await damage('user:cleo', 'list', STRING);
    const client = connect({
      url: running.url,
      user: 'cleo',
      userParameter: 'user',
      device: 'd',
      WebSocket: WsWebSocket as unknown as WebSocketConstructor,
      reconnect: { min: 1, max: 20 },
      topics: ['clients'],
    });
    const errors: { code: string; channel?: string }[] = [];
    const closes: number[] = [];
    const messages: Message[] = [];
    client.on('error', (error) => errors.push(error));
    client.on('close', ({ code }) => closes.push(code));
    client.on('message', (message) => messages.push(message));
    await until('it to have tried', () => closes.length > 3);
    assert.deepEqual(new Set(closes), new Set([4425]));
    await ask(redis, 'DEL', inbox);
    await until('it to be connected', () => client.state.name === 'connected');
    await until('the topic to be told', () => errors.length === 2);
    await ask(redis, 'DEL', topic);
    await client.subscribe('clients');
    await push.publish('clients', 'after');
    await push.send('cleo', 'mail');
    await until('both', () => messages.length === 2);
    assert.deepEqual(
      errors.map(({ code, channel }) => [code, channel]),
      [
        ['damaged', 'inbox'],
        ['damaged', 'clients'],
      ],
    );
    client.close();
  });

  test('acknowledgements that a damaged key keeps from being stored are logged once', async () => {
    const page = await Page.open(running.url, 'acki', { device: 'd' });
    await push.send('acki', 1);
    await page.frame('message');
    const full = await damage('user:acki', 'devices', STRING);
    for (let n = 2; n < 6; n++) {
      page.say({ type: 'ack', channel: 'inbox', position: page.position() });
      await push.send('acki', n);
      await page.frame('message', n - 1);
    }
    await until('it to be told', () => lines('user:acki').length > 0);
    assert.equal(running.log.filter((line) => line.includes('acki')).length, 1);
    await ask(redis, 'DEL', full);
    page.say({ type: 'ack', channel: 'inbox', position: page.position() });
    await page.frame('acked');
    assert.ok(await isHealthy());
  });

  test('over SockJS it is the same: a close code in plain mode, before it an error in tidings.1', async () => {
    const full = await damage('user:sam', 'top', STRING);
    const { port } = push.address() as AddressInfo;
    const base = `http://127.0.0.1:${port}/sockjs/000`;
    const post = async (path: string, body = ''): Promise<string> =>
      (await fetch(`${base}/${path}`, { method: 'POST', body })).text();
    assert.equal(await post('s1/xhr?user=sam'), 'o\n');
    assert.match(await post('s1/xhr?user=sam'), /^c\[4425,/);
    await post('s2/xhr?user=sam&protocol=tidings.1');
    await post('s2/xhr_send?user=sam', JSON.stringify(['{"type":"hello"}']));
    assert.match(await post('s2/xhr?user=sam'), /^a\[.*\\"code\\":\\"damaged\\"/);
    assert.match(await post('s2/xhr?user=sam'), /^c\[4425,/);
    await ask(redis, 'DEL', full);
    await post('s3/xhr?user=sam');
    await push.send('sam', 'after');
    assert.equal(await post('s3/xhr?user=sam'), 'a["after"]\n');
    assert.ok(await isHealthy());
  });

  test('a message that is too long for one instance is told there like damage, and by name', async () => {
    const small = await startPush({
      broker: redisBroker(redis.url, { maxReplySize: 3_000_000 }),
      limits: { message: 500_000 },
    });
    const large = redisBroker(redis.url);
    await large.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
    const retention = { maxAge: 60_000, maxMessages: 10 };
    await large.publish('user:lea', 'text', Buffer.alloc(4_000_000, 'x'), { retention });
    const page = new Page(small.url, 'lea', ['tidings.1']);
    await until('an open page', () => page.socket.readyState === WsWebSocket.OPEN);
    page.say({ type: 'hello', start: 'retained' });
    assert.equal((await page.frame('error')).code, 'damaged');
    assert.equal(await page.ended(), 4425);
    assert.equal(small.push.stats().storeFaults, 1);
    assert.equal(small.log.filter((line) => line.includes('user:lea')).length, 1);
    await ask(redis, 'DEL', '{tidings:user:lea}:list');
    await Page.open(small.url, 'lea', { start: 'retained' });
    assert.equal(small.push.stats().storeFaults, 0);
    await small.push.close();
    await large.close();
  });

  test('what a user of Redis may not do is logged once, and counts until he may', async () => {
    await ask(redis, 'ACL', 'SETUSER', 'weak', 'on', '>pw', '~*', '&*', '+@all', '-mget');
    const weak = await startPush({ broker: redisBroker(`redis://weak:pw@127.0.0.1:${redis.port}`) });
    const pages = Array.from({ length: 20 }, (_, i) => new Page(weak.url, `weak${i}`, ['tidings.1']));
    await until('all to be open', () => pages.every(({ socket }) => socket.readyState === WsWebSocket.OPEN));
    for (const page of pages) page.say({ type: 'hello' });
    await until('it to be told', () => weak.push.stats().storeFaults > 0);
    await ask(redis, 'ACL', 'SETUSER', 'weak', '+@all');
    await until('all to be in', () => pages.every((page) => page.frames('welcome').length === 1));
    await until('it to be over', () => weak.push.stats().storeFaults === 0, 20_000).catch((error) => {
      throw new Error(`${error.message}: ${weak.log.join('\n')}`);
    });
    const told = weak.log.filter((line) => line.includes('forbids'));
    assert.equal(new Set(told).size, told.length, told.join('\n'));
    assert.ok(told.length >= 1 && told.length <= 4, told.join('\n'));
    await weak.push.close();
  });

  test('what is kept of the store itself: new channels are told, no channel is damaged by it, others go on', async () => {
    await push.send('known', 1);
    for (const how of [STRING, HASH, ['SET', 'KEY', 'too long'] as Damage]) {
      const name = '{tidings:origin}';
      const value = (await ask(redis, 'GET', name)) as string;
      await ask(redis, 'DEL', name);
      await ask(redis, how[0], ...how.slice(1).map((arg) => (arg === 'KEY' ? name : arg)));
      const page = new Page(running.url, 'newcomer');
      assert.equal(await page.ended(), 4425);
      await assert.rejects(push.send('newcomer', 1), /\{tidings:origin\}/);
      await push.send('known', 2);
      await ask(redis, 'SET', name, value);
      await Page.plain(running.url, 'newcomer');
      await push.send('newcomer', 1);
      await ask(redis, 'DEL', '{tidings:user:newcomer}:top', '{tidings:user:newcomer}:list');
    }
  });
});
