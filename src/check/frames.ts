/**
 * Frames for the conformance runner (RFC 6455 §5.2): writes any frame, lawful or not, and reads the peer's with
 * every rule checked. It shares nothing with src/protocol: a runner built on the code it judges would only
 * agree with itself.
 */
import { randomFillSync } from 'node:crypto';

export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface FrameSpec {
  opcode: number;
  payload?: Buffer;
  /** Default true. */
  fin?: boolean;
  /** The three reserved bits as a number: RSV1 = 4, RSV2 = 2, RSV3 = 1. Default 0. */
  rsv?: number;
  /** Four octets, or undefined for an unmasked frame. */
  maskKey?: Buffer;
  /** Bits of the length field, to write a longer form than needed. Default: the shortest. */
  lengthForm?: 7 | 16 | 64;
  /** What the length field claims, where that isn't the payload's length. */
  claimedLength?: bigint;
}

export interface Frame {
  opcode: number;
  fin: boolean;
  rsv: number;
  /** The key, where the frame was masked. */
  maskKey: Buffer | undefined;
  /** Unmasked. */
  payload: Buffer;
}

/** The peer broke the protocol. The message tells what it sent and against which clause. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly closeCode: number;

  constructor(closeCode: number, message: string) {
    super(message);
    this.closeCode = closeCode;
  }
}

export function headerOf(spec: FrameSpec): Buffer {
  const length = spec.claimedLength ?? BigInt(spec.payload?.length ?? 0);
  const form = spec.lengthForm ?? (length < 126n ? 7 : length < 65_536n ? 16 : 64);
  const header = Buffer.alloc(2 + (form === 7 ? 0 : form / 8) + (spec.maskKey ? 4 : 0));
  header[0] = ((spec.fin ?? true) ? 0x80 : 0) | ((spec.rsv ?? 0) << 4) | spec.opcode;
  const masked = spec.maskKey ? 0x80 : 0;
  if (form === 7) {
    header[1] = masked | Number(length);
  } else if (form === 16) {
    header[1] = masked | 126;
    header.writeUInt16BE(Number(length), 2);
  } else {
    header[1] = masked | 127;
    header.writeBigUInt64BE(length, 2);
  }
  if (spec.maskKey) spec.maskKey.copy(header, header.length - 4);
  return header;
}

/** One frame's octets. */
export function encodeFrame(spec: FrameSpec): Buffer {
  return encodeFrames([spec]);
}

/** Many frames' octets in one buffer: what a message of thousands of fragments is written with. */
export function encodeFrames(frames: FrameSpec[]): Buffer {
  const headers = frames.map(headerOf);
  let length = 0;
  for (let i = 0; i < frames.length; i++) length += headers[i]!.length + (frames[i]!.payload?.length ?? 0);
  const octets = Buffer.allocUnsafe(length);
  let at = 0;
  for (let i = 0; i < frames.length; i++) {
    const { payload, maskKey } = frames[i]!;
    at += headers[i]!.copy(octets, at);
    if (!payload) continue;
    const end = at + payload.copy(octets, at);
    if (maskKey) applyMask(octets.subarray(at, end), maskKey);
    at = end;
  }
  return octets;
}

/**
 * Cuts a message into frames of `size` octets. Where the payload is a multiple of `size`, an empty frame with
 * FIN follows the last full one, as in the Autobahn suite.
 */
export function fragment(first: FrameSpec, size: number): FrameSpec[] {
  const payload = first.payload ?? Buffer.alloc(0);
  if (payload.length <= size) return [first];
  const frames: FrameSpec[] = [];
  for (let at = 0; ; at += size) {
    const fin = at + size > payload.length;
    const piece = payload.subarray(at, at + size);
    frames.push(
      at === 0 ? { ...first, fin, payload: piece } : { opcode: Opcode.continuation, fin, payload: piece },
    );
    if (fin) return frames;
  }
}

const keys = Buffer.alloc(4096);
let nextKey = keys.length;

export function randomMaskKey(): Buffer {
  if (nextKey === keys.length) {
    randomFillSync(keys);
    nextKey = 0;
  }
  const key = Buffer.from(keys.subarray(nextKey, nextKey + 4));
  nextKey += 4;
  return key;
}

export function applyMask(data: Buffer, key: Buffer): void {
  const [a, b, c, d] = key as unknown as [number, number, number, number];
  const whole = data.length - (data.length % 4);
  for (let i = 0; i < whole; i += 4) {
    data[i]! ^= a;
    data[i + 1]! ^= b;
    data[i + 2]! ^= c;
    data[i + 3]! ^= d;
  }
  for (let i = whole; i < data.length; i++) data[i]! ^= key[i % 4]!;
}

const names: Record<number, string> = {
  0: 'continuation',
  1: 'text',
  2: 'binary',
  8: 'close',
  9: 'ping',
  10: 'pong',
};

function nameOf(opcode: number): string {
  return names[opcode] ?? `opcode ${opcode}`;
}

export interface ParserOptions {
  /** Whether the peer must mask: it must as a client, must not as a server (§5.1). */
  isMaskRequired: boolean;
  /** Whether permessage-deflate was agreed, so that RSV1 may start a message (RFC 7692 §6). */
  hasDeflate: boolean;
  onFrame(frame: Frame): void;
}

/** Reads frames from chunks. It throws a Violation at the first broken rule; feed it no more after that. */
export class FrameParser {
  readonly #options: ParserOptions;
  readonly #header = Buffer.alloc(14);
  #headerFilled = 0;
  #headerLength = 2;
  #payloadLeft = -1;
  #payloadLength = 0;
  #pieces: Buffer[] = [];
  #isInMessage = false;

  constructor(options: ParserOptions) {
    this.#options = options;
  }

  /** @throws {Violation} */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length || this.#payloadLeft === 0) {
      if (this.#payloadLeft < 0) {
        at = this.#readHeader(chunk, at);
      } else {
        const piece = chunk.subarray(at, at + this.#payloadLeft);
        if (piece.length > 0) this.#pieces.push(piece);
        at += piece.length;
        this.#payloadLeft -= piece.length;
        if (this.#payloadLeft === 0) this.#finish();
      }
    }
  }

  #readHeader(chunk: Buffer, start: number): number {
    let at = start;
    while (this.#headerFilled < this.#headerLength) {
      if (at === chunk.length) return at;
      this.#header[this.#headerFilled++] = chunk[at++]!;
      if (this.#headerFilled === 2) {
        this.#checkFirstOctets();
        const form = this.#header[1]! & 0x7f;
        const masked = (this.#header[1]! & 0x80) !== 0;
        this.#headerLength = 2 + (form === 126 ? 2 : form === 127 ? 8 : 0) + (masked ? 4 : 0);
      }
    }
    this.#payloadLength = this.#readLength();
    this.#payloadLeft = this.#payloadLength;
    return at;
  }

  #checkFirstOctets(): void {
    const [first, second] = this.#header as unknown as [number, number];
    const opcode = first & 0x0f;
    const fin = (first & 0x80) !== 0;
    const rsv = (first >> 4) & 7;
    const isControl = opcode >= 8;
    const octets = this.#header.toString('hex', 0, 2);
    const fail = (what: string): never => {
      throw new Violation(1002, `${what} (frame starts 0x${octets})`);
    };
    if (names[opcode] === undefined) fail(`opcode ${opcode} is reserved, §5.2`);
    const startsMessage = opcode === Opcode.text || opcode === Opcode.binary;
    if (rsv !== 0 && !(rsv === 4 && this.#options.hasDeflate && startsMessage)) {
      fail(`a ${nameOf(opcode)} frame with RSV bits ${rsv.toString(2).padStart(3, '0')}, §5.2`);
    }
    const masked = (second & 0x80) !== 0;
    if (masked !== this.#options.isMaskRequired) {
      fail(masked ? 'a masked frame from a server, §5.1' : 'an unmasked frame from a client, §5.1');
    }
    if (isControl && !fin) fail(`a fragmented ${nameOf(opcode)} frame, §5.5`);
    if (isControl && (second & 0x7f) > 125) fail(`a ${nameOf(opcode)} frame of more than 125 octets, §5.5`);
    if (opcode === Opcode.continuation && !this.#isInMessage) {
      fail('a continuation frame where there is nothing to continue, §5.4');
    }
    if (startsMessage && this.#isInMessage) {
      fail(`a ${nameOf(opcode)} frame inside a fragmented message, §5.4`);
    }
    if (!isControl) this.#isInMessage = !fin;
  }

  #readLength(): number {
    const form = this.#header[1]! & 0x7f;
    if (form < 126) return form;
    const length = form === 126 ? BigInt(this.#header.readUInt16BE(2)) : this.#header.readBigUInt64BE(2);
    const octets = this.#header.toString('hex', 0, form === 126 ? 4 : 10);
    if (length < (form === 126 ? 126n : 65_536n)) {
      throw new Violation(1002, `length ${length} not in its shortest form, §5.2 (frame starts 0x${octets})`);
    }
    if (length > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new Violation(1009, `a frame of ${length} octets (frame starts 0x${octets})`);
    }
    return Number(length);
  }

  #finish(): void {
    const first = this.#header[0]!;
    const isMasked = (this.#header[1]! & 0x80) !== 0;
    const payload =
      this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#payloadLength);
    const maskKey = isMasked
      ? Buffer.from(this.#header.subarray(this.#headerLength - 4, this.#headerLength))
      : undefined;
    if (maskKey) applyMask(payload, maskKey);
    this.#pieces = [];
    this.#payloadLeft = -1;
    this.#headerFilled = 0;
    this.#headerLength = 2;
    this.#options.onFrame({
      opcode: first & 0x0f,
      fin: (first & 0x80) !== 0,
      rsv: (first >> 4) & 7,
      maskKey,
      payload,
    });
  }
}
