/**
 * The codec alone, without a socket: nanoseconds and bytes allocated per frame. One operation of one
 * implementation in a process of its own, so that neither warms up or spoils the other's compiled code.
 */
import { isUtf8 } from 'node:buffer';
import bufferUtil from 'bufferutil';
import { applyMask, encodeFrame, FIN, FrameReader, isValidUtf8, wordsOf } from '../../src/protocol/index.ts';
import { sharedBuffer, sharedMemory, unmask } from '../../src/server/memory.ts';
import { buildContent } from '../load/content.ts';
import { answer, onJob } from '../program.ts';
import type { CodecJob, CodecResult } from './job.ts';
import { Receiver, Sender } from './ws-codec.ts';

/** What is timed: does something to `frames` frames at once. */
interface Work {
  frames: number;
  run(): void;
  /** Puts things back as they were before `run`; its own cost is measured and taken off. */
  reset?(): void;
}

let seen = 0;
const failed = (error: Error): never => {
  throw error;
};

function messages({ size, kind }: CodecJob): Buffer {
  // As many frames as a read of 64 KiB brings, and one at least.
  const count = 2 ** Math.max(0, Math.floor(Math.log2(60_000 / (size + 14))));
  const content = buildContent('websocket', kind, size, 1, false);
  const parts = Array.from({ length: count }, (_, i) => {
    const at = (i & (content.count - 1)) * content.frameLength;
    return content.frames.subarray(at, at + content.frameLength);
  });
  return Buffer.concat(parts);
}

function reading(job: CodecJob, chunk: Buffer, read: (chunk: Buffer, length: number) => void): Work {
  const pristine = messages(job);
  // Unmasking is done in place, so every pass needs the bytes as they were.
  const reset = () => void pristine.copy(chunk);
  const perFrame = job.size + 6 + (job.size < 126 ? 0 : job.size < 65536 ? 2 : 8);
  return { frames: pristine.length / perFrame, reset, run: () => read(chunk, pristine.length) };
}

const sink = {
  onMessage(data: Buffer) {
    seen += data.length;
  },
  onPing() {},
  onPong() {},
  onClose() {},
};

const operations: Record<string, Record<string, (job: CodecJob) => Work>> = {
  read: {
    tidings(job) {
      const reader = new FrameReader(sink, { role: 'server', maxPayload: 1 << 24 });
      return reading(job, Buffer.alloc(128 * 1024), (chunk, length) => void reader.read(chunk, 0, length));
    },
    'tidings-simd'(job) {
      const reader = new FrameReader(sink, { role: 'server', maxPayload: 1 << 24, memory: sharedMemory });
      return reading(job, sharedBuffer, (chunk, length) => void reader.read(chunk, 0, length));
    },
    ws(job) {
      const receiver = new Receiver({ isServer: true, maxPayload: 1 << 24 });
      receiver.on('message', (data: Buffer) => {
        seen += data.length;
      });
      receiver.on('error', failed);
      return reading(
        job,
        Buffer.alloc(128 * 1024),
        (chunk, length) => void receiver.write(chunk.subarray(0, length)),
      );
    },
  },
  write: {
    tidings({ size }) {
      const payload = Buffer.alloc(size, 'x');
      return each(256, () => {
        seen += encodeFrame(FIN | 1, payload).length;
      });
    },
    ws({ size }) {
      const payload = Buffer.alloc(size, 'x');
      return each(256, () => {
        const frame = Sender.frame(payload, {
          fin: true,
          rsv1: false,
          opcode: 1,
          mask: false,
          readOnly: true,
        });
        seen += frame.length;
      });
    },
  },
  unmask: {
    tidings({ size }) {
      const bytes = Buffer.alloc(size + 16);
      const words = wordsOf(bytes.buffer);
      return each(256, () => {
        seen += applyMask(bytes, words, 6, size + 6, 0x12345678);
      });
    },
    'tidings-simd'({ size }) {
      return each(256, () => {
        seen += unmask(sharedBuffer, 6, size + 6, 0x12345678);
      });
    },
    ws({ size }) {
      const bytes = Buffer.alloc(size, 'x');
      const key = Buffer.from([0x78, 0x56, 0x34, 0x12]);
      return each(256, () => bufferUtil.unmask(bytes, key));
    },
    bytes({ size }) {
      const bytes = Buffer.alloc(size, 'x');
      const key = Buffer.from([0x78, 0x56, 0x34, 0x12]);
      return each(256, () => {
        for (let i = 0; i < bytes.length; i++) bytes[i]! ^= key[i & 3]!;
      });
    },
  },
  utf8: {
    tidings(job) {
      const text = buildContent('websocket', job.kind, job.size, 1, false).expected[0]!;
      return each(256, () => {
        if (!isValidUtf8(text)) throw new Error('valid text was refused');
      });
    },
    /** What reading in the shared buffer does for ASCII: the test comes with the unmasking. */
    'tidings-simd'(job) {
      const text = buildContent('websocket', job.kind, job.size, 1, false).expected[0]!;
      text.copy(sharedBuffer);
      return each(256, () => {
        const high = unmask(sharedBuffer, 0, text.length, 0);
        if (high !== 0 && !isValidUtf8(sharedBuffer, 0, text.length))
          throw new Error('valid text was refused');
      });
    },
    ws(job) {
      const text = buildContent('websocket', job.kind, job.size, 1, false).expected[0]!;
      return each(256, () => {
        if (!isUtf8(text)) throw new Error('valid text was refused');
      });
    },
  },
};

function each(frames: number, once: () => void): Work {
  return {
    frames,
    run() {
      for (let i = 0; i < frames; i++) once();
    },
  };
}

onJob<CodecJob>(async (job) => {
  const make = operations[job.operation]?.[job.subject];
  if (!make) throw new Error(`${job.subject} has no ${job.operation}`);
  const work = make(job);
  const reset = work.reset ?? (() => {});
  repeat(work.run, reset, job.warmup);

  const whole = repeat(work.run, reset, job.duration);
  const resets = work.reset ? repeat(() => {}, reset, job.duration / 10) : 0;
  const result: CodecResult = {
    nanoseconds: ((whole - resets) * 1e6) / work.frames,
    allocated: allocatedBy(work),
  };
  if (seen === -1) throw new Error('unreachable: keeps the results from being optimized away');
  answer(result);
});

/** Milliseconds of CPU per run, with its reset. */
function repeat(run: () => void, reset: () => void, milliseconds: number): number {
  const until = performance.now() + milliseconds;
  const from = process.cpuUsage();
  let runs = 0;
  do {
    for (let i = 0; i < 10; i++) {
      reset();
      run();
    }
    runs += 10;
  } while (performance.now() < until);
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000 / runs;
}

/**
 * Bytes per frame that a collector will have to deal with. The semi-space is so large (see the flags in
 * scenarios/codec.ts) that hardly a batch meets a collection; the median leaves those out.
 */
function allocatedBy(work: Work): number {
  const batches: number[] = [];
  const runs = Math.max(1, Math.round(5000 / work.frames));
  for (let batch = 0; batch < 15; batch++) {
    const before = process.memoryUsage();
    for (let i = 0; i < runs; i++) {
      work.reset?.();
      work.run();
    }
    const after = process.memoryUsage();
    const bytes = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
    batches.push(bytes / runs / work.frames);
  }
  batches.sort((a, b) => a - b);
  return Math.max(0, batches[batches.length >> 1]!);
}
