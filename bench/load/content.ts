/**
 * The messages that are sent, built once: a ring of them, each with its number in its first bytes, so that
 * a lost, doubled or reordered message shows.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { deflateRawSync, constants as zlib } from 'node:zlib';
import type { Wire } from '../roster.ts';
import { STORED, storedMessage, storedRequest } from '../stored.ts';
import type { ContentKind } from './job.ts';

export interface Content {
  /** How many different messages there are; a power of two, and more than are ever outstanding. */
  count: number;
  /** Bytes of each message as it is put on the wire by the generator. */
  frameLength: number;
  /** All frames behind each other, the first `depth` of them once more at the end: any run is one slice. */
  frames: Buffer;
  /** Payloads as they must come back, all of the same length. */
  expected: Buffer[];
  expectedLength: number;
  isBinary: boolean;
  /** Where in an expected payload its number stands (4 bytes), and the numbers, read little-endian. */
  tagAt: number;
  tags: Int32Array;
}

const WORDS =
  'order invoice shipped to customer with tracking number delayed until confirmed by support'.split(' ');

/** Requests for messages that the server holds, all of `size` bytes. */
export function storedContent(size: number, depth: number): Content {
  const requests = Array.from({ length: STORED }, (_, index) => clientFrame(2, storedRequest(index)));
  const expected = requests.map((_, index) => storedMessage(index, size));
  return {
    count: STORED,
    frameLength: requests[0]!.length,
    frames: Buffer.concat([...requests, ...requests.slice(0, depth)]),
    expected,
    expectedLength: size,
    isBinary: true,
    tagAt: 0,
    tags: Int32Array.from(expected, (payload) => payload.readInt32LE(0)),
  };
}

/** @param depth the longest run of frames that is sent at once */
export function buildContent(
  wire: Wire,
  kind: ContentKind,
  size: number,
  depth: number,
  compress: boolean,
): Content {
  if (size < 16) throw new RangeError(`messages of ${size} bytes can't carry their number: at least 16`);
  const affordable = Math.max(1, (16 * 1024 * 1024) / size);
  const count = 2 ** Math.ceil(Math.log2(Math.max(2 * depth, Math.min(64, affordable))));
  const sent: Buffer[] = [];
  const expected: Buffer[] = [];
  let tagAt = kind === 'json' ? 7 : 0;
  for (let i = 0; i < count; i++) {
    const payload = message(kind, size, i);
    if (wire === 'socket.io') {
      sent.push(Buffer.from(`42["m",${JSON.stringify(payload.toString())}]`));
      expected.push(sent[i]!);
    } else if (wire === 'sockjs') {
      const text = JSON.stringify([payload.toString()]);
      sent.push(Buffer.from(text));
      expected.push(Buffer.from(`a${text}`));
    } else {
      sent.push(payload);
      expected.push(payload);
    }
  }
  if (wire === 'socket.io') tagAt = 8;
  else if (wire === 'sockjs') tagAt = 3;

  const opcode = kind === 'binary' ? 2 : 1;
  const whole = sent.map((payload) => {
    if (wire === 'raw') return payload;
    return compress ? clientFrame(0x40 | opcode, compressed(payload)) : clientFrame(opcode, payload);
  });
  const frameLength = whole[0]!.length;
  return {
    count,
    frameLength,
    frames: Buffer.concat([...whole, ...whole.slice(0, depth)]),
    expected,
    expectedLength: expected[0]!.length,
    isBinary: kind === 'binary',
    tagAt,
    tags: Int32Array.from(expected, (payload) => payload.readInt32LE(tagAt)),
  };
}

/** A payload of exactly `size` bytes with `index` in its first four (JSON: in its first value). */
function message(kind: ContentKind, size: number, index: number): Buffer {
  const number = index.toString(16).padStart(4, '0');
  if (kind === 'binary') {
    const bytes = randomBytes(size);
    bytes.write(number, 0, 'latin1');
    return bytes;
  }
  if (kind === 'json') {
    const start = `{"id":"${number}","items":[`;
    let text = start;
    for (let item = 0; ; item++) {
      const next = `${item ? ',' : ''}{"name":"${WORDS[(index + item) % WORDS.length]}","count":${(item * 37) % 100}}`;
      if (text.length + next.length + 9 > size) break;
      text += next;
    }
    return Buffer.from(
      `${text}],"p":""}`.replace('""}', `"${' '.repeat(Math.max(0, size - text.length - 9))}"}`),
    );
  }
  const words = [number];
  for (let word = index, length = number.length; length < size; word++) {
    const next = ` ${kind === 'utf8' ? `Grüße – 消息 №${word % 97}` : WORDS[(word * 7) % WORDS.length]}`;
    words.push(next);
    length += Buffer.byteLength(next);
  }
  const text = Buffer.from(words.join(''));
  // Cut at a character border, and filled up to the exact length.
  let end = size;
  while (end > 0 && ((text[end] ?? 0) & 0xc0) === 0x80) end--;
  return Buffer.concat([text.subarray(0, end), Buffer.alloc(size - end, '.')]);
}

/** What a compressor with an empty window makes of a message (RFC 7692 §7.2.1). */
function compressed(payload: Buffer): Buffer {
  return deflateRawSync(payload, { finishFlush: zlib.Z_SYNC_FLUSH }).subarray(0, -4);
}

/** One masked frame, final. Every frame has a mask of its own, never zero. */
export function clientFrame(firstBits: number, payload: Buffer): Buffer {
  const extended = payload.length < 126 ? 0 : payload.length < 65536 ? 2 : 8;
  const frame = Buffer.alloc(6 + extended + payload.length);
  frame[0] = 0x80 | firstBits;
  if (extended === 0) frame[1] = 0x80 | payload.length;
  else if (extended === 2) {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(payload.length, 2);
  } else {
    frame[1] = 0x80 | 127;
    frame.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  const mask = Buffer.alloc(4);
  mask.writeUInt32LE(randomInt(1, 2 ** 32));
  mask.copy(frame, 2 + extended);
  for (let i = 0; i < payload.length; i++) frame[6 + extended + i] = payload[i]! ^ mask[i & 3]!;
  return frame;
}
