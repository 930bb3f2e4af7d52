/** What an inbox has, page by page, newest first: each message with what its user has done with it. */
import { monotonicNow } from '../../clock.ts';
import type { Position, StoredMessage } from '../../pubsub/store/broker.ts';
import {
  type Counts,
  countsOf,
  includes,
  intersection,
  type Marked,
  type Marks,
  type Ranges,
  without,
} from '../../pubsub/store/marks.ts';
import { Outgoing } from '../delivery/outgoing.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import type { HistoryState } from '../talk/wire.ts';
import { backwards } from './backwards.ts';

const DEFAULT_LIMIT = 50;
export const MAX_LIMIT = 200;
export const HISTORY_STATES: readonly HistoryState[] = ['all', 'unseen', 'unread', 'read', 'archived'];
/** Bytes of data in one page, and one message more. */
const MAX_BYTES = 256 * 1024;
/** Milliseconds after which a page has no more batches: where references can't be had, each takes as long as they may. */
const LONGEST = 1_000;
/** References that are looked up together. */
const TOGETHER = 16;

/** `before` is of a log that is not there any more. */
export class LostPositionError extends RangeError {
  constructor() {
    super('`before` is a position of a log that the store has lost: begin anew');
    this.name = 'LostPositionError';
  }
}

/** Which messages of an inbox are listed. */
export interface HistoryQuery {
  /** Those before this position, or this offset of the log as it is now. Left out: the newest. */
  before?: Position | number | undefined;
  /** 1 to 200. Default 50. */
  limit?: number | undefined;
  /** Default `all`: all that is not archived. */
  state?: HistoryState | undefined;
}

export interface Listed {
  message: Outgoing;
  state: 'unseen' | 'seen' | 'read';
  isArchived: boolean;
}

export interface History {
  /** Newest first; perhaps fewer than asked for, where they are long or it takes long. */
  messages: Listed[];
  /** To ask for those before these; `undefined` where there are none. */
  before: Position | undefined;
  counts: Counts;
}

/**
 * @throws {RangeError} for a limit that can't be, and a position of a log that is not there any more
 * @throws {TypeError} for a state that is none
 */
export async function historyOf(
  router: ChannelRouter,
  channel: string,
  { before, limit = DEFAULT_LIMIT, state = 'all' }: HistoryQuery,
): Promise<History> {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new RangeError(`limit is a whole number from 1 to ${MAX_LIMIT}`);
  }
  if (!HISTORY_STATES.includes(state)) throw new TypeError(`state is one of ${HISTORY_STATES.join(', ')}`);
  const marked = await router.broker.marks(channel);
  const wanted = offsetsOf(marked, state, lastOf(marked, before));
  const history: History = {
    messages: [],
    before: undefined,
    counts: countsOf(marked.marks, marked.first, marked.top.offset),
  };
  const { messages } = history;
  const deadline = monotonicNow() + LONGEST;
  let bytes = 0;
  for await (const batch of batches(backwards(router, channel, wanted), limit)) {
    const found = batch.map((stored) => new Outgoing(stored));
    for (const message of found) message.prepare(router.references);
    await Promise.all(found.map((message) => message.lookup));
    for (const message of found) {
      bytes += message.size;
      messages.push(listed(message, marked.marks));
      if (bytes >= MAX_BYTES) break;
    }
    if (bytes >= MAX_BYTES || monotonicNow() >= deadline) break;
  }
  const oldest = messages.at(-1)?.message;
  if (oldest !== undefined && wanted[0]![0] < oldest.offset) history.before = oldest.place;
  return history;
}

/** The newest message that may be listed. */
function lastOf({ top }: Marked, before: HistoryQuery['before']): number {
  if (before === undefined) return top.offset;
  if (typeof before !== 'number' && before.epoch !== top.epoch && before.offset > 0) {
    throw new LostPositionError();
  }
  const offset = typeof before === 'number' ? before : before.offset;
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw new RangeError('`before` is a position or an offset');
  return Math.min(offset - 1, top.offset);
}

/** What is kept and has this state. */
function offsetsOf({ marks, first }: Marked, state: HistoryState, last: number): Ranges {
  const { seen, read, archived, gone } = marks;
  const kept: Ranges = first <= last ? without([[first, last]], gone) : [];
  if (state === 'archived') return intersection(kept, archived);
  const current = without(kept, archived);
  if (state === 'unseen') return without(current, seen);
  if (state === 'unread') return without(current, read);
  return state === 'read' ? intersection(current, read) : current;
}

function listed(message: Outgoing, { seen, read, archived }: Marks): Listed {
  const { offset } = message;
  return {
    message,
    state: includes(read, offset) ? 'read' : includes(seen, offset) ? 'seen' : 'unseen',
    isArchived: includes(archived, offset),
  };
}

/** In batches, `limit` in all, without those that have gone meanwhile. */
async function* batches(
  messages: AsyncIterable<StoredMessage>,
  limit: number,
): AsyncGenerator<StoredMessage[], void, void> {
  let left = limit;
  let batch: StoredMessage[] = [];
  for await (const message of messages) {
    if (message.kind === 'gone') continue;
    batch.push(message);
    left--;
    if (left > 0 && batch.length < TOGETHER) continue;
    yield batch;
    if (left === 0) return;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
