/**
 * Masking (RFC 6455 §5.3), in place and by 32-bit words.
 *
 * A key is a number whose lowest byte is the first on the wire. It is turned with the payload, so that what
 * is left of a payload has a key of its own: see `rotateKey`.
 */
import { randomFillSync } from 'node:crypto';

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** From here on words are worth their view; below, a view costs more than the bytes. */
export const WORDS_FROM = 24;

/** Whole words of the memory that `bytes` is a view of. Make it once per chunk: it costs as much as 32 bytes do. */
export function wordsOf(buffer: ArrayBufferLike): Int32Array {
  return new Int32Array(buffer, 0, buffer.byteLength >> 2);
}

/**
 * XORs bytes[start, end) with the key, in place, masked or unmasked alike.
 *
 * @param words `wordsOf` the memory behind `bytes`; without it bytes are done one by one
 * @returns 0 if all resulting bytes are ASCII, otherwise anything else
 */
export function applyMask(
  bytes: Uint8Array,
  words: Int32Array | undefined,
  start: number,
  end: number,
  key: number,
): number {
  let at = start;
  let turned = key;
  let high = 0;
  if (words !== undefined && end - start >= 8) {
    const base = bytes.byteOffset;
    while (((base + at) & 3) !== 0) {
      const byte = bytes[at]! ^ (turned & 0xff);
      bytes[at++] = byte;
      high |= byte;
      turned = (turned >>> 8) | (turned << 24);
    }
    const wordKey = isLittleEndian ? turned : swap(turned);
    let word = (base + at) >> 2;
    const lastWord = (base + end) >> 2;
    let seen = 0;
    for (const quad = lastWord - 3; word < quad; word += 4) {
      const a = words[word]! ^ wordKey;
      const b = words[word + 1]! ^ wordKey;
      const c = words[word + 2]! ^ wordKey;
      const d = words[word + 3]! ^ wordKey;
      words[word] = a;
      words[word + 1] = b;
      words[word + 2] = c;
      words[word + 3] = d;
      seen |= a | b | c | d;
    }
    for (; word < lastWord; word++) {
      const a = words[word]! ^ wordKey;
      words[word] = a;
      seen |= a;
    }
    high |= (seen & 0x80808080) === 0 ? 0 : 0x80;
    at = (lastWord << 2) - base;
  }
  for (; at < end; at++) {
    const byte = bytes[at]! ^ (turned & 0xff);
    bytes[at] = byte;
    high |= byte;
    turned = (turned >>> 8) | (turned << 24);
  }
  return high & 0x80;
}

/** The key for what follows the first `count` bytes of a payload. */
export function rotateKey(key: number, count: number): number {
  const bits = (count & 3) << 3;
  return bits === 0 ? key : (key >>> bits) | (key << (32 - bits));
}

/** A mask key as it lies on the wire. */
export function readKey(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

const pool = new Int32Array(2048);
let drawn = pool.length;

/** An unpredictable key (§10.3), from a pool that the operating system's generator fills 8 KiB at a time. */
export function randomKey(): number {
  if (drawn === pool.length) {
    randomFillSync(pool);
    drawn = 0;
  }
  const key = pool[drawn]!;
  // Not left in memory: a key that is on the wire must say nothing of the next, but need not be found twice.
  pool[drawn++] = 0;
  return key;
}

function swap(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
