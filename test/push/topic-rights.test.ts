/** Topics that the application gives to users and takes from them: on both stores, in both modes, on all instances. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PushServerOptions } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { queryUser, signTicket, signTopicTicket } from '../../src/push/index.ts';
import type { PushInterceptor } from '../../src/push/options.ts';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, type Running, startPush } from './support.ts';

const SECRET = 'a secret of more than sixteen bytes';

/** `?topics=a,b`; a renewal names those of its ticket. */
const named: PushInterceptor = {
  before({ url }, attributes) {
    const topics = new URL(url ?? '', 'http://host').searchParams.get('topics');
    if (topics !== null) attributes.topics = topics.split(',');
  },
  renew: (ticket) => (ticket === undefined ? undefined : { topics: ticket.split(',').filter(Boolean) }),
};
const withTopics = (url: string, topics: string): string => `${url}?topics=${topics}`;

async function pair(broker: () => Broker, more: PushServerOptions = {}): Promise<[Running, Running]> {
  const options = { lease: 500, interceptors: [queryUser('user'), named], ...more };
  const start = (): Promise<Running> => startPush({ ...options, broker: broker() });
  return [await start(), await start()];
}

const channelsOf = (page: Page): string[] =>
  page.received.flatMap((frame) => {
    const { type, channel } = frame as { type?: string; channel?: string };
    return type === 'message' ? [channel!] : [];
  });

onEachStore('unsubscribe ends a user’s subscriptions on all instances, and says so', async (broker) => {
  const [a, b] = await pair(broker);
  const pages = [
    await Page.open(a.url, 'alice', { topics: ['news', 'sport'] }),
    await Page.open(b.url, 'alice', { topics: ['news'] }),
  ];
  const plain = await Page.plain(withTopics(b.url, 'news'), 'alice');
  const bob = await Page.open(b.url, 'bob', { topics: ['news'] });
  await a.push.publish('news', 1);
  for (const page of [...pages, bob]) await until('the first', () => channelsOf(page).length === 1);
  await until('the first, plain', () => plain.received.length === 1);
  assert.equal(await a.push.unsubscribe('alice', 'news'), 3);
  await b.push.publish('news', 2);
  await b.push.publish('sport', 3);
  await until('bob’s second', () => channelsOf(bob).length === 2);
  await until('what was not taken', () => channelsOf(pages[0]!).includes('sport'));
  for (const page of pages) {
    const { reason } = await page.frame('unsubscribed');
    assert.equal(reason, 'unsubscribed');
    assert.equal(channelsOf(page).filter((name) => name === 'news').length, 1);
  }
  assert.deepEqual(plain.received, ['1']);
  // It may be asked for again, from where it was.
  pages[0]!.say({ type: 'subscribe', channel: 'news' });
  await pages[0]!.frame('subscribed');
  assert.equal(await b.push.unsubscribe('alice', 'news'), 1);
  assert.equal(await b.push.unsubscribe('alice', 'news'), 0);
});

onEachStore('revoke keeps a topic from a user until it ends or is taken back', async (broker) => {
  const [a, b] = await pair(broker, { topicTickets: { secret: SECRET } });
  const page = await Page.open(a.url, 'alice', { topics: ['news'] });
  assert.equal(await b.push.revoke('alice', 'news'), 1);
  assert.equal((await page.frame('unsubscribed')).reason, 'revoked');
  const ticket = signTopicTicket('alice', 'news', { secret: SECRET });
  for (const frame of [{ channel: 'news' }, { channel: 'news', ticket }]) {
    page.received.length = 0;
    page.say({ type: 'subscribe', ...frame });
    assert.equal((await page.frame('error')).code, 'forbidden');
  }
  // Not by its hello, nor by what the application names, nor on another instance, nor one that begins later.
  const [c] = await pair(broker);
  for (const { url } of [a, b, c]) {
    const late = await Page.open(withTopics(url, 'news,sport'), 'alice', { topics: ['news'] });
    const { channels } = await late.frame('welcome');
    assert.deepEqual(Object.keys(channels).sort(), ['inbox', 'sport']);
  }
  await assert.rejects(a.push.subscribe('alice', 'news'), RangeError);
  const bob = await Page.open(b.url, 'bob', { topics: ['news'] });
  assert.ok((await bob.frame('welcome')).channels['news']);
  assert.equal(await a.push.permit('alice', 'news'), true);
  assert.equal(await a.push.permit('alice', 'news'), false);
  page.received.length = 0;
  page.say({ type: 'subscribe', channel: 'news' });
  await page.frame('subscribed');

  await a.push.revoke('alice', 'news', { until: Date.now() + 1000 });
  await until('its end', async () => {
    page.received.length = 0;
    page.say({ type: 'subscribe', channel: 'news' });
    await until('an answer', () => page.received.length > 0);
    return (page.received[0] as { type: string }).type === 'subscribed';
  });
  await assert.rejects(a.push.revoke('alice', 'news', { until: Date.now() - 1 }), RangeError);
  await assert.rejects(a.push.revoke('alice', 'user:bob'), TypeError);
  await assert.rejects(a.push.unsubscribe('', 'news'), TypeError);
});

onEachStore('what the application names or gives is subscribed without asking', async (broker) => {
  const [a, b] = await pair(broker, { authorize: {} });
  await a.push.publish('role:admin', 'before');
  const page = await Page.open(withTopics(a.url, 'role:admin,news'), 'alice');
  const plain = await Page.plain(withTopics(b.url, 'role:admin'), 'alice');
  const { channels } = await page.frame('welcome');
  assert.deepEqual(Object.keys(channels).sort(), ['inbox', 'news', 'role:admin']);
  await b.push.publish('role:admin', 'now');
  await until('the message', () => channelsOf(page).length === 1);
  await until('the message, plain', () => plain.received.length === 1);
  assert.deepEqual(plain.received, ['now']);

  // It goes on behind its position.
  const { channels: at } = await page.frame('welcome');
  const back = await Page.open(withTopics(b.url, 'role:admin'), 'alice', {
    positions: { 'role:admin': at['role:admin']!.position },
  });
  await until('what was missed', () => channelsOf(back).length === 1);

  assert.equal(await b.push.subscribe('alice', 'late'), 3);
  assert.equal(await b.push.subscribe('alice', 'late'), 0);
  assert.equal((await page.frame('subscribed')).channel, 'late');
  await a.push.publish('late', 'x');
  await until('it, everywhere', () => channelsOf(page).includes('late') && channelsOf(back).includes('late'));
  await until('it, in plain mode', () => plain.received.includes('x'));
  // Without being asked, and asked about by nobody.
  page.received.length = 0;
  page.say({ type: 'subscribe', channel: 'late' });
  await page.frame('subscribed');
  page.say({ type: 'subscribe', channel: 'other' });
  assert.equal((await page.frame('error')).code, 'forbidden');
});

onEachStore('a renewal that names other topics brings these and takes those', async (broker) => {
  const [a] = await pair(broker, { authorize: {} });
  const page = await Page.open(withTopics(a.url, 'one,two'), 'alice');
  await page.frame('welcome');
  page.say({ type: 'renew', ticket: 'two,three' });
  await page.frame('renewed');
  assert.deepEqual(await page.frame('unsubscribed'), {
    type: 'unsubscribed',
    channel: 'one',
    reason: 'unsubscribed',
  });
  assert.equal((await page.frame('subscribed')).channel, 'three');
  for (const topic of ['one', 'two', 'three']) await a.push.publish(topic, topic);
  await until('both', () => channelsOf(page).length === 2);
  assert.deepEqual(channelsOf(page).sort(), ['three', 'two']);
});

onEachStore('permission that is given while the topic is taken comes too late', async (broker) => {
  const asked: ((answer: boolean) => void)[] = [];
  const [a, b] = await pair(broker, {
    authorize: { subscribe: () => new Promise((resolve) => asked.push(resolve)) },
  });
  const page = await Page.open(a.url, 'alice');
  await page.frame('welcome');
  page.say({ type: 'subscribe', channel: 'news' });
  await until('the question', () => asked.length === 1);
  assert.equal(await b.push.unsubscribe('alice', 'news'), 1);
  asked[0]!(true);
  assert.equal((await page.frame('error')).code, 'forbidden');

  // In a hello, too.
  const late = new Page(a.url, 'alice', ['tidings.1']);
  await until('an open page', () => late.socket.readyState === 1);
  late.say({ type: 'hello', topics: ['news'] });
  await until('the question', () => asked.length === 2);
  await b.push.revoke('alice', 'news');
  asked[1]!(true);
  assert.deepEqual(Object.keys((await late.frame('welcome')).channels), ['inbox']);
  assert.equal((await late.frame('error')).code, 'forbidden');
});

test('authorize.subscribe is asked each time, and what it does not answer is refused', async () => {
  const answers: (() => unknown)[] = [
    () => true,
    () => true,
    () => false,
    () => true,
    () => {
      throw new Error('the database is away');
    },
    () => true,
    () => new Promise(() => {}),
    () => 'yes',
  ];
  const { url, log, push } = await startPush({
    authorize: { subscribe: () => answers.shift()!() as boolean },
    limits: { answer: 200 },
  });
  const page = await Page.open(url, 'alice');
  await page.frame('welcome');
  const ask = async (): Promise<string> => {
    page.received.length = 0;
    page.say({ type: 'subscribe', channel: 'news' });
    await until('an answer', () =>
      page.received.some((frame) => (frame as { type: string }).type !== 'message'),
    );
    const answer = page.received.at(-1) as { type: string; code?: string };
    return answer.code ?? answer.type;
  };
  const seen: string[] = [];
  for (let n = 0; n < 8; n++) {
    seen.push(await ask());
    page.received.length = 0;
    await push.publish('news', n);
    await push.send('alice', 'done');
    await until('the inbox', () => channelsOf(page).includes('inbox'));
    assert.equal(channelsOf(page).includes('news'), seen[n] === 'subscribed', `${n}: ${seen[n]}`);
  }
  const yes = 'subscribed';
  assert.deepEqual(
    seen.map((one) => (one === 'error' || one === 'unsubscribed' ? 'forbidden' : one)),
    [yes, yes, 'forbidden', yes, 'forbidden', yes, 'forbidden', 'forbidden'],
  );
  assert.equal(log.filter((line) => line.includes('authorize.subscribe')).length, 2);
});

test('a ticket permits one topic to one user for a time', async () => {
  let asked = 0;
  const { url } = await startPush({
    authorize: {
      subscribe: () => {
        asked++;
        return false;
      },
    },
    topicTickets: { secret: [SECRET, 'another secret, that was used before'] },
    expiry: { leeway: 0 },
  });
  const page = await Page.open(url, 'alice');
  await page.frame('welcome');
  const sign = (user: string, topic: string, lifetime?: number, secret = SECRET): string =>
    signTopicTicket(user, topic, { secret, ...(lifetime !== undefined && { lifetime }) });
  const good = sign('alice', 'room:1');
  const bad = {
    'another user': sign('bob', 'room:1'),
    'another topic': sign('alice', 'room:2'),
    expired: sign('alice', 'room:1', -1),
    'another secret': sign('alice', 'room:1', 1000, 'some other secret of 32 bytes ...'),
    altered: `${good.slice(0, -1)}${good.endsWith('A') ? 'B' : 'A'}`,
    'a ticket to come in': signTicket('alice', { secret: SECRET }),
    'no ticket': 'x',
    long: 'x'.repeat(20_000),
  };
  for (const [what, ticket] of Object.entries(bad)) {
    page.received.length = 0;
    page.say({ type: 'subscribe', channel: 'room:1', ticket });
    const { code } = await page.frame('error');
    assert.equal(code, what === 'long' ? 'bad-frame' : 'forbidden', what);
  }
  const old = sign('alice', 'room:1', 60_000, 'another secret, that was used before');
  page.say({ type: 'subscribe', channel: 'room:1', ticket: old });
  await page.frame('subscribed');
  // A ticket for a topic is none to come in with.
  const other = await startPush({
    interceptors: [(await import('../../src/push/index.ts')).signedTicket({ secret: SECRET })],
  });
  assert.equal(await new Page(`${other.url}?ticket=${good}`, '').ended(), 401);

  // It ends with its ticket, and a newer one moves the end.
  const brief = await Page.open(url, 'alice');
  await brief.frame('welcome');
  brief.say({ type: 'subscribe', channel: 'room:1', ticket: sign('alice', 'room:1', 600) });
  brief.say({ type: 'subscribe', channel: 'room:2', ticket: sign('alice', 'room:2', 600) });
  brief.say({ type: 'subscribe', channel: 'room:2', ticket: sign('alice', 'room:2', 60_000) });
  assert.deepEqual(await brief.frame('unsubscribed'), {
    type: 'unsubscribed',
    channel: 'room:1',
    reason: 'expired',
  });
  brief.say({ type: 'unsubscribe', channel: 'room:2' });
  await until(
    'both',
    () => brief.received.filter((f) => (f as { type: string }).type === 'unsubscribed').length === 2,
  );
  assert.equal(asked, 0);
});

test('the names of what is wrong with tickets for topics are told when they are made', async () => {
  assert.throws(() => signTopicTicket('', 'news', { secret: SECRET }), TypeError);
  assert.throws(() => signTopicTicket('alice', 'inbox', { secret: SECRET }), TypeError);
  assert.throws(() => signTopicTicket('alice', 'news', { secret: 'short' }), TypeError);
  await assert.rejects(startPush({ topicTickets: { secret: 'short' } }), TypeError);
});
