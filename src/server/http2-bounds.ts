/**
 * HTTP/2 on a port of ours: what a session may have at once, and how long it may have nothing. Over HTTP/1.1 a socket that
 * asks for nothing is cut by its own deadline; here that is the session that has no stream.
 */
import type { ServerHttp2Session, ServerOptions } from 'node:http2';
import type { Socket } from 'node:net';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { endGently, STREAM_WINDOW } from './http2-stream.ts';
import type { RequestHeadLimits } from './request-head.ts';
import { DEFAULT_STREAMS, watchForNothing } from './stream-accounts.ts';
import type { Connections } from './tls-port.ts';

/** Bytes that Node holds of a stream: what waits to be written of it, a slice at a time, and what it keeps for itself. */
const STREAM_MEMORY = 128 * 1024;
/** What a header field costs beside its name and its value (RFC 9113 §6.5.2). */
const FIELD = 32;
const DEFAULT_HEAD = 16 * 1024;
const DEFAULT_FIELDS = 100;
/** `:method`, `:protocol`, `:scheme`, `:authority` and `:path`. */
const PSEUDO_FIELDS = 5;
/** Milliseconds that a session has for its last words. */
const LINGER = 5_000;

export interface SessionBounds extends RequestHeadLimits {
  /** Streams of one session at once. Default 1,000. */
  maxStreams?: number | undefined;
}

/** What a session of node:http2 is made with. */
export function sessionOptions({ maxStreams, maxHeadBytes, maxHeadFields }: SessionBounds): ServerOptions {
  const streams = Math.min(maxStreams ?? DEFAULT_STREAMS, 2 ** 31 - 1);
  const fields = Math.min((maxHeadFields ?? DEFAULT_FIELDS) + PSEUDO_FIELDS, 2 ** 31 - 1);
  return {
    settings: {
      // RFC 8441 §3.
      enableConnectProtocol: true,
      maxConcurrentStreams: streams,
      maxHeaderListSize: Math.min((maxHeadBytes ?? DEFAULT_HEAD) + FIELD * fields, 2 ** 32 - 1),
      initialWindowSize: STREAM_WINDOW,
    },
    maxHeaderListPairs: fields,
    // Beyond it Node refuses streams and then ends the session with all it has: never by what our limits allow.
    maxSessionMemory: Math.ceil((10 * MIB + streams * STREAM_MEMORY) / MIB),
  };
}

const MIB = 1024 * 1024;

/** The sessions of a port. */
export class Sessions {
  readonly #patience: number;
  readonly #connections: Connections;
  readonly #kept = new Set<Kept>();
  #isClosing = false;

  /** @param patience milliseconds for which a session may have no stream; 0: no limit */
  constructor(patience: number, connections: Connections) {
    this.#patience = patience;
    this.#connections = connections;
  }

  add(session: ServerHttp2Session): void {
    const kept = new Kept(session, this.#connections.below(session.socket), this.#patience);
    this.#kept.add(kept);
    session.on('close', () => this.#kept.delete(kept));
    if (this.#isClosing) kept.leave();
  }

  /** Takes no more streams. A session ends with the last one that it has. */
  close(): void {
    this.#isClosing = true;
    for (const kept of this.#kept) kept.leave();
  }
}

class Kept implements Expirable {
  deadline: Expirable['deadline'] = null;
  readonly #session: ServerHttp2Session;
  readonly #socket: Socket | undefined;
  readonly #patience: number;
  #streams = 0;

  constructor(session: ServerHttp2Session, socket: Socket | undefined, patience: number) {
    this.#session = session;
    this.#socket = socket;
    this.#patience = patience;
    // Whatever it says, the session is over, and its streams are told.
    session.on('error', ignore);
    session.on('stream', (stream) => {
      watchForNothing(stream);
      this.#streams++;
      disarm(this);
      stream.once('close', this.#onStreamClose);
    });
    session.once('close', () => disarm(this));
    this.#wait();
  }

  leave(): void {
    endGently(this.#session);
    if (this.#streams === 0) this.#wait();
  }

  /** It has nothing to do for too long, or the other side does not end it. */
  expire(): void {
    if (!this.#isOver) this.leave();
    else if (this.#socket !== undefined) this.#socket.destroy();
    else this.#session.destroy();
  }

  readonly #onStreamClose = (): void => {
    if (--this.#streams === 0) this.#wait();
  };

  /** While it has no stream. */
  #wait(): void {
    if (this.#isOver) arm(this, LINGER);
    else if (this.#patience > 0) arm(this, this.#patience);
  }

  /** Node tells of the end of a session only when that of its socket has come. */
  get #isOver(): boolean {
    return this.#session.closed || this.#session.destroyed;
  }
}

function ignore(): void {}
