/**
 * The objects of the `tidings.1` subprotocol: one JSON object per text frame, told apart by `type`.
 * docs/wire.md specifies them. Unknown fields are ignored; an unknown type is answered with `error`.
 * The page's client imports these types and the constants, nothing else of the server.
 */

export const SUBPROTOCOL = 'tidings.1';

/** The user's own inbox, in frames of both directions. Clients may also say `user:<name>`. */
export const INBOX = 'inbox';

/** Where transient messages for every session come from. */
export const BROADCAST = 'broadcast';

/** See `Position` in pubsub/store/position.ts: the last message that a client has seen in a channel. */
export interface WirePosition {
  /** Another one begins when the log does, and where the store has lost messages. */
  epoch: string;
  /** Counts from 1; 0 stands before the first message. */
  offset: number;
  /** Of the message that stands here; empty at offset 0. */
  id: string;
}

/** Why a channel could not be continued from where the client was. */
export type GapReason =
  /** The messages after the client's position are no longer retained. */
  | 'trimmed'
  /** The store has lost or rewound what the client has seen: other epoch, or other id at the offset. */
  | 'rewound'
  /** The client's position is not one of this channel. */
  | 'unknown-position';

// ── what a user has done with his messages ─────────────────────────────────────────────────────────

/** Offsets, each from the first to the last of a range: `[[1, 40], [43, 43]]`. Ascending. */
export type WireRanges = (readonly [first: number, last: number])[];

/** How many messages: of those kept, neither gone nor archived. */
export interface WireCounts {
  unseen: number;
  unread: number;
  all: number;
}

/**
 * The state of a channel's messages, all of it: whoever gets another one forgets the old. Of topics only `gone` is told.
 * A client counts what is kept from `first` to the newest message that it knows of, which is `last` or the last one that
 * it was sent since; with each that is newer, `first` is at least its offset - `most` + 1.
 */
export interface StateSnapshot {
  /** Counts the changes: `offset` is their number, `id` that of the last one, `epoch` another one after a loss. */
  version: WirePosition;
  /** The lowest offset that is kept. */
  first: number;
  /** The newest one. */
  last: number;
  /** How many messages are kept at most. */
  most: number;
  /** Withdrawn, replaced, deleted or expired. */
  gone: WireRanges;
  /** The list was opened and showed it. Whatever was read was seen. */
  seen?: WireRanges;
  read?: WireRanges;
  archived?: WireRanges;
  counts?: WireCounts;
  /** The store has lost changes that this page, or the version that it has said, knows of. */
  rewound?: true;
}

/** What can be done with messages of an inbox. */
export type WireMarkAs = 'seen' | 'read' | 'unread' | 'archived' | 'unarchived' | 'deleted';

/** Which messages `history` lists. All but `archived` are without those archived. */
export type HistoryState = 'all' | 'unseen' | 'unread' | 'read' | 'archived';

/** Where a channel's messages to this client begin. */
export interface ChannelState {
  /** The position after which messages follow. */
  position: WirePosition;
  /** True if nothing between the client's position and the next message is missing. */
  recovered: boolean;
  /** Why something is missing, where `recovered` is false. */
  reason?: GapReason;
  /** What the client's devices have acknowledged, for the inbox: the highest position of any device. */
  acked?: WirePosition;
  /** Of the inbox, and of a topic that has messages that are gone. */
  state?: StateSnapshot;
}

// ── what an application sends ──────────────────────────────────────────────────────────────────────

/**
 * To be extended by what an application sends: by channel, the type of its data.
 *
 *     interface Mails extends Channels {
 *       inbox: Mail;
 *       news: Headline;
 *       [room: `room:${string}`]: Line;
 *     }
 *     const push = new PushServer<Mails>();
 *     const client = connect<Mails>();
 *
 * `broadcast` is what goes to all sessions. No value has this type; nothing is checked when the program runs.
 */
export interface Channels {
  /** Only tells such an interface from others. */
  readonly '~channels': true;
}
/** The type of the data of a channel. */
export type DataOf<T, Name> = T extends Channels ? (Name extends keyof T ? T[Name] : unknown) : unknown;
/** The names of topics. */
export type TopicOf<T> = T extends Channels
  ? Exclude<keyof T & string, keyof Channels | typeof INBOX | typeof BROADCAST>
  : string;

// ── client → server ────────────────────────────────────────────────────────────────────────────────

/** First frame of every connection. */
export interface Hello {
  type: 'hello';
  /** Chosen once by the client and kept (localStorage): owns the ack cursor. At most 64 characters. */
  device?: string;
  /** By channel: continue after these. Topics named here are subscribed to, as those in `topics` are. */
  positions?: Record<string, WirePosition>;
  /** Topics to subscribe to at once. */
  topics?: string[];
  /** Where a channel begins for which there is neither position nor cursor. Default `now`. */
  start?: 'now' | 'retained';
  /** By channel: the `version` of the last state that the page has. */
  states?: Record<string, WirePosition>;
}
export interface Subscribe {
  type: 'subscribe';
  channel: string;
  /** A ticket for this topic, of `signTopicTicket`: then the application is not asked. */
  ticket?: string;
  position?: WirePosition;
  start?: 'now' | 'retained';
  /** Whether to be told who is on the topic, who comes and who goes; left out: as before. */
  presence?: boolean;
  /** `subscribed` brings it back, or `error`. */
  ref?: string;
}
export interface Unsubscribe {
  type: 'unsubscribe';
  channel: string;
  ref?: string;
}
/** This device has everything of the channel up to this position. */
export interface Ack {
  type: 'ack';
  channel: string;
  position: WirePosition;
  ref?: string;
}
/** Only where the application permits it. Answered by `published` or `error` with the same `ref`. */
export interface Publish {
  type: 'publish';
  channel: string;
  data: unknown;
  ref?: string;
  idempotencyKey?: string;
  /** Milliseconds from its being stored after which it is gone. */
  ttl?: number;
  /** The newest message that this user has published with the same key is gone. 1 to 256 characters. */
  replaces?: string;
}
/**
 * Changes the state of messages of the user's own inbox: of these, of all up to and including `upTo`, or, with neither,
 * of all. Answered by `marked` or `error` with the same `ref`.
 */
export interface MarkFrame {
  type: 'mark';
  as: WireMarkAs;
  /** At most 1,000. */
  messages?: WirePosition[];
  upTo?: WirePosition;
  ref?: string;
}
/** Messages of the inbox from before, newest first. Answered by `history` or `error` with the same `ref`. */
export interface HistoryRequest {
  type: 'history';
  /** Those before this one, without it. Left out: the newest. */
  before?: WirePosition;
  /** 1 to 200. Default 50. */
  limit?: number;
  /** Default `all`. */
  state?: HistoryState;
  ref?: string;
}
export interface Ping {
  type: 'ping';
}
/**
 * A new ticket, of the same user, before the old one ends; without one the page asks whether it may stay. Answered by
 * `renewed`, or by `error` with the same `ref`.
 */
export interface Renew {
  type: 'renew';
  ticket?: string;
  ref?: string;
}
export type ClientFrame =
  | Hello
  | Subscribe
  | Unsubscribe
  | Ack
  | Publish
  | MarkFrame
  | HistoryRequest
  | Renew
  | Ping;

// ── server → client ────────────────────────────────────────────────────────────────────────────────

/** Until when the session may stay, unless it is renewed before. Left out: it does not end by itself. */
export interface Validity {
  /** Milliseconds since 1970, by the server's clock. */
  expires?: number;
  /** The same in milliseconds from now, for pages whose clock is wrong. */
  expiresIn?: number;
}
/** Answers `hello`, before any message. */
export interface Welcome extends Validity {
  type: 'welcome';
  session: string;
  instance: string;
  user: string;
  /** Milliseconds: ping after `interval` of silence, give up after `timeout` more. */
  heartbeat: { interval: number; timeout: number };
  /**
   * The inbox, the topics that the application gives to the session, and those of `hello`, without those refused (an
   * `error` with `channel` tells which).
   */
  channels: Record<string, ChannelState>;
}
/** Answers `subscribe`; or the application has given the topic to the session, which has not asked for it. */
export interface Subscribed extends ChannelState {
  type: 'subscribed';
  channel: string;
  /** That of the `subscribe`; left out where the page has not asked. */
  ref?: string;
}
/** Answers `unsubscribe`, then without a reason; or the server has ended the subscription. */
export interface Unsubscribed {
  type: 'unsubscribed';
  channel: string;
  /**
   * `unsubscribed`: the application says so, and it may be asked for again; `revoked`: it may not; `expired`: its ticket
   * has ended, and a new one brings it back.
   */
  reason?: 'unsubscribed' | 'revoked' | 'expired';
}
/**
 * Who is on the topic. With `users`, or without any names where there are too many, it takes the place of what was said
 * before; otherwise it is what has changed.
 */
export interface PresenceFrame {
  type: 'presence';
  channel: string;
  /** Who is there. */
  users?: string[];
  /** Who has come. */
  joined?: string[];
  /** Who has gone. */
  left?: string[];
  /** How many users are there. */
  total: number;
}
export interface WireMessage extends WirePosition {
  type: 'message';
  channel: string;
  /** Milliseconds since 1970. */
  time: number;
  /** What was sent: any JSON value; with `encoding: 'base64'` the bytes of a binary message. */
  data: unknown;
  encoding?: 'base64';
  /** The application's key, where the message was stored by reference and `data` was resolved from it. */
  reference?: string;
  /** The reference could not be resolved in time: `data` is null, fetch it by `reference`. */
  unresolved?: true;
  /** When it will be gone by itself, in milliseconds since 1970 by the store's clock. */
  expires?: number;
  /** It was withdrawn, replaced or deleted, or has expired: `data` is null. Move the position, and show nothing. */
  gone?: true;
}
/** The state of the channel's messages has changed. */
export interface StateFrame extends StateSnapshot {
  type: 'state';
  channel: string;
}
/** Answers `mark`. The `state` with this version, or a later one, comes before or after it. */
export interface MarkedFrame {
  type: 'marked';
  ref?: string;
  /** How many messages have another state than before. */
  changed: number;
  version: WirePosition;
}
/** A message of the inbox, with what its user has done with it. */
export interface HistoryMessage extends Omit<WireMessage, 'type' | 'channel' | 'gone'> {
  state: 'unseen' | 'seen' | 'read';
  archived?: true;
}
/** Answers `history`. There may be fewer messages than asked for although there are more. */
export interface HistoryFrame {
  type: 'history';
  ref?: string;
  /** Newest first. */
  messages: HistoryMessage[];
  /** To ask for those before these. Left out: there are no more. */
  before?: WirePosition;
  counts: WireCounts;
}
/** A payload that no log keeps (a plain PUBLISH from outside, or `notify`): no position, at most once. */
export interface TransientMessage {
  type: 'transient';
  channel: string;
  data: unknown;
  encoding?: 'base64';
}
/** Another session's device (or this one's) has acknowledged up to here. */
export interface Acked {
  type: 'acked';
  channel: string;
  device: string;
  position: WirePosition;
}
/** From here on the channel begins anew at this position, because something was lost: reload. */
export interface Gap extends ChannelState {
  type: 'gap';
  channel: string;
}
/** Whether live messages can be late just now, because the store is away. Can come before `welcome`. */
export interface Status {
  type: 'status';
  behind: boolean;
}
/** The server has stored what the page has published. */
export interface Published extends WirePosition {
  /** Always `published`. */
  type: 'published';
  /** The channel as the page has named it. */
  channel: string;
  /** What the page has called its request. */
  ref?: string;
  /** True if this idempotency key was stored before. */
  duplicate: boolean;
}
/** The session has another end: after `renew`, or because the application says so. */
export interface Renewed extends Validity {
  type: 'renewed';
}
export interface Pong {
  type: 'pong';
}
/** This instance is going: reconnect at a random moment within `window` ms. */
export interface Drain {
  type: 'drain';
  window: number;
}
export interface ErrorFrame {
  type: 'error';
  code: ErrorCode;
  message: string;
  ref?: string;
  channel?: string;
}
/** Why a frame was not obeyed; the connection stays open. */
export type ErrorCode =
  /** `type` is none of the client's. */
  | 'unknown-type'
  /** A field is missing or not of its kind. */
  | 'bad-frame'
  /** Not a channel that a client may name, or a name that is too long. */
  | 'bad-channel'
  /** The ticket of `renew` is not valid; the session goes on until its end. */
  | 'not-authenticated'
  /** The application does not permit it. */
  | 'forbidden'
  | 'too-many-subscriptions'
  /** The subscription is there, but the page may not be told who is on the topic. */
  | 'no-presence'
  | 'not-subscribed'
  /** An acknowledgement of what was never sent, or without a `device` in `hello`. */
  | 'bad-ack'
  /** The store did not take it: try again, with the same idempotency key. */
  | 'unavailable'
  /** It can't be stored as it is: trying again is of no use. */
  | 'rejected'
  /**
   * What the store keeps of the channel can't be used until somebody has repaired it; the session is not subscribed to
   * it (any more). Try again later; where it is the inbox, the connection ends with 4425.
   */
  | 'damaged';

export type ServerFrame =
  | Welcome
  | Subscribed
  | Unsubscribed
  | PresenceFrame
  | WireMessage
  | StateFrame
  | MarkedFrame
  | HistoryFrame
  | TransientMessage
  | Acked
  | Gap
  | Status
  | Published
  | Renewed
  | Pong
  | Drain
  | ErrorFrame;

/** tidings' own close codes: 4000–4499 ask to reconnect, 4500–4999 ask not to. */
export const CloseCode = {
  /** Nothing came for too long, or `hello` did not come in time. */
  HEARTBEAT_TIMEOUT: 4408,
  /** The instance is going away, or the page is to go to another one. */
  DRAIN: 4412,
  /** Who the page is could not be found out just now. */
  TRY_AGAIN: 4424,
  /** What the store keeps of the inbox is damaged, or the page has spoken too long of it. */
  DAMAGED: 4425,
  /** The page sends more than it may. */
  RATE_LIMIT: 4429,
  /** The page takes nothing of what waits for it. */
  TOO_SLOW: 4430,
  /** The page has said something that the wire does not know. */
  MALFORMED: 4500,
  /** Nobody, or not any more: another ticket is needed. */
  NOT_AUTHENTICATED: 4501,
  /** The user is known, and may not be here. */
  FORBIDDEN: 4503,
  /** The user has opened more sessions than he may: the oldest goes. */
  REPLACED: 4509,
} as const;
