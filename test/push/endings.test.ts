/** Sessions that are ended from outside, and users and logins that are kept out: on both stores, by both doors. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import type { PushServerOptions } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { queryUser } from '../../src/push/index.ts';
import type { Interceptor } from '../../src/server/transport.ts';
import { client } from '../sockjs/support.ts';
import { makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, type Running, startPush } from './support.ts';

/** `?login=` says which, as a ticket or a session store would. */
const logins: Interceptor = {
  before({ url }, attributes) {
    const login = new URL(url ?? '', 'http://host').searchParams.get('login');
    if (login !== null) attributes.login = login;
  },
};
const withLogin = (url: string, login: string): string => `${url}?login=${login}`;

/** Short, as a store that has only just begun is not believed for as long as that. */
const LEASE = 500;

async function pair(broker: () => Broker, more: PushServerOptions = {}): Promise<[Running, Running]> {
  const options: PushServerOptions = { lease: LEASE, interceptors: [queryUser('user'), logins], ...more };
  const start = (): Promise<Running> => startPush({ ...options, broker: broker() });
  return [await start(), await start()];
}

const closing = ({ socket }: Page): Promise<[code: number, reason: string]> =>
  new Promise((resolve) => {
    socket.once('close', (code: number, reason: Buffer) => resolve([code, reason.toString()]));
  });

onEachStore(
  'disconnect ends a user’s sessions on all instances, in both modes, and no other',
  async (broker) => {
    const [a, b] = await pair(broker);
    const pages = [
      await Page.open(a.url, 'alice'),
      await Page.plain(a.url, 'alice'),
      await Page.open(b.url, 'alice'),
      await Page.plain(b.url, 'alice'),
    ];
    const others = [await Page.open(a.url, 'bob'), await Page.plain(b.url, 'alice2')];
    const ends = pages.map(closing);
    assert.equal(await a.push.disconnect('alice', { reason: 'signed out' }), 4);
    await until('nobody to see them', async () => (await a.push.sessions('alice')).length === 0);
    for (const end of ends) assert.deepEqual(await end, [4501, 'signed out']);
    await a.push.send('alice', 'nobody is there');
    await a.push.send('bob', 'still here');
    await until('bob’s message', () => others[0]!.data().length === 1);
    assert.deepEqual(
      pages.map((page) => page.received.filter((one) => JSON.stringify(one).includes('nobody'))),
      [[], [], [], []],
    );
    // It is no block.
    await (await Page.open(b.url, 'alice')).close();
  },
);

onEachStore('disconnect keeps to the login, the session and the device that it names', async (broker) => {
  const [a, b] = await pair(broker);
  const one = await Page.open(withLogin(a.url, 'L1'), 'alice', { device: 'phone' });
  const two = await Page.open(withLogin(b.url, 'L2'), 'alice', { device: 'desk' });
  const three = await Page.open(b.url, 'alice');
  assert.equal(await b.push.disconnect('alice', { login: 'L3' }), 0);
  assert.equal(await b.push.disconnect('alice', { login: 'L1', device: 'desk' }), 0);
  assert.equal(await b.push.disconnect('alice', { login: 'L1' }), 1);
  assert.equal(await one.ended(), 4501);
  assert.equal(await a.push.disconnect('alice', { device: 'desk', code: 4000, reason: 'ü'.repeat(61) }), 1);
  assert.equal(await two.ended(), 4000);
  const { session } = await three.frame('welcome');
  assert.equal(await a.push.disconnect('bob', { session }), 0);
  assert.equal(await a.push.disconnect('alice', { session }), 1);
  assert.equal(await three.ended(), 4501);
});

onEachStore(
  'a block ends sessions and lets none in on any instance, until it ends or is lifted',
  async (broker) => {
    const [a, b] = await pair(broker);
    const page = await Page.open(a.url, 'alice');
    const end = closing(page);
    assert.equal(await b.push.block('alice', { reason: 'account locked' }), 1);
    assert.deepEqual(await end, [4501, 'account locked']);
    for (const { url } of [a, b]) {
      assert.equal(await new Page(url, 'alice').ended(), 403);
      const told = new Page(url, 'alice', ['tidings.1']);
      assert.deepEqual(await closing(told), [4503, 'account locked']);
      await (await Page.plain(url, 'bob')).close();
    }
    const [c] = await pair(broker);
    assert.equal(await new Page(c.url, 'alice').ended(), 403);
    assert.deepEqual(await c.push.blocks(), [{ user: 'alice', reason: 'account locked' }]);
    assert.equal(await c.push.unblock('alice'), true);
    assert.equal(await c.push.unblock('alice'), false);
    for (const { url } of [a, b, c]) await (await Page.plain(url, 'alice')).close();

    const until_ = Date.now() + 1500;
    await a.push.block({ login: 'L1' }, { until: new Date(until_) });
    assert.deepEqual(await b.push.blockOf({ login: 'L1' }), {
      login: 'L1',
      until: until_,
      reason: 'blocked',
    });
    assert.equal(await new Page(withLogin(b.url, 'L1'), 'alice').ended(), 403);
    await (await Page.plain(withLogin(b.url, 'L2'), 'alice')).close();
    // On a busy machine its lease may lapse meanwhile, and who is blocked is not known until it has one again.
    const isLifted = () =>
      b.push.blockOf({ login: 'L1' }).then(
        (block) => block === undefined,
        () => false,
      );
    await until('the end of the block', isLifted);
    await (await Page.plain(withLogin(b.url, 'L1'), 'alice')).close();
  },
);

onEachStore('a handshake that was under way does not get past what was said meanwhile', async (broker) => {
  const waiting: (() => void)[] = [];
  let isSlow = false;
  const slow: Interceptor = {
    before: () => (isSlow ? new Promise<void>((resolve) => waiting.push(resolve)) : undefined),
  };
  const [a, b] = await pair(broker, { interceptors: [queryUser('user'), logins, slow] });
  isSlow = true;
  const pages = ['alice', 'bob', 'dora', 'carol'].flatMap((user) => [
    new Page(withLogin(b.url, `of-${user}`), user),
    new Page(withLogin(b.url, `of-${user}`), user, ['tidings.1']),
  ]);
  await until('handshakes to be asked about', () => waiting.length === 8);
  await a.push.disconnect('alice', { login: 'of-alice' });
  await a.push.block({ login: 'of-bob' });
  await a.push.disconnect('dora', { code: 4000, reason: 'come again' });
  for (const go of waiting) go();
  assert.deepEqual(
    await Promise.all(pages.slice(0, 6).map((page) => page.ended())),
    [401, 4501, 403, 4503, 503, 503],
  );
  await until('the others to be in', () => pages.slice(6).every(({ socket }) => socket.readyState === 1));
  isSlow = false;
  await (await Page.plain(withLogin(b.url, 'of-alice'), 'alice')).close();
});

onEachStore('a device that says who it is only after it was ended is ended then', async (broker) => {
  const [a, b] = await pair(broker);
  const page = new Page(b.url, 'alice', ['tidings.1']);
  await until('an open page', () => page.socket.readyState === 1);
  assert.equal(await a.push.disconnect('alice', { device: 'phone' }), 0);
  const end = closing(page);
  page.say({ type: 'hello', device: 'phone' });
  assert.equal((await end)[0], 4501);
  assert.deepEqual(page.frames('welcome'), []);
  await (await Page.open(b.url, 'alice', { device: 'phone' })).close();
});

onEachStore('what an ended session says is not obeyed any more', async (broker) => {
  const heard: string[] = [];
  const [a] = await pair(broker, {
    handler: { message: (session, data) => heard.push(`${session.user} ${data}`) },
    authorize: { subscribe: () => true, publish: () => true },
  });
  const plain = await Page.plain(a.url, 'alice');
  const page = await Page.open(a.url, 'alice');
  const watcher = await Page.open(a.url, 'bob', { topics: ['t'] });
  // Neither answers its close.
  for (const { socket } of [plain, page])
    (socket as unknown as { _receiver: { removeAllListeners(): void } })._receiver.removeAllListeners();
  await a.push.disconnect('alice');
  plain.say('a word');
  page.say({ type: 'publish', channel: 't', data: 1 });
  const other = await Page.plain(a.url, 'carol');
  other.say('the end');
  await until('the end', () => heard.length > 0);
  await a.push.publish('t', 2);
  await until('the topic', () => watcher.data('t').length > 0);
  assert.deepEqual(heard, ['carol the end']);
  assert.deepEqual(watcher.data('t'), [2]);
  for (const { socket } of [plain, page]) socket.terminate();
});

/** A peer that reads nothing: its bytes fill all that is between. */
function mute(url: string, user: string): Promise<Socket> {
  const { port, pathname } = new URL(url);
  const socket = connect({ port: Number(port), host: '127.0.0.1' });
  socket.on('error', () => {});
  socket.write(
    `GET ${pathname}?user=${user} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  return new Promise((resolve) => {
    socket.once('data', () => {
      socket.pause();
      resolve(socket);
    });
  });
}

onEachStore('what waits unsent for a page that does not read is dropped with its session', async (broker) => {
  // A lease that lapses on a busy machine would have the page fall behind: then nothing more waits for it here.
  const [a] = await pair(broker, { limits: { outbox: 8_000_000 }, lease: 3_000 });
  const socket = await mute(a.url, 'alice');
  const [session] = a.push.localSessions();
  for (let sent = 0; session!.bufferedAmount < 1_000_000; sent++) {
    assert.ok(sent < 60, `${session!.bufferedAmount} bytes wait after ${sent} messages`);
    await a.push.send('alice', 'x'.repeat(500_000));
  }
  await a.push.send('alice', 'THE END');
  assert.equal(await a.push.disconnect('alice'), 1);
  await until('its bytes to be gone', () => session!.bufferedAmount === 0);
  let tail = '';
  socket.on('data', (bytes) => {
    tail = (tail + bytes.toString('latin1')).slice(-1000);
  });
  socket.resume();
  await until('the end of the connection', () => socket.destroyed);
  assert.doesNotMatch(tail, /THE END/);
});

test('authorize.connect has the last word, and what fails there is a refusal that says so', async () => {
  const asked: unknown[] = [];
  const never = new Promise<boolean>(() => {});
  const answers: Record<string, () => unknown> = {
    yes: () => true,
    later: async () => true,
    no: () => false,
    truthy: () => 'yes',
    throws: () => {
      throw new Error('the database is away');
    },
    rejects: () => Promise.reject(Object.create(null)),
    hangs: () => never,
  };
  const { url, log } = await startPush({
    interceptors: [queryUser('user'), logins],
    limits: { answer: 200 },
    authorize: {
      connect: ({ user, login }, request) => {
        asked.push([user, login, typeof request.url]);
        return answers[user!]!() as boolean;
      },
    },
  });
  await (await Page.plain(withLogin(url, 'L1'), 'yes')).close();
  assert.deepEqual(asked, [['yes', 'L1', 'string']]);
  await (await Page.open(url, 'later')).close();
  for (const user of ['no', 'truthy']) {
    assert.equal(await new Page(url, user).ended(), 403);
    assert.equal(await new Page(url, user, ['tidings.1']).ended(), 4503);
  }
  const faults = (): string[] => log.filter((line) => !line.startsWith('info: '));
  assert.deepEqual(faults(), []);
  for (const user of ['throws', 'rejects', 'hangs']) assert.equal(await new Page(url, user).ended(), 503);
  assert.equal(faults().length, 3);
  assert.match(faults()[0]!, /error: authorize\.connect .*the database is away/s);
});

test('what can not be is refused before anything is said', async () => {
  const { push } = await startPush();
  for (const user of ['', 'a\nb', undefined as never]) await assert.rejects(push.disconnect(user), TypeError);
  for (const code of [999, 1001, 2999, 5000, 4501.5, '4501' as never, Number.NaN])
    await assert.rejects(push.disconnect('alice', { code }), RangeError);
  await assert.rejects(push.disconnect('alice', { reason: 'x'.repeat(124) }), RangeError);
  for (const settings of [
    { reason: 1 as never },
    { reason: '\ud800' },
    { login: '' },
    { device: '' },
    { session: 1 as never },
  ])
    await assert.rejects(push.disconnect('alice', settings), TypeError);
  for (const who of ['', {}, { user: 'a', login: 'b' }, null, 7, { login: 'a\0' }] as never[]) {
    await assert.rejects(push.block(who), TypeError);
    await assert.rejects(push.unblock(who), TypeError);
    await assert.rejects(push.blockOf(who), TypeError);
  }
  for (const until of [0, Date.now() - 1, Number.NaN, new Date(Number.NaN), 'tomorrow' as never])
    await assert.rejects(push.block('alice', { until }), RangeError);
  assert.deepEqual(await push.blocks(), []);
  for (const options of [{ lease: 499 }, { lease: Number.NaN }, { confirmTimeout: 0 }])
    await assert.rejects(async () => startPush(options), TypeError);
});

test('what ends is told to the diagnostics channel and the log, which holds no login', async () => {
  const { push, url, log } = await startPush({ interceptors: [queryUser('user'), logins] });
  await Page.plain(withLogin(url, 'SECRET'), 'alice');
  const told: unknown[] = [];
  const hear = (message: unknown): void => {
    const { session, code, reason } = message as { session: { user: string }; code: number; reason: string };
    told.push([session.user, code, reason]);
  };
  subscribe('tidings:session:end', hear);
  await push.block({ login: 'SECRET' }, { reason: 'why' });
  unsubscribe('tidings:session:end', hear);
  assert.deepEqual(told, [['alice', 4501, 'why']]);
  assert.match(log.join('\n'), /info: 1 session of a login ended by command/);
  assert.doesNotMatch(log.join('\n'), /SECRET/);
});

// ── SockJS ─────────────────────────────────────────────────────────────────────────────────────────

const SOCKJS = { sockjs: { prefix: '/echo', disconnectDelay: 20_000 } };
const portOf = ({ url }: Running): number => Number(new URL(url).port);
const path = (id: string, transport: string): string => `/echo/000/${id}/${transport}?user=alice`;

async function opened(running: Running, id: string) {
  const http = client(portOf(running));
  assert.equal((await http.post(path(id, 'xhr'))).body, 'o\n');
  return http;
}

onEachStore(
  'a SockJS session ends, whichever transport it is on, and what waits for its next poll is dropped',
  async (broker) => {
    const [a, b] = await pair(broker, SOCKJS);
    const polled = await opened(a, 'polled');
    const idle = await opened(a, 'idle');
    await a.push.send('alice', 'waits for a poll');
    await until('it to be queued', () =>
      [...a.push.localSessions()].every((session) => session.bufferedAmount > 0),
    );
    assert.equal((await polled.post(path('polled', 'xhr'))).body, 'a["waits for a poll"]\n');
    const poll = polled.post(path('polled', 'xhr'));
    const stream = await polled.openPost(path('stream', 'xhr_streaming'));
    const events = await polled.openGet(path('events', 'eventsource'));
    const ours = { headers: { 'Sec-Fetch-Site': 'same-origin' } };
    const html = await polled.openGet(`${path('html', 'htmlfile')}&c=cb`, ours);
    await polled.get(`${path('jsonp', 'jsonp')}&c=cb`, ours);
    const jsonp = polled.get(`${path('jsonp', 'jsonp')}&c=cb`, ours);
    await until('all of them', () => a.push.stats().sessions === 6);
    assert.equal(await b.push.disconnect('alice', { reason: 'bye' }), 6);
    await a.push.send('alice', 'too late');
    const close = 'c[4501,"bye"]';
    assert.equal((await poll).body, `${close}\n`);
    assert.equal((await idle.post(path('idle', 'xhr'))).body, `${close}\n`);
    for (const whole of [await stream.whole(), await events.whole(), await html.whole(), await jsonp]) {
      assert.ok(whole.body.replaceAll('\\', '').includes(close), whole.body);
      assert.doesNotMatch(whole.body, /too late/);
    }
  },
);

onEachStore('a SockJS session that is polled through another instance ends there', async (broker) => {
  const [a, b] = await pair(broker, SOCKJS);
  await opened(a, 'moved');
  const there = client(portOf(b));
  const poll = there.post(path('moved', 'xhr'));
  await a.push.send('alice', 1);
  assert.equal((await poll).body, 'a["1"]\n');
  const next = there.post(path('moved', 'xhr'));
  assert.equal(await b.push.disconnect('alice', { reason: 'bye' }), 1);
  await a.push.send('alice', 2);
  assert.equal((await next).body, 'c[4501,"bye"]\n');
});

test('over TLS a page that reads gets what was sent before, and is told why it ends', async () => {
  const certificates = makeCertificates();
  const https = createServer({
    key: readFileSync(certificates.keyFile),
    cert: readFileSync(certificates.certFile),
  }).listen(0);
  const { push } = await startPush({ server: https });
  const { port } = https.address() as AddressInfo;
  const url = `wss://localhost:${port}/socketServer?user=alice`;
  try {
    for (let turns = 0; turns < 4; turns++) {
      const socket = new WebSocket(url, { ca: certificates.ca });
      const received: string[] = [];
      socket.on('message', (data) => received.push(String(data)));
      const end = new Promise((resolve) => {
        socket.once('close', (code, reason) => resolve([code, reason.toString()]));
      });
      await until('an open page', () => push.stats().sessions === 1 && socket.readyState === 1);
      await push.send('alice', turns);
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      await push.disconnect('alice', { reason: 'signed out' });
      assert.deepEqual(await end, [4501, 'signed out']);
      assert.deepEqual(received, [String(turns)]);
    }
  } finally {
    https.close();
    https.closeAllConnections();
    certificates.remove();
  }
});
