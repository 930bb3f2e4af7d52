/** The admin API, for what is sent later and to many. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { adminOf, serving } from './support.ts';

const MAX_BODY = 1000;
const broker = memoryBroker();
const push = new PushServer({ broker, limits: { scheduled: 100, message: MAX_BODY } });
let server: Awaited<ReturnType<typeof serving>>;

before(async () => {
  server = await serving(adminOf(push, { maxBody: MAX_BODY }));
});
after(async () => {
  server.close();
  await push.close();
});

async function call(method: string, path: string, body?: string, headers: Record<string, string> = {}) {
  const response = await fetch(server.url + path, {
    method,
    headers: { Authorization: 'Bearer T', 'Content-Type': 'application/json', ...headers },
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  return { status: response.status, text, body: JSON.parse(text) };
}

const logOf = async (channel: string): Promise<string[]> =>
  (await broker.read(channel, 0, 100)).messages.map(({ payload }) => payload.toString());

test('a POST with at is kept until then: 202 and its id; it is listed as it came, and cancelled', async () => {
  const at = Date.now() + 3_600_000;
  const iso = new Date(at + 1).toISOString();
  const first = await call(
    'POST',
    `/api/users/alice/messages?at=${at}`,
    '{"n":12345678901234567890,"x":1.0}',
  );
  assert.equal(first.status, 202);
  assert.deepEqual(Object.keys(first.body), ['scheduled', 'at']);
  assert.equal(first.body.at, at);
  const again = { 'Idempotency-Key': 'k' };
  const second = await call('POST', `/api/topics/news/messages?at=${iso}`, '"text"', again);
  assert.equal(second.body.at, at + 1);
  const same = await call('POST', `/api/topics/news/messages?at=${iso}`, '"text"', again);
  assert.deepEqual(same.body, { ...second.body, duplicate: true });

  const page = await call('GET', '/api/scheduled?limit=1');
  assert.equal(page.status, 200);
  assert.equal(page.body.count, 2);
  assert.deepEqual(page.body.messages, [
    { id: second.body.scheduled, topic: 'news', at: at + 1, data: 'text', idempotencyKey: 'k' },
  ]);
  const next = await call('GET', `/api/scheduled?limit=1&before=${page.body.before}`);
  assert.match(next.text, /"data":\{"n":12345678901234567890,"x":1\.0\}/);
  assert.equal(next.body.before, undefined);
  assert.equal((await call('GET', '/api/scheduled?user=alice')).body.messages.length, 1);
  assert.equal((await call('GET', `/api/scheduled?topic=news&before=${at}`)).body.messages.length, 0);
  assert.deepEqual((await call('GET', '/api/scheduled?failed=true')).body, { count: 2, messages: [] });

  const id = first.body.scheduled;
  assert.deepEqual((await call('DELETE', `/api/scheduled/${id}`)).body, { cancelled: true });
  assert.deepEqual((await call('DELETE', `/api/scheduled/${id}`)).body, { cancelled: false });
  assert.deepEqual((await call('DELETE', `/api/scheduled/${second.body.scheduled}`)).body, {
    cancelled: true,
  });
});

test('data that looks like what stands for other data in the answer stays what it is', async () => {
  const at = Date.now() + 3_600_000;
  const odd = ['{"text":"x"}', '"$&"', '{"a":"$1 $$ \\u0000"}', '{"toJSON":1}', '[]', 'null', '0.10'];
  for (const [i, body] of odd.entries()) await call('POST', `/api/users/odd/messages?at=${at + i}`, body);
  const { text, body } = await call('GET', '/api/scheduled?user=odd');
  assert.equal(body.messages.length, odd.length);
  for (const [i, one] of odd.toReversed().entries()) assert.deepEqual(body.messages[i].data, JSON.parse(one));
  assert.match(text, /"data":0\.10[,}]/);
  for (const { id } of body.messages) await call('DELETE', `/api/scheduled/${id}`);
});

test('one message goes to many users, each with his own receipt or error, with its digits', async () => {
  const users = ['ann', '', 'bob', 'line\nbreak', 7, 'ann'];
  const body = `{"users":${JSON.stringify(users)},"data" : {"n":12345678901234567890} ,"idempotencyKey":"m"}`;
  const answer = await call('POST', '/api/messages', body);
  assert.equal(answer.status, 200);
  assert.equal(answer.body.sent, 3);
  assert.equal(answer.body.failed, 3);
  const { results } = answer.body;
  assert.deepEqual(
    results.map(({ user }: { user: unknown }) => user),
    users,
  );
  assert.equal(results[0].channel, 'user:ann');
  assert.equal(results[0].duplicate, false);
  assert.equal(results[5].duplicate, true);
  for (const i of [1, 3, 4]) {
    assert.equal(results[i].error, 'bad_request');
    assert.match(results[i].message, /user name/);
  }
  assert.deepEqual(await logOf('user:bob'), ['{"n":12345678901234567890}']);
  // Again, after whatever: to nobody twice. The key may stand in the header.
  await call('POST', '/api/messages', '{"users":["ann","cora"],"data":1}', { 'Idempotency-Key': 'm' });
  assert.deepEqual(await logOf('user:ann'), ['{"n":12345678901234567890}']);
  assert.deepEqual(await logOf('user:cora'), ['1']);
});

test('to many, later', async () => {
  const at = Date.now() + 200;
  const { body } = await call(
    'POST',
    '/api/messages',
    JSON.stringify({ users: ['dan', 'eve'], data: 'x', at }),
  );
  assert.deepEqual(
    body.results.map(({ user, at, scheduled }: Record<string, unknown>) => [user, at, typeof scheduled]),
    [
      ['dan', at, 'string'],
      ['eve', at, 'string'],
    ],
  );
  await until('both', async () => (await logOf('user:dan')).length + (await logOf('user:eve')).length === 2);
});

test('what can not be is refused, and nothing is sent', async () => {
  const many = Array.from({ length: 10_001 }, (_, i) => `u${i}`);
  for (const [body, status, code] of [
    ['[]', 400, 'bad_request'],
    ['{"data":1}', 400, 'bad_request'],
    ['{"users":"ann","data":1}', 400, 'bad_request'],
    ['{"users":["zoe"]}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"dta":2}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"at":"tomorrow"}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"at":"2030-02-29T18:00:00Z"}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"at":"2030-13-01"}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"at":true}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"at":-5}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"at":"-5"}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"at":[5]}', 400, 'bad_request'],
    ['{"users":["zoe"],"data":1,"idempotencyKey":5}', 400, 'bad_request'],
    [`{"users":["zoe"],"data":"${'x'.repeat(1001)}"}`, 400, 'bad_request'],
    ['{"users":["zoe"],', 400, 'bad_json'],
    [JSON.stringify({ users: many, data: 1 }), 400, 'too_many_users'],
    [`{"users":["${'x'.repeat(2_200_000)}"],"data":1}`, 413, 'body_too_large'],
  ] as const) {
    const answer = await call('POST', '/api/messages', body);
    assert.deepEqual([answer.status, answer.body.error], [status, code], body.slice(0, 80));
  }
  assert.deepEqual(await logOf('user:zoe'), []);
  for (const [method, path] of [
    ['POST', '/api/users/zoe/messages?at=tomorrow'],
    ['POST', '/api/users/zoe/messages?at='],
    ['POST', '/api/users/zoe/messages?at=-1'],
    ['POST', '/api/users/zoe/messages?at=1.5'],
    ['POST', '/api/users/zoe/messages?at=99999-01-01'],
    ['POST', '/api/users/zoe/messages?at=2026-12-24T18:00:00%20tomorrow'],
    ['GET', '/api/scheduled?before=-1'],
    ['POST', '/api/users/zoe/messages?att=1'],
    ['POST', '/api/users/zoe/messages?at=1&at=2'],
    ['POST', `/api/users/zoe/messages?at=${'9'.repeat(30)}`],
    ['GET', '/api/scheduled?limit=0'],
    ['GET', '/api/scheduled?limit=ten'],
    ['GET', '/api/scheduled?before=x'],
    ['GET', '/api/scheduled?user=a&topic=b'],
    ['GET', '/api/scheduled?failed=perhaps'],
    ['GET', '/api/scheduled?users=a'],
  ] as const) {
    const answer = await call(method, path, method === 'POST' ? '1' : undefined);
    assert.deepEqual([answer.status, answer.body.error], [400, 'bad_request'], path);
  }
  // What was meant to be sent later is not sent now.
  const body = '{"users":["zoe"],"data":1}';
  assert.equal((await call('POST', '/api/messages?at=9999999999999', body)).status, 400);
  assert.equal((await call('PUT', '/api/messages', '1')).status, 405);
  assert.equal((await call('POST', '/api/scheduled', '1')).status, 405);
  assert.deepEqual(await logOf('user:zoe'), []);
});

test('too many that are scheduled are refused with 429, each user for himself', async () => {
  const at = Date.now() + 3_600_000;
  const users = Array.from({ length: 101 }, (_, i) => `full${i}`);
  const { body } = await call('POST', '/api/messages', JSON.stringify({ users, data: 1, at }));
  assert.equal(body.sent, 100);
  assert.equal(
    body.results.filter(({ error }: { error?: string }) => error === 'too_many_scheduled').length,
    1,
  );
  const answer = await call('POST', `/api/users/zoe/messages?at=${at}`, '1');
  assert.deepEqual([answer.status, answer.body.error], [429, 'too_many_scheduled']);
});
