/** The server's side of `tidings.1`: what each frame of a client does. docs/wire.md is its specification. */

import { type Cursor, isUnusable, type PublishOptions, type Receipt } from '../../pubsub/store/broker.ts';
import { timeOfTurn } from '../../server/tick.ts';
import { isIn } from '../../waiting.ts';
import { wirePosition } from '../delivery/outgoing.ts';
import type { Start, Subscription } from '../delivery/subscription.ts';
import { explain } from '../explain.ts';
import { messageFrame } from '../limits.ts';
import type { Heartbeat } from '../options.ts';
import type { Session } from '../pages/session.ts';
import { JsonText } from '../payload.ts';
import type { Acknowledger } from '../sending/acknowledger.ts';
import {
  channelOf,
  DATA,
  FrameError,
  helloOf,
  idempotencyKeyOf,
  parseFrame,
  positionOf,
  presenceOf,
  type RawFrame,
  refOf,
  startOf,
  ticketOf,
} from './frames.ts';
import { lifeOf } from './inbox-frames.ts';
import { InboxTalk } from './inbox-talk.ts';
import { Joining, type JoiningHost } from './joining.ts';
import { inboxOf, isInbox, wireName } from './names.ts';
import { type ChannelState, CloseCode } from './wire.ts';

/** RFC 6455 §7.4.1. */
const TOO_BIG = 1009;

/** What a dialogue needs of the push server. */
export interface DialogueHost extends JoiningHost {
  readonly instance: string;
  readonly heartbeat: Heartbeat;
  readonly acknowledger: Acknowledger;
  publish(
    topic: string,
    data: unknown,
    options: Pick<PublishOptions, 'idempotencyKey' | 'ttl' | 'replaces'>,
  ): Promise<Receipt>;
  /** The session is what its new ticket says. @throws {FrameError} */
  renew(ticket: string | undefined, session: Session): Promise<void>;
  /** Sends it away. */
  dismiss(session: Session, code: number, reason: string): void;
  /** The client has said who it is and where it wants to go on. */
  greeted(session: Session): void;
  /** Its phase is `open` now. */
  opened(session: Session): void;
}

export class Dialogue {
  readonly #host: DialogueHost;
  readonly #joining: Joining;
  readonly #inbox: InboxTalk;

  constructor(host: DialogueHost) {
    this.#host = host;
    this.#inbox = new InboxTalk(host);
    this.#joining = new Joining(host);
  }

  /** A text frame of the client, obeyed when those before it are. Only `ping` need not wait. */
  receive(session: Session, data: Buffer): void {
    const frame = parseFrame(data);
    if (frame === undefined) {
      session.close(CloseCode.MALFORMED, 'a frame is a JSON object with a type');
    } else if (frame.type !== 'hello' && data.length > messageFrame(this.#host.limits)) {
      session.close(TOO_BIG, `a message may have ${this.#host.limits.message} bytes`);
    } else if (frame.type === 'ping') {
      session.sendFrame({ type: 'pong' });
    } else if (!session.frames.add(data.length, (proceed) => this.#take(session, frame, proceed))) {
      session.close(CloseCode.RATE_LIMIT, 'too many frames wait to be obeyed');
    }
  }

  #take(session: Session, frame: RawFrame, proceed: () => void): Promise<void> | undefined {
    if (session.phase === 'closed') return undefined;
    if (session.phase === 'new' && frame.type !== 'hello') {
      session.close(CloseCode.MALFORMED, 'the first frame is hello');
      return undefined;
    }
    try {
      return this.#obey(session, frame, proceed)?.catch((error) => this.#refuse(session, frame, error));
    } catch (error) {
      this.#refuse(session, frame, error);
      return undefined;
    }
  }

  #obey(session: Session, frame: RawFrame, proceed: () => void): Promise<void> | undefined {
    switch (frame.type) {
      case 'hello':
        return this.#hello(session, frame);
      case 'subscribe':
        return this.#subscribe(session, frame, proceed);
      case 'unsubscribe':
        this.#unsubscribe(session, frame);
        return undefined;
      case 'ack':
        return this.#ack(session, frame);
      case 'publish':
        return this.#publish(session, frame, proceed);
      case 'mark':
        return this.#held(this.#inbox.mark(session, frame), proceed);
      case 'history':
        return this.#held(this.#inbox.history(session, frame), proceed);
      case 'renew':
        return this.#renew(session, frame);
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

  /** What goes wrong on our side is for the log; the client only learns whether it may try again. */
  #explain(session: Session, error: unknown, channel: string | undefined): FrameError {
    if (error instanceof FrameError) return error;
    // The broker has told that, once.
    if (isUnusable(error)) return new FrameError('damaged', 'the store can not use this channel', channel);
    if (session.phase !== 'closed')
      this.#host.warn(`a frame of ${session.user} failed: ${explain(error)}`, {
        event: 'frame-failed',
        user: session.user,
        session: session.id,
        error: explain(error),
      });
    const isFinal = [RangeError, TypeError].some((kind) => error instanceof kind);
    if (isFinal) return new FrameError('rejected', 'this can not be done as things are', channel);
    return new FrameError('unavailable', 'try again', channel);
  }

  async #hello(session: Session, frame: Record<string, unknown>): Promise<void> {
    if (session.phase !== 'new') throw new FrameError('bad-frame', 'hello comes once');
    const { limits, heartbeat, instance, router } = this.#host;
    const wishes = helloOf(frame, limits.subscriptions);
    session.phase = 'greeting';
    session.device = wishes.device;
    this.#host.greeted(session);
    if (session.transport.readyState !== 1) return;
    if (router.isAway) session.fallBehind();

    const starts = new Map<string, Start>([[inboxOf(session.user), { start: wishes.start }]]);
    const refusals: FrameError[] = [];
    for (const name of [...(session.given ?? []), ...wishes.topics, ...wishes.positions.keys()]) {
      try {
        const position = wishes.positions.get(name);
        const channel = channelOf(name, session.user);
        starts.set(channel, position === undefined ? { start: wishes.start } : { position });
      } catch (error) {
        refusals.push(error as FrameError);
      }
    }
    const channels = new Map<string, ChannelState>();
    const joining = [...starts].map(async ([channel, start]) => {
      try {
        const version = wishes.states.get(wireName(channel)) ?? wishes.states.get(channel);
        const { state } = await this.#joining.join(session, channel, { ...start, version });
        channels.set(wireName(channel), state);
      } catch (error) {
        if (isUnusable(error) && isInbox(channel)) session.unusable(channel);
        else refusals.push(this.#explain(session, error, wireName(channel)));
      }
    });
    await Promise.all(joining);
    await router.untilAllowed(() => session.transport.readyState !== 1);
    if (session.phase !== 'greeting' || !session.subscriptions.has(inboxOf(session.user))) return;

    // What was taken while the others were joined.
    for (const channel of starts.keys()) {
      const name = wireName(channel);
      if (session.subscriptions.has(channel) || !channels.has(name)) continue;
      channels.delete(name);
      refusals.push(new FrameError('forbidden', 'unsubscribed meanwhile', name));
    }
    session.phase = 'open';
    this.#host.opened(session);
    session.sendFrame({
      type: 'welcome',
      session: session.id,
      instance,
      user: session.user,
      heartbeat: { interval: heartbeat.interval, timeout: heartbeat.timeout },
      ...session.validity(),
      channels: Object.fromEntries(channels),
    });
    session.welcomed();
    for (const refusal of refusals) this.#refuse(session, {}, refusal);
    for (const subscription of session.subscriptions.values()) subscription.run();
    for (const topic of session.given ?? []) this.#joining.give(session, topic);
  }

  /** See `Joining`; so it is with the next three. */
  open(session: Session): void {
    this.#joining.open(session);
  }

  give(session: Session, topic: string): boolean {
    return this.#joining.give(session, topic);
  }

  take(session: Session, topic: string, reason: 'unsubscribed' | 'revoked'): boolean {
    return this.#joining.take(session, topic, reason);
  }

  expire(session: Session, subscription: Subscription): void {
    this.#joining.end(session, subscription, 'expired');
  }

  async #subscribe(session: Session, frame: Record<string, unknown>, proceed: () => void): Promise<void> {
    const channel = channelOf(frame['channel'], session.user);
    const start: Start = { start: startOf(frame['start']) };
    if (frame['position'] !== undefined) start.position = positionOf(frame['position'], channel);
    const known = session.subscriptions.get(channel);
    const goesOn = start.position === undefined && start.start === 'now';
    const ticket = ticketOf(frame['ticket']);
    const presence = presenceOf(frame['presence']);
    const ref = refOf(frame['ref']);
    /** False where it has ended meanwhile. @throws {FrameError} where it took so long that a later frame began it anew */
    const answer = (subscription: Subscription, state: ChannelState): boolean => {
      const name = wireName(channel);
      if (subscription.isReplaced) throw new FrameError('unavailable', 'it was begun anew meanwhile', name);
      if (session.subscriptions.get(channel) !== subscription) return false;
      session.sendFrame({ type: 'subscribed', channel: name, ...state, ...(ref !== undefined && { ref }) });
      return true;
    };
    if (known !== undefined && goesOn) {
      if (!isInbox(channel)) await this.#permitAgain(session, known, ticket);
      // It has all that was sent since it began, and goes on.
      const state = await this.#held(known.state(), proceed);
      if (answer(known, state) && presence !== undefined) await this.#joining.watch(session, known, presence);
      return;
    }
    const subscription = await this.#joining.admit(session, channel, ticket).catch((error) => {
      if (known !== undefined && error instanceof FrameError)
        this.#joining.take(session, channel, 'unsubscribed');
      throw error;
    });
    const state = await this.#held(this.#joining.begun(session, subscription, start), proceed);
    if (!answer(subscription, state)) return;
    subscription.run();
    if (presence !== undefined) await this.#joining.watch(session, subscription, presence);
  }

  /** What was permitted once need not be permitted now. @throws {FrameError}, and then it has ended */
  async #permitAgain(session: Session, known: Subscription, ticket: string | undefined): Promise<void> {
    const { name } = known.channel;
    try {
      await this.#joining.permitted(session, name, ticket, (expires) => {
        if (session.subscriptions.get(name) === known) this.#host.endAt(session, known, expires);
      });
    } catch (error) {
      this.#joining.take(session, name, 'unsubscribed');
      throw error;
    }
  }

  /** Holds the frames that follow, but no longer than an application's answer may: the store can be away for hours. */
  async #held<T>(result: Promise<T>, proceed: () => void): Promise<T> {
    if (!(await isIn(result, this.#host.limits.answer))) proceed();
    return result;
  }

  #unsubscribe(session: Session, frame: Record<string, unknown>): void {
    const channel = channelOf(frame['channel'], session.user);
    if (isInbox(channel))
      throw new FrameError('bad-channel', 'the inbox is always subscribed', wireName(channel));
    const subscription = session.subscriptions.get(channel);
    if (subscription === undefined) throw new FrameError('not-subscribed', 'not subscribed', channel);
    session.given?.delete(channel);
    this.#joining.end(session, subscription);
  }

  #ack(session: Session, frame: Record<string, unknown>): Promise<void> | undefined {
    const channel = channelOf(frame['channel'], session.user);
    const position = positionOf(frame['position'], wireName(channel));
    const subscription = session.subscriptions.get(channel);
    if (!isInbox(channel) || subscription === undefined) {
      throw new FrameError('bad-ack', 'only the inbox is acknowledged', wireName(channel));
    }
    const { device } = session;
    if (device === undefined) throw new FrameError('bad-ack', 'hello named no device', wireName(channel));
    if (position.offset === 0) return undefined;
    const isKnown = subscription.knows(position);
    if (isKnown === undefined) return this.#ackOld(session, { channel, device, position });
    this.#checkSent(isKnown, channel);
    this.#acknowledge(session, { channel, device, position });
    return undefined;
  }

  /** Of a message that came too long ago to be known here: the store knows it. */
  async #ackOld(session: Session, cursor: Cursor): Promise<void> {
    const { channel, position } = cursor;
    const { top, messages } = await this.#host.router.broker.read(channel, position.offset - 1, 1);
    if (session.isDismissed) return;
    this.#checkSent(position.epoch === top.epoch && position.offset <= top.offset, channel);
    const [entry] = messages;
    // What is no longer retained can't be told from what never was. A cursor there would be of no use.
    if (entry?.offset !== position.offset) return;
    this.#checkSent(entry.id === position.id, channel);
    this.#acknowledge(session, cursor);
  }

  #acknowledge(session: Session, cursor: Cursor): void {
    const { channel, position } = cursor;
    // Said again, it is not counted again.
    if (position.offset > session.acknowledged) {
      const time = session.subscriptions.get(channel)?.timeOf(position);
      this.#host.router.counts.acknowledges(time, timeOfTurn());
    }
    this.#host.router.tracing.acknowledged(channel, cursor.device, position);
    session.acknowledged = position.offset;
    this.#host.acknowledger.add(session, cursor);
  }

  #checkSent(isSent: boolean, channel: string): void {
    if (!isSent) throw new FrameError('bad-ack', 'this was never sent here', wireName(channel));
  }

  async #publish(session: Session, frame: RawFrame, proceed: () => void): Promise<void> {
    const topic = channelOf(frame['channel'], session.user);
    const ref = refOf(frame['ref']);
    const idempotencyKey = idempotencyKeyOf(frame['idempotencyKey']);
    const life = lifeOf(frame, session.user);
    const { data, [DATA]: text } = frame;
    if (text === undefined) throw new FrameError('bad-frame', 'data is missing', wireName(topic));
    const { authorize } = this.#host.rules;
    const isPermitted =
      !isInbox(topic) &&
      (await this.#joining.ask(
        'publish',
        () => authorize.publish?.(session, topic, data),
        wireName(topic),
      )) === true;
    if (!isPermitted) throw new FrameError('forbidden', 'not permitted to publish', wireName(topic));
    // A page that has gone by itself has said it before.
    if (session.isDismissed) return;
    // As it came: numbers may be longer than JavaScript's.
    const asItCame = new JsonText(text, true);
    const stored = this.#host.publish(
      topic,
      asItCame,
      idempotencyKey === undefined ? life : { ...life, idempotencyKey },
    );
    // The store keeps the order in which it is given messages.
    proceed();
    const { duplicate, ...position } = await stored.catch((error) => {
      // Trying again would not help.
      const isUnfit = error instanceof TypeError || error instanceof RangeError;
      throw isUnfit ? new FrameError('bad-frame', error.message, topic) : error;
    });
    const answer = { type: 'published', channel: topic, ...wirePosition(position), duplicate } as const;
    session.sendFrame(ref === undefined ? answer : { ...answer, ref });
  }

  async #renew(session: Session, frame: Record<string, unknown>): Promise<void> {
    try {
      await this.#host.renew(ticketOf(frame['ticket']), session);
    } catch (error) {
      this.#refuse(session, frame, error);
      // Not only the frame: the page shows what is not its user's.
      if (error instanceof FrameError && error.code === 'forbidden') {
        this.#host.dismiss(session, CloseCode.FORBIDDEN, error.message);
      }
    }
  }
}
