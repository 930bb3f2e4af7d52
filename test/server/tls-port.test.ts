/** A port of one's own with TLS: HTTP/2 and HTTP/1.1 beside each other, its certificate, its bounds and its end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2, { type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import https from 'node:https';
import { type AddressInfo, connect as netConnect } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { PushServer, queryUser } from '../../src/index.ts';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { echoed } from './support.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('a port of one’s own with TLS', needs('openssl'), () => {
  let certificates: Certificates;
  let tls: { cert: Buffer; key: Buffer };
  before(() => {
    certificates = makeCertificates();
    tls = pairOf(certificates);
  });
  after(() => certificates.remove());

  const pairOf = ({ certFile, keyFile }: Certificates) => ({
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
  });

  async function start(options: Partial<WebSocketServerOptions> = {}) {
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', tls, ...options });
    await once(wss, 'listening');
    const versions: string[] = [];
    wss.on('connection', (websocket, request) => {
      versions.push(request.httpVersion);
      websocket.on('error', () => {});
      websocket.on('message', (data, isBinary) => websocket.send(data as Buffer, { binary: isBinary }));
    });
    const { port } = wss.address() as AddressInfo;
    cleanups.push(() => {
      for (const websocket of wss.clients) websocket.terminate();
      wss.close();
    });
    return { wss, port, versions };
  }

  async function open(port: number, options: object = {}): Promise<WebSocket> {
    const websocket = new WebSocket(`wss://localhost:${port}/a?b`, { ca: certificates.ca, ...options });
    cleanups.push(() => websocket.terminate());
    await once(websocket, 'open');
    return websocket;
  }

  function session(port: number): ClientHttp2Session {
    const own = http2.connect(`https://localhost:${port}`, { ca: certificates.ca });
    own.on('error', () => {});
    cleanups.push(() => own.destroy());
    return own;
  }

  /** @param body goes with what may have one */
  async function answerTo(own: ClientHttp2Session, headers: Record<string, string>, body = '') {
    const hasBody = headers[':method'] === 'POST';
    const stream = own.request(headers, { endStream: headers[':method'] !== 'CONNECT' && !hasBody });
    stream.on('error', () => {}).resume();
    if (hasBody) stream.end(body);
    let answer: IncomingHttpHeaders | undefined;
    stream.on('response', (headers) => {
      answer = headers;
    });
    await once(stream, 'close');
    assert.ok(answer, 'there is an answer');
    return answer;
  }

  test('HTTP/2, HTTP/1.1 by ALPN, and HTTP/1.1 of who has no ALPN', async () => {
    const { port, versions } = await start({ perMessageDeflate: true });
    const ways = [{ http2: true }, {}, { ALPNProtocols: [] }];
    for (const options of ways) {
      const websocket = await open(port, options);
      assert.equal(websocket.fallbackReason, undefined);
      for (const text of ['x', 'y'.repeat(300_000)]) assert.equal(await echoed(websocket, text), text);
    }
    assert.deepEqual(versions, ['2.0', '1.1', '1.1']);
  });

  test('with http2: false there is none, and a client says why', async () => {
    const { port, versions } = await start({ http2: false });
    assert.match((await open(port, { http2: true })).fallbackReason!, /\S/);
    assert.deepEqual(versions, ['1.1']);
  });

  test('RFC 8441 §3: settings say that it takes WebSockets, how many, and how long a head may be', async () => {
    const { port } = await start({ maxStreams: 7, maxHeadBytes: 2000, maxHeadFields: 10 });
    const own = session(port);
    await once(own, 'remoteSettings');
    const { enableConnectProtocol, maxConcurrentStreams, maxHeaderListSize } = own.remoteSettings;
    assert.deepEqual([enableConnectProtocol, maxConcurrentStreams], [true, 7]);
    assert.ok(maxHeaderListSize! >= 2000 && maxHeaderListSize! < 3000);
    const standard = session((await start()).port);
    await once(standard, 'remoteSettings');
    assert.equal(standard.remoteSettings.maxConcurrentStreams, 1000);
  });

  test('what asks for no WebSocket is answered, and the session goes on', async () => {
    const { port } = await start();
    const own = session(port);
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST']) {
      const answer = await answerTo(own, { ':method': method, ':path': '/a' }, 'x'.repeat(100_000));
      assert.deepEqual([answer[':status'], answer['allow']], [405, 'CONNECT'], method);
    }
    const others: Record<string, string>[] = [
      { ':protocol': 'connect-udp', ':path': '/' },
      { ':authority': 'a.example:443' },
    ];
    for (const more of others)
      assert.equal((await answerTo(own, { ':method': 'CONNECT', ...more }))[':status'], 501);
    assert.equal(await echoed(await open(port, { http2: own }), 'x'), 'x');
  });

  test('a renewed certificate is shown from then on, and what is none changes nothing', async () => {
    const { wss, port } = await start();
    const others = makeCertificates();
    cleanups.push(() => others.remove());
    const first = await open(port, { http2: true });
    assert.throws(() => wss.setSecureContext({ cert: 'none', key: tls.key }));
    assert.equal(await echoed(await open(port), 'x'), 'x');
    wss.setSecureContext(pairOf(others));
    for (const options of [{}, { http2: true }]) {
      const websocket = new WebSocket(`wss://localhost:${port}/`, {
        ca: certificates.ca,
        agent: new https.Agent(),
        rejectUnauthorized: true,
        ...options,
        servername: 'localhost',
      });
      const [error] = await once(websocket, 'error');
      assert.match((error as Error).message, /certificate|signature/);
      assert.equal(await echoed(await open(port, { ca: others.ca, ...options }), 'y'), 'y');
    }
    assert.equal(await echoed(first, 'still'), 'still');
  });

  test('what is no certificate, such as the name of its file, is told as that wherever it is given', async () => {
    const why = {
      name: 'TypeError',
      message: /^tls: cert and key can't be used \(they are what PEM files hold, not their names\): ./,
    };
    const others = makeCertificates();
    const names = { cert: 'server.pem', key: 'server.key' };
    for (const bad of [names, { ...tls, key: pairOf(others).key }]) {
      for (const more of [{}, { http2: false }, { sockjs: { prefix: '/sockjs' } }]) {
        const make = () =>
          new PushServer({ port: 0, tls: bad, interceptors: [queryUser('operator')], ...more });
        assert.throws(make, why);
      }
      assert.throws(() => new WebSocketServer({ port: 0, tls: bad }), why);
    }
    const wss = new WebSocketServer({ port: 0, tls });
    const push = new PushServer({ port: 0, tls, interceptors: [queryUser('operator')], log: () => {} });
    try {
      assert.throws(() => wss.setSecureContext(names), why);
      await push.ready;
      await assert.rejects(push.reload({ tls: names }), why);
    } finally {
      others.remove();
      wss.close();
      await push.close();
    }
  });

  test('setSecureContext is refused where no port of its own speaks TLS, and tls without a port', async () => {
    const plain = new WebSocketServer({ port: 0 });
    cleanups.push(() => plain.close());
    assert.throws(() => plain.setSecureContext(tls), /no port of its own/);
    assert.throws(() => new WebSocketServer({ noServer: true, tls }), /"tls" is for a "port"/);
    assert.throws(() => new WebSocketServer({ port: 0, tls: { ...tls, key: 'none' } }));
    assert.throws(() => new WebSocketServer({ port: 0, tls, maxStreams: -1 }), RangeError);
    assert.throws(() => new PushServer({ tls, log: () => {} }), /`port` of its own/);
  });

  test('who says nothing is cut: before TLS, behind it, and a session without a stream', async () => {
    const { port } = await start({ handshakeTimeout: 200 });
    const sockets = [
      netConnect(port, '127.0.0.1'),
      tlsConnect({ port, ca: certificates.ca, servername: 'localhost' }),
      tlsConnect({ port, ca: certificates.ca, servername: 'localhost', ALPNProtocols: ['h2'] }),
    ];
    for (const socket of sockets) socket.on('error', () => {}).resume();
    const own = session(port);
    const used = await open(port, { http2: session(port) });
    await Promise.all([...sockets.map((each) => once(each, 'close')), once(own, 'close')]);
    assert.equal(await echoed(used, 'x'), 'x');
  });

  test('close leaves the clients alone, cuts who has not come in yet, and sessions end with their last stream', async () => {
    const { wss, port } = await start();
    const own = session(port);
    const [first, second] = [await open(port, { http2: own }), await open(port)];
    const idle = session(port);
    await once(idle, 'remoteSettings');
    const strangers = [
      netConnect(port, '127.0.0.1'),
      tlsConnect({ port, ca: certificates.ca, servername: 'localhost' }),
    ];
    await once(strangers[1]!, 'secureConnect');
    for (const socket of strangers) socket.on('error', () => {}).resume();
    const goaway = once(own, 'goaway');
    const closed = new Promise<void>((resolve) => {
      wss.close(() => resolve());
    });
    await Promise.all([goaway, once(idle, 'close'), ...strangers.map((each) => once(each, 'close'))]);
    for (const each of [first, second]) {
      assert.equal(await echoed(each, 'still'), 'still');
      each.close();
    }
    await Promise.all([closed, once(own, 'close')]);
  });

  test('close with options says 1001 by both', async () => {
    const { wss, port } = await start();
    const all = [await open(port, { http2: true }), await open(port, { http2: true }), await open(port)];
    const codes = Promise.all(all.map(async (each) => (await once(each, 'close'))[0]));
    await wss.close({ code: 1001 });
    assert.deepEqual(await codes, [1001, 1001, 1001]);
  });

  for (const hasSockJs of [false, true]) {
    test(`PushServer, ${hasSockJs ? 'with' : 'without'} SockJS: both versions, a certificate taken anew, the end`, async () => {
      const push = new PushServer({
        port: 0,
        host: '127.0.0.1',
        tls,
        ...(hasSockJs && { sockjs: { prefix: '/sockjs' } }),
        interceptors: [queryUser('user')],
        log: () => {},
      });
      await push.ready;
      cleanups.push(() => push.close());
      const { port } = push.address() as AddressInfo;
      const own = session(port);
      const url = `wss://localhost:${port}/socketServer?user=alice`;
      const pages: WebSocket[] = [];
      const seen: string[] = [];
      for (const options of [{ http2: own }, {}]) {
        const page = new WebSocket(url, { ca: certificates.ca, ...options });
        page.on('message', (data) => seen.push(String(data)));
        await once(page, 'open');
        assert.equal(page.fallbackReason, undefined);
        pages.push(page);
      }
      await until('both sessions', () => [...push.localSessions()].length === 2);
      await push.send('alice', 'x'.repeat(100_000));
      await until('both', () => seen.length === 2);
      assert.equal((await answerTo(own, { ':path': '/socketServer' }))[':status'], 405);
      if (hasSockJs) {
        assert.equal((await answerTo(own, { ':path': '/sockjs/info' }))[':status'], 200);
        assert.equal((await answerTo(own, { ':path': '/nothing' }))[':status'], 404);
        const [response] = await once(
          https.get(`https://localhost:${port}/sockjs/info`, { ca: certificates.ca }),
          'response',
        );
        assert.equal(response.resume().statusCode, 200);
      }
      const others = makeCertificates();
      cleanups.push(() => others.remove());
      await assert.rejects(push.reload({ tls: { cert: 'none', key: 'none' } }));
      await push.reload({ tls: pairOf(others) }, { trial: true });
      pages.push(new WebSocket(url, { ca: certificates.ca }));
      await once(pages[2]!, 'open');
      await push.reload({ tls: pairOf(others) });
      const page = new WebSocket(url, { ca: others.ca, http2: true });
      await once(page, 'open');
      assert.equal(page.fallbackReason, undefined);
      pages.push(page);
      const ends = Promise.all(pages.map((each) => once(each, 'close')));
      await push.close();
      await ends;
      await until('its session', () => own.destroyed);
    });
  }

  test('limits of sessions count streams, not connections', async () => {
    const push = new PushServer({
      port: 0,
      host: '127.0.0.1',
      tls,
      interceptors: [queryUser('user')],
      limits: { sessionsPerAddress: 3, sessionsPerUser: 2 },
      log: () => {},
    });
    await push.ready;
    cleanups.push(() => push.close());
    const { port } = push.address() as AddressInfo;
    const own = session(port);
    const page = (user: string): WebSocket =>
      new WebSocket(`wss://localhost:${port}/socketServer?user=${user}`, { http2: own });
    const first = page('alice');
    const ended = once(first, 'close');
    await once(first, 'open');
    for (const user of ['alice', 'alice']) await once(page(user), 'open');
    // Of one user too many: the oldest goes.
    assert.equal((await ended)[0], 4509);
    await until('its place', () => [...push.localSessions()].length === 2);
    await once(page('bob'), 'open');
    const [error] = await once(page('carol'), 'error');
    assert.match((error as Error).message, /429/);
    assert.equal([...push.localSessions()].length, 3);
  });

  test('TLS can not be added to a running server', async () => {
    const push = new PushServer({ port: 0, host: '127.0.0.1', log: () => {} });
    await push.ready;
    cleanups.push(() => push.close());
    await assert.rejects(push.reload({ tls }), /from the start/);
  });
});
