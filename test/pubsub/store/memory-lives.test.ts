import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryLives } from '../../../src/pubsub/store/memory-lives.ts';

test('what is not kept any more, or is gone, holds no key and does not expire', () => {
  const lives = new MemoryLives();
  for (let offset = 1; offset <= 6; offset++) lives.add(offset, `key ${offset}`, 1000 + offset);
  lives.add(7, 'key 6', undefined);
  lives.trim(3);
  assert.equal(lives.offsetOf('key 2'), undefined);
  assert.equal(lives.offsetOf('key 3'), 3);
  lives.delete(3);
  assert.equal(lives.offsetOf('key 3'), undefined);
  assert.equal(lives.offsetOf('key 6'), 7);
  lives.delete(6);
  assert.equal(lives.offsetOf('key 6'), 7, 'the newest has it');
  assert.ok(lives.next <= 1004);
  assert.deepEqual(lives.due(1004), [4]);
  assert.deepEqual(lives.next, 1005);
  lives.trim(8);
  assert.deepEqual(lives.due(5000), []);
  assert.equal(lives.next, Number.POSITIVE_INFINITY);
});
