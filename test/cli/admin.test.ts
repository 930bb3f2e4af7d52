/** `tidings serve` towards operators and load balancers: which port answers what, and whom. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { readSettings, UsageError } from '../../src/cli/options.ts';
import { serveOptions } from '../../src/cli/serve-options.ts';
import { checkServe } from '../../src/cli/serve-settings.ts';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const BOUND = ['--port', '0', '--query-user', 'operator'];

async function serve(t: TestContext, args: string[], environment: Record<string, string> = {}) {
  const program = tidings(t, ['serve', ...BOUND, ...args], { environment });
  const [url = ''] = await program.line(/^listening on (http:\S+:\d+)\/$/m);
  return { program, url };
}

test('with --admin-port, what is for operators is there alone; probes are on both ports', async (t) => {
  const { program, url } = await serve(t, ['--admin-port', '0'], { TIDINGS_ADMIN_TOKEN: 'read=R send=S' });
  const [admin = ''] = await program.line(/^listening on (http:\S+:\d+)\/admin$/m);
  for (const path of ['/livez', '/readyz', '/healthz']) {
    for (const port of [url, admin]) assert.equal((await fetch(port + path)).status, 200, port + path);
  }
  for (const path of [
    '/api/stats',
    '/metrics',
    '/openapi.json',
    '/admin',
    '/api/',
    '/api/users/alice/messages',
  ]) {
    const headers = { Authorization: 'Bearer R' };
    assert.equal((await fetch(url + path, { headers })).status, 404, path);
  }
  const stats = (token: string) =>
    fetch(`${admin}/api/stats`, { headers: { Authorization: `Bearer ${token}` } });
  assert.deepEqual(
    [(await stats('R')).status, (await stats('S')).status, (await stats('X')).status],
    [200, 403, 401],
  );
  assert.match(await (await fetch(`${admin}/metrics`)).text(), /^tidings_channels 0$/m);
  assert.equal((await fetch(`${admin}/socketServer`)).status, 404);
  program.process.kill('SIGTERM');
  assert.equal(await program.status(), 0, program.stderr);
});

test(
  'a store that is away makes an instance unhealthy at once, and unready only after --store-grace',
  needs('redis'),
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const { url } = await serve(t, ['--redis', redis.url, '--store-grace', '1500']);
    const ready = async () => (await (await fetch(`${url}/readyz`)).json()) as Record<string, unknown>;
    assert.equal((await ready())['ok'], true);
    await redis.stop();
    await until('healthz to say so', async () => (await fetch(`${url}/healthz`)).status === 503);
    const { ok, storeAwayFor } = await ready();
    assert.equal(ok, Number(storeAwayFor) <= 1500);
    assert.equal((await fetch(`${url}/livez`)).status, 200);
    const last = await until('readyz to say so', async () => {
      const told = await ready();
      return told['ok'] === false && told;
    });
    assert.equal(last['reason'], 'store-away');
    assert.ok(Number(last['storeAwayFor']) > 1500);
  },
);

test('tokens that are none, and settings without effect, are refused without showing a token', () => {
  for (const [args, message] of [
    [['--admin-token', 'raed=hush'], /scopes/],
    [['--admin-token', 'read=hush', '--admin-token', 'send=hush'], /same token/],
    [['--admin-token', 'read='], /no token/],
    [['--admin-token', 'read,send'], /no token/],
    [['--admin-token', 'send=read'], /no token/],
    [['--admin-token', 'hüsh'], /ASCII/],
    [['--admin-host', '0.0.0.0'], /--admin-port/],
    [['--admin-port', '70000'], /0 to 65535/],
    [['--admin-port', '8080'], /--admin-port/],
    [['--admin-rate', '5'], /--admin-token/],
  ] as const) {
    assert.throws(
      () => checkServe(readSettings(serveOptions, [...args], new Set(), {})),
      (error) => {
        assert.ok(error instanceof UsageError, String(error));
        assert.match(error.message, message);
        return !/hush|hüsh/.test(error.message);
      },
      args.join(' '),
    );
  }
  const { values } = readSettings(serveOptions, [], new Set(['adminToken']), {
    TIDINGS_ADMIN_TOKEN: 'read=R\nQQ==  send=S',
  });
  assert.deepEqual(values.adminToken, ['read=R', 'QQ==', 'send=S']);
});
