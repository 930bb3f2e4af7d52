import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import Ws from 'ws';
import { borrow, kept, release, retain, sharedBuffer } from '../../src/server/memory.ts';
import { WebSocketServer } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { listen, listenTls } from './support.ts';

test('memory on loan is at least as long as asked for and less than twice that, from 16 KiB to 4 MiB', () => {
  for (const size of [16_384, 32_768, 32_833, 65_536, 65_546, 1_000_000, 1_048_576, 4 * 1024 * 1024]) {
    const { length } = borrow(size)!;
    assert.ok(length >= size && length <= Math.max(2 * size, 32_768 + 64), `${length} for ${size}`);
  }
  for (const size of [0, 16_383, 4 * 1024 * 1024 + 65, 2 ** 33]) assert.equal(borrow(size), undefined);
});

test('memory is lent again when the last one who needs it has released it, and not before', () => {
  const first = borrow(200_000)!;
  assert.equal(retain(first.subarray(10)), true);
  release(first);
  const second = borrow(200_000)!;
  assert.notEqual(second.buffer, first.buffer);
  release(first.subarray(5));
  assert.equal(borrow(200_000)!.buffer, first.buffer);
});

test('memory that was given back is not given back again by who has kept it', () => {
  const loan = borrow(60_000)!;
  release(loan);
  assert.equal(retain(loan), false);
  const [first, second] = [borrow(60_000)!, borrow(60_000)!];
  assert.equal(first.buffer, loan.buffer);
  assert.notEqual(second.buffer, loan.buffer);
});

test('no more than 8 MiB are kept for later loans', () => {
  const lent = Array.from({ length: 20 }, () => borrow(1024 * 1024)!);
  const memories = new Set(lent.map(({ buffer }) => buffer));
  assert.equal(memories.size, 20);
  for (const one of lent) release(one);
  const again = Array.from({ length: 20 }, () => borrow(1024 * 1024)!);
  const reused = again.filter(({ buffer }) => memories.has(buffer)).length;
  assert.ok(reused >= 1 && reused <= 7, `${reused} of 20`);
});

test('what was read may be kept: a copy where it lies in the shared buffer, or is a small part of what it pins', () => {
  const chunk = Buffer.alloc(16_384, 1);
  for (const [data, isCopied] of [
    [sharedBuffer.subarray(0, 5), true],
    [chunk.subarray(100, 110), true],
    [chunk.subarray(0, 9000), false],
    [chunk, false],
  ] as const) {
    const mine = kept(data);
    assert.ok(mine.equals(data));
    assert.equal(mine.buffer !== data.buffer, isCopied, `${data.length} bytes`);
  }
  assert.equal(retain(chunk), false);
  release(chunk);
});

for (const kind of ['shared reads', 'plain reads', 'TLS'] as const) {
  test(`small messages that are kept pin no read: ${kind}`, async () => {
    const server = kind === 'TLS' ? await listenTls() : undefined;
    const wss = server
      ? new WebSocketServer({ server: server.server })
      : (await listen({ sharedReads: kind === 'shared reads' })).wss;
    const { port } = server ?? (wss.address() as AddressInfo);
    const messages: Buffer[] = [];
    const others: Buffer[] = [];
    wss.on('connection', (ws) => {
      ws.on('message', (data) => messages.push(data as Buffer));
      for (const type of ['ping', 'pong'] as const) ws.on(type, (data) => others.push(data));
    });
    const client = new Ws(`${server ? 'wss' : 'ws'}://127.0.0.1:${port}`, { rejectUnauthorized: false });
    await once(client, 'open');
    // In one read: a message among much that is not kept.
    (client as unknown as { _socket: Socket })._socket.cork();
    for (let i = 0; i < 20; i++) {
      client.send(Buffer.alloc(10, i));
      client.ping(`ping ${i}`);
      client.pong(`pong ${i}`);
      client.send(Buffer.alloc(2000, i));
    }
    (client as unknown as { _socket: Socket })._socket.uncork();
    await until('all', () => messages.length === 40 && others.length === 40);
    for (const [i, data] of [...messages, ...others].entries()) {
      // Buffer's own pool is 8 KiB.
      assert.ok(
        data.buffer.byteLength <= 8192,
        `message ${i} of ${data.length} bytes pins ${data.buffer.byteLength}`,
      );
    }
    assert.ok(messages.every((data, i) => data.equals(Buffer.alloc(i % 2 === 0 ? 10 : 2000, i >> 1))));
    client.terminate();
    await wss.close({});
  });
}
