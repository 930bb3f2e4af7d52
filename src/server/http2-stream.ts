/**
 * Streams of HTTP/2 as sockets of WebSockets (RFC 8441): what is another than on a socket of TCP is here, and everything
 * else is the same.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  constants,
  Http2ServerRequest,
  Http2ServerResponse,
  type Http2Session,
  type Http2Stream,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex, Readable, Stream, Writable } from 'node:stream';
import { setImmediate } from '../clock.ts';
import { fieldsOf } from '../protocol/handshake.ts';
import { isToken } from '../protocol/token.ts';

/** Has the session take no more streams (GOAWAY). Those that are open live on. */
export function endGently(session: Http2Session): void {
  if (!session.closed && !session.destroyed) session.close();
}

/** Bytes that a peer may send on a stream of ours, and on all of a session, before we have read them: docs/http2.md has the figures. */
export const STREAM_WINDOW = 256 * 1024;
const SESSION_WINDOW = 1024 * 1024;

/**
 * Gives a session a window that its streams can share. With Node's of 64 KiB all of them together wait for the other side
 * after every 64 KiB. Nothing is held by it: Node gives it back as soon as bytes are with their stream, which has its own.
 */
export function widen(session: Http2Session): void {
  const { effectiveLocalWindowSize = 0 } = session.state;
  if (effectiveLocalWindowSize < SESSION_WINDOW) session.setLocalWindowSize(SESSION_WINDOW);
}

/** Whether it is a stream that waits for its response, or has had it. */
export function isStream(socket: Duplex): socket is ServerHttp2Stream {
  return 'pushAllowed' in socket;
}

/** Whether it is a stream of either side. */
export function isOfHttp2(socket: Stream): socket is ServerHttp2Stream {
  return 'rstCode' in socket;
}

/**
 * Calls back when Node is through with what it has read of the session; at once for what is no stream. Within an event of a
 * stream not everything may be done to the others of its session:
 * - within `close` of one that was answered, Node 20 goes round for ever where somebody destroys the session, or resets
 *   another stream of it otherwise than by CANCEL, and later releases may end the process (an assertion);
 * - within any event, Node 22 and 26 may end the process where another response is reset, as those wait for trailers.
 *
 * So nobody is told within its event that a stream has ended, and all but WebSockets are reset by `cut`.
 */
function whenThrough(socket: Stream, callback: () => void): void {
  if (isOfHttp2(socket)) setImmediate(callback);
  else callback();
}

/** Calls back when the socket, or the body of a response (see `bodyOf`), is closed. */
export function afterClose(socket: Stream, callback: () => void): void {
  socket.once('close', () => whenThrough(socket, callback));
}

/** Ends it before its time, whatever is still to be written or read. */
export function cut(socket: Stream & { destroy(): void }): void {
  whenThrough(socket, () => {
    if (isOfHttp2(socket)) cancel(socket);
    socket.destroy();
  });
}

/** Bytes that the streams of a session were given to write and have not written. */
export interface Held {
  bytes: number;
}

const held = new WeakMap<Http2Session, Held>();

/** Of the session that the stream is on; undefined for what is no stream of one. */
export function heldWith(socket: Writable): Held | undefined {
  const session = isOfHttp2(socket) ? socket.session : undefined;
  if (session === undefined) return undefined;
  let ofSession = held.get(session);
  if (ofSession === undefined) {
    ofSession = { bytes: 0 };
    held.set(session, ofSession);
  }
  return ofSession;
}

/** Whether it is a stream that asks by HEAD: Node has ended our side of it already, and still sends the head of an answer. */
export function asksForHead(socket: Duplex): boolean {
  return (socket as { headRequest?: boolean }).headRequest === true;
}

/** What a server of HTTP/2 tells of a stream that was opened. */
export type StreamEvent = [
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: string[],
];

/** The request that opened a stream, as the interceptors of a request by HTTP/1.1 see theirs. */
export function requestOf(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: string[],
): IncomingMessage {
  nameHost(headers);
  const request = new Http2ServerRequest(stream, headers as never, {}, rawHeaders as never);
  return request as unknown as IncomingMessage;
}

/** The response to it, as those of HTTP/1.1 are. */
export function responseTo(stream: ServerHttp2Stream): ServerResponse {
  return new Http2ServerResponse(stream) as unknown as ServerResponse;
}

/**
 * HTTP/2 says in `:authority` what HTTP/1.1 says in Host (RFC 9113 §8.3.1), which is what everybody reads. A Host beside it
 * says nothing: whoever has passed the request on went by `:authority`.
 */
export function nameHost(headers: IncomingHttpHeaders): void {
  const { ':authority': authority } = headers;
  if (authority !== undefined) headers.host = authority;
}

/**
 * What the body of a response is written to, and knows how full it is, or that of a request is read from, and ends it: with
 * HTTP/2 that is the stream.
 */
export function bodyOf(response: ServerResponse): Writable;
export function bodyOf(request: IncomingMessage): Readable;
export function bodyOf(message: ServerResponse | IncomingMessage): Writable | Readable {
  return (message as { stream?: ServerHttp2Stream }).stream ?? message;
}

/** Says that the stream is a WebSocket. */
export function acceptStream(stream: ServerHttp2Stream, fields: Record<string, string | string[]>): void {
  // Whoever has added fields may have ended it.
  if (!stream.closed && !stream.destroyed) stream.respond({ ...fields, ':status': 200 });
  becomeSocket(stream);
}

/** What programs read of a WebSocket's socket (`_socket`) is that of its session. */
const PLACE = [
  'remoteAddress',
  'remoteFamily',
  'remotePort',
  'localAddress',
  'localPort',
  'encrypted',
] as const;

/** Makes a stream that is a WebSocket from now on as much like a socket of TCP as others rely on. */
export function becomeSocket(stream: Http2Stream): void {
  cancelOnDestroy(stream);
  const { session } = stream;
  if (session === undefined || session.destroyed) return;
  const socket = session.socket as unknown as Record<string, unknown>;
  for (const name of PLACE) {
    Object.defineProperty(stream, name, { value: socket[name], writable: true, configurable: true });
  }
}

/**
 * Begins the answer of a refusal; its body is to be written behind it.
 *
 * @param status of success it is 403, as any of those would make a WebSocket of the stream (RFC 8441 §5); above 599 it is
 * 500, as Node sends no others over HTTP/2
 * @param lines as of HTTP/1.1; one whose name can't be a field's is left out
 */
export function refuseStream(stream: ServerHttp2Stream, status: number, lines: readonly string[]): void {
  const named = lines.filter((line, i) => i === 0 || isToken(line.slice(0, line.indexOf(':'))));
  const told = status < 300 ? 403 : status > 599 ? 500 : status;
  stream.respond({ ...fieldsOf(named), ':status': told });
  // The request has no end of its own (RFC 9113 §8.1). A reset in the same turn would overtake a response without content.
  stream.once('finish', () => setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR)));
}

const cancelled = new WeakSet<Http2Stream>();

/** Whether it was reset by us, and not by the other side or by Node. */
export function isCancelled(stream: Http2Stream): boolean {
  return cancelled.has(stream);
}

/** What a reset is to a connection of TCP, RST_STREAM with CANCEL is to a stream (RFC 8441 §5). */
function cancel(stream: Http2Stream): void {
  if (stream.closed) return;
  cancelled.add(stream);
  stream.close(constants.NGHTTP2_CANCEL);
}

/** At once: nothing more of it is read, and no trailers are waited for. */
function cancelOnDestroy(stream: Http2Stream): void {
  const { destroy } = stream;
  stream.destroy = (error) => {
    cancel(stream);
    return Reflect.apply(destroy, stream, [error]);
  };
}
