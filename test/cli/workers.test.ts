/** `tidings serve --workers`: several processes on one port, which come, go and are told things together. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type Client, connect } from '../../src/client/index.ts';
import { PushServer, redisBroker } from '../../src/index.ts';
import { WebSocket } from '../../src/ws.ts';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const patient = { ...needs('redis'), timeout: 300_000 };

async function start(t: TestContext, ...args: string[]) {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const program = tidings(t, [
    'serve',
    ...['--port', '0', '--policy-port', 'off', '--query-user', 'user', '--redis', redis.url],
    ...['--instance', 'w', '--workers', '2', '--admin-token', 'T', '--drain', '300', ...args],
  ]);
  const [url = ''] = await program.line(/^listening on (http:\S+)\/$/m);
  const push = new PushServer({ broker: redisBroker(redis.url), log: () => {} });
  t.after(() => push.close());
  return { redis, program, url, push };
}

interface Page {
  client: Client;
  got: unknown[];
  instance(): string;
}

/** Pages as the client makes them: they come back by themselves. */
async function pages(
  t: TestContext,
  url: string,
  count: number,
  user = (i: number) => `u${i}`,
): Promise<Page[]> {
  const all = Array.from({ length: count }, (_, i): Page => {
    const got: unknown[] = [];
    let instance = '';
    const client = connect({
      url: `${url.replace('http', 'ws')}/socketServer`,
      user: user(i),
      userParameter: 'user',
      device: null,
      WebSocket: WebSocket as never,
      reconnect: { min: 10, max: 200 },
    } as never);
    client.on('open', (open) => {
      instance = open.instance;
    });
    client.on('message', ({ data }) => got.push(data));
    client.on('gap', () => got.push('GAP'));
    t.after(() => client.close());
    return { client, got, instance: () => instance };
  });
  await until('all pages', () => all.every((page) => page.instance() !== ''), 60_000);
  return all;
}

/** Sessions since the start, of all workers that there were. */
async function openedOf(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { headers: { Connection: 'close' } })).text();
  return [...text.matchAll(/^tidings_sessions_opened_total\{.*\} (\d+)$/gm)].reduce(
    (sum, [, n]) => sum + Number(n),
    0,
  );
}

async function workersOf(url: string): Promise<Record<string, number>> {
  const text = await (
    await fetch(`${url}/metrics`, { headers: { Connection: 'close' }, signal: AbortSignal.timeout(10_000) })
  ).text();
  return Object.fromEntries(
    [...text.matchAll(/^(tidings_workers\w*) (\d+)$/gm)].map(([, name, n]) => [name, Number(n)]),
  );
}

test(
  'connections are spread over the workers, each under a name of its own, and any of them tells what all have counted',
  patient,
  async (t) => {
    const { url, program } = await start(t);
    // One after another: where many come at once, the worker that is free first has the next.
    const all: Page[] = [];
    for (let i = 0; i < 20; i++) all.push(...(await pages(t, url, 1, () => `u${i}`)));
    const onFirst = all.filter((page) => page.instance() === 'w-1').length;
    assert.equal(all.filter((page) => page.instance() === 'w-2').length, 20 - onFirst);
    assert.ok(onFirst >= 5 && onFirst <= 15, String(onFirst));
    // A connection for each request, so that both are asked.
    for (let i = 0; i < 4; i++) {
      const response = await fetch(`${url}/metrics`, { headers: { Connection: 'close' } });
      const text = await response.text();
      assert.match(text, /^tidings_sessions\{mode="tidings\.1",transport="websocket"\} 20$/m);
      assert.match(text, /^tidings_workers 2$/m);
    }
    assert.equal((await fetch(`${url}/readyz`)).status, 200);

    program.process.kill('SIGTERM');
    assert.equal(await program.status(), 0, program.stderr);
    const ends = [...program.stderr.matchAll(/ ending: .* instance=(w-\d) /g)].map(([, name]) => name);
    assert.deepEqual(ends.sort(), ['w-1', 'w-2']);
  },
);

test(
  'a worker that is killed under traffic: another comes, and pages miss nothing, twice or out of order',
  patient,
  async (t) => {
    const { url, program, push } = await start(t);
    const all = await pages(t, url, 12, (i) => `u${i % 6}`);
    const [pid = 0] = await until('the workers', () => {
      const pids = childrenOf(program.process.pid!);
      return pids.length >= 2 ? pids : undefined;
    });
    const sent = Array.from({ length: 6 }, () => 0);
    let isSending = true;
    const sending = sent.map(async (_, i) => {
      while (isSending) {
        await push.send(`u${i}`, sent[i]!);
        sent[i]!++;
      }
    });
    await until('traffic', () => sent.every((n) => n > 50), 60_000);
    const counted = await openedOf(url);
    assert.equal(counted, 12);
    process.kill(pid, 'SIGKILL');
    await until('another one', () => /worker-ready: w-3 serves/.test(program.stderr), 60_000);
    const before = [...sent];
    await until('more traffic', () => sent.every((n, i) => n > before[i]! + 50), 60_000);
    isSending = false;
    await Promise.all(sending);
    await until('all messages', () => all.every(({ got }, i) => got.length >= sent[i % 6]!), 60_000);
    for (const [i, { got }] of all.entries()) {
      assert.deepEqual(
        got,
        Array.from({ length: sent[i % 6]! }, (_, n) => n),
      );
    }
    assert.match(program.stderr, /worker-gone: w-[12] has ended \(SIGKILL\); another one comes/);
    // The sessions of before are still counted, besides those that have come again.
    assert.ok((await openedOf(url)) > counted);
    assert.deepEqual(await workersOf(url), {
      tidings_workers: 2,
      tidings_workers_ready: 2,
      tidings_workers_silent: 0,
    });
  },
);

test(
  'a worker that stands still holds up neither metrics nor the end, and one that is told to go is replaced',
  patient,
  async (t) => {
    const { url, program } = await start(t);
    const pids = childrenOf(program.process.pid!);
    process.kill(pids[0]!, 'SIGTERM');
    await until('another one', () => /worker-ready: w-3 serves/.test(program.stderr), 60_000);
    const left = childrenOf(program.process.pid!);
    process.kill(left[0]!, 'SIGSTOP');
    t.after(() => {
      try {
        process.kill(left[0]!, 'SIGKILL');
      } catch {
        // It is gone.
      }
    });
    const found = await until(
      'an answer',
      async () => {
        const answered = await workersOf(url).catch(() => undefined);
        return answered?.['tidings_workers_silent'] === 1 ? answered : undefined;
      },
      60_000,
    );
    assert.deepEqual(found, { tidings_workers: 2, tidings_workers_ready: 2, tidings_workers_silent: 1 });
    program.process.kill('SIGINT');
    await until('the end', () => program.stderr.includes(' ending: '));
    program.process.kill('SIGINT');
    assert.equal(await program.status(), 1);
  },
);

test(
  'requests of one SockJS session come to any worker, each by a connection of its own',
  patient,
  async (t) => {
    const { url, push } = await start(t);
    const post = (path: string, body = '') =>
      fetch(`${url}/sockjs/socketServer/000/${path}?user=alice`, {
        method: 'POST',
        headers: { Connection: 'close' },
        body,
      });
    assert.equal(await (await post('one/xhr')).text(), 'o\n');
    const got: string[] = [];
    const polling = (async () => {
      while (got.length < 21) {
        const frame = await (await post('one/xhr')).text();
        if (frame.startsWith('a')) got.push(...(JSON.parse(frame.slice(1)) as string[]));
        else assert.equal(frame, 'h\n');
      }
    })();
    for (let n = 0; n < 10; n++) await push.send('alice', String(n));
    assert.equal((await post('one/xhr_send', '["ping"]')).status, 204);
    for (let n = 10; n < 20; n++) await push.send('alice', String(n));
    await polling;
    assert.deepEqual(
      got.filter((text) => text !== 'hb_ok'),
      Array.from({ length: 20 }, (_, n) => String(n)),
    );
  },
);

test('where the primary process is killed, the workers send their pages away and end', patient, async (t) => {
  const { url, program } = await start(t);
  const [page] = await pages(t, url, 1);
  const closed = new Promise((resolve) => page!.client.on('close', resolve));
  const pids = childrenOf(program.process.pid!);
  program.process.kill('SIGKILL');
  await until('the end of all', () => pids.every((pid) => !isThere(pid)), 60_000);
  await closed;
  await until('what they say of it', () => /primary-gone/.test(program.stderr));
});

test(
  'workers that can not start end the program with one message: no store in common, a port in use',
  patient,
  async (t) => {
    const without = tidings(t, ['serve', '--port', '0', '--query-user', 'u', '--workers', 'auto']);
    assert.equal(await without.status(), 2);
    assert.match(
      without.stderr,
      /^tidings serve: --workers need a store that they share: give --redis or --postgres, too\n/,
    );

    const taken = createServer().listen(0, '127.0.0.1');
    t.after(() => taken.close());
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const redis = await startRedis();
    t.after(() => redis.stop());
    const args = ['--redis', redis.url, '--query-user', 'u', '--workers', '2', '--policy-port', 'off'];
    const program = tidings(t, ['serve', '--port', String(port), ...args]);
    assert.equal(await program.status(), 1);
    assert.match(
      // Workers may have told of their start before.
      program.stderr.replaceAll(/^\S+ info started: .*\n/gm, ''),
      new RegExp(`^tidings serve: can't listen on 127\\.0\\.0\\.1:${port}: .*in use\\n$`),
    );
  },
);

/** Its workers: they have the same arguments. */
function childrenOf(parent: number): number[] {
  const lines = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(parent)], { encoding: 'utf8' });
  return lines
    .split('\n')
    .filter((line) => line.includes(programFile))
    .map((line) => Number.parseInt(line, 10));
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
