import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer } from '../../src/push/index.ts';
import { adminOf, serving } from './support.ts';

const MAX_BODY = 1000;
const broker = memoryBroker();
const push = new PushServer({ broker, topics: { 'room:*': { presence: true } } });
const api = adminOf(push, { tokens: ['open-sesame'], maxBody: MAX_BODY });
const closed = adminOf(push, { tokens: [], maxBody: MAX_BODY });
let server: Awaited<ReturnType<typeof serving>>;

before(async () => {
  server = await serving((request, response) => {
    void (request.headers['x-no-token'] === undefined ? api : closed)(request, response);
  });
});
after(async () => {
  server.close();
  await push.close();
});

async function call(path: string, init: RequestInit = {}) {
  const headers = {
    Authorization: 'Bearer open-sesame',
    'Content-Type': 'application/json',
    ...init.headers,
  };
  const response = await fetch(server.url + path, { method: 'POST', ...init, headers });
  assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, body, error: body.error };
}

test('a POST to a user or a topic is stored and answered 201 with the receipt', async () => {
  const first = await call('/api/users/alice/messages', { body: '{"subject":"hello"}' });
  assert.equal(first.status, 201);
  assert.equal(first.body.channel, 'user:alice');
  assert.equal(first.body.offset, 1);
  assert.equal(first.body.duplicate, false);
  const topic = await call('/api/topics/news/messages', { body: '"text"' });
  assert.equal(topic.body.channel, 'news');

  const { messages } = await broker.read('user:alice', 0, 10);
  assert.deepEqual(
    messages.map(({ kind, payload }) => [kind, payload.toString()]),
    [['json', '{"subject":"hello"}']],
  );
});

test('a user can be asked about again; who has no page here is nobody to ask about', async () => {
  const { status, body } = await call('/api/users/alice/recheck');
  assert.deepEqual([status, body], [200, { sessions: 0, ended: 0, unanswered: 0 }]);
  assert.equal((await call('/api/users/a%0Ab/recheck')).status, 400);
  assert.equal((await call('/api/users/alice/recheck', { method: 'GET' })).status, 405);
});

test('sessions are ended and counted; a parameter that is none ends nobody', async () => {
  const { status, body } = await call('/api/users/alice/sessions?login=L1&reason=bye&code=4000', {
    method: 'DELETE',
  });
  assert.deepEqual([status, body], [200, { ended: 0 }]);
  for (const query of [
    'logn=L1',
    'login=a&login=b',
    'code=999',
    'code=',
    'device=',
    `reason=${'x'.repeat(124)}`,
  ]) {
    const refused = await call(`/api/users/alice/sessions?${query}`, { method: 'DELETE' });
    assert.deepEqual([refused.status, refused.error], [400, 'bad_request'], query);
  }
  assert.deepEqual((await call('/api/users/alice/sessions', { method: 'GET' })).body, []);
});

test('users and logins are blocked, looked at and let in again', async () => {
  const until = Date.now() + 60_000;
  const iso = new Date(until).toISOString();
  for (const [path, body, block] of [
    ['/api/users/al%20ice/block', undefined, { user: 'al ice', reason: 'blocked' }],
    ['/api/users/bob/block', { until, reason: 'why' }, { user: 'bob', until, reason: 'why' }],
    ['/api/logins/L%2F1/block', { until: iso }, { login: 'L/1', until, reason: 'blocked' }],
  ] as const) {
    assert.equal((await call(path, { method: 'GET' })).error, 'not_blocked');
    const put = await call(path, {
      method: 'PUT',
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    assert.deepEqual([put.status, put.body], [200, { ended: 0 }]);
    assert.deepEqual((await call(path, { method: 'GET' })).body, block);
    assert.deepEqual((await call('/api/blocks', { method: 'GET' })).body, [block]);
    assert.deepEqual((await call(path, { method: 'DELETE' })).body, { lifted: true });
    assert.deepEqual((await call(path, { method: 'DELETE' })).body, { lifted: false });
  }
  for (const body of [
    '[]',
    '1',
    'null',
    '{"untill":1}',
    '{"until":1}',
    '{"until":"soon"}',
    '{"until":"12-24-9999"}',
    '{"reason":1}',
    '{',
  ]) {
    const refused = await call('/api/users/alice/block', { method: 'PUT', body });
    assert.equal(refused.status, 400, body);
  }
  // It would be a block for ever.
  const misplaced = await call(`/api/users/alice/block?until=${until}`, { method: 'PUT' });
  assert.deepEqual([misplaced.status, misplaced.error], [400, 'bad_request']);
  assert.deepEqual((await call('/api/blocks', { method: 'GET' })).body, []);
});

test('topics are given, taken and revoked', async () => {
  const path = '/api/users/al%20ice/topics/role%2Fadmin';
  for (const [method, to, body, expected] of [
    ['PUT', path, undefined, { subscribed: 0 }],
    ['DELETE', path, undefined, { unsubscribed: 0 }],
    ['PUT', `${path}/revocation`, JSON.stringify({ until: Date.now() + 60_000 }), { unsubscribed: 0 }],
    ['DELETE', `${path}/revocation`, undefined, { lifted: true }],
    ['PUT', `${path}/revocation`, undefined, { unsubscribed: 0 }],
    ['DELETE', `${path}/revocation`, undefined, { lifted: true }],
    ['DELETE', `${path}/revocation`, undefined, { lifted: false }],
  ] as const) {
    const { status, body: answer } = await call(to, { method, ...(body !== undefined && { body }) });
    assert.deepEqual([status, answer], [200, expected], `${method} ${to}`);
  }
  for (const [to, method, status] of [
    ['/api/users/alice/topics/inbox', 'PUT', 400],
    ['/api/users/a%0Ab/topics/news', 'DELETE', 400],
    ['/api/users/alice/topics/%FF', 'PUT', 400],
    [path, 'POST', 405],
  ] as const) {
    assert.equal((await call(to, { method })).status, status, to);
  }
});

test('it tells who is on a topic, and which of many users are online', async () => {
  const entry = { session: 's', instance: 'another', user: 'al ice', since: 1 };
  const entries = [
    entry,
    { ...entry, topic: 'room:1/2' },
    { ...entry, user: 'bob', session: 't', topic: 'room:1/2' },
  ];
  await broker.announce(entries, 60_000);
  const path = '/api/topics/room%3A1%2F2/presence';
  const get = (to: string) => call(to, { method: 'GET' });
  const users = [
    { user: 'al ice', sessions: 1 },
    { user: 'bob', sessions: 1 },
  ];
  assert.deepEqual((await get(path)).body, { users, total: 2, sessions: 2 });
  assert.deepEqual((await get(`${path}?limit=1`)).body, { users: users.slice(0, 1), total: 2, sessions: 2 });
  for (const bad of ['?limit=', '?limit=-1', '?limit=x', '?limit=10001', '?limits=1', '?limit=1&limit=2']) {
    assert.equal((await get(path + bad)).status, 400, bad);
  }
  for (const topic of ['news', 'inbox', '%FF', 'a%0Ab']) {
    assert.equal((await get(`/api/topics/${topic}/presence`)).status, 400, topic);
  }
  assert.equal((await call(path, { body: '{}' })).status, 405);

  const ask = (body: string) => call('/api/online', { body });
  const answer = await ask(JSON.stringify({ users: ['bob', 'al ice', 'nobody'] }));
  assert.deepEqual([answer.status, answer.body], [200, { online: ['al ice'] }]);
  assert.deepEqual((await ask('{"users":[]}')).body, { online: [] });
  for (const bad of [
    '[]',
    '{}',
    'null',
    '{"users":"bob"}',
    '{"users":[1]}',
    '{"users":[""]}',
    '{"user":[]}',
    'x',
  ]) {
    assert.equal((await ask(bad)).status, 400, bad);
  }
  await broker.withdraw(entries);
});

test('JSON is stored as it came, whatever JavaScript would make of it', async () => {
  const texts = [
    '{"id":1724442618569203714}',
    '1724442618569203714',
    '[0.1e-7, 1E400, -0, 12345678901234567890.123]',
    '{"b":1,"a":2,"b":3,"__proto__":{"x":1},"1":0}',
    '{ "spaced" : [ 1 ,\n 2 ] }',
    '"\\u00e9"',
  ];
  for (const body of texts) {
    assert.equal((await call('/api/users/exact/messages', { body })).status, 201);
  }
  const { messages } = await broker.read('user:exact', 0, 10);
  assert.deepEqual(
    messages.map(({ kind, payload }) => [kind, payload.toString()]),
    [...texts.slice(0, -1).map((text) => ['json', text]), ['text', 'é']],
  );
  for (const body of ['{"id":01}', '{', '', 'NaN', '{"a":1}x']) {
    assert.equal((await call('/api/users/exact/messages', { body })).status, 400, body);
  }
});

test('names are percent-encoded UTF-8', async () => {
  const { body } = await call(`/api/users/${encodeURIComponent('王 小/明')}/messages`, { body: '1' });
  assert.equal(body.channel, 'user:王 小/明');
  assert.equal((await call('/api/users/%ff/messages', { body: '1' })).status, 400);
});

test('every JSON value is a message', async () => {
  for (const body of ['null', '0', 'false', '""', '[]']) {
    assert.equal((await call('/api/users/bob/messages', { body })).status, 201, body);
  }
});

test('the same Idempotency-Key stores once and gives the first receipt', async () => {
  const init = { body: '1', headers: { 'Idempotency-Key': 'mail-42' } };
  const first = await call('/api/users/carol/messages', init);
  const second = await call('/api/users/carol/messages', init);
  assert.deepEqual(second.body, { ...first.body, duplicate: true });
  const headers = { 'Idempotency-Key': 'x'.repeat(256) };
  assert.equal(
    (await call('/api/users/carol/messages', { body: '1', headers })).error,
    'bad_idempotency_key',
  );
});

test('a missing token and a wrong one are 401 with a challenge', async () => {
  for (const Authorization of ['', 'Basic b3Blbg==', 'Bearer', 'open-sesame']) {
    const answer = await call('/api/users/alice/messages', { body: '1', headers: { Authorization } });
    assert.equal(answer.status, 401, Authorization);
    assert.equal(answer.error, 'token_missing');
    assert.equal(answer.headers.get('www-authenticate'), 'Bearer realm="tidings"');
  }
  for (const Authorization of ['Bearer x', 'Bearer open-sesame2', 'bearer open']) {
    const answer = await call('/api/users/alice/messages', { body: '1', headers: { Authorization } });
    assert.equal(answer.status, 401, Authorization);
    assert.equal(answer.error, 'token_wrong');
    assert.match(answer.headers.get('www-authenticate') ?? '', /error="invalid_token"/);
  }
  assert.equal(
    (await call('/api/nowhere', { headers: { Authorization: '' } })).status,
    401,
    'nor does it say what there is',
  );
});

test('without a configured token the API is off, and says how to switch it on', async () => {
  const answer = await call('/api/users/alice/messages', { body: '1', headers: { 'x-no-token': '1' } });
  assert.equal(answer.status, 403);
  assert.match(String(answer.body.message), /--admin-token/);
});

test('what is not JSON in UTF-8 is refused: 400 by content, 415 by declaration', async () => {
  const path = '/api/users/alice/messages';
  for (const body of ['{', '', 'hello', Buffer.from('22ff22', 'hex')]) {
    const answer = await call(path, { body });
    assert.equal(answer.status, 400, String(body));
    assert.equal(answer.error, 'bad_json');
  }
  const declarations: Record<string, string>[] = [
    { 'Content-Type': 'text/plain' },
    { 'Content-Type': 'application/x-www-form-urlencoded' },
    { 'Content-Type': 'application/json; charset=latin1' },
    { 'Content-Encoding': 'gzip' },
  ];
  for (const headers of declarations) {
    assert.equal((await call(path, { body: '1', headers })).status, 415, JSON.stringify(headers));
  }
  for (const type of ['application/json;charset=UTF-8', 'application/vnd.mail+json', 'APPLICATION/JSON']) {
    assert.equal((await call(path, { body: '1', headers: { 'Content-Type': type } })).status, 201, type);
  }
});

test('a body over the limit is 413, whether its length is declared or not', async () => {
  const path = '/api/users/alice/messages';
  const declared = await call(path, { body: JSON.stringify('x'.repeat(MAX_BODY)) });
  assert.equal(declared.status, 413);
  assert.equal(declared.error, 'body_too_large');

  const pieces = new Blob(['"', 'x'.repeat(MAX_BODY), '"']).stream();
  const chunked = await call(path, { body: pieces, duplex: 'half' } as RequestInit);
  assert.equal(chunked.status, 413);
  assert.equal((await call(path, { body: JSON.stringify('x'.repeat(MAX_BODY - 2)) })).status, 201);
});

test('a body that never stops is refused without being read to its end', async () => {
  const endless = new ReadableStream({
    pull(controller) {
      controller.enqueue(new Uint8Array(1000));
    },
  });
  const answer = await call('/api/users/alice/messages', {
    body: endless,
    duplex: 'half',
  } as RequestInit).catch((error: Error & { cause?: { code?: string } }) => error.cause?.code);
  // The refusal can lose the race against the reset that stops the sender.
  if (typeof answer === 'object') assert.equal(answer.status, 413);
  else assert.match(String(answer), /EPIPE|ECONNRESET|UND_ERR_SOCKET/);
});

test('an unknown path is 404, a wrong method 405 with Allow', async () => {
  for (const path of [
    '/api/',
    '/api/users',
    '/api/users/alice/',
    '//api/stats',
    '/api//stats',
    '/API/stats',
    '/api/stats/',
    '/api/users//messages',
    '/api/users/a/b/messages',
  ]) {
    assert.equal((await call(path, { body: '1' })).status, 404, path);
  }
  for (const [path, method, allow] of [
    ['/api/users/alice/messages', 'GET', 'POST, DELETE'],
    ['/api/topics/news/messages', 'GET', 'POST, DELETE'],
    ['/api/users/alice/sessions', 'POST', 'GET, HEAD, DELETE'],
    ['/api/stats', 'PUT', 'GET, HEAD'],
    ['/api/stats', 'OPTIONS', 'GET, HEAD'],
  ] as const) {
    const answer = await call(path, { method });
    assert.equal(answer.status, 405, path);
    assert.equal(answer.headers.get('allow'), allow);
  }
});

test('a name that can not be one is 400 with the reason', async () => {
  const answer = await call(`/api/users/${'x'.repeat(200)}/messages`, { body: '1' });
  assert.equal(answer.status, 400);
  assert.match(String(answer.body.message), /longer than/);
  assert.equal((await call('/api/topics/user:alice/messages', { body: '1' })).status, 400);
});

test('sessions and stats are there to be read', async () => {
  assert.deepEqual((await call('/api/users/alice/sessions', { method: 'GET' })).body, []);
  assert.equal((await call('/api/stats?x=1', { method: 'GET' })).body.sessions, 0);
});

test('names that can not be are refused wherever they stand, and so is a body where there is none', async () => {
  for (const name of ['%00', '%C2%85', 'a%0Ab', 'x'.repeat(129)]) {
    for (const [method, path] of [
      ['GET', `/api/users/${name}/sessions`],
      ['GET', `/api/users/${name}`],
      ['DELETE', `/api/users/${name}/sessions`],
      ['DELETE', `/api/users/${name}/messages/id`],
      ['GET', `/api/users/${name}/frames`],
    ] as const) {
      assert.equal((await call(path, { method })).status, 400, `${method} ${path}`);
    }
  }
  assert.equal((await call('/api/topics/inbox', { method: 'GET' })).status, 400);
  // It would end all, not those of the login.
  const filtered = await call('/api/users/alice/sessions', { method: 'DELETE', body: '{"login":"L1"}' });
  assert.deepEqual([filtered.status, filtered.error], [400, 'bad_request']);
  assert.equal((await call('/api/users/alice/sessions', { method: 'DELETE', body: '{}' })).status, 200);
  for (const code of ['1e3', '4501.0', '0x1195', '']) {
    assert.equal(
      (await call(`/api/users/alice/sessions?code=${code}`, { method: 'DELETE' })).status,
      400,
      code,
    );
  }
  assert.equal((await call('/api/users/alice/pending?limit=1001', { method: 'GET' })).status, 400);
  const headers = { 'Idempotency-Key': 'k' };
  assert.equal((await call('/api/broadcast', { body: '1', headers })).error, 'bad_idempotency_key');
});
