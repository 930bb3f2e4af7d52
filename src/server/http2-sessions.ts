/**
 * Sessions of HTTP/2 that WebSockets of this process share, where they need not bring one: one to each host, and another
 * where the server allows no more streams. A session ends with its last stream.
 */

import { type ClientHttp2Session, connect, type SecureClientSessionOptions } from 'node:http2';
import { isIP } from 'node:net';
import { monotonicNow } from '../clock.ts';
import type { Target } from './client-target.ts';
import { STREAM_WINDOW, widen } from './http2-stream.ts';

/** Room for one stream in a session. */
export interface Place {
  readonly session: ClientHttp2Session;
  /**
   * To be called once, when the stream has closed or is not wanted any more.
   *
   * @param use `full` where the server has refused it, `suspect` where it was not answered: nobody else gets this session
   */
  release(use?: 'full' | 'suspect'): void;
}

/** Somebody who waits for a place. */
export interface Wish {
  /** Set while he waits: he wants none any more. */
  giveUp?: (() => void) | undefined;
}

interface Pooled {
  readonly session: ClientHttp2Session;
  readonly origin: string;
  /** What it was made with: who is to be trusted, and who we are. */
  readonly made: object;
  /** Those that are open, and those that wait to hear whether they may be. */
  streams: number;
}

/** Milliseconds from which on it is suspicious that a server has said nothing. */
export const SILENCE = 1_000;

const pool = new Set<Pooled>();
/** What the server has said of WebSockets, or will. */
const answers = new WeakMap<ClientHttp2Session, Promise<string | undefined>>();

/** A place in a session of the application's, or why there can be none. How many it has room for is the application's matter. */
export async function placeIn(session: ClientHttp2Session): Promise<Place | string> {
  if (session.closed || session.destroyed) return 'the HTTP/2 session is closed';
  return (await obstacle(session)) ?? { session, release: () => {} };
}

/** A place in a session to the target's host, or why there can be none. */
export async function placeTo(target: Target, made: object, wish: Wish): Promise<Place | string> {
  const origin = target.socketPath ?? `${target.url.protocol}//${target.url.host}`;
  const begun = monotonicNow();
  for (;;) {
    const known = [...pool].find(
      (each) => each.origin === origin && isUsable(each) && isSame(each.made, made),
    );
    const pooled = known ?? open(target, origin, made);
    pooled.streams++;
    let isReleased = false;
    const release: Place['release'] = (use) => {
      if (isReleased) return;
      isReleased = true;
      leave(pooled, use);
    };
    wish.giveUp = () => release(monotonicNow() - begun >= SILENCE ? 'suspect' : undefined);
    const reason = await obstacle(pooled.session);
    wish.giveUp = undefined;
    if (isReleased) return 'it is not wanted any more';
    const { maxConcurrentStreams: most = 0 } = pooled.session.remoteSettings;
    if (reason === undefined && pooled.streams <= most) return { session: pooled.session, release };
    const hasRoomForNone = most === 0 && !pooled.session.destroyed;
    // More came to it than it turned out to have room for: another one, then.
    release();
    if (reason !== undefined) return reason;
    if (hasRoomForNone) return 'the server takes no streams now (MAX_CONCURRENT_STREAMS is 0)';
  }
}

function leave(pooled: Pooled, use: 'full' | 'suspect' | undefined): void {
  const { session } = pooled;
  if (use !== undefined) pool.delete(pooled);
  if (--pooled.streams > 0) return;
  pool.delete(pooled);
  // What does not answer takes no leave either.
  if (use === 'suspect' || session.connecting) session.destroy();
  else session.close();
}

/**
 * Waits until the server has said whether it takes WebSockets on streams (RFC 8441 §3).
 *
 * @returns why there can be none; undefined where there can
 */
function obstacle(session: ClientHttp2Session): Promise<string | undefined> {
  let answer = answers.get(session);
  if (answer === undefined) {
    answer = ask(session);
    answers.set(session, answer);
  }
  return answer;
}

function ask(session: ClientHttp2Session): Promise<string | undefined> {
  return new Promise((resolve) => {
    const lost = (error?: Error): void => done(error?.message ?? ENDED);
    const done = (reason: string | undefined): void => {
      session.removeListener('close', lost);
      session.removeListener('error', lost);
      session.removeListener('connect', look);
      resolve(reason);
    };
    const takesThem = (): boolean => session.remoteSettings.enableConnectProtocol === true;
    // The settings of a server come before anything else of it (RFC 9113 §3.4), so before an answer to this.
    const look = (): void => {
      if (takesThem()) done(undefined);
      else if (session.destroyed) lost();
      else session.ping(() => done(takesThem() ? undefined : session.destroyed ? ENDED : NO_STREAMS));
    };
    session.once('close', lost);
    session.once('error', lost);
    if (session.connecting) session.once('connect', look);
    else look();
  });
}

const ENDED = 'the HTTP/2 session has ended';
const NO_STREAMS = 'the server does not take WebSockets on streams (no ENABLE_CONNECT_PROTOCOL)';

function isUsable({ session, streams }: Pooled): boolean {
  if (session.closed || session.destroyed) return false;
  return streams < (session.remoteSettings?.maxConcurrentStreams ?? Number.POSITIVE_INFINITY);
}

function open(target: Target, origin: string, made: object): Pooled {
  const { hostname, port, isSecure, socketPath } = target;
  const host = hostname.includes(':') ? `[${hostname}]` : hostname;
  const settings: SecureClientSessionOptions & { path?: string } = {
    settings: { enablePush: false, initialWindowSize: STREAM_WINDOW },
    ...(isSecure && !isIP(hostname) && { servername: hostname }),
    ...made,
    ...(socketPath !== undefined && { path: socketPath }),
  };
  const session = connect(`${isSecure ? 'https' : 'http'}://${host}:${port}`, settings);
  const pooled = { session, origin, made, streams: 0 };
  // Each stream is told as well.
  session.on('error', () => {});
  session.once('connect', () => widen(session));
  for (const event of ['goaway', 'close'] as const) session.on(event, () => pool.delete(pooled));
  pool.add(pooled);
  return pooled;
}

function isSame(a: object, b: object): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<never>;
  return [...names].every((name) => isSameValue(a[name], b[name]));
}

/** Bytes, such as those of certificates, by what is in them; anything else that is no text is only the same as itself. */
function isSameValue(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((each, i) => isSameValue(each, b[i]));
}
