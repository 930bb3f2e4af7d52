/**
 * The admin API of `tidings serve`: programs in any language send messages by HTTP. Everything below /api/
 * needs the admin token; every answer is JSON.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Block, Blocked } from '../push/door/blocks.ts';
import type { BlockSettings, DisconnectSettings } from '../push/door/exclusion.ts';
import type { RevokeSettings } from '../push/door/topic-rights.ts';
import type { AttendanceSettings } from '../push/pages/topic-presence.ts';
import { requestTarget } from '../server/request-target.ts';
import { type InboxTarget, inboxRoutes } from './inbox.ts';
import { HttpError, sendError, sendJson } from './json-http.ts';
import { asHttpError, queryOf, type Route, readRecord } from './request.ts';
import { type SendingTarget, sendingRoutes } from './sending.ts';
import { timeIn } from './time.ts';

/** What the API needs of a push server. */
export interface AdminTarget extends SendingTarget, InboxTarget {
  sessions(user: string): Promise<unknown>;
  online(users: readonly string[]): Promise<Set<string>>;
  presence(topic: string, settings: AttendanceSettings): Promise<unknown>;
  recheck(user: string): Promise<unknown>;
  disconnect(user: string, settings: DisconnectSettings): Promise<number>;
  block(who: Blocked, settings: BlockSettings): Promise<number>;
  unblock(who: Blocked): Promise<boolean>;
  blockOf(who: Blocked): Promise<Block | undefined>;
  blocks(): Promise<Block[]>;
  subscribe(user: string, topic: string): Promise<number>;
  unsubscribe(user: string, topic: string): Promise<number>;
  revoke(user: string, topic: string, settings: RevokeSettings): Promise<number>;
  permit(user: string, topic: string): Promise<boolean>;
  stats(): unknown;
}

export interface AdminOptions {
  target: AdminTarget;
  /** Without one the API is off. */
  token: string | undefined;
  /** Bytes of a request's body. */
  maxBody: number;
}

/** Answers requests whose path begins with /api/; never rejects. */
export function adminApi({ target, token, maxBody }: AdminOptions) {
  const blockMethods = (who: (name: string) => Blocked): Route['methods'] => ({
    GET: async ({ name }) => {
      const block = await target.blockOf(who(name));
      if (block === undefined) throw new HttpError(404, 'not_blocked', 'there is no such block');
      return { status: 200, body: block };
    },
    PUT: async ({ request, name }) => {
      const settings = await blockSettings(request, maxBody);
      return { status: 200, body: { ended: await target.block(who(name), settings) } };
    },
    DELETE: async ({ name }) => ({ status: 200, body: { lifted: await target.unblock(who(name)) } }),
  });
  const routes: Route[] = [
    ...sendingRoutes(target, maxBody),
    ...inboxRoutes(target, maxBody),
    {
      pattern: /^\/api\/topics\/([^/]+)\/presence$/,
      hasQuery: true,
      methods: {
        GET: async ({ request, name }) => ({
          status: 200,
          body: await target.presence(name, attendanceSettings(request)),
        }),
      },
    },
    {
      pattern: /^\/api\/online$/,
      methods: {
        POST: async ({ request }) => {
          const { users } = await readRecord(request, maxBody, ['users'], 'a body is {"users": […]}');
          const online = await target.online(users as string[]);
          return { status: 200, body: { online: [...online] } };
        },
      },
    },
    {
      pattern: /^\/api\/users\/([^/]+)\/sessions$/,
      hasQuery: true,
      methods: {
        GET: async ({ name }) => ({ status: 200, body: await target.sessions(name) }),
        DELETE: async ({ request, name }) => {
          const ended = await target.disconnect(name, disconnectSettings(request));
          return { status: 200, body: { ended } };
        },
      },
    },
    { pattern: /^\/api\/users\/([^/]+)\/block$/, methods: blockMethods((user) => ({ user })) },
    { pattern: /^\/api\/logins\/([^/]+)\/block$/, methods: blockMethods((login) => ({ login })) },
    {
      pattern: /^\/api\/blocks$/,
      methods: { GET: async () => ({ status: 200, body: await target.blocks() }) },
    },
    {
      pattern: /^\/api\/users\/([^/]+)\/recheck$/,
      methods: { POST: async ({ name }) => ({ status: 200, body: await target.recheck(name) }) },
    },
    {
      pattern: /^\/api\/users\/([^/]+)\/topics\/([^/]+)$/,
      methods: {
        PUT: async ({ name, topic }) => ({
          status: 200,
          body: { subscribed: await target.subscribe(name, topic) },
        }),
        DELETE: async ({ name, topic }) => ({
          status: 200,
          body: { unsubscribed: await target.unsubscribe(name, topic) },
        }),
      },
    },
    {
      pattern: /^\/api\/users\/([^/]+)\/topics\/([^/]+)\/revocation$/,
      methods: {
        PUT: async ({ request, name, topic }) => {
          const { until } = await blockSettings(request, maxBody);
          const settings = until === undefined ? {} : { until };
          return { status: 200, body: { unsubscribed: await target.revoke(name, topic, settings) } };
        },
        DELETE: async ({ name, topic }) => ({
          status: 200,
          body: { lifted: await target.permit(name, topic) },
        }),
      },
    },
    { pattern: /^\/api\/stats$/, methods: { GET: async () => ({ status: 200, body: target.stats() }) } },
  ];

  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      authorize(request, token);
      const { path } = requestTarget(request);
      for (const { pattern, hasQuery, methods } of routes) {
        const match = pattern.exec(path);
        if (match === null) continue;
        const handle = methods[request.method ?? ''];
        if (handle === undefined) {
          const allow = Object.keys(methods).join(', ');
          throw new HttpError(405, 'method_not_allowed', `${path} takes ${allow}`, { Allow: allow });
        }
        if (!hasQuery && request.method !== 'GET') queryOf(request, []);
        const [name, topic] = [match[1] ?? '', match[2] ?? ''].map(decodeName) as [string, string];
        const { status, body } = await handle({ request, name, topic });
        sendJson(response, status, body);
        return;
      }
      throw new HttpError(404, 'not_found', `there is nothing at ${path}`);
    } catch (error) {
      if (!response.headersSent && !response.destroyed) sendError(response, asHttpError(error));
    }
  };
}

function authorize(request: IncomingMessage, token: string | undefined): void {
  if (token === undefined) {
    throw new HttpError(403, 'admin_api_off', 'the admin API is off: start the server with --admin-token');
  }
  const challenge = { 'WWW-Authenticate': 'Bearer realm="tidings"' };
  const [, given] = /^Bearer +([^\s]+) *$/i.exec(request.headers.authorization ?? '') ?? [];
  if (given === undefined) {
    throw new HttpError(401, 'token_missing', 'send the header Authorization: Bearer TOKEN', challenge);
  }
  // Digests have one length, and comparing them takes one time, whatever was given.
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  if (!timingSafeEqual(digest(given), digest(token))) {
    throw new HttpError(403, 'token_wrong', 'this is not the admin token');
  }
}

function attendanceSettings(request: IncomingMessage): AttendanceSettings {
  const { limit } = queryOf(request, ['limit']);
  if (limit === undefined) return {};
  if (!/^\d{1,9}$/.test(limit)) throw new HttpError(400, 'bad_request', 'limit is a whole number');
  return { limit: Number(limit) };
}

function disconnectSettings(request: IncomingMessage): DisconnectSettings {
  // A filter with a typing error would end more than was meant.
  const { code, ...filter } = queryOf(request, ['login', 'session', 'device', 'code', 'reason']);
  return code === undefined ? filter : { ...filter, code: Number(code) };
}

/** A body is optional. */
async function blockSettings(request: IncomingMessage, maxBody: number): Promise<BlockSettings> {
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
  if (length === '0' && encoding === undefined) return {};
  const shape = 'a block is a JSON object: {"until": …, "reason": …}, each optional';
  const { until, reason } = await readRecord(request, maxBody, ['until', 'reason'], shape);
  return {
    ...(until !== undefined && {
      until: typeof until === 'string' ? new Date(timeIn(until)) : (until as number),
    }),
    ...(reason !== undefined && { reason: reason as string }),
  };
}

function decodeName(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new HttpError(400, 'bad_name', 'the name in the path is not percent-encoded UTF-8');
  }
}
