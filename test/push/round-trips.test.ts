/** What a page that opens and leaves asks of Redis: round trips, counted between the two. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { redisBroker } from '../../src/pubsub/store/redis-broker.ts';
import { Recorder } from '../pubsub/store/broker-suite.ts';
import { type CountingProxy, startCountingProxy } from '../support/counting-proxy.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { Page, type Running, startPush } from './support.ts';

/** Of presence: how long a page must stay to be told is no promise here (presence.test.ts). */
const PRESENCE = new Set(['HSET', 'PEXPIRE', 'HDEL', 'SET', 'PING']);

describe('round trips to Redis', { ...needs('redis'), timeout: 120_000 }, () => {
  let redis: RedisServer;
  let proxy: CountingProxy;
  let running: Running;
  before(async () => {
    redis = await startRedis();
    proxy = await startCountingProxy(redis.port, /tidings:control/);
    running = await startPush({
      broker: redisBroker(proxy.url, { intake: false }),
      // Not renewed meanwhile.
      lease: 600_000,
      // What quiet channels may have missed is looked up for all of them together.
      checkInterval: 3_600_000,
    });
    // The store has its origin from then on.
    await Page.open(running.url, 'first');
    await until('the first look at quiet channels', () => proxy.trips.flat().includes('MGET'));
  });
  after(async () => {
    await running.push.close();
    await proxy.close();
    await redis.stop();
  });
  beforeEach(() => {
    proxy.trips.length = 0;
  });

  const trips = (): string[] =>
    proxy.trips
      .filter((names) => !names.every((name) => PRESENCE.has(name)))
      .map((names) => names.filter((name) => !PRESENCE.has(name)).join(' '));
  const isOver = (): Promise<unknown> =>
    until('the subscription to end', () => trips().some((names) => names.includes('UNSUBSCRIBE')), 20_000);
  const left = async (page: Page): Promise<void> => {
    page.socket.close();
    await isOver();
  };

  test('a lone page of a new user costs three: subscribe, open, unsubscribe', async () => {
    await left(await Page.open(running.url, 'new', { device: 'd' }));
    assert.deepEqual(trips(), ['SUBSCRIBE', 'GET TIME GET GET LLEN GET HGETALL', 'UNSUBSCRIBE']);
  });

  test('a lone page whose device has everything costs three, in either mode', async () => {
    const first = await Page.open(running.url, 'ann', { device: 'd' });
    await running.push.send('ann', 'one');
    await running.push.send('ann', 'two');
    await until('both', () => first.messages().length === 2);
    const { channel, epoch, offset, id } = first.messages()[1]!;
    first.say({ type: 'ack', channel, position: { epoch, offset, id } });
    await first.frame('acked');
    await left(first);

    proxy.trips.length = 0;
    const page = await Page.open(running.url, 'ann', { device: 'd' });
    assert.equal(page.frames('welcome')[0]!.channels['inbox']!.acked!.offset, 2);
    await left(page);
    assert.equal(trips().length, 3, trips().join(', '));

    proxy.trips.length = 0;
    await left(await Page.plain(running.url, 'ann'));
    assert.equal(trips().length, 3, trips().join(', '));
  });

  test('what a user has done with his messages comes with the rest: three, as without', async () => {
    const first = await Page.open(running.url, 'eve', { device: 'd' });
    for (let i = 1; i <= 5; i++) {
      await running.push.send('eve', i, i === 4 ? { ttl: 3_600_000, replaces: 'k' } : {});
    }
    await until('all', () => first.messages().length === 5);
    const ids = first.messages().map(({ id }) => id);
    await running.push.mark('eve', { as: 'read', ids: [ids[0]!, ids[2]!] });
    await running.push.withdraw('eve', { id: ids[1]! });
    const position = first.position()!;
    await left(first);

    for (const hello of [{ device: 'd' }, { positions: { inbox: position } }]) {
      proxy.trips.length = 0;
      const page = await Page.open(running.url, 'eve', hello);
      const { state } = page.frames('welcome')[0]!.channels['inbox']!;
      assert.deepEqual(state!.counts, { unseen: 2, unread: 2, all: 4 });
      await left(page);
      assert.equal(trips().length, 3, trips().join(', '));
    }
  });

  test('ten thousand returning pages are told their counts without one more round trip', async () => {
    const broker = redisBroker(proxy.url, { intake: false });
    await broker.open(new Recorder());
    const channels = Array.from({ length: 10_000 }, (_, i) => `user:back-${i}`);
    const retention = { maxMessages: 100, maxAge: 3_600_000 };
    const payload = Buffer.from('x');
    await Promise.all(channels.map((channel) => broker.publish(channel, 'text', payload, { retention })));
    await Promise.all(channels.map((channel) => broker.mark(channel, { as: 'read' })));
    proxy.trips.length = 0;
    const openings = await Promise.all(channels.map((channel) => broker.opening(channel)));
    const asked = trips().length;
    assert.ok(openings.every(({ marked }) => marked!.marks.read.length === 1));
    assert.ok(asked <= 10_000 / 50, `${asked} round trips`);
    await broker.close();
  });

  test('what a thousand pages ask that open together goes in a few', async () => {
    const broker = redisBroker(proxy.url, { intake: false });
    await broker.open(new Recorder());
    proxy.trips.length = 0;
    const channels = Array.from({ length: 1000 }, (_, i) => `user:many-${i}`);
    await Promise.all(channels.map((channel) => broker.subscribe(channel)));
    await Promise.all(channels.map((channel) => broker.opening(channel)));
    await Promise.all(channels.map((channel) => broker.unsubscribe(channel)));
    const names = trips();
    await broker.close();
    assert.ok(names.length <= 40, names.join(', '));
  });
});
