import assert from 'node:assert/strict';
import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import Ws from 'ws';
import { PreparedMessage, WebSocket, WebSocketServer } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { closeFrame, frame, listen, listenHttp, RawPeer, REQUEST } from './support.ts';

test('the handler is called in place of message events, with a session’s whole life', async () => {
  const calls: unknown[][] = [];
  const { wss, port } = await listen({
    handler: {
      opened: (ws, request) => calls.push(['opened', ws instanceof WebSocket, request.url]),
      message: (ws, data, isBinary) => {
        calls.push(['message', String(data), isBinary]);
        ws.send(data, { binary: isBinary });
      },
      closed: (_ws, code, reason) => calls.push(['closed', code, reason]),
    },
  });
  wss.on('connection', (ws) => ws.on('message', () => assert.fail('the handler has it')));
  const peer = await RawPeer.open(port);
  peer.socket.write(Buffer.concat([frame(1, 'a'), frame(2, 'b'), closeFrame(3000, 'c')]));
  assert.equal(String((await peer.frame()).payload), 'a');
  await until('the end', () => calls.length === 4);
  assert.deepEqual(calls, [
    ['opened', true, '/'],
    ['message', 'a', false],
    ['message', 'b', true],
    ['closed', 3000, 'c'],
  ]);
  await wss.close({});
});

test('a handler that throws ends its own session with 1011, and is told by transportError', async () => {
  const errors: string[] = [];
  const { wss, port } = await listen({
    handler: {
      opened(_ws, request) {
        if (request.url === '/opened') throw new Error('in opened');
      },
      message() {
        throw new Error('in message');
      },
      transportError: (_ws, error) => errors.push(error.message),
    },
  });
  const first = await RawPeer.open(port);
  const second = await RawPeer.open(port);
  first.socket.write(frame(1, 'x'));
  assert.equal(await first.closeCode(), 1011);
  second.socket.write(frame(9, 'still there'));
  assert.equal(String((await second.frame()).payload), 'still there');
  const third = await RawPeer.connect(port);
  third.socket.write(`${REQUEST.replace('GET / ', 'GET /opened ')}\r\n`);
  await third.head();
  assert.equal(await third.closeCode(), 1011);
  assert.deepEqual(errors, ['in message', 'in opened']);
  for (const peer of [first, second, third]) peer.socket.destroy();
  await wss.close({});
});

test('a handler’s transportError is told of a reset, which is no error event', async () => {
  const errors: NodeJS.ErrnoException[] = [];
  const { wss, port } = await listen({ handler: { transportError: (_ws, error) => errors.push(error) } });
  const ended = new Promise<number>((resolve) => wss.on('connection', (ws) => ws.on('close', resolve)));
  const peer = await RawPeer.open(port);
  peer.socket.resetAndDestroy();
  assert.equal(await ended, 1006);
  assert.deepEqual(
    errors.map((error) => error.code),
    ['ECONNRESET'],
  );
  await wss.close({});
});

test('close(callback) is ws’s: no new connections, the old ones go on until they end', async () => {
  const { wss, url, port } = await listen();
  const client = new Ws(url);
  await once(client, 'open');
  const [ws] = wss.clients;
  let isClosed = false;
  wss.close(() => {
    isClosed = true;
  });
  assert.equal(wss.address(), null);
  await assert.rejects(RawPeer.connect(port), { code: 'ECONNREFUSED' });
  ws!.send('still here');
  assert.equal(String((await once(client, 'message'))[0]), 'still here');
  assert.equal(isClosed, false);
  client.close();
  await until('close', () => isClosed);
  const error = await new Promise<Error | undefined>((resolve) => wss.close(resolve));
  assert.equal(error?.message, 'The server is not running');
});

for (const kind of ['port', 'server'] as const) {
  test(`close({ code, reason, drain }) closes all clients, spread over the time, with ${kind}`, async () => {
    const { http, url: httpUrl } = await listenHttp();
    const own = kind === 'port' ? await listen() : undefined;
    const wss = own?.wss ?? new WebSocketServer({ server: http });
    const clients = Array.from({ length: 10 }, () => new Ws(own?.url ?? httpUrl));
    await Promise.all(clients.map((client) => once(client, 'open')));
    await until('all', () => wss.clients.size === 10);
    const codes: string[] = [];
    for (const client of clients) client.on('close', (code, reason) => codes.push(`${code} ${reason}`));
    const sessions = [...wss.clients];
    const closed = wss.close({ code: 1012, reason: 'restart', drain: 300 });
    const left = sessions.filter((session) => session.readyState === WebSocket.OPEN).length;
    assert.ok(left > 0 && left < 10, `not all at once: ${left} left`);
    await closed;
    await until('all', () => codes.length === 10);
    assert.deepEqual(new Set(codes), new Set(['1012 restart']));
    http.close();
  });
}

test('while closing, a handshake is refused with 503', async () => {
  const { http, port } = await listenHttp();
  const wss = new WebSocketServer({ noServer: true });
  http.on('upgrade', (request, socket, head) =>
    wss.handleUpgrade(request, socket, head, () => assert.fail()),
  );
  wss.close();
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}\r\n`);
  assert.match(await peer.rest(), /^HTTP\/1\.1 503 /);
  http.close();
});

test('a header line of the application’s that holds a line end is refused, not sent', async () => {
  const { http, port } = await listenHttp();
  const wss = new WebSocketServer({ noServer: true });
  wss.on('headers', (headers) => headers.push('X-Evil: 1\r\nSet-Cookie: a=1'));
  const thrown = new Promise<Error>((resolve) => {
    http.on('upgrade', (request, socket, head) => {
      try {
        wss.handleUpgrade(request, socket, head, () => assert.fail());
      } catch (error) {
        resolve(error as Error);
      }
    });
  });
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}\r\n`);
  assert.match(String(await thrown), /Not a header line/);
  assert.match(await peer.rest(), /^HTTP\/1\.1 500 /);
  http.close();
});

test('whoever keeps the socket of a request or an upgrade can end the connection by it', async () => {
  const { http, port } = await listenHttp();
  const sockets: Duplex[] = [];
  http.on('connection', (socket) => sockets.push(socket));
  const wss = new WebSocketServer({ server: http });
  const ended = new Promise<number>((resolve) => wss.on('connection', (ws) => ws.on('close', resolve)));
  const peer = await RawPeer.open(port);
  sockets[0]!.destroy();
  assert.equal(await ended, 1006);
  await peer.closed();
  await wss.close({});
  http.close();
});

test('a prepared message is one encoding for all, as text or binary', async () => {
  const { wss, port } = await listen();
  const text = new PreparedMessage('text');
  const binary = new PreparedMessage(Buffer.from('binary'));
  wss.on('connection', (ws) => {
    assert.equal(ws.send(text), 'sent');
    ws.send(binary);
  });
  const peer = await RawPeer.open(port);
  const [first, second] = [await peer.frame(), await peer.frame()];
  assert.deepEqual([first.opcode, String(first.payload)], [1, 'text']);
  assert.deepEqual([second.opcode, String(second.payload)], [2, 'binary']);
  peer.socket.destroy();
  await wss.close({});
});

/** Forty times ten messages of 1000 bytes, each ten in one write: where each was when the handler got it. */
async function memoryOfMessages(views: boolean): Promise<{ at: Buffer[]; texts: string[] }> {
  const at: Buffer[] = [];
  const texts: string[] = [];
  const { wss, port } = await listen({
    views,
    handler: {
      message(_ws, data) {
        at.push(data as Buffer);
        texts.push((data as Buffer).toString('latin1', 0, 8));
      },
    },
  });
  const peer = await RawPeer.open(port);
  for (let round = 0; round < 40; round++) {
    const frames = Array.from({ length: 10 }, (_, i) => frame(2, `${round * 10 + i}`.padEnd(1000)));
    peer.socket.write(Buffer.concat(frames));
    await until('the ten', () => at.length === (round + 1) * 10);
  }
  peer.socket.destroy();
  await wss.close({});
  return { at, texts };
}

/** How many messages lie where they lay on the wire: behind the one before, with their header of 8 bytes between. */
function inPlace(at: Buffer[]): number {
  return at.filter((data, i) => {
    const before = at[i - 1];
    return before?.buffer === data.buffer && data.byteOffset - before.byteOffset === 1000 + 8;
  }).length;
}

test('views: true hands out views without a copy, valid during the call', async () => {
  const { at, texts } = await memoryOfMessages(true);
  assert.deepEqual(
    texts,
    Array.from({ length: 400 }, (_, i) => `${i}`.padEnd(8)),
  );
  // Nine of ten, but where a write came in two pieces.
  assert.ok(inPlace(at) > 200, `${inPlace(at)} of 400 are where they were read`);
});

test('without views each message has memory of its own, which stays as it is', async () => {
  const { at, texts } = await memoryOfMessages(false);
  assert.equal(inPlace(at), 0);
  for (const [i, data] of at.entries()) assert.equal(data.toString('latin1', 0, 8), texts[i]);
});

test('diagnostics channels tell of connections opened, closed, refused and broken', async () => {
  const { wss, port } = await listen();
  const told: string[] = [];
  // Connections of earlier tests may still be ending.
  const own = new Set<unknown>();
  const listeners = ['open', 'close', 'error', 'refused'].map((name) => {
    const events = channel(`tidings:websocket:${name}`);
    const listener = (event: unknown): void => {
      const { websocket, request, code, status, error } = event as {
        websocket?: WebSocket;
        request?: IncomingMessage;
        code?: number;
        status?: number;
        error?: Error;
      };
      if (request?.socket.localPort === port) own.add(websocket);
      if (own.has(websocket)) told.push([name, code ?? status ?? error?.name ?? ''].join(' '));
    };
    events.subscribe(listener);
    return () => events.unsubscribe(listener);
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(frame(3));
  await until('the end of the first', () => told.length === 3);
  const refused = await RawPeer.connect(port);
  refused.socket.write(`${REQUEST.replace('Version: 13', 'Version: 1')}\r\n`);
  await refused.rest();
  await until('four events', () => told.length === 4);
  assert.deepEqual(told, ['open ', 'error ProtocolError', 'close 1006', 'refused 426']);
  for (const stop of listeners) stop();
  await wss.close({});
});
