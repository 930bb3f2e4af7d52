/**
 * The frame reader as production runs it: several connections read into one buffer, one after the other, long messages
 * lie in memory on loan, and a reader may be suspended at any message. What each is told must be what a slow model says.
 */
import assert from 'node:assert/strict';
import { encodeFrame, FrameReader, type FrameSink, ProtocolError } from '../../src/protocol/index.ts';
import type { Random } from '../../src/prove/random.ts';
import { lender, release, retain, sharedBuffer, sharedMemory } from '../../src/server/memory.ts';
import { generateFrames } from './frames.ts';
import { type Limits, readSlowly, type Said } from './model.ts';
import { corpus, type Target } from './target.ts';

const MAX_PAYLOAD = 300_000;

/** One connection: its bytes, how far they have come, and what was said. */
class Reading implements FrameSink {
  readonly said: Said[] = [];
  readonly reader: FrameReader;
  readonly #bytes: Buffer;
  readonly #random: Random;
  readonly #lends: boolean;
  /** Messages that somebody still looks at, with what is in them. */
  readonly #retained: { data: Buffer; copy: Buffer }[] = [];
  #at = 0;
  #held: Buffer[] = [];

  constructor(bytes: Buffer, random: Random, limits: Limits, lends: boolean) {
    this.#bytes = bytes;
    this.#random = random;
    this.#lends = lends;
    this.reader = new FrameReader(this, {
      ...limits,
      memory: sharedMemory,
      ...(lends ? { lender } : {}),
    });
  }

  get isOver(): boolean {
    return this.#at === this.#bytes.length && this.#held.length === 0;
  }

  /** What comes next, or, if the reader was suspended, what was held. */
  step(): void {
    if (this.reader.isSuspended) {
      if (!this.#random.chance(3)) this.reader.resume();
      return;
    }
    if (this.#held.length > 0) {
      const [chunk] = this.#held;
      const stopped = this.#read(chunk!, 0, chunk!.length);
      if (stopped < chunk!.length) this.#held[0] = chunk!.subarray(stopped);
      else this.#held.shift();
    }
    if (this.#at < this.#bytes.length && (this.#held.length > 0 || !this.reader.isSuspended)) this.#receive();
  }

  #receive(): void {
    const most = this.#random.pick([1, 3, 20, 500, 65_536, 65_536]);
    const count = Math.min(this.#bytes.length - this.#at, 1 + this.#random.below(most), sharedBuffer.length);
    this.#bytes.copy(sharedBuffer, 0, this.#at, this.#at + count);
    this.#at += count;
    const from = this.#held.length > 0 ? 0 : this.#read(sharedBuffer, 0, count);
    if (from < count) this.#held.push(Buffer.from(sharedBuffer.subarray(from, count)));
    // The next read of any socket.
    sharedBuffer.fill(0xdd, 0, count);
  }

  #read(chunk: Buffer, start: number, end: number): number {
    try {
      return this.reader.read(chunk, start, end);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.said.push({ kind: 'error', closeCode: error.closeCode });
      return end;
    }
  }

  onMessage(data: Buffer, isBinary: boolean, isOwned: boolean): void {
    assert.ok(!isOwned || !this.#lends, 'nothing is given away that is lent');
    this.said.push({ kind: 'message', isBinary, data: isOwned ? data : Buffer.from(data) });
    if (!isOwned && this.#random.chance(2) && retain(data)) {
      this.#retained.push({ data, copy: Buffer.from(data) });
    }
    if (this.#random.chance(3)) this.reader.suspend();
  }

  onPing(data: Buffer): void {
    this.said.push({ kind: 'ping', data: Buffer.from(data) });
    if (this.#random.chance(8)) this.reader.suspend();
  }

  onPong(data: Buffer): void {
    this.said.push({ kind: 'pong', data: Buffer.from(data) });
  }

  onClose(code: number, reason: string): void {
    this.said.push({ kind: 'close', code, reason });
  }

  /** Somebody needs a message no more; or, at the end, nobody any. */
  letGo(all: boolean): void {
    while (this.#retained.length > 0 && (all || this.#random.chance(4))) {
      const { data, copy } = this.#retained.shift()!;
      assert.ok(data.equals(copy), 'a message stays as it is while somebody needs it');
      release(data);
    }
  }
}

/** Messages long enough for a loan, whole and in parts, before and behind what the fuzzer made. */
function withLongMessages(input: Buffer, random: Random): Buffer {
  const mask = (): number => random.next() | 0;
  const parts: Buffer[] = [];
  for (let count = random.below(4); count > 0; count--) {
    const length = random.pick([
      15_000,
      16_384,
      33_000,
      65_522,
      65_536,
      140_000,
      MAX_PAYLOAD,
      MAX_PAYLOAD + 1,
    ]);
    const opcode = 1 + random.below(2);
    const payload = Buffer.alloc(length, random.pick(['a', 'é', '€uro', '😀']));
    const isText = opcode === 1;
    // Whole characters, mostly.
    const whole =
      isText && !random.chance(8) ? Buffer.from(payload.toString().replace(/\ufffd/g, '')) : payload;
    const cut = random.chance(2) ? random.below(whole.length) : whole.length;
    if (cut === whole.length) {
      parts.push(encodeFrame(0x80 | opcode, whole, mask()));
    } else {
      parts.push(encodeFrame(opcode, whole.subarray(0, cut), mask()));
      if (random.chance(2)) parts.push(encodeFrame(0x89, Buffer.from('between'), mask()));
      parts.push(encodeFrame(0x80, whole.subarray(cut), mask()));
    }
  }
  parts.splice(random.below(parts.length + 1), 0, input);
  return Buffer.concat(parts);
}

export const sharedReads: Target = {
  name: 'shared-reads',
  corpus: corpus('frames'),
  generate: generateFrames,
  run(input, random) {
    const limits: Limits = {
      role: 'server',
      maxPayload: MAX_PAYLOAD,
      maxFragments: random.chance(8) ? 3 : 0,
    };
    const inputs = Array.from({ length: 1 + random.below(3) }, (_, i) =>
      withLongMessages(i === 0 ? input : generateFrames(random), random),
    );
    const lends = random.chance(2);
    const readings = inputs.map((bytes) => new Reading(bytes, random, limits, lends));
    while (!readings.every((reading) => reading.isOver)) {
      const reading = random.pick(readings);
      reading.step();
      reading.letGo(false);
    }
    for (const [i, reading] of readings.entries()) {
      reading.letGo(true);
      assert.deepEqual(reading.said, readSlowly(inputs[i]!, limits), 'what the slow model says');
    }
  },
};
