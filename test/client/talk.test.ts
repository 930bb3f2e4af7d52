/** What the client says, and how fast: names, acknowledgements, tickets, and the limits of a server. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Client, type ClientEvents, type ConnectOptions, connect } from '../../src/client/full.ts';
import type { WebSocketConstructor } from '../../src/client/transport.ts';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { at, ScriptedServer } from './scripted-server.ts';

const clients: Client[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

function open(options: ConnectOptions) {
  const client = connect({
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    reconnect: { min: 1, max: 20 },
    ackDelay: 1,
    connectTimeout: 60_000,
    ...options,
  });
  clients.push(client);
  const errors: ClientEvents['error'][] = [];
  const closes: number[] = [];
  client.on('error', (error) => errors.push(error));
  client.on('close', ({ code }) => closes.push(code));
  return { client, errors, closes };
}

async function start(t: TestContext, options: PushServerOptions = {}) {
  const push = new PushServer({
    port: 0,
    host: '127.0.0.1',
    interceptors: [queryUser('operator')],
    authorize: { subscribe: () => true, publish: () => true },
    log: () => {},
    ...options,
  });
  await push.ready;
  t.after(() => push.close());
  return { push, url: `ws://127.0.0.1:${(push.address() as AddressInfo).port}/socketServer` };
}

const NAMES = ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'valueOf', 'length', '0', ' ', '💌'];

describe('names', () => {
  test('topics that are called like what objects have by themselves keep their state over reconnects', async (t) => {
    const { push, url } = await start(t);
    const { client, errors, closes } = open({ url, user: 'alice', topics: NAMES });
    const seen: string[] = [];
    client.on('message', ({ channel, data }) => seen.push(`${channel} ${data}`));
    for (const name of NAMES) assert.equal((await client.subscribe(name)).recovered, true, name);
    for (const name of NAMES) await push.publish(name, 1);
    await until('all', () => seen.length === NAMES.length);
    for (const session of push.localSessions()) session.terminate();
    await until('the end', () => closes.length === 1);
    for (const name of NAMES) await push.publish(name, 2);
    await until('all again', () => seen.length === 2 * NAMES.length);
    assert.deepEqual(new Set(seen), new Set(NAMES.flatMap((name) => [`${name} 1`, `${name} 2`])));
    assert.deepEqual(errors, []);
  });

  test('their positions are kept between page loads', async (t) => {
    const server = await ScriptedServer.start();
    t.after(() => server.stop());
    const kept = new Map<string, string>();
    const positions = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (k: string, v: string) => void kept.set(k, v),
    };
    const options = { url: server.url, user: 'alice', device: 'd', positions, topics: NAMES };
    const { client } = open(options);
    let seen = 0;
    client.on('message', () => void seen++);
    const first = await server.next();
    await first.welcome();
    for (const name of NAMES) first.message(3, 'x', name);
    await until('all', () => seen === NAMES.length);
    client.close();
    open(options);
    const hello = await (await server.next()).frame('hello');
    assert.deepEqual(new Map(Object.entries(hello.positions!)), new Map(NAMES.map((name) => [name, at(3)])));
  });

  test('what can be no topic is refused by the promise and an error, and asks no server twice', async (t) => {
    const { url } = await start(t);
    const { client, errors } = open({ url, user: 'alice' });
    const names = [
      '',
      'inbox',
      'broadcast',
      'user:alice',
      'x'.repeat(257),
      'x'.repeat(100_000),
      '\u0000',
      '\ud800',
    ];
    for (const name of names)
      await assert.rejects(client.subscribe(name), { code: 'bad-channel' }, name.slice(0, 20));
    await until('all told', () => errors.length === names.length);
    assert.ok(errors.every(({ code }) => code === 'bad-channel'));
  });

  test('a topic that could not be had for want of the store is asked for again', async (t) => {
    const server = await ScriptedServer.start();
    t.after(() => server.stop());
    const { client, errors } = open({ url: server.url, topics: ['news'] });
    const connection = await server.next();
    await connection.welcome();
    connection.send({ type: 'error', code: 'unavailable', message: 'try again', channel: 'news' });
    assert.equal((await connection.frame('subscribe')).channel, 'news');
    connection.send({ type: 'subscribed', channel: 'news', position: at(0), recovered: true });
    assert.equal((await client.subscribe('news')).recovered, true);
    assert.deepEqual(errors, []);
  });

  test('subscribe, unsubscribe, subscribe in one turn, as React’s StrictMode does it', async (t) => {
    const server = await ScriptedServer.start();
    t.after(() => server.stop());
    const { client, errors } = open({ url: server.url });
    const connection = await server.next();
    await connection.welcome();
    await until('connected', () => client.state.name === 'connected');
    const first = client.subscribe('news');
    client.unsubscribe('news');
    const second = client.subscribe('news');
    await assert.rejects(first, /unsubscribed/);
    await connection.frame('subscribe', 1);
    // Of a server that refuses the first, and that of a slower one whose answers cross.
    connection.send({ type: 'error', code: 'forbidden', message: 'no', channel: 'news' });
    connection.send({ type: 'error', code: 'not-subscribed', message: 'no', channel: 'news' });
    connection.send({ type: 'subscribed', channel: 'news', position: at(5), recovered: true });
    assert.deepEqual((await second).position, at(5));
    assert.deepEqual(errors, []);
    const seen: unknown[] = [];
    client.on('message', ({ data }) => seen.push(data));
    connection.message(6, 'm6', 'news');
    await until('the message', () => seen.length);
  });

  test('topics that are joined or left between hello and welcome are joined and left', async (t) => {
    const server = await ScriptedServer.start();
    t.after(() => server.stop());
    const { client } = open({ url: server.url, topics: ['old'] });
    const connection = await server.next();
    await connection.frame('hello');
    client.unsubscribe('old');
    const subscribed = client.subscribe('new');
    connection.sendWelcome({ channels: { old: { position: at(0), recovered: true } } });
    assert.equal((await connection.frame('unsubscribe')).channel, 'old');
    assert.equal((await connection.frame('subscribe')).channel, 'new');
    connection.send({ type: 'subscribed', channel: 'new', position: at(0), recovered: true });
    await subscribed;
  });
});

describe('acknowledgements', () => {
  for (const device of ['d', null]) {
    test(`device ${device}: a server never has one to refuse, of topics, of the inbox, or by hand`, async (t) => {
      const { push, url } = await start(t);
      const { client, errors } = open({ url, user: 'alice', device, topics: ['news'] });
      const seen: unknown[] = [];
      client.on('message', (message) => {
        seen.push(message.data);
        client.ack(message);
      });
      await client.subscribe('news');
      for (let n = 0; n < 5; n++) await Promise.all([push.publish('news', n), push.send('alice', n)]);
      await until('all', () => seen.length === 10);
      if (device !== null) await until('acked', async () => (await push.pending('alice')).count === 0);
      // What was said before this is answered before this.
      await client.publish('news', 'last');
      assert.deepEqual(errors, []);
    });
  }

  test('of a log that is gone, none goes out', async (t) => {
    const server = await ScriptedServer.start();
    t.after(() => server.stop());
    const { client } = open({ url: server.url, device: 'd', ack: 'manual' });
    const seen: Parameters<Client['ack']>[0][] = [];
    client.on('message', (message) => seen.push(message));
    const connection = await server.next();
    await connection.welcome();
    connection.message(1);
    connection.send({
      type: 'gap',
      channel: 'inbox',
      position: at(0, 'e2'),
      recovered: false,
      reason: 'rewound',
    });
    connection.message(1, 'new', 'inbox', 'e2');
    await until('both', () => seen.length === 2);
    client.ack(seen[0]!);
    client.ack({ channel: 'inbox', position: at(99, 'e2') });
    client.ack(seen[1]!);
    assert.deepEqual((await connection.frame('ack')).position, at(1, 'e2'));
  });
});

describe('limits of the server', () => {
  test('300 publishes made before the connection is up, and 90 topics beside them: all through, no 4429', async (t) => {
    const { url } = await start(t);
    const { client, errors, closes } = open({ url, user: 'alice' });
    const topics = Array.from({ length: 90 }, (_, n) => client.subscribe(`t${n}`, { start: 'retained' }));
    const published = Array.from({ length: 300 }, (_, n) => client.publish('news', n));
    const offsets = (await Promise.all(published)).map(({ offset }) => offset);
    await Promise.all(topics);
    assert.deepEqual(
      offsets,
      offsets.map((_, n) => n + 1),
    );
    assert.deepEqual([errors, closes], [[], []]);
  });

  test('a server that takes less still gets all of it, more slowly', async (t) => {
    const { url } = await start(t, { limits: { messagesPerSecond: 10 } });
    const { client, errors } = open({ url, user: 'alice' });
    const published = await Promise.all(Array.from({ length: 60 }, (_, n) => client.publish('news', n)));
    assert.equal(new Set(published.map(({ id }) => id)).size, 60);
    assert.deepEqual(errors, []);
  });

  test('a store that is away for a while is asked again once for each publish', async (t) => {
    const server = await ScriptedServer.start();
    t.after(() => server.stop());
    const { client } = open({ url: server.url });
    const connection = await server.next();
    await connection.welcome();
    const all = Array.from({ length: 10 }, (_, n) => client.publish('news', n));
    await connection.frame('publish', 9);
    const [first, ...others] = connection.frames.flatMap((frame) =>
      frame.type === 'publish' ? [frame.ref!] : [],
    );
    connection.send({ type: 'error', code: 'unavailable', message: 'later', ref: first! });
    assert.equal((await connection.frame('publish', 10)).ref, first);
    for (const ref of [first!, ...others])
      connection.send({ type: 'published', channel: 'news', ref, ...at(1), duplicate: false });
    await Promise.all(all);
    assert.equal(connection.frames.filter(({ type }) => type === 'publish').length, 11);
  });

  test('a hello that is longer than the server takes goes in parts: 1009 is no end', async (t) => {
    const { push, url } = await start(t, { limits: { message: 4096 } });
    const names = Array.from({ length: 60 }, (_, n) => `topic ${'é'.repeat(100)} ${n}`);
    const { client, errors } = open({ url, user: 'alice', topics: names });
    const seen: unknown[] = [];
    client.on('message', ({ channel }) => seen.push(channel));
    await Promise.all(names.map((name) => client.subscribe(name)));
    for (const name of names) await push.publish(name, 1);
    await until('all', () => seen.length === names.length);
    assert.deepEqual(errors, []);
  });

  test('more topics than a hello may name: those that have room are there, the others are refused', async (t) => {
    const { url } = await start(t, { limits: { subscriptions: 5 } });
    const { client } = open({ url, user: 'alice' });
    const names = Array.from({ length: 30 }, (_, n) => `t${n}`);
    const outcomes = await Promise.allSettled(names.map((name) => client.subscribe(name)));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 5);
  });

  test('a publish that is longer than the server takes is refused, and the others go on', async (t) => {
    const { url } = await start(t, { limits: { message: 4096 } });
    const { client } = open({ url, user: 'alice' });
    const [small, large, other] = [
      client.publish('news', 'a'),
      client.publish('news', 'b'.repeat(5000)),
      client.publish('news', 'c'),
    ];
    await assert.rejects(large, Error);
    assert.notEqual((await small).id, (await other).id);
  });

  test('so it is by a server that closes with 1009', async (t) => {
    const server = await ScriptedServer.start();
    t.after(() => server.stop());
    const { client } = open({ url: server.url });
    const first = await server.next();
    await first.welcome();
    const all = [
      client.publish('news', 'a'),
      client.publish('news', 'b'.repeat(5000)),
      client.publish('news', 'c'),
    ];
    await first.frame('publish', 2);
    first.socket.close(1009);
    await assert.rejects(all[1]!, RangeError);
    const second = await server.next();
    await second.welcome();
    await second.frame('publish', 1);
    assert.deepEqual(
      second.frames.flatMap((frame) => (frame.type === 'publish' ? [frame.data] : [])),
      ['a', 'c'],
    );
    client.close();
    await Promise.allSettled(all);
  });
});

describe('tickets', () => {
  let server: ScriptedServer;
  beforeEach(async () => {
    server = await ScriptedServer.start();
  });
  afterEach(() => server.stop());
  const base = { ticketParameter: 'ticket' };
  const ticketOf = async () => {
    const connection = await server.next();
    await connection.frame('hello');
    return { connection, ticket: new URL(connection.url, 'ws://x').searchParams.get('ticket') };
  };

  for (const [code, name] of [
    [4501, 'not-authenticated'],
    [4503, 'forbidden'],
  ] as const)
    test(`${code}: the client stops, says ${name}, and starts again with another ticket`, async () => {
      const { client, errors } = open({ ...base, url: server.url, ticket: 'old' });
      const first = await ticketOf();
      first.connection.socket.close(code, 'why');
      await until('told', () => errors.length);
      assert.deepEqual(errors, [{ code: name, message: 'why' }]);
      assert.deepEqual(client.state, { name: 'closed', code, reason: 'why' });
      client.connect({ ticket: 'new' });
      const second = await ticketOf();
      assert.equal(second.ticket, 'new');
      second.connection.sendWelcome();
      await until('connected', () => client.state.name === 'connected');
      second.connection.socket.terminate();
      assert.equal((await ticketOf()).ticket, 'new');
    });

  test('a function is asked once more, as the ticket may have expired; then it has had its chance', async () => {
    let asked = 0;
    const { client, errors } = open({ ...base, url: server.url, ticket: async () => `n${++asked}` });
    const first = await ticketOf();
    first.connection.sendWelcome();
    await until('connected', () => client.state.name === 'connected');
    first.connection.socket.close(4501, 'expired');
    const second = await ticketOf();
    assert.equal(second.ticket, 'n2');
    second.connection.socket.close(4501, 'not yours');
    await until('the end', () => client.state.name === 'closed');
    assert.deepEqual(errors, [{ code: 'not-authenticated', message: 'not yours' }]);
    assert.equal(asked, 2);
    client.connect();
    assert.equal((await ticketOf()).ticket, 'n3');
  });

  test('another ticket while it waits or dials is used at once', async () => {
    const { client } = open({
      ...base,
      url: server.url,
      ticket: 'a',
      reconnect: { mode: 'fixed', delay: 3_600_000 },
    });
    const first = await ticketOf();
    client.connect({ ticket: 'b' });
    const second = await ticketOf();
    assert.equal(second.ticket, 'b');
    await until('the first to be left', () => first.connection.closed);
    second.connection.socket.terminate();
    await until('waiting', () => client.state.name === 'waiting');
    client.connect({ ticket: 'c' });
    assert.equal((await ticketOf()).ticket, 'c');
  });
});
