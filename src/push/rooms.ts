/** The rooms of a push server, and who of them knows whom. What an application calls is in `push-server`. */
import { isUnusable } from '../pubsub/store/broker.ts';
import type { HandshakeRequest } from '../server/transport.ts';
import { Commands } from './commands.ts';
import { Complaints } from './complaints.ts';
import { Pacer } from './delivery/pacer.ts';
import { References } from './delivery/references.ts';
import { ChannelRouter } from './delivery/router.ts';
import { Barrier } from './door/barrier.ts';
import { Exclusion } from './door/exclusion.ts';
import { admission } from './door/gate.ts';
import { HandshakeCounts } from './door/handshake-counts.ts';
import { Listeners } from './door/listeners.ts';
import { Lobby } from './door/lobby.ts';
import { Rechecks } from './door/recheck.ts';
import { RecheckCommand } from './door/recheck-command.ts';
import { Renewals } from './door/renewal.ts';
import { clientAddress } from './door/request.ts';
import { TopicRights, type TopicRightsEvents } from './door/topic-rights.ts';
import { permittedUntil } from './door/topic-ticket.ts';
import { explain, printable } from './explain.ts';
import { Inbox } from './inbox/inbox.ts';
import { Life } from './life.ts';
import type { PushServerOptions } from './options.ts';
import { AckedNews } from './pages/acked-news.ts';
import { Broadcasts } from './pages/broadcasts.ts';
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
import { UserPresence } from './pages/user-presence.ts';
import { Parts } from './parts.ts';
import { Reloads } from './reload.ts';
import { Acknowledger } from './sending/acknowledger.ts';
import { Publisher } from './sending/publisher.ts';
import { ReferenceChannel } from './sending/reference-channel.ts';
import { Scheduler } from './sending/scheduler.ts';
import { type Settings, settingsOf } from './settings.ts';
import { Dialogue } from './talk/dialogue.ts';
import { BROADCAST } from './talk/wire.ts';
import { Tracing } from './tracing/tracing.ts';
import { Trouble } from './trouble.ts';
import { WatchBus } from './watch/bus.ts';
import { Followed } from './watch/followed.ts';
import { Following } from './watch/following.ts';

export class Rooms {
  readonly settings: Settings;
  readonly reloads: Reloads;
  // sending
  readonly publisher: Publisher;
  readonly scheduler: Scheduler;
  readonly referenceChannel: ReferenceChannel | undefined;
  readonly #acknowledger: Acknowledger;
  // inbox
  readonly inbox: Inbox;
  // delivery
  readonly router: ChannelRouter;
  readonly #broadcasts: Broadcasts;
  // pages
  readonly registry: SessionRegistry;
  readonly topicPresence: TopicPresence;
  readonly userPresence: UserPresence;
  /** Where pages may be told who is on topics. */
  readonly #presenceWatch: PresenceWatch | undefined;
  readonly #logins: Logins;
  readonly #topicTerms: TopicTerms;
  // talk
  readonly #dialogue: Dialogue;
  // door
  readonly lobby: Lobby;
  readonly handshakes = new HandshakeCounts();
  readonly listeners: Listeners;
  readonly exclusion: Exclusion;
  readonly topicRights: TopicRights;
  readonly recheckCommand: RecheckCommand;
  // watch
  readonly watchBus: WatchBus;
  readonly following: Following;

  /** What the application has put beside these rooms. */
  readonly parts: Parts;
  readonly life: Life;

  /**
   * Begins to listen, and to connect to the store.
   *
   * @throws {TypeError} for options that make no sense
   */
  constructor(options: PushServerOptions) {
    const settings = settingsOf(options);
    const { instance, rules, limits, broker, topics, retentions, proxies, confirmTimeout, log } = settings;
    this.settings = settings;
    this.parts = new Parts(limits);
    this.reloads = new Reloads(options, settings, ({ tls }) => {
      this.listeners.changed(settings);
      if (tls !== undefined) this.listeners.renewTls(tls);
    });
    const commands = new Commands(instance, broker.control, confirmTimeout, log, {
      lapsed: () => this.lobby.cutWaiting(),
      missed: () => endings.endAll('this instance was away for too long'),
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
    const tracing = new Tracing(
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
        tracing,
        retentionOf: (channel) => retentions.of(channel),
        allRetentions: () => retentions.all,
      },
      {
        acknowledged: (cursor) => {
          this.publisher.confirmations.acknowledged(cursor);
          if (this.router.mayDeliver()) ackedNews.tell(cursor);
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
      references && new ReferenceChannel(references, this.publisher, (n) => this.router.pause(n), log);

    this.registry = new SessionRegistry(limits);
    const name = new InstanceName(instance, broker, log);
    const ackedNews = new AckedNews(this.registry);
    const presence = new Presence(
      broker,
      settings.presenceTtl,
      new Trouble(
        log,
        { event: 'presence-failing', message: 'presence could not be told to the store' },
        { event: 'presence-back', message: 'presence is told to the store again' },
      ),
    );
    this.userPresence = new UserPresence(broker, presence, this.registry);
    this.topicPresence = new TopicPresence(instance, broker, presence, topics);
    if (options.authorize?.presence !== undefined) {
      const watch = new PresenceWatch({
        broker,
        presence,
        grace: settings.presenceGrace,
        every: settings.presenceTtl / 3,
        mayDeliver,
        telling: new Trouble(
          log,
          { event: 'topic-presence-failing', message: 'who has come to topics could not be told' },
          { event: 'topic-presence-back', message: 'who has come to topics is told again' },
        ),
      });
      presence.onTopics = (topics) => watch.say(topics);
      this.#presenceWatch = watch;
    }
    this.#logins = new Logins(
      settings.expiry,
      limits,
      (session) => void rechecks.loginIsOver(session),
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

    const takeTopic: TopicRightsEvents['taken'] = (user, topic, reason, mark) => {
      endings.take(user, topic, mark);
      return this.#ofUser(user, (session) => this.#dialogue.take(session, topic, reason));
    };
    const giveTopic = (user: string, topic: string): number =>
      this.#ofUser(user, (session) => this.#dialogue.give(session, topic));
    this.topicRights = new TopicRights(broker.control, commands, { taken: takeTopic, given: giveTopic }, log);
    this.exclusion = new Exclusion(broker.control, commands, endings, log);
    const barrier = new Barrier(this.exclusion.blocks, endings);
    const rechecks = new Rechecks({
      dismiss,
      left: (expires) => this.#logins.left(expires),
      barrier,
      log,
    });
    this.recheckCommand = new RecheckCommand({
      instance,
      broker,
      commands,
      rechecks,
      registry: this.registry,
      log,
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
      presence,
      logins: this.#logins,
      rechecks,
      dialogue: this.#dialogue,
      rules,
      handler: options.handler ?? {},
      addressOf,
      filled: (session) => this.#broadcasts.leave(session),
      drained: (session) => this.#broadcasts.join(session),
      log,
      logbook: settings.logbook,
    });
    const bus = options.sockjs && new SockJsBus(instance, broker, settings.presenceTtl, log);
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
        drainingFor: () => this.life.drainingFor,
      }),
      handler: this.lobby,
      addressOf,
      overfull: (transport) => this.lobby.overfull(transport),
      bus,
      fence: new SockJsFence(broker.control, endings),
      log,
    });
    this.#broadcasts = new Broadcasts(this.registry, this.listeners, mayDeliver, this.router.counts);
    this.watchBus = new WatchBus(broker);
    this.following = new Following(this.watchBus, log);
    const followed = new Followed(instance, this.watchBus, {
      registry: this.registry,
      lobby: this.lobby,
      fanOut: this.listeners,
    });
    const said = options.references?.channel;
    const keys = said === undefined ? undefined : this.referenceChannel?.doorbell(said);
    this.life = new Life({
      settings,
      registry: this.registry,
      listeners: this.listeners,
      router: this.router,
      scheduler: this.scheduler,
      acknowledger: this.#acknowledger,
      presence,
      tracing,
      name,
      bus,
      parts: this.parts,
      doorbells: [
        keys,
        bus,
        name,
        this.recheckCommand,
        this.#presenceWatch,
        this.scheduler,
        ...this.watchBus.doorbells,
      ].filter((each) => each !== undefined),
      sweeps: [
        broker,
        this.lobby,
        this.router,
        this.#logins,
        this.#topicTerms,
        rechecks,
        this.#presenceWatch,
        settings.logbook,
        followed,
      ].filter((each) => each !== undefined),
      ends: [this.following, followed, ackedNews],
    });
  }

  #makeDialogue(renewals: Renewals): Dialogue {
    const { instance, rules, limits, heartbeat, topics, log } = this.settings;
    return new Dialogue({
      instance,
      limits,
      heartbeat,
      rules,
      router: this.router,
      pacer: new Pacer(),
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
        this.life.greeted(session);
      },
      opened: (session) => this.#broadcasts.join(session),
      warn: (message, fields) => log('warn', message, fields),
    });
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

  #ofUser(user: string, call: (session: Session) => boolean): number {
    let count = 0;
    for (const session of [...this.registry.of(user)]) if (call(session)) count++;
    return count;
  }
}
