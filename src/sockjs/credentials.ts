/**
 * What a request shows of who has sent it. A session's id stands in URLs, and so in access logs: alone it opens nothing.
 * Whoever goes on with a session comes from the address that opened it, with the cookies that it was opened with.
 */
import { createHash } from 'node:crypto';
import type { HandshakeRequest } from '../server/transport.ts';

/** Its value is nobody's secret: it is set for load balancers, within a session. */
const STICKY = /^JSESSIONID=/;

/** Short hashes, of which other instances may be told. */
export type Credentials = readonly string[];

export function credentialsOf(request: HandshakeRequest, address: string): Credentials {
  const cookies = (request.headers.cookie ?? '').split(';').map((cookie) => cookie.trim());
  const known = cookies.filter((cookie) => cookie !== '' && !STICKY.test(cookie));
  return [`address ${address}`, ...known.map((cookie) => `cookie ${cookie}`)].map((text) =>
    createHash('sha256').update(text).digest('base64url').slice(0, 16),
  );
}

/** Whether those shown later have all that a session was opened with. More cookies are no harm. */
export function areShown(opened: Credentials, shown: Credentials): boolean {
  return opened.every((each) => shown.includes(each));
}
