/**
 * Reads the frames of one connection (RFC 6455 §5.2) and hands whole messages to a sink. The hottest code of
 * the project: headers are numbers read straight from the chunk, and nothing is allocated for a frame but the
 * view of its payload.
 */
import { constants } from 'node:buffer';
import { isValidCloseCode } from './close-codes.ts';
import {
  brokenFrame,
  ProtocolErrorCode as Code,
  invalidUtf8,
  messageTooLong,
  ProtocolError,
  tooManyParts,
} from './errors.ts';
import type { FrameReaderOptions, FrameSink, Lender, MessageInflater, ReadMemory } from './frame-sink.ts';
import { MAX_CONTROL_PAYLOAD, MAX_REASON, Opcode } from './frame-writer.ts';
import { applyMask, readKey, rotateKey, WORDS_FROM, wordsOf } from './mask.ts';
import { MessageAssembly } from './message-assembly.ts';
import { PendingMessage } from './pending-message.ts';
import { isValidUtf8, lastBoundary } from './utf8.ts';

const FastBuffer = (Buffer as unknown as Record<symbol, unknown>)[Symbol.species] as new (
  memory: ArrayBufferLike,
  offset: number,
  length: number,
) => Buffer;

const EMPTY = Buffer.alloc(0);
/** The longest header: 2 bytes, 8 of length, 4 of mask key. */
const MAX_HEADER = 14;
const headerScratch = Buffer.alloc(MAX_HEADER);

/** Bytes of a message that was compressed, in partial mode, where nobody has set a limit. */
const MAX_INFLATED_PARTIAL = 16 * 1024 * 1024;

/** More is in no buffer, once the end is put to it that a sender takes away. */
const MAX_COMPRESSED = constants.MAX_LENGTH - 4;

/** `applyMask` was not run, so nothing is known of the bytes. */
const UNKNOWN = 0x100;

/**
 * Reads the frames of one connection. Feed it every chunk, in order. It unmasks in place, so the chunk is not
 * the caller's any more, and it keeps nothing of it: what it must retain, it copies.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #deflate: MessageInflater | undefined;
  readonly #memory: ReadMemory | undefined;
  readonly #limit: number;
  readonly #limitInflated: number;
  readonly #maxFragments: number;
  readonly #masked: boolean;
  readonly #checksUtf8: boolean;
  readonly #partial: boolean;
  readonly #lender: Lender | undefined;

  // The frame: its header, and how much of its payload is missing.
  #isInPayload = false;
  #opcode = 0;
  #isFinal = false;
  #isCompressed = false;
  #remaining = 0;
  #key = 0;
  /** The message of which something is missing. */
  #message: PendingMessage | undefined;
  /** The beginning of a control frame's payload, whose rest is to come. */
  #control: MessageAssembly | undefined;
  /** The beginning of a header as latin1: at most 13 bytes, pinning nothing. */
  #spill = '';

  /** Of the chunk whose rest is to be fed again: it is kept by whoever does that. */
  #words: Int32Array | undefined;

  /** Frames whose header was read since somebody has set it to 0. */
  frames = 0;

  #isPaused = false;
  #isInflating = false;
  #isEnded = false;
  #hasMore = false;

  constructor(sink: FrameSink, options: FrameReaderOptions) {
    const { maxPayload, partial = false } = options;
    const isUnlimited = maxPayload === 0 && partial;
    const whole = maxPayload > 0 ? maxPayload : constants.MAX_LENGTH;
    this.#sink = sink;
    this.#deflate = options.deflate;
    this.#memory = options.memory;
    this.#limit = isUnlimited ? Infinity : whole;
    this.#limitInflated = isUnlimited ? MAX_INFLATED_PARTIAL : whole;
    this.#maxFragments = options.maxFragments ?? 0;
    this.#masked = options.role === 'server';
    this.#checksUtf8 = options.skipUtf8Validation !== true;
    this.#partial = partial;
    this.#lender = options.lender;
  }

  /** True while `read` takes nothing: `suspend` was called, or a message is being inflated. */
  get isSuspended(): boolean {
    return this.#isPaused || this.#isInflating;
  }

  /** True after a close frame or an error: what is read from then on is discarded. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Within the sink: whether more bytes of the chunk stand behind the frame that is being handed out. */
  get hasMore(): boolean {
    return this.#hasMore;
  }

  /** May be called from within the sink: `read` stops behind the frame that it is at. */
  suspend(): void {
    this.#isPaused = true;
  }

  /** If `isSuspended` is false after it, feed the rest of the chunk; otherwise `onResume` will say when. */
  resume(): void {
    this.#isPaused = false;
  }

  /**
   * Reads chunk[start, end).
   *
   * @returns where it stopped: `end`, unless it was suspended; then keep the rest and feed it later
   * @throws {ProtocolError} with the close code to send, and whatever the sink throws. After either everything
   * is discarded.
   */
  read(chunk: Buffer, start: number, end: number): number {
    try {
      return this.#read(chunk, start, end);
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #read(chunk: Buffer, start: number, end: number): number {
    const memory = chunk.buffer;
    const quick = this.#memory?.chunk === chunk ? this.#memory : undefined;
    let words = this.#words?.buffer === memory ? this.#words : undefined;
    this.#words = undefined;
    let at = start;
    while (!this.#isPaused && !this.#isInflating) {
      if (this.#isEnded) return end;
      if (!this.#isInPayload) {
        if (at === end) return end;
        at = this.#spill === '' ? this.#readHeader(chunk, at, end) : this.#readSpilledHeader(chunk, at, end);
        if (!this.#isInPayload) return end;
      }

      const remaining = this.#remaining;
      const count = Math.min(end - at, remaining);
      const to = at + count;
      let high = UNKNOWN;
      if (this.#masked && count > 0) {
        if (quick !== undefined) {
          high = quick.unmask(chunk, at, to, this.#key);
        } else {
          if (words === undefined && count >= WORDS_FROM) words = wordsOf(memory);
          high = applyMask(chunk, words, at, to, this.#key);
        }
      }

      if (count < remaining) {
        if (count === 0) return end;
        this.#remaining = remaining - count;
        this.#key = rotateKey(this.#key, count);
        this.#takePart(new FastBuffer(memory, chunk.byteOffset + at, count), high);
      } else {
        this.#isInPayload = false;
        this.#hasMore = to < end;
        const payload =
          count === 0
            ? EMPTY
            : quick === undefined
              ? new FastBuffer(memory, chunk.byteOffset + at, count)
              : quick.view(chunk, at, to);
        if (this.#opcode > 7) this.#endControl(payload);
        else if (this.#isFinal && this.#message === undefined) this.#wholeMessage(payload, high);
        else this.#endFragment(payload, high);
      }
      at = to;
    }
    if (at < end) this.#words = words;
    return at;
  }

  /** Reads a header (§5.2) at `at`; returns the index behind it. Where bytes are missing, spills what is there. */
  #readHeader(bytes: Buffer, at: number, end: number): number {
    const available = end - at;
    if (available < 2) return this.#spillHeader(bytes, at, end);
    const first = bytes[at]!;
    const second = bytes[at + 1]!;
    const opcode = first & 0x0f;
    const isFinal = first >= 0x80;
    const isRsv1 = (first & 0x40) !== 0;
    let length = second & 0x7f;

    // 1. RSV1-3: an error unless an extension gave them a meaning; RFC 7692 §6 gives RSV1 one in a message's
    //    first frame.
    if ((first & 0x30) !== 0) throw brokenFrame('RSV2 and RSV3 must be clear', Code.UNEXPECTED_RSV_2_3);
    if (isRsv1 && (this.#deflate === undefined || opcode === 0 || opcode > 2)) {
      throw brokenFrame('RSV1 must be clear', Code.UNEXPECTED_RSV_1);
    }

    // 2. Opcode: a continuation continues something, a new message does not interrupt one (§5.4), a control
    //    frame is whole and short (§5.5).
    if (opcode > 7) {
      if (opcode > Opcode.PONG) throw invalidOpcode(opcode);
      if (!isFinal) throw brokenFrame('FIN must be set', Code.EXPECTED_FIN);
      if (length > MAX_CONTROL_PAYLOAD || (opcode === Opcode.CLOSE && length === 1)) {
        throw brokenFrame(`invalid payload length ${length}`, Code.INVALID_CONTROL_PAYLOAD_LENGTH);
      }
    } else if (opcode > 2 || (opcode === 0) === (this.#message === undefined)) {
      throw invalidOpcode(opcode);
    }

    // 3. MASK: set by clients, and only by clients (§5.1).
    if (second >= 0x80 !== this.#masked) {
      throw this.#masked
        ? brokenFrame('MASK must be set', Code.EXPECTED_MASK)
        : brokenFrame('MASK must be clear', Code.UNEXPECTED_MASK);
    }

    // 4. Payload length, in the shortest form, checked against the limit before a byte is stored.
    let to = at + 2;
    if (length === 126) {
      if (available < 4) return this.#spillHeader(bytes, at, end);
      length = (bytes[to]! << 8) | bytes[to + 1]!;
      if (length < 126) throw notShortest();
      to += 2;
    } else if (length === 127) {
      if (available < 10) return this.#spillHeader(bytes, at, end);
      length = readLength64(bytes, to);
      to += 8;
    }
    if (opcode < 8) this.#checkLimits(length, isRsv1);

    // 5. Masking key.
    if (this.#masked) {
      if (end - to < 4) return this.#spillHeader(bytes, at, end);
      this.#key = readKey(bytes, to);
      to += 4;
    }

    this.#opcode = opcode;
    this.#isFinal = isFinal;
    this.#isCompressed = isRsv1;
    this.#remaining = length;
    this.#isInPayload = true;
    this.frames++;
    if (opcode === 0) this.#message!.frames++;
    return to;
  }

  #checkLimits(length: number, isRsv1: boolean): void {
    const message = this.#message;
    if (message === undefined) {
      if (length > (isRsv1 ? compressedBound(this.#limitInflated, 1) : this.#limit)) throw messageTooLong();
      return;
    }
    // What has come of the message counts: as it lies in memory, or in partial mode as it was handed on.
    const limit = message.isCompressed
      ? compressedBound(this.#limitInflated, message.frames + 1)
      : this.#limit;
    if (message.received + length > limit) throw messageTooLong();
    if (this.#maxFragments > 0 && message.frames >= this.#maxFragments) {
      throw tooManyParts('Too many message fragments');
    }
  }

  #spillHeader(bytes: Buffer, at: number, end: number): number {
    this.#spill = bytes.toString('latin1', at, end);
    return end;
  }

  #readSpilledHeader(chunk: Buffer, at: number, end: number): number {
    const spilled = this.#spill.length;
    headerScratch.write(this.#spill, 'latin1');
    const added = chunk.copy(headerScratch, spilled, at, Math.min(end, at + MAX_HEADER - spilled));
    this.#spill = '';
    const used = this.#readHeader(headerScratch, 0, spilled + added);
    return at + used - spilled;
  }

  /** A message in one frame, and the frame in one chunk: the common case, which leaves nothing behind. */
  #wholeMessage(payload: Buffer, high: number): void {
    const isBinary = this.#opcode === Opcode.BINARY;
    if (this.#isCompressed) {
      this.#inflate(payload, isBinary);
    } else {
      if (!isBinary && this.#checksUtf8 && high !== 0 && !isValidUtf8(payload)) throw invalidUtf8();
      this.#emit(payload, isBinary, false);
    }
  }

  /** Takes a part of a frame's payload, of which more is to come. */
  #takePart(part: Buffer, high: number): void {
    if (this.#opcode > 7) {
      this.#control ??= new MessageAssembly();
      this.#control.append(part, this.#remaining, true);
    } else {
      this.#pending().append(part, this.#remaining, this.#isFinal, high);
    }
  }

  #endControl(part: Buffer): void {
    let payload = part;
    if (this.#control !== undefined) {
      this.#control.append(part, 0, true);
      payload = this.#control.take();
      this.#control = undefined;
    }
    if (this.#opcode === Opcode.PING) this.#sink.onPing(payload);
    else if (this.#opcode === Opcode.PONG) this.#sink.onPong(payload);
    else this.#close(payload);
  }

  #close(payload: Buffer): void {
    let code = 1005;
    if (payload.length > 0) {
      code = payload.readUInt16BE(0);
      if (!isValidCloseCode(code)) throw brokenFrame(`invalid status code ${code}`, Code.INVALID_CLOSE_CODE);
      if (this.#checksUtf8 && !isValidUtf8(payload, 2)) throw invalidUtf8();
    }
    this.#end();
    const bytes = payload.length > 2 ? payload.subarray(2) : EMPTY;
    this.#sink.onClose(code, closeReason(bytes), bytes);
  }

  #endFragment(part: Buffer, high: number): void {
    this.#pending().append(part, 0, this.#isFinal, high);
    if (this.#isFinal) this.#endMessage();
  }

  #pending(): PendingMessage {
    this.#message ??= new PendingMessage(
      this.#opcode === Opcode.BINARY,
      this.#isCompressed,
      this.#checksUtf8,
      // What is inflated elsewhere is needed for nobody knows how long.
      this.#isCompressed ? undefined : this.#lender,
      this.#partial ? this.#sink : undefined,
    );
    return this.#message;
  }

  #endMessage(): void {
    const { isBinary, isCompressed } = this.#message!;
    const data = this.#message!.end();
    this.#message = undefined;
    if (isCompressed) {
      this.#inflate(data, isBinary);
    } else {
      this.#emit(data, isBinary, this.#lender === undefined);
      this.#lender?.release(data);
    }
  }

  #inflate(payload: Buffer, isBinary: boolean): void {
    // Set beforehand: who inflates may call back at any time after this.
    this.#isInflating = true;
    const message = this.#deflate!.inflate(payload, this.#limitInflated, (error, inflated) =>
      this.#inflated(error, inflated, isBinary),
    );
    if (message !== undefined) {
      this.#isInflating = false;
      this.#emitInflated(message, isBinary);
    }
  }

  #inflated(error: ProtocolError | null, message: Buffer, isBinary: boolean): void {
    this.#isInflating = false;
    if (this.#isEnded) return;
    try {
      if (error !== null) throw error;
      this.#emitInflated(message, isBinary);
    } catch (failure) {
      this.#end();
      if (!(failure instanceof ProtocolError)) throw failure;
      this.#sink.onError?.(failure);
      return;
    }
    if (!this.isSuspended && !this.#isEnded) this.#sink.onResume?.();
  }

  #emitInflated(message: Buffer, isBinary: boolean): void {
    if (!isBinary && this.#checksUtf8 && !isValidUtf8(message)) throw invalidUtf8();
    this.#emit(message, isBinary, true);
  }

  #emit(data: Buffer, isBinary: boolean, isOwned: boolean): void {
    if (this.#partial) this.#sink.onFragment!(data, isBinary, true);
    else this.#sink.onMessage(data, isBinary, isOwned);
  }

  #end(): void {
    this.#isEnded = true;
    this.#isInflating = false;
    this.#isInPayload = false;
    this.#message = undefined;
    this.#control = undefined;
    this.#spill = '';
    this.#words = undefined;
  }
}

/** A length in the 64-bit form (§5.2): as a number, which can't hold more than 53 bits exactly. */
function readLength64(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32BE(at);
  const length = high * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
  if (high >= 0x8000_0000) {
    throw brokenFrame('the top bit of the payload length must be clear', Code.INVALID_PAYLOAD_LENGTH);
  }
  if (high > 0x1f_ffff) {
    const message = 'Unsupported WebSocket frame: payload length > 2^53 - 1';
    throw new ProtocolError(message, Code.UNSUPPORTED_DATA_PAYLOAD_LENGTH, 1009);
  }
  if (length < 65536) throw notShortest();
  return length;
}

/**
 * Bytes that a message of the longest length may have while it is compressed. DEFLATE makes longer what it can't
 * compress: zlib by up to an eighth, as it is set; an encoder that flushes by 10 bytes more for each flush, of which
 * a sender of fragments makes one for each. No bound lets everything legal through, as there are empty blocks.
 */
function compressedBound(limit: number, frames: number): number {
  return Math.min(limit * 2 + 64 * 1024 + frames * 16, MAX_COMPRESSED);
}

/** A close reason as text that is not longer than it may be in a close frame. */
function closeReason(bytes: Buffer): string {
  const text = bytes.toString();
  // Replacement characters are longer than what they stand for.
  if (text.length * 3 <= MAX_REASON || Buffer.byteLength(text) <= MAX_REASON) return text;
  const encoded = Buffer.from(text);
  return encoded.toString('utf8', 0, lastBoundary(encoded, 0, MAX_REASON));
}

function notShortest(): ProtocolError {
  return brokenFrame('payload length is not in its shortest form', Code.INVALID_PAYLOAD_LENGTH);
}

function invalidOpcode(opcode: number): ProtocolError {
  return brokenFrame(`invalid opcode ${opcode}`, Code.INVALID_OPCODE);
}
