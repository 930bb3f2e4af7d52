/** What the store keeps of marks in Redis, how much of it a call does, and what becomes of it when Redis loses or refuses. */
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { slotOf } from '../../../src/pubsub/redis/slots.ts';
import type { RedisTarget } from '../../../src/pubsub/redis/target.ts';
import {
  type Broker,
  DamagedChannelError,
  type Position,
  type Receipt,
} from '../../../src/pubsub/store/broker.ts';
import { type MarkAs, type Marked, NO_MARKS, TooManyRangesError } from '../../../src/pubsub/store/marks.ts';
import type { RedisBrokerOptions } from '../../../src/pubsub/store/redis-broker.ts';
import { RespClient, wasNotExecuted } from '../../../src/redis.ts';
import { cleanups, started } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { ask, moveSlot, startCluster } from '../../support/redis-groups.ts';
import { options, text } from './broker-suite.ts';
import { agreeWithMemory } from './marks-agreement.ts';
import { at, counts } from './marks-suite.ts';
import { fill, keepThroughKills } from './marks-work.ts';
import { open as openBroker } from './redis-brokers.ts';

const open = (target: RedisTarget, more: RedisBrokerOptions = {}) =>
  openBroker(target, { intake: false, ...more });

async function scriptCalls(redis: RedisServer): Promise<number> {
  const stats = String(await ask(redis, 'INFO', 'commandstats'));
  const of = (name: string): number =>
    Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  return of('evalsha') + of('eval');
}

describe('marks in Redis', { ...needs('redis'), timeout: 300_000 }, () => {
  test('256 messages are marked in one call and a thousand in four, and what is one range is kept as one', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const positions = await fill(a, 'c', 1200);
    // The script is known from then on.
    await a.marks('c');
    let before = await scriptCalls(redis);
    assert.equal((await a.mark('c', { as: 'seen', messages: positions.slice(0, 256) })).changed, 256);
    assert.equal((await scriptCalls(redis)) - before, 1);
    before = await scriptCalls(redis);
    const { changed, marks, top, first } = await a.mark('c', {
      as: 'read',
      messages: positions.slice(0, 1000),
    });
    assert.equal((await scriptCalls(redis)) - before, 4);
    assert.equal(changed, 1000);
    assert.deepEqual([marks.read, marks.seen, top.offset, first], [[[1, 1000]], [[1, 1000]], 1200, 1]);
    const bytes = Number(await ask(redis, 'STRLEN', '{tidings:c}:marks'));
    assert.ok(bytes < 200, `${bytes} bytes`);
    const odd = positions.filter(({ offset }) => offset % 2 === 1).slice(0, 500);
    assert.equal((await a.mark('c', { as: 'unread', messages: odd.toReversed() })).changed, 500);
    assert.deepEqual(counts(await a.marks('c')), { unseen: 200, unread: 700, all: 1200 });
  });

  test('messages that are deleted leave nothing but their place in the log, a thousand of them in four calls', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const positions = await fill(a, 'c', 1000);
    await a.marks('c');
    const before = await scriptCalls(redis);
    const { changed } = await a.mark('c', { as: 'deleted', messages: positions });
    assert.equal((await scriptCalls(redis)) - before, 4);
    assert.equal(changed, 1000);
    const entries = (await ask(redis, 'LRANGE', '{tidings:c}:list', 0, -1)) as string[];
    for (const [i, entry] of entries.entries()) {
      assert.match(entry, new RegExp(`^${i + 1} \\d+ ${positions[i]!.id} g\n$`));
    }
    const { messages, top } = await a.read('c', 0, 2000);
    assert.equal(messages.length, 1000);
    assert.ok(messages.every(({ kind, payload }) => kind === 'gone' && payload.length === 0));
    assert.deepEqual(top, positions.at(-1));
    // From where a message was that is gone, a page goes on as if it were there.
    await a.acknowledge({ channel: 'c', device: 'd', position: positions[4]! }, 60_000);
    assert.deepEqual((await a.cursors('c'))[0]!.position, positions[4]);
    assert.equal((await a.mark('c', { as: 'deleted', messages: positions })).changed, 0);
  });

  test('ten thousand messages: all are read as one range, and deleted in steps, none of which is long', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const positions = await fill(a, 'c', 10_000);
    const all = await a.mark('c', { as: 'read' });
    assert.deepEqual([all.changed, all.marks.read], [10_000, [[1, 10_000]]]);
    assert.equal((await a.mark('c', { as: 'unread', upTo: positions[4_999]! })).changed, 5_000);
    assert.deepEqual(counts(await a.marks('c')), { unseen: 0, unread: 5_000, all: 10_000 });
    const before = await scriptCalls(redis);
    const { changed, marks } = await a.mark('c', { as: 'deleted', upTo: positions[8_999]! });
    assert.deepEqual([changed, marks.gone], [9_000, [[1, 9_000]]]);
    assert.ok((await scriptCalls(redis)) - before >= 36);
    // What comes while it is done is not meant.
    const [rest] = await Promise.all([a.mark('c', { as: 'deleted' }), fill(a, 'c', 1)]);
    assert.ok(rest.changed === 1_000 || rest.changed === 1_001);
    const kept = await a.marks('c');
    assert.equal(counts(kept).all, 10_001 - 9_000 - rest.changed);
  });

  test('of large messages few are looked at in one call', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const positions: Position[] = [];
    for (let i = 0; i < 60; i++) {
      positions.push(at(await a.publish('c', 'binary', Buffer.alloc(300_000), options())));
    }
    let before = await scriptCalls(redis);
    assert.equal((await a.mark('c', { as: 'archived', messages: positions })).changed, 60);
    assert.ok((await scriptCalls(redis)) - before >= 4);
    before = await scriptCalls(redis);
    const { changed, marks } = await a.mark('c', { as: 'deleted' });
    assert.deepEqual([changed, marks.gone, marks.archived], [60, [[1, 60]], [[1, 60]]]);
    assert.ok((await scriptCalls(redis)) - before >= 4);
    assert.ok(Number(await ask(redis, 'MEMORY', 'USAGE', '{tidings:c}:list')) < 100_000);
  });

  test('marks are 4,096 ranges at the most: one that would make more changes nothing, and what is withdrawn is gone', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    await a.subscribe('c');
    const positions = await fill(a, 'c', 9_000);
    const odd = positions.filter(({ offset }) => offset % 2 === 1);
    for (let i = 0; i < 4_000; i += 1000) {
      assert.equal((await a.mark('c', { as: 'seen', messages: odd.slice(i, i + 1000) })).changed, 1000);
    }
    assert.equal((await a.mark('c', { as: 'archived', messages: odd.slice(4_000, 4_096) })).changed, 96);
    const full = await a.marks('c');
    const refused = await a.mark('c', { as: 'read', messages: odd.slice(0, 2) }).catch((error) => error);
    assert.ok(refused instanceof TooManyRangesError && refused.code === 'TOO_MANY_RANGES', String(refused));
    await assert.rejects(a.mark('c', { as: 'deleted', messages: odd.slice(0, 2) }), RangeError);
    assert.deepEqual(await a.marks('c'), full);
    assert.equal((await a.read('c', 0, 1)).messages[0]!.kind, 'text');
    // Fewer, or as many as there were, are no harm.
    assert.equal((await a.mark('c', { as: 'seen', upTo: positions[9]! })).changed, 5);
    await a.mark('c', { as: 'archived', messages: odd.slice(4_096, 4_100) });
    await assert.rejects(a.mark('c', { as: 'archived', messages: odd.slice(4_110, 4_112) }), RangeError);
    assert.equal(await a.remove('c', { position: positions[20]! }), true);
    assert.equal((await a.read('c', 20, 1)).messages[0]!.kind, 'gone');
    await until('the last change', () => ra.marks.at(-1)?.[1].marks.gone.length === 1);
    assert.deepEqual(ra.marks.at(-1)![1], await a.marks('c'));
  });

  test('a mark that takes several calls is refused as a whole, and made where only a part of it would be too much', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const positions = await fill(a, 'c', 9_000);
    const odd = positions.filter(({ offset }) => offset % 2 === 1);
    for (let i = 500; i < 4_000; i += 500) await a.mark('c', { as: 'seen', messages: odd.slice(i, i + 500) });
    const before = await a.marks('c');
    assert.equal(before.marks.seen.length, 3_500);
    // Of these, the first calls would be allowed.
    for (const as of ['archived', 'deleted', 'read'] as const) {
      const messages = odd.slice(500, 1_500);
      await assert.rejects(a.mark('c', { as, messages }), TooManyRangesError, as);
    }
    assert.deepEqual(await a.marks('c'), before);
    await a.mark('c', { as: 'archived', messages: odd.slice(0, 596) });
    // The first ones are ranges of their own; the others join those that are there.
    const joined = [...odd.slice(0, 300), ...positions.slice(2_000, 4_000).filter((_, i) => i % 4 === 1)];
    const { changed, marks } = await a.mark('c', { as: 'seen', messages: joined });
    assert.deepEqual([changed, marks.seen.length], [800, 3_500 + 300 - 500]);
  });

  test('of messages that replace others or expire, eight go in one call, to one channel or to many, in order', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    await a.publish('c', 'text', text('x'), options({ ttl: 60_000 }));
    for (const life of [{ replaces: 'k' }, { ttl: 60_000 }]) {
      for (const channelOf of [() => 'c', (n: number) => `c${n}`]) {
        const before = await scriptCalls(redis);
        const sent = Array.from({ length: 64 }, (_, n) =>
          a.publish(channelOf(n), 'text', text(`${n}`), options(life)),
        );
        const offsets = (await Promise.all(sent)).map(({ offset }) => offset);
        assert.deepEqual(
          offsets,
          offsets.toSorted((one, other) => one - other),
        );
        const calls = (await scriptCalls(redis)) - before;
        assert.ok(calls >= 8 && calls <= 16, `${calls} calls`);
      }
    }
  });

  test('the doorbell of a message that replaces another one comes right before that of the marks', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    const client = new RespClient(redis.url);
    cleanups.push(() => client.close());
    const heard: string[] = [];
    await client.subscribe('tidings:c', (payload: Buffer | string) =>
      heard.push(String(payload).slice(9, 10)),
    );
    await a.subscribe('c');
    const send = (replaces?: string): Promise<Receipt> =>
      a.publish('c', 'text', text('x'), options(replaces === undefined ? {} : { replaces }));
    await Promise.all([send('k'), send(), send('k'), send(), send('k'), send('other')]);
    await until('all of it', () => ra.order.length === 8);
    assert.deepEqual(ra.order, [
      'message 1',
      'message 2',
      'message 3',
      'marks 1',
      'message 4',
      'message 5',
      'marks 2',
      'message 6',
    ]);
    await until('them on the bus', () => heard.length === 8);
    assert.deepEqual(heard.join(''), 'mmmsmmsm');
    assert.deepEqual(ra.marks.at(-1)![1].marks.gone, [
      [1, 1],
      [3, 3],
    ]);
  });

  test('a plain message is stored and read whatever the keys of marks hold; what needs them is told that they are damaged', async () => {
    for (const [key, ...damage] of [
      ['marks', 'SET', 'x'],
      ['marks', 'SET', 'x'.repeat(200)],
      ['marks', 'RPUSH', 'x'],
      ['keys', 'SET', 'x'],
      ['ttl', 'SET', 'x'],
    ] as const) {
      const redis = await started(startRedis());
      const [a, ra] = await open(redis.url);
      const name = `{tidings:c}:${key}`;
      const first = at(await a.publish('c', 'text', text('1'), options()));
      await a.publish('c', 'text', text('2'), options({ replaces: 'k' }));
      await ask(redis, 'DEL', name);
      await ask(redis, damage[0], name, damage[1]);

      assert.equal((await a.publish('c', 'text', text('3'), options())).offset, 3);
      const page = await a.read('c', 0, 10);
      assert.deepEqual(
        page.messages.map(({ payload }) => String(payload)),
        ['1', '2', '3'],
      );
      const opening = await a.opening('c');
      assert.deepEqual(opening.top, page.top);
      assert.equal(opening.marked === undefined, key === 'marks');
      const damaged = (error: unknown): boolean =>
        error instanceof DamagedChannelError && error.channel === 'c';
      const life = key === 'ttl' ? { ttl: 60_000 } : { replaces: 'k' };
      await assert.rejects(a.publish('c', 'text', text('no'), options(life)), damaged);
      assert.equal((await a.read('c', 0, 10)).top.offset, 3, 'nothing of it is stored');
      if (key === 'marks') {
        await assert.rejects(a.marks('c'), damaged);
        await assert.rejects(a.mark('c', { as: 'read' }), damaged);
        await assert.rejects(a.remove('c', { position: first }), damaged);
      }
      if (key === 'keys') await assert.rejects(a.remove('c', { key: 'k' }), damaged);
      assert.ok(a.faultCount! > 0);
      assert.ok(ra.warnings.some((line) => line.includes('{tidings:c}')));

      await ask(redis, 'DEL', name);
      assert.equal((await a.publish('c', 'text', text('4'), options(life))).offset, 4);
      // The second one was replaced, where its key was still known.
      assert.equal((await a.mark('c', { as: 'read' })).changed, key === 'marks' ? 3 : 4);
      assert.deepEqual((await a.opening('c')).marked, await a.marks('c'));
    }
  });

  test('marks that were evicted begin anew in another epoch; the log and the others go on', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    await a.subscribe('c');
    const positions = await fill(a, 'c', 5);
    const { marks } = await a.mark('c', { as: 'read', upTo: positions[2]! });
    await ask(redis, 'DEL', '{tidings:c}:marks');
    assert.deepEqual((await a.opening('c')).marked?.marks.read, []);
    assert.deepEqual((await a.marks('c')).marks.version, NO_MARKS.version);
    const again = await a.mark('c', { as: 'read', messages: positions.slice(0, 1) });
    assert.notEqual(again.marks.version.epoch, marks.version.epoch);
    assert.deepEqual([again.changed, again.marks.version.offset, again.marks.read], [1, 1, [[1, 1]]]);
    await until('both to be told', () => ra.marks.length === 2);
  });

  test('a channel that begins anew begins without marks, also where their key is still there', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const [stranger] = await open(redis.url);
    for (const lost of [['top', 'list'], ['top']]) {
      const channel = `c${lost.length}`;
      await fill(a, channel, 5);
      await a.mark(channel, { as: 'read' });
      await a.publish(channel, 'text', text('k'), options({ replaces: 'k', ttl: 60_000 }));
      await ask(redis, 'DEL', ...(lost.map((key) => `{tidings:${channel}}:${key}`) as [string]));
      const positions = await fill(stranger, channel, 6);
      assert.deepEqual((await stranger.opening(channel)).marked!.marks.read, []);
      assert.deepEqual(counts(await a.marks(channel)), { unseen: 6, unread: 6, all: 6 });
      assert.equal(await a.remove(channel, { key: 'k' }), false, 'its message is not of this life');
      const before = await a.mark(channel, { as: 'seen', messages: positions.slice(0, 1) });
      assert.equal(before.marks.version.offset, 1);
      await a.publish(channel, 'text', text('k'), options({ replaces: 'k' }));
      assert.deepEqual((await a.marks(channel)).marks.gone, []);
    }
  });

  test('marks that Redis has lost changes of get another epoch: at once from whoever knows better', async () => {
    const redis = await started(startRedis(['--dbfilename', 'dump.rdb']));
    const [a, ra] = await open(redis.url);
    const [b, rb] = await open(redis.url);
    const channels = ['changed', 'same', 'goes on'];
    for (const channel of channels) {
      await Promise.all([a.subscribe(channel), b.subscribe(channel)]);
      await fill(a, channel, 6);
      await a.mark(channel, { as: 'seen' });
    }
    await until('all of it', () => ra.marks.length === 3 && rb.marks.length === 3);
    await ask(redis, 'SAVE');
    copyFileSync(join(redis.folder, 'dump.rdb'), join(redis.folder, 'old.rdb'));
    const before = new Map<string, Marked>();
    for (const channel of channels) {
      if (channel !== 'same') await a.mark(channel, { as: 'read' });
      before.set(channel, await a.marks(channel));
    }
    await until('all of it', () => ra.marks.length === 5 && rb.marks.length === 5);
    await redis.kill();
    copyFileSync(join(redis.folder, 'old.rdb'), join(redis.folder, 'dump.rdb'));
    await redis.start();
    const [stranger] = await open(redis.url);
    // It knows of nothing, and counts the lost change again.
    await stranger.mark('goes on', { as: 'archived' });
    await until('both to be back', () => ra.ups === 1 && rb.ups === 1);
    for (const channel of channels) {
      const { marks, top } = await stranger.marks(channel);
      const was = before.get(channel)!;
      assert.deepEqual(top, was.top, 'the log has lost nothing');
      assert.equal(marks.version.epoch === was.marks.version.epoch, channel === 'same', channel);
      assert.deepEqual(marks.read, []);
      assert.equal(marks.seen.length, 1);
    }
    assert.ok(
      ra.marks.some(([, { marks }]) => marks.version.epoch !== before.get('changed')!.marks.version.epoch),
    );
  });

  test('a log that has rewound keeps the marks of the same moment', async () => {
    const redis = await started(startRedis(['--dbfilename', 'dump.rdb']));
    const [a, ra] = await open(redis.url);
    await a.subscribe('c');
    const positions = await fill(a, 'c', 6);
    await a.mark('c', { as: 'read', upTo: positions[3]! });
    await a.remove('c', { position: positions[4]! });
    const [later] = await fill(a, 'c', 1);
    await ask(redis, 'SAVE');
    copyFileSync(join(redis.folder, 'dump.rdb'), join(redis.folder, 'old.rdb'));
    const [lost] = await fill(a, 'c', 1);
    await a.mark('c', { as: 'read', messages: [lost!] });
    await redis.kill();
    copyFileSync(join(redis.folder, 'old.rdb'), join(redis.folder, 'dump.rdb'));
    await redis.start();
    await until('it to be back', () => ra.ups === 1);
    const { marks, top } = await a.marks('c');
    assert.notEqual(top.epoch, later!.epoch);
    assert.equal(top.offset, 7);
    assert.deepEqual([marks.read, marks.gone], [[[1, 4]], [[5, 5]]]);
    assert.deepEqual((await a.opening('c')).marked, await a.marks('c'));
    await fill(a, 'c', 1);
    assert.deepEqual(counts(await a.marks('c')), { unseen: 3, unread: 3, all: 7 });
  });

  test('with an append-only file nothing of it is lost', async () => {
    const redis = await started(startRedis(['--appendonly', 'yes', '--appendfsync', 'always']));
    const [a, ra] = await open(redis.url);
    await a.subscribe('c');
    const positions = await fill(a, 'c', 6);
    await a.publish('c', 'text', text('k'), options({ replaces: 'k', ttl: 3_600_000 }));
    await a.mark('c', { as: 'read', upTo: positions[3]! });
    await a.mark('c', { as: 'deleted', messages: positions.slice(0, 1) });
    const before = await a.marks('c');
    await redis.kill();
    await redis.start();
    await until('it to be back', () => ra.ups === 1);
    assert.deepEqual(await a.marks('c'), before);
    assert.equal(await a.remove('c', { key: 'k' }), true);
    assert.equal((await a.marks('c')).marks.version.epoch, before.marks.version.epoch);
  });

  test('what was said to be marked, replaced or withdrawn is so after kill -9, again and again', async () => {
    const redis = await started(startRedis(['--appendonly', 'yes', '--appendfsync', 'always']));
    await keepThroughKills('c', await open(redis.url), await open(redis.url), redis);
  });

  test('marks keep the order of the calls while the scripts are flushed over and over', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const positions = await fill(a, 'c', 4);
    for (let round = 0; round < 30; round++) {
      const as: MarkAs[] = [
        'read',
        'unread',
        'read',
        'archived',
        'unarchived',
        round % 2 === 0 ? 'unread' : 'read',
      ];
      const marking = as.map((one) => a.mark('c', { as: one, messages: positions }));
      await ask(redis, 'SCRIPT', 'FLUSH');
      const done = await Promise.all(marking);
      assert.deepEqual(
        done.map(({ marks }) => marks.version.offset).sort((x, y) => x - y),
        done.map(({ marks }) => marks.version.offset),
      );
      const { marks } = await a.marks('c');
      assert.deepEqual([marks.read.length, marks.archived], [round % 2, []]);
    }
  });

  test('what Redis refuses for a while is marked when it does not any more, and once', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    await a.subscribe('c');
    const positions = await fill(a, 'c', 10);
    const client = new RespClient(redis.url);
    cleanups.push(() => client.close());
    const refusals: [[string, ...string[]], [string, ...string[]]][] = [
      [
        ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
        ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
      ],
      [
        ['CONFIG', 'SET', 'maxmemory', '1'],
        ['CONFIG', 'SET', 'maxmemory', '0'],
      ],
    ];
    for (const [i, [begin, end]] of refusals.entries()) {
      await client.command(...begin);
      let isDone = false;
      const marking = a.mark('c', { as: 'read', messages: positions.slice(5 * i, 5 * i + 5) });
      const removing = a.remove('c', { position: positions[i]! });
      void marking.then(() => {
        isDone = true;
      });
      await until('it to be refused', async () =>
        /errorstat_(?:OOM|NOREPLICAS)/.test(String(await client.command('INFO', 'errorstats'))),
      );
      assert.equal(isDone, false);
      await client.command(...end);
      assert.equal((await marking).changed, 5);
      assert.equal(await removing, true);
      await client.command('CONFIG', 'RESETSTAT');
    }
    await until('all of it', () => ra.marks.length === 4);
    const [b] = await open(redis.url, { publishMaxWait: 0 });
    await client.command('CONFIG', 'SET', 'maxmemory', '1');
    await assert.rejects(b.mark('c', { as: 'unread' }), { prefix: 'OOM' });
    assert.equal((await b.marks('c')).marks.read.length, 1);
    assert.ok((await b.opening('c')).marked !== undefined);
    await client.command('CONFIG', 'SET', 'maxmemory', '0');
  });

  test('while Redis is away marks wait side by side, however many there are of one channel', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url, { publishMaxWait: 500 });
    const [first] = await fill(a, 'c', 1);
    await redis.kill();
    await until('the loss to be told', () => ra.downs > 0);
    const start = performance.now();
    const marks = Array.from({ length: 30 }, () => a.mark('c', { as: 'read', messages: [first!] }));
    const removal = a.remove('c', { position: first! });
    for (const outcome of await Promise.allSettled([...marks, removal])) {
      assert.ok(outcome.status === 'rejected' && wasNotExecuted(outcome.reason), String(outcome));
    }
    // Half a second each would be fifteen.
    assert.ok(performance.now() - start < 7_500, `${performance.now() - start} ms`);
    await redis.start();
    await until('it to be back', () => ra.ups > 0);
    const [again] = await fill(a, 'c', 1);
    assert.equal((await a.mark('c', { as: 'read', messages: [again!] })).changed, 1);
  });

  test('a mark whose answer was lost is made once, and says what it has changed', async () => {
    const redis = await started(startRedis());
    let isLosing = false;
    const proxy = createServer((client) => {
      const server = connect(redis.port, '127.0.0.1');
      let isLost = false;
      client.on('data', (bytes) => {
        if (isLosing && bytes.includes('\0tidings:s ')) isLost = true;
        server.write(bytes);
      });
      server.on('data', (bytes) => {
        if (!isLost) return void client.write(bytes);
        isLosing = false;
        client.destroy();
      });
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        one.on('error', () => {});
        one.on('close', () => other.destroy());
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    cleanups.push(async () => proxy.close());
    const [a] = await open(`redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    const positions = await fill(a, 'c', 10);
    // The script is known from then on.
    await a.marks('c');
    isLosing = true;
    const { changed, marks } = await a.mark('c', { as: 'read', messages: positions.slice(0, 4) });
    assert.deepEqual([changed, marks.version.offset], [4, 1]);
    isLosing = true;
    assert.equal(await a.remove('c', { position: positions[6]! }), true);
    isLosing = true;
    await assert.rejects(a.mark('c', { as: 'read' }), { code: 'REDIS_OUTCOME_UNKNOWN' });
    assert.equal((await a.mark('c', { as: 'read' })).changed, 0);
  });

  test('what expires is gone for whoever reads, and is among the marks once somebody looks', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    const [b] = await open(redis.url);
    await a.subscribe('c');
    await a.publish('c', 'text', text('stays'), options());
    const short = await a.publish('c', 'text', text('short'), options({ ttl: 60 }));
    await a.publish('c', 'text', text('long'), options({ ttl: 3_600_000 }));
    await until('the messages', () => ra.messages.length === 3);
    const [, { expires, time }] = ra.messages as [unknown, { expires?: number; time: number }];
    assert.equal(expires, time + 60);
    const kinds = async (broker: Broker): Promise<string[]> =>
      (await broker.read('c', 0, 10)).messages.map(({ kind }) => kind);
    for (const broker of [a, b]) await until('it to expire', async () => (await kinds(broker))[1] === 'gone');
    assert.deepEqual(await kinds(a), ['text', 'gone', 'text']);
    assert.equal(ra.marks.length, 0, 'nobody has looked');
    assert.deepEqual(await ask(redis, 'ZCARD', '{tidings:c}:ttl'), 2);

    const { marked } = await b.opening('c');
    assert.deepEqual(marked!.marks.gone, [[2, 2]]);
    await until('it to be told', () => ra.marks.length === 1);
    assert.deepEqual(ra.marks[0]![1], marked);
    assert.deepEqual(await b.marks('c'), marked);
    assert.equal(ra.marks.length, 1);
    assert.deepEqual(await ask(redis, 'ZCARD', '{tidings:c}:ttl'), 1);
    assert.match(String(await ask(redis, 'LINDEX', '{tidings:c}:list', 1)), / g\n$/);
    assert.equal((await a.mark('c', { as: 'read', messages: [at(short)] })).changed, 0);
    assert.equal(await a.remove('c', { position: at(short) }), false);
    const next = (await a.marks('c')).marks.next!;
    assert.ok(next > time + 3_000_000 && next <= time + 3_700_000);
  });

  test('thousands that expire together are taken away in steps, and each is told to be gone', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    await fill(a, 'c', 2_500, { ttl: 200 });
    await fill(a, 'c', 1);
    const all = await until('all of them to be gone', async () => {
      const marked = await a.marks('c');
      return marked.marks.gone[0]?.[1] === 2_500 && marked;
    });
    assert.deepEqual(counts(all), { unseen: 1, unread: 1, all: 1 });
    assert.equal(await ask(redis, 'EXISTS', '{tidings:c}:ttl'), 0);
  });

  test('what is kept beside the log does not grow with messages that are not kept any more, and expires with it', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const retention = { maxMessages: 20, maxAge: 3_600_000 };
    for (let i = 0; i < 3_000; i += 100) {
      const some = Array.from({ length: 100 }, (_, k) =>
        a.publish('c', 'text', text('x'), options({ retention, replaces: `k${i + k}`, ttl: 3_600_000 })),
      );
      await Promise.all(some);
      if (i % 500 === 0) await a.mark('c', { as: 'read', upTo: at((await some[90])!) });
    }
    const [keys, ttl] = [
      Number(await ask(redis, 'HLEN', '{tidings:c}:keys')),
      Number(await ask(redis, 'ZCARD', '{tidings:c}:ttl')),
    ];
    assert.ok(keys >= 20 && keys < 100, `${keys} keys`);
    assert.ok(ttl >= 20 && ttl < 100, `${ttl} that expire`);
    for (const key of ['marks', 'keys', 'ttl']) {
      const lifetime = Number(await ask(redis, 'PTTL', `{tidings:c}:${key}`));
      assert.ok(lifetime > 30 * 24 * 3_600_000, `${key} lives for ${lifetime} ms`);
    }
    const { marks, first } = await a.mark('c', { as: 'seen' });
    assert.deepEqual([first, marks.read], [2_981, []]);
  });

  test('marks of an inbox that is only opened live on, and are gone with one that is left alone', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url, { idleChannelTtl: 2_000 });
    const retention = { maxMessages: 10, maxAge: 400 };
    for (const channel of ['opened', 'left']) {
      await a.publish(channel, 'text', text('x'), options({ retention, replaces: 'k', ttl: 300 }));
      await a.mark(channel, { as: 'read' });
    }
    const { version } = (await a.marks('opened')).marks;
    await until('one that is left alone to be forgotten', async () => {
      const { marked } = await a.opening('opened');
      assert.equal(marked!.marks.version.epoch, version.epoch);
      return ((await ask(redis, 'KEYS', '{tidings:left}*')) as string[]).length === 0;
    });
  });

  test('Cluster: marks are made while their slot moves, in order, and once', async () => {
    const cluster = await started(startCluster());
    const [a] = await open(cluster.target);
    const positions = await fill(a, 'm1', 40);
    await fill(a, 'm1', 2, { replaces: 'k', ttl: 3_600_000 });
    const slot = slotOf('tidings:m1');
    const from = await cluster.ownerOf(slot);
    const to = await cluster.ownerOf((slot + 8000) % 16_384);
    let isMoved = false;
    const moving = moveSlot(slot, from, to).finally(() => {
      isMoved = true;
    });
    let changed = 0;
    for (let i = 0; i < 40 || !isMoved; i++) {
      const as = i % 2 ? 'unread' : 'read';
      const done = await Promise.all([
        a.mark('m1', { as, messages: positions.slice(0, 20) }),
        a.mark('m1', { as: 'archived', messages: positions.slice(i % 40, (i % 40) + 1) }),
        a.marks('m1'),
        a.opening('m1'),
      ]);
      assert.equal(done[0].changed, 20);
      changed += done[1].changed;
    }
    await moving;
    assert.equal(changed, 40);
    assert.equal(await a.remove('m1', { key: 'k' }), true);
    const { marks } = await a.marks('m1');
    assert.deepEqual([marks.archived, marks.gone], [[[1, 40]], [[41, 42]]]);
    const [b] = await open(cluster.target);
    assert.deepEqual((await b.marks('m1')).marks, marks);
  });

  test('the store agrees with that in memory after whatever is sent, marked, replaced and withdrawn', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const [b] = await open(redis.url);
    await agreeWithMemory(a, b);
  });
});
