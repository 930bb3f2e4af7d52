/** In order, exactly once, or told: what DESIGN calls the guarantee, with a real Redis under two instances. */
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { RespClient } from '../../src/pubsub/redis/resp-client.ts';
import { redisBroker } from '../../src/pubsub/store/redis-broker.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { faultyBroker } from './faulty-broker.ts';
import { ReturningPage } from './returning-page.ts';
import { Page, type Running, startPush } from './support.ts';

const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** What redis-cli does: one command on a connection of its own. */
function redisCli(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write(`${command}\r\n`));
    socket.once('data', (data) => {
      resolve(data.toString());
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

describe('over Redis', needs('redis'), () => {
  let redis: RedisServer;
  let one: Running;
  let two: Running;
  let client: RespClient;

  before(async () => {
    redis = await startRedis();
    client = new RespClient(redis.url);
    await client.connect();
    // A page that comes back late must still find all that it missed.
    const retention = { inbox: { maxMessages: 10_000 } };
    one = await startPush({ broker: redisBroker(redis.url), checkInterval: 500, retention });
    two = await startPush({ broker: redisBroker(redis.url), checkInterval: 500, retention });
  });
  after(async () => {
    await Promise.all([one?.push.close(), two?.push.close(), client?.close()]);
    await redis?.stop();
  });

  /** A handshake does not wait for a store that is slow; the inbox is then subscribed later. */
  const subscribed = (user: string, instances: number): Promise<unknown> =>
    until(`the inbox of ${user} to be subscribed`, async () =>
      (await redisCli(redis.port, `PUBSUB NUMSUB tidings:user:${user}`)).endsWith(`:${instances}\r\n`),
    );

  test('thousands of numbered messages, pages that come and go at random: in order, exactly once', async () => {
    const users = ['u1', 'u2', 'u3'];
    const each = 1500;
    const pages = users.flatMap((user) => [
      new ReturningPage([one.url, two.url], user),
      new ReturningPage([two.url, one.url], user),
    ]);
    await Promise.all(pages.map((page) => page.connect()));
    const sending = users.map(async (user, i) => {
      for (let n = 1; n <= each; n += 10) {
        const from = (n / 10 + i) % 2 < 1 ? one : two;
        // Ten at once, in one connection's order.
        await Promise.all(numbers(n, n + 9).map((k) => from.push.send(user, k)));
      }
    });
    let isSending = true;
    const visits = pages.map(async (page) => {
      while (isSending) {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
        page.cut();
        await page.connect();
      }
    });
    await Promise.all(sending);
    isSending = false;
    await Promise.all(visits);
    for (const page of pages) {
      await until('the last one', () => page.look().length >= each);
      assert.deepEqual(page.seen, numbers(1, each));
      assert.deepEqual(page.told, []);
    }
  });

  test('a topic with many pages that come and go while it is published: in order, exactly once, for each', async () => {
    const all = numbers(1, 1000);
    const pages: { page: Page; from: number }[] = [];
    const steady = await Promise.all(
      [one, two, one, two].map(({ url }, i) => Page.open(url, `steady${i}`, { topics: ['fan'] })),
    );
    for (const n of all) {
      const sent = one.push.publish('fan', n);
      if (n % 5 === 0) await sent;
      if (n % 50 === 0 && n < 1000) {
        const page = await Page.open((n % 100 === 0 ? one : two).url, `p${n}`, { topics: ['fan'] });
        pages.push({ page, from: page.position('fan')!.offset + 1 });
        // What goes to one page alone keeps its place among what goes to all.
        page.say({ type: 'unsubscribe', channel: 'fan' });
        const { length } = page.frames('unsubscribed');
        await page.frame('unsubscribed', length);
        page.say({ type: 'subscribe', channel: 'fan', position: page.position('fan') });
        if (n % 200 === 0) pages.shift()!.page.cut();
      }
    }
    await until('the last one everywhere', () =>
      [...steady, ...pages.map(({ page }) => page)].every((page) => page.data('fan').at(-1) === 1000),
    );
    for (const page of steady) assert.deepEqual(page.data('fan'), all);
    for (const { page, from } of pages) assert.deepEqual(page.data('fan'), numbers(from, 1000));
    for (const page of [...steady, ...pages.map((each) => each.page)]) page.cut();
  });

  test('a PUBLISH from outside reaches the user’s pages of both modes, at most once and without a position', async () => {
    const plain = await Page.plain(one.url, 'outer');
    const page = await Page.open(two.url, 'outer');
    await subscribed('outer', 2);
    assert.match(await redisCli(redis.port, 'PUBLISH tidings:user:outer "hello from redis-cli"'), /^:2/);
    assert.match(await redisCli(redis.port, 'PUBLISH tidings:broadcast all'), /^:2/);
    await until('both', () => plain.received.length === 2 && page.frames('transient').length === 2);
    assert.deepEqual(plain.received, ['hello from redis-cli', 'all']);
    assert.deepEqual(
      page.frames('transient').map(({ data }) => data),
      ['hello from redis-cli', 'all'],
    );
    await plain.close();
    await page.close();
  });

  test('an XADD from outside is stored, in its user’s inbox once, and delivered like any other message', async () => {
    const page = await Page.open(one.url, 'intake');
    await client.command('XADD', 'tidings:in', '*', 'channel', 'user:intake', 'data', 'durable', 'key', 'k1');
    await page.frame('message');
    await client.command('XADD', 'tidings:in', '*', 'channel', 'user:intake', 'data', 'durable', 'key', 'k1');
    await client.command(
      'XADD',
      'tidings:in',
      '*',
      'channel',
      'user:intake',
      'kind',
      'json',
      'data',
      '{"n":2}',
    );
    await until('the second one', () => page.data().length >= 2);
    assert.deepEqual(page.data(), ['durable', { n: 2 }]);
    const late = await Page.open(two.url, 'intake', { start: 'retained' });
    await until('both', () => late.data().length === 2);
    await page.close();
    await late.close();
  });

  test('doorbells that get lost: gaps are filled from the log, the last one by the periodic check', async () => {
    const broker = faultyBroker(redisBroker(redis.url));
    const { push, url } = await startPush({ broker, checkInterval: 500 });
    const page = await Page.open(url, 'gaps');
    const plain = await Page.plain(url, 'gaps');
    broker.faults.loses = ({ offset }) => offset % 7 === 0 || offset % 11 === 3 || offset >= 298;
    for (const n of numbers(1, 300)) await one.push.send('gaps', n);
    await until('all of them', () => page.data().length >= 300 && plain.received.length >= 300);
    assert.deepEqual(page.data(), numbers(1, 300));
    assert.deepEqual(plain.received, numbers(1, 300).map(String));
    assert.deepEqual(page.frames('gap'), []);
    await push.close();
  });

  test('a log with entries deleted from it: told as a gap, then what is left behind the hole, in order', async () => {
    const broker = faultyBroker(redisBroker(redis.url));
    // The check would fill the gap from the log before its entries are deleted.
    const { push, url } = await startPush({ broker, checkInterval: 600_000 });
    const page = await Page.open(url, 'holes');
    broker.faults.loses = ({ offset }) => offset > 10 && offset < 30;
    for (const n of numbers(1, 29)) await one.push.send('holes', n);
    const list = '{tidings:user:holes}:list';
    for (const entry of (await client.command('LRANGE', list, 19, 21)) as string[]) {
      await client.command('LREM', list, 1, entry);
    }
    await one.push.send('holes', 30);
    await until('the last one', () => page.data().includes(30));
    assert.deepEqual(page.data(), [...numbers(1, 10), ...numbers(23, 30)]);
    const [gap, ...more] = page.frames('gap');
    assert.deepEqual([gap!.reason, gap!.position.offset, more.length], ['trimmed', 22, 0]);
    await push.close();
  });

  test('FLUSHALL: live pages and returning ones are told, and get what comes after', async () => {
    const live = await Page.open(one.url, 'flush');
    const away = await Page.open(two.url, 'flush');
    const fresh = await Page.open(two.url, 'unused');
    for (const n of [1, 2, 3]) await one.push.send('flush', n);
    await until('all', () => live.data().length === 3 && away.data().length === 3);
    away.cut();
    fresh.cut();
    await client.command('FLUSHALL');
    await two.push.send('flush', 4);
    await two.push.send('unused', 5);
    assert.equal((await live.frame('gap')).reason, 'rewound');
    await until('what came after', () => live.data().includes(4));
    assert.deepEqual(live.data(), [1, 2, 3, 4]);
    const back = await Page.open(one.url, 'flush', { positions: { inbox: away.position()! } });
    assert.equal(back.frames('welcome')[0]!.channels['inbox']!.reason, 'rewound');
    await until('what the log has', () => back.data().length === 1);
    // A page that had seen nothing yet is told as well: it can't know what was there before the flush.
    const again = await Page.open(one.url, 'unused', { positions: { inbox: fresh.position()! } });
    assert.equal(again.frames('welcome')[0]!.channels['inbox']!.reason, 'rewound');
    await until('what the log has', () => again.data().length === 1);
    for (const page of [live, back, again]) await page.close();
  });

  test('by reference: the log has the key, each instance resolves it, once per key whoever announces it', async () => {
    const calls: string[] = [];
    const references = {
      channel: 'mail',
      resolve: async (key: string) => {
        calls.push(key);
        return { user: 'refs', data: { mail: key, subject: 'hello' } };
      },
    };
    const a = await startPush({ broker: redisBroker(redis.url), references });
    const b = await startPush({ broker: redisBroker(redis.url), references });
    const page = await Page.open(a.url, 'refs');
    const plain = await Page.plain(b.url, 'refs');
    await subscribed('refs', 2);
    await redisCli(redis.port, 'PUBLISH tidings:mail 42');
    await page.frame('message');
    await redisCli(redis.port, 'PUBLISH tidings:mail 42');
    const receipt = await b.push.publishReference('mail', 42);
    assert.equal(receipt.duplicate, true);
    await a.push.publishReference('mail', 43);
    await a.push.send('refs', 'by value');
    await until('three', () => page.data().length === 3 && plain.received.length === 3);
    assert.deepEqual(page.data(), [
      { mail: '42', subject: 'hello' },
      { mail: '43', subject: 'hello' },
      'by value',
    ]);
    assert.deepEqual(
      page.messages().map(({ reference }) => reference),
      ['42', '43', undefined],
    );
    assert.deepEqual(plain.received, [
      '{"mail":"42","subject":"hello"}',
      '{"mail":"43","subject":"hello"}',
      'by value',
    ]);
    assert.equal(await client.command('LLEN', '{tidings:user:refs}:list'), 3);
    await a.push.close();
    await b.push.close();
  });
});

describe('when Redis itself fails', needs('redis'), () => {
  test('killed and restarted with its append-only file: told while it is away, nothing lost', async (t) => {
    const redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
    t.after(() => redis.stop());
    const one = await startPush({ broker: redisBroker(redis.url), checkInterval: 500 });
    const two = await startPush({ broker: redisBroker(redis.url), checkInterval: 500 });
    const page = await Page.open(one.url, 'kim');
    const plain = await Page.plain(two.url, 'kim');
    for (const n of [1, 2, 3]) await one.push.send('kim', n);
    await until('all before the crash', () => page.data().length === 3);
    await redis.kill();
    assert.equal((await page.frame('status')).behind, true);
    const newcomer = new Page(two.url, 'kim', ['tidings.1']);
    await until('a handshake without the store', () => newcomer.socket.readyState === 1);
    newcomer.say({ type: 'hello', positions: { inbox: page.position() } });
    await newcomer.frame('status');
    await redis.start();
    assert.equal((await page.frame('status', 1)).behind, false);
    assert.equal((await newcomer.frame('welcome')).channels['inbox']!.recovered, true);
    assert.equal((await newcomer.frame('status', 1)).behind, false);
    for (const n of [4, 5]) await two.push.send('kim', n);
    await until('all', () => page.data().length === 5 && plain.received.length === 5);
    assert.deepEqual(page.data(), [1, 2, 3, 4, 5]);
    assert.deepEqual(plain.received, ['1', '2', '3', '4', '5']);
    await until('the newcomer', () => newcomer.data().length === 2);
    assert.deepEqual(page.frames('gap'), []);
    await Promise.all([one.push.close(), two.push.close()]);
  });

  test('away when the instance starts: pages get in, are told, and everything works once it is there', async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    await redis.kill();
    const { push, url, log } = await startPush(
      { broker: redisBroker(redis.url, { reconnectMaxDelay: 100 }) },
      { isReady: false },
    );
    const plain = await Page.plain(url, 'moe');
    const page = new Page(url, 'moe', ['tidings.1']);
    await until('a handshake without the store', () => page.socket.readyState === 1);
    page.say({ type: 'hello' });
    page.say({ type: 'ping' });
    await page.frame('pong');
    assert.equal((await page.frame('status')).behind, true);
    assert.match(log.join(), /the store is away/);
    await redis.start();
    await page.frame('welcome');
    assert.equal((await page.frame('status', 1)).behind, false);
    await push.ready;
    await push.send('moe', 'at last');
    await until('both', () => page.data().length === 1 && plain.received.length === 1);
    await push.close();
  });

  test('restarted from an older snapshot, offsets used again: told to live and to returning pages', async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const client = new RespClient(redis.url);
    t.after(() => client.close());
    await client.connect();
    const { push, url } = await startPush({ broker: redisBroker(redis.url), checkInterval: 500 });
    const live = await Page.open(url, 'lea');
    const away = await Page.open(url, 'lea');
    const plain = await Page.plain(url, 'lea');
    for (const n of [1, 2]) await push.send('lea', n);
    await client.command('SAVE');
    copyFileSync(join(redis.folder, 'dump.rdb'), join(redis.folder, 'old.rdb'));
    for (const n of [3, 4]) await push.send('lea', n);
    await until('all', () => live.data().length === 4 && away.data().length === 4);
    away.cut();
    await redis.kill();
    copyFileSync(join(redis.folder, 'old.rdb'), join(redis.folder, 'dump.rdb'));
    await redis.start();
    await until('the store is back', () => live.frames('status').at(-1)?.behind === false);
    // The same offsets again, and beyond: by number alone nothing would look wrong.
    for (const n of [103, 104, 105]) await push.send('lea', n);
    await until('the new ones', () => live.data().includes(105) && plain.received.includes('105'));
    assert.equal(live.frames('gap')[0]!.reason, 'rewound');
    assert.deepEqual(live.data().slice(-3), [103, 104, 105]);
    const back = await Page.open(url, 'lea', { positions: { inbox: away.position()! } });
    assert.equal(back.frames('welcome')[0]!.channels['inbox']!.reason, 'rewound');
    await until('what the log has', () => back.data().length === 5);
    assert.deepEqual(back.data(), [1, 2, 103, 104, 105]);
    assert.deepEqual(plain.received, ['1', '2', '3', '4', '103', '104', '105']);
    await push.close();
  });
});
