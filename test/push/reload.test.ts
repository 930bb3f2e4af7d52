/** Options that a running server takes anew, while pages are there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { PushServer, queryUser, signedTicket, signTicket } from '../../src/index.ts';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

const old = 'an old secret of 16 bytes or more';
const young = 'a new secret of 16 bytes or more';
const ticketOf = (secret: string): string => signTicket('alice', { secret });

async function outcome(
  url: string,
  {
    origin,
    ticket,
    protocols = ['tidings.1'],
  }: { origin?: string; ticket?: string; protocols?: string[] } = {},
): Promise<unknown> {
  const named = ticket === undefined ? [] : [`ticket.${ticket}`];
  const headers: Record<string, string> = origin === undefined ? {} : { Origin: origin };
  const page = new Page(url, 'alice', [...protocols, ...named], headers);
  const isPlain = protocols.length === 0;
  page.socket.once('open', () => {
    if (!isPlain) page.say({ type: 'hello' });
  });
  const isIn = (): boolean => (isPlain ? page.socket.readyState === 1 : page.frames('welcome').length > 0);
  const end = await until('an answer', () => page.refusal ?? page.closeCode ?? (isIn() ? 'in' : undefined));
  page.cut();
  return end;
}

test('secrets are rotated while pages are there: nobody goes, the old ticket is refused, the new one lets in', async () => {
  const { push, url } = await startPush({ interceptors: [signedTicket({ secret: old })] });
  const page = new Page(url, '', ['tidings.1', `ticket.${ticketOf(old)}`]);
  await once(page.socket, 'open');
  page.say({ type: 'hello' });
  await page.frame('welcome');

  await push.reload({ interceptors: [signedTicket({ secret: [young, old] })] });
  assert.equal(await outcome(url, { ticket: ticketOf(old) }), 'in');
  assert.equal(await outcome(url, { ticket: ticketOf(young) }), 'in');
  await push.reload({ interceptors: [signedTicket({ secret: young })] });
  assert.equal(await outcome(url, { ticket: ticketOf(old) }), 4501);
  assert.equal(await outcome(url, { ticket: ticketOf(young) }), 'in');

  // The page that was there renews by the new secret, and by no other.
  page.say({ type: 'renew', ticket: ticketOf(old) });
  assert.equal((await page.frame('error')).code, 'not-authenticated');
  page.say({ type: 'renew', ticket: ticketOf(young) });
  await page.frame('renewed');
  await push.send('alice', 'still here');
  await until('the message', () => page.data().includes('still here'));
});

test('origins, refusals and rights: newcomers by the new ones, open pages with their next question', async () => {
  const { push, url } = await startPush({ origins: ['https://a.example'] });
  const page = await Page.open(url, 'alice', { topics: ['news'] });
  assert.equal(await outcome(url, { origin: 'https://a.example' }), 'in');
  await push.reload({
    origins: ['https://b.example'],
    authorize: { subscribe: (_, topic) => topic === 'sport' },
  });
  assert.equal(await outcome(url, { origin: 'https://a.example' }), 4503);
  assert.equal(await outcome(url, { origin: 'https://b.example' }), 'in');
  assert.equal(await outcome(url, { origin: 'https://a.example', protocols: [] }), 403);
  await push.reload({ refusals: 'close' });
  const plain = new Page(url, 'alice', [], { Origin: 'https://a.example' });
  assert.equal(await plain.ended(), 4503);

  page.say({ type: 'subscribe', channel: 'other' });
  assert.equal((await page.frame('error')).code, 'forbidden');
  page.say({ type: 'subscribe', channel: 'sport' });
  await page.frame('subscribed');
  // What it was subscribed to before stays.
  await push.publish('news', 1);
  await until('the news', () => page.data('news').length === 1);
});

onEachStore('limits and retention count from then on, also longer messages than before', async (broker) => {
  const { push, url } = await startPush({ broker: broker(), limits: { message: 1000 } });
  const before = await Page.open(url, 'alice');
  await assert.rejects(push.send('alice', 'x'.repeat(2000)), RangeError);
  await push.reload({ limits: { message: 10_000_000 }, retention: { inbox: { maxMessages: 2 } } });
  await push.send('alice', 'x'.repeat(9_000_000));
  await until('the long one', () => before.data().length === 1);
  for (let i = 0; i < 5; i++) await push.send('alice', i);
  const { messages } = await push.inbox('alice');
  assert.deepEqual(
    messages.map(({ data }) => data),
    [4, 3],
  );
  await push.reload({ limits: { sessions: 1 } });
  assert.equal(await outcome(url, { protocols: [] }), 503);
  assert.equal(before.socket.readyState, 1);
  // Named anew, all others have their defaults.
  await assert.rejects(push.send('alice', 'x'.repeat(2_000_000)), RangeError);
  await push.close();
});

test('what can not be changes nothing: all of it or none', async () => {
  const { push, url } = await startPush({ origins: ['https://a.example'], port: 0 });
  const hanging = { ready: Promise.reject(new Error('no keys')), before: () => undefined };
  hanging.ready.catch(() => {});
  for (const [changes, message] of [
    [
      { origins: ['https://b.example'], limits: { mesage: 1 } },
      /limits: there is no mesage; is message meant/,
    ],
    [{ origins: ['https://b.example'], limits: { message: -1 } }, /limits.message is -1/],
    [{ origins: ['b.example'] }, /origins: "b.example" is not of the form/],
    [{ origins: ['https://b.example'], port: 1 }, /reload: there is no port/],
    [{ origins: ['https://b.example'], orgins: [] }, /reload: there is no orgins; is origins meant/],
    [{ origins: ['https://b.example'], heartbeat: { ping: Number.NaN } }, /heartbeat.ping is NaN/],
    [{ origins: ['https://b.example'], topicTickets: { secret: 'short' } }, /at least 16 bytes/],
    [{ origins: ['https://b.example'], proxies: ['x'] }, /no address/],
    [{ origins: ['https://b.example'], topics: { a: { overflow: 'x' } } }, /overflow is x/],
    [{ origins: ['https://b.example'], authorize: { presence: () => true } }, /authorize.presence/],
    [{ origins: ['https://b.example'], interceptors: [hanging] }, /no keys/],
    [null, /reload must be an object/],
  ] as [never, RegExp][]) {
    await assert.rejects(push.reload(changes), message);
    await assert.rejects(push.reload(changes, { trial: true }), message);
  }
  await assert.rejects(
    push.reload({}, { tryal: true } as never),
    /reload: there is no tryal; is trial meant/,
  );
  await push.reload({ origins: ['https://b.example'] }, { trial: true });
  assert.equal(await outcome(url, { origin: 'https://a.example' }), 'in');
  assert.equal(await outcome(url, { origin: 'https://b.example' }), 4503);
});

test('calls take effect in their order, whatever interceptors have to wait for', async () => {
  const { push, url } = await startPush();
  let isReady = (): void => {};
  const slow = {
    ready: new Promise<void>((resolve) => {
      isReady = resolve;
    }),
    ...queryUser('user'),
  };
  const first = push.reload({ interceptors: [slow], origins: ['https://a.example'] });
  const second = push.reload({ origins: ['https://b.example'] });
  isReady();
  await Promise.all([first, second]);
  assert.equal(await outcome(url, { origin: 'https://a.example' }), 4503);
  assert.equal(await outcome(url, { origin: 'https://b.example' }), 'in');
});

test('who is on the way in while the interceptors change is asked by the old ones, which are told how it ended', async () => {
  const told: string[] = [];
  let proceed = (): void => {};
  const waiting = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  let isAsked = false;
  const named = (name: string, wait: boolean) => ({
    async before(_: unknown, attributes: { user?: string }) {
      isAsked = true;
      if (wait) await waiting;
      attributes.user = name;
    },
    after: () => {
      told.push(name);
    },
  });
  const { push, url } = await startPush({ interceptors: [named('first', true), named('second', false)] });
  const page = new Page(url, '');
  await until('the question', () => isAsked);
  await push.reload({ interceptors: [named('other', false)] });
  proceed();
  await once(page.socket, 'open');
  assert.deepEqual(told, ['second', 'first']);
  assert.deepEqual(
    [...push.localSessions()].map(({ user }) => user),
    ['second'],
  );
  await Page.plain(url, '');
  assert.deepEqual(told, ['second', 'first', 'other']);
});

test('SockJS has the new origins and limits, too', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const push = new PushServer({
    server,
    sockjs: { prefix: '/sockjs' },
    interceptors: [queryUser('user')],
    origins: ['https://a.example'],
    log: () => {},
  });
  t.after(async () => {
    await push.close();
    server.closeAllConnections();
    server.close();
  });
  await push.ready;
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sockjs`;
  const post = (path: string, origin: string, body = '') =>
    fetch(`${at}/0/${path}?user=alice`, { method: 'POST', headers: { Origin: origin }, body });
  assert.equal(await (await post('one/xhr', 'https://a.example')).text(), 'o\n');
  await push.reload({ origins: ['https://b.example'], limits: { message: 100, subscriptions: 1 } });
  assert.equal((await post('two/xhr', 'https://a.example')).status, 403);
  assert.equal(await (await post('two/xhr', 'https://b.example')).text(), 'o\n');
  assert.match(
    (await fetch(`${at}/iframe.html`)).headers.get('content-security-policy') ?? '',
    /https:\/\/b\.example$/,
  );
  const long = JSON.stringify([JSON.stringify({ type: 'x', data: 'x'.repeat(40_000) })]);
  assert.equal((await post('two/xhr_send', 'https://b.example', long)).status, 413);
});
