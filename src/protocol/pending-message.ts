/** A message of which something is missing: frames, or a part of one (RFC 6455 §5.4). */
import { invalidUtf8, messageTooLong } from './errors.ts';
import type { FrameSink, Lender } from './frame-sink.ts';
import { MessageAssembly } from './message-assembly.ts';
import { TextPieces } from './text-pieces.ts';
import { advanceUtf8, UTF8_INVALID, UTF8_START } from './utf8.ts';

const EMPTY = Buffer.alloc(0);

/**
 * Takes the parts of a message as they come, out of frames and chunks cut anywhere: checks text with each of
 * them, and keeps them, or hands them on at once.
 */
export class PendingMessage {
  readonly isBinary: boolean;
  readonly isCompressed: boolean;
  /** Frames whose header has come. */
  frames = 1;
  readonly #assembly: MessageAssembly;
  readonly #checksUtf8: boolean;
  #utf8 = UTF8_START;
  /** Where parts are handed to; undefined if they are kept. */
  readonly #sink: FrameSink | undefined;
  readonly #pieces: TextPieces | undefined;

  constructor(
    isBinary: boolean,
    isCompressed: boolean,
    checksUtf8: boolean,
    lender: Lender | undefined,
    sink: FrameSink | undefined,
  ) {
    this.#assembly = new MessageAssembly(lender);
    this.isBinary = isBinary;
    this.isCompressed = isCompressed;
    // What is compressed is neither text nor a piece of the message before it is inflated.
    this.#checksUtf8 = checksUtf8 && !isBinary && !isCompressed;
    this.#sink = isCompressed ? undefined : sink;
    this.#pieces = this.#sink !== undefined && !isBinary ? new TextPieces() : undefined;
  }

  /** Bytes that have come, kept or handed on. */
  get received(): number {
    return this.#assembly.received;
  }

  /**
   * @param expected how many bytes of this frame are missing
   * @param isLast whether nothing follows the frame
   * @param high what `applyMask` said of the part; not 0 if nothing is known
   * @throws {ProtocolError} 1007 with the first byte that is wrong, 1009 without memory
   */
  append(part: Buffer, expected: number, isLast: boolean, high: number): void {
    this.#check(part, high);
    if (this.#sink === undefined) {
      if (!this.#assembly.append(part, expected, isLast)) throw messageTooLong();
      return;
    }
    this.#assembly.received += part.length;
    if (this.#pieces === undefined) {
      if (part.length > 0) this.#sink.onFragment!(part, true, false);
      return;
    }
    const completed = this.#pieces.complete(part);
    if (completed !== undefined) this.#sink.onFragment!(completed, false, false);
    const rest = this.#pieces.cut(part);
    if (rest.length > 0) this.#sink.onFragment!(rest, false, false);
  }

  /**
   * The end has come.
   *
   * @returns the message; what was handed on is not in it
   * @throws {ProtocolError} 1007 if text ends within a character
   */
  end(): Buffer {
    if (this.#utf8 !== UTF8_START) throw invalidUtf8();
    if (this.#sink === undefined) return this.#assembly.take();
    return this.#pieces?.held ?? EMPTY;
  }

  #check(part: Buffer, high: number): void {
    if (!this.#checksUtf8 || (high === 0 && this.#utf8 === UTF8_START)) return;
    this.#utf8 = advanceUtf8(this.#utf8, part, 0, part.length);
    if (this.#utf8 === UTF8_INVALID) throw invalidUtf8();
  }
}
