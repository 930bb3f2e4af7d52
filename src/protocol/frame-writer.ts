/** Writes frames (RFC 6455 §5.2): headers, whole small frames, and the payload of a close frame (§5.5.1). */
import { isValidCloseCode } from './close-codes.ts';
import { applyMask, WORDS_FROM, wordsOf } from './mask.ts';
import { isValidUtf8 } from './utf8.ts';

/** What a frame is (§5.2): 0 goes on with a message, 1 is text, 2 binary, 8 to 10 are control frames. */
export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
/** Bits of a frame's first byte. */
export const FIN = 0x80;
/** In the first byte of a compressed message (RFC 7692 §6). */
export const RSV1 = 0x40;

/** The longest payload of a control frame in bytes (§5.5). */
export const MAX_CONTROL_PAYLOAD = 125;
/** Bytes of the longest reason in a close frame, behind its code (§5.5.1). */
export const MAX_REASON = MAX_CONTROL_PAYLOAD - 2;

/** Bytes of header that a payload of this length needs: 2 to 14. */
export function headerLength(payloadLength: number, masked: boolean): number {
  return (payloadLength < 126 ? 2 : payloadLength < 65536 ? 4 : 10) + (masked ? 4 : 0);
}

/**
 * Writes a header at `at`, the length in its shortest form.
 *
 * @param firstByte FIN, RSV bits and opcode
 * @param maskKey see mask.ts; without it the frame is unmasked
 * @returns the index behind the header
 */
export function writeHeader(
  target: Uint8Array,
  at: number,
  firstByte: number,
  payloadLength: number,
  maskKey?: number,
): number {
  const mask = maskKey === undefined ? 0 : 0x80;
  let to = at;
  target[to++] = firstByte;
  if (payloadLength < 126) {
    target[to++] = mask | payloadLength;
  } else if (payloadLength < 65536) {
    target[to++] = mask | 126;
    target[to++] = payloadLength >>> 8;
    target[to++] = payloadLength;
  } else {
    target[to++] = mask | 127;
    const high = Math.floor(payloadLength / 0x1_0000_0000);
    for (let shift = 24; shift >= 0; shift -= 8) target[to++] = high >>> shift;
    for (let shift = 24; shift >= 0; shift -= 8) target[to++] = payloadLength >>> shift;
  }
  if (maskKey !== undefined) {
    target[to++] = maskKey;
    target[to++] = maskKey >>> 8;
    target[to++] = maskKey >>> 16;
    target[to++] = maskKey >>> 24;
  }
  return to;
}

/** A whole frame in one buffer of its own. The payload is copied, and masked in the copy. */
export function encodeFrame(firstByte: number, payload: Uint8Array, maskKey?: number): Buffer {
  const { length } = payload;
  const frame = Buffer.allocUnsafe(headerLength(length, maskKey !== undefined) + length);
  const at = writeHeader(frame, 0, firstByte, length, maskKey);
  frame.set(payload, at);
  if (maskKey !== undefined) {
    const words = length < WORDS_FROM ? undefined : wordsOf(frame.buffer);
    applyMask(frame, words, at, frame.length, maskKey);
  }
  return frame;
}

/**
 * The payload of a close frame: empty without a code, which the peer reports as 1005.
 *
 * @throws {TypeError} for a code that may not be on the wire, or a reason that isn't text
 * @throws {RangeError} for a reason of more than 123 bytes
 */
export function encodeClosePayload(code?: number, reason?: string | Uint8Array): Buffer {
  if (code === undefined) return Buffer.alloc(0);
  if (typeof code !== 'number' || !isValidCloseCode(code)) {
    throw new TypeError('First argument must be a valid error code number');
  }
  let text: Uint8Array;
  if (reason === undefined || typeof reason === 'string') text = Buffer.from(reason ?? '');
  else if (reason instanceof Uint8Array) text = reason;
  else throw new TypeError('Second argument must be a string or a Uint8Array');
  if (text.length > MAX_REASON) {
    throw new RangeError(`The message must not be greater than ${MAX_REASON} bytes`);
  }
  if (!isValidUtf8(text)) throw new TypeError('A close reason must be UTF-8 (RFC 6455 §5.5.1)');
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code, 0);
  payload.set(text, 2);
  return payload;
}
