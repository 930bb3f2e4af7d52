/**
 * Tickets for one topic: the application lets a user subscribe to it, without being asked when he does. As signed tickets,
 * but `s1.<payload>.<HMAC-SHA256>`, so that neither can be taken for the other.
 */
import { checkNames, type Names } from '../../option-names.ts';
import { FrameError } from '../talk/frames.ts';
import { topicProblem, userProblem } from '../talk/names.ts';
import { sealed, TicketError, type TicketSecret, unsealed } from './ticket.ts';

const VERSION = 's1';
const DEFAULT_LIFETIME = 10 * 60 * 1000;
const NAMES: Names<TicketSecret & { lifetime?: number }> = { secret: true, lifetime: true };

/** What a ticket for a topic says: `verifyTopicTicket` returns it. */
export interface TopicTicket {
  /** The user for whom it is. */
  user: string;
  /** The topic that he may subscribe to. */
  topic: string;
  /** Milliseconds since 1970. */
  expires: number;
}

/**
 * @param options.lifetime milliseconds until it expires, and the subscription with it; default 600,000
 * @throws {TypeError} for an unfit name or a secret that is too short
 */
export function signTopicTicket(
  user: string,
  topic: string,
  options: TicketSecret & { lifetime?: number },
): string {
  const problem = userProblem(user) ?? topicProblem(topic);
  if (problem !== undefined) throw new TypeError(problem);
  checkNames('signTopicTicket', options ?? {}, NAMES);
  const expires = Date.now() + (options?.lifetime ?? DEFAULT_LIFETIME);
  if (!Number.isFinite(expires)) throw new TypeError('lifetime is no number of milliseconds');
  return sealed(VERSION, { u: user, s: topic, x: expires }, options);
}

/** @throws {TicketError} saying whether it is malformed, not ours, or expired */
export function verifyTopicTicket(ticket: string, secret: TicketSecret): TopicTicket {
  return unsealed(VERSION, ticket, secret, ({ u: user, s: topic, x: expires }) => {
    const problem = userProblem(user) ?? topicProblem(topic);
    if (problem !== undefined) throw new TicketError('TICKET_MALFORMED', `in the ticket, ${problem}`);
    return { user: user as string, topic: topic as string, expires: expires as number };
  });
}

/**
 * When what the ticket permits to this user ends.
 *
 * @param secret undefined where there are no such tickets
 * @throws {FrameError} that the page is told
 */
export function permittedUntil(
  ticket: string,
  secret: TicketSecret | undefined,
  user: string,
  topic: string,
): number {
  const refuse = (why: string): never => {
    throw new FrameError('forbidden', why, topic);
  };
  if (secret === undefined) return refuse('tickets for topics are not set up: topicTickets');
  try {
    const content = verifyTopicTicket(ticket, secret);
    if (content.user !== user) return refuse('the ticket is of another user');
    if (content.topic !== topic) return refuse('the ticket is for another topic');
    return content.expires;
  } catch (error) {
    if (error instanceof TicketError) return refuse(error.message);
    throw error;
  }
}
