/** JSON through the command line, by the API and by Redis: what arrives is what was typed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const TEXT = '{"id":1724442618569203714,"price":10.00}';

test('send, publish and listen hand JSON on as it was typed', {
  timeout: 120_000,
  ...needs('redis'),
}, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const common = [
    '--query-user',
    'operator',
    '--topics',
    'news',
    '--admin-token',
    'T',
    '--policy-port',
    'off',
  ];
  const server = tidings(t, ['serve', '--port', '0', '--redis', redis.url, ...common]);
  const [url = ''] = await server.line(/^listening on (http:\S+)\/$/m);
  const listener = tidings(t, ['listen', '--user', 'alice', '--topics', 'news', '--url', url]);
  await until('a connection', () => listener.stderr.includes('connected'), 60_000);
  const sends = [
    ['send', 'alice', '--json', TEXT, '--url', url, '--token', 'T'],
    ['send', 'alice', '--json', TEXT, '--redis', redis.url],
    ['publish', 'news', '--json', `{"a":\n${TEXT}}`, '--url', url, '--token', 'T'],
    ['publish', 'news', TEXT, '--redis', redis.url],
  ];
  for (const args of sends) assert.equal(await tidings(t, args).status(), 0);
  await until('all of them', () => listener.stdout.trim().split('\n').length === 4, 60_000);
  const lines = listener.stdout.trim().split('\n');
  const data = lines.map((line) => /"data":(.*),"position":/.exec(line)?.[1]);
  assert.deepEqual(data.sort(), [TEXT, TEXT, `{"a": ${TEXT}}`, JSON.stringify(TEXT)].sort());
  for (const line of lines) assert.equal(typeof JSON.parse(line).id, 'string');
});
