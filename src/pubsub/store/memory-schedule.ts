/** The schedule within one process. Its clock is that of the process, which is not set while it runs. */
import { monotonicNow, steadyNow } from '../../clock.ts';
import {
  type FailedMessage,
  type LaterMessage,
  LIST_BYTES,
  type ListedPage,
  type Listing,
  MAX_FAILED,
  type Place,
  type Schedule,
  type Settled,
  type Taken,
  tooMany,
  type Wanted,
} from './schedule.ts';

/** Milliseconds that a channel is held at the most. */
const LONGEST_HOLD = 60_000;

interface Item {
  message: LaterMessage;
  place: Place;
  state: 'waiting' | 'taken' | 'gone';
  /** It may have been stored. */
  isTried: boolean;
}

interface Hold {
  until: number;
  tries: number;
}

/** What the memory brokers of one process share. */
export class MemorySchedule implements Schedule {
  readonly #items = new Map<string, Item>();
  readonly #byChannel = new Map<string, Set<Item>>();
  /** The earliest first. Those that have got another place since, or are gone, are left in it until they are met. */
  readonly #waiting = new Heap();
  readonly #taken = new Set<Item>();
  readonly #held = new Map<string, Hold>();
  #failed: FailedMessage[] = [];
  #number = 0;
  #holder = '';
  #leaseEnd = Number.NEGATIVE_INFINITY;
  readonly #ring: () => void;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  async add(message: LaterMessage, most: number): Promise<{ at: number; wasThere: boolean }> {
    const known = this.#items.get(message.id);
    if (known !== undefined) return { at: known.message.at, wasThere: true };
    if (most > 0 && this.#items.size >= most) throw tooMany(most);
    const { at, channel } = message;
    const item: Item = {
      // A copy: the caller's bytes may be a view of a buffer that is read into again.
      message: { ...message, payload: Buffer.from(message.payload) },
      place: { due: at, at, number: ++this.#number },
      state: 'waiting',
      isTried: false,
    };
    const earliest = this.#earliest();
    this.#items.set(message.id, item);
    let own = this.#byChannel.get(channel);
    if (own === undefined) {
      own = new Set();
      this.#byChannel.set(channel, own);
    }
    own.add(item);
    this.#waiting.push(item);
    if (earliest === undefined || at < earliest.place.due) this.#ring();
    return { at, wasThere: false };
  }

  async cancel(id: string): Promise<boolean> {
    const item = this.#items.get(id);
    if (item === undefined || item.state === 'taken' || item.isTried) return false;
    this.#remove(item);
    return true;
  }

  async list({ channel, before, limit }: Listing): Promise<ListedPage> {
    const all = channel === undefined ? this.#items.values() : (this.#byChannel.get(channel) ?? []);
    // Of a million, only so many are kept in order. The latest first, and one more.
    const found: Item[] = [];
    for (const item of all) {
      if (item.state !== 'waiting' || (before !== undefined && !isEarlier(item.place, before))) continue;
      if (found.length > limit && isEarlier(item.place, found.at(-1)!.place)) continue;
      let at = found.length;
      while (at > 0 && isEarlier(found[at - 1]!.place, item.place)) at--;
      found.splice(at, 0, item);
      if (found.length > limit + 1) found.pop();
    }
    let bytes = 0;
    const end = found.findIndex(({ message }, i) => {
      const isFull = i === limit || bytes >= LIST_BYTES;
      bytes += message.payload.length;
      return isFull;
    });
    const listed = end === -1 ? found : found.slice(0, end);
    return {
      count: this.#items.size,
      messages: listed.map(({ message, place }) => ({ ...message, place: { ...place } })),
      hasMore: end !== -1,
    };
  }

  async failed(limit: number): Promise<FailedMessage[]> {
    return this.#failed.slice(0, limit);
  }

  async take(holder: string, { now, lease, most, bytes }: Wanted): Promise<Taken> {
    const left = this.#leaseEnd - monotonicNow();
    if (nameOf(this.#holder) !== nameOf(holder) && left > 0) return { state: 'other', left };
    if (this.#holder !== holder || left <= 0) this.#takeBack();
    const first = this.#earliest();
    if (first === undefined && this.#taken.size === 0) {
      this.#held.clear();
      this.#leaseEnd = Number.NEGATIVE_INFINITY;
      return { state: 'none' };
    }
    this.#holder = holder;
    this.#leaseEnd = monotonicNow() + lease;
    const time = Math.floor(steadyNow());
    const messages: LaterMessage[] = [];
    let size = 0;
    for (;;) {
      const item = this.#earliest();
      if (item === undefined || item.place.due > Math.min(time, now)) break;
      if (messages.length >= most || size >= bytes) break;
      this.#waiting.pop();
      const held = this.#held.get(item.message.channel);
      // Also where that time is over by now: what it was for stands there, and is not to be overtaken.
      if (held !== undefined && held.until > item.place.due) {
        this.#place(item, held.until);
        continue;
      }
      if (held?.tries === 0 && held.until < item.place.due) this.#held.delete(item.message.channel);
      item.state = 'taken';
      this.#taken.add(item);
      messages.push(item.message);
      size += item.message.payload.length;
    }
    return { state: 'held', messages, time, next: this.#earliest()?.place.due ?? Number.POSITIVE_INFINITY };
  }

  async settle(holder: string, outcomes: readonly Settled[], isLast = false): Promise<void> {
    const isHolder = this.#holder === holder && this.#leaseEnd > monotonicNow();
    for (const outcome of outcomes) {
      const item = this.#items.get(outcome.id);
      if (item === undefined) continue;
      const { channel } = item.message;
      if (outcome.what === 'stored' || outcome.what === 'failed') {
        const held = this.#held.get(channel);
        if (held !== undefined) this.#held.set(channel, { ...held, tries: 0 });
        this.#remove(item);
        if (outcome.what === 'failed') this.#failed = [outcome.failure, ...this.#failed].slice(0, MAX_FAILED);
      } else if (isHolder && item.state === 'taken') {
        const due = 'milliseconds' in outcome ? this.#hold(channel, outcome.milliseconds) : item.place.at;
        item.isTried ||= outcome.what === 'unknown';
        this.#putBack(item, due);
      }
    }
    if (isHolder && isLast) this.#leaseEnd = Number.NEGATIVE_INFINITY;
  }

  #hold(channel: string, milliseconds: number): number {
    const now = Math.floor(steadyNow());
    const held = this.#held.get(channel);
    if (held !== undefined && held.until > now) return held.until;
    const tries = held?.tries ?? 0;
    const until = now + Math.min(milliseconds * 2 ** Math.min(tries, 16), LONGEST_HOLD);
    this.#held.set(channel, { until, tries: tries + 1 });
    return until;
  }

  /** What was handed out before may have been stored. */
  #takeBack(): void {
    for (const item of this.#taken) {
      item.isTried = true;
      this.#putBack(item, item.place.at);
    }
  }

  #putBack(item: Item, due: number): void {
    this.#taken.delete(item);
    item.state = 'waiting';
    this.#place(item, due);
  }

  #place(item: Item, due: number): void {
    item.place = { ...item.place, due };
    this.#waiting.push(item);
  }

  #remove(item: Item): void {
    const { id, channel } = item.message;
    item.state = 'gone';
    this.#items.delete(id);
    this.#taken.delete(item);
    const own = this.#byChannel.get(channel)!;
    own.delete(item);
    if (own.size === 0) this.#byChannel.delete(channel);
    this.#waiting.shrink(this.#items.size);
  }

  #earliest(): Item | undefined {
    return this.#waiting.first();
  }
}

function nameOf(holder: string): string {
  return holder.slice(0, holder.indexOf('.'));
}

function isEarlier(one: Place, other: Place): boolean {
  if (one.due !== other.due) return one.due < other.due;
  return one.at === other.at ? one.number < other.number : one.at < other.at;
}

/** Items by their places. One that has changed its place or its state since it was pushed is passed over. */
class Heap {
  #entries: { item: Item; place: Place }[] = [];

  push(item: Item): void {
    const entries = this.#entries;
    const entry = { item, place: item.place };
    let at = entries.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isEarlier(entry.place, entries[parent]!.place)) break;
      entries[at] = entries[parent]!;
      at = parent;
    }
    entries[at] = entry;
  }

  first(): Item | undefined {
    for (;;) {
      const [entry] = this.#entries;
      if (entry === undefined) return undefined;
      if (isCurrent(entry)) return entry.item;
      this.pop();
    }
  }

  pop(): void {
    const entries = this.#entries;
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= entries.length) break;
      const right = child + 1;
      if (right < entries.length && isEarlier(entries[right]!.place, entries[child]!.place)) child = right;
      if (!isEarlier(entries[child]!.place, last.place)) break;
      entries[at] = entries[child]!;
      at = child;
    }
    entries[at] = last;
  }

  /** Of many that were cancelled, nothing is to be left. */
  shrink(size: number): void {
    if (this.#entries.length < 64 || this.#entries.length <= 2 * size) return;
    // What is in order is a heap.
    this.#entries = this.#entries
      .filter(isCurrent)
      .sort((a, b) => (isEarlier(a.place, b.place) ? -1 : isEarlier(b.place, a.place) ? 1 : 0));
  }
}

function isCurrent({ item, place }: { item: Item; place: Place }): boolean {
  return item.state === 'waiting' && item.place === place;
}
