/**
 * The client's opening handshake (RFC 6455 §4.1) over node:http or node:https, with redirects in the manner
 * of curl and ws.
 */

import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { isIP, type NetConnectOpts, connect as netConnect } from 'node:net';
import { unescape as percentDecode } from 'node:querystring';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions as TlsConnectionOptions, connect as tlsConnect } from 'node:tls';
import { nextTick } from '../clock.ts';
import { acceptAnswer, createOffer, type DeflateOptions } from '../protocol/deflate-negotiation.ts';
import { createRequest, parseResponse } from '../protocol/handshake.ts';
import { MessageDeflate } from '../protocol/permessage-deflate.ts';
import type { ConnectionOptions } from './connection.ts';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { Heartbeat } from './heartbeat.ts';
import { type CommonOptions, connectionOptions } from './options.ts';

/** What a handshake needs of the WebSocket that it is for. */
export interface HandshakeTarget {
  readonly url: string | undefined;
  emit(event: 'redirect', url: string, request: ClientRequest): boolean;
  emit(event: 'upgrade', response: IncomingMessage): boolean;
  emit(event: 'unexpected-response', request: ClientRequest, response: IncomingMessage): boolean;
  listenerCount(event: 'redirect'): number;
}

/** Options of node:https are passed on: `agent`, `ca`, `rejectUnauthorized`, `localAddress`, `family` … */
export interface ClientOptions<W>
  extends CommonOptions,
    Omit<RequestOptions, 'protocol' | 'timeout' | 'method' | 'host' | 'hostname' | 'path' | 'port'> {
  /** Subprotocols, where the constructor's second argument is not used for them. */
  protocols?: string | string[] | undefined;
  /** Default false. */
  followRedirects?: boolean | undefined;
  /** Default 10. */
  maxRedirects?: number | undefined;
  /** Milliseconds. Default: none. */
  handshakeTimeout?: number | undefined;
  /** Whether to offer permessage-deflate, and how. Default true. */
  perMessageDeflate?: boolean | DeflateOptions | undefined;
  /** Default 13. */
  protocolVersion?: 13 | 8 | undefined;
  /** The Origin header. */
  origin?: string | undefined;
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
  opened(connection: OpenedConnection): void;
  /** It has failed, which will be told by `failed`. */
  closing(): void;
  failed(error: Error): void;
}

const VERSIONS = [8, 13];

/** @throws {SyntaxError | RangeError} for what can't be connected to */
export function connect<W extends HandshakeTarget>(
  address: string | URL,
  protocols: string[],
  options: ClientOptions<W>,
  hooks: HandshakeHooks<W>,
): ClientHandshake<W> {
  const version = options.protocolVersion ?? 13;
  if (!VERSIONS.includes(version)) {
    throw new RangeError(
      `Unsupported protocol version: ${version} (supported versions: ${VERSIONS.join(', ')})`,
    );
  }
  const target = parseTarget(address);
  const handshake = new ClientHandshake(protocols, options, hooks);
  handshake.request(target);
  return handshake;
}

interface Target {
  url: URL;
  isSecure: boolean;
  /** The path of a unix socket. */
  socketPath: string | undefined;
  path: string;
  /** What a redirect is compared by. */
  host: string;
}

/** @throws {SyntaxError} */
function parseTarget(address: string | URL, base?: string | URL): Target {
  let url: URL;
  try {
    url = new URL(address, base);
  } catch {
    throw new SyntaxError(`Invalid URL: ${address}`);
  }
  if (url.protocol === 'http:') url.protocol = 'ws:';
  else if (url.protocol === 'https:') url.protocol = 'wss:';
  const isUnix = url.protocol === 'ws+unix:';
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:' && !isUnix) {
    throw new SyntaxError(
      'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"',
    );
  }
  if (isUnix && url.pathname === '') throw new SyntaxError("The URL's pathname is empty");
  if (url.hash !== '') throw new SyntaxError('The URL contains a fragment identifier');

  let path = url.pathname + url.search;
  let socketPath: string | undefined;
  if (isUnix) {
    const colon = path.indexOf(':');
    socketPath = colon === -1 ? path : path.slice(0, colon);
    path = colon === -1 ? '' : path.slice(colon + 1);
  }
  return { url, isSecure: url.protocol === 'wss:', socketPath, path, host: socketPath ?? url.host };
}

/** An opening handshake under way, over all of its redirects. */
export class ClientHandshake<W extends HandshakeTarget> implements Expirable {
  deadline: Expirable['deadline'] = null;
  readonly #protocols: string[];
  readonly #options: ClientOptions<W>;
  readonly #hooks: HandshakeHooks<W>;
  readonly #deflate: DeflateOptions | null;
  /** The user's header lines with lower-case names; credentials go when a redirect leaves the host. */
  readonly #headers: Record<string, unknown> = {};
  #auth: string | undefined;
  #origin: Target | undefined;
  #redirects = 0;
  #request: ClientRequest | null = null;
  #key = '';
  #isOver = false;

  constructor(protocols: string[], options: ClientOptions<W>, hooks: HandshakeHooks<W>) {
    this.#protocols = protocols;
    this.#options = options;
    this.#hooks = hooks;
    const { perMessageDeflate = true } = options;
    this.#deflate = perMessageDeflate === true ? {} : perMessageDeflate || null;
    this.#auth = options.auth ?? undefined;
    for (const [name, value] of Object.entries(options.headers ?? {})) {
      this.#headers[name.toLowerCase()] = value;
    }
  }

  /** @throws {SyntaxError} for subprotocols that can't be ones */
  request(target: Target): void {
    const options = this.#options;
    const { url } = target;
    const { key, headers } = createRequest({
      protocols: this.#protocols,
      version: options.protocolVersion,
      extensions: this.#deflate === null ? undefined : createOffer(this.#deflate),
    });
    this.#key = key;
    this.#hooks.url(url.href);
    if (url.username || url.password) {
      this.#auth = `${percentDecode(url.username)}:${percentDecode(url.password)}`;
    }
    const isRedirect = this.#origin !== undefined;
    if (isRedirect) this.#dropCredentials(target);
    else this.#origin = target;
    if (options.followRedirects && this.#auth !== undefined && this.#headers['authorization'] === undefined) {
      this.#headers['authorization'] = `Basic ${Buffer.from(this.#auth).toString('base64')}`;
    }

    if (options.origin) {
      headers[options.protocolVersion === 8 ? 'Sec-WebSocket-Origin' : 'Origin'] = options.origin;
    }
    const hostname = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
    const { protocols: _, ...passedOn } = options;
    const settings: RequestOptions = {
      ...passedOn,
      headers: { ...(this.#headers as Record<string, string>), ...headers },
      method: 'GET',
      path: target.path,
      timeout: undefined,
      defaultPort: options.defaultPort ?? (target.isSecure ? 443 : 80),
    };
    if (this.#auth !== undefined) settings.auth = this.#auth;
    else delete settings.auth;
    if (target.socketPath !== undefined) {
      settings.socketPath = target.socketPath;
    } else {
      delete settings.socketPath;
      settings.host = hostname;
      settings.port = url.port || (target.isSecure ? 443 : 80);
    }
    // Where neither is given, no agent: it would keep count of a socket that will never be free again.
    if (options.createConnection === undefined && !options.agent) {
      settings.createConnection = target.isSecure ? connectTls : connectPlain;
    }
    const request = target.isSecure ? httpsRequest(settings) : httpRequest(settings);
    this.#request = request;
    if (isRedirect) this.#hooks.websocket.emit('redirect', url.href, request);
    if (options.handshakeTimeout) arm(this, options.handshakeTimeout);

    request.on('error', (error) => {
      if (this.#request === request) this.#fail(error);
    });
    request.on('response', (response) => {
      if (this.#request === request) this.#refused(request, response);
    });
    request.on('upgrade', (response, socket, head) => {
      if (this.#request === request) this.#upgraded(response, socket, head);
      else socket.destroy();
    });
    if (options.finishRequest) options.finishRequest(request, this.#hooks.websocket);
    else request.end();
  }

  /** Gives up. The error is told in the next tick. */
  abort(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    disarm(this);
    const request = this.#request;
    this.#request = null;
    request?.destroy();
    this.#hooks.closing();
    nextTick(() => this.#hooks.failed(error));
  }

  expire(): void {
    this.abort(new Error('Opening handshake has timed out'));
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    disarm(this);
    this.#request = null;
    this.#hooks.failed(error);
  }

  #refused(request: ClientRequest, response: IncomingMessage): void {
    const { location } = response.headers;
    const status = response.statusCode ?? 0;
    if (location === undefined || !this.#options.followRedirects || status < 300 || status >= 400) {
      // A listener takes over: it reads the response and ends the connection.
      if (!this.#hooks.websocket.emit('unexpected-response', request, response)) {
        this.abort(new Error(`Unexpected server response: ${status}`));
      }
      return;
    }
    if (++this.#redirects > (this.#options.maxRedirects ?? 10)) {
      this.abort(new Error('Maximum redirects exceeded'));
      return;
    }
    this.#request = null;
    request.destroy();
    let target: Target;
    try {
      target = parseTarget(location, this.#hooks.websocket.url);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    this.request(target);
  }

  /** As curl does: what was meant for one host is not for another, nor for one that can be listened to. */
  #dropCredentials(target: Target): void {
    // A listener of `redirect` has taken that into its own hands.
    if (this.#hooks.websocket.listenerCount('redirect') > 0) return;
    const origin = this.#origin!;
    const isSameHost =
      (origin.socketPath === undefined) === (target.socketPath === undefined) && origin.host === target.host;
    if (isSameHost && !(origin.isSecure && !target.isSecure)) return;
    delete this.#headers['authorization'];
    delete this.#headers['cookie'];
    if (!isSameHost) delete this.#headers['host'];
    this.#auth = undefined;
  }

  #upgraded(response: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#hooks.websocket.emit('upgrade', response);
    // A listener may have closed it.
    if (this.#isOver) return;
    const options = this.#options;
    let protocol: string;
    let compression: MessageDeflate | null = null;
    try {
      const answer = parseResponse({ status: 101, headers: response.headers }, this.#key, {
        protocols: this.#protocols,
        extensions: this.#deflate === null ? [] : ['permessage-deflate'],
      });
      protocol = answer.protocol;
      if (this.#deflate !== null) {
        const parameters = acceptAnswer(answer.extensions, this.#deflate);
        if (parameters !== undefined) compression = new MessageDeflate('client', parameters, this.#deflate);
      }
    } catch (error) {
      socket.on('error', () => {});
      socket.destroy();
      this.abort(error as Error);
      return;
    }
    this.#isOver = true;
    this.#request = null;
    disarm(this);
    const interval = options.pingInterval ?? 0;
    this.#hooks.opened({
      socket,
      head,
      protocol,
      compression,
      options: connectionOptions('client', options, { generateMask: options.generateMask }),
      heartbeat: interval > 0 ? Heartbeat.shared(interval, options.pongTimeout ?? interval) : null,
    });
  }
}

type Connect = NonNullable<RequestOptions['createConnection']>;

// `path` is the request's in these options, and a unix socket's for node:net.
const connectPlain: Connect = (options) =>
  netConnect({ ...options, path: options.socketPath } as unknown as NetConnectOpts);

const connectTls: Connect = (options) => {
  const { host, servername } = options as { host?: string; servername?: string };
  return tlsConnect({
    ...options,
    path: undefined,
    servername: servername ?? (host === undefined || isIP(host) ? '' : host),
  } as TlsConnectionOptions);
};
