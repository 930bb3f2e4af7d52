/** The server's side of `tidings.1`: what each frame of a client does. docs/wire.md is its specification. */
import type { Cursor, Position, PublishOptions, Receipt } from '../../pubsub/broker.ts';
import { wirePosition } from '../delivery/outgoing.ts';
import type { Pacer } from '../delivery/pacer.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import { type Start, Subscription } from '../delivery/subscription.ts';
import type { TopicTable } from '../delivery/topic-options.ts';
import type { Authorize, Heartbeat, Limits } from '../options.ts';
import type { Session } from '../pages/session.ts';
import type { Acknowledger } from '../sending/acknowledger.ts';
import {
  channelOf,
  FrameError,
  helloOf,
  optionalString,
  parseFrame,
  positionOf,
  type RawFrame,
  startOf,
} from './frames.ts';
import { inboxOf, isInbox, wireName } from './names.ts';
import { type ChannelState, CloseCode } from './wire.ts';

/** What a dialogue needs of the push server. */
export interface DialogueHost {
  readonly instance: string;
  readonly limits: Limits;
  readonly heartbeat: Heartbeat;
  readonly authorize: Authorize;
  readonly router: ChannelRouter;
  readonly pacer: Pacer;
  readonly acknowledger: Acknowledger;
  readonly topics: TopicTable;
  publish(topic: string, data: unknown, options: Pick<PublishOptions, 'idempotencyKey'>): Promise<Receipt>;
  /** The client has said who it is and where it wants to go on. */
  greeted(session: Session): void;
  /** Its phase is `open` now. */
  opened(session: Session): void;
  warn(message: string): void;
}

export class Dialogue {
  readonly #host: DialogueHost;

  constructor(host: DialogueHost) {
    this.#host = host;
  }

  /** A text frame of the client. */
  receive(session: Session, text: string): void {
    const frame = parseFrame(text);
    if (frame === undefined) {
      session.close(CloseCode.MALFORMED, 'a frame is a JSON object with a type');
      return;
    }
    if (frame.type === 'ping') {
      session.sendFrame({ type: 'pong' });
      return;
    }
    if (session.phase === 'new' && frame.type !== 'hello') {
      session.close(CloseCode.MALFORMED, 'the first frame is hello');
      return;
    }
    this.#obey(session, frame).catch((error) => this.#refuse(session, frame, error));
  }

  async #obey(session: Session, frame: RawFrame): Promise<void> {
    switch (frame.type) {
      case 'hello':
        return this.#hello(session, frame);
      case 'subscribe':
        return this.#subscribe(session, frame);
      case 'unsubscribe':
        return this.#unsubscribe(session, frame);
      case 'ack':
        return this.#ack(session, frame);
      case 'publish':
        return this.#publish(session, frame);
      default:
        throw new FrameError('unknown-type', `no frame of a client has the type ${frame.type.slice(0, 64)}`);
    }
  }

  #refuse(session: Session, frame: Record<string, unknown>, error: unknown): void {
    if (session.phase === 'closed') return;
    const { ref, channel: named } = frame;
    const { code, message, channel } = this.#explain(
      session,
      error,
      typeof named === 'string' ? named : undefined,
    );
    session.sendFrame({
      type: 'error',
      code,
      message,
      ...(channel === undefined ? {} : { channel: channel.slice(0, 300) }),
      ...(typeof ref === 'string' && ref.length <= 64 ? { ref } : {}),
    });
  }

  /** What goes wrong on our side is for the log; the client only learns that it may try again. */
  #explain(session: Session, error: unknown, channel: string | undefined): FrameError {
    if (error instanceof FrameError) return error;
    if (session.phase !== 'closed') this.#host.warn(`a frame of ${session.user} failed: ${String(error)}`);
    return new FrameError('unavailable', 'try again', channel);
  }

  async #hello(session: Session, frame: Record<string, unknown>): Promise<void> {
    if (session.phase !== 'new') throw new FrameError('bad-frame', 'hello comes once');
    const { limits, heartbeat, instance, router } = this.#host;
    const wishes = helloOf(frame, limits.subscriptions);
    session.phase = 'greeting';
    session.device = wishes.device;
    this.#host.greeted(session);
    if (router.isAway) session.fallBehind();

    const starts = new Map<string, Start>([[inboxOf(session.user), { start: wishes.start }]]);
    const refusals: FrameError[] = [];
    for (const name of [...wishes.topics, ...wishes.positions.keys()]) {
      try {
        const position = wishes.positions.get(name);
        starts.set(
          channelOf(name, session.user),
          position === undefined ? { start: wishes.start } : { position },
        );
      } catch (error) {
        refusals.push(error as FrameError);
      }
    }
    const channels: Record<string, ChannelState> = {};
    const joining = [...starts].map(async ([channel, start]) => {
      try {
        const { state } = await this.#join(session, channel, start);
        channels[wireName(channel)] = state;
      } catch (error) {
        refusals.push(this.#explain(session, error, wireName(channel)));
      }
    });
    await Promise.all(joining);
    if (session.phase !== 'greeting') return;

    session.phase = 'open';
    this.#host.opened(session);
    session.sendFrame({
      type: 'welcome',
      session: session.id,
      instance,
      user: session.user,
      heartbeat: { interval: heartbeat.interval, timeout: heartbeat.timeout },
      channels,
    });
    for (const refusal of refusals) this.#refuse(session, {}, refusal);
    for (const subscription of session.subscriptions.values()) subscription.run();
  }

  /** Subscribes and finds where to begin; the subscription does not run yet. */
  async #join(
    session: Session,
    channel: string,
    start: Start,
  ): Promise<{ subscription: Subscription; state: ChannelState }> {
    if (!isInbox(channel)) await this.#permit(session, channel);
    if (session.phase === 'closed') throw new Error('the session has ended');
    if (!isInbox(channel)) this.#checkRoom(session, channel);
    const options = isInbox(channel) ? {} : this.#host.topics.of(channel);
    const subscription = new Subscription(session, channel, this.#host.router, this.#host.pacer, options);
    session.subscriptions.get(channel)?.close();
    session.subscriptions.set(channel, subscription);
    if (!isInbox(channel)) return { subscription, state: await subscription.begin(start) };

    await subscription.channel.ready();
    const cursors = await this.#cursors(session, channel);
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
      } catch {
        await this.#host.router.pause(attempt);
      }
    }
    return [];
  }

  async #permit(session: Session, topic: string): Promise<void> {
    if (session.subscriptions.has(topic)) return;
    const { subscribe } = this.#host.authorize;
    if ((await subscribe?.(session, topic)) !== true) {
      const hint = subscribe === undefined ? ': authorize.subscribe is not set' : '';
      throw new FrameError('forbidden', `not permitted to subscribe${hint}`, topic);
    }
  }

  /** The inbox is one of them and does not count. */
  #checkRoom(session: Session, topic: string): void {
    const { subscriptions: limit } = this.#host.limits;
    if (session.subscriptions.has(topic) || session.subscriptions.size <= limit) return;
    throw new FrameError('too-many-subscriptions', `a session may subscribe to ${limit} topics`, topic);
  }

  async #subscribe(session: Session, frame: Record<string, unknown>): Promise<void> {
    const channel = channelOf(frame['channel'], session.user);
    const start: Start = { start: startOf(frame['start']) };
    if (frame['position'] !== undefined) start.position = positionOf(frame['position'], channel);
    const { subscription, state } = await this.#join(session, channel, start);
    // Another subscribe or an unsubscribe may have come in between.
    if (session.subscriptions.get(channel) !== subscription) return;
    session.sendFrame({ type: 'subscribed', channel: wireName(channel), ...state });
    subscription.run();
  }

  #unsubscribe(session: Session, frame: Record<string, unknown>): void {
    const channel = channelOf(frame['channel'], session.user);
    if (isInbox(channel))
      throw new FrameError('bad-channel', 'the inbox is always subscribed', wireName(channel));
    const subscription = session.subscriptions.get(channel);
    if (subscription === undefined) throw new FrameError('not-subscribed', 'not subscribed', channel);
    session.subscriptions.delete(channel);
    subscription.close();
    session.sendFrame({ type: 'unsubscribed', channel });
  }

  #ack(session: Session, frame: Record<string, unknown>): void {
    const channel = channelOf(frame['channel'], session.user);
    const position = positionOf(frame['position'], wireName(channel));
    const subscription = session.subscriptions.get(channel);
    if (!isInbox(channel) || subscription === undefined) {
      throw new FrameError('bad-ack', 'only the inbox is acknowledged', wireName(channel));
    }
    if (session.device === undefined) {
      throw new FrameError('bad-ack', 'hello named no device', wireName(channel));
    }
    const sent: Position = subscription.position;
    if (position.epoch !== sent.epoch || position.offset > sent.offset) {
      throw new FrameError('bad-ack', 'this was never sent here', wireName(channel));
    }
    if (position.offset > 0) this.#host.acknowledger.add({ channel, device: session.device, position });
  }

  async #publish(session: Session, frame: Record<string, unknown>): Promise<void> {
    const topic = channelOf(frame['channel'], session.user);
    const ref = optionalString(frame['ref'], 'ref');
    const idempotencyKey = optionalString(frame['idempotencyKey'], 'idempotencyKey');
    const { data } = frame;
    if (data === undefined) throw new FrameError('bad-frame', 'data is missing', wireName(topic));
    const isPermitted =
      !isInbox(topic) && (await this.#host.authorize.publish?.(session, topic, data)) === true;
    if (!isPermitted) throw new FrameError('forbidden', 'not permitted to publish', wireName(topic));
    const { duplicate, ...position } = await this.#host.publish(
      topic,
      data,
      idempotencyKey === undefined ? {} : { idempotencyKey },
    );
    const answer = { type: 'published', channel: topic, ...wirePosition(position), duplicate } as const;
    session.sendFrame(ref === undefined ? answer : { ...answer, ref });
  }
}

function highest(cursors: Cursor[], epoch: string): Position | undefined {
  let found: Position | undefined;
  for (const { position } of cursors) {
    if (position.epoch === epoch && position.offset > (found?.offset ?? 0)) found = position;
  }
  return found;
}
