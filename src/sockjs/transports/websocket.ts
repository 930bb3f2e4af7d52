/**
 * `/<server>/<session>/websocket`: SockJS frames over a WebSocket, one session each; and `/websocket`, where
 * a WebSocket is the session itself, for clients that are no browsers.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { monotonicNow } from '../../clock.ts';
import { connectsWebSocket } from '../../protocol/handshake.ts';
import { Admission } from '../../server/admission.ts';
import { refuse } from '../../server/refusal.ts';
import { requestTarget } from '../../server/request-target.ts';
import type { Traffic } from '../../server/traffic.ts';
import {
  type Attributes,
  dropWaiting,
  type Handler,
  type HandshakeRequest,
  type Interceptor,
  type Transport,
} from '../../server/transport.ts';
import type { WebSocket } from '../../server/websocket.ts';
import { trafficOf, turnedAwayBy, WebSocketServer } from '../../server/websocket-server.ts';
import type { WebSocketServerOptions } from '../../server/websocket-server-options.ts';
import { parse } from '../frames.ts';
import { methodNotAllowed } from '../http.ts';
import { answer, longestText } from '../route.ts';
import { type Receiver, type SessionLimits, SockJsSession } from '../session.ts';
import type { Sweep } from '../sweep.ts';
import { Hixie76Connection, isHixie76 } from './hixie-76.ts';

/** As for SockJS's other sessions. */
const TOO_SLOW = 4430;

class WebSocketReceiver implements Receiver {
  readonly #websocket: WebSocket;
  readonly isWritable = true;

  constructor(websocket: WebSocket) {
    this.#websocket = websocket;
  }

  get bufferedAmount(): number {
    return this.#websocket.bufferedAmount;
  }

  get backlog(): number {
    return this.#websocket.backlog;
  }

  pause(): void {
    this.#websocket.pause();
  }

  resume(): void {
    this.#websocket.resume();
  }

  send(frame: string): boolean {
    this.#websocket.send(frame);
    return true;
  }

  end(): void {
    this.#websocket.close();
  }

  destroy(): void {
    if (!this.#websocket[dropWaiting](true)) this.#websocket.terminate();
  }
}

export interface WebSocketsOptions {
  limits: SessionLimits;
  interceptors: readonly Interceptor[];
  handler: Handler<Transport>;
  handleProtocols: WebSocketServerOptions['handleProtocols'];
  sweep: Sweep;
  hixie76: boolean;
}

export class SockJsWebSockets {
  readonly #options: WebSocketsOptions;
  readonly #framed: WebSocketServer;
  readonly #raw: WebSocketServer;
  readonly #sessions = new Map<object, SockJsSession>();
  /** Without that of `/websocket`. */
  readonly traffic: Traffic;

  constructor(options: WebSocketsOptions) {
    this.#options = options;
    const { interceptors, handler, handleProtocols, limits } = options;
    // SockJS escapes what proxies mangle, and Flash shims know no extensions: no compression.
    const shared = {
      noServer: true,
      interceptors,
      maxPayload: limits.maxMessage,
      perMessageDeflate: false,
      // A connection that died without a word; the frames' own heartbeat is one-way.
      pingInterval: limits.heartbeatDelay,
    };
    this.#framed = new WebSocketServer({
      ...shared,
      maxPayload: longestText(limits.maxMessage),
      handler: {
        opened: (websocket, request) =>
          this.#open(websocket, new WebSocketReceiver(websocket), request, websocket.attributes),
        message: (websocket, data) => this.#message(websocket, data.toString()),
        transportError: (websocket, error) => this.#sessions.get(websocket)?.transportError(error),
        closed: (websocket, code, reason) => this.#closed(websocket, code, reason),
      },
    });
    this.traffic = trafficOf(this.#framed);
    this.#raw = new WebSocketServer({
      ...shared,
      handler,
      handleProtocols,
      maxBackpressure: limits.maxBuffered + limits.maxMessage,
      tooSlowCode: TOO_SLOW,
    });
  }

  get malformed(): number {
    return turnedAwayBy(this.#framed).malformed + turnedAwayBy(this.#raw).malformed;
  }

  /** They count for connections that come from now on. */
  limitsChanged(): void {
    const { maxBuffered, maxMessage } = this.#options.limits;
    this.#framed.options.maxPayload = longestText(maxMessage);
    this.#raw.options.maxPayload = maxMessage;
    this.#raw.options.maxBackpressure = maxBuffered + maxMessage;
  }

  /** A plain request where a WebSocket handshake belongs. */
  request(request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== 'GET') {
      methodNotAllowed(response, 'GET');
      return;
    }
    const isUpgrade = request.headers.upgrade?.toLowerCase() === 'websocket';
    answer(
      response,
      400,
      isUpgrade ? '"Connection" must be "Upgrade".' : 'Can "Upgrade" only to "WebSocket".',
    );
  }

  /** @param isRaw for `/websocket`, without SockJS frames */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, isRaw: boolean): void {
    // On a stream of HTTP/2 it is a CONNECT (RFC 8441 §5).
    if (request.method !== 'GET' && !connectsWebSocket(request)) {
      socket.end(
        'HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
      );
    } else if (this.#options.hixie76 && !isRaw && request.method === 'GET' && isHixie76(request)) {
      this.#openHixie76(request, socket, head);
    } else {
      (isRaw ? this.#raw : this.#framed).handleUpgrade(request, socket, head, () => {});
    }
  }

  close(code: number, reason: string): void {
    for (const session of this.#sessions.values()) session.close(code, reason);
    for (const websocket of this.#raw.clients ?? []) websocket.close(code, reason);
  }

  #openHixie76(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { interceptors, limits } = this.#options;
    const rules = { interceptors, verifyClient: null, handshakeTimeout: 10_000 };
    const admission = new Admission(
      request,
      socket,
      (status, body, headers) => refuse(socket, status, body, headers),
      rules,
      request.headers.origin,
      () => {
        const connection = new Hixie76Connection(socket, longestText(limits.maxMessage), this.traffic, {
          opened: () => {
            this.#open(connection, connection, request, admission.attributes);
            admission.tell(this.#sessions.get(connection), undefined);
          },
          text: (text) => this.#message(connection, text),
          tooLong: () => this.#sessions.get(connection)?.tooLong(),
          closed: (wasClean) => {
            const isOpen = this.#sessions.has(connection);
            if (isOpen) this.#closed(connection, wasClean ? 1000 : 1006, '');
            else admission.tell(undefined, new Error('The handshake was not completed'));
          },
        });
        connection.accept(request, head);
      },
      () => {},
    );
    admission.begin();
  }

  #open(connection: object, receiver: Receiver, request: HandshakeRequest, attributes: Attributes): void {
    const { handler, limits, sweep } = this.#options;
    const session = new SockJsSession(
      'sockjs-websocket',
      this.traffic,
      attributes,
      requestedProtocol(request),
      handler,
      limits,
    );
    this.#sessions.set(connection, session);
    session.open(receiver, monotonicNow());
    sweep.add(session, () => {});
    session.begin(request);
  }

  #message(connection: object, text: string): void {
    const session = this.#sessions.get(connection);
    if (session === undefined || text === '') return;
    const received = parse(text, true);
    if ('error' in received) session.terminate();
    else void session.received(received.messages);
  }

  #closed(connection: object, code: number, reason: string): void {
    const session = this.#sessions.get(connection);
    this.#sessions.delete(connection);
    session?.lost(code, reason);
  }
}

/** SockJS has no subprotocols; a page asks for one in its URL. */
function requestedProtocol(request: HandshakeRequest): string {
  return new URLSearchParams(requestTarget(request).query).get('protocol') ?? '';
}
