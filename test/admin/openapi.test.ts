/** The OpenAPI document of the admin API, and that what is answered is what it says. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { SCOPES } from '../../src/admin/route.ts';
import { adminRoutes } from '../../src/admin/routes.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer } from '../../src/push/index.ts';
import { VERSION } from '../../src/version.ts';
import { until } from '../support/net.ts';
import { CheckedCalls } from './checked-calls.ts';
import { adminOf } from './support.ts';

const MAX_BODY = 1_000;
const broker = memoryBroker();
const push = new PushServer({
  broker,
  topics: { 'room:*': { presence: true } },
  limits: { scheduled: 3, message: MAX_BODY },
});
let api: CheckedCalls;

before(async () => {
  const tokens = ['T', ...SCOPES.map((scope) => `${scope}=only-${scope}`)];
  api = await CheckedCalls.start(adminOf(push, { tokens, maxBody: MAX_BODY }));
  await push.ready;
});
after(async () => {
  api.close();
  await push.close();
});

const json = (value: unknown) => ({ body: JSON.stringify(value) });

test('it is a valid OpenAPI 3.1 document, of this version', async () => {
  const { document } = api;
  const { valid, errors } = await new Validator().validate(JSON.parse(JSON.stringify(document)));
  assert.ok(valid, JSON.stringify(errors));
  assert.match(document.openapi, /^3\.1\./);
  assert.equal(document.info.version, VERSION);
});

test('every route is in it, with its scope, its names, its parameters and its body; and nothing else', () => {
  const routes = adminRoutes(push, { maxBody: MAX_BODY });
  const told = Object.entries(api.document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => [
      method.toUpperCase(),
      path,
      operation.operationId,
      operation['x-tidings-scope'],
      (operation.parameters ?? []).filter((one) => one.in === 'path').map(({ name }) => `{${name}}`),
      (operation.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name),
      operation.requestBody !== undefined,
    ]),
  );
  const are = routes.map(({ method, path, operation, scope, query = {}, body }) => [
    method,
    path,
    operation,
    scope,
    path.match(/\{\w+\}/g) ?? [],
    Object.keys(query),
    body !== undefined,
  ]);
  const inOrder = (rows: unknown[][]) => rows.map((row) => JSON.stringify(row)).sort();
  assert.deepEqual(inOrder(told), inOrder(are));
  assert.equal(new Set(are.map(([, , operation]) => operation)).size, are.length);
});

test('every answer that it documents is one that there is, and is as documented', async () => {
  const call = api.call.bind(api);
  const alice = '/api/users/al%20ice';
  const news = '/api/topics/news%2Fde';
  const later = Date.now() + 3_600_000;

  const { body: receipt } = await call('POST', `${alice}/messages`, json({ n: 1 }));
  await push.send('al ice', Buffer.from('bytes'));
  await push.send('al ice', 'short-lived', { ttl: 60_000 });
  const { body: kept } = await call('POST', `${alice}/messages?at=${later}`, json('x'));
  const topical = await call('POST', `${news}/messages?replaces=k&ttl=60000`, json([1]));
  await call('POST', `${news}/messages?at=${later}`, json('x'));
  await call('POST', '/api/messages', json({ users: ['bob', 'a\nb'], data: 1, ttl: 60_000 }));
  await call('POST', '/api/messages', json({ users: ['bob'], data: 1, at: later }));
  for (const path of [`${alice}/notifications`, `${news}/notifications`, '/api/broadcast']) {
    assert.deepEqual((await call('POST', path, json(1))).body, { stored: false });
  }
  const scheduled = await call('GET', '/api/scheduled?limit=2');
  assert.equal(scheduled.body['count'], 3);
  assert.equal((await call('POST', `${alice}/messages?at=${later}`, json('x'))).status, 429);
  assert.equal((await call('POST', `${news}/messages?at=${later}`, json('x'))).status, 429);
  await call('DELETE', `/api/scheduled/${kept['scheduled']}`);

  await call('GET', `${alice}/inbox?limit=1`);
  await call('GET', `${alice}/inbox?state=all&before=9`);
  await call('GET', `${alice}/counts`);
  await call('POST', `${alice}/marks`, json({ as: 'read', ids: [receipt['id']] }));
  const { body: pending } = await call('GET', `${alice}/pending`);
  assert.equal(pending['count'], 3);
  await broker.acknowledge({ channel: 'user:al ice', device: 'd', position: receipt as never }, 60_000);
  await broker.announce([{ session: 's', instance: 'i', user: 'al ice', since: 1, device: 'd' }], 60_000);
  await call('PUT', `${alice}/block`, json({ until: later }));
  const { body: user } = await call('GET', alice);
  assert.deepEqual(user['inbox'], {
    position: (user['inbox'] as { position: object }).position,
    first: 1,
    messages: 3,
    devices: [{ device: 'd', offset: 1, behind: 2 }],
  });
  assert.equal((user['block'] as { until: number }).until, later);
  const { body: topic } = await call('GET', news);
  assert.deepEqual([topic['topic'], topic['messages'], topic['first']], ['news/de', 1, 1]);
  await call('DELETE', `${news}/messages?key=k`);
  assert.equal((await call('GET', news)).body['messages'], 0);
  await call('DELETE', `${news}/messages/${topical.body['id']}`);
  await call('DELETE', `${alice}/messages?key=k`);
  await call('DELETE', `${alice}/messages/${receipt['id']}`);

  await call('POST', '/api/online', json({ users: ['al ice'] }));
  await call('GET', '/api/topics/room:1/presence?limit=5');
  await call('GET', `${alice}/sessions`);
  await call('DELETE', `${alice}/sessions?reason=bye`);
  await call('POST', `${alice}/recheck`);
  for (const who of [alice, '/api/logins/L1']) {
    await call('PUT', `${who}/block`);
    await call('GET', `${who}/block`);
    await call('GET', '/api/blocks');
    await call('DELETE', `${who}/block`);
    assert.equal((await call('GET', `${who}/block`)).status, 404);
  }
  for (const path of ['/topics/news', '/topics/news/revocation']) {
    await call('PUT', alice + path);
    await call('DELETE', alice + path);
  }
  for (const path of [
    '/api/stats',
    '/api/instances',
    '/livez',
    '/readyz',
    '/healthz',
    '/openapi.json',
    '/metrics',
  ]) {
    assert.equal((await call('GET', path)).status, 200, path);
    assert.equal((await call('HEAD', path)).status, 200, path);
  }

  const documented = Object.values(api.document.paths)
    .flatMap((operations) => Object.values(operations))
    .flatMap(({ operationId, responses }) =>
      Object.keys(responses).map((status) => `${operationId} ${status}`),
    )
    // A stream without end has a test of its own.
    .filter((answer) => /2\d\d$/.test(answer) && answer !== 'followUser 200');
  assert.deepEqual(
    documented.filter((answer) => !api.seen.has(answer)),
    [],
  );
});

test('of every operation, a wrong token, none, one without the scope, and another method are answered as documented', async () => {
  for (const [template, operations] of Object.entries(api.document.paths)) {
    const path = template.replaceAll(/\{\w+\}/g, 'x');
    for (const [method, { 'x-tidings-scope': scope }] of Object.entries(operations)) {
      if (scope === undefined) continue;
      const upper = method.toUpperCase();
      // It needs none here.
      if (path !== '/metrics') {
        assert.equal((await api.call(upper, path, { token: null })).status, 401);
        assert.equal((await api.call(upper, path, { token: 'wrong' })).status, 401);
        for (const other of SCOPES.filter((one) => one !== scope)) {
          const { status, headers, body } = await api.call(upper, path, { token: `only-${other}` });
          assert.deepEqual([status, body['error']], [403, 'scope_missing'], `${upper} ${path}`);
          assert.match(headers.get('www-authenticate')!, new RegExp(`insufficient_scope.*"${scope}"`));
          assert.match(String(body['message']), new RegExp(`\\b${scope}$`));
        }
      }
    }
    const { status, headers } = await api.call('PATCH', path);
    assert.equal(status, 405, path);
    const methods = Object.keys(operations).map((method) => method.toUpperCase());
    assert.deepEqual(
      headers
        .get('allow')!
        .split(', ')
        .filter((method) => method !== 'HEAD')
        .sort(),
      methods.sort(),
    );
    assert.equal(headers.get('allow')!.includes('HEAD'), methods.includes('GET'));
  }
});

test('of every operation with a body, one that is none, too large or of another type is answered as documented', async () => {
  for (const [template, operations] of Object.entries(api.document.paths)) {
    const path = template.replaceAll(/\{\w+\}/g, 'x');
    for (const [method, { requestBody }] of Object.entries(operations)) {
      if (requestBody === undefined) continue;
      const upper = method.toUpperCase();
      const ask = async (init: object) => (await api.call(upper, path, init)).status;
      assert.equal(await ask({ body: '{' }), 400, path);
      assert.equal(await ask({ body: '1', headers: { 'Content-Type': 'text/plain' } }), 415, path);
      const size = path === '/api/messages' ? 2 * 1024 * 1024 + MAX_BODY : MAX_BODY;
      assert.equal(await ask({ body: `"${'x'.repeat(size)}"` }), 413, path);
    }
  }
});

test('parameters that there are not, or that come twice, are refused, in what changes something above all', async () => {
  for (const [method, path] of [
    ['POST', '/api/users/x/messages?tll=5'],
    ['POST', '/api/users/x/messages?ttl=5&ttl=6'],
    ['POST', '/api/broadcast?at=5'],
    ['DELETE', '/api/users/x/sessions?logn=1'],
    ['PUT', '/api/users/x/block?until=5'],
    ['GET', '/api/users/x/inbox?limits=5'],
    ['POST', '/api/messages?__proto__=1'],
  ] as const) {
    const { status, body } = await api.call(method, path, method === 'GET' ? {} : { body: '1' });
    assert.deepEqual([status, body['error']], [400, 'bad_request'], path);
  }
});

test('a token in the query is none', async () => {
  for (const name of ['token', 'access_token', 'Authorization']) {
    assert.equal((await api.call('GET', `/api/stats?${name}=T`, { token: null })).status, 401);
  }
});

test('who follows a user gets an event in each line, until he goes', async (t) => {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const response = await fetch(`${api.origin}/api/users/al%20ice/frames`, {
    headers: { Authorization: 'Bearer only-read' },
    signal: stop.signal,
  });
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await reader.read();
  assert.equal(value, '{"event":"following","data":false}\n');
  api.checkSchema('FrameEvent', JSON.parse(value!));
  for (let n = 1; n < 20; n++) push.follow('bob', () => {});
  assert.equal((await api.call('GET', '/api/users/bob/frames')).body['error'], 'too_many_followers');
  stop.abort();
  // There is room again.
  await until('an end', async () => {
    const { status } = await fetch(`${api.origin}/api/users/bob/frames`, {
      method: 'HEAD',
      headers: { Authorization: 'Bearer T' },
    });
    return status === 200;
  });
});
