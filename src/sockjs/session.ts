/**
 * One SockJS session: what the application sees as a connection, over whichever receiving request or
 * WebSocket is there at the moment.
 */
import { monotonicNow } from '../clock.ts';
import { Queue } from '../queue.ts';
import { asError, attempt, tellHandler } from '../server/handler-calls.ts';
import type { Traffic } from '../server/traffic.ts';
import {
  type Attributes,
  dropWaiting,
  type Handler,
  type HandshakeRequest,
  type SendResult,
  type Transport,
  type TransportKind,
} from '../server/transport.ts';
import type { Fence } from './fence.ts';
import { close, HEARTBEAT, messages, OPEN, quote } from './frames.ts';

/** The way to the client that is open just now: a streaming or polling response, or a WebSocket. */
export interface Receiver {
  /** Sends one frame. False once this receiver can take no more: then the session lets go of it. */
  send(frame: string): boolean;
  /** Set where more than `interrupted` can tell that the last frame was lost: called then. */
  onLost?: (() => void) | undefined;
  /** Ends it in good order. */
  end(): void;
  /** Cuts it. */
  destroy(): void;
  /** False while the client reads slower than we write. */
  readonly isWritable: boolean;
  /** Bytes given to the network that it has not taken. */
  readonly bufferedAmount: number;
  /** See Transport. */
  readonly backlog: number;
  /** Where the client's messages come by the same connection: reads nothing more of it for now. */
  pause?(): void;
  resume?(): void;
}

export interface SessionLimits {
  fence?: Fence | undefined;
  /** Milliseconds between heartbeat frames. */
  heartbeatDelay: number;
  /** Milliseconds without a receiver until the session is over. */
  disconnectDelay: number;
  /** Bytes that may wait for a receiver; with more, the next message closes the session as too slow. */
  maxBuffered: number;
  /** Bytes of one message of the client's. */
  maxMessage: number;
}

/** A message is too long (RFC 6455 §7.4.1). */
const TOO_BIG = 1009;
const RATE_LIMIT = 4429;
const TOO_SLOW = 4430;
/** Messages that may wait while the application reads nothing, besides those of one request. */
const MAX_HELD = 1000;
/**
 * Bytes of a millisecond over the slowest line that we wait for. A client that is still receiving a response does not
 * ask for the next; and when that has left this process, nobody says how much of it the client has.
 */
const SLOWEST = 8;

/** Milliseconds that so many bytes take over that line. */
export function wayOf(bytes: number): number {
  return bytes / SLOWEST;
}

/** Messages of one request, while the application reads nothing. */
interface Held {
  texts: string[];
  /** How many of them it has had. */
  at: number;
  done: () => void;
}

export class SockJsSession implements Transport {
  readonly kind: TransportKind;
  /** That of all sessions of its kind. */
  readonly traffic: Traffic;
  readonly attributes: Attributes;
  /** SockJS has no subprotocols: the application's choice, from the query parameter `protocol`. */
  readonly protocol: string;
  readyState: 0 | 1 | 2 | 3 = 0;
  /** When the sweep has to look: for a heartbeat while there is a receiver, for the end without one. */
  deadline = Number.POSITIVE_INFINITY;

  readonly #handler: Handler<Transport>;
  readonly #limits: SessionLimits;
  #receiver: Receiver | undefined;
  /** The receiver before, as long as the client may not have all of it, and how many bytes that were. */
  #former: Receiver | undefined;
  #formerBytes = 0;
  #isPaused = false;
  /** What has come while it was paused. */
  #held: Queue<Held> | undefined;
  #heldBytes = 0;
  #heldCount = 0;
  #queue: string[] = [];
  #queuedBytes = 0;
  /** What was sent before the session was closed, and waits for a receiver to say it before the close frame. */
  #lastFrame = '';
  #lastStamp = '';
  #closeFrame = '';
  #hasFailed = false;

  constructor(
    kind: TransportKind,
    traffic: Traffic,
    attributes: Attributes,
    protocol: string,
    handler: Handler<Transport>,
    limits: SessionLimits,
  ) {
    this.kind = kind;
    this.traffic = traffic;
    this.attributes = attributes;
    this.protocol = protocol;
    this.#handler = handler;
    this.#limits = limits;
  }

  get bufferedAmount(): number {
    const { bufferedAmount = 0 } = this.#receiver ?? this.#former ?? {};
    return this.#queuedBytes + bufferedAmount;
  }

  get backlog(): number {
    const { backlog = 0 } = this.#receiver ?? this.#former ?? {};
    return this.#queuedBytes + backlog + this.#onTheWay(backlog > 0);
  }

  /** Of an ended response: what the client may not have yet. It gets less when all of it has left, as over the slowest line. */
  #onTheWay(isLeaving: boolean): number {
    if (this.#former === undefined) return 0;
    if (isLeaving) return this.#formerBytes;
    const arrival = this.deadline - this.#limits.disconnectDelay;
    return Math.max(0, Math.min(this.#formerBytes, (arrival - monotonicNow()) * SLOWEST));
  }

  /** The first receiver: sends the open frame. The caller then calls `begin`. */
  open(receiver: Receiver, now: number): void {
    this.readyState = 1;
    this.#hold(receiver, now, OPEN);
  }

  /** Tells the handler. */
  begin(request: HandshakeRequest): void {
    this.#call(() => this.#handler.opened?.(this, request));
  }

  /** Tells the handler of an error of the transport. */
  transportError(error: Error): void {
    tellHandler(() => this.#handler.transportError?.(this, error));
  }

  /** A later receiver. There may be only one at a time; a closed session answers with its close frame. */
  attach(receiver: Receiver, now: number): void {
    if (this.readyState > 1) {
      const { fence } = this.#limits;
      const last = fence?.mayPass(this.#lastStamp) === false ? '' : this.#lastFrame;
      this.#lastFrame = '';
      if (last === '' || receiver.send(last)) receiver.send(this.#closeFrame);
      receiver.end();
    } else if (this.#receiver !== undefined || this.readyState === 0) {
      receiver.send(close(2010, 'Another connection still open'));
      receiver.end();
    } else {
      this.#hold(receiver, now, undefined);
    }
  }

  /** The receiver's connection broke: what was written to it may be lost, so the session is over. */
  interrupted(receiver: Receiver): void {
    if (this.#receiver !== receiver) return;
    this.#receiver = undefined;
    this.#finish(1002, 'Connection interrupted', 1006);
  }

  /** A receiver that is not there any more may have lost its last frame. */
  lostFrame(): void {
    if (this.readyState === 1) this.#finish(1002, 'Connection interrupted', 1006);
  }

  /** The WebSocket that is the receiver is closed. */
  lost(code: number, reason: string): void {
    this.#receiver = undefined;
    if (this.readyState === 1) this.#finish(code, reason, code);
  }

  /** The receiver is writable again. */
  drained(receiver: Receiver): void {
    if (this.#receiver === receiver) this.#flush();
  }

  /**
   * Resolves when the application has had them. Who sends on and on while it reads nothing is closed with 4429, and who
   * sends what is too long with 1009.
   */
  received(texts: string[]): Promise<void> | undefined {
    const { maxMessage } = this.#limits;
    if (texts.some((text) => text.length * 3 > maxMessage && Buffer.byteLength(text) > maxMessage)) {
      this.tooLong();
      return undefined;
    }
    const at = this.#isPaused ? 0 : this.#handOut(texts, 0);
    if (at === texts.length || this.readyState !== 1) return undefined;
    this.#held ??= new Queue();
    const isFirst = this.#held.length === 0;
    this.#heldCount += texts.length - at;
    for (let i = at; i < texts.length; i++) this.#heldBytes += texts[i]!.length;
    const isTooMuch = this.#heldCount > MAX_HELD || this.#heldBytes > 2 * this.#limits.maxMessage;
    if (isTooMuch && !isFirst) {
      this.close(RATE_LIMIT, 'more waits to be read than may');
      return undefined;
    }
    const held = this.#held;
    return new Promise((done) => held.add({ texts, at, done }));
  }

  /** The client has sent a message that is longer than it may be. */
  tooLong(): void {
    this.close(TOO_BIG, `a message may have ${this.#limits.maxMessage} bytes`);
  }

  /** Returns how many of them the application has had. */
  #handOut(texts: string[], from: number): number {
    let at = from;
    while (at < texts.length && this.readyState === 1 && !this.#isPaused) {
      const text = texts[at++]!;
      this.#call(() => this.#handler.message?.(this, Buffer.from(text), false));
    }
    return at;
  }

  pause(): void {
    if (this.#isPaused || this.readyState > 1) return;
    this.#isPaused = true;
    this.#receiver?.pause?.();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    for (let held = this.#held?.first; held !== undefined; held = this.#held?.first) {
      const { texts, at } = held;
      held.at = this.#handOut(texts, at);
      // It may have closed the session.
      if (this.#held?.first !== held) return;
      this.#heldCount -= held.at - at;
      for (let i = at; i < held.at; i++) this.#heldBytes -= texts[i]!.length;
      // Or paused it again.
      if (held.at < texts.length) return;
      this.#held.take();
      held.done();
      if (this.#isPaused) return;
    }
    this.#receiver?.resume?.();
  }

  #letGo(): void {
    for (const { done } of this.#held ?? []) done();
    this.#held = undefined;
    this.#isPaused = false;
    this.#receiver?.resume?.();
  }

  /** SockJS carries text only: bytes go as base64. */
  send(data: string | Buffer): SendResult {
    if (this.readyState !== 1) return 'dropped';
    // Before and not after it is queued: one message is always let through, however long.
    if (this.bufferedAmount > this.#limits.maxBuffered) {
      this.close(TOO_SLOW, 'Too slow');
      return 'dropped';
    }
    const quoted = quote(typeof data === 'string' ? data : data.toString('base64'));
    this.#queue.push(quoted);
    this.#queuedBytes += quoted.length;
    this.#flush();
    return this.#queue.length === 0 ? 'sent' : 'queued';
  }

  close(code = 1000, reason = ''): void {
    if (this.readyState > 1) return;
    // Who does not read gets no more of it.
    if (this.#queue.length > 0 && code !== TOO_SLOW) {
      const frame = messages(this.#queue);
      if (this.#receiver === undefined) {
        this.#lastFrame = frame;
        this.#lastStamp = this.#limits.fence?.stamp(this.attributes) ?? '';
      } else this.#write(frame);
    }
    this.#finish(code, reason, code);
  }

  terminate(): void {
    if (this.readyState > 1) return;
    if (this.#former !== undefined && this.#former.bufferedAmount > 0) this.#former.destroy();
    this.#receiver?.destroy();
    this.#receiver = undefined;
    this.#finish(1006, 'Connection interrupted', 1006);
  }

  /** What waits for a receiver can be dropped without the session, as nobody was sent any of it; unless it is to live on. */
  [dropWaiting](ofThisTurn: boolean): boolean {
    if (this.readyState > 1) return false;
    const isStuck = ((this.#receiver ?? this.#former)?.bufferedAmount ?? 0) > 0;
    if (ofThisTurn ? isStuck || this.#queue.length > 0 : isStuck) {
      this.terminate();
      return true;
    }
    this.#queue = [];
    this.#queuedBytes = 0;
    return false;
  }

  /** Called by the server's sweep once `deadline` has passed. True when the session can be forgotten. */
  overdue(now: number): boolean {
    if (this.readyState === 3) return true;
    if (this.#receiver === undefined) {
      this.#finish(1006, 'Session timed out', 1006);
      return true;
    }
    this.deadline = now + this.#limits.heartbeatDelay;
    this.#write(HEARTBEAT);
    return false;
  }

  /** What a handler throws ends its own session with 1011 (RFC 6455 §7.4.1), and nothing else. */
  #call(call: () => unknown): void {
    attempt(call, (thrown) => {
      if (this.#hasFailed) return;
      this.#hasFailed = true;
      this.transportError(asError(thrown));
      this.#flush();
      if (this.readyState === 1) this.#finish(1011, 'internal error', 1011);
    });
  }

  #hold(receiver: Receiver, now: number, first: string | undefined): void {
    this.#receiver = receiver;
    // Who asks again has had it.
    this.#former = undefined;
    this.deadline = now + this.#limits.heartbeatDelay;
    if (first !== undefined) this.#write(first);
    this.#flush();
  }

  #write(frame: string): void {
    const receiver = this.#receiver;
    if (receiver === undefined || receiver.send(frame)) return;
    this.#receiver = undefined;
    this.#former = receiver;
    this.#formerBytes = Math.max(Buffer.byteLength(frame), receiver.bufferedAmount);
    this.deadline = monotonicNow() + this.#limits.disconnectDelay + wayOf(this.#formerBytes);
    receiver.end();
  }

  #flush(): void {
    if (this.#queue.length === 0 || !this.#receiver?.isWritable) return;
    this.#limits.fence?.look();
    if (this.#queue.length === 0) return;
    const frame = messages(this.#queue);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#write(frame);
  }

  /** @param code goes to the client and to every later receiver; `told` to the application */
  #finish(code: number, reason: string, told: number): void {
    this.readyState = 3;
    this.#letGo();
    this.#former = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#closeFrame = close(code, reason);
    this.deadline = monotonicNow() + this.#limits.disconnectDelay;
    const receiver = this.#receiver;
    this.#receiver = undefined;
    if (receiver !== undefined) {
      receiver.send(this.#closeFrame);
      receiver.end();
    }
    tellHandler(() => this.#handler.closed?.(this, told, reason));
  }
}
