import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  createServer as createHttp2Server,
  connect as http2Connect,
} from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import Ws from 'ws';
import { Heartbeat, type Pulse } from '../../src/server/heartbeat.ts';
import { connectionOf } from '../../src/server/websocket.ts';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { cleanUp, frame, listen, listenTls, RawPeer, REQUEST } from './support.ts';

const alive = setInterval(() => {}, 1000);
test.after(() => clearInterval(alive));

test('a silent peer is pinged, and closed with 4408 when it stays so', async () => {
  const { wss, port } = await listen({ pingInterval: 100 });
  const closed = new Promise<[number, string]>((resolve) => {
    wss.on('connection', (ws) => ws.on('close', (code, reason) => resolve([code, String(reason)])));
  });
  const peer = await RawPeer.open(port);
  let last = await peer.frame();
  let pings = 0;
  while (last.opcode === 9) {
    pings++;
    last = await peer.frame();
  }
  assert.ok(pings >= 2, `${pings} pings`);
  assert.equal(last.opcode, 8);
  assert.equal(last.payload.readUInt16BE(0), 4408);
  assert.deepEqual(await closed, [4408, 'heartbeat timeout']);
  await peer.closed();
  await wss.close({});
});

test('a peer that answers stays, and so does one that only talks', async () => {
  const { wss, port, url } = await listen({ pingInterval: 60 });
  const answering = new WebSocket(url);
  let pings = 0;
  answering.on('ping', () => pings++);
  const talking = await RawPeer.open(port);
  const talk = setInterval(() => talking.socket.write(frame(10)), 10);
  await until('ten pings', () => pings >= 10);
  clearInterval(talk);
  assert.equal(wss.clients.size, 2);
  answering.terminate();
  talking.socket.destroy();
  await wss.close({});
});

test('a client with pingInterval finds out that its server is gone', async () => {
  const { wss, url } = await listen({ autoPong: false });
  const client = new WebSocket(url, { pingInterval: 50, pongTimeout: 50 });
  const code = await new Promise((resolve) => client.on('close', resolve));
  assert.equal(code, 4408);
  await wss.close({});
});

for (const kind of ['plain', 'views', 'compressed', 'over TLS', 'on a stream of HTTP/2'] as const) {
  test(`an application that pauses is not cut as silent: ${kind}`, async () => {
    const { wss, client } = await served(kind, { pingInterval: 40 });
    const [ws] = (await once(wss, 'connection')) as [WebSocket];
    const codes: number[] = [];
    ws.on('close', (code) => codes.push(code));
    const messages: string[] = [];
    ws.on('message', (data) => messages.push(String(data)));
    await once(client, 'open');
    ws.pause();
    client.send('while it is paused');
    // As long as it takes to give up ten of them that do not answer.
    for (let lost = 0; lost < 10; lost++) await aSilentPeerIsCut();
    assert.deepEqual(codes, []);
    ws.resume();
    await until('the message', () => messages.length === 1);
    client.terminate();
    await wss.close({});
  });
}

for (const kind of ['plain', 'views', 'over TLS', 'on a stream of HTTP/2'] as const) {
  test(`nor one that pauses the socket itself: ${kind}`, async () => {
    const { wss, client } = await served(kind, { pingInterval: 40 });
    const [ws] = (await once(wss, 'connection')) as [WebSocket];
    const messages: string[] = [];
    ws.on('message', (data) => messages.push(String(data)));
    await once(client, 'open');
    ws._socket!.pause();
    client.send('while it is paused');
    for (let lost = 0; lost < 10; lost++) await aSilentPeerIsCut();
    assert.equal(ws.readyState, WebSocket.OPEN);
    ws._socket!.resume();
    await until('the message', () => messages.length === 1);
    client.terminate();
    await wss.close({});
  });
}

for (const [what, options] of [
  ['without a heartbeat', {}],
  ['with one', { pingInterval: 10_000 }],
] as const) {
  for (const when of ['before', 'while'] as const) {
    test(`a timeout that the application has set on the socket ${when} it waits for a slow peer stays: ${what}`, async () => {
      const { wss, socket: peer } = await rawServed('plain', options);
      const ws = await until('the connection', () => [...wss.clients][0]);
      const socket = ws._socket as Socket;
      let timeouts = 0;
      const set = (): Socket => socket.setTimeout(400, () => timeouts++);
      if (when === 'before') set();
      const drained = once(ws, 'drain');
      ws.send(Buffer.alloc(20_000_000));
      // As the heartbeat does when it finds the peer silent.
      if ('pingInterval' in options) assert.equal(connectionOf(ws)!.excuse(100_000), true);
      if (when === 'while') set();
      peer.removeAllListeners('readable');
      peer.resume();
      await drained;
      assert.equal(socket.timeout, 400);
      timeouts = 0;
      await until('the timeout', () => timeouts > 0);
      assert.equal(ws.readyState, WebSocket.OPEN);
      peer.destroy();
      await wss.close({});
    });
  }
}

for (const kind of ['plain', 'over TLS', 'on a stream of HTTP/2'] as const) {
  test(`a peer that reads slowly is not cut while it makes progress, one that is stuck is: ${kind}`, async () => {
    const { wss, socket } = await rawServed(kind, { pingInterval: 200 });
    const ws = await until('the connection', () => [...wss.clients][0]);
    let code: number | undefined;
    ws.on('close', (with_) => {
      code = with_;
    });
    let received = 0;
    // One long message, which takes many times as long as a silent peer is given.
    ws.send(Buffer.alloc(200_000_000));
    const reading = setInterval(() => {
      for (let taken = 0; taken < 200_000; ) {
        const chunk = socket.read() as Buffer | null;
        if (chunk === null) break;
        taken += chunk.length;
        received += chunk.length;
      }
    }, 10);
    cleanUp(() => clearInterval(reading));
    for (let lost = 0; lost < 2; lost++) await aSilentPeerIsCut(200);
    assert.equal(code, undefined, `cut after ${received} bytes`);
    assert.ok(received > 0 && ws.bufferedAmount > 0, `${received} bytes, ${ws.bufferedAmount} left`);
    clearInterval(reading);
    // It takes nothing more.
    assert.equal(await until('it is cut', () => code), 4408);
    socket.destroy();
    await wss.close({});
  });
}

for (const size of [1, 20_000, 1_000_000]) {
  test(`on a stream of HTTP/2 one that takes nothing is cut, with ${size} bytes for it beyond its window`, async () => {
    const { wss, socket } = await rawServed('on a stream of HTTP/2', { pingInterval: 60 });
    const ws = await until('the connection', () => [...wss.clients][0]);
    let code: number | undefined;
    ws.on('close', (with_) => {
      code = with_;
    });
    for (let left = 65_535 + size; left > 0; left -= 10_000) ws.send(Buffer.alloc(Math.min(left, 10_000)));
    assert.equal(await until('it is cut', () => code), 4408);
    socket.destroy();
    await wss.close({});
  });
}

test('a message that comes slowly, in bits of a frame, keeps the connection', async () => {
  const { wss, port } = await listen({ pingInterval: 60 });
  const peer = await RawPeer.open(port);
  const ws = await until('the connection', () => [...wss.clients][0]);
  const bytes = frame(1, 'x'.repeat(1000));
  let at = 0;
  const trickle = setInterval(() => {
    if (at < bytes.length) peer.socket.write(bytes.subarray(at, ++at));
  }, 10);
  cleanUp(() => clearInterval(trickle));
  for (let lost = 0; lost < 4; lost++) await aSilentPeerIsCut();
  assert.equal(ws.readyState, WebSocket.OPEN);
  clearInterval(trickle);
  peer.socket.destroy();
  await wss.close({});
});

/** A measure of time: a peer that does not answer has come and been given up. */
async function aSilentPeerIsCut(pingInterval = 60): Promise<void> {
  const { wss, port } = await listen({ pingInterval });
  const closed = new Promise((resolve) => wss.on('connection', (ws) => ws.on('close', resolve)));
  await RawPeer.open(port);
  await closed;
  await wss.close({});
}

async function served(
  kind: 'plain' | 'views' | 'compressed' | 'over TLS' | 'on a stream of HTTP/2',
  options: WebSocketServerOptions,
): Promise<{ wss: WebSocketServer; client: Ws | WebSocket }> {
  if (kind === 'on a stream of HTTP/2') {
    const { wss, session, url } = await overHttp2(options);
    return { wss, client: new WebSocket(url, { http2: session }) };
  }
  if (kind === 'over TLS') {
    const { server, port } = await listenTls();
    const wss = new WebSocketServer({ server, ...options });
    return { wss, client: new Ws(`wss://127.0.0.1:${port}`, { rejectUnauthorized: false }) };
  }
  const more = kind === 'compressed' ? { perMessageDeflate: { threshold: 0 } } : { views: kind === 'views' };
  const { wss, url } = await listen({ ...options, ...more });
  return { wss, client: new Ws(url) };
}

async function overHttp2(
  options: WebSocketServerOptions,
): Promise<{ wss: WebSocketServer; session: ClientHttp2Session; url: string }> {
  const server = createHttp2Server();
  const wss = new WebSocketServer({ server, ...options });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const session = http2Connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  cleanUp(() => {
    session.destroy();
    server.close();
  });
  await once(session, 'remoteSettings');
  return { wss, session, url: `ws://127.0.0.1:${port}` };
}

/** A peer that reads nothing by itself. */
async function rawServed(
  kind: 'plain' | 'over TLS' | 'on a stream of HTTP/2',
  options: WebSocketServerOptions,
): Promise<{ wss: WebSocketServer; socket: Duplex }> {
  if (kind === 'on a stream of HTTP/2') {
    const { wss, session } = await overHttp2(options);
    const fields = { ':method': 'CONNECT', ':protocol': 'websocket', 'sec-websocket-version': '13' };
    const socket = session.request(fields, { endStream: false });
    socket.on('error', () => {});
    socket.on('readable', () => {});
    return { wss, socket };
  }
  if (kind === 'plain') {
    const { wss, port } = await listen(options);
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(`${REQUEST}\r\n`);
    socket.on('readable', () => {});
    return { wss, socket };
  }
  const { server, port } = await listenTls();
  const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  socket.on('error', () => {});
  socket.write(`${REQUEST}\r\n`);
  socket.on('readable', () => {});
  return { wss: new WebSocketServer({ server, ...options }), socket };
}

test('every member is visited once in a round, however many there are', async () => {
  const heartbeat = new Heartbeat(100, 100);
  const pings = new Map<Pulse, number>();
  const lost: Pulse[] = [];
  const members = Array.from({ length: 1000 }, () => {
    const member: Pulse = {
      silence: 0,
      excuse: () => false,
      ping: () => pings.set(member, (pings.get(member) ?? 0) + 1),
      pulseLost: () => {
        lost.push(member);
        heartbeat.delete(member);
      },
    };
    heartbeat.add(member);
    return member;
  });
  await until('all are given up', () => lost.length === members.length);
  assert.equal(new Set(lost).size, members.length);
  assert.deepEqual(new Set(pings.values()), new Set([2]), 'two pings were missed');
  assert.equal(heartbeat.size, 0);
});
