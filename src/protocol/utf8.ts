/**
 * UTF-8 (RFC 3629) as it comes, in pieces cut anywhere: RFC 6455 §8.1 with the earliest possible failure.
 */
import { isUtf8 } from 'node:buffer';

/**
 * Between two pieces: 0 at a character's end; otherwise what the next byte must be. Bits 0–1 hold how many
 * bytes the character still needs, bits 8–15 and 16–23 the lowest and highest value of the next one.
 */
export type Utf8State = number;

/** At the beginning of a text. */
export const UTF8_START: Utf8State = 0;
/** Not UTF-8, whatever follows. */
export const UTF8_INVALID: Utf8State = -1;

/** Below this many bytes a loop is quicker than the call into `isUtf8`. */
const NATIVE_FROM = 48;

/** Reads bytes[start, end). Returns the state behind it, or UTF8_INVALID at the first byte that can't be. */
export function advanceUtf8(state: Utf8State, bytes: Uint8Array, start: number, end: number): Utf8State {
  let at = start;
  let current = state;
  while (at < end && current !== UTF8_START) {
    current = stepUtf8(current, bytes[at++]!);
    if (current === UTF8_INVALID) return UTF8_INVALID;
  }
  if (end - at >= NATIVE_FROM) {
    const boundary = lastBoundary(bytes, at, end);
    if (!isUtf8(bytes.subarray(at, boundary))) return UTF8_INVALID;
    at = boundary;
  }
  while (at < end) {
    const byte = bytes[at++]!;
    if (current === UTF8_START && byte < 0x80) continue;
    current = stepUtf8(current, byte);
    if (current === UTF8_INVALID) return UTF8_INVALID;
  }
  return current;
}

/** Whether bytes[start, end) is UTF-8 from a character's start to a character's end. */
export function isValidUtf8(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
  if (end - start >= NATIVE_FROM) {
    // A view costs more than the check of a short text.
    return isUtf8(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
  }
  return advanceUtf8(UTF8_START, bytes, start, end) === UTF8_START;
}

/**
 * Where the last character of bytes[start, end) that may be unfinished begins; `end` where none is.
 * It looks back 3 bytes at most: what no character starts in is found invalid by whoever reads it.
 */
export function lastBoundary(bytes: Uint8Array, start: number, end: number): number {
  const stop = Math.max(start, end - 3);
  for (let at = end - 1; at >= stop; at--) {
    const byte = bytes[at]!;
    if (byte < 0x80) return end;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return at + length > end ? at : end;
    }
  }
  return end;
}

// The table of RFC 3629 §4 (UTF8-octets): overlong forms, surrogates and what lies past U+10FFFF are ruled
// out by narrowing the second byte, so the error shows there and not at the character's end.
function stepUtf8(state: Utf8State, byte: number): Utf8State {
  if (state !== UTF8_START) {
    if (byte < ((state >> 8) & 0xff) || byte > state >> 16) return UTF8_INVALID;
    const needed = (state & 3) - 1;
    return needed === 0 ? UTF8_START : continuing(needed, 0x80, 0xbf);
  }
  if (byte < 0x80) return UTF8_START;
  if (byte < 0xc2) return UTF8_INVALID;
  if (byte < 0xe0) return continuing(1, 0x80, 0xbf);
  if (byte === 0xe0) return continuing(2, 0xa0, 0xbf);
  if (byte === 0xed) return continuing(2, 0x80, 0x9f);
  if (byte < 0xf0) return continuing(2, 0x80, 0xbf);
  if (byte === 0xf0) return continuing(3, 0x90, 0xbf);
  if (byte < 0xf4) return continuing(3, 0x80, 0xbf);
  if (byte === 0xf4) return continuing(3, 0x80, 0x8f);
  return UTF8_INVALID;
}

function continuing(needed: number, lowest: number, highest: number): Utf8State {
  return needed | (lowest << 8) | (highest << 16);
}
