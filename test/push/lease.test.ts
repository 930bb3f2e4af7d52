/** Without a lease nothing that comes from the store goes to a page, by whatever way; what a log keeps comes later. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Broker, BrokerListener } from '../../src/pubsub/store/broker.ts';
import type { ControlLog } from '../../src/pubsub/store/control.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import type { PushServerOptions } from '../../src/push/index.ts';
import { client } from '../sockjs/support.ts';
import { until } from '../support/net.ts';
import { faultyBroker } from './faulty-broker.ts';
import { Page, startPush } from './support.ts';

/** A broker whose lease is in the test's hands. As with Redis', whoever finds out first that it is over tells it. */
function leased(inner: Broker) {
  const broker = faultyBroker(inner);
  let isHeld = true;
  let isTold = false;
  const control: ControlLog = {
    get mark() {
      return inner.control.mark;
    },
    mayDeliver() {
      if (!isHeld && !isTold) {
        isTold = true;
        broker.listener.down(new Error('the lease is over'));
        broker.listener.control!.lapsed();
      }
      return isHeld;
    },
    say: (...all) => inner.control.say(...all),
    record: (key) => inner.control.record(key),
    records: () => inner.control.records(),
  };
  return {
    broker: { ...broker, control, open: (listener: BrokerListener) => broker.open(wired(listener, broker)) },
    lapse() {
      isHeld = false;
    },
    renew() {
      isHeld = true;
      isTold = false;
      broker.listener.up();
    },
  };
}

/** `faultyBroker` keeps the listener that it was given. */
function wired(listener: BrokerListener, broker: { listener: BrokerListener }): BrokerListener {
  broker.listener = listener;
  return listener;
}

async function stage(options: PushServerOptions = {}) {
  const store = new MemoryStore();
  const lease = leased(memoryBroker(store));
  const running = await startPush({ ...options, broker: lease.broker });
  const { push: sender } = await startPush({ broker: memoryBroker(store) });
  return { ...running, lease, sender };
}

/** Gives all that might wrongly come the time of some turns. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('messages, live and shared, in both modes, wait for the lease and come in their order', async () => {
  const { url, lease, sender } = await stage();
  const page = await Page.open(url, 'alice', { topics: ['news'] });
  const plain = await Page.plain(url, 'alice');
  await sender.send('alice', 1);
  await sender.publish('news', 1);
  await until('what is live', () => page.data('news').length === 1 && plain.received.length === 1);
  lease.lapse();
  for (let n = 2; n <= 5; n++) {
    await sender.send('alice', n);
    await sender.publish('news', n);
  }
  await turns();
  assert.deepEqual([page.data(), page.data('news'), plain.received], [[1], [1], ['1']]);
  assert.deepEqual((await page.frame('status')).behind, true);
  lease.renew();
  await until('the rest', () => page.data().length === 5 && page.data('news').length === 5);
  await until('the rest', () => plain.received.length === 5);
  assert.deepEqual(page.data(), [1, 2, 3, 4, 5]);
  assert.deepEqual(page.data('news'), [1, 2, 3, 4, 5]);
  assert.deepEqual(plain.received, ['1', '2', '3', '4', '5']);
});

test('state, counts, and answers to marks and history wait for the lease, or are refused', async () => {
  const { url, lease, sender } = await stage({ plainCounts: true });
  const page = await Page.open(url, 'alice', { topics: ['news'] });
  const plain = await Page.plain(url, 'alice');
  await sender.send('alice', 1);
  const { id } = await sender.publish('news', 1);
  await until('what is live', () => page.data('news').length === 1 && plain.received.length === 3);
  lease.lapse();
  await sender.mark('alice', { as: 'seen' });
  await sender.withdrawFrom('news', { id });
  page.say({ type: 'mark', as: 'read', ref: 'mark' });
  page.say({ type: 'history', ref: 'history' });
  await until('refusals', () => page.frames('error').length === 2);
  assert.ok(page.frames('error').every(({ code }) => code === 'unavailable'));
  await turns();
  assert.deepEqual([page.frames('state'), page.frames('marked'), page.frames('history')], [[], [], []]);
  assert.equal(plain.received.length, 3);
  lease.renew();
  await until('both states', () => page.frames('state').length === 2);
  const [inbox, news] = ['inbox', 'news'].map((name) =>
    page.frames('state').find(({ channel }) => channel === name),
  );
  assert.deepEqual(inbox!.counts, { unseen: 0, unread: 1, all: 1 });
  assert.deepEqual(news!.gone, [[1, 1]]);
  await until(
    'the counts',
    () => plain.received.at(-1) === '{"type":"counts","unseen":0,"unread":1,"all":1}',
  );
});

test('what no log keeps is dropped: notify, broadcast, what the application sends to one session', async () => {
  const { url, lease, sender, push } = await stage();
  const page = await Page.open(url, 'alice');
  lease.lapse();
  await sender.notify('alice', 'lost');
  await sender.broadcast('lost, too');
  for (const session of push.localSessions()) session.send('lost, as the session may have been ended');
  await turns();
  lease.renew();
  await until('the end of the outage', () => page.frames('status').some(({ behind }) => !behind));
  await sender.notify('alice', 'here');
  await sender.broadcast('here, too');
  await until('what came later', () => page.frames('transient').length === 2);
  assert.deepEqual(
    page.frames('transient').map(({ data }) => data),
    ['here', 'here, too'],
  );
});

test('no welcome, and no recovery, before the lease is back', async () => {
  const { url, lease, sender } = await stage();
  for (let n = 1; n <= 3; n++) await sender.send('alice', n);
  lease.lapse();
  const page = new Page(url, 'alice', ['tidings.1']);
  const plain = new Page(url, 'alice');
  await until('open pages', () => page.socket.readyState === 1 && plain.socket.readyState === 1);
  page.say({ type: 'hello', start: 'retained' });
  await page.frame('status');
  await turns();
  assert.deepEqual(page.frames('welcome'), []);
  lease.renew();
  await page.frame('welcome');
  await until('the messages', () => page.data().length === 3);
});

test('a recovery that is under way stands still, and goes on', async () => {
  const { url, lease, sender } = await stage({ limits: { outbox: 1_000_000 } });
  const text = 'x'.repeat(10_000);
  for (let n = 1; n <= 1000; n++) await sender.send('alice', { n, text });
  const page = new Page(url, 'alice', ['tidings.1']);
  await until('an open page', () => page.socket.readyState === 1);
  page.say({ type: 'hello', start: 'retained' });
  await until('the beginning', () => page.data().length > 0);
  lease.lapse();
  await turns();
  // What had been given to the network may still come, or the connection was cut with the rest of it.
  const seen = page.data().length;
  assert.ok(seen < 1000);
  await sender.send('alice', { n: 1001, text });
  await turns();
  lease.renew();
  if (page.socket.readyState === 1) {
    await until('all of them', () => page.data().length === 1001 || page.socket.readyState !== 1, 20_000);
  }
  const numbers = page.data().map((data) => (data as { n: number }).n);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i + 1),
  );
});

test('what a poll of SockJS would get is cut with its session', async () => {
  const { url, lease, sender, push } = await stage({ sockjs: { prefix: '/echo', disconnectDelay: 20_000 } });
  const http = client(Number(new URL(url).port));
  const path = '/echo/000/s1/xhr?user=alice';
  assert.equal((await http.post(path)).body, 'o\n');
  await sender.send('alice', 'waits');
  await until('it to wait', () => [...push.localSessions()].some(({ bufferedAmount }) => bufferedAmount > 0));
  lease.lapse();
  assert.match((await http.post(path).catch(() => ({ body: 'cut' }))).body, /^(?:cut|c\[1006,.*)/);
  lease.renew();
});

test('a page that is sent away does not get its publication obeyed that was still asked about', async () => {
  let answer = (_: boolean): void => {};
  const { push, url } = await startPush({
    authorize: { subscribe: () => true, publish: () => new Promise((resolve) => (answer = resolve)) },
  });
  const watcher = await Page.open(url, 'bob', { topics: ['t'] });
  const page = await Page.open(url, 'alice');
  let asked = false;
  const first = answer;
  page.say({ type: 'publish', channel: 't', data: 'too late' });
  await until('the question', () => {
    asked = answer !== first;
    return asked;
  });
  await push.disconnect('alice');
  answer(true);
  await turns();
  await push.publish('t', 'the end');
  await until('the end', () => watcher.data('t').length > 0);
  assert.deepEqual(watcher.data('t'), ['the end']);
});
