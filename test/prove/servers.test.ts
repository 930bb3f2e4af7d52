/** Real servers: those that promise something pass, those that deliver at most once fail. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { FaultKind } from '../../src/prove/index.ts';
import { freePort } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';
import { needs } from '../support/programs.ts';
import { command, redisCommand, serverCommand } from './servers/commands.ts';
import { nchanCommand } from './servers/nchan.ts';
import { connections, proven } from './support.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const addressOf = (port: number): string => `http://127.0.0.1:${port}/`;

const tidingsCommand = (port: number, ...more: string[]): string =>
  command(
    programFile,
    ...['serve', '--port', port, '--query-user', 'operator', '--admin-token', 'T'],
    ...['--policy-port', 'off', '--drain', '300', ...more],
  );

const ofProcesses = (...kinds: FaultKind[]): { kinds: Set<FaultKind> } => ({
  kinds: new Set(['cut', ...kinds]),
});

describe('tidings prove', { concurrency: 8, timeout: 300_000 }, () => {
  test('tidings: an instance with its store in memory loses nothing when connections break, and tells who was away too long', async () => {
    const port = await freePort();
    const result = await proven({
      urls: [addressOf(port)],
      adapter: 'tidings',
      token: 'T',
      secret: 'a secret of tests',
      run: [tidingsCommand(port, '--secret', 'a secret of tests')],
      kinds: connections,
      time: 4,
      away: 1100,
      users: 3,
    });
    assert.deepEqual(result.failures, []);
    assert.equal(result.told.inVain, 0);
    assert.ok(result.told.times >= 1 && result.told.messages >= 200, JSON.stringify(result.told));
  });

  for (const [name, adapter] of [
    ['in plain mode', 'plain'],
    [
      'with pages that do not say where they were',
      fileURLToPath(new URL('adapters/forgetful.ts', import.meta.url)),
    ],
  ] as const) {
    test(`tidings ${name} loses what was sent while a page was away`, async () => {
      const port = await freePort();
      const result = await proven({
        urls: [addressOf(port)],
        adapter,
        token: 'T',
        run: [tidingsCommand(port)],
        kinds: connections,
      });
      assert.match(result.failures.join('; '), /^[\d,]+ lost$/);
    });
  }

  test('tidings: two instances and a Redis that keeps what it has answered lose nothing when all of them are killed', {
    ...needs('redis'),
  }, async (t) => {
    const [one, other, store] = await Promise.all([freePort(), freePort(), freePort()]);
    const redis = ['--redis', `redis://127.0.0.1:${store}`];
    const result = await proven({
      urls: [addressOf(one), addressOf(other)],
      adapter: 'tidings',
      token: 'T',
      run: [redisCommand(store, folder(t)), tidingsCommand(one, ...redis), tidingsCommand(other, ...redis)],
      ...ofProcesses('kill', 'half'),
      time: 6,
      users: 3,
      patience: 30,
    });
    assert.deepEqual(result.failures, []);
    assert.ok(result.faults.some(({ kind, times }) => kind === 'kill' && times > 0));
    assert.deepEqual(result.crashes, []);
  });

  test('a stream whose log is written before the answer loses nothing when it is killed; one that writes later does', async (t) => {
    const run = async (...late: string[]) => {
      const port = await freePort();
      const command = serverCommand('stored-stream', String(port), join(folder(t), 'log'), ...late);
      return proven({
        urls: [addressOf(port)],
        adapter: 'sse',
        run: [command],
        ...ofProcesses('kill'),
        time: 5,
        seed: 3,
      });
    };
    const [good, bad] = await Promise.all([run(), run('late')]);
    assert.deepEqual(good.failures, []);
    assert.ok(
      good.faults.some(({ kind, times }) => kind === 'kill' && times > 0),
      JSON.stringify(good.faults),
    );
    assert.match(bad.failures.join('; '), /^[\d,]+ lost/);
    // What no page has is not due to a line.
    const gone = bad.findings.filter(({ everyPage }) => everyPage);
    assert.deepEqual([...new Set(gone.map(({ near }) => near?.kind))], ['kill']);
  });

  test('ws with Redis pub/sub, at most once, fails', needs('redis'), async (t) => {
    const [port, store] = await Promise.all([freePort(), freePort()]);
    const result = await proven({
      urls: [addressOf(port)],
      adapter: 'ws',
      run: [
        redisCommand(store, folder(t)),
        serverCommand('ws-redis', String(port), `redis://127.0.0.1:${store}`),
      ],
      kinds: connections,
    });
    assert.match(result.failures.join('; '), /^[\d,]+ lost/);
  });

  test('Socket.IO with its pub/sub adapter, at most once, fails', needs('redis'), async (t) => {
    const [port, store] = await Promise.all([freePort(), freePort()]);
    const result = await proven({
      urls: [addressOf(port)],
      adapter: 'socketio',
      run: [
        redisCommand(store, folder(t)),
        serverCommand('socketio', String(port), `redis://127.0.0.1:${store}`, 'pubsub'),
      ],
      kinds: connections,
    });
    assert.match(result.failures.join('; '), /^[\d,]+ lost/);
    assert.equal(result.told.times, 0);
  });

  test(
    'nchan passes within what it keeps, and does not tell of what it does not',
    needs('nginx', 'nchan'),
    async (t) => {
      const run = async (keeps: number, away: number) => {
        const port = await freePort();
        const command = nchanCommand(folder(t), port, keeps);
        return proven({
          urls: [addressOf(port)],
          adapter: 'nchan',
          run: [command],
          kinds: connections,
          away,
          time: 1.5,
        });
      };
      const [within, beyond] = await Promise.all([run(5000, 200), run(100, 300)]);
      assert.deepEqual(within.failures, []);
      assert.match(beyond.failures.join('; '), /^[\d,]+ lost$/);
    },
  );
});
