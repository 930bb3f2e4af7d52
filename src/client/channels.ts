/**
 * Where the page stands in each channel. A message is handed out once, in order: what has been seen is told
 * by its position, so it does not matter how often the connection was lost in between. A message counts as
 * handled, and may be acknowledged, once the page's code is done with it and with all before it.
 */
import type { WirePosition } from '../push/talk/wire.ts';
import { FAILED } from './emitter.ts';

/** Messages whose ids are remembered per channel: as many as a log keeps by default. */
const REMEMBERED = 1000;

interface Handing {
  position: WirePosition;
  done: boolean;
}

interface Channel {
  /** The last message handed to the page, or where the server said that the channel begins. */
  seen: WirePosition;
  /** Handed out, not all done: oldest first. Empty while listeners are synchronous. */
  open: Handing[];
  /** A listener failed: nothing after that message is acknowledged. */
  stuck: boolean;
  /**
   * Of the last messages handed out, oldest first. A log that begins anew can bring them again at other
   * positions.
   */
  ids: Set<string>;
}

export class Channels {
  #channels = new Map<string, Channel>();
  readonly #handled: (channel: string, position: WirePosition) => void;

  /** @param handled called with the newest position up to which the page is done */
  constructor(handled: (channel: string, position: WirePosition) => void) {
    this.#handled = handled;
  }

  /** What a `hello` says: continue after these. */
  /** What a `hello` says: continue after this. */
  seen(name: string): WirePosition | undefined {
    return this.#channels.get(name)?.seen;
  }

  /** The channel goes on after this position; unless `recovered`, whatever was known of it is void. */
  begin(name: string, position: WirePosition, recovered: boolean): void {
    const channel = this.#channels.get(name);
    if (channel === undefined || !recovered) this.#channels.set(name, begun(position, channel?.ids));
  }

  /** False if the page has had this message before. */
  advance(name: string, position: WirePosition): boolean {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = begun(position);
      this.#channels.set(name, channel);
    } else if (channel.seen.epoch === position.epoch && position.offset <= channel.seen.offset) return false;
    channel.seen = plain(position);
    const { ids } = channel;
    if (ids.has(position.id)) {
      this.#finish(name, channel, position);
      return false;
    }
    ids.add(position.id);
    if (ids.size > REMEMBERED) ids.delete(ids.values().next().value as string);
    return true;
  }

  /**
   * The page's listeners were called with this message. One that failed keeps it, and all after it, from
   * being acknowledged: a later page load of this device gets them again.
   */
  handed(name: string, position: WirePosition, results: unknown[]): void {
    const channel = this.#channels.get(name);
    if (channel === undefined || channel.stuck || results.length === 0) return;
    const waits = results.filter((result) => result instanceof Promise);
    if (results.includes(FAILED)) this.#fail(channel, position);
    else if (waits.length > 0) {
      const handing: Handing = { position: plain(position), done: false };
      channel.open.push(handing);
      Promise.all(waits).then(
        () => this.#settle(name, channel, handing),
        (error: unknown) => {
          this.#fail(channel, position);
          const index = channel.open.indexOf(handing);
          if (index >= 0) channel.open.splice(index);
          throw error;
        },
      );
    } else this.#finish(name, channel, position);
  }

  /** Nothing from here on is acknowledged, and should the message come again it is not one that the page has had. */
  #fail(channel: Channel, position: WirePosition): void {
    channel.stuck = true;
    channel.ids.delete(position.id);
  }

  /** The page is done with this message, though perhaps not with all before it. */
  #finish(name: string, channel: Channel, position: WirePosition): void {
    if (channel.stuck) return;
    if (channel.open.length > 0) channel.open.push({ position: plain(position), done: true });
    else this.#handled(name, plain(position));
  }

  forget(name: string): void {
    this.#channels.delete(name);
  }

  clear(): void {
    this.#channels.clear();
  }

  #settle(name: string, channel: Channel, handing: Handing): void {
    handing.done = true;
    let last: WirePosition | undefined;
    while (channel.open[0]?.done) last = channel.open.shift()?.position;
    // Begun anew meanwhile: these positions are of a log that is gone.
    if (last !== undefined && this.#channels.get(name) === channel) this.#handled(name, last);
  }
}

function begun(position: WirePosition, ids = new Set<string>()): Channel {
  return { seen: plain(position), open: [], stuck: false, ids };
}

/** Without the fields of the frame that it may have come in. */
function plain({ epoch, offset, id }: WirePosition): WirePosition {
  return { epoch, offset, id };
}
