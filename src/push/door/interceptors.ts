/**
 * Handshake interceptors that say who a session's user is. Each leaves a request alone that it can't
 * judge, so that several can be combined; the push server refuses with 401 who is unknown to all.
 */
import type { HandshakeRequest, Interceptor } from '../../server/transport.ts';
import { cookies, NotUtf8Error, offeredProtocols, queryParameter } from './request.ts';
import { secretsOf, TicketError, type TicketSecret, verifyTicket } from './ticket.ts';

const TICKET_PROTOCOL = 'ticket.';
const TICKET_COOKIE = 'tidings_ticket';
const TICKET_PARAMETER = 'ticket';

/** An HTTP answer that refuses a handshake, in plain text. */
export function refusal(status: number, message: string, headers: Record<string, string> = {}): Response {
  const type = { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' };
  return new Response(`${message}\n`, { status, headers: { ...type, ...headers } });
}

/**
 * Takes a ticket of `signTicket` from the subprotocol `ticket.<ticket>`, the query parameter `ticket` or
 * the cookie `tidings_ticket`, in this order. One that is not valid refuses the handshake with 401.
 *
 * @throws {TypeError} if a secret is shorter than 16 bytes
 */
export function signedTicket(options: TicketSecret): Interceptor {
  secretsOf(options);
  return {
    before(request, attributes) {
      try {
        const ticket = ticketOf(request);
        if (ticket === undefined) return undefined;
        attributes.user = verifyTicket(ticket, options).user;
      } catch (error) {
        if (error instanceof TicketError) return refusal(401, error.message);
        if (error instanceof NotUtf8Error) return refusal(400, error.message);
        throw error;
      }
      return undefined;
    },
  };
}

function ticketOf(request: HandshakeRequest): string | undefined {
  const protocol = offeredProtocols(request).find((name) => name.startsWith(TICKET_PROTOCOL));
  return (
    protocol?.slice(TICKET_PROTOCOL.length) ??
    queryParameter(request, TICKET_PARAMETER) ??
    cookies(request).get(TICKET_COOKIE)
  );
}

/** Which of the offered subprotocols the server takes; see docs/wire.md, Opening. */
export function isTicketProtocol(protocol: string): boolean {
  return protocol.startsWith(TICKET_PROTOCOL);
}

/** Asks the application whose the request's session cookie is. `undefined` leaves the request to the next interceptor. */
export function cookieSession(
  lookup: (
    cookies: Map<string, string>,
    request: HandshakeRequest,
  ) => string | undefined | Promise<string | undefined>,
): Interceptor {
  return {
    async before(request, attributes) {
      const found = cookies(request);
      if (found.size === 0) return;
      const user = await lookup(found, request);
      if (user !== undefined) attributes.user = user;
    },
  };
}

/**
 * Believes the user's bare name in a query parameter. Anyone can be anyone: for closed networks, where
 * something in front has checked it, and for demonstrations.
 */
export function queryUser(parameter: string): Interceptor {
  return {
    before(request, attributes) {
      try {
        const user = queryParameter(request, parameter);
        if (user !== undefined) attributes.user = user;
      } catch (error) {
        if (error instanceof NotUtf8Error) return refusal(400, error.message);
        throw error;
      }
      return undefined;
    },
  };
}
