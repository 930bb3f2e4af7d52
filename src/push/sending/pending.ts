/** What of an inbox no device of its user has acknowledged yet. */
import type { Broker } from '../../pubsub/store/broker.ts';
import { sizeWithin } from '../../pubsub/store/marks.ts';
import { type Decode, decodeData } from '../payload.ts';
import { checkedInbox } from '../talk/names.ts';

const PAGE = 200;

/** What no device of a user has acknowledged yet, without what is gone. */
export interface Pending {
  /** How many messages. */
  count: number;
  /** Oldest first, at most `limit` of them. */
  messages: { epoch: string; offset: number; id: string; time: number; data: unknown }[];
}

/** @throws {TypeError} for an unfit name; or the broker's error */
export async function pendingOf(
  broker: Broker,
  user: string,
  limit: number,
  decode: Decode = decodeData,
): Promise<Pending> {
  const channel = checkedInbox(user);
  const cursors = await broker.cursors(channel);
  let page = await broker.read(channel, 0, 1);
  let acked = 0;
  for (const { position } of cursors) {
    if (position.epoch === page.top.epoch) acked = Math.max(acked, position.offset);
  }
  const from = Math.max(acked, page.first - 1);
  const { marks, top } = await broker.marks(channel);
  const gone = top.epoch === page.top.epoch ? sizeWithin(marks.gone, from + 1, page.top.offset) : 0;
  const count = Math.max(0, page.top.offset - from - gone);
  const messages: Pending['messages'] = [];
  for (let after = from; messages.length < Math.min(limit, count); ) {
    page = await broker.read(channel, after, Math.min(PAGE, limit - messages.length));
    if (page.messages.length === 0) break;
    for (const { epoch, offset, id, time, kind, payload } of page.messages) {
      after = offset;
      if (kind !== 'gone') messages.push({ epoch, offset, id, time, data: decode(kind, payload) });
    }
  }
  return { count, messages };
}
