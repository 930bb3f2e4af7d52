/** WebSockets of clients on streams of HTTP/2 (RFC 8441), and what becomes of them where there is none. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type OutgoingHttpHeaders } from 'node:http';
import http2, { type Http2SecureServer, type Http2Server } from 'node:http2';
import https from 'node:https';
import {
  type AddressInfo,
  connect as connectNet,
  createServer as createNetServer,
  type Server,
  type Socket,
} from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { needs, typescript } from '../support/programs.ts';
import { echoed } from './support.ts';

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

/** Runs a program. @returns the status that it ends with, null where it does not within 20 s */
async function statusOf(program: string): Promise<number | null> {
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', program], {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  cleanups.push(() => child.kill('SIGKILL'));
  const [status] = await once(child, 'exit');
  return status;
}

function cutAll(sockets: Iterable<Socket>): void {
  for (const each of sockets) each.destroy();
}

function forAll<T>(all: Iterable<T>, harm: (each: T) => unknown): void {
  for (const each of all) harm(each);
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

test('a refusal or a redirect whose body nobody reads leaves no stream behind', {
  timeout: 10_000,
}, async () => {
  const { port } = await serve(http2.createServer(), {
    interceptors: [
      {
        before: ({ url }) => {
          if (url === '/there') return undefined;
          const headers = { location: '/there' };
          return new Response('no', { status: url === '/here' ? 302 : 404, headers });
        },
      },
    ],
  });
  const own = await session(port);
  const url = `ws://127.0.0.1:${port}`;
  assert.match(
    (await outcome(new WebSocket(`${url}/no`, { http2: own }))).error!,
    /Unexpected server response: 404/,
  );
  const unread = new WebSocket(`${url}/no`, { http2: own });
  const ending = outcome(unread);
  await once(unread, 'unexpected-response');
  unread.terminate();
  await ending;
  const redirected = new WebSocket(`${url}/here`, { http2: own, followRedirects: true });
  await once(redirected, 'open');
  redirected.close();
  await once(redirected, 'close');
  // It ends with its last stream.
  own.close();
  if (!own.destroyed) await once(own, 'close');
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

test('a header that can be none is told at once, as over HTTP/1.1, and harms nobody', async () => {
  const { wss, port } = await serve(http2.createServer());
  const own = await session(port);
  const kept = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: true });
  await once(kept, 'open');
  for (const headers of [{ 'a b': '1' }, { a: '1\r\nb: 2' }, { a: ['1', '\n'] }] as OutgoingHttpHeaders[]) {
    for (const http2 of [own, true, false]) {
      assert.throws(() => new WebSocket(`ws://127.0.0.1:${port}/`, { http2, headers }), TypeError);
    }
  }
  assert.equal(own.closed, false);
  // What only HTTP/1.1 may say is left out, and what Node takes once fails by itself.
  const te = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: true, headers: { TE: 'gzip' } });
  await once(te, 'open');
  assert.equal(te.fallbackReason, undefined);
  const twice = new WebSocket(`ws://127.0.0.1:${port}/`, {
    http2: true,
    headers: { authorization: ['a', 'b'] } as never,
  });
  assert.match((await outcome(twice)).error!, /single value|authorization/i);
  assert.equal(wss.clients.size, 2);
  assert.equal(await echoed(kept, 'x'), 'x');
  for (const each of [kept, te]) each.terminate();
});

for (const [what, end] of [
  ['destroyed', (own: http2.ClientHttp2Session) => own.destroy()],
  ['closed', (own: http2.ClientHttp2Session) => own.close()],
] as const) {
  test(`a session that is ${what} at any time of a handshake: it goes on by HTTP/1.1, or fails`, async () => {
    const plain = new WebSocketServer({ port: 0 });
    await once(plain, 'listening');
    const { port } = await serve(http2.createServer());
    cleanups.push(() => {
      for (const each of plain.clients) each.terminate();
      plain.close();
    });
    const address = `ws://127.0.0.1:${(plain.address() as AddressInfo).port}/`;
    const moments: ((own: http2.ClientHttp2Session) => Promise<unknown> | undefined)[] = [
      () => undefined,
      () => Promise.resolve(),
      () => new Promise((resolve) => process.nextTick(resolve)),
      (own) => once(own, 'connect'),
      (own) => new Promise((resolve) => own.prependOnceListener('connect', resolve)),
      (own) => once(own, 'localSettings'),
      (own) => once(own, 'remoteSettings'),
      () => new Promise(setImmediate),
    ];
    for (const moment of moments) {
      const own = await session(port);
      const moved = moment(own);
      const websocket = new WebSocket(address, { http2: own });
      websocket.on('error', () => {});
      const over = Promise.race([once(websocket, 'open'), once(websocket, 'close')]);
      await moved;
      end(own);
      await over;
      if (websocket.readyState === 1 && websocket.fallbackReason !== undefined)
        assert.match(websocket.fallbackReason, /session|destroyed|GOAWAY/i);
      websocket.terminate();
    }
    // Within the event itself.
    for (const event of ['connect', 'remoteSettings'] as const) {
      const own = await session(port);
      own.once(event, () => end(own));
      const websocket = new WebSocket(address, { http2: own });
      websocket.on('error', () => {});
      await Promise.race([once(websocket, 'open'), once(websocket, 'close')]);
      websocket.terminate();
    }
  });
}

test('a server that allows no streams is not asked again and again: it is HTTP/1.1', async () => {
  const { port, sessions } = await serve(http2.createServer({ settings: { maxConcurrentStreams: 0 } }));
  let opened = 0;
  const count = setInterval(() => {
    opened = Math.max(opened, sessions.size);
  }, 1);
  cleanups.push(() => clearInterval(count));
  const websocket = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: true, handshakeTimeout: 2_000 });
  await outcome(websocket);
  assert.match(websocket.fallbackReason!, /MAX_CONCURRENT_STREAMS/);
  assert.ok(opened <= 2, `${opened} sessions`);
  await until('no session', () => sessions.size === 0);
});

test('two hundred share a session, through redirects and refusals', async () => {
  const answers: Record<string, [number, string?]> = { '/moved': [302, '/there'], '/no': [401] };
  const { wss, port, sessions } = await serve(http2.createServer(), {
    interceptors: [
      {
        before: async ({ url = '' }) => {
          const [status, location] = answers[url] ?? [];
          if (status === undefined) return undefined;
          return new Response(null, { status, headers: location === undefined ? {} : { location } });
        },
      },
    ],
  });
  let most = 0;
  const all = Array.from({ length: 200 }, (_, i) => {
    const path = i % 10 === 9 ? 'no' : i % 10 === 8 ? 'moved' : 'there';
    const websocket = new WebSocket(`ws://127.0.0.1:${port}/${path}`, { http2: true, followRedirects: true });
    return { websocket, path, end: outcome(websocket) };
  });
  for (const { websocket, path, end } of all) {
    if (path === 'no') {
      assert.deepEqual(await end, { error: 'Unexpected server response: 401', code: 1006 });
    } else if (websocket.readyState !== 1) {
      await once(websocket, 'open');
    }
    assert.equal(websocket.fallbackReason, undefined);
    most = Math.max(most, sessions.size);
  }
  assert.deepEqual([most, wss.clients.size], [1, 180]);
  for (const { websocket } of all) websocket.close();
  await Promise.all(all.map(({ end }) => end));
  await until('no session', () => sessions.size === 0);
});

// In a process of its own, as it would stand still: Node 20 goes round for ever where that is done within a stream's own event.
for (const [what, onClose] of [
  ['ends the session of another', 'here.onClose = () => session.destroy()'],
  [
    'ends the session of another, on the server',
    'there.onClose = () => there.all[1]._socket.session?.destroy()',
  ],
  ['cuts another', 'here.onClose = () => here.all[1].terminate()'],
  ['cuts another, on the server', 'there.onClose = () => there.all[1].terminate()'],
  ['ends another’s stream itself, on the server', 'there.onClose = () => there.all[1]._socket.destroy()'],
  ['is one of a handshake that was reset, and ends the session', 'here.onReset = () => session.destroy()'],
] as const) {
  test(`a listener of close that ${what} stops nobody`, async () => {
    const program = `
      import { once } from 'node:events';
      import http2 from 'node:http2';
      import { WebSocket, WebSocketServer } from ${JSON.stringify(new URL('../../src/ws.ts', import.meta.url).href)};
      const [here, there] = [{ all: [] }, { all: [] }];
      const server = http2.createServer();
      const before = ({ url, stream }) => { if (url === '/reset') { stream.close(2); return new Promise(() => {}); } };
      const wss = new WebSocketServer({ server, interceptors: [{ before }] });
      server.on('stream', (stream) => stream.on('error', () => {}));
      wss.on('connection', (websocket) => {
        there.all.push(websocket);
        websocket.on('close', () => there.onClose?.());
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = 'ws://127.0.0.1:' + server.address().port;
      const session = http2.connect(address.replace('ws', 'http'));
      session.on('error', () => {});
      for (let i = 0; i < 2; i++) {
        const websocket = new WebSocket(address, { http2: session });
        websocket.on('close', () => here.onClose?.());
        await once(websocket, 'open');
        here.all.push(websocket);
      }
      // A stream that is none of ours, neither here nor there.
      session.request({ ':path': '/page' }).on('error', () => {}).resume();
      await once(server, 'stream');
      ${onClose};
      const ended = once(here.all[1], 'close');
      if (here.onReset) new WebSocket(address + '/reset', { http2: session }).on('error', () => {}).on('close', here.onReset);
      else (here.onClose ? there : here).all[0].terminate();
      await ended;
      process.exit(0);`;
    assert.equal(await statusOf(program), 0);
  });
}

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

  test('what is read from a file twice is the same', async () => {
    const { port, sessions } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }));
    const open = async (options: object): Promise<WebSocket> => {
      const websocket = new WebSocket(`wss://localhost:${port}/`, { http2: true, ...options });
      await once(websocket, 'open');
      return websocket;
    };
    const ca = (): Buffer => readFileSync(certificates.caFile);
    const all = [await open({ ca: ca() }), await open({ ca: ca() }), await open({ ca: [ca()] })];
    all.push(await open({ ca: [ca()] }));
    assert.equal(sessions.size, 2);
    all.push(await open({ ca: [ca(), ca()] }), await open({ ca: ca(), servername: 'localhost' }));
    assert.equal(sessions.size, 4);
    for (const each of all) each.terminate();
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

  /** A way to a server, which can be held up: what is said on it then arrives nowhere. */
  async function relay(target: number) {
    const pairs = new Set<Socket[]>();
    const held = new Set<Socket>();
    let holdsNew = false;
    const server = createNetServer((from) => {
      const to = connectNet(target, '127.0.0.1');
      const pair = [from, to];
      pairs.add(pair);
      for (const each of pair) each.on('error', () => {}).on('close', () => cutAll(pair));
      if (holdsNew) held.add(from);
      from.on('data', (chunk) => held.has(from) || to.write(chunk));
      to.on('data', (chunk) => held.has(from) || from.write(chunk));
    });
    const port = await listen(server);
    cleanups.push(() => {
      for (const [from] of pairs) from!.destroy();
      server.close();
    });
    return {
      port,
      hold(): void {
        for (const [from] of pairs) held.add(from!);
      },
      holdNew(isHeld: boolean): void {
        holdsNew = isHeld;
      },
      cut(): void {
        for (const [from] of pairs) from!.destroy();
      },
      get connections(): number {
        return [...pairs].filter(([from]) => !from!.destroyed).length;
      },
    };
  }

  test('a server that does not even answer at first is asked anew, and nothing is left of the attempts', async () => {
    const { port } = await serve(http2.createSecureServer(keys()));
    const way = await relay(port);
    way.holdNew(true);
    const options = { http2: true, ca: certificates.ca, handshakeTimeout: 1_200 };
    const endings = [1, 2, 3].map(() => outcome(new WebSocket(`wss://localhost:${way.port}/`, options)));
    for (const { error } of await Promise.all(endings)) assert.match(error!, /timed out/);
    await until('no connection', () => way.connections === 0);
    way.holdNew(false);
    const websocket = new WebSocket(`wss://localhost:${way.port}/`, options);
    await once(websocket, 'open');
    assert.equal(websocket.fallbackReason, undefined);
    websocket.terminate();
  });

  test('a session that does not answer any more gets no new ones, though others wait on it', async () => {
    const { port } = await serve(http2.createSecureServer(keys()));
    const way = await relay(port);
    const options = { http2: true, ca: certificates.ca, handshakeTimeout: 1_200 };
    const first = new WebSocket(`wss://localhost:${way.port}/`, options);
    await once(first, 'open');
    way.hold();
    const { error } = await outcome(new WebSocket(`wss://localhost:${way.port}/`, options));
    assert.match(error!, /timed out/);
    const next = new WebSocket(`wss://localhost:${way.port}/`, options);
    await once(next, 'open');
    assert.equal(next.fallbackReason, undefined);
    assert.equal(await echoed(next, 'x'), 'x');
    assert.equal(first.readyState, 1);
    for (const each of [first, next]) each.terminate();
  });

  test('a stream that is refused (RFC 9113 §8.7) is asked for elsewhere', async () => {
    const server = http2.createSecureServer({ ...keys(), settings: { enableConnectProtocol: true } });
    let refused = 0;
    server.on('session', (session) =>
      session.prependListener('stream', (stream) => {
        stream.on('error', () => {});
        if (refused++ === 0) stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      }),
    );
    const { port, sessions } = await serve(server);
    const options = { http2: true, ca: certificates.ca };
    const websocket = new WebSocket(`wss://localhost:${port}/`, options);
    await once(websocket, 'open');
    assert.equal(websocket.fallbackReason, undefined);
    assert.equal(refused, 2);
    await until('the other session', () => sessions.size === 1);
    websocket.terminate();
  });

  test('where a server refuses all streams it is HTTP/1.1', async () => {
    const server = http2.createSecureServer({
      ...keys(),
      allowHTTP1: true,
      settings: { enableConnectProtocol: true },
    });
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    });
    const upgrades = new WebSocketServer({ noServer: true });
    server.on('upgrade', (request, socket, head) => upgrades.handleUpgrade(request, socket, head, () => {}));
    const port = await listen(server as unknown as Server);
    cleanups.push(() => {
      for (const each of upgrades.clients) each.terminate();
      server.close();
    });
    const own = http2.connect(`https://localhost:${port}`, { ca: certificates.ca });
    own.on('error', () => {});
    cleanups.push(() => own.destroy());
    for (const http2 of [true, own]) {
      const websocket = new WebSocket(`wss://localhost:${port}/`, { http2, ca: certificates.ca });
      await once(websocket, 'open');
      assert.equal(websocket.fallbackReason, 'the server refuses the stream');
      websocket.terminate();
    }
  });

  test('GOAWAY, a cut and a session that is destroyed while a hundred come: each opens or fails, and the next one opens', async () => {
    const { wss, port, sessions } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }), {
      interceptors: [{ before: () => new Promise((resolve) => setTimeout(resolve, 30)) }],
    });
    const way = await relay(port);
    const options = { http2: true, ca: certificates.ca };
    const harms = [
      () => forAll(sessions, (each) => each.goaway(0)),
      () => forAll(sessions, (each) => each.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM)),
      () => forAll(sessions, (each) => each.close()),
      () => forAll(sessions, (each) => each.destroy()),
      () => way.cut(),
    ];
    for (const harm of harms) {
      const all: WebSocket[] = [];
      const ends: Promise<unknown>[] = [];
      for (let i = 0; i < 100; i++) {
        const websocket = new WebSocket(`wss://localhost:${way.port}/`, options);
        websocket.on('error', () => {});
        ends.push(
          Promise.race([once(websocket, 'open'), new Promise((resolve) => websocket.once('close', resolve))]),
        );
        all.push(websocket);
        if (i === 50) {
          await Promise.race(ends);
          harm();
        }
      }
      await Promise.all(ends);
      const next = new WebSocket(`wss://localhost:${way.port}/`, options);
      await once(next, 'open');
      assert.equal(await echoed(next, 'x'), 'x');
      for (const each of [...all, next]) each.terminate();
      await until('nobody', () => wss.clients.size === 0);
      await until('no session', () => sessions.size === 0);
    }
  });

  test('an agent or createConnection may lead through a proxy: it is HTTP/1.1', async () => {
    const { port } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }));
    const agent = new https.Agent({ ca: certificates.ca });
    cleanups.push(() => agent.destroy());
    const createConnection = (given: object): Socket =>
      connectTls({ ...given, ca: certificates.ca, host: 'localhost', port });
    for (const [options, reason] of [
      [{ agent }, /^an agent/],
      [{ createConnection }, /^createConnection/],
    ] as const) {
      const websocket = new WebSocket(`wss://localhost:${port}/`, {
        http2: true,
        ...options,
        ca: certificates.ca,
      } as never);
      await once(websocket, 'open');
      assert.match(websocket.fallbackReason!, reason);
      websocket.terminate();
    }
  });

  test('a certificate that is not trusted opens nothing', async () => {
    const { wss, port } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }));
    const { error } = await outcome(new WebSocket(`wss://localhost:${port}/`, { http2: true }));
    assert.match(error!, /certificate|signature/);
    assert.equal(wss.clients.size, 0);
  });

  for (const [what, script, path = '/'] of [
    ['closed', `websocket.on('open', () => websocket.close())`],
    ['cut', `websocket.on('open', () => websocket.terminate())`],
    ['given up', `setImmediate(() => websocket.terminate())`],
    ['given up when it is almost there', `websocket.on('upgrade', () => websocket.terminate())`],
    [
      'closed where nobody answers any more',
      `websocket.on('open', () => websocket.send('hold', () => setTimeout(() => websocket.close(), 50)))`,
    ],
    [
      'cut where nobody answers any more',
      `websocket.on('open', () => websocket.send('hold', () => setTimeout(() => websocket.terminate(), 50)))`,
    ],
    ['refused', `websocket.on('open', () => process.exit(9))`, '/no'],
  ] as [string, string, string?][]) {
    test(`a process whose last WebSocket is ${what} ends`, async () => {
      const { wss, port } = await serve(http2.createSecureServer(keys()), {
        interceptors: [
          {
            before: ({ url }) =>
              url === '/no' ? Promise.resolve(new Response('', { status: 401 })) : undefined,
          },
        ],
      });
      const way = await relay(port);
      wss.on('connection', (websocket) => websocket.on('message', () => way.hold()));
      const program = `
        import { readFileSync } from 'node:fs';
        import { WebSocket } from ${JSON.stringify(new URL('../../src/ws.ts', import.meta.url).href)};
        const ca = readFileSync(${JSON.stringify(certificates.caFile)});
        const websocket = new WebSocket('wss://localhost:${way.port}${path}', { http2: true, ca, closeTimeout: 200 });
        websocket.on('error', () => {});
        ${script}`;
      assert.equal(await statusOf(program), 0);
    });
  }

  test('HTTP/1.1 goes on at the same port', async () => {
    const { port, wss } = await serve(http2.createSecureServer({ ...keys(), allowHTTP1: true }));
    const old = new WebSocket(`wss://localhost:${port}/`, { ca: certificates.ca });
    await once(old, 'open');
    assert.equal(await echoed(old, 'x'), 'x');
    assert.equal(wss.clients.size, 1);
    old.terminate();
  });
});
