/**
 * Signed tickets: the application says, without a shared session store, who a page's user is, by which login, and until
 * when. `t1.<payload>.<HMAC-SHA256>`, both parts base64url, so that a ticket also fits into a URL, a cookie and a
 * subprotocol's name.
 */
import { isUtf8 } from 'node:buffer';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { checkNames, type Names } from '../../option-names.ts';
import type { Attributes } from '../../server/transport.ts';
import { isRecord } from '../is-record.ts';
import { claimsOf } from '../pages/claims.ts';

const VERSION = 't1';
const DEFAULT_LIFETIME = 10 * 60 * 1000;
const MIN_SECRET_BYTES = 16;
/** Longer than any ticket that `signTicket` can make. */
const MAX_TICKET = 2048;

/** What a ticket says: `verifyTicket` returns it. */
export interface Ticket {
  /** The user whom it lets in. */
  user: string;
  /** Milliseconds since 1970. */
  expires: number;
  /** The id of the user's login or session at the application. */
  login?: string;
  /** Topics that the session is subscribed to without asking. */
  topics?: readonly string[];
  /** Whatever else the application has said: `attributes.claims` of the session. */
  claims?: Readonly<Record<string, unknown>>;
}

/** What a ticket can say besides the user. */
export interface TicketContent extends Pick<Ticket, 'login' | 'topics' | 'claims'> {
  /** Milliseconds until it expires. Default 600,000. */
  lifetime?: number;
}

/** What tickets are signed with. */
export interface TicketSecret {
  /** At least 16 bytes. Of several, the first signs and all verify: put a new one in front to rotate. */
  secret: string | readonly string[];
}

const NAMES: Names<TicketSecret & TicketContent> = {
  secret: true,
  lifetime: true,
  login: true,
  topics: true,
  claims: true,
};

/** Why a ticket is refused: it is none, is signed with another secret, or has expired. */
export type TicketErrorCode = 'TICKET_MALFORMED' | 'TICKET_SIGNATURE' | 'TICKET_EXPIRED';

/** A ticket is refused. */
export class TicketError extends Error {
  /** Why. */
  readonly code: TicketErrorCode;
  constructor(code: TicketErrorCode, message: string) {
    super(message);
    this.name = 'TicketError';
    this.code = code;
  }
}

/**
 * All in one ticket has at most 2,048 characters, three for each two bytes.
 *
 * @throws {TypeError} for what a ticket can't say, or a secret that is too short
 */
export function signTicket(user: string, options: TicketSecret & TicketContent): string {
  checkNames('signTicket', options ?? {}, NAMES);
  const { lifetime, login, topics, claims } = options ?? {};
  const expires = Date.now() + (lifetime ?? DEFAULT_LIFETIME);
  if (!Number.isFinite(expires)) throw new TypeError('lifetime is no number of milliseconds');
  // Left out where undefined, as JSON does.
  const content = { u: user, x: expires, l: login, t: topics, c: claims };
  claimsOf({ user: user ?? '', login, topics }, Number.POSITIVE_INFINITY);
  if (claims !== undefined && !isRecord(claims)) throw new TypeError('claims is no object');
  return sealed(VERSION, content, options);
}

/** @throws {TypeError} for what is too long, or a secret that is too short */
export function sealed(version: string, content: object, secret: TicketSecret): string {
  const payload = Buffer.from(JSON.stringify(content)).toString('base64url');
  const signed = `${version}.${payload}`;
  const ticket = `${signed}.${mac(signed, secretsOf(secret)[0]!).toString('base64url')}`;
  if (ticket.length > MAX_TICKET) throw new TypeError(`the ticket has more than ${MAX_TICKET} characters`);
  return ticket;
}

/** Whether it says of itself that it is a ticket of this kind, valid or not. */
export function isTicket(text: string): boolean {
  return text.startsWith(`${VERSION}.`);
}

/** @throws {TicketError} saying whether it is malformed, not ours, or expired */
export function verifyTicket(ticket: string, options: TicketSecret): Ticket {
  return unsealed(VERSION, ticket, options, contentOf);
}

/**
 * @param read what was signed; whoever signs without our functions may have signed anything. Throws a {TicketError}
 * @throws {TicketError} saying whether it is malformed, not ours, or expired
 */
export function unsealed<T extends { expires: number }>(
  version: string,
  ticket: string,
  secret: TicketSecret,
  read: (content: Record<string, unknown>) => T,
): T {
  const parts = typeof ticket !== 'string' || ticket.length > MAX_TICKET ? [] : ticket.split('.');
  if (parts.length !== 3 || parts[0] !== version) {
    throw new TicketError('TICKET_MALFORMED', `not a ${version} ticket`);
  }
  // Compared as text: base64url of the same bytes can be written in more than one way.
  const given = Buffer.from(parts[2]!);
  const signed = `${parts[0]}.${parts[1]}`;
  let isOurs = false;
  for (const one of secretsOf(secret)) {
    const expected = Buffer.from(mac(signed, one).toString('base64url'));
    if (given.length === expected.length && timingSafeEqual(given, expected)) isOurs = true;
  }
  if (!isOurs) throw new TicketError('TICKET_SIGNATURE', 'the ticket was not signed with our secret');
  const content = read(parsed(parts[1]!));
  const { expires } = content;
  if (typeof expires !== 'number' || !Number.isFinite(expires)) {
    throw new TicketError('TICKET_MALFORMED', 'the ticket does not say in numbers when it expires');
  }
  if (expires <= Date.now()) throw new TicketError('TICKET_EXPIRED', `the ticket expired ${moment(expires)}`);
  return content;
}

/** Empty where it is no JSON object. */
function parsed(payload: string): Record<string, unknown> {
  try {
    const bytes = Buffer.from(payload, 'base64url');
    const content: unknown =
      bytes.toString('base64url') === payload && isUtf8(bytes) ? JSON.parse(bytes.toString()) : undefined;
    return isRecord(content) ? content : {};
  } catch {
    // No JSON: without a user and an end it is refused as malformed.
    return {};
  }
}

function contentOf({ u: user, x: expires, l: login, t: topics, c: claims }: Record<string, unknown>): Ticket {
  try {
    // Without a name it is `claimsOf` that finds nothing to look at.
    claimsOf({ user: user ?? '', login, topics } as Attributes, Number.POSITIVE_INFINITY);
  } catch (error) {
    throw new TicketError('TICKET_MALFORMED', `in the ticket, ${(error as Error).message}`);
  }
  if (claims !== undefined && !isRecord(claims)) {
    throw new TicketError('TICKET_MALFORMED', "the ticket's claims are no object");
  }
  return {
    user: user as string,
    expires: expires as number,
    ...(login !== undefined && { login: login as string }),
    ...(topics !== undefined && { topics: topics as string[] }),
    ...(claims !== undefined && { claims }),
  };
}

/** A time that a Date can't be has no ISO form. */
function moment(time: number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? 'long ago' : `at ${date.toISOString()}`;
}

/** @throws {TypeError} if there is none or one is too short */
export function secretsOf(options: TicketSecret): readonly string[] {
  const secrets: unknown = typeof options?.secret === 'string' ? [options.secret] : options?.secret;
  const isLong = (secret: unknown): boolean =>
    typeof secret === 'string' && Buffer.byteLength(secret) >= MIN_SECRET_BYTES;
  if (!Array.isArray(secrets) || secrets.length === 0 || !secrets.every(isLong)) {
    throw new TypeError(
      `a ticket secret must have at least ${MIN_SECRET_BYTES} bytes, and be given as { secret: process.env.TIDINGS_SECRET }`,
    );
  }
  return secrets;
}

function mac(signed: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(signed).digest();
}
