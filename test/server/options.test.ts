/** Options that can't be ones are refused when they are given, not when they first matter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { cleanUp, closeFrame, frame, listen, RawPeer } from './support.ts';

const NO_NUMBERS: unknown[] = [Number.NaN, -1, Number.NEGATIVE_INFINITY, '5s', '1000', {}, true];
const NO_CODES: unknown[] = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 4000.5, '4000', Number.NaN];

const milliseconds = ['closeTimeout', 'pingInterval', 'pongTimeout', 'handshakeTimeout'];
const ofServers: Record<string, unknown[]> = {
  ...Object.fromEntries(
    milliseconds.map((name) => [name, [...NO_NUMBERS, 1e99, 2 ** 31, Number.POSITIVE_INFINITY]]),
  ),
  maxBackpressure: [...NO_NUMBERS, 1.5],
  maxHeadBytes: NO_NUMBERS,
  maxHeadFields: NO_NUMBERS,
  maxConnections: NO_NUMBERS,
  maxPayload: [Number.NaN, '5 MB', {}],
  maxFragments: [Number.NaN, 'many'],
  tooSlowCode: NO_CODES,
  pongTimeoutCode: NO_CODES,
  backpressurePolicy: ['dropp', 1],
  others: ['refused', true, null],
};
const ofClients: Record<string, unknown[]> = { ...ofServers, maxRedirects: NO_NUMBERS };
for (const name of ['maxHeadBytes', 'maxHeadFields', 'maxConnections', 'others']) delete ofClients[name];

for (const [name, values] of Object.entries(ofServers)) {
  test(`a server’s ${name} that can’t be one is a RangeError that names it`, () => {
    for (const value of values) {
      assert.throws(
        () => new WebSocketServer({ noServer: true, [name]: value }),
        (error: Error) => error instanceof RangeError && error.message.startsWith(`${name}: `),
        `${name}: ${String(value)}`,
      );
    }
  });
}

for (const [name, values] of Object.entries(ofClients)) {
  test(`a client’s ${name} that can’t be one is a RangeError that names it`, () => {
    for (const value of values) {
      assert.throws(
        () => new WebSocket('ws://127.0.0.1:1', { [name]: value }),
        (error: Error) => error instanceof RangeError && error.message.startsWith(`${name}: `),
        `${name}: ${String(value)}`,
      );
    }
  });
}

test('what can be an option is taken, also in the forms that ws takes', async () => {
  for (const [name, values] of Object.entries({
    closeTimeout: [0, 1, 0.5, 2 ** 31 - 1],
    pingInterval: [0, 100],
    maxBackpressure: [0, 1, Number.POSITIVE_INFINITY],
    maxConnections: [0, 1, Number.POSITIVE_INFINITY],
    tooSlowCode: [1000, 1013, 3000, 4999],
    pongTimeoutCode: [1001, 4408],
    maxPayload: [0, -1, Number.POSITIVE_INFINITY, '1000'],
    maxFragments: [0, -1, Number.POSITIVE_INFINITY, '1000'],
  })) {
    for (const value of [...values, undefined, null]) {
      assert.doesNotThrow(
        () => new WebSocketServer({ noServer: true, [name]: value } as WebSocketServerOptions),
        `${name}: ${value}`,
      );
    }
  }
  for (const [maxPayload, code] of [
    [Number.POSITIVE_INFINITY, 1000],
    [-1, 1000],
    ['3', 1009],
  ] as const) {
    const { port } = await listen({ maxPayload: maxPayload as number });
    const peer = await RawPeer.open(port);
    peer.socket.write(Buffer.concat([frame(1, 'four'), closeFrame(1000)]));
    assert.equal(await peer.closeCode(), code);
  }
});

test('close({ code }) with a code that may not be sent is refused, and the server runs on', async () => {
  const { wss, port } = await listen();
  const peer = await RawPeer.open(port);
  for (const code of NO_CODES) await assert.rejects(wss.close({ code: code as number }), RangeError);
  await assert.rejects(wss.close({ reason: 'x'.repeat(124) }), RangeError);
  for (const value of [...NO_NUMBERS, 1e99] as number[]) {
    await assert.rejects(wss.close({ drain: value }), RangeError);
    await assert.rejects(wss.close({ deadline: value }), RangeError);
  }
  peer.socket.write(frame(9, 'x'));
  assert.equal((await peer.frame()).opcode, 10);
  await RawPeer.open(port);
});

test('close({ deadline }) cuts the clients that have not answered until then, also while draining', async () => {
  for (const drain of [0, 60_000]) {
    const { wss, port } = await listen();
    const codes: number[] = [];
    wss.on('connection', (ws) => ws.on('close', (code) => codes.push(code)));
    // None of them ever answers.
    const peers = await Promise.all(Array.from({ length: 100 }, () => RawPeer.open(port)));
    await until('the clients', () => wss.clients.size === 100);
    await wss.close({ code: 1012, drain, deadline: 50 });
    assert.deepEqual(codes, new Array(100).fill(1006));
    await Promise.all(peers.map((peer) => peer.closed()));
    if (drain === 0) assert.equal(await peers[0]!.closeCode(), 1012);
  }
});

test('close({ deadline }) is done as soon as the clients are', async () => {
  const { wss, port } = await listen();
  const peer = await RawPeer.open(port);
  await until('the client', () => wss.clients.size === 1);
  const closed = wss.close({ deadline: 2 ** 31 - 1 });
  assert.equal(await peer.closeCode(), 1001);
  peer.socket.end(closeFrame(1001));
  await closed;
});

test('maxConnections bounds the connections of a port: one more is cut, and a free place is taken', async () => {
  const { wss, port } = await listen({ maxConnections: 2 });
  const first = await RawPeer.open(port);
  await RawPeer.open(port);
  const third = await RawPeer.connect(port);
  await third.closed();
  assert.equal(third.received.length, 0);
  first.socket.destroy();
  await until('a place', () => wss.clients.size === 1);
  const opened = await until('a connection', async () => RawPeer.open(port).catch(() => undefined));
  cleanUp(() => opened.socket.destroy());
});
