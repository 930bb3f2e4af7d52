/**
 * What one connection has to send: the zero-copy frame writer.
 *
 * Small frames are built, header and payload at once, in one slab that the whole process shares. A large payload
 * is written at once, by reference, with its header and what waits before it, so that the kernel has it when the
 * call returns; where it would have to wait, it is copied.
 *
 * The first frame of a turn of the event loop leaves at once, and the rest of the turn in one write at its end.
 * While a read is being handed out, that moment comes with the last message of the read: sixteen requests that
 * came together are answered in one write.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { monotonicNow, nextTick } from '../clock.ts';
import { encodeFrame, headerLength, writeHeader } from '../protocol/frame-writer.ts';
import { applyMask, randomKey, readKey, WORDS_FROM, wordsOf } from '../protocol/mask.ts';
import { asBuffer } from './data.ts';
import { borrow, copied, isShared, retain, sharedBuffer } from './memory.ts';
import { isPlain } from './node-insides.ts';
import { callAll, inItsContext, releasing, type SendCallback } from './send-callbacks.ts';
import { SlicedWriter } from './sliced-writer.ts';
import { guard } from './socket-guard.ts';
import { throwLater } from './throw-later.ts';
import { endTurnSoon, flushAtEndOfTurn, isLastTurn, lookAgain, turn } from './tick.ts';
import type { Traffic } from './traffic.ts';

/** Frames that are ready for the wire. */
export interface EncodedFrames {
  readonly bytes: Buffer;
  /** How many there are. */
  readonly count: number;
}

/** Who hands out what was read. */
export interface ReadSource {
  /** Whether more of the same read is to be handed out. */
  readonly hasMore: boolean;
}

/** Room for all that one read into the shared buffer brings, answered at once. */
const SLAB_BYTES = sharedBuffer.length + 16 * 1024;
/** Payloads up to here are copied into the slab; longer ones cost more to copy than an entry of a writev. */
const COPY_LIMIT = 16 * 1024;
/** UTF-8 takes at most three bytes for a UTF-16 unit. */
const COPY_LIMIT_CHARS = Math.floor(COPY_LIMIT / 3);
/** What is put off is written without waiting for the end of the turn from here on. */
const JOIN_LIMIT = 64 * 1024;
/** Pieces that are smaller together are copied into one buffer: cheaper than as many entries of a writev. */
const GATHER_LIMIT = 16 * 1024;
/** Milliseconds. */
const MOMENT = 20;
const MAX_HEADER = 14;
const EMPTY = Buffer.alloc(0);

/**
 * Memory for frames on their way out. A run is what one outbox has written without another one coming in
 * between. Everything below `base` may still be read by the kernel or a stream; from `base` on it is used
 * again as soon as no run is open.
 */
class Slab {
  readonly buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  readonly words = wordsOf(this.buffer.buffer);
  base = 0;
  at = 0;
  runStart = 0;
  /** Runs that have been begun and not been written to their socket. */
  openRuns = 0;
  owner: Outbox | null = null;
}

let slab = new Slab();
/** The outbox of the connection whose read callback is running. */
let reading: Outbox | null = null;

// What was put off is not lost with `process.exit()`.
process.on('exit', () => reading?.flush());

let waiting: Outbox[] = [];
let spareWaiting: Outbox[] = [];

function flushWaiting(): void {
  const due = waiting;
  waiting = spareWaiting;
  spareWaiting = due;
  for (let i = 0; i < due.length; i++) {
    if (i > 0) lookAgain();
    due[i]!.endWait();
  }
  due.length = 0;
}

/** Frames for many connections are written as latin1 up to this many bytes: Node's way for strings is the shorter one. */
const TEXT_LIMIT = 4096;
let sharedFrames: Buffer | null = null;
let sharedText = '';

const keyBytes = Buffer.alloc(4);

export class Outbox {
  readonly socket: Duplex;
  /** Clients mask (RFC 6455 §5.3). */
  readonly #masks: boolean;
  readonly #generateMask: ((key: Buffer) => void) | undefined;
  readonly #traffic: Traffic;
  /** Null for a plain socket: what that has taken is with the kernel, and other streams may hold on to it. */
  readonly #sliced: SlicedWriter | null;
  /** When it began to write what it is still writing. */
  #slicedSince = 0;
  #pieces: Buffer[] | null = null;
  #callbacks: SendCallback[] | null = null;
  #pendingBytes = 0;
  #slab: Slab | null = null;
  #slabRuns = 0;
  #waits = false;
  #lastTurn = -1;
  /** Something has left at once in the read callback that is running. */
  #hasAnswered = false;
  #source: ReadSource | null = null;
  #isGuarded = false;
  /** A write has asked for `drain`: Node's getters are asked only then. */
  #mayBeBacklogged = false;

  /**
   * @param traffic what is written is added to
   * @param generateMask fills four bytes with a masking key in place of the random generator
   * @param owner is told where the socket does not emit `drain`
   */
  constructor(
    socket: Duplex,
    masks: boolean,
    traffic: Traffic,
    generateMask?: (key: Buffer) => void,
    owner?: { socketDrained(): void },
  ) {
    this.socket = socket;
    this.#masks = masks;
    this.#traffic = traffic;
    this.#generateMask = generateMask;
    this.#sliced = isPlain(socket) ? null : new SlicedWriter(socket, owner);
  }

  /** Bytes that the kernel has not taken. */
  get bufferedBytes(): number {
    const sliced = this.#sliced === null ? 0 : this.#sliced.waitingBytes;
    return this.#pendingBytes + sliced + this.socket.writableLength;
  }

  /**
   * Whether something of earlier turns is still here. Of a stream that is no plain socket, what was written a moment ago
   * is on its way: it takes a turn or two to get to the kernel.
   */
  get isStuck(): boolean {
    const bytes = this.bufferedBytes - this.#pendingBytes;
    if (bytes === 0 || this.#sliced === null) return bytes > 0;
    return bytes > JOIN_LIMIT || monotonicNow() - this.#slicedSince > MOMENT;
  }

  /** How much of what was written has left, in no unit; undefined for a plain socket, where Node looks after it. */
  get progress(): number | undefined {
    return this.#sliced?.written;
  }

  get hasPutOff(): boolean {
    return this.#pendingBytes > 0;
  }

  /** Of a stream that is no plain socket: whether it is still to be given something. Its own `drain` comes between slices. */
  get hasMore(): boolean {
    return this.#sliced !== null && this.#sliced.waitingBytes > 0;
  }

  /** True while the peer reads more slowly than we write; the socket emits `drain` when that is over. */
  get isBacklogged(): boolean {
    const { socket } = this;
    if (this.#sliced !== null) {
      // As many may wait for the end of the write that is under way as would wait in the stream itself.
      const { waitingBytes } = this.#sliced;
      if (waitingBytes >= socket.writableHighWaterMark) return true;
      return socket.writableNeedDrain && socket.writableLength > 0;
    }
    if (!this.#mayBeBacklogged) return false;
    this.#mayBeBacklogged = socket.writableNeedDrain;
    // A long write asks for `drain` even where the kernel has taken all of it at once.
    return this.#mayBeBacklogged && socket.writableLength > 0;
  }

  /** The connection's read callback begins. Returns what `endRead` needs. */
  beginRead(from: ReadSource): Outbox | null {
    const outer = reading;
    reading = this;
    this.#source = from;
    this.#hasAnswered = false;
    return outer;
  }

  /** It is over: what was put off leaves now. */
  endRead(outer: Outbox | null): void {
    reading = outer;
    if (this.#pendingBytes > 0) this.flush();
  }

  get isHandingOut(): boolean {
    return reading === this;
  }

  /** A frame with a text payload. `firstByte` is FIN, RSV bits and opcode. */
  text(firstByte: number, text: string, callback?: SendCallback): void {
    const chars = text.length;
    if (chars > COPY_LIMIT_CHARS) {
      this.bytes(firstByte, Buffer.from(text), callback, true);
      return;
    }
    const start = this.#reserve(chars * 3 + MAX_HEADER);
    const { buffer } = slab;
    const masks = this.#masks;
    const guess = headerLength(chars, masks);
    const length = chars === 0 ? 0 : buffer.write(text, start + guess);
    const actual = headerLength(length, masks);
    if (actual !== guess) buffer.copyWithin(start + actual, start + guess, start + guess + length);
    this.#finishFrame(firstByte, start, length, callback);
  }

  /**
   * A frame with these bytes, which are the caller's again afterwards. Only of a long payload that the operating
   * system has not taken all of, the rest is still read from where it is, until `callback`.
   *
   * @param isOurs nobody will change the bytes
   */
  bytes(firstByte: number, payload: Uint8Array, callback?: SendCallback, isOurs = false): void {
    const { length } = payload;
    const masks = this.#masks;
    if (length <= COPY_LIMIT) {
      const start = this.#reserve(length + MAX_HEADER);
      slab.buffer.set(payload, start + headerLength(length, masks));
      this.#finishFrame(firstByte, start, length, callback);
    } else if (masks) {
      this.#traffic.framesOut++;
      this.#addPiece(encodeFrame(firstByte, payload, this.#maskKey()));
      this.#commit(headerLength(length, true) + length, callback);
    } else if (isShared(payload)) {
      // What lies in the buffer that sockets are read into can't stay there until the kernel takes it.
      this.#traffic.framesOut++;
      const loan = borrow(length + MAX_HEADER)!;
      const at = writeHeader(loan, 0, firstByte, length);
      loan.set(payload, at);
      this.#addPiece(loan.subarray(0, at + length));
      this.#commit(at + length, releasing(loan, callback));
    } else {
      this.#traffic.framesOut++;
      const start = this.#reserve(MAX_HEADER);
      slab.at = writeHeader(slab.buffer, start, firstByte, length);
      const header = slab.at - start;
      const isLent = retain(payload);
      this.#addPiece(isOurs || isLent || this.#writesThrough ? asBuffer(payload) : copied(payload));
      this.#commit(header + length, isLent ? releasing(payload, callback) : callback, true);
    }
  }

  /** What is written now is with the kernel when `write` returns, but for what is too much; or is copied by `flush`. */
  get #writesThrough(): boolean {
    const { socket } = this;
    if (this.#sliced !== null) return true;
    return socket.writableLength === 0 && socket.writableCorked === 0 && !(socket as Socket).connecting;
  }

  /** Frames that are ready for the wire, by reference: nobody may change them any more. */
  encoded({ bytes: frames, count }: EncodedFrames, callback?: SendCallback): void {
    this.#traffic.framesOut += count;
    this.#addPiece(frames);
    this.#commit(frames.length, callback);
  }

  /** Like `encoded`, for the shared frames of a batch at the end of a turn: written now. */
  encodedNow({ bytes: frames, count }: EncodedFrames): void {
    if (this.#pendingBytes === 0 && this.#sliced === null) {
      if (!this.socket.writable) return;
      this.#traffic.framesOut += count;
      this.#traffic.bytesOut += frames.length;
      if (frames.length > TEXT_LIMIT) {
        if (!this.socket.write(frames)) this.#mayBeBacklogged = true;
        return;
      }
      if (frames !== sharedFrames) {
        sharedFrames = frames;
        sharedText = frames.toString('latin1');
      }
      if (!this.socket.write(sharedText, 'latin1')) this.#mayBeBacklogged = true;
      return;
    }
    this.#traffic.framesOut += count;
    this.#addPiece(frames);
    this.#pendingBytes += frames.length;
    this.flush();
  }

  /** Like `encoded`, but never written before the end of the read callback or turn. */
  encodedLater({ bytes: frames, count }: EncodedFrames): void {
    this.#traffic.framesOut += count;
    this.#addPiece(frames);
    this.#pendingBytes += frames.length;
    this.#putOff();
  }

  /** Calls back when all that was written until now is with the operating system, or will never be. */
  onceWritten(callback: () => void): void {
    this.flush();
    if (!this.socket.writable) nextTick(callback);
    else if (this.#sliced !== null) this.#sliced.write(EMPTY, callback);
    else this.socket.write(EMPTY, callback);
  }

  /** Writes what has been put off. */
  flush(): void {
    const { socket } = this;
    let run: Buffer | null = null;
    if (slab.owner === this) {
      run = slab.buffer.subarray(slab.runStart, slab.at);
      slab.owner = null;
    }
    const pieces = this.#pieces;
    const callbacks = this.#callbacks;
    const bytes = this.#pendingBytes;
    const slabUsed = this.#slab;
    const slabRuns = this.#slabRuns;
    this.#pendingBytes = 0;
    this.#pieces = null;
    this.#callbacks = null;
    this.#slab = null;
    this.#slabRuns = 0;
    if (bytes === 0) return;
    if (!socket.writable) {
      if (slabUsed !== null) this.#release(slabUsed, slabRuns);
      if (callbacks !== null) nextTick(callAll, callbacks, new Error('The connection is closed'));
      return;
    }
    this.#traffic.bytesOut += bytes;
    const done = callbacks === null ? undefined : (error?: Error | null) => callAll(callbacks, error);
    let wasTaken: boolean;
    if (this.#sliced !== null) {
      if (pieces !== null && run !== null) pieces.push(run);
      this.#guard();
      // What may not be there later is copied with it.
      const all = pieces === null ? run! : pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, bytes);
      if (this.#sliced.waitingBytes === 0) this.#slicedSince = monotonicNow();
      this.#sliced.write(all, done);
      wasTaken = true;
    } else if (pieces === null) {
      wasTaken = socket.write(run!, done);
    } else {
      if (run !== null) pieces.push(run);
      if (pieces.length === 1) wasTaken = socket.write(pieces[0]!, done);
      else if (bytes <= GATHER_LIMIT) wasTaken = socket.write(Buffer.concat(pieces, bytes), done);
      else wasTaken = writeAll(socket, pieces, done);
    }
    if (!wasTaken) this.#mayBeBacklogged = true;
    if (slabUsed !== null) this.#release(slabUsed, slabRuns);
  }

  /** Writes what has been put off, and leaves nothing here: somebody else is about to write, or to end. */
  handOver(): void {
    this.flush();
    this.#sliced?.handOver();
  }

  /** What is written from here on leaves with the end of the read callback or turn. */
  beginWait(): void {
    if (reading === this) this.#hasAnswered = true;
    else this.#putOff();
  }

  /** The end of the turn has come. */
  endWait(): void {
    this.#waits = false;
    this.flush();
  }

  /** Room for `size` bytes at the end of this outbox's run in the slab; returns where. */
  #reserve(size: number): number {
    if (slab.owner === this) {
      if (slab.at + size <= SLAB_BYTES) return slab.at;
      this.flush();
    } else if (slab.owner !== null) {
      slab.owner.#sealRun();
    }
    if (slab.at + size > SLAB_BYTES) slab = new Slab();
    slab.owner = this;
    slab.runStart = slab.at;
    slab.openRuns++;
    // Runs that this outbox has in an older slab keep that one alive by themselves.
    if (this.#slab !== slab) this.#slabRuns = 0;
    this.#slab = slab;
    this.#slabRuns++;
    return slab.at;
  }

  #sealRun(): void {
    const run = slab.buffer.subarray(slab.runStart, slab.at);
    slab.owner = null;
    if (this.#pieces === null) this.#pieces = [run];
    else this.#pieces.push(run);
  }

  /** The slab's memory may be used again if the socket has copied all of it; otherwise it is the socket's. */
  #release(used: Slab, runs: number): void {
    used.openRuns -= runs;
    if (this.#sliced !== null || this.socket.writableLength !== 0) used.base = used.at;
    if (used.openRuns === 0) used.at = used.base;
  }

  #addPiece(piece: Buffer): void {
    if (slab.owner === this) this.#sealRun();
    if (this.#pieces === null) this.#pieces = [piece];
    else this.#pieces.push(piece);
  }

  /** The payload stands behind the room for its header: writes the header, and masks. */
  #finishFrame(firstByte: number, start: number, length: number, callback: SendCallback | undefined): void {
    const { buffer } = slab;
    this.#traffic.framesOut++;
    let at: number;
    if (this.#masks) {
      const key = this.#maskKey();
      at = writeHeader(buffer, start, firstByte, length, key);
      applyMask(buffer, length < WORDS_FROM ? undefined : slab.words, at, at + length, key);
    } else if (length < 126) {
      buffer[start] = firstByte;
      buffer[start + 1] = length;
      at = start + 2;
    } else {
      at = writeHeader(buffer, start, firstByte, length);
    }
    slab.at = at + length;
    this.#commit(slab.at - start, callback);
  }

  #maskKey(): number {
    const generateMask = this.#generateMask;
    if (generateMask === undefined) return randomKey();
    try {
      generateMask(keyBytes);
    } catch (thrown) {
      // The frame may be a pong or a close frame of our own, which nobody has called for.
      throwLater(thrown);
      return randomKey();
    }
    return readKey(keyBytes, 0);
  }

  /** Decides when what was just added leaves. */
  #commit(bytes: number, callback: SendCallback | undefined, atOnce = false): void {
    this.#pendingBytes += bytes;
    const leaves = atOnce || this.#pendingBytes >= JOIN_LIMIT || this.#isFirst();
    if (callback !== undefined) {
      // Node calls back in the context of the write, unless that has to wait for another one.
      const isWritten = leaves && this.#sliced === null && this.#writesThrough;
      const call = isWritten ? callback : inItsContext(callback);
      if (this.#callbacks === null) this.#callbacks = [call];
      else this.#callbacks.push(call);
    }
    if (leaves) this.flush();
    else this.#putOff();
  }

  /** Whether this is the first frame of the turn. Where several messages came in one read, only the last one begins it. */
  #isFirst(): boolean {
    if (isLastTurn) return true;
    if (reading !== null && reading.#source!.hasMore) return false;
    if (reading === this) {
      if (this.#hasAnswered) return false;
      this.#hasAnswered = true;
      return true;
    }
    if (this.#waits || this.#lastTurn === turn) return false;
    this.#lastTurn = turn;
    endTurnSoon();
    return true;
  }

  #guard(): void {
    if (this.#isGuarded) return;
    this.#isGuarded = true;
    guard(this.socket, this);
  }

  /** To the end of the read callback or, outside of it, of the turn. */
  #putOff(): void {
    this.#guard();
    if (reading === this || this.#waits) return;
    this.#waits = true;
    if (waiting.push(this) === 1) flushAtEndOfTurn(flushWaiting);
  }
}

function writeAll(
  socket: Duplex,
  pieces: Buffer[],
  done: ((error?: Error | null) => void) | undefined,
): boolean {
  socket.cork();
  const last = pieces.length - 1;
  for (let i = 0; i < last; i++) socket.write(pieces[i]!);
  const wasTaken = socket.write(pieces[last]!, done);
  socket.uncork();
  return wasTaken;
}
