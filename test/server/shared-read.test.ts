import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket as Peer } from 'ws';
import { encodeFrame } from '../../src/protocol/frame-writer.ts';
import { sharedBuffer } from '../../src/server/memory.ts';
import { readTo, shareReads } from '../../src/server/shared-read.ts';
import { WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { until } from '../support/net.ts';

type Kind = 'raw' | 'embedded';
const variants = (['raw', 'embedded'] as const).flatMap((kind) =>
  [true, false].map((sharedReads) => ({ kind, sharedReads, name: `${kind}, sharedReads ${sharedReads}` })),
);

async function serve(
  t: TestContext,
  kind: Kind,
  options: WebSocketServerOptions,
): Promise<{ wss: WebSocketServer; port: number; http: Server | undefined }> {
  const http = kind === 'embedded' ? createServer() : undefined;
  const wss = new WebSocketServer(
    http ? { ...options, server: http } : { ...options, port: 0, host: '127.0.0.1' },
  );
  const listening = once(wss, 'listening');
  http?.listen(0, '127.0.0.1');
  await listening;
  t.after(() => {
    for (const client of wss.clients) client.terminate();
    wss.close();
    http?.close();
  });
  return { wss, http, port: ((http ?? wss).address() as AddressInfo).port };
}

const hash = (data: Buffer) => createHash('sha256').update(data).digest('hex');

for (const { kind, sharedReads, name } of variants) {
  test(`${name}: messages of all sizes come whole, and may be kept`, async (t) => {
    const kept: Buffer[] = [];
    const { port } = await serve(t, kind, {
      sharedReads,
      handler: {
        message(session, data) {
          kept.push(data as Buffer);
          session.send(String((data as Buffer).length));
        },
      },
    });
    const peer = new Peer(`ws://127.0.0.1:${port}`);
    await once(peer, 'open');
    const sizes = [0, 1, 125, 126, 4000, 65_535, 65_536, 131_050, 131_072, 200_000, 3_000_000, 17];
    const sent = sizes.map((size) => randomBytes(size));
    for (const data of sent) peer.send(data);
    await until('all messages', () => kept.length === sent.length);
    assert.deepEqual(kept.map(hash), sent.map(hash));
    peer.terminate();
  });

  test(`${name}: a view may be broadcast: everybody gets what it was, whatever is read before the turn ends`, async (t) => {
    const { wss, port } = await serve(t, kind, {
      sharedReads,
      views: true,
      handler: { message: (_session, data) => wss.broadcast(data) },
    });
    const peers = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const peer = new Peer(`ws://127.0.0.1:${port}`);
        await once(peer, 'open');
        return peer;
      }),
    );
    const got: string[][] = peers.map((peer) => {
      const all: string[] = [];
      peer.on('message', (data) => all.push(hash(data as Buffer)));
      return all;
    });
    const sent = peers.flatMap((_, i) =>
      [100, 5000, 30_000, 300_000].map((size) => Buffer.alloc(size, i + size)),
    );
    // All four at once, so that one turn brings messages of several.
    for (const [i, data] of sent.entries()) peers[i >> 2]!.send(data);
    await until('all to have all', () => got.every((all) => all.length === sent.length));
    const expected = sent.map(hash).sort();
    for (const all of got) assert.deepEqual(all.sort(), expected);
    for (const peer of peers) peer.terminate();
  });

  test(`${name}: an echo of views is right while the peer reads slowly`, async (t) => {
    const { port } = await serve(t, kind, {
      sharedReads,
      views: true,
      handler: { message: (session, data, isBinary) => void session.send(data, { binary: isBinary }) },
    });
    const peers = await Promise.all(
      [1, 2, 3].map(async () => {
        const peer = new Peer(`ws://127.0.0.1:${port}`);
        await once(peer, 'open');
        return peer;
      }),
    );
    await Promise.all(
      peers.map(async (peer) => {
        const sent: string[] = [];
        const got: string[] = [];
        peer.on('message', (data) => got.push(hash(data as Buffer)));
        peer.pause();
        for (let i = 0; i < 60; i++) {
          const data = randomBytes([90_000, 20_000, 300, 400_000][i % 4]!);
          sent.push(hash(data));
          peer.send(data);
        }
        await new Promise((resolve) => setImmediate(resolve));
        peer.resume();
        await until('all echoes', () => got.length === sent.length);
        assert.deepEqual(got, sent);
        peer.terminate();
      }),
    );
  });

  test(`${name}: what comes with the handshake is read first, and addresses stay known`, async (t) => {
    const got: string[] = [];
    const { port, wss } = await serve(t, kind, { sharedReads });
    wss.on('connection', (session, request) => {
      got.push(`from ${request.socket.remoteAddress}`);
      session.on('message', (data) => got.push(String(data)));
    });
    const socket = connect(port, '127.0.0.1');
    const frame = (text: string) => encodeFrame(0x81, Buffer.from(text), 0x01020304);
    socket.write(
      Buffer.concat([
        Buffer.from(
          'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
        ),
        frame('one'),
        frame('two'),
      ]),
    );
    await until('the early messages', () => got.length === 3);
    socket.write(frame('three'));
    await until('the late message', () => got.length === 4);
    assert.deepEqual(got, ['from 127.0.0.1', 'one', 'two', 'three']);
    socket.destroy();
  });

  test(`${name}: pause keeps messages back, resume brings them in order`, async (t) => {
    const { port, wss } = await serve(t, kind, { sharedReads });
    const got: number[] = [];
    const peer = new Peer(`ws://127.0.0.1:${port}`);
    const [session] = await once(wss, 'connection');
    await (peer.readyState === 1 ? undefined : once(peer, 'open'));
    session.on('message', (data: Buffer) => {
      got.push(Number(data));
      if (got.length % 50 === 0) {
        session.pause();
        setImmediate(() => session.resume());
      }
    });
    for (let i = 0; i < 500; i++) peer.send(String(i));
    await until('all messages', () => got.length === 500);
    assert.deepEqual(
      got,
      Array.from({ length: 500 }, (_, i) => i),
    );
    peer.terminate();
  });

  test(`${name}: the server counts its connections, and forgets them when they end`, async (t) => {
    const { port, wss, http } = await serve(t, kind, { sharedReads });
    let told = 0;
    http?.on('connection', (socket) => socket.on('close', () => told++));
    const peer = new Peer(`ws://127.0.0.1:${port}`);
    await once(peer, 'open');
    const count = () =>
      new Promise<number>((resolve) => {
        if (http === undefined) resolve(wss.clients.size);
        else http.getConnections((_error, open) => resolve(open));
      });
    assert.equal(await count(), 1);
    peer.close();
    await once(peer, 'close');
    await until('no connection left', async () => (await count()) === 0);
    if (http !== undefined)
      await until('whoever listened to the accepted socket to be told', () => told === 1);
  });
}

test('with shared reads a view lies in the shared buffer, without them it does not', async (t) => {
  for (const sharedReads of [true, false]) {
    const seen: boolean[] = [];
    const { port } = await serve(t, 'raw', {
      sharedReads,
      views: true,
      handler: {
        message: (_session, data) => void seen.push((data as Buffer).buffer === sharedBuffer.buffer),
      },
    });
    const peer = new Peer(`ws://127.0.0.1:${port}`);
    await once(peer, 'open');
    peer.send('x');
    await until('the message', () => seen.length === 1);
    assert.deepEqual(seen, [sharedReads]);
    peer.terminate();
  }
});

test('this version of Node lets accepted sockets be read into shared memory, on the socket that it gave', async (t) => {
  const server = createTcpServer();
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  t.after(() => client.destroy());
  assert.equal(shareReads(socket), null);
  const got: string[] = [];
  readTo(socket, {
    receiveShared(count) {
      got.push(sharedBuffer.toString('latin1', 0, count));
    },
  });
  socket.resume();
  client.write('first');
  await until('the first read', () => got.length === 1);
  client.write('second');
  await until('the second read', () => got.length === 2);
  assert.deepEqual(got, ['first', 'second']);
  client.end();
  await once(socket, 'end');
});
