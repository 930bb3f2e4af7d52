/** Sending later: never early, once, whoever dies. */
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { redisBroker } from '../../../src/index.ts';
import { PostgresError, PostgresReplyError } from '../../../src/pubsub/postgres/errors.ts';
import { RedisError } from '../../../src/pubsub/redis/errors.ts';
import { type Broker, DamagedChannelError, type StoredMessage } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import type { Schedule } from '../../../src/pubsub/store/schedule.ts';
import { Scheduler } from '../../../src/push/sending/scheduler.ts';
import { until } from '../../support/net.ts';
import { startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { ask, startCluster } from '../../support/redis-groups.ts';
import { onEachStore } from '../stores.ts';
import { Page, startPush } from '../support.ts';

const text = ({ payload }: StoredMessage): string => payload.toString();
const logOf = async (broker: Broker, channel: string): Promise<StoredMessage[]> =>
  (await broker.read(channel, 0, 1000)).messages;
/** Nothing is handed out to this broker's instance until it is told so, however long what is done before takes. */
function heldBack(broker: Broker): () => void {
  const take = broker.schedule.take.bind(broker.schedule);
  let isHeld = true;
  broker.schedule.take = async (...all) => (isHeld ? { state: 'other', left: 20 } : take(...all));
  return () => {
    isHeld = false;
  };
}
const soon = (milliseconds = 300): number => Date.now() + milliseconds;

onEachStore('what is sent later comes then, to pages and into the log, and never before', async (make) => {
  const broker = make();
  const [sender, receiver] = [await startPush({ broker: make() }), await startPush({ broker })];
  const page = await Page.open(receiver.url, 'alice', { topics: ['news'] });
  const plain = await Page.plain(receiver.url, 'alice');
  const at = soon(700);
  const [inbox, topic] = await Promise.all([
    sender.push.send('alice', { big: 1 }, { at: new Date(at) }),
    sender.push.publish('news', 'text', { at }),
  ]);
  assert.equal(inbox.at, at);
  assert.match(inbox.scheduled, /^[\w-]{16}$/);
  assert.notEqual(inbox.scheduled, topic.scheduled);
  await until('both', () => page.messages().length === 1 && page.messages('news').length === 1);
  assert.ok(Date.now() >= at);
  for (const channel of ['user:alice', 'news']) {
    const [message] = await logOf(broker, channel);
    assert.ok(message!.time >= at);
  }
  await until('plain mode, too', () => plain.received.includes('{"big":1}'));
  assert.equal(sender.log.concat(receiver.log).join('\n'), '');
  await until('nothing to be left', async () => (await sender.push.scheduled()).count === 0);
});

onEachStore('a time that is over means now, and what is due together keeps its order', async (make) => {
  const broker = make();
  const { push } = await startPush({ broker });
  const at = soon();
  await push.send('bob', 'past', { at: 0 });
  await until('the one from the past', async () => (await logOf(broker, 'user:bob')).length === 1);
  for (let i = 0; i < 200; i++) await push.send('bob', `${i}`, { at });
  await until('all', async () => (await logOf(broker, 'user:bob')).length === 201, 20_000);
  const messages = await logOf(broker, 'user:bob');
  assert.deepEqual(
    messages.slice(1).map(text),
    Array.from({ length: 200 }, (_, i) => `${i}`),
  );
  for (const { time } of messages.slice(1)) assert.ok(time >= at);
});

onEachStore('a key is stored once, whether it was scheduled, sent, or both, in any order', async (make) => {
  const broker = make();
  const letGo = heldBack(broker);
  const { push } = await startPush({ broker });
  const at = soon(400);
  const first = await push.send('carol', 'one', { at, idempotencyKey: 'k' });
  const again = await push.send('carol', 'two', { at: at + 50, idempotencyKey: 'k' });
  assert.deepEqual(again, { ...first, duplicate: true });
  // Another user's key is another one.
  await push.send('dave', 'one', { at, idempotencyKey: 'k' });
  letGo();
  await until('them', async () => (await logOf(broker, 'user:carol')).length === 1);
  await until('them', async () => (await logOf(broker, 'user:dave')).length === 1);
  assert.equal((await push.send('carol', 'three', { idempotencyKey: 'k' })).duplicate, true);
  await push.send('carol', 'four', { at: 0, idempotencyKey: 'k' });
  // And the other way round: what was sent is not sent again later.
  await push.send('erin', 'now', { idempotencyKey: 'k' });
  await push.send('erin', 'later', { at: 0, idempotencyKey: 'k' });
  await push.send('erin', 'end', { at: 1 });
  await until('the schedule to be empty', async () => (await push.scheduled()).count === 0);
  assert.deepEqual((await logOf(broker, 'user:carol')).map(text), ['one']);
  assert.deepEqual((await logOf(broker, 'user:erin')).map(text), ['now', 'end']);
});

onEachStore('what it lives and what it replaces counts from the moment at which it is sent', async (make) => {
  const broker = make();
  const letGo = heldBack(broker);
  const { push, url } = await startPush({ broker });
  const page = await Page.open(url, 'alice');
  const at = soon(500);
  await push.send('alice', 'first', { replaces: 'orders' });
  await push.send('alice', 'second', { at, replaces: 'orders', ttl: 3_600_000 });
  // Who is replaced later is there until then.
  assert.deepEqual((await logOf(broker, 'user:alice')).map(text), ['first']);
  const { messages } = await push.scheduled();
  assert.deepEqual([messages[0]!.replaces, messages[0]!.ttl], ['orders', 3_600_000]);
  letGo();
  await until('it', () => page.messages().length === 2);
  const [gone, there] = await logOf(broker, 'user:alice');
  assert.equal(gone!.kind, 'gone');
  assert.equal(text(there!), 'second');
  assert.equal(there!.expires, there!.time + 3_600_000);
  // Of many: each in his own inbox.
  const many = ['alice', 'bob'];
  await push.sendMany(many, 'third', { at: 0, replaces: 'orders' });
  await until('both', async () => (await push.scheduled()).count === 0);
  assert.deepEqual((await logOf(broker, 'user:alice')).map(text), ['', '', 'third']);
  for (const odd of [
    { ttl: -1 },
    { ttl: 1.5 },
    { replaces: '' },
    { replaces: 5 },
    { idempotencyWindow: Number.NaN },
  ]) {
    await assert.rejects(
      push.send('alice', 'x', { at, ...odd } as never),
      { name: 'TypeError' },
      JSON.stringify(odd),
    );
  }
});

onEachStore(
  'its key is remembered long enough, whatever it says, and for ever where it says so',
  async (make) => {
    const broker = make();
    const { push } = await startPush({ broker });
    for (const [i, idempotencyWindow] of [1, 0, Number.POSITIVE_INFINITY].entries()) {
      const settings = { idempotencyKey: `k${i}`, idempotencyWindow };
      await push.send('alice', `${i}`, { at: 1, ...settings });
      await until('it', async () => (await push.scheduled()).count === 0);
      await push.send('alice', `${i}`, { at: 1, ...settings });
      await until('it', async () => (await push.scheduled()).count === 0);
    }
    assert.deepEqual((await logOf(broker, 'user:alice')).map(text), ['0', '1', '2']);
  },
);

onEachStore('it is listed with its data, and cancelled', async (make) => {
  const broker = make();
  const { push } = await startPush({ broker });
  const at = Date.now() + 3_600_000;
  const { scheduled: id } = await push.send('alice', { n: 1 }, { at, idempotencyKey: 'k' });
  await push.publish('news', Buffer.from([1, 2]), { at: at + 1 });
  await push.sendReference('alice', 'key 42', { at: at + 2 });
  const page = await push.scheduled({ limit: 2 });
  assert.equal(page.count, 3);
  assert.deepEqual(
    page.messages.map(({ id: _, ...rest }) => rest),
    [
      { user: 'alice', at: at + 2, reference: 'key 42' },
      { topic: 'news', at: at + 1, data: Buffer.from([1, 2]) },
    ],
  );
  const next = await push.scheduled({ limit: 2, before: page.before });
  assert.deepEqual(next, {
    count: 3,
    messages: [{ id, user: 'alice', at, data: { n: 1 }, idempotencyKey: 'k' }],
  });
  assert.equal((await push.scheduled({ user: 'alice' })).messages.length, 2);
  assert.equal((await push.scheduled({ topic: 'news' })).messages.length, 1);
  assert.equal((await push.scheduled({ user: 'bob' })).messages.length, 0);
  assert.deepEqual(
    (await push.scheduled({ before: new Date(at + 1) })).messages.map((message) => message.id),
    [id],
  );
  assert.equal(await push.cancel(id), true);
  assert.equal(await push.cancel(id), false);
  assert.equal((await push.scheduled()).count, 2);
  assert.deepEqual(await logOf(broker, 'user:alice'), []);
  // It was cancelled, so its key is as good as new.
  assert.equal((await push.send('alice', 'again', { at, idempotencyKey: 'k' })).duplicate, undefined);
});

test('what can not be is refused at once, and nothing is kept of it', async () => {
  const { push } = await startPush({ limits: { message: 10, scheduled: 2 } });
  const at = Date.now() + 60_000;
  const type = { name: 'TypeError' };
  const range = { name: 'RangeError' };
  for (const odd of [Number.NaN, new Date('x'), '2026-01-01', null, {}, 10n, true]) {
    await assert.rejects(push.send('alice', 'x', { at: odd as never }), type, String(odd));
  }
  for (const far of [-1, Number.POSITIVE_INFINITY, 2 ** 48, Number.MAX_SAFE_INTEGER, -0.1e9]) {
    await assert.rejects(push.send('alice', 'x', { at: far }), range, String(far));
  }
  await assert.rejects(push.send('', 'x', { at }), type);
  await assert.rejects(push.publish('user:alice', 'x', { at }), type);
  await assert.rejects(push.send('alice', undefined, { at }), type);
  await assert.rejects(push.send('alice', 'more than ten', { at }), range);
  await assert.rejects(push.send('alice', 'x', { at, idempotencyKey: 5 as never }), type);
  for (const confirm of ['acked', 'replicated'] as const) {
    await assert.rejects(push.send('alice', 'x', { at, confirm } as never), type);
  }
  for (const odd of [{ limit: 0 }, { limit: 201 }, { limit: 1.5 }, { limit: '5' as never }]) {
    await assert.rejects(push.scheduled(odd), range);
  }
  for (const odd of [{ before: 'x' }, { before: Number.NaN }, { user: '' }, { user: 'a', topic: 'b' }]) {
    await assert.rejects(push.scheduled(odd), type);
  }
  await assert.rejects(push.cancel(5 as never), type);
  assert.equal((await push.scheduled()).count, 0);
  await push.send('alice', 'x', { at });
  await push.send('alice', 'x', { at: 2 ** 48 - 1 });
  await assert.rejects(push.send('bob', 'x', { at }), { name: 'RangeError', code: 'TOO_MANY_SCHEDULED' });
});

test('a clock of the process that jumps sends nothing early (memory)', async (t) => {
  const broker = memoryBroker();
  const { push } = await startPush({ broker });
  const at = Date.now() + 30_000;
  await push.send('alice', 'later', { at });
  const real = Date.now;
  t.after(() => mock.restoreAll());
  mock.method(Date, 'now', () => real() + 3_600_000);
  await push.send('bob', 'now', { at: real() - 1 });
  await until('the other one', async () => (await logOf(broker, 'user:bob')).length === 1);
  assert.deepEqual(await logOf(broker, 'user:alice'), []);
  mock.restoreAll();
  await until('only that to be left', async () => (await push.scheduled()).count === 1);
});

onEachStore('what can never be stored is told and listed, and holds up nothing', async (make) => {
  const broker = make();
  const real = broker.publish.bind(broker);
  broker.publish = (channel, ...rest) =>
    channel === 'user:broken'
      ? Promise.reject(new DamagedChannelError(channel, 'as the test says'))
      : real(channel, ...rest);
  const at = soon();
  const { push, log } = await startPush({ broker });
  for (let i = 0; i < 100; i++) await push.send('broken', `${i}`, { at });
  await push.send('alice', 'good', { at });
  await until('the good one', async () => (await logOf(broker, 'user:alice')).length === 1, 20_000);
  await until('the others', async () => (await push.scheduled()).count === 0, 20_000);
  const { messages, before } = await push.scheduled({ failed: true });
  assert.equal(messages.length, 100);
  assert.equal(before, undefined);
  const own = (await push.scheduled({ failed: true, user: 'broken' })).messages;
  assert.equal(own.length, 100);
  assert.deepEqual((await push.scheduled({ failed: true, user: 'alice' })).messages, []);
  for (const one of own) {
    assert.equal(one.at, at);
    assert.match(one.failed!, /as the test says/);
    assert.ok(one.failedAt! >= at);
  }
  assert.equal(
    log.filter((line) => /^error: the scheduled message \S+ of user:broken/.test(line)).length,
    100,
  );
});

onEachStore('what one instance has taken, another with smaller limits sends', async (make) => {
  const [own, broker] = [make(), make()];
  const letGo = [own, broker].map(heldBack);
  const first = await startPush({ broker: own });
  const at = soon();
  const [large, key] = ['x'.repeat(500), 'k'.repeat(200)];
  await first.push.send('alice', large, { at });
  await first.push.publish('news', large, { at });
  await first.push.sendReference('bob', key, { at });
  await first.push.sendMany(['carol', 'dave'], large, { at });
  await first.push.close();
  const { push, log, url } = await startPush({
    broker,
    limits: { message: 100, scheduled: 1 },
    references: { resolve: async () => ({ user: 'bob', data: 'resolved' }) },
  });
  const page = await Page.open(url, 'alice', { topics: ['news'] });
  for (const each of letGo) each();
  await until('all', async () => (await push.scheduled()).count === 0, 20_000);
  assert.deepEqual((await push.scheduled({ failed: true })).messages, []);
  for (const channel of ['user:alice', 'news', 'user:carol', 'user:dave']) {
    assert.deepEqual((await logOf(broker, channel)).map(text), [large], channel);
  }
  assert.deepEqual((await logOf(broker, 'user:bob')).map(text), [key]);
  await until('its page', () => page.messages().length === 1 && page.messages('news').length === 1);
  assert.deepEqual(log, []);
  // What it is asked for itself is held to its own.
  await assert.rejects(push.send('alice', large, { at: 0 }), { name: 'RangeError' });
});

onEachStore(
  'a store that refuses for a while gets it all, in order, when it does not any more',
  async (make) => {
    const inner = make();
    const real = inner.publish.bind(inner);
    let refuses = true;
    inner.publish = (channel, ...rest) =>
      refuses && channel === 'user:shard'
        ? Promise.reject(new Error('this shard is away'))
        : real(channel, ...rest);
    const { push, log } = await startPush({ broker: inner });
    const at = soon(100);
    for (let i = 0; i < 20; i++) {
      await push.send('shard', `${i}`, { at });
      await push.send('other', `${i}`, { at });
    }
    await until('the others', async () => (await logOf(inner, 'user:other')).length === 20, 20_000);
    assert.deepEqual(await logOf(inner, 'user:shard'), []);
    // Between two attempts. Nobody knows that the first one was not stored.
    const all = await until('them to wait', async () => {
      const { messages } = await push.scheduled({ user: 'shard', limit: 200 });
      return messages.length === 20 && messages.every(({ retry }) => retry! > at) && messages;
    });
    assert.equal(await push.cancel(all.at(-1)!.id), false);
    refuses = false;
    await until('the rest', async () => (await logOf(inner, 'user:shard')).length === 20, 20_000);
    assert.deepEqual(
      (await logOf(inner, 'user:shard')).map(text),
      Array.from({ length: 20 }, (_, i) => `${i}`),
    );
    assert.equal(log.filter((line) => /can't be stored now/.test(line)).length, 1);
  },
);

onEachStore('what a store has certainly not taken can still be canceled', async (make) => {
  const inner = make();
  const real = inner.publish.bind(inner);
  const reasons = new Map<string, Error>([
    ['user:redis', new RedisError('REDIS_UNAVAILABLE', 'not sent')],
    ['user:postgres', new PostgresError('POSTGRES_UNAVAILABLE', 'not sent')],
    ['user:lock', new PostgresReplyError('55P03', 'locked')],
    ['user:lost', new PostgresError('POSTGRES_OUTCOME_UNKNOWN', 'sent')],
  ]);
  inner.publish = (channel, ...rest) => {
    const reason = reasons.get(channel);
    return reason === undefined ? real(channel, ...rest) : Promise.reject(reason);
  };
  const { push } = await startPush({ broker: inner });
  const at = soon(100);
  for (const channel of reasons.keys()) await push.send(channel.slice('user:'.length), 'x', { at });
  const all = await until('them to wait', async () => {
    const { messages } = await push.scheduled({ limit: 200 });
    return messages.length === reasons.size && messages.every(({ retry }) => retry! > at) && messages;
  });
  for (const { id, user } of all) {
    // One that is tried again just now is not; that passes.
    if (user === 'lost') assert.equal(await push.cancel(id), false);
    else await until(`${user} to be canceled`, () => push.cancel(id));
  }
  reasons.clear();
  await until(
    'the one that may be there',
    async () => (await logOf(inner, 'user:lost')).length === 1,
    20_000,
  );
  for (const user of ['redis', 'postgres', 'lock']) assert.deepEqual(await logOf(inner, `user:${user}`), []);
});

onEachStore('an instance that ends leaves what is scheduled to another, at once', async (make) => {
  const own = make();
  const take = own.schedule.take.bind(own.schedule);
  let isTheOne = false;
  own.schedule.take = async (...all) => {
    const taken = await take(...all);
    isTheOne ||= taken.state === 'held';
    return taken;
  };
  const first = await startPush({ broker: own, lease: 60_000 });
  // Where the store takes longer than that for all of them, the first ones are sent by this instance.
  const at = soon(500);
  for (let i = 0; i < 50; i++) await first.push.send('alice', `${i}`, { at });
  await until('it to be the one', () => isTheOne);
  const broker = make();
  const second = await startPush({ broker, lease: 60_000 });
  await first.push.close();
  // The other one has been told that the lease lasts.
  await second.push.send('alice', 'x', { at: at + 100_000 });
  const third = await startPush({ broker: make(), lease: 60_000 });
  await until('all of them', async () => (await logOf(broker, 'user:alice')).length === 50, 20_000);
  assert.deepEqual(
    (await logOf(broker, 'user:alice')).map(text),
    Array.from({ length: 50 }, (_, i) => `${i}`),
  );
  await third.push.close();
});

/** Instances over a store that is killed three times while messages are due. */
async function surviveKills(make: () => Broker, restart: () => Promise<void>): Promise<void> {
  const broker = make();
  const servers = [await startPush({ broker, lease: 500 }), await startPush({ broker: make(), lease: 500 })];
  try {
    const start = Date.now();
    const due = new Map<string, number>();
    for (let i = 0; i < 300; i++) {
      const at = start + 200 + i * 10;
      due.set(`${i}`, at);
      await servers[i % 2]!.push.send(`u${i % 7}`, `${i}`, { at });
    }
    for (let i = 0; i < 3; i++) {
      await until('its time', () => Date.now() > start + 600 + i * 800);
      await restart();
    }
    await until(
      'all of them',
      async () => (await servers[0]!.push.scheduled().catch(() => ({ count: 1 }))).count === 0,
      30_000,
    );
    const found = (
      await Promise.all(Array.from({ length: 7 }, (_, i) => logOf(broker, `user:u${i}`)))
    ).flat();
    assert.deepEqual(found.map(text).sort(), [...due.keys()].sort());
    for (const one of found) assert.ok(one.time >= due.get(text(one))!, `${text(one)} came early`);
  } finally {
    await Promise.all(servers.map(({ push }) => push.close()));
  }
}

test('a PostgreSQL that is killed and comes back has everything once, at its time', {
  ...needs('postgres'),
  timeout: 120_000,
}, async () => {
  const server = await startPostgres();
  const options = { reconnectMinDelay: 20, reconnectMaxDelay: 100, statementTimeout: 2000 };
  try {
    await surviveKills(
      () => postgresBroker(server.url, options),
      async () => {
        await server.kill();
        await server.start();
      },
    );
  } finally {
    await server.stop();
  }
});

describe('with Redis', { ...needs('redis'), timeout: 120_000 }, () => {
  test('a store that is killed and comes back has everything once, at its time', async () => {
    const redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
    const options = { reconnectMinDelay: 20, reconnectMaxDelay: 100, commandTimeout: 2000 };
    try {
      await surviveKills(
        () => redisBroker(redis.url, options),
        async () => {
          await redis.kill();
          await redis.start();
        },
      );
    } finally {
      await redis.stop();
    }
  });

  test('a channel that somebody has damaged costs only its own messages, which are listed with the reason', async () => {
    const redis = await startRedis();
    try {
      const broker = redisBroker(redis.url);
      const letGo = heldBack(broker);
      const { push, log } = await startPush({ broker });
      const at = soon();
      await push.send('broken', 'x', { at });
      await push.send('alice', 'good', { at });
      await ask(redis, 'SET', '{tidings:user:broken}:list', 'text');
      letGo();
      await until('the other one', async () => (await logOf(broker, 'user:alice')).length === 1);
      await until('nothing to be left', async () => (await push.scheduled()).count === 0);
      const { messages } = await push.scheduled({ failed: true });
      assert.deepEqual(
        messages.map(({ user, at }) => [user, at]),
        [['broken', at]],
      );
      assert.match(messages[0]!.failed!, /damaged.*\{tidings:user:broken\}/);
      assert.ok(
        log.some((line) => /^error: the scheduled message \S+ of user:broken can't be stored/.test(line)),
      );
      await push.close();
    } finally {
      await redis.stop();
    }
  });

  test('in a Cluster, users and topics of all slots get theirs', async () => {
    const cluster = await startCluster();
    try {
      const broker = redisBroker(cluster.target);
      const { push } = await startPush({ broker });
      const at = soon(500);
      const results = await push.sendMany(
        Array.from({ length: 300 }, (_, i) => `user {${i}}`),
        'x',
        { at },
      );
      assert.ok(results.every(({ receipt }) => receipt !== undefined && 'scheduled' in receipt));
      await until('all of them', async () => (await push.scheduled()).count === 0, 30_000);
      for (let i = 0; i < 300; i++) {
        const [message, ...rest] = await logOf(broker, `user:user {${i}}`);
        assert.ok(message !== undefined && message.time >= at);
        assert.deepEqual(rest, []);
      }
      await push.close();
    } finally {
      await cluster.stop();
    }
  });

  test('an instance that may not use sorted sets says so once, and sends what is not scheduled', async () => {
    const redis = await startRedis();
    try {
      await ask(redis, 'ACL', 'SETUSER', 'old', 'on', '>secret', '~*', '&*', '+@all', '-@sortedset');
      const url = redis.url.replace('redis://', 'redis://old:secret@');
      const { push, log } = await startPush({ broker: redisBroker(url), checkInterval: 50 });
      await push.send('alice', 'now');
      await until('the line', () =>
        log.some((line) => /messages that are scheduled are not sent/.test(line)),
      );
      await assert.rejects(push.send('alice', 'later', { at: soon() }));
      await push.close();
      assert.equal(log.filter((line) => /messages that are scheduled are not sent/.test(line)).length, 1);
    } finally {
      await redis.stop();
    }
  });
});

test('a store that refuses to hand anything out is told once, and asked again', async () => {
  const broker = memoryBroker();
  const take = broker.schedule.take.bind(broker.schedule);
  let refuses = true;
  broker.schedule.take = (...all) => (refuses ? Promise.reject(new Error('OOM full')) : take(...all));
  const { push, log } = await startPush({ broker });
  for (let i = 0; i < 5; i++) await push.send('alice', `${i}`, { at: i });
  await until('the line', () => log.length > 0);
  let attempts = 0;
  broker.schedule.take = (...all) => {
    attempts++;
    return refuses ? Promise.reject(new Error('OOM full')) : take(...all);
  };
  await until('more attempts', () => attempts > 2);
  assert.deepEqual(log, ['warn: messages that are scheduled have to wait: Error: OOM full']);
  refuses = false;
  await until('all', async () => (await logOf(broker, 'user:alice')).length === 5, 20_000);
});

test('instances of one store share the work, and each message is stored once', async () => {
  const store = new MemoryStore();
  const broker = memoryBroker(store);
  const servers = await Promise.all(
    [1, 2, 3].map(() => startPush({ broker: memoryBroker(store), lease: 500 })),
  );
  await broker.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
  const at = soon();
  await Promise.all(
    Array.from({ length: 500 }, (_, i) =>
      servers[i % 3]!.push.send(`u${i % 50}`, `${i}`, { at: at + (i % 20) }),
    ),
  );
  await until('all', async () => (await servers[0]!.push.scheduled()).count === 0, 20_000);
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => logOf(broker, `user:u${i}`)));
  assert.equal(all.flat().length, 500);
});

test('what was handed out before and behind the end of a lease keeps its order', async () => {
  const LEASE = 1_000;
  const slow = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));
  const broker = memoryBroker();
  const count = 200;
  for (let i = 0; i < count; i++) {
    const payload = Buffer.from(`${i}`);
    await broker.schedule.add(
      { id: `${i}`, channel: 'user:alice', kind: 'text', payload, at: i, settings: {} },
      0,
    );
  }
  let takes = 0;
  const schedule: Schedule = {
    add: (message, most) => broker.schedule.add(message, most),
    cancel: (id) => broker.schedule.cancel(id),
    list: (which) => broker.schedule.list(which),
    failed: (limit) => broker.schedule.failed(limit),
    settle: (holder, outcomes, isLast) => broker.schedule.settle(holder, outcomes, isLast),
    // A store that is slow at first: its answers come when most of the lease is over.
    async take(holder, wanted) {
      const taken = await broker.schedule.take(holder, wanted);
      if (takes++ < 2) await slow(LEASE * 0.6);
      return taken;
    },
  };
  const stored: number[] = [];
  const scheduler = new Scheduler(schedule, {
    limits: { scheduled: 0 },
    lease: LEASE,
    checkInterval: 1_000,
    isAway: () => false,
    async store({ payload }) {
      // The first of the first 128 ends when their lease is over, and that of the others is not.
      if (stored.length === 0) await slow(LEASE * 0.4);
      const n = Number(payload.toString());
      if (!stored.includes(n)) stored.push(n);
    },
    log: () => {},
  });
  scheduler.start();
  await until('all of them', () => stored.length === count, 30_000);
  await scheduler.close();
  assert.deepEqual(
    stored,
    Array.from({ length: count }, (_, i) => i),
  );
});
