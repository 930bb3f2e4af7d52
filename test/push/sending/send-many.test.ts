/** One message to many users. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { redisBroker } from '../../../src/index.ts';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import type { UserResult } from '../../../src/push/index.ts';
import { JsonText } from '../../../src/push/payload.ts';
import { startCountingProxy } from '../../support/counting-proxy.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { startCluster } from '../../support/redis-groups.ts';
import { onEachStore } from '../stores.ts';
import { Page, startPush } from '../support.ts';

const names = (count: number, prefix = 'u'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const lengthOf = async (broker: Broker, user: string): Promise<number> =>
  (await broker.read(`user:${user}`, 0, 10)).messages.length;

onEachStore(
  'each user gets it, in pages and in his log, and his own receipt, in their order',
  async (make) => {
    const broker = make();
    const { push, url } = await startPush({ broker });
    const page = await Page.open(url, 'u7');
    await push.send('u3', 'before');
    const users = names(300);
    const results = await push.sendMany(users, { subject: 'hello' });
    assert.deepEqual(
      results.map(({ user }) => user),
      users,
    );
    for (const { user, receipt, error } of results) {
      assert.equal(error, undefined);
      assert.ok(receipt !== undefined && 'offset' in receipt);
      assert.equal(receipt.channel, `user:${user}`);
      assert.equal(receipt.offset, user === 'u3' ? 2 : 1);
    }
    await until('the page', () => page.messages().length === 1);
    assert.deepEqual(page.messages()[0]!.data, { subject: 'hello' });
  },
);

onEachStore(
  'settings that can not be are refused before anything is stored, and damage nothing',
  async (make) => {
    const { push, log } = await startPush({ broker: make() });
    const odd = [
      { idempotencyKey: 'k', idempotencyWindow: Number.NaN },
      { idempotencyKey: 'k', idempotencyWindow: -5 },
      { idempotencyKey: 'k', idempotencyWindow: 'x' },
      { idempotencyKey: 'k', idempotencyWindow: null },
      { confirm: 'replicate' },
      { confirm: 'acked', timeout: Number.NaN },
      { confirm: 'replicated', timeout: '5' },
      { confirm: 'acked', timeout: -1 },
    ];
    for (const settings of odd) {
      const told = JSON.stringify(settings);
      await assert.rejects(push.send('alice', 'x', settings as never), TypeError, told);
      await assert.rejects(push.sendMany(['alice'], 'x', settings as never), TypeError, told);
      await assert.rejects(push.publish('news', 'x', settings as never), TypeError, told);
    }
    assert.equal((await push.counts('alice')).all, 0);
    assert.equal((await push.send('alice', 'x', { idempotencyKey: 'k', idempotencyWindow: 0.5 })).offset, 1);
    assert.deepEqual(log, []);
  },
);

onEachStore('what is wrong with one user is his own', async (make) => {
  const broker = make();
  const { push } = await startPush({ broker });
  const odd = ['', 'x'.repeat(129), 'line\nbreak', '\ud800', 5, null, undefined, {}, ['a']];
  const results = await push.sendMany(['alice', ...odd, 'bob', 'alice'] as string[], 'x');
  assert.equal(results.length, odd.length + 3);
  for (const { error, receipt } of results.slice(1, odd.length + 1)) {
    assert.ok(error instanceof TypeError);
    assert.equal(receipt, undefined);
  }
  assert.equal(await lengthOf(broker, 'alice'), 2);
  assert.equal(await lengthOf(broker, 'bob'), 1);
  assert.deepEqual(await push.sendMany([], 'x'), []);
});

onEachStore('a call that is made again with its key sends to nobody twice', async (make) => {
  const broker = make();
  const { push } = await startPush({ broker });
  const settings = { idempotencyKey: 'news 42' };
  const first = await push.sendMany(names(50), 'x', settings);
  const again = await push.sendMany(names(80), 'x', settings);
  for (const [i, { receipt }] of again.entries()) {
    assert.equal(receipt!.duplicate, i < 50);
    if (i < 50) assert.deepEqual({ ...receipt, duplicate: false }, first[i]!.receipt);
  }
  for (const user of names(80)) assert.equal(await lengthOf(broker, user), 1);
});

test('users may be anything to iterate over, and come as they come', async () => {
  const { push } = await startPush();
  async function* slowly() {
    for (const user of names(30)) {
      await new Promise((resolve) => setImmediate(resolve));
      yield user;
    }
  }
  const map = new Map(names(30).map((user) => [user, 1]));
  for (const users of [new Set(names(30)), map.keys(), slowly(), names(30).values()]) {
    const results = await push.sendMany(users, 'x');
    assert.deepEqual(
      results.map(({ user }) => user),
      names(30),
    );
  }
  for (const odd of ['alice', 5, null, undefined, {}]) {
    await assert.rejects(push.sendMany(odd as never, 'x'), TypeError, String(odd));
  }
});

test('what can not be sent to anybody is refused before anything is', async () => {
  const { push } = await startPush({ limits: { message: 10 } });
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  await assert.rejects(push.sendMany(['a'], undefined), TypeError);
  await assert.rejects(push.sendMany(['a'], cyclic), TypeError);
  await assert.rejects(push.sendMany(['a'], 'more than ten'), RangeError);
  await assert.rejects(push.sendMany(['a'], 'x', { at: Number.NaN }), TypeError);
  await assert.rejects(push.sendMany(['a'], 'x', { idempotencyKey: 5 as never }), TypeError);
  assert.equal(push.stats().published, 0);
});

test('data is encoded once, and what becomes of it meanwhile changes nothing', async () => {
  const broker = memoryBroker();
  const { push } = await startPush({ broker });
  let encoded = 0;
  await push.sendMany(names(100), { toJSON: () => ++encoded });
  assert.equal(encoded, 1);
  const bytes = Buffer.from('first');
  await push.sendMany(names(5000, 'b'), bytes, { each: () => void bytes.fill('x') });
  for (const user of ['b0', 'b4999']) {
    const { messages } = await broker.read(`user:${user}`, 0, 1);
    assert.equal(messages[0]!.payload.toString(), 'first');
  }
  await push.sendMany(['n'], new JsonText('{"n":12345678901234567890}'));
  const { messages } = await broker.read('user:n', 0, 1);
  assert.equal(messages[0]!.payload.toString(), '{"n":12345678901234567890}');
});

test('each is told of everybody with his place, and waited for; there are never many on their way', async () => {
  const store = new MemoryStore();
  const broker = memoryBroker(store);
  const publish = broker.publish.bind(broker);
  let underWay = 0;
  let most = 0;
  broker.publish = async (...all) => {
    most = Math.max(most, ++underWay);
    await new Promise((resolve) => setImmediate(resolve));
    underWay--;
    return publish(...all);
  };
  const { push } = await startPush({ broker });
  let given = 0;
  let told = 0;
  let ahead = 0;
  function* users() {
    for (const user of names(20_000)) {
      given++;
      ahead = Math.max(ahead, given - told);
      yield user;
    }
  }
  const seen = new Map<number, string>();
  const sum = await push.sendMany(users(), 'x', {
    each: async ({ user }, index) => {
      if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      told++;
      seen.set(index, user);
    },
  });
  assert.deepEqual(sum, { sent: 20_000, duplicates: 0, failed: 0 });
  assert.equal(seen.size, 20_000);
  for (const [index, user] of seen) assert.equal(user, `u${index}`);
  assert.ok(ahead <= 1024 && most <= 1024, `${ahead} ahead, ${most} on their way`);
  // Of large ones, fewer.
  most = 0;
  await push.sendMany(names(100), 'x'.repeat(1_000_000));
  assert.ok(most <= 4, `${most} of a megabyte on their way`);
});

test('a store in this process leaves others their turn', async () => {
  const { push } = await startPush();
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await push.sendMany(names(30_000), 'x');
  isOver = true;
  assert.ok(turns >= 20, `${turns} turns`);
});

test('what the application throws ends the call, after all on their way are settled, and nothing else', async () => {
  const broker = memoryBroker();
  const { push } = await startPush({ broker });
  let told = 0;
  const boom = new Error('boom');
  for (const each of [
    () => {
      if (++told === 500) throw boom;
    },
    async () => {
      if (++told === 500) throw boom;
    },
  ]) {
    told = 0;
    await assert.rejects(push.sendMany(names(10_000), 'x', { each }), boom);
    assert.ok(told >= 500 && told < 3000, `${told}`);
  }
  let closed = 0;
  async function* failing() {
    try {
      yield 'first';
      throw boom;
    } finally {
      closed++;
    }
  }
  const results: UserResult[] = [];
  await assert.rejects(push.sendMany(failing(), 'x', { each: (result) => results.push(result) }), boom);
  assert.deepEqual(
    results.map(({ user }) => user),
    ['first'],
  );
  function* endless() {
    try {
      for (let i = 0; ; i++) yield `e${i}`;
    } finally {
      closed++;
    }
  }
  const stopping = new AbortController();
  const reason = new Error('enough');
  let count = 0;
  const each = (): void => {
    if (++count === 5000) stopping.abort(reason);
  };
  await assert.rejects(push.sendMany(endless(), 'x', { each, signal: stopping.signal }), reason);
  assert.ok(count < 8000);
  assert.equal(closed, 2);
  await assert.rejects(push.sendMany(['late'], 'x', { signal: AbortSignal.abort(reason) }), reason);
  for (const odd of [{ each: 5 }, { each: {} }, { signal: {} }, { signal: 5 }]) {
    await assert.rejects(push.sendMany(['late'], 'x', odd as never), TypeError);
  }
  assert.equal(await lengthOf(broker, 'late'), 0);
});

test('users that never come hold up nobody who has had enough', async () => {
  const broker = memoryBroker();
  const { push } = await startPush({ broker });
  const reason = new Error('enough');
  const never = new Promise<never>(() => {});
  async function* hanging() {
    yield 'first';
    await never;
  }
  const bare = {
    [Symbol.asyncIterator]: () => {
      let count = 0;
      return { next: () => (count++ === 0 ? Promise.resolve({ done: false, value: 'first' }) : never) };
    },
  };
  const odd = {
    [Symbol.asyncIterator]: () => ({
      ...bare[Symbol.asyncIterator](),
      return() {
        throw new Error('no end');
      },
    }),
  };
  for (const users of [hanging(), bare, odd] as AsyncIterable<string>[]) {
    const stopping = new AbortController();
    const stopped = push.sendMany(users, 'x', {
      each: () => stopping.abort(reason),
      signal: stopping.signal,
    });
    await assert.rejects(stopped, reason);
  }
  // Nor what `each` has thrown.
  const each = (): void => {
    throw reason;
  };
  await assert.rejects(push.sendMany(hanging(), 'x', { each }), reason);
  // What can be ended is, before the call ends.
  let isEnded = false;
  async function* endless() {
    try {
      for (let i = 0; ; i++) yield `e${i}`;
    } finally {
      await new Promise((resolve) => setImmediate(resolve));
      isEnded = true;
    }
  }
  await assert.rejects(push.sendMany(endless(), 'x', { each }), reason);
  assert.equal(isEnded, true);
  // Also where the next user is waited for at that moment.
  isEnded = false;
  let goOn = (): void => {};
  async function* slow() {
    try {
      yield 'slow';
      await new Promise<void>((resolve) => (goOn = resolve));
      yield 'late';
    } finally {
      isEnded = true;
    }
  }
  const stopping = new AbortController();
  const stopped = push.sendMany(slow(), 'x', {
    each: () =>
      setImmediate(() => {
        stopping.abort(reason);
        goOn();
      }),
    signal: stopping.signal,
  });
  await assert.rejects(stopped, reason);
  assert.equal(isEnded, true);
  assert.equal(await lengthOf(broker, 'late'), 0);
  assert.equal(await lengthOf(broker, 'first'), 4);
});

onEachStore('it may be sent later to all of them, and again with its key', async (make) => {
  const broker = make();
  const { push } = await startPush({ broker });
  const at = Date.now() + 500;
  const settings = { at, idempotencyKey: 'k' };
  const first = await push.sendMany(names(200), 'x', settings);
  const again = await push.sendMany(names(200), 'x', settings);
  for (const [i, { receipt }] of again.entries()) {
    assert.ok(receipt !== undefined && 'scheduled' in receipt);
    assert.deepEqual({ ...first[i]!.receipt, duplicate: true }, receipt);
  }
  assert.equal((await push.scheduled()).count, 200);
  await until('all of them', async () => (await push.scheduled()).count === 0, 20_000);
  for (const user of names(200)) assert.equal(await lengthOf(broker, user), 1);
});

describe('with Redis', { ...needs('redis'), timeout: 120_000 }, () => {
  test('many users share few calls', async () => {
    const redis = await startRedis();
    const proxy = await startCountingProxy(redis.port, /tidings:control|tidings:schedule/);
    const { push } = await startPush({
      broker: redisBroker(proxy.url, { intake: false }),
      checkInterval: 3_600_000,
    });
    try {
      await push.send('first', 'x');
      proxy.trips.length = 0;
      await push.sendMany(names(6400), 'x');
      const calls = proxy.trips.flat().filter((name) => name.startsWith('EVAL')).length;
      assert.ok(calls <= 220, `${calls} calls for 6,400 users`);
    } finally {
      await push.close();
      await proxy.close();
      await redis.stop();
    }
  });

  test('a store that goes away fails those whom it had not, and the same call later brings it to them', async () => {
    const redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
    const broker = redisBroker(redis.url, { publishMaxWait: 300, reconnectMaxDelay: 100 });
    const { push } = await startPush({ broker });
    try {
      const settings = { idempotencyKey: 'k' };
      let isKilled = false;
      let told = 0;
      const sum = await push.sendMany(names(8000), 'x', {
        ...settings,
        each: () => {
          if (++told < 2000 || isKilled) return;
          isKilled = true;
          void redis.kill();
        },
      });
      assert.equal(sum.sent + sum.failed, 8000);
      assert.ok(sum.failed > 0 && sum.sent > 0, JSON.stringify(sum));
      await redis.start();
      await until('the store', () => !push.stats().storeAway);
      const again = await push.sendMany(names(8000), 'x', settings);
      assert.ok(again.every(({ error }) => error === undefined));
      for (const user of names(8000).filter((_, i) => i % 100 === 0))
        assert.equal(await lengthOf(broker, user), 1);
    } finally {
      await push.close();
      await redis.stop();
    }
  });

  test('in a Cluster, to users of all slots', async () => {
    const cluster = await startCluster();
    try {
      const broker = redisBroker(cluster.target);
      const { push } = await startPush({ broker });
      const results = await push.sendMany(names(2000), 'x');
      assert.ok(results.every(({ error }) => error === undefined));
      for (const user of ['u0', 'u999', 'u1999']) assert.equal(await lengthOf(broker, user), 1);
      await push.close();
    } finally {
      await cluster.stop();
    }
  });
});
