import assert from 'node:assert/strict';
import { test } from 'node:test';
import { borrow, kept, release, retain, sharedBuffer } from '../../src/server/memory.ts';

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
