/** Pages stay as long as the application says so: it is asked again, and what it says takes effect. */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { type AskApplicationOptions, askApplication, type PushServerOptions } from '../../src/push/index.ts';
import { client, session as sockJsSession } from '../sockjs/support.ts';
import { until } from '../support/net.ts';
import { AnApplication, cookieOf, say } from './door/an-application.ts';
import { onEachStore } from './stores.ts';
import { Page, type Running, startPush } from './support.ts';

type Said = { user: string; [name: string]: unknown } | 401 | 403 | 500;

/** What the application says of each login, by the cookie `sid`; of others 401. */
class Logins {
  readonly said = new Map<string, Said>();
  readonly application: AnApplication;

  constructor(application: AnApplication) {
    this.application = application;
    application.answering = (request, response) => this.answer(request, response);
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const said = this.said.get(cookieOf(request, 'sid') ?? '') ?? 401;
    if (typeof said === 'number') response.writeHead(said).end();
    else say(response, said);
  }

  /** How often it was asked about this login. */
  asked(sid: string): number {
    return this.application.asked.filter((request) => cookieOf(request, 'sid') === sid).length;
  }
}

interface Started extends Running {
  logins: Logins;
  page(sid: string, protocols?: string[], query?: string): Promise<Page>;
}

async function start(
  t: TestContext,
  asking: Partial<AskApplicationOptions> = {},
  options: PushServerOptions = {},
): Promise<Started> {
  const application = await AnApplication.start(t, () => {});
  const logins = new Logins(application);
  const running = await startPush({
    interceptors: [
      askApplication({ url: application.url, recheck: 0, pause: { min: 50, max: 100 }, ...asking }),
    ],
    ...options,
  });
  t.after(() => running.push.close());
  const page = async (sid: string, protocols: string[] = ['tidings.1'], query = ''): Promise<Page> => {
    const come = (): Page => new Page(running.url + query, '', protocols, { cookie: `sid=${sid}` });
    let came = come();
    await until('an open page', () => {
      // On a machine that is busy the application was maybe asked for longer than the test has allowed.
      if (came.socket.readyState === 3) came = come();
      return came.socket.readyState === 1;
    });
    if (protocols.length > 0) {
      came.say({ type: 'hello' });
      await came.frame('welcome');
    }
    return came;
  };
  return { ...running, logins, page };
}

/** A session over SockJS that is open, and what it was sent next. */
async function sockJs(push: Started['push'], sid: string) {
  const http = client((push.address() as AddressInfo).port);
  const path = sockJsSession();
  const headers = { cookie: `sid=${sid}` };
  const opened = await http.post(`${path}/xhr`, { headers });
  return { opened: opened.body, next: async () => (await http.post(`${path}/xhr`, { headers })).body };
}

const SOCKJS = { sockjs: { prefix: '/echo', disconnectDelay: 120_000, heartbeatDelay: 120_000 } };

onEachStore('every instance is told to ask, and what came of it is told', async (broker, t) => {
  const { push, logins, page } = await start(t, {}, { broker: broker() });
  const interceptors = [askApplication({ url: logins.application.url, recheck: 0 })];
  const [second, third] = [
    await startPush({ broker: broker(), interceptors }),
    await startPush({ broker: broker() }),
  ];
  logins.said.set('a', { user: 'alice' });
  logins.said.set('b', { user: 'alice' });
  const open = (sid: string): Promise<Page> =>
    until('an open page', async () => {
      const came = new Page(second.url, '', [], { cookie: `sid=${sid}` });
      await until('it to open', () => came.socket.readyState === 1);
      return came;
    });
  const pages = [await page('a'), await open('a'), await open('b')];
  assert.deepEqual(await push.recheck('alice'), { sessions: 3, ended: 0, unanswered: 0 });
  logins.said.delete('a');
  logins.said.set('b', 500);
  // Also from an instance that has no page of hers, and asks nobody itself.
  assert.deepEqual(await third.push.recheck('alice'), { sessions: 3, ended: 2, unanswered: 1 });
  assert.deepEqual([await pages[0]!.ended(), await pages[1]!.ended()], [4501, 4501]);
  assert.equal(pages[2]!.closeCode, undefined);
  assert.deepEqual(await third.push.recheck('nobody'), { sessions: 0, ended: 0, unanswered: 0 });
  await Promise.all([push, second.push, third.push].map((each) => each.close()));
});

// What is opened over SockJS is closed after each test of this file, so these come one after another.
describe('by both doors', () => {
  test('the login ends at the application: pages in both modes and by both doors end with 4501', async (t) => {
    const { push, logins, page } = await start(t, { recheck: 500 }, SOCKJS);
    logins.said.set('a', { user: 'alice' });
    logins.said.set('b', { user: 'bob' });
    const pages = [await page('a', []), await page('a')];
    const bob = await page('b');
    const alices = await sockJs(push, 'a');
    assert.equal(alices.opened, 'o\n');
    logins.said.delete('a');
    for (const each of pages) assert.equal(await each.ended(), 4501);
    assert.equal(await alices.next(), 'c[4501,"the login has ended"]\n');
    await push.send('alice', 'late');
    assert.deepEqual(pages[0]!.received, []);
    assert.deepEqual(pages[1]!.data(), []);
    await until('bob was asked about again', () => logins.asked('b') > 2);
    assert.equal(bob.closeCode, undefined);
  });

  test('the application is away: pages stay, new ones are told to come later, and all go on when it is back', async (t) => {
    const { push, url, logins, page, log } = await start(
      t,
      { recheck: 500, grace: 60_000, timeout: 200, failures: 1 },
      SOCKJS,
    );
    logins.said.set('a', { user: 'alice' });
    const pages = [await page('a'), await page('a', [])];
    await logins.application.stop();
    await until('it is known', () => log.some((line) => line.includes(' is away: ')));
    const program = new Page(url, '', [], { cookie: 'sid=a' });
    let retryAfter: string | undefined;
    program.socket.on('unexpected-response', (_request, response) => {
      retryAfter = response.headers['retry-after'];
    });
    assert.equal(await program.ended(), 503);
    assert.match(retryAfter!, /^[1-9]\d*$/);
    assert.equal(await new Page(url, '', ['tidings.1'], { cookie: 'sid=a' }).ended(), 4424);
    const late = await sockJs(push, 'a');
    assert.equal(late.opened, 'o\n');
    assert.equal(await late.next(), 'c[4424,"who this is can not be asked just now"]\n');
    assert.deepEqual(await push.recheck('alice'), { sessions: 2, ended: 0, unanswered: 2 });
    await logins.application.start();
    await until('it is back', () => log.some((line) => line.endsWith(' is back')));
    const before = logins.asked('a');
    await until('it is asked again', () => logins.asked('a') > before);
    await push.send('alice', 'still here');
    await until('the message', () => pages[1]!.received.length === 1);
    await until('the message', () => pages[0]!.data().length === 1);
    logins.said.delete('a');
    for (const each of pages) assert.equal(await each.ended(), 4501);
    for (const line of log) assert.ok(!line.includes('sid='), line);
  });

  test('how a page is told that nobody can be asked is what `refusals` says', async (t) => {
    for (const [refusals, program, page] of [
      ['auto', 503, 4424],
      ['http', 503, 503],
      ['close', 4424, 4424],
    ] as const) {
      const { push, url, logins } = await start(t, {}, { refusals, ...SOCKJS });
      await logins.application.stop();
      const outcome = (protocols: string[]) => new Page(url, '', protocols, { cookie: 'sid=a' }).ended();
      assert.deepEqual([await outcome([]), await outcome(['tidings.1'])], [program, page], refusals);
      const { opened } = await sockJs(push, 'a');
      assert.equal(opened.startsWith('o'), refusals !== 'http');
      assert.equal(push.stats().sessions, 0);
    }
  });
});

describe('rechecks', { concurrency: true }, () => {
  test('403 ends a page with 4503', async (t) => {
    const { logins, page } = await start(t, { recheck: 500 });
    logins.said.set('a', { user: 'alice' });
    const alice = await page('a');
    logins.said.set('a', 403);
    assert.equal(await alice.ended(), 4503);
  });

  test('ten tabs of one login are one question, and nobody is asked about who has gone', async (t) => {
    const { push, logins, page } = await start(t, { recheck: 500 });
    logins.said.set('a', { user: 'alice' });
    logins.said.set('b', { user: 'bob' });
    const tabs = await Promise.all(Array.from({ length: 10 }, () => page('a')));
    await page('b');
    // Whatever else asks about her meanwhile: ten questions for each would be more.
    const [before, others] = [logins.asked('a'), logins.asked('b')];
    await until('many rounds', () => logins.asked('b') > others + 4);
    assert.ok(logins.asked('a') - before < 10, String(logins.asked('a') - before));
    await Promise.all(tabs.slice(1).map((tab) => tab.close()));
    const then = logins.asked('a');
    await until('it was asked again', () => logins.asked('a') > then + 1);
    await tabs[0]!.close();
    await until('only bob is there', () => push.stats().sessions === 1);
    // A question may have been on its way.
    const round = logins.asked('b');
    await until('another round', () => logins.asked('b') > round + 1);
    const last = logins.asked('a');
    await until('another round', () => logins.asked('b') > round + 3);
    assert.equal(logins.asked('a'), last);
  });

  test('when somebody else has signed in, the page of before ends, also before its time', async (t) => {
    const { push, logins, page } = await start(t);
    logins.said.set('a', { user: 'alice' });
    const first = await page('a');
    logins.said.set('a', { user: 'bob' });
    const second = await page('a');
    assert.equal(await first.ended(), 4501);
    logins.said.set('a', { user: 'alice' });
    assert.deepEqual(await push.recheck('bob'), { sessions: 1, ended: 1, unanswered: 0 });
    assert.equal(await second.ended(), 4501);
  });

  test('another end, another login and other attributes take effect; what stays the same is not told', async (t) => {
    const { push, logins, page } = await start(t);
    const expires = Date.now() + 3_600_000;
    logins.said.set('a', {
      user: 'alice',
      login: 'L1',
      attributes: { role: 'admin', team: 'x' },
      topics: ['news'],
    });
    const alice = await page('a');
    const plain = await page('a', []);
    const [session] = push.localSessions();
    logins.said.set('a', { user: 'alice', login: 'L2', expires, attributes: { role: 'user' } });
    assert.deepEqual(await push.recheck('alice'), { sessions: 2, ended: 0, unanswered: 0 });
    assert.equal((await alice.frame('renewed')).expires, expires);
    assert.equal(session!.login, 'L2');
    assert.equal(session!.expires, expires);
    assert.deepEqual(
      [session!.attributes['role'], session!.attributes['team'], session!.attributes.topics],
      ['user', undefined, []],
    );
    logins.said.set('a', { user: 'alice', login: 'L2', expires, attributes: { role: 'guest' } });
    await push.recheck('alice');
    assert.equal(session!.attributes['role'], 'guest');
    alice.say({ type: 'ping' });
    await alice.frame('pong');
    assert.equal(alice.frames('renewed').length, 1);
    assert.deepEqual(plain.received, []);
  });

  test('a login that is used at its very end lives on', async (t) => {
    const { logins, page } = await start(t, { recheck: 60_000 }, { expiry: { leeway: 2_000 } });
    const { application } = logins;
    let expires = Date.now() + 900;
    application.answering = (_request, response) => {
      // It is used as soon as it is about to end.
      if (logins.asked('a') > 1 && Date.now() >= expires - 50) expires = Date.now() + 900;
      say(response, { user: 'alice', login: 'one', expires });
    };
    const pages = [await page('a', []), await page('a')];
    const hasEnded = () => pages.some(({ closeCode }) => closeCode !== undefined);
    await until('it was asked again and again', () => logins.asked('a') > 5 || hasEnded());
    assert.ok(!hasEnded());
  });

  test('a login lives on also where an answer is late by more than what it says is left', async (t) => {
    const { push, logins, page } = await start(
      t,
      { recheck: 60_000, timeout: 60_000 },
      { expiry: { leeway: 0 } },
    );
    const { application } = logins;
    let lateAnswers = 0;
    let isLate = false;
    application.answering = async (_request, response) => {
      const hasToWait = isLate;
      // The last question is answered in time.
      isLate = false;
      const expires = Date.now() + (hasToWait ? 900 : 5_000);
      if (hasToWait) {
        lateAnswers++;
        await until('that to be over', () => Date.now() > expires + 100);
      }
      say(response, { user: 'alice', login: 'one', expires });
    };
    const pages = [await page('a', []), await page('a')];
    const hasEnded = () => pages.some(({ closeCode }) => closeCode !== undefined);
    for (let n = 1; n <= 2; n++) {
      isLate = true;
      const before = logins.asked('a');
      await until(
        'a late answer and one in time',
        () => (lateAnswers === n && logins.asked('a') > before + 1) || hasEnded(),
      );
    }
    assert.ok(!hasEnded());
    await push.send('alice', 'still here');
    await until('the message', () => pages[0]!.received.length === 1 && pages[1]!.data().length === 1);
  });

  test('a login that is over is asked about once for all its pages, and ends with whatever is answered', async (t) => {
    const { logins, page, log } = await start(
      t,
      { recheck: 60_000, timeout: 60_000 },
      { expiry: { leeway: 0 } },
    );
    const { application } = logins;
    const answers: [string, (response: ServerResponse) => unknown][] = [
      ['an end that is over', (response) => say(response, { user: 'alice', expires: Date.now() - 1 })],
      [
        'an end that is over, later',
        (response) => setTimeout(() => say(response, { user: 'alice', expires: Date.now() - 1 }), 20),
      ],
      ['nobody', (response) => response.writeHead(401).end()],
      ['no answer', (response) => response.writeHead(500).end()],
      ['half an answer', (response) => response.destroy()],
    ];
    for (const [what, answer] of answers) {
      // One end for all of them, which is not over before they have come in.
      const expires = Date.now() + 4_000;
      application.answering = (_request, response) => say(response, { user: 'alice', expires });
      const pages = [await page('a', [])];
      while (pages.length < 8) pages.push(await page('a'));
      const held: ServerResponse[] = [];
      application.answering = (_request, response) => held.push(response);
      await until('a question', () => held.length > 0);
      application.answering = (_request, response) => answer(response);
      const before = logins.asked('a');
      for (const response of held) answer(response);
      for (const each of pages) assert.equal(await each.ended(), 4501, what);
      // One before the end and one at it, and where there is no answer some more.
      const asked = logins.asked('a') - before;
      assert.ok(asked < pages.length, `${what}: ${asked}`);
    }
    assert.ok(!log.some((line) => line.startsWith('error')));
  });

  test('a page whose end the application has not said is not asked about at it', async (t) => {
    const { push, logins, page } = await start(t, { recheck: 600_000 }, { expiry: { leeway: 0 } });
    logins.said.set('a', { user: 'alice', expires: Date.now() + 3_600_000 });
    const alice = await page('a');
    [...push.localSessions()][0]!.renew({ expires: Date.now() });
    assert.equal(await alice.ended(), 4501);
    assert.equal(logins.asked('a'), 1);
  });

  test('an end that has passed ends the page', async (t) => {
    const { push, logins, page } = await start(t, {}, { expiry: { leeway: 0 } });
    logins.said.set('a', { user: 'alice', expires: Date.now() + 3_600_000 });
    const alice = await page('a');
    logins.said.set('a', { user: 'alice', expires: Date.now() - 1_000 });
    await push.recheck('alice');
    assert.equal(await alice.ended(), 4501);
    const again = new Page(alice.socket.url, '', [], { cookie: 'sid=a' });
    assert.equal(await again.ended(), 401);
  });

  test('a login that is longer by now does not end at its former end', async (t) => {
    const { push, logins, page } = await start(t, { recheck: 600_000 });
    const later = Date.now() + 3_600_000;
    logins.said.set('a', { user: 'alice', expires: Date.now() + 4_000 });
    const alice = await page('a');
    logins.said.set('a', { user: 'alice', expires: later });
    assert.equal((await alice.frame('renewed')).expires, later);
    assert.equal([...push.localSessions()][0]!.expires, later);
    assert.equal(alice.closeCode, undefined);
  });

  test('a login that is blocked is no way to stay', async (t) => {
    const { push, logins, page } = await start(t);
    logins.said.set('a', { user: 'alice', login: 'L1' });
    const alice = await page('a');
    await push.block({ login: 'L2' });
    await push.recheck('alice');
    assert.equal(alice.closeCode, undefined);
    logins.said.set('a', { user: 'alice', login: 'L2' });
    assert.equal((await push.recheck('alice')).ended, 1);
    assert.equal(await alice.ended(), 4503);
  });

  test('topics that can not be change nothing, and are in the log', async (t) => {
    const { push, logins, page, log } = await start(t, {}, { limits: { subscriptions: 1 } });
    logins.said.set('a', { user: 'alice', topics: ['one'] });
    const alice = await page('a');
    logins.said.set('a', { user: 'alice', topics: ['one', 'two'] });
    await push.recheck('alice');
    assert.equal(log.filter((line) => line.startsWith('error: what the application says')).length, 1);
    const [session] = push.localSessions();
    assert.deepEqual(session!.attributes.topics, ['one']);
    assert.equal(alice.closeCode, undefined);
  });

  test('the application stays away: pages end after the grace, with a code that reconnects', async (t) => {
    const { logins, page } = await start(t, { recheck: 500, grace: 1_000, timeout: 200 }, SOCKJS);
    logins.said.set('a', { user: 'alice' });
    const pages = [await page('a'), await page('a', [])];
    logins.application.answering = () => {};
    for (const each of pages) assert.equal(await each.ended(), 4424);
  });

  test('the grace begins anew with each time that the application is away', async (t) => {
    const { push, logins, page } = await start(t, { grace: 2_000 });
    logins.said.set('a', { user: 'alice' });
    const alice = await page('a');
    logins.said.set('a', 500);
    const since = performance.now();
    assert.equal((await push.recheck('alice')).unanswered, 1);
    logins.said.set('a', { user: 'alice' });
    assert.equal((await push.recheck('alice')).unanswered, 0);
    await until('the first grace to be over', () => performance.now() - since > 2_100);
    logins.said.set('a', 500);
    assert.deepEqual(await push.recheck('alice'), { sessions: 1, ended: 0, unanswered: 1 });
    assert.equal(alice.closeCode, undefined);
  });

  test('an answer that can not be used ends nobody at once either', async (t) => {
    const { push, logins, page } = await start(t, { grace: 60_000 });
    logins.said.set('a', { user: 'alice' });
    const alice = await page('a');
    logins.said.set('a', 500);
    assert.deepEqual(await push.recheck('alice'), { sessions: 1, ended: 0, unanswered: 1 });
    logins.said.delete('a');
    // Nobody has to tell it once more: it is asked until there is an answer.
    assert.equal(await alice.ended(), 4501);
  });

  test('push.recheck asks at once, about this user only, and anew', async (t) => {
    const { push, logins, page } = await start(t);
    for (const [sid, user] of ['alice', 'alice', 'bob'].entries()) logins.said.set(`${sid}`, { user });
    const pages = [await page('0'), await page('1'), await page('2')];
    assert.deepEqual(await push.recheck('nobody'), { sessions: 0, ended: 0, unanswered: 0 });
    await assert.rejects(push.recheck('a\nb'), TypeError);
    logins.said.delete('0');
    logins.said.delete('2');
    assert.deepEqual(await push.recheck('alice'), { sessions: 2, ended: 1, unanswered: 0 });
    assert.equal(await pages[0]!.ended(), 4501);
    assert.deepEqual([logins.asked('0'), logins.asked('1'), logins.asked('2')], [2, 2, 1]);
    assert.equal(pages[2]!.closeCode, undefined);

    // A question that is under way was asked before it was told: its answer does not count.
    const held: ServerResponse[] = [];
    logins.application.answering = (_request, response) => held.push(response);
    const first = push.recheck('alice');
    await until('a question', () => held.length === 1);
    const second = push.recheck('alice');
    say(held[0]!, { user: 'alice' });
    await until('another one', () => held.length === 2);
    held[1]!.writeHead(401).end();
    assert.deepEqual(await first, { sessions: 1, ended: 0, unanswered: 0 });
    assert.deepEqual(await second, { sessions: 1, ended: 1, unanswered: 0 });
    assert.equal(await pages[1]!.ended(), 4501);
  });

  test('who is on the way in when it is told is asked about once more', async (t) => {
    let proceed = (): void => {};
    const held = new Promise<void>((resolve) => {
      proceed = resolve;
    });
    let isHeld = false;
    const { push, url, logins } = await start(t);
    const { push: slow, url: slowUrl } = await startPush({
      interceptors: [
        askApplication({ url: logins.application.url, recheck: 0 }),
        {
          before: async () => {
            isHeld = true;
            await held;
          },
        },
      ],
    });
    t.after(() => slow.close());
    assert.notEqual(url, slowUrl);
    logins.said.set('a', { user: 'alice' });
    const alice = new Page(slowUrl, '', [], { cookie: 'sid=a' });
    await until('she was asked about', () => isHeld);
    logins.said.delete('a');
    await Promise.all([slow.recheck('alice'), push.recheck('alice')]);
    proceed();
    assert.equal(await alice.ended(), 4501);
  });

  test('a page asks whether it may stay, brings a new ticket, and ends where it is somebody else’s', async (t) => {
    const { push, logins, page } = await start(t);
    const byTicket = (request: IncomingMessage, response: ServerResponse): void => {
      const ticket = new URL(request.url!, 'http://x').searchParams.get('ticket');
      const [user, login] = ticket?.split('.') ?? [];
      if (!user || user === 'nobody') response.writeHead(401).end();
      else say(response, { user, login, expires: Date.now() + 3_600_000 });
    };
    logins.application.answering = byTicket;
    const alice = await page('a', ['tidings.1', 'ticket.alice.1']);
    alice.say({ type: 'renew' });
    await alice.frame('renewed');
    alice.say({ type: 'renew', ticket: 'alice.2' });
    await alice.frame('renewed', 1);
    const [session] = push.localSessions();
    assert.equal(session!.login, '2');
    // From now on the new one is what is asked about.
    await push.recheck('alice');
    assert.match(logins.application.asked.at(-1)!.url!, /ticket=alice\.2$/);
    alice.say({ type: 'renew', ticket: 'nobody', ref: 'r' });
    const error = await alice.frame('error');
    assert.deepEqual([error.code, error.ref], ['not-authenticated', 'r']);
    assert.equal(alice.closeCode, undefined);
    alice.say({ type: 'renew', ticket: 'mallory.1' });
    assert.equal(await alice.ended(), 4503);

    const bob = await page('b', ['tidings.1', 'ticket.bob.1']);
    logins.application.answering = (_request, response) => response.writeHead(401).end();
    bob.say({ type: 'renew' });
    assert.equal(await bob.ended(), 4501);
    await until('nobody is there', () => push.stats().sessions === 0);
  });

  test('an answer that comes when the page has gone, and one when the server has, end nothing', async (t) => {
    const { push, logins, page, log } = await start(t, { recheck: 500 });
    logins.said.set('a', { user: 'alice' });
    const alice = await page('a');
    const held: ServerResponse[] = [];
    logins.application.answering = (_request, response) => held.push(response);
    await until('a question', () => held.length === 1);
    await alice.close();
    await until('she has gone', () => push.stats().sessions === 0);
    say(held[0]!, { user: 'bob' });
    const coming = new Page(alice.socket.url, '', ['tidings.1'], { cookie: 'sid=a' });
    await until('another one', () => held.length === 2);
    coming.cut();
    say(held[1]!, { user: 'alice' });
    const last = new Page(alice.socket.url, '', [], { cookie: 'sid=b' });
    await until('a third one', () => held.length === 3);
    const closing = push.close();
    say(held[2]!, { user: 'bob' });
    await Promise.all([closing, last.ended()]);
    assert.deepEqual(
      log.filter((line) => !line.startsWith('info')),
      [],
    );
  });

  test('a hundred pages of as many users at once: each is asked about, and each by itself', async (t) => {
    const { push, logins, page } = await start(t, { concurrency: 8 });
    const sids = Array.from({ length: 100 }, (_, n) => `s${n}`);
    for (const sid of sids) logins.said.set(sid, { user: `user-${sid}` });
    const pages = await Promise.all(sids.map((sid) => page(sid)));
    for (const sid of sids.filter((_, n) => n % 2 === 0)) logins.said.delete(sid);
    const results = await Promise.all(sids.map((sid) => push.recheck(`user-${sid}`)));
    assert.equal(results.filter(({ ended }) => ended === 1).length, 50);
    await until('half have gone', () => push.stats().sessions === 50);
    for (const [n, each] of pages.entries()) {
      if (n % 2 === 0) assert.equal(await each.ended(), 4501);
      else assert.equal(each.closeCode, undefined);
    }
  });
});
