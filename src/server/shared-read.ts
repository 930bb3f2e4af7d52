/**
 * Reading accepted sockets into one buffer that the whole process shares, in place of a new one for each
 * read: the largest single saving there is on Node's sockets.
 *
 * `net.connect` takes `onread` for it, and nothing does for an accepted socket. But a socket looks at every
 * read for what `onread` has set, so that it can be set later: two properties under private symbols, and a
 * call to the handle. These are used in this file only, found by trying `onread` on a socket that is never
 * opened, and where they are not as expected, sockets are read as ever.
 */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { sharedBuffer } from './memory.ts';

/** Whoever gets what is read. */
export interface SharedReader {
  /** `count` bytes have come at the beginning of `sharedBuffer`, and are gone after the call. */
  receiveShared(count: number): void;
}

interface Handle {
  reading: boolean;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
}

const kReader = Symbol('reader');
const nobody: SharedReader = { receiveShared() {} };

/** Bytes that are kept of a socket that nobody reads yet. */
const HELD_BYTES = 16 * 1024;

/** Keeps what comes, so that the end of a connection is heard of while it waits. */
class Holder implements SharedReader {
  readonly #socket: Socket;
  #held: Buffer | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  receiveShared(count: number): void {
    const part = sharedBuffer.subarray(0, count);
    this.#held = this.#held === null ? Buffer.from(part) : Buffer.concat([this.#held, part]);
    if (this.#held.length >= HELD_BYTES) this.#socket.pause();
  }

  take(): Buffer | null {
    return this.#held;
  }
}

interface Insides {
  _handle: Handle | null;
  [kReader]?: SharedReader;
  [inside: symbol]: unknown;
}
type OpenSocket = Socket & Insides;

function onRead(this: Insides, count: number): boolean {
  this[kReader]!.receiveShared(count);
  return true;
}

/** Under which symbols a socket keeps the parts of `onread`; undefined where it doesn't. */
const places = findPlaces();

function findPlaces(): { buffer: symbol; callback: symbol } | undefined {
  const onread = { buffer: Buffer.alloc(1), callback: (): boolean => true };
  const probe = new Socket({ onread } as object) as unknown as Insides;
  const holding = (value: unknown): symbol | undefined =>
    Object.getOwnPropertySymbols(probe).find((symbol) => probe[symbol] === value);
  const buffer = holding(onread.buffer);
  const callback = holding(onread.callback);
  if (buffer === undefined || callback === undefined) return undefined;
  // Sockets without `onread` must have the same places, empty.
  const plain = new Socket() as unknown as Insides;
  const isAsExpected = [buffer, callback].every((symbol) => symbol in plain && !plain[symbol]);
  return isAsExpected ? { buffer, callback } : undefined;
}

/**
 * Has a socket read into shared memory from now on. It is stopped: `resume` lets it read, after `readTo` has
 * said to whom. Where that was done before, it is only stopped.
 *
 * @returns what had been read already, null for nothing; undefined where it can't be done, and nothing was changed
 */
export function shareReads(socket: object): Buffer | null | undefined {
  if (places === undefined || !(socket instanceof Socket) || socket instanceof TLSSocket) return undefined;
  const open = socket as OpenSocket;
  if (kReader in open) {
    open.pause();
    return open[kReader] instanceof Holder ? open[kReader].take() : null;
  }
  const handle = open._handle;
  if (!isReadable(handle) || open[places.buffer] || open.listenerCount('data') > 0) return undefined;

  const rest = open.readableLength > 0 ? (open.read() as Buffer | null) : null;
  handle.readStop();
  handle.reading = false;
  open.pause();
  open[places.buffer] = sharedBuffer;
  open[places.callback] = onRead;
  open[kReader] = nobody;
  handle.useUserBuffer(sharedBuffer);
  return rest;
}

/** Says who gets what the socket reads from now on: default nobody. False for a socket whose reads are not shared. */
export function readTo(socket: object, reader: SharedReader = nobody): boolean {
  if (!(kReader in socket)) return false;
  (socket as Insides)[kReader] = reader;
  return true;
}

/** What the socket reads from now on is kept until `shareReads` is called again. False as from `readTo`. */
export function holdReads(socket: Socket): boolean {
  return kReader in socket && readTo(socket, new Holder(socket));
}

function isReadable(handle: Handle | null): handle is Handle {
  return (
    typeof handle?.readStop === 'function' &&
    typeof handle.useUserBuffer === 'function' &&
    typeof handle.reading === 'boolean'
  );
}
