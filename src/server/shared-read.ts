/**
 * Reading accepted sockets into one buffer that the whole process shares, in place of a new one for each
 * read: the largest single saving there is on Node's sockets.
 *
 * `net.connect` takes `onread` for it, and nothing does for an accepted socket. But a socket looks at every
 * read for what `onread` has set, so that it can be set later: three properties under private symbols, and a
 * call to the handle. These are used in this file only, found by trying `onread` on a socket that is never
 * opened, and where they are not as expected, sockets are read as ever.
 */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { sharedBuffer } from '../protocol/simd.ts';

/** Whoever gets what is read. */
export interface SharedReader {
  /**
   * `count` bytes have come at the beginning of `memory`, and are gone after the call.
   *
   * @returns where the next ones are to be read to, undefined for the same memory again
   */
  receiveShared(count: number, memory: Buffer): Buffer | undefined;
}

interface Handle {
  reading: boolean;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
}

const kReader = Symbol('reader');

interface Insides {
  _handle: Handle | null;
  [kReader]: SharedReader | undefined;
  [inside: symbol]: unknown;
}
type OpenSocket = Socket & Insides;

// Asked for right after `onRead` has returned, for the same socket.
let nextMemory: Buffer | undefined;

function memory(): Buffer {
  // Node asks this after every read; undefined changes nothing.
  return nextMemory as Buffer;
}

function onRead(this: Insides, count: number, filled: Buffer): boolean {
  nextMemory = this[kReader]!.receiveShared(count, filled);
  return true;
}

/** Under which symbols a socket keeps the parts of `onread`; undefined where it doesn't. */
const places = findPlaces();

function findPlaces(): { buffer: symbol; generator: symbol; callback: symbol } | undefined {
  const callback = (): boolean => true;
  const buffer = Buffer.alloc(1);
  const generator = (): Buffer => buffer;
  const probe = (onread: object): Insides => new Socket({ onread } as object) as unknown as Insides;
  const withBuffer = probe({ buffer, callback });
  const withGenerator = probe({ buffer: generator, callback });
  const holding = (socket: Insides, value: unknown): symbol | undefined =>
    Object.getOwnPropertySymbols(socket).find((symbol) => socket[symbol] === value);
  const found = {
    buffer: holding(withBuffer, buffer),
    generator: holding(withGenerator, generator),
    callback: holding(withBuffer, callback),
  };
  const { buffer: b, generator: g, callback: c } = found;
  if (b === undefined || g === undefined || c === undefined) return undefined;
  // Sockets without `onread` must have the same places, empty.
  const plain = new Socket() as unknown as Insides;
  const isAsExpected = [b, g, c].every((symbol) => symbol in plain && !plain[symbol]);
  return isAsExpected ? { buffer: b, generator: g, callback: c } : undefined;
}

/**
 * Has a socket read into shared memory from now on. It is stopped: `resume` lets it read, after `readTo` has
 * said to whom.
 *
 * @returns what had been read already, null for nothing; undefined where it can't be done, and nothing was changed
 */
export function shareReads(socket: object): Buffer | null | undefined {
  if (places === undefined || !(socket instanceof Socket) || socket instanceof TLSSocket) return undefined;
  const open = socket as OpenSocket;
  const handle = open._handle;
  if (!isReadable(handle) || open[places.buffer] || open.listenerCount('data') > 0) return undefined;

  const rest = open.readableLength > 0 ? (open.read() as Buffer | null) : null;
  handle.readStop();
  handle.reading = false;
  open.pause();
  open[places.buffer] = sharedBuffer;
  open[places.generator] = memory;
  open[places.callback] = onRead;
  open[kReader] = undefined;
  handle.useUserBuffer(sharedBuffer);
  return rest;
}

/** Says who gets what the socket reads from now on. False for a socket whose reads are not shared. */
export function readTo(socket: object, reader: SharedReader): boolean {
  if (!(kReader in socket)) return false;
  (socket as Insides)[kReader] = reader;
  return true;
}

function isReadable(handle: Handle | null): handle is Handle {
  return (
    typeof handle?.readStop === 'function' &&
    typeof handle.useUserBuffer === 'function' &&
    typeof handle.reading === 'boolean'
  );
}
