/**
 * A port that speaks nothing but the opening handshake: sockets of node:net, request heads read here. It is
 * quicker and needs less memory for each connection than node:http, and its limits are its own.
 */
import { IncomingMessage, STATUS_CODES } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { asksForWebSocket } from '../protocol/handshake.ts';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { copied, sharedBuffer } from './memory.ts';
import { refuse } from './refusal.ts';
import {
  type RequestHead,
  type RequestHeadError,
  type RequestHeadLimits,
  RequestHeadReader,
} from './request-head.ts';
import { holdReads, readTo, type SharedReader, shareReads } from './shared-read.ts';

export interface RawListenerOptions extends RequestHeadLimits {
  /** Milliseconds for the whole head. 0: no limit. */
  handshakeTimeout: number;
  /** A request for a WebSocket. `head` is what came behind the request. */
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
  /** Any other. What came behind its head is still to be read from the socket. Default: answered with 426. */
  request?: ((request: IncomingMessage, socket: Socket) => void) | undefined;
  /**
   * Asked with the first bytes of a connection that begins with `<`, as no request does. True takes the
   * socket over. A Flash policy server is such a one.
   */
  markup?: ((socket: Socket, chunk: Buffer) => boolean) | undefined;
  /** Whether sockets may be read into shared memory, from their first byte on. */
  sharesReads: boolean;
}

const LESS_THAN = 0x3c;
const kArrival = Symbol('arrival');
type ArrivingSocket = Socket & { [kArrival]?: Arrival };

/** A server for the sockets of which `options.upgrade` is called. The caller lets it listen. */
export function createRawListener(options: RawListenerOptions): Server & { endArrivals(): void } {
  const arrivals = new Set<Arrival>();
  // Half-open, as node:http has it: a client that has said all it has to may still read.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    arrivals.add(new Arrival(socket, options, arrivals));
  });
  return Object.assign(server, {
    /** Cuts those who have not finished their request. */
    endArrivals(): void {
      for (const arrival of arrivals) arrival.socket.destroy();
    },
  });
}

/** A connection that has not said yet what it wants. */
class Arrival implements Expirable, SharedReader {
  deadline: Expirable['deadline'] = null;
  readonly socket: Socket;
  readonly #options: RawListenerOptions;
  readonly #reader: RequestHeadReader;
  readonly #arrivals: Set<Arrival>;
  #isFirstChunk = true;

  constructor(socket: Socket, options: RawListenerOptions, arrivals: Set<Arrival>) {
    this.socket = socket;
    this.#options = options;
    this.#arrivals = arrivals;
    this.#reader = new RequestHeadReader(options);
    (socket as ArrivingSocket)[kArrival] = this;
    // Whoever takes over a socket that brings something else than an upgrade gets it as node:net has it.
    const isShared =
      options.sharesReads && !options.markup && !options.request && shareReads(socket) === null;
    if (!isShared) socket.on('data', onData);
    else if (readTo(socket, this)) socket.resume();
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
    if (options.handshakeTimeout > 0) arm(this, options.handshakeTimeout);
  }

  receiveShared(count: number): void {
    this.receive(sharedBuffer.subarray(0, count));
  }

  receive(chunk: Buffer): void {
    const { socket } = this;
    const { markup } = this.#options;
    if (this.#isFirstChunk) {
      this.#isFirstChunk = false;
      if (markup !== undefined && chunk[0] === LESS_THAN) {
        this.leave();
        if (!markup(socket, chunk)) refuse(socket, 400);
        return;
      }
    }
    let head: RequestHead | undefined;
    try {
      head = this.#reader.read(chunk);
    } catch (error) {
      const { status, message } = error as RequestHeadError;
      this.leave();
      refuse(socket, status, message);
      return;
    }
    if (head === undefined) return;
    this.leave();
    const request = asIncomingMessage(head, socket);
    const rest = copied(this.#reader.rest);
    if (asksForWebSocket(request)) {
      this.#options.upgrade(request, socket, rest);
    } else if (this.#options.request !== undefined) {
      if (rest.length > 0) socket.unshift(rest);
      this.#options.request(request, socket);
    } else {
      refuse(socket, 426, STATUS_CODES[426], { 'Content-Type': 'text/plain', Upgrade: 'websocket' });
    }
  }

  /** The socket is somebody else's from here on. What it still brings waits. */
  leave(): void {
    const { socket } = this;
    disarm(this);
    this.#arrivals.delete(this);
    (socket as ArrivingSocket)[kArrival] = undefined;
    if (!holdReads(socket)) {
      socket.removeListener('data', onData);
      socket.pause();
    }
    socket.removeListener('end', onEnd);
    socket.removeListener('error', onError);
    socket.removeListener('close', onClose);
  }

  expire(): void {
    this.leave();
    refuse(this.socket, 408);
  }
}

/** Node's own class, so that whoever knows requests of node:http knows these. */
function asIncomingMessage(head: RequestHead, socket: Socket): IncomingMessage {
  const request = new IncomingMessage(socket);
  request.method = head.method;
  request.url = head.url;
  request.httpVersion = head.httpVersion;
  request.httpVersionMajor = 1;
  request.httpVersionMinor = head.httpVersion === '1.1' ? 1 : 0;
  request.headers = head.headers;
  request.rawHeaders = head.rawHeaders;
  request.complete = true;
  return request;
}

function onData(this: ArrivingSocket, chunk: Buffer): void {
  this[kArrival]!.receive(chunk);
}

function onEnd(this: ArrivingSocket): void {
  this.end();
}

function onError(this: ArrivingSocket): void {
  this.destroy();
}

function onClose(this: ArrivingSocket): void {
  this[kArrival]!.leave();
}
