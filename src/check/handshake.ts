/** The opening handshake of the conformance runner, both sides (RFC 6455 §4), on raw sockets; `streams.ts` has that of HTTP/2. */
import { createHash, randomBytes } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';

const maxHeadOctets = 16_384;

export interface Head {
  /** The request line or status line. */
  startLine: string;
  /** Names in lower case; values of a repeated header joined by commas. */
  headers: Map<string, string>;
  /** As it came. */
  raw: string;
  /** Octets that came behind it. */
  rest: Buffer;
}

export class HandshakeTimeout extends Error {
  /** Milliseconds that were waited. */
  readonly timeout: number;

  constructor(timeout: number) {
    super(`no complete HTTP head within ${timeout} ms`);
    this.timeout = timeout;
  }
}

/** Reads one HTTP head, and leaves the socket paused. @throws {HandshakeTimeout} */
export function readHead(socket: Socket, timeout: number): Promise<Head> {
  return new Promise((resolve, reject) => {
    let octets = Buffer.alloc(0);
    const late = (): void => done(new HandshakeTimeout(timeout));
    const timer = setTimeout(late, timeout);
    const onData = (chunk: Buffer): void => {
      octets = Buffer.concat([octets, chunk]);
      const end = octets.indexOf('\r\n\r\n');
      if (end >= 0) {
        socket.pause();
        done(undefined, end);
      } else if (octets.length > maxHeadOctets) {
        done(new Error(`an HTTP head of more than ${maxHeadOctets} octets`));
      }
    };
    const onError = (error: Error): void => done(error);
    const onClose = (): void => done(new Error('the peer closed the connection within the handshake'));
    const done = (error?: Error, end = 0): void => {
      clearTimeout(timer);
      socket.off('data', onData).off('error', onError).off('close', onClose);
      if (error) {
        reject(error);
        return;
      }
      const raw = octets.toString('latin1', 0, end);
      const [startLine = '', ...lines] = raw.split('\r\n');
      const headers = new Map<string, string>();
      for (const line of lines) {
        const colon = line.indexOf(':');
        if (colon < 1) continue;
        const name = line.slice(0, colon).trim().toLowerCase();
        const value = line.slice(colon + 1).trim();
        const before = headers.get(name);
        headers.set(name, before === undefined ? value : `${before}, ${value}`);
      }
      resolve({ startLine, headers, raw, rest: octets.subarray(end + 4) });
    };
    socket.on('data', onData).on('error', onError).on('close', onClose);
    socket.resume();
  });
}

function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

function hasToken(value: string | undefined, token: string): boolean {
  return (value ?? '').split(',').some((part) => part.trim().toLowerCase() === token);
}

export interface Dialled {
  socket: Duplex;
  request: string;
  response: Head;
}

/**
 * Asks a ws: or wss: address for a WebSocket. Rejects, with the reason, on an answer that makes none.
 *
 * @param offers the value of Sec-WebSocket-Extensions
 * @param timeout milliseconds
 */
export type Dial = (
  url: URL,
  offers: string | undefined,
  timeout: number,
  signal?: AbortSignal,
) => Promise<Dialled>;

/** By an upgrade, on a connection of its own. */
export const dial: Dial = async (url, offers, timeout, signal) => {
  const isSecure = url.protocol === 'wss:' || url.protocol === 'https:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port) || (isSecure ? 443 : 80);
  const servername = isIP(host) ? '' : host;
  const socket = isSecure ? connectTls({ host, port, servername }) : connectTcp({ host, port });
  socket.setNoDelay(true);
  // A broken connection is told by 'close' as well.
  socket.on('error', () => {});
  const abort = (): void => void socket.destroy();
  signal?.addEventListener('abort', abort);
  const key = randomBytes(16).toString('base64');
  const request = [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'User-Agent: tidings-conformance',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
    ...(offers === undefined ? [] : [`Sec-WebSocket-Extensions: ${offers}`]),
  ].join('\r\n');
  socket.write(`${request}\r\n\r\n`);
  try {
    const response = await readHead(socket, timeout);
    const { startLine, headers } = response;
    if (!/^HTTP\/1\.1 101 ?/.test(startLine)) throw new Error(`the server answered «${startLine}»`);
    if (!hasToken(headers.get('upgrade'), 'websocket')) throw new Error('no «Upgrade: websocket», §4.2.2');
    if (!hasToken(headers.get('connection'), 'upgrade')) throw new Error('no «Connection: Upgrade», §4.2.2');
    if (headers.get('sec-websocket-accept') !== acceptOf(key)) {
      throw new Error(`wrong Sec-WebSocket-Accept «${headers.get('sec-websocket-accept')}», §4.2.2`);
    }
    if (headers.has('sec-websocket-protocol')) throw new Error('a subprotocol that was not offered, §4.1');
    return { socket, request, response };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
};

/** A client that asks for a WebSocket. */
export interface Arrival {
  readonly socket: Duplex;
  readonly request: Head;
  /** Why it is no lawful request; undefined where it is one. */
  readonly fault: string | undefined;
  /** Says yes. @returns the head that was sent */
  accept(extensions: string | undefined): string;
  /** Answers with 400 and this reason. */
  refuse(reason: string): void;
}

/** Reads the request of a connection that has just come. @throws {HandshakeTimeout} */
export async function arrivalOn(socket: Socket, timeout: number): Promise<Arrival> {
  const request = await readHead(socket, timeout);
  return {
    socket,
    request,
    fault: refusalOf(request),
    accept: (extensions) => acceptUpgrade(socket, request, extensions),
    refuse(reason) {
      const body = `${reason}\n`;
      socket.resume();
      socket.end(
        `HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
    },
  };
}

/** Answers an upgrade request. Returns the head that was sent. */
export function acceptUpgrade(socket: Socket, request: Head, extensions: string | undefined): string {
  const response = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Server: tidings-conformance',
    `Sec-WebSocket-Accept: ${acceptOf(request.headers.get('sec-websocket-key') ?? '')}`,
    ...(extensions === undefined ? [] : [`Sec-WebSocket-Extensions: ${extensions}`]),
  ].join('\r\n');
  socket.write(`${response}\r\n\r\n`);
  return response;
}

/** Why a request is no WebSocket upgrade (§4.2.1), or undefined where it is one. */
function refusalOf(request: Head): string | undefined {
  const { startLine, headers } = request;
  if (!/^GET \S+ HTTP\/1\.1$/.test(startLine)) return `not a GET over HTTP/1.1: «${startLine}»`;
  if (!hasToken(headers.get('upgrade'), 'websocket')) return 'no «Upgrade: websocket»';
  if (!hasToken(headers.get('connection'), 'upgrade')) return 'no «Connection: Upgrade»';
  if (headers.get('sec-websocket-version') !== '13') return 'not «Sec-WebSocket-Version: 13»';
  const key = headers.get('sec-websocket-key') ?? '';
  if (Buffer.from(key, 'base64').length !== 16)
    return `Sec-WebSocket-Key «${key}» is not 16 octets in base64`;
  if (!headers.has('host')) return 'no Host header';
  return undefined;
}
