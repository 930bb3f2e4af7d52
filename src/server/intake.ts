/**
 * What one connection reads, from the socket to its sink: the reader, what is held while it takes nothing, and
 * the pause that slows the peer down meanwhile.
 */
import type { Duplex } from 'node:stream';
import { nextTick, setImmediate } from '../clock.ts';
import type { ProtocolError } from '../protocol/errors.ts';
import { FrameReader } from '../protocol/frame-reader.ts';
import type { FrameSink, MessageInflater } from '../protocol/frame-sink.ts';
import { kept, keptCopy, lender, sharedBuffer, sharedMemory } from './memory.ts';
import type { Outbox } from './outbox.ts';
import { readTo, type SharedReader } from './shared-read.ts';
import type { Traffic } from './traffic.ts';

/** The same object serves all connections of a server. */
export interface IntakeOptions {
  role: 'server' | 'client';
  /** Bytes; 0 for no limit. */
  maxPayload: number;
  /** Frames of one message; 0 for no limit. */
  maxFragments: number;
  skipUTF8Validation: boolean;
  /** Hand on pieces of messages as they come. */
  partial: boolean;
  /** Messages are views that are valid only during the call. */
  views: boolean;
  traffic: Traffic;
}

/** Whose intake it is: gets what was read. */
export interface IntakeHost extends FrameSink {
  /** Whether anybody wants to know of what comes. */
  readonly isDeaf: boolean;
  /** What has come broke the protocol. Nothing more is read. */
  readFailed(error: ProtocolError): void;
  /** A read has been handed out. */
  readDone(): void;
  /** The socket is gone, and all that it had brought has been handed out. */
  readEnded(): void;
}

const EMPTY = Buffer.alloc(0);

export class Intake implements SharedReader {
  readonly #socket: Duplex;
  readonly #host: IntakeHost;
  readonly #outbox: Outbox;
  readonly #reader: FrameReader;
  readonly #traffic: Traffic;
  /** What is read lies in memory that the next read of any connection fills again. */
  readonly #isShared: boolean;
  /** See Pulse. */
  silence = 0;
  /** By the application. */
  isPaused = false;
  /** What came while the reader was suspended. */
  #held: Buffer[] | null = null;
  #isReading = false;
  /** What is being read lies in the shared read buffer. */
  #isTransient = false;
  #isGone = false;

  constructor(
    socket: Duplex,
    host: IntakeHost,
    outbox: Outbox,
    options: IntakeOptions,
    deflate: MessageInflater | null,
  ) {
    this.#socket = socket;
    this.#host = host;
    this.#outbox = outbox;
    this.#traffic = options.traffic;
    this.#isShared = readTo(socket, this);
    this.#reader = new FrameReader(host, {
      role: options.role,
      maxPayload: options.maxPayload,
      maxFragments: options.maxFragments,
      partial: options.partial,
      skipUtf8Validation: options.skipUTF8Validation,
      ...(options.views ? { lender } : {}),
      ...(deflate === null ? {} : { deflate }),
      ...(this.#isShared ? { memory: sharedMemory } : {}),
    });
  }

  /**
   * Whether we are the ones who hold the peer up: the application's pause, also that of the socket itself, or a
   * message that is being inflated.
   */
  get isHeld(): boolean {
    return this.isPaused || this.#held !== null || this.#socket.isPaused();
  }

  /** Begins to read. `head` is what came behind the opening handshake. */
  start(head: Buffer, onData: (chunk: Buffer) => void): void {
    const socket = this.#socket;
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

  /** Of what is being handed out: something that may be kept. */
  keep(data: Buffer): Buffer {
    return this.#isTransient ? keptCopy(data) : kept(data);
  }

  receiveShared(count: number): void {
    this.receive(sharedBuffer, 0, count);
  }

  /** What came behind the opening handshake; the socket has not been read since. */
  receiveHead(head: Buffer): void {
    if (this.#isGone) return;
    this.receive(head, 0, head.length);
    if (!this.isPaused && this.#held === null) this.#socket.resume();
  }

  /** Takes chunk[start, end), which it may change. */
  receive(chunk: Buffer, start: number, end: number): void {
    this.silence = 0;
    this.#traffic.bytesIn += end - start;
    this.#take(chunk, start, end);
  }

  /** What has come, now or before. */
  #take(chunk: Buffer, start: number, end: number): void {
    if (this.#held !== null) {
      this.#held.push(kept(chunk.subarray(start, end)));
      return;
    }
    const outer = this.#outbox.beginRead(this.#reader);
    this.#isReading = true;
    this.#isTransient = chunk === sharedBuffer;
    let at = end;
    try {
      at = this.#reader.read(chunk, start, end);
    } catch (error) {
      this.#host.readFailed(error as ProtocolError);
    }
    this.#isReading = false;
    this.#traffic.framesIn += this.#reader.frames;
    this.#reader.frames = 0;
    if (at < end) this.#hold(kept(chunk.subarray(at, end)));
    else if (this.#reader.isSuspended && this.#held === null) this.#hold(EMPTY);
    this.#host.readDone();
    this.#outbox.endRead(outer);
  }

  /** The reader takes nothing for now: the rest waits here, and the socket brings no more. */
  #hold(rest: Buffer): void {
    this.#held = rest.length > 0 ? [rest] : [];
    if (!this.#isGone) this.#socket.pause();
  }

  /** Reads on with what was held. */
  readHeld(): void {
    if (this.#isReading) return;
    while (this.#held !== null && !this.#reader.isSuspended) {
      const chunks: Buffer[] = this.#held;
      this.#held = null;
      for (let i = 0; i < chunks.length; i++) {
        const chunk = chunks[i]!;
        // Suspended again: the rest is appended, in order, to what is held.
        this.#take(chunk, 0, chunk.length);
      }
    }
    if (this.#held !== null) return;
    if (this.#isGone) this.#host.readEnded();
    else if (!this.isPaused) this.#socket.resume();
  }

  pause(): void {
    // Once the socket is gone there is only what it has brought, and nobody to slow down.
    if (this.#isGone) return;
    this.isPaused = true;
    this.#reader.suspend();
    this.#socket.pause();
  }

  resume(): void {
    this.isPaused = false;
    this.#reader.resume();
    if (this.#held === null) {
      // Within a read callback, too: the reader goes on by itself there, and a socket that `pause` has stopped must.
      if (!this.#reader.isSuspended) this.#socket.resume();
    } else if (!this.#isReading) {
      // Not within this call, so that whoever calls it is done with what it has before there is more.
      nextTick(readHeldOf, this);
    }
  }

  /** Lets the event loop turn before the next message. */
  yield(): void {
    this.#reader.suspend();
    setImmediate(() => {
      if (!this.isPaused) this.resume();
    });
  }

  /** Reads and throws away what still comes, so that the peer can end the connection. */
  discard(): void {
    this.#held = null;
    if (this.#isGone) this.#host.readEnded();
    else this.#socket.resume();
  }

  /** The socket is gone: what it has brought is handed out before the end is told. */
  end(): void {
    const socket = this.#socket;
    this.#isGone = true;
    if (this.isPaused) {
      // There will be no resume() any more.
      this.isPaused = false;
      this.#reader.resume();
    }
    const rest = socket.readableLength > 0 && !this.#host.isDeaf ? (socket.read() as Buffer | null) : null;
    if (rest !== null) this.receive(rest, 0, rest.length);
    if (this.#held !== null) this.readHeld();
    else this.#host.readEnded();
  }
}

function readHead(intake: Intake, head: Buffer): void {
  intake.receiveHead(head);
}

function readHeldOf(intake: Intake): void {
  intake.readHeld();
}
