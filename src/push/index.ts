/** The push server, and how handshakes say who a page's user is. */

export type { Origins } from '../server/origin.ts';
export { ConfirmTimeoutError } from './confirmations.ts';
export { cookieSession, queryUser, signedTicket } from './interceptors.ts';
export type * from './options.ts';
export { originCheck } from './origin.ts';
export type { Pending, PublishSettings, SendReceipt } from './publisher.ts';
export { PushServer, type Stats } from './push-server.ts';
export type { Resolve, Resolved } from './references.ts';
export { Session } from './session.ts';
export {
  signTicket,
  type Ticket,
  TicketError,
  type TicketErrorCode,
  type TicketSecret,
  verifyTicket,
} from './ticket.ts';
export { CloseCode, SUBPROTOCOL } from './wire.ts';
