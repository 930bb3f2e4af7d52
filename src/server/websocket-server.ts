/**
 * `WebSocketServer`: the public API of ws 8 for servers, on an http.Server of the application's, on a port
 * of its own, or on sockets that it is handed; with interceptors, broadcast, topics, heartbeat, and a close
 * that waits.
 */

import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Server as NetServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, Server as TlsServer } from 'node:tls';
import { clearTimeout, nextTick, setTimeout } from '../clock.ts';
import {
  Acceptor,
  type AcceptorOptions,
  DEFAULT_HANDSHAKE_TIMEOUT,
  type UpgradeCallback,
} from './acceptor.ts';
import type { Sendable } from './data.ts';
import * as diagnostics from './diagnostics.ts';
import { TypedEmitter } from './emitter.ts';
import { Audience, type Member } from './fan-out.ts';
import { checkClose, checkCount, checkInterceptors, checkMilliseconds, checkOthers } from './options.ts';
import { PreparedMessage } from './prepared-message.ts';
import { createRawListener, type RawListener } from './raw-listener.ts';
import { requestTarget } from './request-target.ts';
import { throwLater } from './throw-later.ts';
import { withCertificate } from './tls-port.ts';
import { Topics } from './topics.ts';
import type { Traffic } from './traffic.ts';
import { addRoute, type UpgradableServer } from './upgrade-router.ts';
import { type Company, connectionOf, WebSocket } from './websocket.ts';
import type {
  CloseOptions,
  WebSocketServerEvents,
  WebSocketServerOptions,
} from './websocket-server-options.ts';

type State = 'running' | 'closing' | 'closed';

/** What a server is made of, behind its public face. */
interface Inside {
  readonly acceptor: Acceptor;
  readonly topics: Topics;
  /** The audience of `broadcast`, once there is one. */
  everybody: Audience | undefined;
  /** What the port's address is asked of. */
  server: NetServer | null;
  ownListener: RawListener | null;
  detach: (() => void) | null;
  state: State;
  /** The object that `close` was called on, while its last clients are waited for. */
  waiting: WebSocketServer | null;
  /** The request that `shouldHandle` was asked about for the router, and what it has thrown. */
  asked: { request: IncomingMessage; thrown?: unknown } | null;
}

// A symbol, as what is named with `#` is not there for a Proxy of a server.
const kInside = Symbol('inside');

/** Module-internal: what came and went by all connections of a server. */
export let trafficOf: (server: WebSocketServer) => Traffic;

/** Module-internal: see Acceptor. */
export let streamsOf: (server: WebSocketServer) => Acceptor['streams'];

/** Module-internal: see Acceptor. */
export let turnedAwayBy: (server: WebSocketServer) => Acceptor['turnedAway'];

/** What ws says about options that are not given. */
const DEFAULTS = {
  allowSynchronousEvents: true,
  autoPong: true,
  maxPayload: 100 * 1024 * 1024,
  skipUTF8Validation: false,
  perMessageDeflate: false,
  handleProtocols: null,
  clientTracking: true,
  closeTimeout: 30_000,
  verifyClient: null,
  noServer: false,
  WebSocket,
} satisfies WebSocketServerOptions;

/**
 * A server of WebSockets, with the interface of ws 8: on a port, on an http.Server, or on sockets that it is
 * given.
 */
export class WebSocketServer<
  T extends typeof WebSocket = typeof WebSocket,
  U extends typeof IncomingMessage = typeof IncomingMessage,
> extends TypedEmitter<WebSocketServerEvents<InstanceType<T>, InstanceType<U>>> {
  /** What is set here later holds for the connections that come then, but for where the server listens. */
  readonly options: WebSocketServerOptions<T, U>;
  /** The open connections. Undefined without `clientTracking`, as in ws, whatever its type says. */
  readonly clients: Set<InstanceType<T>>;
  private readonly [kInside]: Inside;

  static {
    trafficOf = (server) => server[kInside].acceptor.traffic;
    streamsOf = (server) => server[kInside].acceptor.streams;
    turnedAwayBy = (server) => server[kInside].acceptor.turnedAway;
  }

  /**
   * @param callback called when the port is open
   * @throws {TypeError} unless exactly one of `port`, `server` and `noServer` is given
   * @throws {RangeError} for an option that can't be one
   */
  constructor(options: WebSocketServerOptions<T, U> = {}, callback?: () => void) {
    super();
    const { port, server, noServer } = options;
    if (Number(port != null) + Number(Boolean(server)) + Number(Boolean(noServer)) !== 1) {
      throw new TypeError(
        'One and only one of the "port", "server", or "noServer" options must be specified',
      );
    }
    this.options = { ...(DEFAULTS as WebSocketServerOptions<T, U>), ...options };
    this.clients = (this.options.clientTracking ? new Set() : undefined) as Set<InstanceType<T>>;
    checkInterceptors(options.interceptors);
    checkOthers(options.others);
    if (options.tls && port == null) {
      throw new TypeError('"tls" is for a "port" of its own: a "server" has TLS, or has not');
    }
    checkCount('maxConnections', options.maxConnections);
    checkCount('maxStreams', options.maxStreams);
    checkCount('maxHeadBytes', options.maxHeadBytes);
    checkCount('maxHeadFields', options.maxHeadFields);
    // Wherever the acceptor and its connections have to call, they call what is here by name.
    const company: Company = {
      topics: new Topics((message, form) => this[kInside].acceptor.encode(message, form)),
      left: (websocket, code) => WebSocketServer.#left(this, websocket, code),
    };
    const isRunning = (): boolean => this[kInside].state === 'running';
    const acceptor = new Acceptor({
      options: this.options as AcceptorOptions,
      company,
      get isRunning() {
        return isRunning();
      },
      matches: (request) => WebSocketServer.#matches(this, request),
      malformed: (error, socket, request) =>
        this.listenerCount('wsClientError') > 0 && this.emit('wsClientError', error, socket, request),
      headers: (lines, request) => {
        this.emit('headers', lines, request);
      },
      joined: (websocket) => {
        if (this.clients === undefined) return;
        this.clients.add(websocket as InstanceType<T>);
        this[kInside].everybody?.add(connectionOf(websocket)!);
      },
    });
    this[kInside] = {
      acceptor,
      topics: company.topics,
      everybody: undefined,
      server: null,
      ownListener: null,
      detach: null,
      state: 'running',
      waiting: null,
      asked: null,
    };
    if (port != null) WebSocketServer.#listen(this, port, callback);
    else if (server) WebSocketServer.#embed(this, server);
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
    return this[kInside].server === null ? null : this[kInside].server.address();
  }

  /**
   * Renews the certificate of a port of our own: for connections that come from now on.
   *
   * @param options as of `tls`
   * @throws {Error} for what can't be one, which changes nothing, and without `tls`
   */
  setSecureContext(options: SecureContextOptions): void {
    const listener = this[kInside].ownListener;
    if (listener === null || !('setSecureContext' in listener)) {
      throw new Error('There is no port of its own that speaks TLS');
    }
    withCertificate(() => (listener as RawListener & TlsServer).setSecureContext(options));
  }

  static #listen(wss: WebSocketServer, port: number, callback: (() => void) | undefined): void {
    const { host, backlog, maxHeadBytes, maxHeadFields, markup, request, handshakeTimeout } = wss.options;
    const { tls, http2, maxStreams } = wss.options;
    const listener = createRawListener({
      tls: tls ?? undefined,
      http2: http2 !== false,
      maxStreams,
      handshakeTimeout: handshakeTimeout ?? DEFAULT_HANDSHAKE_TIMEOUT,
      maxHeadBytes,
      maxHeadFields,
      markup,
      request,
      sharesReads: wss.options.sharedReads !== false,
      upgrade: (incoming, socket, head) => WebSocketServer.#upgrade(wss, incoming, socket, head),
    });
    const { maxConnections = Number.POSITIVE_INFINITY } = wss.options;
    if (maxConnections !== Number.POSITIVE_INFINITY) listener.maxConnections = maxConnections;
    wss[kInside].ownListener = listener;
    wss[kInside].server = listener;
    listener.on('listening', () => wss.emit('listening'));
    listener.on('error', (error) => wss.emit('error', error));
    listener.listen({ port, host, backlog }, callback);
  }

  static #embed(wss: WebSocketServer, server: UpgradableServer): void {
    wss[kInside].server = server;
    const onListening = (): void => {
      wss.emit('listening');
    };
    const onError = (error: Error): void => {
      wss.emit('error', error);
    };
    server.on('listening', onListening);
    server.on('error', onError);
    const removeRoute = addRoute(server, {
      refusesOthers: wss.options.others !== 'ignore',
      matches: (request) => WebSocketServer.#ask(wss, request),
      upgrade: (request, socket, head) => WebSocketServer.#upgrade(wss, request, socket, head),
    });
    wss[kInside].detach = () => {
      removeRoute();
      server.removeListener('listening', onListening);
      server.removeListener('error', onError);
    };
  }

  /** Through the public method, as a class of the application's may have its own. */
  static #upgrade(wss: WebSocketServer, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    try {
      wss.handleUpgrade(request, socket, head, (websocket) => {
        wss.emit('connection', websocket, request);
      });
    } catch (error) {
      throwLater(error);
    }
  }

  /** For the router. What `shouldHandle` throws makes the request this server's, so that it answers. */
  static #ask(wss: WebSocketServer, request: IncomingMessage): boolean {
    try {
      if (!wss.shouldHandle(request)) return false;
      wss[kInside].asked = { request };
    } catch (thrown) {
      wss[kInside].asked = { request, thrown };
    }
    return true;
  }

  /** For the acceptor. `shouldHandle` is asked once about each upgrade. */
  static #matches(wss: WebSocketServer, request: IncomingMessage): boolean {
    const { asked } = wss[kInside];
    wss[kInside].asked = null;
    if (asked?.request !== request) return Boolean(wss.shouldHandle(request));
    if ('thrown' in asked) throw asked.thrown;
    return true;
  }

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
   * @throws {Error} for a socket that was upgraded before
   */
  handleUpgrade(
    request: InstanceType<U>,
    socket: Duplex,
    head: Buffer,
    callback: (websocket: InstanceType<T>, request: InstanceType<U>) => void,
  ): void {
    this[kInside].acceptor.accept(request, socket, head, callback as UpgradeCallback);
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
    const inside = this[kInside];
    inside.everybody ??= WebSocketServer.#gather(this);
    if (filter === undefined) {
      inside.everybody.publish(prepared);
      return;
    }
    const excluded: Member[] = [];
    const included: WebSocket[] = [];
    for (const client of clients) {
      if (filter(client)) included.push(client);
      else excluded.push(connectionOf(client)!);
    }
    if (excluded.length <= included.length) {
      inside.everybody.publish(prepared, excluded);
    } else {
      for (const client of included) if (client.readyState === 1) client.send(prepared);
    }
  }

  static #gather(wss: WebSocketServer): Audience {
    const audience = new Audience(wss[kInside].acceptor.encode);
    for (const client of wss.clients) audience.add(connectionOf(client)!);
    return audience;
  }

  /**
   * Sends one message to all connections that have subscribed to the topic; otherwise as `broadcast`.
   *
   * @returns to how many
   */
  publish(topic: string, message: Sendable | PreparedMessage): number {
    return this[kInside].topics.publish(topic, PreparedMessage.of(message));
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
    if (typeof argument === 'object' && argument !== null)
      return WebSocketServer.#closeClients(this, argument);
    const inside = this[kInside];
    if (inside.state === 'closed') {
      if (argument) this.once('close', () => argument(new Error('The server is not running')));
      nextTick(() => WebSocketServer.#emitClose(this));
      return undefined;
    }
    if (argument) this.once('close', argument);
    if (inside.state === 'closing') return undefined;
    inside.state = 'closing';
    const own = inside.ownListener;
    inside.detach?.();
    inside.detach = null;
    inside.server = null;
    inside.ownListener = null;
    if (own === null) {
      WebSocketServer.#closeWithLastClient(this);
    } else {
      own.removeAllListeners('listening');
      own.close(() => WebSocketServer.#closeWithLastClient(this));
      own.endArrivals();
    }
    return undefined;
  }

  static async #closeClients(wss: WebSocketServer, options: CloseOptions): Promise<void> {
    const { code = 1001, reason = '', drain = 0, deadline } = options;
    checkClose(code, reason);
    checkMilliseconds('drain', drain);
    checkMilliseconds('deadline', deadline);
    const closed = new Promise<void>((resolve) => wss.close(() => resolve()));
    const clients = [...(wss.clients ?? [])];
    let isLate = false;
    const cut = (): void => {
      isLate = true;
      for (const client of clients) client.terminate();
    };
    const timer = deadline == null ? undefined : setTimeout(cut, deadline);
    const perStep = Math.ceil(clients.length / Math.max(1, drain / DRAIN_STEP_MS));
    for (let i = 0; i < clients.length && !isLate; i++) {
      clients[i]!.close(code, reason);
      if ((i + 1) % perStep === 0 && drain > 0) await new Promise((r) => setTimeout(r, DRAIN_STEP_MS));
    }
    await closed;
    clearTimeout(timer);
  }

  /** The connection is over. */
  static #left(wss: WebSocketServer, websocket: WebSocket, code: number): void {
    if (diagnostics.closed.hasSubscribers) diagnostics.closed.publish({ websocket, code });
    const { clients } = wss;
    if (clients === undefined) return;
    clients.delete(websocket);
    const inside = wss[kInside];
    inside.everybody?.delete(connectionOf(websocket)!);
    const { waiting } = inside;
    if (waiting !== null && clients.size === 0) nextTick(() => WebSocketServer.#emitClose(waiting));
  }

  /** The sockets of clients may be gone before the clients are told. */
  static #closeWithLastClient(wss: WebSocketServer): void {
    if (wss.clients !== undefined && wss.clients.size > 0) wss[kInside].waiting = wss;
    else nextTick(() => WebSocketServer.#emitClose(wss));
  }

  static #emitClose(wss: WebSocketServer): void {
    wss[kInside].state = 'closed';
    wss.emit('close');
  }
}

/** How often some of the clients are closed while draining. */
const DRAIN_STEP_MS = 100;
