import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { MessageAssembly } from '../../src/protocol/message-assembly.ts';
import { Random } from '../../src/prove/random.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

interface Cost {
  /** Sizes of the buffers that were allocated, in order. */
  buffers: number[];
  /** Bytes that were copied from one into the next. */
  copied: number;
  /** The most that a buffer had for each byte that had come, beyond the first 4 KiB. */
  overreach: number;
}

/** Takes frames of these lengths in reads of `readOf(frame)` bytes, as a reader hands on their parts. */
function costOf(frames: number[], readOf: () => number): Cost {
  const cost: Cost = { buffers: [], copied: 0, overreach: 0 };
  const assembly = new MessageAssembly();
  const source = Buffer.alloc(128 * KIB);
  const { allocUnsafeSlow } = Buffer;
  let come = 0;
  const allocating = mock.method(Buffer, 'allocUnsafeSlow', (size: number) => {
    cost.buffers.push(size);
    if (size > 4096) cost.overreach = Math.max(cost.overreach, size / (come + 64));
    return allocUnsafeSlow(size);
  });
  const copying = mock.method(Buffer.prototype, 'copy', function (this: Buffer, target: Uint8Array) {
    cost.copied += assembly.received;
    target.set(this.subarray(0, assembly.received));
    return assembly.received;
  });
  try {
    for (const [i, length] of frames.entries()) {
      for (let left = length; left > 0; ) {
        const part = source.subarray(0, Math.min(left, readOf(), source.length));
        left -= part.length;
        come += part.length;
        assert.equal(assembly.append(part, left, i === frames.length - 1), true);
      }
    }
    assert.equal(assembly.take().length, come);
  } finally {
    allocating.mock.restore();
    copying.mock.restore();
  }
  return cost;
}

/** Reads of one size, of which the first has a header of 14 bytes before the payload. */
function readsOf(size: number): () => number {
  let isFirst = true;
  return () => {
    const bytes = isFirst ? Math.max(1, size - 14) : size;
    isFirst = false;
    return bytes;
  };
}

test('a message of 1 MiB whose first read is 64 KiB, header included, has one buffer and is copied into it once', () => {
  for (const header of [0, 2, 4, 8, 10, 14]) {
    let isFirst = true;
    const reads = (): number => {
      const bytes = isFirst ? 64 * KIB - header : 64 * KIB;
      isFirst = false;
      return bytes;
    };
    assert.deepEqual(costOf([MIB], reads).buffers, [MIB], `a header of ${header} bytes`);
  }
});

test('a frame of any length in reads of any size ends in a buffer of just its length, and little is copied twice', () => {
  const lengths = [
    10,
    4096,
    4097,
    65_000,
    65_536,
    200_000,
    MIB - 224,
    MIB,
    MIB + 1,
    1_100_000,
    5_000_000,
    16 * MIB,
  ];
  const reads = [1000, 1460, 4096, 16 * KIB - 22, 16 * KIB, 64 * KIB - 1, 64 * KIB, 128 * KIB];
  for (const length of lengths) {
    for (const read of reads) {
      const { buffers, copied, overreach } = costOf([length], readsOf(read));
      const where = `${length} bytes in reads of ${read}: ${buffers}`;
      assert.equal(buffers.at(-1), length, where);
      assert.ok(copied <= length / 4 + 4096, `${copied} copied, ${where}`);
      assert.ok(overreach <= 16, `${overreach}, ${where}`);
    }
  }
});

test('whatever the frames and the reads: linear copies, bounded memory, and an end that is known is not overshot', () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = new Random(seed);
    const frames = Array.from(
      { length: 1 + random.below(20) },
      () => 1 + random.below(random.pick([10, 1000, 70_000, 300_000])),
    );
    if (random.chance(4)) frames[frames.length - 1] = 1 + random.below(3 * MIB);
    const most = random.pick([10, 1500, 16 * KIB, 64 * KIB]);
    const total = frames.reduce((sum, length) => sum + length, 0);
    if (total / most > 20_000) continue;
    const { buffers, copied, overreach } = costOf(frames, () => 1 + random.below(most));
    const where = `seed ${seed}: ${frames} in reads of ${most}: ${buffers}`;
    assert.ok(copied <= 2 * total + 8192, `${copied} copied, ${where}`);
    assert.ok(overreach <= 16, `${overreach}, ${where}`);
    assert.ok(buffers.at(-1)! <= 2 * total + 4096, where);
    if (frames.length === 1) assert.equal(buffers.at(-1), total, where);
  }
});

test('a million fragments of one byte are copied a constant number of times each', () => {
  const { copied, buffers } = costOf(Array<number>(1_000_000).fill(1), () => 1);
  assert.ok(copied <= 2_000_000, `${copied}`);
  assert.ok(buffers.length < 25);
});
