/** Reads a channel's log from its end, as people look at their mail. A log gives what follows an offset. */
import type { Broker, StoredMessage } from '../../pubsub/store/broker.ts';
import { includes, type Ranges } from '../../pubsub/store/marks.ts';

/** Messages in one read. */
const WINDOW = 64;

export interface Log {
  readonly broker: Pick<Broker, 'read'>;
  bounded<T>(read: () => Promise<T>): Promise<T>;
}

/**
 * The messages at these offsets, newest first. Those that are not kept any more are left out, those that are gone are not.
 * Holds little more than one page of the log, however long the messages are.
 */
export async function* backwards(
  log: Log,
  channel: string,
  wanted: Ranges,
): AsyncGenerator<StoredMessage, void, void> {
  const left = wanted.map(([first, last]) => [first, last] as [number, number]);
  let window = WINDOW;
  for (let newest = left.at(-1); newest !== undefined; newest = left.at(-1)) {
    const last = newest[1];
    const first = firstWithin(left, last - window + 1);
    const limit = last - first + 1;
    const { messages } = await log.bounded(() => log.broker.read(channel, first - 1, limit));
    const end = messages.at(-1)?.offset ?? last;
    if (end < last && messages.length > 0) {
      // What is older has filled the page.
      window = Math.max(1, Math.floor(messages.length / 2));
      if (limit > 1) continue;
    }
    for (const message of messages.toReversed()) {
      if (message.offset <= last && includes(left, message.offset)) yield message;
    }
    while (left.length > 0 && left.at(-1)![0] >= first) left.pop();
    const cut = left.at(-1);
    if (cut !== undefined) cut[1] = Math.min(cut[1], first - 1);
  }
}

/** The lowest offset in the ranges that is not below this. */
function firstWithin(ranges: Ranges, from: number): number {
  let first = Number.POSITIVE_INFINITY;
  for (let i = ranges.length - 1; i >= 0 && ranges[i]![1] >= from; i--) first = Math.max(ranges[i]![0], from);
  return first;
}
