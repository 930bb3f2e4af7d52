/**
 * The push server composed: a listener and what it accepts, sessions by user, channels and their delivery,
 * and the application's way to send.
 */

import { randomBytes } from 'node:crypto';
import { channel as diagnosticsChannel } from 'node:diagnostics_channel';
import { clearInterval, monotonicNow, setInterval } from '../clock.ts';
import type { Attendance } from '../pubsub/store/attendance.ts';
import { isUnusable, type PresenceEntry, type Receipt } from '../pubsub/store/broker.ts';
import { DEFAULT_CONFIRM_TIMEOUT } from '../pubsub/store/control.ts';
import { memoryBroker } from '../pubsub/store/memory-broker.ts';
import { attempt } from '../server/handler-calls.ts';
import { checkInterceptors } from '../server/options.ts';
import { watchTurns } from '../server/tick.ts';
import type { HandshakeRequest } from '../server/transport.ts';
import { inTime } from '../waiting.ts';
import { Commands } from './commands.ts';
import type { OutgoingTransient } from './delivery/outgoing.ts';
import { Pacer } from './delivery/pacer.ts';
import { ChannelRouter, type Doorbell } from './delivery/router.ts';
import { TopicTable } from './delivery/topic-options.ts';
import { Barrier } from './door/barrier.ts';
import type { Block, Blocked } from './door/blocks.ts';
import { type BlockSettings, type DisconnectSettings, Exclusion } from './door/exclusion.ts';
import { admission } from './door/gate.ts';
import { Listeners } from './door/listeners.ts';
import { Lobby } from './door/lobby.ts';
import { type Rechecked, Rechecks } from './door/recheck.ts';
import { RecheckCommand } from './door/recheck-command.ts';
import { checkRefusals } from './door/refusals.ts';
import { Renewals } from './door/renewal.ts';
import { clientAddress, trustedProxies } from './door/request.ts';
import { secretsOf } from './door/ticket.ts';
import { type RevokeSettings, TopicRights } from './door/topic-rights.ts';
import { permittedUntil } from './door/topic-ticket.ts';
import { explain, printable } from './explain.ts';
import { checkedHeartbeat, checkedLimits, checkedTime } from './limits.ts';
import {
  DEFAULT_CURSOR_TTL,
  type Heartbeat,
  type Limits,
  type LogLevel,
  type PushServerOptions,
} from './options.ts';
import { AckedNews } from './pages/acked-news.ts';
import { Drain, SERVICE_RESTART } from './pages/drain.ts';
import { Endings } from './pages/endings.ts';
import { InstanceName } from './pages/instance-name.ts';
import { checkedExpiry, Logins } from './pages/logins.ts';
import { Presence } from './pages/presence.ts';
import { PresenceWatch } from './pages/presence-watch.ts';
import { SessionRegistry } from './pages/registry.ts';
import type { Session } from './pages/session.ts';
import { SockJsBus } from './pages/sockjs-bus.ts';
import { SockJsFence } from './pages/sockjs-fence.ts';
import { type AttendanceSettings, TopicPresence } from './pages/topic-presence.ts';
import { TopicTerms } from './pages/topic-terms.ts';
import { Acknowledger } from './sending/acknowledger.ts';
import { type Pending, Publisher, type PublishSettings, type SendReceipt } from './sending/publisher.ts';
import { ReferenceChannel } from './sending/reference-channel.ts';
import { References } from './sending/references.ts';
import { Dialogue, type DialogueHost } from './talk/dialogue.ts';
import { instanceProblem, topicProblem, userProblem } from './talk/names.ts';
import { BROADCAST, CloseCode } from './talk/wire.ts';

const DEFAULT_CHECK_INTERVAL = 15_000;
const DEFAULT_PRESENCE_TTL = 30_000;
const DEFAULT_PRESENCE_GRACE = 5_000;
const DEFAULT_PENDING_LIMIT = 100;
const SWEEP_INTERVAL = 1_000;
/** Users that `online` tells of in one call. */
const MAX_ONLINE = 10_000;
/** A lease is renewed twice before it is over, with a round trip to the store each time. */
const MIN_LEASE = 500;

const logged = diagnosticsChannel('tidings:log');

/** What a push server is doing, for monitoring. */
export interface Stats {
  instance: string;
  sessions: number;
  channels: number;
  /** Messages stored through this instance. */
  published: number;
  /** Sessions opened since the start. */
  opened: number;
  /** Whether the store can't be reached. */
  storeAway: boolean;
  /** How many things are wrong with a store that can be reached, such as damaged channels. Each was logged. */
  storeFaults: number;
  draining: boolean;
}

export class PushServer {
  /** This instance's name among the others. */
  readonly instance: string;
  /** Resolves when it listens and the store has been reached; rejects if it can't listen. */
  readonly ready: Promise<void>;

  readonly #limits: Limits;
  readonly #heartbeat: Heartbeat;
  readonly #options: PushServerOptions;
  readonly #name: InstanceName;
  readonly #registry: SessionRegistry;
  readonly #router: ChannelRouter;
  readonly #exclusion: Exclusion;
  readonly #topicRights: TopicRights;
  readonly #topicTerms: TopicTerms;
  readonly #dialogue: Dialogue;
  readonly #presence: Presence;
  readonly #topicPresence: TopicPresence;
  /** Where pages may be told who is on topics. */
  readonly #presenceWatch: PresenceWatch | undefined;
  readonly #logins: Logins;
  readonly #rechecks: Rechecks;
  readonly #recheckCommand: RecheckCommand;
  readonly #publisher: Publisher;
  readonly #acknowledger: Acknowledger;
  readonly #ackedNews: AckedNews;
  readonly #lobby: Lobby;
  readonly #referenceChannel: ReferenceChannel | undefined;
  readonly #topics: TopicTable;
  readonly #pacer = new Pacer();
  readonly #listeners: Listeners;
  readonly #bus: SockJsBus | undefined;
  readonly #sweeper: NodeJS.Timeout;
  readonly #stopWatching: () => void;
  readonly #storeReached: Promise<void>;
  #drain: Drain | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Begins to listen at once (`ready` says when it does), unless neither `server` nor `port` is given:
   * then it only sends.
   *
   * @throws {TypeError} for options that make no sense
   */
  constructor(options: PushServerOptions = {}) {
    this.#options = options;
    this.instance = options.instance ?? `i${randomBytes(6).toString('base64url')}`;
    this.#limits = checkedLimits(options.limits);
    this.#heartbeat = checkedHeartbeat(options.heartbeat);
    this.#topics = new TopicTable(options.topics);
    const proxies = trustedProxies(options.proxies ?? []);
    const named = instanceProblem(this.instance);
    if (named !== undefined) throw new TypeError(named);
    const problem = options.references?.channel && topicProblem(options.references.channel);
    if (problem) throw new TypeError(`references.channel: ${problem}`);
    const broker = options.broker ?? memoryBroker();
    const references =
      options.references &&
      new References({ ...options.references, maxMessage: this.#limits.message }, (key, error) =>
        this.#log('warn', `reference ${printable(key)} could not be resolved: ${explain(error)}`),
      );
    const confirmTimeout = checkedTime('confirmTimeout', options.confirmTimeout, 1);
    const commands = new Commands(this.instance, broker.control, confirmTimeout, {
      lapsed: () => this.#lobby.cutWaiting(),
      missed: () => this.#sendAllAway(),
      failed: (message) => this.#log('error', message),
    });
    this.#router = new ChannelRouter(
      broker,
      references,
      {
        broadcastChannel: BROADCAST,
        checkInterval: options.checkInterval ?? DEFAULT_CHECK_INTERVAL,
        maxMessage: this.#limits.message,
        control: commands,
        lease: checkedTime('lease', options.lease, MIN_LEASE),
      },
      {
        acknowledged: (cursor) => {
          this.#publisher.confirmations.acknowledged(cursor);
          if (this.#router.mayDeliver()) this.#ackedNews.tell(cursor);
        },
        broadcast: (message) => this.#onBroadcast(message),
        intake: (message) => this.#publisher.take(message),
        storeState: (isAway, error) => this.#onStoreState(isAway, error),
        warn: (message) => this.#log('error', message),
      },
    );
    this.#name = new InstanceName(this.instance, broker, () =>
      this.#log('error', `another instance is named ${this.instance}, too: give each a name of its own`),
    );
    this.#registry = new SessionRegistry(this.#limits);
    this.#ackedNews = new AckedNews(this.#registry);
    this.#presence = new Presence(broker, options.presenceTtl ?? DEFAULT_PRESENCE_TTL, (error) =>
      this.#log('warn', `presence could not be told to the store: ${explain(error)}`),
    );
    this.#topicPresence = new TopicPresence(this.instance, broker, this.#presence, this.#topics);
    const { authorize, presenceGrace, presenceTtl = DEFAULT_PRESENCE_TTL } = options;
    const grace = checkedTime('presenceGrace', presenceGrace, 0) ?? DEFAULT_PRESENCE_GRACE;
    if (authorize?.presence !== undefined) {
      const watch = new PresenceWatch({
        broker,
        presence: this.#presence,
        grace,
        every: presenceTtl / 3,
        mayDeliver: () => this.#router.mayDeliver(),
        failed: (error) => this.#log('warn', `who has come to topics could not be told: ${explain(error)}`),
      });
      this.#presence.onTopics = (topics) => watch.say(topics);
      this.#presenceWatch = watch;
    }
    this.#publisher = new Publisher(this.#router, this.#limits.message, this.#topics, options.retention);
    this.#acknowledger = new Acknowledger(
      broker,
      options.cursorTtl ?? DEFAULT_CURSOR_TTL,
      (cursor, error) => {
        // Of what is damaged the broker tells, once.
        if (isUnusable(error)) return;
        this.#log('warn', `an acknowledgement of ${cursor.channel} was not stored: ${explain(error)}`);
      },
    );
    this.#referenceChannel =
      references && new ReferenceChannel(references, this.#publisher, (n) => this.#router.pause(n));
    this.#logins = new Logins(
      checkedExpiry(options.expiry),
      this.#limits.subscriptions,
      (session) => this.#lobby.dismiss(session, CloseCode.NOT_AUTHENTICATED, 'the login has ended'),
      (session, before, now) => {
        for (const topic of before)
          if (!now.includes(topic)) this.#dialogue.take(session, topic, 'unsubscribed');
        for (const topic of now) if (!before.includes(topic)) this.#dialogue.give(session, topic);
      },
    );
    this.#topicRights = new TopicRights(broker.control, commands, {
      taken: (user, topic, reason, mark) => {
        endings.take(user, topic, mark);
        return this.#ofUser(user, (session) => this.#dialogue.take(session, topic, reason));
      },
      given: (user, topic) => this.#ofUser(user, (session) => this.#dialogue.give(session, topic)),
    });
    this.#topicTerms = new TopicTerms((session, subscription) =>
      this.#dialogue.expire(session, subscription),
    );
    const endings = new Endings(this.#registry, (session, code, reason) =>
      this.#lobby.dismiss(session, code, reason),
    );
    this.#exclusion = new Exclusion(broker.control, commands, endings, (count, { user }) => {
      const whose = user === undefined ? 'of a login' : `of ${printable(user)}`;
      this.#log('info', `${count} session${count === 1 ? '' : 's'} ${whose} ended by command`);
    });
    const barrier = new Barrier(this.#exclusion.blocks, endings);
    this.#rechecks = new Rechecks({
      dismiss: (session, code, reason) => this.#lobby.dismiss(session, code, reason),
      barrier,
      log: (level, message) => this.#log(level, message),
    });
    this.#recheckCommand = new RecheckCommand({
      instance: this.instance,
      broker,
      commands,
      rechecks: this.#rechecks,
      registry: this.#registry,
      failed: (error) => this.#log('warn', `what came of asking again could not be told: ${explain(error)}`),
    });
    if (options.topicTickets !== undefined) secretsOf(options.topicTickets);
    checkRefusals(options.refusals);
    checkInterceptors(options.interceptors);
    const interceptors = admission({
      registry: this.#registry,
      router: this.#router,
      proxies,
      origins: options.origins ?? [],
      interceptors: options.interceptors ?? [],
      log: (level, message) => this.#log(level, message),
      logins: this.#logins,
      connect: options.authorize?.connect?.bind(options.authorize),
      barrier,
      limits: this.#limits,
      drainingFor: () => this.#drain && Math.ceil(this.#drain.time / 1000),
    });
    const addressOf = (request: HandshakeRequest): string => clientAddress(request, proxies);
    const renewals = new Renewals(
      options.interceptors ?? [],
      this.#logins,
      barrier,
      this.#limits.answer,
      (level, message) => this.#log(level, message),
    );
    this.#dialogue = new Dialogue(this.#dialogueHost(renewals));
    this.#lobby = new Lobby({
      instance: this.instance,
      limits: this.#limits,
      registry: this.#registry,
      barrier,
      router: this.#router,
      presence: this.#presence,
      logins: this.#logins,
      rechecks: this.#rechecks,
      pacer: this.#pacer,
      dialogue: this.#dialogue,
      handler: options.handler ?? {},
      addressOf,
      filled: (session) => {
        if (this.#listeners.reaches(session.transport)) this.#listeners.leave(BROADCAST, session.transport);
      },
      drained: (session) => this.#shareBroadcasts(session),
      log: (level, message) => this.#log(level, message),
    });
    this.#bus =
      options.sockjs &&
      new SockJsBus(this.instance, broker, options.presenceTtl ?? DEFAULT_PRESENCE_TTL, (error) =>
        this.#log('warn', `SockJS sessions could not be told to the store: ${explain(error)}`),
      );
    this.#listeners = new Listeners(options, this.#limits, this.#heartbeat, {
      interceptors,
      handler: this.#lobby,
      addressOf,
      overfull: (transport) => this.#lobby.overfull(transport),
      bus: this.#bus,
      fence: new SockJsFence(broker.control, endings),
      log: (level, message) => this.#log(level, message),
    });
    this.#sweeper = setInterval(() => this.#sweep(monotonicNow()), SWEEP_INTERVAL).unref();
    this.#stopWatching = watchTurns(() => this.#router.mayDeliver());
    this.#storeReached = this.#router.open(this.#listeners);
    this.ready = this.#start();
    // Whoever does not ask still gets the log line.
    this.ready.catch(() => {});
  }

  // ── sending ────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores a message in a user's inbox. Every page the user has open, on any instance, gets it.
   *
   * @param data a string, bytes, or anything that JSON can say
   * @returns once the store has it
   * @throws {TypeError} for an unfit name or data, {RangeError} for data over `limits.message`,
   *   {ConfirmTimeoutError} where `confirm: 'acked'` was not met in time, or the broker's error; where it is
   *   not known whether it was stored, send again with the same idempotency key
   */
  send(user: string, data: unknown, settings: PublishSettings = {}): Promise<SendReceipt> {
    return this.#publisher.send(user, data, settings);
  }

  /** Stores a message in a topic; otherwise as `send`. */
  publish(topic: string, data: unknown, settings: PublishSettings = {}): Promise<Receipt> {
    return this.#publisher.publish(topic, data, settings);
  }

  /** Stores only the application's key in a user's inbox; `references.resolve` supplies the data where it is delivered. */
  sendReference(user: string, key: string, settings: PublishSettings = {}): Promise<SendReceipt> {
    return this.#publisher.sendReference(user, key, settings);
  }

  /**
   * Resolves a key to find its user, and stores it in that inbox; once, however often and on however many
   * instances it is done. The same as PUBLISH on the reference channel, but with a receipt.
   */
  publishReference(channel: string, key: string | number): Promise<Receipt> {
    if (this.#referenceChannel === undefined) return Promise.reject(new TypeError('references is not set'));
    return this.#referenceChannel.store(channel, String(key));
  }

  /** To the pages that the user has open at this moment; nothing is stored, at most once. */
  notify(user: string, data: unknown): Promise<void> {
    return this.#publisher.notifyUser(user, data);
  }

  /** To all sessions of all instances at this moment; nothing is stored, at most once. */
  broadcast(data: unknown): Promise<void> {
    return this.#publisher.broadcast(data);
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
    return this.#exclusion.disconnect(user, settings);
  }

  /**
   * Ends the sessions of a user or a login, as `disconnect`, and lets none in again until it is over: with 403, which
   * pages see as 4503. There may be 10,000 blocks; a user or login that is blocked already gets the new one.
   *
   * @returns how many sessions have ended
   * @throws {UnconfirmedError} as `disconnect`; {RangeError} where there are too many blocks
   */
  block(who: Blocked, settings: BlockSettings = {}): Promise<number> {
    return this.#exclusion.block(who, settings);
  }

  /** Lifts a block. Resolves when all instances know, with whether there was one. @throws {UnconfirmedError} as `disconnect` */
  unblock(who: Blocked): Promise<boolean> {
    return this.#exclusion.unblock(who);
  }

  /** All blocks that are in force. Rejects while the store is away. */
  async blocks(): Promise<Block[]> {
    await this.#reached();
    return this.#exclusion.all();
  }

  /** The block of a user or a login; undefined if there is none. Rejects while the store is away. */
  async blockOf(who: Blocked): Promise<Block | undefined> {
    await this.#reached();
    return this.#exclusion.of(who);
  }

  /** @throws {TimeoutError} where the store takes longer than a command may */
  #reached(): Promise<void> {
    return inTime(this.#options.confirmTimeout ?? DEFAULT_CONFIRM_TIMEOUT, this.#storeReached);
  }

  /**
   * Gives a topic to the user's sessions that are open, on all instances, without their asking: also to pages in plain
   * mode, which get its messages as their own. Sessions that come later get what an interceptor names in `topics`.
   *
   * @returns how many did not have it
   * @throws {UnconfirmedError} as `disconnect`; {RangeError} for a topic that was revoked; {TypeError} for an unfit name
   */
  subscribe(user: string, topic: string): Promise<number> {
    return this.#topicRights.subscribe(user, topic);
  }

  /**
   * Ends the user's subscriptions to a topic, on all instances. When it resolves, no instance hands anything more of it to
   * these sessions, as with `disconnect`. They may ask for it again.
   *
   * @returns how many there were
   * @throws {UnconfirmedError} as `disconnect`; {TypeError} for an unfit name
   */
  unsubscribe(user: string, topic: string): Promise<number> {
    return this.#topicRights.unsubscribe(user, topic);
  }

  /**
   * As `unsubscribe`, and the user can't have the topic again until it is over, whatever the application answers or a
   * ticket says. What is revoked counts among the 10,000 blocks.
   *
   * @throws {UnconfirmedError} as `disconnect`; {RangeError} where there are too many
   */
  revoke(user: string, topic: string, settings: RevokeSettings = {}): Promise<number> {
    return this.#topicRights.revoke(user, topic, settings);
  }

  /** Takes a `revoke` back. Resolves when all instances know, with whether there was one. */
  permit(user: string, topic: string): Promise<boolean> {
    return this.#topicRights.permit(user, topic);
  }

  // ── looking ────────────────────────────────────────────────────────────────────────────────────

  /** The user's sessions on all instances. Those of an instance that died vanish after `presenceTtl`. */
  async sessions(user: string): Promise<PresenceEntry[]> {
    await this.#presence.flush();
    return this.#router.broker.presence(user);
  }

  /**
   * Whether the user has a session on any instance; or, of up to 10,000 users, which of them have one, for about the
   * price of asking of one.
   *
   * @throws {TypeError} for names that can't be; {RangeError} for too many
   */
  online(user: string): Promise<boolean>;
  online(users: readonly string[]): Promise<Set<string>>;
  async online(who: string | readonly string[]): Promise<boolean | Set<string>> {
    if (typeof who === 'string') return (await this.#online([who])).has(who);
    if (!Array.isArray(who)) throw new TypeError('users is an array of names');
    if (who.length > MAX_ONLINE) throw new RangeError(`online tells of at most ${MAX_ONLINE} users at once`);
    for (const user of who) {
      const problem = userProblem(user);
      if (problem !== undefined) throw new TypeError(problem);
    }
    return this.#online([...new Set<string>(who)]);
  }

  async #online(users: readonly string[]): Promise<Set<string>> {
    const isHere = (user: string): boolean => this.#registry.of(user).size > 0;
    const elsewhere = users.filter((user) => !isHere(user));
    if (elsewhere.length === 0) return new Set(users);
    // Who has just gone from here is not to be found there.
    await this.#presence.flush();
    const found = await this.#router.broker.online(elsewhere);
    return new Set(users.filter((user) => found.has(user) || isHere(user)));
  }

  /**
   * Who is on a topic, on all instances: users, with how many sessions each, and how many there are. Only of topics
   * whose options say `presence: true`, the same on all instances. Sessions of an instance that died are counted until
   * `presenceTtl` is over.
   *
   * @throws {RangeError} for another topic or a limit that can't be; {TypeError} for an unfit name
   */
  presence(topic: string, settings: AttendanceSettings = {}): Promise<Attendance> {
    return this.#topicPresence.of(topic, settings);
  }

  /** What no device of the user has acknowledged yet, with at most `limit` messages (default 100). */
  pending(user: string, limit: number = DEFAULT_PENDING_LIMIT): Promise<Pending> {
    return this.#publisher.pending(user, limit);
  }

  /** This instance's own sessions. */
  localSessions(): Iterable<Session> {
    return this.#registry;
  }

  stats(): Stats {
    return {
      instance: this.instance,
      sessions: this.#registry.size,
      channels: this.#router.size,
      published: this.#publisher.published,
      opened: this.#lobby.count,
      storeAway: this.#router.isAway,
      storeFaults: this.#router.broker.faultCount ?? 0,
      draining: this.#drain !== undefined,
    };
  }

  /** Where it listens, as `net.Server#address`; null while it doesn't. */
  address(): ReturnType<Listeners['address']> {
    return this.#listeners.address();
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
    return this.#recheckCommand.recheck(user);
  }

  // ── life ───────────────────────────────────────────────────────────────────────────────────────

  /**
   * Accepts nobody any more, sends everybody away, hands over what was acknowledged, and closes the broker.
   * A `server` that was given is left open. Calling it again waits for the same end.
   *
   * @param options.drain milliseconds over which sessions are spread; default 0: all at once
   */
  close({ drain = 0 }: { drain?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(drain);
    return this.#closing;
  }

  async #close(drain: number): Promise<void> {
    this.#drain = new Drain(this.#registry, drain);
    this.#listeners.stop();
    await this.#drain.run();
    clearInterval(this.#sweeper);
    this.#ackedNews.close();
    this.#stopWatching();
    await Promise.all([this.#acknowledger.flush(), this.#presence.flush()]);
    await this.#listeners.close();
    await this.#bus?.close();
    await this.#router.close();
  }

  async #start(): Promise<void> {
    const doorbells = [this.#references(), this.#bus, this.#name, this.#recheckCommand, this.#presenceWatch];
    const storeReached = this.#storeReached
      .then(() => Promise.all(doorbells.map((each) => each && this.#router.listen(each))))
      .then(() => this.#name.say());
    try {
      const others = (this.#options.interceptors ?? []).map(({ ready }) => ready);
      await Promise.all([storeReached, this.#listeners.listen(), ...others]);
    } catch (error) {
      if (this.#closing === undefined)
        this.#log('error', `the push server could not start: ${explain(error)}`);
      throw error;
    }
  }

  #dialogueHost(renewals: Renewals): DialogueHost {
    return {
      instance: this.instance,
      limits: this.#limits,
      heartbeat: this.#heartbeat,
      authorize: this.#options.authorize ?? {},
      router: this.#router,
      pacer: this.#pacer,
      acknowledger: this.#acknowledger,
      topics: this.#topics,
      isRevoked: (user, topic) => this.#topicRights.isRevoked(user, topic),
      verifyTopicTicket: (ticket, user, topic) =>
        permittedUntil(ticket, this.#options.topicTickets, user, topic),
      endAt: (session, subscription, expires) =>
        this.#topicTerms.set(session, subscription, expires && this.#logins.left(expires)),
      attends: (session, subscription) => this.#topicPresence.attends(session, subscription),
      watch: (session, subscription, isOn) => {
        if (isOn) this.#presenceWatch?.add(session, subscription);
        else this.#presenceWatch?.remove(session, subscription.channel.name);
      },
      publish: (topic, data, settings) => this.#publisher.publish(topic, data, settings),
      renew: (ticket, session) => renewals.renew(ticket, session),
      dismiss: (session, code, reason) => this.#lobby.dismiss(session, code, reason),
      greeted: (session) => {
        this.#lobby.greeted(session);
        this.#drain?.tell(session);
      },
      opened: (session) => this.#shareBroadcasts(session),
      warn: (message) => this.#log('warn', message),
    };
  }

  #ofUser(user: string, call: (session: Session) => boolean): number {
    let count = 0;
    for (const session of [...this.#registry.of(user)]) if (call(session)) count++;
    return count;
  }

  // ── the store ──────────────────────────────────────────────────────────────────────────────────

  #onBroadcast(message: OutgoingTransient): void {
    if (this.#registry.size === 0 || !this.#router.mayDeliver()) return;
    this.#listeners.publish(BROADCAST, message.prepared);
    for (const session of this.#registry)
      if (!this.#sharesBroadcasts(session)) session.sendTransient(message);
  }

  #shareBroadcasts(session: Session): void {
    if (this.#sharesBroadcasts(session)) this.#listeners.join(BROADCAST, session.transport);
  }

  /** Others are sent what is for all one by one. */
  #sharesBroadcasts({ isTidings, phase, isFull, transport }: Session): boolean {
    return isTidings && phase === 'open' && !isFull && this.#listeners.reaches(transport);
  }

  /** Where other programs say keys. */
  #references(): Doorbell | undefined {
    const channel = this.#options.references?.channel;
    if (channel === undefined) return undefined;
    const heard = (payload: Buffer): void => {
      this.#referenceChannel!.store(channel, ReferenceChannel.keyOf(payload)).catch((error) => {
        this.#log('error', `a reference on ${channel} was not stored: ${explain(error)}`);
      });
    };
    return { channel, heard };
  }

  #onStoreState(isAway: boolean, error: Error | undefined): void {
    if (isAway) {
      this.#log('warn', `the store is away, live messages are late: ${error?.message ?? 'connection lost'}`);
      for (const session of this.#registry) if (session.phase === 'open') session.fallBehind();
      return;
    }
    // As loud as its loss: whoever was told of the one waits for the other.
    this.#log('warn', 'the store is back');
    this.#publisher.confirmations.lookAgain();
  }

  /** Nobody can say who of them should have been ended. Who may comes back. */
  #sendAllAway(): void {
    this.#log('warn', 'too much was missed while the store was away: all sessions have to come again');
    for (const session of [...this.#registry.everyone()]) {
      const code = session.isTidings ? CloseCode.DRAIN : SERVICE_RESTART;
      this.#lobby.dismiss(session, code, 'this instance was away for too long');
    }
  }

  #sweep(now: number): void {
    this.#lobby.sweep(now);
    this.#router.sweep(now);
    this.#logins.sweep(now);
    this.#topicTerms.sweep(now);
    this.#rechecks.sweep(now);
    this.#presenceWatch?.sweep(now);
  }

  #log(level: LogLevel, message: string): void {
    if (logged.hasSubscribers) logged.publish({ level, message, instance: this.instance });
    const { log } = this.#options;
    if (log !== undefined) {
      attempt(
        () => log(level, message),
        (error) => console.error(`tidings: ${message} (and \`log\` failed: ${explain(error)})`),
      );
    } else if (level !== 'info') console.error(`tidings: ${message}`);
  }
}
