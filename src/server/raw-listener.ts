/**
 * A port that speaks nothing but the opening handshake: sockets of node:net, request heads read here. It is
 * quicker and needs less memory for each connection than node:http, and its limits are its own. With TLS also by HTTP/2.
 */
import { IncomingMessage, STATUS_CODES } from 'node:http';
import { performServerHandshake } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { asksForWebSocket, connectsWebSocket } from '../protocol/handshake.ts';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { type SessionBounds, Sessions, sessionOptions } from './http2-bounds.ts';
import { requestOf, type StreamEvent } from './http2-stream.ts';
import { copied, sharedBuffer } from './memory.ts';
import { refuse } from './refusal.ts';
import { type RequestHead, type RequestHeadError, RequestHeadReader } from './request-head.ts';
import { holdReads, readTo, type SharedReader, shareReads } from './shared-read.ts';
import { alpn, Connections, tlsTimes, withCertificate } from './tls-port.ts';

export interface RawListenerOptions extends SessionBounds {
  /** Default: without TLS. */
  tls?: TlsOptions | undefined;
  /** Whether TLS offers HTTP/2. */
  http2: boolean;
  /** Milliseconds for the handshake of TLS, for the whole head, and for a session of HTTP/2 without a stream. 0: no limit. */
  handshakeTimeout: number;
  /** A request for a WebSocket. `head` is what came behind the request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Any other of HTTP/1.1. What came behind its head is still to be read from the socket. Default: answered with 426. */
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
const NOTHING = Buffer.alloc(0);
const kArrival = Symbol('arrival');
type ArrivingSocket = Socket & { [kArrival]?: Arrival };

export type RawListener = Server & {
  /** Cuts those who have not finished their request, and takes no more streams. */
  endArrivals(): void;
};

// Half-open, as node:http has it: a client that has said all it has to may still read.
const SOCKETS = { allowHalfOpen: true, noDelay: true };

/** A server for the sockets of which `options.upgrade` is called. The caller lets it listen. */
export function createRawListener(options: RawListenerOptions): RawListener {
  const { tls } = options;
  const arrivals = new Set<Arrival>();
  const arrive = (socket: Socket): void => {
    arrivals.add(new Arrival(socket, options, arrivals));
  };
  if (tls === undefined) {
    return Object.assign(createServer(SOCKETS, arrive), {
      endArrivals(): void {
        for (const arrival of arrivals) arrival.socket.destroy();
      },
    });
  }
  const settings = sessionOptions(options);
  const server = withCertificate(() =>
    createTlsServer({ ...SOCKETS, ...tlsTimes(options), ...tls, ...alpn(options) }),
  );
  const connections = new Connections(server);
  const sessions = new Sessions(options.handshakeTimeout, connections);
  // Node leaves it to us, also where its time is over.
  server.on('tlsClientError', (_, socket) => socket.destroy());
  server.on('secureConnection', (socket) => {
    if (socket.alpnProtocol !== 'h2') arrive(socket);
    else beginSession(socket);
  });
  const beginSession = (socket: TLSSocket): void => {
    // Whoever ends the connection ends all streams: there is no half of a session.
    socket.allowHalfOpen = false;
    const session = performServerHandshake(socket, settings);
    sessions.add(session);
    session.on('stream', (...event: StreamEvent) => answerStream(event, options));
  };
  return Object.assign(server, {
    endArrivals(): void {
      for (const arrival of arrivals) arrival.socket.destroy();
      connections.cutStrangers();
      sessions.close();
    },
  });
}

function answerStream([stream, headers, , rawHeaders]: StreamEvent, options: RawListenerOptions): void {
  const { ':method': method } = headers;
  if (connectsWebSocket({ method, headers })) {
    options.upgrade(requestOf(stream, headers, rawHeaders), stream, NOTHING);
    return;
  }
  // RFC 8441 §4: another protocol, or a tunnel, is what we don't have.
  const status = method === 'CONNECT' ? 501 : 405;
  refuse(stream, status, STATUS_CODES[status], { 'Content-Type': 'text/plain', Allow: 'CONNECT' });
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
