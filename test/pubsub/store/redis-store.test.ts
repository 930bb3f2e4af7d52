/** What the store keeps in Redis, for how long, and how few calls it makes of what is sent. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PublishOptions } from '../../../src/pubsub/store/broker.ts';
import { leadsTo } from '../../../src/pubsub/store/epochs.ts';
import type { RedisBrokerOptions } from '../../../src/pubsub/store/redis-broker.ts';
import { started } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';
import { options, positions, text } from './broker-suite.ts';
import { open as openBroker } from './redis-brokers.ts';

const open = (redis: RedisServer, more: RedisBrokerOptions = {}) =>
  openBroker(redis.url, { intake: false, ...more });

async function info(redis: RedisServer, section: string, name: string): Promise<number> {
  const found = new RegExp(`^${name}[:=](?:calls=)?(\\d+)`, 'm').exec(
    String(await ask(redis, 'INFO', section)),
  );
  return Number(found?.[1] ?? 0);
}
const calls = (redis: RedisServer, command: string): Promise<number> =>
  info(redis, 'commandstats', `cmdstat_${command}`);

describe('the store in Redis', { ...needs('redis'), timeout: 300_000 }, () => {
  test('looking at channels that nobody writes to creates nothing, however many and by whatever call', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    await a.read('origin', 0, 1);
    const before = Number(await ask(redis, 'DBSIZE'));
    const names = Array.from({ length: 500 }, (_, i) => `topic:${i}`);
    await Promise.all(
      names.flatMap((name) => [
        a.subscribe(name),
        a.read(name, 0, 10),
        a.cursors(name),
        a.acknowledge({ channel: name, device: 'd', position: { epoch: 'e', offset: 1, id: 'i' } }, 60_000),
        a.presence(name),
        a.notify(name, text('x')),
      ]),
    );
    await a.tops(names);
    await Promise.all(names.map((name) => a.opening(name)));
    assert.equal(await ask(redis, 'DBSIZE'), before);
  });

  test('who found a channel unused can tell for ever whether what came since is all there was', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    const [stranger] = await open(redis);
    const looked = async (channel: string): Promise<string> => (await stranger.read(channel, 0, 1)).top.epoch;
    const first = await looked('c');
    const early = await looked('flushed');
    const { epoch } = await a.publish('c', 'text', text('1'), options());
    assert.ok(leadsTo(first, epoch), 'the first message follows');
    assert.ok(leadsTo(first, await looked('another')), 'and another look finds the same');
    await ask(redis, 'DEL', '{tidings:c}:top');
    assert.ok(
      !leadsTo(first, (await stranger.publish('c', 'text', text('2'), options())).epoch),
      'not after a loss',
    );
    await ask(redis, 'DEL', '{tidings:c}:top', '{tidings:c}:list');
    assert.ok(
      !leadsTo(first, (await a.publish('c', 'text', text('3'), options())).epoch),
      'not after a loss that only a publisher knows of',
    );
    await ask(redis, 'FLUSHALL');
    assert.ok(!leadsTo(early, await looked('flushed')), 'not in an emptied store');
    assert.ok(!leadsTo(early, (await stranger.publish('flushed', 'text', text('1'), options())).epoch));
  });

  test('who found it unused long ago is told, as a whole life of the channel may have come and gone', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis, { idleChannelTtl: 200 });
    const early = (await a.read('c', 0, 1)).top.epoch;
    await a.publish(
      'c',
      'text',
      text('1'),
      options({ retention: { maxMessages: 10, maxAge: 100 }, idempotencyWindow: 1 }),
    );
    await until(
      'the channel to be forgotten',
      async () => (await ask(redis, 'EXISTS', '{tidings:c}:top')) === 0,
    );
    const { top } = await a.read('c', 0, 1);
    assert.ok(!leadsTo(early, top.epoch));
  });

  test('a Redis that is full refuses to store, at once and for every call; what it has can be read', async () => {
    const redis = await started(startRedis(['--maxmemory-policy', 'noeviction']));
    const [a] = await open(redis, { publishMaxWait: 0 });
    const [b] = await open(redis, { publishMaxWait: 0 });
    const retention = { maxMessages: 20, maxAge: 3_600_000 };
    const { epoch, offset, id } = await a.publish('c', 'text', text('kept'), options({ retention }));
    // A log whose top is gone, which storing begins anew.
    await b.publish('stale', 'text', text('x'), options());
    await ask(redis, 'DEL', '{tidings:stale}:top');
    // Not what it uses now: that can be less a moment later, when buffers of connections shrink.
    await ask(redis, 'CONFIG', 'SET', 'maxmemory', 1);
    const size = await ask(redis, 'DBSIZE');
    const refused = { prefix: 'OOM' };
    await assert.rejects(a.publish('new', 'text', text('x'), options()), refused);
    await assert.rejects(a.publish('new', 'text', text('x'), options({ idempotencyKey: 'k' })), refused);
    await assert.rejects(b.publish('stale', 'text', text('x'), options()), refused);
    const batch = await Promise.allSettled(
      Array.from({ length: 40 }, (_, i) =>
        a.publish(`c${i % 7}`, 'text', Buffer.alloc(1000), options({ retention })),
      ),
    );
    assert.ok(batch.every((one) => one.status === 'rejected' && one.reason.prefix === 'OOM'));
    await a.acknowledge({ channel: 'c', device: 'd', position: { epoch, offset, id } }, 1000).catch(() => {});
    assert.equal(await ask(redis, 'DBSIZE'), size);
    assert.equal((await a.read('c', 0, 10)).messages.length, 1);
    assert.equal((await b.read('c', 0, 10)).messages.length, 1);
    assert.equal((await a.read('never', 0, 10)).top.offset, 0);
    assert.equal((await positions(a, ['c']))[0]!.offset, 1);
    await ask(redis, 'CONFIG', 'SET', 'maxmemory', 0);
    assert.equal((await a.publish('c', 'text', text('again'), options())).offset, 2);
  });

  test('a failure in a batch is its own message’s: all others are stored and rung for', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis);
    await ask(redis, 'SET', '{tidings:damaged}:top', 'x');
    await ask(redis, 'RPUSH', '{tidings:c}:once:k:bad', 'x');
    const channels = ['c', 'd', 'damaged', 'e'];
    for (const channel of channels) await a.subscribe(channel);
    const batch = await Promise.allSettled([
      ...channels.map((channel) => a.publish(channel, 'text', text('1'), options())),
      a.publish('c', 'text', text('2'), options({ idempotencyKey: 'bad' })),
      a.publish('c', 'text', text('3'), options({ idempotencyKey: 'good' })),
      a.publish('c', 'text', text('3'), options({ idempotencyKey: 'good' })),
      a.notify('c', text('note')),
      a.publish('c', 'text', text('4'), options({ retention: { maxMessages: 5, maxAge: 1000 } })),
      a.publish('damaged', 'text', text('2'), options()),
    ]);
    assert.deepEqual(
      batch.map(({ status }) => status === 'fulfilled'),
      [true, true, false, true, false, true, true, true, true, false],
    );
    const last = batch[8] as PromiseFulfilledResult<{ offset: number }>;
    assert.equal(last.value.offset, 3);
    await until('all to be rung for', () => ra.messages.length === 5 && ra.transients.length === 1);
    assert.deepEqual(
      ra.messages.filter(({ channel }) => channel === 'c').map(({ payload }) => payload.toString()),
      ['1', '3', '4'],
    );
  });

  test('what is sent in one turn is one call, and one doorbell for each channel', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis);
    await a.subscribe('c1');
    await a.publish('c1', 'text', text('first'), options());
    const scripts = async (): Promise<number> =>
      (await calls(redis, 'evalsha')) + (await calls(redis, 'eval'));
    const [before, bells] = [await scripts(), await calls(redis, 'publish')];
    await Promise.all(
      Array.from({ length: 30 }, (_, i) => a.publish(`c${i % 3}`, 'text', text(`${i}`), options())),
    );
    assert.equal((await scripts()) - before, 1);
    assert.equal((await calls(redis, 'publish')) - bells, 3);
    await until('all of one channel', () => ra.messages.length === 11);
    assert.deepEqual(
      ra.messages.map(({ offset }) => offset),
      Array.from({ length: 11 }, (_, i) => i + 1),
    );
  });

  test('a page that opens 20 messages behind costs no script, and two turns of commands', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    const [b] = await open(redis);
    for (let i = 0; i < 50; i++) await b.publish('user:ann', 'text', text(`${i}`), options());
    const evaluated = await calls(redis, 'evalsha');
    await a.subscribe('user:ann');
    const [[top]] = await Promise.all([
      positions(a, ['user:ann']),
      a.cursors('user:ann'),
      a.announce([{ session: 's', instance: 'i', user: 'ann', since: 1 }], 60_000),
    ]);
    const { messages, first } = await a.read('user:ann', top!.offset - 20, 200);
    assert.equal(messages.length, 20);
    assert.equal(first, 1);
    assert.equal(await calls(redis, 'evalsha'), evaluated);
  });

  test('one message after another leaves in Redis what bursts of two leave', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    const kept = (maxMessages: number, maxAge = 3_600_000): PublishOptions => ({
      retention: { maxMessages, maxAge },
    });
    const payloads = Array.from({ length: 60 }, (_, i) => Buffer.alloc(i === 40 ? 9_000 : 10 + (i % 7), 'x'));
    const settings = (i: number): PublishOptions => (i < 20 ? kept(8) : i < 48 ? kept(24) : kept(24, 60_000));
    for (let i = 0; i < payloads.length; i += 2) {
      for (const k of [i, i + 1]) await a.publish('lone', 'text', payloads[k]!, settings(k));
      await Promise.all([i, i + 1].map((k) => a.publish('pairs', 'text', payloads[k]!, settings(k))));
    }
    const what = async (channel: string): Promise<unknown> => {
      const { messages, top, first } = await a.read(channel, 0, 100);
      const near = (ttl: unknown): number => Math.round(Number(ttl) / 10_000);
      return {
        messages: messages.map(({ offset, payload }) => [offset, payload.length]),
        top: top.offset,
        first,
        list: near(await ask(redis, 'PTTL', `{tidings:${channel}}:list`)),
        stands: near(await ask(redis, 'PTTL', `{tidings:${channel}}:top`)),
      };
    };
    assert.deepEqual(await what('lone'), await what('pairs'));

    // A list that is gone is begun again, with an end.
    await ask(redis, 'DEL', '{tidings:lone}:list');
    await a.publish('lone', 'text', payloads[0]!, settings(59));
    assert.equal(await ask(redis, 'LLEN', '{tidings:lone}:list'), 1);
    assert.ok(Number(await ask(redis, 'PTTL', '{tidings:lone}:list')) > 0);
  });

  test('up to an eighth more is kept than promised, and nobody reads it', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    const retention = { maxMessages: 16, maxAge: 3_600_000 };
    let most = 0;
    for (let i = 1; i <= 100; i++) {
      await a.publish('c', 'text', text(`${i}`), options({ retention }));
      most = Math.max(most, Number(await ask(redis, 'LLEN', '{tidings:c}:list')));
      const page = await a.read('c', 0, 1000);
      assert.equal(page.messages.length, Math.min(i, 16));
      assert.equal(page.first, Math.max(1, i - 15));
    }
    assert.equal(most, 18);
  });

  test('every key of a channel that is used expires, no sooner than promised', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis, { idleChannelTtl: 100_000 });
    const retention = { maxMessages: 10, maxAge: 50_000 };
    for (const idempotencyWindow of [1_000, 300_000]) {
      for (let i = 0; i < 3; i++) {
        const { epoch, offset, id } = await a.publish(
          'c',
          'text',
          text('x'),
          options({ retention, idempotencyKey: `${idempotencyWindow}${i}`, idempotencyWindow }),
        );
        await a.acknowledge({ channel: 'c', device: 'd', position: { epoch, offset, id } }, 70_000);
      }
    }
    const ttl = async (key: string): Promise<number> =>
      Number(await ask(redis, 'PTTL', `{tidings:c}:${key}`));
    const within = async (key: string, promised: number): Promise<void> => {
      const left = await ttl(key);
      assert.ok(
        left > promised * 0.95 && left <= promised * 1.25 + 1,
        `${key} has ${left} of ${promised} ms`,
      );
    };
    await within('top', 300_000);
    await within('list', 50_000);
    await within('devices', 70_000);
    const [key] = (await ask(redis, 'KEYS', '{tidings:c}:once:*300000*')) as string[];
    assert.ok(key !== undefined && Number(await ask(redis, 'PTTL', key)) > 280_000);
    // A list that is lost and begun again has a lifetime, too.
    await ask(redis, 'DEL', '{tidings:c}:list');
    await a.publish('c', 'text', text('x'), options({ retention }));
    await within('list', 50_000);
    // Longer kept from now on: at once, not with the next renewal.
    await a.publish('c', 'text', text('x'), options({ retention: { maxMessages: 10, maxAge: 500_000 } }));
    await within('list', 500_000);
    await within('top', 500_000);
  });

  test('a channel that is only read lives on, and one that is asked for its top', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis, { idleChannelTtl: 2_000 });
    const retention = { maxMessages: 10, maxAge: 400 };
    const publish = (channel: string) =>
      a.publish(
        channel,
        'text',
        text('x'),
        options({ retention, idempotencyKey: 'k', idempotencyWindow: 1 }),
      );
    const { epoch } = await publish('read');
    const other = await publish('asked');
    await publish('left');
    await until('a channel that is left alone to be forgotten', async () => {
      assert.equal((await a.read('read', 1, 10)).top.epoch, epoch);
      assert.equal((await positions(a, ['asked']))[0]!.epoch, other.epoch);
      return (await ask(redis, 'EXISTS', '{tidings:left}:top')) === 0;
    });
  });

  test('a user keeps 32 devices: whoever was heard of least lately makes room, and no call grows with the others', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    const { epoch, offset, id } = await a.publish('user:ann', 'text', text('x'), options());
    const next = await a.publish('user:ann', 'text', text('y'), options());
    const acknowledge = (device: string, position = { epoch, offset, id }) =>
      a.acknowledge({ channel: 'user:ann', device, position }, 3_600_000);
    await acknowledge('phone');
    for (let i = 0; i < 200; i++) {
      await acknowledge(`made up ${i}`);
      // The phone is heard of again and again.
      if (i % 20 === 0) {
        const stands = (await a.publish('user:ann', 'text', text('z'), options())) as typeof next;
        await acknowledge('phone', { epoch, offset: stands.offset, id: stands.id });
      }
    }
    const devices = (await a.cursors('user:ann')).map(({ device }) => device);
    assert.equal(devices.length, 32);
    assert.ok(devices.includes('phone') && devices.includes('made up 199'));
    assert.equal(Number(await ask(redis, 'HLEN', '{tidings:user:ann}:devices')), 32);
  });

  test('what was never sent can’t be acknowledged: any other id moves nothing', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    const receipts = [];
    for (let i = 0; i < 5; i++) receipts.push(await a.publish('c', 'text', text('x'), options()));
    const { epoch } = receipts[0]!;
    for (const offset of [1, 3, 5]) {
      await a.acknowledge({ channel: 'c', device: 'd', position: { epoch, offset, id: 'made up' } }, 60_000);
    }
    assert.deepEqual(await a.cursors('c'), []);
    const { offset, id } = receipts[2]!;
    await a.acknowledge({ channel: 'c', device: 'd', position: { epoch, offset, id } }, 60_000);
    assert.equal((await a.cursors('c'))[0]!.position.offset, 3);
  });

  test('a log that somebody has made a hole in counts as trimmed up to the hole', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis);
    const [b] = await open(redis);
    for (let i = 1; i <= 30; i++) await a.publish('c', 'text', text(`${i}`), options());
    const [entry] = (await ask(redis, 'LRANGE', '{tidings:c}:list', 19, 19)) as string[];
    await ask(redis, 'LREM', '{tidings:c}:list', 1, entry!);
    for (const broker of [a, b]) {
      const page = await broker.read('c', 10, 200);
      assert.equal(page.first, 21);
      assert.deepEqual(
        page.messages.map(({ offset }) => offset),
        Array.from({ length: 10 }, (_, i) => 21 + i),
      );
    }
    assert.equal((await a.publish('c', 'text', text('31'), options())).offset, 31);
    assert.equal((await b.read('c', 30, 10)).messages[0]!.payload.toString(), '31');
  });
});
