import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { type Duplex, PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import Ws from 'ws';
import { SockJsServer } from '../../src/sockjs/index.ts';
import { WebSocket, WebSocketServer } from '../../src/ws.ts';
import { makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { cleanUp, listenHttp, RawPeer, REQUEST } from './support.ts';

function requestFor(path: string): string {
  return `${REQUEST.replace('GET / ', `GET ${path} `)}\r\n`;
}

async function hello(url: string): Promise<string> {
  const client = new Ws(url);
  const [data] = await once(client, 'message');
  client.terminate();
  return String(data);
}

test('several servers share one http.Server by path, and its requests go on as before', async () => {
  const { http, url, port } = await listenHttp(createServer((_request, response) => response.end('page')));
  const servers = ['/a', '/b'].map((path) => {
    const wss = new WebSocketServer({ server: http, path });
    wss.on('connection', (ws) => ws.send(path));
    return wss;
  });
  assert.equal(await hello(`${url}/a`), '/a');
  assert.equal(await hello(`${url}/b?x=y`), '/b');
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/a`)).text(), 'page');
  await Promise.all(servers.map((wss) => wss.close({})));
  http.close();
});

test('a path that nobody serves is answered with 400, as ws does, and ended', async () => {
  const { http, port } = await listenHttp();
  const wss = new WebSocketServer({ server: http, path: '/a' });
  const peer = await RawPeer.connect(port);
  peer.socket.write(requestFor('/b'));
  assert.match(await peer.rest(), /^HTTP\/1\.1 400 /);
  await wss.close({});
  http.close();
});

test('other upgrade listeners get what is not ours, and what they serve is left alone', async () => {
  const { http, port, url } = await listenHttp();
  const wss = new WebSocketServer({ server: http, path: '/ours' });
  wss.on('connection', (ws) => ws.send('ours'));
  http.on('upgrade', (request, socket) => {
    if (request.url === '/theirs') socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\ntheirs');
  });
  const peer = await RawPeer.connect(port);
  peer.socket.write(requestFor('/theirs'));
  assert.match(await peer.rest(), /theirs$/);
  assert.equal(await hello(`${url}/ours`), 'ours');
  await wss.close({});
  http.close();
});

/** Ways to take a socket from an `upgrade` event. Each returns what says something on it, much later. */
const takers: Record<string, (socket: Socket, head: Buffer) => (text: string) => void> = {
  'answers and listens': (socket) => {
    socket.write(SWITCHED);
    socket.on('data', () => {});
    return (text) => socket.end(text);
  },
  'says nothing, but listens': (socket) => {
    socket.on('readable', () => socket.read());
    return (text) => socket.end(SWITCHED + text);
  },
  'keeps the socket and nothing else': (socket) => (text) => socket.end(SWITCHED + text),
  'answers and never listens': (socket) => {
    socket.write(SWITCHED);
    return (text) => socket.end(text);
  },
  'takes it in a later turn': (socket) => {
    setImmediate(() => socket.write(SWITCHED));
    return (text) => socket.end(text);
  },
  'keeps only the file handle': (socket) => {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    return (text) => {
      // Over TLS it is no use to anybody.
      if (fd > 0 && !('encrypted' in socket)) writeSync(fd, SWITCHED + text);
      else socket.write(SWITCHED + text);
      socket.end();
    };
  },
  'pipes it elsewhere, as proxies do': (socket, head) => {
    const [ours, theirs] = [new PassThrough(), new PassThrough()];
    ours.write(head);
    socket.pipe(ours);
    theirs.pipe(socket);
    theirs.write(SWITCHED);
    return (text) => theirs.end(text);
  },
};
const SWITCHED = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

const certificates = makeCertificates();
after(() => certificates.remove());

for (const [when, listens] of [
  ['before us', (http: Server, take: Listener) => void http.on('upgrade', take)],
  ['before us, once', (http: Server, take: Listener) => void http.once('upgrade', take)],
  ['after us', (http: Server, take: Listener) => void setImmediate(() => http.on('upgrade', take))],
  ['after us, once', (http: Server, take: Listener) => void setImmediate(() => http.once('upgrade', take))],
] as const) {
  for (const secure of [false, true]) {
    test(`a socket that somebody has taken is never touched: listens ${when}${secure ? ', over TLS' : ''}`, async () => {
      for (const [name, take] of Object.entries(takers)) {
        const tls = { key: readFileSync(certificates.keyFile), cert: readFileSync(certificates.certFile) };
        const { http, port } = await listenHttp(
          secure ? (createSecureServer(tls) as unknown as Server) : createServer(),
        );
        let say: ((text: string) => void) | undefined;
        listens(http, (request, socket, head) => {
          if (request.url === '/theirs') say = take(socket as Socket, head);
        });
        const wss = new WebSocketServer({
          server: http,
          path: '/ours',
          handshakeTimeout: 50,
          // Whoever is given a time would be given as much as a handshake.
          interceptors: [{ before: () => new Promise(() => {}) }],
        });
        const sockjs = new SockJsServer({ server: http, prefix: '/echo', handler: {} });
        await new Promise(setImmediate);
        const theirs = await exchange(port, secure, `${requestFor('/theirs')}head`);
        const later = await until('it is taken', () => say);
        const ours = await exchange(port, secure, requestFor('/ours'));
        assert.match(await ours.all(), /^HTTP\/1\.1 503 /);
        later('late');
        assert.equal(await theirs.all(), `${SWITCHED}late`, name);
        sockjs.close();
        await wss.close({});
        http.close();
      }
    });
  }
}

test('what somebody before us has answered is theirs, also where the path is ours', async () => {
  const { http, port, url } = await listenHttp();
  let taken: Duplex | undefined;
  http.on('upgrade', (request, socket) => {
    if (request.headers.cookie !== 'theirs') return;
    socket.write(SWITCHED);
    taken = socket;
  });
  const wss = new WebSocketServer({ server: http });
  wss.on('connection', (ws) => ws.send('ours'));
  const theirs = await exchange(
    port,
    false,
    requestFor('/').replace('\r\n\r\n', '\r\nCookie: theirs\r\n\r\n'),
  );
  assert.equal(await hello(url), 'ours');
  await wss.close({});
  http.close();
  (await until('it is taken', () => taken)).end('late');
  assert.equal(await theirs.all(), `${SWITCHED}late`);
});

type Listener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** Sends the bytes; `all` is what comes back until the end. */
async function exchange(port: number, secure: boolean, bytes: string): Promise<{ all(): Promise<string> }> {
  const socket = secure ? tlsConnect({ port, rejectUnauthorized: false }) : connect({ port });
  let text = '';
  let isEnded = false;
  socket.setEncoding('latin1').on('data', (data) => {
    text += data;
  });
  socket.on('end', () => {
    isEnded = true;
  });
  socket.on('error', () => {});
  cleanUp(() => socket.destroy());
  await once(socket, secure ? 'secureConnect' : 'connect');
  socket.write(bytes);
  return {
    async all() {
      await until('the end', () => isEnded);
      return text;
    },
  };
}

test('a client that resets a connection which nobody takes does not end the process', async () => {
  const { http, port, url } = await listenHttp();
  const wss = new WebSocketServer({ server: http, path: '/ours' });
  wss.on('connection', (ws) => ws.send('ours'));
  const left = new Promise<void>((resolve) => {
    http.on('upgrade', (request, socket) => {
      if (request.url === '/nobody') socket.on('close', () => resolve());
    });
  });
  const peer = await RawPeer.connect(port);
  peer.socket.write(requestFor('/nobody'));
  await once(http, 'upgrade');
  peer.socket.resetAndDestroy();
  await left;
  assert.equal(await hello(`${url}/ours`), 'ours');
  await wss.close({});
  http.close();
});

test('a server that is closed leaves no listener behind', async () => {
  const { http } = await listenHttp();
  const before = http.eventNames().map((name) => [name, http.listenerCount(name)]);
  const first = new WebSocketServer({ server: http, path: '/a' });
  const second = new WebSocketServer({ server: http });
  await first.close({});
  assert.equal(http.listenerCount('upgrade'), 1);
  await second.close({});
  assert.deepEqual(
    http.eventNames().map((name) => [name, http.listenerCount(name)]),
    before,
  );
  http.close();
});

test('https: the same over TLS, with frames of every size, both clients', async () => {
  const [key, cert] = [readFileSync(certificates.keyFile), readFileSync(certificates.certFile)];
  const { http, port } = await listenHttp(
    createSecureServer({ key, cert }) as unknown as ReturnType<typeof createServer>,
  );
  const wss = new WebSocketServer({ server: http });
  let secure: unknown;
  wss.on('connection', (ws, request) => {
    secure = (request.socket as { encrypted?: boolean }).encrypted;
    ws.on('message', (data) => {
      ws.send(String(data));
      ws.send(String(data));
    });
  });
  for (const Client of [Ws as unknown as typeof WebSocket, WebSocket]) {
    const client = new Client(`wss://127.0.0.1:${port}`, { ca: certificates.ca });
    await once(client, 'open');
    for (const size of [0, 10, 200, 20_000, 200_000]) {
      const answers: number[] = [];
      client.on('message', (data) => answers.push(String(data).length));
      client.send('x'.repeat(size));
      while (answers.length < 2) await once(client, 'message');
      assert.deepEqual(answers, [size, size]);
      client.removeAllListeners('message');
    }
    client.close();
    await once(client, 'close');
  }
  assert.equal(secure, true);
  await wss.close({});
  http.close();
});
