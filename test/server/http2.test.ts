/** WebSockets on streams of HTTP/2 (RFC 8441), the server's side, asked by Node's own client of HTTP/2. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { type WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { until } from '../support/net.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Started {
  server: Http2Server;
  wss: WebSocketServer;
  port: number;
}

async function start(
  options: Partial<WebSocketServerOptions> = {},
  prepare: (server: Http2Server) => void = () => {},
): Promise<Started> {
  const server = http2.createServer();
  prepare(server);
  const wss = new WebSocketServer({ server, path: '/ws', ...options });
  wss.on('connection', (websocket) => {
    websocket.on('error', () => {});
    websocket.on('message', (data, isBinary) => websocket.send(data as Buffer, { binary: isBinary }));
  });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    for (const session of sessions) session.destroy();
    wss.close();
    server.close();
  });
  return { server, wss, port: (server.address() as AddressInfo).port };
}

async function connect(port: number): Promise<ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  cleanups.push(() => session.destroy());
  await once(session, 'remoteSettings');
  return session;
}

interface Asked {
  stream: ClientHttp2Stream;
  headers: IncomingHttpHeaders;
  /** What has come so far. */
  bytes(): Buffer;
}

/** Resolves with the response. */
async function ask(
  session: ClientHttp2Session,
  more: Record<string, string> = {},
  endStream = false,
): Promise<Asked> {
  const stream = session.request(
    {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/ws',
      'sec-websocket-version': '13',
      ...more,
    },
    { endStream },
  );
  const chunks: Buffer[] = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  stream.on('error', () => {});
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  return { stream, headers, bytes: () => Buffer.concat(chunks) };
}

/** A masked frame, by a key of zeros. */
const frame = (opcode: number, payload: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
const closeFrame = (code: number): Buffer => frame(8, Buffer.from([code >> 8, code & 255]));

test('RFC 8441 §3: a server says that it takes them, in its first settings', async () => {
  const { port } = await start();
  assert.equal((await connect(port)).remoteSettings.enableConnectProtocol, true);
});

test('RFC 8441 §5: 200 makes a stream a WebSocket, whose request looks like any other', async () => {
  const asked: IncomingMessage[] = [];
  const { wss, port } = await start({
    interceptors: [{ before: (request) => void asked.push(request as IncomingMessage) }],
    verifyClient: ({ origin }: { origin: string }) => origin === 'http://a.example',
  });
  const session = await connect(port);
  const { stream, headers, bytes } = await ask(session, {
    origin: 'http://a.example',
    cookie: 'a=b',
    'sec-websocket-protocol': 'one, two',
  });
  assert.equal(headers[':status'], 200);
  assert.equal(headers['sec-websocket-protocol'], 'one');
  for (const name of ['connection', 'upgrade', 'sec-websocket-accept'])
    assert.equal(headers[name], undefined);
  const [request] = asked;
  assert.equal(request!.url, '/ws');
  assert.equal(request!.headers.host, `127.0.0.1:${port}`);
  assert.equal(request!.headers.cookie, 'a=b');
  assert.equal(request!.socket.remoteAddress, '127.0.0.1');
  stream.write(frame(1, Buffer.from('hello')));
  await until('the echo', () => bytes().length === 7);
  assert.deepEqual(bytes(), Buffer.from('\x81\x05hello', 'latin1'));
  assert.equal(wss.clients.size, 1);
});

test('RFC 8441 §5: a key is answered where one came, and an offer of compression', async () => {
  const { port } = await start({ perMessageDeflate: true });
  const { headers } = await ask(await connect(port), {
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-extensions': 'permessage-deflate',
  });
  assert.equal(headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  assert.match(headers['sec-websocket-extensions'] as string, /^permessage-deflate/);
});

for (const [what, more, endStream, status] of [
  ['another path', { ':path': '/other' }, false, 400],
  ['no version', { 'sec-websocket-version': '' }, false, 400],
  ['a version of another time', { 'sec-websocket-version': '7' }, false, 426],
  ['an offer that is none', { 'sec-websocket-extensions': ';' }, false, 400],
  ['a subprotocol that is none', { 'sec-websocket-protocol': 'a b' }, false, 400],
  ['a stream that has ended', {}, true, 400],
] as const) {
  test(`RFC 8441 §5: ${what}: ${status}, and the next stream is taken`, async () => {
    const { port } = await start();
    const session = await connect(port);
    const { stream, headers } = await ask(session, more, endStream);
    assert.equal(headers[':status'], status);
    if (!stream.closed) await once(stream, 'close');
    assert.equal(stream.rstCode, 0);
    assert.equal((await ask(session)).headers[':status'], 200);
  });
}

test('who is refused gets the status, the fields and the body that were chosen', async () => {
  const { port } = await start({
    interceptors: [
      {
        before: async () =>
          new Response('not you', {
            status: 403,
            headers: { 'x-why': 'because', connection: 'close', 'set-cookie': 'a=1' },
          }),
      },
    ],
  });
  const { stream, headers, bytes } = await ask(await connect(port));
  await once(stream, 'close');
  assert.equal(headers[':status'], 403);
  assert.equal(headers['x-why'], 'because');
  assert.deepEqual(headers['set-cookie'], ['a=1']);
  assert.equal(bytes().toString(), 'not you');
});

test('whatever verifyClient says is answered, and what can be no field is left out', async () => {
  let answer: [number, string, Record<string, string>] = [401, '', {}];
  const { port } = await start({
    verifyClient: (_info: unknown, done: (verified: boolean, ...more: typeof answer) => void) =>
      done(false, ...answer),
  });
  const session = await connect(port);
  for (const [status, text, given, told = status] of [
    [200, 'it is still refused', {}, 403],
    [204, 'the same', {}, 403],
    [304, 'a body that this status has not', {}],
    [
      401,
      'x',
      { 'WWW-Authenticate': 'Basic', 'no name': 'x', ':status': '200', 'X-Two': 'a\r\nSet-Cookie: b=1' },
    ],
    [599, 'y', {}],
    [799, 'z', {}, 500],
  ] as const) {
    answer = [status, text, given];
    const { stream, headers } = await ask(session);
    if (!stream.closed) await once(stream, 'close');
    assert.equal(headers[':status'], told);
    assert.equal(headers['set-cookie'], undefined);
    if (status === 401) assert.equal(headers['www-authenticate'], 'Basic');
  }
  assert.equal(session.destroyed, false);
});

test('who is refused and takes nothing of the answer is cut', async () => {
  const { port } = await start({
    interceptors: [{ before: () => Promise.resolve(new Response('x'.repeat(1000), { status: 403 })) }],
  });
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } });
  session.on('error', () => {});
  cleanups.push(() => session.destroy());
  await once(session, 'remoteSettings');
  const asked = await ask(session);
  assert.equal(asked.headers[':status'], 403);
  await until('the cut', () => asked.stream.closed, 15_000);
});

test('RFC 8441 §5: the closing handshake ends both sides of the stream', async () => {
  const { wss, port } = await start();
  const session = await connect(port);
  const closes: number[] = [];
  wss.on('connection', (websocket) => websocket.on('close', (code) => closes.push(code)));
  const { stream, bytes } = await ask(session);
  stream.write(closeFrame(1000));
  await once(stream, 'end');
  assert.deepEqual(bytes(), Buffer.from([0x88, 2, 0x03, 0xe8]));
  stream.end();
  await once(stream, 'close');
  assert.equal(stream.rstCode, 0);
  await until('its end here', () => wss.clients.size === 0);
  assert.deepEqual(closes, [1000]);
});

test('RFC 8441 §5: a connection that is cut is RST_STREAM with CANCEL, from both sides', async () => {
  const { wss, port } = await start();
  const session = await connect(port);
  const closes: number[] = [];
  wss.on('connection', (websocket) => websocket.on('close', (code) => closes.push(code)));
  const one = await ask(session);
  for (const websocket of wss.clients) websocket.terminate();
  await once(one.stream, 'close');
  assert.equal(one.stream.rstCode, http2.constants.NGHTTP2_CANCEL);
  const two = await ask(session);
  two.stream.close(http2.constants.NGHTTP2_CANCEL);
  await until('the other end', () => closes.length === 2);
  assert.deepEqual(closes, [1006, 1006]);
});

test('a session that is lost ends all of its WebSockets, and nothing else', async () => {
  const { wss, port } = await start();
  const [lost, kept] = [await connect(port), await connect(port)];
  for (let i = 0; i < 100; i++) await ask(lost);
  const other = await ask(kept);
  assert.equal(wss.clients.size, 101);
  lost.destroy();
  await until('their end', () => wss.clients.size === 1);
  other.stream.write(frame(1, Buffer.from('still')));
  await until('the echo', () => other.bytes().length === 7);
});

for (const hasRequestListener of [false, true]) {
  const listener = hasRequestListener ? 'with' : 'without';
  test(`other streams are left alone, ${listener} a listener for requests`, async () => {
    const seen: string[] = [];
    const { port, wss } = await start({}, (server) => {
      if (hasRequestListener) server.on('request', (_, response) => response.end('by request'));
      else {
        server.on('stream', (stream, headers) => {
          seen.push(String(headers[':path']));
          stream.respond({ ':status': 200 });
          stream.end('by stream');
        });
      }
    });
    const session = await connect(port);
    const stream = session.request({ ':path': '/page' });
    const chunks: Buffer[] = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    await once(stream, 'end');
    assert.equal(Buffer.concat(chunks).toString(), hasRequestListener ? 'by request' : 'by stream');
    // What Node does with them without us.
    const other = await ask(session, { ':protocol': 'connect-udp' });
    assert.equal(other.headers[':status'], hasRequestListener ? 405 : 200);
    assert.equal((await ask(session)).headers[':status'], 200);
    assert.deepEqual(seen, hasRequestListener ? [] : ['/page', '/ws']);
    wss.close();
  });
}

for (const others of ['refuse', 'ignore'] as const) {
  for (const event of ['stream', 'connect'] as const) {
    test(`a WebSocket for no path of ours is whoever's who listens for ${event}, with others: '${others}'`, async () => {
      const { port } = await start({ others }, (server) => {
        if (event === 'connect') {
          server.on('request', (_, response) => response.end());
          server.on('connect', (_request, response) =>
            response.stream.respond({ ':status': 201 }, { endStream: true }),
          );
        } else {
          server.on('stream', (stream, headers) => {
            if (headers[':path'] === '/theirs') stream.respond({ ':status': 201 }, { endStream: true });
          });
        }
      });
      const session = await connect(port);
      assert.equal((await ask(session, { ':path': '/theirs' })).headers[':status'], 201);
      assert.equal((await ask(session)).headers[':status'], 200);
    });
  }
  test(`with nobody but listeners for requests it is refused, with others: '${others}'`, async () => {
    const { port } = await start({ others }, (server) =>
      server.on('request', (_, response) => response.end()),
    );
    const { headers } = await ask(await connect(port), { ':path': '/nobodys' });
    assert.equal(headers[':status'], others === 'refuse' ? 400 : 404);
  });
}

test('two servers beside each other have a path each, and after their end streams are the application’s', async () => {
  const { server, wss, port } = await start();
  const second = new WebSocketServer({ server, path: '/second', others: 'ignore' });
  const session = await connect(port);
  assert.equal((await ask(session, { ':path': '/second' })).headers[':status'], 200);
  assert.equal((await ask(session)).headers[':status'], 200);
  assert.deepEqual([wss.clients.size, second.clients.size], [1, 1]);
  for (const websocket of [...wss.clients, ...second.clients]) websocket.terminate();
  await Promise.all([wss.close({ deadline: 1 }), second.close({ deadline: 1 })]);
  server.on('stream', (stream) => stream.respond({ ':status': 299 }, { endStream: true }));
  assert.equal((await ask(session)).headers[':status'], 299);
});

test('a reader that stands still holds up its own stream only, and what waits for it is bounded', async () => {
  const { wss, port } = await start({
    maxBackpressure: 1_000_000,
    backpressurePolicy: 'close',
    closeTimeout: 100,
  });
  const session = await connect(port);
  const slow = await ask(session);
  slow.stream.pause();
  const quick = await ask(session);
  const [first, second] = [...wss.clients] as [WebSocket, WebSocket];
  const closes: number[] = [];
  first.on('close', (code) => closes.push(code));
  const part = Buffer.alloc(100_000);
  let most = 0;
  for (let i = 0; i < 100 && first.readyState === 1; i++) {
    first.send(part);
    most = Math.max(most, first.bufferedAmount);
    await new Promise(setImmediate);
  }
  assert.ok(most < 1_300_000, `${most} bytes waited`);
  second.send('through');
  await until('the other one', () => quick.bytes().length === 9);
  await until('its end', () => closes.length === 1);
});

test('a server that closes says 1001 on every stream, and takes no more', async () => {
  const { wss, port } = await start();
  const session = await connect(port);
  const asked = [await ask(session), await ask(session), await ask(session)];
  for (const { stream } of asked) stream.once('data', () => stream.end(closeFrame(1001)));
  await wss.close({ code: 1001 });
  for (const { bytes } of asked) assert.deepEqual(bytes(), Buffer.from([0x88, 2, 0x03, 0xe9]));
});

test('an application that throws while a stream is asked about is answered for with 500', async () => {
  const { port } = await start({
    interceptors: [
      {
        before: () => {
          throw new Error('a fault');
        },
      },
    ],
  });
  assert.equal((await ask(await connect(port))).headers[':status'], 500);
});

test('streams that are asked about for ever are given up with 503, and one that leaves is forgotten', async () => {
  const ended: unknown[] = [];
  const { port } = await start({
    handshakeTimeout: 200,
    interceptors: [
      { before: () => new Promise(() => {}), after: (_request, _transport, error) => void ended.push(error) },
    ],
  });
  const session = await connect(port);
  const { headers } = await ask(session);
  assert.equal(headers[':status'], 503);
  const stream = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/ws',
    'sec-websocket-version': '13',
  });
  stream.on('error', () => {});
  await new Promise(setImmediate);
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await until('both', () => ended.length === 2);
});

test('lines that a listener adds become fields, but those of a connection', async () => {
  const { wss, port } = await start();
  wss.on('headers', (lines) => lines.push('X-One: 1', 'Set-Cookie: a=1', 'Set-Cookie: b=2', 'Keep-Alive: 5'));
  const { headers } = await ask(await connect(port));
  assert.equal(headers['x-one'], '1');
  assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2']);
  assert.equal(headers['keep-alive'], undefined);
});
