/** Until when a session may stay. */
import '../support/held-clock.ts';
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type PushServerOptions, queryUser, type Session } from '../../src/index.ts';
import type { Attributes } from '../../src/server/transport.ts';
import { holdClock } from '../support/held-clock.ts';
import { until } from '../support/net.ts';
import { Page, type Running, startPush } from './support.ts';

const HOUR = 3_600_000;

/** Whose logins end so many milliseconds from now. */
async function startEnding(lifetime: number, options: PushServerOptions = {}): Promise<Running> {
  const before = (_request: unknown, attributes: Attributes): void => {
    attributes.expires = Date.now() + lifetime;
  };
  return startPush({ interceptors: [queryUser('user'), { before }], ...options });
}

/** A SockJS session by polling: its frames, until it is over. */
async function polled(
  base: string,
  query: string,
): Promise<{ frames: string[]; say(text: string): Promise<number> }> {
  const url = `${base}/000/s${Math.random().toString(36).slice(2)}`;
  const ask = async (): Promise<string> => (await fetch(`${url}/xhr?${query}`, { method: 'POST' })).text();
  const frames = [await ask()];
  const receive = async (): Promise<void> => {
    while (!frames.at(-1)!.startsWith('c')) frames.push(await ask());
  };
  receive().catch(() => {});
  return {
    frames,
    say: async (text) =>
      (await fetch(`${url}/xhr_send`, { method: 'POST', body: JSON.stringify([text]) })).status,
  };
}

async function sockJsBase(t: TestContext, options: (server: Server) => Promise<unknown>): Promise<string> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  await options(server);
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/sockjs`;
}

test('a session ends at the end of its login and a leeway, in both modes and by both doors, and not before', async (t) => {
  let running: Running | undefined;
  const base = await sockJsBase(t, async (server) => {
    running = await startEnding(HOUR, { server, sockjs: { prefix: '/sockjs' }, expiry: { leeway: 2_000 } });
  });
  const { url, push } = running!;
  const clock = holdClock(t);
  const pages = [await Page.open(url, 'alice'), await Page.plain(url, 'alice')];
  const polls = [await polled(base, 'user=alice'), await polled(base, 'user=alice&protocol=tidings.1')];
  await polls[1]!.say('{"type":"hello"}');
  await until('a welcome by SockJS', () => polls[1]!.frames.some((frame) => frame.includes('welcome')));
  assert.equal([...push.localSessions()].length, 4);
  clock.pass(HOUR);
  await push.send('alice', 'still there');
  await until('the message everywhere', () =>
    [
      ...pages.map(({ received }) => JSON.stringify(received)),
      ...polls.map(({ frames }) => frames.join()),
    ].every((text) => text.includes('still there')),
  );
  clock.pass(4_000);
  for (const page of pages) assert.equal(await page.ended(), 4501);
  for (const { frames } of polls) {
    assert.equal(
      await until('a close frame', () => frames.find((frame) => frame.startsWith('c'))),
      'c[4501,"the login has ended"]\n',
    );
  }
  await until('no session', () => push.stats().sessions === 0);
  assert.deepEqual(await push.sessions('alice'), []);
});

test('sessions without an end, and with one that is very far away, stay', async (t) => {
  const { url, push } = await startEnding(0, {
    interceptors: [
      queryUser('user'),
      {
        before(request, attributes) {
          const expires = new URL(request.url!, 'ws://x').searchParams.get('expires');
          if (expires !== null) attributes.expires = Number(expires);
        },
      },
    ],
  });
  const clock = holdClock(t);
  const pages = [await Page.open(url, 'alice')];
  for (const far of [8.64e15, Number.MAX_VALUE, Date.now() + 2 ** 33])
    pages.push(await Page.open(`${url}?expires=${encodeURIComponent(far)}`, 'alice'));
  clock.pass(2 ** 32);
  const brief = await Page.open(`${url}?expires=${Date.now() + 1}`, 'alice');
  clock.pass(10_000);
  assert.equal(await brief.ended(), 4501);
  assert.equal(push.stats().sessions, 4);
  for (const page of pages) page.cut();
});

test('who comes with a login that has ended is refused, by the status or by 4501', async () => {
  const { url } = await startEnding(-1, { expiry: { leeway: 0 } });
  assert.equal(await new Page(url, 'alice').ended(), 401);
  assert.equal(await new Page(url, 'alice', ['tidings.1']).ended(), 4501);
  for (const expires of [0, -1, -1e300]) {
    const { url } = await startEnding(expires - Date.now());
    assert.equal(await new Page(url, 'alice').ended(), 401);
  }
  // Within the leeway, clocks may differ.
  const { url: lenient } = await startEnding(-1_000);
  await Page.plain(lenient, 'alice');
});

test('a clock on the wall that is set neither ends a session nor keeps it', async (t) => {
  const now = Date.now;
  t.after(() => {
    Date.now = now;
  });
  const { url, push } = await startEnding(HOUR);
  const clock = holdClock(t);
  const page = await Page.open(url, 'alice');
  Date.now = () => now() + 24 * HOUR;
  clock.pass(HOUR - 2_000);
  const second = await Page.open(url, 'bob');
  await push.send('alice', 'still there');
  await page.frame('message');
  Date.now = () => now() - 24 * HOUR;
  clock.pass(10_000);
  assert.equal(await page.ended(), 4501);
  assert.equal(second.closeCode, undefined);
});

test('the option leaves plain mode alone', async (t) => {
  const { url, push } = await startEnding(HOUR, { expiry: { plain: 'keep' } });
  const clock = holdClock(t);
  const [plain, page] = [await Page.plain(url, 'alice'), await Page.open(url, 'alice')];
  clock.pass(2 * HOUR);
  assert.equal(await page.ended(), 4501);
  await push.send('alice', 'still there');
  await until('the message', () => plain.received.includes('still there'));
});

test('nothing is delivered to a session that was ended, and nothing that it says is obeyed, while it takes its time to go', async (t) => {
  const said: unknown[] = [];
  const { url, push } = await startEnding(HOUR, {
    authorize: { subscribe: () => true, publish: () => said.push('publish') > 0 },
    handler: { message: (_, data) => void said.push(data.toString()) },
  });
  const clock = holdClock(t);
  const [plain, page] = [await Page.plain(url, 'alice'), await Page.open(url, 'alice', { topics: ['news'] })];
  const ended = [...push.localSessions()];
  // Their frames reach the server, the server's not them.
  for (const { socket } of [plain, page]) socket.pause();
  clock.pass(HOUR + 10_000);
  await until('both ended', () => push.stats().sessions === 0);
  await push.send('alice', 'secret');
  await push.publish('news', 'secret');
  await push.notify('alice', 'secret');
  await push.broadcast('secret');
  for (const session of ended) session.send('secret');
  plain.say('hello?');
  page.say({ type: 'publish', channel: 'news', data: 'x' });
  clock.release();
  for (const { socket } of [plain, page]) socket.resume();
  for (const each of [plain, page]) {
    assert.equal(await each.ended(), 4501);
    assert.ok(!JSON.stringify(each.received).includes('secret'));
  }
  assert.deepEqual(said, []);
});

test('a thousand sessions that end at once end, and those beside them go on', async (t) => {
  const { url, push } = await startEnding(HOUR, {
    limits: { sessionsPerUser: 0 },
    interceptors: [
      queryUser('user'),
      {
        before(_request, attributes) {
          if (attributes.user !== 'bob') attributes.expires = Date.now() + HOUR;
        },
      },
    ],
  });
  const clock = holdClock(t);
  const bob = await Page.open(url, 'bob');
  const pages: Page[] = [];
  for (let n = 0; n < 10; n++) {
    pages.push(...(await Promise.all(Array.from({ length: 100 }, () => Page.plain(url, 'alice')))));
  }
  clock.pass(HOUR + 10_000);
  const ends = await Promise.all(pages.map((page) => page.ended()));
  assert.deepEqual(new Set(ends), new Set([4501]));
  assert.equal(push.stats().sessions, 1);
  await push.send('bob', 'hello');
  await bob.frame('message');
});

test('the application can say anew until when a session stays, but not whose it is', async (t) => {
  const { url, push } = await startEnding(HOUR);
  const clock = holdClock(t);
  const page = await Page.open(url, 'alice');
  const plain = await Page.plain(url, 'alice');
  const sessions = [...push.localSessions()] as [Session, Session];
  const expires = Date.now() + 3 * HOUR;
  for (const session of sessions) session.renew({ login: 'J-82', expires, role: 'clerk' });
  assert.deepEqual(
    sessions.map(({ login, expires, attributes }) => [login, expires, attributes['role']]),
    [1, 2].map(() => ['J-82', expires, 'clerk']),
  );
  const renewed = await page.frame('renewed');
  assert.equal(renewed.expires, expires);
  assert.ok(Math.abs(renewed.expiresIn! - 3 * HOUR) < 60_000);
  for (const wrong of [
    { user: 'bob' },
    { expires: Number.NaN },
    { login: '' },
    { topics: 'news' as never },
  ]) {
    assert.throws(() => sessions[0].renew(wrong), TypeError);
  }
  assert.equal(sessions[0].expires, expires);
  clock.pass(2 * HOUR);
  await push.send('alice', 'still there');
  await page.frame('message');
  await until('the message', () => plain.received.includes('still there'));
  // For good, and at once.
  sessions[0].renew({ user: undefined as never });
  assert.equal(sessions[0].attributes.user, 'alice');
  assert.deepEqual(await page.frame('renewed', 1), { type: 'renewed' });
  assert.equal(sessions[0].login, 'J-82');
  sessions[1].renew({ expires: 0 });
  assert.equal(await plain.ended(), 4501);
  clock.pass(24 * HOUR);
  await push.send('alice', 'still there, too');
  await page.frame('message', 1);
});

test('what makes no sense as an option is refused at the start', async () => {
  for (const expiry of [{ leeway: -1 }, { leeway: Number.NaN }, { leeway: '5' }, { plain: 'leave' }]) {
    await assert.rejects(async () => startPush({ expiry: expiry as never }), TypeError);
  }
});
