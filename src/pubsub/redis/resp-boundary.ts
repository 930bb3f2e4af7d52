/**
 * Finds where a RESP2 reply ends, without building it: for replies that come in pieces, and for those that are
 * too long to keep. Whatever passes here is well-formed, so that the parser behind it meets no surprises.
 */
import { RedisError } from './errors.ts';

const CR = 13;
const LF = 10;
const MINUS = 45;
/** Arrays within arrays. What Redis answers by itself has some ten; the parser is recursive. */
const MAX_DEPTH = 128;
/** Bytes of a status, an error, a number or a length. */
const MAX_LINE = 64 * 1024;
/** No length of Redis has more. */
const MAX_DIGITS = 15;

export function malformed(what: string): RedisError {
  return new RedisError('REDIS_PROTOCOL', `what came is not RESP2: ${what}`);
}

export class RespBoundary {
  /** Elements still to come of each array that is open, the reply itself being the only one of the first. */
  readonly #open: number[] = [1];
  #isInBulk = false;
  /** Bytes still to come of a bulk string. */
  #payload = 0;

  reset(): void {
    this.#open.length = 1;
    this.#open[0] = 1;
    this.#isInBulk = false;
    this.#payload = 0;
  }

  /** True once the whole reply was passed, until `reset`. */
  get isDone(): boolean {
    return this.#open.length === 0;
  }

  /** Bytes that are known to follow. */
  get owed(): number {
    return this.#isInBulk ? this.#payload + 2 : 0;
  }

  /**
   * Passes what lies in [start, end) and returns how far it got: to the reply's end, or to a line that is not all
   * there, which is to come again with the rest.
   *
   * @throws {RedisError} `REDIS_PROTOCOL`
   */
  advance(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (this.#open.length > 0) {
      if (this.#isInBulk) {
        const taken = Math.min(this.#payload, end - at);
        this.#payload -= taken;
        at += taken;
        if (this.#payload > 0 || at + 2 > end) return at;
        if (bytes[at] !== CR || bytes[at + 1] !== LF) throw malformed('a string is longer than it says');
        at += 2;
        this.#isInBulk = false;
        this.#passed();
        continue;
      }
      if (at >= end) return at;
      const type = bytes[at]!;
      if (type !== 36 && type !== 42 && type !== 43 && type !== 45 && type !== 58) {
        throw malformed(`a reply that begins with byte ${type}`);
      }
      let line = at + 1;
      while (line < end && bytes[line] !== CR) line++;
      if (line - at > MAX_LINE) throw malformed(`a line of more than ${MAX_LINE} bytes`);
      if (line + 1 >= end) return at;
      if (bytes[line + 1] !== LF) throw malformed('a line does not end in CR LF');
      if (type === 36) {
        const length = lengthOf(bytes, at + 1, line);
        if (length >= 0) {
          this.#isInBulk = true;
          this.#payload = length;
        } else {
          this.#passed();
        }
      } else if (type === 42) {
        const length = lengthOf(bytes, at + 1, line);
        if (length > 0) {
          if (this.#open.push(length) > MAX_DEPTH) throw malformed(`more than ${MAX_DEPTH} nested arrays`);
        } else {
          this.#passed();
        }
      } else {
        if (type === 58) checkInteger(bytes, at + 1, line);
        this.#passed();
      }
      at = line + 2;
    }
    return at;
  }

  /** An element is complete, and with it every array of which it was the last. */
  #passed(): void {
    const open = this.#open;
    while (open.length > 0 && --open[open.length - 1]! === 0) open.pop();
  }
}

/** A count of bytes or elements in [start, end), or -1 for nil. */
export function lengthOf(bytes: Buffer, start: number, end: number): number {
  if (end - start === 2 && bytes[start] === MINUS && bytes[start + 1] === 49) return -1;
  if (end === start || end - start > MAX_DIGITS) throw malformed('a length that is none');
  let length = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) throw malformed('a length that is none');
    length = length * 10 + digit;
  }
  return length;
}

function checkInteger(bytes: Buffer, start: number, end: number): void {
  let at = start;
  if (bytes[at] === MINUS || bytes[at] === 43) at++;
  if (at === end || end - at > 20) throw malformed('a number that is none');
  for (; at < end; at++) {
    if (bytes[at]! < 48 || bytes[at]! > 57) throw malformed('a number that is none');
  }
}
