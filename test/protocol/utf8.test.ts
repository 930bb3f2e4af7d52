import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { test } from 'node:test';
import { advanceUtf8, isValidUtf8, UTF8_INVALID, UTF8_START } from '../../src/protocol/index.ts';
import { lastBoundary } from '../../src/protocol/utf8.ts';
import { hex } from './support.ts';

/** How many bytes were read before it failed; -1 if it did not. */
function failsAt(bytes: Buffer): number {
  let state = UTF8_START;
  for (let i = 0; i < bytes.length; i++) {
    state = advanceUtf8(state, bytes, i, i + 1);
    if (state === UTF8_INVALID) return i;
  }
  return -1;
}

test('RFC 3629 §4: every sequence of up to 3 bytes is judged as node:buffer judges it', () => {
  const bytes = Buffer.alloc(3);
  for (let a = 0; a < 256; a++) {
    bytes[0] = a;
    assert.equal(isValidUtf8(bytes, 0, 1), isUtf8(bytes.subarray(0, 1)));
    for (let b = 0; b < 256; b++) {
      bytes[1] = b;
      assert.equal(isValidUtf8(bytes, 0, 2), isUtf8(bytes.subarray(0, 2)));
      if (a < 0xe0) continue;
      for (const c of [0x00, 0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0, 0xff]) {
        bytes[2] = c;
        assert.equal(isValidUtf8(bytes, 0, 3), isUtf8(bytes));
      }
    }
  }
});
test('RFC 3629 §4: every sequence of 4 bytes with edge values', () => {
  const edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
  for (const a of [0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff]) {
    for (const b of edges) {
      for (const c of edges) {
        for (const d of edges) {
          const bytes = Buffer.from([a, b, c, d]);
          assert.equal(isValidUtf8(bytes), isUtf8(bytes), bytes.toString('hex'));
        }
      }
    }
  }
});
for (const [text, at] of [
  ['ce ba e1 bd b9 cf 83 ce bc ce b5 f4 90', 12],
  ['ed a0', 1],
  ['e0 9f', 1],
  ['f0 8f', 1],
  ['c1', 0],
  ['f5', 0],
  ['80', 0],
  ['e2 9c 28', 2],
  ['f0 9f 98 c0', 3],
] as const) {
  test(`§8.1: ${text} fails at byte ${at}, not later`, () => assert.equal(failsAt(hex(text)), at));
}
test('a long text is judged alike wherever it is cut', () => {
  const text = Buffer.from('ascii and ελληνικά and 漢字 and 😀 '.repeat(8));
  for (let cut = 0; cut <= text.length; cut++) {
    const state = advanceUtf8(UTF8_START, text, 0, cut);
    assert.equal(advanceUtf8(state, text, cut, text.length), UTF8_START);
    assert.equal(state === UTF8_START, isUtf8(text.subarray(0, cut)));
    assert.equal(lastBoundary(text, 0, cut) === cut, isUtf8(text.subarray(0, cut)));
  }
  const bad = Buffer.concat([text, hex('ff'), text]);
  assert.equal(advanceUtf8(UTF8_START, bad, 0, bad.length), UTF8_INVALID);
});
