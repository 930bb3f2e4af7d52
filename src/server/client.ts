/**
 * The client's opening handshake (RFC 6455 §4.1) over node:http or node:https, with redirects in the manner
 * of curl and ws.
 */

import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { ClientHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import { nextTick } from '../clock.ts';
import { acceptAnswer, createOffer, type DeflateOptions } from '../protocol/deflate-negotiation.ts';
import {
  createRequest,
  type Offered,
  type OpeningResponse,
  parseConnectResponse,
  parseResponse,
} from '../protocol/handshake.ts';
import { MessageDeflate } from '../protocol/permessage-deflate.ts';
import {
  ClientHeaders,
  discardRequest,
  hasAgent,
  makeRequest,
  type PassedOnOptions,
  tlsOptions,
} from './client-request.ts';
import { isSameHost, parseLocation, parseTarget, type Target } from './client-target.ts';
import type { ConnectionOptions } from './connection.ts';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { Heartbeat } from './heartbeat.ts';
import { placeIn, placeTo, type Wish } from './http2-sessions.ts';
import { type CommonOptions, connectionOptions } from './options.ts';
import { StreamRequest } from './stream-request.ts';

/** What a handshake needs of the WebSocket that it is for. */
export interface HandshakeTarget {
  emit(event: 'redirect', url: string, request: ClientRequest): boolean;
  emit(event: 'upgrade', response: IncomingMessage): boolean;
  emit(event: 'unexpected-response', request: ClientRequest, response: IncomingMessage): boolean;
  listenerCount(event: 'redirect' | 'unexpected-response'): number;
}

/**
 * The address alone says where the request goes. Of Node's options those of PassedOnOptions are handed on:
 * `agent`, `ca`, `rejectUnauthorized`, `localAddress`, `family` … All others are without effect.
 */
export interface ClientOptions<W> extends CommonOptions, PassedOnOptions {
  /** Subprotocols, where the constructor's second argument is not used for them. */
  protocols?: string | string[] | undefined;
  /** More header lines, spelled like this on the wire. Those of the handshake itself stay what they are. */
  headers?: OutgoingHttpHeaders | Iterable<readonly [string, string]> | readonly string[] | undefined;
  /** `user:password` for an Authorization header, if neither the address nor `headers` say it. */
  auth?: string | null | undefined;
  /** The Origin header. */
  origin?: string | undefined;
  /** Default false. */
  followRedirects?: boolean | undefined;
  /** Default 10. */
  maxRedirects?: number | undefined;
  /** Milliseconds for the whole handshake, redirects included. Default 0: no limit. */
  handshakeTimeout?: number | undefined;
  /** Gives the handshake up with an AbortError. Without effect once the connection is open. */
  signal?: AbortSignal | undefined;
  /** Whether to offer permessage-deflate, and how. Default true. */
  perMessageDeflate?: boolean | DeflateOptions | undefined;
  /**
   * Ask for a stream of HTTP/2 (RFC 8441): of this session, or, with `true`, of one that all WebSockets of this process to
   * the same host share. Where that can't be had, it is HTTP/1.1 as ever, and the WebSocket's `fallbackReason` says why.
   * Default: HTTP/1.1.
   */
  http2?: ClientHttp2Session | boolean | undefined;
  /** Default 13. */
  protocolVersion?: 13 | 8 | undefined;
  /** Fills the four bytes of a masking key. Default: node:crypto. */
  generateMask?: ((key: Buffer) => void) | undefined;
  /** Sends the request itself, by calling `request.end()` once it has changed what it wants. */
  finishRequest?: ((request: ClientRequest, websocket: W) => void) | undefined;
}

export interface OpenedConnection {
  socket: Duplex;
  head: Buffer;
  protocol: string;
  compression: MessageDeflate | null;
  options: ConnectionOptions;
  heartbeat: Heartbeat | null;
}

export interface HandshakeHooks<W extends HandshakeTarget> {
  websocket: W;
  url(url: string): void;
  /** It goes on by HTTP/1.1. */
  fellBack(reason: string): void;
  opened(connection: OpenedConnection): void;
  /** It has failed, which will be told by `failed`. */
  closing(): void;
  failed(error: Error): void;
}

const VERSIONS = [8, 13];
const NOTHING = Buffer.alloc(0);

/**
 * An opening handshake under way, over all of its redirects.
 *
 * Wherever code of the application runs meanwhile, it may have called `abort` when it returns: an agent,
 * `createConnection`, `finishRequest`, the listeners of `redirect`, `upgrade` and `unexpected-response`.
 */
export class ClientHandshake<W extends HandshakeTarget> implements Expirable {
  deadline: Expirable['deadline'] = null;
  readonly #protocols: readonly string[];
  readonly #options: ClientOptions<W>;
  readonly #hooks: HandshakeHooks<W>;
  readonly #deflate: DeflateOptions | null;
  readonly #connection: ConnectionOptions;
  readonly #headers: ClientHeaders;
  readonly #first: Target;
  readonly #onAbort = (): void => this.abort(abortError(this.#options.signal!));
  #redirects = 0;
  #request: ClientRequest | StreamRequest | null = null;
  #key = '';
  #mayUseHttp2 = true;
  #isOver = false;

  /**
   * @param protocols as the application has given them; undefined for those of the options
   * @throws {SyntaxError | RangeError} for what can't be connected to
   */
  constructor(
    address: string | URL,
    protocols: unknown,
    options: ClientOptions<W>,
    hooks: HandshakeHooks<W>,
  ) {
    const { perMessageDeflate = true, protocolVersion = 13 } = options;
    if (!VERSIONS.includes(protocolVersion)) {
      throw new RangeError(
        `Unsupported protocol version: ${protocolVersion} (supported versions: ${VERSIONS.join(', ')})`,
      );
    }
    const { protocols: byDefault = [] } = options;
    const wanted = protocols === undefined ? byDefault : protocols;
    // What is no subprotocol is found when it is to be sent.
    this.#protocols = (Array.isArray(wanted) ? wanted : [wanted]) as string[];
    this.#options = options;
    this.#hooks = hooks;
    this.#deflate = perMessageDeflate === true ? {} : perMessageDeflate || null;
    this.#connection = connectionOptions('client', options, { generateMask: options.generateMask });
    this.#first = parseTarget(address);
    this.#headers = new ClientHeaders(options.headers);
    this.#authorize(this.#first.auth ?? options.auth);
  }

  /**
   * Sends the request, before which the WebSocket must know this handshake: the application may close it.
   *
   * @throws {SyntaxError | TypeError} for what can't be asked for, and what the application throws meanwhile
   */
  start(): void {
    const { handshakeTimeout, signal } = this.#options;
    if (handshakeTimeout) arm(this, handshakeTimeout);
    signal?.addEventListener('abort', this.#onAbort);
    try {
      this.#ask(this.#first);
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #ask(target: Target): void {
    const options = this.#options;
    const { websocket } = this.#hooks;
    const { key, headers } = createRequest({
      protocols: this.#protocols,
      version: options.protocolVersion,
      extensions: this.#deflate === null ? undefined : createOffer(this.#deflate),
    });
    this.#key = key;
    this.#hooks.url(target.url.href);
    if (options.signal?.aborted) {
      this.#onAbort();
      return;
    }
    if (options.origin) {
      headers[options.protocolVersion === 8 ? 'Sec-WebSocket-Origin' : 'Origin'] = options.origin;
    }
    const isFirstHost = isSameHost(this.#first, target);
    const lines = this.#headers.with(headers);
    let request: ClientRequest | StreamRequest;
    const obstacle = this.#obstacle(isFirstHost);
    if (options.http2 && this.#mayUseHttp2 && obstacle === undefined) {
      request = this.#askByStream(target, lines, isFirstHost);
    } else {
      if (options.http2 && obstacle !== undefined) this.#hooks.fellBack(obstacle);
      request = this.#askByUpgrade(target, lines, isFirstHost);
    }
    if (this.#isOver) {
      discard(request);
      return;
    }
    this.#request = request;
    if (target !== this.#first) {
      this.#tell(() => websocket.emit('redirect', target.url.href, request as ClientRequest));
      if (this.#isOver) return;
    }
    if (options.finishRequest) options.finishRequest(request as ClientRequest, websocket);
    else request.end();
  }

  /** Why HTTP/2 is not even asked for. */
  #obstacle(isFirstHost: boolean): string | undefined {
    const { http2, agent, createConnection } = this.#options;
    if (http2 !== true) return isFirstHost ? undefined : 'the HTTP/2 session is of another host';
    // It may lead through a proxy, past which nobody must go.
    if (agent) return 'an agent makes connections of HTTP/1.1';
    return createConnection ? 'createConnection makes connections of HTTP/1.1' : undefined;
  }

  #askByStream(target: Target, lines: Record<string, string>, isFirstHost: boolean): StreamRequest {
    const { http2 } = this.#options;
    const made = tlsOptions(this.#options, isFirstHost);
    const book = (wish: Wish): ReturnType<typeof placeIn> =>
      typeof http2 === 'object' ? placeIn(http2) : placeTo(target, made, wish);
    const request: StreamRequest = new StreamRequest(target, new ClientHeaders(lines), book, {
      response: (response, stream) => {
        if (this.#request !== request) return;
        const status = response.statusCode ?? 0;
        if (status < 200 || status > 299) this.#refused(request, response, target);
        else this.#upgraded(response, stream, NOTHING, parseConnectResponse);
      },
      impossible: (reason) => {
        if (this.#request !== request) return;
        this.#mayUseHttp2 = false;
        this.#request = null;
        this.#hooks.fellBack(reason);
        try {
          this.#ask(target);
        } catch (error) {
          if (this.#isOver) throw error;
          this.#fail(error as Error);
        }
      },
      failed: (error) => {
        if (this.#request === request) this.#fail(error);
      },
    });
    return request;
  }

  #askByUpgrade(target: Target, lines: Record<string, string>, isFirstHost: boolean): ClientRequest {
    const request = makeRequest(target, this.#options, lines, isFirstHost);
    request.on('error', (error) => {
      if (this.#request === request) this.#fail(error);
    });
    request.on('response', (response) => {
      if (this.#request === request) this.#refused(request, response, target);
    });
    request.on('upgrade', (response, socket, head) => {
      // The request does not listen to it any more, and an error without a listener would end the process.
      socket.on('error', () => {});
      if (this.#request !== request) socket.destroy();
      else {
        this.#upgraded(response, socket, head, (answer, offered) =>
          parseResponse(answer, this.#key, offered),
        );
      }
    });
    return request;
  }

  /** Gives up. The error is told in the next tick. */
  abort(error: Error): void {
    if (this.#isOver) return;
    this.#end();
    this.#hooks.closing();
    nextTick(() => this.#hooks.failed(error));
  }

  expire(): void {
    this.abort(new Error('Opening handshake has timed out'));
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#end();
    this.#hooks.failed(error);
  }

  /** Nothing more happens, and no connection is left. */
  #end(): void {
    const request = this.#request;
    this.#settle();
    if (request !== null) discard(request);
  }

  #settle(): void {
    this.#isOver = true;
    this.#request = null;
    disarm(this);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
  }

  /** Calls listeners. What one of them throws is thrown on, as ever; it ends this handshake as well. */
  #tell(emit: () => void): void {
    try {
      emit();
    } catch (thrown) {
      this.abort(thrown instanceof Error ? thrown : new Error(String(thrown)));
      throw thrown;
    }
  }

  #refused(request: ClientRequest | StreamRequest, response: IncomingMessage, from: Target): void {
    const { location } = response.headers;
    const status = response.statusCode ?? 0;
    if (location && this.#options.followRedirects && status >= 300 && status < 400) {
      this.#redirect(request, location, from);
      return;
    }
    const { websocket } = this.#hooks;
    if (websocket.listenerCount('unexpected-response') === 0) {
      this.abort(new Error(`Unexpected server response: ${status}`));
      return;
    }
    // A listener takes over. When it has read all there is, nobody but an agent can use the connection.
    if (!(request instanceof StreamRequest)) {
      request.once('close', () => {
        if (!hasAgent(request)) request.socket?.destroy();
        // Node tells of an end in the middle of a response, and of some resets, nobody but the response.
        if (!response.complete && this.#request === request) this.#fail(hungUp());
      });
    }
    this.#tell(() => websocket.emit('unexpected-response', request as ClientRequest, response));
  }

  #redirect(request: ClientRequest | StreamRequest, location: string, from: Target): void {
    if (++this.#redirects > (this.#options.maxRedirects ?? 10)) {
      this.abort(new Error('Maximum redirects exceeded'));
      return;
    }
    this.#request = null;
    discard(request);
    try {
      const target = parseLocation(location, from);
      if (this.#mayHaveCredentials(target)) this.#authorize(target.auth);
      this.#ask(target);
    } catch (error) {
      // Over already: a listener has thrown.
      if (this.#isOver) throw error;
      this.#fail(error as Error);
    }
  }

  /** As curl does, the first Authorization header wins. */
  #authorize(auth: string | null | undefined): void {
    if (!auth || this.#headers.has('Authorization')) return;
    this.#headers.set('Authorization', `Basic ${Buffer.from(auth).toString('base64')}`);
  }

  /** As curl does: what was meant for one host is not for another, nor for one that can be listened to. */
  #mayHaveCredentials(target: Target): boolean {
    // A listener of `redirect` has taken that into its own hands.
    if (this.#hooks.websocket.listenerCount('redirect') > 0) return true;
    const first = this.#first;
    const isSame = isSameHost(first, target);
    if (isSame && !(first.isSecure && !target.isSecure)) return true;
    for (const name of ['Authorization', 'Proxy-Authorization', 'Cookie']) this.#headers.delete(name);
    if (!isSame) this.#headers.delete('Host');
    return false;
  }

  #upgraded(
    response: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    parse: (answer: OpeningResponse, offered: Offered) => ReturnType<typeof parseConnectResponse>,
  ): void {
    this.#tell(() => this.#hooks.websocket.emit('upgrade', response));
    // A listener may have closed it.
    if (this.#isOver) return;
    const options = this.#options;
    let protocol: string;
    let compression: MessageDeflate | null = null;
    try {
      const agreed = { status: response.statusCode ?? 101, headers: response.headers };
      const answer = parse(agreed, {
        protocols: this.#protocols,
        extensions: this.#deflate === null ? [] : ['permessage-deflate'],
      });
      protocol = answer.protocol;
      if (this.#deflate !== null) {
        const parameters = acceptAnswer(answer.extensions, this.#deflate);
        if (parameters !== undefined) compression = new MessageDeflate('client', parameters, this.#deflate);
      }
    } catch (error) {
      this.abort(error as Error);
      return;
    }
    if (this.#request instanceof StreamRequest) this.#request.handOver();
    this.#settle();
    const interval = options.pingInterval ?? 0;
    this.#hooks.opened({
      socket,
      head,
      protocol,
      compression,
      options: this.#connection,
      heartbeat: interval > 0 ? Heartbeat.shared(interval, options.pongTimeout ?? interval) : null,
    });
  }
}

function discard(request: ClientRequest | StreamRequest): void {
  if (request instanceof StreamRequest) request.destroy();
  else discardRequest(request);
}

/** What Node's functions with a `signal` fail with. */
function abortError(signal: AbortSignal): Error {
  const error = new Error('The operation was aborted', { cause: signal.reason });
  return Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' });
}

/** As Node says it of an end before a response. */
function hungUp(): Error {
  return Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
}
