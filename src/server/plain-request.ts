/**
 * A request whose upgrade nobody wants (RFC 9110 §7.8), given back to the http.Server as if it had not asked:
 * with its body, in its turn, and with whatever follows it on the connection.
 *
 * Once Node has parsed a head that asks for an upgrade, it reads no further as HTTP. (Without any upgrade
 * listener it answers such a request, but loses what came behind it in the same packet.) So the head is put back
 * in front of what follows, without the fields that ask, and Node begins anew on the same socket.
 */
import http, { type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Http2SecureServer, Http2Server } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { splitList } from '../protocol/token.ts';
import { refuse } from './refusal.ts';

/** Entries of `rawHeaders` up to which Node keeps them. */
const DEFAULT_RAW_HEADERS = 2000;

/** How Node serves a connection: not documented, but exported ever since. */
const { _connectionListener: serve } = http as {
  _connectionListener?: (this: HttpServer | HttpsServer, socket: Duplex) => void;
};
/** The response that the socket carries at the moment, in the order of the requests. */
type CarryingSocket = Duplex & { _httpMessage?: ServerResponse | null };

/** @param head what came behind the request's head */
export function answerPlainly(
  server: HttpServer | HttpsServer | Http2Server | Http2SecureServer,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  // One of HTTP/2 that takes HTTP/1.1 as well serves it in the same way.
  const own = server as HttpServer;
  const { maxHeadersCount } = own;
  const limit = typeof maxHeadersCount === 'number' ? 2 * maxHeadersCount : DEFAULT_RAW_HEADERS;
  if (limit > 0 && request.rawHeaders.length >= limit) {
    // Node may have dropped a field that says where the request ends.
    refuse(socket, 431);
    return;
  }
  socket.unshift(Buffer.concat([Buffer.from(headOf(request), 'latin1'), head]));
  inTurn(socket, () => beginAnew(own, socket));
}

/** Calls `answer` once the requests before it on the connection are answered; not at all where it ends with them. */
export function inTurn(socket: CarryingSocket, answer: () => void): void {
  const earlier = socket._httpMessage;
  if (!earlier) {
    answer();
    return;
  }
  socket.on('error', ignore);
  earlier.once('close', () => {
    socket.removeListener('error', ignore);
    if (!socket.destroyed && socket.writable) inTurn(socket, answer);
  });
}

function beginAnew(server: HttpServer | HttpsServer, socket: Duplex): void {
  // What was set for the time between two requests.
  if ('setTimeout' in socket) (socket as Socket).setTimeout(server.timeout);
  if (serve !== undefined) Reflect.apply(serve, server, [socket]);
  else server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket as Socket & TLSSocket);
}

/** As it came, without the upgrade and what Connection names beside it for the upgrade's sake. */
function headOf(request: IncomingMessage): string {
  const { method, url, httpVersion, rawHeaders } = request;
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    let value = rawHeaders[i + 1]!;
    const lowerName = name.toLowerCase();
    if (lowerName === 'upgrade' || lowerName === 'http2-settings') continue;
    if (lowerName === 'connection') {
      value = splitList(value).filter(isKept).join(', ');
      if (value === '') continue;
    }
    // Without a space, so that it is never longer than it was.
    head += `${name}:${value}\r\n`;
  }
  return `${head}\r\n`;
}

function isKept(option: string): boolean {
  return !/^(?:upgrade|http2-settings)?$/i.test(option);
}

function ignore(): void {}
