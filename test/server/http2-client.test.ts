/** WebSockets of clients on streams of HTTP/2 (RFC 8441), and what becomes of them where there is none. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import http2, { type Http2SecureServer, type Http2Server } from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type AnyServer = Http2Server | Http2SecureServer;

async function serve<S extends AnyServer>(
  server: S,
  options: Partial<WebSocketServerOptions> = {},
): Promise<{ wss: WebSocketServer; port: number; sessions: Set<http2.ServerHttp2Session> }> {
  const wss = new WebSocketServer({ server, ...options });
  wss.on('connection', (websocket) => {
    websocket.on('error', () => {});
    websocket.on('message', (data, isBinary) => websocket.send(data as Buffer, { binary: isBinary }));
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  const port = await listen(server as unknown as Server);
  cleanups.push(() => {
    for (const session of sessions) session.destroy();
    for (const websocket of wss.clients) websocket.terminate();
    wss.close();
    server.close();
  });
  return { wss, port, sessions };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function session(port: number): Promise<http2.ClientHttp2Session> {
  const own = http2.connect(`http://127.0.0.1:${port}`);
  own.on('error', () => {});
  cleanups.push(() => own.destroy());
  return own;
}

async function echoed(websocket: WebSocket, text: string): Promise<string> {
  websocket.send(text);
  const [data] = await once(websocket, 'message');
  return String(data);
}

/** Both, as a connection that has ended may have been told of by an error. */
async function outcome(websocket: WebSocket): Promise<{ error: string | undefined; code: number }> {
  let error: string | undefined;
  websocket.on('error', (each) => {
    error = each.message;
  });
  const code = await new Promise<number>((resolve) => websocket.once('close', resolve));
  return { error, code };
}

test('a session of the application’s carries as many WebSockets as it likes, also while it is connecting', async () => {
  const { wss, port, sessions } = await serve(http2.createServer());
  const own = await session(port);
  const all = Array.from({ length: 50 }, () => new WebSocket(`ws://127.0.0.1:${port}/a?b`, { http2: own }));
  await Promise.all(all.map((each) => once(each, 'open')));
  assert.deepEqual([sessions.size, wss.clients.size], [1, 50]);
  const closed = Promise.all(all.map((each) => once(each, 'close')));
  for (const [i, each] of all.entries()) {
    assert.equal(await echoed(each, `${i} ${'x'.repeat(i * 3000)}`), `${i} ${'x'.repeat(i * 3000)}`);
    assert.equal(each.fallbackReason, undefined);
    each.close(1000, 'enough');
  }
  await closed;
  // The session is the application's.
  assert.equal(own.closed, false);
});

test('subprotocols, compression, headers and credentials go along', async () => {
  const { wss, port } = await serve(http2.createServer(), {
    perMessageDeflate: true,
    handleProtocols: () => 'two',
  });
  const seen = once(wss, 'connection');
  const websocket = new WebSocket(`ws://me:secret@127.0.0.1:${port}/`, ['one', 'two'], {
    http2: await session(port),
    headers: { 'X-One': '1', Cookie: 'a=b' },
    origin: 'http://a.example',
  });
  await once(websocket, 'open');
  assert.equal(websocket.protocol, 'two');
  assert.match(websocket.extensions, /permessage-deflate/);
  const [, request] = await seen;
  assert.equal(request.headers['x-one'], '1');
  assert.equal(request.headers.cookie, 'a=b');
  assert.equal(request.headers.origin, 'http://a.example');
  assert.equal(request.headers.authorization, `Basic ${btoa('me:secret')}`);
  assert.equal(request.headers.host, `127.0.0.1:${port}`);
  assert.equal(await echoed(websocket, 'y'.repeat(100_000)), 'y'.repeat(100_000));
  websocket.terminate();
});

test('a refusal is told as ever, and a listener for it can read the answer', async () => {
  const { port } = await serve(http2.createServer(), {
    interceptors: [
      { before: () => Promise.resolve(new Response('no', { status: 403, headers: { 'x-why': 'you' } })) },
    ],
  });
  const own = await session(port);
  assert.deepEqual(await outcome(new WebSocket(`ws://127.0.0.1:${port}/`, { http2: own })), {
    error: 'Unexpected server response: 403',
    code: 1006,
  });
  const websocket = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: own });
  const ending = outcome(websocket);
  const [, response] = await once(websocket, 'unexpected-response');
  assert.equal(response.statusCode, 403);
  assert.equal(response.headers['x-why'], 'you');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  assert.equal(Buffer.concat(chunks).toString(), 'no');
  // What came whole is the listener's: nothing is told of it.
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(websocket.readyState, 0);
  websocket.terminate();
  assert.equal((await ending).code, 1006);
});

test('redirects are followed on the session, and elsewhere by HTTP/1.1', async () => {
  const target = new WebSocketServer({ port: 0 });
  await once(target, 'listening');
  cleanups.push(() => target.close());
  const there = `ws://127.0.0.1:${(target.address() as AddressInfo).port}/`;
  const answers: Record<string, string> = { '/here': '/there', '/away': there };
  const { port } = await serve(http2.createServer(), {
    interceptors: [
      {
        before: ({ url }) => {
          const location = answers[url ?? ''];
          return location === undefined
            ? undefined
            : new Response(null, { status: 302, headers: { location } });
        },
      },
    ],
  });
  const own = await session(port);
  const options = { http2: own, followRedirects: true };
  const here = new WebSocket(`ws://127.0.0.1:${port}/here`, options);
  await once(here, 'open');
  assert.match(here.url, /there$/);
  const away = new WebSocket(`ws://127.0.0.1:${port}/away`, options);
  await once(away, 'open');
  assert.equal(away.url, there);
  assert.deepEqual(
    [here.fallbackReason, away.fallbackReason],
    [undefined, 'the HTTP/2 session is of another host'],
  );
  for (const each of [here, away]) each.terminate();
});

test('a client that gives up while it is asked about leaves nothing behind', async () => {
  const { port } = await serve(http2.createServer(), {
    interceptors: [{ before: () => new Promise(() => {}) }],
  });
  const own = await session(port);
  const byTime = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: own, handshakeTimeout: 100 });
  assert.deepEqual(await outcome(byTime), { error: 'Opening handshake has timed out', code: 1006 });
  const controller = new AbortController();
  const bySignal = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: own, signal: controller.signal });
  const ending = outcome(bySignal);
  setTimeout(() => controller.abort(), 50);
  assert.equal((await ending).error, 'The operation was aborted');
  const closed = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: own });
  const third = outcome(closed);
  closed.close();
  assert.match((await third).error!, /closed before the connection was established/);
});

test('a session that is lost ends its WebSockets with 1006, those that are on their way as well', async () => {
  const { port, sessions } = await serve(http2.createServer(), {
    interceptors: [{ before: ({ url }) => (url === '/hangs' ? new Promise(() => {}) : undefined) }],
  });
  const own = await session(port);
  const open = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: own });
  await once(open, 'open');
  const opening = new WebSocket(`ws://127.0.0.1:${port}/hangs`, { http2: own });
  const endings = Promise.all([outcome(open), outcome(opening)]);
  await until('both streams', () => own.state.outboundQueueSize !== undefined);
  for (const each of sessions) each.destroy();
  for (const { code } of await endings) assert.equal(code, 1006);
});

test('cut here, it is cut there', async () => {
  const { wss, port } = await serve(http2.createServer());
  const closed = once(wss, 'connection').then(([websocket]) => once(websocket, 'close'));
  const websocket = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: await session(port) });
  await once(websocket, 'open');
  websocket.terminate();
  assert.equal((await closed)[0], 1006);
});

describe('where there is none it is HTTP/1.1, and why is said', () => {
  const opens = async (address: string, options: object): Promise<string | undefined> => {
    const websocket = new WebSocket(address, options);
    await once(websocket, 'open');
    const { fallbackReason } = websocket;
    websocket.terminate();
    return fallbackReason;
  };

  test('a session that has ended', async () => {
    const { port } = await serve(http2.createServer());
    const plain = new WebSocketServer({ port: 0 });
    await once(plain, 'listening');
    cleanups.push(() => plain.close());
    const own = await session(port);
    own.destroy();
    const address = `ws://127.0.0.1:${(plain.address() as AddressInfo).port}/`;
    assert.equal(await opens(address, { http2: own }), 'the HTTP/2 session is closed');
  });

  test('a server that does not take streams as WebSockets', async () => {
    const server = http2.createServer();
    const port = await listen(server as unknown as Server);
    cleanups.push(() => server.close());
    const plain = new WebSocketServer({ port: 0 });
    await once(plain, 'listening');
    cleanups.push(() => plain.close());
    const own = await session(port);
    const address = `ws://127.0.0.1:${(plain.address() as AddressInfo).port}/`;
    // Before its settings have come, and long after.
    for (let i = 0; i < 2; i++)
      assert.match((await opens(address, { http2: own }))!, /ENABLE_CONNECT_PROTOCOL/);
  });

  test('a server of HTTP/1.1 only', async () => {
    const http = createServer();
    const wss = new WebSocketServer({ server: http });
    const port = await listen(http);
    cleanups.push(() => {
      wss.close();
      http.closeAllConnections();
      http.close();
    });
    assert.notEqual(await opens(`ws://127.0.0.1:${port}/`, { http2: true }), undefined);
    assert.equal(await opens(`ws://127.0.0.1:${port}/`, {}), undefined);
  });

  test('nobody at all: it fails as ever', async () => {
    const http = createServer();
    const port = await listen(http);
    http.close();
    const { error, code } = await outcome(new WebSocket(`ws://127.0.0.1:${port}/`, { http2: true }));
    assert.match(error!, /ECONNREFUSED/);
    assert.equal(code, 1006);
  });
});

describe('with TLS', needs('openssl'), () => {
  let certificates: Certificates;
  before(() => {
    certificates = makeCertificates();
  });
  after(() => certificates.remove());
  const keys = () => ({
    cert: readFileSync(certificates.certFile),
    key: readFileSync(certificates.keyFile),
  });

  test('`http2: true`: all WebSockets to a host share a session, which ends with the last of them', async () => {
    const { wss, port, sessions } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }));
    const options = { http2: true, ca: certificates.ca };
    const all = Array.from({ length: 20 }, () => new WebSocket(`wss://localhost:${port}/`, options));
    await Promise.all(all.map((each) => once(each, 'open')));
    assert.deepEqual([sessions.size, wss.clients.size], [1, 20]);
    assert.equal(await echoed(all[7]!, 'x'), 'x');
    // Who trusts others, or is somebody else, does not share it.
    const other = new WebSocket(`wss://localhost:${port}/`, { http2: true, rejectUnauthorized: false });
    await once(other, 'open');
    assert.equal(sessions.size, 2);
    for (const each of [...all, other]) each.close();
    await until('their end', () => sessions.size === 0);
    const again = new WebSocket(`wss://localhost:${port}/`, options);
    await once(again, 'open');
    assert.equal(again.fallbackReason, undefined);
    again.terminate();
  });

  test('where a session has as many streams as it may have, there is another', async () => {
    const settings = { maxConcurrentStreams: 3 };
    const { wss, port, sessions } = await serve(http2.createSecureServer({ ...keys(), settings }));
    const options = { http2: true, ca: certificates.ca };
    const all: WebSocket[] = [];
    for (let i = 0; i < 8; i++) {
      const websocket = new WebSocket(`wss://localhost:${port}/`, options);
      await once(websocket, 'open');
      all.push(websocket);
    }
    assert.deepEqual([sessions.size, wss.clients.size], [3, 8]);
    for (const each of all) each.terminate();
  });

  test('also where many come at once, before anybody knows how many those may be', async () => {
    const settings = { maxConcurrentStreams: 3 };
    const { wss, port, sessions } = await serve(http2.createSecureServer({ ...keys(), settings }));
    const options = { http2: true, ca: certificates.ca };
    const all = Array.from({ length: 20 }, () => new WebSocket(`wss://localhost:${port}/`, options));
    // Some are not wanted any more before they have a place.
    const left = all.splice(0, 5);
    const endings = left.map((each) => outcome(each));
    for (const each of left) each.terminate();
    await Promise.all([...endings, ...all.map((each) => once(each, 'open'))]);
    assert.deepEqual([sessions.size, wss.clients.size], [5, 15]);
    assert.ok(all.every(({ fallbackReason }) => fallbackReason === undefined));
    for (const each of all) each.close();
    await until('their end', () => sessions.size === 0);
  });

  test('options that no connection can be made with fail it, and nothing else', async () => {
    const { port } = await serve(http2.createSecureServer(keys()));
    const websocket = new WebSocket(`wss://localhost:${port}/`, { http2: true, ca: 'no certificate' });
    assert.equal((await outcome(websocket)).code, 1006);
  });

  test('after GOAWAY those that are open live on, and the next has a session of its own', async () => {
    const { port, sessions } = await serve(http2.createSecureServer(keys()));
    const options = { http2: true, ca: certificates.ca };
    const first = new WebSocket(`wss://localhost:${port}/`, options);
    await once(first, 'open');
    for (const each of sessions) each.goaway();
    assert.equal(await echoed(first, 'on'), 'on');
    const second = new WebSocket(`wss://localhost:${port}/`, options);
    await once(second, 'open');
    assert.equal(sessions.size, 2);
    assert.equal(second.fallbackReason, undefined);
    for (const each of [first, second]) each.terminate();
  });

  test('a server of HTTP/1.1 only, by ALPN or without any', async () => {
    for (const more of [{}, { ALPNProtocols: ['http/1.1'] }]) {
      const server = https.createServer({ ...keys(), ...more });
      const wss = new WebSocketServer({ server });
      const port = await listen(server);
      cleanups.push(() => {
        wss.close();
        server.closeAllConnections();
        server.close();
      });
      const websocket = new WebSocket(`wss://localhost:${port}/`, { http2: true, ca: certificates.ca });
      await once(websocket, 'open');
      assert.notEqual(websocket.fallbackReason, undefined);
      websocket.terminate();
    }
  });

  test('a certificate that is not trusted opens nothing', async () => {
    const { wss, port } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }));
    const { error } = await outcome(new WebSocket(`wss://localhost:${port}/`, { http2: true }));
    assert.match(error!, /certificate|signature/);
    assert.equal(wss.clients.size, 0);
  });

  test('HTTP/1.1 goes on at the same port', async () => {
    const { port, wss } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }));
    const old = new WebSocket(`wss://localhost:${port}/`, { ca: certificates.ca });
    await once(old, 'open');
    assert.equal(await echoed(old, 'x'), 'x');
    assert.equal(wss.clients.size, 1);
    old.terminate();
  });
});
