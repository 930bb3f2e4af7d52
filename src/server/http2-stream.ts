/**
 * Streams of HTTP/2 as sockets of WebSockets (RFC 8441): what is another than on a socket of TCP is here, and everything
 * else is the same.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, Http2ServerRequest, type Http2Stream, type ServerHttp2Stream } from 'node:http2';
import type { Duplex, Writable } from 'node:stream';
import { fieldsOf } from '../protocol/handshake.ts';

/** Whether it is a stream that waits for its response, or has had it. */
export function isStream(socket: Duplex): socket is ServerHttp2Stream {
  return 'pushAllowed' in socket;
}

/** The request that opened a stream, as the interceptors of a request by HTTP/1.1 see theirs. */
export function requestOf(
  stream: ServerHttp2Stream,
  headers: Record<string, unknown>,
  rawHeaders: string[],
): IncomingMessage {
  nameHost(headers);
  const request = new Http2ServerRequest(stream, headers as never, {}, rawHeaders as never);
  return request as unknown as IncomingMessage;
}

/** HTTP/2 says in `:authority` what HTTP/1.1 says in Host (RFC 9113 §8.3.1), which is what everybody reads. */
export function nameHost(headers: Record<string, unknown>): void {
  if (':authority' in headers) headers['host'] ??= headers[':authority'];
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

/** Ends the stream with `status`. What the client still sends is thrown away. */
export function refuseStream(
  stream: ServerHttp2Stream,
  status: number,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string | number | readonly string[] | undefined>>,
): void {
  stream.on('error', ignore);
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_CANCEL);
    return;
  }
  const lines = ['HTTP/2'];
  for (const [name, value] of Object.entries({ 'Content-Type': 'text/html', ...headers })) {
    for (const each of Array.isArray(value) ? value : [value]) {
      // What an application puts into a field must not become another.
      if (each !== undefined)
        lines.push(`${name}: ${String(each).replace(/[^\t\x20-\x7e\x80-\xff]+/g, ' ')}`);
    }
  }
  stream.respond({ ...fieldsOf(lines), ':status': status });
  stream.resume();
  stream.end(body);
  // The request has no end of its own (RFC 9113 §8.1).
  stream.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR));
}

/** What a reset is to a connection of TCP, RST_STREAM with CANCEL is to a stream (RFC 8441 §5). */
export function cancelOnDestroy(stream: Http2Stream): void {
  const { destroy } = stream;
  stream.destroy = (error) => {
    if (!stream.closed) stream.close(constants.NGHTTP2_CANCEL);
    return Reflect.apply(destroy, stream, [error]);
  };
}

function ignore(): void {}
