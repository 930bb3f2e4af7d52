/** The opening handshake on streams of HTTP/2 (RFC 8441), both sides. The frames on a stream are those of RFC 6455. */
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type Http2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { type Arrival, type Dial, HandshakeTimeout, type Head } from './handshake.ts';

/** So that messages of megabytes need not wait for us. */
const SETTINGS = { initialWindowSize: 1024 * 1024 };
/** Megabytes that Node may hold for a session: with its 10 it would refuse streams while messages of 16 MiB leave on others. */
const MEMORY = 1024;
const { NGHTTP2_CANCEL } = http2.constants;

/** WebSockets on one session to a server, and on another one once that has ended. */
export class Streams {
  #session: Promise<ClientHttp2Session> | undefined;

  readonly dial: Dial = async (url, offers, timeout, signal) => {
    const fields: OutgoingHttpHeaders = {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': isSecure(url) ? 'https' : 'http',
      ':authority': url.host,
      ':path': `${url.pathname}${url.search}`,
      'user-agent': 'tidings-conformance',
      'sec-websocket-version': '13',
      ...(offers !== undefined && { 'sec-websocket-extensions': offers }),
    };
    let stream: ClientHttp2Stream | undefined;
    let isOver = false;
    const answered = this.#sessionTo(url).then((session) => {
      if (isOver) throw new Error('it is not wanted any more');
      stream = session.request(fields, { endStream: false });
      return answerTo(stream);
    });
    try {
      const response = await within(timeout, signal, answered);
      const status = Number(response.headers.get(':status'));
      if (!(status >= 200 && status <= 299)) throw new Error(`the server answered «${response.startLine}»`);
      if (response.headers.has('sec-websocket-protocol'))
        throw new Error('a subprotocol that was not offered, RFC 6455 §4.1');
      return { socket: stream!, request: linesOf(fields), response };
    } catch (error) {
      isOver = true;
      stream?.close(NGHTTP2_CANCEL);
      throw error;
    }
  };

  close(): void {
    this.#session?.then(
      // Within the event that a stream has closed, which the last case may end with, Node 20 would go round for ever.
      (session) => setImmediate(() => session.destroy()),
      () => {},
    );
    this.#session = undefined;
  }

  #sessionTo(url: URL): Promise<ClientHttp2Session> {
    if (this.#session === undefined) {
      const opened = openSession(url, () => {
        if (this.#session === opened) this.#session = undefined;
      });
      this.#session = opened;
    }
    return this.#session;
  }
}

/** @param left it takes no more streams, or could not be made */
function openSession(url: URL, left: () => void): Promise<ClientHttp2Session> {
  const session = http2.connect(`${isSecure(url) ? 'https' : 'http'}://${url.host}`, {
    settings: { ...SETTINGS, enablePush: false },
    maxSessionMemory: MEMORY,
  });
  return new Promise((resolve, reject) => {
    // It goes on being listened to: each stream is told as well.
    session.on('error', reject);
    session.on('goaway', left);
    session.on('close', () => {
      left();
      reject(new Error('the HTTP/2 session has ended'));
    });
    session.once('connect', () => session.setLocalWindowSize(16 * SETTINGS.initialWindowSize));
    session.once('remoteSettings', ({ enableConnectProtocol }) => {
      if (enableConnectProtocol) {
        resolve(session);
        return;
      }
      reject(
        new Error('the server takes no WebSockets on streams (no ENABLE_CONNECT_PROTOCOL, RFC 8441 §3)'),
      );
      session.destroy();
    });
  });
}

function answerTo(stream: ClientHttp2Stream): Promise<Head> {
  return new Promise((resolve, reject) => {
    endTogether(stream);
    stream.on('error', reject);
    stream.once('close', () => reject(new Error(`the server reset the stream (${stream.rstCode})`)));
    stream.once('response', (headers) => resolve(headOf(`HTTP/2 ${headers[':status']}`, headers)));
  });
}

async function within<T>(timeout: number, signal: AbortSignal | undefined, waited: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let abort = (): void => {};
  const ended = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HandshakeTimeout(timeout)), timeout);
    abort = () => reject(new Error('interrupted'));
  });
  signal?.addEventListener('abort', abort);
  try {
    return await Promise.race([waited, ended]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** A server without TLS, for clients that know that it speaks HTTP/2 (RFC 9113 §3.3). */
export function createStreamServer(arrived: (arrival: Arrival) => void): Http2Server {
  const server = http2.createServer({
    settings: { ...SETTINGS, enableConnectProtocol: true, maxConcurrentStreams: 1000 },
    maxSessionMemory: MEMORY,
  });
  server.on('session', (session) => session.setLocalWindowSize(16 * SETTINGS.initialWindowSize));
  server.on('stream', (stream, headers) => {
    endTogether(stream);
    // A broken stream is told by 'close' as well.
    stream.on('error', () => {});
    arrived({
      socket: stream,
      request: headOf(`${headers[':method']} ${headers[':path']} HTTP/2`, headers),
      fault: faultOf(headers, stream.endAfterHeaders),
      accept(extensions) {
        const fields: OutgoingHttpHeaders = {
          ':status': 200,
          server: 'tidings-conformance',
          ...(extensions !== undefined && { 'sec-websocket-extensions': extensions }),
        };
        if (!stream.closed) stream.respond(fields);
        return linesOf(fields);
      },
      refuse(reason) {
        if (stream.closed) return;
        stream.resume();
        stream.respond({ ':status': 400, 'content-type': 'text/plain; charset=utf-8' });
        stream.end(`${reason}\n`);
      },
    });
  });
  return server;
}

/** Why a request asks for no WebSocket (RFC 8441 §5), or undefined where it does. */
function faultOf(headers: IncomingHttpHeaders, hasEnded: boolean): string | undefined {
  if (headers[':method'] !== 'CONNECT') return `not a CONNECT: «${headers[':method']}»`;
  if (headers[':protocol'] !== 'websocket') return 'no «:protocol: websocket»';
  if (headers['sec-websocket-version'] !== '13') return 'not «sec-websocket-version: 13»';
  if (hasEnded) return 'END_STREAM with the request';
  return undefined;
}

/** As a socket of TCP does by default: who hears that the other side has ended ends, too. */
function endTogether(stream: Http2Stream): void {
  stream.on('end', () => stream.end());
}

function isSecure({ protocol }: URL): boolean {
  return protocol === 'wss:' || protocol === 'https:';
}

function headOf(startLine: string, headers: IncomingHttpHeaders): Head {
  const named = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]);
  return { startLine, headers: new Map(named), raw: linesOf(headers), rest: Buffer.alloc(0) };
}

function linesOf(fields: IncomingHttpHeaders | OutgoingHttpHeaders): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\r\n');
}
