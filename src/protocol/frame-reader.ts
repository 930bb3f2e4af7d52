/**
 * Reads the frames of one connection (RFC 6455 §5.2) and hands whole messages to a sink. The hottest code of
 * the project: headers are numbers read straight from the chunk, and nothing is allocated for a frame but the
 * view of its payload.
 */
import { constants } from 'node:buffer';
import { isValidCloseCode } from './close-codes.ts';
import { ProtocolErrorCode as Code, ProtocolError } from './errors.ts';
import { MAX_CONTROL_PAYLOAD, Opcode } from './frame-writer.ts';
import { applyMask, readKey, rotateKey, WORDS_FROM, wordsOf } from './mask.ts';
import { MessageAssembly } from './message-assembly.ts';
import { TextPieces } from './text-pieces.ts';
import { advanceUtf8, isValidUtf8, UTF8_INVALID, UTF8_START } from './utf8.ts';

/** What a reader calls. Buffers are valid only during the call, unless said otherwise. */
export interface FrameSink {
  /** A whole message. `data` is only valid during the call, unless `isOwned`: then it is the sink's for good. */
  onMessage(data: Buffer, isBinary: boolean, isOwned: boolean): void;
  /**
   * With `partial: true`, instead of onMessage: a piece of a message as it comes. Text is cut between
   * characters. The last piece may be empty, no other is.
   */
  onFragment?(data: Buffer, isBinary: boolean, isLast: boolean): void;
  /** §5.5.2: to be answered with a pong of the same data. */
  onPing(data: Buffer): void;
  onPong(data: Buffer): void;
  /** §5.5.1: `code` is 1005 where the frame had none. Nothing is read after it. */
  onClose(code: number, reason: string): void;
  /** The reader was suspended by an asynchronous inflate and can go on: feed it the rest of the chunk. */
  onResume?(): void;
  /** An asynchronous inflate failed. The reader takes nothing more. */
  onError?(error: ProtocolError): void;
}

/** Undoes permessage-deflate, message by message. `MessageDeflate` is one. */
export interface MessageInflater {
  /**
   * @param data valid during the call only
   * @param limit bytes of output
   * @returns the message, or undefined if `done` is called with it later
   * @throws {ProtocolError}
   */
  inflate(
    data: Buffer,
    limit: number,
    done: (error: ProtocolError | null, data: Buffer) => void,
  ): Buffer | undefined;
}

export interface FrameReaderOptions {
  /** Which side reads: a server takes only masked frames, a client only unmasked ones (§5.1). */
  role: 'server' | 'client';
  /** Bytes of a whole message, after inflating. More is refused with 1009 before it is stored. 0: no limit. */
  maxPayload: number;
  /**
   * Hand on pieces as they come (`onFragment`). A compressed message is one piece, when it is whole; where
   * `maxPayload` is 0, of 16 MiB at most. Default false.
   */
  partial?: boolean;
  /** Frames of one message; more are refused with 1008. Default 0: no limit, as a fragment costs only its bytes. */
  maxFragments?: number;
  /** Trust text and close reasons to be UTF-8. Default false. */
  skipUtf8Validation?: boolean;
  /** Given if permessage-deflate was negotiated: allows RSV1 (RFC 7692 §6). */
  deflate?: MessageInflater;
  /** In place of `applyMask`, for memory that something quicker can reach. Same contract. */
  unmask?: (bytes: Uint8Array, start: number, end: number, key: number) => number;
}

const FastBuffer = (Buffer as unknown as Record<symbol, unknown>)[Symbol.species] as new (
  memory: ArrayBufferLike,
  offset: number,
  length: number,
) => Buffer;

const EMPTY = Buffer.alloc(0);
/** The longest header: 2 bytes, 8 of length, 4 of mask key. */
const MAX_HEADER = 14;
const headerScratch = Buffer.alloc(MAX_HEADER);

/** Missing bytes from which on a message is worth reads of its own. */
const DIRECT_FROM = 16 * 1024;

/** Bytes of a compressed message in partial mode, compressed or not, where nobody has set a limit. */
const MAX_COMPRESSED_PARTIAL = 16 * 1024 * 1024;

/** `applyMask` was not run, so nothing is known of the bytes. */
const UNKNOWN = 0x100;

/**
 * Reads the frames of one connection. Feed it every chunk, in order. It unmasks in place, so the chunk is not
 * the caller's any more, and it keeps nothing of it: what it must retain, it copies.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #deflate: MessageInflater | undefined;
  readonly #unmask: FrameReaderOptions['unmask'];
  readonly #limit: number;
  readonly #limitCompressed: number;
  readonly #maxFragments: number;
  readonly #masked: boolean;
  readonly #checksUtf8: boolean;
  readonly #pieces: TextPieces | undefined;

  // The message: its opcode while frames of it are missing, otherwise 0.
  #messageOpcode = 0;
  #isCompressed = false;
  #fragments = 0;
  #utf8 = UTF8_START;
  #assembly: MessageAssembly | undefined;

  // The frame: its header, and how much of its payload is missing.
  #isInPayload = false;
  #opcode = 0;
  #isFinal = false;
  #remaining = 0;
  #key = 0;
  /** The beginning of a control frame's payload, whose rest is to come. */
  #control: MessageAssembly | undefined;
  /** What `directTarget` gave. */
  #target: Buffer | undefined;
  /** The beginning of a header as latin1: at most 13 bytes, pinning nothing. */
  #spill = '';

  #isPaused = false;
  #isInflating = false;
  #isEnded = false;

  constructor(sink: FrameSink, options: FrameReaderOptions) {
    this.#sink = sink;
    this.#deflate = options.deflate;
    this.#unmask = options.unmask;
    const { maxPayload, partial = false } = options;
    const whole = maxPayload > 0 ? maxPayload : constants.MAX_LENGTH;
    this.#limit = maxPayload === 0 && partial ? Infinity : whole;
    this.#limitCompressed = maxPayload === 0 && partial ? MAX_COMPRESSED_PARTIAL : whole;
    this.#maxFragments = options.maxFragments ?? 0;
    this.#masked = options.role === 'server';
    this.#checksUtf8 = options.skipUtf8Validation !== true;
    this.#pieces = partial ? new TextPieces() : undefined;
  }

  /** True while `read` takes nothing: `suspend` was called, or a message is being inflated. */
  get isSuspended(): boolean {
    return this.#isPaused || this.#isInflating;
  }

  /** True after a close frame or an error: what is read from then on is discarded. */
  get isEnded(): boolean {
    return this.#isEnded;
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
   * @throws {ProtocolError} with the close code to send. After that everything is discarded.
   */
  read(chunk: Buffer, start: number, end: number): number {
    const memory = chunk.buffer;
    let words: Int32Array | undefined;
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
        if (this.#unmask !== undefined) {
          high = this.#unmask(chunk, at, to, this.#key);
        } else {
          if (words === undefined && count >= WORDS_FROM) words = wordsOf(memory);
          high = applyMask(chunk, words, at, to, this.#key);
        }
      }

      if (count < remaining) {
        if (count === 0) return end;
        this.#remaining = remaining - count;
        this.#key = rotateKey(this.#key, count);
        this.#take(new FastBuffer(memory, chunk.byteOffset + at, count), high);
      } else {
        this.#isInPayload = false;
        const payload = count === 0 ? EMPTY : new FastBuffer(memory, chunk.byteOffset + at, count);
        if (this.#opcode > 7) this.#endControl(payload);
        else if (this.#isWhole()) this.#message(payload, high);
        else this.#endFragment(payload, high);
      }
      at = to;
    }
    return at;
  }

  /**
   * Where the next bytes of the connection may be read to straight away, in place of a chunk: into the message
   * itself, if much of it is missing. Undefined otherwise. Whoever uses it calls `commit` instead of `read`.
   */
  get directTarget(): Buffer | undefined {
    if (!this.#isInPayload || this.#remaining < DIRECT_FROM || this.#assembly === undefined) return undefined;
    if (this.isSuspended || (this.#pieces !== undefined && !this.#isCompressed)) return undefined;
    this.#target = this.#assembly.room(this.#remaining);
    return this.#target;
  }

  /**
   * The next `count` bytes of the connection lie at the beginning of what `directTarget` gave.
   *
   * @throws {ProtocolError} as `read` does
   */
  commit(count: number): void {
    const part = this.#target!.subarray(0, count);
    this.#target = undefined;
    const words = count < WORDS_FROM ? undefined : wordsOf(part.buffer);
    const high = this.#masked ? applyMask(part, words, 0, count, this.#key) : UNKNOWN;
    this.#key = rotateKey(this.#key, count);
    this.#remaining -= count;
    this.#isInPayload = this.#remaining > 0;
    this.#checkText(part, high);
    this.#assembly!.received += count;
    if (!this.#isInPayload && this.#isFinal) this.#endMessage();
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
    if ((first & 0x30) !== 0) throw this.#broken('RSV2 and RSV3 must be clear', Code.UNEXPECTED_RSV_2_3);
    if (isRsv1 && (this.#deflate === undefined || opcode === 0 || opcode > 2)) {
      throw this.#broken('RSV1 must be clear', Code.UNEXPECTED_RSV_1);
    }

    // 2. Opcode: a continuation continues something, a new message does not interrupt one (§5.4), a control
    //    frame is whole and short (§5.5).
    if (
      opcode === 0
        ? this.#messageOpcode === 0
        : opcode > 2
          ? opcode < 8 || opcode > 10
          : this.#messageOpcode !== 0
    ) {
      throw this.#broken(`invalid opcode ${opcode}`, Code.INVALID_OPCODE);
    }
    if (opcode > 7) {
      if (!isFinal) throw this.#broken('FIN must be set', Code.EXPECTED_FIN);
      if (length > MAX_CONTROL_PAYLOAD || (opcode === Opcode.CLOSE && length === 1)) {
        throw this.#broken(`invalid payload length ${length}`, Code.INVALID_CONTROL_PAYLOAD_LENGTH);
      }
    }

    // 3. MASK: set by clients, and only by clients (§5.1).
    if (second >= 0x80 !== this.#masked) {
      throw this.#masked
        ? this.#broken('MASK must be set', Code.EXPECTED_MASK)
        : this.#broken('MASK must be clear', Code.UNEXPECTED_MASK);
    }

    // 4. Payload length, in the shortest form, checked against the limit before a byte is stored.
    let to = at + 2;
    if (length === 126) {
      if (available < 4) return this.#spillHeader(bytes, at, end);
      length = (bytes[to]! << 8) | bytes[to + 1]!;
      if (length < 126)
        throw this.#broken('payload length is not in its shortest form', Code.INVALID_PAYLOAD_LENGTH);
      to += 2;
    } else if (length === 127) {
      if (available < 10) return this.#spillHeader(bytes, at, end);
      length = this.#readLength64(bytes, to);
      to += 8;
    }
    if (opcode < 8) this.#checkLimits(length, opcode === 0 ? this.#isCompressed : isRsv1);

    // 5. Masking key.
    if (this.#masked) {
      if (end - to < 4) return this.#spillHeader(bytes, at, end);
      this.#key = readKey(bytes, to);
      to += 4;
    }

    this.#opcode = opcode;
    this.#isFinal = isFinal;
    this.#remaining = length;
    this.#isInPayload = true;
    if (opcode < 8) {
      if (opcode !== 0) {
        this.#messageOpcode = opcode;
        this.#isCompressed = isRsv1;
      }
      if (this.#maxFragments > 0) this.#fragments++;
    }
    return to;
  }

  #readLength64(bytes: Buffer, at: number): number {
    const high = bytes.readUInt32BE(at);
    const length = high * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
    if (high >= 0x8000_0000) {
      throw this.#broken('the top bit of the payload length must be clear', Code.INVALID_PAYLOAD_LENGTH);
    }
    if (high > 0x1f_ffff) {
      throw this.#fail(
        'Unsupported WebSocket frame: payload length > 2^53 - 1',
        Code.UNSUPPORTED_DATA_PAYLOAD_LENGTH,
        1009,
      );
    }
    if (length < 65536)
      throw this.#broken('payload length is not in its shortest form', Code.INVALID_PAYLOAD_LENGTH);
    return length;
  }

  #checkLimits(length: number, isCompressed: boolean): void {
    // What has come of the message counts: as it lies in memory, or in partial mode as it was handed on.
    const received = this.#assembly === undefined ? 0 : this.#assembly.received;
    if (received + length > (isCompressed ? this.#limitCompressed : this.#limit)) throw this.#tooLong();
    if (this.#maxFragments > 0 && this.#fragments >= this.#maxFragments) {
      throw this.#fail('Too many message fragments', Code.TOO_MANY_PARTS, 1008);
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

  /** Whether the frame that has just ended is an unfragmented message that lies whole in the chunk. */
  #isWhole(): boolean {
    return this.#isFinal && this.#opcode !== 0 && this.#assembly === undefined;
  }

  #message(payload: Buffer, high: number): void {
    this.#fragments = 0;
    if (this.#isCompressed) {
      this.#inflate(payload);
      return;
    }
    const isBinary = this.#opcode === Opcode.BINARY;
    this.#messageOpcode = 0;
    if (!isBinary && this.#checksUtf8 && high !== 0 && !isValidUtf8(payload)) throw this.#badUtf8();
    if (this.#pieces === undefined) this.#sink.onMessage(payload, isBinary, false);
    else this.#sink.onFragment!(payload, isBinary, true);
  }

  /** Takes a part of a frame's payload, of which more is to come. */
  #take(part: Buffer, high: number): void {
    if (this.#opcode > 7) {
      this.#control ??= new MessageAssembly();
      this.#control.append(part, this.#remaining);
    } else {
      this.#append(part, high);
    }
  }

  #endControl(part: Buffer): void {
    let payload = part;
    if (this.#control !== undefined) {
      this.#control.append(part, 0);
      payload = this.#control.take();
      this.#control = undefined;
    }
    if (this.#opcode === Opcode.PING) this.#sink.onPing(payload);
    else if (this.#opcode === Opcode.PONG) this.#sink.onPong(payload);
    else this.#close(payload);
  }

  #close(payload: Buffer): void {
    if (payload.length === 0) {
      this.#end();
      this.#sink.onClose(1005, '');
      return;
    }
    const code = payload.readUInt16BE(0);
    if (!isValidCloseCode(code)) throw this.#broken(`invalid status code ${code}`, Code.INVALID_CLOSE_CODE);
    if (this.#checksUtf8 && !isValidUtf8(payload, 2)) throw this.#badUtf8();
    this.#end();
    this.#sink.onClose(code, payload.toString('utf8', 2));
  }

  #endFragment(part: Buffer, high: number): void {
    this.#append(part, high);
    if (this.#isFinal) this.#endMessage();
  }

  #append(part: Buffer, high: number): void {
    this.#assembly ??= new MessageAssembly();
    this.#checkText(part, high);
    if (this.#pieces !== undefined && !this.#isCompressed) {
      this.#assembly.received += part.length;
      this.#hand(part);
      return;
    }
    if (!this.#assembly.append(part, this.#isInPayload ? this.#remaining : 0)) throw this.#tooLong();
  }

  /** The next part of a message's text, as early as it can be told (§8.1). */
  #checkText(part: Buffer, high: number): void {
    if (this.#messageOpcode !== Opcode.TEXT || this.#isCompressed || !this.#checksUtf8) return;
    if (high === 0 && this.#utf8 === UTF8_START) return;
    this.#utf8 = advanceUtf8(this.#utf8, part, 0, part.length);
    if (this.#utf8 === UTF8_INVALID) throw this.#badUtf8();
  }

  #hand(part: Buffer): void {
    if (this.#messageOpcode === Opcode.BINARY) {
      if (part.length > 0) this.#sink.onFragment!(part, true, false);
      return;
    }
    const pieces = this.#pieces!;
    const completed = pieces.complete(part);
    if (completed !== undefined) this.#sink.onFragment!(completed, false, false);
    const rest = pieces.cut(part);
    if (rest.length > 0) this.#sink.onFragment!(rest, false, false);
  }

  #endMessage(): void {
    const assembly = this.#assembly!;
    const isBinary = this.#messageOpcode === Opcode.BINARY;
    this.#assembly = undefined;
    this.#fragments = 0;
    if (this.#isCompressed) {
      this.#inflate(assembly.take());
      return;
    }
    if (this.#utf8 !== UTF8_START) throw this.#badUtf8();
    this.#messageOpcode = 0;
    if (this.#pieces === undefined) this.#sink.onMessage(assembly.take(), isBinary, true);
    else this.#sink.onFragment!(EMPTY, isBinary, true);
  }

  #inflate(payload: Buffer): void {
    this.#isInflating = true;
    let message: Buffer | undefined;
    try {
      message = this.#deflate!.inflate(payload, this.#limitCompressed, (error, inflated) =>
        this.#inflated(error, inflated),
      );
    } catch (error) {
      this.#isInflating = false;
      this.#end();
      throw error;
    }
    if (message !== undefined) {
      this.#isInflating = false;
      this.#deliver(message);
    }
  }

  #inflated(error: ProtocolError | null, message: Buffer): void {
    this.#isInflating = false;
    if (this.#isEnded) return;
    try {
      if (error !== null) {
        this.#end();
        throw error;
      }
      this.#deliver(message);
    } catch (failure) {
      if (!(failure instanceof ProtocolError)) throw failure;
      this.#sink.onError?.(failure);
      return;
    }
    if (!this.isSuspended && !this.#isEnded) this.#sink.onResume?.();
  }

  #deliver(message: Buffer): void {
    const isBinary = this.#messageOpcode === Opcode.BINARY;
    this.#messageOpcode = 0;
    this.#isCompressed = false;
    if (!isBinary && this.#checksUtf8 && !isValidUtf8(message)) throw this.#badUtf8();
    if (this.#pieces === undefined) this.#sink.onMessage(message, isBinary, true);
    else this.#sink.onFragment!(message, isBinary, true);
  }

  #end(): void {
    this.#isEnded = true;
    this.#isInPayload = false;
    this.#assembly = undefined;
    this.#control = undefined;
    this.#spill = '';
  }

  #fail(message: string, code: string, closeCode: number): ProtocolError {
    this.#end();
    return new ProtocolError(message, code, closeCode);
  }

  #broken(what: string, code: string): ProtocolError {
    return this.#fail(`Invalid WebSocket frame: ${what}`, code, 1002);
  }

  #badUtf8(): ProtocolError {
    return this.#fail('Invalid WebSocket frame: invalid UTF-8 sequence', Code.INVALID_UTF8, 1007);
  }

  #tooLong(): ProtocolError {
    return this.#fail('Max payload size exceeded', Code.UNSUPPORTED_MESSAGE_LENGTH, 1009);
  }
}
