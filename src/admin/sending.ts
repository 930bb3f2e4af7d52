/** The part of the admin API that sends: now and later, to one, to many and to all; and what is scheduled. */
import { asItCame, type Decode, JsonText } from '../push/payload.ts';
import type { AnySettings, SendManySettings } from '../push/sending/publish-settings.ts';
import type { ScheduledPage, ScheduledSettings } from '../push/sending/schedule-list.ts';
import type { UserResult } from '../push/sending/send-many.ts';
import { textOfField } from '../push/talk/json-field.ts';
import { HttpError, readJson } from './json-http.ts';
import { asHttpError, idempotencyKey, isTrue, recordOf, timeOf, traceOf, wholeNumber } from './request.ts';
import type { Call, Parameter, Route } from './route.ts';
import { moment, ref } from './schemas.ts';

/** What it needs of a push server. */
export interface SendingTarget {
  send(user: string, data: unknown, settings: AnySettings): Promise<unknown>;
  publish(topic: string, data: unknown, settings: AnySettings): Promise<unknown>;
  sendMany(
    users: readonly string[],
    data: unknown,
    settings: Omit<SendManySettings, 'each'>,
  ): Promise<UserResult[]>;
  notify(user: string, data: unknown): Promise<void>;
  notifyTopic(topic: string, data: unknown): Promise<void>;
  broadcast(data: unknown): Promise<void>;
  scheduled(settings: ScheduledSettings, decode: Decode): Promise<ScheduledPage>;
  cancel(id: string): Promise<boolean>;
}

/** Users of one request. */
const MAX_USERS = 10_000;
/** Bytes that they may take in its body, beside the data. */
const USERS_BYTES = 2 * 1024 * 1024;
const MANY = ['users', 'data', 'at', 'ttl', 'replaces', 'idempotencyKey'];
const MANY_SHAPE = 'a body is {"users": […], "data": …}, and may have at, ttl, replaces and idempotencyKey';

const LIFE: Record<string, Parameter> = {
  at: { description: 'Send it then.', schema: moment },
  ttl: { description: 'Milliseconds after which it is gone.', schema: { type: 'integer', minimum: 1 } },
  replaces: {
    description: 'A key: the newest message that was sent with it is gone when this one is there.',
    schema: { type: 'string', minLength: 1, maxLength: 256 },
  },
};
const DATA = {
  description: 'The data: any JSON value. A string arrives in plain mode as it is.',
  schema: true,
};
const STORED = { 201: { description: 'The store has it.', schema: ref('Receipt') } };
const KEPT = { 202: { description: 'With `at`: the store keeps it until then.', schema: ref('Scheduled') } };
const HANDED = {
  202: { description: 'Nothing is stored: it arrives at most once.', schema: ref('Transient') },
};

export function sendingRoutes(target: SendingTarget, maxBody: number): Route[] {
  const deliver =
    (store: (name: string, data: unknown, settings: AnySettings) => Promise<unknown>, of: 'user' | 'topic') =>
    async ({ request, names, query }: Call) => {
      const key = idempotencyKey(request);
      const { at, ttl, replaces } = query;
      const data = await readJson(request, maxBody);
      const settings = {
        ...traceOf(request),
        ...(key !== undefined && { idempotencyKey: key }),
        ...(at !== undefined && { at: timeOf('at', at) }),
        ...(ttl !== undefined && { ttl: wholeNumber('ttl', ttl) }),
        ...(replaces !== undefined && { replaces }),
      };
      return { status: at === undefined ? 201 : 202, body: await store(names[of]!, data, settings) };
    };
  const hand =
    (tell: (names: Record<string, string>, data: unknown) => Promise<void>) =>
    async ({ request, names }: Call) => {
      if (idempotencyKey(request) !== undefined) {
        const why = 'nothing is stored, so nobody could tell that it was sent before';
        throw new HttpError(400, 'bad_idempotency_key', why);
      }
      await tell(names, await readJson(request, maxBody));
      return { status: 202, body: { stored: false } };
    };
  return [
    {
      method: 'POST',
      path: '/api/users/{user}/messages',
      scope: 'send',
      operation: 'sendToUser',
      isSending: true,
      summary: 'Store a message in a user’s inbox; every page he has open gets it.',
      query: LIFE,
      isIdempotent: true,
      body: DATA,
      answers: { ...STORED, ...KEPT },
      errors: { 429: ['too_many_scheduled'] },
      handle: deliver((user, data, settings) => target.send(user, data, settings), 'user'),
    },
    {
      method: 'POST',
      path: '/api/topics/{topic}/messages',
      scope: 'send',
      operation: 'publishToTopic',
      isSending: true,
      summary: 'Store a message in a topic; every page that has subscribed to it gets it.',
      query: LIFE,
      isIdempotent: true,
      body: DATA,
      answers: { ...STORED, ...KEPT },
      errors: { 429: ['too_many_scheduled'] },
      handle: deliver((topic, data, settings) => target.publish(topic, data, settings), 'topic'),
    },
    {
      method: 'POST',
      path: '/api/messages',
      scope: 'send',
      operation: 'sendToMany',
      isSending: true,
      summary: `Store one message for each of up to ${MAX_USERS.toLocaleString('en')} users.`,
      isIdempotent: true,
      body: { description: 'The users, the data, and what else a message may have.', schema: ref('Many') },
      answers: {
        200: { description: 'What became of the message to each, in order.', schema: ref('ManySent') },
      },
      errors: { 400: ['too_many_users'], 429: ['too_many_scheduled'] },
      handle: async ({ request, audit }) => {
        const key = idempotencyKey(request);
        const text = await readJson(request, maxBody + USERS_BYTES);
        const { users, data: _, at, ...settings } = recordOf(text, MANY, MANY_SHAPE);
        if (!Array.isArray(users)) throw new HttpError(400, 'bad_request', MANY_SHAPE);
        if (users.length > MAX_USERS) {
          throw new HttpError(400, 'too_many_users', `a request has at most ${MAX_USERS} users`);
        }
        audit['users'] = users.length;
        // As it came: numbers that JavaScript can't hold stay what they are.
        const data = textOfField(text.text, 'data');
        if (data === undefined) throw new HttpError(400, 'bad_request', MANY_SHAPE);
        const results = await target.sendMany(users, new JsonText(data, true), {
          ...traceOf(request),
          ...(key !== undefined && { idempotencyKey: key }),
          ...(settings as object),
          ...(at !== undefined && { at: timeOf('at', at) }),
        });
        return { status: 200, body: summary(results) };
      },
    },
    {
      method: 'POST',
      path: '/api/users/{user}/notifications',
      scope: 'send',
      operation: 'notifyUser',
      isSending: true,
      summary: 'Hand something to the pages that the user has open at this moment.',
      body: DATA,
      answers: HANDED,
      handle: hand(({ user }, data) => target.notify(user!, data)),
    },
    {
      method: 'POST',
      path: '/api/topics/{topic}/notifications',
      scope: 'send',
      operation: 'notifyTopic',
      isSending: true,
      summary: 'Hand something to the pages that have subscribed to the topic at this moment.',
      body: DATA,
      answers: HANDED,
      handle: hand(({ topic }, data) => target.notifyTopic(topic!, data)),
    },
    {
      method: 'POST',
      path: '/api/broadcast',
      scope: 'send',
      operation: 'broadcast',
      isSending: true,
      summary: 'Hand something to all open pages of all instances.',
      body: DATA,
      answers: HANDED,
      handle: hand((_, data) => target.broadcast(data)),
    },
    {
      method: 'GET',
      path: '/api/scheduled',
      scope: 'read',
      operation: 'listScheduled',
      summary: 'What is sent later, the latest first.',
      query: {
        user: { description: 'Only what is for this user.', schema: { type: 'string' } },
        topic: { description: 'Only what is for this topic.', schema: { type: 'string' } },
        before: { description: 'A time, or `before` of the answer before.', schema: moment },
        limit: { description: 'Default 50.', schema: { type: 'integer', minimum: 1, maximum: 200 } },
        failed: { description: 'What could never be stored, in its place.', schema: { type: 'boolean' } },
      },
      answers: { 200: { description: 'One page of them.', schema: ref('ScheduledPage') } },
      handle: async ({ query: { before, limit, failed, ...which } }) => {
        const settings = {
          ...which,
          ...(before !== undefined && { before: placeOf(before) }),
          ...(limit !== undefined && { limit: wholeNumber('limit', limit) }),
          ...(failed !== undefined && { failed: isTrue('failed', failed) }),
        };
        return { status: 200, body: await target.scheduled(settings, asJson) };
      },
    },
    {
      method: 'DELETE',
      path: '/api/scheduled/{id}',
      scope: 'send',
      operation: 'cancelScheduled',
      summary: 'Take back what would be sent later.',
      answers: {
        200: { description: 'False: there is none, or it is being sent.', schema: ref('Cancelled') },
      },
      handle: async ({ names: { id } }) => ({ status: 200, body: { cancelled: await target.cancel(id!) } }),
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

function placeOf(before: string): string | number {
  return /^\d+-\d+-\d+$/.test(before) ? before : timeOf('before', before);
}

/** JSON as it came, bytes in base64. */
const asJson: Decode = (kind, bytes) => {
  if (kind === 'binary') return { encoding: 'base64', data: bytes.toString('base64') };
  return asItCame(kind, bytes);
};
