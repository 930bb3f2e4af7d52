/**
 * A receiving HTTP response of a SockJS session: polling (one frame, then the end) and streaming (a
 * prelude, then frames up to the response limit) differ only in figures and in how a frame is wrapped.
 */
import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { nextTick } from '../clock.ts';
import { afterClose, bodyOf, cut } from '../server/http2-stream.ts';
import { isPlain, untaken } from '../server/node-insides.ts';
import { SlicedWriter } from '../server/sliced-writer.ts';
import type { Traffic } from '../server/traffic.ts';
import type { TransportKind } from '../server/transport.ts';
import type { Receiver, SockJsSession } from './session.ts';

export interface Wrapping {
  kind: TransportKind;
  contentType: string;
  /** Sent first, in a chunk of its own; not counted in the limit. */
  prelude?: string;
  /** How a frame looks on this transport. */
  wrap(frame: string): string;
  /** Bytes of frames after which the response ends; 0 ends it after the first frame. */
  limit: number;
}

export class HttpReceiver implements Receiver {
  readonly #response: ServerResponse;
  readonly #body: Writable;
  /** Null on a plain socket. */
  readonly #sliced: SlicedWriter | null;
  #session: SockJsSession | undefined;
  /** Once all slices are written, it is to end. */
  #isEnding = false;
  readonly #wrapping: Wrapping;
  readonly #traffic: Traffic;
  #left: number;

  /** The headers that all of SockJS shares are on the response already. */
  constructor(response: ServerResponse, wrapping: Wrapping, traffic: Traffic) {
    this.#response = response;
    this.#body = bodyOf(response);
    const isToldOf = this.#body === response && isPlain(response.socket);
    this.#sliced = isToldOf ? null : new SlicedWriter(this.#body, this);
    this.#wrapping = wrapping;
    this.#traffic = traffic;
    this.#left = wrapping.limit;
    // nginx would hold a stream back until its buffer is full.
    if (wrapping.limit > 0) response.setHeader('X-Accel-Buffering', 'no');
    response.writeHead(200, { 'Content-Type': wrapping.contentType });
    if (wrapping.prelude !== undefined) this.#write(wrapping.prelude);
  }

  /** Tells the session when the connection breaks or can be written to again. */
  bind(session: SockJsSession): void {
    this.#session = session;
    afterClose(this.#body, () => session.interrupted(this));
    this.#body.on('drain', () => session.drained(this));
  }

  /** Calls back when all of it, to its end, has left this process; never where the connection breaks before. */
  whenWritten(callback: () => void): void {
    const { socket } = this.#response;
    // Node tells of a response by HTTP/1.1 that it is finished also where it was cut off.
    this.#body.once('finish', () => {
      if (this.#body !== this.#response || !socket?.destroyed) callback();
    });
  }

  get isWritable(): boolean {
    return !this.#body.destroyed && !this.#body.writableNeedDrain && !this.#sliced?.waitingBytes;
  }

  get bufferedAmount(): number {
    return this.#body.writableLength + (this.#sliced?.waitingBytes ?? 0);
  }

  get backlog(): number {
    return this.bufferedAmount + untaken(this.#response.socket);
  }

  send(frame: string): boolean {
    const text = this.#wrapping.wrap(frame);
    this.#write(text);
    const bytes = Buffer.byteLength(text);
    this.#left -= bytes;
    this.#traffic.framesOut++;
    this.#traffic.bytesOut += bytes;
    return this.#left > 0;
  }

  /**
   * As a chunk of its own (RFC 9112 §7.1): old clients rely on frames that are never joined. From Node 26 on, what
   * is written in one turn is one chunk, unless the socket is corked already; one packet it is either way.
   */
  #write(text: string): void {
    // With HTTP/2 it is a DATA frame of its own, and all of a turn is one packet.
    const socket = this.#body === this.#response ? this.#response.socket : null;
    socket?.cork();
    if (this.#sliced === null) this.#body.write(text);
    else this.#sliced.write(Buffer.from(text));
    if (socket) nextTick(uncork, socket);
  }

  end(): void {
    if (this.#sliced?.waitingBytes) this.#isEnding = true;
    else this.#response.end();
  }

  /** All slices are written. */
  socketDrained(): void {
    if (this.#isEnding) this.#response.end();
    else this.#session?.drained(this);
  }

  destroy(): void {
    cut(this.#body);
  }
}

function uncork(socket: Writable): void {
  socket.uncork();
}
