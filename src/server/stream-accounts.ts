/**
 * What a session of HTTP/2 may ask for, on our ports and on those of applications.
 *
 * Streams that come to nothing, time and again, are attacks: broken off hardly opened ("rapid reset", CVE-2023-44487), such
 * that the server itself has to reset (CVE-2025-8671), refused ones. Over HTTP/1.1 each attempt costs a connection. Here a
 * session that makes more of them than people do takes no more streams (GOAWAY), so that the next attempts cost one as
 * well. What is open on it lives on: behind a proxy it may be anybody's.
 *
 * And a session has so many WebSockets at once as its settings say; where those say nothing, as many as Node can hold
 * without ending it with all it has.
 */
import { constants, type Http2Session, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { monotonicNow } from '../clock.ts';
import { endGently, isCancelled, widen } from './http2-stream.ts';
import { sessionWatch } from './session-watch.ts';

/** Streams of one session at once: more than any browser's tabs have. */
export const DEFAULT_STREAMS = 1000;
/** So many at once, and so many a second for ever, come to nothing. */
const BURST = 100;
const RATE = 10;
/** Milliseconds within which a stream that was accepted counts as hardly opened. */
const HARDLY = 1_000;
/** What Node's settings say where nothing was said. */
const UNLIMITED = 2 ** 32 - 1;

interface Account {
  /** Those that want to be WebSockets, or are. */
  open: number;
  /** How many may still come to nothing, at the time `at`. */
  credit: number;
  at: number;
}

/** What one server has now on streams. */
export class StreamCounts {
  /** WebSockets, open or asked for, of each connection. */
  readonly #open = new Map<Http2Session, number>();
  websockets = 0;

  get connections(): number {
    return this.#open.size;
  }

  add(stream: ServerHttp2Stream): void {
    const { session } = stream;
    if (session === undefined) return;
    this.websockets++;
    this.#open.set(session, (this.#open.get(session) ?? 0) + 1);
    stream.once('close', () => {
      this.websockets--;
      const left = this.#open.get(session)! - 1;
      if (left === 0) this.#open.delete(session);
      else this.#open.set(session, left);
    });
  }
}

const accounts = new WeakMap<Http2Session, Account>();
const watched = new WeakSet<ServerHttp2Stream>();

/** To be called with a stream before it is answered; once or more often. */
export function watchForNothing(stream: ServerHttp2Stream): void {
  const { session } = stream;
  if (session === undefined || watched.has(stream)) return;
  watched.add(stream);
  const opened = monotonicNow();
  stream.once('close', () => {
    if (session.destroyed || isCancelled(stream) || stream.rstCode === constants.NGHTTP2_NO_ERROR) return;
    if (!stream.headersSent || monotonicNow() - opened < HARDLY) charge(session);
  });
}

/**
 * To be called with a stream that asks to become a WebSocket.
 *
 * @returns whether it may; otherwise it was reset in such a way that it can be asked for elsewhere (RFC 9113 §8.7)
 */
export function admitStream(stream: ServerHttp2Stream): boolean {
  const { session } = stream;
  if (session === undefined) return true;
  const account = accountOf(session);
  if (!session.destroyed) {
    widen(session);
    sessionWatch.add(session as ServerHttp2Session);
  }
  watchForNothing(stream);
  if (account.open >= mostOf(session)) {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    return false;
  }
  account.open++;
  stream.once('close', () => {
    account.open--;
  });
  return true;
}

/** A stream was refused. */
export function chargeRefusal({ session }: ServerHttp2Stream): void {
  if (session !== undefined && !session.destroyed) charge(session);
}

function charge(session: Http2Session): void {
  const now = monotonicNow();
  const account = accountOf(session);
  account.credit = Math.min(BURST, account.credit + ((now - account.at) / 1000) * RATE) - 1;
  account.at = now;
  if (account.credit < 0) endGently(session);
}

function accountOf(session: Http2Session): Account {
  let account = accounts.get(session);
  if (account === undefined) {
    account = { open: 0, credit: BURST, at: monotonicNow() };
    accounts.set(session, account);
  }
  return account;
}

function mostOf({ localSettings, destroyed }: Http2Session): number {
  const { maxConcurrentStreams = UNLIMITED } = destroyed ? {} : localSettings;
  return maxConcurrentStreams === UNLIMITED ? DEFAULT_STREAMS : maxConcurrentStreams;
}
