/** WebSockets on streams of HTTP/2 (RFC 8441), the server's side, asked by Node's own client of HTTP/2. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, test } from 'node:test';
import type { VerifyCallback } from '../../src/server/admission.ts';
import type { StreamEvent } from '../../src/server/http2-stream.ts';
import {
  type WebSocket,
  WebSocket as WebSocketClient,
  WebSocketServer,
  type WebSocketServerOptions,
} from '../../src/ws.ts';
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

/** Has the stream asked as a WebSocket of `path`; `more` may have several values of a name. */
function fieldsOf(more: OutgoingHttpHeaders = {}): OutgoingHttpHeaders {
  return {
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/ws',
    'sec-websocket-version': '13',
    ...more,
  };
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
  more: OutgoingHttpHeaders = {},
  endStream = false,
): Promise<Asked> {
  const stream = session.request(fieldsOf(more), { endStream });
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
  ['a body', { 'content-length': '5' }, false, 400],
  ['a body of nothing', { 'content-length': '0' }, false, 400],
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

for (const direction of ['to the server', 'to clients'] as const) {
  test(`of a hundred streams one stands still, ${direction}: the others take all that is theirs`, async () => {
    const { wss, port } = await start({ maxPayload: 10_000_000 });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
    cleanups.push(() => session.destroy());
    const clients: WebSocket[] = [];
    for (let i = 0; i < 100; i++) {
      const client = new WebSocketClient(`ws://127.0.0.1:${port}/ws`, { http2: session });
      await once(client, 'open');
      clients.push(client);
    }
    const servers = [...wss.clients];
    const isUp = direction === 'to the server';
    const senders = isUp ? clients : servers;
    const receivers = isUp ? servers : clients;
    const counts = new Map<WebSocket, number>();
    for (const each of receivers) {
      each.removeAllListeners('message');
      each.on('message', (data) => counts.set(each, (counts.get(each) ?? 0) + (data as Buffer).length));
    }
    const [stalled, ...others] = receivers as [WebSocket, ...WebSocket[]];
    stalled.pause();
    const part = Buffer.alloc(100_000, 'x');
    for (const each of senders) for (let n = 0; n < 20; n++) each.send(part);
    await until('the others', () => others.every((each) => counts.get(each) === 2_000_000));
    assert.equal(counts.get(stalled), undefined);
    // What the stalled one has not taken is known where it waits, but for the windows on the way.
    const { bufferedAmount } = senders[receivers.indexOf(stalled)]!;
    assert.ok(bufferedAmount > 1_000_000 && bufferedAmount <= 2_001_000, `${bufferedAmount}`);
    for (const each of senders.slice(1)) await until('nothing waits', () => each.bufferedAmount === 0);
    stalled.resume();
    await until('all of it', () => counts.get(stalled) === 2_000_000);
    await until('nothing waits', () => senders[0]!.bufferedAmount === 0);
    for (const each of clients) each.terminate();
  });
}

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
  const stream = session.request(fieldsOf());
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

test('what came in several fields is one, and another case of the protocol is the same', async () => {
  const asked: IncomingMessage[] = [];
  const { port } = await start({
    perMessageDeflate: true,
    interceptors: [{ before: (request) => void asked.push(request as IncomingMessage) }],
    handleProtocols: (offered) => [...offered].at(-1)!,
  });
  const { headers } = await ask(await connect(port), {
    ':protocol': 'WebSocket',
    cookie: ['a=1', 'b=2', 'c=3'],
    'sec-websocket-protocol': ['one, two', 'three'],
    'sec-websocket-extensions': ['unknown', 'permessage-deflate; client_max_window_bits'],
  });
  assert.equal(headers[':status'], 200);
  assert.equal(headers['sec-websocket-protocol'], 'three');
  assert.match(String(headers['sec-websocket-extensions']), /^permessage-deflate/);
  assert.equal(asked[0]!.headers.cookie, 'a=1; b=2; c=3');
});

test('version 8 has its origin in a field of its own', async () => {
  const origins: unknown[] = [];
  const { port } = await start({
    verifyClient: ({ origin }: { origin: string }) => origins.push(origin) > 0,
  });
  const { headers } = await ask(await connect(port), {
    'sec-websocket-version': '8',
    'sec-websocket-origin': 'http://a.example',
  });
  assert.equal(headers[':status'], 200);
  assert.deepEqual(origins, ['http://a.example']);
});

test('RFC 9113 §8.3.1: a Host beside `:authority` says nothing', async () => {
  const hosts: unknown[] = [];
  const { port } = await start({
    interceptors: [{ before: ({ headers }) => void hosts.push(headers.host) }],
  });
  await ask(await connect(port), { ':authority': 'a.example', host: 'b.example' });
  assert.deepEqual(hosts, ['a.example']);
});

test('a refusal may spell its fields as it likes, and several of one name are one', async () => {
  const { port } = await start({
    verifyClient: (_info: unknown, done: VerifyCallback) =>
      done(false, 401, '{}', {
        'content-type': 'application/json',
        'CONTENT-LENGTH': 2,
        Date: ['one', 'two'],
        te: 'gzip',
        'set-cookie': ['a=1', 'b=2'],
      }),
  });
  const { stream, headers, bytes } = await ask(await connect(port));
  if (!stream.closed) await once(stream, 'close');
  assert.equal(headers[':status'], 401);
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers.date, 'one, two');
  assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2']);
  assert.equal(bytes().toString(), '{}');
});

test('so it is with what listeners of `headers` add to the answer', async () => {
  const { wss, port } = await start();
  for (const line of ['Access-Control-Allow-Credentials: true', 'Vary: a', 'vary: b', 'TE: gzip']) {
    wss.on('headers', (lines) => lines.push(line));
    wss.on('headers', (lines) => lines.push('Access-Control-Allow-Credentials: true'));
  }
  const { headers } = await ask(await connect(port));
  assert.equal(headers[':status'], 200);
  assert.equal(headers.vary, 'a, b');
});

for (const [what, end] of [
  ['its stream', ({ stream }: Ended) => stream.destroy()],
  ['its session', ({ stream }: Ended) => stream.session!.destroy()],
  ['its stream by a reset', ({ stream }: Ended) => stream.close(http2.constants.NGHTTP2_CANCEL)],
] as const) {
  test(`who ends ${what} while the answer is made gets a WebSocket that ends, and nothing is thrown`, async () => {
    const { wss, port } = await start();
    const session = await connect(port);
    wss.once('headers', (_lines, request) => end(request as unknown as Ended));
    const closes: number[] = [];
    wss.on('connection', (websocket) => websocket.on('close', (code) => closes.push(code)));
    const stream = session.request(fieldsOf(), { endStream: false });
    stream.on('error', () => {});
    await once(stream, 'close');
    await until('its end here', () => closes.length === 1);
    assert.deepEqual(closes, [1006]);
    assert.equal((await ask(await connect(port))).headers[':status'], 200);
  });
}
type Ended = { stream: ServerHttp2Stream };

test('`_socket` tells where it comes from, as a socket of TCP does', async () => {
  const { wss, port } = await start();
  const session = await connect(port);
  const opened = once(wss, 'connection');
  const client = new WebSocketClient(`ws://127.0.0.1:${port}/ws`, { http2: session });
  const [[websocket]] = (await Promise.all([opened, once(client, 'open')])) as [[WebSocket], unknown];
  const [here, there] = [websocket._socket as Socket, client._socket as Socket];
  assert.equal(here.remoteAddress, '127.0.0.1');
  assert.equal(here.localPort, port);
  assert.equal(there.remotePort, port);
  assert.equal(here.remotePort, there.localPort);
  client.terminate();
});

for (const listens of ['connect', 'stream'] as const) {
  test(`with noServer the application hands over what its listener for ${listens} gets`, async () => {
    const wss = new WebSocketServer({ noServer: true, path: '/ws' });
    const hosts: unknown[] = [];
    wss.on('connection', (websocket, { headers }) => {
      hosts.push(headers.host);
      websocket.on('message', (data) => websocket.send(data));
    });
    const server = http2.createServer({ settings: { enableConnectProtocol: true } });
    const done = (websocket: WebSocket, request: IncomingMessage): void =>
      void wss.emit('connection', websocket, request);
    if (listens === 'connect') {
      server.on('request', (_, response) => response.end('the site'));
      server.on('connect', (request, { stream }) =>
        wss.handleUpgrade(request as never, stream, Buffer.alloc(0), done),
      );
    } else {
      server.on('stream', (...[stream, headers, , rawHeaders]: StreamEvent) => {
        const request = new http2.Http2ServerRequest(stream, headers, {}, rawHeaders as never);
        wss.handleUpgrade(request as never, stream, Buffer.alloc(0), done);
      });
    }
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const session = await connect(port);
    const { stream, bytes } = await ask(session);
    stream.write(frame(1, Buffer.from('hello')));
    await until('the echo', () => bytes().length === 7);
    assert.deepEqual(hosts, [`127.0.0.1:${port}`]);
    assert.equal((await ask(session, { ':path': '/other' })).headers[':status'], 400);
    for (const each of wss.clients) each.terminate();
  });
}

for (const [what, end, code] of [
  ['END_STREAM without a close frame', (stream: ClientHttp2Stream) => stream.end(), 1006],
  [
    'trailers',
    (stream: ClientHttp2Stream) => {
      stream.once('wantTrailers', () => stream.sendTrailers({ 'x-end': '1' }));
      stream.end();
    },
    1006,
  ],
  ['RST_STREAM with CANCEL', (stream: ClientHttp2Stream) => stream.close(8), 1006],
  ['RST_STREAM with NO_ERROR', (stream: ClientHttp2Stream) => stream.close(0), 1006],
  ['RST_STREAM with INTERNAL_ERROR', (stream: ClientHttp2Stream) => stream.close(2), 1006],
  [
    'a close frame with END_STREAM behind it',
    (stream: ClientHttp2Stream) => stream.end(closeFrame(4000)),
    4000,
  ],
  [
    'a close frame with a reset behind it',
    (stream: ClientHttp2Stream) => stream.write(closeFrame(4000), () => stream.close(8)),
    4000,
  ],
] as const) {
  test(`RFC 8441 §5: ${what} is heard as ${code}, once, and what came before it is there`, async () => {
    const { wss, port } = await start();
    const session = await connect(port);
    const heard: unknown[] = [];
    wss.on('connection', (websocket) => {
      websocket.removeAllListeners('message');
      websocket.on('message', (data) => heard.push(String(data)));
      websocket.on('close', (each) => heard.push(each));
    });
    const stream = session.request(fieldsOf(), {
      endStream: false,
      waitForTrailers: what === 'trailers',
    } as never);
    stream.on('error', () => {});
    stream.resume();
    await once(stream, 'response');
    stream.write(frame(1, Buffer.from('last')));
    await until('the message', () => heard.length === 1);
    end(stream);
    await until('the end', () => heard.length === 2);
    assert.deepEqual(heard, ['last', code]);
    await until('nobody', () => wss.clients.size === 0);
    assert.equal((await ask(session)).headers[':status'], 200);
  });
}

/** Resolves when the server has all that was said. */
function arrived(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve) => session.ping(() => resolve()));
}

test('what is sent before the answer is read behind it, to the end', async () => {
  let admit = (): void => {};
  const { wss, port } = await start({
    interceptors: [{ before: () => new Promise((resolve) => (admit = () => resolve(undefined))) }],
  });
  const closes: number[] = [];
  wss.on('connection', (websocket) => websocket.on('close', (code) => closes.push(code)));
  const session = await connect(port);
  for (const ends of [false, true]) {
    const stream = session.request(fieldsOf(), { endStream: false });
    const chunks: Buffer[] = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    for (let i = 0; i < 100; i++) stream.write(frame(2, Buffer.alloc(100, i)));
    stream.write(closeFrame(1000));
    if (ends) stream.end();
    await arrived(session);
    admit();
    await until('all of it', () => Buffer.concat(chunks).length === 100 * 102 + 4);
    stream.end();
    await until('its end', () => stream.destroyed);
  }
  await until('both ends', () => closes.length === 2);
  assert.deepEqual(closes, [1000, 1000]);
});

const harms: [string, (stream: ClientHttp2Stream, session: ClientHttp2Session) => void][] = [
  ['a reset', (stream) => stream.close(http2.constants.NGHTTP2_CANCEL)],
  ['the end of the session', (_, session) => session.destroy()],
  ['GOAWAY with an error', (_, session) => session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM)],
];
for (const [what, harm] of harms) {
  test(`${what} in each phase of a handshake: each interceptor is told once, and no other stream is harmed`, async () => {
    const told = new Map<string, number>();
    const phases = 5;
    let reached = (_phase: number): Promise<void> | undefined => undefined;
    const step = (phase: number) => async (): Promise<undefined> => {
      await reached(phase);
    };
    const after =
      (name: string) =>
      ({ url = '' }: { url?: string }): void => {
        const key = `${url} ${name}`;
        told.set(key, (told.get(key) ?? 0) + 1);
      };
    const { wss, port } = await start({
      path: '',
      interceptors: [
        { before: step(0), after: after('first') },
        { before: step(1), after: after('second') },
        {
          async before({ url = '' }) {
            await step(2)();
            return url.endsWith('refused') ? new Response('no', { status: 403 }) : undefined;
          },
          after: after('third'),
        },
      ],
      verifyClient: (_info: unknown, done: (verified: boolean) => void) => {
        Promise.resolve(reached(3)).then(() => done(true));
      },
    });
    wss.on('headers', () => void reached(4));
    const kept = await ask(await connect(port), { ':path': '/kept' });
    for (const end of ['accepted', 'refused']) {
      for (let phase = 0; phase < phases - (end === 'refused' ? 2 : 0); phase++) {
        const session = await connect(port);
        const stream = session.request(fieldsOf({ ':path': `/${phase}?${end}` }), { endStream: false });
        stream.on('error', () => {});
        let goOn = (): void => {};
        await new Promise<void>((resolve) => {
          reached = (now) => {
            if (now !== phase) return undefined;
            resolve();
            return new Promise((each) => (goOn = each));
          };
        });
        harm(stream, session);
        await until('the word', () => told.get(`/${phase}?${end} first`) === 1);
        // Whatever the application still says is too late.
        goOn();
        await new Promise(setImmediate);
      }
    }
    await until('nobody', () => wss.clients.size === 1);
    assert.ok([...told.values()].every((times) => times === 1));
    kept.stream.write(frame(1, Buffer.from('still')));
    await until('the echo', () => kept.bytes().length === 7);
  });
}

test('GOAWAY from a client that has more to say: what it has asked for is answered', async () => {
  let admit = (): void => {};
  const { port } = await start({
    interceptors: [{ before: () => new Promise((resolve) => (admit = () => resolve(undefined))) }],
  });
  const session = await connect(port);
  const asked = ask(session);
  await arrived(session);
  session.goaway(http2.constants.NGHTTP2_NO_ERROR);
  await arrived(session);
  admit();
  const { stream, headers, bytes } = await asked;
  assert.equal(headers[':status'], 200);
  stream.write(frame(1, Buffer.from('hello')));
  await until('the echo', () => bytes().length === 7);
});

test('a stream that does not answer pings ends by itself, its neighbours live on', async () => {
  const { wss, port } = await start({ pingInterval: 60, pongTimeout: 60 });
  const session = await connect(port);
  const closes: number[] = [];
  wss.on('connection', (websocket) => websocket.on('close', (code) => closes.push(code)));
  const client = new WebSocketClient(`ws://127.0.0.1:${port}/ws`, { http2: session });
  await once(client, 'open');
  const silent = await ask(session);
  const reads = await ask(session);
  reads.stream.on('data', () => reads.stream.write(frame(10, Buffer.alloc(0))));
  await until('its end', () => silent.stream.destroyed);
  // It was told why.
  assert.equal(silent.bytes().subarray(-20).includes('heartbeat'), true);
  assert.equal(wss.clients.size, 2);
  assert.equal(closes.length, 1);
  assert.equal(session.destroyed, false);
  client.terminate();
});

test('a session that takes no more streams lives as long as those that it has', async () => {
  const { server, wss, port } = await start();
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  const session = await connect(port);
  const goaway = once(session, 'goaway');
  const { stream, bytes } = await ask(session);
  for (const each of sessions) each.close();
  await goaway;
  stream.write(frame(1, Buffer.from('hello')));
  await until('the echo', () => bytes().length === 7);
  assert.equal(wss.clients.size, 1);
  const ended = once(session, 'close');
  stream.end(closeFrame(1000));
  await ended;
});

test('streams that stand still leave room for others: Node does not end the session with all it has', async () => {
  const { wss, port } = await start({}, (server) =>
    server.updateSettings({ enableConnectProtocol: true, maxConcurrentStreams: 1000 }),
  );
  const session = await connect(port);
  const all = Array.from({ length: 650 }, () => {
    const websocket = new WebSocketClient(`ws://127.0.0.1:${port}/ws`, { http2: session });
    websocket.on('open', () => websocket.pause());
    return once(websocket, 'open');
  });
  await Promise.all(all);
  wss.broadcast(Buffer.alloc(200_000));
  await arrived(session);
  // Beyond a hundred that Node refuses it ends the session.
  for (let i = 0; i < 110; i++) {
    const websocket = new WebSocketClient(`ws://127.0.0.1:${port}/ws`, { http2: session });
    await once(websocket, 'open');
    assert.equal(websocket.fallbackReason, undefined);
  }
  assert.equal(wss.clients.size, 760);
});
