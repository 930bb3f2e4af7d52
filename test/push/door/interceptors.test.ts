import assert from 'node:assert/strict';
import test from 'node:test';
import { arrivalOf } from '../../../src/push/door/arrival.ts';
import { cookieSession, queryUser, signedTicket } from '../../../src/push/door/interceptors.ts';
import { originCheck } from '../../../src/push/door/origin.ts';
import { signTicket } from '../../../src/push/door/ticket.ts';
import type { Attributes, HandshakeRequest, Interceptor } from '../../../src/server/transport.ts';

const secret = 'a secret of enough bytes';

async function before(
  interceptor: Interceptor,
  parts: Partial<HandshakeRequest>,
): Promise<{ status: number | undefined; user: string | undefined }> {
  const attributes: Attributes = {};
  const request = { headers: {}, socket: {}, ...parts };
  const response = await interceptor.before!(request, attributes);
  return { status: response?.status, user: attributes.user };
}

test('a ticket is taken from the query, the cookie or the subprotocol', async () => {
  const ticket = signTicket('alice', { secret });
  const places: Partial<HandshakeRequest>[] = [
    { url: `/socketServer?ticket=${ticket}` },
    { headers: { cookie: `a=b; tidings_ticket=${ticket}` } },
    { headers: { 'sec-websocket-protocol': `tidings.1, ticket.${ticket}` } },
  ];
  for (const place of places) {
    assert.deepEqual(await before(signedTicket({ secret }), place), { status: undefined, user: 'alice' });
  }
});

test('a ticket that is not valid refuses with 401; none leaves the request to others', async () => {
  const interceptor = signedTicket({ secret });
  const expired = signTicket('alice', { secret, lifetime: -1 });
  assert.deepEqual(await before(interceptor, { url: `/?ticket=${expired}` }), {
    status: 401,
    user: undefined,
  });
  assert.deepEqual(await before(interceptor, { url: '/?ticket=nonsense' }), { status: 401, user: undefined });
  assert.deepEqual(await before(interceptor, { url: '/' }), { status: undefined, user: undefined });
  assert.throws(() => signedTicket({ secret: 'short' }), TypeError);
});

test('who names another user than the one before names him without the other login and its end', async () => {
  const ticket = signTicket('alice', { secret, login: 'J', topics: ['news'], claims: { role: 'a' } });
  const request = { headers: { cookie: 'sid=1' }, url: `/?ticket=${ticket}&operator=bob`, socket: {} };
  const of = async (...interceptors: Interceptor[]): Promise<Attributes> => {
    const attributes: Attributes = {};
    for (const each of interceptors) await each.before!(request, attributes);
    return attributes;
  };
  const bob = queryUser('operator');
  const tickets = signedTicket({ secret });
  assert.deepEqual(await of(tickets, bob), { user: 'bob' });
  assert.deepEqual(
    await of(
      tickets,
      cookieSession(() => 'bob'),
    ),
    { user: 'bob' },
  );
  const { user, login, topics } = await of(bob, tickets);
  assert.deepEqual([user, login, topics], ['alice', 'J', ['news']]);
  // The same user, and what was said of nobody in particular, stay.
  assert.equal(
    (
      await of(
        tickets,
        cookieSession(() => 'alice'),
      )
    ).login,
    'J',
  );
  const forAll: Interceptor = {
    before: (_request, attributes) => void Object.assign(attributes, { expires: 1 }),
  };
  assert.deepEqual(await of(forAll, bob), { user: 'bob', expires: 1 });
});

test('a session cookie is looked up by the application', async () => {
  const interceptor = cookieSession(async (cookies) => (cookies.get('sid') === '42' ? 'alice' : undefined));
  assert.equal((await before(interceptor, { headers: { cookie: 'sid=42' } })).user, 'alice');
  assert.equal((await before(interceptor, { headers: { cookie: 'sid=43' } })).user, undefined);
  assert.equal((await before(interceptor, {})).user, undefined);
  assert.throws(() => cookieSession('sid' as never), /cookieSession takes a function/);
});

test('a bare name is believed only from the parameter that was switched on', async () => {
  assert.equal((await before(queryUser('operator'), { url: '/?operator=alice' })).user, 'alice');
  assert.equal((await before(queryUser('operator'), { url: '/?user=alice' })).user, undefined);
});

test('RFC 6455 §10.2: pages of the same origin pass, of listed ones too, others get 403', async () => {
  const check = originCheck(['https://app.example.com', 'null']);
  const from = async (origin: string | undefined, host = 'push.example.com'): Promise<number | undefined> =>
    (await before(check, { headers: origin === undefined ? { host } : { host, origin } })).status;
  assert.equal(await from(undefined), undefined);
  assert.equal(await from('https://push.example.com'), undefined);
  assert.equal(await from('https://push.example.com', 'push.example.com:443'), undefined);
  assert.equal(await from('https://PUSH.example.com'), undefined);
  assert.equal(await from('http://localhost:8080', 'localhost:8080'), undefined);
  assert.equal(await from('https://app.example.com'), undefined);
  assert.equal(await from('null'), undefined);
  for (const foreign of [
    'https://evil.example',
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://push.example.com.evil.example',
    'http://localhost:8080',
    'garbage',
    '',
  ]) {
    assert.equal(await from(foreign), 403, foreign);
  }
});

test('apps and files have origins of their own, which can be listed and are nobody else’s', async () => {
  const own = [
    'capacitor://localhost',
    'tauri://localhost',
    'chrome-extension://abcdefghij',
    'file://',
    'null',
  ];
  const all = [...own, 'moz-extension://0a-1b', 'ionic://localhost:8100', 'http://[::1]:8080'];
  for (const origin of all) {
    const status = async (list: string[], host: string) =>
      (await before(originCheck(list), { headers: { origin, host } })).status;
    const others = all.filter((each) => each !== origin);
    assert.equal(await status(all, 'push.example.com'), undefined, origin);
    assert.equal(await status(others, 'push.example.com'), 403, origin);
    // An app at `localhost` is not the site at localhost.
    if (!origin.startsWith('http')) assert.equal(await status([], 'localhost'), 403, origin);
  }
  const wrong = [
    'capacitor:',
    '://x',
    'https://',
    'https://a b',
    'https://u@h',
    'https://h:x',
    'https://*.h',
    '',
  ];
  for (const origin of wrong) assert.throws(() => originCheck([origin]), TypeError, origin);
});

test('an open server must be asked for; what is no origin is refused in the list', async () => {
  const request = { headers: { origin: 'https://evil.example', host: 'x' } };
  assert.equal((await before(originCheck('*'), request)).status, undefined);
  assert.throws(() => originCheck(['app.example.com']), /https:\/\/host/);
  assert.throws(() => originCheck(['https://app.example.com/path']), /https:\/\/host/);
});

test('without a push server interceptors write to the console, all requests together no more than fits in a log', (t) => {
  const { mock } = t.mock.method(console, 'error', () => {});
  for (let i = 0; i < 1_000; i++) {
    const { log } = arrivalOf({ headers: {}, socket: {} });
    log('warn', `no answer for request ${i}`, { event: 'application-unclear' });
  }
  assert.equal(mock.callCount(), 200);
});
