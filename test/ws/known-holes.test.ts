/**
 * One test for each hole that WebSocket libraries for Node are known to have had, named after it, over real
 * sockets. Those that live in the protocol core alone are tested in test/protocol.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { test } from 'node:test';
import { createDeflateRaw, constants as zlib } from 'node:zlib';
import Ws from 'ws';
import { createWebSocketStream, WebSocket } from '../../src/ws.ts';
import { frame, listen, listenHttp, RawPeer, REQUEST } from '../server/support.ts';
import { until } from '../support/net.ts';

async function alive(url: string): Promise<void> {
  const client = new Ws(url);
  await once(client, 'open');
  client.terminate();
}

for (const header of [
  'Sec-WebSocket-Extensions: constructor',
  'Sec-WebSocket-Extensions: __proto__; __proto__=1',
  'Sec-WebSocket-Extensions: permessage-deflate; constructor',
  'Sec-WebSocket-Extensions: permessage-deflate; __proto__=8',
  'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits="',
]) {
  test(`a crash by a prototype’s name or a broken quote in ${header}`, async () => {
    const { wss, port, url } = await listen({ perMessageDeflate: true });
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST}${header}\r\n\r\n`);
    assert.match(await peer.head(), /^HTTP\/1\.1 (101|400) /);
    peer.socket.destroy();
    await alive(url);
    await wss.close({});
  });
}

test('a crash by a request with more headers than node:http keeps', async () => {
  // The Upgrade header is there for the parser, and gone from the object.
  const { http, port, url } = await listenHttp();
  http.maxHeadersCount = 1;
  const { WebSocketServer } = await import('../../src/ws.ts');
  const wss = new WebSocketServer({ server: http });
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}\r\n`);
  assert.match(await peer.rest(), /^HTTP\/1\.1 4(00|31) /);
  http.maxHeadersCount = 2000;
  await alive(url);
  await wss.close({});
  http.close();
});

test('catastrophic backtracking in Sec-WebSocket-Protocol and -Extensions', async () => {
  const { wss, port, url } = await listen({ perMessageDeflate: true });
  for (const value of [
    `Protocol: b${' '.repeat(12_000)}x`,
    `Extensions: ${'a;'.repeat(6000)}`,
    `Extensions: a="${'\\"'.repeat(6000)}`,
  ]) {
    const peer = await RawPeer.connect(port);
    // Where the way through a value branches at each character, no answer comes in a lifetime. That the time is
    // linear is shown by the values of a megabyte in test/protocol/known-holes.
    peer.socket.write(`${REQUEST}Sec-WebSocket-${value}\r\n\r\n`);
    assert.match(await peer.head(), /^HTTP\/1\.1 (101|400) /);
    peer.socket.destroy();
  }
  await alive(url);
  await wss.close({});
});

test('uninitialised memory through ping(number), pong(number) and send(number)', async () => {
  const { wss, port } = await listen();
  wss.on('connection', (ws) => {
    ws.ping(100);
    ws.pong(100);
    ws.send(100);
  });
  const peer = await RawPeer.open(port);
  for (let i = 0; i < 3; i++) assert.equal(String((await peer.frame()).payload), '100');
  peer.socket.destroy();
  await wss.close({});
});

test('uninitialised memory through close(code, typed array)', async () => {
  const { wss, port } = await listen();
  wss.on('connection', (ws) => {
    assert.throws(() => ws.close(1000, new Float32Array(20) as unknown as Uint8Array), TypeError);
    ws.close(1000, new Uint8Array([104, 105]));
  });
  const peer = await RawPeer.open(port);
  assert.deepEqual((await peer.frame()).payload, Buffer.from([3, 232, 104, 105]));
  peer.socket.destroy();
  await wss.close({});
});

test('memory by a flood of tiny fragments', async () => {
  const { wss, port } = await listen({ maxFragments: 1000 });
  let code: unknown;
  wss.on('connection', (ws) =>
    ws.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code;
    }),
  );
  const peer = await RawPeer.open(port);
  peer.socket.write(frame(2, 'a', { fin: false }));
  for (let i = 0; i < 2000; i++) peer.socket.write(frame(0, 'a', { fin: false }));
  assert.equal(await peer.closeCode(), 1008);
  assert.equal(code, 'WS_ERR_TOO_MANY_BUFFERED_PARTS');
  await wss.close({});
});

/** So many MiB of zeros, deflated, without holding them. */
async function bombOf(mebibytes: number): Promise<Buffer> {
  const deflate = createDeflateRaw();
  const pieces: Buffer[] = [];
  deflate.on('data', (piece: Buffer) => pieces.push(piece));
  const zeros = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < mebibytes; i++) await new Promise((resolve) => deflate.write(zeros, resolve));
  await new Promise<void>((resolve) => deflate.flush(zlib.Z_SYNC_FLUSH, resolve));
  deflate.close();
  return Buffer.concat(pieces).subarray(0, -4);
}

test('a bomb: a small compressed message that inflates past maxPayload', async () => {
  const { wss, port } = await listen({ perMessageDeflate: true, maxPayload: 1024 * 1024 });
  wss.on('connection', (ws) => ws.on('message', () => assert.fail('must not be delivered')));
  const peer = await RawPeer.open(port, 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
  const bomb = await bombOf(256);
  assert.ok(bomb.length < 1024 * 1024, 'it is only too long when it is inflated');
  const before = process.memoryUsage().rss;
  peer.socket.write(frame(2, bomb, { rsv: 4 }));
  assert.equal(await peer.closeCode(), 1009);
  // The most that this process has ever used, which no collection makes less.
  const most = process.resourceUsage().maxRSS * 1024;
  assert.ok(most - before < 64 * 1024 * 1024, `${most - before} bytes more for a limit of 1 MiB`);
  await wss.close({});
});

test('header injection by CR LF in a subprotocol that the application chose', async () => {
  const { http, port } = await listenHttp();
  const { WebSocketServer } = await import('../../src/ws.ts');
  const wss = new WebSocketServer({ noServer: true, handleProtocols: () => 'a\r\nSet-Cookie: x=1' });
  http.on('upgrade', (request, socket, head) => {
    assert.throws(() => wss.handleUpgrade(request, socket, head, () => assert.fail()), TypeError);
  });
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}Sec-WebSocket-Protocol: a\r\n\r\n`);
  const text = await peer.rest();
  assert.match(text, /^HTTP\/1\.1 500 /);
  assert.doesNotMatch(text, /Set-Cookie/);
  http.close();
});

test('header injection by CR LF in a refusal that the application writes', async () => {
  const { wss, port } = await listen({
    verifyClient: (_info, done) => done(false, 403, 'no', { 'X-Why': 'a\r\nSet-Cookie: x=1' }),
  });
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}\r\n`);
  const text = await peer.rest();
  assert.match(text, /^HTTP\/1\.1 403 /);
  assert.doesNotMatch(text, /\nSet-Cookie/);
  await wss.close({});
});

test('a crash by a server that answers a client with garbage, before and after the handshake', async () => {
  for (const answer of [
    'garbage\r\n\r\n',
    'HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  ]) {
    const server = createNetServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(answer));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
    // No error listener: it must be a warning.
    const warning = once(process, 'warning');
    assert.equal(await new Promise((resolve) => client.on('close', resolve)), 1006);
    assert.match(String((await warning)[0]), /ws:\/\/127/);
    server.close();
  }
});

test('a crash by a client that resets while it is being refused', async () => {
  const { wss, port, url } = await listen({ verifyClient: () => false });
  for (let i = 0; i < 20; i++) {
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST}\r\n`);
    peer.socket.resetAndDestroy();
  }
  const client = new Ws(url);
  const error = await new Promise((resolve) => client.on('error', resolve));
  assert.match(String(error), /401/);
  await wss.close({});
});

test('a stream over a connection that breaks: an error event of the stream, once', async () => {
  const { wss, port } = await listen();
  const errors: Error[] = [];
  wss.on('connection', (ws) => {
    const stream = createWebSocketStream(ws);
    stream.on('error', (error) => errors.push(error));
    stream.resume();
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(frame(3));
  await peer.closed();
  await until('the error', () => errors.length > 0);
  assert.equal(errors.length, 1);
  await wss.close({});
});

test('a request that was not meant for an upgrade at all is the application’s', async () => {
  const { http, port } = await listenHttp(createServer((_request, response) => response.end('page')));
  const { WebSocketServer } = await import('../../src/ws.ts');
  const wss = new WebSocketServer({ server: http });
  const peer = await RawPeer.connect(port);
  // Without Connection: Upgrade it is an ordinary request (RFC 9110 §7.8).
  peer.socket.write('GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n');
  assert.match(await peer.rest(), /page/);
  await wss.close({});
  http.close();
});
