/** Reads what a client says about its inbox. Nothing of it is believed before it has been looked at. */
import { createHash } from 'node:crypto';
import { MARK_AS, MAX_MARKED, type Mark } from '../../pubsub/store/marks.ts';
import { HISTORY_STATES, MAX_LIMIT } from '../inbox/history.ts';
import { FrameError, positionOf } from './frames.ts';
import { replacesProblem, ttlProblem } from './names.ts';
import { type HistoryState, INBOX, type WireMarkAs, type WirePosition } from './wire.ts';

const MARKS: readonly unknown[] = MARK_AS satisfies readonly WireMarkAs[];
const STATES: readonly unknown[] = HISTORY_STATES;

/** @throws {FrameError} bad-frame */
export function markOf({ as, messages, upTo }: Record<string, unknown>): Mark {
  if (!MARKS.includes(as)) throw new FrameError('bad-frame', `as is one of ${MARKS.join(', ')}`);
  const mark: Mark = { as: as as WireMarkAs };
  if (messages !== undefined && upTo !== undefined) {
    throw new FrameError('bad-frame', 'a mark is of messages or of all upTo one');
  }
  if (upTo !== undefined) mark.upTo = positionOf(upTo, INBOX);
  if (messages === undefined) return mark;
  if (!Array.isArray(messages) || messages.length > MAX_MARKED) {
    throw new FrameError('bad-frame', `messages is an array of at most ${MAX_MARKED} positions`);
  }
  mark.messages = messages.map((position) => positionOf(position, INBOX));
  return mark;
}

/** @throws {FrameError} bad-frame */
export function historyQueryOf({ before, limit, state }: Record<string, unknown>): {
  before: WirePosition | undefined;
  limit: number | undefined;
  state: HistoryState | undefined;
} {
  const isFit = Number.isInteger(limit) && (limit as number) >= 1 && (limit as number) <= MAX_LIMIT;
  if (limit !== undefined && !isFit) {
    throw new FrameError('bad-frame', `limit is a whole number from 1 to ${MAX_LIMIT}`);
  }
  if (state !== undefined && !STATES.includes(state)) {
    throw new FrameError('bad-frame', `state is one of ${STATES.join(', ')}`);
  }
  return {
    before: before === undefined ? undefined : positionOf(before, INBOX),
    limit: limit as number | undefined,
    state: state as HistoryState | undefined,
  };
}

/**
 * How long a message that a page publishes lives, and what it replaces: a page's key is its user's own, so that it replaces
 * nothing of others, nor of the application's.
 *
 * @throws {FrameError} bad-frame
 */
export function lifeOf(
  { ttl, replaces }: Record<string, unknown>,
  user: string,
): { ttl?: number; replaces?: string } {
  const problem = ttlProblem(ttl) ?? (replaces === undefined ? undefined : replacesProblem(replaces));
  if (problem !== undefined) throw new FrameError('bad-frame', problem);
  return {
    ...(ttl !== undefined && { ttl: ttl as number }),
    ...(replaces !== undefined && { replaces: ownKey(user, replaces as string) }),
  };
}

function ownKey(user: string, key: string): string {
  return `page:${createHash('sha256').update(`${user}\n${key}`).digest('base64url')}`;
}
