/** The Redis broker with Redis as it is in the field: refusing, damaged, restricted, too large, on the move. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SentinelWatch } from '../../../src/pubsub/redis/sentinel.ts';
import { slotOf } from '../../../src/pubsub/redis/slots.ts';
import {
  type Broker,
  DamagedChannelError,
  type Opening,
  ReplicationError,
} from '../../../src/pubsub/store/broker.ts';
import { RedisReplyError, RespClient, wasNotExecuted } from '../../../src/redis.ts';
import { cleanups, started } from '../../support/cleanups.ts';
import { freePort, until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { ask, moveSlot, startCluster } from '../../support/redis-groups.ts';
import { options, positions, Recorder, text } from './broker-suite.ts';
import { make, open, soon } from './redis-brokers.ts';

/** Sends without waiting, a few in each turn of the event loop, while `disturb` does its worst. */
async function sendInOrder(
  broker: Broker,
  channels: string[],
  count: number,
  disturb: () => Promise<unknown>,
) {
  const sends: Promise<unknown>[] = [];
  let isDisturbed = false;
  const disturbing = disturb().finally(() => {
    isDisturbed = true;
  });
  let i = 0;
  for (; i < count || !isDisturbed; i++) {
    sends.push(broker.publish(channels[i % channels.length]!, 'text', text(String(i)), options()));
    if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (i >= count) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await disturbing;
  await Promise.all(sends);
  for (const [k, channel] of channels.entries()) {
    const { messages } = await broker.read(channel, 0, 1_000_000);
    const expected = Array.from({ length: i }, (_, n) => n).filter((n) => n % channels.length === k);
    const kept = messages.map((message) => Number(message.payload));
    assert.deepEqual(kept, expected.slice(-kept.length), channel);
  }
}

describe('the Redis broker in the field', { ...needs('redis'), timeout: 300_000 }, () => {
  test('sends that are not awaited keep their order while the scripts are flushed over and over', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    await sendInOrder(a, ['c', 'd'], 900, async () => {
      for (let i = 0; i < 40; i++) await ask(redis, 'SCRIPT', 'FLUSH');
    });
  });

  test('sends that are not awaited keep their order while the server refuses for a while', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
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
      [
        // As a replica of a server that is not there, it keeps what it has.
        ['REPLICAOF', '127.0.0.1', String(await freePort())],
        ['REPLICAOF', 'NO', 'ONE'],
      ],
    ];
    for (const [i, [begin, end]] of refusals.entries()) {
      await sendInOrder(a, [`c${i}`], 300, async () => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        await client.command(...begin);
        await new Promise((resolve) => setTimeout(resolve, 100));
        await client.command(...end);
      });
    }
  });

  test('Cluster: sends that are not awaited keep their order while their slot moves, and only its channels are told', async () => {
    const cluster = await started(startCluster());
    const [a] = await open(cluster.target);
    const [, rb] = await open(cluster.target);
    const [b, r] = await open(cluster.target);
    await Promise.all(['m1', 'm2', 'm3', 'm4'].map((channel) => b.subscribe(channel)));
    const slot = slotOf('tidings:m1');
    const from = await cluster.ownerOf(slot);
    const to = await cluster.ownerOf((slot + 8000) % 16_384);
    await sendInOrder(a, ['m1'], 400, () => moveSlot(slot, from, to));
    await until('the move to be told', () => r.missing.includes('m1'));
    assert.deepEqual([r.told, rb.told, [...new Set(r.missing)]], [[], [], ['m1']]);
    const live = await a.publish('m1', 'text', text('live'), options());
    await until('the live message', () => r.messages.some(({ id }) => id === live.id));
  });

  test('many who wait for a replica that does not come wait at the same time', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    await a.publish('c', 'text', text('0'), options());
    const began = performance.now();
    const errors = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        await new Promise((resolve) => setTimeout(resolve, i));
        return a
          .publish('c', 'text', text('x'), options({ replicas: 1, replicaTimeout: 1000 }))
          .catch((error) => error);
      }),
    );
    assert.ok(errors.every((error) => error instanceof ReplicationError && error.confirmed === 0));
    // One after the other, that would be half a minute.
    assert.ok(performance.now() - began < 15_000);
    assert.equal((await a.read('c', 0, 100)).messages.length, 31);
  });

  test('a replica that is slow confirms all that waits, of several channels, without one after the other', async () => {
    const [redis, replica] = [await started(startRedis()), await started(startRedis())];
    await ask(replica, 'REPLICAOF', '127.0.0.1', redis.port);
    await until('the replica to be in sync', async () =>
      String(await ask(replica, 'INFO', 'replication')).includes('master_link_status:up'),
    );
    const [a] = await open(redis.url);
    replica.process.kill('SIGSTOP');
    const waiting = Array.from({ length: 50 }, (_, i) =>
      a.publish(`c${i % 7}`, 'text', text(`${i}`), options({ replicas: 1, replicaTimeout: 60_000 })),
    );
    await until('all to be stored', async () => {
      const tops = await positions(a, ['c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6']);
      return tops.reduce((sum, { offset }) => sum + offset, 0) === 50;
    });
    replica.process.kill('SIGCONT');
    assert.equal((await Promise.all(waiting)).length, 50);
  });

  test('a damaged channel is told at once, once, and by name; the others are not touched; repaired, it is used', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    const use: Record<string, (channel: string) => Promise<unknown>> = {
      publish: (channel) => a.publish(channel, 'text', text('x'), options()),
      read: (channel) => a.read(channel, 0, 10),
      top: (channel) => positions(a, [channel]),
      acknowledge: (channel) =>
        a.acknowledge({ channel, device: 'd', position: { epoch: 'e', offset: 1, id: 'i' } }, 1000),
      cursors: (channel) => a.cursors(channel),
      presence: (channel) => a.presence(channel.slice(5)),
      announce: (channel) =>
        a.announce([{ session: 's', instance: 'i', user: channel.slice(5), since: 1 }], 1000),
    };
    const damages: [key: string, command: [string, ...string[]], broken: string[]][] = [
      ['top', ['SET', 'KEY', 'x'], ['publish', 'read', 'top', 'acknowledge']],
      ['top', ['SET', 'KEY', ''], ['publish', 'read', 'top', 'acknowledge']],
      ['top', ['HSET', 'KEY', 'epoch', 'e'], ['publish', 'read', 'top', 'acknowledge']],
      ['list', ['SET', 'KEY', 'x'], ['publish', 'read', 'top']],
      ['list', ['RPUSH', 'KEY', 'x'], ['read']],
      ['list', ['RPUSH', 'KEY', '1 2 3'], ['read']],
      ['devices', ['SET', 'KEY', 'x'], ['cursors']],
      ['sessions', ['SET', 'KEY', 'x'], ['presence', 'announce']],
    ];
    for (const [i, [key, [name, ...args], broken]] of damages.entries()) {
      const channel = `user:u${i}`;
      await a.publish(channel, 'text', text('before'), options());
      const full = `{tidings:${channel}}:${key}`;
      await ask(redis, 'DEL', full);
      await ask(redis, name, ...args.map((arg) => (arg === 'KEY' ? full : arg)));
      ra.warnings.length = 0;
      for (const what of broken) {
        for (let time = 0; time < 3; time++) {
          await assert.rejects(
            use[what]!(channel),
            (error: Error) =>
              error instanceof DamagedChannelError &&
              error.channel === channel &&
              error.message.includes(`{tidings:${channel}}`),
            `${what} with ${name} on ${key}`,
          );
        }
      }
      assert.ok(ra.warnings.length >= 1 && ra.warnings.length <= broken.length, ra.warnings.join('\n'));
      assert.equal(a.faultCount, ra.warnings.length);
      const [top, other] = await a.tops([channel, 'fine']);
      assert.equal(top instanceof Error, broken.includes('top'));
      assert.deepEqual(other, { epoch: '', offset: 0, id: '' });
      const [opening, another] = await Promise.allSettled([a.opening(channel), a.opening('fine')]);
      if (broken.includes('top')) {
        assert.ok((opening as PromiseRejectedResult).reason instanceof DamagedChannelError);
      } else {
        const { value } = opening as PromiseFulfilledResult<Opening>;
        assert.equal(value.cursors === undefined, broken.includes('cursors'));
      }
      assert.deepEqual((another as PromiseFulfilledResult<Opening>).value.cursors, []);
      await ask(redis, 'DEL', full, `{tidings:${channel}}:top`, `{tidings:${channel}}:list`);
      for (const call of Object.values(use)) await call(channel);
      await a.opening(channel);
      assert.equal(a.faultCount, 0);
    }
    assert.deepEqual(ra.told, []);
  });

  test('a damaged receipt fails the message that has its key, and no other of the burst', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    await ask(redis, 'RPUSH', '{tidings:c}:once:k:k2', 'x');
    const all = await Promise.allSettled(
      [1, 2, 3].map((n) => a.publish('c', 'text', text(`${n}`), options({ idempotencyKey: `k${n}` }))),
    );
    assert.deepEqual(
      all.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.ok((all[1] as PromiseRejectedResult).reason instanceof DamagedChannelError);
    assert.deepEqual(
      (await a.read('c', 0, 9)).messages.map(({ payload }) => String(payload)),
      ['1', '3'],
    );
  });

  test('messages and what is only handed on arrive in the order of the calls', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    await a.subscribe('c');
    const order: string[] = [];
    ra.message = ({ payload }) => order.push(String(payload));
    ra.transient = (_channel, payload) => order.push(String(payload));
    const calls = Array.from({ length: 300 }, (_, i) =>
      i % 3 === 1 ? a.notify('c', text(`${i}`)) : a.publish('c', 'text', text(`${i}`), options()),
    );
    await Promise.all(calls);
    await until('all', () => order.length === 300);
    assert.deepEqual(
      order,
      Array.from({ length: 300 }, (_, i) => `${i}`),
    );
  });

  test('a message that is too long for one instance fails its reads there, and nothing else', async () => {
    const redis = await started(startRedis());
    const [large] = await open(redis.url);
    const [small, rs] = await open(redis.url, { maxReplySize: 3_000_000 });
    await small.subscribe('c');
    await small.subscribe('d');
    await large.publish('c', 'text', Buffer.alloc(4_000_000, 'x'), options());
    await until('it to be told as missed', () => rs.missing.includes('c'));
    for (let time = 0; time < 3; time++) {
      const results = await Promise.allSettled([small.read('c', 0, 10), small.read('d', 0, 10)]);
      assert.deepEqual(
        results.map((one) => (one.status === 'fulfilled' ? 'read' : one.reason.code)),
        ['REDIS_REPLY_TOO_LONG', 'read'],
      );
    }
    assert.equal(small.faultCount, 1);
    assert.equal(rs.warnings.length, 1);
    await large.publish('d', 'text', text('x'), options());
    await until('the message of the other channel', () => rs.messages.length === 1);
    assert.deepEqual(rs.told, []);
    await assert.rejects(small.publish('e', 'text', Buffer.alloc(2_000_000), options()), RangeError);
    await assert.rejects(small.notify('e', Buffer.alloc(2_000_000)), RangeError);
  });

  test('replies may be as long as the largest message asks for, unless that was ruled out', async () => {
    const redis = await started(startRedis(['--client-output-buffer-limit', 'pubsub', '0', '0', '0']));
    const maxMessage = 80 * 1024 * 1024;
    const [a, ra] = await open(redis.url, {}, { maxMessage });
    await a.subscribe('c');
    const sent = await a.publish('c', 'binary', Buffer.alloc(70_000_000, 'x'), options());
    await until('the message', () => ra.messages.length === 1);
    const { messages } = await a.read('c', 0, 10);
    assert.deepEqual([messages[0]!.id, messages[0]!.payload.length], [sent.id, 70_000_000]);
    assert.deepEqual(ra.told, []);
    const impossible = make(redis.url, { maxReplySize: maxMessage });
    const listener = Object.assign(new Recorder(), { maxMessage });
    await assert.rejects(impossible.open(listener), {
      name: 'RangeError',
      message: /replies of 83886080 bytes \(maxReplySize\): give at least 85983232/,
    });
  });

  test('a first connection that fails is told, and so is every loss after it', async () => {
    const port = await freePort();
    const recorder = new Recorder();
    const broker = make(`redis://127.0.0.1:${port}`);
    const opened = broker.open(recorder);
    await until('the failure to be told', () => recorder.downs === 1);
    const redis = await started(startRedis([], port));
    await opened;
    assert.deepEqual(recorder.told, ['down', 'up']);
    for (let round = 2; round <= 4; round++) {
      await redis.kill();
      await until('the loss to be told', () => recorder.downs === round);
      await redis.start();
      await until('the return to be told', () => recorder.ups === round);
    }
  });

  test('what a server refused to do was not executed, before Redis 7 as well', () => {
    const refused = [
      'READONLY You can not write against a read only replica.',
      'NOREPLICAS Not enough good replicas to write.',
      'MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.',
      'OOM command not allowed when used memory > maxmemory.',
      'TRYAGAIN Multiple keys request during rehashing of slot',
      'ERR Error running script (call to f_0): @user_script:12: @user_script: 12: -READONLY You can not write',
      'ERR Error running script (call to f_0): @user_script: 3: -NOREPLICAS Not enough good replicas to write.',
    ];
    for (const reply of refused) assert.ok(wasNotExecuted(new RedisReplyError(reply)), reply);
    for (const reply of ['WRONGTYPE x', 'ERR x', 'NOPERM x', 'ERR @user_script:1: -WRONGTYPE x']) {
      assert.ok(!wasNotExecuted(new RedisReplyError(reply)), reply);
    }
  });

  test('a server without ROLE, or with a user that may not use it, is taken for what Sentinel says', async () => {
    const redis = await started(startRedis(['--rename-command', 'ROLE', '']));
    await ask(
      redis,
      'ACL',
      'SETUSER',
      'u',
      'on',
      '>pw',
      'allkeys',
      'allchannels',
      '+@all',
      '-role',
      '-client',
    );
    for (const url of [redis.url, `redis://u:pw@127.0.0.1:${redis.port}`]) {
      const client = new RespClient(url, soon, { role: 'master' });
      assert.equal(await client.command('PING'), 'PONG');
      await client.close();
    }
  });

  test('Sentinels with a password of their own, a master with another, and a database', async () => {
    const redis = await started(startRedis(['--requirepass', 'master/pw']));
    const port = await freePort();
    await started(
      startRedis((folder) => {
        const file = join(folder, 'sentinel.conf');
        writeFileSync(
          file,
          `port ${port}\nbind 127.0.0.1\nrequirepass s?w\nsentinel monitor mymaster 127.0.0.1 ${redis.port} 1\n` +
            'sentinel auth-pass mymaster master/pw\n',
        );
        return [file, '--sentinel'];
      }, port),
    );
    const own = `sentinelPassword=${encodeURIComponent('s?w')}`;
    const [a] = await open(`redis+sentinel://:master%2Fpw@127.0.0.1:${port}/mymaster/3?${own}`);
    await a.publish('c', 'text', text('x'), options());
    const sentinel = `redis://:${encodeURIComponent('s?w')}@127.0.0.1:${port}/7`;
    const [b] = await open(
      { sentinels: [sentinel], name: 'mymaster' },
      { password: 'master/pw', database: 3 },
    );
    assert.equal((await b.read('c', 0, 10)).messages.length, 1);
    const client = new RespClient(redis.url, { password: 'master/pw', database: 3 });
    assert.equal(await client.command('EXISTS', '{tidings:c}:list'), 1);
    await client.close();
    const wrong = make(`redis+sentinel://127.0.0.1:${port}/mymaster?sentinelPassword=nope`);
    const errors: Error[] = [];
    const opening = wrong.open(Object.assign(new Recorder(), { down: (error: Error) => errors.push(error) }));
    opening.catch(() => {});
    await until('the refusal to be told', () => errors.length > 0);
    assert.match(errors[0]!.message, /no Sentinel told .*refused the user or password \(WRONGPASS/);
    assert.doesNotMatch(errors[0]!.message, /nope/);
  });

  test('of two Sentinels one may be dead: whoever asks at the same time as others asks the other one, too', async () => {
    const redis = await started(startRedis());
    const [dead, port] = [await freePort(), await freePort()];
    await started(
      startRedis((folder) => {
        const file = join(folder, 'sentinel.conf');
        writeFileSync(
          file,
          `port ${port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 ${redis.port} 1\n`,
        );
        return [file, '--sentinel'];
      }, port),
    );
    const sentinels = [`redis://127.0.0.1:${dead}`, `redis://127.0.0.1:${port}`];
    const watch = new SentinelWatch({ sentinels, name: 'mymaster' });
    const found = await Promise.all([1, 2, 3, 4, 5].map(() => watch.locate()));
    assert.deepEqual(new Set(found.map((master) => master.port)), new Set([redis.port]));
  });

  test('Cluster: nodes that are named "?" are found by their addresses', async () => {
    const cluster = await started(startCluster());
    for (const server of cluster.servers) {
      await ask(server, 'CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'hostname');
    }
    const slots = (await ask(cluster.servers[0]!, 'CLUSTER', 'SLOTS')) as [number, number, [string]][];
    assert.equal(slots[0]![2][0], '?');
    const [a, ra] = await open(cluster.target);
    const channels = Array.from({ length: 30 }, (_, i) => `c${i}`);
    for (const channel of channels) await a.subscribe(channel);
    await Promise.all(channels.map((channel) => a.publish(channel, 'text', text('x'), options())));
    await until('all messages', () => ra.messages.length === 30);
    const slot = slotOf('tidings:c0');
    await moveSlot(slot, await cluster.ownerOf(slot), await cluster.ownerOf((slot + 8000) % 16_384));
    assert.equal((await a.publish('c0', 'text', text('y'), options())).offset, 2);
  });

  test('databases of one server are apart: keys, live messages and what is only handed on', async () => {
    const redis = await started(startRedis());
    const brokers = await Promise.all([0, 1, 12].map((database) => open(redis.url, { database })));
    for (const [broker] of brokers) await broker.subscribe('c');
    for (const [i, [broker]] of brokers.entries()) {
      await broker.publish('c', 'text', text(`m${i}`), options());
      await broker.notify('c', text(`t${i}`));
    }
    await until('all messages', () =>
      brokers.every(([, { messages, transients }]) => messages.length === 1 && transients.length === 1),
    );
    await ask(redis, 'PUBLISH', 'tidings/1:c', 'outside');
    await until('it', () => brokers[1]![1].transients.length === 2);
    assert.deepEqual(
      brokers.map(([, { messages, transients }]) => [
        ...messages.map(({ payload }) => String(payload)),
        ...transients.map(([, payload]) => payload),
      ]),
      [
        ['m0', 't0'],
        ['m1', 't1', 'outside'],
        ['m2', 't2'],
      ],
    );
  });

  test('a listener that throws at what anybody can publish ends nothing and is told', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(
      redis.url,
      {},
      { transient: (_c, payload) => void JSON.parse(String(payload)).x.y },
    );
    await a.subscribe('c');
    for (const payload of ['null', '{', '{"x":1}', '{"x":{}}'])
      await ask(redis, 'PUBLISH', 'tidings:c', payload);
    const live = await a.publish('c', 'text', text('live'), options());
    await until('the live message', () => ra.messages.at(-1)?.id === live.id);
    assert.equal(ra.warnings.length, 1);
    const bad = [
      'e x i 1 t\n',
      'e 0 i 1 t\n',
      'e -1 i 1 t\n',
      'e 1.5 i 1 t\n',
      ' 1 i 1 t\n',
      'e 1  1 t\n',
      'e 1 i x t\n',
    ];
    for (const head of bad) await ask(redis, 'PUBLISH', 'tidings:c', `\0tidings:m ${head}x`);
    const next = await a.publish('c', 'text', text('next'), options());
    await until('the next message', () => ra.messages.at(-1)?.id === next.id);
    assert.equal(ra.messages.length, 2);
  });
});
