/** The client against the real push server: what the page's code sees, whatever happens to connections. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { WebSocket as WsWebSocket } from 'ws';
import {
  type Client,
  type ConnectOptions,
  connect,
  type Message,
  type WebSocketConstructor,
} from '../../src/client/full.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { typescript } from '../support/programs.ts';

let push: PushServer;
/** Passes on to the push server, and cuts all connections on demand. */
let proxy: Server;
const sockets = new Set<Socket>();

before(async () => {
  push = new PushServer({
    port: 0,
    host: '127.0.0.1',
    interceptors: [queryUser('operator')],
    authorize: { subscribe: (_, topic) => topic !== 'secret', publish: () => true },
    log: () => {},
  });
  await push.ready;
  const target = (push.address() as AddressInfo).port;
  proxy = createServer((client) => {
    const server = createConnection(target, '127.0.0.1');
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
});
after(async () => {
  for (const socket of sockets) socket.destroy();
  proxy.close();
  await push.close();
});

function open(options: ConnectOptions): Client {
  return connect({
    url: `ws://127.0.0.1:${(proxy.address() as AddressInfo).port}/socketServer`,
    WebSocket: WsWebSocket as unknown as WebSocketConstructor,
    reconnect: { min: 1, max: 20 },
    ackDelay: 5,
    ...options,
  });
}

function collect(client: Client): unknown[] {
  const seen: unknown[] = [];
  client.on('message', (message: Message) => seen.push(message.data));
  return seen;
}

const connected = (client: Client) => until('connected', () => client.state.name === 'connected');

test('400 messages through 20 cut connections: each once, in order, without a gap', async () => {
  const client = open({ user: 'alice', device: 'a1' });
  const seen = collect(client);
  const gaps: unknown[] = [];
  let opened = 0;
  client.on('gap', (gap) => gaps.push(gap));
  client.on('open', () => opened++);
  await connected(client);
  for (let n = 0; n < 400; n++) {
    await push.send('alice', n);
    if (n % 20 === 10) {
      const cuts = opened;
      for (const socket of sockets) socket.destroy();
      // Every other time the next messages are sent while the page is away.
      if (n % 40 === 10) await until('back', () => opened > cuts);
    }
  }
  await until('all', () => seen.length >= 400, 60_000);
  assert.deepEqual(
    seen,
    Array.from({ length: 400 }, (_, n) => n),
  );
  assert.deepEqual(gaps, []);
  assert.ok(opened > 10, `${opened} connections`);
  client.close();
});

test('a device that comes back later gets what it has not acknowledged, and only that', async () => {
  const first = open({ user: 'bob', device: 'b1' });
  const seen = collect(first);
  await connected(first);
  await push.send('bob', 'one');
  await until('one', () => seen.length === 1);
  await until('the acknowledgement', async () => (await push.pending('bob')).count === 0);
  first.close();
  await push.send('bob', 'two');
  const second = open({ user: 'bob', device: 'b1' });
  const later = collect(second);
  await push.send('bob', 'three');
  await until('both', () => later.length === 2);
  assert.deepEqual(later, ['two', 'three']);
  second.close();
});

test('start at the beginning: everything retained comes on every page load, with what was acknowledged', async () => {
  for (let n = 0; n < 3; n++) await push.send('carol', n);
  for (const load of [1, 2]) {
    const client = open({ user: 'carol', device: 'c1', start: 'beginning' });
    const seen = collect(client);
    const gaps: unknown[] = [];
    client.on('gap', (gap) => gaps.push(gap));
    let acked: number | undefined;
    client.on('open', ({ channels }) => {
      acked = channels['inbox']?.acked?.offset;
    });
    await until('three', () => seen.length === 3);
    assert.deepEqual(seen, [0, 1, 2]);
    assert.deepEqual(gaps, []);
    assert.equal(acked, load === 1 ? undefined : 3);
    await until('the acknowledgement', async () => (await push.pending('carol')).count === 0);
    client.close();
  }
});

test('topics: subscribe, publish, be refused, unsubscribe', async () => {
  const client = open({ user: 'dora', device: 'd1' });
  const seen = collect(client);
  assert.equal((await client.subscribe('news')).recovered, true);
  await assert.rejects(client.subscribe('secret'), { code: 'forbidden' });
  const published = await client.publish('news', { n: 1 }, { idempotencyKey: 'k' });
  assert.equal(published.duplicate, false);
  assert.equal((await client.publish('news', { n: 1 }, { idempotencyKey: 'k' })).duplicate, true);
  await client.publish('scores', 'older', { replaces: 'r', ttl: 60_000 });
  const { offset } = await client.publish('scores', 'newer', { replaces: 'r', ttl: 60_000 });
  assert.equal(offset, 2);
  const late = open({ user: 'late', topics: ['scores'], start: 'retained' });
  const left = collect(late);
  await until('what is left', () => left.includes('newer'));
  assert.ok(!left.includes('older'));
  late.close();
  await until('the message', () => seen.length);
  client.unsubscribe('news');
  await push.publish('news', 'late');
  await push.send('dora', 'inbox');
  await until('the inbox message', () => seen.includes('inbox'));
  assert.deepEqual(seen, [{ n: 1 }, 'inbox']);
  client.close();
});

test('an acknowledgement is seen by the user’s other pages', async () => {
  const [one, two] = [
    open({ user: 'eve', device: 'e1' }),
    open({ user: 'eve', device: 'e2', ack: 'manual' }),
  ];
  const acked: { device: string; position: { offset: number } }[] = [];
  two.on('acked', (event) => acked.push(event));
  collect(one);
  await Promise.all([connected(one), connected(two)]);
  await push.send('eve', 'x');
  await until('acked', () => acked.length);
  assert.equal(acked[0]!.device, 'e1');
  assert.equal(acked[0]!.position.offset, 1);
  one.close();
  two.close();
});

test('plain mode: the old page’s contract', async () => {
  const client = open({ user: 'fay', plain: true, heartbeat: { interval: 20, timeout: 60_000 } });
  const seen = collect(client);
  const beats: unknown[] = [];
  client.on('heartbeat', ({ roundTrip }) => beats.push(roundTrip));
  await connected(client);
  await until('fay to be there', () => push.online('fay'));
  await push.send('fay', 'text');
  await push.send('fay', { a: 1 });
  await until('both', () => seen.length === 2);
  assert.deepEqual(seen, ['text', '{"a":1}']);
  await until('hb_ok', () => beats.some((roundTrip) => typeof roundTrip === 'number'));
  client.close();
});

test('binary data arrives as bytes', async () => {
  const client = open({ user: 'gil', device: null });
  const seen = collect(client);
  await connected(client);
  await push.send('gil', new Uint8Array([0, 200, 255]));
  await until('the bytes', () => seen.length);
  assert.deepEqual(seen, [new Uint8Array([0, 200, 255])]);
  client.close();
});

test('after close() nothing is left that keeps a program running', async () => {
  const port = (proxy.address() as AddressInfo).port;
  const program = `
    import { WebSocket } from 'ws';
    import { connect } from './src/client/full.ts';
    const client = connect({ url: 'ws://127.0.0.1:${port}/socketServer', user: 'hal', WebSocket, ackDelay: 3_600_000 });
    client.on('open', () => console.log('open'));
    client.on('message', () => {
      client.close();
      console.log('closed');
    });`;
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (text) => {
    output += text;
  });
  let isOver = false;
  child.once('close', () => {
    isOver = true;
  });
  try {
    await until('hal to be there', () => output === 'open\n' || isOver, 60_000);
    await push.send('hal', 'bye');
    await until('the program to end', () => isOver, 60_000);
  } finally {
    child.kill('SIGKILL');
  }
  assert.equal(output, 'open\nclosed\n');
  assert.equal(child.exitCode, 0);
});
