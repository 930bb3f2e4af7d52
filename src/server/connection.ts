/**
 * One WebSocket connection on its socket, either role: intake and sender joined, the closing handshake carried
 * out (RFC 6455 §7), pings answered, the peer's pulse felt. It knows nothing of events or requests; what happens
 * goes to a table of functions that all connections of a kind share.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout } from '../clock.ts';
import { CLOSED, CLOSING, Closing, OPEN } from '../protocol/closing.ts';
import type { ProtocolError } from '../protocol/errors.ts';
import { Opcode } from '../protocol/frame-writer.ts';
import type { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { catchUp, type SharedFrames } from './fan-out.ts';
import type { Heartbeat, Pulse } from './heartbeat.ts';
import { afterClose, isOfHttp2 } from './http2-stream.ts';
import { Intake, type IntakeHost, type IntakeOptions } from './intake.ts';
import { untaken } from './node-insides.ts';
import { Outbox } from './outbox.ts';
import type { PreparedMessage } from './prepared-message.ts';
import type { SendCallback } from './send-callbacks.ts';
import { type MessageOptions, Sender, type SenderHost, type SenderOptions } from './sender.ts';
import { throwLater } from './throw-later.ts';
import type { SendResult } from './transport.ts';
import { WriteProgress } from './write-progress.ts';

export { CLOSED, CLOSING, type MessageOptions as SendOptions, OPEN };

/** What happens on a connection. `owner` is whoever the connection was made for. */
export interface ConnectionEvents<O> {
  /** The application may keep `data`, unless `views` is on. */
  message(owner: O, data: Buffer, isBinary: boolean): void;
  /** With `partial`: a piece of a message as it came. */
  fragment(owner: O, data: Buffer, isBinary: boolean, isLast: boolean): void;
  ping(owner: O, data: Buffer): void;
  pong(owner: O, data: Buffer): void;
  /**
   * The connection is being ended because of it: the peer broke the protocol or went over a limit (a
   * ProtocolError), or a message can't be sent as promised.
   */
  failed(owner: O, error: Error): void;
  /** The operating system reports the connection broken. */
  socketError(owner: O, error: Error): void;
  /** More waits than may; it is taken nevertheless, as the policy is the application's. */
  overfull(owner: O): void;
  /** The peer has caught up: what `send` called `queued` is written. */
  drain(owner: O): void;
  /** It is not open any more, whoever began. May come more than once. */
  leaving(owner: O): void;
  /** The end, once. 1006 without a close frame from the peer, 1005 for one without a code. */
  closed(owner: O, code: number, reason: string): void;
}

/** The same object serves all connections of a server. */
export interface ConnectionOptions extends IntakeOptions, SenderOptions {
  /** Milliseconds that the peer has for its part of the closing handshake. */
  closeTimeout: number;
  autoPong: boolean;
  /** False: one message a turn of the event loop. */
  allowSynchronousEvents: boolean;
  /** The close code for a peer that reads too slowly. */
  tooSlowCode: number;
  /** The close code for a peer that does not answer pings. */
  pongTimeoutCode: number;
  generateMask?: ((key: Buffer) => void) | undefined;
}

/** Milliseconds. */
const ON_ITS_WAY = 100;
const kConnection = Symbol('connection');
type ConnectedSocket = Duplex & { [kConnection]?: AnyConnection };
// The socket's listeners don't care who owns the connection.
type AnyConnection = Connection<never>;

const EMPTY = Buffer.alloc(0);

export class Connection<O> implements IntakeHost, SenderHost, Expirable, Pulse {
  readonly socket: Duplex;
  readonly #owner: O;
  readonly #events: ConnectionEvents<O>;
  readonly options: ConnectionOptions;
  readonly #heartbeat: Heartbeat | null;
  readonly #closing = new Closing();
  readonly #outbox: Outbox;
  readonly #intake: Intake;
  readonly #sender: Sender;
  /** While the peer has been found to have more to read than it takes. */
  #progress: WriteProgress | null = null;
  #hasFailed = false;
  deadline: Expirable['deadline'] = null;

  constructor(
    socket: Duplex,
    owner: O,
    events: ConnectionEvents<O>,
    options: ConnectionOptions,
    deflate: MessageDeflate | null,
    heartbeat: Heartbeat | null,
  ) {
    this.socket = socket;
    this.#owner = owner;
    this.#events = events;
    this.options = options;
    this.#heartbeat = heartbeat;
    this.#outbox = new Outbox(socket, options.role === 'client', options.traffic, options.generateMask, this);
    this.#intake = new Intake(socket, this, this.#outbox, options, deflate);
    this.#sender = new Sender(this, this.#outbox, options, deflate);
  }

  /** Begins to read. `head` is what came behind the opening handshake. */
  start(head: Buffer): void {
    const socket: ConnectedSocket = this.socket;
    socket[kConnection] = this as unknown as AnyConnection;
    if (socket instanceof Socket) {
      socket.setTimeout(0);
      socket.setNoDelay(true);
    }
    if (isOfHttp2(socket)) afterClose(socket, () => this.socketClosed());
    else socket.on('close', onClose);
    socket.on('error', onError);
    socket.on('drain', onDrain);
    socket.on('end', onEnd);
    this.#heartbeat?.add(this);
    this.#intake.start(head, onData);
  }

  get state(): typeof OPEN | typeof CLOSING | typeof CLOSED {
    return this.#closing.state;
  }

  get isOpen(): boolean {
    return this.#closing.state === OPEN;
  }

  get wasClean(): boolean {
    return this.#closing.wasClean;
  }

  // ── what is read ─────────────────────────────────────────────────────────────────────────────────

  get isPaused(): boolean {
    return this.#intake.isPaused;
  }

  pause(): void {
    if (this.state !== CLOSED) this.#intake.pause();
  }

  resume(): void {
    if (this.state !== CLOSED) this.#intake.resume();
  }

  receive(chunk: Buffer): void {
    this.#intake.receive(chunk, 0, chunk.length);
  }

  onMessage(data: Buffer, isBinary: boolean, isOwned: boolean): void {
    const options = this.options;
    try {
      this.#events.message(this.#owner, options.views || isOwned ? data : this.#intake.keep(data), isBinary);
    } catch (error) {
      throwLater(error);
    }
    if (!options.allowSynchronousEvents) this.#intake.yield();
  }

  onFragment(data: Buffer, isBinary: boolean, isLast: boolean): void {
    try {
      this.#events.fragment(
        this.#owner,
        this.options.views ? data : this.#intake.keep(data),
        isBinary,
        isLast,
      );
    } catch (error) {
      throwLater(error);
    }
  }

  onPing(data: Buffer): void {
    const payload = data.length === 0 ? EMPTY : this.#intake.keep(data);
    if (this.options.autoPong && this.isOpen) {
      // In place of one that is owed for an earlier ping.
      this.#closing.owePong(payload);
      if (!this.#sender.isBusy) this.#payPong();
    }
    try {
      this.#events.ping(this.#owner, payload);
    } catch (error) {
      throwLater(error);
    }
    if (!this.options.allowSynchronousEvents) this.#intake.yield();
  }

  onPong(data: Buffer): void {
    try {
      this.#events.pong(this.#owner, data.length === 0 ? EMPTY : this.#intake.keep(data));
    } catch (error) {
      throwLater(error);
    }
    if (!this.options.allowSynchronousEvents) this.#intake.yield();
  }

  onClose(code: number, reason: string): void {
    const answer = this.#closing.receive(code, reason);
    if (answer !== undefined) this.#sendClose(answer);
    else if (this.#closing.isComplete) this.#sender.end();
  }

  onResume(): void {
    this.#intake.readHeld();
  }

  onError(error: ProtocolError): void {
    this.readFailed(error);
    this.#intake.discard();
  }

  get isDeaf(): boolean {
    return this.#closing.isDeaf;
  }

  /** §7.1.7. */
  readFailed(error: ProtocolError): void {
    const payload = this.#closing.fail(error);
    if (payload !== undefined) this.#sendClose(payload);
    if (this.state !== CLOSED) {
      if (this.deadline === null) arm(this, this.options.closeTimeout);
      this.#sender.end();
    }
    this.#tellFailed(error);
  }

  /** Once: what fails behind the first failure is a consequence of it. */
  #tellFailed(error: Error): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    try {
      this.#events.failed(this.#owner, error);
    } catch (thrown) {
      throwLater(thrown);
    }
  }

  /** One pong for all pings of the read, as soon as the peer takes anything (§5.5.3). */
  readDone(): void {
    if (!this.#outbox.isBacklogged) this.#payPong();
  }

  #payPong(): void {
    const pong = this.#closing.takePong();
    if (pong !== null) this.#sender.controlNow(Opcode.PONG, pong);
  }

  // ── what is sent ─────────────────────────────────────────────────────────────────────────────────

  get bufferedAmount(): number {
    return this.#sender.bufferedAmount;
  }

  /** See Transport. */
  get backlog(): number {
    return this.#sender.bufferedAmount + untaken(this.socket);
  }

  /** See Sender. While open only. */
  send(
    data: string | Uint8Array,
    isBinary: boolean,
    options: MessageOptions,
    callback?: SendCallback,
  ): SendResult {
    return this.#sender.send(data, isBinary, options, callback);
  }

  sendLater(
    size: number,
    bytes: Promise<Uint8Array>,
    isBinary: boolean,
    options: MessageOptions,
    callback?: SendCallback,
  ): SendResult {
    return this.#sender.sendLater(size, bytes, isBinary, options, callback);
  }

  sendPrepared(message: PreparedMessage, callback?: SendCallback): SendResult {
    return this.#sender.sendPrepared(message, callback);
  }

  control(opcode: number, payload: Uint8Array, callback?: SendCallback): void {
    this.#sender.control(opcode, payload, callback);
  }

  get wireForm(): number {
    return this.#sender.wireForm;
  }

  takeShared(shared: SharedFrames, now: boolean): void {
    this.#sender.takeShared(shared, now);
  }

  tooSlow(): void {
    if (!this.isOpen) return;
    const payload = this.#closing.giveUp(this.options.tooSlowCode, 'too slow');
    if (payload !== undefined) this.#sendClose(payload);
  }

  overfull(): void {
    this.#events.overfull(this.#owner);
  }

  drained(): void {
    this.#events.drain(this.#owner);
  }

  /** What can't be sent breaks the promise that all arrives, in order: nothing follows it. */
  sendFailed(error: Error): void {
    this.#lose();
    this.#tellFailed(error);
    this.terminate();
  }

  // ── closing ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Begins the closing handshake (§7.1.2), or answers the peer's.
   *
   * @throws {TypeError | RangeError} for a code or reason that can't be sent
   */
  close(code?: number, reason?: string | Uint8Array): void {
    const payload = this.#closing.begin(code, reason);
    if (payload !== undefined) this.#sendClose(payload);
    else if (this.state === CLOSING && this.#closing.isComplete) this.#sender.end();
  }

  #sendClose(payload: Buffer): void {
    arm(this, this.options.closeTimeout);
    this.#sender.closeFrame(payload);
    this.#events.leaving(this.#owner);
  }

  #lose(): void {
    this.#closing.lose();
    this.#events.leaving(this.#owner);
  }

  closeSent(): void {
    this.#closing.isSent = true;
    // With the answers before it, where a read is being handed out.
    if (!this.#outbox.isHandingOut) this.#outbox.flush();
    if (this.#closing.isDeaf) this.#sender.end();
  }

  terminate(): void {
    if (this.state === CLOSED) return;
    this.#lose();
    this.#outbox.flush();
    this.socket.destroy();
  }

  /** See `Transport`. */
  drop(ofThisTurn: boolean): boolean {
    // What it is still owed of this turn waits, too.
    if (ofThisTurn) catchUp(this);
    if (this.state === CLOSED) return false;
    if (!(ofThisTurn ? this.bufferedAmount > 0 : this.#sender.isStuck)) {
      // What is on its way is not given more time than that takes.
      if (this.bufferedAmount > 0) setTimeout(() => this.#dropRest(), ON_ITS_WAY).unref();
      return false;
    }
    this.#lose();
    this.socket.destroy();
    return true;
  }

  #dropRest(): void {
    if (this.state !== CLOSED && this.bufferedAmount > 0) this.socket.destroy();
  }

  /** The closing handshake has taken too long. */
  expire(): void {
    this.socket.destroy();
  }

  // ── the peer's pulse ─────────────────────────────────────────────────────────────────────────────

  get silence(): number {
    return this.#intake.silence;
  }

  set silence(visits: number) {
    this.#intake.silence = visits;
  }

  /**
   * Slow is not dead. While we don't read, nobody can say that the peer is silent; and while it has more to read
   * than it takes, it can't be asked. Then it has `ms` for each bit of progress.
   */
  excuse(ms: number): boolean {
    if (this.#intake.isHeld) return true;
    if (!this.#outbox.isBacklogged) return false;
    this.#progress ??= new WriteProgress(this.socket, this.#outbox, this);
    return this.#progress.isWithin(ms);
  }

  ping(): void {
    if (this.isOpen && !this.#outbox.isBacklogged) this.#sender.controlNow(Opcode.PING, EMPTY);
  }

  /** Nobody is there to take part in a closing handshake; whoever is half there may still read why. */
  pulseLost(): void {
    const payload = this.#closing.giveUp(this.options.pongTimeoutCode, 'heartbeat timeout');
    if (payload !== undefined) this.#sendClose(payload);
    this.terminate();
  }

  // ── the socket ───────────────────────────────────────────────────────────────────────────────────

  socketEnded(): void {
    if (this.state === CLOSED) return;
    this.#lose();
    if (this.deadline === null) arm(this, this.options.closeTimeout);
    this.#sender.end();
  }

  socketFailed(error: Error): void {
    this.#lose();
    this.socket.destroy();
    this.#events.socketError(this.#owner, error);
  }

  socketDrained(): void {
    this.#progress?.end();
    this.#progress = null;
    this.#payPong();
    this.#sender.settle();
  }

  socketClosed(): void {
    disarm(this);
    this.#heartbeat?.delete(this);
    this.#lose();
    this.#intake.end();
  }

  readEnded(): void {
    if (this.state === CLOSED) return;
    const closing = this.#closing;
    closing.state = CLOSED;
    this.#sender.abort();
    this.#events.closed(this.#owner, closing.code, closing.reason);
  }
}

// One set of listeners for all sockets, so that a connection costs no closure.

function onData(this: ConnectedSocket, chunk: Buffer): void {
  this[kConnection]!.receive(chunk);
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
