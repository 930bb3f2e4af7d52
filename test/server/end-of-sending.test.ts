/** What is sent around the close frame: everything before it, nothing behind it (RFC 6455 §5.5.1). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { cleanUp, closeFrame, frame, listen, RawPeer } from './support.ts';

async function connected(
  options: Parameters<typeof listen>[0] = {},
): Promise<{ wss: Awaited<ReturnType<typeof listen>>['wss']; ws: WebSocket; peer: RawPeer }> {
  const { wss, port } = await listen(options);
  const accepted = new Promise<WebSocket>((resolve) => wss.once('connection', resolve));
  const peer = await RawPeer.open(port);
  return { wss, ws: await accepted, peer };
}

async function texts(peer: RawPeer): Promise<(string | number)[]> {
  const read: (string | number)[] = [];
  for (;;) {
    const { opcode, payload } = await peer.frame();
    if (opcode === 8) return [...read, payload.length === 0 ? 1005 : payload.readUInt16BE()];
    read.push(payload.toString());
  }
}

test('what was broadcast, published or sent before close() is delivered before the close frame', async () => {
  const { wss, ws, peer } = await connected();
  ws.subscribe('news');
  ws.send('first');
  wss.broadcast('to all');
  wss.publish('news', 'to some');
  ws.close(4000);
  wss.broadcast('too late');
  assert.deepEqual(await texts(peer), ['first', 'to all', 'to some', 4000]);
});

test('what was broadcast before the peer closes is delivered before the answer', async () => {
  const { wss, ws, peer } = await connected();
  ws.on('message', () => wss.broadcast('answer to all'));
  peer.socket.write(Buffer.concat([frame(1, 'question'), closeFrame(1001)]));
  assert.deepEqual(await texts(peer), ['answer to all', 1001]);
});

test('§5.5.1: nothing follows the close frame of a peer for which a broadcast found no room', async () => {
  const { wss, ws, peer } = await connected({ maxBackpressure: 1000, tooSlowCode: 4001 });
  const results: (Error | undefined)[] = [];
  const called = (error?: Error | null): void => void results.push(error ?? undefined);
  let read: (bytes: ArrayBuffer) => void = () => {};
  const slow = new Blob(['x'.repeat(500)]);
  slow.arrayBuffer = () => new Promise((resolve) => (read = resolve));
  ws.send(slow as never);
  // Too much together with the Blob, which shows when it is handed over: before what is sent next.
  wss.broadcast('x'.repeat(900));
  ws.send('', called);
  if (ws.readyState === ws.OPEN) ws.ping('', undefined, called);
  await until('the Blob is read', () => read.length > 0);
  read(new ArrayBuffer(500));
  assert.equal((await peer.frame()).payload.length, 500);
  assert.equal(await peer.closeCode(), 4001);
  peer.socket.write(closeFrame(4001));
  await peer.closed();
  assert.equal(peer.received.length, 0);
  assert.ok(results.length >= 1 && results.every((error) => error instanceof Error));
});

test('a Blob that can not be read, behind one that is slow: its callback and the end, no unhandled rejection', async () => {
  const { ws, peer } = await connected();
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on('unhandledRejection', note);
  cleanUp(() => process.off('unhandledRejection', note));
  let readSlow: (bytes: ArrayBuffer) => void = () => {};
  const slow = new Blob(['slow']);
  slow.arrayBuffer = () => new Promise((resolve) => (readSlow = resolve));
  const broken = new Blob(['broken']);
  broken.arrayBuffer = () => Promise.reject(new Error('unreadable'));
  const called: unknown[] = [];
  ws.on('error', () => {});
  ws.send(slow as never, (error) => void called.push(error ?? 'sent'));
  ws.send(broken as never, (error) => void called.push((error as Error).message));
  // Time enough for the event loop to tell of a rejection that nobody takes.
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
  readSlow(new Uint8Array([1, 2, 3]).buffer);
  await until('both callbacks', () => called.length === 2);
  assert.deepEqual(called.sort(), ['sent', 'unreadable']);
  assert.deepEqual(unhandled, []);
  await peer.closed();
});
