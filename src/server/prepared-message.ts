/** A message that is encoded, and compressed, once, and sent to many connections. */
import type { ZlibOptions } from 'node:zlib';
import { encodeFrame, FIN, Opcode, RSV1 } from '../protocol/frame-writer.ts';
import { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { type Sendable, toBytes } from './data.ts';

/**
 * A message for many connections: its frame is built once, and all connections share the same bytes. Give
 * it to `send`, `broadcast` or `publish` in place of the data.
 */
export class PreparedMessage {
  /** Whether it goes as a binary message. */
  readonly isBinary: boolean;
  /** The unmasked, uncompressed frame. */
  readonly plain: Buffer;
  /** What is in it. */
  readonly payload: Buffer;
  /** By the window bits that they were compressed for. */
  #compressed: (Buffer | undefined)[] | undefined;

  /** @param data a string goes as text, anything else as binary. It is copied. */
  constructor(data: Sendable, isBinary: boolean = typeof data !== 'string' && typeof data !== 'number') {
    const bytes = toBytes(data);
    this.isBinary = isBinary;
    this.plain = encodeFrame(FIN | this.#opcode, bytes);
    this.payload = this.plain.subarray(this.plain.length - bytes.length);
  }

  /** The message itself, or one made of the data. */
  static of(message: Sendable | PreparedMessage): PreparedMessage {
    return message instanceof PreparedMessage ? message : new PreparedMessage(message);
  }

  /** The frame for connections with permessage-deflate whose window has at least this many bits. */
  compressed(windowBits: number, options: ZlibOptions | undefined): Buffer {
    this.#compressed ??= [];
    let frame = this.#compressed[windowBits];
    if (frame === undefined) {
      const payload = MessageDeflate.deflateShared(this.payload, windowBits, options);
      frame = encodeFrame(FIN | RSV1 | this.#opcode, payload);
      this.#compressed[windowBits] = frame;
    }
    return frame;
  }

  get #opcode(): number {
    return this.isBinary ? Opcode.BINARY : Opcode.TEXT;
  }
}
