/**
 * One channel on one instance, while somebody here needs it: its subscription at the broker, where its
 * live messages stand, and who gets them.
 *
 * The log is the truth and the live message only the doorbell: messages are passed on while their offsets
 * follow one another. At any gap or doubt all subscribers go back to the log, each from where it is, and
 * the channel takes the log's top as its new place; a subscriber that reaches the channel's place is live
 * again.
 */
import {
  type Cursor,
  isUnusable,
  type Opening,
  type Position,
  type StoredMessage,
} from '../../pubsub/store/broker.ts';
import { leadsTo } from '../../pubsub/store/epochs.ts';
import type { Marked } from '../../pubsub/store/marks.ts';
import { Queue } from '../../queue.ts';
import { ChannelStates, type StatesHost, type StatesOwner } from '../inbox/channel-states.ts';
import { isInbox } from '../talk/names.ts';
import { Audience, type AudienceHost, type Subscriber } from './audience.ts';
import { HeldMessages } from './held-messages.ts';
import { isSame, judge, readOffset } from './judge.ts';
import { type LogHost, type OutgoingPage, readPage } from './log-page.ts';
import { Outgoing, type OutgoingTransient } from './outgoing.ts';
import { RecentIds } from './recent-ids.ts';

/** What a channel needs of the router. */
export interface ChannelHost extends AudienceHost, LogHost, StatesHost {
  /** Whether what comes from the store may go to pages at this moment. Where not, the channel has been told to doubt. */
  mayDeliver(): boolean;
  /** Where the channel stands, and what its devices have. */
  opening(channel: string): Promise<Opening>;
  /** Resolves after `attempt`-dependent backoff, or at once when the store has come back. */
  pause(attempt: number): Promise<void>;
  /** Pages were told that they can't go on, as the log is another one. */
  rewound(channel: string): void;
}

/**
 * - `finding`: subscribing, or asking for the log's top; live messages wait.
 * - `live`: messages are passed on.
 * - `verifying`: an offset came again; live messages wait while the log is asked whether it has rewound.
 * - `unusable`: what the store keeps of it can't be read, and nobody waits for it; whoever asks again, looks again.
 */
type State = 'finding' | 'live' | 'verifying' | 'unusable' | 'closed';

/** Most channels never need one of their own. */
const NONE: never[] = [];
Object.freeze(NONE);
const NOTHING_HELD = { messages: NONE, before: 0 };
const READY = Promise.resolve();

export class Channel implements StatesOwner {
  readonly name: string;
  /** Of its messages: there for an inbox once it has its place, for a topic once there is something to know. */
  states: ChannelStates | undefined;
  /** How many need the channel here. At 0 the router lets it go after a while. */
  users = 0;
  /** When the last one left, in milliseconds of the monotonic clock. */
  idleSince = 0;
  /** Whether a message came since the router last looked. */
  isBusy = false;
  /** How many times the channel has taken its place from the log. */
  finding = 0;
  readonly #host: ChannelHost;
  readonly #audience: Audience;
  #state: State = 'finding';
  /** Who waits for the channel to have its place. */
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = NONE;
  /** A doubt arose while the channel was finding its place: once more. */
  #again = false;
  /** The last message taken up. */
  #head: Position = { epoch: '', offset: 0, id: '' };
  /** The last message handed to the live subscribers: behind `#head` while references are looked up. */
  #delivered: Position = this.#head;
  /** Messages that wait for the one in front to be resolved. */
  #queue: Queue<Outgoing> | undefined;
  /** Live messages that wait while the channel finds its place. */
  #held: HeldMessages | undefined;
  /** Of the last messages up to `#head`. */
  #recent: RecentIds | undefined;
  #cursors: Cursor[] | undefined;
  /** Came while the channel was not live. */
  #marked: Marked | undefined;
  /** The message that has to be delivered before the state is told, as it was there before the change. */
  #toldBehind: number | undefined;
  /** Reads under way, by where they begin. */
  #pages: Map<string, Promise<OutgoingPage>> | undefined;
  /** The epoch of which pages were told that they can't go on in it. */
  #toldEpoch: string | undefined;

  constructor(name: string, host: ChannelHost) {
    this.name = name;
    this.#host = host;
    this.#audience = new Audience(name, host);
    this.#beginFinding();
    void this.#find(true);
  }

  /** Where live subscribers are. Only meaningful after `ready`. */
  get position(): Position {
    return this.#delivered;
  }

  /**
   * What the channel's devices have, where that was asked when the channel took its place, and none has moved since. Once:
   * whoever comes later asks the store.
   */
  takeCursors(): Cursor[] | undefined {
    const cursors = this.#cursors;
    this.#cursors = undefined;
    return cursors;
  }

  /** A device has acknowledged something. */
  acknowledged(): void {
    this.#cursors = undefined;
  }

  /** A page was told that the log has this epoch now, and not what it knew. */
  tellRewound(epoch: string): void {
    if (this.#toldEpoch === epoch) return;
    this.#toldEpoch = epoch;
    this.#host.rewound(this.name);
  }

  /** Whether this is the message that had this offset; `undefined` for one that came too long ago. */
  knows({ epoch, offset, id }: Position): boolean | undefined {
    return epoch === this.#head.epoch ? this.#recent?.knows(offset, id) : undefined;
  }

  /** When this message was stored, in milliseconds since 1970; `undefined` for one that came too long ago. */
  timeOf({ epoch, offset, id }: Position): number | undefined {
    return epoch === this.#head.epoch ? this.#recent?.timeOf(offset, id) : undefined;
  }

  /**
   * Resolves when the subscription is in force and the channel has its place in the log. Rejects where the channel is
   * unusable (`isUnusable`); asked again, it looks whether it still is.
   */
  ready(): Promise<void> {
    if (this.#state === 'unusable') {
      this.#beginFinding();
      void this.#find(false);
    }
    if (this.#state !== 'finding') return READY;
    return new Promise((resolve, reject) => {
      if (this.#waiting === NONE) this.#waiting = [];
      this.#waiting.push({ resolve, reject });
    });
  }

  get isLive(): boolean {
    return this.#state === 'live' || this.#state === 'verifying';
  }

  /** From here on the subscriber gets transient messages; live ones after `attach`. */
  add(subscriber: Subscriber): void {
    subscriber.place = 'behind';
    this.#audience.add(subscriber);
  }

  remove(subscriber: Subscriber): void {
    this.#audience.setPlace(subscriber, 'behind');
    this.#audience.delete(subscriber);
  }

  /**
   * Makes a subscriber live that has everything up to `position`, if that is where the channel is. A
   * position further on becomes live when its message arrives; but only where it was read from the log
   * since the channel took its place (`finding`), because in a log that has rewound it would never come.
   */
  attach(subscriber: Subscriber, position: Position, finding: number): boolean {
    if (!this.isLive) return false;
    // Who begins has been told.
    this.#cursors = undefined;
    const { epoch, offset } = this.#delivered;
    if (isSame(position, this.#delivered)) this.#audience.setPlace(subscriber, 'live');
    else if (finding === this.finding && position.epoch === epoch && position.offset > offset) {
      this.#audience.setPlace(subscriber, position);
    } else return false;
    return true;
  }

  /** A subscriber can't be handed more for now: it reads the log from where it is. */
  fallBehind(subscriber: Subscriber): void {
    const { place } = subscriber;
    if (place === 'behind') return;
    this.#audience.setPlace(subscriber, 'behind');
    subscriber.demoted(place === 'live' ? this.#delivered : place);
  }

  /** The log behind `position`, beginning with the entry at it. Subscribers at one place share the read. */
  page(position: Position, isAnchor: boolean): Promise<OutgoingPage> {
    // Not by where the read begins: what is read behind position 1 is not all that position 0 needs.
    const key = `${position.offset}${isAnchor ? '+' : ''}`;
    let page = this.#pages?.get(key);
    if (page === undefined) {
      page = this.#host.bounded(() => readPage(this.#host, this.name, position, isAnchor));
      this.#pages ??= new Map();
      this.#pages.set(key, page);
      const own = page;
      const forget = (): void => {
        if (this.#pages?.get(key) !== own) return;
        this.#pages.delete(key);
        if (this.#pages.size === 0) this.#pages = undefined;
      };
      page.then(forget, forget);
    }
    return page;
  }

  /** A stored message, as the broker's doorbell brought it. */
  receive(message: StoredMessage): void {
    this.isBusy = true;
    if (this.#state === 'live' && this.#follows(message)) this.#accept(message);
    else if (this.#state === 'unusable') return;
    else if (this.#state !== 'live') this.#keep(message);
    else if (!this.#isKnown(message)) {
      this.#keep(message);
      this.#suspect(message);
    }
  }

  /** This instance has stored this message. */
  stored(position: Position): void {
    if (this.isLive) return;
    for (const subscriber of this.#audience) subscriber.stored(position);
  }

  /** What the channel's marks are now, as the broker's doorbell brought it: in its place among the messages. */
  receiveMarks(marked: Marked): void {
    if (this.#state === 'closed' || this.#state === 'unusable') return;
    const { epoch, offset } = marked.top;
    const isMissing = offset > this.#head.offset || (offset > 0 && epoch !== this.#head.epoch);
    if (this.#state === 'live' && !isMissing) this.#statesFor(marked)?.heard(marked);
    else {
      this.#marked = marked;
      if (this.#state === 'live') this.doubt();
    }
  }

  receiveTransient(message: OutgoingTransient): void {
    for (const subscriber of this.#audience) subscriber.transient(message);
  }

  /** The store says that its newest position is this one. */
  compare(top: Position): void {
    if (this.#state === 'live' && !isSame(this.#head, top)) this.#suspect(top);
  }

  /** Messages may be missing: everybody back to the log. */
  doubt(): void {
    if (this.#state === 'closed' || this.#state === 'unusable') return;
    if (this.#state === 'finding') {
      this.#again = true;
      return;
    }
    this.#host.counts.doubts++;
    this.#beginFinding();
    this.#cursors = undefined;
    this.#queue = undefined;
    this.#toldBehind = undefined;
    for (const subscriber of this.#audience) this.fallBehind(subscriber);
    void this.#find(false);
  }

  /** Live pages are told at once, or behind what came before; all others when they are live. */
  stateChanged(): void {
    if (this.#queue?.length) this.#toldBehind ??= this.#head.offset;
    else if (this.#state === 'live') this.#tellState();
  }

  #tellState(): void {
    this.#toldBehind = undefined;
    const { states } = this;
    if (states?.isOwed !== true || states.mustRest(() => this.stateChanged())) return;
    this.#audience.tellState(states);
  }

  /** Most topics never need any. */
  #statesFor({ marks }: Marked): ChannelStates | undefined {
    const isOfUse = isInbox(this.name) || marks.version.offset > 0 || marks.next !== undefined;
    return isOfUse ? this.needStates() : this.states;
  }

  /** Those of a topic as well. What they are is not known at first. */
  needStates(): ChannelStates {
    this.states ??= new ChannelStates(this, this.#host);
    return this.states;
  }

  close(): void {
    this.states?.close();
    this.#state = 'closed';
    this.#held = undefined;
    this.#queue = undefined;
    this.#tellWaiting(undefined);
  }

  #beginFinding(): void {
    this.#state = 'finding';
  }

  #tellWaiting(error: Error | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = NONE;
    for (const { resolve, reject } of waiting) {
      if (error === undefined) resolve();
      else reject(error);
    }
  }

  /** Subscribes, takes the log's top as the channel's place, and goes on with what came meanwhile. */
  async #find(isNew: boolean): Promise<void> {
    let mustSubscribe = isNew;
    for (let attempt = 0; this.#state === 'finding'; attempt++) {
      this.#again = false;
      try {
        if (mustSubscribe) await this.#host.broker.subscribe(this.name);
        mustSubscribe = false;
        const opening = await this.#host.opening(this.name);
        const marked = opening.marked ?? (await this.#host.broker.marks(this.name));
        if (!this.#host.mayDeliver()) await this.#host.pause(attempt);
        else if (this.#state === 'finding' && !this.#again) this.#take(opening, marked);
      } catch (error) {
        if (isUnusable(error)) this.#give(error);
        else await this.#host.pause(attempt);
      }
    }
    this.#tellWaiting(undefined);
  }

  /** Who waits for the channel is told, and all others, as they went back to the log before. */
  #give(error: Error): void {
    if (this.#state !== 'finding') return;
    this.#state = 'unusable';
    this.#held = undefined;
    this.#tellWaiting(error);
  }

  #take({ top, cursors }: Opening, marked: Marked): void {
    // Only a page that comes wants them.
    if (this.finding === 0) this.#cursors = cursors;
    const isAnew = this.#head.offset > 0 && this.#head.epoch !== top.epoch;
    if (!isSame(this.#head, top)) this.#recent = undefined;
    this.finding++;
    this.#pages = undefined;
    this.#head = top;
    this.#delivered = top;
    this.#learn(marked, isAnew);
    const held = this.#held?.messages ?? NONE;
    this.#held = undefined;
    for (const [i, message] of held.entries()) {
      // What came before the top was read is in the log, and in no subscriber's way.
      if (message.epoch === top.epoch && message.offset <= top.offset) continue;
      if (this.#follows(message)) this.#accept(message);
      else if (!this.#isKnown(message)) {
        for (const rest of held.slice(i + 1)) this.#keep(rest);
        return;
      }
    }
    this.#state = 'live';
    this.stateChanged();
  }

  /** @param asked what the store said with the channel's place. A doorbell that came meanwhile may know more, or less */
  #learn(asked: Marked, isAnew: boolean): void {
    const heard = this.#marked;
    this.#marked = undefined;
    this.#statesFor(asked)?.learn(asked, isAnew);
    if (heard !== undefined) this.#statesFor(heard)?.heard(heard);
  }

  /** Something that does not follow: an offset that came again, or a gap. */
  #suspect(position: Position): void {
    const isAgain = position.epoch === this.#head.epoch && position.offset <= this.#head.offset;
    if (isAgain) void this.#verify();
    else this.doubt();
  }

  /** Either doorbells were late, which is harmless, or the store has rewound and counts again. */
  async #verify(): Promise<void> {
    this.#state = 'verifying';
    this.#held?.asked();
    const head = this.#head;
    const hasRewound = await this.#host
      .bounded(() => this.#host.broker.read(this.name, readOffset(head), 1))
      .then(
        (page) => judge(head, page).reason !== undefined,
        () => true,
      );
    if (!this.#host.mayDeliver() || this.#state !== 'verifying') return;
    if (hasRewound) this.doubt();
    else this.#resume();
  }

  #resume(): void {
    this.#state = 'live';
    const { messages, before } = this.#held ?? NOTHING_HELD;
    this.#held = undefined;
    for (const [i, message] of messages.entries()) {
      const isAgain = message.epoch === this.#head.epoch && message.offset <= this.#head.offset;
      if (this.#follows(message)) this.#accept(message);
      else if (!this.#isKnown(message) && !(isAgain && i < before)) {
        for (const rest of messages.slice(i)) this.#keep(rest);
        this.#suspect(message);
        return;
      }
    }
    const marked = this.#marked;
    this.#marked = undefined;
    if (marked !== undefined) this.receiveMarks(marked);
    this.stateChanged();
  }

  #follows(message: StoredMessage): boolean {
    const head = this.#head;
    if (message.offset !== head.offset + 1) return false;
    return message.epoch === head.epoch || (head.offset === 0 && leadsTo(head.epoch, message.epoch));
  }

  #isKnown(message: StoredMessage): boolean {
    return this.knows(message) === true;
  }

  #keep(message: StoredMessage): void {
    this.#held ??= new HeldMessages();
    this.#held.add(message);
  }

  #accept(message: StoredMessage): void {
    const outgoing = new Outgoing(message);
    this.#head = outgoing.place;
    this.#recent ??= new RecentIds(message.offset);
    this.#recent.add(message.id, message.time);
    const states = message.expires === undefined ? this.states : this.needStates();
    states?.expect(message);
    if (this.#audience.size === 0) {
      this.#delivered = this.#head;
      this.#queue = undefined;
      return;
    }
    if (message.trace !== undefined) this.#host.tracing.received(message, outgoing);
    outgoing.prepare(this.#host.references);
    if (outgoing.lookup === undefined && !this.#queue?.length) {
      this.#deliver(outgoing);
      return;
    }
    this.#queue ??= new Queue();
    this.#queue.add(outgoing);
    outgoing.lookup?.then(() => this.#deliverReady());
  }

  #deliverReady(): void {
    if (!this.#host.mayDeliver()) return;
    for (let next = this.#queue?.first; next !== undefined && next.lookup === undefined; ) {
      this.#queue!.take();
      if (this.states?.isGone(next) === true) next.erase();
      this.#deliver(next);
      if (this.#toldBehind !== undefined && next.offset >= this.#toldBehind) this.#tellState();
      // It may have begun anew.
      next = this.#queue?.first;
    }
  }

  #deliver(message: Outgoing): void {
    this.#delivered = message.place;
    this.#audience.deliver(message);
  }
}
