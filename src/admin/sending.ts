/** The part of the admin API that sends: now and later, to one and to many; and what is scheduled. */
import { asItCame, type Decode, JsonText } from '../push/payload.ts';
import type { AnySettings, SendManySettings } from '../push/sending/publisher.ts';
import type { ScheduledPage, ScheduledSettings } from '../push/sending/schedule-list.ts';
import type { UserResult } from '../push/sending/send-many.ts';
import { textOfField } from '../push/talk/json-field.ts';
import { type InboxTarget, lifeOf, withdrawByKey } from './inbox.ts';
import { HttpError, readJson } from './json-http.ts';
import { asHttpError, type Call, idempotencyKey, queryOf, type Route, recordOf } from './request.ts';
import { timeIn } from './time.ts';

/** What it needs of a push server. */
export interface SendingTarget extends Pick<InboxTarget, 'withdraw' | 'withdrawFrom'> {
  send(user: string, data: unknown, settings: AnySettings): Promise<unknown>;
  publish(topic: string, data: unknown, settings: AnySettings): Promise<unknown>;
  sendMany(
    users: readonly string[],
    data: unknown,
    settings: Omit<SendManySettings, 'each'>,
  ): Promise<UserResult[]>;
  scheduled(settings: ScheduledSettings, decode: Decode): Promise<ScheduledPage>;
  cancel(id: string): Promise<boolean>;
}

/** Users of one request. */
const MAX_USERS = 10_000;
/** Bytes that they may take in its body, beside the data. */
const USERS_BYTES = 2 * 1024 * 1024;
const MANY = ['users', 'data', 'at', 'ttl', 'replaces', 'idempotencyKey'];
const MANY_SHAPE = 'a body is {"users": […], "data": …}, and may have at, ttl, replaces and idempotencyKey';

export function sendingRoutes(target: SendingTarget, maxBody: number): Route[] {
  const deliver =
    (to: 'send' | 'publish') =>
    async ({ request, name }: Call) => {
      const key = idempotencyKey(request);
      const { at, ...life } = queryOf(request, ['at', 'ttl', 'replaces']);
      const data = await readJson(request, maxBody);
      const settings = {
        ...(key !== undefined && { idempotencyKey: key }),
        ...(at !== undefined && { at: timeOf('at', at) }),
        ...lifeOf(life),
      };
      return { status: at === undefined ? 201 : 202, body: await target[to](name, data, settings) };
    };
  return [
    {
      pattern: /^\/api\/users\/([^/]+)\/messages$/,
      hasQuery: true,
      methods: {
        POST: deliver('send'),
        DELETE: withdrawByKey((user, which) => target.withdraw(user, which)),
      },
    },
    {
      pattern: /^\/api\/topics\/([^/]+)\/messages$/,
      hasQuery: true,
      methods: {
        POST: deliver('publish'),
        DELETE: withdrawByKey((topic, which) => target.withdrawFrom(topic, which)),
      },
    },
    {
      pattern: /^\/api\/messages$/,
      methods: {
        POST: async ({ request }) => {
          const key = idempotencyKey(request);
          const text = await readJson(request, maxBody + USERS_BYTES);
          const { users, data: _, at, ...settings } = recordOf(text, MANY, MANY_SHAPE);
          if (!Array.isArray(users)) throw new HttpError(400, 'bad_request', MANY_SHAPE);
          if (users.length > MAX_USERS) {
            throw new HttpError(400, 'too_many_users', `a request has at most ${MAX_USERS} users`);
          }
          // As it came: numbers that JavaScript can't hold stay what they are.
          const data = textOfField(text.text, 'data');
          if (data === undefined) throw new HttpError(400, 'bad_request', MANY_SHAPE);
          const results = await target.sendMany(users, new JsonText(data, true), {
            ...(key !== undefined && { idempotencyKey: key }),
            ...(settings as object),
            ...(at !== undefined && { at: timeOf('at', at) }),
          });
          return { status: 200, body: summary(results) };
        },
      },
    },
    {
      pattern: /^\/api\/scheduled$/,
      hasQuery: true,
      methods: {
        GET: async ({ request }) => {
          const { before, limit, failed, ...which } = queryOf(request, [
            'user',
            'topic',
            'before',
            'limit',
            'failed',
          ]);
          const settings = {
            ...which,
            ...(before !== undefined && { before: placeOf(before) }),
            ...(limit !== undefined && { limit: Number(limit) }),
            ...(failed !== undefined && { failed: isTrue('failed', failed) }),
          };
          return { status: 200, body: await target.scheduled(settings, asJson) };
        },
      },
    },
    {
      pattern: /^\/api\/scheduled\/([^/]+)$/,
      methods: {
        DELETE: async ({ name }) => ({ status: 200, body: { cancelled: await target.cancel(name) } }),
      },
    },
  ];
}

/** An error of a user is told as it would be for a request of its own. */
function summary(results: UserResult[]) {
  let failed = 0;
  const told = results.map(({ user, receipt, error }) => {
    if (error === undefined) return { user, ...receipt };
    failed++;
    const { code, message } = asHttpError(error);
    return { user, error: code, message };
  });
  return { sent: results.length - failed, failed, results: told };
}

/** Milliseconds since 1970, or what a Date reads: `2026-12-24T18:00:00Z`. */
function timeOf(name: string, given: unknown): number {
  const isNumber = typeof given === 'number' || (typeof given === 'string' && /^\d+$/.test(given));
  const time = isNumber ? Number(given) : typeof given === 'string' ? timeIn(given) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new HttpError(
    400,
    'bad_request',
    `${name} is milliseconds since 1970, or a time such as 2026-12-24T18:00:00Z`,
  );
}

function placeOf(before: string): string | number {
  return /^\d+-\d+-\d+$/.test(before) ? before : timeOf('before', before);
}

function isTrue(name: string, text: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  throw new HttpError(400, 'bad_request', `${name} is true or false`);
}

/** JSON as it came, bytes in base64. */
const asJson: Decode = (kind, bytes) => {
  if (kind === 'binary') return { encoding: 'base64', data: bytes.toString('base64') };
  return asItCame(kind, bytes);
};
