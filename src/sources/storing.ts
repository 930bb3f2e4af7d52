/** One message into the store: what it is sent with, which errors are its own, and trying again for all others. */
import { createHash } from 'node:crypto';
import { isUnusable } from '../pubsub/store/broker.ts';
import { explain } from '../push/explain.ts';
import type { PushServer } from '../push/index.ts';
import type { AnySettings } from '../push/sending/publish-settings.ts';
import { inboxOf, keyProblem } from '../push/talk/names.ts';
import { type Backoff, delayOf, pause } from '../waiting.ts';
import { MessageError, type Sending } from './driver.ts';

/** Between two attempts to store a message. */
const ATTEMPTS: Backoff = { min: 100, max: 5_000 };
/** Users whose errors a reason names. */
const MAX_NAMED = 3;
const HEX = 36;

/** Where a message is stored, by the names of the store: in all of these the order is kept. */
export function channelsOf({ user, users, topic }: Sending): string[] {
  if (user !== undefined) return [inboxOf(user)];
  if (topic !== undefined) return [topic];
  return [...new Set(users)].filter((each) => typeof each === 'string').map(inboxOf);
}

/**
 * An idempotency key of a message's id: as it is where a key can be that, else a digest of it.
 *
 * @param index which of the sendings that `map` has made of the message
 */
export function keyOf(scope: string, id: string, index: number): string {
  const place = scope.replace(/[%#:]/g, (mark) => `%${mark.charCodeAt(0).toString(HEX)}`);
  const prefix = index === 0 ? `${place}:` : `${place}#${index}:`;
  const key = prefix + id;
  if (keyProblem(key) === undefined && !/[\u0000-\u001f\u007f]/.test(key)) return key;
  // UTF-16, in which lone surrogates differ from each other.
  return `sha256:${createHash('sha256').update(Buffer.from(key, 'utf16le')).digest('base64url')}`;
}

export interface StoringEvents {
  /** It can't be stored now: it is tried again. */
  failed(error: unknown): void;
  /** A message is stored, in one channel. */
  stored(isDuplicate: boolean): void;
}

/**
 * Stores a message, however often that has to be tried.
 *
 * @param key for a message without a key of its own
 * @param signal aborted: no attempt begins any more
 * @returns whether it is stored; false once `signal` was aborted before
 * @throws {MessageError} with the reason, where it can never be stored; for some of many users, once all others have it
 */
export async function store(
  push: PushServer,
  sending: Sending,
  key: string,
  signal: AbortSignal,
  events: StoringEvents,
): Promise<boolean> {
  const { user, users, topic, data, ...rest } = sending;
  const settings = { idempotencyKey: key, ...rest } as AnySettings;
  if (users !== undefined) return storeForMany(push, users, data, settings, signal, events);
  for (let count = 0; !signal.aborted; count++) {
    try {
      const { duplicate } = await (user === undefined
        ? push.publish(topic!, data, settings)
        : push.send(user, data, settings));
      events.stored(duplicate === true);
      return true;
    } catch (error) {
      if (isFinal(error)) throw new MessageError(explain(error), { cause: error });
      events.failed(error);
      await pause(delayOf(count, ATTEMPTS), signal);
    }
  }
  return false;
}

/** Only those are tried again that have failed. */
async function storeForMany(
  push: PushServer,
  users: readonly string[],
  data: unknown,
  settings: object,
  signal: AbortSignal,
  events: StoringEvents,
): Promise<boolean> {
  const refused: { user: unknown; reason: string }[] = [];
  let left: readonly string[] = users;
  for (let count = 0; ; count++) {
    if (signal.aborted) return false;
    let again: string[] = [];
    let failure: unknown;
    try {
      await push.sendMany(left, data, {
        ...settings,
        signal,
        each({ user, receipt, error }) {
          if (receipt !== undefined) events.stored(receipt.duplicate === true);
          else if (isFinal(error)) refused.push({ user, reason: explain(error) });
          else {
            again.push(user);
            failure = error;
          }
        },
      });
    } catch (error) {
      if (signal.aborted) return false;
      if (isFinal(error)) throw new MessageError(explain(error), { cause: error });
      // Of nobody it is known that he has it.
      again = [...left];
      failure = error;
    }
    left = again;
    if (left.length === 0) break;
    events.failed(failure);
    await pause(delayOf(count, ATTEMPTS), signal);
  }
  if (refused.length === 0) return true;
  const named = refused.slice(0, MAX_NAMED).map(({ user, reason }) => `${shown(user)}: ${reason}`);
  const more = refused.length > MAX_NAMED ? '; …' : '';
  throw new MessageError(`not for ${refused.length} of ${users.length} users: ${named.join('; ')}${more}`);
}

function shown(user: unknown): string {
  return typeof user === 'string' ? JSON.stringify(user.slice(0, 128)) : typeof user;
}

/** Whether trying again is of no use, as for what is scheduled. */
function isFinal(error: unknown): boolean {
  // That there is no room in the schedule is no fault of the message's.
  if ((error as { code?: unknown })?.code === 'TOO_MANY_SCHEDULED') return false;
  return error instanceof TypeError || error instanceof RangeError || isUnusable(error);
}
