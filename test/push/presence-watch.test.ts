/** Pages that are told who comes to a topic and who goes: on both stores, by both doors, over all instances. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { redisBroker } from '../../src/pubsub/store/redis-broker.ts';
import { client } from '../sockjs/support.ts';
import { until } from '../support/net.ts';
import { needs, typescript } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { startCluster } from '../support/redis-groups.ts';
import { ask, changes, pair, seenBy, sees, settings } from './presence-pages.ts';
import { onEachStore, onMemory } from './stores.ts';
import { Page, startPush } from './support.ts';

onEachStore(
  'a page that asks is told who is there, who comes and who goes, of all instances',
  async (broker) => {
    const [a, b] = await pair(broker);
    const bob = await Page.open(b.url, 'bob', { topics: ['room:1'] });
    const ann = await Page.open(a.url, 'ann');
    const silent = await Page.open(a.url, 'sam', { topics: ['room:1'] });
    ask(ann);
    await sees(ann, 'ann', 'bob', 'sam');
    assert.equal((ann.received as { type: string }[]).findIndex(({ type }) => type === 'presence') > 1, true);
    const carl = await Page.open(b.url, 'carl', { topics: ['room:1', 'room:2'] });
    await sees(ann, 'ann', 'bob', 'carl', 'sam');
    // Another session of somebody who is there is no news, nor is one of several that goes.
    const second = await Page.open(a.url, 'bob', { topics: ['room:1'] });
    bob.cut();
    carl.cut();
    await sees(ann, 'ann', 'bob', 'sam');
    assert.deepEqual(changes(ann), ['+carl', '-carl']);
    assert.equal(silent.frames('presence').length, 0);
    await a.push.revoke('bob', 'room:1');
    await sees(ann, 'ann', 'sam');
    second.cut();

    // Who does not want it any more, or has lost the topic, is told nothing.
    ask(ann, 'room:1', false);
    await ann.frame('subscribed', 1);
    ask(silent);
    await sees(silent, 'ann', 'sam');
    const before = ann.frames('presence').length;
    await Page.open(b.url, 'dora', { topics: ['room:1'] });
    await sees(silent, 'ann', 'dora', 'sam');
    assert.equal(ann.frames('presence').length, before);
    await b.push.unsubscribe('sam', 'room:1');
    const told = silent.frames('presence').length;
    ask(ann);
    await sees(ann, 'ann', 'dora');
    assert.equal(silent.frames('presence').length, told);
  },
);

onEachStore('a page by SockJS is told as well', async (broker) => {
  const [a, b] = await pair(broker, { sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 } });
  const { port } = a.push.address() as { port: number };
  const http = client(port);
  const path = '/sockjs/000/watcher';
  assert.equal((await http.post(`${path}/xhr?user=ann&protocol=tidings.1`)).body, 'o\n');
  const frames = [{ type: 'hello' }, { type: 'subscribe', channel: 'room:1', presence: true }];
  const body = JSON.stringify(frames.map((frame) => JSON.stringify(frame)));
  assert.equal((await http.post(`${path}/xhr_send`, { body })).status, 204);
  let heard = '';
  const hears = (what: string): Promise<unknown> =>
    until(what, async () => {
      heard += (await http.post(`${path}/xhr`)).body.replaceAll('\\"', '"');
      return heard.includes(what);
    });
  await hears('"users":["ann"],"total":1');
  const bob = await Page.open(b.url, 'bob', { topics: ['room:1'] });
  await hears('"joined":["bob"],"total":2');
  bob.cut();
  await hears('"left":["bob"],"total":1');
});

onMemory('who may not know who is there is told so, and has the topic nevertheless', async (broker) => {
  let asked = 0;
  const [a] = await pair(broker, {
    limits: { answer: 200 },
    authorize: {
      subscribe: (_, topic) => topic !== 'room:secret',
      presence: ({ user }, topic) => {
        asked++;
        if (topic === 'room:throws') throw new Error('the database is away');
        if (topic === 'room:hangs') return new Promise(() => {});
        return topic === 'room:yes' ? ('yes' as unknown as boolean) : user === 'ann';
      },
    },
  });
  const eve = await Page.open(a.url, 'eve');
  for (const [i, topic] of ['room:1', 'room:throws', 'room:hangs', 'room:yes'].entries()) {
    ask(eve, topic);
    const error = await eve.frame('error', i);
    assert.deepEqual([error.code, error.channel], ['no-presence', topic]);
    await a.push.publish(topic, topic);
    await until('the message', () => eve.data(topic).length === 1);
  }
  assert.equal(asked, 4);
  // Not asked about: a topic that has none, the inbox, a topic that it may not have.
  for (const [i, [topic, code]] of [
    ['news', 'no-presence'],
    ['inbox', 'no-presence'],
    ['room:secret', 'forbidden'],
  ].entries()) {
    ask(eve, topic);
    assert.equal((await eve.frame('error', 4 + i)).code, code, topic);
  }
  ask(eve, 'room:1', 'yes');
  assert.equal((await eve.frame('error', 7)).code, 'bad-frame');
  assert.equal(asked, 4);
  assert.equal(eve.frames('presence').length, 0);
  const ann = await Page.open(a.url, 'ann');
  ask(ann);
  await sees(ann, 'ann', 'eve');

  const without = await startPush({ topics: { '*': { presence: true } } });
  const page = await Page.open(without.url, 'ann');
  ask(page);
  assert.equal((await page.frame('error')).code, 'no-presence');
});

onMemory('pages that come and go a hundred at once are told of together, and each once', async (broker) => {
  const [a, b] = await pair(broker);
  const ann = await Page.open(a.url, 'ann');
  ask(ann);
  await sees(ann, 'ann');
  const names = Array.from({ length: 100 }, (_, i) => `u${String(i).padStart(3, '0')}`);
  const pages = await Promise.all(
    names.map((user, i) => Page.open(i % 2 ? a.url : b.url, user, { topics: ['room:1'] })),
  );
  await sees(ann, 'ann', ...names);
  for (const page of pages) page.cut();
  await sees(ann, 'ann');
  assert.equal(changes(ann).length, 200);
  assert.ok(ann.frames('presence').length < 40, `${ann.frames('presence').length} frames`);
});

onMemory(
  'on a topic that too many are on, pages are told how many, until there are fewer',
  async (broker) => {
    const shared = broker();
    const [a] = await pair(broker);
    await shared.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
    const crowd = Array.from({ length: 1000 }, (_, i) => ({
      session: `s${i}`,
      instance: 'other',
      user: `u${i}`,
      since: 1,
      topic: 'room:1',
    }));
    await shared.announce(crowd, 60_000);
    const ann = await Page.open(a.url, 'ann');
    ask(ann);
    assert.deepEqual(await ann.frame('presence'), { type: 'presence', channel: 'room:1', total: 1001 });
    await Page.open(a.url, 'bob', { topics: ['room:1'] });
    assert.deepEqual(await ann.frame('presence', 1), { type: 'presence', channel: 'room:1', total: 1002 });
    await shared.withdraw(crowd);
    ann.received.length = 0;
    await until('the names', () => seenBy(ann)?.join() === 'ann,bob');
    await shared.close();
  },
);

onMemory('what anybody says on the channel of presence harms nobody', async (broker) => {
  const [a, b] = await pair(broker);
  const ann = await Page.open(a.url, 'ann');
  ask(ann);
  await sees(ann, 'ann');
  const other = broker();
  for (const text of [
    '',
    '{',
    'null',
    '{"a":1}',
    '[null,1,{},["room:1"]]',
    '["__proto__","room:1"]',
    '\u0000',
  ]) {
    await other.notify('presence\n', Buffer.from(text));
  }
  await Page.open(b.url, 'bob', { topics: ['room:1'] });
  await sees(ann, 'ann', 'bob');
});

test('in a Cluster, too, pages are told of many topics, wherever these are kept', {
  timeout: 60_000,
  ...needs('redis'),
}, async (t) => {
  const cluster = await startCluster();
  t.after(() => cluster.stop());
  const [a, b] = await pair(() => redisBroker(cluster.target));
  const topics = Array.from({ length: 20 }, (_, i) => `room:${i}`);
  const ann = await Page.open(a.url, 'ann');
  for (const topic of topics) ask(ann, topic);
  await until('all lists', () => topics.every((topic) => seenBy(ann, topic)?.join() === 'ann'));
  const bob = await Page.open(b.url, 'bob', { topics });
  await until('bob', () => topics.every((topic) => seenBy(ann, topic)?.join() === 'ann,bob'));
  bob.cut();
  await until('his end', () => topics.every((topic) => seenBy(ann, topic)?.join() === 'ann'));
  assert.deepEqual(await b.push.online(['ann', 'bob', ...topics]), new Set(['ann']));
});

test('of an instance that is killed everybody has left once its time is over, but who came back', {
  timeout: 60_000,
  ...needs('redis'),
}, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const program = `
    import { PushServer, queryUser, redisBroker } from './src/index.ts';
    const push = new PushServer({
      port: 0, host: '127.0.0.1', presenceTtl: 1500, broker: redisBroker('${redis.url}'),
      interceptors: [queryUser('user')], topics: { 'room:*': { presence: true } },
      authorize: { subscribe: () => true, presence: () => true },
    });
    await push.ready;
    console.log(push.address().port);
  `;
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', program]);
  t.after(() => child.kill('SIGKILL'));
  const [port] = await once(child.stdout, 'data');
  const url = `ws://127.0.0.1:${Number(port)}/socketServer`;
  const own = await startPush({ ...settings, broker: redisBroker(redis.url) });
  const ann = await Page.open(own.url, 'ann');
  ask(ann);
  await sees(ann, 'ann');
  const pages = await Promise.all(
    ['bob', 'carl'].map((user) => Page.open(url, user, { topics: ['room:1'] })),
  );
  await sees(ann, 'ann', 'bob', 'carl');
  child.kill('SIGKILL');
  for (const page of pages) await until('its end', () => page.socket.readyState === WebSocket.CLOSED);
  await Page.open(own.url, 'bob', { topics: ['room:1'] });
  await sees(ann, 'ann', 'bob');
  assert.deepEqual(changes(ann).sort(), ['+bob', '+carl', '-carl']);
});
