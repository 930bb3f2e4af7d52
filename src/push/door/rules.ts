/** Who is let in, and what he may do. A running server takes it anew, so nobody keeps a part of it. */
import type { OriginPolicy } from '../../server/origin.ts';
import type { Authorize, PushInterceptor } from '../options.ts';
import type { Refusals } from './refusals.ts';
import type { TicketSecret } from './ticket.ts';

export interface Rules {
  interceptors: readonly PushInterceptor[];
  authorize: Authorize;
  topicTickets: TicketSecret | undefined;
  origins: OriginPolicy;
  refusals: Refusals;
  plainCounts: boolean;
}
