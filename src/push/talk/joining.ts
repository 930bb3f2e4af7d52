/** How a session gets its part in a channel: whether it may have it, and where it begins. */
import { type Cursor, isUnusable, type Position } from '../../pubsub/store/broker.ts';
import { inTime } from '../../waiting.ts';
import { wirePosition } from '../delivery/outgoing.ts';
import type { Pacer } from '../delivery/pacer.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import { type Start, Subscription } from '../delivery/subscription.ts';
import { NO_OPTIONS, type TopicTable } from '../delivery/topic-options.ts';
import { explain } from '../explain.ts';
import type { Authorize, Limits, LogFields } from '../options.ts';
import type { Inquiry, Session } from '../pages/session.ts';
import { FrameError } from './frames.ts';
import { inboxOf, isInbox, wireName } from './names.ts';
import type { ChannelState, Unsubscribed } from './wire.ts';

export interface JoiningHost {
  readonly limits: Limits;
  readonly rules: { readonly authorize: Authorize };
  readonly router: ChannelRouter;
  readonly pacer: Pacer;
  readonly topics: TopicTable;
  /** Whether the application has taken the topic from the user, and not given it back. */
  isRevoked(user: string, topic: string): boolean;
  /** When what a ticket permits ends, in milliseconds since 1970. @throws {FrameError} */
  verifyTopicTicket(ticket: string, user: string, topic: string): number;
  /** The subscription ends at this time, or not by itself; the last word counts. */
  endAt(session: Session, subscription: Subscription, expires: number | undefined): void;
  /** The session has the topic now, of which it can be asked who is on it. */
  attends(session: Session, subscription: Subscription): void;
  /** The session is told who is on the topic, or no longer. */
  watch(session: Session, subscription: Subscription, isOn: boolean): void;
  warn(message: string, fields: LogFields): void;
}

export class Joining {
  readonly #host: JoiningHost;

  constructor(host: JoiningHost) {
    this.#host = host;
  }

  /**
   * The session is there. From here on its user's messages are its own, also those that are sent to greet it; in `tidings.1`
   * they wait for its `hello`.
   */
  open(session: Session): void {
    const subscription = this.#add(session, inboxOf(session.user));
    if (!session.isTidings) subscription.runFromNow();
  }

  /** Subscribes and finds where to begin; the subscription does not run yet. */
  async join(
    session: Session,
    channel: string,
    start: Start,
  ): Promise<{ subscription: Subscription; state: ChannelState }> {
    if (isInbox(channel)) return this.#joinInbox(session, channel, start);
    const subscription = await this.admit(session, channel);
    return { subscription, state: await this.begun(session, subscription, start) };
  }

  /** Where it begins. One that can't is none of the session's. */
  async begun(session: Session, subscription: Subscription, start: Start): Promise<ChannelState> {
    try {
      return await subscription.begin(start);
    } catch (error) {
      const { name } = subscription.channel;
      subscription.close();
      if (session.subscriptions.get(name) === subscription) {
        session.subscriptions.delete(name);
        if (isInbox(name)) session.unusable(name);
      }
      throw error;
    }
  }

  /**
   * A new subscription, in the place of a former one.
   *
   * @throws {FrameError} if it may not be
   */
  async admit(session: Session, channel: string, ticket?: string): Promise<Subscription> {
    if (isInbox(channel)) return this.#add(session, channel);
    return this.permitted(session, channel, ticket, (expires) => {
      this.#checkRoom(session, channel);
      const subscription = this.#add(session, channel);
      if (expires !== undefined) this.#host.endAt(session, subscription, expires);
      return subscription;
    });
  }

  #add(session: Session, channel: string): Subscription {
    const { router, pacer, topics } = this.#host;
    const options = isInbox(channel) ? NO_OPTIONS : topics.of(channel);
    const subscription = new Subscription(session, channel, router, pacer, options);
    session.subscriptions.get(channel)?.replace();
    session.subscriptions.set(channel, subscription);
    if (options.presence === true) this.#host.attends(session, subscription);
    return subscription;
  }

  /** The application wants it so: the session gets the topic without asking. Returns whether it did not have it. */
  give(session: Session, topic: string): boolean {
    if (session.phase === 'closed' || this.#host.isRevoked(session.user, topic)) return false;
    session.given ??= new Set();
    session.given.add(topic);
    const known = session.subscriptions.get(topic);
    if (known !== undefined) {
      this.#host.endAt(session, known, undefined);
      return false;
    }
    if (!session.isTidings) this.#add(session, topic).runFromNow();
    else if (session.phase === 'open') void this.#start(session, topic);
    // Else its `hello` brings it.
    return true;
  }

  async #start(session: Session, topic: string): Promise<void> {
    const subscription = this.#add(session, topic);
    try {
      const state = await this.begun(session, subscription, {});
      if (session.subscriptions.get(topic) !== subscription) return;
      session.sendFrame({ type: 'subscribed', channel: topic, ...state });
      subscription.run();
    } catch (error) {
      this.#host.warn(`${topic} could not be given to a session of ${session.user}: ${explain(error)}`, {
        event: 'topic-not-given',
        topic,
        user: session.user,
        error: explain(error),
      });
    }
  }

  /** The session gets no more of the topic. Returns whether it had it, or was about to. */
  take(session: Session, topic: string, reason: 'unsubscribed' | 'revoked'): boolean {
    let had = session.given?.delete(topic) === true;
    for (const inquiry of session.inquiries ?? []) {
      if (inquiry.topic !== topic) continue;
      inquiry.isOver = true;
      had = true;
    }
    const subscription = session.subscriptions.get(topic);
    if (subscription === undefined) return had;
    this.end(session, subscription, reason);
    return true;
  }

  /** @param reason left out where the page has asked for it */
  end(session: Session, subscription: Subscription, reason?: Unsubscribed['reason']): void {
    const { name: topic } = subscription.channel;
    if (session.subscriptions.get(topic) !== subscription) return;
    session.subscriptions.delete(topic);
    subscription.close();
    // Before its `welcome`, which will not name it, it has not been told of it.
    if (session.isTidings && session.phase === 'open') {
      session.sendFrame({ type: 'unsubscribed', channel: topic, ...(reason !== undefined && { reason }) });
    }
  }

  /** It is there since the session opened. */
  async #joinInbox(
    session: Session,
    channel: string,
    start: Start,
  ): Promise<{ subscription: Subscription; state: ChannelState }> {
    const subscription = session.subscriptions.get(channel)!;
    await subscription.channel.ready();
    const cursors = subscription.channel.takeCursors() ?? (await this.#cursors(session, channel));
    const own = cursors.find(({ device }) => device === session.device)?.position;
    const isOwn = start.position === undefined && own !== undefined;
    const begin: Start = isOwn ? { position: own, version: start.version } : start;
    const state = await subscription.begin(begin);
    const acked = highest(cursors, state.position.epoch);
    return { subscription, state: acked === undefined ? state : { ...state, acked: wirePosition(acked) } };
  }

  async #cursors(session: Session, channel: string): Promise<Cursor[]> {
    for (let attempt = 0; session.phase !== 'closed'; attempt++) {
      try {
        return await this.#host.router.broker.cursors(channel);
      } catch (error) {
        if (isUnusable(error)) throw error;
        await this.#host.router.pause(attempt);
      }
    }
    return [];
  }

  /**
   * Asks whether the session may have the topic. `then` is done in the very moment in which that is known, so that it can't
   * be taken between the two.
   *
   * @param then is told when the permission ends by itself
   * @throws {FrameError} if it may not
   */
  async permitted<T>(
    session: Session,
    topic: string,
    ticket: string | undefined,
    then: (expires: number | undefined) => T,
  ): Promise<T> {
    const inquiry: Inquiry = { topic, isOver: false };
    session.inquiries ??= new Set();
    session.inquiries.add(inquiry);
    try {
      const expires = await this.#permit(session, topic, ticket);
      if (inquiry.isOver) throw new FrameError('forbidden', 'unsubscribed meanwhile', topic);
      if (session.phase === 'closed') throw new Error('the session has ended');
      return then(expires);
    } finally {
      session.inquiries.delete(inquiry);
    }
  }

  /** By its ticket, or by what the application says now. Returns when that ends by itself. @throws {FrameError} */
  async #permit(session: Session, topic: string, ticket: string | undefined): Promise<number | undefined> {
    const { isRevoked, verifyTopicTicket } = this.#host;
    const { authorize } = this.#host.rules;
    if (isRevoked(session.user, topic)) throw new FrameError('forbidden', 'the topic was revoked', topic);
    if (session.given?.has(topic)) return undefined;
    if (ticket !== undefined) return verifyTopicTicket(ticket, session.user, topic);
    const answer = await this.ask('subscribe', () => authorize.subscribe?.(session, topic), topic);
    if (answer !== true) {
      const hint = authorize.subscribe === undefined ? ': authorize.subscribe is not set' : '';
      throw new FrameError('forbidden', `not permitted to subscribe${hint}`, topic);
    }
    return undefined;
  }

  /**
   * The session is told who is on the topic from here on, or no longer.
   *
   * @throws {FrameError} if it may not be
   */
  async watch(session: Session, subscription: Subscription, isOn: boolean): Promise<void> {
    const topic = subscription.channel.name;
    if (isOn) {
      const { topics } = this.#host;
      const { authorize } = this.#host.rules;
      const isKept = !isInbox(topic) && topics.of(topic).presence === true;
      const isPermitted =
        isKept &&
        (await this.ask('presence', () => authorize.presence?.(session, topic), topic).catch(() => false)) ===
          true;
      if (!isPermitted) throw new FrameError('no-presence', 'who is there is not told', wireName(topic));
    }
    if (session.subscriptions.get(topic) === subscription) this.#host.watch(session, subscription, isOn);
  }

  /**
   * What the application answers; it may throw, now or later, or never answer, which is a refusal.
   *
   * @throws {FrameError}
   */
  async ask(
    what: 'subscribe' | 'publish' | 'presence',
    question: () => unknown,
    topic: string,
  ): Promise<unknown> {
    try {
      return await inTime(this.#host.limits.answer, new Promise((resolve) => resolve(question())));
    } catch (error) {
      this.#host.warn(`authorize.${what} gave no answer: ${explain(error)}`, {
        event: 'authorize-failed',
        reason: what,
        error: explain(error),
      });
      throw new FrameError('forbidden', 'the application did not say that this is permitted', topic);
    }
  }

  /** The inbox is one of them and does not count. */
  #checkRoom(session: Session, topic: string): void {
    const { subscriptions: limit } = this.#host.limits;
    if (session.subscriptions.has(topic) || session.subscriptions.size <= limit) return;
    throw new FrameError('too-many-subscriptions', `a session may subscribe to ${limit} topics`, topic);
  }
}

function highest(cursors: Cursor[], epoch: string): Position | undefined {
  let found: Position | undefined;
  for (const { position } of cursors) {
    if (position.epoch === epoch && position.offset > (found?.offset ?? 0)) found = position;
  }
  return found;
}
