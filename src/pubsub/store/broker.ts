/**
 * What the push server asks of the thing that keeps the logs and carries messages between instances.
 * The comments state each method's guarantee; memory-broker.ts, redis-broker.ts and postgres-broker.ts keep them, and one
 * behavioural test file runs against all.
 */

import type { LogFields } from '../../log-fields.ts';
import type { Attendance } from './attendance.ts';
import type { ControlListener, ControlLog } from './control.ts';
import type { Mark, Marked, Removal } from './marks.ts';
import type { PayloadKind } from './payload-kind.ts';
import type { Position } from './position.ts';
import type { Schedule } from './schedule.ts';

export type { PayloadKind } from './payload-kind.ts';
export type { Position } from './position.ts';

/**
 * `gone`: it was withdrawn, replaced or deleted, or had expired when it was read. It keeps its place in the counting, so
 * that offsets stay contiguous, and nothing else: its payload is empty.
 */
export type StoredKind = PayloadKind | 'gone';

/** A message as a log keeps it. */
export interface StoredMessage extends Position {
  /** `user:<name>`, or the topic. */
  channel: string;
  /** Milliseconds since 1970 by the broker's clock, at the moment it was stored. */
  time: number;
  /** What the payload is. */
  kind: StoredKind;
  /** What was sent; empty where it is gone. */
  payload: Buffer;
  /** When it expires, in milliseconds since 1970 by the broker's clock. Left out: never, or it is gone. */
  expires?: number;
  /** As it was given in `PublishOptions`. */
  trace?: string;
}

/** What `publish` resolves with: where the message stands. */
export interface Receipt extends Position {
  /** `user:<name>`, or the topic. */
  channel: string;
  /** True if this idempotency key was stored before: then the rest is the first receipt's. */
  duplicate: boolean;
}

/** How long a channel keeps its messages; whichever bound is met first. Both are always in force. */
export interface Retention {
  /** The newest so many are kept. */
  maxMessages: number;
  /** Milliseconds. */
  maxAge: number;
}

/** How long which channels keep their messages. */
export interface Retentions {
  /** Of users. */
  inbox: Retention;
  /** Of topics that are not named. */
  topic: Retention;
  /** By the name of a topic, or what it begins with and an asterisk: the exact name, else the longest beginning counts. */
  topics: Readonly<Record<string, Retention>>;
}

/** What `Broker.publish` takes besides the message. */
export interface PublishOptions {
  /** How long the channel keeps its messages. */
  retention: Retention;
  /** The same key on the same channel within the window returns the first receipt. */
  idempotencyKey?: string;
  /** Milliseconds that the key is remembered. Default 24 hours. */
  idempotencyWindow?: number;
  /** Milliseconds after it was stored that the message expires: then it is gone. Above 0; without it, never. */
  ttl?: number;
  /**
   * A key of 1 to 256 characters. In the same step in which the message is stored, the newest one that is kept and was
   * published with the same key on this channel is gone, and this one has the key. Where an idempotency key is known,
   * nothing is replaced.
   */
  replaces?: string;
  /** Kept with the message for who follows its way: 1 to 300 ASCII characters, none of them a space. */
  trace?: string;
  /**
   * Also wait for this many replicas to have it, at most `replicaTimeout` ms; with fewer it rejects with a
   * `ReplicationError`, and the message stays stored. Redis: WAIT. PostgreSQL: its commits have waited for so many standbys,
   * where `synchronous_standby_names` says so. A store in memory has none, and does not wait.
   */
  replicas?: number;
  /** Milliseconds. Default 1,000. */
  replicaTimeout?: number;
}

/** A part of a channel's log, oldest first. */
export interface LogPage {
  /** Oldest first. */
  messages: StoredMessage[];
  /** The newest position of the channel when the page was read; offset 0 in a channel never used. */
  top: Position;
  /** The lowest offset still retained; `top.offset + 1` when nothing is. */
  first: number;
}

/** An acknowledgement: `device` has everything of `channel` up to and including `position`. */
export interface Cursor {
  /** `user:<name>`. */
  channel: string;
  /** The id that the device has given itself. */
  device: string;
  /** The newest message that it has acknowledged. */
  position: Position;
}

/** What a page needs that opens on a channel. */
export interface Opening {
  /** As `read` tells it, with nothing read. */
  top: Position;
  /** As `cursors` tells them; `undefined` where they have to be asked for by that, as they can't be read. */
  cursors: Cursor[] | undefined;
  /** As `marks` tells them; `undefined` where they have to be asked for by that, as they can't be read. */
  marked: Marked | undefined;
}

/** A session as other instances see it. */
export interface PresenceEntry {
  /** Unique over all instances. */
  session: string;
  /** The name of the instance that it is on. */
  instance: string;
  /** The user's name. */
  user: string;
  /** The id of the device, where it has one. */
  device?: string;
  /** Milliseconds since 1970. */
  since: number;
  /** It is on this topic: then it is seen there, and not among the sessions of its user. Once for each topic. */
  topic?: string;
}

/** Where an entry is seen, as a channel. */
export function placeOf({ user, topic }: PresenceEntry): string {
  return topic ?? placeOfUser(user);
}

/** Where the sessions of a user are seen, as a channel. */
export function placeOfUser(user: string): string {
  return `user:${user}`;
}

/** What tells an entry from all others. */
export function entryId({ session, topic }: PresenceEntry): string {
  return topic === undefined ? session : `${session}\n${topic}`;
}

/** Something that another program wants stored, by whatever way the broker offers for that. */
export interface IntakeMessage {
  /** `user:<name>`, or the topic. */
  channel: string;
  /** What the payload is. */
  kind: PayloadKind;
  /** What to send. */
  payload: Buffer;
  /** To publish it with, as it may come again. */
  idempotencyKey: string;
  /** As `PublishOptions.ttl`. */
  ttl?: number;
  /** As `PublishOptions.replaces`. */
  replaces?: string;
  /** As W3C Trace Context has them. */
  traceparent?: string;
  /** Goes with `traceparent` (W3C Trace Context). */
  tracestate?: string;
}

/**
 * What the store keeps of this channel is not what a broker has written: it can't be used until somebody who can look
 * into the store has removed or repaired it. Trying again is of no use.
 */
export class DamagedChannelError extends Error {
  /** The channel that is damaged. */
  readonly channel: string;

  constructor(channel: string, why: string, options?: ErrorOptions) {
    super(`what the store keeps of ${JSON.stringify(channel)} is damaged: ${why}`, options);
    this.name = 'DamagedChannelError';
    this.channel = channel;
  }
}

/** The message is stored, but fewer replicas than asked for are known to have it. */
export class ReplicationError extends Error {
  /** By the store. */
  readonly code: 'REDIS_NOT_REPLICATED' | 'POSTGRES_NOT_REPLICATED';
  /** Where the message is stored. */
  readonly receipt: Receipt;
  /** How many replicas confirmed. */
  readonly confirmed: number;

  constructor(code: ReplicationError['code'], receipt: Receipt, confirmed: number, why: string) {
    super(`message ${receipt.offset} of ${receipt.channel} is stored, but ${why}`);
    this.name = 'ReplicationError';
    this.code = code;
    this.receipt = receipt;
    this.confirmed = confirmed;
  }
}

/**
 * Whether a channel can't be used until somebody has changed something at the store or in the settings: it is damaged,
 * or has a message that is too long for this broker. Trying again by itself is of no use. The broker has told `warn`.
 */
export function isUnusable(error: unknown): error is Error {
  return (
    error instanceof DamagedChannelError || (error as { code?: unknown })?.code === 'REDIS_REPLY_TOO_LONG'
  );
}

/**
 * What a broker tells the push server. Calls come in the order of events; none may throw. Messages and
 * payloads are the listener's for good, never a view of something read into again.
 */
export interface BrokerListener {
  /** A stored message of a subscribed channel, as it was published. Gaps are possible and show in offsets. */
  message(message: StoredMessage): void;
  /** A payload that no log keeps, from a plain PUBLISH or `notify`. At most once. */
  transient(channel: string, payload: Buffer): void;
  /** A device of a subscribed channel has acknowledged. At most once. */
  acknowledged(cursor: Cursor): void;
  /**
   * The marks of a subscribed channel have changed, and this is what they are now: whoever gets new ones forgets the old.
   * In order with the messages of the channel; where a message has replaced another one, right behind it. At most once.
   * An older one may come late: that of the higher `version.offset` is the newer one, within one `version.epoch`.
   */
  marked?(channel: string, marked: Marked): void;
  /** The connection to the store was lost: live messages may be missing until `up`, which comes before another `down`. */
  down(error: Error): void;
  /** It is back, and every subscription is in force again: read the logs to see what was missed. */
  up(): void;
  /**
   * Live messages of this one subscribed channel may be missing: read its log. Without this method, it shows with
   * the next message.
   */
  missed?(channel: string): void;
  /** Something that an operator should see, once: a damaged channel, a command that the store refuses. */
  warn?(message: string, fields: LogFields): void;
  /** What `warn` has told of is over. */
  mended?(message: string, fields: LogFields): void;
  /** For what reaches the store by another way than `publish`. Asked for now and then, as it may change. */
  readonly retentions?: Retentions;
  /** Bytes of the largest message that is published, so that the broker can read what others have published. */
  readonly maxMessage?: number;
  /**
   * Publish this. Resolves when it is stored; rejects with a TypeError, a RangeError or a DamagedChannelError where
   * it never can be, with anything else to be asked again later. Without this method, the broker takes nothing in.
   */
  intake?(message: IntakeMessage): Promise<unknown>;
  /**
   * Carries out what is said on the control log. With it, this instance takes a lease there, and `open` and `up` come
   * only while it has one; without it, it needs none.
   */
  readonly control?: ControlListener;
  /** Milliseconds of that lease: the same on all instances. Default 5,000. */
  readonly lease?: number;
}

/** A store for messages, which instances share: `memoryBroker()`, `redisBroker()`, or one of your own. */
export interface Broker {
  /** What all instances are told to do, and whether this one may deliver. */
  readonly control: ControlLog;
  /** Messages that are sent later. */
  readonly schedule: Schedule;

  /**
   * Connects and begins to call `listener`. Resolves when the store is reachable for the first time.
   *
   * @throws {RangeError} if the listener's largest message could not be read with the broker's own settings
   */
  open(listener: BrokerListener): Promise<void>;

  /**
   * Messages may have as many bytes from now on, where that is more than before.
   *
   * @throws {RangeError} as `open`
   */
  accept?(maxMessage: number): void;

  /**
   * Appends to the channel's log and rings the doorbell, in one step. Resolves only once the store has
   * it; rejects where that is not known (then a retry with the same idempotency key is safe). Messages of one
   * channel are stored in the order of the calls, whatever happens on the way.
   *
   * @throws {RangeError} for a payload that could not be read again, and a `ttl` or `replaces` that can't be
   * @throws {DamagedChannelError} as all methods do that are about one channel
   */
  publish(channel: string, kind: PayloadKind, payload: Buffer, options: PublishOptions): Promise<Receipt>;

  /** Hands a payload to whoever is subscribed at this moment; nothing is kept. */
  notify(channel: string, payload: Buffer): Promise<void>;

  /**
   * Resolves when the subscription is in force: what is published after that reaches the listener unless
   * the connection drops in between (then `up` follows). Subscribing twice is the same as once.
   */
  subscribe(channel: string): Promise<void>;
  /** Ends the subscription; resolves when the store has been told. */
  unsubscribe(channel: string): Promise<void>;

  /**
   * The retained messages after `offset`, oldest first, at most `limit` of them and some 1 MiB of payload. Those that are
   * gone are among them, in their places, and so are those that have expired, which are read as `gone` from then on.
   * A channel that nothing is kept of has an epoch of its own kind at offset 0, from which it can be told later
   * whether what was missed is all there was (`leadsTo` of epochs.ts). Nothing is created by looking.
   */
  read(channel: string, offset: number, limit: number): Promise<LogPage>;

  /**
   * The newest positions of many channels, in one round trip per store node. A channel that the store
   * does not know has an empty epoch and offset 0. One that can't be read has an error for its place.
   */
  tops(channels: string[]): Promise<(Position | Error)[]>;

  /**
   * Changes what is kept of the channel's messages, in one atomic step, and tells subscribers if that has changed anything:
   * `changed` is how many messages it has. The rest is what the marks are now.
   *
   * - `read` is `seen` as well; `unread` takes back only `read`, `unarchived` only `archived`.
   * - `deleted` messages are gone: their payloads are erased, and nothing brings them back. So are withdrawn and replaced
   *   ones. What is gone can't be marked, and is not among `changed`.
   * - A mark made twice is made once, so one whose outcome is not known may be repeated. Marks and removals of one channel
   *   by one broker are made in the order of the calls.
   * - Marks live as long as the log. A channel that begins anew, in another epoch, begins without; a log that is found to
   *   have rewound keeps those it has come back with. Where these have lost changes that this broker knew of, their version
   *   gets another epoch.
   * - Where some hundreds of entries have to be looked at or erased, or a megabyte of them, a store may take several steps,
   *   so as not to keep all others waiting: each is whole, is told, and holds if the next one fails. So it is with what has
   *   expired (`marks`).
   * - Nothing is created by marking in a channel that was never used.
   *
   * @throws {TypeError} for a mark that says nothing (`checkMark`)
   * @throws {RangeError} for more than 1,000 messages
   * @throws {TooManyRangesError} with `code` `TOO_MANY_RANGES`, if the marks would be more than 4,096 ranges; then nothing
   *   has changed
   */
  mark(channel: string, mark: Mark): Promise<Marked & { changed: number }>;

  /**
   * The marks of a channel, and what they are about. Messages that have expired by now are put among `gone`, and their
   * payloads are erased: that is a change, which subscribers are told, once, by the first who looks. Nothing is created by
   * looking.
   */
  marks(channel: string): Promise<Marked>;

  /**
   * Withdraws a message, in one atomic step: it is gone, and its payload is erased. Subscribers are told. False if there
   * is no such message, or it is gone. This is never refused for too many ranges.
   */
  remove(channel: string, which: Removal): Promise<boolean>;

  /**
   * What a page needs that opens, in one round trip, which it shares with others that open at the same time (in a
   * Cluster, on the same slot). Nothing is created by looking.
   */
  opening(channel: string): Promise<Opening>;

  /**
   * Moves a device's cursor forward, never back within an epoch, and tells subscribers of the channel if
   * it moved. A position of another epoch than the channel's, beyond its top, or with another id than the retained
   * message there, moves nothing. Cursors expire `ttl` ms after their last move. A channel keeps those of 32 devices:
   * the one that has not moved for the longest time makes room.
   */
  acknowledge(cursor: Cursor, ttl: number): Promise<void>;
  /**
   * Many at once, for less than as many calls would cost. Calls back for each, in any order, with its place in `cursors`
   * and what kept it from that, if anything did.
   */
  acknowledgeAll?(
    cursors: readonly Cursor[],
    ttl: number,
    done: (index: number, error: unknown) => void,
  ): void;
  /** The cursors of all the channel's devices. */
  cursors(channel: string): Promise<Cursor[]>;

  /**
   * Makes sessions visible to all instances until they are withdrawn, or this broker has given no sign of life for
   * `ttl` ms: which it does by itself. Said again with the same session and topic, an entry replaces the former one.
   */
  announce(entries: PresenceEntry[], ttl: number): Promise<void>;
  /** Takes back what `announce` has said. */
  withdraw(entries: PresenceEntry[]): Promise<void>;
  /** The user's sessions on all instances, without those of brokers that are closed or silent. */
  presence(user: string): Promise<PresenceEntry[]>;
  /**
   * Which of these users have a session, on any instance. In one round trip per store node for a thousand, and one more
   * where there are instances that were not heard of for a second. Of whom nothing can be read is not among them.
   */
  online(users: readonly string[]): Promise<Set<string>>;
  /** Who is on a topic, on all instances, as `presence` counts; at most `limit` users are named. */
  attendance(topic: string, limit: number): Promise<Attendance>;

  /** How many things are wrong with the store although it can be reached; each was told to `warn`. */
  readonly faultCount?: number;

  /** Ends connections and timers. Publishes under way settle first. */
  close(): Promise<void>;
}
