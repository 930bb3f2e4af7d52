/**
 * The parts of Node's sockets that have no public name and are used all the same: in this file only. Each is looked for
 * before it is used, and where it is not as expected there is a way without it.
 *
 * - Where a socket reads to. `net.connect` takes `onread` for it, and nothing does for an accepted socket. But a socket
 *   looks at every read for what `onread` has set, so that it can be set later: two properties under private symbols,
 *   found by trying `onread` on a socket that is never opened, and a call to the handle. Without them sockets are read as
 *   ever.
 * - How far the write is that is under way, of which Node only says when all of it is done. It looks at the same figure
 *   before it says that a socket has timed out. Without it only whole writes count as progress.
 */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

interface Handle {
  reading: boolean;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  readonly writeQueueSize?: number;
}

interface Insides {
  _handle?: Handle | null;
  [inside: symbol]: unknown;
}

/** `count` bytes have come at the beginning of the buffer, and are gone after the call. False stops reading. */
export type OnRead = (this: Socket, count: number) => boolean;

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
 * Has an accepted socket read into this buffer from now on, and stops it until `resume`.
 *
 * @returns what had been read already, null for nothing; undefined where it can't be done, and nothing was changed
 */
export function readInto(socket: object, buffer: Uint8Array, onRead: OnRead): Buffer | null | undefined {
  if (places === undefined || !isPlain(socket)) return undefined;
  const open = socket as Socket & Insides;
  const { _handle: handle } = open;
  if (!isReadable(handle) || open[places.buffer] || open.listenerCount('data') > 0) return undefined;
  const rest = open.readableLength > 0 ? (open.read() as Buffer | null) : null;
  handle.readStop();
  handle.reading = false;
  open.pause();
  open[places.buffer] = buffer;
  open[places.callback] = onRead;
  handle.useUserBuffer(buffer);
  return rest;
}

function isReadable(handle: Handle | null | undefined): handle is Handle {
  return (
    typeof handle?.readStop === 'function' &&
    typeof handle.useUserBuffer === 'function' &&
    typeof handle.reading === 'boolean'
  );
}

/** Whether it is a socket of which Node can tell how far a write is. */
export function isPlain(socket: unknown): socket is Socket {
  return socket instanceof Socket && !(socket instanceof TLSSocket);
}

/** Bytes of the write under way that the kernel has not taken; 0 where that can't be known. */
export function untaken(socket: unknown): number {
  if (!isPlain(socket)) return 0;
  return (socket as unknown as Insides)._handle?.writeQueueSize ?? 0;
}
