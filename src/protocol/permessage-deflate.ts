/**
 * permessage-deflate (RFC 7692 §7.2), a message at a time.
 *
 * No zlib stream lives between messages. Where a context is taken over, the last bytes of what went before are
 * kept, and given to zlib as a dictionary; both sides' streams are the same as with a stream that lived on.
 * Small messages are done at once, as the trip to the thread pool and back costs more than they do.
 */
import { constants as bufferConstants } from 'node:buffer';
import {
  deflateRawSync,
  type InflateRaw,
  inflateRawSync,
  type ZlibOptions,
  constants as zlib,
} from 'node:zlib';
import type { DeflateOptions, DeflateParameters } from './deflate-negotiation.ts';
import { ProtocolErrorCode as Code, messageTooLong, ProtocolError, tooManyParts } from './errors.ts';
import type { MessageInflater } from './frame-sink.ts';
import { SlidingWindow } from './sliding-window.ts';
import { deflateLater, inflateLater, inZlibQueue, type ZlibTurn } from './zlib-queue.ts';

/** Bytes up to which zlib is called at once. */
const SYNC_INPUT = 10 * 1024;
/** Bytes of output after which inflating is left to the thread pool: little input can be much output. */
const SYNC_OUTPUT = 64 * 1024;
/** What a compressor looks back at. More of the window costs zlib 3 µs per KiB and message, and saves little. */
const SEND_HISTORY = 8 * 1024;
/**
 * Final blocks that a message may have (§7.2.3.5 allows any number): each is a zlib stream of its own, so that
 * 2 bytes could buy 10 µs of our time.
 */
const MAX_STREAMS = 64;
/** What a sender takes from a message's end (§7.2.1). */
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);
/** An empty message (§7.2.3.6). */
const EMPTY_MESSAGE = Buffer.from([0x00]);
const EMPTY = Buffer.alloc(0);

/** `payload` is empty where there is an error. */
export type DeflateDone = (error: Error | null, payload: Buffer) => void;
type InflateDone = (error: ProtocolError | null, data: Buffer) => void;

/** What waits for its turn to be compressed; without `done`, what was sent compressed by somebody else. */
interface Pending {
  readonly data: Buffer;
  readonly done: DeflateDone | undefined;
  next: Pending | undefined;
}

interface Inflated {
  buffer: Buffer;
  engine: InflateRaw;
}

/** Compresses and decompresses the messages of one connection. Holds nothing but what context takeover needs. */
export class MessageDeflate implements MessageInflater {
  /** False if the peer wants a window that zlib can't keep to: then send everything uncompressed, as is allowed. */
  readonly canDeflate: boolean;
  /** The window of what is sent, for `deflateShared`. */
  readonly sendWindowBits: number;
  readonly #receiveWindowBits: number;
  readonly #threshold: number;
  readonly #options: DeflateOptions;
  #sent: SlidingWindow | undefined;
  #received: SlidingWindow | undefined;
  /** In order; the first is at work. */
  #first: Pending | undefined;
  #last: Pending | undefined;
  #deflating: ZlibTurn | undefined;
  #inflating: ZlibTurn | undefined;
  /** How many bytes the last message was, for each that it had while it was compressed. */
  #expansion = 0;
  #isClosed = false;

  /**
   * @param role whose side this is
   * @param parameters what `acceptOffer` or `acceptAnswer` returned
   */
  constructor(role: 'server' | 'client', parameters: DeflateParameters, options: DeflateOptions = {}) {
    const server = {
      bits: parameters.serverMaxWindowBits ?? 15,
      isAlone: parameters.serverNoContextTakeover,
    };
    const client = {
      bits: parameters.clientMaxWindowBits ?? 15,
      isAlone: parameters.clientNoContextTakeover,
    };
    const [sending, receiving] = role === 'server' ? [server, client] : [client, server];
    this.canDeflate = sending.bits >= 9;
    this.sendWindowBits = sending.bits;
    this.#receiveWindowBits = receiving.bits;
    this.#threshold = sending.isAlone ? (options.threshold ?? 1024) : 0;
    this.#options = options;
    if (!sending.isAlone) this.#sent = new SlidingWindow(Math.min(1 << sending.bits, SEND_HISTORY));
    if (!receiving.isAlone) this.#received = new SlidingWindow(1 << receiving.bits);
  }

  /** Whether a message of so many bytes should be compressed. */
  wants(length: number): boolean {
    return this.canDeflate && length >= this.#threshold;
  }

  /** Whether `deflate` returns the payload of a message of so many bytes. */
  isAtOnce(length: number): boolean {
    return this.#first === undefined && length <= SYNC_INPUT && !this.#isClosed;
  }

  /**
   * Compresses a whole message: at once if it is small and nothing is pending.
   *
   * @param data stays as it is until `done` is called
   * @returns the payload; undefined if `done` is called with it later, never before this returns, and in order
   */
  deflate(data: Buffer, done: DeflateDone): Buffer | undefined {
    if (this.isAtOnce(data.length)) {
      return this.#deflated(data, deflateRawSync(data, this.#deflateOptions(data)));
    }
    if (this.#isClosed) endWithError(done);
    else this.#push({ data, done, next: undefined });
    return undefined;
  }

  /**
   * A message compressed on its own, for any connection whose `sendWindowBits` are at least as many. Each that it is
   * sent to is told by `sharedSent`. Blocks for as long as zlib takes.
   *
   * @param windowBits 9–15
   */
  static deflateShared(data: Buffer, windowBits = 15, options: ZlibOptions = {}): Buffer {
    if (data.length === 0) return EMPTY_MESSAGE;
    return withoutTail(deflateRawSync(data, oneShot(data, windowBits, options)));
  }

  /**
   * To be called when messages that `deflateShared` compressed were sent, in their turn. The peer's context ends with
   * the last of them from then on, and what follows refers to nothing before it; if it referred to what was sent
   * earlier, it would inflate to other bytes, without an error. What was sent uncompressed is in nobody's context.
   *
   * @param last the last of these messages itself, kept by reference: it must never change again
   */
  sharedSent(last: Buffer): void {
    if (this.#first === undefined) this.#sent?.replace(last);
    else if (this.#sent !== undefined) this.#push({ data: last, done: undefined, next: undefined });
  }

  inflate(data: Buffer, limit: number, done: InflateDone): Buffer | undefined {
    const bound = Math.min(limit, bufferConstants.MAX_LENGTH);
    const input = withTail(data);
    // What is likely to end in the pool is not begun here: messages of a connection are often alike.
    if (data.length <= SYNC_INPUT && input.length * this.#expansion <= SYNC_OUTPUT) {
      const inflated = this.#inflateSync(input, Math.min(bound, SYNC_OUTPUT));
      if (inflated !== undefined) return inflated;
      if (bound <= SYNC_OUTPUT) throw messageTooLong();
    }
    this.#inflateAsync(input, bound, done);
    return undefined;
  }

  /** Drops what is held. Messages that wait to be compressed end with an error. */
  close(): void {
    this.#isClosed = true;
    this.#sent = undefined;
    this.#received = undefined;
    this.#deflating?.cancel();
    this.#inflating?.cancel();
    let entry = this.#first;
    this.#first = this.#last = undefined;
    for (; entry !== undefined; entry = entry.next) {
      if (entry.done !== undefined) endWithError(entry.done);
    }
  }

  #deflateOptions(data: Buffer): ZlibOptions {
    const options = oneShot(data, this.sendWindowBits, this.#options.zlibDeflateOptions);
    const dictionary = this.#sent?.bytes;
    if (dictionary !== undefined && dictionary.length > 0) options.dictionary = dictionary;
    return options;
  }

  #deflated(data: Buffer, output: Buffer): Buffer {
    this.#sent?.append(data);
    return data.length === 0 ? EMPTY_MESSAGE : withoutTail(output);
  }

  #push(entry: Pending): void {
    if (this.#last !== undefined) {
      this.#last.next = entry;
      this.#last = entry;
      return;
    }
    this.#first = this.#last = entry;
    this.#work();
  }

  /** Begins with the first that is to be compressed. */
  #work(): void {
    for (let entry = this.#first; entry !== undefined; entry = this.#first) {
      if (entry.done !== undefined) {
        this.#deflateAsync(entry.data, entry.done);
        return;
      }
      this.#sent?.replace(entry.data);
      this.#shift();
    }
  }

  #shift(): void {
    this.#first = this.#first?.next;
    if (this.#first === undefined) this.#last = undefined;
  }

  #deflateAsync(data: Buffer, done: DeflateDone): void {
    this.#deflating = inZlibQueue(this.#options.concurrencyLimit ?? 10, (release) => {
      const finish = (error: Error | null, output: Buffer): void => {
        release();
        if (this.#isClosed) return;
        const payload = error === null ? this.#deflated(data, output) : EMPTY;
        this.#shift();
        this.#work();
        done(error, payload);
      };
      deflateLater(data, this.#deflateOptions(data), finish);
    });
  }

  #inflateSync(payload: Buffer, bound: number): Buffer | undefined {
    const parts = new InflatedParts(this.#received?.bytes, bound);
    let input = payload;
    try {
      do {
        const inflated = inflateRawSync(
          input,
          this.#inflateOptions(parts, input.length),
        ) as unknown as Inflated;
        input = parts.add(inflated, input);
      } while (input.length > 0);
    } catch (error) {
      if (isTooLarge(error)) {
        this.#expansion = Infinity;
        return undefined;
      }
      throw asProtocolError(error);
    }
    return this.#inflated(parts, payload.length);
  }

  #inflateAsync(input: Buffer, bound: number, done: InflateDone): void {
    const parts = new InflatedParts(this.#received?.bytes, bound);
    this.#inflating = inZlibQueue(this.#options.concurrencyLimit ?? 10, (release) => {
      const finish = (error: unknown): void => {
        release();
        if (this.#isClosed) return;
        if (error === null) done(null, this.#inflated(parts, input.length));
        else done(isTooLarge(error) ? messageTooLong() : asProtocolError(error), EMPTY);
      };
      const step = (rest: Buffer): void => {
        inflateLater(rest, this.#inflateOptions(parts, rest.length), (error, result) => {
          try {
            if (error !== null) throw error;
            const left = parts.add(result as unknown as Inflated, rest);
            if (left.length > 0 && !this.#isClosed) {
              step(left);
              return;
            }
          } catch (thrown) {
            finish(thrown);
            return;
          }
          finish(null);
        });
      };
      step(input);
    });
  }

  #inflateOptions(parts: InflatedParts, inputLength: number): ZlibOptions & { info: true } {
    const options: ZlibOptions & { info: true } = {
      chunkSize:
        this.#options.zlibInflateOptions?.chunkSize ?? Math.min(Math.max(inputLength * 6, 1024), SYNC_OUTPUT),
      windowBits: this.#receiveWindowBits,
      finishFlush: zlib.Z_SYNC_FLUSH,
      maxOutputLength: parts.allowance,
      info: true,
    };
    const { dictionary } = parts;
    if (dictionary !== undefined && dictionary.length > 0) options.dictionary = dictionary;
    return options;
  }

  #inflated(parts: InflatedParts, inputLength: number): Buffer {
    const data = parts.join();
    this.#expansion = data.length / inputLength;
    this.#received?.append(data);
    return data;
  }
}

/**
 * The output of the streams that a message may consist of: where a block is marked as the last one, zlib
 * stops, and the bytes behind it begin a new stream with the same context (RFC 7692 §7.2.3.4).
 */
class InflatedParts {
  /** What the next stream may refer to. */
  dictionary: Buffer | undefined;
  readonly #bound: number;
  readonly #parts: Buffer[] = [];
  #length = 0;

  constructor(dictionary: Buffer | undefined, bound: number) {
    this.dictionary = dictionary;
    this.#bound = bound;
  }

  /** zlib takes no bound of 0; `add` sees what is over. */
  get allowance(): number {
    return Math.max(1, this.#bound - this.#length);
  }

  /** @returns the input that is left for another stream */
  add({ buffer, engine }: Inflated, input: Buffer): Buffer {
    this.#length += buffer.length;
    if (this.#length > this.#bound) throw messageTooLong();
    this.#parts.push(buffer);
    const rest = input.subarray(engine.bytesWritten);
    if (rest.length === 0 || rest.equals(TAIL) || (rest.length === 5 && rest[0] === 0)) return EMPTY;
    if (this.#parts.length === MAX_STREAMS) {
      throw tooManyParts('Too many final blocks in a compressed message');
    }
    this.dictionary = Buffer.concat([this.dictionary ?? EMPTY, buffer]).subarray(-32768);
    return rest;
  }

  join(): Buffer {
    const data = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#length);
    // zlib's output may be a small part of a large chunk, which is not to be kept for it.
    return data.buffer.byteLength > 2 * data.length + 64 ? copyOf(data) : data;
  }
}

function oneShot(data: Buffer, windowBits: number, options: ZlibOptions = {}): ZlibOptions {
  const { level, memLevel, strategy, chunkSize = Math.min(data.length + 64, 64 * 1024) } = options;
  return { level, memLevel, strategy, chunkSize, windowBits, finishFlush: zlib.Z_SYNC_FLUSH };
}

function withTail(payload: Buffer): Buffer {
  try {
    return Buffer.concat([payload, TAIL]);
  } catch {
    throw messageTooLong();
  }
}

function withoutTail(output: Buffer): Buffer {
  return output.subarray(0, output.length - TAIL.length);
}

function copyOf(data: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(data.length);
  data.copy(copy);
  return copy;
}

function isTooLarge(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === 'ERR_BUFFER_TOO_LARGE' || code === Code.UNSUPPORTED_MESSAGE_LENGTH;
}

/** zlib's own words and code, with the close code for a payload that is not what it says it is (§7.2.2). */
function asProtocolError(error: unknown): ProtocolError {
  if (error instanceof ProtocolError) return error;
  const { message, code, errno } = error as { message: string; code: string; errno?: number };
  return new ProtocolError(message, code, 1007, errno);
}

/** Each on its own, and none before the call returns that it is the end of. */
function endWithError(done: DeflateDone): void {
  const error = new Error('The deflate stream was closed while data was being processed');
  queueMicrotask(() => done(error, EMPTY));
}
