/** What the store has of one channel, for operators: how much, how far, and who has what of it. */
import type { Broker } from '../../pubsub/store/broker.ts';
import { sizeWithin } from '../../pubsub/store/marks.ts';
import { inboxOf, topicProblem, userProblem } from '../talk/names.ts';
import type { WirePosition } from '../talk/wire.ts';

/** What is kept of a channel, and how far devices have acknowledged it. */
export interface ChannelInfo {
  /** The newest message; offset 0 where there never was one. */
  position: WirePosition;
  /** The offset of the oldest that is kept; one more than the newest where none is. */
  first: number;
  /** How many are kept, without those that are gone. */
  messages: number;
  /** What devices have acknowledged. Only of an inbox. */
  devices?: { device: string; offset: number; behind: number }[];
}

/** @throws {TypeError} for an unfit name; or the broker's error */
export async function channelInfo(
  broker: Broker,
  of: { user: string } | { topic: string },
): Promise<ChannelInfo> {
  const isUser = 'user' in of;
  const problem = isUser ? userProblem(of.user) : topicProblem(of.topic);
  if (problem !== undefined) throw new TypeError(problem);
  const channel = isUser ? inboxOf(of.user) : of.topic;
  const [{ top, first }, { marks }, cursors] = await Promise.all([
    broker.read(channel, 0, 1),
    broker.marks(channel),
    isUser ? broker.cursors(channel) : undefined,
  ]);
  const gone = sizeWithin(marks.gone, first, top.offset);
  return {
    position: { epoch: top.epoch, offset: top.offset, id: top.id },
    first,
    messages: Math.max(0, top.offset - first + 1 - gone),
    ...(cursors && {
      devices: cursors.map(({ device, position: { epoch, offset } }) => ({
        device,
        offset,
        behind: epoch === top.epoch ? Math.max(0, top.offset - offset) : top.offset,
      })),
    }),
  };
}
