/** A page of a channel's log, as it is read for subscribers that are behind. */
import type { Broker, Position } from '../../pubsub/store/broker.ts';
import { type Page, readOffset } from './judge.ts';
import { Outgoing } from './outgoing.ts';
import type { References } from './references.ts';

/** Messages in a page. The broker bounds its bytes. */
const PAGE_MESSAGES = 200;

/** Shared by all subscribers that read it at the same time. */
export type OutgoingPage = Page<Outgoing>;

export interface LogHost {
  readonly broker: Broker;
  readonly references: References | undefined;
  /** Runs reads of the log, only so many at a time. */
  bounded<T>(read: () => Promise<T>): Promise<T>;
}

/**
 * The log behind `position`, beginning with the entry at it, which shows whether the position is continued.
 *
 * @param isAnchor the server chose the position itself: there is no id to compare, and no entry is read
 */
export async function readPage(
  { broker, references }: LogHost,
  channel: string,
  position: Position,
  isAnchor: boolean,
): Promise<OutgoingPage> {
  const offset = isAnchor ? position.offset : readOffset(position);
  let page = await broker.read(channel, offset, PAGE_MESSAGES);
  const isFilledByOne = page.messages.length === 1 && page.messages[0]!.offset === position.offset;
  if (isFilledByOne && page.top.offset > position.offset) {
    // The entry to compare is so big that nothing else fits. Compared after the rest was read, it still
    // shows a store that has rewound before.
    const rest = await broker.read(channel, position.offset, PAGE_MESSAGES);
    const entry = await broker.read(channel, offset, 1);
    page = { ...rest, messages: [...entry.messages, ...rest.messages] };
  }
  const messages = page.messages.map((stored) => new Outgoing(stored));
  for (const message of messages) {
    if (isAnchor || message.offset !== position.offset) message.prepare(references);
  }
  return { ...page, messages };
}
