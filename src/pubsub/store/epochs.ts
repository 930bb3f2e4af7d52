/**
 * Epochs: what tells apart the lives of one channel. Looking at a channel that nobody has written to creates nothing,
 * so there is no life yet whose epoch a page could keep. It keeps when it looked, and the store's origin; the epoch of
 * the channel's first life says from which moment on it is what such a page waits for. For everybody else an epoch is
 * opaque text.
 *
 *     life     8 characters by chance, 4 of the origin, 11 hexadecimal digits: milliseconds since 1970, `since`
 *     unused   a full stop, 4 of the origin, 11 digits: `since`, 11 digits: when it was looked at
 *
 * `since` is the latest moment at which an earlier life could have been, and be forgotten by now; in a life that begins
 * after a loss, the end of time. Another origin is another store: emptied, or never the same.
 */
import { randomId } from './random-id.ts';

const DIGITS = 11;
/** Characters of an origin. */
export const ORIGIN = 4;
const START = 8;
const NEVER = 'f'.repeat(DIGITS);
const UNUSED = '.';

/** Characters of a life's epoch. */
export const EPOCH_LENGTH = START + ORIGIN + DIGITS;

/** Of a store: 24 bits. */
export const newOrigin = (): string => randomId(3);

/** What an epoch begins with, and an origin for a store that has none: twelve characters. */
export const newStart = (): string => randomId(9);

/** @param since milliseconds since 1970; `undefined` after a loss */
export function newEpoch(origin: string, since: number | undefined): string {
  return randomId(6) + origin + (since === undefined ? NEVER : hex(since));
}

/** For who stands before the first message of a channel that nobody has written to. */
export function unusedEpoch(origin: string, since: number, now: number): string {
  return UNUSED + origin + hex(since) + hex(now);
}

/**
 * Whether who stood before the first message in epoch `seen` stands before the first one in epoch `now`, with nothing
 * lost in between. `''` says nothing of either.
 */
export function leadsTo(seen: string, now: string): boolean {
  if (seen === now || seen === '') return true;
  if (!isUnused(seen)) return false;
  if (now === '') return true;
  const origin = now.slice(isUnused(now) ? 1 : START);
  const looked = seen.slice(1 + ORIGIN + DIGITS);
  const since = origin.slice(ORIGIN, ORIGIN + DIGITS);
  return origin.slice(0, ORIGIN) === seen.slice(1, 1 + ORIGIN) && looked > since;
}

function isUnused(epoch: string): boolean {
  return epoch.startsWith(UNUSED);
}

function hex(milliseconds: number): string {
  return Math.max(0, Math.floor(milliseconds)).toString(16).padStart(DIGITS, '0');
}
