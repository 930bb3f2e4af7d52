/** A handler in place of events: whose memory its messages are, and what becomes of a handler that fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { createWebSocketStream, type Handler, type RawData, type WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { frame, listen, RawPeer } from './support.ts';

const SIZES = [1, 10, 125, 126, 5_000, 70_000, 300_000];
/** Messages of different bytes, which the memory of one would show if it were that of another. */
const messages = SIZES.flatMap((size, i) => [Buffer.alloc(size, 65 + i), Buffer.alloc(size, 97 + i)]);

async function bytesOf(data: RawData | Blob | string): Promise<Buffer> {
  if (data instanceof Blob) return Buffer.from(await data.arrayBuffer());
  if (data instanceof ArrayBuffer) return Buffer.from(data);
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
}

function compressed(data: Buffer): Buffer {
  return frame(2, deflateRawSync(data, { finishFlush: 2 }).subarray(0, -4), { rsv: 4 });
}

const handlers: [name: string, handler: Handler<WebSocket> | undefined][] = [
  ['without a handler', undefined],
  ['a handler of nothing', {}],
  ['a handler of the rest of a session', { opened() {}, closed() {}, transportError() {} }],
];
for (const sharedReads of [true, false]) {
  for (const perMessageDeflate of [false, true]) {
    for (const [name, handler] of handlers) {
      const where = `views, ${name}, sharedReads ${sharedReads}, deflate ${perMessageDeflate}`;
      test(`${where}: what listeners get is theirs`, async () => {
        const options = { views: true, handler, sharedReads, perMessageDeflate };
        const header = perMessageDeflate ? 'Sec-WebSocket-Extensions: permessage-deflate\r\n' : '';
        const bytes = messages.map((data) => (perMessageDeflate ? compressed(data) : frame(2, data)));
        for (const binaryType of ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const) {
          const { wss, port } = await listen(options);
          const kept: RawData[] = [];
          wss.on('connection', (ws) => {
            ws.binaryType = binaryType;
            ws.on('message', (data) => kept.push(data));
          });
          const peer = await RawPeer.open(port, header);
          peer.socket.write(Buffer.concat(bytes));
          await until('the messages', () => kept.length === messages.length);
          for (const [i, data] of kept.entries()) {
            assert.ok((await bytesOf(data)).equals(messages[i]!), `${binaryType}, message ${i}`);
          }
        }
      });
    }
  }

  test(`views and partial, sharedReads ${sharedReads}: the pieces that listeners get are theirs`, async () => {
    for (const handler of [undefined, { message() {} }]) {
      const { wss, port } = await listen({ views: true, partial: true, handler, sharedReads });
      const kept: Buffer[] = [];
      let ends = 0;
      wss.on('connection', (ws) =>
        ws.on('fragment', (data, _isBinary, isLast) => {
          kept.push(data);
          if (isLast) ends++;
        }),
      );
      const peer = await RawPeer.open(port);
      peer.socket.write(Buffer.concat(messages.map((data) => frame(2, data))));
      await until('the messages', () => ends === messages.length);
      assert.ok(Buffer.concat(kept).equals(Buffer.concat(messages)));
    }
  });

  test(`views, sharedReads ${sharedReads}: what an iterator and a stream hold is theirs`, async () => {
    const { wss, port } = await listen({ views: true, sharedReads });
    const iterated: Buffer[] = [];
    const streamed: Buffer[] = [];
    wss.on('connection', async (ws, request) => {
      if (request.url === '/') createWebSocketStream(ws).on('data', (chunk) => streamed.push(chunk));
      for await (const message of ws) iterated.push(message as Buffer);
    });
    const peer = await RawPeer.open(port);
    peer.socket.write(Buffer.concat(messages.map((data) => frame(2, data))));
    await until('the messages', () => iterated.length === messages.length);
    assert.ok(Buffer.concat(iterated).equals(Buffer.concat(messages)));
    await until('the stream', () => Buffer.concat(streamed).equals(Buffer.concat(messages)));
  });
}

test('a handler whose message is taken away later leaves no views to listeners', async () => {
  const handler: Handler<WebSocket> = { message() {} };
  const { wss, port } = await listen({ views: true, handler });
  const kept: RawData[] = [];
  wss.on('connection', (ws) => ws.on('message', (data) => kept.push(data)));
  const peer = await RawPeer.open(port);
  delete handler.message;
  peer.socket.write(frame(2, 'first'));
  await until('a message', () => kept.length === 1);
  peer.socket.write(frame(2, 'other'));
  await until('another', () => kept.length === 2);
  assert.deepEqual(kept.map(String), ['first', 'other']);
});

const boom = (): never => {
  throw new Error('mine');
};
for (const [how, fail] of [
  ['throws', boom],
  ['rejects', async () => boom()],
] as const) {
  for (const method of ['opened', 'message', 'fragment'] as const) {
    test(`a handler whose ${method} ${how} is told nothing more but the end, with 1011`, async () => {
      const told: string[] = [];
      const tell =
        (name: string, also: () => unknown = () => undefined) =>
        (...args: unknown[]): unknown => {
          told.push(args[1] instanceof Error ? `${name} ${args[1].message}` : name);
          return also();
        };
      const handler = {
        opened: tell('opened', method === 'opened' ? fail : undefined),
        message: tell('message', method === 'message' ? fail : undefined),
        fragment: tell('fragment', method === 'fragment' ? fail : undefined),
        transportError: tell('transportError'),
        closed: tell('closed'),
      };
      const { wss, port } = await listen({
        handler: handler as Handler<WebSocket>,
        partial: method === 'fragment',
      });
      const peer = await RawPeer.open(port);
      const piece = frame(1, 'a');
      // One read, or one for each: the first fails, and a hundred wait behind it.
      peer.socket.write(piece);
      peer.socket.write(Buffer.concat(Array.from({ length: 100 }, () => piece)));
      assert.equal(await peer.closeCode(), 1011);
      const upToThen = told.length;
      peer.socket.write(Buffer.concat([piece, frame(9, 'ping'), piece]));
      peer.socket.end(frame(8, Buffer.from([0x03, 0xf3])));
      await until('the end', () => wss.clients.size === 0);
      assert.deepEqual(told.slice(upToThen), ['closed']);
      assert.equal(told.filter((each) => each === 'transportError mine').length, 1);
      if (how === 'throws') {
        const expected = method === 'opened' ? ['opened'] : ['opened', method];
        assert.deepEqual(told, [...expected, 'transportError mine', 'closed']);
      }
    });
  }
}

test('what one session’s handler throws is no other session’s end', async () => {
  const { port } = await listen({
    handler: {
      async message(ws, data) {
        if (String(data) === 'bad') boom();
        ws.send(data);
      },
    },
  });
  const [bad, good] = [await RawPeer.open(port), await RawPeer.open(port)];
  bad.socket.write(frame(1, 'bad'));
  assert.equal(await bad.closeCode(), 1011);
  good.socket.write(frame(1, 'good'));
  assert.equal(String((await good.frame()).payload), 'good');
});
