/** A page brings a new ticket: its session goes on. */
import '../../support/held-clock.ts';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type PushInterceptor,
  type PushServerOptions,
  queryUser,
  signedTicket,
  signTicket,
} from '../../../src/index.ts';
import { holdClock } from '../../support/held-clock.ts';
import { until } from '../../support/net.ts';
import { onEachStore } from '../stores.ts';
import { Page, type Running, startPush } from '../support.ts';

const secret = 'a secret of more than 16 bytes';
const HOUR = 3_600_000;

async function startTickets(options: PushServerOptions = {}): Promise<Running> {
  return startPush({ interceptors: [signedTicket({ secret })], ...options });
}

function open(url: string, ticket: string, hello = {}): Promise<Page> {
  return Page.open(`${url}?ticket=${ticket}`, '', hello);
}

/** An interceptor that answers what it is told to. */
function answering(renew: unknown, patience = 10_000): PushServerOptions {
  return { interceptors: [queryUser('user'), { renew } as PushInterceptor], limits: { answer: patience } };
}

test('a renewed session goes on where it was: positions, topics, and what is sent meanwhile', async (t) => {
  const { url, push } = await startTickets();
  const clock = holdClock(t);
  const page = await open(url, signTicket('alice', { secret, lifetime: HOUR, login: 'J-1' }), {
    device: 'd',
    topics: ['news'],
  });
  const welcome = page.frames('welcome')[0]!;
  assert.ok(Math.abs(welcome.expires! - Date.now() - HOUR) < 60_000);
  assert.ok(Math.abs(welcome.expiresIn! - HOUR) < 60_000);
  await push.send('alice', 1);
  await push.publish('news', 1);
  page.say({ type: 'renew', ticket: signTicket('alice', { secret, lifetime: 3 * HOUR, login: 'J-2' }) });
  await push.send('alice', 2);
  const renewed = await page.frame('renewed');
  assert.ok(Math.abs(renewed.expires! - Date.now() - 3 * HOUR) < 60_000);
  assert.equal([...push.localSessions()][0]!.login, 'J-2');
  clock.pass(2 * HOUR);
  await push.send('alice', 3);
  await push.publish('news', 2);
  await until('all', () => page.data().length === 3 && page.data('news').length === 2);
  assert.deepEqual(page.data(), [1, 2, 3]);
  assert.deepEqual(page.frames('welcome').length, 1);
  clock.pass(2 * HOUR);
  assert.equal(await page.ended(), 4501);
});

onEachStore(
  'a renewed session gets all that other instances send, and ends with its last ticket',
  async (broker, t) => {
    const options = { expiry: { leeway: 0 }, interceptors: [signedTicket({ secret })] };
    const [here, there] = [
      await startPush({ ...options, broker: broker() }),
      await startPush({ broker: broker() }),
    ];
    t.after(() => Promise.all([here.push.close(), there.push.close()]));
    const sign = (lifetime: number): string => signTicket('alice', { secret, lifetime, login: 'J' });
    const page = await open(here.url, sign(3_000), { device: 'd', topics: ['news'] });
    for (let n = 0; n < 4; n++) {
      await there.push.send('alice', n);
      await there.push.publish('news', n);
      page.say({ type: 'renew', ticket: sign(3_000) });
      const { expires } = await page.frame('renewed', n);
      // The ticket before is over by then, the last time.
      if (n === 3) break;
      await until('a second of it', () => Date.now() > expires! - 2_000);
    }
    await until('all', () => page.data().length === 4 && page.data('news').length === 4);
    assert.deepEqual(
      [page.data(), page.data('news')],
      [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
      ],
    );
    page.say({ type: 'ack', channel: 'inbox', position: page.position() });
    assert.equal(await page.ended(), 4501);
    await there.push.send('alice', 'after');
    await until('nobody there', async () => !(await there.push.online('alice')));
    const again = await open(here.url, sign(60_000), { device: 'd' });
    await until('the rest', () => again.data().length > 0);
    assert.deepEqual(again.data(), ['after']);
  },
);

test('a ticket of another user sends the page away, which is told why, and the log without the ticket', async () => {
  const { url, push, log } = await startTickets();
  const page = await open(url, signTicket('alice', { secret }));
  const other = signTicket('bob', { secret });
  page.say({ type: 'renew', ticket: other, ref: '7' });
  assert.deepEqual(await page.frame('error'), {
    type: 'error',
    code: 'forbidden',
    message: 'the ticket is of another user',
    ref: '7',
  });
  assert.equal(await page.ended(), 4503);
  await push.send('alice', 'secret');
  assert.equal(page.messages().length, 0);
  assert.match(log.join(), /a page of alice was sent away/);
  assert.ok(!log.join().includes(other));
});

test('a ticket that is not valid changes nothing', async (t) => {
  const { url, push } = await startTickets();
  const clock = holdClock(t);
  const page = await open(url, signTicket('alice', { secret, lifetime: HOUR }));
  const bad = [
    ['not-authenticated', signTicket('alice', { secret, lifetime: -1 })],
    ['not-authenticated', signTicket('alice', { secret: 'another secret, long enough' })],
    ['not-authenticated', 't1.forged'],
    ['not-authenticated', 'eyJhbGciOiJub25lIn0.e30.'],
    ['not-authenticated', undefined],
    ['bad-frame', 17],
    ['bad-frame', ''],
    ['bad-frame', null],
    ['bad-frame', ['t1']],
    ['bad-frame', 'x'.repeat(20_000)],
  ] as const;
  for (const [n, [code, ticket]] of bad.entries()) {
    page.say({ type: 'renew', ticket, ref: 'r' });
    const error = await page.frame('error', n);
    assert.deepEqual([error.code, error.ref], [code, 'r'], String(ticket).slice(0, 40));
  }
  assert.equal(page.frames('renewed').length, 0);
  await push.send('alice', 'still there');
  await page.frame('message');
  clock.pass(HOUR + 10_000);
  assert.equal(await page.ended(), 4501);
});

test('a renewal before hello closes as any frame does; behind hello it waits for the welcome', async () => {
  const { url } = await startTickets();
  const early = new Page(`${url}?ticket=${signTicket('alice', { secret })}`, '', ['tidings.1']);
  await until('an open page', () => early.socket.readyState === 1);
  early.say({ type: 'renew', ticket: signTicket('alice', { secret }) });
  assert.equal(await early.ended(), 4500);
  const page = new Page(`${url}?ticket=${signTicket('alice', { secret })}`, '', ['tidings.1']);
  await until('an open page', () => page.socket.readyState === 1);
  page.say({ type: 'hello' });
  page.say({ type: 'renew', ticket: signTicket('alice', { secret, lifetime: HOUR }) });
  await page.frame('renewed');
  assert.equal((page.received[0] as { type: string }).type, 'welcome');
});

test('frames behind a renewal wait for it, and it for those before it', async () => {
  let answer: (said: object) => void = () => {};
  const { url } = await startPush(answering(() => new Promise((resolve) => (answer = resolve))));
  const page = await Page.open(url, 'alice');
  page.say({ type: 'subscribe', channel: 'a' });
  page.say({ type: 'renew', ticket: 'x' });
  page.say({ type: 'subscribe', channel: 'b' });
  page.say({ type: 'ping' });
  await page.frame('pong');
  await page.frame('subscribed');
  assert.equal(page.frames('subscribed').length, 1);
  answer({ user: 'alice' });
  await page.frame('subscribed', 1);
  assert.deepEqual(
    (page.received as { type: string }[])
      .map(({ type }) => type)
      .filter((type) => /subscribed|renewed/.test(type)),
    ['subscribed', 'renewed', 'subscribed'],
  );
});

test('interceptors are asked in their order until one answers', async () => {
  const asked: unknown[] = [];
  const { url } = await startPush({
    interceptors: [
      queryUser('user'),
      { renew: (ticket) => void asked.push(ticket) },
      {
        renew: async (ticket) => ({
          expires: Date.now() + HOUR,
          role: ticket ?? 'none',
        }),
      },
      { renew: () => void asked.push('never') },
    ],
  });
  const page = await Page.open(url, 'alice');
  page.say({ type: 'renew', ticket: 'x' });
  await page.frame('renewed');
  page.say({ type: 'renew' });
  await page.frame('renewed', 1);
  assert.deepEqual(asked, ['x', undefined]);
});

test('a server whose interceptors know no tickets says so', async () => {
  const { url } = await startPush();
  const page = await Page.open(url, 'alice');
  page.say({ type: 'renew', ticket: 'x' });
  assert.equal((await page.frame('error')).code, 'not-authenticated');
  await assert.rejects(startPush({ interceptors: [{ renew: 'yes' } as never] }), /renew/);
});

const impolite: Record<string, [answer: () => unknown, code: string]> = {
  throws: [
    () => {
      throw new Error('gone');
    },
    'unavailable',
  ],
  'throws nothing that can be shown': [
    () => {
      throw Object.create(null, {
        message: {
          get() {
            throw 1;
          },
        },
      });
    },
    'unavailable',
  ],
  rejects: [() => Promise.reject(new Error('gone')), 'unavailable'],
  'never answers': [() => new Promise(() => {}), 'unavailable'],
  // biome-ignore lint/suspicious/noThenProperty: it is what it is called.
  'answers with a thenable that never does': [() => ({ then() {} }), 'unavailable'],
  'answers with a body that never ends': [
    () => new Response(new ReadableStream({}), { status: 401 }),
    'unavailable',
  ],
  'answers with text': [() => 'alice', 'unavailable'],
  'answers with an end that is none': [() => ({ user: 'alice', expires: 'soon' }), 'rejected'],
  'answers with an end that is over': [() => ({ user: 'alice', expires: 1 }), 'not-authenticated'],
  'answers with attributes that throw': [
    () => ({
      user: 'alice',
      get expires(): number {
        throw new Error('gone');
      },
    }),
    'unavailable',
  ],
  'refuses with 401': [() => new Response('why', { status: 401 }), 'not-authenticated'],
  'refuses with 500': [() => new Response('', { status: 500 }), 'unavailable'],
  'refuses with 503': [() => new Response('later', { status: 503 }), 'unavailable'],
};

for (const [what, [answer, code]] of Object.entries(impolite)) {
  test(`an interceptor that ${what} leaves the session as it was, and the page is told`, async () => {
    const { url, push } = await startPush(answering(answer, 100));
    const page = await Page.open(url, 'alice');
    page.say({ type: 'renew', ticket: 'x', ref: 'r' });
    const error = await page.frame('error');
    assert.deepEqual([error.code, error.ref], [code, 'r']);
    page.say({ type: 'subscribe', channel: 'news' });
    await page.frame('subscribed');
    await push.send('alice', 'still there');
    await page.frame('message');
    assert.equal([...push.localSessions()][0]!.expires, undefined);
  });
}

test('one that refuses with 403 sends the page away', async () => {
  const { url } = await startPush(answering(() => new Response('locked\nmore', { status: 403 })));
  const page = await Page.open(url, 'alice');
  page.say({ type: 'renew' });
  assert.deepEqual(await page.frame('error'), { type: 'error', code: 'forbidden', message: 'locked' });
  assert.equal(await page.ended(), 4503);
});

test("a hundred renewals in one go are obeyed one by one, and those of a page that has gone are nobody else's", async () => {
  const { url, push } = await startTickets({ limits: { messagesPerSecond: 0 } });
  const pages = await Promise.all(
    Array.from({ length: 5 }, () => open(url, signTicket('alice', { secret }))),
  );
  for (const page of pages) {
    for (let n = 0; n < 100; n++)
      page.say({ type: 'renew', ticket: signTicket('alice', { secret, lifetime: HOUR + n }) });
  }
  pages[0]!.cut();
  for (const page of pages.slice(1)) {
    const last = await page.frame('renewed', 99);
    assert.equal(
      [...push.localSessions()].filter(({ expires }) => expires === last.expires).length >= 1,
      true,
    );
  }
});
