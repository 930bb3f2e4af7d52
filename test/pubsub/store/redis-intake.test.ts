/** What other programs XADD to the intake stream is stored exactly once, whichever instance takes it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect as connectTo, createServer } from 'node:net';
import { describe, test } from 'node:test';
import { Script } from '../../../src/pubsub/redis/script.ts';
import type { RedisTarget } from '../../../src/pubsub/redis/target.ts';
import type { Broker, IntakeMessage, Receipt } from '../../../src/pubsub/store/broker.ts';
import { lua } from '../../../src/pubsub/store/lua.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { cleanups, started } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { needs, typescript } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';
import { options, Recorder } from './broker-suite.ts';
import { make } from './redis-brokers.ts';

/** An instance: publishes what comes in, unless `fate` says otherwise. */
class Taker extends Recorder {
  broker!: Broker;
  readonly taken: IntakeMessage[] = [];
  fate: (message: IntakeMessage) => Promise<unknown> = async () => {};

  async intake(message: IntakeMessage): Promise<Receipt> {
    this.taken.push(message);
    await this.fate(message);
    const { channel, kind, payload, ...more } = message;
    return this.broker.publish(channel, kind, payload, options(more));
  }
}

describe('the intake stream', { ...needs('redis'), timeout: 600_000 }, () => {
  const open = async (target: RedisTarget, settings = {}): Promise<Taker> => {
    const taker = new Taker();
    taker.broker = make(target, { publishMaxWait: 60_000, ...settings });
    await taker.broker.open(taker);
    return taker;
  };

  test('entries of every kind are published once and removed, also those from before the first instance', async () => {
    const redis = await started(startRedis());
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

  test('an entry may replace an older one, and expire', async () => {
    const redis = await started(startRedis());
    const a = await open(redis.url);
    for (const data of ['one', 'two']) {
      await ask(
        redis,
        'XADD',
        'tidings:in',
        '*',
        'channel',
        'c',
        'data',
        data,
        'replaces',
        'k',
        'ttl',
        '3600000',
      );
    }
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
    const { messages } = await a.broker.read('c', 0, 10);
    assert.deepEqual(
      messages.map(({ kind, payload, expires, time }) => [kind, String(payload), expires && expires - time]),
      [
        ['gone', '', undefined],
        ['text', 'two', 3_600_000],
      ],
    );
  });

  test('what can never be stored is moved aside with the reason', async () => {
    const redis = await started(startRedis());
    const a = await open(redis.url, { prefix: 'p' });
    a.fate = async ({ channel }) => {
      if (channel === 'forbidden') throw new TypeError('no such channel here');
    };
    await ask(redis, 'XADD', 'p:in', '*', 'data', 'x');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', '{', 'kind', 'json');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', 'x', 'kind', 'odd');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'forbidden', 'data', 'x');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', 'x', 'ttl', '1.5');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', 'x', 'ttl', '0');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', 'x', 'replaces', '');
    await ask(redis, 'XADD', 'p:in', '*', 'channel', 'c', 'data', 'good');
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'p:in')) === 0);
    const rejected = (await ask(redis, 'XRANGE', 'p:in:rejected', '-', '+')) as [string, string[]][];
    assert.deepEqual(rejected.map(([, fields]) => fields[1]).sort(), [
      '"data" is not JSON',
      '"kind" must be one of text, json, binary, reference',
      '"ttl" is no whole number of milliseconds, from 1',
      '"ttl" is no whole number of milliseconds, from 1',
      'no such channel here',
      'the entry has no field "channel"',
      'what a message replaces is named by 1 to 256 characters',
    ]);
    assert.equal((await a.broker.read('c', 0, 10)).messages.length, 1);
  });

  test('what a dead instance has read and not finished is finished by another, once', async () => {
    const redis = await started(startRedis());
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

  test('what was acknowledged and not deleted, or lost its consumer, is cleared up: each entry is stored once', async () => {
    const redis = await started(startRedis());
    await ask(redis, 'XGROUP', 'CREATE', 'tidings:in', 'tidings', '0', 'MKSTREAM');
    const add = async (data: string): Promise<string> =>
      String(await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', data));
    const ids = [await add('acknowledged'), await add('forgotten')];
    for (const consumer of ['one', 'two']) {
      await ask(redis, 'XREADGROUP', 'GROUP', 'tidings', consumer, 'COUNT', 1, 'STREAMS', 'tidings:in', '>');
    }
    // One had stored its entry and died between the two commands; the other was removed with what it had.
    const publisher = redisBroker(redis.url);
    cleanups.push(() => publisher.close());
    await publisher.open(new Recorder());
    const known = options({ idempotencyKey: `in:${ids[0]}` });
    await publisher.publish('c', 'text', Buffer.from('acknowledged'), known);
    await ask(redis, 'XACK', 'tidings:in', 'tidings', ids[0]!);
    await ask(redis, 'XGROUP', 'DELCONSUMER', 'tidings:in', 'tidings', 'two');

    const takers = await Promise.all([open(redis.url), open(redis.url)]);
    await add('new');
    await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
    const { messages } = await takers[0]!.broker.read('c', 0, 10);
    assert.deepEqual(messages.map((m) => m.payload.toString()).sort(), ['acknowledged', 'forgotten', 'new']);
    const pending = (await ask(redis, 'XPENDING', 'tidings:in', 'tidings')) as unknown[];
    assert.equal(pending[0], 0);
  });

  for (const when of ['before', 'after'] as const) {
    test(`an instance that is killed just ${when} Redis has ended its entries leaves nothing, and nothing is stored twice`, async () => {
      const redis = await started(startRedis());
      const digest = new Script(lua.finish).digest;
      let dying: ChildProcess;
      // Redis knows the script, so that one command ends them.
      await ask(redis, 'SCRIPT', 'LOAD', lua.finish);
      let isReached = false;
      // Between the instance and Redis: what ends the entries comes through or doesn't, its answer never.
      const proxy = createServer((client) => {
        const upstream = connectTo(redis.port, '127.0.0.1');
        for (const socket of [client, upstream]) socket.on('error', () => {});
        client.on('data', (chunk) => {
          const isEnd = chunk.includes(digest) || chunk.includes('XDEL');
          if (!isEnd) return void upstream.write(chunk);
          upstream.off('data', pass);
          if (when === 'after') upstream.write(chunk);
          dying.kill('SIGKILL');
          isReached = true;
        });
        const pass = (chunk: Buffer): void => void client.write(chunk);
        upstream.on('data', pass);
        client.on('close', () => upstream.end());
      });
      proxy.listen(0, '127.0.0.1');
      cleanups.push(async () => proxy.close());
      await once(proxy, 'listening');
      for (let n = 0; n < 5; n++) await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', `${n}`);
      const { port } = proxy.address() as AddressInfo;
      const program = `
        import { PushServer, redisBroker } from ${JSON.stringify(new URL('../../../src/index.ts', import.meta.url))};
        new PushServer({ broker: redisBroker('redis://127.0.0.1:${port}') });
      `;
      const args = [...typescript, '--input-type=module', '-e', program];
      dying = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
      const ended = once(dying, 'exit');
      await until('the end of its entries', () => isReached);
      assert.deepEqual(await ended, [null, 'SIGKILL']);
      await until(
        'Redis to have done it',
        async () => (await ask(redis, 'XLEN', 'tidings:in')) === (when === 'after' ? 0 : 5),
      );
      // What it has left is another's after a while, which need not be waited for.
      const left = (await ask(redis, 'XPENDING', 'tidings:in', 'tidings', '-', '+', 10)) as string[][];
      for (const [id, consumer] of left) {
        const idle = ['IDLE', 3_600_000, 'JUSTID'] as const;
        await ask(redis, 'XCLAIM', 'tidings:in', 'tidings', consumer!, 0, id!, ...idle);
      }
      const a = await open(redis.url);
      await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', 'next');
      await until('the stream to be worked off', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
      const { messages } = await a.broker.read('c', 0, 20);
      assert.deepEqual(
        messages.map((m) => m.payload.toString()),
        ['0', '1', '2', '3', '4', 'next'],
      );
      assert.deepEqual(((await ask(redis, 'XPENDING', 'tidings:in', 'tidings')) as unknown[])[0], 0);
    });
  }

  test('where what can not be stored can not be moved aside, the entries beside it are finished all the same', async () => {
    const redis = await started(startRedis());
    await ask(redis, 'SET', 'tidings:in:rejected', 'x');
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'data', 'good');
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'c', 'kind', 'json', 'data', '{');
    const a = await open(redis.url);
    await until('it to be told', () => a.warnings.length === 1);
    await until('the good one to be finished', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 1);
    assert.match(a.warnings[0]!, /can't be moved to tidings:in:rejected: .*WRONGTYPE/);
    await ask(redis, 'DEL', 'tidings:in:rejected');
    await until('the bad one', async () => (await ask(redis, 'XLEN', 'tidings:in:rejected')) === 1);
    await until('the stream to be empty', async () => (await ask(redis, 'XLEN', 'tidings:in')) === 0);
    assert.equal(a.broker.faultCount, 0);
  });

  test('a FLUSHALL and a restart do not end it; closing removes the consumer', async () => {
    const redis = await started(startRedis());
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
    const redis = await started(startRedis());
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
    const redis = await started(startRedis());
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
    const redis = await started(startRedis());
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
    const redis = await started(startRedis());
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
    const redis = await started(startRedis());
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
