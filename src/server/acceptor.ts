/**
 * An upgrade up to its 101: the request is checked (RFC 6455 §4.2), whoever has a say is asked, the response
 * is written, and a WebSocket made. What the application's code throws on the way is answered with 500, so
 * that no request stays without an answer, and surfaces once: to the caller, or where that has gone on, as an
 * uncaught exception.
 */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  acceptOffer,
  type DeflateOptions,
  formatParameters,
  validateDeflateOptions,
} from '../protocol/deflate-negotiation.ts';
import { HandshakeError } from '../protocol/errors.ts';
import {
  connectLines,
  fieldsOf,
  formatLines,
  type ParsedRequest,
  parseConnect,
  parseRequest,
  responseLines,
} from '../protocol/handshake.ts';
import { MessageDeflate } from '../protocol/permessage-deflate.ts';
import { Admission, HandshakeEndError, type VerifyClient } from './admission.ts';
import type { ConnectionOptions } from './connection.ts';
import * as diagnostics from './diagnostics.ts';
import type { Encode } from './fan-out.ts';
import { attempt } from './handler-calls.ts';
import { Heartbeat } from './heartbeat.ts';
import { acceptStream, cut, isStream, nameHost } from './http2-stream.ts';
import { type CommonOptions, checkMilliseconds, connectionOptions } from './options.ts';
import { refuse } from './refusal.ts';
import { shareReads } from './shared-read.ts';
import { admitStream, StreamCounts } from './stream-accounts.ts';
import { throwLater } from './throw-later.ts';
import { Traffic } from './traffic.ts';
import type { Handler, Interceptor } from './transport.ts';
import { acceptConnection, type Company, failHandler, WebSocket } from './websocket.ts';

/** What may be changed in `server.options` at any time: it holds for the upgrades that come then. */
export interface AcceptorOptions extends CommonOptions {
  verifyClient?: VerifyClient | null | undefined;
  /** Chooses one of the client's subprotocols, or none. Default: the first. */
  handleProtocols?: ((protocols: Set<string>, request: IncomingMessage) => string | false) | null | undefined;
  /** Default false. */
  perMessageDeflate?: boolean | DeflateOptions | undefined;
  /** The class of the connections. Default: WebSocket. It is constructed with `(null, undefined, options)`. */
  WebSocket?: typeof WebSocket | undefined;
  /** Asked in order before a connection is made; told in reverse order what became of it. */
  interceptors?: readonly Interceptor[] | undefined;
  /** Called in place of `message` events, and beside `connection` and `close`: the quick way. */
  handler?: Handler<WebSocket> | undefined;
  /** Read all sockets into one buffer where Node allows it (shared-read.ts). Default true. */
  sharedReads?: boolean | undefined;
  /** `handler.message` gets views that are valid only until it returns. Default false. */
  views?: boolean | undefined;
  /**
   * Milliseconds for everything up to the 101 response: the request's head on a port of ours, interceptors
   * and verifyClient anywhere. Default 10_000; 0: no limit.
   */
  handshakeTimeout?: number | undefined;
}

/** What an acceptor needs of the server that it works for. */
export interface AcceptorHost {
  readonly options: AcceptorOptions;
  readonly company: Company;
  readonly isRunning: boolean;
  /** Whether the request is for this server; others are answered with 400. */
  matches(request: IncomingMessage): boolean;
  /** @returns whether somebody else answers the malformed request */
  malformed(error: HandshakeError, socket: Duplex, request: IncomingMessage): boolean;
  /** Lets others add to the lines of the 101 response. */
  headers(lines: string[], request: IncomingMessage): void;
  /** There is one more connection. Nobody has been told yet. */
  joined(websocket: WebSocket): void;
}

export type UpgradeCallback = (websocket: WebSocket, request: IncomingMessage) => void;

export const DEFAULT_HANDSHAKE_TIMEOUT = 10_000;
const DEFAULT_THRESHOLD = 1024;
/** Bytes of a shared message from which on it goes uncompressed: compressing it would hold up all others. */
const MAX_COMPRESSED_AT_ONCE = 1024 * 1024;
const kUpgraded = Symbol('upgraded');

/** What the options come to. All connections that are accepted with the same ones share it. */
interface Settings {
  connection: ConnectionOptions;
  deflate: DeflateOptions | null;
  heartbeat: Heartbeat | null;
}

/** The options that settings are made of: where one has changed, they are made anew. */
const SETTINGS = [
  'maxPayload',
  'maxFragments',
  'skipUTF8Validation',
  'autoPong',
  'allowSynchronousEvents',
  'closeTimeout',
  'pingInterval',
  'pongTimeout',
  'maxBackpressure',
  'backpressurePolicy',
  'tooSlowCode',
  'pongTimeoutCode',
  'partial',
  'perMessageDeflate',
  'views',
  'handler',
  'handshakeTimeout',
] as const satisfies (keyof AcceptorOptions)[];

export class Acceptor {
  readonly #host: AcceptorHost;
  /** That of all connections that were accepted. */
  readonly traffic = new Traffic();
  readonly streams = new StreamCounts();
  /** Requests about which no interceptor was asked: broken, for no path of ours, or while we are closing. */
  readonly turnedAway = { malformed: 0, path: 0, closing: 0 };
  #settings: Settings;
  /** The values that the settings were made of. */
  #madeOf: unknown[];

  /** @throws {TypeError | RangeError} for options that can't be ones */
  constructor(host: AcceptorHost) {
    this.#host = host;
    this.#madeOf = this.#values();
    this.#settings = this.#makeSettings();
  }

  /** How shared frames are made. */
  readonly encode: Encode = (message, form) => {
    const { threshold = DEFAULT_THRESHOLD, zlibDeflateOptions } = this.#settings.deflate ?? {};
    const { length } = message.payload;
    return form === 0 || length < threshold || length > MAX_COMPRESSED_AT_ONCE
      ? message.plain
      : message.compressed(form, zlibDeflateOptions);
  };

  /**
   * Makes a WebSocket of a request, or answers why not.
   *
   * @throws {Error} for a socket that was upgraded before, and what the application's code throws meanwhile
   */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer, callback: UpgradeCallback): void {
    socket.on('error', destroySocket);
    if (isStream(socket)) {
      nameHost(request.headers);
      if (!admitStream(socket)) return;
      this.streams.add(socket);
    }
    let parsed: ParsedRequest;
    try {
      parsed = isStream(socket) ? parseConnect(request, socket.endAfterHeaders) : parseRequest(request);
    } catch (error) {
      if (!(error instanceof HandshakeError)) throw error;
      this.#refuseMalformed(error, socket, request);
      return;
    }
    let isOurs: boolean;
    try {
      isOurs = this.#host.matches(request);
    } catch (error) {
      throw fail(error, socket, request, undefined);
    }
    if (!isOurs) {
      this.turnedAway.path++;
      refuse(socket, 400);
      tellRefused(request, 400, new Error('The path is not served here'));
      return;
    }
    const { interceptors = [], verifyClient = null, handshakeTimeout } = this.#host.options;
    if (interceptors.length === 0 && !verifyClient) {
      this.#complete(parsed, request, socket, head, callback, undefined);
      return;
    }
    const origin = request.headers[parsed.version === 8 ? 'sec-websocket-origin' : 'origin'];
    const outcry = new Outcry();
    new Admission(
      request,
      socket,
      (status, body, headers) => refuse(socket, status, body, headers),
      { interceptors, verifyClient, handshakeTimeout: handshakeTimeout ?? DEFAULT_HANDSHAKE_TIMEOUT },
      Array.isArray(origin) ? origin[0] : origin,
      (admission) => {
        try {
          this.#complete(parsed, request, socket, head, callback, admission);
        } catch (error) {
          outcry.tell(error);
        }
      },
      (status, error) => tellRefused(request, status, error),
      outcry.tell,
    ).begin();
    outcry.end();
  }

  #refuseMalformed(error: HandshakeError, socket: Duplex, request: IncomingMessage): void {
    this.turnedAway.malformed++;
    try {
      if (!this.#host.malformed(error, socket, request)) {
        refuse(socket, error.status, error.message, error.headers);
      }
      tellRefused(request, error.status, error);
    } catch (thrown) {
      throw fail(thrown, socket, request, undefined);
    }
  }

  #complete(
    parsed: ParsedRequest,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    callback: UpgradeCallback,
    admission: Admission | undefined,
  ): void {
    // It has gone while it was being asked about.
    if (!socket.readable || !socket.writable) {
      cut(socket);
      admission?.tell(undefined, new HandshakeEndError('GONE', 'The client has gone'));
      return;
    }
    if (kUpgraded in socket) {
      throw new Error(
        'server.handleUpgrade() was called more than once with the same socket, possibly due to a misconfiguration',
      );
    }
    if (!this.#host.isRunning) {
      const error = new HandshakeEndError('CLOSING', 'The server is closing', 503);
      refuse(socket, 503);
      if (admission === undefined) this.turnedAway.closing++;
      admission?.tell(undefined, error);
      tellRefused(request, 503, error);
      return;
    }
    Object.defineProperty(socket, kUpgraded, { value: true });
    const { options, company } = this.#host;
    let websocket: WebSocket;
    let answer: Answer;
    let settings: Settings;
    try {
      settings = this.#currentSettings();
      websocket = new (options.WebSocket ?? WebSocket)(null, undefined, options);
      if (!(websocket instanceof WebSocket)) throw new TypeError('options.WebSocket must extend WebSocket');
      answer = this.#answer(parsed, request, settings.deflate, socket);
    } catch (error) {
      throw fail(error, socket, request, admission);
    }
    const rest = options.sharedReads === false ? undefined : shareReads(socket);
    answer.write();
    socket.removeListener('error', destroySocket);

    const { handler } = options;
    acceptConnection(websocket, {
      socket,
      head: rest ? Buffer.concat([head, rest]) : head,
      protocol: answer.protocol,
      compression: answer.compression,
      options: settings.connection,
      heartbeat: settings.heartbeat,
      attributes: admission?.attributes,
      handler,
      company,
    });
    this.#host.joined(websocket);
    if (diagnostics.opened.hasSubscribers) diagnostics.opened.publish({ websocket, request });
    admission?.tell(websocket, undefined);
    if (handler?.opened !== undefined) callOpened(handler, websocket, request);
    // For a class of the application's that listens to itself: nobody else has this object before.
    websocket.emit('open');
    callback(websocket, request);
  }

  /**
   * What is agreed on, and the response that says so.
   *
   * @throws {TypeError} for a subprotocol or header line of the application's that can't be one
   */
  #answer(
    parsed: ParsedRequest,
    request: IncomingMessage,
    deflate: DeflateOptions | null,
    socket: Duplex,
  ): Answer {
    let compression: MessageDeflate | null = null;
    let extensions: string | undefined;
    if (deflate !== null && parsed.extensions.length > 0) {
      const parameters = acceptOffer(parsed.extensions, deflate);
      if (parameters !== undefined) {
        compression = new MessageDeflate('server', parameters, deflate);
        extensions = formatParameters(parameters);
      }
    }
    const protocol = this.#chooseProtocol(parsed.protocols, request);
    const parts = { key: parsed.key, protocol, extensions };
    if (isStream(socket)) {
      const lines = connectLines(parts);
      this.#host.headers(lines, request);
      const fields = fieldsOf(lines);
      return { write: () => acceptStream(socket, fields), protocol, compression };
    }
    const lines = responseLines(parts);
    this.#host.headers(lines, request);
    const head = formatLines(lines);
    return { write: () => socket.write(head, 'latin1'), protocol, compression };
  }

  #chooseProtocol(offered: string[], request: IncomingMessage): string {
    if (offered.length === 0) return '';
    const { handleProtocols } = this.#host.options;
    if (!handleProtocols) return offered[0]!;
    return handleProtocols(new Set(offered), request) || '';
  }

  // ── settings ─────────────────────────────────────────────────────────────────────────────────────

  #values(): unknown[] {
    const { options } = this.#host;
    return SETTINGS.map((name) => options[name]);
  }

  /** @throws {TypeError | RangeError} for an option that was set to what can't be one */
  #currentSettings(): Settings {
    const { options } = this.#host;
    for (let i = 0; i < SETTINGS.length; i++) {
      if (options[SETTINGS[i]!] === this.#madeOf[i]) continue;
      this.#settings = this.#makeSettings();
      this.#madeOf = this.#values();
      break;
    }
    return this.#settings;
  }

  #makeSettings(): Settings {
    const { options } = this.#host;
    const { perMessageDeflate, handler, views, partial } = options;
    const deflate = perMessageDeflate === true ? {} : perMessageDeflate || null;
    if (deflate !== null) validateDeflateOptions('server', deflate);
    checkMilliseconds('handshakeTimeout', options.handshakeTimeout);
    // Listeners get nothing that is not theirs, so there is no use in views without a handler for them.
    const takesViews = (partial ? handler?.fragment : handler?.message) !== undefined;
    const connection = connectionOptions('server', options, {
      views: views === true && takesViews,
      encode: this.encode,
      traffic: this.traffic,
    });
    const interval = options.pingInterval ?? 0;
    const heartbeat = interval > 0 ? Heartbeat.shared(interval, options.pongTimeout ?? interval) : null;
    return { connection, deflate, heartbeat };
  }
}

interface Answer {
  /** Writes the response. */
  write(): void;
  protocol: string;
  compression: MessageDeflate | null;
}

/** Where it goes what the application throws: to the caller as long as there is one. */
class Outcry {
  #hasCaller = true;
  #first: { error: unknown } | null = null;

  readonly tell = (error: unknown): void => {
    if (this.#hasCaller && this.#first === null) this.#first = { error };
    else throwLater(error);
  };

  /** The caller is about to go on. */
  end(): void {
    this.#hasCaller = false;
    if (this.#first !== null) throw this.#first.error;
  }
}

/** Answers in place of the application's code, which has thrown. @returns what it has thrown */
function fail(
  thrown: unknown,
  socket: Duplex,
  request: IncomingMessage,
  admission: Admission | undefined,
): unknown {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  refuse(socket, 500);
  admission?.tell(undefined, error);
  tellRefused(request, 500, error);
  return thrown;
}

function callOpened(handler: Handler<WebSocket>, websocket: WebSocket, request: IncomingMessage): void {
  attempt(
    () => handler.opened?.(websocket, request),
    (error) => failHandler(websocket, error),
  );
}

function tellRefused(request: IncomingMessage, status: number, error: Error): void {
  if (diagnostics.refused.hasSubscribers) diagnostics.refused.publish({ request, status, error });
}

function destroySocket(this: Duplex): void {
  this.destroy();
}
