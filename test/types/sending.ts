/** What the types of sending promise: what comes back follows from how it was sent. `npm run lint` compiles this; nothing runs it. */
import { PushServer, type Receipt, type Scheduled, type SentMany, type UserResult } from '../../src/index.ts';

const push = new PushServer();
const at = new Date();

export async function now(): Promise<number> {
  const receipt: Receipt = await push.send('alice', 1, { idempotencyKey: 'k', confirm: 'acked' });
  const published: Receipt = await push.publish('news', 1);
  // @ts-expect-error what was sent is not scheduled
  const none = receipt.scheduled;
  return receipt.offset + published.offset + none;
}

export async function later(): Promise<string> {
  const scheduled: Scheduled = await push.send('alice', 1, { at });
  const { scheduled: id } = await push.publish('news', 1, { at: 5, idempotencyKey: 'k' });
  const { at: time } = await push.sendReference('alice', 'key', { at });
  // @ts-expect-error it has no place yet
  const none = scheduled.offset;
  // @ts-expect-error nobody can acknowledge by now what is sent later
  const waited = push.send('alice', 1, { at, confirm: 'acked' }).then(({ scheduled }) => scheduled);
  // @ts-expect-error a time is a Date or a number
  await push.send('alice', 1, { at: '2026-12-24' });
  const sum: number = time;
  return id + none + sum + (await waited);
}

export async function perhaps(at: Date | undefined): Promise<Receipt | Scheduled> {
  const receipt = await push.send('alice', 1, { at });
  // @ts-expect-error it may be either
  const { offset } = receipt;
  return 'scheduled' in receipt ? receipt : { ...receipt, offset };
}

export async function many(users: AsyncIterable<string>): Promise<number> {
  const results: UserResult[] = await push.sendMany(users, 1, { at, idempotencyKey: 'k' });
  const sum: SentMany = await push.sendMany(['alice'], 1, {
    each: ({ user, error }) => [user, error?.message],
  });
  // @ts-expect-error with `each` there is no list
  const none = sum.length;
  // @ts-expect-error numbers are no users
  await push.sendMany([1, 2], 1);
  return results.length + sum.sent + none;
}

export async function listed(): Promise<string | undefined> {
  const { messages, before } = await push.scheduled({ user: 'alice', before: at, limit: 5 });
  const data: unknown = messages[0]?.data;
  const isGone: boolean = await push.cancel(messages[0]?.id ?? '');
  return isGone && data === undefined ? before : messages[0]?.topic;
}
