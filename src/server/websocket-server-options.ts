/** What a `WebSocketServer` is made with, what it emits and how it is closed, in types that take what was written for those of ws. */
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { Http2SecureServer, Http2Server } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TlsOptions } from 'node:tls';
import type { AcceptorOptions } from './acceptor.ts';
import type { VerifyClient } from './admission.ts';
import type { SessionBounds } from './http2-bounds.ts';
import type { Handler } from './transport.ts';
import type { WebSocket } from './websocket.ts';

/** The class of the connections, and that of the requests of an http.Server which has its own. */
export interface WebSocketServerOptions<
  T extends typeof WebSocket = typeof WebSocket,
  U extends typeof IncomingMessage = typeof IncomingMessage,
> extends Omit<AcceptorOptions, 'verifyClient' | 'handleProtocols' | 'WebSocket' | 'handler'>,
    SessionBounds {
  /** Says who may come in. Default: everybody. Interceptors can do more. */
  verifyClient?: VerifyClient<InstanceType<U>> | null | undefined;
  /** Chooses one of the client's subprotocols, or none. Default: the first. */
  handleProtocols?: ((protocols: Set<string>, request: InstanceType<U>) => string | false) | null | undefined;
  /** The class of the connections. Default: WebSocket. It is constructed with `(null, undefined, options)`. */
  WebSocket?: T | undefined;
  /** Called in place of `message` events, and beside `connection` and `close`: the quick way. */
  handler?: Handler<InstanceType<T>> | undefined;
  /** Listen on this port, for nothing else than WebSockets. 0: any free one. */
  port?: number | undefined;
  /** The address to listen on. Default: all. */
  host?: string | undefined;
  /**
   * Options of `tls.createServer`, such as `{ cert, key }`: the port speaks TLS, and HTTP/2 beside HTTP/1.1 (RFC 8441).
   * `setSecureContext` renews the certificate. Default: no TLS.
   */
  tls?: TlsOptions | undefined;
  /** Whether a port of ours with TLS offers HTTP/2. Default true. */
  http2?: boolean | undefined;
  /** Connections that the operating system keeps until they are accepted. Default 511. */
  backlog?: number | undefined;
  /** Serve the upgrades of this server of `node:http` or `node:https`, and the streams of one of `node:http2` (RFC 8441). */
  server?: HttpServer<U> | HttpsServer<U> | Http2Server | Http2SecureServer | undefined;
  /** Serve what `handleUpgrade` is called with. */
  noServer?: boolean | undefined;
  /** Only requests for this path. Default: any. */
  path?: string | undefined;
  /**
   * What becomes of a WebSocket request to an http.Server that no WebSocketServer there takes, where nobody else listens
   * for `upgrade`. `refuse`, as in ws: 400. `ignore`: the server's `request` listeners answer it, if all there say so.
   * Default `refuse`.
   */
  others?: 'refuse' | 'ignore' | undefined;
  /** Keep `clients`. Default true. */
  clientTracking?: boolean | undefined;
  /** Connections that a port of ours has at once; one more is cut before it has said anything. Default: no limit. */
  maxConnections?: number | undefined;
  /** See raw-listener.ts: takes over connections that begin with `<`. */
  markup?: ((socket: Socket, chunk: Buffer) => boolean) | undefined;
  /**
   * Requests on a port of ours that don't ask for a WebSocket. What came behind the head is still to be read from the
   * socket, which is paused. Default: answered with 426.
   */
  request?: ((request: IncomingMessage, socket: Socket) => void) | undefined;
}

/** How `close` ends the clients. */
export interface CloseOptions {
  /** The close code for the clients. Default 1001. */
  code?: number | undefined;
  /** The reason for the clients, at most 123 bytes. Default: none. */
  reason?: string | undefined;
  /** Milliseconds over which the clients are closed one by one, so that they don't all come back at once. Default 0. */
  drain?: number | undefined;
  /** Milliseconds after which clients that are still there are cut. Default: each has its closing handshake's `closeTimeout`. */
  deadline?: number | undefined;
}

/** Events of a WebSocketServer, with the arguments of their listeners. */
export interface WebSocketServerEvents<
  W extends WebSocket = WebSocket,
  R extends IncomingMessage = IncomingMessage,
> {
  /** A client has come in. */
  connection: [websocket: W, request: R];
  /** The lines of the 101 response, which may be added to. */
  headers: [headers: string[], request: R];
  /** The port is open. */
  listening: [];
  /** The server and all its clients are closed. */
  close: [];
  /** The port could not be opened, or was lost. */
  error: [error: Error];
  /** With a listener, refusing a malformed handshake is left to it. */
  wsClientError: [error: Error, socket: Duplex, request: R];
}
