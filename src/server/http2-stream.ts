/**
 * Streams of HTTP/2 as sockets of WebSockets (RFC 8441): what is another than on a socket of TCP is here, and everything
 * else is the same.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  constants,
  Http2ServerRequest,
  Http2ServerResponse,
  type Http2Stream,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex, Writable } from 'node:stream';
import { setImmediate } from '../clock.ts';
import { fieldsOf } from '../protocol/handshake.ts';
import { isToken } from '../protocol/token.ts';

/** Whether it is a stream that waits for its response, or has had it. */
export function isStream(socket: Duplex): socket is ServerHttp2Stream {
  return 'pushAllowed' in socket;
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

/** HTTP/2 says in `:authority` what HTTP/1.1 says in Host (RFC 9113 §8.3.1), which is what everybody reads. */
function nameHost(headers: IncomingHttpHeaders): void {
  if (':authority' in headers) headers.host ??= headers[':authority'];
}

/** What the body of a response is written to, and knows how full it is: with HTTP/2 that is the stream, not the response. */
export function bodyOf(response: ServerResponse): Writable {
  return (response as { stream?: ServerHttp2Stream }).stream ?? response;
}

/** Says that the stream is a WebSocket. */
export function acceptStream(stream: ServerHttp2Stream, fields: Record<string, string[]>): void {
  stream.respond({ ...fields, ':status': 200 });
  cancelOnDestroy(stream);
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

/** What a reset is to a connection of TCP, RST_STREAM with CANCEL is to a stream (RFC 8441 §5). */
export function cancelOnDestroy(stream: Http2Stream): void {
  const { destroy } = stream;
  stream.destroy = (error) => {
    if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL);
    return Reflect.apply(destroy, stream, [error]);
  };
}
