/** What is scheduled, as an application sees it. */
import { checkNames, type Names } from '../../option-names.ts';
import {
  type FailedMessage,
  type ListedMessage,
  MAX_FAILED,
  type Place,
  type Schedule,
} from '../../pubsub/store/schedule.ts';
import type { Decode } from '../payload.ts';
import { inboxOf, isInbox, topicProblem, userOf, userProblem } from '../talk/names.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;

/** Which scheduled messages are listed. */
export interface ScheduledSettings {
  /** Only what is for this user. */
  user?: string | undefined;
  /** Only what is for this topic. */
  topic?: string | undefined;
  /** Only what is due before: a Date, milliseconds since 1970, or `before` of the page before this one. */
  before?: Date | number | string | undefined;
  /** Messages, 1 to 200. Default 50. A page has fewer where they are more than 1 MiB. */
  limit?: number | undefined;
  /** In place of those that wait, those of the newest 1,000 that could never be stored; then all on one page. Default false. */
  failed?: boolean | undefined;
}

const SETTINGS: Names<ScheduledSettings> = {
  user: true,
  topic: true,
  before: true,
  limit: true,
  failed: true,
};

/** A message that waits for its time. */
export interface ScheduledMessage {
  /** What `cancel` takes. */
  id: string;
  /** For whom it is; or `topic` is there. */
  user?: string;
  /** The topic that it will be published to. */
  topic?: string;
  /** Milliseconds since 1970. */
  at: number;
  /** When it is tried again, where it could not be stored by now. */
  retry?: number;
  /** What will be sent; bytes as a Buffer. */
  data?: unknown;
  /** The key, of what was sent by `sendReference`. */
  reference?: string;
  /** As it was given. */
  idempotencyKey?: string;
  /** Milliseconds from its being stored after which it is gone. */
  ttl?: number;
  /** As it was given. */
  replaces?: string;
  /** Why it could never be stored. Then its data is not kept. */
  failed?: string;
  /** Milliseconds since 1970 when that was found out. */
  failedAt?: number;
}

/** A part of what waits. */
export interface ScheduledPage {
  /** How many messages are scheduled in all, those that are being sent among them. */
  count: number;
  /** The latest first; of those that have failed, the one that did so last. */
  messages: ScheduledMessage[];
  /** For the next page. Left out where there is none. */
  before?: string;
}

/** @throws {TypeError} or {RangeError} as `PushServer.scheduled` */
export async function listScheduled(
  schedule: Schedule,
  settings: ScheduledSettings,
  decode: Decode,
): Promise<ScheduledPage> {
  checkNames('scheduled', settings, SETTINGS);
  const { user, topic, before, limit = DEFAULT_LIMIT, failed = false } = settings;
  const channel = channelOf(user, topic);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new RangeError(`limit is a whole number from 1 to ${MAX_LIMIT}, not ${String(limit)}`);
  }
  const place = before === undefined ? undefined : placeOf(before);
  if (failed) {
    const [all, { count }] = await Promise.all([schedule.failed(MAX_FAILED), schedule.list({ limit: 1 })]);
    const own = all.filter((message) => channel === undefined || message.channel === channel);
    return { count, messages: own.map(failedMessage) };
  }
  const { count, messages, hasMore } = await schedule.list({
    limit,
    ...(channel !== undefined && { channel }),
    ...(place !== undefined && { before: place }),
  });
  const last = messages.at(-1)?.place;
  return {
    count,
    messages: messages.map((message) => listedMessage(message, decode)),
    ...(hasMore && last !== undefined && { before: `${last.due}-${last.at}-${last.number}` }),
  };
}

function channelOf(user: string | undefined, topic: string | undefined): string | undefined {
  if (user !== undefined && topic !== undefined) throw new TypeError('give a user or a topic, not both');
  const problem =
    user !== undefined ? userProblem(user) : topic !== undefined ? topicProblem(topic) : undefined;
  if (problem !== undefined) throw new TypeError(problem);
  return user === undefined ? topic : inboxOf(user);
}

function placeOf(before: Date | number | string): Place {
  if (typeof before === 'string') {
    const [, due, at, number] = /^(\d{1,15})-(\d{1,15})-(\d{1,15})$/.exec(before) ?? [];
    if (due === undefined)
      throw new TypeError('before is a Date, a number of milliseconds, or that of another page');
    return { due: Number(due), at: Number(at), number: Number(number) };
  }
  const time = Math.ceil(Number(before));
  if (!Number.isSafeInteger(time) || time < 0) throw new TypeError('before is no time');
  return { due: time, at: time, number: 0 };
}

function whose(channel: string): { user: string } | { topic: string } | Record<string, never> {
  if (channel === '') return {};
  return isInbox(channel) ? { user: userOf(channel) } : { topic: channel };
}

function listedMessage(
  { id, channel, at, kind, payload, settings, place }: ListedMessage,
  decode: Decode,
): ScheduledMessage {
  const { idempotencyKey, ttl, replaces } = settings;
  return {
    id,
    ...whose(channel),
    at,
    ...(place.due > at && { retry: place.due }),
    ...(kind === 'reference' ? { reference: payload.toString() } : { data: decode(kind, payload) }),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(ttl !== undefined && { ttl }),
    ...(replaces !== undefined && { replaces }),
  };
}

function failedMessage({ id, channel, at, time, reason }: FailedMessage): ScheduledMessage {
  return { id, ...whose(channel), at, failed: reason, failedAt: time };
}
