/**
 * SockJS (protocol 0.3.3) below one prefix of an existing `http.Server`: greeting, `/info`, the iframe
 * page, and the transports of `/<server>/<session>/`. All other requests stay the application's.
 */
import { randomInt } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { listenFirst } from '../listen-first.ts';
import { asksForWebSocket } from '../protocol/handshake.ts';
import { attempt } from '../server/handler-calls.ts';
import { requestOf, responseTo, type StreamEvent } from '../server/http2-stream.ts';
import { checkInterceptors } from '../server/options.ts';
import { OriginPolicy, type Origins, originOf } from '../server/origin.ts';
import { answerPlainly, inTurn } from '../server/plain-request.ts';
import { refuse } from '../server/refusal.ts';
import { requestTarget } from '../server/request-target.ts';
import { type Traffics, trafficByKind } from '../server/traffic.ts';
import type { Handler, HandshakeRequest, Interceptor, Transport } from '../server/transport.ts';
import { addRoute, type UpgradableServer } from '../server/upgrade-router.ts';
import type { WebSocketServerOptions } from '../server/websocket-server-options.ts';
import type { Bus } from './bus.ts';
import type { Fence } from './fence.ts';
import { cors, methodNotAllowed, neverCache, notFound, preflight, stickyCookie } from './http.ts';
import { IframePage } from './iframe.ts';
import { answer, fail, type Route } from './route.ts';
import { type HttpSessionLimits, HttpSessions } from './sessions.ts';
import { Sweep } from './sweep.ts';
import { eventsource } from './transports/eventsource.ts';
import { htmlfile } from './transports/htmlfile.ts';
import { jsonp } from './transports/jsonp.ts';
import { jsonpSend } from './transports/jsonp-send.ts';
import { SockJsWebSockets } from './transports/websocket.ts';
import { xhr } from './transports/xhr.ts';
import { xhrSend } from './transports/xhr-send.ts';
import { xhrStreaming } from './transports/xhr-streaming.ts';

/** Milliseconds. */
export const DEFAULT_HEARTBEAT_DELAY = 25_000;
export const DEFAULT_DISCONNECT_DELAY = 5_000;

export interface SockJsOptions {
  server: UpgradableServer;
  /** Path of the endpoint, such as `/sockjs/socketServer`; without a slash at the end. */
  prefix: string;
  interceptors?: readonly Interceptor[];
  handler: Handler<Transport>;
  /**
   * Takes the upgrades of `/websocket`, where a WebSocket is the session itself, in place of a WebSocketServer of this
   * server's own. Their origin is not checked before.
   */
  raw?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Chooses a subprotocol on `/websocket`. Default: the first that is offered. */
  handleProtocols?: WebSocketServerOptions['handleProtocols'];
  /** Pages that may connect besides those of the same origin; `*` is any. Default: none. */
  origins?: Origins | OriginPolicy;
  /** The client's address, for the limit per address. Default: the socket's. */
  addressOf?: (request: HandshakeRequest) => string;
  /** Offer the websocket transports. Default true. */
  websocket?: boolean;
  /** Accept the hixie-76 handshake (2010) of the oldest browsers and Flash shims. Default false. */
  hixie76?: boolean;
  /** Set the JSESSIONID cookie, for load balancers that stick to it. Default false. */
  jsessionid?: boolean;
  /** Where the iframe page finds sockjs-client: a path or an http(s) URL. Default `/sockjs.min.js`. */
  clientUrl?: string;
  /** What `/info` tells clients to use in place of the URL they know, such as this instance's own. */
  baseUrl?: string;
  /** Bytes of frames in one streaming response. Default 128 KiB. */
  responseLimit?: number;
  /** Milliseconds between heartbeat frames. Default 25_000. */
  heartbeatDelay?: number;
  /** Milliseconds without a receiving request until a session is over. Default 5_000. */
  disconnectDelay?: number;
  /** Looks at what waits before it goes to clients. Default: all of it may. */
  fence?: Fence;
  /** To the other instances, where requests may come to any. Default: none, balancing must be sticky. */
  bus?: Bus;
  /**
   * Bytes of one message, and of several that are sent together about three times that. Over it the session is closed with
   * 1009. Default 1 MiB.
   */
  maxMessage?: number;
  /** Bytes that may wait in one session; with more, the next message closes it with 4430. Default 1 MiB. */
  maxBuffered?: number;
  /** HTTP sessions in all. Default 10_000. */
  maxSessions?: number;
  /** HTTP sessions of one address. Default 100. */
  maxSessionsPerAddress?: number;
}

const routes: Record<string, Route> = {
  xhr,
  xhr_send: xhrSend,
  xhr_streaming: xhrStreaming,
  eventsource,
  htmlfile,
  jsonp,
  jsonp_send: jsonpSend,
};
Object.setPrototypeOf(routes, null);

/** What a server that runs takes anew. */
export interface Changes {
  origins: OriginPolicy;
  maxMessage: number;
  maxSessions: number;
  maxSessionsPerAddress: number;
}

export class SockJsServer {
  readonly #server: UpgradableServer;
  readonly #prefix: string;
  #origins: OriginPolicy;
  readonly #jsessionid: boolean;
  readonly #info: Record<string, unknown>;
  readonly #iframe: IframePage;
  readonly #sessions: HttpSessions;
  readonly #webSockets: SockJsWebSockets | undefined;
  readonly #raw: SockJsOptions['raw'];
  readonly #sweep: Sweep;
  readonly #limits: HttpSessionLimits;
  /** What came and went by each transport, but `/websocket`. */
  readonly traffic: Traffics;
  readonly #removeRoute: () => void;
  readonly #release: () => void;
  #foreign = 0;

  constructor(options: SockJsOptions) {
    const { server, prefix, websocket = true } = options;
    if (!/^(?:\/[^/?#]+)+$/.test(prefix)) {
      throw new TypeError(`sockjs prefix: ${JSON.stringify(prefix)} is not of the form /path or /path/path`);
    }
    this.#server = server;
    this.#prefix = prefix;
    this.#origins = policyOf(options.origins);
    this.#raw = options.raw;
    this.#jsessionid = options.jsessionid ?? false;
    this.#iframe = new IframePage(options.clientUrl ?? '/sockjs.min.js', this.#origins.list);
    this.#info = {
      websocket,
      origins: ['*:*'],
      cookie_needed: this.#jsessionid,
      ...(options.baseUrl === undefined ? {} : { base_url: options.baseUrl }),
    };
    checkInterceptors(options.interceptors);
    const interceptors = options.interceptors ?? [];
    const limits: HttpSessionLimits = {
      fence: options.fence,
      heartbeatDelay: options.heartbeatDelay ?? DEFAULT_HEARTBEAT_DELAY,
      disconnectDelay: options.disconnectDelay ?? DEFAULT_DISCONNECT_DELAY,
      maxBuffered: options.maxBuffered ?? 1024 * 1024,
      responseLimit: options.responseLimit ?? 128 * 1024,
      maxMessage: options.maxMessage ?? 1024 * 1024,
      maxSessions: options.maxSessions ?? 10_000,
      maxSessionsPerAddress: options.maxSessionsPerAddress ?? 100,
    };
    this.#limits = limits;
    const addressOf = options.addressOf ?? ((request) => request.socket.remoteAddress ?? '');
    const { handler, hixie76 = false } = options;
    this.#sweep = new Sweep(Math.min(limits.heartbeatDelay, limits.disconnectDelay));
    if (websocket) {
      const { handleProtocols } = options;
      const parts = { limits, interceptors, handler, handleProtocols, sweep: this.#sweep, hixie76 };
      this.#webSockets = new SockJsWebSockets(parts);
    }
    const framed = this.#webSockets?.traffic;
    this.traffic = trafficByKind(framed === undefined ? {} : { 'sockjs-websocket': framed });
    this.#sessions = new HttpSessions({
      limits,
      interceptors,
      handler,
      addressOf,
      sweep: this.#sweep,
      bus: options.bus,
      traffic: this.traffic,
    });
    this.#removeRoute = addRoute(server, {
      matches: (request) => this.#pathOf(request) !== undefined,
      upgrade: (request, socket, head) => this.#upgrade(request, socket, head),
    });

    // Whoever listens to the server, now or later, does not see the requests and upgrades below the prefix.
    this.#release = listenFirst(server, (event, args) => this.#claim(event, args));
  }

  /** These count for connections and sessions that come from now on, and for messages of those that are there. */
  change({ origins, ...limits }: Changes): void {
    this.#origins = origins;
    this.#iframe.permit(this.#origins.list);
    Object.assign(this.#limits, limits);
    this.#webSockets?.limitsChanged();
  }

  /** Leaves the HTTP server as it was and closes every session with this code. */
  close(code = 1001, reason = 'Going away'): void {
    this.#release();
    this.#removeRoute();
    this.#sessions.close(code, reason);
    this.#webSockets?.close(code, reason);
    this.#sweep.stop();
  }

  /** Sessions over HTTP: also those that are over, and only kept for late requests. */
  get httpSessions(): number {
    return this.#sessions.size;
  }

  /** Who did not come in, and about whom no interceptor was asked. Of foreign pages it counts requests. */
  get turnedAway(): Readonly<Record<'closing' | 'full' | 'address' | 'origin' | 'malformed', number>> {
    const malformed = this.#webSockets?.malformed ?? 0;
    return { ...this.#sessions.turnedAway, origin: this.#foreign, malformed };
  }

  #claim(event: string | symbol, args: unknown[]): boolean {
    if (event === 'upgrade') return this.#claimUpgrade(...(args as [IncomingMessage, Duplex, Buffer]));
    if (event === 'stream') return this.#claimStream(...(args as StreamEvent));
    if (event !== 'request' && event !== 'checkContinue') return false;
    const [request, response] = args as [IncomingMessage, ServerResponse];
    if (this.#pathOf(request) === undefined) return false;
    if (event === 'checkContinue') response.writeContinue();
    this.#request(request, response);
    return true;
  }

  /** A server of HTTP/2 tells of requests as such only where somebody listens for them; a CONNECT comes by the route. */
  #claimStream(...[stream, headers, , rawHeaders]: StreamEvent): boolean {
    if (headers[':method'] === 'CONNECT' || this.#pathOf({ url: headers[':path'] }) === undefined)
      return false;
    const response = responseTo(stream);
    if (headers.expect === '100-continue') response.writeContinue();
    this.#request(requestOf(stream, headers, rawHeaders), response);
    return true;
  }

  #claimUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    if (this.#pathOf(request) === undefined) return false;
    if (asksForWebSocket(request)) inTurn(socket, () => this.#upgrade(request, socket, head));
    else answerPlainly(this.#server, request, socket, head);
    return true;
  }

  /** The part of the path behind the prefix, or undefined for a request that is not ours. */
  #pathOf(request: Pick<IncomingMessage, 'url'>): string | undefined {
    const { path } = requestTarget(request);
    if (!path.startsWith(this.#prefix)) return undefined;
    const rest = path.slice(this.#prefix.length);
    return rest === '' || rest[0] === '/' ? rest : undefined;
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = this.#pathOf(request)!;
    const isRaw = path === '/websocket';
    if (this.#webSockets === undefined || !(isRaw || sessionPath(path)?.[1] === 'websocket')) {
      refuse(socket, 404);
    } else if (isRaw && this.#raw !== undefined) {
      this.#raw(request, socket, head);
    } else if (!this.#origins.allows(request)) {
      this.#foreign++;
      refuse(socket, 403);
    } else {
      this.#webSockets.upgrade(request, socket, head, isRaw);
    }
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    const path = this.#pathOf(request)!;
    const { method = '' } = request;
    if (path === '' || path === '/') {
      answer(response, 200, 'Welcome to SockJS!\n');
      return;
    }
    if (/^\/iframe[^/]*\.html$/.test(path)) {
      if (method === 'GET') this.#iframe.answer(request, response);
      else methodNotAllowed(response, 'GET');
      return;
    }
    const [, transport, id] = sessionPath(path) ?? [];
    const isInfo = path === '/info';
    const route = transport === undefined ? undefined : routes[transport];
    if (path === '/websocket' || transport === 'websocket') {
      if (this.#webSockets === undefined) notFound(response);
      else this.#webSockets.request(request, response);
      return;
    }
    if (!isInfo && (route === undefined || id === undefined)) {
      notFound(response);
      return;
    }

    if (!isAllowed(request, this.#origins, transport === 'jsonp' || transport === 'htmlfile')) {
      this.#foreign++;
      answer(response, 403, 'Pages of this origin may not connect here.');
      return;
    }
    const allowed = route?.method ?? 'GET';
    cors(request, response, this.#origins.list === undefined);
    if (this.#jsessionid && !isInfo) stickyCookie(request, response);
    if (method === 'OPTIONS') {
      preflight(request, response, allowed);
      return;
    }
    if (method !== allowed) {
      methodNotAllowed(response, `OPTIONS, ${allowed}`);
      return;
    }
    neverCache(response);
    if (isInfo) {
      // Old browsers have no good randomness of their own.
      const info = JSON.stringify({ ...this.#info, entropy: randomInt(2 ** 32) });
      answer(response, 200, info, 'application/json; charset=UTF-8');
      return;
    }
    const query = new URLSearchParams(requestTarget(request).query);
    attempt(
      () => route!.run({ request, response, query, id: id! }, this.#sessions),
      (error) => fail(response, error),
    );
  }
}

/** `/<server>/<session>/<transport>`: the server part is for load balancers. Dots are for files. */
function sessionPath(path: string): [path: string, transport: string, id: string] | undefined {
  const match = /^\/[^/.]+\/([^/.]+)\/([a-z_]+)$/.exec(path);
  return match === null ? undefined : [path, match[2]!, match[1]!];
}

function policyOf(origins: Origins | OriginPolicy | undefined): OriginPolicy {
  return origins instanceof OriginPolicy ? origins : new OriginPolicy(origins);
}

/**
 * Whether the page behind a request may use it. A browser sends no Origin with a GET of the same origin, nor with what
 * an element loads: a foreign page could read a `jsonp` session with its visitor's cookies, or open sessions in his name
 * by images. So these are judged by Sec-Fetch-Site (Fetch Metadata) or else by their Referer. Where there is neither,
 * a script or frame is refused, and anything else comes from a program or from a very old browser.
 */
function isAllowed(request: IncomingMessage, origins: OriginPolicy, isElement: boolean): boolean {
  if (originOf(request) !== undefined || origins.list === undefined) return origins.allows(request);
  const { referer, cookie, 'sec-fetch-site': site } = request.headers;
  if (site === 'same-origin' || (site === 'none' && !isElement)) return true;
  if (referer !== undefined) {
    const isOurs = URL.canParse(referer) && origins.allows(request, new URL(referer).origin);
    if (isOurs || site !== undefined || isElement || cookie !== undefined) return isOurs;
  }
  return site === undefined && !isElement;
}
