/** What a running `tidings serve` takes anew: on SIGHUP, and where a file has changed that it watches. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import type { Option } from '../../src/cli/options.ts';
import { flagName } from '../../src/cli/options.ts';
import { serveOptions } from '../../src/cli/serve-options.ts';
import { signTicket } from '../../src/index.ts';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const old = 'an old secret of 16 bytes or more';
const young = 'a new secret of 16 bytes or more';

/** A server with a config file, which `write` replaces as a whole. */
async function start(t: TestContext, content: object, ...args: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-reload-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'tidings.json');
  const write = (settings: object | string): void => {
    writeFileSync(`${path}.new`, typeof settings === 'string' ? settings : JSON.stringify(settings));
    renameSync(`${path}.new`, path);
  };
  write(content);
  const program = tidings(t, ['serve', '--port', '0', '--policy-port', 'off', '--config', path, ...args]);
  const [url = ''] = await program.line(/^listening on (http:\S+)\/$/m);
  let told = 0;
  /** What the next line of this event says. */
  const said = async (event: string): Promise<string> =>
    until(
      `a line ${event}`,
      () => {
        const lines = program.stderr.slice(told).split('\n');
        const line = lines.slice(0, -1).find((each) => each.includes(` ${event}: `));
        if (line !== undefined) told = program.stderr.indexOf(line, told) + line.length;
        return line;
      },
      60_000,
    );
  const reload = (): void => {
    program.process.kill('SIGHUP');
  };
  return { program, url, write, said, reload, folder };
}

/** 101, or the status of the refusal. */
async function statusOf(url: string, secret: string, headers: Record<string, string> = {}): Promise<number> {
  const ticket = signTicket('alice', { secret });
  const socket = new WebSocket(`${url.replace('http', 'ws')}/socketServer?ticket=${ticket}`, { headers });
  socket.on('error', () => {});
  const status = await Promise.race([
    once(socket, 'open').then(() => 101),
    once(socket, 'unexpected-response').then(([, response]) => response.statusCode as number),
  ]);
  socket.terminate();
  return status;
}

async function adminStatus(url: string, token: string): Promise<number> {
  return (await fetch(`${url}/api/stats`, { headers: { Authorization: `Bearer ${token}` } })).status;
}

async function pageAt(t: TestContext, url: string): Promise<{ isOpen(): boolean }> {
  const socket = new WebSocket(
    `${url.replace('http', 'ws')}/socketServer?ticket=${signTicket('bob', { secret: old })}`,
  );
  t.after(() => socket.terminate());
  await once(socket, 'open');
  return { isOpen: () => socket.readyState === WebSocket.OPEN };
}

test('SIGHUP: secrets, tokens, origins, limits and the level are taken anew, nobody is dropped, and what can not be is named', async (t) => {
  const { url, write, said, reload, program } = await start(t, { secret: old, adminToken: 'first', port: 0 });
  const page = await pageAt(t, url);
  write({
    secret: [young],
    adminToken: ['second', 'read=third'],
    origins: 'https://app.example.com',
    limit: 'message=10',
    logLevel: 'warn',
    path: '/elsewhere',
    lease: 9_000,
  });
  reload();
  // The level holds already, and this is a warning.
  const kept = await said('reload-needs-restart');
  assert.match(kept, /--path, --lease: only a restart changes that, it stays as it was/);
  assert.equal(await statusOf(url, old), 401);
  assert.equal(await statusOf(url, young), 101);
  assert.equal(await statusOf(url, young, { Origin: 'https://app.example.com' }), 101);
  assert.deepEqual(
    [await adminStatus(url, 'first'), await adminStatus(url, 'second'), await adminStatus(url, 'third')],
    [401, 200, 200],
  );
  const headers = { Authorization: 'Bearer second', 'Content-Type': 'application/json' };
  const long = await fetch(`${url}/api/users/alice/messages`, {
    method: 'POST',
    headers,
    body: '"more than ten"',
  });
  assert.equal(long.status, 413);
  assert.ok(page.isOpen());
  // No secret is in what it said.
  assert.ok(!program.stderr.includes('secret of 16') && !/second|third/.test(program.stderr), program.stderr);
});

test('what is wrong changes nothing, and is said', async (t) => {
  const { url, write, said, reload } = await start(t, { secret: old, adminToken: 'first' });
  const page = await pageAt(t, url);
  for (const [settings, message] of [
    ['{"secret": "a new secret of 16', /the settings stay as they were: the config file \S+ is not JSON/],
    [{ secret: young, orgins: 'x' }, /unknown key "orgins"; did you mean "origins"\?/],
    [
      { secret: young, adminToken: 'second', origins: 'example.com' },
      /origins: "example.com" is not of the form/,
    ],
    [{ secret: young, limit: 'message=x' }, /--limit: 'message=x' must be/],
    [{ secret: 'short', adminToken: 'second' }, /at least 16 bytes/],
    [{ secret: young, secretFile: '/nowhere/x' }, /"secretFile" '\/nowhere\/x' can't be read/],
    [{ secret: young, workers: 2 }, /--workers need a store/],
    [{ secret: young, jwtKey: 'package.json' }, /--jwt-key can not be read/],
  ] as [object | string, RegExp][]) {
    write(settings);
    reload();
    assert.match(await said('reload-failed'), message);
    assert.equal(await statusOf(url, old), 101);
    assert.equal(await statusOf(url, young), 401);
    assert.equal(await adminStatus(url, 'first'), 200);
  }
  write({ secret: [young, old], adminToken: 'first' });
  reload();
  assert.match(await said('reloaded'), /taken anew: --secret /);
  assert.equal(await statusOf(url, young), 101);
  assert.ok(page.isOpen());
});

test('many signals at once, also while it starts and while it ends', async (t) => {
  const { url, write, said, reload, program } = await start(t, { secret: old, drain: 600_000 });
  await pageAt(t, url);
  write({ secret: young, drain: 600_000 });
  for (let i = 0; i < 50; i++) reload();
  await said('reloaded');
  await until('the new secret', async () => (await statusOf(url, young)) === 101);
  write({ secret: young, drain: 0 });
  reload();
  await until('the new drain', () => program.stderr.includes('taken anew: --drain'), 60_000);
  program.process.kill('SIGTERM');
  reload();
  assert.equal(await program.status(), 0, program.stderr);
  assert.match(program.stderr, /told to leave within 0 ms/);

  // Before there is anything that could take them.
  const waiting = tidings(t, [
    'serve',
    '--port',
    '0',
    '--policy-port',
    'off',
    '--secret',
    old,
    '--redis',
    'redis://127.0.0.1:1',
  ]);
  await until('the wait for the store', () => waiting.stderr.includes('store-awaited'), 60_000);
  waiting.process.kill('SIGHUP');
  waiting.process.kill('SIGTERM');
  assert.equal(await waiting.status(), 0, waiting.stderr);
});

test('--watch: a file that is replaced is taken anew by itself, also one that the config file names', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-secrets-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const secrets = join(folder, 'secrets');
  writeFileSync(secrets, `${old}\n`);
  const { url, write, said } = await start(t, { secretFile: secrets }, '--watch');
  assert.equal(await statusOf(url, young), 401);
  writeFileSync(secrets, `${young}\n${old}\n`);
  assert.match(await said('reloaded'), /--secret-file/);
  assert.deepEqual([await statusOf(url, young), await statusOf(url, old)], [101, 101]);
  writeFileSync(secrets, '\n');
  assert.match(await said('reload-failed'), /is an empty file/);
  assert.equal(await statusOf(url, old), 101);
  write({ secret: young });
  assert.match(await said('reloaded'), /--secret, --secret-file/);
  assert.deepEqual([await statusOf(url, young), await statusOf(url, old)], [101, 401]);

  const idle = tidings(t, ['serve', '--port', '0', '--secret', old, '--watch'], { cwd: folder });
  assert.equal(await idle.status(), 2);
  assert.match(idle.stderr, /--watch has nothing to look at/);
});

test('workers take settings anew all together or not at all, and one that comes later has those of then', {
  ...needs('redis'),
  timeout: 300_000,
}, async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const { url, write, said, reload, program } = await start(t, {
    secret: old,
    redis: redis.url,
    workers: 2,
    instance: 'w',
  });
  const page = await pageAt(t, url);
  /** Each connection goes to another worker, in turn. */
  const statuses = async (secret: string): Promise<number[]> => {
    const all = [];
    for (let i = 0; i < 4; i++) all.push(await statusOf(url, secret));
    return [...new Set(all)];
  };
  write({ secret: young, redis: redis.url, workers: 3, instance: 'w' });
  reload();
  assert.match(await said('reloaded'), /--secret/);
  assert.match(await said('reload-needs-restart'), /--workers: only a restart/);
  assert.deepEqual([await statuses(old), await statuses(young)], [[401], [101]]);
  write({ secret: old, origins: 'x', redis: redis.url, workers: 2, instance: 'w' });
  reload();
  assert.match(await said('reload-failed'), /origins: "x"/);
  assert.deepEqual([await statuses(old), await statuses(young)], [[401], [101]]);
  // What the file says now can't be. Who comes now runs by what all run by.
  const { execFileSync } = await import('node:child_process');
  const lines = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(program.process.pid)], {
    encoding: 'utf8',
  });
  const [worker, other] = lines.split('\n').filter((line) => line.includes(programFile));
  process.kill(Number.parseInt(worker!, 10), 'SIGKILL');
  await said('worker-ready');
  assert.deepEqual([await statuses(old), await statuses(young)], [[401], [101]]);

  // One that hangs can't take them, so nobody does; when it goes on, all can.
  const hanging = Number.parseInt(other!, 10);
  process.kill(hanging, 'SIGSTOP');
  t.after(() => {
    try {
      process.kill(hanging, 'SIGKILL');
    } catch {
      // It is gone.
    }
  });
  write({ secret: old, redis: redis.url, workers: 2, instance: 'w' });
  reload();
  assert.match(await said('reload-failed'), /stay as they were: w-\d: it does not answer/);
  process.kill(hanging, 'SIGCONT');
  assert.deepEqual([await statuses(old), await statuses(young)], [[401], [101]]);
  reload();
  await said('reloaded');
  assert.deepEqual([await statuses(old), await statuses(young)], [[101], [401]]);
  void page;
});

test('docs/configuration.md says of each setting when a new value counts', () => {
  const page = readFileSync('docs/configuration.md', 'utf8');
  const [, section = ''] = /## Settings of a running server\n(.*?)\n## /s.exec(page) ?? [];
  const said = new Map<string, string>();
  for (const [, names = '', when = ''] of section.matchAll(/^\| (`--[^|]+) \| ([^|]+) \|/gm)) {
    for (const [, name = ''] of names.matchAll(/`--([\w-]+)`/g)) {
      assert.ok(!said.has(name), `${name} is there twice`);
      said.set(name, when.trim());
    }
  }
  const actual = Object.entries(serveOptions).map(([key, option]) => [
    flagName(key),
    (option as Option<unknown>).reload ?? 'restart',
  ]);
  assert.deepEqual([...said].sort(), actual.sort());
});
