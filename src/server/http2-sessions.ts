/**
 * Sessions of HTTP/2 that WebSockets of this process share, where they need not bring one: one to each host, and another
 * where the server allows no more streams. A session ends with its last stream.
 */

import { type ClientHttp2Session, connect, type SecureClientSessionOptions } from 'node:http2';
import { isIP } from 'node:net';
import type { Target } from './client-target.ts';

/** Room for one stream in a session. */
export interface Place {
  readonly session: ClientHttp2Session;
  /** To be called once, when the stream has closed or is not wanted any more. */
  release(): void;
}

interface Pooled {
  readonly session: ClientHttp2Session;
  readonly origin: string;
  /** What it was made with: who is to be trusted, and who we are. */
  readonly made: object;
  /** Those that are open, and those that wait to hear whether they may be. */
  streams: number;
}

const pool = new Set<Pooled>();
/** What the server has said of WebSockets, or will. */
const answers = new WeakMap<ClientHttp2Session, Promise<string | undefined>>();

/** A place in a session of the application's, or why there can be none. How many it has room for is the application's matter. */
export async function placeIn(session: ClientHttp2Session): Promise<Place | string> {
  if (session.closed || session.destroyed) return 'the HTTP/2 session is closed';
  return (await obstacle(session)) ?? { session, release: () => {} };
}

/** A place in a session to the target's host, or why there can be none. */
export async function placeTo(target: Target, made: object): Promise<Place | string> {
  const origin = target.socketPath ?? `${target.url.protocol}//${target.url.host}`;
  for (;;) {
    const known = [...pool].find(
      (each) => each.origin === origin && isUsable(each) && isSame(each.made, made),
    );
    const pooled = known ?? open(target, origin, made);
    pooled.streams++;
    const release = (): void => {
      if (--pooled.streams > 0) return;
      pool.delete(pooled);
      pooled.session.close();
    };
    const reason = await obstacle(pooled.session);
    if (reason === undefined && pooled.streams <= pooled.session.remoteSettings.maxConcurrentStreams!) {
      return { session: pooled.session, release };
    }
    // More came to it than it turned out to have room for: another one, then.
    release();
    if (reason !== undefined) return reason;
  }
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
    const lost = (error?: Error): void => done(error?.message ?? 'the HTTP/2 session has ended');
    const done = (reason: string | undefined): void => {
      session.removeListener('close', lost);
      session.removeListener('error', lost);
      resolve(reason);
    };
    const takesThem = (): boolean => session.remoteSettings.enableConnectProtocol === true;
    // The settings of a server come before anything else of it (RFC 9113 §3.4), so before an answer to this.
    const look = (): void => {
      if (takesThem()) done(undefined);
      else session.ping(() => done(takesThem() ? undefined : NO_STREAMS));
    };
    session.once('close', lost);
    session.once('error', lost);
    if (session.connecting) session.once('connect', look);
    else look();
  });
}

const NO_STREAMS = 'the server does not take WebSockets on streams (no ENABLE_CONNECT_PROTOCOL)';

function isUsable({ session, streams }: Pooled): boolean {
  if (session.closed || session.destroyed) return false;
  return streams < (session.remoteSettings?.maxConcurrentStreams ?? Number.POSITIVE_INFINITY);
}

function open(target: Target, origin: string, made: object): Pooled {
  const { hostname, port, isSecure, socketPath } = target;
  const host = hostname.includes(':') ? `[${hostname}]` : hostname;
  const settings: SecureClientSessionOptions & { path?: string } = {
    ...(isSecure && !isIP(hostname) && { servername: hostname }),
    ...made,
    ...(socketPath !== undefined && { path: socketPath }),
  };
  const session = connect(`${isSecure ? 'https' : 'http'}://${host}:${port}`, settings);
  const pooled = { session, origin, made, streams: 0 };
  // Each stream is told as well.
  session.on('error', () => {});
  for (const event of ['goaway', 'close'] as const) session.on(event, () => pool.delete(pooled));
  pool.add(pooled);
  return pooled;
}

function isSame(a: object, b: object): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<never>;
  return [...names].every((name) => a[name] === b[name]);
}
