import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyMask, randomKey, readKey, rotateKey, wordsOf } from '../../src/protocol/index.ts';
import { hex, KEY } from './support.ts';

test('§5.7: the example', () => {
  const bytes = hex('7f 9f 4d 51 58');
  applyMask(bytes, undefined, 0, 5, readKey(KEY, 0));
  assert.equal(bytes.toString(), 'Hello');
});
test('§5.3: by words as by bytes, at every place and length, and nothing beside it', () => {
  for (let start = 0; start < 9; start++) {
    for (let length = 0; length < 60; length++) {
      const memory = Buffer.alloc(start + length + 9, 0x55);
      const expected = Buffer.from(memory);
      for (let i = 0; i < length; i++) expected[start + i]! ^= KEY[i & 3]!;
      const bytes = memory.subarray(start >> 1);
      applyMask(
        bytes,
        wordsOf(memory.buffer),
        start - (start >> 1),
        start - (start >> 1) + length,
        readKey(KEY, 0),
      );
      assert.deepEqual(memory, expected, `${length} bytes at ${start}`);
    }
  }
});
test('the rest of a payload has the key turned', () => {
  const whole = Buffer.alloc(50, 7);
  applyMask(whole, undefined, 0, 50, readKey(KEY, 0));
  for (let cut = 0; cut <= 50; cut++) {
    const parts = Buffer.alloc(50, 7);
    applyMask(parts, wordsOf(parts.buffer), 0, cut, readKey(KEY, 0));
    applyMask(parts, wordsOf(parts.buffer), cut, 50, rotateKey(readKey(KEY, 0), cut));
    assert.deepEqual(parts, whole, `cut at ${cut}`);
  }
});
test('it tells whether what came out is ASCII', () => {
  for (let length = 1; length < 60; length++) {
    for (let at = -1; at < length; at++) {
      const bytes = Buffer.alloc(length, 0x61);
      if (at >= 0) bytes[at] = 0xe9;
      applyMask(bytes, undefined, 0, length, 0x81818181 | 0);
      assert.equal(applyMask(bytes, wordsOf(bytes.buffer), 0, length, 0x81818181 | 0) !== 0, at >= 0);
    }
  }
});
test('§10.3: keys are 32 random bits, drawn from more than one filling of the pool', () => {
  const keys = new Set(Array.from({ length: 5000 }, randomKey));
  assert.ok(keys.size > 4990, `${keys.size} different keys of 5000`);
  let ones = 0;
  for (const key of keys) ones |= key;
  assert.equal(ones, -1, 'every bit is set in some key');
});
