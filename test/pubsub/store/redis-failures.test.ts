/** The Redis broker when Redis fails: restarts, rewinds, failovers, slots on the move. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { slotOf } from '../../../src/pubsub/redis/slots.ts';
import { type Broker, type Receipt, ReplicationError } from '../../../src/pubsub/store/broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { cleanups, started } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { ask, moveSlot, startCluster, startSentinels } from '../../support/redis-groups.ts';
import { entryOf, options, positions, Recorder, text } from './broker-suite.ts';
import { fast, open } from './redis-brokers.ts';

const run = promisify(execFile);
/** Publishes with an idempotency key for each message until told to stop; every receipt is a promise to keep. */
function publisher(broker: Broker, channels: string[]) {
  const receipts: Receipt[] = [];
  const failures: Error[] = [];
  let isStopped = false;
  cleanups.push(async () => {
    isStopped = true;
  });
  const work = (async () => {
    for (let i = 0; !isStopped; i++) {
      const channel = channels[i % channels.length]!;
      try {
        receipts.push(
          await broker.publish(channel, 'text', text(`m${i}`), options({ idempotencyKey: `k${i}` })),
        );
      } catch (error) {
        failures.push(error as Error);
      }
    }
  })();
  return {
    receipts,
    failures,
    async stop() {
      isStopped = true;
      await work;
    },
  };
}

/** Every receipt must be in the log at its offset, and offsets must be without a hole. */
async function assertKept(broker: Broker, channels: string[], receipts: Receipt[]): Promise<void> {
  for (const channel of channels) {
    const { messages, top } = await broker.read(channel, 0, 100_000);
    assert.deepEqual(
      messages.map((m) => m.offset),
      Array.from({ length: top.offset }, (_, i) => i + 1),
      `${channel} has a hole`,
    );
    const bodies = messages.map((m) => m.payload.toString());
    assert.equal(new Set(bodies).size, bodies.length, `${channel} has something twice`);
    for (const receipt of receipts) {
      if (receipt.channel === channel) assert.equal(messages[receipt.offset - 1]?.id, receipt.id);
    }
  }
}

describe('the Redis broker', { ...needs('redis'), timeout: 600_000 }, () => {
  test('restart with an append-only file: nothing acknowledged is lost, down and up are told once each', async () => {
    const redis = await started(startRedis(['--appendonly', 'yes', '--appendfsync', 'always']));
    const [a, ra] = await open(redis.url);
    await a.subscribe('c');
    const work = publisher(a, ['c', 'd']);
    await until('some messages', () => work.receipts.length > 50);
    await redis.kill();
    await until('the loss to be told', () => ra.downs === 1);
    await redis.start();
    await until('the return to be told', () => ra.ups === 1);
    const count = work.receipts.length;
    await until('more messages', () => work.receipts.length > count + 50);
    await work.stop();
    assert.deepEqual(work.failures, []);
    await assertKept(a, ['c', 'd'], work.receipts);
    assert.deepEqual([ra.downs, ra.ups], [1, 1]);
    const live = await a.publish('c', 'text', text('live'), options());
    await until('the live message', () => ra.messages.at(-1)?.id === live.id);
  });

  test('connections that Redis kills over and over cost nothing: each message once, each loss and return told', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const [b, rb] = await open(redis.url);
    await b.subscribe('c');
    const work = [publisher(a, ['c']), publisher(b, ['d'])];
    for (let round = 1; round <= 10; round++) {
      const stored = work[0]!.receipts.length;
      for (const type of ['normal', 'pubsub']) await ask(redis, 'CLIENT', 'KILL', 'TYPE', type);
      await until('the loss to be told', () => rb.downs >= round);
      await until('both to work again', () => rb.ups === rb.downs && work[0]!.receipts.length > stored + 5);
    }
    for (const { stop } of work) await stop();
    assert.deepEqual(
      work.flatMap(({ failures }) => failures),
      [],
    );
    for (const [i, channel] of ['c', 'd'].entries()) {
      const { receipts } = work[i]!;
      await assertKept(a, [channel], receipts);
      assert.ok(receipts.every(({ duplicate }) => !duplicate));
      assert.equal((await positions(a, [channel]))[0]!.offset, receipts.length);
    }
    const offsets = rb.messages.map(({ offset }) => offset);
    assert.deepEqual(
      offsets,
      [...new Set(offsets)].sort((x, y) => x - y),
    );
  });

  test('an ACL user with the documented rules can do all of it', async () => {
    const redis = await started(startRedis());
    const rules = /ACL SETUSER (.*)/.exec(readFileSync('docs/redis.md', 'utf8'))![1]!.split(' ');
    await ask(redis, 'ACL', 'SETUSER', ...(rules as [string]));
    const password = rules.find((rule) => rule.startsWith('>'))!.slice(1);
    const [b, rb] = await open(
      `redis://${rules[0]}:${password}@127.0.0.1:${redis.port}`,
      {},
      {
        intake: ({ channel, kind, payload, idempotencyKey }) =>
          b.publish(channel, kind, payload, options({ idempotencyKey })),
      },
    );
    await b.subscribe('user:alice');
    const { epoch, offset, id } = await b.publish(
      'user:alice',
      'text',
      text('x'),
      options({ replicas: 0, idempotencyKey: 'k' }),
    );
    await b.acknowledge({ channel: 'user:alice', device: 'd', position: { epoch, offset, id } }, 60_000);
    assert.equal((await b.cursors('user:alice')).length, 1);
    const entry = { session: 's', instance: 'i', user: 'alice', since: 1 };
    await b.announce([entry], 60_000);
    assert.deepEqual(await b.presence('alice'), [entry]);
    await b.withdraw([entry]);
    await b.notify('user:alice', text('note'));
    assert.equal((await b.read('user:alice', 0, 10)).messages.length, 1);
    assert.equal((await positions(b, ['user:alice']))[0]!.offset, 1);
    for (const broker of [b, (await open(redis.url))[0]]) {
      for (let i = 0; i < 5; i++) {
        await broker.publish(
          'lives',
          'text',
          text('x'),
          options({ replaces: 'k', ttl: i === 3 ? 60 : 60_000 }),
        );
      }
      await until('one to expire', async () => (await b.marks('lives')).marks.gone[0]?.[1] === 4);
      assert.equal((await b.mark('lives', { as: 'deleted' })).changed, 1);
      assert.equal(await b.remove('lives', { key: 'k' }), false);
      assert.equal((await b.opening('lives')).marked?.marks.gone.length, 1);
      await ask(redis, 'DEL', '{tidings:lives}:top', '{tidings:lives}:list');
    }
    await assert.rejects(b.publish('c', 'text', text('x'), options({ replicas: 1, replicaTimeout: 20 })), {
      code: 'REDIS_NOT_REPLICATED',
    });
    await ask(redis, 'XADD', 'tidings:in', '*', 'channel', 'user:alice', 'data', 'from outside');
    await until(
      'all to be told',
      () => rb.messages.length === 2 && rb.transients.length === 1 && rb.cursors.length === 1,
    );
  });

  test('a connection lost again while the channels are still compared is one loss, told once and ended once', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    await Promise.all(
      Array.from({ length: 3000 }, (_, i) => a.publish(`topic:${i}`, 'text', text('x'), options())),
    );
    await a.subscribe('c');
    for (let round = 1; round <= 20; round++) {
      await ask(redis, 'CLIENT', 'KILL', 'TYPE', 'pubsub');
      const isBack = async () => String(await ask(redis, 'PUBSUB', 'NUMSUB', 'tidings:c')).endsWith(',1');
      await until('the subscription to be in force again', isBack);
    }
    await until('the return to be told', () => ra.told.at(-1) === 'up');
    assert.deepEqual(
      ra.told,
      ra.told.map((_, i) => (i % 2 === 0 ? 'down' : 'up')),
    );
    const live = await a.publish('c', 'text', text('live'), options());
    await until('the live message', () => ra.messages.at(-1)?.id === live.id);
  });

  test('a subscription that the ACL refuses after a reconnect is told as down, and up again once it is allowed', async () => {
    const redis = await started(startRedis());
    await ask(redis, 'ACL', 'SETUSER', 'u', 'on', '>pw', 'allkeys', 'allchannels', '+@all');
    const [a, ra] = await open(`redis://u:pw@127.0.0.1:${redis.port}`);
    await a.subscribe('c');
    await ask(redis, 'ACL', 'SETUSER', 'u', 'resetchannels');
    await ask(redis, 'CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until('the loss to be told', () => ra.downs === 1);
    await assert.rejects(a.subscribe('d'), { prefix: 'NOPERM' });
    assert.equal(ra.ups, 0);
    await ask(redis, 'ACL', 'SETUSER', 'u', 'allchannels');
    await until('the return to be told', () => ra.ups === 1);
    const live = await a.publish('c', 'text', text('live'), options());
    await until('the live message', () => ra.messages.at(-1)?.id === live.id);
  });

  test('while Redis is away publish fails with a clear error in time, and never reports success', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url, { publishMaxWait: 200 });
    await redis.kill();
    await until('the loss to be told', () => ra.downs === 1);
    await assert.rejects(a.publish('c', 'text', text('x'), options()), {
      code: 'REDIS_UNAVAILABLE',
      message:
        /^Redis at 127\.0\.0\.1:\d+: no connection within 200 ms, the command was not sent; .*(refused|closed|reset)/,
    });
    const impatient = redisBroker(redis.url, { ...fast, publishMaxWait: 0 });
    const opening = impatient.open(new Recorder()).catch((error) => error);
    await assert.rejects(impatient.publish('c', 'text', text('x'), options()), { code: 'REDIS_UNAVAILABLE' });
    await impatient.close();
    assert.equal((await opening).code, 'REDIS_CLOSED');
  });

  test('a restart without persistence, FLUSHALL and a lost top key each show as a new epoch', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url);
    const epochs = [(await a.publish('c', 'text', text('1'), options())).epoch];
    await ask(redis, 'FLUSHALL');
    assert.deepEqual(await a.tops(['c']), [{ epoch: '', offset: 0, id: '' }]);
    epochs.push((await a.publish('c', 'text', text('2'), options())).epoch);
    await ask(redis, 'DEL', '{tidings:c}:top');
    epochs.push((await a.read('c', 0, 10)).top.epoch);
    assert.deepEqual((await a.read('c', 0, 10)).messages, []);
    const { epoch, offset } = await a.publish('c', 'text', text('3'), options());
    assert.deepEqual([epoch, offset], [epochs[2], 1]);
    await redis.kill();
    await redis.start();
    await until('the return to be told', () => ra.ups === 1);
    epochs.push((await a.read('c', 0, 10)).top.epoch);
    assert.equal(new Set(epochs).size, 4);
  });

  test('a lost log alone leaves the position and shows as trimmed', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const { epoch, id } = await a.publish('c', 'text', text('1'), options());
    await ask(redis, 'DEL', '{tidings:c}:list');
    assert.deepEqual(await a.read('c', 0, 10), { messages: [], top: { epoch, offset: 1, id }, first: 2 });
    assert.equal((await a.publish('c', 'text', text('2'), options())).offset, 2);
    assert.equal((await a.read('c', 0, 10)).first, 2);
  });

  test('a restart from an older snapshot counts the same offsets again, with other ids', async () => {
    const redis = await started(startRedis(['--dbfilename', 'dump.rdb']));
    const [a, ra] = await open(redis.url);
    await a.publish('c', 'text', text('kept'), options());
    await ask(redis, 'SAVE');
    copyFileSync(join(redis.folder, 'dump.rdb'), join(redis.folder, 'old.rdb'));
    const lost = await a.publish('c', 'text', text('lost'), options());
    await redis.kill();
    copyFileSync(join(redis.folder, 'old.rdb'), join(redis.folder, 'dump.rdb'));
    await redis.start();
    await until('the return to be told', () => ra.ups === 1);
    const again = await a.publish('c', 'text', text('other'), options());
    assert.equal(again.offset, lost.offset);
    assert.notEqual(again.id, lost.id);
    assert.notEqual((await entryOf(a, 'c', lost.offset))?.id, lost.id);
  });

  test('a rewind ends the epoch at the first word of whoever knows better: also those behind the loss are told', async () => {
    const redis = await started(startRedis(['--dbfilename', 'dump.rdb']));
    const [sender, rs] = await open(redis.url);
    const [subscriber, rb] = await open(redis.url);
    const [stranger, rc] = await open(redis.url);
    await subscriber.subscribe('heard');
    const channels = ['sent', 'heard', 'read', 'passed', 'whole'];
    const first = await Promise.all(
      channels.map((channel) => sender.publish(channel, 'text', text('kept'), options())),
    );
    await ask(redis, 'SAVE');
    copyFileSync(join(redis.folder, 'dump.rdb'), join(redis.folder, 'old.rdb'));
    for (const channel of channels.slice(0, -1)) {
      await sender.publish(channel, 'text', text('lost'), options());
    }
    await until('the doorbell', () => rb.messages.length === 2);
    await redis.kill();
    copyFileSync(join(redis.folder, 'old.rdb'), join(redis.folder, 'dump.rdb'));
    await redis.start();
    // This one knows of nothing and goes on beyond what was lost.
    await until('the stranger to be back', () => rc.ups === 1);
    for (let i = 0; i < 3; i++) await stranger.publish('passed', 'text', text(`other ${i}`), options());
    await until('the others to be back', () => rs.ups === 1 && rb.ups === 1);
    const epochs = (await positions(stranger, channels)).map(({ epoch }) => epoch);
    for (const [i, channel] of channels.entries()) {
      const isSame = epochs[i] === first[i]!.epoch;
      assert.equal(isSame, channel === 'whole', `${channel} has ${isSame ? 'the same' : 'another'} epoch`);
    }
    const { offset, epoch } = await sender.publish('sent', 'text', text('after'), options());
    assert.deepEqual([epoch, offset], [epochs[0], 2]);
  });

  test('a rewind that nobody was told of shows in the first publish or read of whoever knows better', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    const before = await a.publish('c', 'text', text('1'), options());
    await a.publish('d', 'text', text('1'), options());
    for (const channel of ['c', 'd']) {
      const [top, early] = [`{tidings:${channel}}:top`, `{tidings:${channel}}:early`];
      await ask(redis, 'COPY', top, early);
      await a.publish(channel, 'text', text('2'), options());
      await ask(redis, 'COPY', early, top, 'REPLACE');
      await ask(redis, 'RPOP', `{tidings:${channel}}:list`);
    }
    await ask(redis, 'DEL', '{tidings:c}:list');
    assert.notEqual((await a.publish('c', 'text', text('again'), options())).epoch, before.epoch);
    const { top } = await a.read('d', 0, 10);
    assert.notEqual(top.epoch, before.epoch);
    assert.equal((await a.read('d', 0, 10)).top.epoch, top.epoch);
  });

  test('SCRIPT FLUSH in between is not noticed', async () => {
    const redis = await started(startRedis());
    const [a] = await open(redis.url);
    await a.publish('c', 'text', text('1'), options());
    await ask(redis, 'SCRIPT', 'FLUSH');
    assert.equal((await a.publish('c', 'text', text('2'), options())).offset, 2);
    assert.equal((await a.read('c', 0, 10)).messages.length, 2);
  });

  test('a plain PUBLISH by any program arrives as a transient payload, and garbage behind the magic as nothing', async () => {
    const redis = await started(startRedis());
    const [a, ra] = await open(redis.url, { prefix: 'mail' });
    await a.subscribe('user:alice');
    await run('redis-cli', ['-p', String(redis.port), 'PUBLISH', 'mail:user:alice', 'hello']);
    await ask(redis, 'PUBLISH', 'mail:user:alice', '\0tidings:');
    await ask(redis, 'PUBLISH', 'mail:user:alice', '\0tidings:m cut short');
    await ask(redis, 'PUBLISH', 'mail:user:alice', '');
    await until('them', () => ra.transients.length === 2);
    assert.deepEqual(ra.transients, [
      ['user:alice', 'hello'],
      ['user:alice', ''],
    ]);
    assert.deepEqual(ra.messages, []);
  });

  test('replicas: a retry is only confirmed once a replica has the first copy', async () => {
    const [redis, replica] = [await started(startRedis()), await started(startRedis())];
    await ask(replica, 'REPLICAOF', '127.0.0.1', redis.port);
    await until('the replica to be in sync', async () =>
      String(await ask(replica, 'INFO', 'replication')).includes('master_link_status:up'),
    );
    const [a] = await open(redis.url);
    const [b] = await open(redis.url);
    const publish = (broker: Broker, replicaTimeout: number): Promise<Receipt> =>
      broker.publish('c', 'text', text('1'), options({ idempotencyKey: 'k', replicas: 1, replicaTimeout }));
    // Stopped, it stays connected and confirms nothing.
    replica.process.kill('SIGSTOP');
    await assert.rejects(publish(a, 100), ReplicationError);
    const changes = async (): Promise<number> =>
      Number(/changes_since_last_save:(\d+)/.exec(String(await ask(redis, 'INFO', 'persistence')))![1]);
    const before = await changes();
    await assert.rejects(publish(b, 100), ReplicationError);
    // To Redis 7.0 any command will do; from 7.2 on, WAIT is only about what its connection has written.
    assert.ok((await changes()) > before, 'the retry has written nothing that WAIT could wait for');
    const window = Number(await ask(redis, 'PTTL', '{tidings:c}:once:k:k'));
    assert.ok(window > 0, `the key is kept for ${window} ms`);
    replica.process.kill('SIGCONT');
    const receipt = await publish(b, 60_000);
    assert.equal(receipt.duplicate, true);
    assert.equal(receipt.offset, 1);
  });

  test('replicas: a message that too few confirmed in time is stored, and said to be so', async () => {
    const [redis, replica] = [await started(startRedis()), await started(startRedis())];
    await ask(replica, 'REPLICAOF', '127.0.0.1', redis.port);
    await until('the replica to be in sync', async () =>
      String(await ask(replica, 'INFO', 'replication')).includes('master_link_status:up'),
    );
    const [a] = await open(redis.url);
    const confirmed = await a.publish(
      'c',
      'text',
      text('1'),
      options({ replicas: 1, replicaTimeout: 60_000 }),
    );
    assert.equal(confirmed.offset, 1);
    let offset = 1;
    // The one replica may need longer than that, too.
    await until('the word of one replica only', async () => {
      const error: ReplicationError = await a
        .publish('c', 'text', text('2'), options({ replicas: 2, replicaTimeout: 50 }))
        .then(
          () => assert.fail('it must not succeed'),
          (e) => e,
        );
      assert.ok(error instanceof ReplicationError);
      assert.equal(error.receipt.offset, ++offset);
      const said = `message ${offset} of c is stored, but only ${error.confirmed} of 2 replicas confirmed it in time`;
      assert.ok(error.message.includes(said), error.message);
      return error.confirmed === 1;
    });
    assert.equal((await a.read('c', 0, 10_000)).messages.length, offset);
  });

  test('Sentinels: the master is killed; publishing goes on at the new one, subscriptions are in force again', async () => {
    const group = await started(startSentinels());
    const [a] = await open(group.target);
    const hosts = group.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const [b, rb] = await open(`redis+sentinel://${hosts}/mymaster`);
    await b.subscribe('c');
    await a.publish('c', 'text', text('before'), options({ replicas: 1, replicaTimeout: 60_000 }));
    const old = await group.master();
    await group.kill(old);
    await until('the loss to be told', () => rb.downs >= 1);
    const receipt = await until('a message stored by the new master', () =>
      a.publish('c', 'text', text('after'), options({ idempotencyKey: 'after' })).catch(() => undefined),
    );
    assert.equal(receipt.offset, 2);
    await until('the return to be told', () => rb.ups > 0 && rb.ups === rb.downs);
    const live = await a.publish('c', 'text', text('live'), options());
    await until('the live message', () => rb.messages.at(-1)?.id === live.id);
    await until('every Sentinel to say so', async () => (await group.master()) !== old);
  });

  test('Sentinels: a master that is demoted but alive is left', async () => {
    const group = await started(startSentinels());
    const [a, ra] = await open(group.target);
    await a.subscribe('c');
    await a.publish('c', 'text', text('before'), options({ replicas: 1, replicaTimeout: 60_000 }));
    const old = await group.master();
    await until('another master', async () => {
      // Refused while one is under way, or while the replica has not been heard for a moment.
      await ask(group.sentinels[0]!, 'SENTINEL', 'FAILOVER', 'mymaster').catch(() => {});
      return until('its election', async () => (await group.master()) !== old, 5000).catch(() => false);
    });
    await until('the change to be told', () => ra.ups >= 1);
    const receipt = await a.publish('c', 'text', text('after'), options({ idempotencyKey: 'after' }));
    await until('the live message', () => ra.messages.at(-1)?.id === receipt.id);
    const role = (await ask(await group.master(), 'ROLE')) as string[];
    assert.equal(role[0], 'master');
  });

  test('Cluster: a subscription that the ACL refuses after a reconnect is told as down, and up again once it is allowed', async () => {
    const cluster = await started(startCluster());
    const everywhere = (...args: [string, ...string[]]): Promise<unknown> =>
      Promise.all(cluster.servers.map((server) => ask(server, ...args)));
    await everywhere('ACL', 'SETUSER', 'u', 'on', '>pw', 'allkeys', 'allchannels', '+@all');
    const nodes = cluster.servers.map(({ port }) => `redis://u:pw@127.0.0.1:${port}`);
    const [a, ra] = await open({ cluster: nodes });
    await Promise.all([a.subscribe('c'), a.subscribe('left')]);
    await everywhere('ACL', 'SETUSER', 'u', 'resetchannels');
    await everywhere('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until('the loss to be told', () => ra.downs === 1);
    await assert.rejects(a.subscribe('d'), { prefix: 'NOPERM' });
    await a.unsubscribe('left');
    assert.equal(ra.ups, 0);
    await everywhere('ACL', 'SETUSER', 'u', 'allchannels');
    await until('the return to be told', () => ra.ups === 1);
    const live = await a.publish('c', 'text', text('live'), options());
    await until('the live message', () => ra.messages.at(-1)?.id === live.id);
  });

  test('Cluster: a slot moves under load, keys first; then a master is killed: nothing stored is lost', async () => {
    const cluster = await started(startCluster());
    const [a] = await open(cluster.target);
    const hosts = cluster.servers.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const [b, rb] = await open(`redis+cluster://${hosts}`);
    const channels = Array.from({ length: 12 }, (_, i) => `user:${i}`);
    for (const channel of channels) await b.subscribe(channel);
    const work = publisher(a, channels);
    await until('some messages', () => work.receipts.length > 100);

    const slot = slotOf('tidings:user:0');
    const { server: from, id: fromId } = await cluster.ownerOf(slot);
    const other = slotOf('tidings:user:1');
    const { server: to, id: toId } = await cluster.ownerOf(
      (await cluster.ownerOf(other)).server === from ? (slot + 6000) % 16_384 : other,
    );
    assert.notEqual(from.port, to.port);
    await moveSlot(slot, { server: from, id: fromId }, { server: to, id: toId });
    const moved = work.receipts.length;
    await until('messages in the slot that moved', () =>
      work.receipts.slice(moved).some((r) => r.channel === 'user:0'),
    );
    await until('b to be told of the one channel', () => rb.missing.includes('user:0'));
    assert.deepEqual([rb.told, [...new Set(rb.missing)]], [[], ['user:0']]);
    const here = await a.publish('user:0', 'text', text('here'), options());
    await until('the message on the moved channel', () => rb.messages.some((m) => m.id === here.id));

    const downs = rb.downs;
    const { server: victim } = await cluster.ownerOf(other);
    // Replication is asynchronous: what the replica lacks when its master dies is lost, so let it have all.
    await work.stop();
    assert.deepEqual(work.failures, []);
    await until('the replica to have all', async () => {
      const info = String(await ask(victim, 'INFO', 'replication'));
      return /offset=(\d+)/.exec(info)?.[1] === /master_repl_offset:(\d+)/.exec(info)?.[1];
    });
    await cluster.kill(victim);
    await until('the loss to be told', () => rb.downs > downs);
    const after = await until('a message stored by the new master', () =>
      a.publish('user:1', 'text', text('after'), options({ idempotencyKey: 'after' })).catch(() => undefined),
    );
    await until('b to be up again', () => rb.downs === rb.ups);
    await assertKept(a, channels, [...work.receipts, here, after]);
    for (const channel of channels) {
      const live = await a.publish(channel, 'text', text('live'), options());
      await until(`the live message of ${channel}`, () => rb.messages.some((m) => m.id === live.id));
    }
  });
});
