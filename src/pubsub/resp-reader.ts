/**
 * Reads RESP2 from a buffer that is read into again after each call. Pub/sub messages, all of one shape, are
 * scanned for directly; every other reply goes to redis-parser, whole, so that the parser never keeps a part
 * of a buffer that is about to change.
 */
import RedisParser from 'redis-parser';
import { RedisError } from './redis-errors.ts';

/** What Redis answers: strings or Buffers as asked for, `null` for nil, `Error` only inside arrays (EXEC). */
export type RespReply = string | number | Buffer | null | Error | RespReply[];

/** `message` of SUBSCRIBE, `pmessage` of PSUBSCRIBE, `smessage` of SSUBSCRIBE. */
export type MessageKind = 'message' | 'pmessage' | 'smessage';

export interface RespSink {
  /** A reply. Buffers in it are the receiver's for good. */
  reply(value: RespReply): void;
  /** An error reply, such as `WRONGTYPE Operation …`. */
  replyError(message: string): void;
  /** Whether the next reply's strings are wanted as Buffers. */
  wantsBuffers(): boolean;
  /** A pub/sub message whose payload is bytes[start, end): valid during the call, as the buffer is read into again. */
  message(
    kind: MessageKind,
    channel: string,
    bytes: Buffer,
    start: number,
    end: number,
    pattern: string,
  ): void;
}

const CR = 13;
const DOLLAR = 36;
const ASTERISK = 42;
const INCOMPLETE = -1;

export class RespReader {
  readonly #sink: RespSink;
  readonly #limit: number;
  readonly #parser: RedisParser;
  #isSubscriber = false;
  /** What came of a reply whose end has not come, from its first byte on. */
  #spill: Buffer = EMPTY;
  #spillUsed = 0;
  /** How far the boundary scan of that reply got, and how many elements were still to come there. */
  #scanned = 0;
  #elements = 1;
  /** The last message's channel, as most messages in a row are of the same one. */
  #lastChannel = '';
  #lastChannelBytes = Buffer.alloc(256);
  #lastChannelLength = -1;
  #failure: Error | undefined;

  constructor(sink: RespSink, limit: number) {
    this.#sink = sink;
    this.#limit = limit;
    this.#parser = new RedisParser({
      returnReply: (value: RespReply) => {
        sink.reply(this.#parser.optionReturnBuffers ? own(value) : value);
        this.#parser.setReturnBuffers(sink.wantsBuffers());
      },
      returnError: (error: Error) => {
        sink.replyError(error.message);
        this.#parser.setReturnBuffers(sink.wantsBuffers());
      },
      returnFatalError: (error: Error) => {
        this.#failure = error;
      },
    });
  }

  /** From now on most of what comes are pub/sub messages. */
  set isSubscriber(value: boolean) {
    this.#isSubscriber = value;
  }

  /** Forgets a reply that came in part: for a new connection. */
  reset(): void {
    this.#spill = EMPTY;
    this.#spillUsed = 0;
    this.#scanned = 0;
    this.#elements = 1;
    this.#parser.reset();
  }

  /**
   * Reads the first `length` bytes of `chunk`.
   *
   * @throws {RedisError} `REDIS_PROTOCOL`; the connection can't be used after that
   */
  read(chunk: Buffer, length: number): void {
    if (this.#spillUsed === 0) {
      const end = this.#consume(chunk, length);
      if (end < length) {
        this.#reserve(length - end);
        this.#spillUsed = chunk.copy(this.#spill, 0, end, length);
      }
      return;
    }
    this.#reserve(this.#spillUsed + length);
    chunk.copy(this.#spill, this.#spillUsed, 0, length);
    const used = this.#spillUsed + length;
    const end = this.#consume(this.#spill, used);
    if (end > 0) this.#spill.copyWithin(0, end, used);
    this.#spillUsed = used - end;
    if (this.#spillUsed === 0 && this.#spill.length > KEPT_SPILL) this.#spill = EMPTY;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#spill.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes, this.#spill.length * 2, KEPT_SPILL));
    this.#spill.copy(larger, 0, 0, this.#spillUsed);
    this.#spill = larger;
  }

  /** Handles every whole reply in [0, end) and returns where the first unfinished one begins. */
  #consume(bytes: Buffer, end: number): number {
    let at = 0;
    while (at < end) {
      if (this.#isSubscriber) {
        const next = this.#message(bytes, at, end);
        if (next !== INCOMPLETE) {
          at = next;
          continue;
        }
      }
      let next = this.#replyEnd(bytes, at, end);
      if (next === INCOMPLETE) break;
      const start = at;
      at = next;
      while (!this.#isSubscriber && at < end) {
        next = this.#replyEnd(bytes, at, end);
        if (next === INCOMPLETE) break;
        at = next;
      }
      this.#parse(bytes.subarray(start, at));
      if (next === INCOMPLETE) break;
    }
    return at;
  }

  #parse(replies: Buffer): void {
    this.#parser.setReturnBuffers(this.#sink.wantsBuffers());
    try {
      this.#parser.execute(replies);
    } catch (error) {
      this.#failure ??= error as Error;
    }
    if (this.#failure !== undefined) {
      const { message } = this.#failure;
      throw new RedisError('REDIS_PROTOCOL', `what came is not RESP2: ${message}`, { cause: this.#failure });
    }
  }

  /**
   * `*3 $7 message $n channel $n payload`, `*3 $8 smessage …` or `*4 $8 pmessage $n pattern …` from `start`
   * on: hands it over and returns where it ends, or INCOMPLETE where it is something else or not all there.
   */
  #message(bytes: Buffer, start: number, end: number): number {
    if (end - start < 17 || bytes[start] !== ASTERISK || bytes[start + 4] !== DOLLAR) return INCOMPLETE;
    const elements = bytes[start + 1];
    const initial = bytes[start + 8];
    const length = bytes[start + 5];
    let kind: MessageKind;
    let at: number;
    if (elements === 51 && length === 55 && initial === 109) {
      kind = 'message';
      at = start + 17;
    } else if (elements === 51 && length === 56 && initial === 115) {
      kind = 'smessage';
      at = start + 18;
    } else if (elements === 52 && length === 56 && initial === 112) {
      kind = 'pmessage';
      at = start + 18;
    } else {
      return INCOMPLETE;
    }
    let pattern = '';
    if (kind === 'pmessage') {
      const stop = this.#bulkEnd(bytes, at, end);
      if (stop === INCOMPLETE) return INCOMPLETE;
      pattern = bytes.toString('utf8', this.#bulkStart, stop);
      at = stop + 2;
    }
    const channelEnd = this.#bulkEnd(bytes, at, end);
    if (channelEnd === INCOMPLETE) return INCOMPLETE;
    const channelStart = this.#bulkStart;
    const payloadEnd = this.#bulkEnd(bytes, channelEnd + 2, end);
    if (payloadEnd === INCOMPLETE) return INCOMPLETE;
    const payloadStart = this.#bulkStart;
    const channel = this.#channel(bytes, channelStart, channelEnd);
    // The boundary scan of this reply, if it was begun, ends with it.
    this.#scanned = 0;
    this.#elements = 1;
    this.#sink.message(kind, channel, bytes, payloadStart, payloadEnd, pattern);
    return payloadEnd + 2;
  }

  #bulkStart = 0;

  /** Where the bulk string whose `$` is at `start` ends, with `#bulkStart` at its first byte; or INCOMPLETE. */
  #bulkEnd(bytes: Buffer, start: number, end: number): number {
    let at = start + 1;
    let length = 0;
    for (;;) {
      if (at + 1 >= end) return INCOMPLETE;
      const digit = bytes[at++]!;
      if (digit === CR) break;
      length = length * 10 + digit - 48;
    }
    this.#bulkStart = at + 1;
    const stop = this.#bulkStart + length;
    return stop + 2 > end ? INCOMPLETE : stop;
  }

  #channel(bytes: Buffer, start: number, end: number): string {
    const length = end - start;
    const last = this.#lastChannelBytes;
    if (length === this.#lastChannelLength) {
      // From the end, where the names of channels differ.
      let i = length - 1;
      while (i >= 0 && bytes[start + i] === last[i]) i--;
      if (i < 0) return this.#lastChannel;
    }
    const channel = bytes.toString('utf8', start, end);
    if (length <= last.length) {
      bytes.copy(last, 0, start, end);
      this.#lastChannelLength = length;
      this.#lastChannel = channel;
    }
    return channel;
  }

  /** Where the reply that begins at `start` ends, or INCOMPLETE; then the next call goes on from there. */
  #replyEnd(bytes: Buffer, start: number, end: number): number {
    let at = start + this.#scanned;
    let elements = this.#elements;
    while (elements > 0 && at < end) {
      const type = bytes[at]!;
      let line = at + 1;
      let value = 0;
      const isCounted = type === DOLLAR || type === ASTERISK;
      while (line < end && bytes[line] !== CR) {
        if (isCounted) value = value * 10 + bytes[line]! - 48;
        line++;
      }
      if (line - start > this.#limit) this.#refuse(line - start);
      if (line + 1 >= end) break;
      const next = line + 2;
      if (type === DOLLAR) {
        // A nil has "-1" for its length, which makes `value` negative.
        at = value < 0 ? next : next + value + 2;
        if (at - start > this.#limit) this.#refuse(at - start);
      } else if (type === ASTERISK) {
        at = next;
        if (value > 0) elements += value;
      } else if (type === 43 || type === 45 || type === 58) {
        at = next;
      } else {
        throw new RedisError(
          'REDIS_PROTOCOL',
          `what came is not RESP2: a reply that begins with byte ${type}`,
        );
      }
      elements--;
    }
    if (elements > 0 || at > end) {
      this.#scanned = at - start;
      this.#elements = elements;
      return INCOMPLETE;
    }
    this.#scanned = 0;
    this.#elements = 1;
    return at;
  }

  #refuse(bytes: number): never {
    throw new RedisError(
      'REDIS_PROTOCOL',
      `a reply of at least ${bytes} bytes is over the limit of ${this.#limit} (maxReplySize)`,
    );
  }
}

const EMPTY = Buffer.alloc(0);
/** A spill buffer up to this size is kept for the next unfinished reply. */
const KEPT_SPILL = 128 * 1024;

/** A copy of every Buffer in a reply, as the parser's are views. */
function own(value: RespReply): RespReply {
  if (Buffer.isBuffer(value)) return Buffer.from(value);
  if (Array.isArray(value)) for (let i = 0; i < value.length; i++) value[i] = own(value[i]!);
  return value;
}
