/** The part of the admin API that looks: at an instance, a user, a topic. */

import type { Counts } from '../pubsub/store/marks.ts';
import type { Block, Blocked } from '../push/door/blocks.ts';
import { asItCame, type Decode } from '../push/payload.ts';
import type { Pending } from '../push/sending/pending.ts';
import type { ChannelInfo } from '../push/watch/channel-info.ts';
import type { Stats } from '../push/watch/stats.ts';
import { HttpError } from './json-http.ts';
import { inJson, wholeNumber } from './request.ts';
import type { Route } from './route.ts';
import { ref } from './schemas.ts';

/** Messages of one answer. */
const MAX_PENDING = 1_000;

export interface LookTarget {
  stats(): Stats;
  sessions(user: string): Promise<unknown[]>;
  counts(user: string): Promise<Counts>;
  blockOf(who: Blocked): Promise<Block | undefined>;
  pending(user: string, limit: number, decode: Decode): Promise<Pending>;
  channelInfo(of: { user: string } | { topic: string }): Promise<ChannelInfo>;
}

export function lookRoutes(target: LookTarget): Route[] {
  return [
    {
      method: 'GET',
      path: '/api/stats',
      scope: 'read',
      operation: 'getStats',
      summary: 'What the instance that answers is doing.',
      answers: { 200: { description: 'Its counts.', schema: ref('Stats') } },
      handle: () => ({ status: 200, body: target.stats() }),
    },
    {
      method: 'GET',
      path: '/api/users/{user}',
      scope: 'read',
      operation: 'getUser',
      summary: 'All of a user at once: his sessions, his inbox, his devices, and whether he is kept out.',
      answers: { 200: { description: 'The user; there is none who is unknown.', schema: ref('User') } },
      handle: async ({ names }) => {
        const user = names['user']!;
        const [inbox, counts, sessions, block] = await Promise.all([
          target.channelInfo({ user }),
          target.counts(user),
          target.sessions(user),
          target.blockOf({ user }),
        ]);
        return { status: 200, body: { user, sessions, counts, inbox, ...(block && { block }) } };
      },
    },
    {
      method: 'GET',
      path: '/api/users/{user}/pending',
      scope: 'read',
      operation: 'listPending',
      summary: 'What no device of the user has acknowledged yet, oldest first.',
      query: {
        limit: {
          description: 'Messages; default 100.',
          schema: { type: 'integer', minimum: 0, maximum: MAX_PENDING },
        },
      },
      answers: { 200: { description: 'How many, and the first of them.', schema: ref('Pending') } },
      handle: async ({ names: { user }, query: { limit = '100' } }) => {
        const most = wholeNumber('limit', limit);
        if (most > MAX_PENDING) throw new HttpError(400, 'bad_request', `limit is at most ${MAX_PENDING}`);
        const { count, messages } = await target.pending(user!, most, asItCame);
        return { status: 200, body: { count, messages: messages.map(inJson) } };
      },
    },
    {
      method: 'GET',
      path: '/api/topics/{topic}',
      scope: 'read',
      operation: 'getTopic',
      summary: 'What the store has of a topic.',
      answers: { 200: { description: 'How much, and up to where.', schema: ref('Topic') } },
      handle: async ({ names: { topic } }) => ({
        status: 200,
        body: { topic, ...(await target.channelInfo({ topic: topic! })) },
      }),
    },
  ];
}
