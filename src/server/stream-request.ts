/**
 * A client's request for a WebSocket on a stream of HTTP/2 (RFC 8441): what of a `ClientRequest` an application uses in
 * `finishRequest` and `redirect`, on a session that may still be on its way.
 */
import { type IncomingMessage, validateHeaderName, validateHeaderValue } from 'node:http';
import { type ClientHttp2Stream, constants } from 'node:http2';
import { monotonicNow } from '../clock.ts';
import { isOfConnection } from '../protocol/handshake.ts';
import type { ClientHeaders } from './client-request.ts';
import type { Target } from './client-target.ts';
import { type Place, SILENCE, type Wish } from './http2-sessions.ts';
import { afterClose, becomeSocket } from './http2-stream.ts';

/** How many streams in turn a server may refuse. */
const MOST_REFUSALS = 3;

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
  readonly #book: (wish: Wish) => Promise<Place | string>;
  readonly #wish: Wish = {};
  readonly #hooks: StreamRequestHooks;
  #stream: ClientHttp2Stream | undefined;
  /** Set while the stream is not answered: nobody waits for that any more. */
  #letGo: (() => void) | undefined;
  #hasBegun = false;
  #isAnswered = false;
  #refusals = 0;
  #isOver = false;

  /** @throws {TypeError} for a header that can't be one, as node:http */
  constructor(
    target: Target,
    headers: ClientHeaders,
    book: (wish: Wish) => Promise<Place | string>,
    hooks: StreamRequestHooks,
  ) {
    this.host = target.hostname;
    this.path = target.path || '/';
    this.protocol = target.isSecure ? 'https:' : 'http:';
    this.#authority = target.url.host;
    for (const [name, value] of Object.entries(headers.with({}))) check(name, value);
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

  /** @throws {TypeError} as node:http */
  setHeader(name: string, value: string): this {
    check(name, value);
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
    this.#bookPlace();
    return this;
  }

  #bookPlace(): void {
    void this.#book(this.#wish).then(
      (place) => {
        if (typeof place === 'string') this.#impossible(place);
        else if (this.#isOver) place.release();
        else this.#send(place);
      },
      (error) => {
        if (!this.#isOver) this.#fail(error);
      },
    );
  }

  /** Where the server refuses a stream, or ends the session before it has seen it, it can be asked for elsewhere (RFC 9113 §8.7). */
  #askElsewhere(reason: string): void {
    if (this.#isOver) return;
    if (++this.#refusals < MOST_REFUSALS) this.#bookPlace();
    else this.#impossible(reason);
  }

  /** Ends it, whatever has become of it. */
  destroy(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#wish.giveUp?.();
    this.#letGo?.();
    this.#stream?.close(constants.NGHTTP2_CANCEL);
    // A stream with a body that nobody reads does not close, and neither does its session.
    this.#stream?.resume();
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
    // It may have ended a moment ago. Node throws then, or from some release on makes a stream that fails.
    if (session.closed || session.destroyed) {
      release('full');
      this.#askElsewhere('the HTTP/2 session has ended');
      return;
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
      this.#fail(error as Error);
      return;
    }
    this.#stream = stream;
    const sent = monotonicNow();
    this.#letGo = () => {
      if (monotonicNow() - sent >= SILENCE) release('suspect');
    };
    let fault: Error | undefined;
    stream.on('error', (error) => {
      fault = error;
    });
    afterClose(stream, () => {
      const isRefused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM && !this.#isAnswered;
      release(isRefused ? 'full' : undefined);
      if (isRefused) this.#askElsewhere('the server refuses the stream');
      else this.#closed(stream, fault);
    });
    stream.once('response', (headers) => {
      if (this.#isOver) return;
      this.#isAnswered = true;
      this.#letGo = undefined;
      becomeSocket(stream);
      const status = headers[':status'];
      const response = Object.assign(stream, { statusCode: status, headers, httpVersion: '2.0' });
      this.#hooks.response(response as unknown as IncomingMessage, stream);
    });
  }

  #closed(stream: ClientHttp2Stream, fault: Error | undefined): void {
    if (stream.rstCode === constants.NGHTTP2_HTTP_1_1_REQUIRED) {
      this.#impossible('the server asks for HTTP/1.1');
      return;
    }
    // A refusal that came whole is whoever's who listens to it.
    const isWhole = this.#isAnswered && stream.rstCode === constants.NGHTTP2_NO_ERROR;
    if (this.#isOver || isWhole) return;
    this.#fail(fault ?? Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }));
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

function check(name: string, value: unknown): void {
  validateHeaderName(name);
  for (const each of [value].flat()) validateHeaderValue(name, each as string);
}
