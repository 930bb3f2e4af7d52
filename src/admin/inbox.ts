/** The part of the admin API that is about messages that were sent: what an inbox has, its counts, marks, withdrawal. */
import type { Position } from '../pubsub/store/broker.ts';
import type { Counts } from '../pubsub/store/marks.ts';
import type { HistoryQuery } from '../push/inbox/history.ts';
import type { InboxPage, MarkSettings, Withdrawn } from '../push/inbox/inbox.ts';
import { asItCame, type Decode } from '../push/payload.ts';
import type { HistoryState } from '../push/talk/wire.ts';
import { HttpError } from './json-http.ts';
import { inJson, readRecord, wholeNumber } from './request.ts';
import type { Answer, Call, Parameter, Route } from './route.ts';
import { ref } from './schemas.ts';

export interface InboxTarget {
  inbox(user: string, query: HistoryQuery, decode: Decode): Promise<InboxPage>;
  counts(user: string): Promise<Counts>;
  mark(user: string, settings: MarkSettings): Promise<{ changed: number; counts: Counts }>;
  withdraw(user: string, which: Withdrawn): Promise<boolean>;
  withdrawFrom(topic: string, which: Withdrawn): Promise<boolean>;
}

const MARK_SHAPE =
  'a mark is {"as": …, "messages": […]}, or with "upTo" or "ids", or of all with none of them';
const KEY: Record<string, Parameter> = {
  key: { description: 'What it was sent with as `replaces`.', schema: { type: 'string', minLength: 1 } },
};
const WITHDRAWN = {
  200: { description: 'False: there is no such message any more.', schema: ref('Withdrawn') },
};

/** @param maxBody bytes of a request's body */
export function inboxRoutes(target: InboxTarget, maxBody: number): Route[] {
  const fromUser = (user: string, which: Withdrawn): Promise<boolean> => target.withdraw(user, which);
  const fromTopic = (topic: string, which: Withdrawn): Promise<boolean> => target.withdrawFrom(topic, which);
  return [
    {
      method: 'GET',
      path: '/api/users/{user}/inbox',
      scope: 'read',
      operation: 'listInbox',
      summary: 'What the inbox has, newest first.',
      query: {
        before: {
          description: 'An offset, or `before` of the answer before, as JSON.',
          schema: { type: 'string' },
        },
        limit: { description: 'Default 50.', schema: { type: 'integer', minimum: 1, maximum: 200 } },
        state: {
          description: 'Default `all`: what is not archived.',
          schema: { enum: ['all', 'unseen', 'unread', 'read', 'archived'] },
        },
      },
      answers: { 200: { description: 'One page of it.', schema: ref('InboxPage') } },
      handle: async ({ names: { user }, query }) => {
        const { messages, ...rest } = await target.inbox(user!, historyQuery(query), asItCame);
        return { status: 200, body: { messages: messages.map(inJson), ...rest } };
      },
    },
    {
      method: 'GET',
      path: '/api/users/{user}/counts',
      scope: 'read',
      operation: 'countInbox',
      summary: 'How many messages are unseen, unread, and there at all.',
      answers: { 200: { description: 'The counts.', schema: ref('Counts') } },
      handle: async ({ names: { user } }) => ({ status: 200, body: await target.counts(user!) }),
    },
    {
      method: 'POST',
      path: '/api/users/{user}/marks',
      scope: 'send',
      operation: 'markInbox',
      summary: 'Do with messages of the inbox what the user could do himself; his pages are told.',
      body: {
        description: 'Which, by one of `messages`, `upTo` and `ids`, or all; and as what.',
        schema: ref('Mark'),
      },
      answers: { 200: { description: 'How many have another state now.', schema: ref('Marked') } },
      handle: async ({ request, names: { user }, audit }) => {
        const mark = await readRecord(request, maxBody, ['as', 'messages', 'upTo', 'ids'], MARK_SHAPE);
        if (typeof mark['as'] === 'string') audit['as'] = mark['as'];
        return { status: 200, body: await target.mark(user!, mark as unknown as MarkSettings) };
      },
    },
    {
      method: 'DELETE',
      path: '/api/users/{user}/messages',
      scope: 'send',
      operation: 'withdrawFromUserByKey',
      summary: 'Take a message back by the key that it was sent with.',
      query: KEY,
      answers: WITHDRAWN,
      handle: byKey('user', fromUser),
    },
    {
      method: 'DELETE',
      path: '/api/users/{user}/messages/{id}',
      scope: 'send',
      operation: 'withdrawFromUser',
      summary: 'Take a message back: its data is erased, and pages that have it are told.',
      answers: WITHDRAWN,
      handle: ({ names: { user, id } }) => withdrawn(fromUser(user!, { id: id! })),
    },
    {
      method: 'DELETE',
      path: '/api/topics/{topic}/messages',
      scope: 'send',
      operation: 'withdrawFromTopicByKey',
      summary: 'The same of a topic, by the key that it was sent with.',
      query: KEY,
      answers: WITHDRAWN,
      handle: byKey('topic', fromTopic),
    },
    {
      method: 'DELETE',
      path: '/api/topics/{topic}/messages/{id}',
      scope: 'send',
      operation: 'withdrawFromTopic',
      summary: 'Take a message of a topic back.',
      answers: WITHDRAWN,
      handle: ({ names: { topic, id } }) => withdrawn(fromTopic(topic!, { id: id! })),
    },
  ];
}

function byKey(
  of: 'user' | 'topic',
  withdraw: (name: string, which: Withdrawn) => Promise<boolean>,
): (call: Call) => Promise<Answer> {
  return async ({ names, query: { key } }) => {
    if (key === undefined) {
      throw new HttpError(400, 'bad_request', 'which message: end the path with its id, or give ?key=');
    }
    return withdrawn(withdraw(names[of]!, { key }));
  };
}

async function withdrawn(result: Promise<boolean>): Promise<Answer> {
  return { status: 200, body: { withdrawn: await result } };
}

function historyQuery({ before, limit, state }: Record<string, string>): HistoryQuery {
  return {
    ...(before !== undefined && { before: beforeOf(before) }),
    ...(limit !== undefined && { limit: wholeNumber('limit', limit) }),
    ...(state !== undefined && { state: state as HistoryState }),
  };
}

/** An offset, or a position as the answer before had it. */
function beforeOf(text: string): Position | number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  try {
    const position = JSON.parse(text) as Position | null;
    if (typeof position?.epoch === 'string' && Number.isSafeInteger(position.offset)) return position;
  } catch {
    // It is said below.
  }
  throw new HttpError(400, 'bad_request', 'before is an offset or a position {"epoch":…,"offset":…,"id":…}');
}
