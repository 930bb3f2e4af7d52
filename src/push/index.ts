/** The push server, and how handshakes say who a page's user is. */

export type { Origins } from '../server/origin.ts';
export type { Resolve, Resolved } from './delivery/references.ts';
export { type AskApplicationOptions, askApplication } from './door/ask-application.ts';
export type { Block, Blocked } from './door/blocks.ts';
export type { BlockSettings, DisconnectSettings } from './door/exclusion.ts';
export { cookieSession, queryUser, signedTicket } from './door/interceptors.ts';
export { type JwtOptions, jwt } from './door/jwt.ts';
export { originCheck } from './door/origin.ts';
export type { Rechecked } from './door/recheck.ts';
export {
  signTicket,
  type Ticket,
  type TicketContent,
  TicketError,
  type TicketErrorCode,
  type TicketSecret,
  verifyTicket,
} from './door/ticket.ts';
export type { RevokeSettings } from './door/topic-rights.ts';
export { signTopicTicket, type TopicTicket, verifyTopicTicket } from './door/topic-ticket.ts';
export type { HistoryQuery } from './inbox/history.ts';
export type { InboxMessage, InboxPage, MarkSettings, Withdrawn } from './inbox/inbox.ts';
export type * from './options.ts';
export { Session } from './pages/session.ts';
export type { AttendanceSettings } from './pages/topic-presence.ts';
export { PushServer } from './push-server.ts';
export type { ReloadOptions } from './reload.ts';
export { ConfirmTimeoutError, MessageGoneError } from './sending/confirmations.ts';
export type { Pending } from './sending/pending.ts';
export type { PublishSettings, ScheduleSettings, SendManySettings } from './sending/publish-settings.ts';
export type { SendReceipt } from './sending/publisher.ts';
export type { Scheduled } from './sending/schedule.ts';
export type { ScheduledMessage, ScheduledPage, ScheduledSettings } from './sending/schedule-list.ts';
export type { SentMany, UserResult } from './sending/send-many.ts';
export {
  type Channels,
  CloseCode,
  type DataOf,
  type HistoryState,
  SUBPROTOCOL,
  type TopicOf,
} from './talk/wire.ts';
export type { ChannelInfo } from './watch/channel-info.ts';
export type { InstanceReport } from './watch/fleet.ts';
export type { FollowedEvent } from './watch/followed.ts';
export { type FollowSettings, type OnFollowed, TooManyFollowersError } from './watch/following.ts';
export type { Health, HealthSettings } from './watch/health.ts';
export type { Stats } from './watch/stats.ts';
