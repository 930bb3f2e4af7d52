/** How the lock goes on where a connection has ended for other tabs, too. */
import type { TabWords } from './words.ts';

/** Milliseconds, at most, that a leader keeps the lock until those who are told of an end know it. */
const GRACE = 500;

/**
 * Gives the lock up once the `others` have said good-bye, which they do when they hear of the end. Nobody leads before:
 * whoever had not heard of it would ask the server at once, and drop what the old leader has said.
 *
 * @param others ids of tabs
 * @param channel by which they were told. From here on it is of use for nothing else
 */
export function handOver(others: Set<string>, channel: BroadcastChannel, unlock: () => void): void {
  const end = (): void => {
    clearTimeout(limit);
    channel.close();
    unlock();
  };
  const limit = setTimeout(end, GRACE);
  const check = (): void => void (others.size || end());
  channel.onmessage = ({ data }: MessageEvent<TabWords | undefined>) => {
    if (data?.[2] === '') others.delete(data[1]);
    check();
  };
  check();
}
