import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { deflateRawSync, type ZlibOptions, constants as zlib } from 'node:zlib';
import { type DeflateParameters, FrameReader, MessageDeflate } from '../../src/protocol/index.ts';
import { frame, Recorder } from './support.ts';

const alone: DeflateParameters = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: undefined,
  clientMaxWindowBits: undefined,
};

/** Bytes that no encoder makes shorter; with `high` such as fixed Huffman codes make 9 bits of. */
function incompressible(size: number, high: boolean): Buffer {
  const data = randomBytes(size);
  if (high) for (let i = 0; i < size; i++) data[i]! |= 0x90;
  return data;
}

/** What comes of a compressed message in these frames: itself, or the error. */
async function readWithLimit(maxPayload: number, fragments: Buffer[]): Promise<Buffer | string> {
  const sink = new Recorder();
  const deflate = new MessageDeflate('client', alone);
  const reader = new FrameReader(sink, { role: 'client', maxPayload, deflate });
  const resumed = new Promise<void>((resolve) => {
    (sink as { onResume?: () => void }).onResume = resolve;
    const onError = sink.onError.bind(sink);
    sink.onError = (error) => {
      onError(error);
      resolve();
    };
  });
  try {
    for (const [i, payload] of fragments.entries()) {
      const first = (i === fragments.length - 1 ? 0x80 : 0) | (i === 0 ? 0x42 : 0);
      const bytes = frame(first, payload);
      reader.read(bytes, 0, bytes.length);
    }
    if (reader.isSuspended) await resumed;
  } catch (error) {
    return (error as { code: string }).code;
  }
  assert.equal(sink.events.length, 1);
  const [kind, data, code] = sink.events[0]!;
  return kind === 'message' ? (data as Buffer) : (code as string);
}

/** The message in pieces of `size` bytes, each flushed: what they are compressed to, without the end. */
function flushed(data: Buffer, size: number, options: ZlibOptions): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < data.length; at += size) {
    pieces.push(deflateRawSync(data.subarray(at, at + size), options));
  }
  pieces[pieces.length - 1] = pieces.at(-1)!.subarray(0, -4);
  return pieces;
}

const TOO_LONG = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';

test('a message of just maxPayload is taken, however badly zlib compresses it, and one more byte is not', async () => {
  for (const size of [1, 100, 1000, 65_536, 300_000]) {
    for (const high of [false, true]) {
      const data = incompressible(size, high);
      const seen = new Map<number, Buffer>();
      for (let level = 0; level <= 9; level++) {
        for (let memLevel = 1; memLevel <= 9; memLevel++) {
          for (let strategy = 0; strategy <= 4; strategy++) {
            // The slowest ones once: all levels are alike for what can't be compressed.
            if (size > 1000 && level !== 0 && level !== 1 && level !== 9) continue;
            const options = { level, memLevel, strategy, windowBits: 9, finishFlush: zlib.Z_SYNC_FLUSH };
            const payload = deflateRawSync(data, options).subarray(0, -4);
            seen.set(payload.length, payload);
          }
        }
      }
      for (const payload of seen.values()) {
        const taken = await readWithLimit(size, [payload]);
        assert.ok(data.equals(taken as Buffer), `${payload.length} bytes for ${size}: ${taken}`);
        if (size > 1) assert.equal(await readWithLimit(size - 1, [payload]), TOO_LONG);
      }
    }
  }
});

test('a message of just maxPayload is taken from an encoder that flushes often', async () => {
  for (const [size, piece] of [
    [3000, 1],
    [30_000, 8],
    [100_000, 64],
  ] as const) {
    const data = incompressible(size, true);
    for (const finishFlush of [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH]) {
      for (const level of [0, 6]) {
        const payload = Buffer.concat(flushed(data, piece, { level, finishFlush }));
        const taken = await readWithLimit(size, [payload]);
        assert.ok(data.equals(taken as Buffer), `${payload.length} bytes for ${size}: ${taken}`);
        assert.equal(await readWithLimit(size - 1, [payload]), TOO_LONG);
      }
    }
  }
});

test('a message of just maxPayload is taken in fragments of any size, each flushed', async () => {
  for (const [size, piece] of [
    [5000, 1],
    [30_000, 4],
    [200_000, 64],
  ] as const) {
    const data = incompressible(size, true);
    const fragments = flushed(data, piece, { level: 0, finishFlush: zlib.Z_SYNC_FLUSH });
    assert.ok(data.equals((await readWithLimit(size, fragments)) as Buffer), `${piece}`);
    assert.equal(await readWithLimit(size - 1, fragments), TOO_LONG);
  }
});

test('what is compressed is bounded: empty blocks and empty fragments without end are not kept', async () => {
  const limit = 100_000;
  const empty = Buffer.from('000000ffff'.repeat(100_000), 'hex');
  assert.equal(await readWithLimit(limit, [empty]), TOO_LONG);
  const fragments = Array<Buffer>(50).fill(empty.subarray(0, 10_000));
  assert.equal(await readWithLimit(limit, fragments), TOO_LONG);
});
