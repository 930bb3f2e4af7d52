/**
 * Whether a page of a channel's log continues a position: the one place where `recovered` is decided.
 * A position is continued only if the store still has its entry, or its top, with the same id.
 */
import type { Position } from '../../pubsub/store/broker.ts';
import { leadsTo } from '../../pubsub/store/epochs.ts';
import type { GapReason } from '../talk/wire.ts';

/** A `LogPage` of the broker, or what was made of one. */
export interface Page<M extends Position> {
  messages: M[];
  top: Position;
  first: number;
}

export interface Judgement<M extends Position> {
  /** Why the position can't be continued; `undefined` if it can. */
  reason: GapReason | undefined;
  /** Where messages follow from: the position itself, or where the channel begins anew. */
  from: Position;
  /** What follows `from` in this page, without a hole. Empty if the page was read at another place. */
  messages: M[];
}

/** The offset to read after, so that the page begins with the entry at `position` itself. */
export function readOffset(position: Position): number {
  return Math.max(0, position.offset - 1);
}

/**
 * Whether `position` is still the same place as `current`, which the store has just now. A channel that
 * nothing was ever sent to gets its epoch with its first message; one that has lost its epoch is another.
 */
export function isSame(position: Position, current: Position): boolean {
  if (position.offset !== current.offset || position.id !== current.id) return false;
  return (
    position.epoch === current.epoch || (position.offset === 0 && leadsTo(position.epoch, current.epoch))
  );
}

/** @param page read after `readOffset(position)` */
export function judge<M extends Position>(position: Position, page: Page<M>): Judgement<M> {
  const { top, messages } = page;
  if (position.offset === 0) {
    if (!leadsTo(position.epoch, top.epoch)) return beginAnew('rewound', page);
    return page.first > 1 ? beginAnew('trimmed', page) : follow(position, page, 0);
  }
  if (position.id === '') return beginAnew('unknown-position', page);
  if (position.epoch !== top.epoch || position.offset > top.offset) return beginAnew('rewound', page);
  if (position.offset === top.offset) {
    return position.id === top.id
      ? { reason: undefined, from: position, messages: [] }
      : beginAnew('rewound', page);
  }
  const entry = messages[0];
  if (entry?.offset !== position.offset) return beginAnew('trimmed', page);
  return entry.id === position.id ? follow(position, page, 1) : beginAnew('rewound', page);
}

/**
 * For a place that the server chose itself as a beginning, where there is no id to compare.
 *
 * @param skip how many of the page's messages are not behind `position`
 */
export function follow<M extends Position>(position: Position, page: Page<M>, skip: number): Judgement<M> {
  const { messages, top } = page;
  const isBefore = position.offset === 0 && leadsTo(position.epoch, top.epoch);
  const from = isBefore ? { ...position, epoch: top.epoch } : position;
  if (from.epoch !== top.epoch || from.offset > top.offset) return beginAnew('rewound', page);
  let end = skip;
  while (end < messages.length && messages[end]!.offset === from.offset + 1 + end - skip) end++;
  if (end > skip) return { reason: undefined, from, messages: messages.slice(skip, end) };
  if (top.offset === from.offset) return { reason: undefined, from, messages: [] };
  // Something is missing right behind the position: expired, deleted or evicted.
  const next = messages[skip];
  const anew = next === undefined ? { ...top } : { epoch: top.epoch, offset: next.offset - 1, id: '' };
  return { reason: 'trimmed', from: anew, messages: [] };
}

function beginAnew<M extends Position>(reason: GapReason, { top, first }: Page<M>): Judgement<M> {
  const isEmpty = first > top.offset;
  const from = isEmpty ? { ...top } : { epoch: top.epoch, offset: first - 1, id: '' };
  return { reason, from, messages: [] };
}
