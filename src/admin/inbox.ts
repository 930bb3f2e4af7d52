/** The part of the admin API that is about messages that were sent: what an inbox has, its counts, marks, withdrawal. */
import type { Position } from '../pubsub/store/broker.ts';
import type { Counts } from '../pubsub/store/marks.ts';
import type { HistoryQuery } from '../push/inbox/history.ts';
import type { InboxMessage, InboxPage, MarkSettings, Withdrawn } from '../push/inbox/inbox.ts';
import { asItCame, type Decode } from '../push/payload.ts';
import type { HistoryState } from '../push/talk/wire.ts';
import { HttpError } from './json-http.ts';
import { type Call, queryOf, type Route, readRecord } from './request.ts';

export interface InboxTarget {
  inbox(user: string, query: HistoryQuery, decode: Decode): Promise<InboxPage>;
  counts(user: string): Promise<Counts>;
  mark(user: string, settings: MarkSettings): Promise<{ changed: number; counts: Counts }>;
  withdraw(user: string, which: Withdrawn): Promise<boolean>;
  withdrawFrom(topic: string, which: Withdrawn): Promise<boolean>;
}

/** @param maxBody bytes of a request's body */
export function inboxRoutes(target: InboxTarget, maxBody: number): Route[] {
  const shape = 'a mark is {"as": …, "messages": […]}, or with "upTo" or "ids", or of all with none of them';
  return [
    {
      pattern: /^\/api\/users\/([^/]+)\/inbox$/,
      hasQuery: true,
      methods: {
        GET: async ({ request, name }) => {
          const { messages, ...rest } = await target.inbox(name, historyQuery(request), asItCame);
          return { status: 200, body: { messages: messages.map(asJson), ...rest } };
        },
      },
    },
    {
      pattern: /^\/api\/users\/([^/]+)\/counts$/,
      methods: { GET: async ({ name }) => ({ status: 200, body: await target.counts(name) }) },
    },
    {
      pattern: /^\/api\/users\/([^/]+)\/marks$/,
      methods: {
        POST: async ({ request, name }) => {
          const mark = await readRecord(request, maxBody, ['as', 'messages', 'upTo', 'ids'], shape);
          return { status: 200, body: await target.mark(name, mark as unknown as MarkSettings) };
        },
      },
    },
    {
      pattern: /^\/api\/users\/([^/]+)\/messages\/([^/]+)$/,
      methods: { DELETE: async ({ name, topic: id }) => withdrawn(target.withdraw(name, { id })) },
    },
    {
      pattern: /^\/api\/topics\/([^/]+)\/messages\/([^/]+)$/,
      methods: { DELETE: async ({ name, topic: id }) => withdrawn(target.withdrawFrom(name, { id })) },
    },
  ];
}

/** By the key that it was sent with as `replaces`: of what is posted to the same address. */
export function withdrawByKey(
  withdraw: (name: string, which: Withdrawn) => Promise<boolean>,
): (call: Call) => Promise<{ status: number; body: unknown }> {
  return async ({ request, name }) => {
    const { key } = queryOf(request, ['key']);
    if (key === undefined) {
      throw new HttpError(400, 'bad_request', 'which message: end the path with its id, or give ?key=');
    }
    return withdrawn(withdraw(name, { key }));
  };
}

/** How long a message lives, and what it replaces, as parameters of the request that sends it. */
export function lifeOf({ ttl, replaces }: Record<string, string>): { ttl?: number; replaces?: string } {
  return {
    ...(ttl !== undefined && { ttl: wholeNumber('ttl', ttl) }),
    ...(replaces !== undefined && { replaces }),
  };
}

async function withdrawn(result: Promise<boolean>): Promise<{ status: number; body: unknown }> {
  return { status: 200, body: { withdrawn: await result } };
}

function historyQuery(request: Call['request']): HistoryQuery {
  const { before, limit, state } = queryOf(request, ['before', 'limit', 'state']);
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

/** Bytes as pages get them. */
function asJson(message: InboxMessage): object {
  const { data } = message;
  return Buffer.isBuffer(data) ? { ...message, data: data.toString('base64'), encoding: 'base64' } : message;
}

/** @throws {HttpError} for anything but a whole number */
function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new HttpError(400, 'bad_request', `${name} is a whole number`);
  return Number(text);
}
