/**
 * Reading accepted sockets into one buffer that the whole process shares, in place of a new one for each
 * read: the largest single saving there is on Node's sockets. Where it can't be done, sockets are read as ever.
 */
import type { Socket } from 'node:net';
import { sharedBuffer } from './memory.ts';
import { readInto } from './node-insides.ts';

/** Whoever gets what is read. */
export interface SharedReader {
  /** `count` bytes have come at the beginning of `sharedBuffer`, and are gone after the call. */
  receiveShared(count: number): void;
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

type Shared = Socket & { [kReader]?: SharedReader };

function onRead(this: Shared, count: number): boolean {
  this[kReader]!.receiveShared(count);
  return true;
}

/**
 * Has a socket read into shared memory from now on. It is stopped: `resume` lets it read, after `readTo` has
 * said to whom. Where that was done before, it is only stopped.
 *
 * @returns what had been read already, null for nothing; undefined where it can't be done, and nothing was changed
 */
export function shareReads(socket: object): Buffer | null | undefined {
  if (kReader in socket) {
    const shared = socket as Shared;
    shared.pause();
    return shared[kReader] instanceof Holder ? shared[kReader].take() : null;
  }
  const rest = readInto(socket, sharedBuffer, onRead);
  if (rest !== undefined) (socket as Shared)[kReader] = nobody;
  return rest;
}

/** Says who gets what the socket reads from now on: default nobody. False for a socket whose reads are not shared. */
export function readTo(socket: object, reader: SharedReader = nobody): boolean {
  if (!(kReader in socket)) return false;
  (socket as Shared)[kReader] = reader;
  return true;
}

/** What the socket reads from now on is kept until `shareReads` is called again. False as from `readTo`. */
export function holdReads(socket: Socket): boolean {
  return kReader in socket && readTo(socket, new Holder(socket));
}
