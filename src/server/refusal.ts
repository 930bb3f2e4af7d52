/** HTTP answers to those who don't get a WebSocket, written to the bare socket. */
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { asksForHead, cut, isStream, refuseStream } from './http2-stream.ts';
import { readTo } from './shared-read.ts';
import { chargeRefusal } from './stream-accounts.ts';

/** Milliseconds that the other side has to read the answer and to close. */
const LINGER_MS = 5000;
const NOTHING = Buffer.alloc(0);

/**
 * Answers with `status` and ends the connection. What the other side still sends is read and thrown away,
 * as a socket closed with unread bytes would be reset, and the answer could be lost with it.
 *
 * @param headers any of the default ones can be replaced, in any spelling
 */
export function refuse(
  socket: Duplex,
  status: number,
  body: string | Uint8Array = STATUS_CODES[status] ?? '',
  headers: Readonly<Record<string, string | number | readonly string[] | undefined>> = {},
): void {
  if (socket.destroyed) return;
  if (!socket.writable && !asksForHead(socket)) {
    cut(socket);
    return;
  }
  const content = typeof body === 'string' ? Buffer.from(body) : body;
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  const fields: typeof headers = {
    ...(!given.has('connection') && { Connection: 'close' }),
    ...(!given.has('content-type') && { 'Content-Type': 'text/html' }),
    ...(!given.has('content-length') && { 'Content-Length': content.length }),
    ...headers,
  };
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}`];
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined) lines.push(line(name, String(each)));
    }
  }
  const refusal = new Refusal(socket);
  if (isStream(socket)) {
    chargeRefusal(socket);
    // Node ends the stream itself where the answer has no content (RFC 9110 §9.3.2, §15.4.5).
    const hasContent = status !== 304 && !asksForHead(socket);
    refusal.write(hasContent ? content : NOTHING, () => refuseStream(socket, status, lines));
  } else refusal.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), content]));
}

function line(name: string, value: string): string {
  // What an application puts into a header must not become another header, or a body.
  // Nor what becomes one when it is written as latin1: U+010A would be a line feed.
  return `${name}: ${value}`.replace(/[^\t\x20-\x7e\x80-\xff]+/g, ' ');
}

class Refusal implements Expirable {
  deadline: Expirable['deadline'] = null;
  readonly #socket: Duplex;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  /** @param begin is called before it, when nothing can be thrown any more by the socket */
  write(answer: Uint8Array, begin?: () => void): void {
    const socket = this.#socket;
    arm(this, LINGER_MS);
    socket.on('error', () => cut(socket));
    socket.once('close', () => disarm(this));
    if (!readTo(socket)) socket.removeAllListeners('data');
    socket.resume();
    begin?.();
    if (answer.length > 0) socket.end(answer);
    else socket.end();
  }

  expire(): void {
    cut(this.#socket);
  }
}
