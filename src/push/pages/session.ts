/**
 * One open page: a transport, whose user is known, in plain mode or `tidings.1`. Whatever goes to the page
 * goes through here, so that its outbox stays within bounds.
 */
import type { Counts } from '../../pubsub/store/marks.ts';
import { type Attributes, sendSoon, type Transport } from '../../server/transport.ts';
import { SmallMap } from '../../small.ts';
import type { DeliveryCounts } from '../delivery/delivery-counts.ts';
import { encodeFrame, type Frame, type Outgoing, OutgoingTransient } from '../delivery/outgoing.ts';
import type { Recipient, Subscription } from '../delivery/subscription.ts';
import { encodeData } from '../payload.ts';
import type { FrameQueue } from '../talk/frame-queue.ts';
import { inboxOf, isInbox, wireName } from '../talk/names.ts';
import { type ChannelState, CloseCode, type ServerFrame, SUBPROTOCOL, type Validity } from '../talk/wire.ts';
import { type Claims, ClaimsError } from './claims.ts';
import type { Slowness } from './session-counts.ts';

/** Bytes around a short frame on the wire, at the most. */
const AROUND = 16;
/** Recovery and lossy topics write while less than this waits for a session, in bytes. */
const BUSY = 256 * 1024;

/** Who knows what may be said of a session, and ends it in time. */
export interface LoginKeeper {
  claims(attributes: Attributes): Claims | undefined;
  watch(session: Session): void;
  /** Other topics are named than before. */
  reassign(session: Session, before: readonly string[], now: readonly string[]): void;
}

/** The application is asked whether a session may have a topic. */
export interface Inquiry {
  readonly topic: string;
  /** The topic was taken from the user meanwhile: whatever the answer is, it came too late. */
  isOver: boolean;
}

/** Who looks after sessions. */
export interface SessionHost {
  /** Whether this instance knows of all that is to end: otherwise pages are told nothing. */
  mayDeliver(): boolean;
  /** Whether pages in plain mode are told how many messages are unread. */
  readonly plainCounts: boolean;
  readonly deliveries: DeliveryCounts;
  /** It is too slow, and to be closed. */
  tooSlow(session: Session, how: Slowness, reason: string): void;
  /** Its outbox is full. Told again, it has taken something in between. */
  filled(session: Session): void;
}

/** An open page, or another client: what `handler` gets, and `push.localSessions()` lists. */
export class Session implements Recipient {
  /** Unique over all instances. */
  readonly id: string;
  /** The user's name. */
  readonly user: string;
  /** The client's address, as trusted proxies tell it. */
  readonly address: string;
  /** Milliseconds since 1970. */
  readonly since = Date.now();
  /** What it is carried by: a WebSocket, or a SockJS session. */
  readonly transport: Transport;
  /** Whether it speaks `tidings.1`; otherwise plain mode. */
  readonly isTidings: boolean;
  /** The client's own id, known after its `hello`. */
  device: string | undefined;
  readonly #logins: LoginKeeper;
  #login: string | undefined;
  #expires: number | undefined;
  /** @internal Seconds of the monotonic clock at which its login is over, as its keeper counts them. */
  due = 0;
  /** @internal By the broker's channel name; the inbox is one of them. */
  readonly subscriptions = new SmallMap<string, Subscription>();
  /** @internal Topics that the application has given to it. */
  given: Set<string> | undefined;
  /** @internal Topics about which the application is being asked. */
  inquiries: Set<Inquiry> | undefined;
  /** @internal */
  phase: 'new' | 'greeting' | 'open' | 'closed' = 'new';
  /** @internal With what it was closed from here. */
  ending: { readonly code: number; readonly reason: string } | undefined;
  /** @internal It was sent away: nothing that it has said is obeyed any more. */
  isDismissed = false;
  /** @internal What it has sent and is not obeyed yet. */
  readonly frames: FrameQueue;
  /** @internal Bytes that wait for it from which on nothing is read for it. */
  readonly busy: number;
  /** @internal The offset up to which this very page has acknowledged its inbox. */
  acknowledged = 0;
  /** What it is to be told, but not at once. */
  #owed: string | undefined;
  #owedBy = 0;
  readonly #outboxLimit: number;
  readonly #host: SessionHost;
  /** @internal Its outbox was full, and is not empty enough yet. */
  isFull = false;
  /** Bytes written while the outbox was over its limit. */
  #beyond = 0;
  /** Sent before `welcome`, which comes first. */
  #early: OutgoingTransient[] | undefined;
  #earlyBytes = 0;
  /** Was told that the store is away. */
  #isBehind = false;
  /** @internal See IntakePace: until when it has spent its budget. */
  framesUntil = 0;
  /** @internal See IntakePace. */
  bytesUntil = 0;
  /** @internal See IntakePace. */
  isHeldUp = false;
  /** How many of its frames wait for a turn of the event loop. */
  queued = 0;

  /** @internal */
  constructor(
    id: string,
    user: string,
    address: string,
    transport: Transport,
    outboxLimit: number,
    frames: FrameQueue,
    logins: LoginKeeper,
    host: SessionHost,
  ) {
    this.id = id;
    this.user = user;
    this.#logins = logins;
    this.#login = transport.attributes.login;
    this.#expires = transport.attributes.expires;
    this.address = address;
    this.transport = transport;
    this.isTidings = transport.protocol === SUBPROTOCOL;
    this.#outboxLimit = outboxLimit;
    this.busy = Math.min(BUSY, Math.ceil(outboxLimit / 4));
    this.frames = frames;
    this.#host = host;
  }

  /** What interceptors have said of it. */
  get attributes(): Attributes {
    return this.transport.attributes;
  }

  /** The id of the user's login or session at the application, where an interceptor has named it. */
  get login(): string | undefined {
    return this.#login;
  }

  /** When its login ends, in milliseconds since 1970; undefined: not by itself. */
  get expires(): number | undefined {
    return this.#expires;
  }

  /** Bytes that wait for the page to read them. */
  get bufferedAmount(): number {
    return this.transport.bufferedAmount;
  }

  /**
   * To this page only, and at most once: nothing is stored. A page in `tidings.1` gets it after its `welcome`.
   * While the store is away for longer than a lease it is dropped: the session may have been ended elsewhere.
   *
   * @throws {TypeError} for what JSON has no form of
   */
  send(data: unknown): void {
    const { bytes } = encodeData(data);
    if (this.#host.mayDeliver()) this.sendTransient(new OutgoingTransient(inboxOf(this.user), bytes));
  }

  /**
   * Says anew by which login it is, and until when: another `expires`, or none for no end by itself. A login, topics and
   * other attributes that are not named stay as they were. A page in `tidings.1` is told.
   *
   * @throws {TypeError} for another user, or what can't be
   */
  renew(said: Attributes): void {
    const claims = this.#logins.claims({ ...said, user: said.user ?? this.user });
    if (claims?.user !== this.user) throw new ClaimsError('a session stays that of its user');
    if (this.phase === 'closed') return;
    const { login = this.#login, expires, topics } = claims;
    const { topics: before = [] } = this.attributes;
    Object.assign(this.attributes, said, { user: this.user, login, expires });
    if (topics !== undefined) this.attributes.topics = topics;
    this.#login = login;
    this.#expires = expires;
    this.#logins.watch(this);
    if (this.isTidings && this.phase === 'open') this.sendFrame({ type: 'renewed', ...this.validity() });
    if (topics !== undefined) this.#logins.reassign(this, before, topics);
  }

  /** @internal Until when it may stay, as frames say it. */
  validity(): Validity {
    const expires = this.#expires;
    return expires === undefined ? {} : { expires, expiresIn: Math.max(0, expires - Date.now()) };
  }

  /** Ends this session. With a code of 4500 to 4999 a page does not come back by itself. */
  close(code = 1000, reason = ''): void {
    this.ending ??= { code, reason };
    this.transport.close(code, reason);
  }

  /** Cuts the connection. */
  terminate(): void {
    this.transport.terminate();
  }

  /** @internal */
  sendMessage(message: Outgoing): boolean {
    const frame = this.isTidings ? message.wire : message.plain;
    return frame !== undefined && this.write(frame);
  }

  /** @internal */
  sendState(frame: string): void {
    this.write(frame);
  }

  /** @internal */
  get wantsCounts(): boolean {
    return !this.isTidings && this.#host.plainCounts;
  }

  /** @internal */
  sendCounts({ unseen, unread, all }: Counts): void {
    this.write(`{"type":"counts","unseen":${unseen},"unread":${unread},"all":${all}}`);
  }

  /** @internal */
  sendTransient(message: OutgoingTransient): void {
    if (this.isTidings && this.phase !== 'open') {
      this.#keep(message);
      return;
    }
    // What no log keeps is dropped, and leaves the way to what waits in the log.
    if (this.transport.bufferedAmount > (this.isFull ? this.busy : this.#outboxLimit)) {
      this.#host.deliveries.dropped.transient++;
      return;
    }
    if (this.write(this.isTidings ? message.wire : message.plain)) this.#host.deliveries.transient++;
  }

  /** Who says hello late, or never, holds no more than who reads too slowly. */
  #keep(message: OutgoingTransient): void {
    if (this.phase === 'closed') return;
    if (this.#earlyBytes > this.#outboxLimit) {
      this.#host.tooSlow(this, 'hello', 'too much waits for its hello');
      return;
    }
    this.#early ??= [];
    this.#early.push(message);
    this.#earlyBytes += message.wire.length;
  }

  /** @internal It was sent its `welcome`. */
  welcomed(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const message of early) this.sendTransient(message);
  }

  /** @internal */
  sendFrame(frame: ServerFrame): void {
    this.write(encodeFrame(frame));
  }

  /** @internal */
  gap(channel: string, state: ChannelState): void {
    if (this.isTidings) this.sendFrame({ type: 'gap', channel: wireName(channel), ...state });
  }

  /** @internal The store is away. */
  fallBehind(): void {
    if (this.#isBehind || !this.isTidings) return;
    this.#isBehind = true;
    this.sendFrame({ type: 'status', behind: true });
  }

  /** @internal Something has caught up; tells the page once everything has. */
  caughtUp(): void {
    if (!this.#isBehind || this.phase !== 'open') return;
    for (const subscription of this.subscriptions.values()) if (!subscription.isLive) return;
    this.#isBehind = false;
    this.sendFrame({ type: 'status', behind: false });
  }

  /** @internal Without its inbox a page is of no use to its user: it comes again until somebody has mended it. */
  unusable(channel: string): void {
    this.subscriptions.get(channel)?.close();
    this.subscriptions.delete(channel);
    const message = 'the store can not read this channel until it was repaired';
    if (this.isTidings)
      this.sendFrame({ type: 'error', code: 'damaged', message, channel: wireName(channel) });
    if (isInbox(channel)) this.close(CloseCode.DAMAGED, message);
  }

  /**
   * @internal Leaves with the next frame, or with `pay`. The newest alone is owed.
   *
   * @param by a number of the caller's, for `pay`, where nothing is owed yet
   * @returns whether nothing was owed before
   */
  owe(frame: string, by: number): boolean {
    const isFirst = this.#owed === undefined;
    this.#owed = frame;
    if (isFirst) this.#owedBy = by;
    return isFirst;
  }

  /** @internal What was owed by `by`, unless that was paid. */
  pay(by = this.#owedBy): void {
    if (by !== this.#owedBy) return;
    const { transport } = this;
    const frame = this.#owed;
    this.#owed = undefined;
    // What can be said again by the next one makes no slow page slower.
    if (frame === undefined || transport.readyState !== 1 || transport.bufferedAmount > this.#outboxLimit)
      return;
    if (transport[sendSoon] === undefined) transport.send(frame);
    else transport[sendSoon](frame);
  }

  /**
   * @internal What fills the outbox is let through, however big; messages don't come any more then. Of what else there
   * is to say, such as answers, there may be as much again. False where it is not written.
   */
  write(frame: Frame): boolean {
    const { transport } = this;
    if (this.#owed !== undefined) this.pay();
    if (transport.readyState !== 1) return false;
    if (transport.bufferedAmount > this.#outboxLimit) {
      this.#beyond += frame.length + AROUND;
      const isTooMuch = this.#beyond > this.#outboxLimit;
      if (isTooMuch) this.#host.tooSlow(this, 'answers', 'the page reads too slowly');
      else transport.send(frame);
      return !isTooMuch;
    }
    this.#beyond = 0;
    transport.send(frame);
    if (transport.bufferedAmount > this.#outboxLimit) this.overflow();
    return true;
  }

  /** @internal More waits than may: its subscriptions go on from the log when there is room again. */
  overflow(): void {
    if (this.phase === 'closed') return;
    for (const subscription of this.subscriptions.values()) subscription.fallBehind();
    this.#host.filled(this);
  }

  /** @internal */
  end(): void {
    this.phase = 'closed';
    this.#early = undefined;
    this.#owed = undefined;
    for (const subscription of this.subscriptions.values()) subscription.close();
    this.subscriptions.clear();
  }
}
