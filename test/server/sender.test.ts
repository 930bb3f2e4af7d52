/** What a connection sends: parts, room, callbacks, who owns the bytes, and when they leave. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import Ws, { WebSocketServer as WsServer } from 'ws';
import { PreparedMessage, WebSocket, WebSocketServer } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { typescript } from '../support/programs.ts';
import { cleanUp, frame, listen, listenTls, RawPeer, REQUEST } from './support.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Pair {
  wss: WebSocketServer;
  ws: WebSocket;
  peer: RawPeer;
  close(): Promise<void>;
}

async function pair(options = {}, headers = ''): Promise<Pair> {
  const { wss, port } = await listen(options);
  const connected = once(wss, 'connection') as Promise<[WebSocket]>;
  const peer = await RawPeer.open(port, headers);
  const [ws] = await connected;
  const close = async (): Promise<void> => {
    peer.socket.destroy();
    await wss.close({});
  };
  return { wss, ws, peer, close };
}

const DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate\r\n';

/** A client of ws, which takes compressed messages as they come. */
async function wsPair(
  options = {},
): Promise<{ wss: WebSocketServer; ws: WebSocket; client: Ws; got: string[] }> {
  const { wss, url } = await listen(options);
  const connected = once(wss, 'connection') as Promise<[WebSocket]>;
  const client = new Ws(url);
  cleanUp(() => client.terminate());
  const got: string[] = [];
  client.on('message', (data) => got.push(String(data)));
  const [ws] = await connected;
  await once(client, 'open');
  return { wss, ws, client, got };
}

// ── §5.4: parts ────────────────────────────────────────────────────────────────────────────────────

for (const [what, share] of [
  ['broadcast', ({ wss }) => wss.broadcast('shared')],
  ['broadcast with a filter', ({ wss }) => wss.broadcast('shared', () => true)],
  ['publish', ({ wss }) => void wss.publish('topic', 'shared')],
  ['a prepared message', ({ ws }) => void ws.send(new PreparedMessage('shared'))],
] as [string, (pair: Pair) => void][]) {
  for (const options of [{}, { perMessageDeflate: { threshold: 0 } }]) {
    const compressed = 'perMessageDeflate' in options;
    test(`§5.4: ${what} waits for the last part of a message${compressed ? ', compressed' : ''}`, async () => {
      const both = await pair(options, compressed ? DEFLATE : '');
      const { ws, peer, close } = both;
      ws.subscribe('topic');
      ws.send('a', { fin: false });
      share(both);
      await turn();
      await turn();
      ws.ping('p');
      ws.send('b', { fin: false });
      share(both);
      ws.send('c');
      ws.send('whole', { compress: false });
      const opcodes: string[] = [];
      for (let i = 0; i < 7; i++) {
        const { opcode, fin, rsv1 } = await peer.frame();
        opcodes.push(`${opcode}${fin ? '.' : ''}${rsv1 ? 'c' : ''}`);
      }
      const shared = compressed ? '1.c' : '1.';
      assert.deepEqual(opcodes, ['1', '9.', '0', '0.', shared, shared, '1.']);
      await close();
    });
  }
}

test('§5.4: a client’s prepared message waits for the last part, too; the end of the connection ends the wait', async () => {
  const theirs = new WsServer({ port: 0, host: '127.0.0.1' });
  await once(theirs, 'listening');
  const got: string[] = [];
  theirs.on('connection', (ws) => ws.on('message', (data) => got.push(String(data))));
  const client = new WebSocket(`ws://127.0.0.1:${(theirs.address() as { port: number }).port}`);
  await once(client, 'open');
  client.send('a', { fin: false });
  assert.equal(client.send(new PreparedMessage('shared')), 'queued');
  client.send('b');
  await until('both', () => got.length === 2);
  assert.deepEqual(got, ['ab', 'shared']);

  client.send('c', { fin: false });
  const failed = new Promise((resolve) => client.send(new PreparedMessage('never'), resolve));
  client.terminate();
  assert.match(String(await failed), /closed/);
  theirs.close();
});

test('what waits for the last part of a message takes no room from that part', async () => {
  for (const backpressurePolicy of ['drop', 'close'] as const) {
    const { wss, ws, peer, close } = await pair({ maxBackpressure: 10_000, backpressurePolicy });
    assert.equal(ws.send('a', { fin: false }), 'sent');
    // No more is kept than our own work may take, 1 MiB.
    for (let i = 0; i < 200 && ws.bufferedAmount < 1_000_000; i++) {
      wss.broadcast(Buffer.alloc(9000, i));
      await turn();
    }
    assert.ok(ws.bufferedAmount > 500_000);
    assert.equal(ws.send('b'.repeat(9000)), 'sent');
    assert.deepEqual([(await peer.frame()).fin, (await peer.frame()).fin], [false, true]);
    assert.equal((await peer.frame()).payload.length, 9000);
    await close();
  }
});

test('drop: a message in parts is dropped at its beginning or not at all', async () => {
  const { ws, peer, close } = await pair({ maxBackpressure: 10_000, backpressurePolicy: 'drop' });
  peer.socket.pause();
  assert.equal(ws.send('a', { fin: false }), 'sent');
  assert.equal(ws.send(Buffer.alloc(20_000_000), { fin: false }), 'queued');
  assert.equal(ws.send(Buffer.alloc(50_000)), 'queued');
  assert.equal(ws.send('b', { fin: false }), 'dropped');
  const drained = once(ws, 'drain');
  peer.socket.resume();
  const sizes: string[] = [];
  for (let i = 0; i < 3; i++) {
    const { fin, payload } = await peer.frame();
    sizes.push(`${payload.length}${fin ? '.' : ''}`);
  }
  assert.deepEqual(sizes, ['1', '20000000', '50000.']);
  await drained;
  assert.equal(ws.send('c', { fin: false }), 'dropped');
  assert.equal(ws.send(new Blob(['d'])), 'dropped');
  assert.equal(ws.send('whole'), 'sent');
  assert.equal((await peer.frame()).opcode, 1);
  await close();
});

for (const role of ['server', 'client'] as const) {
  test(`drop: a whole message between the parts of one that was dropped is none of them: ${role}`, async () => {
    const options = { maxBackpressure: 10_000, backpressurePolicy: 'drop' } as const;
    const { wss, url } = await listen(role === 'server' ? options : {});
    const connected = once(wss, 'connection') as Promise<[WebSocket]>;
    const client = new WebSocket(url, { perMessageDeflate: false, ...(role === 'client' ? options : {}) });
    cleanUp(() => client.terminate());
    await once(client, 'open');
    const [server] = await connected;
    const [ws, peer] = role === 'server' ? [server, client] : [client, server];
    const got: string[] = [];
    peer.on('message', (data) => got.push(String(data).slice(0, 10)));
    peer.pause();
    assert.equal(ws.send(Buffer.alloc(20_000_000, '.')), 'queued');
    assert.equal(ws.send('begins', { fin: false }), 'dropped');
    const drained = once(ws, 'drain');
    peer.resume();
    await drained;
    let called = 0;
    assert.equal(
      ws.send(new PreparedMessage('whole'), () => called++),
      'sent',
    );
    assert.equal(ws.send('goes on', { fin: false }), 'dropped');
    assert.equal(
      ws.send(new PreparedMessage(Buffer.from('bytes')), () => called++),
      'sent',
    );
    assert.equal(ws.send('ends'), 'dropped');
    assert.equal(ws.send('next'), 'sent');
    await until('all', () => got.length === 4 && called === 2);
    assert.deepEqual(got, ['..........', 'whole', 'bytes', 'next']);
  });
}

// ── the queue of what isn't ready ──────────────────────────────────────────────────────────────────

test('one pong for the newest ping while a message is being compressed, and it does not wait for it', async () => {
  const { ws, peer, close } = await pair({ perMessageDeflate: true }, DEFLATE);
  let pings = 0;
  ws.on('ping', () => pings++);
  let isSent = false;
  // The thread pool needs some time for it.
  ws.send(Buffer.alloc(50_000_000, 'a message '), () => {
    isSent = true;
  });
  const flood = Buffer.concat(Array.from({ length: 20_000 }, (_, i) => frame(9, `${i}`)));
  peer.socket.write(flood);
  await until('all pings', () => pings === 20_000);
  const before = isSent;
  let pongs = 0;
  let last: string;
  do {
    const { opcode, payload } = await peer.frame();
    assert.equal(opcode, 10);
    pongs++;
    last = String(payload);
  } while (last !== '19999');
  assert.equal(before, false, 'the message was compressed before the pings had come');
  assert.ok(pongs <= 100, `${pongs} pongs`);
  assert.equal((await peer.frame()).opcode, 2);
  await close();
});

test('a hundred thousand messages behind one that is being compressed: all arrive in order, in no time', async () => {
  const { wss, ws, got } = await wsPair({ perMessageDeflate: true });
  ws.send('x'.repeat(3_000_000));
  for (let i = 0; i < 100_000; i++) ws.send(`${i}`, { compress: i % 1000 === 0 });
  await until('all', () => got.length === 100_001);
  assert.equal(got[0]!.length, 3_000_000);
  assert.ok(got.every((text, i) => i === 0 || text === `${i - 1}`));
  await wss.close({});
});

test('twenty thousand shared messages behind one that is being compressed don’t overflow the stack', async () => {
  const { wss, ws, got } = await wsPair({ perMessageDeflate: true });
  ws.subscribe('t');
  ws.send('x'.repeat(3_000_000));
  for (let i = 0; i < 10_000; i++) {
    ws.send(new PreparedMessage(`p${i}`));
    wss.publish('t', `t${i}`);
    if (i % 100 === 0) await turn();
  }
  await until('all', () => got.length === 20_001);
  await wss.close({});
});

test('thousands of connections that end while their messages wait to be compressed end quietly', async () => {
  const { wss, port } = await listen({ perMessageDeflate: true });
  const failures: unknown[] = [];
  let called = 0;
  wss.on('connection', (ws) => {
    ws.on('error', (error) => failures.push(error));
    for (let i = 0; i < 20; i++) ws.send('y'.repeat(20_000), () => called++);
    ws.terminate();
  });
  for (let round = 0; round < 20; round++) {
    const sockets = Array.from({ length: 20 }, () => connect(port, '127.0.0.1'));
    await Promise.all(
      sockets.map(async (socket) => {
        socket.on('error', () => {});
        socket.write(`${REQUEST}${DEFLATE}\r\n`);
        socket.resume();
        await once(socket, 'close');
      }),
    );
  }
  await until('every callback, once', () => called === 20 * 20 * 20);
  assert.deepEqual(failures, []);
  await wss.close({});
});

// ── room ───────────────────────────────────────────────────────────────────────────────────────────

for (const perMessageDeflate of [false, true]) {
  for (const backpressurePolicy of ['close', 'drop'] as const) {
    test(`what we put off ourselves does not count against the peer: ${backpressurePolicy}${perMessageDeflate ? ', compressed' : ''}`, async () => {
      const { wss, ws, got } = await wsPair({
        maxBackpressure: 50_000,
        backpressurePolicy,
        perMessageDeflate,
      });
      const results = Array.from({ length: 6 }, (_, i) => ws.send(`${i}`.repeat(15_000)));
      for (let i = 0; i < 6; i++) wss.broadcast(`${i}`.repeat(15_000));
      assert.ok(!results.includes('dropped'), `${results}`);
      await until('all', () => got.length === 12);
      assert.equal(ws.readyState, WebSocket.OPEN);
      await wss.close({});
    });
  }
}

test('drop: a drain follows always, also where little waits', async () => {
  for (const maxBackpressure of [1, 1000, 100_000, 1_000_000]) {
    const { ws, peer, close } = await pair({ maxBackpressure, backpressurePolicy: 'drop' });
    peer.socket.pause();
    let drains = 0;
    ws.on('drain', () => drains++);
    // More than the kernel takes; one message may always be longer than the limit.
    assert.equal(ws.send(Buffer.alloc(20_000_000)), 'queued');
    assert.equal(ws.send(Buffer.alloc(maxBackpressure)), 'dropped');
    await turn();
    assert.equal(drains, 0);
    peer.socket.resume();
    await until('drain', () => drains === 1);
    assert.equal(ws.send('again'), 'sent');
    await close();
  }
});

test('a Blob takes room like any other message, and so does what waits behind it', async () => {
  const { ws, peer, close } = await pair({ maxBackpressure: 100_000, backpressurePolicy: 'drop' });
  let failures = 0;
  const results: string[] = [];
  for (let i = 0; i < 100; i++) {
    results.push(ws.send(new Blob([Buffer.alloc(60_000)]), (error) => void (error && failures++)));
    results.push(ws.send(Buffer.alloc(60_000)));
    assert.ok(ws.bufferedAmount <= 100_000, `${ws.bufferedAmount}`);
  }
  const sent = results.filter((result) => result !== 'dropped').length;
  assert.ok(sent >= 1 && sent <= 3, `${sent}`);
  await until('the failures', () => failures === 100 - sent || failures >= 98);
  for (let i = 0; i < sent; i++) assert.equal((await peer.frame()).payload.length, 60_000);
  await close();
});

// ── callbacks ──────────────────────────────────────────────────────────────────────────────────────

test('every callback comes once, whatever was sent and however it ends', async () => {
  for (const end of ['nothing', 'terminate', 'close', 'destroy', 'reset'] as const) {
    for (const perMessageDeflate of [false, true]) {
      const { wss, ws, client } = await wsPair({ perMessageDeflate });
      client.on('error', () => {});
      const calls = new Map<string, number>();
      const count = (name: string) => () => void calls.set(name, (calls.get(name) ?? 0) + 1);
      const names: string[] = [];
      const send = (name: string, run: (done: () => void) => void): void => {
        names.push(name);
        run(count(name));
      };
      send('small', (done) => void ws.send('x', done));
      send('large', (done) => void ws.send(Buffer.alloc(200_000), done));
      send('blob', (done) => void ws.send(new Blob(['blob']), done));
      send('pooled', (done) => void ws.send('z'.repeat(500_000), done));
      send('behind', (done) => void ws.send('y', done));
      send('prepared', (done) => void ws.send(new PreparedMessage('p'), done));
      send('ping', (done) => ws.ping('', undefined, done));
      send('part', (done) => void ws.send('a', { fin: false }, done));
      send('behind parts', (done) => void ws.send(new PreparedMessage('q'), done));
      if (end === 'terminate') ws.terminate();
      else if (end === 'destroy') ws._socket!.destroy();
      else if (end === 'reset') (ws._socket as Socket).resetAndDestroy();
      else if (end === 'close') ws.close();
      else ws.send('the end');
      await until(`all callbacks, ${end}: ${[...calls.keys()]}`, () => calls.size === names.length);
      if (end !== 'nothing') await until('the end', () => ws.readyState === WebSocket.CLOSED);
      await turn();
      assert.deepEqual(
        [...calls.values()],
        names.map(() => 1),
        end,
      );
      client.terminate();
      await wss.close({});
    }
  }
});

test('a callback that throws does not keep the others from being called', async (t: TestContext) => {
  const { ws, close } = await pair();
  const uncaught: unknown[] = [];
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const onUncaught = (error: unknown): void => void uncaught.push(error);
  process.on('uncaughtException', onUncaught);
  t.after(() => {
    process.off('uncaughtException', onUncaught);
    for (const listener of listeners) process.on('uncaughtException', listener);
  });
  const calls: number[] = [];
  for (let i = 0; i < 5; i++) {
    ws.send(`${i}`, () => {
      calls.push(i);
      if (i % 2 === 0) throw new Error(`of callback ${i}`);
    });
  }
  await until('all', () => calls.length === 5 && uncaught.length === 3);
  assert.deepEqual(calls, [0, 1, 2, 3, 4]);
  assert.deepEqual(
    uncaught.map((error) => (error as Error).message),
    ['of callback 0', 'of callback 2', 'of callback 4'],
  );
  // The same socket can still be ended.
  const ended = once(ws, 'close');
  ws.close();
  ws.terminate();
  await ended;
  await close();
});

test('a Blob that can’t be read is an error event, an error of its callback, and 1006', async () => {
  const { wss, ws, client, got } = await wsPair();
  const blob = new Blob(['never']);
  blob.arrayBuffer = () => Promise.reject(new Error('the file has changed'));
  const errors: string[] = [];
  ws.on('error', (error) => errors.push(error.message));
  // Not `once` of node:events, which listens for errors.
  const closed = new Promise<number>((resolve) => ws.on('close', resolve));
  const [first, second] = [
    new Promise((resolve) => ws.send(blob, resolve)),
    new Promise((resolve) => ws.send('behind', resolve)),
  ];
  assert.match(String(await first), /the file has changed/);
  assert.match(String(await second), /closed/);
  assert.equal(await closed, 1006);
  assert.deepEqual(errors, ['the file has changed']);
  assert.deepEqual(got, []);
  client.terminate();
  await wss.close({});
});

test('callbacks run in the async context of whoever sent', async () => {
  const store = new AsyncLocalStorage<string>();
  const { wss, ws } = await wsPair({ perMessageDeflate: { threshold: 0 } });
  const seen: string[] = [];
  const send = (who: string, data: string | Blob | PreparedMessage, compress = false): void => {
    store.run(who, () => ws.send(data, { compress }, () => seen.push(`${who} ${store.getStore()}`)));
  };
  await new Promise<void>((resolve) => setImmediate(resolve));
  send('alice', 'a');
  send('bob', 'b');
  store.run('carol', () => ws.ping('', undefined, () => seen.push(`carol ${store.getStore()}`)));
  send('dave', 'd'.repeat(50_000), true);
  send('erin', 'e', true);
  send('frank', new Blob(['f']));
  send('grace', new PreparedMessage('g'));
  send('heidi', 'h'.repeat(100_000));
  await until('all', () => seen.length === 8);
  for (const line of seen) assert.equal(line.split(' ')[0], line.split(' ')[1]);
  await wss.close({});
});

for (const transport of ['plain', 'TLS', 'corked'] as const) {
  test(`callbacks of what waits behind another write run in the context of their own sender: ${transport}`, async () => {
    const store = new AsyncLocalStorage<string>();
    let ws: WebSocket;
    let client: Ws;
    if (transport === 'TLS') {
      const { server, port } = await listenTls();
      const wss = new WebSocketServer({ server });
      client = new Ws(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false });
      cleanUp(() => client.terminate());
      [ws] = (await once(wss, 'connection')) as [WebSocket];
      await once(client, 'open');
    } else {
      ({ ws, client } = await wsPair());
    }
    client.pause();
    const seen: string[] = [];
    const run = (who: string, send: (done: () => void) => void): void => {
      store.run(who, () => send(() => seen.push(`${who} ${store.getStore()}`)));
    };
    if (transport === 'corked') ws._socket!.cork();
    else run('alice', (done) => ws.send(Buffer.alloc(20_000_000), done));
    run('bob', (done) => ws.send(Buffer.alloc(1_000_000), done));
    run('carol', (done) => ws.send('c', done));
    run('dave', (done) => ws.ping('', undefined, done));
    await turn();
    run('erin', (done) => ws.send(new PreparedMessage('e'), done));
    if (transport === 'corked') store.run('mallory', () => ws._socket!.uncork());
    client.resume();
    await until('all', () => seen.length === (transport === 'corked' ? 4 : 5));
    for (const line of seen) assert.equal(line.split(' ')[0], line.split(' ')[1]);
  });
}

test('what comes compressed is told in the context of its own connection, whoever was inflated before', async () => {
  const store = new AsyncLocalStorage<number>();
  const { wss, url } = await listen({ perMessageDeflate: true });
  wss.on('connection', (ws) => {
    for (let i = 0; i < 3; i++) ws.send(Buffer.alloc(300_000, i));
  });
  const seen: [number, number | undefined][] = [];
  for (let who = 0; who < 20; who++) {
    store.run(who, () => {
      const client = new WebSocket(url);
      cleanUp(() => client.terminate());
      client.on('message', () => seen.push([who, store.getStore()]));
    });
  }
  await until('all', () => seen.length === 60);
  for (const [who, as] of seen) assert.equal(as, who);
});

test('what happens for many at the end of a turn, or by the heartbeat, happens in the context of none of them', async () => {
  const store = new AsyncLocalStorage<string>();
  const contexts: (string | undefined)[] = [];
  const headers = {
    host: 'a',
    connection: 'upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  };
  const open = (who: string): WebSocket => {
    const socket = new Duplex({
      read() {},
      write(_chunk, _encoding, done) {
        if (who === 'bob') contexts.push(store.getStore());
        done();
      },
    });
    const request = {
      method: 'GET',
      url: '/',
      headers,
      rawHeaders: [],
      socket,
    } as unknown as IncomingMessage;
    // Times that nobody else here has: alice comes first, and it is her timer.
    const wss = new WebSocketServer({ noServer: true, pingInterval: 31, pongTimeout: 37 });
    let ws: WebSocket | undefined;
    store.run(who, () => {
      wss.handleUpgrade(request, socket, Buffer.alloc(0), (accepted) => {
        ws = accepted;
      });
    });
    return ws!;
  };
  const alive = setInterval(() => {}, 1000);
  cleanUp(() => clearInterval(alive));
  const alice = open('alice');
  const bob = open('bob');
  await turn();
  contexts.length = 0;
  store.run('alice', () => alice.send('the first of the turn'));
  store.run('bob', () => {
    bob.send('at once');
    bob.send('at the end of the turn');
  });
  await until('both', () => contexts.length === 2);
  assert.deepEqual(contexts, ['bob', undefined]);
  const closed = new Promise((resolve) => bob.on('close', () => resolve(store.getStore() ?? 'of nobody')));
  assert.equal(await closed, 'of nobody');
  assert.deepEqual(new Set(contexts.slice(2)), new Set([undefined]));
  alice.terminate();
});

// ── who owns the bytes ─────────────────────────────────────────────────────────────────────────────

for (const size of [10, 16_384, 16_385, 65_536, 300_000]) {
  for (const perMessageDeflate of [false, true]) {
    test(`what send has returned from is the caller's again: ${size} bytes${perMessageDeflate ? ', compressed' : ''}`, async () => {
      const { wss, ws, got } = await wsPair({ perMessageDeflate });
      ws.subscribe('t');
      const fresh = (fill: string): Buffer => Buffer.from(new ArrayBuffer(size)).fill(fill);
      const spoil = (bytes: Buffer, i: number): void => {
        if (i % 2 === 0) bytes.fill('!');
        else structuredClone(bytes.buffer, { transfer: [bytes.buffer as ArrayBuffer] });
      };
      const ways: ((bytes: Buffer) => void)[] = [
        (bytes) => void ws.send(bytes),
        (bytes) => wss.broadcast(bytes),
        (bytes) => void wss.publish('t', bytes),
        (bytes) => void ws.send(new PreparedMessage(bytes)),
        (bytes) => void ws.send(bytes.buffer as ArrayBuffer),
        (bytes) => void ws.send(bytes),
      ];
      let sent = 0;
      for (const [i, way] of [...ways, ...ways].entries()) {
        const bytes = fresh(String.fromCharCode(97 + i));
        way(bytes);
        spoil(bytes, i);
        sent++;
      }
      await until('all', () => got.length === sent);
      for (const [i, text] of got.entries()) {
        assert.equal(
          text,
          String.fromCharCode(97 + i).repeat(size),
          `message ${i} begins with ${text.slice(0, 5)}`,
        );
      }
      await wss.close({});
    });
  }
}

test('to a peer that does not read: what had to wait is the caller’s again as well', async () => {
  const { ws, peer, close } = await pair();
  peer.socket.pause();
  while (ws.send(Buffer.alloc(1_000_000)) === 'sent') await turn();
  for (let i = 0; i < 10; i++) {
    const bytes = Buffer.from(new ArrayBuffer(50_000)).fill(`${i}`);
    ws.send(bytes);
    if (i % 2 === 0) bytes.fill('!');
    else structuredClone(bytes.buffer, { transfer: [bytes.buffer as ArrayBuffer] });
  }
  peer.socket.resume();
  let next = await peer.frame();
  while (next.payload.length === 1_000_000) next = await peer.frame();
  for (let i = 0; i < 10; i++) {
    assert.equal(String(next.payload), `${i}`.repeat(50_000));
    if (i < 9) next = await peer.frame();
  }
  await close();
});

test('a large payload goes by reference, with what waits before it, in one write', async () => {
  const { ws, peer, close } = await pair();
  const socket = ws._socket as Socket;
  await turn();
  const written: Buffer[][] = [];
  const { _writev } = socket;
  socket._writev = function (chunks, callback) {
    written.push(chunks.map(({ chunk }: { chunk: Buffer }) => chunk));
    _writev!.call(this, chunks, callback);
  };
  ws.send('first');
  ws.send('second');
  const payload = Buffer.alloc(100_000, 'x');
  ws.send(payload);
  assert.equal(written.length, 1);
  assert.ok(written[0]!.some((chunk) => chunk.buffer === payload.buffer && chunk.length === 100_000));
  for (const text of ['first', 'second', 'x'.repeat(100_000)])
    assert.equal(String((await peer.frame()).payload), text);
  await close();
});

// ── when it leaves ─────────────────────────────────────────────────────────────────────────────────

test('what a listener sends first has left before the listener returns', async () => {
  const { wss, port } = await listen();
  const other = await RawPeer.open(port);
  await until('the connection', () => wss.clients.size === 1);
  const [otherWs] = wss.clients;
  let left = '';
  wss.once('connection', (ws) => {
    ws.on('message', () => {
      const socket = ws._socket as Socket;
      const before = [socket.bytesWritten, (otherWs!._socket as Socket).bytesWritten];
      ws.send('started');
      otherWs!.send('started');
      left = `${socket.bytesWritten - before[0]!} ${(otherWs!._socket as Socket).bytesWritten - before[1]!}`;
    });
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(frame(1, 'go'));
  assert.equal(String((await peer.frame()).payload), 'started');
  assert.equal(String((await other.frame()).payload), 'started');
  assert.equal(left, '9 9');
  for (const each of [peer, other]) each.socket.destroy();
  await wss.close({});
});

test('what was put off is not lost with process.exit(), wherever it was sent', async () => {
  for (const where of ['listener', 'turn', 'exit'] as const) {
    const program = `
      import { WebSocketServer } from './src/ws.ts';
      const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
      wss.on('listening', () => console.log(wss.address().port));
      wss.on('connection', (ws) => {
        ws.subscribe('t');
        ws.on('message', () => {
          const all = () => {
            for (let i = 0; i < 5; i++) ws.send('own ' + i);
            wss.broadcast('broadcast');
            wss.publish('t', 'published');
            process.exit(0);
          };
          ${{ listener: 'all()', turn: 'setImmediate(all)', exit: "process.on('exit', all); process.exit(0)" }[where]};
        });
      });`;
    const child = spawn(process.execPath, [...typescript, '--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    cleanUp(() => child.kill());
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const peer = await RawPeer.open(Number(line));
    // Two in one read, so that the answers to the first are put off.
    peer.socket.write(Buffer.concat([frame(1, 'a'), frame(1, 'b')]));
    const got: string[] = [];
    for (let i = 0; i < 7; i++) got.push(String((await peer.frame()).payload));
    assert.deepEqual(got, [0, 1, 2, 3, 4].map((i) => `own ${i}`).concat('broadcast', 'published'), where);
  }
});

for (const secure of [false, true]) {
  test(`what others do to the socket comes behind what was sent${secure ? ', over TLS' : ''}`, async () => {
    for (const act of ['write', 'end', 'destroySoon', 'destroy', 'pipe'] as const) {
      if (secure && act === 'destroy') continue;
      const { server, port, open } = await serving(secure);
      const connected = once(server, 'connection') as Promise<[WebSocket]>;
      const peer = await open(port);
      const [ws] = await connected;
      const socket = ws._socket as Socket;
      ws.send('1');
      ws.send('2');
      ws.send('3');
      if (act === 'write') socket.write(frame(1, 'x', { masked: false }));
      else if (act === 'end') socket.end(frame(1, 'x', { masked: false }));
      else if (act === 'pipe')
        new Blob([new Uint8Array(frame(1, 'x', { masked: false }))]).stream().pipeTo(WritableOf(socket));
      else socket[act]();
      let bytes = '';
      const expected = act.startsWith('destroy') ? '123' : '123x';
      peer.on('data', (chunk: Buffer) => {
        bytes += chunk.toString('latin1').replace(/[^123x]/g, '');
      });
      peer.resume();
      await until(`${act}: ${bytes}`, () => bytes === expected);
      peer.destroy();
      ws.terminate();
      await server.close({});
    }
  });
}

function WritableOf(socket: Socket): WritableStream<Uint8Array> {
  return new WritableStream({ write: (chunk) => void socket.write(chunk) });
}

async function serving(
  secure: boolean,
): Promise<{ server: WebSocketServer; port: number; open(port: number): Promise<Socket> }> {
  const opened = (socket: Socket): Promise<Socket> =>
    new Promise((resolve) => {
      socket.on('error', () => {});
      socket.write(`${REQUEST}\r\n`);
      let head = '';
      socket.on('readable', function onReadable() {
        for (
          let byte = socket.read(1) as Buffer | null;
          byte !== null;
          byte = socket.read(1) as Buffer | null
        ) {
          head += byte.toString('latin1');
          if (!head.endsWith('\r\n\r\n')) continue;
          socket.off('readable', onReadable);
          resolve(socket);
          return;
        }
      });
    });
  if (!secure) {
    const { wss, port } = await listen();
    return { server: wss, port, open: (to) => opened(connect(to, '127.0.0.1')) };
  }
  const { server: https, port } = await listenTls();
  const server = new WebSocketServer({ server: https });
  return {
    server,
    port,
    open: (to) => opened(tlsConnect({ port: to, host: '127.0.0.1', rejectUnauthorized: false })),
  };
}

for (const act of ['close', 'end', 'write', 'callbacks'] as const) {
  test(`over TLS, long messages to a slow peer arrive whole, and what comes behind them: ${act}`, async () => {
    const { server, port, open } = await serving(true);
    const connected = once(server, 'connection') as Promise<[WebSocket]>;
    const peer = await open(port);
    const [ws] = await connected;
    const payload = Buffer.alloc(5_000_001, 'abc');
    let called = 0;
    let drains = 0;
    ws.on('drain', () => drains++);
    for (let i = 0; i < 3; i++)
      assert.equal(
        ws.send(payload, () => called++),
        'queued',
      );
    payload.fill('!');
    for (let i = 0; i < 1000; i++) ws.send(`small ${i}`, () => called++);
    const last = frame(1, 'last', { masked: false });
    if (act === 'close') ws.close(1000, 'last');
    else if (act === 'end') ws._socket!.end(last);
    else if (act === 'write') ws._socket!.write(last);
    else ws.send('last');
    const chunks: Buffer[] = [];
    peer.on('data', (chunk: Buffer) => chunks.push(chunk));
    peer.resume();
    const received = await until('all', () => {
      const all = Buffer.concat(chunks);
      return all.subarray(-4).toString() === 'last' ? all : undefined;
    });
    const small = Array.from({ length: 1000 }, (_, i) => frame(1, `small ${i}`, { masked: false }));
    const large = frame(2, Buffer.alloc(5_000_001, 'abc'), { masked: false });
    const expected = Buffer.concat([large, large, large, ...small]);
    assert.ok(received.subarray(0, expected.length).equals(expected));
    await until('all callbacks', () => called === 1003);
    if (act === 'callbacks') await until('drain', () => drains === 1);
    peer.destroy();
    ws.terminate();
    await server.close({});
  });
}

// ── RFC 7692 §7.2.3: the context ───────────────────────────────────────────────────────────────────

test('a small broadcast in between leaves the compression context as it is', async () => {
  const message = JSON.stringify({
    subject: 'the same words, again and again',
    text: 'lorem ipsum dolor sit amet '.repeat(40),
  });
  const bytesOf = async (between: (wss: WebSocketServer, ws: WebSocket) => void): Promise<number> => {
    const { wss, ws, got } = await wsPair({ perMessageDeflate: true });
    const socket = ws._socket as Socket;
    for (let i = 0; i < 50; i++) {
      ws.send(message);
      between(wss, ws);
    }
    await until('all', () => got.filter((text) => text === message).length === 50);
    const { bytesWritten } = socket;
    await wss.close({});
    return bytesWritten;
  };
  const alone = await bytesOf(() => {});
  for (const between of [
    (wss: WebSocketServer) => wss.broadcast('tiny'),
    (_: WebSocketServer, ws: WebSocket) => void ws.send(new PreparedMessage('tiny')),
  ]) {
    const mixed = await bytesOf(between);
    assert.ok(mixed <= alone + 50 * 10, `${mixed} bytes, ${alone} without`);
  }
});
