/**
 * One session's part in one channel: finds where it begins, reads the log up to the channel's place as
 * fast as the session takes it, and is live from then on.
 */
import { isUnusable, type Position } from '../../pubsub/store/broker.ts';
import type { Counts } from '../../pubsub/store/marks.ts';
import { Queue } from '../../queue.ts';
import { timeOfTurn } from '../../server/tick.ts';
import { dropWaiting, type Transport } from '../../server/transport.ts';
import { isInbox } from '../talk/names.ts';
import type { ChannelState, WirePosition } from '../talk/wire.ts';
import type { Subscriber } from './audience.ts';
import type { Channel } from './channel.ts';
import { follow, isSame, type Judgement, judge } from './judge.ts';
import type { OutgoingPage } from './log-page.ts';
import { type Outgoing, type OutgoingTransient, wirePosition } from './outgoing.ts';
import type { Pacer } from './pacer.ts';
import type { ChannelRouter } from './router.ts';
import type { TopicOptions } from './topic-options.ts';

const DEFAULT_KEEP = 100;

/** Who gets what a subscription brings: a session. */
export interface Recipient {
  readonly id: string;
  readonly user: string;
  readonly device: string | undefined;
  readonly transport: Transport;
  readonly isTidings: boolean;
  /** Bytes that wait for it to be read. */
  readonly bufferedAmount: number;
  /** Of these, how many may wait before recovery and lossy topics do. */
  readonly busy: number;
  /** False where nothing was written. */
  sendMessage(message: Outgoing): boolean;
  sendTransient(message: OutgoingTransient): void;
  /** The channel begins anew, because something was lost. */
  gap(channel: string, state: ChannelState): void;
  /** The state of a channel's messages, as a frame of `tidings.1`. */
  sendState(frame: string): void;
  /** Whether it is told how many messages of its inbox are unread: in plain mode, where the server is set to it. */
  readonly wantsCounts: boolean;
  sendCounts(counts: Counts): void;
  /** A subscription has become live. */
  caughtUp(): void;
  /** A subscription that had begun has ended, as its channel can't be used any more. */
  unusable(channel: string, error: Error): void;
}

export interface Start {
  position?: Position;
  start?: 'now' | 'retained';
  /** The version of the state that the page says it has. */
  version?: WirePosition | undefined;
}

/** Where the log begins, whatever its epoch. */
const ORIGIN: Position = { epoch: '', offset: 0, id: '' };

const NONE: readonly Outgoing[] = [];

export class Subscription implements Subscriber {
  place: Subscriber['place'] = 'behind';
  readonly channel: Channel;
  readonly transport: Transport;
  readonly isShared: boolean;
  /** It has ended, as the session has begun the channel anew. */
  isReplaced = false;
  readonly #recipient: Recipient;
  readonly #router: ChannelRouter;
  readonly #pacer: Pacer;
  readonly #options: TopicOptions;
  /** The last message sent, while not live: then it is where the channel is. */
  #position: Position = ORIGIN;
  /** Read at the beginning, to be sent after the client was told where it begins. */
  #held: readonly Outgoing[] = NONE;
  /** On a lossy topic: what waits for the session to read. */
  #pending: Queue<Outgoing> | undefined;
  /** When the newest message that the session was sent was stored, in milliseconds since 1970. */
  #lastTime = 0;
  /** The offset of the first message that was sent, since there was a gap. */
  #firstSent = 0;
  /**
   * A plain page has no ids by which to drop what a log that has rewound brings again: what was stored until
   * then is not sent to it a second time.
   */
  #seenUntil = 0;
  /**
   * Where `now` begins: where the channel was when the subscription was made, or, where that was not known, before what
   * this instance has stored since.
   */
  #anchor: Position | undefined;
  #atClose: (() => void)[] | undefined;
  #begun: Promise<ChannelState> | undefined;
  /** The channel's `finding` when the log was last read. */
  #readIn = -1;
  /** How many times the channel had told its state when the session was last told; one that is shared: until it fell behind. */
  #told = 0;
  #isClosed = false;

  constructor(
    recipient: Recipient,
    name: string,
    router: ChannelRouter,
    pacer: Pacer,
    options: TopicOptions,
  ) {
    this.#recipient = recipient;
    this.#router = router;
    this.#pacer = pacer;
    this.#options = options;
    this.transport = recipient.transport;
    // An inbox has few pages, which get their messages at once and not at the end of the turn.
    const canBeShared = recipient.isTidings && !isInbox(name) && !this.#isLossy;
    this.isShared = canBeShared && router.fanOut?.reaches(recipient.transport) === true;
    this.channel = router.acquire(name);
    this.channel.add(this);
    this.#anchor = this.channel.isLive ? this.channel.position : undefined;
  }

  get isLive(): boolean {
    return this.place !== 'behind';
  }

  /** The last message that the session has, or is about to get. */
  get position(): Position {
    return this.place === 'live' ? this.channel.position : this.#position;
  }

  /**
   * Whether it is a message of the channel, as its id says; `undefined` where that is not known here. Whether it was sent by
   * this subscription does not matter: an earlier one, or another page of the device, may have had it.
   */
  knows(position: Position): boolean | undefined {
    const { epoch, offset, id } = this.position;
    if (position.epoch === epoch && position.offset === offset && id !== '') return position.id === id;
    return this.channel.knows(position);
  }

  /**
   * When a message was stored that the session was sent by this subscription, in milliseconds since 1970; undefined for
   * others, and where that is not known any more.
   */
  timeOf(position: Position): number | undefined {
    if (this.#firstSent === 0 || position.offset < this.#firstSent) return undefined;
    const { offset, id } = this.position;
    return position.offset === offset && position.id === id ? this.#lastTime : this.channel.timeOf(position);
  }

  /**
   * Finds the place to begin at. Waits for the store where it is away. `run` sends what follows.
   * Rejects where the channel is unusable: then the subscription is of no use, and to be closed.
   */
  async begin(start: Start): Promise<ChannelState> {
    this.#begun = this.#find(start).then((state) => this.#withState(state, start.version));
    const state = await this.#begun;
    // Sessions stay for hours: nothing is kept that is of no use any more.
    this.#begun = undefined;
    this.#anchor = undefined;
    return state;
  }

  /** Where a subscription that has begun is now, for who asks for it again. */
  async state(): Promise<ChannelState> {
    await this.#begun;
    return this.#withState({ position: wirePosition(this.position), recovered: true }, undefined);
  }

  /** @param version of the state that the page says it has: where it is a later one than is known here, the store is asked */
  async #withState(state: ChannelState, version: WirePosition | undefined): Promise<ChannelState> {
    const states = version === undefined ? this.channel.states : this.channel.needStates();
    for (let attempt = 0; version !== undefined && states?.lacks(version) && !this.#isOver; attempt++) {
      if (await states.ask()) break;
      await this.#router.pause(attempt);
    }
    this.#told = states?.told ?? 0;
    const snapshot = this.#recipient.isTidings ? states?.snapshot(version) : undefined;
    return snapshot === undefined ? state : { ...state, state: snapshot };
  }

  async #find({ position, start }: Start): Promise<ChannelState> {
    await this.channel.ready();
    if (position !== undefined) {
      const state = await this.#continueFrom(position);
      const { counts } = this.#router;
      counts.recoveries[state.reason ?? 'recovered']++;
      if (state.reason !== undefined) counts.gaps[state.reason]++;
      return state;
    }
    if (start === 'retained') {
      const { position: from } = await this.#continueFrom(ORIGIN);
      return { position: from, recovered: true };
    }
    // What was sent since, to greet it, belongs to it.
    const anchor = this.#anchor;
    const isThere = anchor === undefined || (this.channel.isLive && isSame(anchor, this.channel.position));
    if (!isThere) return this.#continueFrom(anchor);
    this.#position = this.channel.position;
    return { position: wirePosition(this.#position), recovered: true };
  }

  async #continueFrom(position: Position): Promise<ChannelState> {
    this.#position = position;
    // A live channel's place came from the store: being there needs no other proof.
    if (!this.channel.isLive || position.offset === 0 || !isSame(position, this.channel.position)) {
      const judgement = await this.#read(this.#isAnchored ? follow : judge);
      if (judgement !== undefined) {
        this.#position = judgement.from;
        this.#held = judgement.messages;
        if (judgement.reason !== undefined) {
          const { reason, from } = judgement;
          if (reason === 'rewound') this.channel.tellRewound(from.epoch);
          return { position: wirePosition(from), recovered: false, reason };
        }
      }
    }
    return { position: wirePosition(this.#position), recovered: true };
  }

  /** For a session that can't say where it was. */
  runFromNow(): void {
    this.begin({}).then(
      () => this.run(),
      (error) => this.#fail(error),
    );
  }

  /** Sends what the log has behind the place found, then goes live. */
  run(): void {
    this.#recover().catch((error) => this.#fail(error));
  }

  /** @throws what is no fault of the channel's */
  #fail(error: unknown): void {
    if (!isUnusable(error)) throw error;
    if (!this.#isOver) this.#recipient.unusable(this.channel.name, error);
    this.close();
  }

  async #recover(): Promise<void> {
    let fruitless = 0;
    while (!this.#isOver) {
      if (await this.#sendHeld()) {
        await this.#room();
        await this.channel.ready();
        if (this.#isOver) return;
        if (this.channel.attach(this, this.#position, this.#readIn)) {
          if (this.place === 'live') this.#position = ORIGIN;
          this.tellState();
          if (this.#recipient.wantsCounts) this.#tellCounts();
          this.#recipient.caughtUp();
          return;
        }
      }
      await this.#room();
      // Who reads for a long time is told meanwhile.
      this.tellState();
      const judgement = await this.#read(this.#isAnchored ? follow : judge);
      if (judgement === undefined) return;
      const { reason, from, messages } = judgement;
      this.#position = from;
      this.#held = messages;
      fruitless = messages.length === 0 && reason === undefined ? fruitless + 1 : 0;
      if (reason !== undefined) {
        this.#router.counts.gaps[reason]++;
        this.#firstSent = 0;
        this.#recipient.gap(this.channel.name, { position: wirePosition(from), recovered: false, reason });
        if (reason === 'rewound') {
          this.#seenUntil = this.#lastTime;
          this.channel.tellRewound(from.epoch);
        }
      } else if (fruitless > 1) {
        // The log ends here, but the channel is elsewhere: it must look where it is.
        this.channel.doubt();
        await this.#router.pause(Math.min(fruitless, 4));
      }
    }
  }

  get #isOver(): boolean {
    return this.#isClosed || this.transport.readyState > 1;
  }

  /** A beginning that the server chose, so that there is no id to compare. */
  get #isAnchored(): boolean {
    return this.#position.offset > 0 && this.#position.id === '';
  }

  /** Until the session has taken most of what waits. Nothing is held meanwhile. */
  async #room(): Promise<void> {
    const { bufferedAmount, busy } = this.#recipient;
    if (bufferedAmount >= busy) await this.#pacer.wait(this.transport, busy / 2);
  }

  /** False if the session took too little: the rest is let go, and read again when there is room. */
  async #sendHeld(): Promise<boolean> {
    const held = this.#held;
    this.#held = NONE;
    for (const message of held) {
      const { bufferedAmount, busy } = this.#recipient;
      if (bufferedAmount >= busy) return false;
      // What is big by itself goes when nothing else waits: it is let through then, however big.
      if (message.size >= busy && bufferedAmount > 0) await this.#pacer.wait(this.transport, 1);
      if (message.lookup !== undefined) await message.lookup;
      if (!this.#router.mayDeliver()) {
        await this.#router.untilAllowed(() => this.#isOver);
        return false;
      }
      if (this.#isOver) return false;
      this.#eraseIfGone(message);
      if (this.#recipient.isTidings || message.time > this.#seenUntil) this.#send(message, false);
      this.#position = message.place;
    }
    return true;
  }

  /** Tries until the store answers; `undefined` if the session ends before that. Rejects where it is of no use. */
  async #read(
    verdict: (position: Position, page: OutgoingPage, skip: number) => Judgement<Outgoing>,
  ): Promise<Judgement<Outgoing> | undefined> {
    for (let attempt = 0; !this.#isOver; attempt++) {
      this.#readIn = this.channel.isLive ? this.channel.finding : -1;
      try {
        const page = await this.channel.page(this.#position, this.#isAnchored && verdict === follow);
        return this.#isOver ? undefined : verdict(this.#position, page, 0);
      } catch (error) {
        if (isUnusable(error)) throw error;
        await this.#router.pause(attempt);
      }
    }
    return undefined;
  }

  deliver(message: Outgoing): void {
    if (this.#pending !== undefined) this.#wait(message);
    else if (this.#isLossy && this.#recipient.bufferedAmount >= this.#recipient.busy) {
      this.#pending = new Queue();
      this.#pending.add(message);
      void this.#sendPending();
    } else this.#send(message, true);
  }

  #send(message: Outgoing, isLive: boolean): void {
    // Encoded before it is looked whether it may leave, so that nothing takes time in between.
    if (this.#recipient.isTidings) void message.wire;
    if (!this.#router.mayDeliver()) {
      // In the middle of a turn: the page gets it when it is back.
      if (!this.transport[dropWaiting](true)) this.transport.terminate();
      return;
    }
    const { time } = message;
    this.#lastTime = time;
    if (this.#firstSent === 0) this.#firstSent = message.offset;
    if (this.#recipient.sendMessage(message)) {
      const { counts, tracing } = this.#router;
      if (message.trace !== undefined) tracing.delivered(this.channel.name, message, this.#recipient, isLive);
      if (isLive) counts.wroteLive(time, timeOfTurn(), 1);
      else counts.wroteFromLog(time, timeOfTurn());
    }
    if (this.#recipient.wantsCounts && this.place === 'live') this.#tellCounts();
  }

  tellState(): void {
    const { states } = this.channel;
    if (states === undefined || states.told === this.#told || this.#pending !== undefined) return;
    if (this.#isOver || !this.#router.mayDeliver()) return;
    const frame = this.#recipient.isTidings ? states.wire(this.#told) : undefined;
    this.#told = states.told;
    if (frame !== undefined) this.#recipient.sendState(frame);
    else if (this.#recipient.wantsCounts && this.place === 'live') this.#tellCounts();
  }

  #tellCounts(): void {
    const counts = isInbox(this.channel.name) ? this.channel.states?.counts : undefined;
    if (counts !== undefined && this.#router.mayDeliver()) this.#recipient.sendCounts(counts);
  }

  get #isLossy(): boolean {
    return this.#options.overflow !== undefined && this.#options.overflow !== 'close';
  }

  #wait(message: Outgoing): void {
    const keep = this.#options.overflow === 'conflate' ? 1 : (this.#options.keep ?? DEFAULT_KEEP);
    const pending = this.#pending!;
    pending.add(message);
    if (pending.length <= keep) return;
    pending.take();
    this.#router.counts.dropped.overflow++;
  }

  async #sendPending(): Promise<void> {
    await this.#pacer.wait(this.transport, this.#recipient.busy / 2);
    await this.#router.untilAllowed(() => this.#isOver);
    const pending = this.#pending ?? NONE;
    this.#pending = undefined;
    if (this.#isOver) return;
    for (const message of pending) {
      this.#eraseIfGone(message);
      this.deliver(message);
    }
    this.tellState();
  }

  /** It may have been withdrawn while it waited. */
  #eraseIfGone(message: Outgoing): void {
    if (this.channel.states?.isGone(message) === true) message.erase();
  }

  /** The session's outbox is full: nothing is queued for it any more. What skips does so by itself. */
  fallBehind(): void {
    if (!this.#isLossy) this.channel.fallBehind(this);
  }

  transient(message: OutgoingTransient): void {
    if (this.#router.mayDeliver()) this.#recipient.sendTransient(message);
  }

  stored({ epoch, offset }: Position): void {
    this.#anchor ??= { epoch, offset: offset - 1, id: '' };
  }

  demoted(position: Position): void {
    this.#position = position;
    if (this.isShared) this.#told = this.channel.states?.told ?? 0;
    this.run();
  }

  /** Another one takes its place. */
  replace(): void {
    this.isReplaced = true;
    this.close();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#held = NONE;
    this.channel.remove(this);
    this.#router.release(this.channel);
    for (const call of this.#atClose ?? []) call();
  }

  /** Calls once it has ended. */
  whenClosed(call: () => void): void {
    this.#atClose ??= [];
    this.#atClose.push(call);
  }
}
