/** Pages that are told who is on a topic, of two instances that share a store. */
import assert from 'node:assert/strict';
import type { PushServerOptions } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import type { PresenceFrame } from '../../src/push/talk/wire.ts';
import { until } from '../support/net.ts';
import { type Page, type Running, startPush } from './support.ts';

export const settings: PushServerOptions = {
  lease: 500,
  topics: { 'room:*': { presence: true } },
  authorize: { subscribe: () => true, presence: ({ user }) => user !== 'eve' },
  presenceTtl: 3000,
  presenceGrace: 1500,
};

export async function pair(broker: () => Broker, more: PushServerOptions = {}): Promise<[Running, Running]> {
  const start = (): Promise<Running> => startPush({ ...settings, ...more, broker: broker() });
  return [await start(), await start()];
}

export const ask = (page: Page, channel = 'room:1', presence: unknown = true): void =>
  page.say({ type: 'subscribe', channel, presence });

/** Who is there, as this page was told. */
export function seenBy(page: Page, channel = 'room:1'): string[] | undefined {
  let users: Set<string> | undefined;
  for (const frame of page.frames('presence').filter((one) => one.channel === channel)) {
    if (frame.users !== undefined) users = new Set(frame.users);
    for (const user of frame.joined ?? []) users!.add(user);
    for (const user of frame.left ?? []) users!.delete(user);
    assert.equal(frame.total, users!.size);
  }
  return users && [...users].sort();
}

export const sees = (page: Page, ...users: string[]): Promise<unknown> =>
  until(`to be told of ${users}`, () => seenBy(page)?.join() === users.join());

/** What has changed, as it was told. */
export const changes = (page: Page): string[] =>
  page
    .frames('presence')
    .flatMap(({ joined = [], left = [] }: PresenceFrame) => [
      ...joined.map((user) => `+${user}`),
      ...left.map((user) => `-${user}`),
    ]);
