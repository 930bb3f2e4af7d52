import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, connect as http2Connect } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server } from 'node:net';
import { duplexPair, PassThrough } from 'node:stream';
import { test } from 'node:test';
import { sharedBuffer } from '../../src/server/memory.ts';
import { Outbox } from '../../src/server/outbox.ts';
import { Traffic } from '../../src/server/traffic.ts';
import { sendSoon } from '../../src/server/transport.ts';
import { WebSocket, WebSocketServer } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { frame, listen, listenTls, RawPeer } from './support.ts';

/** A server's WebSocket and its raw peer, with a count of the calls that write to the socket. */
async function pair(
  options = {},
): Promise<{ ws: WebSocket; peer: RawPeer; writes(): number; close(): Promise<void> }> {
  const { wss, port } = await listen(options);
  let server: WebSocket | undefined;
  wss.on('connection', (ws) => {
    server = ws;
  });
  const peer = await RawPeer.open(port);
  const ws = await until('the connection', () => server);
  let writes = 0;
  const socket = ws._socket as Socket;
  const { _write, _writev } = socket;
  socket._write = function (...args) {
    writes++;
    return _write.apply(this, args);
  };
  socket._writev = function (...args) {
    writes++;
    return _writev!.apply(this, args);
  };
  const close = async (): Promise<void> => {
    peer.socket.destroy();
    await wss.close({});
  };
  return { ws, peer, writes: () => writes, close };
}

test('the first message of a turn leaves at once, the rest of the turn in one write', async () => {
  const { ws, peer, writes, close } = await pair();
  await new Promise((resolve) => setImmediate(resolve));
  ws.send('first');
  assert.equal(writes(), 1);
  for (let i = 0; i < 20; i++) ws.send(`message ${i}`);
  assert.equal(writes(), 1);
  assert.ok(ws.bufferedAmount > 0);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.equal(writes(), 2);
  assert.equal(String((await peer.frame()).payload), 'first');
  for (let i = 0; i < 20; i++) assert.equal(String((await peer.frame()).payload), `message ${i}`);
  await close();
});

test('what has no hurry leaves in one write with what follows in its turn, or alone at its end', async () => {
  const { ws, peer, writes, close } = await pair();
  const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  await turn();
  ws[sendSoon]('early');
  ws.send('message');
  assert.equal(writes(), 0);
  await turn();
  assert.equal(writes(), 1);
  ws[sendSoon]('alone');
  await turn();
  assert.equal(writes(), 2);
  ws.send('at once');
  assert.equal(writes(), 3);
  for (const text of ['early', 'message', 'alone', 'at once']) {
    assert.equal(String((await peer.frame()).payload), text);
  }
  ws.close();
  ws[sendSoon]('too late');
  await close();
});

test('what has no hurry goes with the answers of the read that it is said in', async () => {
  const { ws, peer, writes, close } = await pair();
  ws.on('message', () => {
    ws[sendSoon]('early');
    ws.send('answer');
  });
  peer.socket.write(frame(1, 'x'));
  assert.equal(String((await peer.frame()).payload), 'early');
  assert.equal(String((await peer.frame()).payload), 'answer');
  assert.equal(writes(), 1);
  await close();
});

test('all answers of one read leave in one write', async () => {
  const { ws, peer, writes, close } = await pair();
  ws.on('message', (data) => {
    ws.ping();
    ws.send(String(data));
  });
  peer.socket.write(Buffer.concat(Array.from({ length: 16 }, (_, i) => frame(1, `${i}`))));
  for (let i = 0; i < 16; i++) {
    assert.equal((await peer.frame()).opcode, 9);
    assert.equal(String((await peer.frame()).payload), `${i}`);
  }
  // The first frame of the last message takes all others with it; what comes behind it leaves at the end.
  assert.equal(writes(), 2);
  await close();
});

test('small and large, copied and by reference, own and other connections’: every frame whole and in order', async () => {
  const { wss, port } = await listen();
  const peers = await Promise.all([RawPeer.open(port), RawPeer.open(port), RawPeer.open(port)]);
  await until('the connections', () => wss.clients.size === 3);
  const sent: Buffer[] = [];
  const sizes = [0, 1, 125, 126, 5000, 16_384, 16_385, 65_535, 65_536, 300_000];
  let seed = 1;
  const random = (below: number): number => {
    seed = (seed * 48271) % 0x7fffffff;
    return seed % below;
  };
  for (let turn = 0; turn < 30; turn++) {
    for (let i = 0; i < 10; i++) {
      const payload = Buffer.alloc(sizes[random(sizes.length)]!, sent.length & 0xff);
      sent.push(payload);
      // In a different order for each, so that their runs in the slab are interleaved.
      for (const ws of [...wss.clients].sort(() => random(3) - 1)) ws.send(payload);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const peer of peers) {
    for (const [i, payload] of sent.entries()) {
      const got = await peer.frame();
      assert.ok(
        got.payload.equals(payload),
        `message ${i}: ${got.payload.length} for ${payload.length} bytes`,
      );
    }
    peer.socket.destroy();
  }
  await wss.close({});
});

test('what a slow peer has not read stays as it was, whatever is sent to others meanwhile', async () => {
  const { wss, port } = await listen();
  const slow = await RawPeer.open(port);
  await until('the connection', () => wss.clients.size === 1);
  const [slowWs] = wss.clients;
  const fast = await RawPeer.open(port);
  await until('the connection', () => wss.clients.size === 2);
  const fastWs = [...wss.clients][1]!;
  slow.socket.pause();
  while (slowWs!.send(Buffer.alloc(1024 * 1024)) === 'sent');
  const expected: string[] = [];
  for (let i = 0; i < 2000; i++) {
    const text = `slow ${i} ${'x'.repeat(i % 300)}`;
    expected.push(text);
    slowWs!.send(text);
    fastWs.send(`fast ${i} ${'y'.repeat(i % 300)}`);
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  for (let i = 0; i < 2000; i++) {
    assert.equal(String((await fast.frame()).payload), `fast ${i} ${'y'.repeat(i % 300)}`);
  }
  slow.socket.resume();
  let next = await slow.frame();
  while (next.payload.length === 1024 * 1024) next = await slow.frame();
  for (const text of expected) {
    assert.equal(String(next.payload), text);
    if (text !== expected.at(-1)) next = await slow.frame();
  }
  slow.socket.destroy();
  fast.socket.destroy();
  await wss.close({});
});

test('send tells sent, then queued for a peer that does not read; drain comes when it has caught up', async () => {
  const { ws, peer, close } = await pair();
  peer.socket.pause();
  assert.equal(ws.send('x'), 'sent');
  let isDrained = false;
  ws.on('drain', () => {
    isDrained = true;
  });
  // More than the kernel takes.
  assert.equal(ws.send(Buffer.alloc(20_000_000)), 'queued');
  assert.ok(ws.bufferedAmount > 0);
  // As long as it takes another connection to come, to be served and to go.
  const other = await pair();
  other.ws.send('x');
  await other.peer.frame();
  await other.close();
  assert.equal(isDrained, false);
  peer.socket.resume();
  await until('drain', () => isDrained);
  assert.equal(ws.send('y'), 'sent');
  await close();
});

for (const kind of ['plain', 'TLS', 'HTTP/2'] as const) {
  test(`who sends more when drain has come is never too slow, with little room: ${kind}`, async () => {
    const server =
      kind === 'TLS'
        ? (await listenTls()).server
        : kind === 'HTTP/2'
          ? createHttp2Server()
          : createHttpServer();
    const wss = new WebSocketServer({ server, maxBackpressure: 1000 });
    if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const session = kind === 'HTTP/2' ? http2Connect(`http://127.0.0.1:${port}`) : undefined;
    const client = new WebSocket(`${kind === 'TLS' ? 'wss' : 'ws'}://127.0.0.1:${port}`, {
      rejectUnauthorized: false,
      http2: session,
    });
    let messages = 0;
    client.on('message', () => messages++);
    const [ws] = (await once(wss, 'connection')) as [WebSocket];
    await until('the answer is through', () => ws.bufferedAmount === 0);
    let waited: number | undefined;
    ws.on('drain', () => {
      waited = ws.bufferedAmount;
    });
    for (let i = 0; i < 20; i++) {
      waited = undefined;
      const result = ws.send(Buffer.alloc(70_000));
      assert.notEqual(result, 'dropped', `message ${i}`);
      if (result === 'queued') await until('drain', () => waited !== undefined);
      assert.equal(waited ?? 0, 0, 'bytes that waited then');
    }
    await until('all of them', () => messages === 20);
    client.terminate();
    session?.close();
    await wss.close({});
    server.close();
  });
}

test('backpressurePolicy as a function: it is told, and everything is taken; backlog falls as the peer reads', async () => {
  const told: unknown[] = [];
  const { ws, peer, close } = await pair({
    maxBackpressure: 1024 * 1024,
    backpressurePolicy: (transport: unknown) => void told.push(transport),
  });
  peer.socket.pause();
  ws.send(Buffer.alloc(20_000_000));
  assert.deepEqual(told, []);
  assert.equal(ws.send(Buffer.alloc(1000)), 'queued');
  assert.equal(told[0], ws);
  assert.equal(ws.readyState, 1);
  const { backlog } = ws;
  const { bufferedAmount } = ws;
  peer.socket.resume();
  // All of the first message is under way: only what the kernel has taken of it moves.
  await until('progress', () => ws.backlog < backlog || ws.bufferedAmount < bufferedAmount);
  await until('all of it', () => ws.backlog === 0);
  await close();
});

test('backlog where Node does not tell how far a write is: whole writes are progress', async () => {
  const { ws, peer, close } = await pair();
  const { _handle: handle } = ws._socket as unknown as { _handle: object };
  Object.defineProperty(handle, 'writeQueueSize', { value: undefined });
  peer.socket.pause();
  for (let i = 0; i < 20; i++) {
    ws.send(Buffer.alloc(1_000_000));
    // A write for each.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { backlog } = ws;
  assert.equal(backlog, ws.bufferedAmount);
  assert.ok(backlog > 10_000_000, `${backlog} bytes`);
  peer.socket.resume();
  await until('progress', () => ws.backlog < backlog);
  await until('all of it', () => ws.backlog === 0);
  await close();
});

test('backpressurePolicy drop: what goes past maxBackpressure is dropped, and no more memory is used', async () => {
  const { ws, peer, close } = await pair({ maxBackpressure: 1024 * 1024, backpressurePolicy: 'drop' });
  peer.socket.pause();
  const message = Buffer.alloc(100_000);
  let dropped = 0;
  let lastError: Error | null | undefined;
  for (let i = 0; i < 1000; i++) {
    if (
      ws.send(message, (error) => {
        lastError = error ?? lastError;
      }) === 'dropped'
    )
      dropped++;
    assert.ok(ws.bufferedAmount <= 1024 * 1024, `${ws.bufferedAmount} bytes`);
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(dropped > 500);
  await until('the callback', () => lastError);
  assert.match(String(lastError), /1048576 bytes/);
  assert.equal(ws.readyState, WebSocket.OPEN);
  const drained = once(ws, 'drain');
  peer.socket.resume();
  await drained;
  assert.equal(ws.send('again'), 'sent');
  await close();
});

test('backpressurePolicy close: a peer that is too slow is closed with tooSlowCode', async () => {
  const { ws, peer, close } = await pair({ maxBackpressure: 1024 * 1024, tooSlowCode: 4430 });
  peer.socket.pause();
  const ended = once(ws, 'close');
  while (ws.send(Buffer.alloc(100_000)) !== 'dropped');
  assert.equal(ws.readyState, WebSocket.CLOSING);
  peer.socket.resume();
  let last = await peer.frame();
  while (last.opcode !== 8) last = await peer.frame();
  assert.equal(last.payload.readUInt16BE(0), 4430);
  peer.socket.end();
  const [code, reason] = await ended;
  assert.deepEqual([code, String(reason)], [4430, 'too slow']);
  await close();
});

test('one message may be longer than maxBackpressure, as long as nothing else waits', async () => {
  const { ws, peer, close } = await pair({ maxBackpressure: 1000 });
  assert.notEqual(ws.send(Buffer.alloc(3_000_000)), 'dropped');
  assert.equal((await peer.frame()).payload.length, 3_000_000);
  await close();
});

test('callbacks come once each, in order, with an error for what was never written', async () => {
  const { ws, close } = await pair();
  const calls: string[] = [];
  for (const name of ['a', 'b', 'c']) ws.send(name, (error) => calls.push(`${name} ${error ?? 'ok'}`));
  assert.equal(calls.length, 0);
  await until('the callbacks', () => calls.length === 3);
  assert.deepEqual(calls, ['a ok', 'b ok', 'c ok']);
  ws.terminate();
  ws.send('d', (error) => calls.push(`d ${error?.message}`));
  await until('the last callback', () => calls.length === 4);
  assert.match(calls[3]!, /^d WebSocket is not open: readyState [23]/);
  await close();
});

test('a Duplex that is no socket may keep what it is given: its memory is not used again', async () => {
  const [here, there] = duplexPair();
  const outbox = new Outbox(here, false, new Traffic());
  const kept: Buffer[] = [];
  there.on('data', (chunk: Buffer) => kept.push(chunk));
  for (let i = 0; i < 100; i++) {
    outbox.text(0x81, `message ${i}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const all = Buffer.concat(kept);
  const expected = Buffer.concat(
    Array.from({ length: 100 }, (_, i) => frame(1, `message ${i}`, { masked: false })),
  );
  assert.ok(all.equals(expected));
});

test('the slab is used again after whole writes: a million bytes sent take no million bytes', async () => {
  const server: Server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connection = once(server, 'connection') as Promise<[Socket]>;
  const peer = await RawPeer.connect((server.address() as AddressInfo).port);
  const [socket] = await connection;
  // The peer may go with bytes unread.
  socket.on('error', () => {});
  const outbox = new Outbox(socket, false, new Traffic());
  const written: Buffer[] = [];
  const write = socket.write.bind(socket) as (chunk: Buffer) => boolean;
  socket.write = ((chunk: Buffer) => {
    written.push(chunk);
    return write(chunk);
  }) as typeof socket.write;
  for (let i = 0; i < 1000; i++) {
    outbox.bytes(0x82, Buffer.alloc(1000));
    await until('the kernel has it', () => socket.writableLength === 0);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const slabs = new Set(written.map((chunk) => chunk.buffer));
  assert.ok(slabs.size <= 3, `${slabs.size} slabs`);
  peer.socket.destroy();
  server.close();
});

test('long answers out of the shared read buffer leave from memory that is used again', async () => {
  const { ws, peer, close } = await pair();
  const socket = ws._socket as Socket;
  const memories = new Set<ArrayBufferLike>();
  const write = socket.write.bind(socket) as (chunk: Buffer, done?: () => void) => boolean;
  socket.write = ((chunk: Buffer, done?: () => void) => {
    memories.add(chunk.buffer);
    return write(chunk, done);
  }) as typeof socket.write;
  for (let i = 0; i < 100; i++) {
    sharedBuffer.fill(i, 0, 50_000);
    ws.send(sharedBuffer.subarray(0, 50_000));
    const { payload } = await peer.frame();
    assert.ok(payload.equals(Buffer.alloc(50_000, i)));
  }
  assert.ok(memories.size <= 3, `${memories.size} pieces of memory`);
  await close();
});

test('memory that a slow peer has not read yet is not used again: every long answer arrives as it was', async () => {
  const { ws, peer, close } = await pair();
  peer.socket.pause();
  for (let i = 0; i < 200; i++) {
    sharedBuffer.fill(i, 0, 60_000 + i);
    ws.send(sharedBuffer.subarray(0, 60_000 + i));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(ws.bufferedAmount > 0, 'the kernel took all of it');
  peer.socket.resume();
  for (let i = 0; i < 200; i++) {
    const { payload } = await peer.frame();
    assert.ok(payload.equals(Buffer.alloc(60_000 + i, i)), `answer ${i}`);
  }
  await close();
});

test('lone surrogates go out as U+FFFD, as every encoder of UTF-8 writes them', async () => {
  const { ws, peer, close } = await pair();
  ws.send('a\ud800b');
  assert.equal(String((await peer.frame()).payload), 'a\ufffdb');
  await close();
});

test('an outbox over a stream that has ended drops what it is given, with the callback’s error', async () => {
  const stream = new PassThrough();
  const outbox = new Outbox(stream, false, new Traffic());
  stream.end();
  let failure: Error | null | undefined;
  outbox.text(0x81, 'x', (error) => {
    failure = error;
  });
  await until('the callback', () => failure);
  assert.match(String(failure), /closed/);
});
