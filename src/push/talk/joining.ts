/** How a session gets its part in a channel: whether it may have it, and where it begins. */
import { type Cursor, isUnusable, type Position } from '../../pubsub/store/broker.ts';
import { inTime } from '../../waiting.ts';
import { wirePosition } from '../delivery/outgoing.ts';
import type { Pacer } from '../delivery/pacer.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import { type Start, Subscription } from '../delivery/subscription.ts';
import type { TopicTable } from '../delivery/topic-options.ts';
import { explain } from '../explain.ts';
import type { Authorize, Limits } from '../options.ts';
import type { Session } from '../pages/session.ts';
import { FrameError } from './frames.ts';
import { isInbox } from './names.ts';
import type { ChannelState } from './wire.ts';

export interface JoiningHost {
  readonly limits: Limits;
  readonly authorize: Authorize;
  readonly router: ChannelRouter;
  readonly pacer: Pacer;
  readonly topics: TopicTable;
}

export class Joining {
  readonly #host: JoiningHost;

  constructor(host: JoiningHost) {
    this.#host = host;
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

  /** A new subscription, in the place of a former one. @throws {FrameError} if it may not be */
  async admit(session: Session, channel: string): Promise<Subscription> {
    if (!isInbox(channel)) await this.#permit(session, channel);
    if (session.phase === 'closed') throw new Error('the session has ended');
    if (!isInbox(channel)) this.#checkRoom(session, channel);
    const { router, pacer, topics } = this.#host;
    const options = isInbox(channel) ? {} : topics.of(channel);
    const subscription = new Subscription(session, channel, router, pacer, options);
    session.subscriptions.get(channel)?.close();
    session.subscriptions.set(channel, subscription);
    return subscription;
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
    const begin = start.position === undefined && own !== undefined ? { position: own } : start;
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

  async #permit(session: Session, topic: string): Promise<void> {
    if (session.subscriptions.has(topic)) return;
    const { subscribe } = this.#host.authorize;
    const answer = await this.ask('subscribe', () => subscribe?.(session, topic));
    if (answer === true) return;
    const hint = subscribe === undefined ? ': authorize.subscribe is not set' : '';
    throw new FrameError('forbidden', `not permitted to subscribe${hint}`, topic);
  }

  /** What the application answers; it may throw, now or later, or never answer. */
  async ask(what: keyof Authorize, question: () => unknown): Promise<unknown> {
    try {
      return await inTime(this.#host.limits.answer, new Promise((resolve) => resolve(question())));
    } catch (error) {
      throw new Error(`authorize.${what}: ${explain(error)}`);
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
