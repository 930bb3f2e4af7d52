/** A message that is encoded, and compressed, once, and sent to many connections. */
import type { ZlibOptions } from 'node:zlib';
import { encodeFrame, FIN, Opcode, RSV1 } from '../protocol/frame-writer.ts';
import { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { asBuffer, type Sendable, toBytes } from './data.ts';
import { copied } from './memory.ts';

/**
 * A message for many connections: its frame is built once, and all connections share the same bytes. Give
 * it to `send`, `broadcast` or `publish` in place of the data.
 */
export class PreparedMessage {
  readonly payload: Buffer;
  readonly isBinary: boolean;
  #plain: Buffer | undefined;
  /** By the window bits that they were compressed for. */
  #compressed: (Buffer | undefined)[] | undefined;

  /** @param data a string goes as text, anything else as binary, by reference: leave it alone */
  constructor(data: Sendable, isBinary: boolean = typeof data !== 'string' && typeof data !== 'number') {
    this.payload = asBuffer(toBytes(data));
    this.isBinary = isBinary;
  }

  /** What is sent at the end of the turn: a message's view is copied, as it is gone by then. */
  static of(message: Sendable | PreparedMessage): PreparedMessage {
    if (message instanceof PreparedMessage) return message;
    return new PreparedMessage(message instanceof Uint8Array ? copied(message) : message);
  }

  /** The unmasked, uncompressed frame. */
  get plain(): Buffer {
    this.#plain ??= encodeFrame(FIN | this.#opcode, this.payload);
    return this.#plain;
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
