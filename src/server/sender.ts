/**
 * What one connection sends, from the application to the outbox: messages in parts, room, frames that many
 * connections share, and the queue of what isn't ready yet.
 *
 * Most messages go straight to the outbox. One that has to be compressed elsewhere, or whose bytes come later,
 * opens a queue; what is sent meanwhile waits behind it, in order.
 */
import { nextTick } from '../clock.ts';
import { FIN, Opcode, RSV1 } from '../protocol/frame-writer.ts';
import type { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { Queue } from '../queue.ts';
import { asBuffer } from './data.ts';
import { catchUp, type Encode, type Member, type SharedFrames, shareFrame } from './fan-out.ts';
import { copied } from './memory.ts';
import type { Outbox } from './outbox.ts';
import type { PreparedMessage } from './prepared-message.ts';
import { inItsContext, type SendCallback } from './send-callbacks.ts';
import type { SendResult, Transport } from './transport.ts';
import { call, type LineHost, type Waiting, WaitingLine, waiting, waitingShared } from './waiting-line.ts';

export interface MessageOptions {
  /** False for a part of a message of which more is to come. */
  fin: boolean;
  compress: boolean;
  /** It has no hurry: what the turn sends next leaves with it. */
  isPatient?: true;
}

export type BackpressurePolicy = 'close' | 'drop' | ((transport: Transport) => void);

/** The same object serves all connections of a server. */
export interface SenderOptions {
  /** Bytes that may wait for the peer to read; one more message than that is never kept. */
  maxBackpressure: number;
  backpressurePolicy: BackpressurePolicy;
  /** How shared frames are made. Null on clients, which can't share: each of their frames is masked. */
  encode: Encode | null;
}

/** Whose sender it is. */
export interface SenderHost extends Member {
  /** Whether messages may be sent. */
  readonly isOpen: boolean;
  /** More waits than may, because the peer does not read. */
  tooSlow(): void;
  /** The same, where the message is taken nevertheless. */
  overfull(): void;
  /** All is written, after `send` has said that something waits. */
  drained(): void;
  /** The close frame is written. */
  closeSent(): void;
  /** A message can't be sent as promised, so that nothing may follow it. */
  sendFailed(error: Error): void;
}

/** Bytes that may wait for our own compressor before they count as waiting for the peer. */
const OWN_WORK_BYTES = 1024 * 1024;

export class Sender implements LineHost {
  readonly #host: SenderHost;
  readonly #outbox: Outbox;
  readonly #options: SenderOptions;
  readonly #deflate: MessageDeflate | null;
  /** Between the first and the last frame of a message that `send` was given in parts. */
  #isFragmenting = false;
  /** The beginning of a message in parts was dropped. */
  #isSkipping = false;
  #tellsDrain = false;
  #endsWhenDone = false;
  /** The close frame is written, or waits: nothing comes behind it. */
  #isClosing = false;
  /** What is behind something that isn't ready; null while everything goes straight to the outbox. */
  #line: WaitingLine | null = null;
  /** Whole messages that have to wait for the last part of the one that is being sent (§5.4). */
  #behindParts: Queue<Waiting> | null = null;
  #behindBytes = 0;

  constructor(host: SenderHost, outbox: Outbox, options: SenderOptions, deflate: MessageDeflate | null) {
    this.#host = host;
    this.#outbox = outbox;
    this.#options = options;
    this.#deflate = deflate;
  }

  /** Bytes that were accepted and are not with the operating system. */
  get bufferedAmount(): number {
    return this.#outbox.bufferedBytes + (this.#line?.bytes ?? 0) + this.#behindBytes;
  }

  /** Whether something has to wait for more than the end of this turn. */
  get isStuck(): boolean {
    return this.#line !== null || this.#outbox.isStuck;
  }

  /** Whether a control frame of ours would have to wait. */
  get isBusy(): boolean {
    return this.#line !== null || this.#outbox.isBacklogged;
  }

  /** See MessageDeflate: 0 for none, otherwise the window bits. */
  get wireForm(): number {
    const deflate = this.#deflate;
    return deflate?.canDeflate ? deflate.sendWindowBits : 0;
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────────

  /** A message, or with `fin: false` a part of one. */
  send(
    data: string | Uint8Array,
    isBinary: boolean,
    options: MessageOptions,
    callback?: SendCallback,
  ): SendResult {
    catchUp(this.#host);
    if (this.#isClosing) return this.#tooLate(callback);
    if (this.#isSkipping || !this.#hasRoomFor(data)) return this.#dropPart(options, callback);
    if (options.isPatient) this.#outbox.beginWait();
    const first = this.#firstByte(isBinary, options.fin);
    const deflate = this.#compressorFor(first, options, data.length);
    if (this.#line !== null) {
      this.#add({
        ...waiting(first, typeof data === 'string' ? Buffer.from(data) : copied(data), callback),
        deflate,
      });
    } else if (deflate !== null) {
      this.#compress(first, data, deflate, callback);
    } else if (typeof data === 'string') {
      this.#outbox.text(first, data, callback);
    } else {
      this.#outbox.bytes(first, data, callback);
    }
    if (options.fin && this.#behindParts !== null) this.#partsAreOver();
    return this.#result();
  }

  /** A message whose bytes come later. What is sent meanwhile waits for it. */
  sendLater(
    size: number,
    bytes: Promise<Uint8Array>,
    isBinary: boolean,
    options: MessageOptions,
    callback?: SendCallback,
  ): SendResult {
    // That it can't be read may turn out before its turn, or when nobody is interested any more.
    bytes.catch(() => {});
    catchUp(this.#host);
    if (this.#isClosing) return this.#tooLate(callback);
    if (this.#isSkipping || !this.#hasRoomForPart(size)) return this.#dropPart(options, callback);
    const first = this.#firstByte(isBinary, options.fin);
    this.#add({
      bytes: size,
      callback: callback && inItsContext(callback),
      first,
      payload: bytes,
      deflate: this.#compressorFor(first, options, size),
    });
    if (options.fin && this.#behindParts !== null) this.#partsAreOver();
    return this.#result();
  }

  /** A message that was encoded before. */
  sendPrepared(message: PreparedMessage, callback?: SendCallback): SendResult {
    const { encode } = this.#options;
    catchUp(this.#host);
    if (this.#isClosing) return this.#tooLate(callback);
    if (encode === null) {
      // A whole message never is a part of another one.
      const isAmidParts = this.#isFragmenting || this.#isSkipping;
      if (!isAmidParts) return this.send(message.payload, message.isBinary, WHOLE, callback);
      const first = FIN | (message.isBinary ? Opcode.BINARY : Opcode.TEXT);
      if (!this.#hasRoom(message.payload.length)) return this.#overflow(callback);
      this.#wait({
        ...waiting(first, message.payload, callback),
        deflate: this.#compressorFor(first, WHOLE, message.payload.length),
      });
      return this.#isFragmenting ? this.#isQueued() : this.#result();
    }
    const shared = shareFrame(message, this.wireForm, encode);
    if (!this.#hasRoom(shared.bytes.length)) return this.#overflow(callback);
    if (this.#mustWait) {
      this.#wait(waitingShared(shared, callback));
      return this.#isQueued();
    }
    this.noteShared(shared);
    this.#outbox.encoded(shared, callback);
    return this.#result();
  }

  /** See Member. */
  takeShared(shared: SharedFrames, now: boolean): void {
    if (this.#isClosing) return;
    if (!this.#hasRoom(shared.bytes.length)) {
      this.#overflow(undefined);
    } else if (this.#mustWait) {
      this.#wait(waitingShared(shared, undefined));
    } else {
      this.noteShared(shared);
      if (now) this.#outbox.encodedNow(shared);
      else this.#outbox.encodedLater(shared);
    }
  }

  /** The peer's window ends with it now: what follows may refer to it, and to nothing before. */
  noteShared({ lastCompressed }: SharedFrames): void {
    if (lastCompressed !== null) this.#deflate?.sharedSent(lastCompressed);
  }

  /** The first byte of the next data frame; a message in parts goes on with continuations (§5.4). */
  #firstByte(isBinary: boolean, fin: boolean): number {
    let opcode: number = isBinary ? Opcode.BINARY : Opcode.TEXT;
    if (this.#isFragmenting) opcode = Opcode.CONTINUATION;
    this.#isFragmenting = !fin;
    return fin ? FIN | opcode : opcode;
  }

  /** Only messages in one frame are compressed. */
  #compressorFor(first: number, options: MessageOptions, length: number): MessageDeflate | null {
    const deflate = this.#deflate;
    if (deflate === null || !options.compress || first < FIN || first === (FIN | Opcode.CONTINUATION))
      return null;
    return deflate.wants(length) ? deflate : null;
  }

  /** Nothing waits: it is compressed at once, or is the first that others have to wait for. */
  #compress(
    first: number,
    data: string | Uint8Array,
    deflate: MessageDeflate,
    callback: SendCallback | undefined,
  ): void {
    const isText = typeof data === 'string';
    const payload = isText ? Buffer.from(data) : asBuffer(data);
    if (deflate.isAtOnce(payload.length)) {
      this.#outbox.bytes(first | RSV1, deflate.deflate(payload, () => {})!, callback, true);
    } else {
      this.#add({ ...waiting(first, isText ? payload : copied(payload), callback), deflate });
    }
  }

  // ── control frames ─────────────────────────────────────────────────────────────────────────────────

  /** A ping or pong of the application's, in its place among the messages. */
  control(opcode: number, payload: Uint8Array, callback?: SendCallback): void {
    catchUp(this.#host);
    if (this.#isClosing) this.#tooLate(callback);
    else if (this.#line === null) this.#outbox.bytes(FIN | opcode, payload, callback);
    else this.#add(waiting(FIN | opcode, copied(payload), callback));
  }

  /** A ping or pong of our own, which overtakes what waits (§5.4 allows it). */
  controlNow(opcode: number, payload: Uint8Array): void {
    this.#outbox.bytes(FIN | opcode, payload);
  }

  /** The last frame. What waits for the end of a message in parts is never sent. */
  closeFrame(payload: Buffer): void {
    catchUp(this.#host);
    this.#isClosing = true;
    if (this.#line === null) this.writeClose(payload);
    else this.#add(waiting(FIN | Opcode.CLOSE, payload, undefined));
  }

  /** See LineHost. */
  writeClose(payload: Buffer): void {
    this.#outbox.bytes(FIN | Opcode.CLOSE, payload);
    this.#host.closeSent();
  }

  // ── room ───────────────────────────────────────────────────────────────────────────────────────────

  #hasRoomFor(data: string | Uint8Array): boolean {
    if (this.#options.maxBackpressure === Number.POSITIVE_INFINITY) return true;
    if (typeof data !== 'string') return this.#hasRoomForPart(data.length);
    // Only where it may matter are the bytes of a string counted.
    return this.#fits(data.length * 3, 0) || this.#hasRoomForPart(Buffer.byteLength(data));
  }

  /**
   * For a message of our own, or a part of one. What waits for the last part must not keep that out, and a message
   * whose beginning was sent is not dropped in its middle.
   */
  #hasRoomForPart(bytes: number): boolean {
    if (this.#isFragmenting && this.#options.backpressurePolicy === 'drop') return true;
    return this.#hasRoom(bytes, 0);
  }

  /** @param behind what waits for the end of a message in parts */
  #hasRoom(bytes: number, behind = this.#behindBytes): boolean {
    const limit = this.#options.maxBackpressure;
    if (limit === Number.POSITIVE_INFINITY || this.#fits(bytes, behind)) return true;
    // What we have put off ourselves is not the peer's fault.
    if (this.#outbox.hasPutOff) {
      this.#outbox.flush();
      if (this.#fits(bytes, behind)) return true;
    }
    if (typeof this.#options.backpressurePolicy !== 'function') return false;
    this.#host.overfull();
    return true;
  }

  #fits(bytes: number, behind: number): boolean {
    const line = this.#line;
    const own = line === null || line.late === 0 ? OWN_WORK_BYTES : 0;
    const waiting = this.#outbox.bufferedBytes + Math.max(0, (line?.bytes ?? 0) + behind - own);
    return waiting === 0 || waiting + bytes <= this.#options.maxBackpressure;
  }

  /** What comes behind a part that was dropped is dropped, too, to the end of the message. */
  #dropPart(options: MessageOptions, callback: SendCallback | undefined): SendResult {
    this.#isSkipping = !options.fin;
    return this.#overflow(callback);
  }

  #overflow(callback: SendCallback | undefined): SendResult {
    const { backpressurePolicy, maxBackpressure } = this.#options;
    if (callback !== undefined) {
      nextTick(callback, new Error(`More than ${maxBackpressure} bytes wait for the peer to read`));
    }
    if (backpressurePolicy === 'drop') this.#tellDrain();
    else this.#host.tooSlow();
    return 'dropped';
  }

  /** What was to be handed over first left no room, and ended the connection. */
  #tooLate(callback: SendCallback | undefined): SendResult {
    if (callback !== undefined) nextTick(callback, new Error('The connection is being closed'));
    return 'dropped';
  }

  #result(): SendResult {
    return this.isBusy ? this.#isQueued() : 'sent';
  }

  #isQueued(): SendResult {
    this.#tellDrain();
    return 'queued';
  }

  #tellDrain(): void {
    if (this.#tellsDrain) return;
    this.#tellsDrain = true;
    // Where neither the queue nor the socket will say that it is empty.
    if (!this.isBusy) this.#outbox.onceWritten(() => this.settle());
  }

  /** Something that was waited for is over: says so if all of it is. */
  settle(): void {
    if (!this.#tellsDrain || this.isBusy || this.#outbox.hasMore || !this.#host.isOpen) return;
    this.#tellsDrain = false;
    this.#host.drained();
  }

  // ── what waits ─────────────────────────────────────────────────────────────────────────────────────

  get #mustWait(): boolean {
    return this.#line !== null || this.#isFragmenting;
  }

  #wait(entry: Waiting): void {
    if (this.#isFragmenting) this.#holdBehindParts(entry);
    else this.#add(entry);
  }

  #holdBehindParts(entry: Waiting): void {
    this.#behindBytes += entry.bytes;
    this.#behindParts ??= new Queue();
    this.#behindParts.add(entry);
  }

  #partsAreOver(): void {
    const held = this.#behindParts!;
    this.#behindParts = null;
    for (let entry = held.take(); entry !== undefined; entry = held.take()) {
      this.#behindBytes -= entry.bytes;
      this.#add(entry);
    }
  }

  /** At its turn: at once, if nothing waits. */
  #add(entry: Waiting): void {
    if (this.#line !== null) {
      this.#line.add(entry);
      return;
    }
    this.#line = new WaitingLine(this, this.#outbox);
    this.#line.begin(entry);
  }

  /** See LineHost. */
  lineIsOver(): void {
    this.#line = null;
    if (this.#endsWhenDone) this.#endSocket();
    else this.settle();
  }

  /** See LineHost. */
  sendFailed(error: Error): void {
    this.#host.sendFailed(error);
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────

  /** Ends our side of the socket when everything that was sent is through. */
  end(): void {
    if (this.#line !== null) this.#endsWhenDone = true;
    else this.#endSocket();
  }

  #endSocket(): void {
    const { socket } = this.#outbox;
    this.#outbox.handOver();
    // Ending twice is harmless, but Node makes an error object, with its stack, for nobody.
    if (!socket.writableEnded) socket.end();
  }

  /** The socket is gone: whoever still waits is told. */
  abort(): void {
    this.#isClosing = true;
    this.#outbox.flush();
    const all = this.#line?.clear() ?? [];
    const held = this.#behindParts;
    for (let entry = held?.take(); entry !== undefined; entry = held?.take()) all.push(entry);
    this.#line = null;
    this.#behindParts = null;
    this.#behindBytes = 0;
    this.#deflate?.close();
    const error = new Error('The connection is closed');
    for (const entry of all) if (entry.callback !== undefined) nextTick(call, entry, error);
  }
}

const WHOLE: MessageOptions = { fin: true, compress: true };
