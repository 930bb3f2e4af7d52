/** What ends, is taken and is renewed, all at the same time: each part keeps its promise beside the others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PushServerOptions } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { RESTORED } from '../../src/pubsub/store/control.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { queryUser, signTopicTicket } from '../../src/push/index.ts';
import type { PushInterceptor } from '../../src/push/options.ts';
import type { Attributes } from '../../src/server/transport.ts';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, type Running, startPush } from './support.ts';

const SECRET = 'a secret of more than sixteen bytes';

/** What the application says of a page is in the test's hands: each answer waits until it is let go. */
function hesitant() {
  const waiting: (() => void)[] = [];
  let isSlow = false;
  const answer = <T>(value: T): T | Promise<T> =>
    isSlow ? new Promise<T>((resolve) => waiting.push(() => resolve(value))) : value;
  const interceptor: PushInterceptor = {
    async before({ url }, attributes) {
      const said = new URL(url ?? '', 'http://host').searchParams;
      const topics = said.get('topics');
      const login = said.get('login');
      await answer(undefined);
      if (topics !== null) attributes.topics = topics.split(',');
      if (login !== null) attributes.login = login;
    },
    renew: (ticket) => answer(JSON.parse(ticket ?? '{}') as Attributes),
  };
  return {
    interceptor,
    waiting,
    hesitate() {
      isSlow = true;
    },
    letGo() {
      isSlow = false;
      for (const go of waiting.splice(0)) go();
    },
  };
}

async function pair(broker: () => Broker, more: PushServerOptions = {}): Promise<[Running, Running]> {
  const start = (): Promise<Running> => startPush({ lease: 500, ...more, broker: broker() });
  return [await start(), await start()];
}

const renewal = (said: Attributes) => ({ type: 'renew', ticket: JSON.stringify(said) });

onEachStore('a topic that is taken while a renewal names it stays taken', async (broker) => {
  for (const had of ['news,sport', 'sport']) {
    const application = hesitant();
    const [a, b] = await pair(broker, { interceptors: [queryUser('user'), application.interceptor] });
    const page = await Page.open(`${a.url}?topics=${had}`, 'alice');
    application.hesitate();
    page.say(renewal({ topics: ['sport', 'news', 'other'], expires: Date.now() + 600_000 }));
    await until('the question', () => application.waiting.length === 1);
    await b.push.unsubscribe('alice', 'news');
    application.letGo();
    await page.frame('renewed');
    await a.push.publish('news', 'taken');
    await a.push.publish('other', 'given');
    await until('what was given', () => page.data('other').length === 1);
    assert.deepEqual(page.data('news'), [], `it had ${had}`);
  }
});

onEachStore('a topic that is taken while a handshake is under way stays taken', async (broker) => {
  const application = hesitant();
  let connecting: ((answer: true) => void)[] = [];
  const [a, b] = await pair(broker, {
    interceptors: [queryUser('user'), application.interceptor],
    authorize: { connect: () => new Promise((resolve) => connecting.push(resolve)) },
  });
  const address = `${a.url}?topics=sport,news`;
  const pages = [new Page(address, 'alice', ['tidings.1']), new Page(address, 'alice')];
  await until('both to be asked about', () => connecting.length === 2);
  await b.push.unsubscribe('alice', 'news');
  for (const go of connecting) go(true);
  connecting = [];
  await until('open pages', () => pages.every(({ socket }) => socket.readyState === 1));
  pages[0]!.say({ type: 'hello' });
  assert.deepEqual(Object.keys((await pages[0]!.frame('welcome')).channels).sort(), ['inbox', 'sport']);
  await a.push.publish('news', 'taken');
  await a.push.publish('sport', 'given');
  await until('the others', () => pages[1]!.received.length > 0 && pages[0]!.data('sport').length > 0);
  assert.deepEqual(pages[1]!.received, ['given']);
});

onEachStore('a session that has lost its place to a newer one is ended like any other', async (broker) => {
  // A session whose instance has lost its lease falls behind, and nothing more would wait for this one.
  const [a, b] = await pair(broker, { lease: 5000, limits: { sessionsPerUser: 1, outbox: 8_000_000 } });
  const page = await Page.plain(a.url, 'alice');
  const [session] = a.push.localSessions();
  page.socket.pause();
  for (let n = 0; n < 100 && session!.bufferedAmount < 4_000_000; n++)
    await a.push.send('alice', 'x'.repeat(500_000));
  assert.ok(session!.bufferedAmount >= 4_000_000);
  const newer = await Page.plain(a.url, 'alice');
  await until('its place to be taken', () => session!.transport.readyState === 2);
  assert.ok(session!.bufferedAmount > 0);
  assert.equal(await b.push.disconnect('alice'), 2);
  await until('its bytes to be gone', () => session!.bufferedAmount === 0);
  await newer.ended();
});

test('a topic that the application gives outlasts the ticket that had permitted it', async () => {
  const { push, url } = await startPush({
    topicTickets: { secret: SECRET },
    expiry: { leeway: 0 },
    authorize: { subscribe: () => true },
  });
  const page = await Page.open(url, 'alice');
  const sign = (topic: string): string => signTopicTicket('alice', topic, { secret: SECRET, lifetime: 700 });
  for (const channel of ['given', 'asked', 'brief'])
    page.say({ type: 'subscribe', channel, ticket: sign(channel) });
  await page.frame('subscribed', 2);
  await push.subscribe('alice', 'given');
  page.say({ type: 'subscribe', channel: 'asked' });
  await page.frame('unsubscribed');
  // One more sweep.
  await page.frame('subscribed', 3);
  page.say({ type: 'subscribe', channel: 'last', ticket: sign('last') });
  await page.frame('unsubscribed', 1);
  assert.deepEqual(
    page.frames('unsubscribed').map(({ channel }) => channel),
    ['brief', 'last'],
  );
});

test('a login that is ended in the very moment of a renewal to it is ended', async () => {
  for (let ticks = 0; ticks < 12; ticks++) {
    let answer = (_: Attributes): void => {};
    const { push, url } = await startPush({
      interceptors: [
        queryUser('user'),
        { renew: () => new Promise<Attributes>((resolve) => (answer = resolve)) },
      ],
    });
    const page = await Page.open(url, 'alice');
    const before = answer;
    page.say({ type: 'renew', ticket: 'x' });
    await until('the question', () => answer !== before);
    answer({ login: 'L2' });
    for (let i = 0; i < ticks; i++) await undefined;
    await push.disconnect('alice', { login: 'L2' });
    assert.ok([4501, 4503].includes((await page.ended())!), `after ${ticks}`);
    await push.close();
  }
});

test('a topic that is taken in the very moment of its permission is taken', async () => {
  for (let ticks = 0; ticks < 12; ticks++) {
    let answer = (_: true): void => {};
    const { push, url } = await startPush({
      authorize: { subscribe: () => new Promise((resolve) => (answer = resolve)) },
    });
    const page = await Page.open(url, 'alice');
    const before = answer;
    page.say({ type: 'subscribe', channel: 'news' });
    await until('the question', () => answer !== before);
    answer(true);
    for (let i = 0; i < ticks; i++) await undefined;
    await push.revoke('alice', 'news');
    await push.publish('news', 'taken');
    await push.send('alice', 'the end');
    await until('the end', () => page.data().length === 1);
    assert.deepEqual(page.data('news'), [], `after ${ticks}`);
    await push.close();
  }
});

test('what is published in the same turn comes before a topic is taken, or never', async () => {
  const { push, url } = await startPush();
  const pages = await Promise.all(
    Array.from({ length: 20 }, () => Page.open(url, 'alice', { topics: ['news'] })),
  );
  const all: Promise<unknown>[] = [];
  for (let n = 0; n < 50; n++) all.push(push.publish('news', n));
  all.push(push.unsubscribe('alice', 'news'));
  for (let n = 50; n < 60; n++) all.push(push.publish('news', n));
  await Promise.all(all);
  await push.send('alice', 'the end');
  for (const page of pages) {
    await until('the end', () => page.data().length === 1);
    const at = page.received.findIndex((frame) => (frame as { type: string }).type === 'unsubscribed');
    assert.ok(at > 0);
    assert.ok(
      !page.received
        .slice(at)
        .some(
          (frame) =>
            (frame as { channel?: string }).channel === 'news' &&
            (frame as { type?: string }).type === 'message',
        ),
    );
  }
});

test('whoever has a topic that was revoked while nobody here could know loses it', async () => {
  const broker = memoryBroker();
  const { push, url } = await startPush({ broker });
  const page = await Page.open(url, 'alice', { topics: ['news', 'sport'] });
  const other = await Page.open(url, 'bob', { topics: ['news'] });
  const key = `revoked ${JSON.stringify(['alice', 'news'])}`;
  await broker.control.say(
    'nothing',
    {},
    { change: { key, record: { value: '', until: Number.POSITIVE_INFINITY } } },
  );
  await broker.control.say(RESTORED, {});
  await push.publish('news', 1);
  await push.publish('sport', 2);
  await until('what was not', () => page.data('sport').length > 0 && other.data('news').length > 0);
  assert.deepEqual(page.data('news'), []);
  assert.equal((await page.frame('unsubscribed')).reason, 'revoked');
});

test('an acknowledgement that the store is still asked about ends with its session', async () => {
  const inner = memoryBroker();
  let isSlow = false;
  const waiting: (() => void)[] = [];
  const broker: Broker = Object.assign(Object.create(inner), {
    async read(...all: Parameters<Broker['read']>) {
      if (isSlow) await new Promise<void>((resolve) => waiting.push(resolve));
      return inner.read(...all);
    },
  });
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(inner))) {
    const method = (inner as unknown as Record<string, unknown>)[name];
    if (typeof method === 'function' && !Object.hasOwn(broker, name)) {
      Object.assign(broker, { [name]: method.bind(inner) });
    }
  }
  Object.defineProperty(broker, 'control', { value: inner.control });
  const { push, url } = await startPush({ broker });
  const page = await Page.open(url, 'alice', { device: 'phone' });
  for (let n = 0; n < 50; n++) await push.send('alice', n);
  await until('all', () => page.messages().length === 50);
  const { epoch, offset, id } = page.messages()[0]!;
  isSlow = true;
  page.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
  await until('the question', () => waiting.length === 1);
  await push.disconnect('alice');
  isSlow = false;
  waiting[0]!();
  await page.ended();
  await push.close();
  assert.deepEqual(await inner.cursors('user:alice'), []);
});
