/** What a push server counts: each thing once, under names that no client can make up, and back to nothing at the end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, connect as http2Connect } from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { metricsText } from '../../src/metrics/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { redisBroker } from '../../src/pubsub/store/redis-broker.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { WebSocket as StreamSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';
import { AnyPage, DOORS, startBehindThinLine } from './thin-line.ts';

/** Each line of the text, as name and value. */
function scrape(push: PushServer): Map<string, number> {
  const lines = metricsText(push.metrics())
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

const of = (push: PushServer, name: string): number => {
  const value = scrape(push).get(name);
  assert.notEqual(value, undefined, name);
  return value!;
};

/** Those of a family that are not 0, by their labels. */
function some(push: PushServer, family: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, value] of scrape(push)) {
    if (value !== 0 && name.startsWith(`${family}{`)) found[name.slice(family.length + 1, -1)] = value;
  }
  return found;
}

const HELD =
  /^tidings_(?:sessions(?!_)|handshakes_pending|outbox_bytes|slow_sessions|sockjs_http_sessions|scheduled_under_way|channels)/;

/** What is still held: nothing, once all have gone. */
function held(push: PushServer): Record<string, number> {
  return Object.fromEntries([...scrape(push)].filter(([name, value]) => HELD.test(name) && value !== 0));
}

const goes = (push: PushServer): Promise<unknown> =>
  until('nothing to be held', () => Object.keys(held(push)).every((name) => name === 'tidings_channels'));

onEachStore(
  'at each door and in each mode sessions, frames, messages and ends are counted',
  async (broker) => {
    const { push, path, close } = await startBehindThinLine({
      broker: broker(),
      sockjs: { prefix: '/sockjs', disconnectDelay: 500, heartbeatDelay: 60_000 },
      authorize: { subscribe: () => true },
    });
    const names = [...scrape(push).keys()];
    const kinds = {
      WebSocket: 'websocket',
      'SockJS polling': 'xhr-polling',
      'SockJS streaming': 'xhr-streaming',
      'SockJS websocket': 'sockjs-websocket',
      'SockJS raw': 'websocket',
    };
    const expected: Record<string, number> = {};
    const pages: AnyPage[] = [];
    for (const door of DOORS) {
      for (const isTidings of [false, true]) {
        pages.push(await AnyPage.open(door, isTidings, path, 'alice', { topics: ['news'] }));
        const label = `mode="${isTidings ? 'tidings.1' : 'plain'}",transport="${kinds[door]}"`;
        expected[label] = (expected[label] ?? 0) + 1;
      }
    }
    assert.deepEqual(some(push, 'tidings_sessions'), expected);
    assert.deepEqual(some(push, 'tidings_sessions_opened_total'), expected);
    assert.deepEqual(some(push, 'tidings_handshakes_total'), { 'outcome="accepted"': 10 });
    await push.send('alice', 'one');
    await push.publish('news', 'two');
    await push.notify('alice', 'three');
    await push.broadcast('four');
    // A topic is for those in tidings.1 here.
    const isAll = () =>
      pages.every(
        (page, i) => page.received.length >= 3 && (i % 2 === 0 || page.of('transient').length === 2),
      );
    await until('all messages', isAll);
    assert.deepEqual(some(push, 'tidings_deliveries_total'), {
      'source="live"': 15,
      'source="transient"': 20,
    });
    assert.equal(of(push, 'tidings_publish_to_write_seconds_count{source="live"}'), 15);
    const perFrame = { 'sockjs-websocket': 2, websocket: 4, 'xhr-polling': 2, 'xhr-streaming': 2 };
    for (const [kind, sessions] of Object.entries(perFrame)) {
      const label = `{transport="${kind}"}`;
      // Each in plain mode was sent three messages at the least, and each in tidings.1 a welcome and four.
      assert.ok(of(push, `tidings_sent_frames_total${label}`) >= sessions, kind);
      assert.ok(of(push, `tidings_sent_bytes_total${label}`) > sessions * 20, kind);
      assert.ok(of(push, `tidings_received_frames_total${label}`) >= sessions / 2, kind);
      assert.ok(of(push, `tidings_received_bytes_total${label}`) > 20, kind);
    }
    assert.equal(of(push, 'tidings_received_frames_total{transport="htmlfile"}'), 0);
    for (const page of pages) page.close();
    // Whoever polls does not go by himself.
    for (const session of push.localSessions()) session.close();
    await goes(push);
    const closes = Object.values(some(push, 'tidings_closes_total')).reduce((sum, count) => sum + count, 0);
    assert.equal(closes, 10);
    assert.deepEqual([...scrape(push).keys()], names);
    await close();
    assert.deepEqual(held(push), {});
  },
);

test("SockJS's other transports are told apart, too, and what they bring", async () => {
  const { push, url } = await startPush({
    sockjs: { prefix: '/sockjs', disconnectDelay: 500, heartbeatDelay: 60_000 },
  });
  const base = url.replace('ws', 'http').replace('socketServer', 'sockjs');
  const ends = new AbortController();
  const open = async (transport: string, query = ''): Promise<string> => {
    const path = `${base}/0/${transport}`;
    const headers = { 'Sec-Fetch-Site': 'same-origin' };
    const response = await fetch(`${path}/${transport}?user=alice${query}`, { headers, signal: ends.signal });
    assert.equal(response.status, 200);
    return path;
  };
  await open('eventsource');
  await open('htmlfile', '&c=callback');
  const path = await open('jsonp', '&c=callback');
  const one = { 'mode="plain",transport="eventsource"': 1, 'mode="plain",transport="htmlfile"': 1 };
  assert.deepEqual(some(push, 'tidings_sessions'), { ...one, 'mode="plain",transport="jsonp"': 1 });
  const body = JSON.stringify(['ping']);
  const sent = await fetch(`${path}/jsonp_send?user=alice`, {
    method: 'POST',
    body,
    headers: { 'Content-Type': 'text/plain' },
  });
  assert.equal(sent.status, 200);
  assert.equal(of(push, 'tidings_received_frames_total{transport="jsonp"}'), 1);
  assert.equal(of(push, 'tidings_received_bytes_total{transport="jsonp"}'), body.length);
  for (const transport of ['eventsource', 'htmlfile', 'jsonp']) {
    assert.equal(of(push, `tidings_sent_frames_total{transport="${transport}"}`), 1, transport);
    assert.ok(of(push, `tidings_sent_bytes_total{transport="${transport}"}`) > 0, transport);
  }
  ends.abort();
  await goes(push);
});

test('a limit that is taken anew shows', async () => {
  const { push } = await startPush({ limits: { sessions: 7 } });
  assert.equal(of(push, 'tidings_sessions_limit'), 7);
  await push.reload({ limits: { sessions: 9 } });
  assert.equal(of(push, 'tidings_sessions_limit'), 9);
});

test('frames and bytes are what is on the wire', async () => {
  const { push, url } = await startPush();
  const page = await Page.plain(url, 'alice');
  const socket = (page.socket as unknown as { _socket: Socket })._socket;
  const [read, written] = [socket.bytesRead, socket.bytesWritten];
  const traffic = () =>
    ['received_frames', 'received_bytes', 'sent_frames', 'sent_bytes'].map((name) =>
      of(push, `tidings_${name}_total{transport="websocket"}`),
    );
  assert.deepEqual(traffic(), [0, 0, 0, 0]);
  page.socket.ping();
  for (const length of [0, 125, 126, 20_000, 70_000, 200_000]) {
    page.say('ping');
    page.say('x'.repeat(length));
    await push.send('alice', 'y'.repeat(length));
    page.socket.send(Buffer.alloc(3), { fin: false });
    page.socket.send(Buffer.alloc(3));
  }
  await until('all', () => page.received.length === 12 && traffic()[1] === socket.bytesWritten - written);
  assert.deepEqual(traffic(), [25, socket.bytesWritten - written, 13, socket.bytesRead - read]);
});

test('one message to many of a topic is as many deliveries, and one frame for each', async () => {
  const { push, url } = await startPush();
  const pages = await Promise.all([1, 2, 3, 4, 5].map((n) => Page.open(url, `u${n}`, { topics: ['news'] })));
  const before = of(push, 'tidings_sent_frames_total{transport="websocket"}');
  await Promise.all([push.publish('news', 1), push.publish('news', 2), push.publish('news', 3)]);
  await until('three messages', () => pages.every((page) => page.data('news').length === 3));
  assert.equal(of(push, 'tidings_sent_frames_total{transport="websocket"}') - before, 15);
  assert.deepEqual(some(push, 'tidings_deliveries_total'), { 'source="live"': 15 });
});

test('nothing that a client says becomes a name or a label', async () => {
  const { push, url } = await startPush({
    sockjs: { prefix: '/sockjs', disconnectDelay: 50 },
    handler: { message: (session, data) => session.close(Number(data), 'as you like') },
  });
  await Page.open(url, 'zoe', { topics: ['t'] });
  const names = [...scrape(push).keys()];
  const { origin } = new URL(url.replace('ws', 'http'));
  const evil = 'x"} 1\ntidings_evil{a="b';
  for (const path of [
    '/metrics-evil',
    `/sockjs/0/${encodeURIComponent(evil)}/xhr`,
    '/sockjs/0/0/evil_transport',
  ]) {
    await fetch(`${origin}${path}?user=${encodeURIComponent(evil)}&protocol=evil`, {
      method: 'POST',
      headers: { 'User-Agent': 'evil-agent', 'X-Evil': '1' },
    }).catch(() => {});
  }
  for (const code of [3000, 3999, 4000, 4321, 4499, 4999, 1000, 4430, 4509]) {
    const page = new Page(url, `evil-user-${code}`, code % 2 ? ['evil-protocol', 'tidings.1'] : [], {
      'User-Agent': `evil ${code}`,
    });
    await until('an open page', () => page.socket.readyState === WebSocket.OPEN);
    page.socket.close(code, 'evil reason');
    await page.ended();
  }
  const page = await Page.open(url, 'evil-2', {
    topics: ['evil-topic-1', 'evil-topic-2'],
    device: 'evil-device',
  });
  page.say({ type: 'evil-type', as: 'evil' });
  page.say({ type: 'mark', as: 'evil' });
  page.say({ type: 'mark', as: '__proto__' });
  page.say({ type: 'subscribe', channel: 'evil-topic-3' });
  page.say({ type: 'publish', channel: 'evil-topic-4', data: 1 });
  await until('answers', () => page.frames('error').length === 4 && page.frames('subscribed').length === 1);
  await push.publish('evil-topic-5', 1);
  await page.close();
  const plain = await Page.plain(url, 'evil-3');
  plain.say('3777');
  await plain.ended();
  assert.deepEqual([...scrape(push).keys()], names);
  assert.doesNotMatch(metricsText(push.metrics()), /evil/);
  assert.deepEqual(some(push, 'tidings_closes_total'), {
    'code="1000"': 1,
    'code="1005"': 1,
    'code="3000-3999"': 3,
    'code="4000-4499"': 3,
    'code="4500-4999"': 1,
    'code="4430"': 1,
    'code="4509"': 1,
  });
  // Who says that he is too slow is not closed for it.
  assert.deepEqual(some(push, 'tidings_slow_closes_total'), {});
});

test('each refusal is counted once, by its reason', async () => {
  let answer: (value: boolean) => void = () => {};
  const { push, url } = await startPush({
    sockjs: { prefix: '/sockjs', disconnectDelay: 50 },
    limits: { sessions: 6, sessionsPerAddress: 5, answer: 500 },
    proxies: ['127.0.0.1'],
    interceptors: [
      {
        before: (request, attributes) => {
          const { searchParams } = new URL(request.url!, 'http://x');
          const user = searchParams.get('user');
          if (user !== null) attributes.user = user;
          if (user === 'boom') throw new Error('boom');
          if (user === 'teapot') return new Response('no', { status: 418 });
          if (user === 'late') attributes.expires = 1;
          return undefined;
        },
      },
    ],
    authorize: {
      connect: ({ user }) => {
        if (user === 'hangs') return new Promise((resolve) => (answer = resolve));
        return user !== 'mallory';
      },
    },
    log: () => {},
  });
  const expected: Record<string, number> = {};
  const refused = async (reason: string, user: string, protocols: string[], headers = {}): Promise<void> => {
    const page = new Page(url, user, protocols, headers);
    await page.ended();
    expected[`reason="${reason}"`] = (expected[`reason="${reason}"`] ?? 0) + 1;
    await until(`${reason} of ${user}`, () => {
      const own = some(push, 'tidings_refusals_total')[`reason="${reason}"`];
      return own === expected[`reason="${reason}"`];
    });
    assert.deepEqual(some(push, 'tidings_refusals_total'), expected);
  };
  // By an HTTP status, and by a close code.
  for (const protocols of [[], ['tidings.1']]) {
    await refused('unauthenticated', '', protocols);
    await refused('malformed', 'x'.repeat(300), protocols);
    await refused('forbidden', 'mallory', protocols);
    await refused('failed', 'boom', protocols);
    await refused('other', 'teapot', protocols);
    await refused('expired', 'late', protocols);
    await refused('failed', 'hangs', protocols);
    await refused('origin', 'alice', protocols, { Origin: 'http://evil.example' });
    await push.block({ user: 'bob' });
    await refused('blocked', 'bob', protocols);
  }
  const gone = new AbortController();
  const asked = `${url.replace('ws', 'http').replace('socketServer', 'sockjs')}/0/s/xhr?user=hangs`;
  const given = fetch(asked, { method: 'POST', signal: gone.signal }).catch(() => {});
  await until('a handshake under way', () => of(push, 'tidings_handshakes_pending{state="asked"}') === 1);
  gone.abort();
  await given;
  await until('nobody', () => some(push, 'tidings_refusals_total')['reason="gone"'] === 1);
  expected['reason="gone"'] = 1;
  answer(true);
  const from = (n: number) => ({ 'X-Forwarded-For': `10.0.0.${n}` });
  const pages: Page[] = [];
  for (let i = 0; i < 5; i++) pages.push(new Page(url, `u${i}`, [], from(1)));
  await until('five', () => pages.every((page) => page.socket.readyState === WebSocket.OPEN));
  await refused('address', 'u6', [], from(1));
  pages.push(new Page(url, 'u7', [], from(2)));
  await until('six', () => pages.every((page) => page.socket.readyState === WebSocket.OPEN));
  await refused('full', 'u8', [], from(3));
  const wrong = connect(Number(new URL(url).port), '127.0.0.1');
  wrong
    .end('GET /socketServer HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    .resume();
  expected['reason="malformed"']!++;
  await until('a broken request', () => some(push, 'tidings_refusals_total')['reason="malformed"'] === 3);
  const sum = Object.values(expected).reduce((all, count) => all + count, 0);
  assert.deepEqual(some(push, 'tidings_handshakes_total'), {
    'outcome="accepted"': 6,
    'outcome="refused"': sum,
  });
  for (const page of pages) page.cut();
  await goes(push);
});

onEachStore('who comes back is counted by how that was: recovered, trimmed, rewound', async (broker) => {
  const { push, url } = await startPush({ broker: broker(), retention: { inbox: { maxMessages: 3 } } });
  const first = await Page.open(url, 'alice', { device: 'd' });
  await push.send('alice', 0);
  await until('a message', () => first.data().length === 1);
  const position = first.position()!;
  await first.close();
  await push.send('alice', 1);
  const second = await Page.open(url, 'alice', { positions: { inbox: position } });
  await until('what was missed', () => second.data().length === 1);
  await second.close();
  assert.deepEqual(some(push, 'tidings_recoveries_total'), { 'result="recovered"': 1 });
  assert.deepEqual(some(push, 'tidings_deliveries_total'), { 'source="live"': 1, 'source="log"': 1 });
  assert.equal(of(push, 'tidings_publish_to_write_seconds_count{source="log"}'), 1);
  for (let i = 2; i < 8; i++) await push.send('alice', i);
  await (await Page.open(url, 'alice', { positions: { inbox: position } })).close();
  await (await Page.open(url, 'alice', { positions: { inbox: { ...position, epoch: 'other' } } })).close();
  assert.deepEqual(some(push, 'tidings_recoveries_total'), {
    'result="recovered"': 1,
    'result="trimmed"': 1,
    'result="rewound"': 1,
  });
  assert.deepEqual(some(push, 'tidings_gaps_total'), {
    'reason="trimmed"': 1,
    'reason="rewound"': 1,
  });
});

onEachStore('acknowledgements are timed once, and not again by who comes back', async (broker) => {
  const { push, url } = await startPush({ broker: broker() });
  const acks = () => [
    of(push, 'tidings_acknowledgements_total'),
    of(push, 'tidings_publish_to_ack_seconds_count'),
  ];
  const page = await Page.open(url, 'alice', { device: 'd' });
  for (let i = 0; i < 5; i++) await push.send('alice', i);
  await until('all', () => page.data().length === 5);
  const positions = page.messages().map(({ epoch, offset, id }) => ({ epoch, offset, id }));
  const ack = (of: Page, n: number) => of.say({ type: 'ack', channel: 'inbox', position: positions[n] });
  for (const n of [1, 1, 0, 4, 4]) ack(page, n);
  await until('what was acknowledged', () => acks()[0] === 2);
  assert.deepEqual(acks(), [2, 2]);
  const position = page.position()!;
  await page.close();
  const again = await Page.open(url, 'alice', { device: 'd', positions: { inbox: position } });
  ack(again, 4);
  await push.send('alice', 5);
  await until('a message', () => again.data().length === 1);
  again.say({ type: 'ack', channel: 'inbox', position: again.position() });
  await until('both', () => acks()[0] === 4);
  assert.deepEqual(acks(), [4, 3]);
});

test('a store whose clock is ahead gives delays of 0, never below', async () => {
  const store = memoryBroker();
  const ahead: Broker = new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== 'open') return typeof value === 'function' ? value.bind(target) : value;
      return (listener: Parameters<Broker['open']>[0]) =>
        target.open(
          new Proxy(listener, {
            get(own, called) {
              const method = Reflect.get(own, called);
              if (called !== 'message') return typeof method === 'function' ? method.bind(own) : method;
              return (message: Parameters<typeof listener.message>[0]) =>
                own.message({ ...message, time: message.time + 3_600_000 });
            },
          }),
        );
    },
  });
  const { push, url } = await startPush({ broker: ahead });
  const page = await Page.open(url, 'alice', { device: 'd' });
  await push.send('alice', 1);
  await until('a message', () => page.data().length === 1);
  page.say({ type: 'ack', channel: 'inbox', position: page.position() });
  await until('an acknowledgement', () => of(push, 'tidings_publish_to_ack_seconds_count') === 1);
  assert.equal(of(push, 'tidings_publish_to_ack_seconds_sum'), 0);
  assert.equal(of(push, 'tidings_publish_to_write_seconds_bucket{source="live",le="0.001"}'), 1);
  assert.equal(of(push, 'tidings_publish_to_write_seconds_sum{source="live"}'), 0);
});

onEachStore(
  'what is sent, scheduled, marked and withdrawn is counted by what became of it',
  async (broker) => {
    const { push, url } = await startPush({ broker: broker() });
    const page = await Page.open(url, 'alice');
    const receipt = await push.send('alice', 1, { idempotencyKey: 'k' });
    await push.send('alice', 1, { idempotencyKey: 'k' });
    await assert.rejects(push.send('alice', 'x'.repeat(2 * 1024 * 1024)));
    assert.deepEqual(some(push, 'tidings_published_total'), {
      'result="stored"': 1,
      'result="duplicate"': 1,
    });
    await push.send('alice', 2, { at: Date.now() + 50 });
    const later = await push.send('alice', 3, { at: Date.now() + 3_600_000 });
    assert.equal(await push.cancel((later as { scheduled: string }).scheduled), true);
    assert.equal(await push.cancel('none'), false);
    await until('what was scheduled', () => page.data().length === 2);
    await until('all settled', () => of(push, 'tidings_scheduled_under_way') === 0);
    const events = { 'event="added"': 2, 'event="cancelled"': 1, 'event="sent"': 1 };
    assert.deepEqual(some(push, 'tidings_scheduled_total'), events);
    assert.equal(of(push, 'tidings_scheduled_delay_seconds_count'), 1);
    await push.mark('alice', { as: 'read' });
    page.say({ type: 'mark', as: 'archived' });
    await page.frame('marked');
    assert.deepEqual(some(push, 'tidings_marks_total'), { 'as="read"': 1, 'as="archived"': 1 });
    assert.deepEqual(some(push, 'tidings_marked_messages_total'), { 'as="read"': 2, 'as="archived"': 2 });
    assert.equal(await push.withdraw('alice', { id: receipt.id }), true);
    assert.equal(await push.withdraw('alice', { id: receipt.id }), false);
    assert.equal(of(push, 'tidings_withdrawn_total'), 1);
  },
);

test(
  'a store that goes and comes back shows: its state, since when, outages, failures',
  needs('redis'),
  async () => {
    const redis = await startRedis();
    const broker = redisBroker(redis.url, {
      publishMaxWait: 0,
      reconnectMinDelay: 20,
      reconnectMaxDelay: 50,
    });
    const { push, url } = await startPush({ broker, lease: 500 });
    const page = await Page.open(url, 'alice');
    await push.send('alice', 1);
    const state = () =>
      ['tidings_store_up', 'tidings_store_outages_total', 'tidings_store_state_since_seconds'].map((name) =>
        of(push, name),
      ) as [number, number, number];
    const [up, outages, since] = state();
    assert.deepEqual([up, outages], [1, 0]);
    assert.ok(of(push, 'tidings_store_round_trip_seconds_count{kind="publish"}') > 0);
    await redis.kill();
    await until('the store to be away', () => state()[0] === 0);
    assert.equal(state()[1], 1);
    const awaySince = state()[2];
    assert.ok(awaySince > since && awaySince <= Date.now() / 1000);
    const failures = of(push, 'tidings_store_errors_total{operation="publish"}');
    await assert.rejects(push.send('alice', 2));
    assert.equal(of(push, 'tidings_store_errors_total{operation="publish"}'), failures + 1);
    assert.equal(of(push, 'tidings_published_total{result="failed"}'), failures + 1);
    await redis.start();
    await until('the store to be back', () => state()[0] === 1);
    assert.ok(state()[2] >= awaySince);
    assert.equal(state()[1], 1);
    await push.send('alice', 3);
    await until('the message', () => page.data().includes(3));
    assert.ok(of(push, 'tidings_channel_doubts_total') > 0);
    await page.close();
    await push.close();
    await redis.stop();
    assert.deepEqual(held(push), {});
  },
);

test('what a slow page is not sent, and no log brings later, is counted by why', async () => {
  const { push, path, close } = await startBehindThinLine({
    limits: { outbox: 64 * 1024 },
    topics: { prices: { overflow: 'conflate' } },
  });
  const page = await AnyPage.open('WebSocket', true, path, 'slow', { topics: ['prices'] });
  page.pause();
  const data = 'x'.repeat(16 * 1024);
  await until('dropped prices', async () => {
    await push.publish('prices', data);
    return some(push, 'tidings_dropped_total')['reason="overflow"'];
  });
  assert.equal(some(push, 'tidings_dropped_total')['reason="transient"'], undefined);
  await until('dropped transients', async () => {
    await push.notify('slow', data);
    return some(push, 'tidings_dropped_total')['reason="transient"'];
  });
  page.close();
  await goes(push);
  await close();
});

test('who is ended in the last moment is refused, and not accepted as well', async () => {
  let first = true;
  const { push, url } = await startPush({
    interceptors: [
      {
        before: (_request, attributes) => {
          attributes.user = 'alice';
        },
        // The handshake is answered, and the session does not exist yet.
        after: () => {
          if (first) void push.block({ user: 'alice' });
          first = false;
        },
      },
    ],
  });
  const page = new Page(url, 'alice', ['tidings.1']);
  await until('its end', () => page.closeCode !== undefined);
  const { 'outcome="accepted"': accepted = 0, 'outcome="refused"': refused = 0 } = some(
    push,
    'tidings_handshakes_total',
  );
  const opened = Object.values(some(push, 'tidings_sessions_opened_total')).reduce(
    (sum, count) => sum + count,
    0,
  );
  assert.deepEqual([accepted, accepted + refused], [opened, 1]);
  await goes(push);
});

test('a page that reads nothing is a slow session, its bytes are told, and its end is one of a slow one', async () => {
  const { push, path, close } = await startBehindThinLine({ limits: { outbox: 64 * 1024, stall: 300 } });
  const page = await AnyPage.open('WebSocket', true, path, 'slow');
  page.pause();
  await until('a full outbox', async () => {
    await push.send('slow', 'x'.repeat(16 * 1024));
    return of(push, 'tidings_slow_sessions') === 1;
  });
  assert.equal(of(push, 'tidings_outbox_full_total'), 1);
  assert.ok(of(push, 'tidings_outbox_bytes') > 64 * 1024);
  await until('its end', () => of(push, 'tidings_slow_closes_total{reason="stalled"}') === 1);
  page.close();
  await goes(push);
  await close();
});

onEachStore(
  'of all that only counts, nothing ever goes back; and a hundred who behave badly leave nothing',
  async (broker) => {
    const { push, url } = await startPush({
      broker: broker(),
      sockjs: { prefix: '/sockjs', disconnectDelay: 50 },
      limits: { helloTimeout: 300, handshakes: 3 },
      interceptors: [
        {
          before: async (request, attributes) => {
            await new Promise((resolve) => setTimeout(resolve, 1));
            attributes.user = new URL(request.url!, 'http://x').searchParams.get('user')!;
          },
        },
      ],
      log: () => {},
    });
    const counters = push.metrics().filter(({ type }) => type !== 'gauge');
    const isCounter = new Set(counters.map(({ name }) => name));
    let before = scrape(push);
    const check = (): void => {
      const now = scrape(push);
      assert.deepEqual([...now.keys()], [...before.keys()]);
      for (const [name, value] of now) {
        const family = name.replace(/\{.*/, '').replace(/_(?:bucket|sum|count)$/, '');
        if (isCounter.has(family))
          assert.ok(value >= before.get(name)!, `${name} ${before.get(name)} → ${value}`);
      }
      before = now;
    };
    const { port, host } = new URL(url);
    const request = (user: string) =>
      `GET /socketServer?user=${user} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.1\r\n\r\n';
    const sockets: Socket[] = [];
    for (let i = 0; i < 100; i++) {
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      sockets.push(socket);
      const kind = i % 5;
      // Half a request; nothing behind a handshake; a broken frame; a cut at once; a cut while it is asked about.
      if (kind === 0) socket.write(request(`u${i}`).slice(0, 40));
      else socket.write(request(`u${i % 10}`));
      if (kind === 2) socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
      if (kind === 3) socket.destroy();
      if (kind === 4) setTimeout(() => socket.resetAndDestroy(), i % 7);
    }
    for (let i = 0; i < 10; i++) {
      check();
      void push.send(`u${i}`, i).catch(() => {});
      await push.notify(`u${i}`, i);
      const body = `/sockjs/0/s${i}/xhr?user=u${i}`;
      await fetch(`http://${host}${body}`, { method: 'POST', signal: AbortSignal.timeout(1 + i * 3) }).catch(
        () => {},
      );
    }
    // Those that say no hello: they don't answer, so they are cut.
    await until(
      'silent pages to be closed',
      () => (some(push, 'tidings_closes_total')['code="1006"'] ?? 0) > 20,
    );
    check();
    for (const socket of sockets) socket.destroy();
    await goes(push);
    check();
    await push.close();
    assert.deepEqual(held(push), {});
  },
);

test('a server that closes while it is asked who comes holds nothing once there is an answer', async () => {
  const answers: (() => void)[] = [];
  const { push, url } = await startPush({
    interceptors: [{ before: () => new Promise((resolve) => answers.push(() => resolve(undefined))) }],
    limits: { handshakes: 2 },
  });
  const pages = Array.from({ length: 5 }, (_, i) => new Page(url, `u${i}`));
  await until('those under way', () => of(push, 'tidings_handshakes_pending{state="asked"}') === 2);
  await until('those that wait', () => of(push, 'tidings_handshakes_pending{state="waiting"}') === 3);
  const closed = push.close();
  for (const page of pages) page.cut();
  for (const answer of answers) answer();
  await closed;
  await goes(push);
  const { 'reason="draining"': draining } = some(push, 'tidings_refusals_total');
  assert.ok(draining! > 0);
});

test('WebSockets of HTTP/2 are counted, and the connections that they share', async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const push = new PushServer({ server, interceptors: [queryUser('operator')], log: () => {} });
  const { port } = server.address() as AddressInfo;
  const sessions = [1, 2].map(() => http2Connect(`http://127.0.0.1:${port}`));
  const pages = [0, 0, 0, 1].map(
    (i) => new StreamSocket(`ws://127.0.0.1:${port}/socketServer?operator=u`, { http2: sessions[i]! }),
  );
  const counts = () => ['connections', 'websockets'].map((what) => of(push, `tidings_http2_${what}`));
  try {
    await Promise.all(pages.map((page) => once(page, 'open')));
    assert.deepEqual(counts(), [2, 4]);
    pages[0]!.close();
    pages[3]!.terminate();
    await until('two to be gone', () => counts().join() === '1,2');
    for (const session of sessions) session.destroy();
    await until('all to be gone', () => counts().join() === '0,0');
  } finally {
    for (const session of sessions) session.destroy();
    await push.close();
    server.close();
  }
});

test('push servers of one process count each their own', async () => {
  const store = new MemoryStore();
  const [one, two] = [
    await startPush({ broker: memoryBroker(store) }),
    await startPush({ broker: memoryBroker(store) }),
  ];
  const page = await Page.plain(two.url, 'alice');
  await one.push.send('alice', 1);
  await until('the message', () => page.received.length === 1);
  assert.deepEqual(some(one.push, 'tidings_deliveries_total'), {});
  assert.deepEqual(some(two.push, 'tidings_deliveries_total'), { 'source="live"': 1 });
  assert.deepEqual(some(two.push, 'tidings_published_total'), {});
});
