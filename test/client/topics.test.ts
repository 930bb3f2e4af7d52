/** Topics that come and go by the application's word, with a real push server. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket as WsWebSocket } from 'ws';
import {
  type Client,
  type ClientEvents,
  type ConnectOptions,
  connect,
  type WebSocketConstructor,
} from '../../src/client/full.ts';
import { queryUser, signTopicTicket } from '../../src/push/index.ts';
import type { PushInterceptor } from '../../src/push/options.ts';
import { startPush } from '../push/support.ts';
import { until } from '../support/net.ts';

const SECRET = 'a secret of more than sixteen bytes';
const clients: Client[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

function open(url: string, options: ConnectOptions = {}) {
  const client = connect({
    url,
    user: 'alice',
    userParameter: 'user',
    WebSocket: WsWebSocket as unknown as WebSocketConstructor,
    reconnect: { min: 1, max: 20 },
    ...options,
  });
  clients.push(client);
  const events: { [E in keyof ClientEvents]?: ClientEvents[E][] } = {};
  const of = <E extends keyof ClientEvents>(name: E): ClientEvents[E][] => {
    events[name] ??= [] as never;
    return events[name] as ClientEvents[E][];
  };
  for (const name of ['open', 'message', 'unsubscribed', 'error', 'gap', 'presence'] as const)
    client.on(name, (value) => of(name).push(value as never));
  return { client, of };
}

test('a topic that the application gives goes on over reconnects without a gap, until it is taken', async () => {
  let topics = ['role:admin'];
  const named: PushInterceptor = {
    before: (_request, attributes) => {
      attributes.topics = topics;
    },
  };
  const { push, url } = await startPush({ interceptors: [queryUser('user'), named], authorize: {} });
  const { of } = open(url);
  await until('open', () => of('open').length === 1);
  const cut = (): void => {
    for (const session of push.localSessions()) session.terminate();
  };
  for (let n = 0; n < 60; n++) {
    await push.publish('role:admin', n);
    if (n % 10 === 5) cut();
  }
  await until('all', () => of('message').length === 60);
  assert.deepEqual(
    of('message').map(({ data }) => data),
    Array.from({ length: 60 }, (_, n) => n),
  );
  await push.subscribe('alice', 'given');
  await push.publish('given', 'g');
  await until('it', () => of('message').length === 61);
  assert.equal(await push.unsubscribe('alice', 'role:admin'), 1);
  await until('it is told', () => of('unsubscribed').length === 1);
  assert.deepEqual(of('unsubscribed'), [{ channel: 'role:admin', reason: 'unsubscribed' }]);
  // What comes later is named anew: neither.
  topics = [];
  cut();
  await until('its end', () => of('unsubscribed').length === 2);
  assert.deepEqual(of('unsubscribed')[1], { channel: 'given', reason: 'unsubscribed' });
  await push.publish('given', 'late');
  await push.send('alice', 'end');
  await until('the end', () => of('message').at(-1)?.data === 'end');
  assert.equal(of('message').length, 62);
  assert.deepEqual(of('error'), []);
  assert.deepEqual(of('gap'), []);
});

test('a topic by tickets is joined again with a new one, at each end and each reconnect, and nothing is missed', async () => {
  const { push, url } = await startPush({
    authorize: {},
    topicTickets: { secret: SECRET },
    expiry: { leeway: 0 },
  });
  const { client, of } = open(url);
  let asked = 0;
  const ticket = async (): Promise<string> => {
    if (++asked === 2) throw new Error('no network');
    // Longer than a busy machine may take from here to the server, which lets nobody in by one that is over.
    return signTopicTicket('alice', 'room', { secret: SECRET, lifetime: 2_000 });
  };
  await client.subscribe('room', { ticket });
  let sent = 0;
  await until('several tickets', async () => {
    await push.publish('room', sent++);
    if (sent === 20) for (const session of push.localSessions()) session.terminate();
    return asked >= 5;
  });
  await until('all', () => of('message').length === sent);
  assert.deepEqual(
    of('message').map(({ data }) => data),
    Array.from({ length: sent }, (_, n) => n),
  );
  assert.deepEqual(
    of('error').map(({ code }) => code),
    ['ticket'],
  );
  assert.deepEqual(of('unsubscribed'), []);
});

test('a ticket that expires on its way is made up for by another one, once for each time that a topic is joined', async () => {
  const { push, url } = await startPush({
    authorize: {},
    topicTickets: { secret: SECRET },
    expiry: { leeway: 0 },
  });
  const { client, of } = open(url);
  const over = signTopicTicket('alice', 'room', { secret: SECRET, lifetime: 1 });
  const good = signTopicTicket('alice', 'room', { secret: SECRET, lifetime: 600_000 });
  await pause(5);
  const next = [over, good];
  let asked = 0;
  const ticket = (): string => {
    asked++;
    return next.shift()!;
  };
  assert.equal((await client.subscribe('room', { ticket })).recovered, true);
  assert.equal(asked, 2);
  // Each time: what was granted before does not count.
  for (const [n, before] of [2, 4, 6].entries()) {
    next.push(over, good);
    for (const session of push.localSessions()) session.terminate();
    await until('it is asked twice', () => asked === before + 2);
    await push.publish('room', n);
    await until('the message', () => of('message').length === n + 1);
  }
  assert.deepEqual(
    of('message').map(({ data }) => data),
    [0, 1, 2],
  );
  assert.deepEqual(of('error'), []);
  assert.deepEqual(of('unsubscribed'), []);
  assert.deepEqual(of('gap'), []);
});

test('a topic whose tickets are refused twice in a row is told so and ends; one that has but one ticket, at once', async () => {
  const { url } = await startPush({ authorize: {}, topicTickets: { secret: SECRET } });
  const { client, of } = open(url);
  let asked = 0;
  const bad = signTopicTicket('alice', 'room', {
    secret: 'another secret of sixteen bytes',
    lifetime: 600_000,
  });
  const ticket = async (): Promise<string> => {
    asked++;
    return bad;
  };
  await assert.rejects(client.subscribe('room', { ticket }), { code: 'forbidden' });
  assert.equal(asked, 2);
  await assert.rejects(client.subscribe('room', { ticket: bad }), { code: 'forbidden' });
  // It is another topic by then: asked for by its own word, with two tries of its own.
  await assert.rejects(client.subscribe('room', { ticket }), { code: 'forbidden' });
  assert.equal(asked, 4);
  assert.deepEqual(
    of('error').map(({ code, channel }) => [code, channel]),
    Array(3).fill(['forbidden', 'room']),
  );
});

test('a topic that is revoked is told once, and not asked for again', async () => {
  const { push, url } = await startPush();
  const { client, of } = open(url, { topics: ['news'] });
  await until('open', () => of('open').length === 1);
  await push.revoke('alice', 'news');
  await until('it is told', () => of('unsubscribed').length === 1);
  assert.deepEqual(of('unsubscribed'), [{ channel: 'news', reason: 'revoked' }]);
  for (const session of push.localSessions()) session.terminate();
  await until('a reconnect', () => of('open').length === 2);
  assert.deepEqual(Object.keys(of('open')[1]!.channels), ['inbox']);
  await assert.rejects(client.subscribe('news'), /revoked/);
});

test('a page that asks is told who is on a topic, also after reconnects, and nothing once it has left', async () => {
  const { push, url } = await startPush({
    topics: { 'room:*': { presence: true } },
    authorize: { subscribe: () => true, presence: (_, topic) => topic !== 'room:secret' },
    // Both are back within it, also on a busy machine.
    presenceGrace: 5_000,
  });
  const { client, of } = open(url);
  await client.subscribe('room:1', { presence: true });
  const { of: ofBob, client: bob } = open(url, { user: 'bob', topics: ['room:1'] });
  await until('bob', () => of('presence').some(({ joined }) => joined?.includes('bob')));
  const [first] = of('presence');
  assert.deepEqual([first!.channel, first!.users, first!.total], ['room:1', ['alice'], 1]);
  for (const session of push.localSessions()) session.terminate();
  await until('all, anew', () => of('presence').at(-1)!.users?.length === 2);
  await push.publish('room:1', 'x');
  await until('the message', () => of('message').length === 1 && ofBob('message').length === 1);
  bob.close();
  await until('his end', () => of('presence').at(-1)!.left?.includes('bob'));
  assert.equal(ofBob('presence').length, 0);

  // What is refused is an error, and no end of the topic.
  await client.subscribe('room:secret', { presence: true });
  await until('the error', () => of('error').length === 1);
  assert.equal(of('error')[0]!.code, 'no-presence');
  await push.publish('room:secret', 'y');
  await until('the message', () => of('message').length === 2);

  client.unsubscribe('room:1');
  const told = of('presence').length;
  const { of: ofCarl, client: carl } = open(url, { user: 'carl' });
  await carl.subscribe('room:1', { presence: true });
  await until('carl to see himself', () => ofCarl('presence').length > 0);
  assert.equal(of('presence').length, told);
});
