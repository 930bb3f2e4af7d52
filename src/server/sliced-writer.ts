/**
 * Writes to a stream that is no plain socket, such as TLS, a slice at a time. Node tells of nothing between the
 * beginning and the end of a write there, so that without slices a long message to a slow peer would look like
 * one that is stuck.
 */
import type { Writable } from 'node:stream';
import { Queue } from '../queue.ts';
import { type Held, heldWith } from './http2-stream.ts';

export type WriteDone = (error?: Error | null) => void;

interface Waiting {
  readonly bytes: Buffer;
  readonly done: WriteDone | undefined;
}

const SLICE_BYTES = 64 * 1024;
/**
 * Node refuses streams and then ends a session with all it has where it holds 10 MB for it, if the application has not given
 * more (`maxSessionMemory`). So a thousand streams that stand still must not hold that much: each slice is a part of the room
 * that is left, and small where there is none.
 */
const SESSION_ROOM = 3 * 1024 * 1024;
const PART = 16;
const LEAST_SLICE = 4 * 1024;

export class SlicedWriter {
  readonly #socket: Writable;
  readonly #owner: { socketDrained(): void } | undefined;
  /** What others have under way on the same session of HTTP/2. */
  readonly #held: Held | undefined;
  readonly #queue = new Queue<Waiting>();
  /** What is being written, of which `#at` bytes were given to the stream. */
  #current: Waiting | null = null;
  #at = 0;
  #isWriting = false;
  /** Bytes that the stream has not been given. */
  waitingBytes = 0;
  /** Counts slices that the stream has written. */
  written = 0;

  constructor(socket: Writable, owner: { socketDrained(): void } | undefined) {
    this.#socket = socket;
    this.#owner = owner;
    this.#held = heldWith(socket);
  }

  /** @param bytes stay as they are until `done` */
  write(bytes: Buffer, done?: WriteDone): void {
    this.waitingBytes += bytes.length;
    if (this.#current !== null) {
      this.#queue.add({ bytes, done });
      return;
    }
    this.#current = { bytes, done };
    this.#at = 0;
    this.#writeSlice();
  }

  /** Gives the stream all that waits: somebody else is about to write, or to end it. */
  handOver(): void {
    const current = this.#current;
    if (current === null || this.#isWriting) return;
    const { bytes, done } = current;
    this.#current = null;
    this.waitingBytes = 0;
    // Otherwise the slice that is under way is the last one, and has its callback.
    if (this.#at < bytes.length) this.#give(bytes.subarray(this.#at), done);
    for (let next = this.#queue.take(); next !== undefined; next = this.#queue.take()) {
      this.#give(next.bytes, next.done);
    }
  }

  #give(bytes: Buffer, done: WriteDone | undefined): void {
    this.#isWriting = true;
    this.#socket.write(bytes, done);
    this.#isWriting = false;
  }

  #writeSlice(): void {
    const current = this.#current!;
    const { bytes, done } = current;
    const held = this.#held;
    const end = Math.min(this.#at + (held === undefined ? SLICE_BYTES : roomOf(held)), bytes.length);
    const slice = this.#at === 0 && end === bytes.length ? bytes : bytes.subarray(this.#at, end);
    this.#at = end;
    this.waitingBytes -= slice.length;
    const isLast = end === bytes.length;
    if (held !== undefined) held.bytes += slice.length;
    this.#give(slice, (error) => {
      this.written++;
      if (held !== undefined) held.bytes -= slice.length;
      if (isLast) done?.(error);
      // Otherwise it was handed over.
      if (this.#current === current) this.#goOn(isLast, error);
    });
  }

  #goOn(isDone: boolean, error: Error | null | undefined): void {
    if (error) {
      this.#fail(error, isDone);
      return;
    }
    if (isDone) {
      this.#current = this.#gather();
      this.#at = 0;
    }
    if (this.#current !== null) this.#writeSlice();
    else this.#owner?.socketDrained();
  }

  /** The next that waits; small ones together. */
  #gather(): Waiting | null {
    const first = this.#queue.take();
    if (first === undefined) return null;
    const all = [first];
    let bytes = first.bytes.length;
    for (let next = this.#queue.first; next !== undefined; next = this.#queue.first) {
      bytes += next.bytes.length;
      if (bytes > SLICE_BYTES) break;
      all.push(this.#queue.take()!);
    }
    if (all.length === 1) return first;
    const done: WriteDone = (error) => {
      for (const each of all) each.done?.(error);
    };
    return { bytes: Buffer.concat(all.map((each) => each.bytes)), done };
  }

  #fail(error: Error, isTold: boolean): void {
    if (!isTold) this.#current?.done?.(error);
    this.#current = null;
    this.waitingBytes = 0;
    for (let next = this.#queue.take(); next !== undefined; next = this.#queue.take()) next.done?.(error);
  }
}

function roomOf({ bytes }: Held): number {
  return Math.min(SLICE_BYTES, Math.max(LEAST_SLICE, Math.floor((SESSION_ROOM - bytes) / PART)));
}
