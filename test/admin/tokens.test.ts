/** Who may ask the admin API, how often, and what is written down of it. */
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { type TestContext, test } from 'node:test';
import { Guesses } from '../../src/admin/pace.ts';
import { AdminTokens } from '../../src/admin/tokens.ts';
import { PushServer } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { type AdminSettings, adminOf, serving } from './support.ts';

async function listen(t: TestContext, listener: RequestListener): Promise<string> {
  const { url, close } = await serving(listener);
  t.after(close);
  return url;
}

async function start(t: TestContext, settings: AdminSettings) {
  const lines: { message: string; fields: Record<string, unknown> }[] = [];
  const push = new PushServer({ log: (_, message, fields) => lines.push({ message, fields }) });
  t.after(() => push.close());
  const url = await listen(t, adminOf(push, { log: push.log, ...settings }));
  const ask = (path: string, token = 'T', init: RequestInit = {}) =>
    fetch(url + path, {
      ...init,
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', ...init.headers },
    });
  return { ask, lines, push };
}

const scopes = (text: string) => [
  ...(new AdminTokens([text]).find(text.split('=').slice(1).join('=')) ?? { scopes: [] }).scopes,
];

test('a token has the scopes that stand before it, or all', () => {
  assert.deepEqual(scopes('read=a'), ['read']);
  assert.deepEqual(scopes('send,control=a=b'), ['send', 'control']);
  const all = ['read', 'send', 'control'];
  for (const token of ['x', 'abcdef==', 'a1=b', 'read-only', 'x=', 'READ_ME']) {
    assert.deepEqual([...new AdminTokens([token]).find(token)!.scopes], all, token);
  }
  assert.equal(new AdminTokens(['read=a']).find('read=a'), undefined);
  for (const [texts, message] of [
    [['reed=a'], /no list of scopes/],
    [['READ=a'], /no list of scopes/],
    [['key=a'], /no list of scopes/],
    [['read='], /no token/],
    [['read=='], /no token/],
    [['control'], /no token/],
    [['a', 'read=a'], /numbers 1 and 2/],
    [['a b'], /ASCII/],
    [[''], /no token/],
  ] as const) {
    assert.throws(
      () => new AdminTokens(texts),
      (error: Error) => error instanceof TypeError && message.test(error.message),
      texts.join(),
    );
  }
});

test('tokens are taken anew all or none; one that stays goes on with what is left of its rate', () => {
  const tokens = new AdminTokens(['a', 'b'], 1);
  assert.equal(tokens.find('a')!.pace.take(), 0);
  assert.ok(tokens.find('a')!.pace.take() >= 1);
  assert.throws(() => tokens.set(['c', 'read=']));
  assert.ok(tokens.find('b'));
  tokens.set(['c', 'read=a']);
  assert.deepEqual(
    [tokens.find('b'), tokens.find('c')?.name, tokens.find('a')?.name],
    [undefined, 'token-1', 'token-2'],
  );
  assert.ok(tokens.find('a')!.pace.take() >= 1);
});

test('each token may ask so often a second, and is told when it may again', async (t) => {
  const { ask } = await start(t, { tokens: ['T', 'read=U'], rate: 3 });
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask('/api/stats')));
  const refused = answers.filter(({ status }) => status === 429);
  assert.ok(refused.length >= 6, String(refused.length));
  assert.match(refused[0]!.headers.get('retry-after')!, /^[1-9]\d*$/);
  assert.equal(((await refused[0]!.json()) as { error: string }).error, 'too_many_requests');
  assert.equal((await ask('/api/stats', 'U')).status, 200, 'another has a rate of its own');
  await until('room', async () => (await ask('/api/stats')).status === 200);
});

test('wrong tokens are answered ever less, a right one always; addresses are forgotten', async (t) => {
  const { ask, lines } = await start(t, {});
  const guesses = await Promise.all(Array.from({ length: 150 }, (_, n) => ask('/api/stats', `guess-${n}`)));
  const count = (status: number) => guesses.filter((answer) => answer.status === status).length;
  assert.ok(count(401) >= 100 && count(429) > 0 && count(401) + count(429) === 150);
  assert.ok(guesses.find(({ status }) => status === 429)!.headers.get('retry-after'));
  assert.equal((await ask('/api/stats')).status, 200);
  assert.equal(lines.filter(({ fields }) => fields['event'] === 'admin-refused').length, 1);
  assert.doesNotMatch(JSON.stringify(lines), /guess-/);

  const many = new Guesses();
  for (let n = 0; n < 30_000; n++) many.wrong(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`);
  assert.ok(many.size <= 10_000, String(many.size));
  const one = new Guesses();
  for (const address of ['2001:db8::1', '2001:db8:0:0:1::2', '2001:db8::ffff:0:0:1']) one.wrong(address);
  assert.equal(one.size, 1);
  one.wrong('2001:db8:0:1::1');
  assert.equal(one.size, 2);
});

test('each change is a line with who, what, whom and what came of it, without token and data', async (t) => {
  const { ask, lines } = await start(t, { tokens: ['T', 'send=S3CRET'] });
  const post = (path: string, token: string, body: string, method = 'POST') =>
    ask(path, token, { method, body });
  await post('/api/users/al%20ice/messages?ttl=5000', 'S3CRET', '{"subject":"hush"}');
  await post('/api/users/a%0Ab/messages', 'S3CRET', '1');
  await post('/api/messages', 'T', '{"users":["a","b"],"data":"hush"}');
  await post('/api/topics/news/notifications', 'T', '{');
  await ask('/api/users/bob/sessions?login=L1', 'T', { method: 'DELETE' });
  await ask('/api/stats');
  await post('/api/users/bob/block', 'S3CRET', '{}', 'PUT');
  const audit = lines
    .map(({ fields }) => fields)
    .filter(({ event }) => /^admin-(send|change)$/.test(String(event)));
  const told = audit.map(({ token, operation, user, topic, users, parameters, status, method }) =>
    [token, method, operation, user ?? topic ?? users, parameters, status]
      .filter((part) => part !== undefined)
      .join(' '),
  );
  assert.deepEqual(told, [
    'token-2 POST sendToUser al ice ttl=5000 201',
    'token-1 POST sendToMany 2 200',
    'token-1 POST notifyTopic news 400',
    'token-1 DELETE disconnect bob login=L1 200',
  ]);
  assert.ok(audit.every(({ address, path }) => address === '127.0.0.1' && String(path).startsWith('/api/')));
  assert.doesNotMatch(JSON.stringify(lines), /S3CRET|hush|\n/);
});

test('what a browser of a page elsewhere could send does nothing, and is told nothing', async (t) => {
  const { ask, push } = await start(t, {});
  const preflight = await ask('/api/users/alice/messages', 'T', {
    method: 'OPTIONS',
    headers: { Origin: 'https://evil.example.com', 'Access-Control-Request-Method': 'POST' },
  });
  assert.equal(preflight.status, 405);
  for (const { headers } of [
    preflight,
    await ask('/api/stats', 'T', { headers: { Origin: 'https://evil.example.com' } }),
  ]) {
    for (const name of headers.keys()) assert.doesNotMatch(name, /^access-control/);
  }
  // A form needs no preflight, and has no token.
  const form = await ask('/api/users/alice/messages', '', {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', Cookie: 'token=T' },
    body: 'token=T',
  });
  assert.equal(form.status, 401);
  assert.equal((await push.counts('alice')).all, 0);
});

test('a log that throws changes no answer', async (t) => {
  const { ask } = await start(t, {
    log: () => {
      throw new Error('full');
    },
  });
  assert.equal((await ask('/api/broadcast', 'T', { method: 'POST', body: '1' })).status, 202);
  assert.equal((await ask('/api/broadcast', 'wrong', { method: 'POST', body: '1' })).status, 401);
  assert.equal((await ask('/api/stats')).status, 200);
});
