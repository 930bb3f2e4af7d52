/** What tabs that share a connection say to each other: the leader's hub to tabs, tabs to the hub. */
import type { WirePosition } from '../../push/talk/wire.ts';

/** Instead of a frame: greet anew. */
export const ANEW = 0;
/** Instead of the offset before: the tab is not on this channel any more. */
export const ENDED = -1;

/**
 * One thing that a hub says. A code in the place of a frame ends the tab's connection, with the reason in `channel`; a
 * negative one is what has ended the leader's.
 */
export type Saying = [
  /** Empty: all of them. */
  to: string,
  /** A frame of the server as its text, empty for none; or a code. */
  what: string | number,
  /** Whose frame it is: for tabs that are on this channel. */
  channel?: string,
  /** Of a message: the offset of the one before it, which the tab must have. */
  after?: number,
  /** Where the tab is in the channel from here on. */
  position?: WirePosition,
];

/** Older terms than the newest that a tab knows count for nothing. Nothing said: it is there. Oldest first. */
export type HubWords = [term: number, hub: string, says: Saying[]];

/**
 * The term of the hub that it is for; 0: of any. A frame; an empty one: the tab has gone, or has heard that the hub's
 * connection has ended; or none, to ask whether anybody is there.
 */
export type TabWords = [term: number, tab: string, text?: string];
