import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInZlibQueue } from '../../src/protocol/zlib-queue.ts';

test('no more than the limit are at work; who waits comes in order', () => {
  const started: number[] = [];
  const ends: (() => void)[] = [];
  for (let i = 0; i < 6; i++) {
    runInZlibQueue(2, (done) => {
      started.push(i);
      ends.push(done);
    });
  }
  assert.deepEqual(started, [0, 1]);
  ends[1]!();
  assert.deepEqual(started, [0, 1, 2]);
  ends[0]!();
  ends[2]!();
  assert.deepEqual(started, [0, 1, 2, 3, 4]);
  ends[3]!();
  ends[4]!();
  ends[5]!();
  assert.deepEqual(started, [0, 1, 2, 3, 4, 5]);
});
