/** What operators look at: all instances, the frames of a user, what the store has of a channel, whether an instance is ready. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import SockJS from 'sockjs-client';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer, TooManyFollowersError } from '../../src/push/index.ts';
import { healthOf } from '../../src/push/watch/health.ts';
import { shownFrame } from '../../src/push/watch/shown-frame.ts';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

type Event = Record<string, unknown>;

/** What is told of a user who is followed. */
function watch(push: PushServer, user: string, data: boolean) {
  const events: Event[] = [];
  let dropped = 0;
  const end = push.follow(
    user,
    (more, lost) => {
      events.push(...more);
      dropped += lost;
    },
    { data },
  );
  const texts = (event: string) =>
    events.filter((one) => one['event'] === event).map((one) => String(one['text']));
  return {
    events,
    end,
    texts,
    get dropped() {
      return dropped;
    },
    has: (event: string, text: RegExp) =>
      until(`${event} ${text}`, () => texts(event).find((one) => text.test(one))),
  };
}

onEachStore('a user is followed on whichever instance his pages are, until nobody looks', async (broker) => {
  const sockjs = { prefix: '/sockjs' };
  const one = await startPush({ broker: broker(), instance: 'one' });
  const two = await startPush({
    broker: broker(),
    instance: 'two',
    sockjs,
    topics: {},
    authorize: { subscribe: () => true, publish: () => true },
  });
  const page = await Page.open(two.url, 'alice', { topics: ['news'] });
  const other = await Page.open(two.url, 'bob', { topics: ['news'] });

  const hidden = watch(one.push, 'alice', false);
  const shown = watch(one.push, 'alice', true);
  await until('the page that is there', () => hidden.events.some(({ event }) => event === 'there'));
  await until('the same', () => shown.events.some(({ event }) => event === 'there'));
  await one.push.send('alice', { n: 1, secret: 'hush' });
  // To many at once, which does not pass by the session.
  await one.push.publish('news', { topical: 'hush' });
  await one.push.broadcast('to all: hush');
  page.say({ type: 'publish', channel: 'news', data: 'said: hush' });
  page.say({ type: 'renew', ticket: 'very-secret-ticket' });

  await shown.has('sent', /"channel":"inbox".*"secret":"hush"/);
  await shown.has('sent', /"channel":"news".*"topical":"hush"/);
  await shown.has('sent', /transient.*to all: hush/);
  await shown.has('received', /"type":"publish".*said: hush/);
  await shown.has('received', /"type":"renew","ticket":"…"/);
  // What the page has published comes back to it.
  await shown.has('sent', /"channel":"news".*said: hush/);
  await hidden.has('sent', /"channel":"inbox".*"data":"…"/);
  await hidden.has('sent', /"channel":"news".*"data":"…"/);
  await hidden.has('sent', /transient.*"data":"…"/);
  await hidden.has('received', /"type":"publish","channel":"news","data":"…"/);
  await hidden.has('received', /"type":"renew"/);
  assert.doesNotMatch(JSON.stringify(hidden.events), /hush|very-secret/);
  assert.doesNotMatch(JSON.stringify(shown.events), /very-secret/);
  // Each once, and in the order in which they went.
  const offsets = shown.texts('sent').filter((text) => text.includes('"type":"message"'));
  assert.equal(offsets.length, 3, offsets.join('\n'));
  for (const { instance, session } of shown.events.filter(({ event }) => event !== 'alive')) {
    assert.equal(instance, 'two');
    assert.equal(session, (await two.push.sessions('alice'))[0]?.session);
  }

  // A page that comes by the other door, and one in plain mode.
  const client = new SockJS(
    `${two.url.replace('ws:', 'http:').replace('/socketServer', '/sockjs')}?user=alice`,
    null,
    {
      transports: ['xhr-polling'],
    },
  );
  const plain = await Page.plain(one.url, 'alice');
  await until('both', () => shown.events.filter(({ event }) => event === 'opened').length === 2);
  await until('the SockJS page', () => client.readyState === 1);
  client.send('ping');
  plain.socket.send('plain: hush');
  await hidden.has('received', /^ping$/);
  await hidden.has('sent', /^hb_ok$/);
  await shown.has('received', /^plain: hush$/);
  await one.push.notify('alice', 'noted: hush');
  await until(
    'three pages to be told',
    () => shown.texts('sent').filter((text) => /noted: hush/.test(text)).length === 3,
  );
  client.close();
  plain.socket.close(1000, 'enough');
  await until('both to go', () => shown.events.filter(({ event }) => event === 'closed').length === 2);
  assert.ok(shown.events.some(({ code, reason }) => code === 1000 && reason === 'enough'));
  assert.doesNotMatch(JSON.stringify(hidden.events), /hush/);

  hidden.end();
  shown.end();
  // Nothing is left behind on what was listened to.
  const [session] = [...two.push.localSessions()].filter(({ user }) => user === 'alice');
  await until('the taps to be gone', () => !Object.hasOwn(session!.transport, 'send'));
  const before = shown.events.length;
  await one.push.send('alice', 'unheard');
  await until('the message', () => JSON.stringify(page.received).includes('unheard'));
  assert.equal(shown.events.length, before);
  assert.equal(JSON.stringify(other.received).includes('"topical":"hush"'), true);
  // Who looks on changes nothing of what is counted: two messages to alice's page, and two of the topic to both.
  const { samples } = two.push.metrics().find(({ name }) => name === 'tidings_deliveries_total')!;
  assert.deepEqual(Object.fromEntries(samples.map(({ labels, value }) => [labels['source'], value])), {
    live: 6,
    log: 0,
    transient: 4,
  });
  await one.push.close();
  await two.push.close();
});

onEachStore(
  'all instances answer with what they are doing; who is gone is not among them',
  async (broker) => {
    const one = await startPush({ broker: broker(), instance: 'one' });
    const two = await startPush({ broker: broker(), instance: 'two' });
    await Page.open(two.url, 'alice');
    const stranger = new Page(two.url, '');
    await until('a refusal', () => stranger.refusal === 401);
    const told = await until('both instances', async () => {
      const instances = await one.push.instances();
      return instances.length === 2 && instances;
    });
    assert.deepEqual(
      told.map(({ instance, sessions, ready, draining }) => [instance, sessions, ready, draining]),
      [
        ['one', 0, true, false],
        ['two', 1, true, false],
      ],
    );
    assert.ok(told[1]!.sentFrames > 0 && told[1]!.memoryBytes > 0 && told[1]!.started > 1.6e12);
    assert.equal(
      Object.values(told[1]!.refusals).reduce((sum, count) => sum + count, 0),
      1,
    );
    // Both are of this process.
    await until('a late event loop to be told', async () => {
      const end = Date.now() + 60;
      while (Date.now() < end);
      const delays = (await one.push.instances()).map(({ loopDelay }) => loopDelay);
      return delays.length === 2 && delays.every((delay) => delay > 30);
    });
    const [first, second] = await Promise.all([one.push.instances(), one.push.instances()]);
    assert.equal(first, second);
    await two.push.close();
    await until('the one that is left', async () => (await one.push.instances()).length === 1);
    await one.push.close();
  },
);

test('a flood is counted, not told; and so many may follow at once', async () => {
  const { push, url } = await startPush({ limits: { messagesPerSecond: 0 } });
  const page = await Page.open(url, 'alice');
  const seen = watch(push, 'alice', true);
  for (let n = 0; n < 1_000; n++) page.say({ type: 'ping' });
  await until('all to be told or counted', () => {
    const frames = seen.events.filter(({ event }) => event === 'received' || event === 'sent').length;
    return frames + seen.dropped >= 2_000;
  });
  assert.ok(seen.dropped > 1_000, String(seen.dropped));
  const ends = Array.from({ length: 19 }, () => push.follow('bob', () => {}));
  assert.throws(() => push.follow('bob', () => {}), TooManyFollowersError);
  for (const end of ends) end();
  let hasEnded = false;
  push.follow('bob', () => {}, {
    ended: () => {
      hasEnded = true;
    },
  });
  await push.close();
  assert.ok(hasEnded);
  assert.throws(() => push.follow('a\nb', () => {}), TypeError);
});

test('who follows and throws or rejects, when told or at the end, is logged, and ends nothing', async () => {
  const failures: unknown[] = [];
  const { push, url } = await startPush({
    log: (level, _message, { event, error }) => level === 'error' && failures.push([event, error]),
  });
  const fail = (what: string) => () => {
    throw new Error(what);
  };
  push.follow('alice', fail('told'), { ended: fail('ended') });
  push.follow('alice', async () => fail('told late')(), { ended: async () => fail('ended late')() });
  const seen = watch(push, 'alice', true);
  const page = await Page.open(url, 'alice');
  await seen.has('sent', /welcome/);
  await push.send('alice', 'still here');
  await until('the message', () => page.data('inbox').length === 1);
  await push.close();
  const told = new Set(failures.map((failure) => String(failure)));
  assert.deepEqual(
    told,
    new Set(['told', 'told late', 'ended', 'ended late'].map((what) => `handler-failed,Error: ${what}`)),
  );
});

test('of a frame, tickets are never shown, and data only where it may be', () => {
  const shown = (frame: unknown, withData: boolean) =>
    shownFrame(JSON.stringify(frame), false, true, withData).text;
  const message = { type: 'message', channel: 'inbox', offset: 1, data: { ticket: 'mine' }, reference: 'r' };
  assert.equal(shown(message, true), JSON.stringify(message));
  assert.equal(shown(message, false), JSON.stringify({ ...message, data: '…', reference: '…' }));
  const big = '{"type":"message","data":{"n":12345678901234567890}}';
  assert.equal(shownFrame(big, false, true, true).text, big);
  for (const withData of [true, false]) {
    assert.doesNotMatch(shown({ type: 'subscribe', ticket: 's3cret' }, withData)!, /s3cret/);
    assert.doesNotMatch(
      shownFrame('{"type":"renew","\\u0074icket":"s3cret"}', false, true, withData).text!,
      /s3cret/,
    );
    assert.doesNotMatch(
      shownFrame('{"type":"renew","ticket":"s3cret"', false, true, withData).text!,
      /s3cret/,
    );
    const deep = `{"type":"hello","topics":${'['.repeat(50_000)}`;
    assert.equal(shownFrame(deep, false, true, withData).text, '…');
  }
  assert.equal(shown({ type: 'x', whatever: 's3cret' }, false), '{"type":"x","whatever":"…"}');
  const history = { type: 'history', messages: [{ offset: 1, data: 's3cret' }] };
  assert.equal(shown(history, false), '{"type":"history","messages":[{"offset":1,"data":"…"}]}');
  const welcome = { type: 'welcome', channels: { data: { position: { epoch: 'e', offset: 1, id: 'i' } } } };
  assert.equal(shown(welcome, false), JSON.stringify(welcome));
  assert.deepEqual(shownFrame('text', false, false, false), { bytes: 4 });
  assert.deepEqual(shownFrame(Buffer.from([1, 2]), true, false, false), { bytes: 2, binary: true });
  assert.deepEqual(shownFrame('x'.repeat(300_000), false, true, true), { bytes: 300_000, cut: true });
  assert.equal(shownFrame(`"${'x'.repeat(5_000)}"`, false, true, true).text!.length, 4_096);
});

onEachStore(
  'of a channel it is told how much the store has, up to where, and what devices are behind',
  async (broker) => {
    const { push, url } = await startPush({ broker: broker(), retention: { inbox: { maxMessages: 5 } } });
    const info = (user: string) => push.channelInfo({ user });
    const { position, ...none } = await info('alice');
    assert.deepEqual([position.offset, none], [0, { first: 1, messages: 0, devices: [] }]);
    for (let n = 1; n <= 4; n++) await push.send('alice', n);
    const page = await Page.open(url, 'alice', { device: 'd', start: 'retained' });
    await until('all', () => page.data().length === 4);
    page.say({ type: 'ack', channel: 'inbox', position: page.position() });
    await until('the acknowledgement', async () => (await info('alice')).devices!.length === 1);
    for (let n = 5; n <= 8; n++) await push.send('alice', n);
    const withdrawn = await push.send('alice', 'a mistake');
    await push.withdraw('alice', { id: withdrawn.id });
    const { id, offset, epoch } = await push.send('alice', 10);
    assert.deepEqual(await info('alice'), {
      position: { id, offset, epoch },
      first: 6,
      messages: 4,
      devices: [{ device: 'd', offset: 4, behind: 6 }],
    });
    await push.publish('news', 1);
    const { first, messages, devices } = await push.channelInfo({ topic: 'news' });
    assert.deepEqual([first, messages, devices], [1, 1, undefined]);
    await assert.rejects(push.channelInfo({ topic: 'user:alice' }), TypeError);
    await assert.rejects(info('a\nb'), TypeError);
    await push.close();
  },
);

test('an instance is ready from its start to its end, but not while its store is away for too long', async () => {
  const { push } = await startPush();
  assert.deepEqual(push.health(), { ready: true });
  const closing = push.close();
  assert.deepEqual(push.health(), { ready: false, reason: 'draining' });
  await closing;
  const broker = memoryBroker();
  const never = new PushServer({
    broker: Object.assign(Object.create(broker), { open: () => new Promise(() => {}) }),
    log: () => {},
  });
  assert.equal(never.health().reason, 'starting');
  const after = (awayFor: number) => healthOf({ isOpen: true, isDraining: false, awayFor }, 1_000);
  assert.deepEqual(after(1_000), { ready: true, storeAwayFor: 1_000 });
  assert.deepEqual(after(1_001), { ready: false, reason: 'store-away', storeAwayFor: 1_001 });
  assert.throws(() => never.health({ storeGrace: -1 }), RangeError);
  assert.throws(() => never.health({ grace: 1 } as object), TypeError);
});
