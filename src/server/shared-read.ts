/**
 * Reading accepted sockets into one buffer that the whole process shares, in place of a new one for each
 * read: the largest single saving there is on Node's sockets.
 *
 * `net.connect` takes `onread` for it; for accepted sockets it takes a `net.Socket` made anew around the
 * accepted handle. The handle, and the server that counts the connection, are private parts of Node: they
 * are used in this file only, looked at before they are touched, and without them sockets are read as ever.
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
const kOriginal = Symbol('original');
const kAdopted = Symbol('adopted');

interface Insides {
  _handle: Handle | null;
  _server: object | null;
  [kReader]: SharedReader | undefined;
  [kOriginal]: Socket | undefined;
  [kAdopted]: Socket | undefined;
}
type OpenSocket = Socket & Insides;

// Asked for right after `onRead` has returned, for the same socket.
let nextMemory: Buffer | undefined;
const onread = { buffer: memory, callback: onRead };

function memory(): Buffer {
  // Only the first call, from the constructor, has to give memory; undefined changes nothing.
  return nextMemory as Buffer;
}

function onRead(this: Insides, count: number, filled: Buffer): boolean {
  nextMemory = this[kReader]!.receiveShared(count, filled);
  return true;
}

/**
 * Takes a socket's connection over to a new socket that is read into shared memory once it is resumed. The
 * old one is left without a connection, and is half of what a connection costs in memory: it is let go,
 * unless somebody wants to hear of its end.
 *
 * @param isKnown whether others than node:http and ourselves have the old socket; it is then kept, and
 * destroyed with the new one. A listener to its `close` is as good
 * @returns the new socket and what the old one had read; undefined where it can't be done, and nothing was
 * changed
 */
export function shareReads(
  socket: object,
  isKnown: boolean,
): { socket: Socket; rest: Buffer | null } | undefined {
  if (!(socket instanceof Socket) || socket instanceof TLSSocket) return undefined;
  const old = socket as OpenSocket;
  const handle = old._handle;
  if (!isReadable(handle) || old.writableLength > 0 || old.listenerCount('data') > 0) return undefined;

  // Asked for while there is a handle, an address stays known.
  void old.remoteAddress;
  const rest = old.readableLength > 0 ? (old.read() as Buffer | null) : null;
  handle.readStop();
  handle.reading = false;
  old.setTimeout(0);
  old._handle = null;
  nextMemory = sharedBuffer;
  const adopted = new Socket({
    handle,
    allowHalfOpen: old.allowHalfOpen,
    onread,
  } as unknown as ConstructorParameters<typeof Socket>[0]) as OpenSocket;
  // The connection stays counted until it ends.
  adopted._server = old._server;
  old._server = null;
  adopted[kReader] = undefined;
  if (isKnown || old.listenerCount('close') > 0) {
    adopted[kOriginal] = old;
    old[kAdopted] = adopted;
    adopted.on('close', onClose);
    old.on('close', onOriginalClose);
  }
  return { socket: adopted, rest };
}

/** Says who gets what the socket reads from now on. False for a socket that `shareReads` has not made. */
export function readTo(socket: object, reader: SharedReader): boolean {
  if (!(kReader in socket)) return false;
  (socket as Insides)[kReader] = reader;
  return true;
}

function onClose(this: Insides): void {
  this[kOriginal]?.destroy();
}

/** Whoever kept the old socket, to end connections at a shutdown for instance, ends this one by it. */
function onOriginalClose(this: Insides): void {
  this[kAdopted]?.destroy();
}

function isReadable(handle: Handle | null): handle is Handle {
  return (
    typeof handle?.readStop === 'function' &&
    typeof handle.useUserBuffer === 'function' &&
    typeof handle.reading === 'boolean'
  );
}
