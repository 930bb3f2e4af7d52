/**
 * Which pages may connect (RFC 6455 §10.2). A browser says on which page a script runs; without this
 * check a foreign page could use a visitor's cookies.
 */
import type { HandshakeRequest, Interceptor } from '../server/transport.ts';
import { refusal } from './interceptors.ts';

/** Origins as `https://app.example.com`; `*` is any. */
export type Origins = '*' | readonly string[];

/**
 * Refuses with 403 a request whose Origin is neither that of its own Host nor in the list. Requests
 * without an Origin do not come from browsers and pass.
 */
export function originCheck(allowed: Origins = []): Interceptor {
  const list = allowed === '*' ? undefined : new Set(allowed.map(normalized));
  return {
    before(request) {
      const origin = request.headers.origin;
      if (origin === undefined || list === undefined) return undefined;
      if (isSameOrigin(origin, request) || list.has(origin.toLowerCase())) return undefined;
      return refusal(403, `pages of ${printable(origin)} may not connect here`);
    },
  };
}

/** The scheme is not compared: behind a proxy that ends TLS this server does not know its own. */
function isSameOrigin(origin: string, request: HandshakeRequest): boolean {
  const { host } = request.headers;
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

function printable(origin: string): string {
  return origin.slice(0, 200).replace(/[^\u0020-\u007e]/g, '?');
}
