/** The log: one line each, of bounded length, without secrets, and never a flood. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { test } from 'node:test';
import { type LogFields, PushServer } from '../../src/push/index.ts';
import { Logbook } from '../../src/push/log.ts';
import { until } from '../support/net.ts';
import { Page, startPush } from './support.ts';

type Line = [level: string, message: string, fields: LogFields];

function logbook(level?: 'debug' | 'info'): { lines: Line[]; book: Logbook } {
  const lines: Line[] = [];
  return { lines, book: new Logbook('a', (...line) => lines.push(line), level) };
}

const HOSTILE = [
  'a\nb',
  'a\r\nb',
  'a\u2028b\u2029',
  '\u001b[31mred\u001b[0m',
  'a\u0000\u0085\u009b31m',
  '\u202etxt.exe',
];

test('whatever comes in a message or a field stays on its line and moves no cursor', () => {
  const { lines, book } = logbook();
  for (const text of HOSTILE) book.log('warn', text, { event: 'e', user: text, reason: text });
  assert.equal(lines.length, HOSTILE.length);
  for (const [, message, { user, reason }] of lines)
    for (const text of [message, user, reason] as string[]) assert.match(text, /^[\u0020-\u007e]+$/);
});

test('a line has an end, however long what it tells of is', () => {
  const { lines, book } = logbook();
  book.log('warn', 'm'.repeat(1e6), { event: 'e', error: 'x'.repeat(1e6) });
  const [, message, fields] = lines[0]!;
  assert.ok(message.length <= 2001 && (fields['error'] as string).length <= 501);
});

const SECRETS = [
  'redis://user:hunter22@10.0.0.1:6379 refused',
  'redis://:hunter22@10.0.0.1:6379',
  'GET https://app/who?ticket=hunter22&x=1 failed',
  'wss://h/p?access_token=hunter22',
  'Authorization: Bearer hunter22hunter22',
  '{"password":"hunter22"}',
  "secret='hunter22'",
  'Cookie: a=1; JSESSIONID=hunter22; b=2',
  'set-cookie: session=hunter22',
  'token eyJhbGciOiJIUzI1NiJ9.hunter22.hunter22',
  't1.hunter22hunter22.hunter22hunter22',
  'ticket.t1.hunter22hunter22.hunter22hunter22',
  's1.hunter22hunter22.hunter22hunter22',
];

test('what looks like a secret is hidden, and what is beside it is not', () => {
  const { lines, book } = logbook();
  for (const text of SECRETS) book.log('error', `it failed: ${text}`, { event: 'e', error: text });
  for (const [, message, fields] of lines) {
    assert.doesNotMatch(JSON.stringify([message, fields]), /hunter22/);
    assert.match(message, /^it failed: /);
  }
  for (const text of [
    'redis://10.0.0.1:6379 refused',
    'basic authentication failed',
    'the token is of another user',
    'a@b.example',
  ]) {
    book.log('error', text, { event: 'e' });
    assert.equal(lines.at(-1)![1], text);
  }
});

test('of a kind that happens again and again the first are told, and then how many more there were', () => {
  const { lines, book } = logbook();
  for (let i = 0; i < 1000; i++) book.log('info', `no ${i}`, { event: 'session-refused', reason: 'blocked' });
  book.log('info', 'another', { event: 'session-refused', reason: 'full' });
  book.log('info', 'something else', { event: 'e' });
  assert.equal(lines.length, 12);
  book.sweep(performance.now());
  assert.equal(lines.length, 12);
  book.sweep(performance.now() + 61_000);
  assert.deepEqual(lines.at(-1), [
    'info',
    'session-refused (blocked): 990 more within a minute',
    { event: 'session-refused', reason: 'blocked', more: 990 },
  ]);
  assert.equal(lines.length, 13);
  book.log('info', 'again', { event: 'session-refused', reason: 'blocked' });
  assert.equal(lines.at(-1)![1], 'again');
});

test('kinds without end are counted together and take bounded memory; what was left out is told at the end', () => {
  const { lines, book } = logbook();
  for (let i = 0; i < 5000; i++) book.log('info', `no ${i}`, { event: 'e', reason: `r${i}` });
  assert.ok(lines.length <= 1201, String(lines.length));
  book.flush();
  assert.equal(lines.at(-1)![2]['event'], 'others');
});

test('a level leaves out what is below it, from the next line on, and may be changed', async () => {
  const { lines, book } = logbook('debug');
  book.log('debug', 'one', { event: 'e' });
  book.level = 'error';
  for (const level of ['debug', 'info', 'warn'] as const) book.log(level, 'two', { event: 'e' });
  assert.equal(book.isHeard('warn'), false);
  book.log('error', 'three', { event: 'e' });
  assert.deepEqual(
    lines.map(([, message]) => message),
    ['one', 'three'],
  );

  assert.throws(() => new PushServer({ logLevel: 'verbose' as never }), /logLevel must be one of/);
  const push = new PushServer({ log: () => {} });
  assert.equal(push.logLevel, 'info');
  assert.throws(() => Object.assign(push, { logLevel: 'no' }), TypeError);
  push.logLevel = 'debug';
  assert.equal(push.logLevel, 'debug');
  await push.close();
});

test('a log of two parameters, one that throws and one that rejects get all lines, and the diagnostics channel too', async (t) => {
  t.mock.method(console, 'error', () => {});
  const heard: unknown[] = [];
  const listen = (line: unknown): unknown => heard.push(line);
  subscribe('tidings:log', listen);
  t.after(() => unsubscribe('tidings:log', listen));
  let calls = 0;
  const logs = [
    (level: string, message: string) => {
      if (level === 'info' && message !== '') calls++;
    },
    () => {
      calls++;
      throw new Error('no\nlog');
    },
    async () => {
      calls++;
      throw new Error('no log');
    },
  ];
  for (const log of logs) {
    const push = new PushServer({ log, instance: 'i1' });
    await push.ready;
    await push.close();
  }
  assert.equal(calls, 9);
  assert.deepEqual(heard[0], {
    level: 'info',
    message: 'the push server runs and has reached its store',
    instance: 'i1',
    fields: { event: 'started' },
  });
});

test('names, errors and codes of pages and applications come as fields, cleaned', async (_t) => {
  const lines: Line[] = [];
  const { push, url } = await startPush({
    logLevel: 'debug',
    log: (...line) => lines.push(line),
    handler: {
      message() {
        throw new Error('first\nsecond redis://u:hunter22@h');
      },
    },
  });
  const user = 'alice\u2028\u202e';
  const page = await Page.plain(url, user);
  page.say('x');
  await until('the line', () => lines.some(([, , { event }]) => event === 'handler-failed'));
  await push.block({ user }, { reason: 'r' });
  await push.unblock({ user });
  await until('the end', () => lines.some(([, , { event }]) => event === 'session-closed'));
  await push.close();
  const events = lines.map(([, , { event }]) => event);
  for (const event of [
    'listening',
    'started',
    'session-opened',
    'user-blocked',
    'sessions-ended',
    'user-unblocked',
    'draining',
    'closed',
  ])
    assert.ok(events.includes(event), `${event} of ${events.join()}`);
  assert.ok(
    lines.every((line) => /^[\u0020-\u007e]*$/.test(JSON.stringify(line).replace('’', ''))),
    JSON.stringify(lines),
  );
  assert.ok(!JSON.stringify(lines).includes('hunter22'));
  assert.match(lines.find(([, , { event }]) => event === 'handler-failed')![1], /first.*second.* at /);
});

test('who is not let in is told with the reason, by both doors, but never without end', async () => {
  const lines: Line[] = [];
  const { push, url } = await startPush({
    log: (...line) => lines.push(line),
    sockjs: { prefix: '/sockjs' },
    limits: { sessionsPerAddress: 3 },
    refusals: 'http',
  });
  const refused = (reason: string): Line[] =>
    lines.filter(([, , { event, ...fields }]) => event === 'session-refused' && fields['reason'] === reason);
  for (let i = 0; i < 30; i++) new Page(url, '');
  await until('the first ones', () => refused('unauthenticated').length === 10);
  assert.deepEqual(refused('unauthenticated')[0], [
    'info',
    'somebody from 127.0.0.1 was not let in: unauthenticated',
    { event: 'session-refused', reason: 'unauthenticated', address: '127.0.0.1' },
  ]);
  await push.block({ user: 'bob' });
  const blocked = new Page(url, 'bob');
  await until('his answer', () => blocked.refusal === 403);
  await until('his line', () => refused('blocked').length === 1);
  await fetch(`${url.replace('ws', 'http').replace('/socketServer', '')}/sockjs/000/abc/xhr`, {
    method: 'POST',
  });
  await until(
    'the other door',
    () => push.stats().sessions === 0 && refused('unauthenticated').length === 10,
  );
  await push.close();
  const more = lines.find(
    ([, , fields]) => fields['more'] !== undefined && fields['reason'] === 'unauthenticated',
  );
  assert.equal(more![2]['more'], 21);
});
