/** What the target of a request says (RFC 9112 §3.2): a path and a query, in whichever form it came. */
import type { HandshakeRequest } from './transport.ts';

export interface RequestTarget {
  /** As it came, without decoding; `*` for the asterisk-form. */
  path: string;
  /** What follows the question mark. */
  query: string;
  /** Host and port of a target in absolute-form: they stand for the Host header (RFC 9112 §3.2.2). */
  host: string | undefined;
}

/** A scheme, `//`, perhaps user information, and an authority up to the path, the query or the end. */
const absolutePattern = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)*([^/?#@]*)/i;

/** Every path and every query that is looked at comes from here. */
export function requestTarget({ url = '' }: { readonly url?: string | undefined }): RequestTarget {
  let rest = url;
  let host: string | undefined;
  if (url[0] !== '/') {
    const match = absolutePattern.exec(url);
    if (match !== null) {
      host = match[1]!;
      rest = url.slice(match[0].length);
      if (rest[0] !== '/') rest = `/${rest}`;
    }
  }
  const mark = rest.indexOf('?');
  if (mark === -1) return { path: rest, query: '', host };
  return { path: rest.slice(0, mark), query: rest.slice(mark + 1), host };
}

/** Which host the request is for. */
export function hostOf(request: HandshakeRequest): string | undefined {
  return requestTarget(request).host ?? request.headers.host;
}
