/**
 * `WebSocketServer`: the public API of ws 8 for servers, on an http.Server of the application's, on a port
 * of its own, or on sockets that it is handed; with interceptors, broadcast, topics, heartbeat, and a close
 * that waits.
 */

import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { nextTick, setTimeout } from '../clock.ts';
import {
  acceptOffer,
  type DeflateOptions,
  formatParameters,
  validateDeflateOptions,
} from '../protocol/deflate-negotiation.ts';
import { HandshakeError } from '../protocol/errors.ts';
import { formatResponse, type ParsedRequest, parseRequest } from '../protocol/handshake.ts';
import { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { Admission, type AdmissionRules, type VerifyClient } from './admission.ts';
import type { ConnectionOptions } from './connection.ts';
import type { Sendable } from './data.ts';
import * as diagnostics from './diagnostics.ts';
import { TypedEmitter } from './emitter.ts';
import { Audience, type Encode, type Member } from './fan-out.ts';
import { Heartbeat } from './heartbeat.ts';
import { type CommonOptions, connectionOptions } from './options.ts';
import { PreparedMessage } from './prepared-message.ts';
import { createRawListener } from './raw-listener.ts';
import { refuse } from './refusal.ts';
import type { RequestHeadLimits } from './request-head.ts';
import { requestTarget } from './request-target.ts';
import { shareReads } from './shared-read.ts';
import { Topics } from './topics.ts';
import type { Handler, Interceptor } from './transport.ts';
import { addRoute, type UpgradableServer } from './upgrade-router.ts';
import { acceptConnection, connectionOf, failHandler, type Lifecycle, WebSocket } from './websocket.ts';

/** The class of the connections, and that of the requests of an http.Server which has its own. */
export interface WebSocketServerOptions<
  T extends typeof WebSocket = typeof WebSocket,
  U extends typeof IncomingMessage = typeof IncomingMessage,
> extends CommonOptions,
    RequestHeadLimits {
  /** Listen on this port, for nothing else than WebSockets. 0: any free one. */
  port?: number | undefined;
  host?: string | undefined;
  /** Connections that the operating system keeps until they are accepted. Default 511. */
  backlog?: number | undefined;
  /** Serve the upgrades of this http.Server or https.Server. */
  server?: HttpServer<U> | HttpsServer<U> | undefined;
  /** Serve what `handleUpgrade` is called with. */
  noServer?: boolean | undefined;
  /** Only requests for this path. Default: any. */
  path?: string | undefined;
  verifyClient?: VerifyClient<InstanceType<U>> | null | undefined;
  /** Chooses one of the client's subprotocols, or none. Default: the first. */
  handleProtocols?: ((protocols: Set<string>, request: InstanceType<U>) => string | false) | null | undefined;
  /** Keep `clients`. Default true. */
  clientTracking?: boolean | undefined;
  /** Default false. */
  perMessageDeflate?: boolean | DeflateOptions | undefined;
  /** The class of the connections. Default: WebSocket. */
  WebSocket?: T | undefined;
  /** Asked in order before a connection is made; told in reverse order what became of it. */
  interceptors?: readonly Interceptor[] | undefined;
  /** Called in place of `message` events, and beside `connection` and `close`: the quick way. */
  handler?: Handler<InstanceType<T>> | undefined;
  /** Read all sockets into one buffer where Node allows it (shared-read.ts). Default true. */
  sharedReads?: boolean | undefined;
  /** `handler.message` gets views that are valid only until it returns. Default false. */
  views?: boolean | undefined;
  /**
   * Milliseconds for everything up to the 101 response: the request's head on a port of ours, interceptors
   * and verifyClient anywhere. Default 10_000; 0: no limit.
   */
  handshakeTimeout?: number | undefined;
  /** See raw-listener.ts: takes over connections that begin with `<`. */
  markup?: ((socket: Socket, chunk: Buffer) => boolean) | undefined;
  /** Requests without an Upgrade header on a port of ours. Default: answered with 426. */
  request?: ((request: IncomingMessage, socket: Socket) => void) | undefined;
}

export interface CloseOptions {
  /** The close code for the clients. Default 1001. */
  code?: number | undefined;
  reason?: string | undefined;
  /** Milliseconds over which the clients are closed one by one, so that they don't all come back at once. Default 0. */
  drain?: number | undefined;
}

export interface WebSocketServerEvents<
  W extends WebSocket = WebSocket,
  R extends IncomingMessage = IncomingMessage,
> {
  connection: [websocket: W, request: R];
  /** The lines of the 101 response, which may be added to. */
  headers: [headers: string[], request: R];
  listening: [];
  close: [];
  error: [error: Error];
  /** With a listener, refusing a malformed handshake is left to it. */
  wsClientError: [error: Error, socket: Duplex, request: R];
}

interface Response101 {
  /** To its empty line. */
  head: string;
  protocol: string;
  compression: MessageDeflate | null;
}

type State = 'running' | 'closing' | 'closed';

const DEFAULT_THRESHOLD = 1024;
/** Bytes of a shared message from which on it goes uncompressed: compressing it would hold up all others. */
const MAX_COMPRESSED_AT_ONCE = 1024 * 1024;
const kUpgraded = Symbol('upgraded');

export class WebSocketServer<
    T extends typeof WebSocket = typeof WebSocket,
    U extends typeof IncomingMessage = typeof IncomingMessage,
  >
  extends TypedEmitter<WebSocketServerEvents<InstanceType<T>, InstanceType<U>>>
  implements Lifecycle
{
  readonly options: WebSocketServerOptions<T, U>;
  /** The open connections. Undefined without `clientTracking`, whatever the type says for ws's sake. */
  readonly clients!: Set<InstanceType<T>>;

  readonly #connectionOptions: ConnectionOptions;
  readonly #deflate: DeflateOptions | null;
  readonly #heartbeat: Heartbeat | null;
  readonly #rules: AdmissionRules;
  readonly #encode: Encode;
  #topics: Topics | undefined;
  #everybody: Audience | undefined;
  #server: NetServer | null = null;
  #ownListener: ReturnType<typeof createRawListener> | null = null;
  #detach: (() => void) | null = null;
  #state: State = 'running';
  #closesWithLastClient = false;

  /**
   * @param callback called when the port is open
   * @throws {TypeError} unless exactly one of `port`, `server` and `noServer` is given
   */
  constructor(options: WebSocketServerOptions<T, U> = {}, callback?: () => void) {
    super();
    const { port, server, noServer } = options;
    if (Number(port != null) + Number(Boolean(server)) + Number(Boolean(noServer)) !== 1) {
      throw new TypeError(
        'One and only one of the "port", "server", or "noServer" options must be specified',
      );
    }
    this.options = { WebSocket: WebSocket as T, clientTracking: true, ...options };
    const { perMessageDeflate = false, pingInterval = 0, pongTimeout = pingInterval } = options;
    this.#deflate = perMessageDeflate === true ? {} : perMessageDeflate || null;
    if (this.#deflate !== null) validateDeflateOptions('server', this.#deflate);
    const { threshold = DEFAULT_THRESHOLD, zlibDeflateOptions } = this.#deflate ?? {};
    this.#encode = (message, form) =>
      form === 0 || message.payload.length < threshold || message.payload.length > MAX_COMPRESSED_AT_ONCE
        ? message.plain
        : message.compressed(form, zlibDeflateOptions);
    this.#connectionOptions = connectionOptions('server', options, {
      views: options.views ?? false,
      encode: this.#encode,
    });
    this.#heartbeat = pingInterval > 0 ? Heartbeat.shared(pingInterval, pongTimeout) : null;
    this.#rules = {
      interceptors: options.interceptors ?? [],
      verifyClient: (options.verifyClient as VerifyClient | null | undefined) ?? null,
      handshakeTimeout: options.handshakeTimeout ?? 10_000,
    };
    if (this.options.clientTracking) this.clients = new Set();
    if (port != null) this.#listen(port, callback);
    else if (server) this.#embed(server);
  }

  /** The option; empty where there is none. */
  get path(): string {
    return this.options.path ?? '';
  }

  /**
   * Where the server listens; null once it is closed.
   *
   * @throws {Error} with `noServer`
   */
  address(): AddressInfo | string | null {
    if (this.options.noServer) throw new Error('The server is operating in "noServer" mode');
    return this.#server === null ? null : this.#server.address();
  }

  #listen(port: number, callback: (() => void) | undefined): void {
    const { host, backlog, maxHeadBytes, maxHeadFields, markup, request } = this.options;
    const listener = createRawListener({
      handshakeTimeout: this.#rules.handshakeTimeout,
      maxHeadBytes,
      maxHeadFields,
      markup,
      request,
      sharesReads: this.options.sharedReads !== false,
      upgrade: this.#upgrade,
    });
    this.#ownListener = listener;
    this.#server = listener;
    listener.on('listening', () => this.emit('listening'));
    listener.on('error', (error) => this.emit('error', error));
    listener.listen({ port, host, backlog }, callback);
  }

  #embed(server: UpgradableServer): void {
    this.#server = server;
    const onListening = (): void => {
      this.emit('listening');
    };
    const onError = (error: Error): void => {
      this.emit('error', error);
    };
    server.on('listening', onListening);
    server.on('error', onError);
    const removeRoute = addRoute(server, {
      handshakeTimeout: this.#rules.handshakeTimeout,
      matches: (request) => Boolean(this.shouldHandle(request as InstanceType<U>)),
      upgrade: this.#upgrade,
    });
    this.#detach = () => {
      removeRoute();
      server.removeListener('listening', onListening);
      server.removeListener('error', onError);
    };
  }

  readonly #upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    this.handleUpgrade(request as InstanceType<U>, socket, head, this.#emitConnection);
  };

  readonly #emitConnection = (websocket: InstanceType<T>, request: InstanceType<U>): void => {
    this.emit('connection', websocket, request);
  };

  // ── the opening handshake ────────────────────────────────────────────────────────────────────────

  /**
   * Whether the request is for this server: its path is `options.path`. To be overridden at will; a promise is
   * as good as true, as in ws.
   */
  shouldHandle(request: InstanceType<U>): boolean | Promise<boolean> {
    const { path } = this.options;
    if (!path) return true;
    return requestTarget(request).path === path;
  }

  /**
   * Makes a WebSocket of a request (RFC 6455 §4.2), or answers why not.
   *
   * @param head what came behind the request
   */
  handleUpgrade(
    request: InstanceType<U>,
    socket: Duplex,
    head: Buffer,
    callback: (websocket: InstanceType<T>, request: InstanceType<U>) => void,
  ): void {
    socket.on('error', destroySocket);
    let parsed: ParsedRequest;
    try {
      parsed = parseRequest(request);
    } catch (error) {
      this.#refuseMalformed(error as HandshakeError, socket, request);
      return;
    }
    if (!this.shouldHandle(request)) {
      refuse(socket, 400);
      this.#tellRefused(request, 400, new Error('The path is not served here'));
      return;
    }
    if (this.#rules.interceptors.length === 0 && this.#rules.verifyClient === null) {
      this.#complete(parsed, request, socket, head, callback, undefined);
      return;
    }
    const origin = request.headers[parsed.version === 8 ? 'sec-websocket-origin' : 'origin'];
    new Admission(
      request,
      socket,
      (status, body, headers) => refuse(socket, status, body, headers),
      this.#rules,
      Array.isArray(origin) ? origin[0] : origin,
      (admission) => this.#complete(parsed, request, socket, head, callback, admission),
      (status, error) => this.#tellRefused(request, status, error),
    ).begin();
  }

  #refuseMalformed(error: HandshakeError, socket: Duplex, request: InstanceType<U>): void {
    if (!(error instanceof HandshakeError)) throw error;
    if (this.listenerCount('wsClientError') > 0) this.emit('wsClientError', error, socket, request);
    else refuse(socket, error.status, error.message, error.headers);
    this.#tellRefused(request, error.status, error);
  }

  #tellRefused(request: IncomingMessage, status: number, error: Error): void {
    if (diagnostics.refused.hasSubscribers) diagnostics.refused.publish({ request, status, error });
  }

  #complete(
    parsed: ParsedRequest,
    request: InstanceType<U>,
    socket: Duplex,
    head: Buffer,
    callback: (websocket: InstanceType<T>, request: InstanceType<U>) => void,
    admission: Admission | undefined,
  ): void {
    // It has gone while it was being asked about.
    if (!socket.readable || !socket.writable) {
      socket.destroy();
      admission?.tell(undefined, new Error('The client has gone'));
      return;
    }
    if (kUpgraded in socket) {
      throw new Error(
        'server.handleUpgrade() was called more than once with the same socket, possibly due to a misconfiguration',
      );
    }
    if (this.#state !== 'running') {
      const error = new Error('The server is closing');
      refuse(socket, 503);
      admission?.tell(undefined, error);
      this.#tellRefused(request, 503, error);
      return;
    }
    Object.defineProperty(socket, kUpgraded, { value: true });
    let response: Response101;
    try {
      response = this.#respond(parsed, request);
    } catch (error) {
      // What the application chose can't be sent. The client must not wait for an answer.
      refuse(socket, 500);
      admission?.tell(undefined, error as Error);
      throw error;
    }
    const rest = this.options.sharedReads === false ? undefined : shareReads(socket);
    socket.write(response.head, 'latin1');
    socket.removeListener('error', destroySocket);

    const websocket = new this.options.WebSocket!(null) as InstanceType<T>;
    acceptConnection(websocket, {
      socket,
      head: rest ? Buffer.concat([head, rest]) : head,
      protocol: response.protocol,
      compression: response.compression,
      options: this.#connectionOptions,
      heartbeat: this.#heartbeat,
      attributes: admission?.attributes,
      handler: this.options.handler as Handler<WebSocket> | undefined,
      lifecycle: this,
    });
    if (this.clients !== undefined) {
      this.clients.add(websocket);
      this.#everybody?.add(connectionOf(websocket)!);
    }
    if (diagnostics.opened.hasSubscribers) diagnostics.opened.publish({ websocket, request });
    admission?.tell(websocket, undefined);
    const { handler } = this.options;
    if (handler?.opened !== undefined) {
      try {
        handler.opened(websocket, request);
      } catch (error) {
        failHandler(websocket, handler as Handler<WebSocket>, error);
      }
    }
    callback(websocket, request);
  }

  /**
   * What is agreed on, and the response that says so.
   *
   * @throws {TypeError} for a subprotocol or header line of the application's that can't be one
   */
  #respond(parsed: ParsedRequest, request: InstanceType<U>): Response101 {
    let compression: MessageDeflate | null = null;
    let extensions: string | undefined;
    if (this.#deflate !== null && parsed.extensions.length > 0) {
      const parameters = acceptOffer(parsed.extensions, this.#deflate);
      if (parameters !== undefined) {
        compression = new MessageDeflate('server', parameters, this.#deflate);
        extensions = formatParameters(parameters);
      }
    }
    const protocol = this.#chooseProtocol(parsed.protocols, request);
    let head = formatResponse({ key: parsed.key, protocol, extensions });
    if (this.listenerCount('headers') > 0) {
      const lines = head.slice(0, -4).split('\r\n');
      this.emit('headers', lines, request);
      head = `${lines.map(checkLine).join('\r\n')}\r\n\r\n`;
    }
    return { head, protocol, compression };
  }

  #chooseProtocol(offered: string[], request: InstanceType<U>): string {
    if (offered.length === 0) return '';
    const { handleProtocols } = this.options;
    if (!handleProtocols) return offered[0]!;
    return handleProtocols(new Set(offered), request) || '';
  }

  // ── to many ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Sends one message to all clients, or to those that `filter` lets through. It is encoded and compressed
   * once, and what is broadcast within one turn of the event loop goes out in one write for each client.
   *
   * @throws {Error} without `clientTracking`
   */
  broadcast(message: Sendable | PreparedMessage, filter?: (client: InstanceType<T>) => boolean): void {
    const { clients } = this;
    if (clients === undefined) throw new Error('broadcast() needs the option clientTracking');
    const prepared = PreparedMessage.of(message);
    this.#everybody ??= this.#gather(clients);
    if (filter === undefined) {
      this.#everybody.publish(prepared);
      return;
    }
    const excluded: Member[] = [];
    const included: WebSocket[] = [];
    for (const client of clients) {
      if (filter(client)) included.push(client);
      else excluded.push(connectionOf(client)!);
    }
    if (excluded.length <= included.length) {
      this.#everybody.publish(prepared, excluded);
    } else {
      for (const client of included) if (client.readyState === 1) client.send(prepared);
    }
  }

  #gather(clients: Set<InstanceType<T>>): Audience {
    const audience = new Audience(this.#encode);
    for (const client of clients) audience.add(connectionOf(client)!);
    return audience;
  }

  /**
   * Sends one message to all connections that have subscribed to the topic; otherwise as `broadcast`.
   *
   * @returns to how many
   */
  publish(topic: string, message: Sendable | PreparedMessage): number {
    if (this.#topics === undefined) return 0;
    return this.#topics.publish(topic, PreparedMessage.of(message));
  }

  subscribe(websocket: WebSocket, topic: string): void {
    this.#topics ??= new Topics(this.#encode);
    this.#topics.subscribe(connectionOf(websocket)!, topic);
  }

  unsubscribe(websocket: WebSocket, topic: string): void {
    this.#topics?.unsubscribe(connectionOf(websocket)!, topic);
  }

  closed(websocket: WebSocket, code: number): void {
    const connection = connectionOf(websocket)!;
    this.#topics?.forget(connection);
    if (diagnostics.closed.hasSubscribers) diagnostics.closed.publish({ websocket, code });
    if (this.clients === undefined) return;
    this.clients.delete(websocket as InstanceType<T>);
    this.#everybody?.delete(connection);
    if (this.#closesWithLastClient && this.clients.size === 0) nextTick(() => this.#emitClose());
  }

  // ── the end ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes no more connections. With a callback it is ws's: the clients are left alone, and `close` is
   * emitted when the last one has gone. With options the clients are closed too, and the promise resolves
   * when they have gone.
   */
  close(callback?: (error?: Error) => void): void;
  close(options: CloseOptions): Promise<void>;
  close(argument?: CloseOptions | ((error?: Error) => void)): void | Promise<void> {
    if (typeof argument === 'object') return this.#closeClients(argument);
    if (this.#state === 'closed') {
      if (argument !== undefined) this.once('close', () => argument(new Error('The server is not running')));
      nextTick(() => this.#emitClose());
      return undefined;
    }
    if (argument !== undefined) this.once('close', argument);
    if (this.#state === 'closing') return undefined;
    this.#state = 'closing';
    const own = this.#ownListener;
    this.#detach?.();
    this.#detach = null;
    this.#server = null;
    this.#ownListener = null;
    if (own !== null) {
      own.removeAllListeners('listening');
      own.close(() => this.#emitClose());
      own.endArrivals();
    } else if (this.clients !== undefined && this.clients.size > 0) {
      this.#closesWithLastClient = true;
    } else {
      nextTick(() => this.#emitClose());
    }
    return undefined;
  }

  async #closeClients({ code = 1001, reason = '', drain = 0 }: CloseOptions): Promise<void> {
    const closed = new Promise<void>((resolve) => this.close(() => resolve()));
    const clients = [...(this.clients ?? [])];
    const perStep = Math.ceil(clients.length / Math.max(1, drain / DRAIN_STEP_MS));
    for (let i = 0; i < clients.length; i++) {
      clients[i]!.close(code, reason);
      if ((i + 1) % perStep === 0 && drain > 0) await new Promise((r) => setTimeout(r, DRAIN_STEP_MS));
    }
    await closed;
  }

  #emitClose(): void {
    this.#state = 'closed';
    this.emit('close');
  }
}

/** How often some of the clients are closed while draining. */
const DRAIN_STEP_MS = 100;

function destroySocket(this: Duplex): void {
  this.destroy();
}

/** What a listener adds must not be two lines. */
function checkLine(text: string): string {
  if (/[\r\n\0]/.test(text)) throw new TypeError(`Not a header line: ${JSON.stringify(text)}`);
  return text;
}
