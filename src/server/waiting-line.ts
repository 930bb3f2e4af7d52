/**
 * What waits on a connection, in order, behind something that is not ready: a message whose bytes come later, or one that
 * is being compressed elsewhere.
 */
import { FIN, Opcode, RSV1 } from '../protocol/frame-writer.ts';
import type { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { Queue } from '../queue.ts';
import { asBuffer } from './data.ts';
import type { SharedFrames } from './fan-out.ts';
import type { Outbox } from './outbox.ts';
import { inItsContext, type SendCallback } from './send-callbacks.ts';
import { throwLater } from './throw-later.ts';

/** Something that waits for its turn. */
export interface Waiting {
  /** Bytes that it keeps in memory. */
  readonly bytes: number;
  /** `undefined` once it has been called, or is the outbox's. */
  callback: SendCallback | undefined;
  /** A frame's first byte; 0 for shared frames. */
  readonly first: number;
  readonly payload: Buffer | Promise<Uint8Array> | SharedFrames;
  readonly deflate: MessageDeflate | null;
}

/** Whose line it is. */
export interface LineHost {
  /** The peer's window ends with it now. */
  noteShared(shared: SharedFrames): void;
  writeClose(payload: Buffer): void;
  /** A message can't be sent as promised, so that nothing may follow it. */
  sendFailed(error: Error): void;
  /** Nothing waits any more. */
  lineIsOver(): void;
}

/** There is one only while something waits. */
export class WaitingLine {
  readonly #host: LineHost;
  readonly #outbox: Outbox;
  readonly #queue = new Queue<Waiting>();
  /** The one whose bytes somebody else is at work on. */
  #away: Waiting | null = null;
  #bytes = 0;
  /** How many of those that wait are bytes that come later. */
  #late = 0;
  #isOver = false;

  constructor(host: LineHost, outbox: Outbox) {
    this.#host = host;
    this.#outbox = outbox;
  }

  /** That are kept for those that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  get late(): number {
    return this.#late;
  }

  /** The first one: whatever is ready goes at once. */
  begin(entry: Waiting): void {
    this.add(entry);
    this.#advance();
  }

  add(entry: Waiting): void {
    this.#bytes += entry.bytes;
    if (entry.payload instanceof Promise) this.#late++;
    this.#queue.add(entry);
  }

  /** Ends it, and gives all that still waited. */
  clear(): Waiting[] {
    this.#isOver = true;
    const all = this.#away === null ? [] : [this.#away];
    for (let entry = this.#queue.take(); entry !== undefined; entry = this.#queue.take()) all.push(entry);
    this.#away = null;
    return all;
  }

  /** A loop, not a recursion: thousands may be ready one after the other. */
  #advance(): void {
    if (this.#isOver) return;
    while (this.#away === null) {
      const entry = this.#queue.take();
      if (entry === undefined) break;
      this.#start(entry);
      // The connection may have ended with it.
      if (this.#isOver) return;
    }
    if (this.#away !== null) return;
    this.#isOver = true;
    this.#host.lineIsOver();
  }

  #start(entry: Waiting): void {
    const { first, payload, deflate } = entry;
    if (payload instanceof Promise) {
      this.#away = entry;
      payload.then(
        (bytes) => this.#cameLate(entry, asBuffer(bytes)),
        (error) => this.#failed(entry, error),
      );
    } else if (!Buffer.isBuffer(payload)) {
      this.#host.noteShared(payload);
      this.#outbox.encoded(payload, this.#done(entry));
    } else if (deflate !== null) {
      this.#compressWaiting(entry, payload, deflate);
    } else if (first === (FIN | Opcode.CLOSE)) {
      this.#bytes -= entry.bytes;
      this.#host.writeClose(payload);
    } else {
      this.#outbox.bytes(first, payload, this.#done(entry), true);
    }
  }

  #compressWaiting(entry: Waiting, payload: Buffer, deflate: MessageDeflate): void {
    this.#away = entry;
    const compressed = deflate.deflate(payload, (error, later) => {
      if (this.#away !== entry) return;
      if (error !== null) {
        this.#failed(entry, error);
        return;
      }
      this.#away = null;
      this.#outbox.bytes(entry.first | RSV1, later, this.#done(entry), true);
      this.#advance();
    });
    if (compressed === undefined) return;
    this.#away = null;
    this.#outbox.bytes(entry.first | RSV1, compressed, this.#done(entry), true);
  }

  #cameLate(entry: Waiting, payload: Buffer): void {
    if (this.#away !== entry) return;
    this.#away = null;
    this.#late--;
    if (entry.deflate === null) this.#outbox.bytes(entry.first, payload, this.#done(entry), true);
    else this.#compressWaiting(entry, payload, entry.deflate);
    this.#advance();
  }

  /** It is the outbox's now, and its callback as well. */
  #done(entry: Waiting): SendCallback | undefined {
    const { callback } = entry;
    entry.callback = undefined;
    this.#bytes -= entry.bytes;
    return callback;
  }

  #failed(entry: Waiting, error: Error): void {
    if (this.#away !== entry) return;
    call(entry, error);
    this.#host.sendFailed(error);
  }
}

export function waiting(first: number, payload: Buffer, callback: SendCallback | undefined): Waiting {
  return {
    bytes: payload.length,
    callback: callback && inItsContext(callback),
    first,
    payload,
    deflate: null,
  };
}

export function waitingShared(shared: SharedFrames, callback: SendCallback | undefined): Waiting {
  return {
    bytes: shared.bytes.length,
    callback: callback && inItsContext(callback),
    first: 0,
    payload: shared,
    deflate: null,
  };
}

/** What a callback throws is not the connection's. */
export function call(entry: Waiting, error: Error): void {
  const { callback } = entry;
  entry.callback = undefined;
  try {
    callback?.(error);
  } catch (thrown) {
    throwLater(thrown);
  }
}
