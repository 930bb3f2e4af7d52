/**
 * The admin API of `tidings serve`: programs in any language send messages by HTTP. Everything below /api/
 * needs the admin token; every answer is JSON.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { DamagedChannelError } from '../pubsub/store/broker.ts';
import { UnconfirmedError } from '../pubsub/store/control.ts';
import type { Block, Blocked } from '../push/door/blocks.ts';
import type { BlockSettings, DisconnectSettings } from '../push/door/exclusion.ts';
import type { RevokeSettings } from '../push/door/topic-rights.ts';
import type { AttendanceSettings } from '../push/pages/topic-presence.ts';
import { requestTarget } from '../server/request-target.ts';
import { HttpError, readJson, sendError, sendJson } from './json-http.ts';

/** What the API needs of a push server. */
export interface AdminTarget {
  send(user: string, data: unknown, options: { idempotencyKey?: string }): Promise<unknown>;
  publish(topic: string, data: unknown, options: { idempotencyKey?: string }): Promise<unknown>;
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

interface Call {
  request: IncomingMessage;
  /** What the pattern's groups have matched, decoded. */
  name: string;
  topic: string;
}

interface Route {
  pattern: RegExp;
  methods: Record<string, (call: Call) => Promise<{ status: number; body: unknown }>>;
}

/** Answers requests whose path begins with /api/; never rejects. */
export function adminApi({ target, token, maxBody }: AdminOptions) {
  const deliver =
    (to: 'send' | 'publish') =>
    async ({ request, name }: Call) => {
      const key = idempotencyKey(request);
      const data = await readJson(request, maxBody);
      const options = key === undefined ? {} : { idempotencyKey: key };
      return { status: 201, body: await target[to](name, data, options) };
    };
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
    { pattern: /^\/api\/users\/([^/]+)\/messages$/, methods: { POST: deliver('send') } },
    { pattern: /^\/api\/topics\/([^/]+)\/messages$/, methods: { POST: deliver('publish') } },
    {
      pattern: /^\/api\/topics\/([^/]+)\/presence$/,
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
      for (const { pattern, methods } of routes) {
        const match = pattern.exec(path);
        if (match === null) continue;
        const handle = methods[request.method ?? ''];
        if (handle === undefined) {
          const allow = Object.keys(methods).join(', ');
          throw new HttpError(405, 'method_not_allowed', `${path} takes ${allow}`, { Allow: allow });
        }
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

function idempotencyKey(request: IncomingMessage): string | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && /^[\x20-\x7e]{1,255}$/.test(key)) return key;
  throw new HttpError(400, 'bad_idempotency_key', 'an Idempotency-Key is 1 to 255 ASCII characters');
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

/** @throws {HttpError} for a parameter that is none of these, or comes twice */
function queryOf(request: IncomingMessage, known: string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(requestTarget(request).query)) {
    if (!known.includes(name)) {
      throw new HttpError(400, 'bad_request', `there is no parameter ${JSON.stringify(name.slice(0, 64))}`);
    }
    if (name in found) throw new HttpError(400, 'bad_request', `${name} is given twice`);
    found[name] = value;
  }
  return found;
}

/** A body is optional. */
async function blockSettings(request: IncomingMessage, maxBody: number): Promise<BlockSettings> {
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
  if (length === '0' && encoding === undefined) return {};
  const shape = 'a block is a JSON object: {"until": …, "reason": …}, each optional';
  const { until, reason } = await readRecord(request, maxBody, ['until', 'reason'], shape);
  return {
    ...(until !== undefined && { until: typeof until === 'string' ? new Date(until) : (until as number) }),
    ...(reason !== undefined && { reason: reason as string }),
  };
}

/** @throws {HttpError} with what it should be, for anything but an object with these fields or some of them */
async function readRecord(
  request: IncomingMessage,
  maxBody: number,
  known: string[],
  shape: string,
): Promise<Record<string, unknown>> {
  const body: unknown = JSON.parse((await readJson(request, maxBody)).text);
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new HttpError(400, 'bad_request', shape);
  }
  const unknown = Object.keys(body).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new HttpError(400, 'bad_request', `there is no ${JSON.stringify(unknown)}: ${shape}`);
  return body as Record<string, unknown>;
}

function decodeName(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw new HttpError(400, 'bad_name', 'the name in the path is not percent-encoded UTF-8');
  }
}

/** Type and range errors are the caller's; whatever else a send fails with is the store's. */
function asHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  const { message } = error as Error;
  if (error instanceof TypeError || error instanceof RangeError) {
    return new HttpError(400, 'bad_request', message);
  }
  if (error instanceof UnconfirmedError)
    return new HttpError(503, 'not_confirmed', message, { 'Retry-After': '1' });
  if (error instanceof DamagedChannelError) return new HttpError(500, 'damaged', message);
  return new HttpError(503, 'not_stored', message, { 'Retry-After': '1' });
}
