/** The client behind proxies that break WebSocket, against a real push server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { fallbackTransport } from '../../src/client/fallback.ts';
import { Client, type ConnectOptions, connect, webSocketTransport } from '../../src/client/index.ts';
import type { WebSocketConstructor } from '../../src/client/transport.ts';
import { PushServer, queryUser, signedTicket, signTicket } from '../../src/push/index.ts';
import { type Habits, startMeddler } from '../support/meddler.ts';
import { until } from '../support/net.ts';

const secret = 'a secret of more than 16 bytes';

class Storage {
  readonly entries = new Map<string, string>();
  getItem(key: string): string | null {
    return this.entries.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.entries.set(key, value);
  }
  /** The way that is remembered: 0 WebSocket, 1 streaming, 2 polling. */
  get way(): number | undefined {
    const text = this.getItem('tidings:transport');
    return text === null ? undefined : JSON.parse(text).way;
  }
}

async function start(t: TestContext, habits: Habits) {
  const http = createServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
  await once(http, 'listening');
  const push = new PushServer({
    server: http,
    sockjs: { prefix: '/sockjs/socketServer' },
    interceptors: [signedTicket({ secret }), queryUser('operator')],
    authorize: { subscribe: () => true, publish: () => true },
    log: () => {},
  });
  await push.ready;
  const meddler = await startMeddler((http.address() as AddressInfo).port, habits);
  t.after(async () => {
    meddler.close();
    await push.close();
    http.close();
    http.closeAllConnections();
  });
  return { push, meddler, url: `http://127.0.0.1:${meddler.port}/socketServer` };
}

function open(
  t: TestContext,
  options: ConnectOptions,
  { storage = new Storage(), patience = 30_000, retry = 600_000, isThere = true } = {},
) {
  const client = new Client({
    user: 'alice',
    storage,
    reconnect: { min: 20, max: 50 },
    connectTimeout: 120_000,
    transport: fallbackTransport({
      webSocket: isThere ? webSocketTransport(WebSocket as unknown as WebSocketConstructor) : undefined,
      storage,
      patience,
      retry,
    }),
    ...options,
  });
  const received: unknown[] = [];
  client.on('message', ({ data }) => void received.push(data));
  t.after(() => client.close());
  return { client, received, storage };
}

const connected = (client: Client) => until('a connection', () => client.state.name === 'connected', 60_000);

/**
 * Opens pages until one has come through by this way, where another must be given up on in silence. The patience that
 * does so for a way that is broken must not do it for the one that works: how long that is depends on the machine.
 */
async function openBy(t: TestContext, way: number, options: ConnectOptions, retry?: number) {
  for (let patience = 500; ; patience *= 2) {
    const page = open(t, options, { patience, ...(retry !== undefined && { retry }) });
    await until('a way', () => page.storage.way !== undefined, 120_000);
    if (page.storage.way === way || patience > 20_000) {
      assert.equal(page.storage.way, way);
      await connected(page.client);
      return page;
    }
    page.client.close();
  }
}

for (const [way, name, habits] of [
  [0, 'WebSocket where it works', {}],
  [1, 'streaming where upgrades are refused', { upgrades: 'refuse' }],
  [1, 'streaming where a WebSocket opens but passes no data', { upgrades: 'swallow' }],
  [2, 'polling where long answers are held back as well', { upgrades: 'swallow', holdsStreams: true }],
] as [number, string, Habits][]) {
  test(`${name}: mail arrives in order, publishing and acknowledging work`, async (t) => {
    const { push, url } = await start(t, habits);
    const { client, received } = await openBy(t, way, { url, topics: ['news'] });
    for (let i = 0; i < 20; i++) await push.send('alice', i);
    await until('the mail', () => received.length === 20, 60_000);
    assert.deepEqual(received, [...Array(20).keys()]);
    await client.publish('news', '"ü😀\u0000\u2028');
    await until('the news', () => received.length === 21, 60_000);
    assert.equal(received[20], '"ü😀\u0000\u2028');
    await until('the acknowledgement', async () => (await push.pending('alice')).count === 0, 60_000);
  });
}

test('what worked is remembered, by the next page load, too', async (t) => {
  const { url, meddler } = await start(t, { upgrades: 'refuse' });
  const storage = new Storage();
  const first = open(t, { url }, { storage });
  await connected(first.client);
  first.client.close();
  meddler.requests.length = 0;
  await connected(open(t, { url }, { storage }).client);
  assert.match(meddler.requests[0]!, /xhr_streaming/);
});

test('what was remembered long ago is not: WebSocket has its turn', async (t) => {
  const { url } = await start(t, {});
  const storage = new Storage();
  storage.setItem('tidings:transport', JSON.stringify({ way: 2, time: Date.now() - 700_000 }));
  await connected(open(t, { url }, { storage }).client);
  assert.equal(storage.way, 0);
});

test('a WebSocket that has worked is tried three times before the fallback', async (t) => {
  const { url, meddler } = await start(t, {});
  const { client, storage } = open(t, { url });
  await connected(client);
  meddler.habits = { upgrades: 'refuse' };
  meddler.requests.length = 0;
  meddler.cut();
  await until('the fallback', () => storage.way === 1, 60_000);
  assert.equal(
    meddler.requests.findIndex((line) => line.includes('/xhr_streaming')),
    3,
  );
});

test('it returns to WebSocket when data passes there again, and nothing is lost', async (t) => {
  const { push, url, meddler } = await start(t, { upgrades: 'swallow' });
  const { client, received, storage } = await openBy(t, 1, { url }, 1_000);
  let sent = 0;
  meddler.habits = {};
  await until(
    'the way back',
    async () => {
      await push.send('alice', sent++);
      return storage.way === 0 && client.state.name === 'connected';
    },
    60_000,
  );
  await push.send('alice', sent++);
  await until('all mail', () => received.length >= sent, 60_000);
  assert.deepEqual(received, [...Array(sent).keys()]);
});

test('it returns to WebSocket also when the ticket that it came with is over by then', async (t) => {
  const { push, url, meddler } = await start(t, { upgrades: 'swallow' });
  let asked = 0;
  const ticket = (): string => {
    asked++;
    return signTicket('alice', { secret, lifetime: 6_000 });
  };
  const { client, received, storage } = await openBy(t, 1, { url, user: undefined as never, ticket }, 1_000);
  const first = Date.now();
  const before = asked;
  await until('another ticket', () => asked > before && Date.now() > first + 6_000, 60_000);
  assert.equal(storage.way, 1);
  meddler.habits = {};
  await until('the way back', () => storage.way === 0 && client.state.name === 'connected', 60_000);
  await push.send('alice', 'hello');
  await until('the mail', () => received.includes('hello'), 60_000);
});

for (const [name, habits] of [
  ['streaming', { upgrades: 'refuse' }],
  ['polling', { upgrades: 'refuse', holdsStreams: true }],
] as [string, Habits][]) {
  test(`${name}: cut again and again, every message comes once and in order`, async (t) => {
    const { push, url, meddler } = await start(t, habits);
    const { client, received } = open(t, { url }, { patience: 1_000 });
    await connected(client);
    const total = 60;
    for (let i = 0; i < total; i++) {
      await push.send('alice', i);
      if (i % 10 === 5) meddler.cut();
    }
    await until('all mail', () => received.length >= total, 120_000);
    assert.deepEqual(received, [...Array(total).keys()]);
  });
}

test('plain mode falls back as well: a silent WebSocket is asked and found out', async (t) => {
  const { push, url } = await start(t, { upgrades: 'swallow' });
  const { received } = await openBy(t, 1, { url, plain: true });
  await push.send('alice', 'hello');
  await until('the mail', () => received.length === 1, 60_000);
  assert.deepEqual(received, ['hello']);
});

test('without any WebSocket it goes by SockJS at once; a ticket signs in', async (t) => {
  const { push, url } = await start(t, {});
  const { client, received } = open(
    t,
    { url, user: undefined as never, ticket: signTicket('bob', { secret }) },
    { isThere: false },
  );
  await connected(client);
  assert.equal(client.user, 'bob');
  await push.send('bob', 1);
  await until('the mail', () => received.length === 1);
});

test('whose ticket is refused is told so over any way, and stops', async (t) => {
  for (const upgrades of ['pass', 'refuse'] as const) {
    const { url } = await start(t, upgrades === 'pass' ? {} : { upgrades });
    const { client } = open(t, {
      url,
      user: undefined,
      ticket: 'forged',
      ticketParameter: 'ticket',
    } as never);
    const errors: unknown[] = [];
    client.on('error', ({ code }) => void errors.push(code));
    await until('the end', () => client.state.name === 'closed', 60_000);
    assert.deepEqual(client.state, { name: 'closed', code: 4501, reason: 'not a t1 ticket' });
    assert.deepEqual(errors, ['not-authenticated']);
    client.connect({ ticket: signTicket('alice', { secret }) });
    await connected(client);
  }
});

test('with every way refused the attempt fails once, and another follows', async (t) => {
  const { url } = await start(t, { upgrades: 'refuse' });
  // The SockJS endpoint is elsewhere.
  const { client } = open(t, { url: url.replace('/socketServer', '/elsewhere') });
  const closes: string[] = [];
  client.on('close', ({ code, reason }) => void closes.push(`${code} ${reason}`));
  await until('two attempts', () => closes.length >= 2, 60_000);
  assert.match(closes[0]!, /^1006 HTTP 404$/);
});

test('connect falls back by itself, and not with fallback: false', async (t) => {
  const { url } = await start(t, { upgrades: 'refuse' });
  const patient = { connectTimeout: 60_000, reconnect: false } as const;
  const options = { url, user: 'alice', WebSocket: WebSocket as never, ...patient };
  const client = connect(options);
  t.after(() => client.close());
  await connected(client);
  const without = connect({ ...options, fallback: false });
  await until('the end', () => without.state.name === 'closed', 60_000);
});
