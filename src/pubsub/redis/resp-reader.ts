/**
 * Reads RESP2 from a buffer that is read into again after each call. Pub/sub messages, all of one shape, are
 * scanned for directly; every other reply goes to redis-parser, whole, so that the parser never keeps a part
 * of a buffer that is about to change.
 */
import RedisParser from 'redis-parser';
import { RedisError } from './errors.ts';
import { lengthOf, malformed, RespBoundary } from './resp-boundary.ts';

/** What Redis answers: strings or Buffers as asked for, `null` for nil, `Error` only inside arrays (EXEC). */
export type RespReply = string | number | Buffer | null | Error | RespReply[];

/** `message` of SUBSCRIBE, `pmessage` of PSUBSCRIBE, `smessage` of SSUBSCRIBE. */
export type MessageKind = 'message' | 'pmessage' | 'smessage';

export interface RespSink {
  /** A reply. Buffers in it are the receiver's for good. */
  reply(value: RespReply): void;
  /** An error reply, such as `WRONGTYPE Operation …`. */
  replyError(message: string): void;
  /** A reply of more bytes than the limit came in place of one, and was passed over. */
  replyTooLong(limit: number): void;
  /** A pub/sub message of more bytes than the limit was passed over. `name`: its channel, or its pattern. */
  messageTooLong(kind: MessageKind, name: string, limit: number): void;
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
/** A reply that is passed over ends somewhere: Redis has none of this size. */
const MAX_PASSED_OVER = 1024 ** 3;

export class RespReader {
  readonly #sink: RespSink;
  readonly #limits: { readonly maxReplySize: number };
  readonly #parser: RedisParser;
  #isSubscriber = false;
  /** What came of a reply whose end has not come, from its first byte on. */
  #spill: Buffer = EMPTY;
  #spillUsed = 0;
  /** Looks for that reply's end, and has got so far from its beginning. */
  readonly #boundary = new RespBoundary();
  #scanned = 0;
  /** Of a reply that is being passed over: how much was, or -1. */
  #passedOver = -1;
  /** Tells of that reply once it has passed. */
  #tellTooLong = (): void => {};
  /** The last message's channel, as most messages in a row are of the same one. */
  #lastChannel = '';
  #lastChannelBytes = Buffer.alloc(256);
  #lastChannelLength = -1;
  #failure: Error | undefined;

  /** @param limits `maxReplySize` is read anew for each reply */
  constructor(sink: RespSink, limits: { readonly maxReplySize: number }) {
    this.#sink = sink;
    this.#limits = limits;
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

  /** Forgets a reply that came in part, and what was wrong with the last: for a new connection. */
  reset(): void {
    this.#spill = EMPTY;
    this.#spillUsed = 0;
    this.#passedOver = -1;
    this.#failure = undefined;
    this.#begin();
    this.#parser.reset();
  }

  /** The next byte is a reply's first. */
  #begin(): void {
    this.#scanned = 0;
    this.#boundary.reset();
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
      if (this.#passedOver >= 0) {
        at = this.#passOver(bytes, at, end);
        if (this.#passedOver >= 0) break;
        continue;
      }
      if (this.#isSubscriber) {
        const next = this.#message(bytes, at, end);
        if (next !== INCOMPLETE) {
          at = next;
          continue;
        }
      }
      const start = at;
      let next = this.#replyEnd(bytes, at, end);
      while (next !== INCOMPLETE) {
        at = next;
        next = this.#isSubscriber || at >= end ? INCOMPLETE : this.#replyEnd(bytes, at, end);
      }
      if (at > start) this.#parse(bytes.subarray(start, at));
      else if (this.#passedOver < 0) break;
      // What has been looked at of a reply that is too long need not come again.
      if (this.#passedOver >= 0) {
        at = this.#passOver(bytes, at + this.#scanned, end);
        if (this.#passedOver >= 0) break;
      }
    }
    return at;
  }

  /** Where the reply that begins at `start` ends, or INCOMPLETE; then the next call goes on from there. */
  #replyEnd(bytes: Buffer, start: number, end: number): number {
    const boundary = this.#boundary;
    const at = boundary.advance(bytes, start + this.#scanned, end);
    this.#scanned = at - start;
    const { maxReplySize } = this.#limits;
    if (Math.max(this.#scanned + boundary.owed, boundary.isDone ? 0 : end - start) > maxReplySize) {
      this.#passedOver = 0;
      this.#tellTooLong = this.#whatIsTooLong(bytes, start, end, maxReplySize);
      return INCOMPLETE;
    }
    if (!boundary.isDone) return INCOMPLETE;
    this.#begin();
    return at;
  }

  #passOver(bytes: Buffer, start: number, end: number): number {
    const at = this.#boundary.advance(bytes, start, end);
    this.#passedOver += at - start;
    if (this.#boundary.isDone) {
      this.#passedOver = -1;
      this.#begin();
      this.#tellTooLong();
    } else if (this.#passedOver > MAX_PASSED_OVER) {
      throw malformed(`a reply of more than ${MAX_PASSED_OVER} bytes`);
    }
    return at;
  }

  /** Whose reply it is, as far as its beginning says so. */
  #whatIsTooLong(bytes: Buffer, start: number, end: number, limit: number): () => void {
    const kind = this.#isSubscriber ? this.#kindOf(bytes, start, end) : undefined;
    if (kind === undefined) return () => this.#sink.replyTooLong(limit);
    const stop = this.#bulkEnd(bytes, start + (kind === 'message' ? 17 : 18), end);
    // A name that is too long for the limit by itself is none that was subscribed to.
    const name = stop === INCOMPLETE ? '' : bytes.toString('utf8', this.#bulkStart, stop);
    return () => this.#sink.messageTooLong(kind, name, limit);
  }

  #parse(replies: Buffer): void {
    this.#parser.setReturnBuffers(this.#sink.wantsBuffers());
    try {
      this.#parser.execute(replies);
    } catch (error) {
      this.#failure ??= error as Error;
    }
    if (this.#failure === undefined) return;
    if (this.#failure instanceof RedisError) throw this.#failure;
    throw new RedisError('REDIS_PROTOCOL', `what came is not RESP2: ${this.#failure.message}`, {
      cause: this.#failure,
    });
  }

  /**
   * `*3 $7 message $n channel $n payload`, `*3 $8 smessage …` or `*4 $8 pmessage $n pattern …` from `start`
   * on: hands it over and returns where it ends, or INCOMPLETE where it is something else or not all there.
   */
  #message(bytes: Buffer, start: number, end: number): number {
    const kind = this.#kindOf(bytes, start, end);
    if (kind === undefined) return INCOMPLETE;
    let at = start + (kind === 'message' ? 17 : 18);
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
    if (payloadEnd + 2 - start > this.#limits.maxReplySize) return INCOMPLETE;
    // The boundary scan of this reply, if it was begun, ends with it.
    this.#begin();
    this.#sink.message(kind, channel, bytes, payloadStart, payloadEnd, pattern);
    return payloadEnd + 2;
  }

  /** Of a reply that begins as a message does: which kind. */
  #kindOf(bytes: Buffer, start: number, end: number): MessageKind | undefined {
    if (end - start < 18 || bytes[start] !== ASTERISK || bytes[start + 4] !== DOLLAR) return undefined;
    const elements = bytes[start + 1];
    const initial = bytes[start + 8];
    const length = bytes[start + 5];
    if (elements === 51 && length === 55 && initial === 109) return 'message';
    if (elements === 51 && length === 56 && initial === 115) return 'smessage';
    if (elements === 52 && length === 56 && initial === 112) return 'pmessage';
    return undefined;
  }

  #bulkStart = 0;

  /** Where the bulk string at `start` ends, with `#bulkStart` at its first byte; or INCOMPLETE. */
  #bulkEnd(bytes: Buffer, start: number, end: number): number {
    let at = start + 1;
    while (at < end && bytes[at] !== CR) at++;
    if (at + 1 >= end) return INCOMPLETE;
    if (bytes[start] !== DOLLAR) throw malformed('a message whose parts are no strings');
    const length = lengthOf(bytes, start + 1, at);
    if (length < 0) throw malformed('a message with a part that is nil');
    this.#bulkStart = at + 2;
    const stop = this.#bulkStart + length;
    if (stop + 2 > end) return INCOMPLETE;
    if (bytes[stop] !== CR) throw malformed('a string is longer than it says');
    return stop;
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
