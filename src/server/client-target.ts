/** Where a client's address leads to, and where a redirect does. Nothing else has a say in that. */
import { unescape as percentDecode } from 'node:querystring';

export interface Target {
  url: URL;
  isSecure: boolean;
  /** Without the brackets of an IPv6 address. Empty for most unix sockets. */
  hostname: string;
  /** Decimal. A string, as Node takes the number 0 for none. */
  port: string;
  /** The path of a unix socket. */
  socketPath: string | undefined;
  /** What is asked for: path and query. */
  path: string;
  /** `user:password` of the address. */
  auth: string | undefined;
}

/** @throws {SyntaxError} for what is no address of a WebSocket */
export function parseTarget(address: string | URL): Target {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new SyntaxError(`Invalid URL: ${address}`);
  }
  if (url.protocol === 'http:') url.protocol = 'ws:';
  else if (url.protocol === 'https:') url.protocol = 'wss:';
  const isUnix = url.protocol === 'ws+unix:';
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:' && !isUnix) {
    throw new SyntaxError(
      'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"',
    );
  }
  if (isUnix && url.pathname === '') throw new SyntaxError("The URL's pathname is empty");
  if (url.hash !== '') throw new SyntaxError('The URL contains a fragment identifier');

  const isSecure = url.protocol === 'wss:';
  let path = url.pathname + url.search;
  let socketPath: string | undefined;
  if (isUnix) {
    const colon = path.indexOf(':');
    socketPath = percentDecode(colon === -1 ? path : path.slice(0, colon));
    path = colon === -1 ? '' : path.slice(colon + 1);
    // The system would take what is in front of it for the whole path.
    if (socketPath.includes('\0')) throw new SyntaxError("The URL's pathname contains a null character");
  }
  return {
    url,
    isSecure,
    hostname: url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname,
    port: url.port || (isSecure ? '443' : '80'),
    socketPath,
    path,
    auth:
      url.username || url.password
        ? `${percentDecode(url.username)}:${percentDecode(url.password)}`
        : undefined,
  };
}

/**
 * What a response's Location means (RFC 9110 §10.2.2). A path alone stays on its host, or on its unix socket.
 *
 * @throws {SyntaxError}
 */
export function parseLocation(location: string, from: Target): Target {
  const { url, socketPath } = from;
  const isOnSocket = socketPath !== undefined && !URL.canParse(location);
  // What a path is relative to on a unix socket: its URL has both paths in one.
  const base = isOnSocket ? `ws://unix/${from.path.replace(/^\/+/, '')}` : url;
  if (!URL.canParse(location, base)) throw new SyntaxError(`Invalid URL: ${location}`);
  const there = new URL(location, base);
  if (!isOnSocket || there.host !== 'unix') return parseTarget(there);
  const authority = /^ws\+unix:(?:\/\/[^/]*)?/.exec(url.href)![0];
  const socket = url.pathname.split(':')[0];
  return parseTarget(`${authority}${socket}:${there.pathname}${there.search}${there.hash}`);
}

/** Whether both are one host and port, or one unix socket. */
export function isSameHost(a: Target, b: Target): boolean {
  return a.socketPath === b.socketPath && (a.socketPath !== undefined || a.url.host === b.url.host);
}
