/** Cuts text that is handed on as it comes between characters (RFC 6455 §5.4: a fragment may end inside one). */
import { lastBoundary } from './utf8.ts';

/** Holds back the beginning of a character, at most 3 bytes, until its end comes. */
export class TextPieces {
  /** The beginning of a character; left over where the text ends in one, unchecked. */
  get held(): Buffer | undefined {
    return this.#held;
  }

  #held: Buffer | undefined;
  #taken = 0;

  /** The character that `part` completes, if one was held back and it does. Call it before `cut`. */
  complete(part: Buffer): Buffer | undefined {
    this.#taken = 0;
    const held = this.#held;
    if (held === undefined || part.length === 0) return undefined;
    const first = held[0]!;
    const missing = (first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2) - held.length;
    this.#taken = Math.min(missing, part.length);
    const joined = Buffer.concat([held, part.subarray(0, this.#taken)]);
    if (this.#taken < missing) {
      this.#held = joined;
      return undefined;
    }
    this.#held = undefined;
    return joined;
  }

  /** The whole characters of what `complete` left of `part`. What follows them is held back. */
  cut(part: Buffer): Buffer {
    const start = this.#taken;
    if (this.#held !== undefined) return part.subarray(part.length);
    const end = lastBoundary(part, start, part.length);
    // Not Buffer.from: a few bytes in its pool would pin 8 KiB.
    if (end < part.length) {
      this.#held = Buffer.alloc(part.length - end);
      part.copy(this.#held, 0, end);
    }
    return part.subarray(start, end);
  }
}
