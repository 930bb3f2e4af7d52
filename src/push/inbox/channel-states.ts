/**
 * What one instance knows of the state of a channel's messages: what was marked, what is gone, how many are unread. It is
 * told by the store with the channel's place, and by a doorbell after every change. Where something is going to expire,
 * the store is asked again at that time, by one wheel for all channels.
 *
 * State is told whole: whoever gets a newer snapshot forgets the older. So nothing of it is ever queued for a page.
 */
import { clearTimeout, monotonicNow, setTimeout } from '../../clock.ts';
import type { Broker, Position, Retention, StoredMessage } from '../../pubsub/store/broker.ts';
import {
  ANY_NUMBER,
  type Counts,
  countsOf,
  includes,
  type Marked,
  type Ranges,
} from '../../pubsub/store/marks.ts';
import { PreparedMessage } from '../../server/prepared-message.ts';
import { isInbox, wireName } from '../talk/names.ts';
import type { StateSnapshot, WirePosition } from '../talk/wire.ts';
import type { Due, Wheel } from '../wheel.ts';
import type { StoreClock } from './store-clock.ts';

/** Bytes of a state that is told as often as it changes. */
const SHORT = 1024;
/** Bytes a millisecond that a page is told of a longer one: of the longest there can be, two in a second. */
const PACE = 128;
/** Milliseconds until the store is asked again, where its clock or ours is wrong, or it is away. */
const FIRST_AGAIN = 1_000;
const LAST_AGAIN = 15_000;

/** What they need of the router. */
export interface StatesHost {
  readonly broker: Broker;
  readonly expiries: Wheel<ChannelStates>;
  readonly storeClock: StoreClock;
  retentionOf(channel: string): Retention;
  mayDeliver(): boolean;
  bounded<T>(read: () => Promise<T>): Promise<T>;
}

/** The channel whose states they are. */
export interface StatesOwner {
  readonly name: string;
  /** What its live pages have. */
  readonly position: Position;
  readonly isLive: boolean;
  /** Its pages are to be told. */
  stateChanged(): void;
}

/** What is told at once to all pages that are to be told the same. */
interface Told {
  readonly marked: Marked;
  readonly last: number;
  readonly isRewound: boolean;
  readonly wire: string;
  prepared: PreparedMessage | undefined;
}

export class ChannelStates implements Due {
  due = 0;
  /** How many times pages were told, or would have been. */
  told = 0;
  /** There is something to tell that was not told yet. */
  isOwed = false;
  readonly #owner: StatesOwner;
  readonly #host: StatesHost;
  #marked: Marked | undefined;
  /** With which telling the loss of changes is told; 0: there was none. */
  #lostAt = 0;
  /** How many doorbells have come. */
  #bells = 0;
  #isLooking = false;
  /** How many times in a row the store was asked in vain. */
  #inVain = 0;
  #isClosed = false;
  #cached: Told | undefined;
  /** When pages may be told again, in milliseconds of the monotonic clock, where that is not at once. */
  #restUntil = 0;
  #rest: NodeJS.Timeout | undefined;

  constructor(owner: StatesOwner, host: StatesHost) {
    this.#owner = owner;
    this.#host = host;
  }

  /** The store has said it by a doorbell, in its place among the messages. */
  heard(marked: Marked): void {
    this.#bells++;
    // Late, or the store has lost something and counts again: only it can tell.
    if (this.#isBehind(marked)) void this.#look();
    else this.learn(marked);
  }

  /**
   * The store has said it when it was asked, and nothing newer is known.
   *
   * @param isAnew whether the log is another one than before
   */
  learn(said: Marked, isAnew = false): void {
    const known = this.#marked;
    const marked = this.#withMost(said);
    const isLost = this.#isBehind(marked);
    const isNews =
      known === undefined
        ? isInbox(this.#owner.name) || marked.marks.gone.length > 0
        : isLost || this.#isOther(known, marked, isAnew);
    this.#marked = marked;
    this.#cached = undefined;
    this.#schedule();
    if (!isNews) return;
    this.#inVain = 0;
    this.isOwed = true;
    if (isLost) this.#lostAt = this.told + 1;
    this.#owner.stateChanged();
  }

  /** Asks the store. False if it gave no answer, or one that is of no use: ask again. */
  async ask(): Promise<boolean> {
    const host = this.#host;
    const bells = this.#bells;
    try {
      const marked = await host.bounded(() => host.broker.marks(this.#owner.name));
      // What was heard meanwhile may be newer; and a channel that is finding its place is told with that.
      const isLate = bells !== this.#bells && this.#isBehind(marked);
      if (this.#isClosed || isLate || !this.#owner.isLive || !host.mayDeliver()) return false;
      this.learn(marked);
      return true;
    } catch {
      return false;
    }
  }

  /** A message has come, just now. */
  expect({ time, expires }: StoredMessage): void {
    this.#host.storeClock.heard(time);
    if (expires !== undefined) this.#lookAt(monotonicNow() + expires - time);
    // The first one that is kept: by itself it will be too old.
    else if (this.due === 0) this.#lookAt(monotonicNow() + this.#host.retentionOf(this.#owner.name).maxAge);
  }

  /** Whether the message is gone, as far as is known here. */
  isGone({ epoch, offset }: Position): boolean {
    const marked = this.#marked;
    return marked !== undefined && marked.top.epoch === epoch && includes(marked.marks.gone, offset);
  }

  get counts(): Counts | undefined {
    const marked = this.#marked;
    if (marked === undefined) return undefined;
    const last = this.#last(marked);
    return countsOf(marked.marks, firstOf(marked, last), last);
  }

  /** Whether a page knows of changes that are not known here: the doorbell is late, or the store has lost them. */
  lacks(version: WirePosition): boolean {
    return (
      version.offset > 0 && (this.#marked === undefined || isBehind(version, this.#marked.marks.version))
    );
  }

  /**
   * For a page that begins; `undefined` where there is nothing to tell.
   *
   * @param said the version that the page says it has, where what is known here came from the store after that
   */
  snapshot(said: WirePosition | undefined): StateSnapshot | undefined {
    const marked = this.#marked;
    if (marked === undefined) return undefined;
    const isRewound = said !== undefined && isBehind(said, marked.marks.version);
    const isQuiet = !isInbox(this.#owner.name) && marked.marks.gone.length === 0 && !isRewound;
    return isQuiet ? undefined : this.#snapshot(marked, this.#last(marked), isRewound);
  }

  /**
   * The `state` frame, encoded once for all; `undefined` where nothing is known.
   *
   * @param told how many times the page was told
   */
  wire(told: number): string | undefined {
    return this.#frame(told)?.wire;
  }

  /** The same, to be shared by many connections. */
  prepared(told: number): PreparedMessage | undefined {
    const frame = this.#frame(told);
    if (frame === undefined) return undefined;
    frame.prepared ??= new PreparedMessage(frame.wire);
    return frame.prepared;
  }

  #frame(told: number): Told | undefined {
    const marked = this.#marked;
    if (marked === undefined) return undefined;
    const last = this.#last(marked);
    const isRewound = this.#lostAt > told;
    const cached = this.#cached;
    if (cached?.marked === marked && cached.last === last && cached.isRewound === isRewound) return cached;
    const channel = wireName(this.#owner.name);
    const wire = JSON.stringify({ type: 'state', channel, ...this.#snapshot(marked, last, isRewound) });
    if (wire.length > SHORT) this.#restUntil = monotonicNow() + wire.length / PACE;
    this.#cached = { marked, last, isRewound, wire, prepared: undefined };
    return this.#cached;
  }

  /**
   * Whether pages are to be told later, once for all that changes meanwhile: who marks all the time, with thousands of
   * ranges, would fill the lines of all the user's pages.
   *
   * @param proceed is called then
   */
  mustRest(proceed: () => void): boolean {
    if (this.#rest !== undefined) return true;
    if (this.#restUntil === 0) return false;
    const left = this.#restUntil - monotonicNow();
    this.#restUntil = 0;
    if (left <= 0) return false;
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      proceed();
    }, left);
    return true;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#rest);
    this.#host.expiries.delete(this);
  }

  /** Something was to expire by now. */
  expire(): void {
    void this.#look();
  }

  /** The newest message that is counted. */
  #last({ top }: Marked): number {
    const { epoch, offset } = this.#owner.position;
    // The first message of a channel gives it its epoch.
    return epoch === top.epoch || top.offset === 0 ? Math.max(offset, top.offset) : top.offset;
  }

  #snapshot(marked: Marked, last: number, isRewound: boolean): StateSnapshot {
    const { version, seen, read, archived, gone } = marked.marks;
    const first = firstOf(marked, last);
    const from = (ranges: Ranges): [number, number][] =>
      ranges.filter(([, end]) => end >= first).map(([a, b]) => [a, b]);
    return {
      version: { epoch: version.epoch, offset: version.offset, id: version.id },
      first,
      last,
      most: marked.most,
      ...(isInbox(this.#owner.name) && {
        seen: from(seen),
        read: from(read),
        archived: from(archived),
        counts: countsOf(marked.marks, first, last),
      }),
      gone: from(gone),
      ...(isRewound && { rewound: true }),
    };
  }

  /** Whether pages that know the one are to be told of the other. */
  #isOther(known: Marked, marked: Marked, isAnew: boolean): boolean {
    if (!isSameVersion(known.marks.version, marked.marks.version)) return true;
    // By age, too, messages go out of the counts; on a topic nobody counts.
    const { offset } = marked.top;
    return isInbox(this.#owner.name) && (isAnew || firstOf(known, offset) !== firstOf(marked, offset));
  }

  #isBehind({ marks }: Marked): boolean {
    return this.#marked !== undefined && isBehind(this.#marked.marks.version, marks.version);
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#isClosed) return;
    this.#isLooking = true;
    this.#inVain++;
    const isDone = await this.ask();
    this.#isLooking = false;
    // The store is away, and tells the channel when it is back; or it did not answer this once.
    if (!isDone && !this.#isClosed) this.#lookAt(monotonicNow() + this.#again());
  }

  /** In a channel that was never used, nobody has said how many messages it keeps: what this server would say. */
  #withMost(marked: Marked): Marked {
    if (marked.most !== ANY_NUMBER) return marked;
    return { ...marked, most: this.#host.retentionOf(this.#owner.name).maxMessages };
  }

  #schedule(): void {
    const { next } = this.#marked!.marks;
    if (next !== undefined)
      this.#lookAt(monotonicNow() + Math.max(this.#host.storeClock.until(next), this.#again()));
  }

  #again(): number {
    return this.#inVain === 0 ? 0 : Math.min(FIRST_AGAIN * 2 ** (this.#inVain - 1), LAST_AGAIN);
  }

  /** No later than this. */
  #lookAt(time: number): void {
    if (this.due === 0 || time < (this.due - 1) * 1000) this.#host.expiries.add(this, time);
  }
}

/** The lowest offset that is kept where `last` is the newest one. */
function firstOf({ first, most }: Marked, last: number): number {
  return Math.max(first, last - most + 1);
}

function isSameVersion(a: Position, b: Position): boolean {
  return a.epoch === b.epoch && a.offset === b.offset && a.id === b.id;
}

/** Whether a store that says `now` has lost changes that `known` knows of. */
function isBehind(known: Position, now: Position): boolean {
  if (known.offset === 0) return false;
  if (known.epoch !== now.epoch || known.offset > now.offset) return true;
  return known.offset === now.offset && known.id !== now.id;
}
