/** The frame reader: the same events however the bytes are cut, and nothing that a sink may not be given. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import {
  type DeflateParameters,
  encodeFrame,
  FrameReader,
  type FrameReaderOptions,
  type FrameSink,
  isValidCloseCode,
  MessageDeflate,
  ProtocolError,
} from '../../src/protocol/index.ts';
import type { Random } from '../../src/prove/random.ts';
import { chunkEnds } from './mutate.ts';
import { corpus, MAX_INPUT, type Target } from './target.ts';

const MAX_PAYLOAD = 8192;

/** Keeps a fingerprint of what it is given, and checks that it is what a sink may be given. */
class CheckingSink implements FrameSink {
  hash = 0;
  isClosed = false;

  /** Of the pieces of a message, which may be cut anywhere, until the message is whole. */
  #pieces = 0;

  #note(kind: number, data: Uint8Array): void {
    assert.equal(this.isClosed, false, 'nothing comes after a close');
    this.hash = add((Math.imul(this.hash, 31) + kind) | 0, data);
  }
  onMessage(data: Buffer, isBinary: boolean): void {
    assert.ok(data.length <= MAX_PAYLOAD, 'a message is within the limit');
    assert.ok(isBinary || isUtf8(data), 'text is UTF-8');
    this.#note(isBinary ? 2 : 1, data);
  }
  onFragment(data: Buffer, isBinary: boolean, isLast: boolean): void {
    assert.equal(this.isClosed, false, 'nothing comes after a close');
    assert.ok(isBinary || isUtf8(data), 'a piece of text is cut between characters');
    assert.ok(isLast || data.length > 0, 'only the last piece may be empty');
    this.#pieces = add(this.#pieces, data);
    if (!isLast) return;
    this.hash = (Math.imul(this.hash, 31) + this.#pieces + (isBinary ? 22 : 21)) | 0;
    this.#pieces = 0;
  }
  onPing(data: Buffer): void {
    assert.ok(data.length <= 125);
    this.#note(9, data);
  }
  onPong(data: Buffer): void {
    assert.ok(data.length <= 125);
    this.#note(10, data);
  }
  onClose(code: number, reason: string): void {
    assert.ok(code === 1005 ? reason === '' : isValidCloseCode(code));
    this.#note(code, Buffer.from(reason));
    this.isClosed = true;
  }
}

function add(hash: number, data: Uint8Array): number {
  let sum = hash;
  for (let i = 0; i < data.length; i++) sum = (Math.imul(sum, 31) + data[i]!) | 0;
  return sum;
}

const windows: (DeflateParameters | undefined)[] = [
  undefined,
  {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  },
  {
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
    serverMaxWindowBits: 9,
    clientMaxWindowBits: 8,
  },
];

function readFrames(
  bytes: Buffer,
  ends: number[],
  options: FrameReaderOptions,
  parameters: DeflateParameters | undefined,
): number {
  const sink = new CheckingSink();
  const deflate = parameters && new MessageDeflate(options.role, parameters);
  const reader = new FrameReader(sink, deflate ? { ...options, deflate } : options);
  let at = 0;
  try {
    for (const end of ends) {
      // Memory of its own for every chunk, or what was kept of the last one would go unnoticed.
      const chunk = Buffer.from(bytes.subarray(at, end));
      const stopped = reader.read(chunk, 0, chunk.length);
      chunk.fill(0xdd);
      at = end;
      if (reader.isSuspended) return Number.NaN;
      assert.equal(stopped, chunk.length);
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    assert.ok([1002, 1007, 1008, 1009].includes(error.closeCode));
    assert.ok(reader.isEnded);
    return (sink.hash ^ error.closeCode) | 0;
  } finally {
    deflate?.close();
  }
  return sink.hash;
}

/** Frames with random headers, half of them valid, so that more than the first is reached. */
export function generateFrames(random: Random): Buffer {
  const frames: Buffer[] = [];
  const isMasked = !random.chance(3);
  for (let count = 1 + random.below(6); count > 0; count--) {
    const opcode = random.pick([0, 0, 1, 1, 2, 8, 9, 10, random.below(16)]);
    const flags = random.pick([0x80, 0x80, 0x80, 0, 0xc0, 0x40, random.below(16) << 4]);
    const payload = Buffer.alloc(random.pick([0, 1, 2, 5, 20, 125, 126, 300]));
    const fill = random.below(4);
    for (let i = 0; i < payload.length; i++) payload[i] = fill === 0 ? random.next() : 0x20 + (i % 0x5f);
    if (opcode === 8 && payload.length >= 2)
      payload.writeUInt16BE(random.pick([1000, 1001, 1005, 3000, 999]));
    if (opcode < 3 && payload.length > 4 && random.chance(3))
      payload.set([0xf0, 0x9f, 0x98, 0x80], payload.length - 4);
    frames.push(encodeFrame(flags | opcode, payload, isMasked ? random.next() : undefined));
  }
  return Buffer.concat(frames).subarray(0, MAX_INPUT);
}

export const frames: Target = {
  name: 'frames',
  corpus: corpus('frames'),
  generate: generateFrames,
  run(input, random) {
    const role = input.length > 1 && input[1]! >= 0x80 !== random.chance(16) ? 'server' : 'client';
    // Inflating costs more than all the rest.
    const parameters = random.chance(8) ? random.pick(windows) : undefined;
    const partial = random.chance(4);
    const maxFragments = random.chance(8) ? 3 : 0;
    const options: FrameReaderOptions = { role, maxPayload: MAX_PAYLOAD, partial, maxFragments };
    const inParts = readFrames(input, chunkEnds(input.length, random), options, parameters);
    if (!random.chance(4)) return;
    const whole = readFrames(input, [input.length], options, parameters);
    assert.ok(Object.is(whole, inParts), 'the same events however the bytes are cut');
  },
};
