import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import Ws from 'ws';
import { WebSocket, WebSocketServer } from '../../src/ws.ts';
import { makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { listenHttp, RawPeer, REQUEST } from './support.ts';

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

test('what is left to other listeners and taken by none is answered with 400 after handshakeTimeout', async () => {
  const { http, port } = await listenHttp();
  const wss = new WebSocketServer({ server: http, path: '/ours', handshakeTimeout: 100 });
  let late: Duplex | undefined;
  http.on('upgrade', (request, socket) => {
    // Takes its time, but has taken it.
    if (request.url === '/slow') {
      socket.on('data', () => {});
      late = socket;
    }
  });
  const [slow, nobody] = [await RawPeer.connect(port), await RawPeer.connect(port)];
  slow.socket.write(requestFor('/slow'));
  nobody.socket.write(requestFor('/nobody'));
  assert.match(await nobody.rest(), /^HTTP\/1\.1 400 /);
  (await until('the slow one is taken', () => late)).end('HTTP/1.1 418 Late\r\n\r\n');
  assert.match(await slow.rest(), /^HTTP\/1\.1 418 /);
  await wss.close({});
  http.close();
});

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
  const certificates = makeCertificates();
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
  certificates.remove();
});
