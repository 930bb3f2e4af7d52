/** What the commands can be told about Redis, and what they tell of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { makeCertificates } from '../support/certificates.ts';
import { tidings } from '../support/cli.ts';
import { freePort, until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { ask } from '../support/redis-groups.ts';

const patient = { ...needs('redis'), timeout: 300_000 };

test(
  'a server that asks for client certificates gets the one of --redis-cert, of send and of serve',
  patient,
  async (t) => {
    const certificates = makeCertificates();
    t.after(() => certificates.remove());
    const { certFile, keyFile, caFile } = certificates;
    const port = await freePort();
    const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', caFile];
    const redis = await startRedis(['--tls-port', String(port), ...files, '--tls-auth-clients', 'yes']);
    t.after(() => redis.stop());
    const target = ['--redis', `rediss://localhost:${port}`, '--redis-ca', caFile];
    const own = ['--redis-cert', certFile, '--redis-key', keyFile];
    const sent = tidings(t, ['send', 'alice', 'x', ...target, ...own, '--wait', '60000']);
    assert.equal(await sent.status(), 0, sent.stderr);
    const without = tidings(t, ['send', 'alice', 'x', ...target, '--wait', '300']);
    assert.equal(await without.status(), 1);
    assert.match(without.stderr, /no Redis within 300 ms, so nothing is stored/);
    const server = tidings(t, ['serve', '--port', '0', '--query-user', 'u', ...target, ...own]);
    await server.line(/^listening on http:/m);
  },
);

test('files that are of no use, not there or half a pair are refused', async (t) => {
  for (const [args, message] of [
    [['--redis', 'redis://h', '--redis-ca', 'package.json'], /are for rediss: URLs/],
    [['--redis', 'rediss://h', '--redis-ca', '/nowhere/x'], /--redis-ca '\/nowhere\/x' can't be read/],
    [['--redis', 'rediss://h', '--redis-cert', 'package.json'], /--redis-cert and --redis-key together/],
    [['--redis', 'redis://:sec/ret@h'], /^(?!.*(sec|ret@)).*not a Redis URL/s],
  ] as const) {
    const program = tidings(t, ['send', 'alice', 'x', ...args]);
    assert.equal(await program.status(), 2, program.stderr);
    assert.match(program.stderr, message);
  }
});

test('send waits for Redis as long as it is told to', patient, async (t) => {
  const port = await freePort();
  const program = tidings(t, [
    'send',
    'alice',
    'x',
    '--redis',
    `redis://127.0.0.1:${port}`,
    '--wait',
    '200000',
  ]);
  let attempts = 0;
  const deaf = createServer((socket) => {
    attempts++;
    socket.destroy();
  }).listen(port, '127.0.0.1');
  // Each comes later than the one before: so many take longer than the default would have waited.
  await until('some attempts', () => attempts >= 2 * 8);
  deaf.close();
  await once(deaf, 'close');
  const redis = await startRedis([], port);
  t.after(() => redis.stop());
  assert.equal(await program.status(), 0, program.stderr);
  assert.equal(await ask(redis, 'LLEN', '{tidings:user:alice}:list'), 1);
});

test(
  'a damaged inbox is said to be one, logged and seen in /healthz until it is repaired',
  patient,
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const server = tidings(t, [
      ...['serve', '--port', '0', '--query-user', 'u', '--admin-token', 'T', '--redis', redis.url],
    ]);
    const [url = ''] = await server.line(/^listening on (http:\S+)\/$/m);
    const send = (): Promise<Response> =>
      fetch(`${url}/api/users/alice/messages`, {
        method: 'POST',
        headers: { Authorization: 'Bearer T', 'Content-Type': 'application/json' },
        body: '1',
      });
    await ask(redis, 'SET', '{tidings:user:alice}:list', 'x');
    const refused = await send();
    assert.deepEqual([refused.status, ((await refused.json()) as { error: string }).error], [500, 'damaged']);
    const health = await fetch(`${url}/healthz`);
    assert.deepEqual(
      [health.status, ((await health.json()) as { storeFaults: number }).storeFaults],
      [503, 1],
    );
    await until('the log line', () =>
      server.stderr.includes('what the store keeps of "user:alice" is damaged'),
    );
    await ask(redis, 'DEL', '{tidings:user:alice}:list');
    assert.equal((await send()).status, 201);
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
  },
);
