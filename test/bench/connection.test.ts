/** The load generator must notice what a server does wrong, or its figures would praise it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { Connection } from '../../bench/load/connection.ts';
import { buildContent, type Content } from '../../bench/load/content.ts';
import { settle } from '../../bench/load/settle.ts';

interface Serving {
  /** Bytes of each piece. Default: all at once. */
  cut?: number;
  deflate?: boolean;
  /** What it does when it is sent anything more. Default: nothing. */
  next?: 'pong' | 'end';
}

/** A server that shakes hands and then sends `bytes`. */
async function serve(
  t: TestContext,
  bytes: Buffer,
  { cut = Math.max(1, bytes.length), deflate = false, next }: Serving = {},
): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', async (request) => {
      const key = /^Sec-WebSocket-Key: (.*)$/im.exec(request.toString())![1]!.trim();
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${deflate ? 'Sec-WebSocket-Extensions: permessage-deflate\r\n' : ''}\r\n`,
      );
      socket.on('data', () => {
        if (next === 'pong') socket.write(serverFrame(Buffer.alloc(0), 0x8a));
        else if (next === 'end') socket.end();
      });
      socket.setNoDelay(true);
      for (let at = 0; at < bytes.length; at += cut) await written(socket, bytes.subarray(at, at + cut));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function written(socket: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => socket.write(bytes, () => setImmediate(resolve)));
}

function serverFrame(payload: Buffer, first = 0x81): Buffer {
  const header = Buffer.alloc(payload.length < 126 ? 2 : 4);
  header[0] = first;
  if (payload.length < 126) header[1] = payload.length;
  else {
    header[1] = 126;
    header.writeUInt16BE(payload.length, 2);
  }
  return Buffer.concat([header, payload]);
}

/** Resolves with the number of messages received, once there are `expected`; rejects with what was wrong. */
function receive(t: TestContext, content: Content, port: number, expected: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const connection = new Connection(content, {
      port,
      wire: 'websocket',
      deflate: false,
    });
    t.after(() => connection.cut());
    connection.onError = reject;
    connection.onMessages = () => {
      if (connection.received >= expected) resolve(connection.received);
    };
  });
}

for (const size of [20, 125, 200, 3000]) {
  for (const cut of [1, 3, 7, 100, 100_000]) {
    test(`messages of ${size} bytes are recognized in pieces of ${cut} bytes`, async (t) => {
      const content = buildContent('websocket', 'text', size, 1, false);
      const count = size * 4 > 400 && cut < 10 ? 2 : 70;
      const frames = Array.from({ length: count }, (_, i) =>
        serverFrame(content.expected[i & (content.count - 1)]!),
      );
      const ping = serverFrame(Buffer.from('are you there'), 0x89);
      const port = await serve(t, Buffer.concat([ping, ...frames]), { cut });
      assert.equal(await receive(t, content, port, count), count);
    });
  }
}

const content = buildContent('websocket', 'text', 125, 1, false);
const [first, second, third] = content.expected.map((payload) => serverFrame(payload)) as [
  Buffer,
  Buffer,
  Buffer,
];

test('a message out of order is noticed', async (t) => {
  const port = await serve(t, Buffer.concat([first, third, second]));
  await assert.rejects(receive(t, content, port, 3), /lost, doubled or out of order/);
});

test('a doubled message is noticed', async (t) => {
  const port = await serve(t, Buffer.concat([first, first, second]));
  await assert.rejects(receive(t, content, port, 3), /lost, doubled or out of order/);
});

test('a changed byte of a sampled message is noticed', async (t) => {
  const changed = Buffer.from(first);
  changed[100]! ^= 1;
  const port = await serve(t, changed);
  await assert.rejects(receive(t, content, port, 1), /its content has changed/);
});

test('text answered with binary is noticed', async (t) => {
  const port = await serve(t, serverFrame(content.expected[0]!, 0x82));
  await assert.rejects(receive(t, content, port, 1), /not as sent/);
});

test('a masked frame from the server is noticed', async (t) => {
  const masked = Buffer.from(first);
  masked[1]! |= 0x80;
  const port = await serve(t, masked);
  await assert.rejects(receive(t, content, port, 1), /masked/);
});

test('a close frame in the middle is noticed', async (t) => {
  const port = await serve(t, Buffer.concat([first, serverFrame(Buffer.from([3, 0xe9]), 0x88)]));
  await assert.rejects(receive(t, content, port, 2), /the server closed/);
});

test('a close frame that is never answered is noticed', async (t) => {
  const port = await serve(t, first, { next: 'end' });
  await assert.rejects(
    new Promise((_, reject) => {
      const connection = new Connection(content, { port, wire: 'websocket', deflate: false });
      connection.onError = reject;
      connection.onMessages = () => connection.close();
    }),
    /without a close frame/,
  );
});

/** Sends a message over a server that answers with `bytes`, and a ping with a pong, and settles. */
async function settled(t: TestContext, bytes: Buffer, { deflate = false, patience = 60_000 } = {}) {
  const port = await serve(t, bytes, { deflate, next: 'pong' });
  const connection = new Connection(content, { port, wire: 'websocket', deflate, verify: deflate });
  t.after(() => connection.cut());
  return new Promise<void>((resolve, reject) => {
    connection.onError = reject;
    connection.onOpen = () => {
      connection.send(1);
      settle([connection], ({ sent }) => sent, patience).then(resolve, reject);
    };
  });
}

test('a run ends well where each message came once', async (t) => {
  await settled(t, first);
});

test('a message that never comes back is noticed, also the last', async (t) => {
  await assert.rejects(settled(t, Buffer.alloc(0), { patience: 50 }), /1 messages never came/);
});

test('a message too much is noticed, also behind the last', async (t) => {
  await assert.rejects(
    settled(t, Buffer.concat([first, second])),
    /2 messages came on a connection, 1 were due/,
  );
});

test('a server that agrees to compress and never does is noticed', async (t) => {
  await assert.rejects(settled(t, first, { deflate: true }), /nothing was compressed/);
});

test('a compressed message that inflates to something else is noticed', async (t) => {
  const other = deflateRawSync(content.expected[1]!, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
  await assert.rejects(settled(t, serverFrame(other, 0xc1), { deflate: true }), /inflates to something else/);
});

test('a compressed message that is cut short is noticed', async (t) => {
  const half = deflateRawSync(content.expected[0]!.subarray(0, 60), {
    finishFlush: constants.Z_SYNC_FLUSH,
  }).subarray(0, -4);
  await assert.rejects(settled(t, serverFrame(half, 0xc1), { deflate: true }), /0 could be inflated/);
});
