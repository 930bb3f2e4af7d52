import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { ReadMemory } from '../../src/protocol/frame-sink.ts';
import {
  applyMask,
  encodeClosePayload,
  FrameReader,
  MessageDeflate,
  ProtocolError,
} from '../../src/protocol/index.ts';
import { bytewise, type Event, frame, hex, masked, Recorder, readAll } from './support.ts';

/** In one chunk, and byte by byte. */
function check(name: string, bytes: Buffer, expected: Event[], options = {}): void {
  test(name, () => {
    assert.deepEqual(readAll([Buffer.from(bytes)], options), expected, 'in one chunk');
    assert.deepEqual(readAll(bytewise(bytes), options), expected, 'byte by byte');
  });
}
const client = { role: 'client' as const };
const protocolError = (code: string): Event[] => [['error', 1002, code]];

// §5.7, the examples of the RFC.
check(
  '§5.7: a single-frame unmasked text message',
  hex('81 05 48 65 6c 6c 6f'),
  [['message', 'Hello']],
  client,
);
check('§5.7: a single-frame masked text message', hex('81 85 37 fa 21 3d 7f 9f 4d 51 58'), [
  ['message', 'Hello'],
]);
check(
  '§5.7: a fragmented unmasked text message',
  hex('01 03 48 65 6c 80 02 6c 6f'),
  [['message', 'Hello']],
  client,
);
check('§5.7: an unmasked ping', hex('89 05 48 65 6c 6c 6f'), [['ping', Buffer.from('Hello')]], client);
check('§5.7: a masked pong', hex('8a 85 37 fa 21 3d 7f 9f 4d 51 58'), [['pong', Buffer.from('Hello')]]);
check(
  '§5.7: 256 bytes of binary in a single unmasked frame',
  Buffer.concat([hex('82 7e 01 00'), Buffer.alloc(256, 7)]),
  [['message', Buffer.alloc(256, 7)]],
  client,
);
test('§5.7: 64 KiB of binary in a single unmasked frame', () => {
  const bytes = Buffer.concat([hex('82 7f 00 00 00 00 00 01 00 00'), Buffer.alloc(65536, 9)]);
  assert.deepEqual(readAll([bytes], client), [['message', Buffer.alloc(65536, 9)]]);
});

for (const length of [
  0, 1, 2, 3, 7, 8, 23, 24, 25, 31, 63, 64, 125, 126, 127, 128, 1000, 65535, 65536, 65537,
]) {
  test(`§5.2: a masked binary message of ${length} bytes, and a text of as many`, () => {
    const payload = Buffer.from(Array.from({ length }, (_, i) => (i * 31) & 0xff));
    const text = 'é'.repeat(length >> 1) + 'x'.repeat(length & 1);
    const bytes = Buffer.concat([masked(0x82, payload), masked(0x81, text)]);
    const expected: Event[] = [
      ['message', payload],
      ['message', text],
    ];
    assert.deepEqual(readAll([Buffer.from(bytes)]), expected);
    for (const cut of [1, 2, 5, 9, 13, 14, 15, bytes.length >> 1]) {
      const chunks = [Buffer.from(bytes.subarray(0, cut)), Buffer.from(bytes.subarray(cut))];
      assert.deepEqual(readAll(chunks), expected, `cut at ${cut}`);
    }
  });
}

// §5.1, §5.2: what a header may not be.
check(
  '§5.1: an unmasked frame fails the connection at the server',
  hex('81 01 61'),
  protocolError('WS_ERR_EXPECTED_MASK'),
);
check(
  '§5.1: a masked frame fails the connection at the client',
  masked(0x81, 'a'),
  protocolError('WS_ERR_UNEXPECTED_MASK'),
  client,
);
check('§5.2: RSV1 without an extension', masked(0xc1, 'a'), protocolError('WS_ERR_UNEXPECTED_RSV_1'));
check('§5.2: RSV2', masked(0xa1, 'a'), protocolError('WS_ERR_UNEXPECTED_RSV_2_3'));
check('§5.2: RSV3', masked(0x91, 'a'), protocolError('WS_ERR_UNEXPECTED_RSV_2_3'));
check('§5.2: RSV3 on a ping', masked(0x99, 'a'), protocolError('WS_ERR_UNEXPECTED_RSV_2_3'));
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  check(
    `§5.2: the reserved opcode ${opcode}`,
    masked(0x80 | opcode, 'a'),
    protocolError('WS_ERR_INVALID_OPCODE'),
  );
}
check(
  '§5.2: 125 bytes in the 16-bit form',
  Buffer.concat([hex('82 7e 00 7d'), Buffer.alloc(125)]),
  protocolError('WS_ERR_INVALID_PAYLOAD_LENGTH'),
  client,
);
check(
  '§5.2: 65535 bytes in the 64-bit form',
  hex('82 7f 00 00 00 00 00 00 ff ff 00 00'),
  protocolError('WS_ERR_INVALID_PAYLOAD_LENGTH'),
  client,
);
check(
  '§5.2: a length with its top bit set',
  hex('82 7f 80 00 00 00 00 00 00 00 00'),
  protocolError('WS_ERR_INVALID_PAYLOAD_LENGTH'),
  client,
);
check(
  '64-bit length overflow: 2^53 bytes are refused with 1009, whatever the limit',
  hex('82 7f 00 20 00 00 00 00 00 00 00'),
  [['error', 1009, 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH']],
  client,
);
check(
  '§7.4.1: 2^63-1 bytes are refused with 1009',
  hex('82 7f 7f ff ff ff ff ff ff ff 00'),
  [['error', 1009, 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH']],
  client,
);

// §5.5: control frames.
check('§5.5: a ping of 125 bytes', masked(0x89, Buffer.alloc(125, 1)), [['ping', Buffer.alloc(125, 1)]]);
for (const [name, opcode] of [
  ['close', 8],
  ['ping', 9],
  ['pong', 10],
] as const) {
  check(
    `§5.5: a ${name} of 126 bytes fails the connection with 1002`,
    masked(0x80 | opcode, Buffer.alloc(126, 3)),
    protocolError('WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH'),
  );
  check(
    `§5.5: a fragmented ${name} fails the connection with 1002`,
    masked(opcode, ''),
    protocolError('WS_ERR_EXPECTED_FIN'),
  );
}

// §5.4: fragmentation.
check(
  '§5.4: control frames between the fragments of a message',
  Buffer.concat([masked(0x01, 'He'), masked(0x89, 'a'), masked(0x00, 'll'), masked(0x8a), masked(0x80, 'o')]),
  [
    ['ping', Buffer.from('a')],
    ['pong', Buffer.alloc(0)],
    ['message', 'Hello'],
  ],
);
check(
  '§5.4: empty fragments',
  Buffer.concat([masked(0x02), masked(0x00), masked(0x80), masked(0x01), masked(0x00, 'x'), masked(0x80)]),
  [
    ['message', Buffer.alloc(0)],
    ['message', 'x'],
  ],
);
check('§5.4: a continuation of nothing', masked(0x80, 'a'), protocolError('WS_ERR_INVALID_OPCODE'));
check(
  '§5.4: a continuation after the message has ended',
  Buffer.concat([masked(0x01, 'a'), masked(0x80, 'b'), masked(0x80, 'c')]),
  [['message', 'ab'], ...protocolError('WS_ERR_INVALID_OPCODE')],
);
check(
  '§5.4: a new message within a message',
  Buffer.concat([masked(0x01, 'a'), masked(0x81, 'b')]),
  protocolError('WS_ERR_INVALID_OPCODE'),
);

// §5.5.1, §7.4: close frames.
check('§5.5.1: a close without a code is 1005', masked(0x88), [['close', 1005, '']]);
check(
  '§5.5.1: a close payload of one byte',
  masked(0x88, 'a'),
  protocolError('WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH'),
);
check('§5.5.1: a reason in UTF-8', masked(0x88, hex('03e8 e29c93')), [['close', 1000, '✓']]);
check('§5.5.1: a reason that is not UTF-8 is 1007', masked(0x88, hex('03e8 e29c')), [
  ['error', 1007, 'WS_ERR_INVALID_UTF8'],
]);
check(
  '§5.5.1: nothing is read after a close',
  Buffer.concat([masked(0x88, hex('03e8')), masked(0x81, 'late'), hex('ff ff ff')]),
  [['close', 1000, '']],
);
for (const code of [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
]) {
  const payload = Buffer.from([code >> 8, code & 0xff]);
  check(`§7.4: close code ${code} is passed on`, masked(0x88, payload), [['close', code, '']]);
}
for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]) {
  const payload = Buffer.from([code >> 8, code & 0xff]);
  check(
    `§7.4: close code ${code} is refused`,
    masked(0x88, payload),
    protocolError('WS_ERR_INVALID_CLOSE_CODE'),
  );
}

// §8.1: UTF-8, as early as possible.
test('§8.1: text fails within a message, before its last fragment', () => {
  const invalid: Event[] = [['error', 1007, 'WS_ERR_INVALID_UTF8']];
  assert.deepEqual(readAll([masked(0x01, 'a'), masked(0x00, hex('f490'))]), invalid);
});
test('§8.1: text fails within a frame, before its last byte', () => {
  const whole = masked(0x81, Buffer.concat([Buffer.from('κόσμε'), hex('f4908080'), Buffer.alloc(100, 97)]));
  const upTo = (end: number): Event[] => readAll([whole.subarray(0, end)]);
  const header = whole.length - 114;
  assert.deepEqual(upTo(header + 11), []);
  assert.deepEqual(upTo(header + 12), [['error', 1007, 'WS_ERR_INVALID_UTF8']]);
});
check(
  '§8.1: a character across fragments',
  Buffer.concat([masked(0x01, hex('f0')), masked(0x00, hex('9f98')), masked(0x80, hex('80'))]),
  [['message', '😀']],
);
check('§8.1: a message that ends within a character', masked(0x81, hex('f09f98')), [
  ['error', 1007, 'WS_ERR_INVALID_UTF8'],
]);
check(
  '§8.1: a fragmented message that ends within a character',
  Buffer.concat([masked(0x01, hex('f0')), masked(0x80, hex('9f98'))]),
  [['error', 1007, 'WS_ERR_INVALID_UTF8']],
);
check('skipUtf8Validation lets anything through', masked(0x81, hex('61ff62')), [['message', 'a\ufffdb']], {
  skipUtf8Validation: true,
});

test('skipUtf8Validation: a close reason is text that can be sent back, and the bytes as they came', () => {
  for (const [reason, text] of [
    [Buffer.alloc(123, 0xff), '\ufffd'.repeat(41)],
    [Buffer.alloc(50, 0x80), '\ufffd'.repeat(41)],
    [Buffer.concat([Buffer.alloc(121, 'a'), hex('e282')]), 'a'.repeat(121)],
    [hex('61ff62'), 'a\ufffdb'],
    [Buffer.from('😀'.repeat(30)), '😀'.repeat(30)],
  ] as const) {
    for (const cut of [bytewise, (bytes: Buffer) => [bytes]]) {
      const seen: [string, Buffer][] = [];
      const sink = new Recorder();
      sink.onClose = (_code: number, given: string, bytes?: Buffer) => {
        seen.push([given, Buffer.from(bytes!)]);
      };
      const reader = new FrameReader(sink, { role: 'server', maxPayload: 0, skipUtf8Validation: true });
      for (const chunk of cut(masked(0x88, Buffer.concat([hex('03e8'), reason])))) {
        reader.read(chunk, 0, chunk.length);
      }
      assert.deepEqual(seen, [[text, reason]]);
      assert.doesNotThrow(() => encodeClosePayload(1000, text));
    }
  }
});
test('skipUtf8Validation: pieces of text are all the bytes that came, wherever they are cut', () => {
  const bytes = Buffer.concat([
    masked(0x01, hex('f0ff61e2')),
    masked(0x00, hex('ff')),
    masked(0x00, hex('')),
    masked(0x80, hex('8261ed')),
  ]);
  for (const cut of [bytewise, (whole: Buffer) => [whole]]) {
    const pieces: Buffer[] = [];
    const sink = new Recorder();
    sink.onFragment = (data) => pieces.push(Buffer.from(data));
    const options = { role: 'server', maxPayload: 0, partial: true, skipUtf8Validation: true } as const;
    const reader = new FrameReader(sink, options);
    for (const chunk of cut(Buffer.from(bytes))) reader.read(chunk, 0, chunk.length);
    assert.deepEqual(Buffer.concat(pieces), hex('f0ff61e2ff8261ed'));
  }
});

// Limits.
test('a message over the limit is refused at its header, before a byte is stored', () => {
  const header = masked(0x82, Buffer.alloc(1025)).subarray(0, 4);
  assert.deepEqual(readAll([header], { maxPayload: 1024 }), [
    ['error', 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'],
  ]);
});
check(
  'fragments that together are over the limit are refused at the header of the one that is too much',
  Buffer.concat([masked(0x02, Buffer.alloc(1000)), masked(0x00, Buffer.alloc(25))]).subarray(0, -29),
  [['error', 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH']],
  { maxPayload: 1024 },
);
check('a message of just the limit', masked(0x82, Buffer.alloc(1024)), [['message', Buffer.alloc(1024)]], {
  maxPayload: 1024,
});
check(
  'more fragments than maxFragments are refused with 1008',
  Buffer.concat([masked(0x02), masked(0x00), masked(0x00), masked(0x80)]),
  [['error', 1008, 'WS_ERR_TOO_MANY_BUFFERED_PARTS']],
  { maxFragments: 3 },
);
check(
  'maxFragments counts anew for each message',
  Buffer.concat([masked(0x02), masked(0x80), masked(0x82), masked(0x02), masked(0x80)]),
  Array(3).fill(['message', Buffer.alloc(0)]),
  { maxFragments: 2 },
);

// Suspension.
test('a sink that suspends gets nothing more until resume, and read says where it stopped', () => {
  const sink = new Recorder();
  const reader = new FrameReader(sink, { role: 'server', maxPayload: 0 });
  const record = sink.onMessage.bind(sink);
  sink.onMessage = (data, isBinary) => {
    record(data, isBinary);
    reader.suspend();
  };
  const bytes = Buffer.concat([masked(0x81, 'a'), masked(0x81, 'b')]);
  const stopped = reader.read(bytes, 0, bytes.length);
  assert.equal(stopped, 7);
  assert.equal(reader.isSuspended, true);
  assert.equal(reader.read(bytes, stopped, bytes.length), stopped);
  assert.deepEqual(sink.events, [['message', 'a']]);
  reader.resume();
  assert.equal(reader.read(bytes, stopped, bytes.length), bytes.length);
  assert.deepEqual(sink.events, [
    ['message', 'a'],
    ['message', 'b'],
  ]);
});

test('an error is thrown once; what follows is discarded', () => {
  const sink = new Recorder();
  const reader = new FrameReader(sink, { role: 'server', maxPayload: 0 });
  const bad = masked(0x83, 'a');
  assert.throws(() => reader.read(bad, 0, bad.length), {
    name: 'ProtocolError',
    message: 'Invalid WebSocket frame: invalid opcode 3',
    code: 'WS_ERR_INVALID_OPCODE',
    closeCode: 1002,
  });
  assert.ok(new ProtocolError('', '', 1002) instanceof RangeError, 'as the errors of ws are');
  assert.equal(reader.isEnded, true);
  const good = masked(0x81, 'a');
  assert.equal(reader.read(good, 0, good.length), good.length);
  assert.deepEqual(sink.events, []);
});

// Partial messages.
test('partial: pieces come as chunks do, text cut between characters', () => {
  const text = 'aé✓😀z';
  const bytes = Buffer.concat([masked(0x01, text.slice(0, 2)), masked(0x89), masked(0x80, text.slice(2))]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const chunks = [bytes.subarray(0, cut), bytes.subarray(cut)];
    const events = readAll(
      chunks.map((c) => Buffer.from(c)),
      { partial: true },
    );
    const fragments = events.filter((e) => e[0] === 'fragment');
    assert.equal(fragments.map((e) => e[1]).join(''), text, `cut at ${cut}`);
    assert.deepEqual(
      fragments.map((e) => e[2]),
      [...Array(fragments.length - 1).fill(false), true],
    );
    assert.deepEqual(events.filter((e) => e[0] === 'ping').length, 1);
  }
  const singly = readAll(bytewise(bytes), { partial: true }).filter((e) => e[0] === 'fragment');
  assert.deepEqual(
    singly.map((e) => e[1]),
    ['a', 'é', '✓', '😀', 'z', ''],
  );
});
test('partial: a whole message in one chunk is one piece', () => {
  assert.deepEqual(readAll([masked(0x82, 'abc')], { partial: true }), [
    ['fragment', Buffer.from('abc'), true],
  ]);
});
test('partial: the limit counts what was handed on', () => {
  const events = readAll([masked(0x02, Buffer.alloc(600)), masked(0x80, Buffer.alloc(600))], {
    partial: true,
    maxPayload: 1024,
  });
  assert.deepEqual(events.at(-1), ['error', 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH']);
});

test('partial: a compressed message is one piece, and bounded though nobody has set a limit', () => {
  const parameters = {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  };
  const deflate = new MessageDeflate('client', parameters);
  const payload = MessageDeflate.deflateShared(Buffer.from('Hello'));
  const bytes = Buffer.concat([frame(0x41, payload.subarray(0, 3)), frame(0x80, payload.subarray(3))]);
  assert.deepEqual(readAll([bytes], { ...client, partial: true, deflate }), [['fragment', 'Hello', true]]);
  const huge = hex('c2 7f 00 00 00 00 03 00 00 00');
  const tooLong: Event[] = [['error', 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH']];
  assert.deepEqual(readAll([Buffer.from(huge)], { ...client, partial: true, deflate }), tooLong);
  huge[0] = 0x82;
  assert.deepEqual(readAll([Buffer.from(huge)], { ...client, partial: true, deflate }), []);
});

test('a compressed message may be a little longer than the limit for what it inflates to', async () => {
  const parameters = {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  };
  const noise = randomBytes(1024);
  const payload = MessageDeflate.deflateShared(noise);
  assert.ok(payload.length > 1024);
  const deflate = new MessageDeflate('server', parameters);
  assert.deepEqual(readAll([masked(0xc2, payload)], { maxPayload: 1024, deflate }), [['message', noise]]);
  assert.deepEqual(readAll([masked(0xc2, payload)], { maxPayload: 1023, deflate }), [
    ['error', 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'],
  ]);
});

test('a sink that throws ends the reader: nobody knows where it stopped', () => {
  const sink = new Recorder();
  sink.onMessage = () => {
    throw new Error('from the application');
  };
  const reader = new FrameReader(sink, { role: 'server', maxPayload: 0 });
  const bytes = Buffer.concat([masked(0x82, 'a'), masked(0x89, 'b')]);
  assert.throws(() => reader.read(bytes, 0, bytes.length), { message: 'from the application' });
  assert.equal(reader.isEnded, true);
});

test('partial: what is left of a character in unchecked text is not lost, nor carried over', () => {
  const bytes = Buffer.concat([
    masked(0x01, hex('61f09f')),
    masked(0x80),
    masked(0x01, 'b'),
    masked(0x80, 'c'),
  ]);
  const pieces: [string, boolean][] = [];
  const sink = new Recorder();
  sink.onFragment = (data, _isBinary, isLast) => pieces.push([data.toString('hex'), isLast]);
  const reader = new FrameReader(sink, {
    role: 'server',
    maxPayload: 0,
    partial: true,
    skipUtf8Validation: true,
  });
  reader.read(bytes, 0, bytes.length);
  assert.deepEqual(pieces, [
    ['61', false],
    ['f09f', true],
    ['62', false],
    ['63', false],
    ['', true],
  ]);
});

test('the memory that is given unmasks and makes views of its chunk; others are read as without it', () => {
  const calls = { unmask: 0, view: 0 };
  const bytes = Buffer.concat([masked(0x81, 'Hello, ελληνικά'), masked(0x82, Buffer.alloc(300, 9))]);
  const expected: Event[] = [
    ['message', 'Hello, ελληνικά'],
    ['message', Buffer.alloc(300, 9)],
  ];
  const memory: ReadMemory = {
    chunk: Buffer.alloc(1000),
    unmask(chunk, start, end, key) {
      calls.unmask++;
      return applyMask(chunk, undefined, start, end, key);
    },
    view(chunk, start, end) {
      calls.view++;
      return chunk.subarray(start, end);
    },
  };
  const sink = new Recorder();
  const reader = new FrameReader(sink, { role: 'server', maxPayload: 0, memory });
  bytes.copy(memory.chunk, 100);
  reader.read(memory.chunk, 100, 100 + bytes.length);
  assert.deepEqual(sink.events, expected);
  assert.deepEqual(calls, { unmask: 2, view: 2 });
  // One byte after the other through the same memory, and then a held copy of it.
  for (const byte of bytes) {
    memory.chunk[7] = byte;
    reader.read(memory.chunk, 7, 8);
  }
  const counted = { ...calls };
  const copy = Buffer.from(bytes);
  reader.read(copy, 0, copy.length);
  assert.deepEqual(sink.events, [...expected, ...expected, ...expected]);
  assert.deepEqual(calls, counted);
});

for (const memory of [
  undefined,
  { chunk: Buffer.alloc(0), unmask: applyMask, view: Buffer.prototype.subarray },
]) {
  test(`a chunk that is fed again and again has one view of its words${memory ? ', beside memory of its own' : ''}`, () => {
    const bytes = Buffer.from(Buffer.concat(Array<Buffer>(100).fill(masked(0x82, Buffer.alloc(200, 1)))));
    const sink = new Recorder();
    const options = { role: 'server', maxPayload: 0, ...(memory && { memory: memory as never }) } as const;
    const reader = new FrameReader(sink, options);
    const record = sink.onMessage.bind(sink);
    sink.onMessage = (data, isBinary) => {
      record(data, isBinary);
      reader.suspend();
    };
    const { Int32Array: Words } = globalThis;
    let views = 0;
    globalThis.Int32Array = new Proxy(Words, {
      construct(target, args) {
        views++;
        return Reflect.construct(target, args) as object;
      },
    });
    try {
      for (let at = 0; at < bytes.length; reader.resume()) at = reader.read(bytes, at, bytes.length);
    } finally {
      globalThis.Int32Array = Words;
    }
    assert.equal(sink.events.length, 100);
    assert.ok(sink.events.every(([, data]) => Buffer.alloc(200, 1).equals(data as Buffer)));
    assert.equal(views, 1);
  });
}

test('the sink is told whether a message is its own for good', () => {
  const owned: boolean[] = [];
  const reader = new FrameReader(
    { onMessage: (_data, _isBinary, isOwned) => owned.push(isOwned), onPing() {}, onPong() {}, onClose() {} },
    { role: 'client', maxPayload: 0 },
  );
  const whole = frame(0x82, 'abc');
  reader.read(whole, 0, whole.length);
  reader.read(whole, 0, 3);
  reader.read(whole, 3, whole.length);
  assert.deepEqual(owned, [false, true]);
});
