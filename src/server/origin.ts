/**
 * Which pages may connect (RFC 6455 §10.2). A browser says on which page a script runs; without this
 * check a foreign page could use a visitor's cookies.
 */
import { hostOf } from './request-target.ts';
import type { HandshakeRequest } from './transport.ts';

/** Origins as `https://app.example.com`, `capacitor://localhost`, `file://` or `null`; `*` is any. */
export type Origins = '*' | readonly string[];

/** Pages of the server's own host, and those listed. */
export class OriginPolicy {
  /** The listed origins; undefined where any may connect. */
  readonly list: ReadonlySet<string> | undefined;

  /** @throws {TypeError} for an origin that can't be one */
  constructor(allowed: Origins = []) {
    if (allowed !== '*' && !Array.isArray(allowed)) {
      throw new TypeError("origins must be '*' or an array, such as ['https://app.example.com']");
    }
    this.list = allowed === '*' ? undefined : new Set(allowed.map(normalized));
  }

  /**
   * Requests without an Origin do not come from a browser's script and pass, unless the browser says that another
   * site's page has made them (Fetch Metadata).
   */
  allows(request: HandshakeRequest, origin = originOf(request)): boolean {
    if (this.list === undefined) return true;
    if (origin === undefined) return !/^(?:cross|same)-site$/.test(String(request.headers['sec-fetch-site']));
    return isSameOrigin(origin, request) || this.list.has(origin.toLowerCase());
  }
}

/** Version 8 of the protocol (draft-ietf-hybi-thewebsocketprotocol-10 §5.1) has a name of its own for it. */
export function originOf({ headers }: HandshakeRequest): string | undefined {
  return headers.origin ?? (headers['sec-websocket-origin'] as string | undefined);
}

/** The scheme is not compared: behind a proxy that ends TLS this server does not know its own. */
function isSameOrigin(origin: string, request: HandshakeRequest): boolean {
  const host = hostOf(request);
  if (host === undefined) return false;
  try {
    const page = new URL(origin);
    // An app's `capacitor://localhost` is not the site that happens to be at localhost.
    if (!/^https?:$/.test(page.protocol)) return false;
    return page.host === new URL(`${page.protocol}//${host}`).host;
  } catch {
    return false;
  }
}

/** RFC 6454 §6.2. Any scheme: apps have their own. */
const ORIGIN = /^[a-z][a-z\d+.-]*:\/\/(?:\[[\da-f:.]+\]|[^\s/?#@:[\]*]+)(?::\d{1,5})?$/i;

function normalized(origin: string): string {
  if (origin === 'null' || origin === 'file://' || ORIGIN.test(origin)) return origin.toLowerCase();
  throw new TypeError(
    `origins: ${JSON.stringify(origin)} is not of the form https://host, https://host:port or scheme://host, and not null or file://`,
  );
}
