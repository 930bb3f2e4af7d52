/** TLS on a port of ours: what is offered there, and the connections below it, which nobody else can end. */
import type { Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** What TLS offers to speak (RFC 7301), best first. Who asks for nothing gets HTTP/1.1. */
export function alpn({ http2 }: { http2: boolean }): { ALPNProtocols: string[] } {
  return { ALPNProtocols: http2 ? ['h2', 'http/1.1'] : ['http/1.1'] };
}

/** @param times milliseconds; Node gives two minutes otherwise */
export function tlsTimes({ handshakeTimeout }: { handshakeTimeout: number }): { handshakeTimeout?: number } {
  return handshakeTimeout > 0 ? { handshakeTimeout } : {};
}

/**
 * Calls what takes a certificate and its key.
 *
 * @throws {TypeError} in place of OpenSSL's error, which does not say what it is about
 */
export function withCertificate<T>(use: () => T): T {
  try {
    return use();
  } catch (error) {
    const { code, message } = error as Error & { code?: unknown };
    if (!String(code).startsWith('ERR_OSSL_')) throw error;
    throw new TypeError(
      `tls: cert and key can't be used (they are what PEM files hold, not their names): ${message}`,
      { cause: error },
    );
  }
}

type Placed = Pick<Socket, 'remoteAddress' | 'remotePort'>;

/** The sockets of TCP of a server, with or without TLS. */
export class Connections {
  readonly #sockets = new Set<Socket>();
  /** By the place where they come from, as what speaks over one does not tell it. */
  readonly #places = new Map<string, Socket>();
  /** Their handshake of TLS is under way: the server does not tell of them yet. */
  readonly #strangers = new Set<Socket>();

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => {
      const place = placeOf(socket);
      this.#sockets.add(socket);
      this.#places.set(place, socket);
      this.#strangers.add(socket);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        this.#strangers.delete(socket);
        if (this.#places.get(place) === socket) this.#places.delete(place);
      });
    });
    server.on('secureConnection', (socket: TLSSocket) => {
      const below = this.below(socket);
      if (below !== undefined) this.#strangers.delete(below);
    });
  }

  /** The one that a socket of TLS, or a session's, is over. */
  below(socket: Placed): Socket | undefined {
    return this.#places.get(placeOf(socket));
  }

  cutStrangers(): void {
    for (const socket of this.#strangers) socket.destroy();
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

function placeOf({ remoteAddress, remotePort }: Placed): string {
  return `${remoteAddress} ${remotePort}`;
}
