/** Whatever a server says, it ends in a retry or in an error that is told. test/browser/client.test.ts has the same in Chromium. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Client, type ClientEvents, type ConnectOptions, connect } from '../../src/client/full.ts';
import type { WebSocketConstructor } from '../../src/client/transport.ts';
import { until } from '../support/net.ts';
import { nonsense, welcomes } from './nonsense.ts';
import { at, ScriptedServer } from './scripted-server.ts';

let server: ScriptedServer;
const clients: Client[] = [];
beforeEach(async () => {
  server = await ScriptedServer.start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.stop();
});

function open(options: ConnectOptions = {}) {
  const client = connect({
    url: server.url,
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    reconnect: { min: 1, max: 5 },
    connectTimeout: 60_000,
    ...options,
  });
  clients.push(client);
  const errors: ClientEvents['error'][] = [];
  const messages: unknown[] = [];
  client.on('error', (error) => errors.push(error));
  client.on('message', ({ data }) => messages.push(data));
  return { client, errors, messages };
}

test('after each of these the client says so and comes back, from where it was', async () => {
  const { client, errors, messages } = open();
  const closes: number[] = [];
  client.on('close', ({ code }) => closes.push(code));
  let seen = 0;
  for (const [name, frame] of Object.entries(nonsense)) {
    const connection = await server.next();
    const hello = await connection.frame('hello');
    if (seen > 0) assert.deepEqual(hello.positions, { inbox: at(seen) }, name);
    connection.sendWelcome({ channels: { inbox: { position: at(seen), recovered: true } } });
    connection.message(++seen);
    const told = errors.length;
    connection.socket.send(frame);
    await until(`the error after ${name}`, () => errors.length > told);
    assert.equal(errors.at(-1)!.code, 'malformed', name);
  }
  assert.equal(messages.length, seen);
  assert.deepEqual(new Set(closes), new Set([1007]));
});

test('nor does a welcome that is none leave it waiting', async () => {
  const { errors } = open();
  for (const [name, frame] of Object.entries(welcomes)) {
    const connection = await server.next();
    await connection.frame('hello');
    const told = errors.length;
    connection.socket.send(frame);
    await until(`the error after ${name}`, () => errors.length > told);
  }
});

test('a type that it does not know, and its name be constructor, is told and changes nothing', async () => {
  const { errors, messages } = open();
  const connection = await server.next();
  await connection.welcome();
  for (const type of ['weather', 'constructor', '__proto__', ''])
    connection.socket.send(JSON.stringify({ type }));
  connection.message(1);
  await until('the message', () => messages.length);
  assert.deepEqual(
    errors.map(({ code }) => code),
    Array(4).fill('unknown-type'),
  );
  assert.equal(server.connections.length, 1);
});

test('times beyond what a timer can do are long, not none', async () => {
  const { client, messages } = open();
  const connection = await server.next();
  await connection.welcome({ heartbeat: { interval: 1e300, timeout: 1e300 } });
  connection.send({ type: 'drain', window: Number.MAX_VALUE });
  connection.message(1);
  await until('the message', () => messages.length);
  await new Promise(setImmediate);
  assert.equal(client.state.name, 'connected');
  assert.equal(connection.frames.filter(({ type }) => type === 'ping').length, 0);
});

test('a server that calls the user by another name each time is not dialled at once for ever', async () => {
  const { client } = open({ user: 'zoe', reconnect: { mode: 'fixed', delay: 3_600_000 } });
  // Devices are kept by user: each new name brings a new one.
  await (await server.next()).welcome({ user: 'alice' });
  await (await server.next()).welcome({ user: 'bob' });
  await until('it to wait', () => client.state.name === 'waiting');
  assert.equal(server.connections.length, 2);
});

test('what JSON can not say is refused at once, and does not come between later ones', async () => {
  const { client } = open();
  const bad = client.publish('news', 10n);
  await assert.rejects(bad, TypeError);
  const connection = await server.next();
  await connection.welcome();
  const good = client.publish('news', 1);
  const { ref } = await connection.frame('publish');
  connection.send({ type: 'published', channel: 'news', ref: ref!, ...at(1), duplicate: false });
  assert.equal((await good).offset, 1);
});
