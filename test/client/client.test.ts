import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { WebSocket as UndiciWebSocket } from 'undici';
import { WebSocket as WsWebSocket } from 'ws';
import {
  type Client,
  type ClientEvents,
  type ConnectOptions,
  connect,
  type Message,
  type StorageLike,
  type WebSocketConstructor,
} from '../../src/client/full.ts';
import { freePort, until } from '../support/net.ts';
import { at, type ScriptedConnection, ScriptedServer } from './scripted-server.ts';

let server: ScriptedServer;
const clients: Client[] = [];

beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.stop();
});

/** Fast where the page is patient, and patient where the machine may be slow. */
function open(options: ConnectOptions = {}): Client {
  const client = connect({
    url: server.url,
    WebSocket: WsWebSocket as unknown as WebSocketConstructor,
    reconnect: { min: 1, max: 20 },
    ackDelay: 1,
    connectTimeout: 60_000,
    ...options,
  });
  clients.push(client);
  return client;
}

function record<E extends keyof ClientEvents>(client: Client, event: E): ClientEvents[E][] {
  const events: ClientEvents[E][] = [];
  client.on(event, (value) => events.push(value));
  return events;
}

const data = (messages: Message[]) => messages.map((message) => message.data);

class MapStorage implements StorageLike {
  readonly map = new Map<string, string>();
  getItem(key: string): string | null {
    return this.map.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.map.set(key, value);
  }
}

describe('hello and welcome', () => {
  test('the client speaks first, with its device, and is open once it is welcome', async () => {
    const client = open({ device: 'd1', topics: ['news'], start: 'retained' });
    const opened = record(client, 'open');
    const states = record(client, 'state');
    const connection = await server.next();
    assert.deepEqual(await connection.frame('hello'), {
      type: 'hello',
      device: 'd1',
      start: 'retained',
      positions: {},
      topics: ['news'],
    });
    assert.equal(connection.socket.protocol, 'tidings.1');
    assert.equal(opened.length, 0);
    await connection.welcome();
    await until('open', () => opened.length);
    assert.equal(opened[0]!.user, 'alice');
    assert.equal(opened[0]!.resumed, false);
    assert.equal(client.user, 'alice');
    assert.deepEqual(
      states.map((state) => state.name),
      ['connected'],
    );
  });

  test('start at the beginning: says so by a position before the first message, until it has one', async () => {
    const client = open({ device: 'd', start: 'beginning', topics: ['news'] });
    const messages = record(client, 'message');
    const origin = { epoch: '', offset: 0, id: '' };
    const first = await server.next();
    const hello = await first.frame('hello');
    assert.equal(hello.start, undefined);
    assert.deepEqual(hello.positions, { inbox: origin, news: origin });
    await first.welcome({ channels: { inbox: { position: at(0), recovered: true } } });
    first.message(1);
    await until('the message', () => messages.length);
    first.socket.terminate();
    const again = await (await server.next()).frame('hello');
    assert.deepEqual(again.positions, { inbox: at(1), news: origin });
  });

  test('user goes into the query, a ticket into the subprotocols', async () => {
    open({ url: `${server.url}?x=1`, user: 'zoë', ticket: 't1.abc.def' });
    const connection = await server.next();
    assert.equal(connection.url, '/socketServer?x=1&operator=zo%C3%AB');
    open({ ticket: 'abc', ticketParameter: 'ticket' });
    assert.equal((await server.next()).url, '/socketServer?ticket=abc');
  });

  test('a ticket function is asked before every attempt; one that fails is told and tried again', async () => {
    let asked = 0;
    const client = open({
      ticketParameter: 'ticket',
      ticket: async () => {
        asked++;
        if (asked === 2) throw new Error('no ticket today');
        return `n${asked}`;
      },
    });
    const errors = record(client, 'error');
    const first = await server.next();
    assert.equal(first.url, '/socketServer?ticket=n1');
    first.socket.terminate();
    assert.equal((await server.next()).url, '/socketServer?ticket=n3');
    assert.deepEqual(errors, [{ code: 'connect', message: 'no ticket today' }]);
  });

  test('a server that never welcomes is given up on', async () => {
    open({ connectTimeout: 200 });
    // On a busy machine the first attempts may end before the handshake does.
    await until('a connection to be given up', () =>
      server.connections.some(({ closed }) => closed?.code === 4408),
    );
    const count = server.connections.length;
    await until('the next attempt', () => server.connections.length > count);
  });

  test('a server that says it is behind is waited for', async () => {
    const client = open({ connectTimeout: 500 });
    const statuses = record(client, 'status');
    const told = new Set<ScriptedConnection>();
    // On a busy machine the first attempts may end before the status comes.
    await until('the status', () => {
      const connection = server.connections.at(-1);
      if (connection?.frames.length === 1 && !told.has(connection)) {
        told.add(connection);
        connection.send({ type: 'status', behind: true });
      }
      return statuses.length;
    });
    const count = server.connections.length;
    // One that began later, and that nobody answers, gives up: so the timeout is no longer in force here.
    const silent = await ScriptedServer.start();
    const other = open({ url: silent.url, connectTimeout: 500 });
    await until('the other to give up', () => silent.connections.some(({ closed }) => closed?.code === 4408));
    other.close();
    await silent.stop();
    await server.connections[count - 1]!.welcome();
    await until('connected', () => client.state.name === 'connected');
    assert.equal(server.connections.length, count);
  });

  test("Node's own kind of WebSocket (undici) works as well", async () => {
    const client = open({ WebSocket: UndiciWebSocket as unknown as WebSocketConstructor });
    const messages = record(client, 'message');
    const connection = await server.next();
    await connection.welcome();
    connection.message(1);
    await until('the message', () => messages.length);
    assert.deepEqual(data(messages), ['m1']);
  });
});

describe('messages', () => {
  test('come in order, once, with their position; what is no log’s has none', async () => {
    const client = open();
    const messages = record(client, 'message');
    const connection = await server.next();
    await connection.welcome();
    for (const offset of [1, 2, 2, 1, 3]) connection.message(offset);
    connection.send({ type: 'transient', channel: 'broadcast', data: { x: 1 } });
    connection.send({
      type: 'message',
      channel: 'inbox',
      ...at(4),
      time: 9,
      data: 'AP8=',
      encoding: 'base64',
    });
    await until('five messages', () => messages.length >= 5);
    assert.deepEqual(data(messages), ['m1', 'm2', 'm3', { x: 1 }, new Uint8Array([0, 255])]);
    assert.deepEqual(messages[0], { channel: 'inbox', data: 'm1', position: at(1), id: 'e1-1', time: 1 });
    assert.equal(messages[3]!.position, undefined);
  });

  test('resume: the next hello continues after the last message seen, duplicates are dropped', async () => {
    const client = open({ topics: ['news'] });
    const messages = record(client, 'message');
    const opened = record(client, 'open');
    const first = await server.next();
    await first.welcome({
      channels: {
        inbox: { position: at(5), recovered: true },
        news: { position: at(0, 'n'), recovered: true },
      },
    });
    first.message(6);
    first.message(1, 'n1', 'news', 'n');
    await until('both', () => messages.length === 2);
    first.socket.terminate();
    const second = await server.next();
    const hello = await second.frame('hello');
    assert.deepEqual(hello.positions, { inbox: at(6), news: at(1, 'n') });
    assert.deepEqual(hello.topics, ['news']);
    await second.welcome({
      channels: {
        inbox: { position: at(6), recovered: true },
        news: { position: at(1, 'n'), recovered: true },
      },
    });
    second.message(6);
    second.message(7);
    await until('the next', () => messages.length === 3);
    assert.deepEqual(data(messages), ['m6', 'n1', 'm7']);
    assert.deepEqual(
      opened.map((event) => event.resumed),
      [false, true],
    );
  });

  test('a gap is told after open, and lower offsets after it are new messages', async () => {
    const client = open();
    const log: string[] = [];
    client.on('open', () => log.push('open'));
    client.on('gap', (gap) => log.push(`gap ${gap.channel} ${gap.reason}`));
    client.on('message', (message) => log.push(String(message.data)));
    const first = await server.next();
    await first.welcome({ channels: { inbox: { position: at(40), recovered: true } } });
    first.message(41);
    await until('the message', () => log.includes('m41'));
    first.socket.terminate();
    const second = await server.next();
    await second.welcome({
      channels: { inbox: { position: at(0, 'e2'), recovered: false, reason: 'rewound' } },
    });
    second.message(1, 'again', 'inbox', 'e2');
    second.send({
      type: 'gap',
      channel: 'inbox',
      position: at(7, 'e2'),
      recovered: false,
      reason: 'trimmed',
    });
    second.message(8, 'after', 'inbox', 'e2');
    await until('all', () => log.includes('after'));
    assert.deepEqual(log, [
      'open',
      'm41',
      'open',
      'gap inbox rewound',
      'again',
      'gap inbox trimmed',
      'after',
    ]);
  });

  test('same epoch rewound: an offset the page has seen brings a new message if its id is new', async () => {
    const client = open();
    const messages = record(client, 'message');
    const connection = await server.next();
    await connection.welcome();
    connection.message(1);
    connection.message(2);
    connection.send({ type: 'gap', channel: 'inbox', position: at(0), recovered: false, reason: 'rewound' });
    const other = { ...at(1), id: 'other-1' };
    connection.send({ type: 'message', channel: 'inbox', ...other, time: 1, data: 'other' });
    await until('three', () => messages.length === 3);
    assert.deepEqual(data(messages), ['m1', 'm2', 'other']);
  });

  test('a log that begins anew brings nothing twice: what the page has had is dropped by its id, and acknowledged', async () => {
    const client = open();
    const messages = record(client, 'message');
    client.on('message', (message) => {
      if (message.data === 'm2' && messages.length === 2) return Promise.reject(new Error('not stored'));
      return undefined;
    });
    const thrown: unknown[] = [];
    const own = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (error) => thrown.push(error));
    const connection = await server.next();
    await connection.welcome();
    connection.message(1);
    connection.message(2);
    await until('the failure', () => thrown.length === 1);
    process.removeAllListeners('unhandledRejection');
    for (const listener of own) process.on('unhandledRejection', listener);
    connection.message(3);
    connection.send({
      type: 'gap',
      channel: 'inbox',
      position: at(0, 'e2'),
      recovered: false,
      reason: 'rewound',
    });
    // As after a restart from an older snapshot: the same messages in another epoch.
    for (const offset of [1, 2, 3]) {
      const place = { ...at(offset), epoch: 'e2' };
      connection.send({ type: 'message', channel: 'inbox', ...place, time: 1, data: `m${offset}` });
    }
    const acked = await until('the acknowledgement', () =>
      connection.frames.find((frame) => frame.type === 'ack' && frame.position.offset === 3),
    );
    assert.deepEqual(acked, { type: 'ack', channel: 'inbox', position: { ...at(3), epoch: 'e2' } });
    // What the page's code failed at comes again.
    assert.deepEqual(data(messages), ['m1', 'm2', 'm3', 'm2']);
  });

  test('a frame that is not JSON costs the connection, not a message', async () => {
    const client = open();
    const messages = record(client, 'message');
    const first = await server.next();
    await first.welcome();
    first.message(1);
    first.socket.send('{"type":');
    const second = await server.next();
    assert.deepEqual((await second.frame('hello')).positions, { inbox: at(1) });
    assert.equal(messages.length, 1);
  });

  test('a listener that throws neither stops the others nor the connection', async () => {
    const client = open();
    const errors: unknown[] = [];
    const listener = (error: unknown) => errors.push(error);
    const own = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', listener);
    try {
      client.on('message', () => {
        throw new Error('from the page');
      });
      const messages = record(client, 'message');
      const connection = await server.next();
      await connection.welcome();
      connection.message(1);
      connection.message(2);
      await until('both messages and errors', () => messages.length === 2 && errors.length === 2);
    } finally {
      process.removeListener('uncaughtException', listener);
      for (const other of own) process.on('uncaughtException', other);
    }
    assert.match(String(errors[0]), /from the page/);
  });
});

describe('acknowledgements', () => {
  test('auto: gathered, the newest only, once the listeners have returned', async () => {
    const client = open({ device: 'd', ackDelay: 30 });
    const messages = record(client, 'message');
    const connection = await server.next();
    await connection.welcome();
    connection.atOnce(() => {
      for (const offset of [1, 2, 3]) connection.message(offset);
    });
    const ack = await connection.frame('ack');
    assert.equal(messages.length, 3);
    assert.deepEqual(ack, { type: 'ack', channel: 'inbox', position: at(3) });
    assert.equal(connection.frames.filter((frame) => frame.type === 'ack').length, 1);
  });

  test('auto: a promise is waited for, and a later message that is done first waits too', async () => {
    const client = open({ device: 'd' });
    const resolves: (() => void)[] = [];
    client.on('message', () => new Promise<void>((resolve) => resolves.push(resolve)));
    const connection = await server.next();
    await connection.welcome();
    for (const offset of [1, 2, 3]) connection.message(offset);
    await until('three', () => resolves.length === 3);
    resolves[1]!();
    await turn();
    resolves[0]!();
    assert.deepEqual((await connection.frame('ack')).position, at(2));
    resolves[2]!();
    assert.deepEqual((await connection.frame('ack', 1)).position, at(3));
  });

  test('auto: a rejected listener keeps its message and all later ones from being acknowledged', async () => {
    const client = open({ device: 'd' });
    const rejections: unknown[] = [];
    const listener = (reason: unknown) => rejections.push(reason);
    const own = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', listener);
    const seen: unknown[] = [];
    client.on('message', async (message) => {
      seen.push(message.data);
      await turn();
      if (message.data === 'm2') throw new Error('m2 failed');
    });
    try {
      const connection = await server.next();
      await connection.welcome();
      for (const offset of [1, 2, 3]) connection.message(offset);
      assert.deepEqual((await connection.frame('ack')).position, at(1));
      await until('the rejection to surface', () => rejections.length);
      await until('the last', () => seen.length === 3);
      client.close();
      await until('closed', () => connection.closed);
      assert.deepEqual(seen, ['m1', 'm2', 'm3']);
      assert.equal(connection.frames.filter((frame) => frame.type === 'ack').length, 1);
    } finally {
      process.removeListener('unhandledRejection', listener);
      for (const other of own) process.on('unhandledRejection', other);
    }
  });

  test('manual: only what the page says; close() sends what is waiting', async () => {
    const client = open({ device: 'd', ack: 'manual', ackDelay: 60_000 });
    const messages = record(client, 'message');
    const connection = await server.next();
    await connection.welcome();
    connection.message(1);
    connection.message(2);
    await until('both', () => messages.length === 2);
    client.ack(messages[0]!);
    client.close();
    await until('closed', () => connection.closed);
    assert.deepEqual(
      connection.frames.filter((frame) => frame.type === 'ack'),
      [{ type: 'ack', channel: 'inbox', position: at(1) }],
    );
    assert.equal(connection.closed!.code, 1000);
  });

  test('are said again after a reconnect, as they may have been lost with the connection', async () => {
    const client = open({ device: 'd' });
    record(client, 'message');
    const first = await server.next();
    await first.welcome();
    first.message(1);
    await first.frame('ack');
    first.socket.terminate();
    const second = await server.next();
    await second.welcome({ channels: { inbox: { position: at(1), recovered: true } } });
    assert.deepEqual((await second.frame('ack')).position, at(1));
  });

  test('of other sessions reach the page', async () => {
    const client = open();
    const acked = record(client, 'acked');
    const connection = await server.next();
    await connection.welcome();
    connection.send({ type: 'acked', channel: 'inbox', device: 'other', position: at(3) });
    await until('acked', () => acked.length);
    assert.deepEqual(acked, [{ channel: 'inbox', device: 'other', position: at(3) }]);
  });
});

describe('topics', () => {
  test('subscribe resolves with the state and is repeated in the next hello', async () => {
    const client = open();
    const first = await server.next();
    await first.welcome();
    await until('connected', () => client.state.name === 'connected');
    const subscribed = client.subscribe('news', { start: 'retained' });
    assert.deepEqual(await first.frame('subscribe'), {
      type: 'subscribe',
      channel: 'news',
      start: 'retained',
    });
    first.send({ type: 'subscribed', channel: 'news', position: at(2, 'n'), recovered: true });
    assert.deepEqual(await subscribed, { position: at(2, 'n'), recovered: true });
    first.socket.terminate();
    const hello = await (await server.next()).frame('hello');
    assert.deepEqual(hello.topics, ['news']);
    assert.deepEqual(hello.positions!['news'], at(2, 'n'));
  });

  test('one with a beginning of its own, asked for before the connection, is joined after the welcome', async () => {
    const client = open();
    const subscribed = client.subscribe('news', { position: at(3, 'n') });
    const connection = await server.next();
    assert.deepEqual((await connection.frame('hello')).topics, []);
    await connection.welcome();
    assert.deepEqual(await connection.frame('subscribe'), {
      type: 'subscribe',
      channel: 'news',
      position: at(3, 'n'),
    });
    connection.send({ type: 'subscribed', channel: 'news', position: at(3, 'n'), recovered: true });
    assert.equal((await subscribed).recovered, true);
  });

  test('a refusal rejects, is told as an error, and is not asked for again', async () => {
    const client = open();
    const errors = record(client, 'error');
    const first = await server.next();
    await first.welcome();
    await until('connected', () => client.state.name === 'connected');
    const subscribed = client.subscribe('secret');
    await first.frame('subscribe');
    first.send({ type: 'error', code: 'forbidden', message: 'no', channel: 'secret' });
    await assert.rejects(subscribed, { message: 'no', code: 'forbidden' });
    assert.deepEqual(errors, [{ code: 'forbidden', message: 'no', channel: 'secret' }]);
    first.socket.terminate();
    assert.deepEqual((await (await server.next()).frame('hello')).topics, []);
  });

  test('after unsubscribe nothing late of the topic reaches the page', async () => {
    const client = open({ topics: ['news'] });
    const messages = record(client, 'message');
    const connection = await server.next();
    await connection.welcome({ channels: { news: { position: at(0), recovered: true } } });
    await until('connected', () => client.state.name === 'connected');
    client.unsubscribe('news');
    await connection.frame('unsubscribe');
    connection.message(1, 'late', 'news');
    connection.send({ type: 'unsubscribed', channel: 'news' });
    connection.message(1, 'inbox');
    await until('the inbox message', () => messages.length);
    assert.deepEqual(data(messages), ['inbox']);
  });
});

describe('publish', () => {
  test('waits for the connection, is repeated with the same key after a loss, and resolves once', async () => {
    const client = open();
    const published = client.publish('user:bob', { text: 'hi' });
    const first = await server.next();
    await first.welcome();
    const frame = await first.frame('publish');
    assert.deepEqual(frame.data, { text: 'hi' });
    assert.match(frame.idempotencyKey!, /^[0-9a-f]{32}$/);
    first.socket.terminate();
    const second = await server.next();
    await second.welcome();
    assert.deepEqual(await second.frame('publish'), frame);
    second.send({ type: 'published', channel: 'user:bob', ref: frame.ref!, ...at(1), duplicate: true });
    assert.equal((await published).duplicate, true);
  });

  test('a refusal rejects with its code; an unavailable store is asked again', async () => {
    const client = open();
    const connection = await server.next();
    await connection.welcome();
    const refused = client.publish('news', 1);
    const { ref } = await connection.frame('publish');
    connection.send({ type: 'error', code: 'forbidden', message: 'no', ref: ref! });
    await assert.rejects(refused, { code: 'forbidden' });
    const delayed = client.publish('news', 2);
    const second = await connection.frame('publish', 1);
    connection.send({ type: 'error', code: 'unavailable', message: 'later', ref: second.ref! });
    const third = await connection.frame('publish', 2);
    assert.deepEqual(third, second);
    connection.send({ type: 'published', channel: 'news', ref: third.ref!, ...at(1), duplicate: false });
    assert.equal((await delayed).offset, 1);
  });

  test('close() rejects what has no answer, and what comes after', async () => {
    const client = open();
    const published = client.publish('news', 1);
    client.close();
    await assert.rejects(published, /closed/);
    await assert.rejects(client.publish('news', 1), /closed/);
  });
});

describe('reconnect', () => {
  test('tells how long it waits, counts tries while there is no server, and starts over after an open', async () => {
    const port = await freePort();
    await server.stop();
    server = await ScriptedServer.start(port);
    const client = open({ reconnect: { min: 1, max: 5 } });
    const states = record(client, 'state');
    const first = await server.next();
    await first.welcome();
    await until('connected', () => client.state.name === 'connected');
    await server.stop();
    await until('three tries', () => states.some((state) => state.name === 'waiting' && state.attempt === 3));
    for (const state of states)
      if (state.name === 'waiting') {
        assert.ok(state.delay <= 5);
        assert.ok(Math.abs(state.until - state.delay - Date.now()) < 60_000);
      }
    server = await ScriptedServer.start(port);
    const second = await server.next();
    await second.welcome();
    await until('connected again', () => client.state.name === 'connected');
    states.length = 0;
    second.socket.terminate();
    await until('waiting', () => states.length);
    assert.equal((states[0] as { attempt: number }).attempt, 1);
  });

  test('fixed: gives up after its tries, and connect() starts over', async () => {
    const port = await freePort();
    await server.stop();
    server = await ScriptedServer.start(port);
    const client = open({ reconnect: { mode: 'fixed', delay: 1, attempts: 3 } });
    const closes = record(client, 'close');
    await server.stop();
    await until('the end', () => client.state.name === 'closed');
    assert.deepEqual(
      closes.map((close) => close.willReconnect),
      [true, true, true, false],
    );
    server = await ScriptedServer.start(port);
    client.connect();
    await (await server.next()).welcome();
    await until('connected', () => client.state.name === 'connected');
  });

  for (const code of [4408, 4430, 1012, 1000])
    test(`close code ${code}: comes back`, async () => {
      open();
      const first = await server.next();
      await first.welcome();
      first.socket.close(code);
      await (await server.next()).frame('hello');
    });

  for (const code of [4500, 4501, 4503, 4509])
    test(`close code ${code}: stays away`, async () => {
      const client = open();
      const closes = record(client, 'close');
      const first = await server.next();
      await first.welcome();
      first.socket.close(code, 'why');
      await until('closed', () => client.state.name === 'closed');
      assert.deepEqual(closes, [{ code, reason: 'why', willReconnect: false }]);
      assert.equal(server.connections.length, 1);
    });

  test('drain: leaves within the window, by itself, and resumes', async () => {
    const client = open();
    const messages = record(client, 'message');
    const closes = record(client, 'close');
    const first = await server.next();
    await first.welcome();
    first.message(1);
    first.send({ type: 'drain', window: 40 });
    const second = await server.next();
    assert.deepEqual((await second.frame('hello')).positions, { inbox: at(1) });
    assert.equal(messages.length, 1);
    assert.deepEqual(closes, [{ code: 4412, reason: 'draining', willReconnect: true }]);
    await until('the first to be closed', () => first.closed);
    assert.equal(first.closed!.code, 4412);
  });

  test('drain before the welcome: neither welcome nor status keeps the client from leaving', async () => {
    const client = open();
    const closes = record(client, 'close');
    const opened = record(client, 'open');
    const first = await server.next();
    await first.frame('hello');
    first.atOnce(() => {
      first.send({ type: 'drain', window: 200 });
      first.send({ type: 'status', behind: true });
      first.sendWelcome();
    });
    await (await server.next()).frame('hello');
    assert.equal(opened.length, 1);
    assert.deepEqual(closes, [{ code: 4412, reason: 'draining', willReconnect: true }]);
  });

  test('close() within an event ends it: no try, no timer, no late event', async () => {
    const client = open();
    const states = record(client, 'state');
    client.on('state', (state) => {
      if (state.name === 'waiting') client.close();
    });
    const closes = record(client, 'close');
    const first = await server.next();
    await first.welcome();
    first.socket.close(1012);
    await until('closed', () => client.state.name === 'closed');
    assert.deepEqual(
      states.map((state) => state.name),
      ['connected', 'waiting', 'closed'],
    );
    assert.deepEqual(closes, [{ code: 1000, reason: '', willReconnect: false }]);
  });
});

describe('heartbeat', () => {
  test('silence is answered by a ping, and any frame settles it', async () => {
    const client = open({ heartbeat: { interval: 30, timeout: 60_000 } });
    const beats = record(client, 'heartbeat');
    const connection = await server.next();
    await connection.welcome();
    await connection.frame('ping');
    connection.send({ type: 'pong' });
    await connection.frame('ping', 1);
    assert.equal(beats[0]!.roundTrip, undefined);
    assert.equal(typeof beats[1]!.roundTrip, 'number');
    assert.equal(server.connections.length, 1);
  });

  test('no answer: closes with 4408 and comes back', async () => {
    const client = open();
    const closes = record(client, 'close');
    const first = await server.next();
    await first.welcome({ heartbeat: { interval: 30, timeout: 30 } });
    const second = await server.next();
    await second.frame('hello');
    assert.equal(closes[0]!.code, 4408);
    await until('the first to be closed', () => first.closed);
    assert.equal(first.closed!.code, 4408);
  });
});

describe('plain mode', () => {
  test('hands over raw texts, sends no hello, and pings with the bare word', async () => {
    const client = open({ plain: true, user: 'alice', heartbeat: { interval: 30, timeout: 60_000 } });
    const messages = record(client, 'message');
    const connection = await server.next();
    assert.equal(connection.socket.protocol, '');
    assert.equal(connection.url, '/socketServer?operator=alice');
    await until('the ping', () => connection.texts.includes('ping'));
    connection.socket.send('hb_ok');
    connection.socket.send('hello');
    connection.socket.send('{"a":1}');
    await until('both', () => messages.length === 2);
    assert.deepEqual(data(messages), ['hello', '{"a":1}']);
    assert.deepEqual(new Set(connection.texts), new Set(['ping']));
    await assert.rejects(client.publish('news', 1), /plain mode/);
  });
});

describe('device and positions', () => {
  test('one device per user and browser, kept; the next page load says it again', async () => {
    const storage = new MapStorage();
    const devices: (string | undefined)[] = [];
    for (const user of ['alice', 'bob', 'alice']) {
      const client = open({ storage, user });
      const connection = await server.next();
      devices.push((await connection.frame('hello')).device);
      await connection.welcome({ user });
      await until('connected', () => client.state.name === 'connected');
      client.close();
    }
    assert.match(devices[0]!, /^[0-9a-f]{32}$/);
    assert.equal(devices[0], devices[2]);
    assert.notEqual(devices[0], devices[1]);
  });

  test('another user than last time: greets again in their own name, before anything is delivered', async () => {
    const storage = new MapStorage();
    const alice = open({ storage, positions: storage });
    const first = await server.next();
    const device = (await first.frame('hello')).device;
    record(alice, 'message');
    await first.welcome({ user: 'alice' });
    first.message(1);
    await first.frame('ack');
    alice.close();

    const bob = open({ storage, positions: storage });
    const opened = record(bob, 'open');
    const second = await server.next();
    const wrong = await second.frame('hello');
    assert.equal(wrong.device, device);
    assert.deepEqual(wrong.positions, { inbox: at(1) });
    await second.welcome({ user: 'bob' });
    const third = await server.next();
    const right = await third.frame('hello');
    assert.notEqual(right.device, device);
    assert.deepEqual(right.positions, {});
    assert.equal(opened.length, 0);
    await third.welcome({ user: 'bob' });
    await until('open', () => opened.length);
    assert.equal(server.connections.length, 3);
  });

  test('positions are kept where asked for, once the message is handled', async () => {
    const positions = new MapStorage();
    const client = open({ user: 'alice', device: 'd', positions });
    record(client, 'message');
    const first = await server.next();
    await first.welcome();
    first.message(1);
    await first.frame('ack');
    client.close();
    open({ user: 'alice', device: 'd', positions });
    assert.deepEqual((await (await server.next()).frame('hello')).positions, { inbox: at(1) });
  });

  test('storage that throws, or holds rubbish, is done without', async () => {
    const storage: StorageLike = {
      getItem: () => '{rubbish',
      setItem: () => {
        throw new Error('full');
      },
    };
    open({ storage, positions: storage, user: 'alice' });
    const hello = await (await server.next()).frame('hello');
    assert.deepEqual(hello.positions, {});
  });
});
