/** Who gets a command's reply, and the order in which replies are awaited. */
import { monotonicNow, nextTick, queueMicrotask } from '../../clock.ts';
import { Queue } from '../../queue.ts';
import type { RedisError } from './errors.ts';
import type { RespReply } from './resp-reader.ts';

/**
 * Receives the reply of a command that was given to `RespClient#send`: cheaper than a promise, and one object
 * may serve any number of commands.
 */
export interface ReplyHandler {
  /** Whether strings are wanted as Buffers. Read when the reply arrives. */
  readonly returnBuffers?: boolean;
  /** Named in errors. */
  readonly command?: string;
  /** The command was executed, and this is the answer. */
  reply(value: RespReply): void;
  /** It failed, or nobody knows whether it was executed: the code says which. */
  failed(error: RedisError): void;
}

/** The executor of every promise here: shared, so that a command costs no closure. */
const capture = (resolve: (value: RespReply) => void, reject: (error: Error) => void): void => {
  capturedResolve = resolve;
  capturedReject = reject;
};
let capturedResolve: (value: RespReply) => void;
let capturedReject: (error: Error) => void;

export class PromisedReply implements ReplyHandler {
  readonly command: string;
  readonly returnBuffers: boolean;
  readonly promise: Promise<RespReply>;
  readonly reply: (value: RespReply) => void;
  readonly reject: (error: Error) => void;

  constructor(command: string, returnBuffers: boolean) {
    this.command = command;
    this.returnBuffers = returnBuffers;
    this.promise = new Promise(capture);
    this.reply = capturedResolve;
    this.reject = capturedReject;
  }

  failed(error: RedisError): void {
    this.reject(error);
  }
}

/** For a command whose reply nobody wants (any more). */
export const IGNORED: ReplyHandler = { reply() {}, failed() {} };

export function fail(handler: ReplyHandler, error: RedisError): void {
  try {
    handler.failed(error);
  } catch (thrown) {
    rethrow(thrown);
  }
}

/** An error of the application's own code: it must surface, but not in the middle of a read. */
export function rethrow(error: unknown): void {
  nextTick(() => {
    throw error;
  });
}

/** The handlers of commands that were sent, in that order, with the times they were sent at. */
export class PendingReplies {
  /** A ring of a power of two. */
  #ring: (ReplyHandler | undefined)[] = new Array(64).fill(undefined);
  #mask = 63;
  #head = 0;
  length = 0;
  #sent = 0;
  #answered = 0;
  /** When the commands up to and including number `end` were sent: once per tick, as a clock costs. */
  readonly #batches = new Queue<{ end: number; time: number }>();
  #isBatchOpen = false;
  readonly #closeBatch = (): void => {
    this.#isBatchOpen = false;
    this.#batches.add({ end: this.#sent, time: monotonicNow() });
  };

  get first(): ReplyHandler | undefined {
    return this.#ring[this.#head];
  }

  push(handler: ReplyHandler): void {
    if (this.length > this.#mask) this.#grow();
    this.#ring[(this.#head + this.length) & this.#mask] = handler;
    this.length++;
    this.#sent++;
    if (this.#isBatchOpen) return;
    this.#isBatchOpen = true;
    queueMicrotask(this.#closeBatch);
  }

  take(): ReplyHandler | undefined {
    const handler = this.#ring[this.#head];
    if (handler === undefined) return undefined;
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & this.#mask;
    this.length--;
    this.#answered++;
    const batch = this.#batches.first;
    if (batch !== undefined && batch.end <= this.#answered) this.#batches.take();
    return handler;
  }

  /** Takes the last `count` out again, in their order. */
  popLast(count: number): ReplyHandler[] {
    const taken: ReplyHandler[] = [];
    for (let i = this.length - count; i < this.length; i++) {
      const at = (this.#head + i) & this.#mask;
      taken.push(this.#ring[at]!);
      this.#ring[at] = undefined;
    }
    this.length -= count;
    this.#sent -= count;
    return taken;
  }

  /** The handlers of commands sent before `time`. Their places stay, for replies that may still come. */
  takeOverdue(time: number): ReplyHandler[] {
    let end = this.#answered;
    for (
      let batch = this.#batches.first;
      batch !== undefined && batch.time <= time;
      batch = this.#batches.first
    ) {
      end = batch.end;
      this.#batches.take();
    }
    const taken: ReplyHandler[] = [];
    for (let i = 0; i < end - this.#answered; i++) {
      const at = (this.#head + i) & this.#mask;
      if (this.#ring[at] === IGNORED) continue;
      taken.push(this.#ring[at]!);
      this.#ring[at] = IGNORED;
    }
    return taken;
  }

  #grow(): void {
    const ring: (ReplyHandler | undefined)[] = new Array((this.#mask + 1) * 2).fill(undefined);
    for (let i = 0; i < this.length; i++) ring[i] = this.#ring[(this.#head + i) & this.#mask];
    this.#ring = ring;
    this.#mask = ring.length - 1;
    this.#head = 0;
  }
}
