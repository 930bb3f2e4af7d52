/**
 * A client's request for a WebSocket on a stream of HTTP/2 (RFC 8441): what of a `ClientRequest` an application uses in
 * `finishRequest` and `redirect`, on a session that may still be on its way.
 */
import type { IncomingMessage } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import { nextTick } from '../clock.ts';
import type { ClientHeaders } from './client-request.ts';
import type { Target } from './client-target.ts';
import { obstacle } from './http2-sessions.ts';
import { cancelOnDestroy } from './http2-stream.ts';

export interface StreamRequestHooks {
  response(response: IncomingMessage, stream: ClientHttp2Stream): void;
  /** There can be no WebSocket by HTTP/2, for this reason; nothing was sent but perhaps a stream that was refused. */
  impossible(reason: string): void;
  failed(error: Error): void;
}

/** Fields that HTTP/2 forbids, or says otherwise (RFC 9113 §8.2.2, §8.3.1). */
const OF_HTTP1 = ['connection', 'upgrade', 'host', 'sec-websocket-key'];

export class StreamRequest {
  readonly host: string;
  readonly path: string;
  readonly protocol: 'https:' | 'http:';
  readonly method = 'CONNECT';
  readonly #headers: ClientHeaders;
  readonly #session: ClientHttp2Session;
  readonly #release: () => void;
  readonly #hooks: StreamRequestHooks;
  #stream: ClientHttp2Stream | undefined;
  #isOver = false;
  #hasBegun = false;

  constructor(
    target: Target,
    headers: ClientHeaders,
    { session, release }: { session: ClientHttp2Session; release: () => void },
    hooks: StreamRequestHooks,
  ) {
    this.host = target.hostname;
    this.path = target.path || '/';
    this.protocol = target.isSecure ? 'https:' : 'http:';
    this.#headers = headers;
    this.#session = session;
    this.#release = release;
    this.#hooks = hooks;
    this.#authority = target.url.host;
  }

  readonly #authority: string;

  hasHeader(name: string): boolean {
    return this.#headers.has(name);
  }

  getHeader(name: string): unknown {
    return this.#headers.get(name);
  }

  setHeader(name: string, value: string): this {
    this.#headers.set(name, value);
    return this;
  }

  removeHeader(name: string): void {
    this.#headers.delete(name);
  }

  /** Sends it, once the server has said that it takes such requests. */
  end(): this {
    if (this.#hasBegun) return this;
    this.#hasBegun = true;
    const session = this.#session;
    if (session.closed || session.destroyed) {
      nextTick(() => this.#impossible('the HTTP/2 session is closed'));
    } else {
      void obstacle(session).then((reason) => {
        if (reason === undefined) this.#send();
        else this.#impossible(reason);
      });
    }
    return this;
  }

  /** Ends it, whatever has become of it. */
  destroy(): void {
    if (this.#isOver) return;
    this.#leave();
    if (this.#stream === undefined) this.#release();
    else this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #send(): void {
    if (this.#isOver || this.#stream !== undefined) return;
    const fields: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(this.#headers.with({}))) {
      if (!OF_HTTP1.includes(name.toLowerCase())) fields[name.toLowerCase()] = value;
    }
    let stream: ClientHttp2Stream;
    try {
      stream = this.#session.request(
        {
          ...fields,
          ':method': 'CONNECT',
          ':protocol': 'websocket',
          ':scheme': this.protocol.slice(0, -1),
          ':authority': (this.#headers.get('host') as string | undefined) ?? this.#authority,
          ':path': this.path,
        },
        { endStream: false },
      );
    } catch (error) {
      this.#impossible((error as Error).message);
      return;
    }
    this.#stream = stream;
    stream.once('close', () => this.#closed(stream));
    stream.on('error', (error) => {
      if (!this.#isOver && stream.rstCode !== constants.NGHTTP2_HTTP_1_1_REQUIRED) this.#fail(error);
    });
    stream.once('response', (headers) => {
      if (this.#isOver) return;
      cancelOnDestroy(stream);
      const status = headers[':status'];
      const response = Object.assign(stream, { statusCode: status, headers, httpVersion: '2.0' });
      this.#hooks.response(response as unknown as IncomingMessage, stream);
    });
  }

  /** The stream is somebody else's from now on. */
  handOver(): void {
    this.#leave();
  }

  #closed(stream: ClientHttp2Stream): void {
    this.#release();
    if (this.#isOver) return;
    if (stream.rstCode === constants.NGHTTP2_HTTP_1_1_REQUIRED) {
      this.#leave();
      this.#hooks.impossible('the server asks for HTTP/1.1');
    } else this.#fail(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }));
  }

  #impossible(reason: string): void {
    if (this.#isOver || this.#stream !== undefined) return;
    this.#leave();
    this.#release();
    this.#hooks.impossible(reason);
  }

  #fail(error: Error): void {
    this.#leave();
    this.#hooks.failed(error);
  }

  #leave(): void {
    this.#isOver = true;
  }
}
