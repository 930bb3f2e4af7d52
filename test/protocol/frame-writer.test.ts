import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeClosePayload,
  encodeFrame,
  FIN,
  headerLength,
  Opcode,
  readKey,
  writeHeader,
} from '../../src/protocol/index.ts';
import { frame, hex, KEY } from './support.ts';

test('§5.7: the examples', () => {
  const hello = Buffer.from('Hello');
  assert.deepEqual(encodeFrame(FIN | Opcode.TEXT, hello), hex('81 05 48 65 6c 6c 6f'));
  assert.deepEqual(
    encodeFrame(FIN | Opcode.TEXT, hello, readKey(KEY, 0)),
    hex('81 85 37 fa 21 3d 7f 9f 4d 51 58'),
  );
  assert.deepEqual(encodeFrame(FIN | Opcode.PING, hello), hex('89 05 48 65 6c 6c 6f'));
  assert.deepEqual(encodeFrame(FIN | Opcode.BINARY, Buffer.alloc(256)).subarray(0, 4), hex('82 7e 01 00'));
  assert.deepEqual(
    encodeFrame(FIN | Opcode.BINARY, Buffer.alloc(65536)).subarray(0, 10),
    hex('82 7f 00 00 00 00 00 01 00 00'),
  );
});
for (const length of [0, 1, 125, 126, 127, 65535, 65536, 70000]) {
  test(`§5.2: ${length} bytes in the shortest form, masked and not`, () => {
    const payload = Buffer.alloc(length, 0x5a);
    assert.deepEqual(encodeFrame(0x82, payload), frame(0x82, payload));
    assert.deepEqual(encodeFrame(0x82, payload, readKey(KEY, 0)), frame(0x82, payload, KEY));
    assert.deepEqual(payload, Buffer.alloc(length, 0x5a), 'the payload is left as it was');
    assert.equal(headerLength(length, false) + length, frame(0x82, payload).length);
    assert.equal(headerLength(length, true) + length, frame(0x82, payload, KEY).length);
  });
}
test('§5.2: lengths past 32 bits', () => {
  const target = Buffer.alloc(16);
  assert.equal(writeHeader(target, 1, 0x82, 2 ** 53 - 1), 11);
  assert.deepEqual(target.subarray(1, 11), hex('82 7f 00 1f ff ff ff ff ff ff'));
  writeHeader(target, 1, 0x82, 2 ** 32);
  assert.deepEqual(target.subarray(1, 11), hex('82 7f 00 00 00 01 00 00 00 00'));
});
test('a mask key of 0 is a key', () => {
  assert.deepEqual(encodeFrame(0x81, Buffer.from('a'), 0), hex('81 81 00 00 00 00 61'));
});

test('§5.5.1: close payloads', () => {
  assert.deepEqual(encodeClosePayload(), Buffer.alloc(0));
  assert.deepEqual(encodeClosePayload(1000), hex('03e8'));
  assert.deepEqual(encodeClosePayload(4999, '✓'), hex('1387 e29c93'));
  assert.deepEqual(encodeClosePayload(1000, Buffer.from('ok')), hex('03e8 6f6b'));
  assert.equal(encodeClosePayload(1000, 'x'.repeat(123)).length, 125);
});
test('§5.5.1: a reason of 124 bytes is refused, however few characters', () => {
  assert.throws(() => encodeClosePayload(1000, 'x'.repeat(124)), RangeError);
  assert.throws(() => encodeClosePayload(1000, '✓'.repeat(42)), RangeError);
});
test('§7.4.1: 1004, 1005, 1006 and 1015 are never written, nor what is no code', () => {
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 1000.5, Number.NaN, -1]) {
    assert.throws(() => encodeClosePayload(code), TypeError);
  }
  assert.throws(() => encodeClosePayload('1000' as unknown as number), TypeError);
});
test('§5.5.1: a reason that is not UTF-8 is refused', () => {
  assert.throws(() => encodeClosePayload(1000, hex('ff')), TypeError);
});
test('uninitialised memory: a reason of another kind is refused, a typed array gives its own bytes', () => {
  assert.throws(() => encodeClosePayload(1000, new Float64Array(15) as unknown as Uint8Array), TypeError);
  assert.throws(() => encodeClosePayload(1000, 15 as unknown as string), TypeError);
  assert.throws(() => encodeClosePayload(1000, { length: 50 } as unknown as string), TypeError);
  assert.deepEqual(
    encodeClosePayload(1000, new Uint8Array(20)),
    Buffer.concat([hex('03e8'), Buffer.alloc(20)]),
  );
});
