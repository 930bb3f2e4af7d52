/**
 * `WebSocket`: the public API of ws 8 for one connection, either role, and what ws's users have asked for:
 * `send` that tells its result, `drain`, topics, partial messages, an async iterator.
 */

import type { EventEmitter } from 'node:events';
import type { ClientRequestArgs, OutgoingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import type { PeerCertificate } from 'node:tls';
import { nextTick } from '../clock.ts';
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
import { bytesOf, isBlob, type Sendable, toBytes } from './data.ts';
import * as diagnostics from './diagnostics.ts';
import { TypedEmitter } from './emitter.ts';
import {
  addEventListener,
  defineEventAttributes,
  type EventListener,
  type EventListenerOptions,
  type EventMap,
  kWasClean,
  removeEventListener,
} from './event-target.ts';
import { tellHandler, whenRejected } from './handler-calls.ts';
import type { Heartbeat } from './heartbeat.ts';
import { type IteratedMessage, iterateMessages } from './message-iterator.ts';
import { checkClientOptions } from './options.ts';
import { PreparedMessage } from './prepared-message.ts';
import type { Topics } from './topics.ts';
import {
  type Attributes,
  dropWaiting,
  type Handler,
  type SendResult,
  sendSoon,
  type Transport,
} from './transport.ts';
import {
  BINARY_TYPES,
  type BinaryType,
  type CertMeta,
  type Data,
  type MessageOptions,
  type SendCallback,
  shape,
  type WebSocketEvents,
} from './websocket-data.ts';

const READY_STATES = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'] as const;

/** Events for `addEventListener`, by name. */
export type WebSocketEventMap = EventMap<WebSocket, Data>;
/** What listeners of `open` get. */
export type Event = WebSocketEventMap['open'];
/** What listeners of `message` get: the message is in `data`. */
export type MessageEvent = WebSocketEventMap['message'];
/** What listeners of `close` get: `code`, `reason` and `wasClean`. */
export type CloseEvent = WebSocketEventMap['close'];
/** What listeners of `error` get: `error` and its `message`. */
export type ErrorEvent = WebSocketEventMap['error'];

type OwnOptions = OptionsOfClients<WebSocket>;
type Loose = 'checkServerIdentity' | 'createConnection' | 'headers' | 'protocolVersion';

/** As the client takes them, in types that take what was written for those of ws, too. */
export interface ClientOptions extends Omit<OwnOptions, Loose> {
  /** More header lines, spelled like this on the wire. The constructor takes pairs, too, and a Headers object. */
  headers?: OutgoingHttpHeaders | undefined;
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

type AnyOptions =
  | ClientOptions
  | (Omit<ClientOptions, 'headers'> & Pick<OwnOptions, 'headers'>)
  | ClientRequestArgs;

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
  company: Company;
}

/** What all connections of a server share. */
export interface Company {
  readonly topics: Topics;
  /** The connection is over; `close` has not been emitted yet. */
  left(websocket: WebSocket, code: number): void;
}

/** Module-internal: gives a server's WebSocket its connection. */
export let acceptConnection: (websocket: WebSocket, accepted: AcceptedConnection) => void;
/** Module-internal. */
export let connectionOf: (websocket: WebSocket) => Connection<WebSocket> | null;
/**
 * Module-internal: what a server's handler has thrown ends its own session with 1011 (RFC 6455 §7.4.1), and
 * nothing else. The handler is told nothing more but the session's end.
 */
export let failHandler: (websocket: WebSocket, thrown: unknown) => void;

const EMPTY = Buffer.alloc(0);
const WHOLE: SendOptions = { fin: true, compress: true };
const PATIENT: SendOptions = { fin: true, compress: true, isPatient: true };

// Symbols, as what is named with `#` is not there for a Proxy of a WebSocket or an object made from one, and
// a plain name could be one that a class of the application's uses.
const kConnection = Symbol('connection');
/** The state while there is no connection. */
const kState = Symbol('state');
const kHandshake = Symbol('handshake');
const kIsPaused = Symbol('is paused');
const kBinaryType = Symbol('binary type');
const kProtocol = Symbol('protocol');
const kExtensions = Symbol('extensions');
const kUrl = Symbol('url');
const kAttributes = Symbol('attributes');
const kHandler = Symbol('handler');
const kCompany = Symbol('company');
/** Bytes given to `send` when it was too late (the standard's bufferedAmount counts them). */
const kUnsentBytes = Symbol('unsent bytes');

/** A connection (RFC 6455), of a client or of a server, with the interface of ws 8 and of the browser. */
export class WebSocket extends TypedEmitter<WebSocketEvents> implements Transport {
  /** A `readyState`: the opening handshake is under way. */
  declare static readonly CONNECTING: 0;
  /** A `readyState`: messages may be sent. */
  declare static readonly OPEN: 1;
  /** A `readyState`: the closing handshake is under way. */
  declare static readonly CLOSING: 2;
  /** A `readyState`: it is over, or could not be made. */
  declare static readonly CLOSED: 3;
  /** As `WebSocket.CONNECTING`: 0. */
  declare readonly CONNECTING: 0;
  /** As `WebSocket.OPEN`: 1. */
  declare readonly OPEN: 1;
  /** As `WebSocket.CLOSING`: 2. */
  declare readonly CLOSING: 2;
  /** As `WebSocket.CLOSED`: 3. */
  declare readonly CLOSED: 3;

  /** Called as a listener of `open`. Null takes it away; so it is with the next three. */
  declare onopen: ((event: WebSocketEventMap['open']) => void) | null;
  /** Called as a listener of `message`. */
  declare onmessage: ((event: WebSocketEventMap['message']) => void) | null;
  /** Called as a listener of `close`. */
  declare onclose: ((event: WebSocketEventMap['close']) => void) | null;
  /** Called as a listener of `error`. */
  declare onerror: ((event: WebSocketEventMap['error']) => void) | null;

  private [kConnection]: Connection<WebSocket> | null = null;
  private [kState]: 0 | 2 | 3 = 0;
  private [kHandshake]: ClientHandshake<WebSocket> | null = null;
  private [kIsPaused] = false;
  private [kBinaryType]: BinaryType = 'nodebuffer';
  private [kProtocol] = '';
  private [kExtensions] = '';
  private [kUrl]: string | undefined = undefined;
  private [kAttributes]: Attributes | undefined = undefined;
  private [kHandler]: Handler<WebSocket> | undefined = undefined;
  private [kCompany]: Company | null = null;
  private [kUnsentBytes] = 0;

  /**
   * Connects to a server; null makes the object that a WebSocketServer fills.
   *
   * @throws {SyntaxError} for an address or a subprotocol that can't be one
   * @throws {RangeError} for an option that can't be one
   */
  constructor(address: null, protocols?: undefined, options?: object);
  constructor(address: string | URL | null, options?: AnyOptions);
  constructor(address: string | URL | null, protocols?: string | string[], options?: AnyOptions);
  constructor(
    address: string | URL | null,
    protocols?: string | string[] | AnyOptions,
    options?: AnyOptions | object,
  ) {
    super();
    if (address === null) return;
    const isOptions = typeof protocols === 'object' && protocols !== null && !Array.isArray(protocols);
    const settings = ((isOptions ? protocols : options) ?? {}) as OwnOptions;
    checkClientOptions(settings);
    const wanted = isOptions ? undefined : protocols;
    this[kHandshake] = new ClientHandshake<WebSocket>(address, wanted, settings, {
      websocket: this,
      url: (url) => {
        this[kUrl] = url;
      },
      fellBack: (reason) => {
        this.fallbackReason = reason;
      },
      opened: (parts) => {
        this[kHandshake] = null;
        this[kProtocol] = parts.protocol;
        WebSocket.#begin(this, parts.socket, parts.compression, parts.options, parts.heartbeat).start(
          parts.head,
        );
        this.emit('open');
      },
      closing: () => {
        this[kState] = 2;
      },
      failed: (error) => {
        this[kHandshake] = null;
        this[kState] = 2;
        WebSocket.#emitError(this, error, true);
        this[kState] = 3;
        this.emit('close', 1006, EMPTY);
      },
    });
    this[kHandshake].start();
  }

  /** Why the connection is one of HTTP/1.1 although the option `http2` asked for a stream; undefined otherwise. */
  declare fallbackReason?: string;

  get readyState(): 0 | 1 | 2 | 3 {
    return this[kConnection] === null ? this[kState] : this[kConnection].state;
  }

  /** The subprotocol; empty where there is none. */
  get protocol(): string {
    return this[kProtocol];
  }

  /** The extensions in use, as the header says them; empty where there are none. */
  get extensions(): string {
    return this[kExtensions];
  }

  /** The address connected to, after redirects. Undefined on the server, as in ws, whatever its type says. */
  get url(): string {
    return this[kUrl] as string;
  }

  get bufferedAmount(): number {
    return this[kUnsentBytes] + (this[kConnection] === null ? 0 : this[kConnection].bufferedAmount);
  }

  get backlog(): number {
    return this[kConnection] === null ? 0 : this[kConnection].backlog;
  }

  /** Whether `pause` was called, and not `resume` since. */
  get isPaused(): boolean {
    return this[kIsPaused];
  }

  /** What interceptors have put there, and the application may. */
  get attributes(): Attributes {
    this[kAttributes] ??= {};
    return this[kAttributes];
  }

  /** The shape of binary messages. */
  get binaryType(): BinaryType {
    return this[kBinaryType];
  }

  set binaryType(type: BinaryType) {
    if (BINARY_TYPES.includes(type)) this[kBinaryType] = type;
  }

  /** The socket, once open: what many programs read `remoteAddress` from, under the name that ws gave it. */
  get _socket(): Duplex | null {
    return this[kConnection] === null ? null : this[kConnection].socket;
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
    else if (typeof options === 'object' && options !== null) settings = options;
    const connection = this[kConnection];
    if (connection === null || connection.state !== 1) return WebSocket.#refuse(this, data, done);
    const frame =
      settings === undefined || (settings.fin === undefined && settings.compress === undefined)
        ? WHOLE
        : { fin: settings.fin ?? true, compress: settings.compress ?? true };
    const isText = typeof data === 'string' || typeof data === 'number';
    // As ws: given as undefined it is not true, and that is text.
    const isBinary = settings !== undefined && 'binary' in settings ? Boolean(settings.binary) : !isText;
    if (typeof data === 'string' || data instanceof Uint8Array) {
      return connection.send(data, isBinary, frame, done);
    }
    if (data instanceof PreparedMessage) return connection.sendPrepared(data, done);
    if (isBlob(data)) return connection.sendLater(data.size, bytesOf(data), isBinary, frame, done);
    // As ws: a number is its digits, nothing at all is empty.
    return connection.send(isText ? String(data) : toBytes(data ?? EMPTY), isBinary, frame, done);
  }

  [sendSoon](data: string): void {
    const connection = this[kConnection];
    if (connection !== null && connection.state === 1) connection.send(data, false, PATIENT);
  }

  /**
   * Sends a ping (RFC 6455 §5.5.2).
   *
   * @throws {RangeError} for more than 125 bytes
   */
  ping(data?: Sendable | null, mask?: boolean, callback?: SendCallback): void;
  ping(callback: SendCallback): void;
  ping(data?: Sendable | SendCallback | null, mask?: boolean | SendCallback, callback?: SendCallback): void {
    WebSocket.#sendControl(this, Opcode.PING, data, mask, callback);
  }

  /**
   * Sends an unsolicited pong (RFC 6455 §5.5.3); pings are answered by themselves.
   *
   * @throws {RangeError} for more than 125 bytes
   */
  pong(data?: Sendable | null, mask?: boolean, callback?: SendCallback): void;
  pong(callback: SendCallback): void;
  pong(data?: Sendable | SendCallback | null, mask?: boolean | SendCallback, callback?: SendCallback): void {
    WebSocket.#sendControl(this, Opcode.PONG, data, mask, callback);
  }

  static #sendControl(
    ws: WebSocket,
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
    const connection = ws[kConnection];
    if (connection === null || connection.state !== 1) {
      WebSocket.#refuse(ws, content, done);
      return;
    }
    const payload = toBytes(content);
    if (payload.length > 125) throw new RangeError('The data size must not be greater than 125 bytes');
    connection.control(opcode, payload, done);
  }

  /** It is not open. */
  static #refuse(
    ws: WebSocket,
    data: Sendable | Blob | PreparedMessage,
    callback: SendCallback | undefined,
  ): SendResult {
    const { readyState } = ws;
    const message = `WebSocket is not open: readyState ${readyState} (${READY_STATES[readyState]})`;
    if (readyState === 0) throw new Error(message);
    if (data instanceof PreparedMessage) ws[kUnsentBytes] += data.payload.length;
    else if (isBlob(data)) ws[kUnsentBytes] += data.size;
    else if (data) ws[kUnsentBytes] += toBytes(data).length;
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
    const connection = this[kConnection];
    if (connection === null) {
      WebSocket.#abort(this);
    } else {
      connection.close(code, reason);
    }
  }

  /** Cuts the connection without a closing handshake; while connecting, gives up. */
  terminate(): void {
    const connection = this[kConnection];
    if (connection === null) {
      WebSocket.#abort(this);
    } else {
      connection.terminate();
    }
  }

  /** @internal See `Transport`. */
  [dropWaiting](ofThisTurn: boolean): boolean {
    return this[kConnection]?.drop(ofThisTurn) ?? false;
  }

  static #abort(ws: WebSocket): void {
    if (ws[kHandshake] === null || ws[kState] !== 0) return;
    ws[kHandshake].abort(new Error('WebSocket was closed before the connection was established'));
  }

  /** Stops reading. A message that is being handed out when this is called still is the last one. */
  pause(): void {
    const connection = this[kConnection];
    if (connection === null) return;
    connection.pause();
    // The connection forgets it at its end; as with ws, who was paused then stays so.
    if (connection.state !== CLOSED) this[kIsPaused] = connection.isPaused;
  }

  /** Reads again. */
  resume(): void {
    const connection = this[kConnection];
    if (connection === null || connection.state === CLOSED) return;
    this[kIsPaused] = false;
    connection.resume();
  }

  /**
   * From here on gets what `server.publish` sends to this topic. Nothing, once it is not open any more.
   *
   * @throws {Error} on a client: topics are the server's
   */
  subscribe(topic: string): void {
    const company = this[kCompany];
    if (company === null) throw new Error('Only a connection of a WebSocketServer can subscribe');
    const connection = this[kConnection]!;
    if (connection.state === 1) company.topics.subscribe(connection, topic);
  }

  /** Takes it off a topic of the server (`publish`). */
  unsubscribe(topic: string): void {
    this[kCompany]?.topics.unsubscribe(this[kConnection]!, topic);
  }

  // ── EventTarget ──────────────────────────────────────────────────────────────────────────────────

  /** As that of the browser. `on` costs less. */
  addEventListener<K extends keyof WebSocketEventMap>(
    type: K,
    listener: EventListener<WebSocketEventMap[K]>,
    options: EventListenerOptions = {},
  ): void {
    addEventListener(untyped(this), type, listener, options.once === true);
  }

  /** Removes what `addEventListener` has added. */
  removeEventListener<K extends keyof WebSocketEventMap>(
    type: K,
    listener: EventListener<WebSocketEventMap[K]>,
  ): void {
    removeEventListener(untyped(this), type, listener);
  }

  /** @internal */
  get [kWasClean](): boolean {
    const connection = this[kConnection];
    return connection !== null && connection.state === CLOSED && connection.wasClean;
  }

  /**
   * The messages, text as strings and binary as Buffers, until the connection closes. Whoever takes them
   * slowly slows the peer down.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<IteratedMessage, undefined> {
    return iterateMessages(this);
  }

  // ── the connection ───────────────────────────────────────────────────────────────────────────────

  static #begin(
    ws: WebSocket,
    socket: Duplex,
    compression: MessageDeflate | null,
    options: ConnectionOptions,
    heartbeat: Heartbeat | null,
  ): Connection<WebSocket> {
    if (compression !== null) ws[kExtensions] = 'permessage-deflate';
    const connection = new Connection<WebSocket>(
      socket,
      ws,
      WebSocket.#events,
      options,
      compression,
      heartbeat,
    );
    ws[kConnection] = connection;
    return connection;
  }

  /** A missing listener must not be what ends the process because of bytes that came from elsewhere. */
  static #emitError(ws: WebSocket, error: Error, warns: boolean): void {
    if (ws.listenerCount('error') > 0) ws.emit('error', error);
    else if (warns) {
      process.emitWarning(`${error.message} (${ws[kUrl] ?? 'server'}); listen for 'error' to handle it`, {
        type: 'WebSocketWarning',
      });
    }
  }

  /** What listeners get is theirs, also where `views` says that a handler's messages are not. */
  static #owned(ws: WebSocket, data: Buffer): Buffer {
    return ws[kConnection]!.options.views ? Buffer.from(data) : data;
  }

  static readonly #events: ConnectionEvents<WebSocket> = {
    message(ws, data, isBinary) {
      const handler = ws[kHandler];
      if (handler?.message !== undefined) {
        try {
          const result: unknown = handler.message(ws, data, isBinary);
          if (result !== undefined) failWhenRejected(ws, result);
        } catch (error) {
          failHandler(ws, error);
        }
        return;
      }
      const own = WebSocket.#owned(ws, data);
      if (!isBinary || ws[kBinaryType] === 'nodebuffer') ws.emit('message', own, isBinary);
      else ws.emit('message', shape(own, ws[kBinaryType]), true);
    },
    fragment(ws, data, isBinary, isLast) {
      const handler = ws[kHandler];
      if (handler?.fragment === undefined) {
        ws.emit('fragment', WebSocket.#owned(ws, data), isBinary, isLast);
        return;
      }
      try {
        const result: unknown = handler.fragment(ws, data, isBinary, isLast);
        if (result !== undefined) failWhenRejected(ws, result);
      } catch (error) {
        failHandler(ws, error);
      }
    },
    ping(ws, data) {
      ws.emit('ping', data);
    },
    pong(ws, data) {
      ws.emit('pong', data);
    },
    failed(ws, error) {
      if (diagnostics.failed.hasSubscribers) diagnostics.failed.publish({ websocket: ws, error });
      tellHandler(() => ws[kHandler]?.transportError?.(ws, error));
      WebSocket.#emitError(ws, error, false);
    },
    socketError(ws, error) {
      tellHandler(() => ws[kHandler]?.transportError?.(ws, error));
    },
    overfull(ws) {
      const policy = ws[kConnection]!.options.backpressurePolicy;
      if (typeof policy === 'function') tellHandler(() => policy(ws));
    },
    drain(ws) {
      ws.emit('drain');
    },
    /** Whoever is leaving is not counted by `publish` any more. */
    leaving(ws) {
      ws[kCompany]?.topics.forget(ws[kConnection]!);
    },
    closed(ws, code, reason) {
      ws[kCompany]?.left(ws, code);
      tellHandler(() => ws[kHandler]?.closed?.(ws, code, reason));
      ws.emit('close', code, reason === '' ? EMPTY : Buffer.from(reason));
    },
  };

  static {
    acceptConnection = (ws, accepted) => {
      ws[kCompany] = accepted.company;
      ws[kProtocol] = accepted.protocol;
      ws[kAttributes] = accepted.attributes;
      ws[kHandler] = accepted.handler;
      const { socket, compression, options, heartbeat } = accepted;
      WebSocket.#begin(ws, socket, compression, options, heartbeat).start(accepted.head);
    };
    connectionOf = (ws) => ws[kConnection];
    failHandler = (ws, thrown) => {
      const handler = ws[kHandler];
      if (handler === undefined || handler instanceof FailedHandler) return;
      ws[kHandler] = new FailedHandler(handler);
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      tellHandler(() => handler.transportError?.(ws, error));
      ws.close(1011, 'internal error');
    };
  }
}

// Behind the class: in its static block the compiler names the class by a variable that is not set yet.
for (const [value, name] of READY_STATES.entries()) {
  Object.defineProperty(WebSocket, name, { enumerable: true, value });
  Object.defineProperty(WebSocket.prototype, name, { enumerable: true, value });
}
for (const name of [
  'binaryType',
  'bufferedAmount',
  'extensions',
  'isPaused',
  'protocol',
  'readyState',
  'url',
]) {
  Object.defineProperty(WebSocket.prototype, name, { enumerable: true });
}
defineEventAttributes(untyped(WebSocket.prototype));

/** In the place of one that has failed: is told nothing more but the end. */
class FailedHandler implements Handler<WebSocket> {
  readonly closed: Handler<WebSocket>['closed'];

  constructor(handler: Handler<WebSocket>) {
    this.closed = handler.closed?.bind(handler);
  }

  message(): void {}

  fragment(): void {}
}

/** A function of its own: where a closure is made, V8 allocates its context on every call, 40 bytes a message. */
function failWhenRejected(websocket: WebSocket, result: unknown): void {
  whenRejected(result, (error) => failHandler(websocket, error));
}

/** For listeners whose event is only known when the program runs. */
function untyped(websocket: WebSocket): EventEmitter {
  return websocket as unknown as EventEmitter;
}
