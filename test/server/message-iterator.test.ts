/** `for await (const message of ws)`, and what one can do with an iterator by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { closeFrame, frame, listen, RawPeer } from './support.ts';

async function pair(): Promise<{ peer: RawPeer; ws: WebSocket }> {
  const { wss, port } = await listen();
  const connected = new Promise<WebSocket>((resolve) => wss.on('connection', resolve));
  const peer = await RawPeer.open(port);
  return { peer, ws: await connected };
}

test('calls of next that wait together are answered in their order, and at the end with done', async () => {
  const { peer, ws } = await pair();
  const iterator = ws[Symbol.asyncIterator]();
  const calls = Array.from({ length: 5 }, () => iterator.next());
  peer.socket.write(Buffer.concat([frame(1, 'a'), frame(2, 'b'), frame(1, 'c'), closeFrame(1000)]));
  assert.deepEqual(await Promise.all(calls), [
    { value: 'a', done: false },
    { value: Buffer.from('b'), done: false },
    { value: 'c', done: false },
    { value: undefined, done: true },
    { value: undefined, done: true },
  ]);
  assert.deepEqual(await iterator.next(), { value: undefined, done: true });
});

test('return ends calls of next that wait, drops what has come, and closes the connection', async () => {
  const { peer, ws } = await pair();
  const iterator = ws[Symbol.asyncIterator]();
  const calls = [iterator.next(), iterator.next()];
  assert.deepEqual(await iterator.return!(), { value: undefined, done: true });
  const end = { value: undefined, done: true };
  assert.deepEqual(await Promise.all(calls), [end, end]);
  assert.equal(await peer.closeCode(), 1005);

  const { peer: other, ws: full } = await pair();
  const filled = full[Symbol.asyncIterator]();
  let count = 0;
  full.on('message', () => count++);
  // More than the iterator takes before it pauses.
  other.socket.write(Buffer.concat(Array.from({ length: 100 }, () => frame(1, 'x'))));
  await until('a pause', () => full.isPaused && count > 0);
  await filled.return!();
  assert.deepEqual(await filled.next(), end);
  assert.equal(full.isPaused, false);
  other.socket.write(closeFrame(1000));
  await until('the end', () => full.readyState === full.CLOSED);
});

test('throw closes the connection and rejects with what it is given, an Error or not', async () => {
  for (const error of [new Error('mine'), 'mine', undefined]) {
    const { peer, ws } = await pair();
    const iterator = ws[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await assert.rejects(iterator.throw!(error), (thrown) => thrown === error);
    assert.deepEqual(await waiting, { value: undefined, done: true });
    assert.deepEqual(await iterator.next(), { value: undefined, done: true });
    assert.equal(await peer.closeCode(), 1005);
  }
});

test('an error rejects one call, behind the messages that came before it; after that it is done', async () => {
  for (const waits of [true, false]) {
    const { peer, ws } = await pair();
    const iterator = ws[Symbol.asyncIterator]();
    const calls = waits ? [iterator.next(), iterator.next(), iterator.next()] : [];
    peer.socket.write(Buffer.concat([frame(1, 'a'), frame(3)]));
    if (!waits) {
      await until('the end', () => ws.readyState !== ws.OPEN);
      for (let i = 0; i < 3; i++) calls.push(iterator.next());
    }
    const [first, second, third] = await Promise.allSettled(calls);
    assert.deepEqual(first, { status: 'fulfilled', value: { value: 'a', done: false } });
    assert.equal(second?.status, 'rejected');
    assert.equal((second as PromiseRejectedResult).reason.code, 'WS_ERR_INVALID_OPCODE');
    assert.deepEqual(third, { status: 'fulfilled', value: { value: undefined, done: true } });
  }
});

test('whoever takes messages slowly slows the peer down, and gets them all in order', async () => {
  const { peer, ws } = await pair();
  const total = 1000;
  const bytes = Buffer.concat(Array.from({ length: total }, (_, i) => frame(1, `${i}`)));
  peer.socket.write(Buffer.concat([bytes, closeFrame(1000)]));
  const seen: string[] = [];
  let pauses = 0;
  for await (const message of ws) {
    seen.push(message as string);
    if (ws.isPaused) pauses++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(
    seen,
    Array.from({ length: total }, (_, i) => `${i}`),
  );
  assert.ok(pauses > 0);
});

test('binary messages are Buffers, whatever the binaryType', async () => {
  for (const binaryType of ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const) {
    const { peer, ws } = await pair();
    ws.binaryType = binaryType;
    const iterator = ws[Symbol.asyncIterator]();
    peer.socket.write(Buffer.concat([frame(2, 'bytes'), frame(1, 'text')]));
    const both = await Promise.all([iterator.next(), iterator.next()]);
    assert.deepEqual(
      both.map(({ value }) => value),
      [Buffer.from('bytes'), 'text'],
    );
  }
});

test('an iterator of a closed connection is at its end', async () => {
  const { peer, ws } = await pair();
  peer.socket.destroy();
  await until('the end', () => ws.readyState === ws.CLOSED);
  for await (const message of ws) assert.fail(String(message));
});

test('leaving the loop closes the connection and leaves no listener', async () => {
  const { peer, ws } = await pair();
  peer.socket.write(Buffer.concat([frame(1, 'a'), frame(1, 'b')]));
  for await (const message of ws) {
    assert.equal(message, 'a');
    break;
  }
  assert.equal(await peer.closeCode(), 1005);
  for (const name of ['message', 'error', 'close'] as const) assert.equal(ws.listenerCount(name), 0);
});
