/**
 * What a peer's bytes mean, read slowly: RFC 6455 §5 a byte at a time, over all bytes at once, without our parser,
 * our masking or our UTF-8.
 */
import { isUtf8 } from 'node:buffer';
import { inflateRawSync, constants as zlib } from 'node:zlib';

export type Said =
  | { kind: 'message'; isBinary: boolean; data: Buffer }
  | { kind: 'ping' | 'pong'; data: Buffer }
  | { kind: 'close'; code: number; reason: string }
  | { kind: 'error'; closeCode: number };

export interface Limits {
  role: 'server' | 'client';
  /** 0: none. */
  maxPayload: number;
  maxFragments: number;
  /** Undoes permessage-deflate, where that was agreed on. */
  inflate?: (payload: Buffer) => Buffer;
}

/** Inflates message after message (RFC 7692 §7.2.2). The context is all that was ever inflated, the longest that may be used. */
export function slowInflater(windowBits: number, takesOver: boolean): (payload: Buffer) => Buffer {
  let context = Buffer.alloc(0);
  return (payload) => {
    const message = inflateRawSync(Buffer.concat([payload, Buffer.from([0x00, 0x00, 0xff, 0xff])]), {
      windowBits,
      finishFlush: zlib.Z_SYNC_FLUSH,
      ...(context.length > 0 ? { dictionary: context } : {}),
    });
    if (takesOver) context = Buffer.concat([context, message]).subarray(-(1 << windowBits));
    return message;
  };
}

const MAX_PAYLOAD_BITS = 2 ** 53;

/** Everything that the bytes say, up to the first close frame or error, or the beginning of what has not come yet. */
export function readSlowly(bytes: Buffer, limits: Limits): Said[] {
  const { role, maxPayload, maxFragments, inflate } = limits;
  const said: Said[] = [];
  const end = (closeCode: number): Said[] => [...said, { kind: 'error', closeCode }];
  let parts: Buffer[] | undefined;
  let isBinary = false;
  let isCompressed = false;
  let frames = 0;
  let at = 0;
  for (;;) {
    if (bytes.length - at < 2) return said;
    const isFinal = bytes[at]! >> 7 === 1;
    const reserved = (bytes[at]! >> 4) & 7;
    const opcode = bytes[at]! & 15;
    const isMasked = bytes[at + 1]! >> 7 === 1;
    let length = bytes[at + 1]! & 127;
    at += 2;
    const mayBeCompressed = inflate !== undefined && (opcode === 1 || opcode === 2);
    if ((reserved !== 0 && !(reserved === 4 && mayBeCompressed)) || ![0, 1, 2, 8, 9, 10].includes(opcode))
      return end(1002);
    if (opcode >= 8 && (!isFinal || length > 125 || (opcode === 8 && length === 1))) return end(1002);
    if (opcode === 0 ? parts === undefined : opcode < 8 && parts !== undefined) return end(1002);
    if (isMasked !== (role === 'server')) return end(1002);
    if (length === 126) {
      if (bytes.length - at < 2) return said;
      length = bytes[at]! * 256 + bytes[at + 1]!;
      if (length < 126) return end(1002);
      at += 2;
    } else if (length === 127) {
      if (bytes.length - at < 8) return said;
      if (bytes[at]! >= 128) return end(1002);
      length = 0;
      for (let i = 0; i < 8; i++) length = length * 256 + bytes[at + i]!;
      if (length >= MAX_PAYLOAD_BITS) return end(1009);
      if (length < 65_536) return end(1002);
      at += 8;
    }
    if (opcode < 8) {
      const before = parts?.reduce((sum, part) => sum + part.length, 0) ?? 0;
      if (maxPayload > 0 && before + length > maxPayload) return end(1009);
      if (opcode === 0 && maxFragments > 0 && frames >= maxFragments) return end(1008);
    }
    let key = [0, 0, 0, 0];
    if (isMasked) {
      if (bytes.length - at < 4) return said;
      key = [...bytes.subarray(at, at + 4)];
      at += 4;
    }
    const payload = Buffer.alloc(Math.min(length, bytes.length - at));
    for (let i = 0; i < payload.length; i++) payload[i] = bytes[at + i]! ^ key[i % 4]!;
    at += payload.length;
    const isWhole = payload.length === length;

    if (opcode >= 8) {
      if (!isWhole) return said;
      if (opcode !== 8) {
        said.push({ kind: opcode === 9 ? 'ping' : 'pong', data: payload });
        continue;
      }
      if (length === 0) return [...said, { kind: 'close', code: 1005, reason: '' }];
      const code = payload[0]! * 256 + payload[1]!;
      const isKnown = (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || code >= 3000;
      if (!isKnown || code > 4999) return end(1002);
      if (!isUtf8(payload.subarray(2))) return end(1007);
      return [...said, { kind: 'close', code, reason: payload.toString('utf8', 2) }];
    }

    if (opcode !== 0) {
      parts = [];
      isBinary = opcode === 2;
      isCompressed = reserved === 4;
      frames = 0;
    }
    parts!.push(payload);
    frames++;
    const isOver = isWhole && isFinal;
    if (isCompressed && !isOver) {
      if (!isWhole) return said;
      continue;
    }
    const message = isCompressed ? inflate!(Buffer.concat(parts!)) : Buffer.concat(parts!);
    if (!isBinary && !isUtf8(message) && (isOver || !mayBecomeUtf8(message))) return end(1007);
    if (!isWhole) return said;
    if (isOver) {
      said.push({ kind: 'message', isBinary, data: message });
      parts = undefined;
    }
  }
}

/** The borders of what RFC 3629 §4 has in second, third and fourth places. */
const FOLLOWING = [0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf];

function mayBecomeUtf8(bytes: Buffer): boolean {
  for (let held = 1; held <= Math.min(3, bytes.length); held++) {
    if (!isUtf8(bytes.subarray(0, bytes.length - held))) continue;
    let tails = [bytes.subarray(bytes.length - held)];
    for (let more = held; more < 4; more++) {
      tails = tails.flatMap((tail) => FOLLOWING.map((byte) => Buffer.concat([tail, Buffer.from([byte])])));
      if (tails.some((tail) => isUtf8(tail))) return true;
    }
  }
  return false;
}
