/**
 * The user's inbox as a page shows it: what he has done with which message, and how many there are that he has not read.
 * The server says the whole state after every change; on top of that lies what this page has marked and the server has
 * not said yet. Where the server refuses a mark, it is just not there any more.
 */
import {
  type HistoryFrame,
  type HistoryMessage,
  type HistoryState,
  INBOX,
  type MarkedFrame,
  type StateSnapshot,
  type WireCounts,
  type WireMarkAs,
  type WireMessage,
  type WirePosition,
} from '../push/talk/wire.ts';
import type { Asks } from './asks.ts';
import { Emitter, type Listener } from './emitter.ts';
import { are, decode, has, isText, listOf } from './frames.ts';
import { MAX_DELAY } from './heartbeat.ts';
import { includes, outside, type Ranges, without } from './ranges.ts';
import { addStates } from './states.ts';
import type { Talk } from './talk.ts';

/** One that nobody sets, where there is one. */
const clock: { now(): number } = globalThis.performance ?? Date;
/** Milliseconds that looking at the list may take for each message. */
const MANY = 4;
/** Milliseconds after which the page is told at the latest. A look can seem long, where the machine has slept meanwhile. */
const LATEST = 1_000;
/** Messages that one frame may name. */
const MAX_NAMED = 1_000;

/** A message of the inbox as it is at this moment: after a change of it there is another object in its place. */
export interface InboxItem<Data = unknown> {
  /** Unique and unguessable. */
  readonly id: string;
  /** Where it stands in the inbox. */
  readonly position: WirePosition;
  /** Milliseconds since 1970 by the server's clock. */
  readonly time: number;
  /** What was sent; a Uint8Array for a binary message. */
  readonly data: Data;
  /** `seen`: the list was opened and showed it. What is `read` was seen. */
  readonly state: 'unseen' | 'seen' | 'read';
  /** Whether it was put away: then it is not in `items` nor counted. */
  readonly archived: boolean;
  /** When it will be gone by itself, in milliseconds since 1970 by the server's clock. */
  readonly expires?: number;
  /** The application's own key, for a message that was sent by reference. */
  readonly reference?: string;
}

/** How many messages: of those kept, neither gone nor archived. */
export type InboxCounts = Readonly<WireCounts>;

/** A part of the inbox. */
export interface InboxPage<Data = unknown> {
  /** Newest first; perhaps fewer than asked for, where they are long. */
  items: InboxItem<Data>[];
  /** To ask with for more. Left out: there are no more. */
  before?: WirePosition | undefined;
}

/** Events of an inbox, by name. */
export interface InboxEvents {
  /** What `counts` is from now on. */
  counts: InboxCounts;
  /** `items`, or `hasMore`, is another from now on. */
  change: undefined;
}

type Named = string | { readonly position?: WirePosition };
/** Messages: items, what `message` events bring, or the ids of items of this list. */
export type Which = Named | readonly Named[];

/**
 * Marks show at once, and are undone where the server refuses them or the client is closed before they could be said:
 * then their promise rejects. They are said in order, again after a lost connection, and at most 1,000 wait. Promises
 * resolve with how many messages have another state than before.
 */
export interface Inbox<Data = unknown> {
  /** Undefined until the server has said it. */
  readonly counts: InboxCounts | undefined;
  /** What has come since the page was opened and what was loaded, without what is archived or gone. Newest first. */
  readonly items: readonly InboxItem<Data>[];
  /** Whether `load` may have more to get. */
  readonly hasMore: boolean;
  /**
   * Adds older messages to `items`; resolves with these. One after another, however often it is called.
   * @param options.limit 1 to 200. Default 50.
   */
  load(options?: { limit?: number }): Promise<InboxItem<Data>[]>;
  /** Messages of the inbox, newest first, without adding them to `items`. */
  list(query?: { before?: WirePosition; limit?: number; state?: HistoryState }): Promise<InboxPage<Data>>;
  /** The list was opened and showed them. */
  markSeen(which: Which): Promise<number>;
  /** They were read, and so seen. */
  markRead(which: Which): Promise<number>;
  /** Takes `markRead` back: they are seen. */
  markUnread(which: Which): Promise<number>;
  /** Puts them away: they are neither in `items` nor counted, and `list({ state: 'archived' })` has them. */
  archive(which: Which): Promise<number>;
  /** Takes `archive` back. */
  unarchive(which: Which): Promise<number>;
  /** Deletes them, on all of the user's devices and for good. */
  remove(which: Which): Promise<number>;
  /** All up to the newest message that this page has. */
  markAllSeen(): Promise<number>;
  /** All up to the newest message that this page has. */
  markAllRead(): Promise<number>;
  /** @returns a function that removes the listener again */
  on<E extends keyof InboxEvents>(event: E, listener: Listener<InboxEvents[E]>): () => void;
  /** Removes a listener. */
  off<E extends keyof InboxEvents>(event: E, listener: Listener<InboxEvents[E]>): void;
}

/** What this page has marked, from the moment that it was called until the server's state has it. */
interface Pending {
  as: WireMarkAs;
  ranges: Ranges;
  /** The server's answer: a state with this version, or a later one, has it. */
  version?: WirePosition;
}

class Events extends Emitter<InboxEvents> {
  tell<E extends keyof InboxEvents>(event: E, value: InboxEvents[E]): void {
    this.emit(event, value);
  }
}

export function createInbox(talk: Talk, { ask, answered }: Asks): Inbox {
  const { add, channels, connection } = talk;
  const events = new Events();
  let state: StateSnapshot | undefined;
  let pending: Pending[] = [];
  /** By offset. */
  const kept = new Map<number, InboxItem>();
  /** From where `load` goes on. */
  let before: WirePosition | undefined;
  let hasMore = true;
  let loading: Promise<unknown> = Promise.resolve();
  /** Counts how often the list has begun anew. */
  let generation = 0;
  /** Messages that were marked alike in this turn, one after another: they go together. */
  let gathering:
    | { as: WireMarkAs; messages: WirePosition[]; ranges: [number, number][]; answer: Promise<number> }
    | undefined;
  /** What the server's clock is ahead of one here that nobody sets, at least. */
  let ahead = Number.NEGATIVE_INFINITY;
  let timer: ReturnType<typeof setTimeout> | undefined;

  // ── the view ─────────────────────────────────────────────────────────────────────────────────────────

  interface View {
    counts?: InboxCounts;
    items: InboxItem[];
    hasMore: boolean;
  }
  let view: View | undefined;
  let told: View = { items: [], hasMore };
  let isTelling = false;
  /** Milliseconds that it took to look at a long list: not to be done for each of many messages. */
  let cost = 0;

  const look = (): View => {
    if (view) return view;
    const began = clock.now();
    const {
      first = 0,
      last = 0,
      most = Infinity,
      gone = [],
      seen = [],
      read = [],
      archived = [],
    } = state ?? {};
    const marks = { gone, seen, read, archived, unseen: [] as Ranges };
    const put = (name: keyof typeof marks, ranges: Ranges) => {
      marks[name] = [...marks[name], ...ranges];
    };
    for (const { as, ranges } of pending) {
      if (as === 'unread') marks.read = without(marks.read, ranges);
      else if (as === 'unarchived') marks.archived = without(marks.archived, ranges);
      else put(as === 'deleted' ? 'gone' : as, ranges);
      if (as === 'read') put('seen', ranges);
    }
    const now = clock.now() + ahead;
    let next = Infinity;
    for (const { expires = Infinity, position } of kept.values())
      if (expires <= now) put('gone', [[position.offset, position.offset]]);
      else next = Math.min(next, expires);
    clearTimeout(timer);
    if (next - now < MAX_DELAY && connection.state().name !== 'closed') timer = setTimeout(touch, next - now);

    const top = Math.max(last, channels.known(INBOX)?.offset ?? 0);
    const low = Math.max(first, top - most + 1);
    const items: InboxItem[] = [];
    for (const offset of [...kept.keys()].sort((a, b) => b - a)) {
      const item = kept.get(offset) as InboxItem;
      if (offset < low || includes(gone, offset)) kept.delete(offset);
      else if (!includes(marks.gone, offset) && !includes(marks.archived, offset)) {
        const is = includes(marks.read, offset) ? 'read' : includes(marks.seen, offset) ? 'seen' : 'unseen';
        const same = item.state === is ? item : ({ ...item, state: is } as const);
        kept.set(offset, same);
        items.push(same);
      }
    }
    const count = (...others: Ranges[]) => outside(low, top, marks.gone, marks.archived, ...others);
    cost = clock.now() - began;
    view = {
      items,
      hasMore,
      ...(state && { counts: { unseen: count(marks.seen), unread: count(marks.read), all: count() } }),
    };
    return view;
  };

  const tell = (): void => {
    isTelling = false;
    const was = told;
    told = look();
    const { counts, items } = told;
    if (counts && JSON.stringify(counts) !== JSON.stringify(was.counts)) events.tell('counts', counts);
    const isSame = hasMore === was.hasMore && items.length === was.items.length;
    if (!isSame || items.some((item, n) => item !== was.items[n])) events.tell('change', undefined);
  };
  /** Something is another. The page is told at the end of the turn, once. */
  const touch = (): void => {
    view = undefined;
    if (isTelling) return;
    isTelling = true;
    if (cost < MANY) queueMicrotask(tell);
    else setTimeout(tell, Math.min(cost * 9, LATEST));
  };

  // ── what the server says ─────────────────────────────────────────────────────────────────────────────

  const itemOf = (message: WireMessage | HistoryMessage): InboxItem => {
    const { epoch, offset, id, time, data, reference, expires } = message;
    const { state = 'unseen', archived } = message as HistoryMessage;
    return {
      id,
      position: { epoch, offset, id },
      time,
      data,
      state,
      archived: !!archived,
      ...(reference && { reference }),
      ...(expires && { expires }),
    };
  };
  const keep = (item: InboxItem): void => {
    ahead = Math.max(ahead, item.time - clock.now());
    const { offset } = item.position;
    if (!kept.has(offset)) kept.set(offset, item);
    touch();
  };
  const begin = (): void => {
    kept.clear();
    before = undefined;
    hasMore = true;
    // What is being loaded, and what was marked, is of a log that is gone.
    generation++;
    for (const { ranges } of pending) ranges.length = 0;
    touch();
  };
  addStates(talk, (next) => {
    const { epoch, offset } = next.version;
    state = next;
    pending = pending.filter(
      ({ version }) => !version || (version.epoch === epoch && version.offset > offset),
    );
    touch();
  });
  are(
    listOf(
      (message) =>
        has(message, 'epoch offset id time data state') && isText((message as HistoryMessage).state),
    ),
    'messages',
  );
  add({
    frames: {
      marked: ['changed version', answered],
      history: ['messages', answered],
    },
    begun(channel, { recovered }) {
      if (channel === INBOX && !recovered) begin();
    },
    message(frame) {
      if (frame.channel !== INBOX) return;
      if (frame.gone) touch();
      else keep(itemOf(frame));
    },
    loaded(isAnother) {
      if (!isAnother) return;
      state = undefined;
      pending = [];
      begin();
    },
    closed: () => clearTimeout(timer),
  });

  // ── what the page does ───────────────────────────────────────────────────────────────────────────────

  const drop = (own: Pending): void => {
    pending = pending.filter((one) => one !== own);
    touch();
  };
  /** Whoever doesn't look at the promise sees it in the view. */
  const safe = <T>(promise: Promise<T>): Promise<T> => {
    promise.catch(() => {});
    return promise;
  };

  /** @param frame called when the turn is over, so that it may have more to say by then */
  const put = async (as: WireMarkAs, ranges: Ranges, frame: () => object): Promise<number> => {
    const own: Pending = { as, ranges };
    pending.push(own);
    touch();
    try {
      await undefined;
      const { changed, version } = await ask<MarkedFrame>({ type: 'mark', as, ...frame() }, `mark as ${as}`);
      own.version = version;
      // Otherwise the state that has it is still to come.
      const now = state?.version;
      if (now?.epoch === version.epoch && now.offset >= version.offset) drop(own);
      return changed;
    } catch (error) {
      drop(own);
      throw error;
    }
  };

  const markEach = async (as: WireMarkAs, which: Which): Promise<number> => {
    const answers = new Set<Promise<number>>();
    for (const one of [which].flat() as Named[]) {
      const { position } =
        typeof one === 'string' ? ([...kept.values()].find(({ id }) => id === one) ?? {}) : one;
      if (!position) throw new TypeError('no message of the inbox');
      if (gathering?.as !== as || gathering.messages.length === MAX_NAMED) {
        const messages: WirePosition[] = [];
        const ranges: [number, number][] = [];
        const answer = put(as, ranges, () => {
          if (gathering?.messages === messages) gathering = undefined;
          return { messages };
        });
        gathering = { as, messages, ranges, answer };
      }
      gathering.messages.push(position);
      if (position.epoch === channels.known(INBOX)?.epoch)
        gathering.ranges.push([position.offset, position.offset]);
      answers.add(gathering.answer);
    }
    touch();
    let changed = 0;
    for (const each of await Promise.all(answers)) changed += each;
    return changed;
  };
  const mark = (as: WireMarkAs) => (which: Which) => safe(markEach(as, which));
  const markAll = (as: WireMarkAs) => () => {
    const upTo = channels.known(INBOX);
    gathering = undefined;
    return safe(put(as, [[0, upTo?.offset ?? 0]], () => ({ upTo })));
  };

  const list = async (query: object = {}): Promise<InboxPage> => {
    const { messages, before } = await ask<HistoryFrame>({ type: 'history', ...query }, 'list the inbox');
    return { items: messages.map((message) => itemOf(decode(message))), before };
  };

  return {
    get counts() {
      return look().counts;
    },
    get items() {
      return look().items;
    },
    get hasMore() {
      return hasMore;
    },
    load({ limit } = {}) {
      const load = async (): Promise<InboxItem[]> => {
        const own = generation;
        const page = hasMore ? await list({ before, limit }) : { items: [] };
        if (own !== generation) return [];
        before = page.before;
        hasMore = !!before;
        page.items.forEach(keep);
        touch();
        return page.items;
      };
      const loaded = loading.then(load);
      loading = loaded.catch(() => {});
      return loaded;
    },
    list,
    markSeen: mark('seen'),
    markRead: mark('read'),
    markUnread: mark('unread'),
    archive: mark('archived'),
    unarchive: mark('unarchived'),
    remove: mark('deleted'),
    markAllSeen: markAll('seen'),
    markAllRead: markAll('read'),
    on: events.on.bind(events),
    off: events.off.bind(events),
  };
}
