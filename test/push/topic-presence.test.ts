/** Who is on a topic, and who is online: on both stores, in both modes, by both doors, over all instances. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import type { PushServerOptions } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { redisBroker } from '../../src/pubsub/store/redis-broker.ts';
import { queryUser } from '../../src/push/index.ts';
import type { PushInterceptor } from '../../src/push/options.ts';
import { client } from '../sockjs/support.ts';
import { until } from '../support/net.ts';
import { needs, typescript } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { onEachStore } from './stores.ts';
import { Page, type Running, startPush } from './support.ts';

/** `?topics=a,b` */
const named: PushInterceptor = {
  before({ url }, attributes) {
    const topics = new URL(url ?? '', 'http://host').searchParams.get('topics');
    if (topics !== null) attributes.topics = topics.split(',');
  },
};

async function pair(broker: () => Broker, more: PushServerOptions = {}): Promise<[Running, Running]> {
  const options: PushServerOptions = {
    lease: 500,
    interceptors: [queryUser('user'), named],
    topics: { 'room:*': { presence: true } },
    sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 },
    ...more,
  };
  const start = (): Promise<Running> => startPush({ ...options, broker: broker() });
  return [await start(), await start()];
}

async function who({ push }: Running, topic: string): Promise<Record<string, number>> {
  const { users, total, sessions } = await push.presence(topic);
  assert.equal(users.length, total);
  assert.equal(
    users.reduce((sum, one) => sum + one.sessions, 0),
    sessions,
  );
  return Object.fromEntries(users.map((one) => [one.user, one.sessions]));
}

const comesTo = (running: Running, topic: string, expected: Record<string, number>): Promise<unknown> =>
  until(`${topic}: ${JSON.stringify(expected)}`, async () => {
    const found = await who(running, topic);
    return JSON.stringify(Object.entries(found).sort()) === JSON.stringify(Object.entries(expected).sort());
  });

onEachStore('a topic knows who is on it, of all instances, modes and doors', async (broker) => {
  const [a, b] = await pair(broker);
  const topics = ['room:1', 'other'];
  const ann = await Page.open(a.url, 'ann', { topics });
  await Page.open(a.url, 'ann', { topics });
  await Page.plain(`${b.url}?topics=room:1`, 'ann');
  const bob = await Page.open(b.url, 'bob', { topics });
  const { port } = a.push.address() as { port: number };
  const { body } = await client(port).post('/sockjs/000/abc/xhr?user=eve&topics=room:1');
  assert.equal(body, 'o\n');
  for (const one of [a, b]) await comesTo(one, 'room:1', { ann: 3, bob: 1, eve: 1 });
  assert.deepEqual(await who(b, 'room:2'), {});

  // However a subscription ends, it ends there, too.
  ann.say({ type: 'unsubscribe', channel: 'room:1' });
  await comesTo(b, 'room:1', { ann: 2, bob: 1, eve: 1 });
  ann.say({ type: 'subscribe', channel: 'room:1' });
  await comesTo(b, 'room:1', { ann: 3, bob: 1, eve: 1 });
  ann.say({ type: 'subscribe', channel: 'room:1', start: 'retained' });
  await a.push.unsubscribe('eve', 'room:1');
  await comesTo(b, 'room:1', { ann: 3, bob: 1 });
  await a.push.revoke('bob', 'room:1');
  await comesTo(a, 'room:1', { ann: 3 });
  await a.push.subscribe('eve', 'room:1');
  await comesTo(b, 'room:1', { ann: 3, eve: 1 });
  await b.push.disconnect('ann');
  await comesTo(b, 'room:1', { eve: 1 });
  bob.cut();
  await a.push.close();
  await comesTo(b, 'room:1', {});
});

onEachStore('a topic names so many users as are asked for, and counts all', async (broker) => {
  const [a, b] = await pair(broker);
  await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      Page.open(i % 2 ? a.url : b.url, `u${i % 20}`, { topics: ['room:1'] }),
    ),
  );
  await comesTo(
    a,
    'room:1',
    Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`u${i}`, i < 10 ? 2 : 1])),
  );
  const few = await b.push.presence('room:1', { limit: 3 });
  assert.deepEqual([few.users.length, few.total, few.sessions], [3, 20, 30]);
  assert.deepEqual(await b.push.presence('room:1', { limit: 0 }), { users: [], total: 20, sessions: 30 });
  for (const limit of [-1, 1.5, Number.NaN, 10_001, '5' as unknown as number]) {
    await assert.rejects(a.push.presence('room:1', { limit }), RangeError);
  }
  await assert.rejects(a.push.presence('other'), /presence: true/);
  for (const topic of ['', 'user:ann', 'inbox', 'a\nb'])
    await assert.rejects(a.push.presence(topic), TypeError);
});

onEachStore('of many users it is told at once who is online', async (broker) => {
  const [a, b] = await pair(broker);
  await Page.open(a.url, 'ann');
  const bob = await Page.plain(b.url, 'bob');
  const users = ['ann', 'bob', 'carl', 'ann', ...Array.from({ length: 3000 }, (_, i) => `nobody ${i}`)];
  for (const { push } of [a, b]) {
    await until('both', async () => (await push.online(users)).size === 2);
    assert.deepEqual(await push.online(['carl', 'bob']), new Set(['bob']));
    assert.deepEqual(await push.online([]), new Set());
    assert.equal(await push.online('ann'), true);
    assert.equal(await push.online('carl'), false);
  }
  bob.cut();
  await until('his end', async () => !(await a.push.online(users)).has('bob'));
  await assert.rejects(a.push.online(['ann', '']), TypeError);
  await assert.rejects(a.push.online([1 as unknown as string]), TypeError);
  await assert.rejects(a.push.online(undefined as unknown as string[]), TypeError);
  await assert.rejects(a.push.online(Array.from({ length: 10_001 }, () => 'u')), RangeError);
});

test('of an instance that is killed nobody is on a topic once its time is over; who came back stays', {
  timeout: 60_000,
  ...needs('redis'),
}, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const program = `
    import { PushServer, queryUser, redisBroker } from './src/index.ts';
    const push = new PushServer({
      port: 0, host: '127.0.0.1', presenceTtl: 900, broker: redisBroker('${redis.url}'),
      interceptors: [queryUser('user')], authorize: { subscribe: () => true }, topics: { room: { presence: true } },
    });
    await push.ready;
    console.log(push.address().port);
  `;
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', program]);
  t.after(() => child.kill('SIGKILL'));
  const [port] = await once(child.stdout, 'data');
  const url = `ws://127.0.0.1:${Number(port)}/socketServer`;
  const own = await startPush({ broker: redisBroker(redis.url), topics: { room: { presence: true } } });
  await Promise.all(['ann', 'ann', 'bob'].map((user) => Page.open(url, user, { topics: ['room'] })));
  await Page.open(own.url, 'carl', { topics: ['room'] });
  await comesTo(own, 'room', { ann: 2, bob: 1, carl: 1 });
  assert.deepEqual(await own.push.online(['ann', 'bob', 'eve']), new Set(['ann', 'bob']));
  child.kill('SIGKILL');
  await Page.open(own.url, 'bob', { topics: ['room'] });
  await comesTo(own, 'room', { bob: 1, carl: 1 });
  assert.deepEqual(await own.push.online(['ann', 'bob']), new Set(['bob']));
});

test('the store is told nothing of topics that nobody wants to know it of', async () => {
  const inner = memoryBroker();
  const told: (string | undefined)[] = [];
  const announce = inner.announce.bind(inner);
  inner.announce = (entries, ttl) => {
    told.push(...entries.map(({ topic }) => topic));
    return announce(entries, ttl);
  };
  const running = await startPush({
    broker: inner,
    topics: { 'room:*': { presence: true }, 'room:big': {} },
  });
  await Page.open(running.url, 'ann', { topics: ['news', 'room:big', 'room:1'] });
  await comesTo(running, 'room:1', { ann: 1 });
  assert.deepEqual(
    told.filter((topic) => topic !== undefined),
    ['room:1'],
  );
});

test('a page that may not have a topic is not on it', async () => {
  const running = await startPush({
    topics: { '*': { presence: true } },
    authorize: { subscribe: ({ user }) => user === 'ann' },
  });
  const eve = await Page.open(running.url, 'eve', { topics: ['room'] });
  eve.say({ type: 'subscribe', channel: 'room' });
  await eve.frame('error', 1);
  await Page.open(running.url, 'ann', { topics: ['room'] });
  await comesTo(running, 'room', { ann: 1 });
});
