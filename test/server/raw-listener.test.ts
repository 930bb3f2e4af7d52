import assert from 'node:assert/strict';
import { once } from 'node:events';
import { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import Ws from 'ws';
import { until } from '../support/net.ts';
import { frame, listen, RawPeer, REQUEST } from './support.ts';

/** What the listener answers to these bytes before it ends the connection. */
async function answer(port: number, bytes: string | Buffer): Promise<string> {
  const peer = await RawPeer.connect(port);
  peer.socket.write(bytes);
  return peer.rest();
}

test('a plain GET is answered with 426 Upgrade Required, as ws does', async () => {
  const { wss, port } = await listen();
  const text = await answer(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  assert.match(text, /^HTTP\/1\.1 426 Upgrade Required\r\n/);
  assert.match(text, /\r\nContent-Type: text\/plain\r\n/);
  assert.match(text, /\r\nUpgrade: websocket\r\n/);
  assert.match(text, /\r\n\r\nUpgrade Required$/);
  await wss.close({});
});

for (const [what, bytes, status] of [
  ['garbage', Buffer.from([0xff, 0x00, 0x80, 0x0a]), 400],
  ['a TLS ClientHello', Buffer.from('160301020001', 'hex'), 400],
  ['a POST', REQUEST.replace('GET', 'POST').concat('\r\n'), 405],
  ['a version that nobody speaks', REQUEST.replace('Version: 13', 'Version: 99').concat('\r\n'), 426],
  ['no key', REQUEST.replace(/Sec-WebSocket-Key.*\r\n/, '').concat('\r\n'), 400],
  ['HTTP/1.0, which has no upgrade (RFC 9110 §7.8)', `${REQUEST.replace('TP/1.1', 'TP/1.0')}\r\n`, 426],
  ['no Connection: Upgrade', REQUEST.replace('Connection: Upgrade\r\n', '').concat('\r\n'), 426],
  ['an upgrade with a body', `${REQUEST}Content-Length: 5\r\n\r\nhello`, 400],
  ['an upgrade with a body in chunks', `${REQUEST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['a length in hexadecimal', `${REQUEST}Content-Length: 0x0\r\n\r\n`, 400],
  ['no Host', REQUEST.replace('Host: localhost\r\n', '').concat('\r\n'), 400],
  ['two Hosts', `${REQUEST}Host: localhost\r\n\r\n`, 400],
  ['HTTP/2.0', REQUEST.replace('HTTP/1.1', 'HTTP/2.0').concat('\r\n'), 505],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
  ['a target of 9 KiB', `GET /${'a'.repeat(9216)} HTTP/1.1\r\n`, 414],
  ['fields of 20 KiB', `${REQUEST}X: ${'a'.repeat(20_000)}\r\n`, 431],
] as const) {
  test(`${what} is answered with ${status} and closed, and the next client is served`, async () => {
    const { wss, port, url } = await listen();
    assert.match(await answer(port, bytes), new RegExp(`^HTTP/1\\.1 ${status} `));
    const client = new Ws(url);
    await once(client, 'open');
    client.terminate();
    await wss.close({});
  });
}

test('a head that does not end in time is answered with 408', async () => {
  const { wss, port } = await listen({ handshakeTimeout: 100 });
  assert.match(await answer(port, 'GET / HTTP/1.1\r\n'), /^HTTP\/1\.1 408 /);
  assert.match(await answer(port, ''), /^HTTP\/1\.1 408 /);
  await wss.close({});
});

test('frames in the same packet as the request are read', async () => {
  const { wss, port } = await listen();
  const texts: string[] = [];
  wss.on('connection', (ws) => ws.on('message', (data) => texts.push(String(data))));
  const peer = await RawPeer.connect(port);
  peer.socket.write(Buffer.concat([Buffer.from(`${REQUEST}\r\n`), frame(1, 'early'), frame(1, 'bird')]));
  await until('both messages', () => texts.length === 2);
  assert.deepEqual(texts, ['early', 'bird']);
  peer.socket.destroy();
  await wss.close({});
});

test("the request is an IncomingMessage with what ws's users read from it", async () => {
  const { wss, port } = await listen();
  const connection = once(wss, 'connection');
  await RawPeer.open(port, 'Cookie: a=1\r\n');
  const [ws, request] = await connection;
  assert.ok(request instanceof IncomingMessage);
  assert.equal(request.url, '/');
  assert.equal(request.method, 'GET');
  assert.equal(request.httpVersion, '1.1');
  assert.equal(request.headers.cookie, 'a=1');
  assert.equal(request.socket.remoteAddress, '127.0.0.1');
  assert.equal(ws._socket, request.socket);
  ws.terminate();
  await wss.close({});
});

test('connections that begin with < go to `markup`, with what they sent', async () => {
  const { wss, port, url } = await listen({
    markup(socket, chunk) {
      socket.end(`got ${chunk}`);
      return true;
    },
  });
  assert.equal(await answer(port, '<policy-file-request/>\0'), 'got <policy-file-request/>\0');
  const client = new Ws(url);
  await once(client, 'open');
  client.terminate();
  await wss.close({});
});

test('close() cuts those who have not said what they want', async () => {
  const { wss, port } = await listen();
  const peer = await RawPeer.connect(port);
  peer.socket.write('GET / HTTP/1.1\r\n');
  await RawPeer.open(port).then(({ socket }) => socket.destroy());
  await wss.close({});
  await peer.closed();
});

test('a port that is taken is an error event, as with ws', async () => {
  const { wss, port } = await listen();
  const { WebSocketServer } = await import('../../src/ws.ts');
  const second = new WebSocketServer({ host: '127.0.0.1', port });
  const [error] = await once(second, 'error');
  assert.equal(error.code, 'EADDRINUSE');
  await wss.close({});
});
