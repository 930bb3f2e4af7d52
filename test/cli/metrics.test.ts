/** `GET /metrics` of real servers, read by the real promtool and by a real Prometheus. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Page } from '../push/support.ts';
import { tidings } from '../support/cli.ts';
import { freePort, until } from '../support/net.ts';
import { find, needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const TOKEN = 'secret-of-the-admin';

async function serve(t: TestContext, instance: string, redis: string) {
  const program = tidings(t, [
    ...['serve', '--port', '0', '--policy-port', 'off', '--query-user', 'user', '--topics', '*'],
    ...['--redis', redis, '--instance', instance, '--admin-token', TOKEN],
  ]);
  const [url = ''] = await program.line(/^listening on (http:\S+)\/$/m);
  const [ws = ''] = await program.line(/^listening on (ws:\S+)$/m);
  return { url, ws };
}

async function send(url: string, path: string, data: unknown): Promise<void> {
  const headers = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' };
  const { status } = await fetch(`${url}/api/${path}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(data),
  });
  assert.equal(status, 201);
}

test(
  'promtool finds nothing to complain of after real traffic, and a Prometheus collects two instances',
  needs('redis', 'promtool', 'prometheus'),
  async (t) => {
    const redis = await startRedis();
    const folder = mkdtempSync(join(tmpdir(), 'tidings-prometheus-'));
    t.after(async () => {
      await redis.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    const [left, right] = await Promise.all([serve(t, 'left', redis.url), serve(t, 'right', redis.url)]);
    const port = await freePort();
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '1s' },
      rule_files: [join(process.cwd(), 'deploy/prometheus/tidings.rules.yml')],
      scrape_configs: [
        {
          job_name: 'tidings',
          static_configs: [{ targets: [left, right].map(({ url }) => new URL(url).host) }],
        },
      ],
    };
    writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const prometheus = spawn(
      find('prometheus')!,
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    t.after(async () => {
      prometheus.kill('SIGKILL');
      if (prometheus.exitCode === null) await once(prometheus, 'exit');
    });
    const ask = async (query: string): Promise<{ metric: Record<string, string>; value: number }[]> => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?${new URLSearchParams({ query })}`)
        .then((response) => response.json())
        .catch(() => undefined);
      const { result = [] } = answer?.data ?? {};
      return result.map(({ metric, value }: { metric: Record<string, string>; value: [number, string] }) => ({
        metric,
        value: Number(value[1]),
      }));
    };

    const pages = await Promise.all([
      Page.open(left.ws, 'alice', { device: 'd', topics: ['news'] }),
      Page.plain(right.ws, 'alice'),
      Page.open(right.ws, 'bob', { topics: ['news'] }),
    ]);
    await until('both to be collected', async () => (await ask('tidings_store_up == 1')).length === 2);
    let count = 0;
    await until('a rate of what was delivered', async () => {
      await send(left.url, 'users/alice/messages', { count: ++count });
      await send(right.url, 'topics/news/messages', { count });
      pages[0]!.say({ type: 'ack', channel: 'inbox', position: pages[0]!.position() });
      const rates = await ask('sum by (instance) (rate(tidings_deliveries_total{source="live"}[30s])) > 0');
      return rates.length === 2;
    });
    const quantile =
      'histogram_quantile(0.99, sum by (le) (rate(tidings_publish_to_write_seconds_bucket[30s])))';
    const [slowest] = await until('a quantile', async () => {
      const found = await ask(quantile);
      return found.length > 0 && !Number.isNaN(found[0]!.value) && found;
    });
    assert.ok(slowest!.value > 0 && slowest!.value < 60);
    const sessions = await ask('sum by (mode) (tidings_sessions)');
    assert.deepEqual(sessions.map(({ metric, value }) => [metric['mode'], value]).sort(), [
      ['plain', 1],
      ['tidings.1', 2],
    ]);

    const scrape = await fetch(`${left.url}/metrics`);
    assert.equal(scrape.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    const text = await scrape.text();
    assert.match(text, /^tidings_published_total\{result="stored"\} [1-9]/m);
    assert.match(text, /^tidings_publish_to_ack_seconds_count [1-9]/m);
    const checked = spawnSync(find('promtool')!, ['check', 'metrics'], { input: text, encoding: 'utf8' });
    assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', '']);
    for (const page of pages) page.cut();
  },
);
