/**
 * `WebSocket`: the public API of ws 8 for one connection, either role, and what ws's users have asked for:
 * `send` that tells its result, `drain`, topics, partial messages, an async iterator.
 */

import type { EventEmitter } from 'node:events';
import type { ClientRequest, ClientRequestArgs, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { PeerCertificate } from 'node:tls';
import { nextTick } from '../clock.ts';
import type { ProtocolError } from '../protocol/errors.ts';
import { Opcode } from '../protocol/frame-writer.ts';
import type { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { ClientHandshake, type ClientOptions as OptionsOfClients } from './client.ts';
import {
  CLOSED,
  Connection,
  type ConnectionEvents,
  type ConnectionOptions,
  type SendOptions,
} from './connection.ts';
import { asBuffer, type Sendable, toArrayBuffer, toBytes } from './data.ts';
import * as diagnostics from './diagnostics.ts';
import { TypedEmitter } from './emitter.ts';
import {
  type EventListener,
  type EventListenerOptions,
  findAttribute,
  findWrapper,
  type WebSocketEventMap,
  wrapListener,
} from './events.ts';
import type { Heartbeat } from './heartbeat.ts';
import { PreparedMessage } from './prepared-message.ts';
import { type IteratedMessage, iterateMessages } from './stream.ts';
import type { Attributes, Handler, SendResult, Transport } from './transport.ts';

const READY_STATES = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'] as const;
const BINARY_TYPES = ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const;
export type BinaryType = (typeof BINARY_TYPES)[number];

/**
 * A message as `'message'` gives it: text is always a Buffer, binary is what `binaryType` says. With the
 * binaryType `blob` it is a Blob, which this type leaves out, as that of ws does.
 */
export type RawData = Buffer | ArrayBuffer | Buffer[];

type OwnOptions = OptionsOfClients<WebSocket>;
type Loose = 'checkServerIdentity' | 'createConnection' | 'protocolVersion';

/** As the client takes them, in types that take what was written for those of ws, too. */
export interface ClientOptions extends Omit<OwnOptions, Loose> {
  /** 13 or 8. Default 13. */
  protocolVersion?: number | undefined;
  /** As that of node:tls. */
  checkServerIdentity?(
    servername: string,
    certificate: PeerCertificate | CertMeta,
  ): boolean | Error | undefined;
  /** Makes the socket. Default: node:net and node:tls. */
  createConnection?(
    options: ClientRequestArgs,
    connected: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined;
  /** Without effect, as in ws: the address says it. */
  host?: string | undefined;
  /** Without effect, as in ws. */
  protocol?: string | undefined;
}

/** Certificates as the types of ws have them. */
export type CertMeta = string | string[] | Buffer | Buffer[];

export interface WebSocketEvents {
  open: [];
  message: [data: RawData, isBinary: boolean];
  /** With the option `partial`, in place of `message`: a piece as it came. Text is cut between characters. */
  fragment: [data: Buffer, isBinary: boolean, isLast: boolean];
  ping: [data: Buffer];
  pong: [data: Buffer];
  /** What `send` called `queued` is written. */
  drain: [];
  error: [error: Error];
  close: [code: number, reason: Buffer];
  // Clients only:
  upgrade: [response: IncomingMessage];
  redirect: [url: string, request: ClientRequest];
  'unexpected-response': [request: ClientRequest, response: IncomingMessage];
}

export interface MessageOptions {
  /** Default: true for anything but a string. */
  binary?: boolean | undefined;
  /** Default true, where permessage-deflate was negotiated. */
  compress?: boolean | undefined;
  /** False for a part of a message of which more is to come. Default true. */
  fin?: boolean | undefined;
  /** Without effect: clients mask and servers don't (RFC 6455 §5.1). */
  mask?: boolean | undefined;
}

/** Called without an error once it is written. Its type is a method's, so that `(error: Error) => void` will do, too. */
export type SendCallback = { call(error?: Error): void }['call'];

/** What a server hands its side of an accepted connection. */
export interface AcceptedConnection {
  socket: Duplex;
  /** Bytes behind the opening handshake. */
  head: Buffer;
  protocol: string;
  compression: MessageDeflate | null;
  options: ConnectionOptions;
  heartbeat: Heartbeat | null;
  attributes: Attributes | undefined;
  handler: Handler<WebSocket> | undefined;
  /** The same object for all connections of a server. */
  lifecycle: Lifecycle;
}

/** What a server needs to know of its connections. */
export interface Lifecycle {
  /** The connection is over; `close` has not been emitted yet. */
  closed(websocket: WebSocket, code: number): void;
  subscribe(websocket: WebSocket, topic: string): void;
  unsubscribe(websocket: WebSocket, topic: string): void;
}

/** Module-internal: gives a server's WebSocket its connection. */
export let acceptConnection: (websocket: WebSocket, accepted: AcceptedConnection) => void;
/** Module-internal. */
export let connectionOf: (websocket: WebSocket) => Connection<WebSocket> | null;

const EMPTY = Buffer.alloc(0);
const WHOLE: SendOptions = { fin: true, compress: true };

export class WebSocket extends TypedEmitter<WebSocketEvents> implements Transport {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static readonly CLOSED = 3;

  declare readonly CONNECTING: 0;
  declare readonly OPEN: 1;
  declare readonly CLOSING: 2;
  declare readonly CLOSED: 3;

  #connection: Connection<WebSocket> | null = null;
  /** The state while there is no connection. */
  #state: 0 | 2 | 3 = 0;
  #handshake: ClientHandshake<WebSocket> | null = null;
  #binaryType: BinaryType = 'nodebuffer';
  #protocol = '';
  #extensions = '';
  #url: string | undefined;
  #attributes: Attributes | undefined;
  #handler: Handler<WebSocket> | undefined;
  #lifecycle: Lifecycle | null = null;
  /** Bytes given to `send` when it was too late (the standard's bufferedAmount counts them). */
  #unsentBytes = 0;

  /**
   * Connects to a server; null makes the object that a WebSocketServer fills.
   *
   * @throws {SyntaxError} for an address or a subprotocol that can't be one
   */
  constructor(address: string | URL | null, options?: ClientOptions | ClientRequestArgs);
  constructor(
    address: string | URL | null,
    protocols?: string | string[],
    options?: ClientOptions | ClientRequestArgs,
  );
  constructor(
    address: string | URL | null,
    protocols?: string | string[] | ClientOptions | ClientRequestArgs,
    options?: ClientOptions | ClientRequestArgs,
  ) {
    super();
    if (address === null) return;
    const isOptions = typeof protocols === 'object' && protocols !== null && !Array.isArray(protocols);
    const settings = ((isOptions ? protocols : options) ?? {}) as OwnOptions;
    this.#handshake = new ClientHandshake<WebSocket>(address, isOptions ? undefined : protocols, settings, {
      websocket: this,
      url: (url) => {
        this.#url = url;
      },
      opened: (parts) => {
        this.#handshake = null;
        this.#protocol = parts.protocol;
        this.#begin(parts.socket, parts.compression, parts.options, parts.heartbeat);
        this.#connection!.start(parts.head);
        this.emit('open');
      },
      closing: () => {
        this.#state = 2;
      },
      failed: (error) => {
        this.#handshake = null;
        this.#state = 2;
        this.#emitError(error, true);
        this.#state = 3;
        this.emit('close', 1006, EMPTY);
      },
    });
    this.#handshake.start();
  }

  get readyState(): 0 | 1 | 2 | 3 {
    return this.#connection === null ? this.#state : this.#connection.state;
  }

  /** The subprotocol; empty where there is none. */
  get protocol(): string {
    return this.#protocol;
  }

  get extensions(): string {
    return this.#extensions;
  }

  /** The address connected to, after redirects. On the server it is undefined, whatever the type says for ws's sake. */
  get url(): string {
    return this.#url as string;
  }

  get bufferedAmount(): number {
    return this.#unsentBytes + (this.#connection === null ? 0 : this.#connection.bufferedAmount);
  }

  get isPaused(): boolean {
    return this.#connection?.isPaused ?? false;
  }

  /** What interceptors have put there, and the application may. */
  get attributes(): Attributes {
    this.#attributes ??= {};
    return this.#attributes;
  }

  /** The shape of binary messages. */
  get binaryType(): BinaryType {
    return this.#binaryType;
  }

  set binaryType(type: BinaryType) {
    if (BINARY_TYPES.includes(type)) this.#binaryType = type;
  }

  /** The socket, once open: what many programs read `remoteAddress` from, under the name that ws gave it. */
  get _socket(): Duplex | null {
    return this.#connection === null ? null : this.#connection.socket;
  }

  // ── sending ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Sends a message. A string goes as text, anything else as binary.
   *
   * @param callback called when it is written, or with the error that kept it from that
   * @returns what became of it: see SendResult; after `queued` comes the event `drain`
   * @throws {Error} while connecting
   */
  send(data: Sendable | Blob | PreparedMessage, callback?: SendCallback): SendResult;
  send(
    data: Sendable | Blob | PreparedMessage,
    options?: MessageOptions,
    callback?: SendCallback,
  ): SendResult;
  send(
    data: Sendable | Blob | PreparedMessage,
    options?: MessageOptions | SendCallback,
    callback?: SendCallback,
  ): SendResult {
    let done = callback;
    let settings: MessageOptions | undefined;
    if (typeof options === 'function') done = options;
    else settings = options;
    const connection = this.#connection;
    if (connection === null || connection.state !== 1) return this.#refuse(data, done);
    const frame =
      settings === undefined || (settings.fin === undefined && settings.compress === undefined)
        ? WHOLE
        : { fin: settings.fin ?? true, compress: settings.compress ?? true };
    if (typeof data === 'string') return connection.send(data, settings?.binary ?? false, frame, done);
    if (data instanceof Uint8Array) return connection.send(data, settings?.binary ?? true, frame, done);
    if (data instanceof PreparedMessage) return connection.sendPrepared(data, done);
    if (data instanceof Blob) {
      return connection.sendLater(data.size, data.arrayBuffer().then(toBytes), frame, done);
    }
    // As ws: a number is its digits as text, nothing at all is an empty binary message.
    const payload = typeof data === 'number' ? String(data) : toBytes(data ?? EMPTY);
    return connection.send(payload, settings?.binary ?? typeof data !== 'number', frame, done);
  }

  /**
   * Sends a ping (RFC 6455 §5.5.2).
   *
   * @throws {RangeError} for more than 125 bytes
   */
  ping(data?: Sendable | null, mask?: boolean, callback?: SendCallback): void;
  ping(callback: SendCallback): void;
  ping(data?: Sendable | SendCallback | null, mask?: boolean | SendCallback, callback?: SendCallback): void {
    this.#sendControl(Opcode.PING, data, mask, callback);
  }

  /**
   * Sends an unsolicited pong (RFC 6455 §5.5.3); pings are answered by themselves.
   *
   * @throws {RangeError} for more than 125 bytes
   */
  pong(data?: Sendable | null, mask?: boolean, callback?: SendCallback): void;
  pong(callback: SendCallback): void;
  pong(data?: Sendable | SendCallback | null, mask?: boolean | SendCallback, callback?: SendCallback): void {
    this.#sendControl(Opcode.PONG, data, mask, callback);
  }

  #sendControl(
    opcode: number,
    data: Sendable | SendCallback | null | undefined,
    mask: boolean | SendCallback | undefined,
    callback: SendCallback | undefined,
  ): void {
    let done = callback;
    let content: Sendable = '';
    if (typeof data === 'function') done = data as SendCallback;
    else if (data !== undefined && data !== null) content = data as Sendable;
    if (typeof mask === 'function') done = mask;
    const connection = this.#connection;
    if (connection === null || connection.state !== 1) {
      this.#refuse(content, done);
      return;
    }
    const payload = toBytes(content);
    if (payload.length > 125) throw new RangeError('The data size must not be greater than 125 bytes');
    connection.control(opcode, payload, done);
  }

  /** It is not open. */
  #refuse(data: Sendable | Blob | PreparedMessage, callback: SendCallback | undefined): SendResult {
    const { readyState } = this;
    const message = `WebSocket is not open: readyState ${readyState} (${READY_STATES[readyState]})`;
    if (readyState === 0) throw new Error(message);
    if (data instanceof PreparedMessage) this.#unsentBytes += data.payload.length;
    else if (data instanceof Blob) this.#unsentBytes += data.size;
    else if (data) this.#unsentBytes += toBytes(data).length;
    if (callback !== undefined) nextTick(callback, new Error(message));
    return 'dropped';
  }

  // ── closing ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Begins the closing handshake; while connecting, gives up.
   *
   * @param reason at most 123 bytes
   */
  close(code?: number, reason?: string | Uint8Array): void {
    if (this.#connection !== null) this.#connection.close(code, reason);
    else if (this.#handshake !== null && this.#state === 0) this.#abort();
  }

  terminate(): void {
    if (this.#connection !== null) this.#connection.terminate();
    else if (this.#handshake !== null && this.#state === 0) this.#abort();
  }

  #abort(): void {
    this.#handshake!.abort(new Error('WebSocket was closed before the connection was established'));
  }

  /** Stops reading. A message that is being handed out when this is called still is the last one. */
  pause(): void {
    this.#connection?.pause();
  }

  resume(): void {
    this.#connection?.resume();
  }

  /**
   * From here on gets what `server.publish` sends to this topic.
   *
   * @throws {Error} on a client: topics are the server's
   */
  subscribe(topic: string): void {
    if (this.#lifecycle === null) throw new Error('Only a connection of a WebSocketServer can subscribe');
    if (this.readyState === 1) this.#lifecycle.subscribe(this, topic);
  }

  unsubscribe(topic: string): void {
    this.#lifecycle?.unsubscribe(this, topic);
  }

  // ── EventTarget ──────────────────────────────────────────────────────────────────────────────────

  addEventListener<K extends keyof WebSocketEventMap>(
    type: K,
    listener: EventListener<WebSocketEventMap[K]>,
    options: EventListenerOptions = {},
  ): void {
    if (!isEventName(type) || findWrapper(this.listeners(type), listener) !== undefined) return;
    const wrapper = wrapListener(type, listener as EventListener<never>, false, wasClean);
    if (options.once) untyped(this).once(type, wrapper);
    else untyped(this).on(type, wrapper);
  }

  removeEventListener<K extends keyof WebSocketEventMap>(
    type: K,
    listener: EventListener<WebSocketEventMap[K]>,
  ): void {
    if (!isEventName(type)) return;
    const wrapper = findWrapper(this.listeners(type), listener);
    if (wrapper !== undefined) untyped(this).removeListener(type, wrapper);
  }

  get onopen(): ((event: WebSocketEventMap['open']) => void) | null {
    return this.#attribute('open');
  }
  set onopen(listener: ((event: WebSocketEventMap['open']) => void) | null) {
    this.#setAttribute('open', listener);
  }
  get onmessage(): ((event: WebSocketEventMap['message']) => void) | null {
    return this.#attribute('message');
  }
  set onmessage(listener: ((event: WebSocketEventMap['message']) => void) | null) {
    this.#setAttribute('message', listener);
  }
  get onclose(): ((event: WebSocketEventMap['close']) => void) | null {
    return this.#attribute('close');
  }
  set onclose(listener: ((event: WebSocketEventMap['close']) => void) | null) {
    this.#setAttribute('close', listener);
  }
  get onerror(): ((event: WebSocketEventMap['error']) => void) | null {
    return this.#attribute('error');
  }
  set onerror(listener: ((event: WebSocketEventMap['error']) => void) | null) {
    this.#setAttribute('error', listener);
  }

  #attribute<K extends keyof WebSocketEventMap>(type: K): ((event: WebSocketEventMap[K]) => void) | null {
    const found = findAttribute(this.listeners(type));
    return found === undefined ? null : (found.listener as (event: WebSocketEventMap[K]) => void);
  }

  #setAttribute(type: keyof WebSocketEventMap, listener: unknown): void {
    const old = findAttribute(this.listeners(type));
    if (old !== undefined) untyped(this).removeListener(type, old.wrapper);
    if (typeof listener !== 'function') return;
    untyped(this).on(type, wrapListener(type, listener as (event: never) => void, true, wasClean));
  }

  /**
   * The messages, text as strings and binary as Buffers, until the connection closes. Whoever takes them
   * slowly slows the peer down.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<IteratedMessage> {
    return iterateMessages(this);
  }

  // ── the connection ───────────────────────────────────────────────────────────────────────────────

  #begin(
    socket: Duplex,
    compression: MessageDeflate | null,
    options: ConnectionOptions,
    heartbeat: Heartbeat | null,
  ): void {
    if (compression !== null) this.#extensions = 'permessage-deflate';
    this.#connection = new Connection<WebSocket>(
      socket,
      this,
      WebSocket.#events,
      options,
      compression,
      heartbeat,
    );
  }

  /** A missing listener must not be what ends the process because of bytes that came from elsewhere. */
  #emitError(error: Error, warns: boolean): void {
    if (this.listenerCount('error') > 0) this.emit('error', error);
    else if (warns) {
      process.emitWarning(`${error.message} (${this.#url ?? 'server'}); listen for 'error' to handle it`, {
        type: 'WebSocketWarning',
      });
    }
  }

  static readonly #events: ConnectionEvents<WebSocket> = {
    message(ws, data, isBinary) {
      const handler = ws.#handler;
      if (handler?.message !== undefined) {
        try {
          handler.message(ws, data, isBinary);
        } catch (error) {
          failHandler(ws, handler, error);
        }
      } else if (!isBinary || ws.#binaryType === 'nodebuffer') {
        ws.emit('message', data, isBinary);
      } else {
        ws.emit('message', shape(data, ws.#binaryType), true);
      }
    },
    fragment(ws, data, isBinary, isLast) {
      const handler = ws.#handler;
      if (handler?.fragment === undefined) {
        ws.emit('fragment', data, isBinary, isLast);
        return;
      }
      try {
        handler.fragment(ws, data, isBinary, isLast);
      } catch (error) {
        failHandler(ws, handler, error);
      }
    },
    ping(ws, data) {
      ws.emit('ping', data);
    },
    pong(ws, data) {
      ws.emit('pong', data);
    },
    protocolError(ws, error: ProtocolError) {
      if (diagnostics.failed.hasSubscribers) diagnostics.failed.publish({ websocket: ws, error });
      tellHandler(() => ws.#handler?.transportError?.(ws, error));
      ws.#emitError(error, false);
    },
    socketError(ws, error) {
      tellHandler(() => ws.#handler?.transportError?.(ws, error));
    },
    drain(ws) {
      ws.emit('drain');
    },
    closed(ws, code, reason) {
      ws.#lifecycle?.closed(ws, code);
      tellHandler(() => ws.#handler?.closed?.(ws, code, reason));
      ws.emit('close', code, reason === '' ? EMPTY : Buffer.from(reason));
    },
  };

  static {
    acceptConnection = (ws, accepted) => {
      ws.#lifecycle = accepted.lifecycle;
      ws.#protocol = accepted.protocol;
      ws.#attributes = accepted.attributes;
      ws.#handler = accepted.handler;
      ws.#begin(accepted.socket, accepted.compression, accepted.options, accepted.heartbeat);
      ws.#connection!.start(accepted.head);
    };
    connectionOf = (ws) => ws.#connection;
  }
}

// Behind the class: in its static block the compiler names the class by a variable that is not set yet.
for (const [value, name] of READY_STATES.entries()) {
  Object.defineProperty(WebSocket.prototype, name, { enumerable: true, value });
}

/** For listeners whose event is only known when the program runs. */
function untyped(websocket: WebSocket): EventEmitter {
  return websocket as unknown as EventEmitter;
}

/** Where a handler fails at the end of its session there is nobody left to be told. */
function tellHandler(call: () => void): void {
  try {
    call();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
}

/** What a handler throws ends its own session with 1011 (RFC 6455 §7.4.1), and nothing else. */
export function failHandler(websocket: WebSocket, handler: Handler<WebSocket>, thrown: unknown): void {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  tellHandler(() => handler.transportError?.(websocket, error));
  websocket.close(1011, 'internal error');
}

function isEventName(type: string): type is keyof WebSocketEventMap {
  return type === 'message' || type === 'close' || type === 'error' || type === 'open';
}

function wasClean(websocket: WebSocket): boolean {
  const connection = connectionOf(websocket);
  return connection !== null && connection.state === CLOSED && connection.wasClean;
}

function shape(data: Buffer, type: BinaryType): RawData {
  if (type === 'arraybuffer') return toArrayBuffer(data);
  if (type === 'blob') return new Blob([toArrayBuffer(data)]) as unknown as ArrayBuffer;
  return [asBuffer(data)];
}
