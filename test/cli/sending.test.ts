/** `tidings send --at`, `scheduled`, `cancel`, and `send --users`, by a server and through Redis. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseAt } from '../../src/cli/at.ts';
import { UsageError } from '../../src/cli/options.ts';
import { redisBroker } from '../../src/index.ts';
import { TcpProxy } from '../../src/prove/proxy.ts';
import { type Program, tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

const patient = { ...needs('redis'), timeout: 300_000 };

async function served(
  t: TestContext,
  redis?: RedisServer,
): Promise<{ url: string; server: Program; to: string[] }> {
  const store = redis === undefined ? [] : ['--redis', redis.url];
  const server = tidings(t, [
    'serve',
    '--port',
    '0',
    '--query-user',
    'u',
    '--admin-token',
    'T',
    '--sockjs',
    'off',
    ...store,
  ]);
  const [url] = (await server.line(/^listening on (http:\S+)$/m)) as [string];
  return { url, server, to: ['--url', url, '--token', 'T'] };
}

function listOf(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-users-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'users.txt');
  writeFileSync(file, text);
  return file;
}

async function lengths(redis: RedisServer, users: string[]): Promise<number[]> {
  const broker = redisBroker(redis.url, { intake: false });
  await broker.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
  try {
    return await Promise.all(
      users.map(async (user) => (await broker.read(`user:${user}`, 0, 10)).messages.length),
    );
  } finally {
    await broker.close();
  }
}

test('--at takes a moment or how long from now', () => {
  const near = (text: string, milliseconds: number): void => {
    const difference = parseAt(text) - Date.now() - milliseconds;
    assert.ok(Math.abs(difference) < 1000, text);
  };
  near('+10s', 10_000);
  near('+10m', 600_000);
  near('+2h', 7_200_000);
  near('+1d', 86_400_000);
  assert.equal(parseAt('2026-12-24T18:00:00Z'), Date.UTC(2026, 11, 24, 18));
  assert.equal(parseAt('2026-12-24T18:00:00+02:00'), Date.UTC(2026, 11, 24, 16));
  assert.equal(parseAt('2026-12-24'), Date.UTC(2026, 11, 24));
  for (const odd of [
    '',
    'tomorrow',
    '10m',
    '+',
    '+m',
    '+1w',
    '-1h',
    '+1.5h',
    '5',
    '2026-13-01',
    '2026-12-24T18:00 or so',
    '20260-12-24',
    '2026-12-24T99:00Z',
    '+ 1h',
  ]) {
    assert.throws(() => parseAt(odd), UsageError, odd);
  }
});

test('what is sent later is listed and cancelled, by a server and through Redis', patient, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const { to } = await served(t, redis);
  const run = async (...args: string[]): Promise<{ status: number | null; program: Program }> => {
    const program = tidings(t, args);
    return { status: await program.status(), program };
  };
  const [one, two] = await Promise.all([
    run('send', 'alice', '--json', '{"n":12345678901234567890}', '--at', '+10m', ...to),
    run('publish', 'news', 'x', '--at', '2100-01-01T00:00:00Z', '--redis', redis.url),
  ]);
  assert.equal(one.status, 0, one.program.stderr);
  assert.equal(two.status, 0, two.program.stderr);
  const { scheduled: id } = JSON.parse(one.program.stdout);
  assert.equal(JSON.parse(two.program.stdout).at, Date.UTC(2100, 0, 1));
  const listed = await run('scheduled', '--limit', '1', ...to);
  assert.equal(listed.status, 0, listed.program.stderr);
  assert.match(listed.program.stdout, /^\{.*"topic":"news".*\}\n$/);
  const [, before] = /2 scheduled in all; for more of them, --before (\S+)/.exec(listed.program.stderr)!;
  const [rest, cancelled] = [
    await run('scheduled', '--before', before!, ...to),
    await run('cancel', id, ...to),
  ];
  assert.match(rest.program.stdout, /^\{.*"data":\{"n":12345678901234567890\}.*\}\n$/);
  assert.deepEqual(cancelled.program.stdout, '{"cancelled":true}\n');
  const [again, soon] = await Promise.all([
    run('cancel', id, ...to),
    run('send', 'bob', 'soon', '--at', '+1s', '--redis', redis.url),
  ]);
  assert.equal(again.status, 1);
  assert.equal(soon.status, 0, soon.program.stderr);
  await until('it to be sent by the server', async () => (await lengths(redis, ['bob']))[0] === 1, 30_000);
});

test(
  'a list of users gets a message, by a server and through Redis, with a summary and status',
  patient,
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const { to } = await served(t, redis);
    const users = Array.from({ length: 4500 }, (_, i) => `u${i}`);
    const file = listOf(t, `${users.join('\r\n')}\n\n`);
    const first = tidings(t, ['send', '--users', file, 'hello', '--idempotency-key', 'k', ...to]);
    assert.equal(await first.status(), 0, first.stderr);
    assert.deepEqual(JSON.parse(first.stdout), { sent: 4500, duplicates: 0, failed: 0, idempotencyKey: 'k' });
    assert.match(first.stderr, /line 4500: 4500 sent, 0 failed, \d+ a second/);
    // The same through Redis: to nobody twice. From standard input, with two that can't be.
    const input = `${users.slice(0, 10).join('\n')}\n${'x'.repeat(200)}\nlate\n\u0007`;
    const second = tidings(
      t,
      ['send', '--users', '-', 'hello', '--idempotency-key', 'k', '--redis', redis.url],
      { input },
    );
    assert.equal(await second.status(), 1);
    assert.deepEqual(JSON.parse(second.stdout), { sent: 11, duplicates: 10, failed: 2, idempotencyKey: 'k' });
    assert.match(second.stderr, /line 11: "x+": the user name is longer than 128 characters/);
    assert.match(second.stderr, /line 13: "\\u0007"/);
    assert.match(second.stderr, /with --idempotency-key k/);
    assert.deepEqual(await lengths(redis, ['u0', 'u4499', 'late']), [1, 1, 1]);
  },
);

test('stopped half-way it says how to go on, and then nobody gets it twice', patient, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const { server, url, to } = await served(t, redis);
  // The list goes no faster than this test runs, so that some of it is left when it is stopped.
  const slow = await TcpProxy.start(() => [Number(new URL(url).port)]);
  t.after(() => slow.close());
  slow.delay = 50;
  const slowly = ['--url', `http://127.0.0.1:${slow.port}`, '--token', 'T'];
  const users = Array.from({ length: 60_000 }, (_, i) => `u${i}`);
  const file = listOf(t, users.join('\n'));
  const first = tidings(t, ['send', '--users', file, '{"a":1}', '--json', ...slowly]);
  await until('some to be sent', () => /line \d+: [1-9]/.test(first.stderr), 60_000);
  first.process.kill('SIGINT');
  assert.equal(await first.status(), 1, first.stderr);
  assert.equal(first.stdout, '');
  const [, from, key] = /--from (\d+) --idempotency-key (\S+)/.exec(first.stderr)!;
  assert.ok(Number(from) > 1 && Number(from) <= 60_000, first.stderr);
  const args = ['--from', `${Number(from) - 1000}`, '--idempotency-key', key!];
  const second = tidings(t, ['send', '--users', file, '{"a":1}', '--json', ...args, ...to]);
  assert.equal(await second.status(), 0, second.stderr);
  const summary = JSON.parse(second.stdout);
  assert.equal(summary.sent, 60_000 - Number(from) + 1001);
  assert.ok(summary.duplicates >= 1000);
  const some = users.filter((_, i) => i % 997 === 0);
  assert.deepEqual(
    await lengths(redis, some),
    some.map(() => 1),
  );
  server.process.kill('SIGTERM');
});

test('what makes no sense is refused with status 2', async (t) => {
  const file = listOf(t, 'alice\n');
  const to = ['--token', 'T', '--url', 'http://127.0.0.1:1'];
  for (const [args, message] of [
    [['send', 'alice', ...to], /there is nothing to send: give TEXT/],
    [['send', '--users', '-', ...to], /standard input is the list of users: give TEXT/],
    [['send', '--users', file, 'alice', 'text', ...to], /give only one TEXT/],
    [['send', '--users', join(file, 'nowhere'), 'text', ...to], /^tidings send: --users: can't read/],
    [['send', '--users', file, 'text', '--from', '0', ...to], /whole number from 1/],
    [['send', 'alice', 'text', '--at', 'tomorrow', ...to], /--at 'tomorrow' is no time/],
    [['send', 'alice', 'text', '--at', '2030-02-31', ...to], /--at '2030-02-31' is no time/],
    [['send', '--users', file, '{', '--json', ...to], /TEXT must be JSON/],
    [['scheduled', 'alice', ...to], /takes only options/],
    [['cancel', ...to], /give one ID/],
  ] as const) {
    const program = tidings(t, [...args]);
    assert.equal(await program.status(), 2, `${args.join(' ')}\n${program.stderr}`);
    assert.match(program.stderr, message);
  }
});
