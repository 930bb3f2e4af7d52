/** Names from outside are UTF-8 or refused, wherever they come in, and are keys of maps only. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer, queryUser, signedTicket } from '../../src/push/index.ts';
import { client } from '../sockjs/support.ts';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

const ODD = ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'prototype', 'valueOf', '0'];

onEachStore(
  'topics and users with names of an object: subscribing, positions, options, coming back',
  async (broker) => {
    const { push, url } = await startPush({
      broker: broker(),
      limits: { messagesPerSecond: 0 },
      authorize: { subscribe: () => true, publish: () => true },
      topics: { 'constructor*': { retention: { maxMessages: 5 } } },
    });
    const page = await Page.open(url, '__proto__', { topics: ODD });
    const { channels } = await page.frame('welcome');
    assert.deepEqual(Object.keys(channels).sort(), [...ODD, 'inbox'].sort());
    for (const topic of ODD) {
      await push.publish(topic, `one ${topic}`);
      page.say({ type: 'publish', channel: topic, data: `two ${topic}` });
    }
    await push.send('__proto__', 'mail');
    await push.send('constructor', 'not for this one');
    for (const topic of ODD) {
      await until('both', () => page.messages(topic).length === 2);
      assert.deepEqual(page.data(topic), [`one ${topic}`, `two ${topic}`]);
    }
    await until('mail', () => page.data().length === 1);
    const positions = Object.fromEntries(
      ODD.map((topic) => {
        const { epoch, offset, id } = page.messages(topic)[0]!;
        return [topic, { epoch, offset, id }];
      }),
    );
    await page.close();
    const back = await Page.open(url, '__proto__', { positions });
    for (const topic of ODD) {
      await until('the second', () => back.messages(topic).length === 1);
      assert.deepEqual(back.data(topic), [`two ${topic}`]);
      back.say({ type: 'unsubscribe', channel: topic });
    }
    await back.frame('unsubscribed', ODD.length - 1);
    assert.deepEqual(back.frames('error'), []);
    assert.equal((await push.sessions('__proto__')).length, 1);
    assert.equal(await push.online('toString'), false);
    await push.close();
  },
);

test('a query or a ticket that is not UTF-8 gets 400: no two users become one', async () => {
  const { push, url } = await startPush({
    sockjs: { prefix: '/sockjs' },
    interceptors: [signedTicket({ secret: 'a secret of enough bytes' }), queryUser('operator')],
  });
  const http = client(Number(new URL(url).port));
  for (const query of [
    'operator=%D5%C5',
    'operator=%C0%EE',
    'ticket=%D5%C5',
    'operator=%ED%A0%80',
    'operator=a%FF',
  ]) {
    assert.equal(await new Page(`${url}?${query}`, '').ended(), 400, query);
    // A page is told by a close code.
    const path = `/sockjs/000/${encodeURIComponent(query)}/xhr?${query}`;
    assert.equal((await http.post(path)).body, 'o\n', query);
    assert.match((await http.post(path)).body, /^c\[4500,/, query);
  }
  const page = new Page(`${url}?operator=${encodeURIComponent('张')}`, '');
  await until('it is open', () => page.socket.readyState === 1);
  await push.send('张', 'x');
  await until('its mail', () => page.received.length === 1);
  await push.close();
});

test('lone surrogates are refused in every name: users, topics, devices, keys, references, instances', async () => {
  const bad = ['\ud800', 'a\udfff', '\udc00\ud800'];
  const { push, url } = await startPush({
    authorize: { subscribe: () => true, publish: () => true },
    references: { channel: 'mail', resolve: () => ({ user: 'alice', data: 1 }) },
  });
  const page = await Page.open(url, 'alice');
  for (const name of bad) {
    for (const call of [
      push.send(name, 1),
      push.publish(name, 1),
      push.notify(name, 1),
      push.sendReference(name, 'k'),
      push.sendReference('alice', name),
      push.publishReference('mail', name),
      push.send('alice', 1, { idempotencyKey: name }),
      push.publish('news', 1, { idempotencyKey: name }),
      push.pending(name),
    ]) {
      await assert.rejects(call, TypeError);
    }
    assert.throws(() => new PushServer({ instance: name }), TypeError);
    const before = page.frames('error').length;
    for (const frame of [
      { type: 'subscribe', channel: name },
      { type: 'publish', channel: name, data: 1 },
      { type: 'publish', channel: 'news', data: 1, idempotencyKey: name },
      { type: 'unsubscribe', channel: name },
    ]) {
      page.say(frame);
    }
    await page.frame('error', before + 3);
    const other = new Page(url, 'bob', ['tidings.1']);
    await until('an open page', () => other.socket.readyState === 1);
    other.say({ type: 'hello', device: name });
    assert.equal((await other.frame('error')).code, 'bad-frame');
    await other.close();
  }
  assert.equal(page.frames('published').length, 0);
  await push.close();
});

test('references on the channel that are not UTF-8 are refused, in one line of the log', async () => {
  const store = new MemoryStore();
  const resolved: string[] = [];
  const { push, log } = await startPush({
    broker: memoryBroker(store),
    references: {
      channel: 'mail',
      resolve: (key) => {
        resolved.push(key);
        return { user: 'alice', data: key };
      },
    },
  });
  const outside = memoryBroker(store);
  for (const bytes of [
    [0xd5, 0xc5],
    [0xc0, 0xee],
    [0x34, 0x32],
  ]) {
    await outside.notify('mail', Buffer.from(bytes));
  }
  await until('two lines', () => log.length === 2 && resolved.length > 0);
  assert.deepEqual(resolved, ['42']);
  await push.close();
});
