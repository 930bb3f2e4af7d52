/**
 * Where the page stands in each channel. A message is handed out once, in order: what has been seen is told
 * by its position, so it does not matter how often the connection was lost in between. A message counts as
 * handled, and may be acknowledged, once the page's code is done with it and with all before it.
 */
import type { WirePosition } from '../push/talk/wire.ts';

/** Before the first message of any log. */
export const ORIGIN: WirePosition = { epoch: '', offset: 0, id: '' };
/** Messages whose ids are remembered per channel: as many as a log keeps by default. */
const REMEMBERED = 1000;

interface Channel {
  /** The last message handed to the page, or where the server said that the channel begins. */
  seen: WirePosition;
  /** Kept once the page is done with all so far; never, once a listener has failed. */
  done: Promise<unknown>;
  /**
   * The last messages handed out, oldest first, and where they are, if that is known. A log that begins anew can bring
   * them again at other positions.
   */
  ids: Map<string, WirePosition | undefined>;
}

export type Channels = ReturnType<typeof createChannels>;

/** @param handled called with the newest position up to which the page is done */
export function createChannels(handled: (channel: string, position: WirePosition) => void) {
  const channels = new Map<string, Channel>();

  const begin = (name: string, seen: WirePosition, ids: Channel['ids'] = new Map()): Channel => {
    const channel = { seen, done: Promise.resolve(), ids };
    channels.set(name, channel);
    return channel;
  };

  /** The page is done with this message once `own` is kept, and all before it. */
  const finish = (name: string, channel: Channel, position: WirePosition, own?: Promise<unknown>): void => {
    channel.done = Promise.all([channel.done, own]).then(() => {
      // Begun anew meanwhile: these positions are of a log that is gone.
      if (channels.get(name) === channel) handled(name, position);
    });
    channel.done.catch(() => {});
  };

  return {
    /** The last messages handed out, by their ids. */
    ids: (name: string): Channel['ids'] | undefined => channels.get(name)?.ids,

    /** What a `hello` says: continue after this. */
    known: (name: string): WirePosition | undefined => channels.get(name)?.seen,

    /** The channel goes on after this position; unless `recovered`, whatever was known of it is void. */
    begin(name: string, position: WirePosition, recovered: boolean): void {
      const channel = channels.get(name);
      if (!channel || !recovered) begin(name, position, channel?.ids);
    },

    /**
     * Whether the page has had this message before, as its id says; undefined where it is not the next, and nothing
     * becomes of it.
     */
    advance(name: string, position: WirePosition): boolean | undefined {
      const { epoch, offset, id } = position;
      const channel = channels.get(name) ?? begin(name, ORIGIN);
      const { seen, ids } = channel;
      if (seen.epoch === epoch && offset <= seen.offset) return undefined;
      channel.seen = position;
      const isKnown = ids.has(id);
      ids.set(id, position);
      if (isKnown) finish(name, channel, position);
      else if (ids.size > REMEMBERED) ids.delete(ids.keys().next().value as string);
      return isKnown;
    },

    /**
     * The page's listeners were called with this message. One that failed keeps it, and all after it, from
     * being acknowledged: a later page load of this device gets them again.
     */
    handed(name: string, position: WirePosition, results: unknown[]): void {
      const channel = channels.get(name);
      if (!channel || !results.length) return;
      const own = Promise.all(results);
      finish(name, channel, position, own);
      own.catch((error: unknown) => {
        // Should it come again, it is not one that the page has had.
        channel.ids.delete(position.id);
        if (error !== undefined) throw error;
      });
    },

    forget(name: string): void {
      channels.delete(name);
    },

    clear(): void {
      channels.clear();
    },
  };
}
