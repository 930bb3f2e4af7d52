/**
 * Sessions of HTTP/2 that are dead without Node having told. Where a frame broke the rules, Node 20 may say GOAWAY to the
 * other side and no more to anybody: the session is neither read nor ended, even when its connection is, and its streams
 * stay for ever. So whoever has had a stream is asked from time to time (PING, RFC 9113 §6.7).
 */
import type { ServerHttp2Session } from 'node:http2';
import { clearInterval, setInterval } from '../clock.ts';

/** Milliseconds between two looks. */
const LOOK = 60_000;
/** Looks in turn without a byte in either direction: three minutes are more than what a peer may stand still for. */
const PATIENCE = 3;

interface Watched {
  /** Bytes of its connection. */
  bytes: number;
  looks: number;
}

export class SessionWatch {
  readonly #sessions = new Map<ServerHttp2Session, Watched>();
  readonly #look: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param look milliseconds between two looks */
  constructor(look = LOOK) {
    this.#look = look;
  }

  add(session: ServerHttp2Session): void {
    if (session.destroyed || this.#sessions.has(session)) return;
    this.#sessions.set(session, { bytes: -1, looks: 0 });
    session.once('close', () => {
      this.#sessions.delete(session);
      if (this.#sessions.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    });
    this.#timer ??= setInterval(() => this.#lookAround(), this.#look).unref();
  }

  #lookAround(): void {
    for (const [session, watched] of this.#sessions) {
      if (session.destroyed) continue;
      const bytes = bytesOf(session);
      watched.looks = bytes === watched.bytes ? watched.looks + 1 : 0;
      watched.bytes = bytes;
      if (watched.looks >= PATIENCE) session.destroy();
      // What is too much at once is answered some time; the bytes are what counts.
      else session.ping(ignore);
    }
  }
}

function bytesOf({ socket }: ServerHttp2Session): number {
  return socket === undefined ? 0 : socket.bytesRead + socket.bytesWritten;
}

function ignore(): void {}

/** Of all sessions that WebSockets are on. */
export const sessionWatch = new SessionWatch();
