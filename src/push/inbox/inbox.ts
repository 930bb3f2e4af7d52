/** What the application does with the messages of users and topics that are stored: lists, counts, marks, withdraws. */
import { checkNames, type Names } from '../../option-names.ts';
import type { Position } from '../../pubsub/store/broker.ts';
import {
  type Counts,
  countsOf,
  MARK_AS,
  MAX_MARKED,
  type Mark,
  type MarkAs,
  type Marked,
  type Removal,
} from '../../pubsub/store/marks.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import type { Decode } from '../payload.ts';
import { checkedInbox, inboxOf, replacesProblem, topicProblem, userProblem } from '../talk/names.ts';
import { backwards } from './backwards.ts';
import { type HistoryQuery, historyOf } from './history.ts';

/** A message of an inbox, with what its user has done with it. */
export interface InboxMessage<Data = unknown> extends Position {
  /** Milliseconds since 1970 by the store's clock. */
  time: number;
  /** What was sent; bytes as a Buffer. */
  data: Data;
  /** The application's key, in a message by reference. */
  reference?: string;
  /** The reference could not be resolved in time: `data` is null. */
  unresolved?: true;
  /** When it will be gone by itself, in milliseconds since 1970 by the store's clock. */
  expires?: number;
  /** `seen`: a list has shown it. What is `read` was seen. */
  state: 'unseen' | 'seen' | 'read';
  /** It was put away. */
  archived?: true;
}

/** A part of an inbox: `push.inbox()` resolves with it. */
export interface InboxPage<Data = unknown> {
  /** Newest first; perhaps fewer than asked for, where they are long or it takes long. */
  messages: InboxMessage<Data>[];
  /** To ask with for more. Left out: there are no more. */
  before?: Position;
  /** How many messages the inbox has. */
  counts: Counts;
}

/** Which messages are marked, and as what: these, all up to and including one, or, with nothing named, all. */
export interface MarkSettings {
  /** What becomes of them. */
  as: MarkAs;
  /** At most 1,000. */
  messages?: readonly Position[];
  /** All up to and including this one. */
  upTo?: Position;
  /** By the ids of their receipts, at most 1,000; the log is searched for them. */
  ids?: readonly string[];
}

const MARK: Names<MarkSettings> = { as: true, messages: true, upTo: true, ids: true };
const QUERY: Names<HistoryQuery> = { before: true, limit: true, state: true };

/** Which message is withdrawn: by the `id` of its receipt, by the key that it was sent with as `replaces`, or by its position. */
export type Withdrawn = { id: string } | { key: string } | Position;

export class Inbox {
  readonly #router: ChannelRouter;

  constructor(router: ChannelRouter) {
    this.#router = router;
  }

  async list(user: string, query: HistoryQuery, decode?: Decode): Promise<InboxPage> {
    checkNames('inbox', query, QUERY);
    const { messages, before, counts } = await historyOf(this.#router, checkedInbox(user), query);
    return {
      messages: messages.map(({ message, state, isArchived }) => ({
        ...message.content(decode),
        state,
        ...(isArchived && { archived: true }),
      })),
      ...(before !== undefined && { before }),
      counts,
    };
  }

  async counts(user: string): Promise<Counts> {
    return countsIn(await this.#router.broker.marks(checkedInbox(user)));
  }

  async mark(user: string, settings: MarkSettings): Promise<{ changed: number; counts: Counts }> {
    const channel = checkedInbox(user);
    // A name with a typing error would mark all that there is.
    checkNames('mark', settings, MARK);
    const { ids, ...mark } = checkedMark(settings);
    const messages = ids === undefined ? mark.messages : await this.#find(channel, ids);
    const { changed, ...marked } = await this.#router.mark(channel, {
      as: mark.as,
      ...(mark.upTo !== undefined && { upTo: mark.upTo }),
      ...(messages !== undefined && { messages }),
    });
    return { changed, counts: countsIn(marked) };
  }

  withdraw(user: string, which: Withdrawn): Promise<boolean> {
    return this.#remove(userProblem(user), inboxOf(user), which);
  }

  withdrawFrom(topic: string, which: Withdrawn): Promise<boolean> {
    return this.#remove(topicProblem(topic), topic, which);
  }

  async #remove(problem: string | undefined, channel: string, which: Withdrawn): Promise<boolean> {
    if (problem !== undefined) throw new TypeError(problem);
    const removal = removalOf(which);
    if ('key' in removal || 'position' in removal) return this.#router.remove(channel, removal);
    const [position] = await this.#find(channel, [removal.id]);
    return position !== undefined && this.#router.remove(channel, { position });
  }

  /** Where the messages with these ids are, of those that are kept. */
  async #find(channel: string, ids: readonly string[]): Promise<Position[]> {
    const { broker } = this.#router;
    const { top, first } = await broker.read(channel, 0, 0);
    const wanted = new Set(ids);
    const found: Position[] = [];
    if (first > top.offset) return found;
    for await (const { epoch, offset, id } of backwards(this.#router, channel, [[first, top.offset]])) {
      if (!wanted.delete(id)) continue;
      found.push({ epoch, offset, id });
      if (wanted.size === 0) break;
    }
    return found;
  }
}

function countsIn({ marks, first, top }: Marked): Counts {
  return countsOf(marks, first, top.offset);
}

/** What comes by HTTP may be anything. @throws {TypeError} or {RangeError} */
function checkedMark({ as, messages, upTo, ids }: MarkSettings): Mark & Pick<MarkSettings, 'ids'> {
  if (!MARK_AS.includes(as)) throw new TypeError(`as is one of ${MARK_AS.join(', ')}`);
  if ([messages, upTo, ids].filter((named) => named !== undefined).length > 1) {
    throw new TypeError('a mark names messages, upTo or ids, or none of them');
  }
  for (const named of [messages, ids]) {
    if (named === undefined) continue;
    if (!Array.isArray(named)) throw new TypeError('messages and ids are arrays');
    if (named.length > MAX_MARKED) throw new RangeError(`a mark names at most ${MAX_MARKED} messages`);
  }
  if (ids?.some((id) => typeof id !== 'string')) throw new TypeError('ids are strings');
  if (messages?.some((position) => !isPosition(position)) || (upTo !== undefined && !isPosition(upTo))) {
    throw new TypeError('a position is {epoch, offset, id}');
  }
  return {
    as,
    ...(messages !== undefined && { messages }),
    ...(upTo !== undefined && { upTo }),
    ...(ids !== undefined && { ids }),
  };
}

function removalOf(which: Withdrawn): Removal | { id: string } {
  if (typeof which === 'object' && which !== null) {
    if ('key' in which) {
      const problem = replacesProblem(which.key);
      if (problem !== undefined) throw new TypeError(problem);
      return { key: which.key };
    }
    if (isPosition(which)) {
      const { epoch, offset, id } = which as Position;
      return { position: { epoch, offset, id } };
    }
    if (!('offset' in which) && typeof which.id === 'string') return { id: which.id };
  }
  throw new TypeError('which message: {id}, {key} or a position {epoch, offset, id}');
}

function isPosition(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { epoch, offset, id } = value as Record<string, unknown>;
  return typeof epoch === 'string' && typeof id === 'string' && Number.isSafeInteger(offset);
}
