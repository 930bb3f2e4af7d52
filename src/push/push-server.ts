/** The push server as an application sees it: sending, sending away, looking, closing. Who does it is in `rooms`. */
import type { Family } from '../metrics/family.ts';
import { type ObserveSettings, type OtelMeter, observe } from '../metrics/otel.ts';
import { checkNames, type Names } from '../option-names.ts';
import type { Attendance } from '../pubsub/store/attendance.ts';
import type { PresenceEntry, Receipt } from '../pubsub/store/broker.ts';
import { DEFAULT_CONFIRM_TIMEOUT } from '../pubsub/store/control.ts';
import type { Counts } from '../pubsub/store/marks.ts';
import { checkMilliseconds } from '../server/options.ts';
import { inTime } from '../waiting.ts';
import type { Block, Blocked } from './door/blocks.ts';
import type { BlockSettings, DisconnectSettings } from './door/exclusion.ts';
import type { Listeners } from './door/listeners.ts';
import type { Rechecked } from './door/recheck.ts';
import type { RevokeSettings } from './door/topic-rights.ts';
import type { HistoryQuery } from './inbox/history.ts';
import type { InboxPage, MarkSettings, Withdrawn } from './inbox/inbox.ts';
import { checkedLevel } from './log.ts';
import { PushMetrics } from './metrics.ts';
import type { Log, LogLevel, PushServerOptions } from './options.ts';
import type { Session } from './pages/session.ts';
import type { AttendanceSettings } from './pages/topic-presence.ts';
import type { Decode } from './payload.ts';
import type { ReloadOptions } from './reload.ts';
import { Rooms } from './rooms.ts';
import { type Pending, pendingOf } from './sending/pending.ts';
import type {
  AnySettings,
  PublishSettings,
  ScheduleSettings,
  SendManySettings,
} from './sending/publish-settings.ts';
import type { SendReceipt } from './sending/publisher.ts';
import type { Scheduled } from './sending/schedule.ts';
import type { ScheduledPage, ScheduledSettings } from './sending/schedule-list.ts';
import type { SentMany, UserResult } from './sending/send-many.ts';
import { userProblem } from './talk/names.ts';
import type { DataOf, TopicOf } from './talk/wire.ts';
import { type ChannelInfo, channelInfo } from './watch/channel-info.ts';
import { Fleet, type InstanceReport, reportOf } from './watch/fleet.ts';
import type { FollowSettings, OnFollowed } from './watch/following.ts';
import { DEFAULT_STORE_GRACE, type Health, type HealthSettings, healthOf } from './watch/health.ts';
import type { Stats } from './watch/stats.ts';

const DEFAULT_PENDING_LIMIT = 100;

const OBSERVE: Names<ObserveSettings> = { histograms: true };
const CLOSE: Names<{ drain?: number }> = { drain: true };
const HEALTH: Names<HealthSettings> = { storeGrace: true };
const RELOAD: Names<{ trial?: boolean }> = { trial: true };
const FOLLOW: Names<FollowSettings> = { data: true, ended: true };

/**
 * Delivers messages to the open pages of users and topics, here and, by its broker, on other instances.
 *
 * @typeParam T what is sent, by channel: an interface that extends `Channels`; without, anything
 */
export class PushServer<T = unknown> {
  /** This instance's name among the others. */
  readonly instance: string;
  /** Resolves when it listens and the store has been reached; rejects if it can't listen. */
  readonly ready: Promise<void>;

  readonly #rooms: Rooms;
  readonly #metrics: PushMetrics;
  readonly #fleet: Fleet;

  /**
   * Begins to listen at once (`ready` says when it does), unless neither `server` nor `port` is given:
   * then it only sends.
   *
   * @throws {TypeError} for options that make no sense
   */
  constructor(options: PushServerOptions = {}) {
    this.#rooms = new Rooms(options);
    this.#rooms.parts.belongTo(this);
    this.#metrics = new PushMetrics(this.#rooms);
    this.#fleet = new Fleet(this.#rooms.watchBus, () =>
      reportOf(this.stats(), this.health(), this.metrics()),
    );
    this.instance = this.#rooms.settings.instance;
    this.ready = this.#rooms.life.open();
    // Whoever does not ask still gets the log line.
    this.ready.catch(() => {});
  }

  // ── sending ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores a message in a user's inbox. Every page the user has open, on any instance, gets it. With `at`, that happens
   * then: the receipt says under which id it is `scheduled`.
   *
   * @param data a string, bytes, or anything that JSON can say
   * @returns once the store has it; with `at`, once the store keeps it until then
   * @throws {TypeError} for an unfit name or data, {RangeError} for data over `limits.message`, and for more than
   *   `limits.scheduled` messages that are sent later (`code` `TOO_MANY_SCHEDULED`),
   *   {ConfirmTimeoutError} where `confirm: 'acked'` was not met in time, {MessageGoneError} where the message is gone
   *   before it was, or the broker's error; where it is
   *   not known whether it was stored, send again with the same idempotency key
   */
  send(user: string, data: DataOf<T, 'inbox'>, settings: ScheduleSettings): Promise<Scheduled>;
  send(user: string, data: DataOf<T, 'inbox'>, settings?: PublishSettings): Promise<SendReceipt>;
  send(user: string, data: DataOf<T, 'inbox'>, settings: AnySettings): Promise<SendReceipt | Scheduled>;
  send(user: string, data: DataOf<T, 'inbox'>, settings: AnySettings = {}): Promise<SendReceipt | Scheduled> {
    return this.#rooms.publisher.send(user, data, settings);
  }

  /** Stores a message in a topic; otherwise as `send`. */
  publish<Name extends TopicOf<T>>(
    topic: Name,
    data: DataOf<T, Name>,
    settings: ScheduleSettings,
  ): Promise<Scheduled>;
  publish<Name extends TopicOf<T>>(
    topic: Name,
    data: DataOf<T, Name>,
    settings?: PublishSettings,
  ): Promise<Receipt>;
  publish<Name extends TopicOf<T>>(
    topic: Name,
    data: DataOf<T, Name>,
    settings: AnySettings,
  ): Promise<Receipt | Scheduled>;
  publish<Name extends TopicOf<T>>(
    topic: Name,
    data: DataOf<T, Name>,
    settings: AnySettings = {},
  ): Promise<Receipt | Scheduled> {
    return this.#rooms.publisher.publish(topic, data, settings);
  }

  /** Stores only the application's key in a user's inbox; `references.resolve` supplies the data where it is delivered. */
  sendReference(user: string, key: string, settings: ScheduleSettings): Promise<Scheduled>;
  sendReference(user: string, key: string, settings?: PublishSettings): Promise<SendReceipt>;
  sendReference(user: string, key: string, settings: AnySettings): Promise<SendReceipt | Scheduled>;
  sendReference(user: string, key: string, settings: AnySettings = {}): Promise<SendReceipt | Scheduled> {
    return this.#rooms.publisher.sendReference(user, key, settings);
  }

  /**
   * Sends one message to many users, encoded once, in few round trips. A million users take no more memory than a thousand, where
   * `each` is given and `users` is no array.
   *
   * @param users an array, or anything to iterate over, now or as they come
   * @returns without `each`, the result of each user, in the order of `users`; with it, how many there were
   * @throws {TypeError} or {RangeError} for data or settings that can't be, before anything is sent; what is wrong with one
   *   user, or with what is sent to him, is in his result. What `users` or `each` throws, and the reason of `signal`, once
   *   all that was on its way is settled
   */
  sendMany(
    users: Iterable<string> | AsyncIterable<string>,
    data: DataOf<T, 'inbox'>,
    settings: SendManySettings & { each: NonNullable<SendManySettings['each']> },
  ): Promise<SentMany>;
  sendMany(
    users: Iterable<string> | AsyncIterable<string>,
    data: DataOf<T, 'inbox'>,
    settings?: Omit<SendManySettings, 'each'>,
  ): Promise<UserResult[]>;
  sendMany(
    users: Iterable<string> | AsyncIterable<string>,
    data: DataOf<T, 'inbox'>,
    settings: SendManySettings = {},
  ): Promise<UserResult[] | SentMany> {
    return this.#rooms.publisher.sendMany(users, data, settings);
  }

  /**
   * What is scheduled (`at`), the latest first, page by page; but for what is being sent at this moment.
   *
   * @param decode what becomes of data; by default what was given to `send`
   * @throws {TypeError} for an unfit name or a place that is none, {RangeError} for a limit that can't be
   */
  scheduled(settings: ScheduledSettings = {}, decode?: Decode): Promise<ScheduledPage> {
    return this.#rooms.scheduler.list(settings, decode);
  }

  /**
   * Takes a message out that is scheduled.
   *
   * @param id `scheduled` of its receipt
   * @returns true: it will never be sent. False: there is none, or it is being sent, or may have been
   */
  cancel(id: string): Promise<boolean> {
    return this.#rooms.scheduler.cancel(id);
  }

  /**
   * Resolves a key to find its user, and stores it in that inbox; once, however often and on however many
   * instances it is done. The same as PUBLISH on the reference channel, but with a receipt.
   */
  publishReference(channel: string, key: string | number): Promise<Receipt> {
    const { referenceChannel } = this.#rooms;
    if (referenceChannel === undefined) return Promise.reject(new TypeError('references is not set'));
    return referenceChannel.store(channel, String(key));
  }

  /** To the pages that the user has open at this moment; nothing is stored, at most once. */
  notify(user: string, data: DataOf<T, 'inbox'>): Promise<void> {
    return this.#rooms.publisher.notifyUser(user, data);
  }

  /** To the pages that have subscribed to the topic at this moment; nothing is stored, at most once. */
  notifyTopic<Name extends TopicOf<T>>(topic: Name, data: DataOf<T, Name>): Promise<void> {
    return this.#rooms.publisher.notifyTopic(topic, data);
  }

  /** To all sessions of all instances at this moment; nothing is stored, at most once. */
  broadcast(data: DataOf<T, 'broadcast'>): Promise<void> {
    return this.#rooms.publisher.broadcast(data);
  }

  // ── what was sent ──────────────────────────────────────────────────────────────────────────────

  /**
   * What the user's inbox has, newest first, with what he has done with it. References are resolved as they are for pages.
   *
   * @param decode what becomes of data; by default what was given to `send`
   * @throws {TypeError} for an unfit name or state; {RangeError} for a limit that can't be, and a `before` of a log that the
   *   store has lost; or the broker's error
   */
  inbox(user: string, query: HistoryQuery = {}, decode?: Decode): Promise<InboxPage<DataOf<T, 'inbox'>>> {
    return this.#rooms.inbox.list(user, query, decode) as Promise<InboxPage<DataOf<T, 'inbox'>>>;
  }

  /** How many messages of the user are unseen, unread, and there at all, without what is archived. */
  counts(user: string): Promise<Counts> {
    return this.#rooms.inbox.counts(user);
  }

  /**
   * Does with messages of a user's inbox what he could do himself; all his pages are told. Repeating it does no harm.
   *
   * @returns how many messages have another state than before, and the counts
   * @throws {TypeError} for an unfit name, mark or position; {RangeError} for more than 1,000 messages, or marks that would
   *   be more than 4,096 ranges; or the broker's error
   */
  mark(user: string, settings: MarkSettings): Promise<{ changed: number; counts: Counts }> {
    return this.#rooms.inbox.mark(user, settings);
  }

  /**
   * Takes a message back: its data is erased, no page gets it any more, and pages that have it are told.
   *
   * @returns false if there is no such message (any more)
   * @throws {TypeError} for an unfit name, key or position; or the broker's error
   */
  withdraw(user: string, which: Withdrawn): Promise<boolean> {
    return this.#rooms.inbox.withdraw(user, which);
  }

  /** The same of a topic. */
  withdrawFrom(topic: string, which: Withdrawn): Promise<boolean> {
    return this.#rooms.inbox.withdrawFrom(topic, which);
  }

  // ── sending away ───────────────────────────────────────────────────────────────────────────────

  /**
   * Ends the user's sessions, on all instances, but for those of other logins, devices or ids than are named. When it
   * resolves, no instance delivers anything more to them, not even one that can't be reached or stands still.
   * Handshakes that were under way are ended, too; later ones are not.
   *
   * @returns how many have ended; of an instance that could not be reached they are not counted
   * @throws {UnconfirmedError} where that can't be promised within `confirmTimeout`, with the `instances` that are the
   *   reason; {TypeError} or {RangeError} for what can't be a name, a code or a reason
   */
  disconnect(user: string, settings: DisconnectSettings = {}): Promise<number> {
    return this.#rooms.exclusion.disconnect(user, settings);
  }

  /**
   * Ends the sessions of a user or a login, as `disconnect`, and lets none in again until it is over: with 403, which
   * pages see as 4503. There may be 10,000 blocks; a user or login that is blocked already gets the new one.
   *
   * @returns how many sessions have ended
   * @throws {UnconfirmedError} as `disconnect`; {RangeError} where there are too many blocks
   */
  block(who: Blocked, settings: BlockSettings = {}): Promise<number> {
    return this.#rooms.exclusion.block(who, settings);
  }

  /** Lifts a block. Resolves when all instances know, with whether there was one. @throws {UnconfirmedError} as `disconnect` */
  unblock(who: Blocked): Promise<boolean> {
    return this.#rooms.exclusion.unblock(who);
  }

  /** All blocks that are in force. Rejects while the store is away. */
  async blocks(): Promise<Block[]> {
    await this.#reached();
    return this.#rooms.exclusion.all();
  }

  /** The block of a user or a login; undefined if there is none. Rejects while the store is away. */
  async blockOf(who: Blocked): Promise<Block | undefined> {
    await this.#reached();
    return this.#rooms.exclusion.of(who);
  }

  /** @throws {TimeoutError} where the store takes longer than a command may */
  #reached(): Promise<void> {
    const { settings, life } = this.#rooms;
    return inTime(settings.confirmTimeout ?? DEFAULT_CONFIRM_TIMEOUT, life.storeReached);
  }

  /**
   * Gives a topic to the user's sessions that are open, on all instances, without their asking: also to pages in plain
   * mode, which get its messages as their own. Sessions that come later get what an interceptor names in `topics`.
   *
   * @returns how many did not have it
   * @throws {UnconfirmedError} as `disconnect`; {RangeError} for a topic that was revoked; {TypeError} for an unfit name
   */
  subscribe(user: string, topic: string): Promise<number> {
    return this.#rooms.topicRights.subscribe(user, topic);
  }

  /**
   * Ends the user's subscriptions to a topic, on all instances. When it resolves, no instance hands anything more of it to
   * these sessions, as with `disconnect`. They may ask for it again.
   *
   * @returns how many there were
   * @throws {UnconfirmedError} as `disconnect`; {TypeError} for an unfit name
   */
  unsubscribe(user: string, topic: string): Promise<number> {
    return this.#rooms.topicRights.unsubscribe(user, topic);
  }

  /**
   * As `unsubscribe`, and the user can't have the topic again until it is over, whatever the application answers or a
   * ticket says. What is revoked counts among the 10,000 blocks.
   *
   * @throws {UnconfirmedError} as `disconnect`; {RangeError} where there are too many
   */
  revoke(user: string, topic: string, settings: RevokeSettings = {}): Promise<number> {
    return this.#rooms.topicRights.revoke(user, topic, settings);
  }

  /** Takes a `revoke` back. Resolves when all instances know, with whether there was one. */
  permit(user: string, topic: string): Promise<boolean> {
    return this.#rooms.topicRights.permit(user, topic);
  }

  // ── looking ────────────────────────────────────────────────────────────────────────────────────

  /** The user's sessions on all instances. Those of an instance that died vanish after `presenceTtl`. */
  sessions(user: string): Promise<PresenceEntry[]> {
    return this.#rooms.userPresence.sessions(user);
  }

  /**
   * Whether the user has a session on any instance; or, of up to 10,000 users, which of them have one, for about the
   * price of asking of one.
   *
   * @throws {TypeError} for names that can't be; {RangeError} for too many
   */
  online(user: string): Promise<boolean>;
  online(users: readonly string[]): Promise<Set<string>>;
  online(who: string | readonly string[]): Promise<boolean | Set<string>> {
    const { userPresence } = this.#rooms;
    return typeof who === 'string' ? userPresence.isOnline(who) : userPresence.online(who);
  }

  /**
   * Who is on a topic, on all instances: users, with how many sessions each, and how many there are. Only of topics
   * whose options say `presence: true`, the same on all instances. Sessions of an instance that died are counted until
   * `presenceTtl` is over.
   *
   * @throws {RangeError} for another topic or a limit that can't be; {TypeError} for an unfit name
   */
  presence(topic: string, settings: AttendanceSettings = {}): Promise<Attendance> {
    return this.#rooms.topicPresence.of(topic, settings);
  }

  /**
   * What no device of the user has acknowledged yet, with at most `limit` messages (default 100).
   *
   * @param decode what becomes of data; by default what was given to `send`
   */
  pending(user: string, limit: number = DEFAULT_PENDING_LIMIT, decode?: Decode): Promise<Pending> {
    return pendingOf(this.#rooms.router.broker, user, limit, decode);
  }

  /**
   * What the store has of a user's inbox or of a topic: how many messages, up to where, and what devices have acknowledged.
   *
   * @throws {TypeError} for an unfit name; or the broker's error
   */
  channelInfo(of: { user: string } | { topic: string }): Promise<ChannelInfo> {
    return channelInfo(this.#rooms.router.broker, of);
  }

  /**
   * All instances that answer, each with what it is doing, in the order of their names. It takes up to 400 ms; while the
   * store is away only this one answers.
   */
  instances(): Promise<InstanceReport[]> {
    return this.#fleet.instances();
  }

  /**
   * Tells what goes to a user's pages and comes from them, on all instances, until it is ended: for operators who look for
   * the reason of something. Tickets are never told, data only with `data: true`; of more than 200 frames a second the
   * rest is only counted. Where nobody is followed it costs nothing.
   *
   * @param told is given events, and the number of frames that were too many
   * @returns ends it; `close` of the push server does, too, and calls `ended`
   * @throws {TypeError} for an unfit name or setting; {TooManyFollowersError} for more than 20 at once
   */
  follow(user: string, told: OnFollowed, settings: FollowSettings = {}): () => void {
    checkNames('follow', settings, FOLLOW);
    const problem = userProblem(user);
    if (problem !== undefined) throw new TypeError(problem);
    return this.#rooms.following.follow(user, told, settings);
  }

  /** This instance's own sessions. */
  localSessions(): Iterable<Session> {
    return this.#rooms.registry;
  }

  /** What this instance is doing at this moment, for monitoring. It costs nothing. */
  stats(): Stats {
    const { settings, registry, router, publisher, lobby, life } = this.#rooms;
    return {
      instance: settings.instance,
      sessions: registry.size,
      channels: router.size,
      published: publisher.published,
      opened: lobby.count,
      storeAway: router.isAway,
      storeFaults: router.broker.faultCount ?? 0,
      draining: life.isDraining,
    };
  }

  /**
   * What it has counted since the start and how it is now, and the same of its process, as families of Prometheus'
   * model: `metricsText` makes the text of them, `mergeMetrics` adds up those of several processes. docs/metrics.md says
   * what each means. Cheap enough to be called every second; from the first call on the delay of the event loop is
   * measured. Names and labels are from lists in the code: nothing that a client sends becomes one.
   */
  metrics(): Family[] {
    return this.#metrics.families();
  }

  /**
   * Has OpenTelemetry observe the same: counters and gauges are asked for when they are collected, under the names that
   * `metrics` has, and delays are recorded one by one from here on. So call it at the start.
   *
   * @param meter such as `metrics.getMeter('tidings')` of `@opentelemetry/api`
   * @returns ends it; nothing else does, not even `close`, so that what was counted last can be exported
   */
  observeMetrics<O>(meter: OtelMeter<O>, settings: ObserveSettings = {}): () => void {
    checkNames('observeMetrics', settings, OBSERVE);
    return observe(this.#metrics, meter, settings);
  }

  /**
   * Whether new pages should be sent to this instance, for a `/readyz` of your own: not before `ready`, not once it is being
   * closed, and not while the store has been away for longer than a failover takes.
   *
   * @throws {TypeError} for a setting that there is not, {RangeError} for a `storeGrace` that can't be
   */
  health(settings: HealthSettings = {}): Health {
    checkNames('health', settings, HEALTH);
    const { storeGrace = DEFAULT_STORE_GRACE } = settings;
    checkMilliseconds('storeGrace', storeGrace);
    const { life, router } = this.#rooms;
    const { isOpen, isDraining } = life;
    return healthOf({ isOpen, isDraining, awayFor: router.awayFor }, storeGrace);
  }

  /** Where it listens, as `net.Server#address`; null while it doesn't. */
  address(): ReturnType<Listeners['address']> {
    return this.#rooms.listeners.address();
  }

  // ── who may stay ──────────────────────────────────────────────────────────────────────────────

  /**
   * Asks the application again whether the user's pages may stay (`askApplication`), on all instances, because something
   * has changed there. Who is on the way in is asked about again, too.
   *
   * @returns once there is an answer for each, or it is known that there is none
   * @throws {UnconfirmedError} as `disconnect`; {TypeError} for a name that can't be
   */
  async recheck(user: string): Promise<Rechecked> {
    const problem = userProblem(user);
    if (problem !== undefined) throw new TypeError(problem);
    return this.#rooms.recheckCommand.recheck(user);
  }

  /** Writes a line to this push server's log, as it writes its own: one line of bounded length, from its level on. */
  get log(): Log {
    return this.#rooms.settings.log;
  }

  /** What is below this level is left out of the log, from the next line on. @throws {TypeError} for another level */
  get logLevel(): LogLevel {
    return this.#rooms.settings.logbook.level;
  }

  set logLevel(level: LogLevel) {
    this.#rooms.settings.logbook.level = checkedLevel(level);
  }

  // ── life ───────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes options anew without sending anybody away: secrets, interceptors, rights, origins, limits and more. All of them or,
   * where one makes no sense, none. Calls take effect in the order in which they were made.
   *
   * @param settings.trial only look whether it can be done. Default false
   * @returns once they hold; where interceptors have to get ready (`ready`), once they are, for which they have 10 seconds
   * @throws {TypeError} for an option that there is not, that is none of a running server (the message says which are), or that
   *   makes no sense, {RangeError} for a `limits.message` that the store was not made for, {TimeoutError}, and what `ready`
   *   rejects with. Then all stays as it was
   */
  async reload(changes: ReloadOptions, settings: { trial?: boolean } = {}): Promise<void> {
    checkNames('reload', settings, RELOAD);
    return this.#rooms.reloads.reload(changes, settings.trial === true);
  }

  /**
   * Accepts nobody any more, sends everybody away, hands over what was acknowledged, and closes the broker.
   * A `server` that was given is left open. Calling it again waits for the same end. Where the store does not answer,
   * that takes no more than 5 seconds longer: what was acknowledged last is acknowledged again by who comes back.
   *
   * @param settings.drain milliseconds over which sessions are spread; default 0: all at once
   * @throws {TypeError} for a setting that there is not, and {RangeError} for a `drain` that can't be; then it runs on
   */
  async close(settings: { drain?: number } = {}): Promise<void> {
    // Who has misspelled it would send everybody away at once.
    checkNames('close', settings, CLOSE);
    const { drain = 0 } = settings;
    checkMilliseconds('drain', drain);
    this.#metrics.close();
    return this.#rooms.life.close(drain);
  }
}
