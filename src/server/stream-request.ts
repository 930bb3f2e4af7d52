/**
 * A client's request for a WebSocket on a stream of HTTP/2 (RFC 8441): what of a `ClientRequest` an application uses in
 * `finishRequest` and `redirect`, on a session that may still be on its way.
 */
import type { IncomingMessage } from 'node:http';
import { type ClientHttp2Stream, constants } from 'node:http2';
import { isOfConnection } from '../protocol/handshake.ts';
import type { ClientHeaders } from './client-request.ts';
import type { Target } from './client-target.ts';
import type { Place } from './http2-sessions.ts';
import { cancelOnDestroy } from './http2-stream.ts';

export interface StreamRequestHooks {
  response(response: IncomingMessage, stream: ClientHttp2Stream): void;
  /** There can be no WebSocket by HTTP/2, for this reason; nothing was sent but perhaps a stream that was refused. */
  impossible(reason: string): void;
  failed(error: Error): void;
}

export class StreamRequest {
  readonly host: string;
  readonly path: string;
  readonly protocol: 'https:' | 'http:';
  readonly method = 'CONNECT';
  readonly #authority: string;
  readonly #headers: ClientHeaders;
  readonly #book: () => Promise<Place | string>;
  readonly #hooks: StreamRequestHooks;
  #stream: ClientHttp2Stream | undefined;
  #hasBegun = false;
  #isAnswered = false;
  #isOver = false;

  constructor(
    target: Target,
    headers: ClientHeaders,
    book: () => Promise<Place | string>,
    hooks: StreamRequestHooks,
  ) {
    this.host = target.hostname;
    this.path = target.path || '/';
    this.protocol = target.isSecure ? 'https:' : 'http:';
    this.#authority = target.url.host;
    this.#headers = headers;
    this.#book = book;
    this.#hooks = hooks;
  }

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
    void this.#book().then(
      (place) => {
        if (typeof place === 'string') this.#impossible(place);
        else if (this.#isOver) place.release();
        else this.#send(place);
      },
      (error) => {
        if (!this.#isOver) this.#fail(error);
      },
    );
    return this;
  }

  /** Ends it, whatever has become of it. */
  destroy(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stream?.close(constants.NGHTTP2_CANCEL);
  }

  /** The stream is somebody else's from now on. */
  handOver(): void {
    this.#isOver = true;
  }

  #send({ session, release }: Place): void {
    const fields: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(this.#headers.with({}))) {
      // What HTTP/2 says otherwise (RFC 9113 §8.3.1, RFC 8441 §5), or forbids.
      const lowerName = name.toLowerCase();
      if (lowerName === 'host' || lowerName === 'sec-websocket-key' || isOfConnection(lowerName)) continue;
      fields[lowerName] = value;
    }
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(
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
      release();
      this.#impossible((error as Error).message);
      return;
    }
    this.#stream = stream;
    stream.once('close', () => {
      release();
      this.#closed(stream);
    });
    stream.on('error', (error) => {
      if (!this.#isOver && stream.rstCode !== constants.NGHTTP2_HTTP_1_1_REQUIRED) this.#fail(error);
    });
    stream.once('response', (headers) => {
      if (this.#isOver) return;
      this.#isAnswered = true;
      cancelOnDestroy(stream);
      const status = headers[':status'];
      const response = Object.assign(stream, { statusCode: status, headers, httpVersion: '2.0' });
      this.#hooks.response(response as unknown as IncomingMessage, stream);
    });
  }

  #closed(stream: ClientHttp2Stream): void {
    if (stream.rstCode === constants.NGHTTP2_HTTP_1_1_REQUIRED) {
      this.#impossible('the server asks for HTTP/1.1');
      return;
    }
    // A refusal that came whole is whoever's who listens to it.
    const isWhole = this.#isAnswered && stream.rstCode === constants.NGHTTP2_NO_ERROR;
    if (!this.#isOver && !isWhole)
      this.#fail(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }));
  }

  #impossible(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#hooks.impossible(reason);
  }

  #fail(error: Error): void {
    this.#isOver = true;
    this.#hooks.failed(error);
  }
}
