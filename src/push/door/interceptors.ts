/**
 * Handshake interceptors that say who a session's user is. Each leaves a request alone that it can't
 * judge, so that several can be combined; the push server refuses with 401 who is unknown to all.
 */
import type { Attributes, HandshakeRequest, Interceptor } from '../../server/transport.ts';
import type { PushInterceptor } from '../options.ts';
import { refusal } from './refusals.ts';
import { cookies, NotUtf8Error, protocolTicket, queryParameter, TICKET_PARAMETER } from './request.ts';
import { secretsOf, TicketError, type TicketSecret, verifyTicket } from './ticket.ts';

const TICKET_COOKIE = 'tidings_ticket';

/**
 * Takes a ticket of `signTicket` from the subprotocol `ticket.<ticket>`, the query parameter `ticket` or
 * the cookie `tidings_ticket`, in this order. One that is not valid refuses the handshake with 401; a JWT is left to
 * the next interceptor. The session ends with the ticket, unless its page brings another one before.
 *
 * @throws {TypeError} if a secret is shorter than 16 bytes
 */
export function signedTicket(options: TicketSecret): PushInterceptor {
  secretsOf(options);
  const said = (ticket: string | undefined): Attributes | Response | undefined => {
    if (ticket === undefined || isJwt(ticket)) return undefined;
    try {
      return { ...verifyTicket(ticket, options) };
    } catch (error) {
      if (error instanceof TicketError) return refusal(401, error.message);
      throw error;
    }
  };
  return {
    before(request, attributes) {
      try {
        const answer = said(ticketOf(request));
        if (answer instanceof Response) return answer;
        if (answer !== undefined) say(attributes, answer);
      } catch (error) {
        if (error instanceof NotUtf8Error) return refusal(400, error.message);
        throw error;
      }
      return undefined;
    },
    renew: said,
  };
}

/** In place of another user whom an interceptor before has named, if there is one: a login and its end are that one's. */
export function say(attributes: Attributes, said: Attributes): void {
  const { user } = attributes;
  if (user !== undefined && user !== said.user) {
    for (const name of ['login', 'expires', 'topics', 'claims']) delete attributes[name];
  }
  Object.assign(attributes, said);
}

/** Where a ticket stands in a request: in the subprotocol, the query, `bearer`, or the cookie; the first one there is. */
export function ticketOf(
  request: HandshakeRequest,
  { bearer, cookie = TICKET_COOKIE }: { bearer?: string | undefined; cookie?: string | undefined } = {},
): string | undefined {
  return (
    protocolTicket(request) ??
    queryParameter(request, TICKET_PARAMETER) ??
    bearer ??
    cookies(request).get(cookie)
  );
}

/** Whether it has the form of a JSON Web Token: three parts, of which the first begins as JSON does. */
export function isJwt(text: string): boolean {
  return /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/.test(text);
}

/** Asks the application whose the request's session cookie is. `undefined` leaves the request to the next interceptor. */
export function cookieSession(
  lookup: (
    cookies: Map<string, string>,
    request: HandshakeRequest,
  ) => string | undefined | Promise<string | undefined>,
): Interceptor {
  if (typeof lookup !== 'function') throw new TypeError('cookieSession takes a function (cookies) => user');
  return {
    async before(request, attributes) {
      const found = cookies(request);
      if (found.size === 0) return;
      const user = await lookup(found, request);
      if (user !== undefined) say(attributes, { user });
    },
  };
}

/**
 * Believes the user's bare name in a query parameter. Anyone can be anyone: for closed networks, where
 * something in front has checked it, and for demonstrations.
 */
export function queryUser(parameter: string): Interceptor {
  if (typeof parameter !== 'string' || parameter === '') {
    throw new TypeError("queryUser takes the name of a query parameter, such as queryUser('user')");
  }
  return {
    before(request, attributes) {
      try {
        const user = queryParameter(request, parameter);
        if (user !== undefined) say(attributes, { user });
      } catch (error) {
        if (error instanceof NotUtf8Error) return refusal(400, error.message);
        throw error;
      }
      return undefined;
    },
  };
}
