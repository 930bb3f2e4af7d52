/** The runner's own framing: what it writes, what it reads, and what it refuses (RFC 6455 §5). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  applyMask,
  encodeFrame,
  encodeFrames,
  type Frame,
  FrameParser,
  type FrameSpec,
  fragment,
  Opcode,
  Violation,
} from '../../src/check/frames.ts';

const key = Buffer.from('37fa213d', 'hex');

function octets(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

function parse(
  data: Buffer,
  { isMaskRequired = false, hasDeflate = false, step = data.length } = {},
): Frame[] {
  const frames: Frame[] = [];
  const parser = new FrameParser({ isMaskRequired, hasDeflate, onFrame: (frame) => frames.push(frame) });
  // A copy, as the parser unmasks in place.
  const copy = Buffer.from(data);
  for (let at = 0; at < copy.length; at += step) parser.push(copy.subarray(at, at + step));
  return frames;
}

test('§5.7: the examples of the RFC are written and read octet by octet', () => {
  const examples: [FrameSpec, string][] = [
    [{ opcode: Opcode.text, payload: Buffer.from('Hello') }, '81 05 48 65 6c 6c 6f'],
    [
      { opcode: Opcode.text, payload: Buffer.from('Hello'), maskKey: key },
      '81 85 37 fa 21 3d 7f 9f 4d 51 58',
    ],
    [{ opcode: Opcode.text, payload: Buffer.from('Hel'), fin: false }, '01 03 48 65 6c'],
    [{ opcode: Opcode.ping, payload: Buffer.from('Hello') }, '89 05 48 65 6c 6c 6f'],
  ];
  for (const [spec, hex] of examples) {
    assert.deepEqual(encodeFrame(spec), octets(hex));
    const [frame] = parse(octets(hex), { isMaskRequired: spec.maskKey !== undefined });
    assert.equal(frame?.opcode, spec.opcode);
    assert.equal(frame.fin, spec.fin ?? true);
    assert.deepEqual(frame.payload, spec.payload);
    assert.deepEqual(frame.maskKey, spec.maskKey);
  }
});

test('§5.2: lengths of 7, 16 and 64 bits go through in chunks of any size', () => {
  for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 70_001]) {
    const payload = Buffer.alloc(length, 'abcdefg');
    const data = encodeFrame({ opcode: Opcode.binary, payload, maskKey: key });
    for (const step of [1, 3, 1000, data.length]) {
      const frames = parse(data, { isMaskRequired: true, step });
      assert.equal(frames.length, 1);
      assert.ok(frames[0]?.payload.equals(payload), `${length} octets by ${step}`);
    }
  }
});

test('several frames in one buffer are read as several, empty ones included', () => {
  const specs: FrameSpec[] = [
    { opcode: Opcode.text, fin: false },
    { opcode: Opcode.ping, payload: Buffer.from('now') },
    { opcode: Opcode.continuation, payload: Buffer.from('rest') },
    { opcode: Opcode.close },
  ];
  const frames = parse(encodeFrames(specs), { step: 1 });
  assert.deepEqual(
    frames.map(({ opcode, fin, payload }) => [opcode, fin, payload.toString()]),
    [
      [1, false, ''],
      [9, true, 'now'],
      [0, true, 'rest'],
      [8, true, ''],
    ],
  );
});

test('a message of a multiple of the fragment size ends in an empty fragment, one of less is not cut', () => {
  const cut = (length: number): number[] =>
    fragment({ opcode: Opcode.text, payload: Buffer.alloc(length) }, 4).map(({ payload }) => payload!.length);
  assert.deepEqual(cut(9), [4, 4, 1]);
  assert.deepEqual(cut(8), [4, 4, 0]);
  assert.deepEqual(cut(4), [4]);
  assert.deepEqual(cut(0), [0]);
  const frames = fragment({ opcode: Opcode.text, rsv: 4, payload: Buffer.alloc(9) }, 4);
  assert.deepEqual(
    frames.map(({ opcode, rsv, fin }) => [opcode, rsv ?? 0, fin]),
    [
      [1, 4, false],
      [0, 0, false],
      [0, 0, true],
    ],
  );
});

test('§5.3: masking twice gives back what was there', () => {
  for (let length = 0; length < 12; length++) {
    const data = Buffer.alloc(length, 'x');
    applyMask(data, key);
    assert.equal(
      [...data].some((octet, i) => octet !== (120 ^ key[i % 4]!)),
      false,
    );
    applyMask(data, key);
    assert.deepEqual(data, Buffer.alloc(length, 'x'));
  }
});

const broken: [what: string, hex: string, code: number, options?: Parameters<typeof parse>[1]][] = [
  ['§5.1: a masked frame from a server', '81 80 00 00 00 00', 1002],
  ['§5.1: an unmasked frame from a client', '81 00', 1002, { isMaskRequired: true }],
  ['§5.2: RSV1 without an extension', 'c1 00', 1002],
  ['§5.2: RSV2 with permessage-deflate', 'a1 00', 1002, { hasDeflate: true }],
  ['RFC 7692 §6.1: RSV1 on a continuation', '01 00 c0 00', 1002, { hasDeflate: true }],
  ['RFC 7692 §6.1: RSV1 on a ping', 'c9 00', 1002, { hasDeflate: true }],
  ['§5.2: a reserved data opcode', '83 00', 1002],
  ['§5.2: a reserved control opcode', '8b 00', 1002],
  ['§5.5: a fragmented ping', '09 00', 1002],
  ['§5.5: a ping of 126 octets', '89 7e 00 7e', 1002],
  ['§5.4: a continuation of nothing', '80 00', 1002],
  ['§5.4: a text frame inside a message', '01 00 81 00', 1002],
  ['§5.2: 125 octets with a length in 16 bits', '82 7e 00 7d', 1002],
  ['§5.2: 65535 octets with a length in 64 bits', '82 7f 00 00 00 00 00 00 ff ff', 1002],
  ['§5.2: a length of 2^63', '82 7f 80 00 00 00 00 00 00 00', 1009],
];

for (const [what, hex, code, options] of broken) {
  test(`${what} is a violation`, () => {
    assert.throws(
      () => parse(octets(hex), options),
      (error) => error instanceof Violation && error.closeCode === code,
    );
  });
}
