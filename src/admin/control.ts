/** The part of the admin API that is about who is there, who may come, and what he may have. */
import type { Block, Blocked } from '../push/door/blocks.ts';
import type { BlockSettings, DisconnectSettings } from '../push/door/exclusion.ts';
import type { RevokeSettings } from '../push/door/topic-rights.ts';
import type { AttendanceSettings } from '../push/pages/topic-presence.ts';
import { HttpError } from './json-http.ts';
import { hasBody, readRecord, wholeNumber } from './request.ts';
import type { Route } from './route.ts';
import { ref } from './schemas.ts';
import { timeIn } from './time.ts';

export interface ControlTarget {
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
}

const UNCONFIRMED = { 503: ['not_confirmed'] };
const ENDED = { 200: { description: 'How many sessions have ended.', schema: ref('Ended') } };
const LIFTED = { 200: { description: 'Whether there was one.', schema: ref('Lifted') } };

export function controlRoutes(target: ControlTarget, maxBody: number): Route[] {
  const blockRoutes = (of: 'user' | 'login', named: string): Route[] => {
    const who = (names: Record<string, string>): Blocked =>
      of === 'user' ? { user: names['user']! } : { login: names['login']! };
    const path = `/api/${of}s/{${of}}/block`;
    return [
      {
        method: 'GET',
        path,
        scope: 'read',
        operation: `get${named}Block`,
        summary: `Whether a ${of} is kept out, until when and why.`,
        answers: { 200: { description: 'The block.', schema: ref('Block') } },
        errors: { 404: ['not_blocked'] },
        handle: async ({ names }) => {
          const block = await target.blockOf(who(names));
          if (block === undefined) throw new HttpError(404, 'not_blocked', 'there is no such block');
          return { status: 200, body: block };
        },
      },
      {
        method: 'PUT',
        path,
        scope: 'control',
        operation: `block${named}`,
        summary: `End the sessions of a ${of}, and let none in until the block is over.`,
        body: { description: 'Until when, and why.', schema: ref('BlockSettings'), isOptional: true },
        answers: ENDED,
        errors: UNCONFIRMED,
        handle: async ({ request, names }) => {
          const shape = 'a block is a JSON object: {"until": …, "reason": …}, each optional';
          const { until, reason } = hasBody(request)
            ? await readRecord(request, maxBody, ['until', 'reason'], shape)
            : {};
          const settings = {
            ...(until !== undefined && { until: untilOf(until) }),
            ...(reason !== undefined && { reason: reason as string }),
          };
          return { status: 200, body: { ended: await target.block(who(names), settings) } };
        },
      },
      {
        method: 'DELETE',
        path,
        scope: 'control',
        operation: `unblock${named}`,
        summary: `Let a ${of} in again.`,
        answers: LIFTED,
        errors: UNCONFIRMED,
        handle: async ({ names }) => ({ status: 200, body: { lifted: await target.unblock(who(names)) } }),
      },
    ];
  };
  return [
    {
      method: 'POST',
      path: '/api/online',
      scope: 'read',
      operation: 'whoIsOnline',
      summary: 'Which of up to 10,000 users have a page open.',
      body: { description: 'The users.', schema: ref('Users') },
      answers: { 200: { description: 'Those of them who have.', schema: ref('Online') } },
      handle: async ({ request }) => {
        const { users } = await readRecord(request, maxBody, ['users'], 'a body is {"users": […]}');
        return { status: 200, body: { online: [...(await target.online(users as string[]))] } };
      },
    },
    {
      method: 'GET',
      path: '/api/topics/{topic}/presence',
      scope: 'read',
      operation: 'whoIsOnTopic',
      summary: 'Who is on a topic whose presence is counted (`--presence`).',
      query: {
        limit: { description: 'Users that are named; default 100.', schema: { type: 'integer', minimum: 0 } },
      },
      answers: { 200: { description: 'Who, and how many.', schema: ref('Attendance') } },
      handle: async ({ names: { topic }, query: { limit } }) => {
        const settings = limit === undefined ? {} : { limit: wholeNumber('limit', limit) };
        return { status: 200, body: await target.presence(topic!, settings) };
      },
    },
    {
      method: 'GET',
      path: '/api/users/{user}/sessions',
      scope: 'read',
      operation: 'listSessions',
      summary: 'The user’s sessions on all instances.',
      answers: { 200: { description: 'The sessions.', schema: ref('Sessions') } },
      handle: async ({ names: { user } }) => ({ status: 200, body: await target.sessions(user!) }),
    },
    {
      method: 'DELETE',
      path: '/api/users/{user}/sessions',
      scope: 'control',
      operation: 'disconnect',
      summary: 'End the user’s sessions on all instances, or those of a login, a device or one id.',
      query: {
        login: { description: 'Only those of this login.', schema: { type: 'string' } },
        session: { description: 'Only this one.', schema: { type: 'string' } },
        device: { description: 'Only those of this device.', schema: { type: 'string' } },
        code: { description: 'The close code; default 4501.', schema: { type: 'integer' } },
        reason: { description: 'For the page, up to 123 bytes.', schema: { type: 'string' } },
      },
      answers: ENDED,
      errors: UNCONFIRMED,
      handle: async ({ names: { user }, query: { code, ...filter } }) => {
        const settings = code === undefined ? filter : { ...filter, code: wholeNumber('code', code) };
        return { status: 200, body: { ended: await target.disconnect(user!, settings) } };
      },
    },
    {
      method: 'POST',
      path: '/api/users/{user}/recheck',
      scope: 'control',
      operation: 'recheck',
      summary: 'Ask the application again whether the user’s pages may stay.',
      answers: { 200: { description: 'What has come of it.', schema: ref('Rechecked') } },
      errors: UNCONFIRMED,
      handle: async ({ names: { user } }) => ({ status: 200, body: await target.recheck(user!) }),
    },
    ...blockRoutes('user', 'User'),
    ...blockRoutes('login', 'Login'),
    {
      method: 'GET',
      path: '/api/blocks',
      scope: 'read',
      operation: 'listBlocks',
      summary: 'All blocks that are in force.',
      answers: { 200: { description: 'The blocks.', schema: ref('Blocks') } },
      handle: async () => ({ status: 200, body: await target.blocks() }),
    },
    {
      method: 'PUT',
      path: '/api/users/{user}/topics/{topic}',
      scope: 'control',
      operation: 'subscribe',
      summary: 'Give a topic to the user’s open sessions.',
      answers: { 200: { description: 'How many did not have it.', schema: ref('Subscribed') } },
      errors: UNCONFIRMED,
      handle: async ({ names: { user, topic } }) => ({
        status: 200,
        body: { subscribed: await target.subscribe(user!, topic!) },
      }),
    },
    {
      method: 'DELETE',
      path: '/api/users/{user}/topics/{topic}',
      scope: 'control',
      operation: 'unsubscribe',
      summary: 'End the user’s subscriptions to a topic. He may ask for it again.',
      answers: { 200: { description: 'How many there were.', schema: ref('Unsubscribed') } },
      errors: UNCONFIRMED,
      handle: async ({ names: { user, topic } }) => ({
        status: 200,
        body: { unsubscribed: await target.unsubscribe(user!, topic!) },
      }),
    },
    {
      method: 'PUT',
      path: '/api/users/{user}/topics/{topic}/revocation',
      scope: 'control',
      operation: 'revoke',
      summary: 'The same, and he can’t have it again until the revocation is over.',
      body: { description: 'Until when.', schema: ref('RevokeSettings'), isOptional: true },
      answers: { 200: { description: 'How many there were.', schema: ref('Unsubscribed') } },
      errors: UNCONFIRMED,
      handle: async ({ request, names: { user, topic } }) => {
        const shape = 'a revocation is a JSON object: {"until": …}, which is optional';
        const { until } = hasBody(request) ? await readRecord(request, maxBody, ['until'], shape) : {};
        const settings = until === undefined ? {} : { until: untilOf(until) };
        return { status: 200, body: { unsubscribed: await target.revoke(user!, topic!, settings) } };
      },
    },
    {
      method: 'DELETE',
      path: '/api/users/{user}/topics/{topic}/revocation',
      scope: 'control',
      operation: 'permit',
      summary: 'Take a revocation back.',
      answers: LIFTED,
      errors: UNCONFIRMED,
      handle: async ({ names: { user, topic } }) => ({
        status: 200,
        body: { lifted: await target.permit(user!, topic!) },
      }),
    },
  ];
}

/** The push server says what is wrong with another. */
function untilOf(until: unknown): Date | number {
  return typeof until === 'string' ? new Date(timeIn(until)) : (until as number);
}
