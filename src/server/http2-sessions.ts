/**
 * Sessions of HTTP/2 that WebSockets of this process share, where they need not bring one: one to each host, and another
 * where the server allows no more streams. A session ends with its last stream.
 */

import type { SecureClientSessionOptions } from 'node:http2';
import { type ClientHttp2Session, connect } from 'node:http2';
import { isIP } from 'node:net';
import type { Target } from './client-target.ts';

interface Pooled {
  readonly session: ClientHttp2Session;
  readonly origin: string;
  /** What it was made with: who is to be trusted, and who we are. */
  readonly made: object;
  streams: number;
}

const pool = new Set<Pooled>();
/** What the server has said of WebSockets, or will. */
const answers = new WeakMap<ClientHttp2Session, Promise<string | undefined>>();

/**
 * Waits until the server has said whether it takes WebSockets on streams (RFC 8441 §3).
 *
 * @returns why there can be none; undefined where there can
 */
export function obstacle(session: ClientHttp2Session): Promise<string | undefined> {
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
    // The settings of a server come before anything else of it (RFC 9113 §3.4), so before an answer to this.
    const look = (): void => {
      session.ping((error) => {
        if (error !== null) done(error.message);
        else if (session.remoteSettings.enableConnectProtocol) done(undefined);
        else done('the server does not take WebSockets on streams (no ENABLE_CONNECT_PROTOCOL)');
      });
    };
    session.once('close', lost);
    session.once('error', lost);
    if (session.connecting) session.once('connect', look);
    else look();
  });
}

/** A place for one stream in a session to the target's host. `release` it when the stream has closed. */
export function sessionTo(
  target: Target,
  made: object,
): { session: ClientHttp2Session; release: () => void } {
  const origin = target.socketPath ?? `${target.url.protocol}//${target.url.host}`;
  let pooled: Pooled | undefined;
  for (const each of pool) {
    if (each.origin === origin && isUsable(each) && isSame(each.made, made)) pooled = each;
  }
  pooled ??= open(target, origin, made);
  const own = pooled;
  own.streams++;
  return {
    session: own.session,
    release: () => {
      if (--own.streams > 0) return;
      pool.delete(own);
      own.session.close();
    },
  };
}

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
