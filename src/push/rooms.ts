/** The rooms of a push server, and who of them knows whom. What an application calls is in `push-server`. */
import { clearInterval, monotonicNow, setInterval } from '../clock.ts';
import { isUnusable } from '../pubsub/store/broker.ts';
import { watchTurns } from '../server/tick.ts';
import type { HandshakeRequest } from '../server/transport.ts';
import { inTime, within } from '../waiting.ts';
import { Commands } from './commands.ts';
import { Broadcasts } from './delivery/broadcasts.ts';
import { Pacer } from './delivery/pacer.ts';
import { ChannelRouter, type Doorbell } from './delivery/router.ts';
import { Barrier } from './door/barrier.ts';
import { Complaints } from './door/complaints.ts';
import { Exclusion } from './door/exclusion.ts';
import { admission } from './door/gate.ts';
import { HandshakeCounts, type RefusalReason } from './door/handshake-counts.ts';
import { Listeners } from './door/listeners.ts';
import { Lobby } from './door/lobby.ts';
import { Rechecks } from './door/recheck.ts';
import { RecheckCommand } from './door/recheck-command.ts';
import { Renewals } from './door/renewal.ts';
import { clientAddress } from './door/request.ts';
import { TopicRights } from './door/topic-rights.ts';
import { permittedUntil } from './door/topic-ticket.ts';
import { explain, explainFully, printable } from './explain.ts';
import { Inbox } from './inbox/inbox.ts';
import type { PushServerOptions } from './options.ts';
import { AckedNews } from './pages/acked-news.ts';
import { Drain, SERVICE_RESTART } from './pages/drain.ts';
import { Endings } from './pages/endings.ts';
import { InstanceName } from './pages/instance-name.ts';
import { Logins } from './pages/logins.ts';
import { Presence } from './pages/presence.ts';
import { PresenceWatch } from './pages/presence-watch.ts';
import { SessionRegistry } from './pages/registry.ts';
import type { Session } from './pages/session.ts';
import { SockJsBus } from './pages/sockjs-bus.ts';
import { SockJsFence } from './pages/sockjs-fence.ts';
import { TopicPresence } from './pages/topic-presence.ts';
import { TopicTerms } from './pages/topic-terms.ts';
import { type ReloadOptions, reloadedOptions } from './reload.ts';
import { Acknowledger } from './sending/acknowledger.ts';
import { Publisher } from './sending/publisher.ts';
import { ReferenceChannel } from './sending/reference-channel.ts';
import { References } from './sending/references.ts';
import { Scheduler } from './sending/scheduler.ts';
import { change, changeableOf, type Settings, settingsOf } from './settings.ts';
import { Dialogue } from './talk/dialogue.ts';
import { BROADCAST, CloseCode } from './talk/wire.ts';
import { Tracing } from './tracing/tracing.ts';
import { Trouble } from './trouble.ts';
import { WatchBus } from './watch/bus.ts';
import { Followed } from './watch/followed.ts';
import { Following } from './watch/following.ts';

const SWEEP_INTERVAL = 1_000;
/** Milliseconds at the end: for what the store is to be told of pages, of SockJS sessions, and for it to close. */
const LAST_WORDS = 2_000;
const LAST_CLAIMS = 500;
const LAST_OF_STORE = 2_400;
/** Milliseconds that new interceptors have to get ready. */
const PATIENCE = 10_000;

export class Rooms {
  readonly settings: Settings;
  // sending
  readonly publisher: Publisher;
  readonly scheduler: Scheduler;
  readonly referenceChannel: ReferenceChannel | undefined;
  readonly #acknowledger: Acknowledger;
  readonly tracing: Tracing;
  // inbox
  readonly inbox: Inbox;
  // delivery
  readonly router: ChannelRouter;
  readonly #broadcasts: Broadcasts;
  readonly #pacer = new Pacer();
  // pages
  readonly registry: SessionRegistry;
  readonly presence: Presence;
  readonly topicPresence: TopicPresence;
  /** Where pages may be told who is on topics. */
  readonly #presenceWatch: PresenceWatch | undefined;
  readonly #name: InstanceName;
  readonly #ackedNews: AckedNews;
  readonly #logins: Logins;
  readonly #topicTerms: TopicTerms;
  readonly #bus: SockJsBus | undefined;
  #drain: Drain | undefined;
  // talk
  readonly #dialogue: Dialogue;
  // door
  readonly lobby: Lobby;
  readonly handshakes = new HandshakeCounts();
  readonly listeners: Listeners;
  readonly exclusion: Exclusion;
  readonly topicRights: TopicRights;
  readonly recheckCommand: RecheckCommand;
  readonly #rechecks: Rechecks;
  /** How many were turned away unheard, when that was told last. */
  #turnedAway: Listeners['turnedAway'] = {};
  // watch
  readonly watchBus: WatchBus;
  readonly following: Following;
  readonly #followed: Followed;

  /** When the store has been reached for the first time. */
  readonly storeReached: Promise<void>;
  /** It listens, and has reached the store. */
  isOpen = false;
  #options: PushServerOptions;
  #reloading: Promise<unknown> = Promise.resolve();
  readonly #sweeper: NodeJS.Timeout;
  readonly #stopWatching: () => void;
  #closing: Promise<void> | undefined;

  /**
   * Begins to listen, and to connect to the store.
   *
   * @throws {TypeError} for options that make no sense
   */
  constructor(options: PushServerOptions) {
    const settings = settingsOf(options);
    const { instance, rules, limits, broker, topics, retentions, proxies, confirmTimeout, log } = settings;
    this.#options = options;
    this.settings = settings;
    const commands = new Commands(instance, broker.control, confirmTimeout, {
      lapsed: () => {
        log('warn', 'the lease is over: nothing is delivered until the store is back', {
          event: 'lease-over',
        });
        this.lobby.cutWaiting();
      },
      missed: () => this.#sendAllAway(),
      failed: (message, fields) => log('error', message, fields),
      unknown: (kind) => {
        const what = `a command of the kind ${printable(kind)}, of a newer instance perhaps, is not known here: nothing is done`;
        log('warn', what, { event: 'command-unknown', kind });
      },
    });
    const complaints = new Complaints();
    const references =
      options.references &&
      new References({ ...options.references, limits }, (key, error) => {
        const what = `reference ${printable(key)} could not be resolved`;
        // Whoever looks at his mail again and again has it looked up each time.
        complaints.say(log, 'warn', what, `${what}: ${explain(error)}`, {
          event: 'reference-unresolved',
          reference: key,
          error: explain(error),
        });
      });
    this.tracing = new Tracing(
      options.tracing,
      instance,
      new Trouble(
        log,
        { event: 'tracing-failing', message: 'a span could not be made' },
        { event: 'tracing-back', message: 'spans are made again' },
      ),
    );
    this.router = new ChannelRouter(
      broker,
      references,
      {
        broadcastChannel: BROADCAST,
        checkInterval: settings.checkInterval,
        limits,
        control: commands,
        lease: settings.lease,
        tracing: this.tracing,
        retentionOf: (channel) => retentions.of(channel),
      },
      {
        acknowledged: (cursor) => {
          this.publisher.confirmations.acknowledged(cursor);
          if (this.router.mayDeliver()) this.#ackedNews.tell(cursor);
        },
        marked: (channel, marked) => this.publisher.confirmations.marked(channel, marked),
        broadcast: (message) => this.#broadcasts.hand(message),
        intake: (message) => this.publisher.take(message),
        storeState: (isAway, error) => this.#onStoreState(isAway, error),
        warn: (message, fields) => log('error', message, fields),
        mended: (message, fields) => log('warn', message, fields),
        rewound: (channel) =>
          log(
            'warn',
            `${channel} has another log than pages know: they were told that something may be missing`,
            {
              event: 'channel-rewound',
              channel,
            },
          ),
      },
    );
    const mayDeliver = (): boolean => this.router.mayDeliver();
    const dismiss = (session: Session, code: number, reason: string): void =>
      this.lobby.dismiss(session, code, reason);

    this.scheduler = new Scheduler(broker.schedule, {
      limits,
      lease: settings.lease,
      checkInterval: settings.checkInterval,
      isAway: () => this.router.isAway,
      store: ({ channel, kind, payload, settings }) =>
        this.publisher.takeDue({ channel, kind, payload, ...settings }),
      log,
    });
    this.publisher = new Publisher(this.router, limits, this.scheduler, retentions);
    this.inbox = new Inbox(this.router);
    const acks = new Trouble(
      log,
      { event: 'acks-failing', message: 'acknowledgements are not stored' },
      { event: 'acks-back', message: 'acknowledgements are stored again' },
    );
    this.#acknowledger = new Acknowledger(broker, settings.cursorTtl, {
      failed(cursor, error) {
        // Of what is damaged the broker tells, once.
        if (!isUnusable(error)) acks.failed(error, { channel: cursor.channel });
      },
      worked: () => acks.worked(),
    });
    this.referenceChannel =
      references && new ReferenceChannel(references, this.publisher, (n) => this.router.pause(n));

    this.registry = new SessionRegistry(limits);
    this.#name = new InstanceName(instance, broker, () =>
      log('error', `another instance is named ${instance}, too: give each a name of its own`, {
        event: 'instance-name-taken',
      }),
    );
    this.#ackedNews = new AckedNews(this.registry);
    this.presence = new Presence(
      broker,
      settings.presenceTtl,
      new Trouble(
        log,
        { event: 'presence-failing', message: 'presence could not be told to the store' },
        { event: 'presence-back', message: 'presence is told to the store again' },
      ),
    );
    this.topicPresence = new TopicPresence(instance, broker, this.presence, topics);
    if (options.authorize?.presence !== undefined) {
      const watch = new PresenceWatch({
        broker,
        presence: this.presence,
        grace: settings.presenceGrace,
        every: settings.presenceTtl / 3,
        mayDeliver,
        telling: new Trouble(
          log,
          { event: 'topic-presence-failing', message: 'who has come to topics could not be told' },
          { event: 'topic-presence-back', message: 'who has come to topics is told again' },
        ),
      });
      this.presence.onTopics = (topics) => watch.say(topics);
      this.#presenceWatch = watch;
    }
    this.#logins = new Logins(
      settings.expiry,
      limits,
      (session) => dismiss(session, CloseCode.NOT_AUTHENTICATED, 'the login has ended'),
      (session, before, now) => {
        for (const topic of before)
          if (!now.includes(topic)) this.#dialogue.take(session, topic, 'unsubscribed');
        for (const topic of now) if (!before.includes(topic)) this.#dialogue.give(session, topic);
      },
    );
    this.#topicTerms = new TopicTerms((session, subscription) =>
      this.#dialogue.expire(session, subscription),
    );
    const endings = new Endings(this.registry, dismiss);

    this.topicRights = new TopicRights(broker.control, commands, {
      taken: (user, topic, reason, mark) => {
        endings.take(user, topic, mark);
        return this.#ofUser(user, (session) => this.#dialogue.take(session, topic, reason));
      },
      given: (user, topic) => this.#ofUser(user, (session) => this.#dialogue.give(session, topic)),
      changed: (change, user, topic) =>
        log('info', `the topic ${topic} was ${change}: ${user}`, {
          event: 'topic-rights-changed',
          change,
          user,
          topic,
        }),
    });
    this.exclusion = new Exclusion(broker.control, commands, endings, {
      ended: (count, { user }) => {
        const whose = user === undefined ? 'of a login' : `of ${printable(user)}`;
        log('info', `${count} session${count === 1 ? '' : 's'} ${whose} ended by command`, {
          event: 'sessions-ended',
          sessions: count,
          user,
        });
      },
      blocked: (who, until) => {
        const [name, user] = 'user' in who ? [who.user, who.user] : ['a login', undefined];
        const end = new Date(until);
        const isForEver = Number.isNaN(end.getTime());
        log('info', `${name} is blocked${isForEver ? '' : ` until ${end.toISOString()}`}`, {
          event: 'user-blocked',
          user,
          until: isForEver ? undefined : end.toISOString(),
        });
      },
      unblocked: (who) => {
        const [name, user] = 'user' in who ? [who.user, who.user] : ['a login', undefined];
        log('info', `${name} is not blocked any more`, { event: 'user-unblocked', user });
      },
    });
    const barrier = new Barrier(this.exclusion.blocks, endings);
    this.#rechecks = new Rechecks({ dismiss, barrier, log });
    this.recheckCommand = new RecheckCommand({
      instance,
      broker,
      commands,
      rechecks: this.#rechecks,
      registry: this.registry,
      failed: (error) =>
        log('warn', `what came of asking again could not be told: ${explain(error)}`, {
          event: 'recheck-untold',
          error: explain(error),
        }),
    });
    const renewals = new Renewals(rules, this.#logins, barrier, limits, log);
    this.#dialogue = this.#makeDialogue(renewals);
    const addressOf = (request: HandshakeRequest): string => clientAddress(request, proxies);
    this.lobby = new Lobby({
      instance,
      limits,
      registry: this.registry,
      counts: this.handshakes,
      barrier,
      router: this.router,
      presence: this.presence,
      logins: this.#logins,
      rechecks: this.#rechecks,
      pacer: this.#pacer,
      dialogue: this.#dialogue,
      rules,
      handler: options.handler ?? {},
      addressOf,
      filled: (session) => this.#broadcasts.leave(session),
      drained: (session) => this.#broadcasts.join(session),
      log,
      logbook: settings.logbook,
    });
    this.#bus =
      options.sockjs &&
      new SockJsBus(
        instance,
        broker,
        settings.presenceTtl,
        new Trouble(
          log,
          { event: 'sockjs-failing', message: 'SockJS sessions could not be told to the store' },
          { event: 'sockjs-back', message: 'SockJS sessions are told to the store again' },
        ),
      );
    this.listeners = new Listeners(options, settings, {
      interceptors: admission({
        registry: this.registry,
        router: this.router,
        proxies,
        rules,
        log,
        logins: this.#logins,
        barrier,
        limits,
        counts: this.handshakes,
        drainingFor: () => this.#drain && Math.ceil(this.#drain.time / 1000),
      }),
      handler: this.lobby,
      addressOf,
      overfull: (transport) => this.lobby.overfull(transport),
      bus: this.#bus,
      fence: new SockJsFence(broker.control, endings),
      log,
    });
    this.#broadcasts = new Broadcasts(this.registry, this.listeners, mayDeliver, this.router.counts);
    this.watchBus = new WatchBus(broker);
    this.following = new Following(this.watchBus, (error) =>
      log('error', `who follows a user threw: ${explainFully(error)}`, {
        event: 'handler-failed',
        error: explain(error),
      }),
    );
    this.#followed = new Followed(instance, this.watchBus, {
      registry: this.registry,
      lobby: this.lobby,
      fanOut: this.listeners,
    });
    this.#sweeper = setInterval(() => this.#sweep(monotonicNow()), SWEEP_INTERVAL).unref();
    this.#stopWatching = watchTurns(mayDeliver);
    this.storeReached = this.router.open(this.listeners);
  }

  #makeDialogue(renewals: Renewals): Dialogue {
    const { instance, rules, limits, heartbeat, topics, log } = this.settings;
    return new Dialogue({
      instance,
      limits,
      heartbeat,
      rules,
      router: this.router,
      pacer: this.#pacer,
      acknowledger: this.#acknowledger,
      topics,
      isRevoked: (user, topic) => this.topicRights.isRevoked(user, topic),
      verifyTopicTicket: (ticket, user, topic) => permittedUntil(ticket, rules.topicTickets, user, topic),
      endAt: (session, subscription, expires) =>
        this.#topicTerms.set(session, subscription, expires && this.#logins.left(expires)),
      attends: (session, subscription) => this.topicPresence.attends(session, subscription),
      watch: (session, subscription, isOn) => {
        if (isOn) this.#presenceWatch?.add(session, subscription);
        else this.#presenceWatch?.remove(session, subscription.channel.name);
      },
      publish: (topic, data, settings) => this.publisher.publish(topic, data, settings),
      renew: (ticket, session) => renewals.renew(ticket, session),
      dismiss: (session, code, reason) => this.lobby.dismiss(session, code, reason),
      greeted: (session) => {
        this.lobby.greeted(session);
        this.#drain?.tell(session);
      },
      opened: (session) => this.#broadcasts.join(session),
      warn: (message, fields) => log('warn', message, fields),
    });
  }

  /**
   * From here on these options hold, and those that were there before where they say nothing.
   *
   * @param isTrial only look whether that is possible
   * @throws {TypeError} or {RangeError} for what can't be; then nothing has changed. What an interceptor's `ready` rejects with
   */
  reload(changes: ReloadOptions, isTrial: boolean): Promise<void> {
    const turn = this.#reloading.then(() => this.#reload(changes, isTrial));
    this.#reloading = turn.catch(() => {});
    return turn;
  }

  async #reload(changes: ReloadOptions, isTrial: boolean): Promise<void> {
    const options = reloadedOptions(this.#options, changes);
    const next = changeableOf(options);
    if (next.rules.authorize.presence !== undefined && this.#presenceWatch === undefined) {
      throw new TypeError('authorize.presence is to be there from the start: it can not be added by reload');
    }
    const newcomers = next.rules.interceptors.filter(
      (each) => !this.settings.rules.interceptors.includes(each),
    );
    await inTime(PATIENCE, Promise.all(newcomers.map(({ ready }) => ready)));
    const { broker } = this.settings;
    broker.accept(next.limits.message);
    if (isTrial) return;
    change(this.settings, next);
    this.#options = options;
    this.listeners.changed(this.settings);
  }

  get isDraining(): boolean {
    return this.#drain !== undefined;
  }

  /** Resolves when it listens and the store has been reached. Rejects, and logs, where it can't listen. */
  async open(): Promise<void> {
    const doorbells = [
      this.#references(),
      this.#bus,
      this.#name,
      this.recheckCommand,
      this.#presenceWatch,
      this.scheduler,
      ...this.watchBus.doorbells,
    ];
    const storeReached = this.storeReached
      .then(() => Promise.all(doorbells.map((each) => each && this.router.listen(each))))
      .then(() => {
        if (this.#closing === undefined) this.scheduler.start();
        return this.#name.say();
      });
    try {
      const others = (this.#options.interceptors ?? []).map(({ ready }) => ready);
      await Promise.all([storeReached, this.listeners.listen(), this.tracing.ready, ...others]);
      this.isOpen = true;
      if (this.#closing === undefined)
        this.settings.log('info', 'the push server runs and has reached its store', {
          event: 'started',
        });
    } catch (error) {
      if (this.#closing === undefined)
        this.settings.log('error', `the push server could not start: ${explain(error)}`, {
          event: 'start-failed',
          error: explain(error),
        });
      throw error;
    }
  }

  /** @param drain milliseconds over which sessions are spread */
  close(drain: number): Promise<void> {
    this.#closing ??= this.#close(drain);
    return this.#closing;
  }

  async #close(drain: number): Promise<void> {
    const { log, logbook } = this.settings;
    const began = monotonicNow();
    const sessions = this.registry.size;
    log('info', `${sessions} sessions are told to leave within ${drain} ms`, {
      event: 'draining',
      sessions,
      drain,
    });
    this.#drain = new Drain(this.registry, drain);
    this.listeners.stop();
    await this.#drain.run();
    clearInterval(this.#sweeper);
    this.following.close();
    this.#followed.close();
    this.#ackedNews.close();
    this.#stopWatching();
    // A store that does not answer must not keep us: what it is not told, its clients will say again, or it expires.
    const told = [this.#acknowledger.flush(), this.presence.flush(), this.scheduler.close()];
    await within(LAST_WORDS, Promise.all(told));
    await this.listeners.close();
    if (this.#bus !== undefined) await within(LAST_CLAIMS, this.#bus.close());
    await within(LAST_OF_STORE, this.router.close());
    logbook.flush();
    const milliseconds = Math.round(monotonicNow() - began);
    log('info', `the push server has ended, after ${milliseconds} ms`, { event: 'closed', milliseconds });
  }

  #sweep(now: number): void {
    this.settings.broker.sweep();
    this.lobby.sweep(now);
    this.router.sweep(now);
    this.#logins.sweep(now);
    this.#topicTerms.sweep(now);
    this.#rechecks.sweep(now);
    this.#presenceWatch?.sweep(now);
    this.settings.logbook.sweep(now);
    this.#followed.sweep(now);
    this.#tellTurnedAway();
  }

  /** Those whom nobody was asked about, by reason, in one line. */
  #tellTurnedAway(): void {
    const before = this.#turnedAway;
    const now = this.listeners.turnedAway;
    this.#turnedAway = now;
    for (const [reason, count = 0] of Object.entries(now)) {
      const more = count - (before[reason as RefusalReason] ?? 0);
      if (more <= 0) continue;
      const { log } = this.settings;
      log('info', `${more} requests for a session were turned away: ${reason}`, {
        event: 'requests-turned-away',
        reason,
        requests: more,
      });
    }
  }

  /** Where other programs say keys. */
  #references(): Doorbell | undefined {
    const channel = this.#options.references?.channel;
    if (channel === undefined) return undefined;
    const heard = (payload: Buffer): void => {
      this.referenceChannel!.store(channel, ReferenceChannel.keyOf(payload)).catch((error) => {
        this.settings.log('error', `a reference on ${channel} was not stored: ${explain(error)}`, {
          event: 'reference-lost',
          channel,
          error: explain(error),
        });
      });
    };
    return { channel, heard };
  }

  #onStoreState(isAway: boolean, error: Error | undefined): void {
    const { log } = this.settings;
    if (isAway) {
      const why = error?.message ?? 'connection lost';
      log('warn', `the store is away, live messages are late: ${why}`, { event: 'store-away', error: why });
      for (const session of this.registry) if (session.phase === 'open') session.fallBehind();
      return;
    }
    // As loud as its loss: whoever was told of the one waits for the other.
    log('warn', 'the store is back', { event: 'store-back' });
    this.publisher.confirmations.lookAgain();
    this.scheduler.lookAgain();
  }

  /** Nobody can say who of them should have been ended. Who may comes back. */
  #sendAllAway(): void {
    this.settings.log(
      'warn',
      'too much was missed while the store was away: all sessions have to come again',
      { event: 'sessions-sent-away' },
    );
    for (const session of [...this.registry.everyone()]) {
      const code = session.isTidings ? CloseCode.DRAIN : SERVICE_RESTART;
      this.lobby.dismiss(session, code, 'this instance was away for too long');
    }
  }

  #ofUser(user: string, call: (session: Session) => boolean): number {
    let count = 0;
    for (const session of [...this.registry.of(user)]) if (call(session)) count++;
    return count;
  }
}
