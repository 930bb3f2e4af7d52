/**
 * What a request shows of who has sent it. A session's id stands in URLs, and so in access logs: alone it opens nothing.
 * Whoever goes on with a session comes from the address that opened it, with the cookies that it was opened with, and
 * with no other query, which may name the user.
 */
import { createHash } from 'node:crypto';
import type { HandshakeRequest } from '../server/transport.ts';

/** Its value is nobody's secret: it is set for load balancers, within a session. */
const STICKY = /^JSESSIONID=/;
/** Parameters of SockJS itself, or against caches. */
const OF_SOCKJS = ['c', 'callback', 't', 'protocol'];
/** Between the hash of a parameter's name and that of its value. */
const NAMED = '=';

/** Short hashes, of which other instances may be told. */
export type Credentials = readonly string[];

export function credentialsOf(
  request: HandshakeRequest,
  address: string,
  query: URLSearchParams,
): Credentials {
  const cookies = (request.headers.cookie ?? '').split(';').map((cookie) => cookie.trim());
  const known = cookies.filter((cookie) => cookie !== '' && !STICKY.test(cookie));
  const parameters = [...query].filter(([name]) => !OF_SOCKJS.includes(name));
  return [
    hash(`address ${address}`),
    ...known.map((cookie) => hash(`cookie ${cookie}`)),
    ...parameters.map(([name, value]) => hash(`name ${name}`) + NAMED + hash(`value ${value}`)),
  ];
}

/**
 * Whether those shown later have all that a session was opened with. More cookies are no harm, nor is a query that is
 * left out; one that says something else is.
 */
export function areShown(opened: Credentials, shown: Credentials): boolean {
  return opened.every((each) => {
    if (shown.includes(each)) return true;
    const end = each.indexOf(NAMED);
    return end !== -1 && !shown.some((other) => other.startsWith(each.slice(0, end + 1)));
  });
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 16);
}
