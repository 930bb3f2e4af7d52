import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { deflateRawSync, constants as zlib } from 'node:zlib';
import { acceptKey } from '../../src/protocol/index.ts';
import { WebSocket } from '../../src/ws.ts';
import { cleanUp, frame, listen, RawPeer } from './support.ts';

/** A message in fragments of 64 bytes; `first` is the opcode, and RSV1 where it says so. */
function inFragments(opcode: number, rsv: number, payload: Buffer, masked: boolean): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < payload.length; at += 64) {
    frames.push(
      frame(at === 0 ? opcode : 0, payload.subarray(at, at + 64), {
        fin: at + 64 >= payload.length,
        rsv: at === 0 ? rsv : 0,
        masked,
      }),
    );
  }
  return Buffer.concat(frames);
}

const MESSAGE = 4 * 1024 * 1024;

test('by default a server takes 4 MiB in 65,536 fragments of 64 bytes: text, binary, compressed', async () => {
  const { wss, port } = await listen({ perMessageDeflate: true });
  const received: [Buffer, boolean][] = [];
  wss.on('connection', (ws) => {
    ws.on('message', (data, isBinary) => {
      received.push([data as Buffer, isBinary]);
      ws.send(String(received.length));
    });
  });
  const peer = await RawPeer.open(port, 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
  const text = Buffer.alloc(MESSAGE, '*');
  const noise = randomBytes(MESSAGE);
  const compressed = deflateRawSync(noise, { level: 0, finishFlush: zlib.Z_SYNC_FLUSH }).subarray(0, -4);
  for (const [i, [opcode, rsv, payload]] of (
    [
      [1, 0, text],
      [2, 0, noise],
      [2, 4, compressed],
    ] as const
  ).entries()) {
    peer.socket.write(inFragments(opcode, rsv, payload, true));
    assert.equal((await peer.frame()).payload.toString(), String(i + 1));
  }
  assert.ok(text.equals(received[0]![0]) && !received[0]![1]);
  assert.ok(noise.equals(received[1]![0]) && noise.equals(received[2]![0]));
});

test('by default a client takes 4 MiB in 65,536 fragments of 64 bytes', async () => {
  const payload = randomBytes(MESSAGE);
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {});
    socket.once('data', (head) => {
      const key = /Sec-WebSocket-Key: (\S+)/i.exec(head.toString('latin1'))![1]!;
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
          `Sec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
      );
      socket.write(inFragments(2, 0, payload, false));
    });
    cleanUp(() => socket.destroy());
  }).listen(0, '127.0.0.1');
  cleanUp(() => server.close());
  await once(server, 'listening');
  const ws = new WebSocket(`ws://127.0.0.1:${(server.address() as { port: number }).port}`);
  cleanUp(() => ws.terminate());
  const [data] = await once(ws, 'message');
  assert.ok(payload.equals(data as Buffer));
});

test('the default bounds fragments all the same: 262,144 are taken, one more is refused with 1008', async () => {
  const { wss, port } = await listen();
  wss.on('connection', (ws) => {
    ws.on('message', (data) => ws.send(String((data as Buffer).length)));
    ws.on('error', () => {});
  });
  const peer = await RawPeer.open(port);
  const empty = Buffer.concat(Array<Buffer>(1024).fill(frame(0, '', { fin: false })));
  const all = Buffer.concat(Array<Buffer>(256).fill(empty)).subarray(6 * 2);
  peer.socket.write(Buffer.concat([frame(2, 'a', { fin: false }), all, frame(0, 'b')]));
  assert.equal((await peer.frame()).payload.toString(), '2');
  peer.socket.write(
    Buffer.concat([frame(2, 'a', { fin: false }), all, frame(0, '', { fin: false }), frame(0)]),
  );
  assert.equal(await peer.closeCode(), 1008);
});

test('skipUTF8Validation: a close reason that is not UTF-8 is answered with the code, and with UTF-8 that fits', async () => {
  const { wss, port } = await listen({ skipUTF8Validation: true });
  const closed: number[] = [];
  const errors: Error[] = [];
  wss.on('connection', (ws) => {
    ws.on('error', (error) => errors.push(error));
    ws.on('close', (code) => closed.push(code));
  });
  for (const reason of [
    Buffer.alloc(123, 0xff),
    Buffer.alloc(42, 0x80),
    Buffer.from([0xf0, 0x9f]),
    Buffer.concat([Buffer.alloc(121, 'a'), Buffer.from([0xe2, 0x82])]),
    Buffer.from('é'.repeat(61)),
  ]) {
    const peer = await RawPeer.open(port);
    peer.socket.write(frame(8, Buffer.concat([Buffer.from([0x0f, 0xa0]), reason])));
    const { opcode, payload } = await peer.frame();
    assert.equal(opcode, 8);
    assert.equal(payload.readUInt16BE(), 4000);
    assert.doesNotThrow(() => new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(2)));
    await peer.closed();
  }
  assert.deepEqual(errors, []);
  assert.deepEqual(closed, Array(5).fill(4000));
});
