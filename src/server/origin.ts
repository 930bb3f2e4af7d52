/**
 * Which pages may connect (RFC 6455 §10.2). A browser says on which page a script runs; without this
 * check a foreign page could use a visitor's cookies.
 */
import { hostOf } from './request-target.ts';
import type { HandshakeRequest } from './transport.ts';

/** Origins as `https://app.example.com`; `*` is any. */
export type Origins = '*' | readonly string[];

/** Pages of the server's own host, and those listed. */
export class OriginPolicy {
  /** The listed origins; undefined where any may connect. */
  readonly list: ReadonlySet<string> | undefined;

  /** @throws {TypeError} for an origin that can't be one */
  constructor(allowed: Origins = []) {
    this.list = allowed === '*' ? undefined : new Set(allowed.map(normalized));
  }

  /** Requests without an Origin do not come from a browser's script and pass. */
  allows(request: HandshakeRequest, origin = request.headers.origin): boolean {
    if (origin === undefined || this.list === undefined) return true;
    return isSameOrigin(origin, request) || this.list.has(origin.toLowerCase());
  }
}

/** The scheme is not compared: behind a proxy that ends TLS this server does not know its own. */
function isSameOrigin(origin: string, request: HandshakeRequest): boolean {
  const host = hostOf(request);
  if (host === undefined) return false;
  try {
    const page = new URL(origin);
    return page.host === new URL(`${page.protocol}//${host}`).host;
  } catch {
    return false;
  }
}

function normalized(origin: string): string {
  if (origin === 'null' || /^https?:\/\/[^/?#]+$/.test(origin)) return origin.toLowerCase();
  throw new TypeError(
    `origins: ${JSON.stringify(origin)} is not of the form https://host or https://host:port`,
  );
}
