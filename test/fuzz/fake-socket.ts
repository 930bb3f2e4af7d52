/** A socket without a system: what is read is pushed, what is written is taken when the peer likes to. */
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import type { Random } from '../../src/prove/random.ts';

type Done = (error?: Error | null) => void;

export class FakeSocket extends Duplex {
  /** What the peer has taken. */
  readonly taken: Buffer[] = [];
  readonly #random: Random;
  /** Of the write that is under way: what it was given, and what was in it. */
  #chunks: { chunk: Buffer; copy: Buffer }[] = [];
  #done: Done | undefined;
  /** The peer takes everything from now on. */
  #takesAll = false;

  constructor(random: Random) {
    super({
      allowHalfOpen: random.chance(2),
      writableHighWaterMark: random.pick([1, 100, 16_384]),
      readableHighWaterMark: random.pick([1, 16_384]),
      emitClose: true,
    });
    this.#random = random;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#take([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    this.#take(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: Done): void {
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    const writing = this.#done;
    this.#done = undefined;
    this.#chunks = [];
    writing?.(error ?? new Error('write ECANCELED'));
    done(error);
  }

  /** The peer reads what was written. */
  peerReads(): void {
    const done = this.#done;
    if (done === undefined) return;
    this.#done = undefined;
    for (const { chunk, copy } of this.#chunks) {
      assert.ok(chunk.equals(copy), 'what is being written does not change');
      this.taken.push(copy);
    }
    this.#chunks = [];
    done();
  }

  peerReadsAll(): void {
    this.#takesAll = true;
    this.peerReads();
  }

  #take(chunks: Buffer[], done: Done): void {
    this.#chunks = chunks.map((chunk) => ({ chunk, copy: Buffer.from(chunk) }));
    this.#done = done;
    // As a kernel with room does, or later, or when the peer reads at last.
    const when = this.#takesAll ? 0 : this.#random.below(4);
    if (when < 2) this.peerReads();
    else if (when === 2) setImmediate(() => this.peerReads());
  }
}
