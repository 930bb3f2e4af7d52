/** Scheduling: a message is kept in the store, encoded, until its time has come. Who sends it then is in `scheduler`. */
import { createHash } from 'node:crypto';
import { messageId } from '../../pubsub/store/random-id.ts';
import type { LaterMessage, Schedule } from '../../pubsub/store/schedule.ts';

/** What `send` gives for a message that is sent later. */
export interface Scheduled {
  /** Its id, for `cancel`. */
  scheduled: string;
  /** Milliseconds since 1970: not before. */
  at: number;
  /** True if this idempotency key was scheduled before and waits: then the rest is what was said then. */
  duplicate?: true;
}

/** Milliseconds since 1970 that fit into what is stored: in the year 10889. */
const LATEST = 2 ** 48 - 1;
/** Milliseconds that the key of a message is remembered at least: longer than one instance takes to follow another. */
const LEAST_WINDOW = 10 * 60_000;
/** The same at the most: what JSON can say of for ever. */
const LONGEST_WINDOW = 2 ** 45;

/** Keeps a message until it is due. @throws {RangeError} where `most` are scheduled; 0: no limit */
export async function schedule(
  store: Schedule,
  most: number,
  message: Omit<LaterMessage, 'id'>,
): Promise<Scheduled> {
  const { idempotencyKey: key, idempotencyWindow: window } = message.settings;
  const id = key === undefined ? messageId() : idOfKey(message.channel, key);
  const settings = {
    ...message.settings,
    ...(window !== undefined && { idempotencyWindow: bounded(window) }),
  };
  const { at, wasThere } = await store.add({ ...message, id, settings }, most);
  return { scheduled: id, at, ...(wasThere && { duplicate: true as const }) };
}

function bounded(window: number): number {
  return Math.min(Math.max(window, LEAST_WINDOW), LONGEST_WINDOW);
}

/** The same for each attempt to schedule it. */
function idOfKey(channel: string, key: string): string {
  return createHash('sha256').update(`${channel}\n${key}`).digest('base64url').slice(0, 22);
}

/** When it is due, in milliseconds since 1970. @throws {TypeError} for what is no time, {RangeError} for one that can't be */
export function checkedAt(at: unknown): number {
  if (!(typeof at === 'number' || at instanceof Date) || Number.isNaN(Number(at))) {
    throw new TypeError('at is a Date, or a number of milliseconds since 1970');
  }
  // Never early: not even by a part of a millisecond.
  const time = Math.ceil(Number(at));
  if (time >= 0 && time <= LATEST) return time;
  throw new RangeError(`at is from 0 to ${LATEST} milliseconds since 1970, not ${String(at)}`);
}
