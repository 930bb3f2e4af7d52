/**
 * One WebSocket connection on its socket, either role: reads frames, answers control frames, carries out the
 * closing handshake (RFC 6455 §7), and writes through its outbox. It knows nothing of events or requests;
 * what happens goes to a table of functions that all connections of a kind share.
 */

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { nextTick, setImmediate } from '../clock.ts';
import type { ProtocolError } from '../protocol/errors.ts';
import { FrameReader } from '../protocol/frame-reader.ts';
import type { FrameSink } from '../protocol/frame-sink.ts';
import { encodeClosePayload, FIN, Opcode, RSV1 } from '../protocol/frame-writer.ts';
import type { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { asBuffer } from './data.ts';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { catchUp, type Encode, type Member } from './fan-out.ts';
import type { Heartbeat, Pulse } from './heartbeat.ts';
import { copied, kept, lender, sharedBuffer, sharedMemory } from './memory.ts';
import { Outbox, type SendCallback } from './outbox.ts';
import type { PreparedMessage } from './prepared-message.ts';
import { readTo, type SharedReader } from './shared-read.ts';
import type { SendResult } from './transport.ts';

export const OPEN = 1;
export const CLOSING = 2;
export const CLOSED = 3;

/** What happens on a connection. `owner` is whoever the connection was made for. */
export interface ConnectionEvents<O> {
  /** The application may keep `data`, unless `views` is on. */
  message(owner: O, data: Buffer, isBinary: boolean): void;
  /** With `partial`: a piece of a message as it came. */
  fragment(owner: O, data: Buffer, isBinary: boolean, isLast: boolean): void;
  ping(owner: O, data: Buffer): void;
  pong(owner: O, data: Buffer): void;
  /** The peer broke the protocol or went over a limit; the connection is being closed with error.closeCode. */
  protocolError(owner: O, error: ProtocolError): void;
  /** The operating system reports the connection broken. */
  socketError(owner: O, error: Error): void;
  /** The peer has caught up: what `send` called `queued` is written. */
  drain(owner: O): void;
  /** The end, once. 1006 without a close frame from the peer, 1005 for one without a code. */
  closed(owner: O, code: number, reason: string): void;
}

/** The same object serves all connections of a server. */
export interface ConnectionOptions {
  role: 'server' | 'client';
  /** Bytes; 0 for no limit. */
  maxPayload: number;
  /** Frames of one message; 0 for no limit. */
  maxFragments: number;
  /** Milliseconds that the peer has for its part of the closing handshake. */
  closeTimeout: number;
  autoPong: boolean;
  skipUTF8Validation: boolean;
  /** False: one message a turn of the event loop. */
  allowSynchronousEvents: boolean;
  /** Bytes that may wait for the peer to read; one more message than that is never kept. */
  maxBackpressure: number;
  backpressurePolicy: 'close' | 'drop';
  /** The close code for a peer that reads too slowly. */
  tooSlowCode: number;
  /** The close code for a peer that was silent for too long. */
  silentCode: number;
  /** Hand on pieces of messages as they come. */
  partial: boolean;
  /** Messages are views that are valid only during the call. */
  views: boolean;
  generateMask?: ((key: Buffer) => void) | undefined;
  /** How shared frames are made. Null on clients, which can't share: each of their frames is masked. */
  encode: Encode | null;
}

export interface SendOptions {
  /** False for a part of a message of which more is to come. */
  fin: boolean;
  compress: boolean;
}

const kConnection = Symbol('connection');
type ConnectedSocket = Duplex & { [kConnection]?: AnyConnection };
// The socket's listeners don't care who owns the connection.
type AnyConnection = Connection<never>;

/** Something to send that isn't ready yet, and what has to wait for it. */
interface Job {
  start(done: () => void): void;
  bytes: number;
  callback: SendCallback | undefined;
}

const EMPTY = Buffer.alloc(0);

export class Connection<O> implements FrameSink, Expirable, Pulse, Member, SharedReader {
  readonly socket: Duplex;
  readonly outbox: Outbox;
  readonly options: ConnectionOptions;
  readonly #owner: O;
  readonly #events: ConnectionEvents<O>;
  readonly #reader: FrameReader;
  readonly #deflate: MessageDeflate | null;
  readonly #heartbeat: Heartbeat | null;
  /** What is read lies in memory that the next read of any connection fills again. */
  readonly #isShared: boolean;

  state: typeof OPEN | typeof CLOSING | typeof CLOSED = OPEN;
  deadline: Expirable['deadline'] = null;
  silence = 0;
  isPaused = false;
  closeSent = false;
  closeReceived = false;
  #closeCode = 1006;
  #closeReason = '';

  /** What came while the reader was suspended. */
  #held: Buffer[] | null = null;
  #isReading = false;
  /** The socket is gone; `closed` waits for what it had brought. */
  #isGone = false;
  /** Nothing more is read: a close frame or an error has come. */
  #isDeaf = false;
  /** The pong that waits until the peer reads again; the newest ping is the one to answer (§5.5.3). */
  #pendingPong: Buffer | null = null;
  #tellsDrain = false;
  /** Between the first and the last frame of a message that `send` was given in parts. */
  #isFragmenting = false;
  #jobs: Job[] | null = null;
  #jobBytes = 0;
  #endsAfterJobs = false;

  constructor(
    socket: Duplex,
    owner: O,
    events: ConnectionEvents<O>,
    options: ConnectionOptions,
    deflate: MessageDeflate | null,
    heartbeat: Heartbeat | null,
  ) {
    this.socket = socket;
    this.options = options;
    this.#owner = owner;
    this.#events = events;
    this.#deflate = deflate;
    this.#heartbeat = heartbeat;
    this.#isShared = readTo(socket, this);
    this.outbox = new Outbox(socket, options.role === 'client', options.generateMask);
    this.#reader = new FrameReader(this, {
      role: options.role,
      maxPayload: options.maxPayload,
      maxFragments: options.maxFragments,
      partial: options.partial,
      ...(options.views ? { lender } : {}),
      skipUtf8Validation: options.skipUTF8Validation,
      ...(deflate === null ? {} : { deflate }),
      ...(this.#isShared ? { memory: sharedMemory } : {}),
    });
  }

  /** Begins to read. `head` is what came behind the opening handshake. */
  start(head: Buffer): void {
    const socket: ConnectedSocket = this.socket;
    socket[kConnection] = this as unknown as AnyConnection;
    if (socket instanceof Socket) {
      socket.setTimeout(0);
      socket.setNoDelay(true);
    }
    socket.on('close', onClose);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.on('end', onEnd);
    this.#heartbeat?.add(this);
    if (this.#isShared) {
      if (head.length > 0) nextTick(readHead, this, head);
      else socket.resume();
      return;
    }
    if (head.length > 0) socket.unshift(head);
    socket.on('data', onData);
    // A stream that somebody has paused before does not flow because of a listener.
    if (socket.isPaused()) socket.resume();
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────

  receiveShared(count: number): void {
    this.receive(sharedBuffer, 0, count);
  }

  /** What came behind the opening handshake; the socket has not been read since. */
  receiveHead(head: Buffer): void {
    if (this.state === CLOSED) return;
    this.receive(head, 0, head.length);
    if (this.#held === null && !this.isPaused) this.socket.resume();
  }

  /** Takes chunk[start, end), which it may change. Answers leave in one write at its end. */
  receive(chunk: Buffer, start: number, end: number): void {
    this.silence = 0;
    if (this.#held !== null) {
      this.#held.push(this.#keep(chunk.subarray(start, end)));
      return;
    }
    const outer = this.outbox.beginRead();
    this.#isReading = true;
    let at = end;
    try {
      at = this.#reader.read(chunk, start, end);
    } catch (error) {
      this.#fail(error as ProtocolError);
    }
    this.#isReading = false;
    if (at < end) this.#hold(this.#keep(chunk.subarray(at, end)));
    else if (this.#reader.isSuspended && this.#held === null) this.#hold(EMPTY);
    this.outbox.endRead(outer);
  }

  /** The reader takes nothing for now: the rest waits here, and the socket brings no more. */
  #hold(rest: Buffer): void {
    this.#held = rest.length > 0 ? [rest] : [];
    if (!this.#isGone) this.socket.pause();
  }

  /** Reads on with what was held. */
  #readHeld(): void {
    while (this.#held !== null && !this.#reader.isSuspended) {
      const chunks: Buffer[] = this.#held;
      this.#held = null;
      for (let i = 0; i < chunks.length; i++) {
        const chunk = chunks[i]!;
        // Suspended again: receive() appends the rest, in order, to what it holds.
        this.receive(chunk, 0, chunk.length);
      }
    }
    if (this.#held !== null) return;
    if (this.#isGone) this.#finish();
    else if (!this.isPaused) this.socket.resume();
  }

  pause(): void {
    // Once the socket is gone there is only what it has brought, and nobody to slow down.
    if (this.state === CLOSED || this.#isGone) return;
    this.isPaused = true;
    this.#reader.suspend();
    this.socket.pause();
  }

  resume(): void {
    if (this.state === CLOSED) return;
    this.isPaused = false;
    this.#reader.resume();
    // From within a read callback the reader goes on by itself.
    if (this.#isReading) return;
    if (this.#held !== null) nextTick(readHeldOf, this);
    else if (!this.#reader.isSuspended) this.socket.resume();
  }

  /** After resume(): never within it, so that whoever calls it is done with what it has before there is more. */
  readHeld(): void {
    if (this.#held !== null && !this.#isReading) this.#readHeld();
  }

  onMessage(data: Buffer, isBinary: boolean, isOwned: boolean): void {
    const { options } = this;
    try {
      this.#events.message(this.#owner, options.views || isOwned ? data : this.#keep(data), isBinary);
    } catch (error) {
      throwLater(error);
    }
    if (!options.allowSynchronousEvents) this.#yield();
  }

  onFragment(data: Buffer, isBinary: boolean, isLast: boolean): void {
    try {
      this.#events.fragment(this.#owner, this.options.views ? data : this.#keep(data), isBinary, isLast);
    } catch (error) {
      throwLater(error);
    }
  }

  onPing(data: Buffer): void {
    const payload = data.length === 0 ? EMPTY : this.#keep(data);
    if (this.options.autoPong && this.state === OPEN) {
      if (this.outbox.isBacklogged) this.#pendingPong = Buffer.from(payload);
      else this.control(Opcode.PONG, payload);
    }
    try {
      this.#events.ping(this.#owner, payload);
    } catch (error) {
      throwLater(error);
    }
    if (!this.options.allowSynchronousEvents) this.#yield();
  }

  onPong(data: Buffer): void {
    try {
      this.#events.pong(this.#owner, data.length === 0 ? EMPTY : this.#keep(data));
    } catch (error) {
      throwLater(error);
    }
    if (!this.options.allowSynchronousEvents) this.#yield();
  }

  /** §5.5.1, §7.1.3: answers the peer's close frame, or ends where ours was before. */
  onClose(code: number, reason: string): void {
    this.closeReceived = true;
    this.#isDeaf = true;
    this.#closeCode = code;
    this.#closeReason = reason;
    if (this.state === OPEN) this.close(code === 1005 ? undefined : code, reason);
    else if (this.closeSent) this.#end();
  }

  onResume(): void {
    this.#readHeld();
  }

  onError(error: ProtocolError): void {
    this.#fail(error);
    this.#held = null;
    if (this.#isGone) this.#finish();
    else this.socket.resume();
  }

  /** The one place that turns what was read into what may be kept: chunks of a plain socket are ours for good. */
  #keep(data: Buffer): Buffer {
    return kept(data);
  }

  /** Lets the event loop turn before the next message. */
  #yield(): void {
    this.#reader.suspend();
    setImmediate(() => {
      if (!this.isPaused) this.resume();
    });
  }

  /** §7.1.7. */
  #fail(error: ProtocolError): void {
    this.#isDeaf = true;
    if (this.state === OPEN) this.#sendClose(error.closeCode, '');
    if (this.state !== CLOSED) {
      this.state = CLOSING;
      arm(this, this.options.closeTimeout);
      this.#end();
    }
    try {
      this.#events.protocolError(this.#owner, error);
    } catch (thrown) {
      throwLater(thrown);
    }
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────

  get bufferedAmount(): number {
    return this.outbox.bufferedBytes + this.#jobBytes;
  }

  /** A message, or with `fin: false` a part of one. Only while open. */
  send(
    data: string | Uint8Array,
    isBinary: boolean,
    options: SendOptions,
    callback?: SendCallback,
  ): SendResult {
    if (!this.#hasRoomFor(data)) return this.#overflow(callback);
    catchUp(this);
    const first = this.#firstByte(isBinary, options.fin);
    const deflate = options.compress && isWhole(first) ? this.#deflate : null;
    if (this.#jobs === null && (deflate === null || !deflate.wants(data.length))) {
      if (typeof data === 'string') this.outbox.text(first, data, callback);
      else this.outbox.bytes(first, data, callback);
    } else {
      const payload = typeof data === 'string' ? Buffer.from(data) : copied(data);
      this.#enqueue(payload.length, callback, (done) => this.#write(first, payload, deflate, callback, done));
    }
    return this.#result();
  }

  /** A binary message whose bytes come later. What is sent meanwhile waits for it. */
  sendLater(
    size: number,
    bytes: Promise<Uint8Array>,
    options: SendOptions,
    callback?: SendCallback,
  ): SendResult {
    catchUp(this);
    const first = this.#firstByte(true, options.fin);
    const deflate = options.compress && isWhole(first) ? this.#deflate : null;
    this.#enqueue(size, callback, (done) => {
      bytes.then(
        (payload) => this.#write(first, payload, deflate, callback, done),
        (error) => {
          if (this.state !== CLOSED) callback?.(error);
          done();
        },
      );
    });
    return this.#result();
  }

  /** The first byte of the next data frame; a message in parts goes on with continuations (§5.4). */
  #firstByte(isBinary: boolean, fin: boolean): number {
    let opcode: number = isBinary ? Opcode.BINARY : Opcode.TEXT;
    if (this.#isFragmenting) opcode = Opcode.CONTINUATION;
    this.#isFragmenting = !fin;
    return fin ? FIN | opcode : opcode;
  }

  /** The turn of a message has come that had to wait, or is to be compressed. */
  #write(
    first: number,
    payload: Uint8Array,
    deflate: MessageDeflate | null,
    callback: SendCallback | undefined,
    done: () => void,
  ): void {
    if (this.state === CLOSED) {
      // #finish() has called back.
      done();
    } else if (deflate === null || !deflate.wants(payload.length)) {
      this.outbox.bytes(first, payload, callback);
      done();
    } else {
      const finish = (error: Error | null, compressed: Buffer): void => {
        if (error !== null) {
          callback?.(error);
          this.socket.destroy(error);
        } else if (this.state !== CLOSED) {
          this.outbox.bytes(first | RSV1, compressed, callback);
        }
        done();
      };
      const compressed = deflate.deflate(asBuffer(payload), finish);
      if (compressed !== undefined) finish(null, compressed);
    }
  }

  /** A frame of a control opcode; only while open or, for a close frame, closing. */
  control(opcode: number, payload: Uint8Array, callback?: SendCallback): void {
    catchUp(this);
    if (this.#jobs === null) {
      this.outbox.bytes(FIN | opcode, payload, callback);
      return;
    }
    this.#enqueue(payload.length, callback, (done) => {
      this.outbox.bytes(FIN | opcode, payload, callback);
      done();
    });
  }

  /** A message that was encoded before. */
  sendPrepared(message: PreparedMessage, callback?: SendCallback): SendResult {
    const { encode } = this.options;
    if (encode === null) {
      return this.send(message.payload, message.isBinary, { fin: true, compress: true }, callback);
    }
    const frames = encode(message, this.wireForm);
    if (!this.#hasRoom(frames.length)) return this.#overflow(callback);
    catchUp(this);
    if (this.#jobs === null) {
      this.#deflate?.resetSendContext();
      this.outbox.encoded(frames, callback);
    } else {
      this.#enqueueShared(frames, callback);
    }
    return this.#result();
  }

  get wireForm(): number {
    const deflate = this.#deflate;
    return deflate?.canDeflate ? deflate.sendWindowBits : 0;
  }

  get wasClean(): boolean {
    return this.closeSent && this.closeReceived;
  }

  takeShared(frames: Buffer, now: boolean): void {
    if (this.state !== OPEN) return;
    if (!this.#hasRoom(frames.length)) {
      this.#overflow(undefined);
    } else if (this.#jobs !== null) {
      this.#enqueueShared(frames, undefined);
    } else {
      this.#deflate?.resetSendContext();
      if (now) this.outbox.encodedNow(frames);
      else this.outbox.encodedLater(frames);
    }
  }

  /** The context is reset when its turn has come: what waits before it is compressed with it still. */
  #enqueueShared(frames: Buffer, callback: SendCallback | undefined): void {
    this.#enqueue(frames.length, callback, (done) => {
      if (this.state !== CLOSED) {
        this.#deflate?.resetSendContext();
        this.outbox.encoded(frames, callback);
      }
      done();
    });
  }

  #hasRoomFor(data: string | Uint8Array): boolean {
    if (this.options.maxBackpressure === Number.POSITIVE_INFINITY) return true;
    // Only where it may matter are the bytes of a string counted.
    if (typeof data === 'string')
      return this.#hasRoom(data.length * 3) || this.#hasRoom(Buffer.byteLength(data));
    return this.#hasRoom(data.length);
  }

  #hasRoom(bytes: number): boolean {
    const limit = this.options.maxBackpressure;
    if (limit === Number.POSITIVE_INFINITY) return true;
    const waiting = this.bufferedAmount;
    return waiting === 0 || waiting + bytes <= limit;
  }

  #result(): SendResult {
    if (!this.outbox.isBacklogged && this.#jobs === null) return 'sent';
    this.#tellsDrain = true;
    return 'queued';
  }

  /** The peer reads too slowly for what it is sent. */
  #overflow(callback: SendCallback | undefined): SendResult {
    const { backpressurePolicy, tooSlowCode, maxBackpressure } = this.options;
    if (callback !== undefined) {
      nextTick(callback, new Error(`More than ${maxBackpressure} bytes wait for the peer to read`));
    }
    if (backpressurePolicy === 'drop') {
      this.#tellsDrain = true;
    } else if (this.state === OPEN) {
      this.#closeCode = tooSlowCode;
      this.#closeReason = 'too slow';
      this.close(tooSlowCode, 'too slow');
    }
    return 'dropped';
  }

  /** Runs `start` when all jobs before it are done: at once, if there are none. */
  #enqueue(bytes: number, callback: SendCallback | undefined, start: (done: () => void) => void): void {
    const job = { start, bytes, callback };
    this.#jobBytes += bytes;
    if (this.#jobs === null) {
      this.#jobs = [job];
      this.#runJobs();
    } else {
      this.#jobs.push(job);
    }
  }

  #runJobs(): void {
    // A loop, not a recursion: most jobs are done before `start` returns.
    for (let job = this.#jobs?.[0]; job !== undefined; job = this.#jobs?.[0]) {
      const { bytes } = job;
      let returned = false;
      let isDone = false;
      job.start(() => {
        isDone = true;
        this.#jobBytes -= bytes;
        this.#jobs?.shift();
        if (this.#jobs?.length === 0) this.#jobs = null;
        if (returned) {
          this.#runJobs();
          if (this.#jobs !== null) return;
          if (this.#endsAfterJobs) this.#end();
          else if (!this.outbox.isBacklogged) this.#drained();
        }
      });
      returned = true;
      if (!isDone) return;
    }
  }

  #drained(): void {
    const pong = this.#pendingPong;
    if (pong !== null) {
      this.#pendingPong = null;
      if (this.state === OPEN) this.control(Opcode.PONG, pong);
    }
    if (!this.#tellsDrain || this.state !== OPEN) return;
    this.#tellsDrain = false;
    this.#events.drain(this.#owner);
  }

  // ── closing ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Begins the closing handshake (§7.1.2), or answers the peer's.
   *
   * @throws {TypeError | RangeError} for a code or reason that can't be sent
   */
  close(code?: number, reason?: string | Uint8Array): void {
    if (this.state !== OPEN) {
      if (this.state === CLOSING && this.closeSent && this.#isDeaf) this.#end();
      return;
    }
    this.#sendClose(code, reason);
    this.state = CLOSING;
    arm(this, this.options.closeTimeout);
  }

  #sendClose(code: number | undefined, reason: string | Uint8Array | undefined): void {
    const payload = encodeClosePayload(code, reason);
    catchUp(this);
    const send = (): void => {
      this.outbox.bytes(FIN | Opcode.CLOSE, payload);
      this.closeSent = true;
      if (!this.#isReading) this.outbox.flush();
      if (this.#isDeaf) this.#end();
    };
    if (this.#jobs === null) {
      send();
    } else {
      this.#enqueue(payload.length, undefined, (done) => {
        if (this.state !== CLOSED) send();
        done();
      });
    }
  }

  /** Both close frames are through, or nothing more is to be expected: ends our side (§7.1.1). */
  #end(): void {
    if (this.#jobs !== null) {
      this.#endsAfterJobs = true;
      return;
    }
    this.outbox.flush();
    // Ending twice is harmless, but Node makes an error object, with its stack, for nobody.
    if (!this.socket.writableEnded) this.socket.end();
  }

  terminate(): void {
    if (this.state === CLOSED) return;
    this.state = CLOSING;
    this.outbox.flush();
    this.socket.destroy();
  }

  /** The closing handshake has taken too long. */
  expire(): void {
    this.socket.destroy();
  }

  ping(): void {
    if (this.state === OPEN && !this.outbox.isBacklogged) this.control(Opcode.PING, EMPTY);
  }

  /** Nobody is there to take part in a closing handshake; whoever is half there may still read why. */
  pulseLost(): void {
    if (this.state === OPEN) this.#sendClose(this.options.silentCode, 'heartbeat timeout');
    this.#closeCode = this.options.silentCode;
    this.#closeReason = 'heartbeat timeout';
    this.terminate();
  }

  socketEnded(): void {
    if (this.state === CLOSED) return;
    this.state = CLOSING;
    if (this.deadline === null) arm(this, this.options.closeTimeout);
    this.#end();
  }

  socketFailed(error: Error): void {
    this.state = this.state === CLOSED ? CLOSED : CLOSING;
    this.socket.destroy();
    this.#events.socketError(this.#owner, error);
  }

  socketDrained(): void {
    if (this.#jobs === null) this.#drained();
  }

  socketClosed(): void {
    const { socket } = this;
    disarm(this);
    this.#heartbeat?.delete(this);
    if (this.state !== CLOSED) this.state = CLOSING;
    this.#isGone = true;
    if (this.isPaused) {
      // What has come is delivered before the end is told, as there will be no resume() any more.
      this.isPaused = false;
      this.#reader.resume();
    }
    const rest = socket.readableLength > 0 && !this.#isDeaf ? (socket.read() as Buffer | null) : null;
    if (rest !== null) {
      if (this.#held !== null) this.#held.push(rest);
      else this.receive(rest, 0, rest.length);
    }
    if (this.#held !== null) this.#readHeld();
    else this.#finish();
  }

  #finish(): void {
    if (this.state === CLOSED) return;
    this.state = CLOSED;
    this.outbox.flush();
    const jobs = this.#jobs;
    this.#jobs = null;
    this.#deflate?.close();
    if (jobs !== null) {
      const error = new Error('The connection is closed');
      for (const { callback } of jobs) if (callback !== undefined) nextTick(callback, error);
    }
    this.#events.closed(this.#owner, this.#closeCode, this.#closeReason);
  }
}

/** An exception of the application's is not the connection's: it surfaces as such, and reading goes on. */
function throwLater(error: unknown): void {
  nextTick(() => {
    throw error;
  });
}

function readHeldOf(connection: { readHeld(): void }): void {
  connection.readHeld();
}

/** Whether a data frame's first byte says that it is a message by itself. */
function isWhole(first: number): boolean {
  return first >= FIN && first !== (FIN | Opcode.CONTINUATION);
}

// One set of listeners for all sockets, so that a connection costs no closure.

function readHead(connection: AnyConnection, head: Buffer): void {
  connection.receiveHead(head);
}

function onData(this: ConnectedSocket, chunk: Buffer): void {
  this[kConnection]!.receive(chunk, 0, chunk.length);
}

function onEnd(this: ConnectedSocket): void {
  this[kConnection]!.socketEnded();
}

function onError(this: ConnectedSocket, error: Error): void {
  this[kConnection]!.socketFailed(error);
}

function onDrain(this: ConnectedSocket): void {
  this[kConnection]!.socketDrained();
}

function onClose(this: ConnectedSocket): void {
  this[kConnection]!.socketClosed();
}
