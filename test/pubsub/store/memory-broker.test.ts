/** What is the memory broker's own: stores that are shared or not, and the order of what is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { until } from '../../support/net.ts';
import { entryOf, options, positions, Recorder } from './broker-suite.ts';

test('brokers of one store are instances of one system; others know nothing of them', async () => {
  const store = new MemoryStore();
  const [a, b, stranger] = [memoryBroker(store), memoryBroker(store), memoryBroker()];
  const [ra, rb, rs] = [new Recorder(), new Recorder(), new Recorder()];
  await Promise.all([a.open(ra), b.open(rb), stranger.open(rs)]);
  for (const broker of [a, b, stranger]) await broker.subscribe('c');
  await a.publish('c', 'text', Buffer.from('x'), options());
  await until('both to be told', () => ra.messages.length === 1 && rb.messages.length === 1);
  assert.equal((await positions(stranger, ['c']))[0]!.offset, 0);
  assert.equal(rs.messages.length, 0);
  await a.close();
  await b.publish('c', 'text', Buffer.from('y'), options());
  await until('the second message', () => rb.messages.length === 2);
  assert.equal(ra.messages.length, 1);
  await Promise.all([b.close(), stranger.close()]);
});

test('a listener that publishes in turn does not get ahead of what it answers', async () => {
  const store = new MemoryStore();
  const [a, b] = [memoryBroker(store), memoryBroker(store)];
  const rb = new Recorder();
  const answering = new Recorder();
  answering.message = (message) => {
    if (message.offset < 5) void a.publish('c', 'text', Buffer.from('answer'), options());
  };
  await Promise.all([a.open(answering), b.open(rb)]);
  await Promise.all([a.subscribe('c'), b.subscribe('c')]);
  await a.publish('c', 'text', Buffer.from('first'), options());
  await until('the answers', () => rb.messages.length === 5);
  assert.deepEqual(
    rb.messages.map((m) => m.offset),
    [1, 2, 3, 4, 5],
  );
  await Promise.all([a.close(), b.close()]);
});

test('the caller may use its buffer again', async () => {
  const broker = memoryBroker();
  await broker.open(new Recorder());
  const buffer = Buffer.from('before');
  await broker.publish('c', 'text', buffer, options());
  buffer.write('after!');
  assert.equal((await entryOf(broker, 'c', 1))?.payload.toString(), 'before');
  await broker.close();
});
