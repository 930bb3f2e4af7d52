/**
 * Programs that depend on ws, unmodified, in a project where the name `ws` is tidings/ws. Their clients run
 * here, on ws itself.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { createClient } from 'graphql-ws';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { WebsocketProvider } from 'y-websocket';
import { Doc } from 'yjs';
import { WebSocket as OurWebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { type InstalledPackage, installPackage } from '../support/package.ts';
import { uncovered } from '../support/programs.ts';

let installed: InstalledPackage;

before(async () => {
  installed = await installPackage();
  const modules = join(installed.folder, 'node_modules');
  // Everything is as it is here, by links that are not resolved, but `ws`.
  for (const name of readdirSync('node_modules')) {
    if (name.startsWith('.') || name === 'ws' || name === 'tidings') continue;
    const names = name.startsWith('@')
      ? readdirSync(join('node_modules', name)).map((each) => `${name}/${each}`)
      : [name];
    for (const each of names) {
      mkdirSync(join(modules, each, '..'), { recursive: true });
      try {
        symlinkSync(realpathSync(join('node_modules', each)), join(modules, each));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  }
  mkdirSync(join(modules, 'ws'));
  const files = {
    'package.json':
      '{"name":"ws","version":"8.23.0","exports":{"import":"./index.mjs","require":"./index.cjs"}}',
    'index.cjs': "module.exports = require('tidings/ws');",
    'index.mjs': "export * from 'tidings/ws'; export { default } from 'tidings/ws';",
  };
  for (const [file, text] of Object.entries(files)) writeFileSync(join(modules, 'ws', file), text);
});
after(() => installed?.remove());

async function start(t: TestContext, program: string): Promise<{ url: string; stop(): Promise<unknown> }> {
  const file = join(installed.folder, 'program.mjs');
  copyFileSync(resolve(program), file);
  const child = spawn(
    process.execPath,
    ['--preserve-symlinks', '--preserve-symlinks-main', '--disable-warning=ExperimentalWarning', file],
    {
      cwd: installed.folder,
      env: { ...uncovered, PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const match = await until(program, () => /listening on http:(\S+)\//.exec(output), 120_000);
  return {
    url: match[1] as string,
    async stop() {
      child.kill('SIGTERM');
      return (await once(child, 'exit'))[0];
    },
  };
}

test('Socket.IO with wsEngine: websocket only and upgraded from polling; rooms, binary, acknowledgements', async (t) => {
  const { url, stop } = await start(t, 'examples/ws-socketio.mjs');
  const clients = [
    io(`http:${url}`, { transports: ['websocket'], forceNew: true }),
    io(`http:${url}`, { transports: ['polling', 'websocket'], forceNew: true }),
  ];
  t.after(() => clients.forEach((client) => void client.disconnect()));
  const heard: unknown[][][] = clients.map((client) => {
    const all: unknown[][] = [];
    client.on('said', (...said: unknown[]) => all.push(said));
    return all;
  });
  await Promise.all(clients.map((client) => new Promise<void>((resolve) => client.on('connect', resolve))));
  for (const client of clients) {
    await until('websocket', () => client.io.engine.transport.name === 'websocket');
    assert.equal(await client.emitWithAck('join', 'room'), 'room');
  }
  const bytes = Buffer.from([1, 2, 3]);
  for (let i = 0; i < 20; i++)
    clients[i % 2]!.emit('say', 'room', i, { nested: { bytes } }, 'x'.repeat(i * 1000));
  for (const all of heard) {
    await until('all', () => all.length === 20);
    // Each speaker is heard in order.
    for (const client of clients) {
      const own = all.filter(([id]) => id === client.id).map((said) => said[1] as number);
      assert.deepEqual(
        own,
        own.toSorted((a, b) => a - b),
      );
      assert.equal(own.length, 10);
    }
    assert.deepEqual(Buffer.from((all[0]![2] as { nested: { bytes: Buffer } }).nested.bytes), bytes);
  }
  // What nobody's page sends ends nothing.
  const [hostile] = clients;
  hostile!.emit('join');
  hostile!.emit('join', { room: 1 }, 'no function');
  hostile!.emit('join', 'room', 'no function');
  hostile!.emit('say');
  hostile!.emit('say', null, 'x');
  assert.equal(await clients[1]!.emitWithAck('join', 'other'), 'other');
  assert.equal(await stop(), 0);
});

test('graphql-ws: its client on ws and on tidings/ws, a query and subscriptions', async (t) => {
  const { url, stop } = await start(t, 'examples/ws-graphql.mjs');
  for (const webSocketImpl of [WebSocket, OurWebSocket]) {
    const client = createClient({
      url: `ws:${url}/graphql`,
      webSocketImpl,
      // The server gives a client three seconds to introduce itself, which a busy machine may miss.
      retryAttempts: 3,
    });
    const collect = async (query: string): Promise<unknown[]> => {
      const results: unknown[] = [];
      for await (const { data } of client.iterate({ query })) results.push({ ...data });
      return results;
    };
    assert.deepEqual(await collect('{ hello }'), [{ hello: 'world' }]);
    const [long, short] = await Promise.all([
      collect('subscription { countdown(from: 50) }'),
      collect('subscription { countdown(from: 2) }'),
    ]);
    assert.equal(long.length, 51);
    assert.deepEqual(short, [{ countdown: 2 }, { countdown: 1 }, { countdown: 0 }]);
    await client.dispose();
  }
  // Without its subprotocol: its own close code.
  const stranger = new WebSocket(`ws:${url}/graphql`);
  const [code] = await once(stranger, 'close');
  assert.equal(code, 4406);
  assert.equal(await stop(), 0);
});

test('y-websocket: two documents come together, by its client on ws and on tidings/ws', async (t) => {
  const { url, stop } = await start(t, 'examples/ws-yjs.mjs');
  const pages = [WebSocket, OurWebSocket].map((polyfill) => {
    const doc = new Doc();
    const provider = new WebsocketProvider(`ws:${url}`, 'document', doc, {
      WebSocketPolyfill: polyfill as unknown as typeof globalThis.WebSocket,
      disableBc: true,
    });
    t.after(() => {
      provider.destroy();
      doc.destroy();
    });
    return { doc, provider };
  });
  const [one, two] = pages as [(typeof pages)[0], (typeof pages)[0]];
  one.doc.getText('text').insert(0, 'hello');
  await until('the text', () => two.doc.getText('text').toString() === 'hello');
  two.doc.getText('text').insert(5, ' world');
  await until('the rest', () => one.doc.getText('text').toString() === 'hello world');
  one.provider.awareness.setLocalState({ name: 'one' });
  await until(
    'awareness',
    () => two.provider.awareness.getStates().get(one.doc.clientID)?.['name'] === 'one',
  );
  for (const { doc, provider } of pages) {
    provider.destroy();
    doc.destroy();
  }
  // What is no message of Yjs ends its own connection, and nothing else.
  for (const data of [
    'x',
    '',
    Buffer.of(0),
    Buffer.of(9, 9),
    Buffer.of(1, 9, 1, 1, 1, 4, 123, 240, 159, 152, 128),
  ]) {
    const stranger = new WebSocket(`ws:${url}/document`);
    await once(stranger, 'open');
    stranger.send(data);
    assert.equal((await once(stranger, 'close'))[0], 1007, JSON.stringify(data));
  }
  assert.equal(await stop(), 0);
});

test('@fastify/websocket: routes with parameters, its own options, other routes', async (t) => {
  const { url, stop } = await start(t, 'test/ws/users/fastify.mjs');
  const client = new WebSocket(`ws:${url}/echo/alice`);
  await once(client, 'open');
  client.send('hi');
  assert.equal(String((await once(client, 'message'))[0]), 'alice: hi false');
  client.send('x'.repeat(2000));
  assert.equal((await once(client, 'close'))[0], 1009);
  assert.equal(await (await fetch(`http:${url}/page`)).text(), 'a page');
  const missing = new WebSocket(`ws:${url}/nothing`);
  const [, response] = (await once(missing, 'unexpected-response')) as [unknown, { statusCode: number }];
  assert.equal(response.statusCode, 404);
  missing.on('error', () => {});
  missing.terminate();
  const listeners = [0, 1].map(() => new WebSocket(`ws:${url}/broadcast`));
  await Promise.all(listeners.map((listener) => once(listener, 'open')));
  listeners[0]!.send('all');
  for (const [data] of await Promise.all(listeners.map((listener) => once(listener, 'message')))) {
    assert.equal(String(data), 'all');
  }
  for (const listener of listeners) listener.terminate();
  assert.equal(await stop(), 0);
});

test('Express and ws as in ws’s README: authorised upgrades, heartbeat, streams, other requests', async (t) => {
  const { url, stop } = await start(t, 'test/ws/users/express.mjs');
  const connect = async (user: string, path = '/'): Promise<WebSocket> => {
    const client = new WebSocket(`ws:${url}${path}`, { headers: { Cookie: `user=${user}` } });
    await once(client, 'open');
    return client;
  };
  const [alice, bob, stream] = [
    await connect('alice'),
    await connect('bob'),
    await connect('carol', '/stream'),
  ];
  let pings = 0;
  alice.on('ping', () => pings++);
  const message = once(bob, 'message');
  alice.send(JSON.stringify({ to: 'bob', text: 'hello' }));
  assert.equal(String((await message)[0]), 'alice hello');
  stream.send('through a stream');
  assert.equal(String((await once(stream, 'message'))[0]), 'through a stream');
  assert.equal(await (await fetch(`http:${url}/page`)).text(), 'a page');
  const stranger = new WebSocket(`ws:${url}`);
  const error = await new Promise((resolve) => stranger.on('error', resolve));
  assert.match(String(error), /401/);
  // Each answers when everybody's pong is there: whoever did not answer in time would be terminated.
  for (let round = 0; round < 3; round++) await fetch(`http:${url}/round`);
  assert.equal(pings, 3);
  assert.equal(alice.readyState, WebSocket.OPEN);
  assert.equal(await stop(), 0);
});
