/**
 * A server of HTTP of our own, for requests and WebSockets: HTTP/1.1; with TLS also HTTP/2. Who sends half a request is let
 * go as early as who sends half a handshake.
 */
import { createServer, type Server as HttpServer, type RequestListener } from 'node:http';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { SecureContextOptions, TlsOptions } from 'node:tls';
import { clearTimeout, setTimeout } from '../clock.ts';
import { type SessionBounds, Sessions, sessionOptions } from './http2-bounds.ts';
import { Connections, withCertificate } from './tls-port.ts';

const HTTP_TIMES = { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 1_000 };
/** Milliseconds for a handshake of TLS. */
const TLS_TIME = 10_000;
/** Milliseconds that a session of HTTP/2 may have no stream: a page that is open asks again. */
const IDLE = 60_000;
/** Milliseconds for the answers of requests that are open at the end. */
const LAST_ANSWERS = 2_000;

export interface OwnHttpOptions extends SessionBounds {
  /** Options of `tls.createServer`. Default: no TLS. */
  tls?: TlsOptions | undefined;
  /** Whether TLS offers HTTP/2. Default true. */
  http2?: boolean | undefined;
}

export class OwnHttp {
  readonly server: HttpServer | HttpsServer | Http2SecureServer;
  readonly #connections: Connections;
  readonly #sessions: Sessions;

  constructor(options: OwnHttpOptions, listener: RequestListener) {
    this.server = OwnHttp.#make(options, listener);
    this.#connections = new Connections(this.server);
    this.#sessions = new Sessions(IDLE, this.#connections);
    this.server.on('session', (session: ServerHttp2Session) => this.#sessions.add(session));
  }

  static #make(
    { tls, http2 = true, ...bounds }: OwnHttpOptions,
    listener: RequestListener,
  ): OwnHttp['server'] {
    if (tls === undefined) return createServer(HTTP_TIMES, listener);
    const secure = { handshakeTimeout: TLS_TIME, ...tls };
    if (!http2) return withCertificate(() => createHttpsServer({ ...secure, ...HTTP_TIMES }, listener));
    const server = withCertificate(() =>
      createSecureServer({ ...secure, ...sessionOptions(bounds), allowHTTP1: true }, listener as never),
    );
    // Node reads them of the server, of which the types know nothing.
    Object.assign(server, HTTP_TIMES);
    return server;
  }

  /**
   * Renews the certificate: for connections that come from now on.
   *
   * @throws {Error} for what can't be one, which changes nothing
   */
  setSecureContext(tls: SecureContextOptions): void {
    const { server } = this;
    if ('setSecureContext' in server) withCertificate(() => server.setSecureContext(tls));
  }

  /** Accepts nobody any more. Resolves when nobody is there. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.#sessions.close();
    });
  }

  /** Ends what is still there. */
  cut(): void {
    this.#connections.cut();
  }

  /** Lets answers that are on their way arrive. @param stopped what `stop` has returned */
  async closeGently(stopped: Promise<void>): Promise<void> {
    const timer = setTimeout(() => this.cut(), LAST_ANSWERS);
    await stopped;
    clearTimeout(timer);
  }
}
