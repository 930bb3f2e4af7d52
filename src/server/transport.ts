/**
 * What an application's session rides on, whichever way it came in: a WebSocket connection or a SockJS
 * session. Interceptors and handlers are written once, against this.
 */
import type { IncomingHttpHeaders } from 'node:http';

/** `sent`: handed to the kernel or on its way this tick; `queued`: the peer reads slower than we write; `dropped`: not accepted. */
export type SendResult = 'sent' | 'queued' | 'dropped';

/** Module-internal: the name of a transport's `send` for what has no hurry. */
export const sendSoon = Symbol('send soon');
/** Module-internal: the name of what drops what waits. */
export const dropWaiting = Symbol('drop waiting');

/** The ways by which a session can come: a WebSocket of its own, or one of SockJS's transports. */
export const TRANSPORT_KINDS = [
  'websocket',
  'sockjs-websocket',
  'xhr-streaming',
  'xhr-polling',
  'eventsource',
  'htmlfile',
  'jsonp',
] as const;
/** One of these ways. */
export type TransportKind = (typeof TRANSPORT_KINDS)[number];

/** A connection, by WebSocket or SockJS, with the same methods. */
export interface Transport {
  /** By which way it came. Left out: a WebSocket of its own. */
  readonly kind?: TransportKind;
  /** The subprotocol in use; empty where there is none. */
  readonly protocol: string;
  /** 0 connecting, 1 open, 2 closing, 3 closed, as in the browser's WebSocket. */
  readonly readyState: 0 | 1 | 2 | 3;
  /** Bytes accepted by `send` that the network has not taken yet. */
  readonly bufferedAmount: number;
  /** In no unit: falls whenever the network takes something, also of what is under way, as far as that can be known. */
  readonly backlog: number;
  /** What interceptors have put there: who it is, and until when. */
  readonly attributes: Attributes;
  /** A string goes as text, bytes as binary. Never throws because of the peer. */
  send(data: string | Buffer): SendResult;
  /** Module-internal: text that leaves in one write with what this turn sends next. Absent: as `send`. */
  [sendSoon]?(data: string): void;
  /** Begins the closing handshake. Default: 1000, or no code where none is given. */
  close(code?: number, reason?: string): void;
  /** Reads nothing more, so that the peer has to wait. `send` works as before. */
  pause(): void;
  /** Reads again. */
  resume(): void;
  /** Cuts the connection without a closing handshake. */
  terminate(): void;
  /**
   * Module-internal: drops what waits for the network, and the connection with it where that can't be without the other.
   * False where the session is as it was but for what has not begun to leave: then it can still be closed.
   *
   * @param ofThisTurn also what waits for nothing but the end of the turn
   */
  [dropWaiting](ofThisTurn: boolean): boolean;
}

/** What interceptors say of who has come. A push server looks at the named ones once, behind all its interceptors. */
export interface Attributes {
  /** The user's name, 1 to 128 characters. */
  user?: string;
  /** The id of the user's login or session at the application, 1 to 256 characters. */
  login?: string;
  /** When that login ends, in milliseconds since 1970. Left out: not by itself. */
  expires?: number;
  /** Topics that the session is subscribed to without asking. */
  topics?: readonly string[];
  [name: string]: unknown;
}

/** The request that opened a session: Node's IncomingMessage, or the raw listener's own. */
export interface HandshakeRequest {
  /** Such as GET. */
  readonly method?: string;
  /** Path and query, as it came. */
  readonly url?: string;
  /** Lower-case names. */
  readonly headers: IncomingHttpHeaders;
  /** Where it came from. */
  readonly socket: { readonly remoteAddress?: string; readonly encrypted?: boolean };
}

/** Runs around the opening handshake, in the order given (`after` in the reverse order). */
export interface Interceptor {
  /**
   * Looks at the request and fills `attributes`. A returned Response refuses the handshake with it; a
   * throw or a rejection refuses it with 500.
   */
  before?(
    request: HandshakeRequest,
    attributes: Attributes,
  ): Response | undefined | void | Promise<Response | undefined | void>;
  /** The handshake has succeeded (`transport`) or not (`error`). */
  after?(request: HandshakeRequest, transport: Transport | undefined, error: Error | undefined): void;
}

/** What the application does with a session's life. None of these may throw past the session. */
export interface Handler<T> {
  /** The session is open, and may be sent to. */
  opened?(session: T, request: HandshakeRequest): void;
  /** A message came. The bytes are the handler's to keep. */
  message?(session: T, data: Buffer, isBinary: boolean): void;
  /** With the option `partial`, in place of message: a piece as it came. Text is cut between characters. */
  fragment?(session: T, data: Buffer, isBinary: boolean, isLast: boolean): void;
  /** Something went wrong with the connection; `closed` follows. */
  transportError?(session: T, error: Error): void;
  /** It is over. 1006 where no close frame came. */
  closed?(session: T, code: number, reason: string): void;
}
