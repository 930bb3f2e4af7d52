/** What other programs XADD to the intake stream is stored exactly once, whichever instance takes it. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { RedisTarget } from '../../../src/pubsub/redis/target.ts';
import type { Broker, IntakeMessage, Receipt } from '../../../src/pubsub/store/broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';
import { options, Recorder } from './broker-suite.ts';

/** An instance: publishes what comes in, unless `fate` says otherwise. */
class Taker extends Recorder {
  broker!: Broker;
  readonly taken: IntakeMessage[] = [];
  fate: (message: IntakeMessage) => Promise<unknown> = async () => {};

  async intake(message: IntakeMessage): Promise<Receipt> {
    this.taken.push(message);
    await this.fate(message);
    const { channel, kind, payload, idempotencyKey } = message;
    return this.broker.publish(channel, kind, payload, options({ idempotencyKey }));
  }
}

describe('the intake stream', { ...needs('redis'), timeout: 600_000 }, () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const redisOf = async (): Promise<RedisServer> => {
    const redis = await startRedis();
    cleanups.push(() => redis.stop());
    return redis;
  };
  const open = async (target: RedisTarget, settings = {}): Promise<Taker> => {
    const taker = new Taker();
    taker.broker = redisBroker(target, {
      reconnectMinDelay: 10,
      reconnectMaxDelay: 100,
      publishMaxWait: 60_000,
      ...settings,
    });
    cleanups.push(() => taker.broker.close());
    await taker.broker.open(taker);
    return taker;
  };

  test('entries of every kind are published once and removed, also those from before the first instance', async () => {
    const redis = await redisOf();
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'user:alice', 'data', 'early');
    const a = await open(redis.url);
    const b = await open(redis.url);
    await b.broker.subscribe('user:alice');
    await ask(
      redis,
      'XADD',
      'tidings:in',
      '*',
      'channel',
      'user:alice',
      'data',
      '{"n":1}',
      'kind',
      'json',
      'key',
      'k1',
    );
    await ask(
      redis,
      'XADD',
      'tidings:in',
      '*',
      'kind',
      'json',
      'key',
      'k1',
      'channel',
      'user:alice',
      'data',
      '{"n":1}',
    );
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'user:alice', 'data', '', 'kind', 'binary');
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
    const { messages } = await a.broker.read('user:alice', 0, 100);
    assert.deepEqual(messages.map((m) => `${m.kind}:${m.payload}`).sort(), [
      'binary:',
      'json:{"n":1}',
      'text:early',
    ]);
    await until('the doorbells', () => b.messages.length >= 2);
  });

  test('what can never be stored is moved aside with the reason', async () => {
    const redis = await redisOf();
    const a = await open(redis.url, { prefix: 'p' });
    a.fate = async ({ channel }) => {
      if (channel === 'forbidden') throw new TypeError('no such channel here');
    };
    await ask(redis, 'XADD', 'p:in', '*', 'data', 'x');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', '{', 'kind', 'json');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', 'x', 'kind', 'odd');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'forbidden', 'data', 'x');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', 'good');
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'p:in')) === 0);
    const rejected = (await ask(redis, 'XRANGE', 'p:in:rejected', '-', '+')) as [string, string[]][];
    assert.deepEqual(rejected.map(([, fields]) => fields[1]).sort(), [
      '"data" is not JSON',
      '"kind" must be one of text, json, binary, reference',
      'no such channel here',
      'the entry has no field "channel"',
    ]);
    assert.equal((await a.broker.read('c', 0, 10)).messages.length, 1);
  });

  test('what a dead instance has read and not finished is finished by another, once', async () => {
    const redis = await redisOf();
    // A consumer that read two entries long ago, stored one of them, and died before it could say so.
    await ask(redis, 'XGROUP', 'CREATE', 'tidings:in', 'tidings', '0', 'MKSTREAM');
    const ids = [];
    for (const data of ['stored', 'lost']) {
      ids.push(String(await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', data)));
    }
    await ask(redis, 'XREADGROUP', 'GROUP', 'tidings', 'dead', 'COUNT', 10, 'STREAMS', 'tidings:in', '>');
    await ask(redis, 'XCLAIM', 'tidings:in', 'tidings', 'dead', 0, ...ids, 'IDLE', 3_600_000, 'JUSTID');
    const publisher = redisBroker(redis.url);
    cleanups.push(() => publisher.close());
    await publisher.open(new Recorder());
    await publisher.publish('c', 'text', Buffer.from('stored'), options({ idempotencyKey: `in:${ids[0]}` }));

    const a = await open(redis.url);
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
    const { messages } = await a.broker.read('c', 0, 10);
    assert.deepEqual(
      messages.map((m) => m.payload.toString()),
      ['stored', 'lost'],
    );
  });

  test('a FLUSHALL and a restart do not end it; closing removes the consumer', async () => {
    const redis = await redisOf();
    const a = await open(redis.url);
    await ask(redis, 'FLUSHALL');
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', '1');
    await until('the first entry', () => a.taken.length === 1);
    await redis.kill();
    await redis.start();
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', '2');
    await until('the second entry', () => a.taken.length === 2);
    await until('it to be finished with', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
    await a.broker.close();
    assert.deepEqual(await ask(redis, 'XINFO', 'CONSUMERS', 'tidings:in', 'tidings'), []);
  });

  test('a user who may use neither CLIENT, XINFO nor XAUTOCLAIM takes what comes, at once, and is told once', async () => {
    const redis = await redisOf();
    const forbidden = ['-client', '-xinfo', '-xautoclaim'];
    await ask(redis, 'ACL', 'SETUSER', 'u', 'on', '>pw', 'allkeys', 'allchannels', '+@all', ...forbidden);
    const a = await open(`redis://u:pw@127.0.0.1:${redis.port}`);
    for (let i = 0; i < 30; i++) {
      await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', String(i));
      if (i % 10 === 0) await until('it to be taken', () => a.taken.length === i + 1);
    }
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
    const { messages } = await a.broker.read('c', 0, 100);
    assert.deepEqual(
      messages.map(({ payload }) => Number(payload)),
      Array.from({ length: 30 }, (_, i) => i),
    );
    assert.deepEqual(a.warnings.map((warning) => /NOPERM .*?'([a-z|]+)'/.exec(warning)?.[1]).sort(), [
      'client|id',
      'xautoclaim',
      'xinfo|consumers',
    ]);
    assert.equal(a.broker.faultCount, 0);
  });

  test('an entry that can not be stored for the moment is tried again soon, and told', async () => {
    const redis = await redisOf();
    const a = await open(redis.url);
    let failures = 0;
    a.fate = async () => {
      if (failures++ < 2) throw new Error('not just now');
    };
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', 'x');
    await until('it to be stored', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0, 10_000);
    assert.equal(a.warnings.length, 1);
    assert.match(a.warnings[0]!, /can't be stored yet: Error: not just now/);
  });

  test('an entry for a damaged channel is moved aside with the reason', async () => {
    const redis = await redisOf();
    await ask(redis, 'SET', '{tidings:c}:list', 'x');
    await open(redis.url);
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', 'x');
    await until('it to be moved', async () => (await ask(redis, 'XLEN', 'tidings:in:rejected')) === 1);
    const [[, fields]] = (await ask(redis, 'XRANGE', 'tidings:in:rejected', '-', '+')) as [
      [string, string[]],
    ];
    assert.match(fields[1]!, /^what the store keeps of "c" is damaged: WRONGTYPE/);
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
  });

  test('a stream that can not be read is told once and counts as a fault, until it can', async () => {
    const redis = await redisOf();
    await ask(redis, 'SET', 'tidings:in', 'x');
    const a = await open(redis.url);
    await until('it to be told', () => a.warnings.length === 1);
    assert.match(a.warnings[0]!, /nothing is taken from the stream tidings:in: WRONGTYPE/);
    assert.equal(a.broker.faultCount, 1);
    await ask(redis, 'DEL', 'tidings:in');
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', 'x');
    await until('it to be taken', () => a.taken.length === 1);
    await until('the fault to be over', () => a.broker.faultCount === 0);
    assert.equal(a.warnings.length, 1);
  });

  test('a listener without intake, or intake: false, takes nothing', async () => {
    const redis = await redisOf();
    await open(redis.url, { intake: false });
    const plain = redisBroker(redis.url);
    cleanups.push(() => plain.close());
    await plain.open(new Recorder());
    assert.equal(await ask(redis, 'EXISTS', 'tidings:in'), 0);
    const connections = async (): Promise<number> =>
      String(await ask(redis, 'CLIENT', 'LIST')).match(/name=tidings/g)!.length;
    // Two of each broker, and the one that asks; those of earlier questions may still be closing.
    await until('the connections that there must be, and no more', async () => (await connections()) === 5);
  });
});
