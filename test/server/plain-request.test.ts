/** RFC 9110 §7.8: what asks for an upgrade that nobody here wants is answered as if it had not asked. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import { PushServer } from '../../src/push/index.ts';
import { SockJsServer } from '../../src/sockjs/index.ts';
import { WebSocketServer } from '../../src/ws.ts';
import { makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { find, needs } from '../support/programs.ts';
import { cleanUp, frame, listen, listenHttp, RawPeer, REQUEST } from './support.ts';

/** What JDK 17's HttpClient and `curl --http2` say with every request to an http: address. */
const H2C =
  'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n' +
  'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n';
const HELLO = 'Content-Length: 5\r\n\r\nhello';

/** Answers with what it was asked, once it has the body; `/slow` only when `release` is called. */
function application(): { listener: RequestListener; release(): void; requests: IncomingMessage[] } {
  let release = (): void => {};
  const isReleased = new Promise<void>((resolve) => {
    release = resolve;
  });
  const requests: IncomingMessage[] = [];
  return {
    listener: async (request, response) => {
      requests.push(request);
      let bytes = 0;
      for await (const chunk of request) bytes += chunk.length;
      if (request.url === '/slow') await isReleased;
      response.end(`[${request.method} ${request.url} ${bytes}]`);
    },
    release,
    requests,
  };
}

const certificates = makeCertificates();
after(() => certificates.remove());

interface Attached {
  port: number;
  http: Server;
  secure: boolean;
  release(): void;
  requests: IncomingMessage[];
}

/** An application's server, with one of ours attached, or all. */
async function attached(what: string, secure = false): Promise<Attached> {
  const { listener, release, requests } = application();
  const tls = { key: readFileSync(certificates.keyFile), cert: readFileSync(certificates.certFile) };
  const { http, port } = await listenHttp(
    secure ? (createSecureServer(tls, listener) as unknown as Server) : createServer(listener),
  );
  if (what === 'WebSocketServer' || what === 'all') {
    const wss = new WebSocketServer({ server: http, path: '/chat' });
    cleanUp(() => void wss.close({}));
  }
  if (what === 'SockJsServer' || what === 'all') {
    const sockjs = new SockJsServer({ server: http, prefix: '/echo', handler: {} });
    cleanUp(() => sockjs.close());
  }
  if (what === 'PushServer' || what === 'all') {
    const push = new PushServer({ server: http, sockjs: { prefix: '/sockjs' } });
    cleanUp(() => void push.close());
    await push.ready;
  }
  return { http, port, secure, release, requests };
}

class Client {
  readonly socket: Socket;
  text = '';
  isEnded = false;

  constructor({ port, secure }: { port: number; secure: boolean }) {
    this.socket = secure ? tlsConnect({ port, rejectUnauthorized: false }) : connect({ port, noDelay: true });
    this.socket.setEncoding('latin1').on('data', (data) => {
      this.text += data;
    });
    this.socket.on('end', () => {
      this.isEnded = true;
    });
    this.socket.on('error', () => {});
    cleanUp(() => this.socket.destroy());
  }

  /** The status lines and the application's answers, once there are `count` of these. */
  async answers(count: number): Promise<string> {
    const found = (): string[] => this.text.match(/\[[^\]]*\]|(?<=HTTP\/1\.1 )\d{3}/g) ?? [];
    await until(
      `${count} answers`,
      () => found().filter((each) => each.startsWith('[')).length >= count || this.isEnded,
    );
    return found().join(' ');
  }
}

const CASES: [what: string, bytes: string, count: number, expected: string][] = [
  ['a GET', `GET /a HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`, 1, '200 [GET /a 0]'],
  ['a POST', `POST /a HTTP/1.1\r\nHost: a\r\n${H2C}${HELLO}`, 1, '200 [POST /a 5]'],
  [
    'a POST in chunks',
    `POST /a HTTP/1.1\r\nHost: a\r\n${H2C}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n`,
    1,
    '200 [POST /a 7]',
  ],
  [
    'a POST of 300 KiB',
    `POST /a HTTP/1.1\r\nHost: a\r\n${H2C}Content-Length: 307200\r\n\r\n${'x'.repeat(307200)}`,
    1,
    '200 [POST /a 307200]',
  ],
  [
    'Expect: 100-continue',
    `POST /a HTTP/1.1\r\nHost: a\r\n${H2C}Expect: 100-continue\r\n${HELLO}`,
    1,
    '100 200 [POST /a 5]',
  ],
  [
    'requests one behind the other',
    ['/a', '/b', '/c'].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`).join('') +
      'GET /d HTTP/1.1\r\nHost: a\r\n\r\n',
    4,
    '200 [GET /a 0] 200 [GET /b 0] 200 [GET /c 0] 200 [GET /d 0]',
  ],
  ['HTTP/1.0', `GET /a HTTP/1.0\r\n${H2C}\r\n`, 1, '200 [GET /a 0]'],
  [
    'a WebSocket in HTTP/1.0',
    `${REQUEST.replace('GET / HTTP/1.1', 'GET /chat HTTP/1.0')}\r\n`,
    1,
    '200 [GET /chat 0]',
  ],
  [
    'other protocols, in several fields and any case',
    'GET /a HTTP/1.1\r\nHost: a\r\nconnection: uPGRADE\r\nUPGRADE: TLS/1.0\r\nupgrade: websockets, IRC/6.9\r\n\r\n',
    1,
    '200 [GET /a 0]',
  ],
  [
    'an address as the target',
    `GET http://a/chat?x HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`,
    1,
    '200 [GET http://a/chat?x 0]',
  ],
  ['one of our own paths', `GET /chat HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`, 1, '200 [GET /chat 0]'],
];

for (const server of ['WebSocketServer', 'SockJsServer', 'PushServer', 'all']) {
  for (const secure of [false, true]) {
    test(`${server} on ${secure ? 'https' : 'http'}: the application answers what asks for another protocol`, async () => {
      const at = await attached(server, secure);
      for (const [what, bytes, count, expected] of CASES) {
        const whole = new Client(at);
        whole.socket.write(bytes, 'latin1');
        assert.equal(await whole.answers(count), expected, what);
      }
    });
  }
}

test('the same where it comes byte by byte', async () => {
  const at = await attached('all');
  for (const [what, bytes, count, expected] of CASES) {
    if (bytes.length > 10_000) continue;
    const client = new Client(at);
    for (const byte of bytes) await new Promise((resolve) => client.socket.write(byte, resolve));
    assert.equal(await client.answers(count), expected, what);
  }
});

test('a connection is kept alive, a hundred requests long, without a listener more', async () => {
  const at = await attached('all');
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  let connections = 0;
  let listeners = 0;
  at.http.on('connection', (socket) => {
    connections++;
    socket.on('close', () => {});
  });
  at.http.on('request', ({ socket }) => {
    listeners = ['close', 'error', 'end', 'data', 'drain', 'timeout'].reduce(
      (sum, name) => sum + socket.listenerCount(name),
      0,
    );
  });
  const client = new Client(at);
  const counts: number[] = [];
  for (let i = 1; i <= 100; i++) {
    client.socket.write(`POST /${i} HTTP/1.1\r\nHost: a\r\n${H2C}${HELLO}`);
    await client.answers(i);
    counts.push(listeners);
  }
  assert.match(await client.answers(100), /\[POST \/100 5\]$/);
  assert.deepEqual([connections, client.isEnded], [1, false]);
  assert.ok(counts[99]! <= counts[1]!, `${counts[1]} listeners, then ${counts[99]}`);
  assert.doesNotMatch(client.text, /connection: close/i);
  process.removeListener('warning', onWarning);
  assert.deepEqual(warnings, []);
});

test('it waits for the answers to the requests before it, and those behind it wait for its own', async () => {
  const at = await attached('all');
  const client = new Client(at);
  client.socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
  client.socket.write(`GET /b HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
  // Where Node reads the body itself, it loses what comes behind it in the same packet, with and without us.
  const isLost = 'shouldUpgradeCallback' in at.http;
  const last = 'GET /d HTTP/1.1\r\nHost: a\r\n\r\n';
  client.socket.write(`POST /c HTTP/1.1\r\nHost: a\r\n${H2C}${HELLO}${isLost ? '' : last}`);
  await until('the slow one', () => at.requests.length >= 2);
  assert.equal(client.text, '');
  at.release();
  if (isLost) {
    await client.answers(4);
    client.socket.write(last);
  }
  assert.equal(
    await client.answers(5),
    '200 [GET /slow 0] 200 [GET /slow 0] 200 [GET /b 0] 200 [POST /c 5] 200 [GET /d 0]',
  );
});

test('a slow answer is waited for, although requests before it were kept alive', async () => {
  const at = await attached('all');
  at.http.keepAliveTimeout = 50;
  const client = new Client(at);
  client.socket.write(`GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
  await client.answers(1);
  // An idle connection is closed meanwhile.
  const idle = new Client(at);
  idle.socket.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
  await until('the end of the idle one', () => idle.isEnded);
  at.release();
  assert.equal(await client.answers(2), '200 [GET /a 0] 200 [GET /slow 0]');
});

test('Connection: close is obeyed beside Upgrade', async () => {
  const at = await attached('all');
  const client = new Client(at);
  client.socket.write('GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n');
  await until('the end', () => client.isEnded);
  assert.equal(await client.answers(1), '200 [GET /a 0]');
});

test('a WebSocket may follow on the same connection', async () => {
  const at = await attached('all');
  const peer = await RawPeer.connect(at.port);
  const request = `${REQUEST.replace('GET / ', 'GET /chat ')}\r\n`;
  peer.socket.write(
    Buffer.concat([Buffer.from(`GET /a HTTP/1.1\r\nHost: a\r\n${H2C}\r\n${request}`), frame(9, 'ping')]),
  );
  assert.match(await peer.head(), /^HTTP\/1\.1 200 /);
  await until('the body', () => peer.received.includes(']'));
  peer.received = peer.received.subarray(peer.received.indexOf(']') + 1);
  assert.match(await peer.head(), /^HTTP\/1\.1 101 /);
  assert.equal((await peer.frame()).opcode, 10);
});

test('a client that leaves while it waits leaves nothing behind', async () => {
  const at = await attached('all');
  const client = new Client(at);
  client.socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
  client.socket.write(`GET /b HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
  await until('the slow one', () => at.requests.length === 1);
  client.socket.resetAndDestroy();
  await until('its end', () => at.requests[0]!.socket.destroyed);
  at.release();
  const next = new Client(at);
  next.socket.write(`GET /c HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
  assert.equal(await next.answers(1), '200 [GET /c 0]');
  assert.deepEqual(
    at.requests.map(({ url }) => url),
    ['/slow', '/c'],
  );
});

test('SockJS over HTTP by a client that always asks for h2c', async () => {
  const at = await attached('all');
  const ask = async (path: string, body: string): Promise<string> => {
    const client = new Client(at);
    client.socket.write(
      `POST /echo/000/h2c/${path} HTTP/1.1\r\nHost: a\r\n${H2C}Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until('an answer', () => client.text.includes('\r\n\r\n'));
    return client.text;
  };
  assert.match(await ask('xhr', ''), /^HTTP\/1\.1 200 .*o\n/s);
  assert.match(await ask('xhr_send', '["a"]'), /^HTTP\/1\.1 204 /);
});

test('a request that may have lost fields, as there are so many, is refused with 431', async () => {
  const at = await attached('WebSocketServer');
  for (const count of [996, 1_010]) {
    const client = new Client(at);
    client.socket.write(
      `POST /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n${'a:b\r\n'.repeat(count)}` +
        `Content-Length: 33\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`,
    );
    await until('an answer', () => client.text.includes('\r\n\r\n'));
    if (count > 1_000) assert.match(client.text, /^HTTP\/1\.1 431 /);
  }
  assert.ok(at.requests.every(({ url }) => url !== '/smuggled'));
});

for (const when of ['before', 'after'] as const) {
  test(`another protocol goes to those who listen for it: ${when} us`, async () => {
    const { http, port } = await listenHttp(createServer(application().listener));
    const serve = (): void => {
      http.on('upgrade', (request, socket) => {
        if (request.headers.upgrade === 'h2c') socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\nh2c');
      });
    };
    if (when === 'before') serve();
    const wss = new WebSocketServer({ server: http });
    wss.on('connection', (ws) => ws.send('ours'));
    if (when === 'after') serve();
    const client = new Client({ port, secure: false });
    client.socket.write(`GET /a HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
    await until('the end', () => client.isEnded);
    assert.match(client.text, /^HTTP\/1\.1 101 .*h2c$/s);
    await RawPeer.open(port);
    for (const each of wss.clients!) each.terminate();
    await wss.close({});
  });
}

for (const fields of [
  'Upgrade: websocket, h2c\r\n',
  'Upgrade: h2c,WebSocket\r\n',
  'Upgrade: h2c\r\nUpgrade: websocket\r\n',
]) {
  test(`websocket among others is a WebSocket: ${fields.trimEnd().replace('\r\n', ' and ')}`, async () => {
    const { http, port } = await listenHttp();
    const shared = new WebSocketServer({ server: http });
    const own = await listen();
    for (const at of [port, own.port]) {
      const peer = await RawPeer.connect(at);
      peer.socket.write(`${REQUEST.replace('Upgrade: websocket\r\n', fields)}\r\n`);
      assert.match(await peer.head(), /^HTTP\/1\.1 101 /);
    }
    for (const client of shared.clients!) client.terminate();
    await shared.close({});
  });
}

/** A WebSocket that is for nobody here. */
const ELSEWHERE: [what: string, bytes: string, expected: string][] = [
  ['a handshake', `${REQUEST.replace('GET / ', 'GET /elsewhere ')}\r\n`, '200 [GET /elsewhere 0]'],
  ['one with a body', `${REQUEST.replace('GET / ', 'POST /elsewhere ')}${HELLO}`, '200 [POST /elsewhere 5]'],
  [
    'one of several protocols, in chunks',
    `${REQUEST.replace('GET / ', 'PUT /elsewhere ').replace('Upgrade: websocket', 'Upgrade: h2c, websocket')}` +
      'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    '200 [PUT /elsewhere 3]',
  ],
];

for (const secure of [false, true]) {
  test(`beside a PushServer the application answers a WebSocket that is for nobody: ${secure ? 'https' : 'http'}`, async () => {
    const at = await attached('PushServer', secure);
    for (const [what, bytes, expected] of ELSEWHERE) {
      const client = new Client(at);
      client.socket.write(bytes);
      assert.equal(await client.answers(1), expected, what);
      // The connection goes on.
      client.socket.write('GET /b HTTP/1.1\r\nHost: a\r\n\r\n');
      assert.equal(await client.answers(2), `${expected} 200 [GET /b 0]`, what);
    }
  });
}

test('one for a path of ours is refused there as ever, whatever its method', async () => {
  const at = await attached('PushServer');
  for (const [bytes, status] of [
    [`${REQUEST.replace('GET / ', 'GET /socketServer ')}\r\n`, 401],
    [`${REQUEST.replace('GET / ', 'POST /socketServer ')}${HELLO}`, 405],
    [`${REQUEST.replace('GET / ', 'GET /sockjs/nothing ')}\r\n`, 404],
  ] as const) {
    const client = new Client(at);
    client.socket.write(bytes);
    await until('an answer', () => client.text.includes('\r\n\r\n'));
    assert.ok(client.text.startsWith(`HTTP/1.1 ${status} `), client.text);
  }
  assert.equal(at.requests.length, 0);
});

test('beside a WebSocketServer it gets 400, as from ws, unless all say `others: ignore`', async () => {
  const mixed = await attached('all');
  const { http, port } = await listenHttp(createServer(application().listener));
  for (const path of ['/a', '/b']) {
    const wss = new WebSocketServer({ server: http, path, others: 'ignore' });
    cleanUp(() => void wss.close({}));
  }
  const [, bytes] = ELSEWHERE[0]!;
  const refused = new Client(mixed);
  refused.socket.write(bytes);
  await until('an answer', () => refused.isEnded);
  assert.match(refused.text, /^HTTP\/1\.1 400 /);
  const answered = new Client({ port, secure: false });
  answered.socket.write(bytes);
  assert.equal(await answered.answers(1), '200 [GET /elsewhere 0]');
});

test('where the application listens for upgrades it is its own, whoever came first', async () => {
  for (const isFirst of [true, false]) {
    const { http, port } = await listenHttp(createServer(application().listener));
    const serve = (): void =>
      void http.on('upgrade', (request, socket) => {
        // Later, as one that asks somebody first.
        if (request.url === '/elsewhere') setImmediate(() => socket.end('HTTP/1.1 101 Mine\r\n\r\n'));
      });
    if (isFirst) serve();
    const push = new PushServer({ server: http, sockjs: { prefix: '/sockjs' } });
    cleanUp(() => void push.close());
    if (!isFirst) serve();
    const client = new Client({ port, secure: false });
    client.socket.write(ELSEWHERE[0]![1]);
    await until('the end', () => client.isEnded);
    assert.equal(client.text, 'HTTP/1.1 101 Mine\r\n\r\n');
  }
});

test('a server that closes lets idle connections go that had asked for an upgrade', async () => {
  const at = await attached('all');
  const client = new Client(at);
  client.socket.write(`GET /a HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
  await client.answers(1);
  at.http.close();
  at.http.closeIdleConnections();
  await until('the end', () => client.isEnded);
});

test('a body that never ends is cut by the server’s own limit', async () => {
  const { http, port } = await listenHttp(
    createServer(
      { requestTimeout: 300, headersTimeout: 300, connectionsCheckingInterval: 50 },
      (request) => void request.resume().on('error', () => {}),
    ),
  );
  const push = new PushServer({ server: http });
  cleanUp(() => void push.close());
  const client = new Client({ port, secure: false });
  client.socket.write(`POST /a HTTP/1.1\r\nHost: a\r\n${H2C}Content-Length: 5\r\n\r\nhel`);
  await until('the end', () => client.isEnded);
  assert.match(client.text, /^HTTP\/1\.1 408 /);
});

test('once ours are gone, and before they come, requests are what they were', async () => {
  const { listener } = application();
  const { http, port } = await listenHttp(createServer(listener));
  const before = Object.getOwnPropertyNames(http).sort();
  const early = new Client({ port, secure: false });
  early.socket.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
  await early.answers(1);
  const wss = new WebSocketServer({ server: http });
  // A connection that is older than ours.
  early.socket.write(`GET /b HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
  assert.equal(await early.answers(2), '200 [GET /a 0] 200 [GET /b 0]');
  await wss.close({});
  assert.deepEqual(Object.getOwnPropertyNames(http).sort(), before);
  early.socket.write(`GET /c HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`);
  assert.match(await early.answers(3), /\[GET \/c 0\]$/);
});

test('on a port of ours it gets what a plain request gets', async () => {
  const { port } = await listen();
  const push = new PushServer({ port: 0, host: '127.0.0.1' });
  cleanUp(() => void push.close());
  await push.ready;
  const ports = [port, (push.address() as AddressInfo).port];
  for (const [method, body] of [
    ['GET', '\r\n'],
    ['POST', HELLO],
    ['POST', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'],
    ['PUT', `Content-Length: 300000\r\n\r\n${'x'.repeat(300_000)}`],
  ] as const) {
    for (const at of ports) {
      const texts: string[] = [];
      for (const fields of ['', H2C]) {
        const client = new Client({ port: at, secure: false });
        client.socket.write(`${method} / HTTP/1.1\r\nHost: a\r\n${fields}${body}`);
        await until('the end', () => client.isEnded);
        texts.push(client.text);
      }
      assert.match(texts[0]!, /^HTTP\/1\.1 426 Upgrade Required\r\n/);
      assert.equal(texts[0], texts[1], `${method} ${body.slice(0, 20)}`);
    }
  }
});

test('on a port of ours the handler of requests gets it, with what follows', async () => {
  const { port } = await listen({
    request: (request, socket) => {
      socket.once('data', (data) => socket.end(`${request.method} ${request.url} ${data}`)).resume();
    },
  });
  for (const fields of ['', H2C]) {
    const client = new Client({ port, secure: false });
    client.socket.write(`POST /a HTTP/1.1\r\nHost: a\r\n${fields}${HELLO}`);
    await until('the end', () => client.isEnded);
    assert.equal(client.text, 'POST /a hello');
  }
});

test('curl --http2 gets what curl --http1.1 gets', needs('curl'), async () => {
  const { port } = await attached('all');
  for (const args of [[], ['-d', 'hello'], ['-T', import.meta.filename], ['-I']]) {
    const ask = async (version: string): Promise<string> => {
      const url = `http://127.0.0.1:${port}/a`;
      const { stdout } = await promisify(execFile)(find('curl')!, [
        '-s',
        `--http${version}`,
        ...args,
        url,
        url,
      ]);
      return stdout.replaceAll(/^Date: .*$/gm, '');
    };
    assert.equal(await ask('2'), await ask('1.1'), args.join(' '));
  }
});
