/** What stands around a FrameReader: who gets what it reads, who inflates for it, and what it is told. */
import type { ProtocolError } from './errors.ts';

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
  /** A pong came (§5.5.3). */
  onPong(data: Buffer): void;
  /**
   * §5.5.1: `code` is 1005 where the frame had none. Nothing is read after it.
   *
   * @param reason at most 123 bytes of UTF-8, so that it can be sent back. What was none, with
   * `skipUtf8Validation`, is replaced by U+FFFD, and what is too long then is cut off
   * @param bytes the reason as it came
   */
  onClose(code: number, reason: string, bytes: Buffer): void;
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

/** How to reach the memory of a chunk that is filled again and again. */
export interface ReadMemory {
  /** The chunk that it is about: what lies elsewhere is read as without it. */
  readonly chunk: Buffer;
  /** In place of `applyMask`, with the same contract. */
  unmask(bytes: Buffer, start: number, end: number, key: number): number;
  /** `bytes.subarray(start, end)`. The same object may be given again once the call of the sink is over. */
  view(bytes: Buffer, start: number, end: number): Buffer;
}

/** Memory that is used again. */
export interface Lender {
  /** At least `size` bytes, or undefined for a size that is not lent. */
  borrow(size: number): Buffer | undefined;
  /** Whoever has borrowed needs it no more. To be ignored for bytes that were not lent. */
  release(bytes: Uint8Array): void;
}

/** What a FrameReader checks, and how. */
export interface FrameReaderOptions {
  /** Which side reads: a server takes only masked frames, a client only unmasked ones (§5.1). */
  role: 'server' | 'client';
  /**
   * Bytes of a whole message, after inflating. More is refused with 1009 before it is stored. While it is
   * compressed it may take twice as many, 64 KiB, and 16 for each frame. 0: no limit.
   */
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
  /**
   * Given if messages are never the sink's for good: those that come in pieces are put together in memory that is
   * borrowed for the call of the sink.
   */
  lender?: Lender;
  /** What is quicker than the reader's own ways, for memory that the caller knows. */
  memory?: ReadMemory;
}
