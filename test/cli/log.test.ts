/** What `tidings serve` logs: text or JSON, a line an event, whoever reads it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { logOutput } from '../../src/cli/log-output.ts';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const SERVE = ['serve', '--port', '0', '--policy-port', 'off', '--query-user', 'u', '--drain', '100'];
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function linesOf(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

test(
  'with --log-format json standard output is one flat object a line, for every change of state, and the rest is silent',
  needs('redis'),
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const program = tidings(t, [
      ...[
        ...SERVE,
        '--redis',
        redis.url,
        '--instance',
        'left',
        '--log-format',
        'json',
        '--log-level',
        'debug',
      ],
    ]);
    await program.line(/"event":"listening"/);
    const has = (event: string) => () => linesOf(program.stdout).some((line) => line['event'] === event);
    const url = linesOf(program.stdout).find(({ event }) => event === 'listening')!['url'] as string;
    const page = new WebSocket(`${url.replace('http', 'ws')}socketServer?u=a%E2%80%A8b`);
    await once(page, 'open');
    await until('it to be opened', has('session-opened'));
    await redis.kill();
    await until('it to be away', has('store-away'));
    await redis.start();
    await until('it to be back', has('store-back'));
    program.process.kill('SIGTERM');
    assert.equal(await program.status(), 0);
    const lines = linesOf(program.stdout);
    for (const line of lines) {
      const [time, level, event, message, instance] = Object.keys(line);
      assert.deepEqual(
        [time, level, event, message, instance],
        ['time', 'level', 'event', 'message', 'instance'],
      );
      assert.match(line['time'] as string, ISO);
      assert.equal(line['instance'], 'left');
      assert.ok(Object.values(line).every((value) => ['string', 'number', 'boolean'].includes(typeof value)));
    }
    const events = lines.map(({ event }) => event);
    for (const event of ['started', 'session-closed', 'ending', 'draining', 'closed'])
      assert.ok(events.includes(event), event);
    assert.doesNotMatch(program.stdout, /[\u2028\u001b]/);
    assert.equal(program.stderr, '');
  },
);

test('as text, standard error has one line each, and standard output only what scripts wait for', async (t) => {
  const program = tidings(t, [...SERVE, '--instance', 'a b']);
  await program.line(/^listening on ws:/m);
  program.process.kill('SIGTERM');
  assert.equal(await program.status(), 0);
  assert.ok(
    program.stdout
      .split('\n')
      .slice(0, -1)
      .every((line) => line.startsWith('listening on ')),
  );
  const lines = program.stderr.split('\n').slice(0, -1);
  for (const line of lines)
    assert.match(line, /^\S{24} (debug|info|warn|error) [a-z-]+: .+ instance="a b"( |$)/);
  assert.match(program.stderr, / info ending: .* drain=100\n/);
});

test('a level leaves out what is below, but never where it listens', async (t) => {
  const program = tidings(t, [...SERVE, '--log-level', 'error', '--log-format', 'json']);
  await program.line(/"event":"listening"/);
  program.process.kill('SIGTERM');
  assert.equal(await program.status(), 0);
  assert.deepEqual([...new Set(linesOf(program.stdout).map(({ event }) => event))], ['listening']);
  assert.equal(program.stderr, '');
});

for (const format of ['text', 'json']) {
  test(`a reader of ${format} that goes away ends nothing`, async (t) => {
    const args = [programFile, ...SERVE, '--log-format', format, '--log-level', 'debug'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    t.after(() => child.kill('SIGKILL'));
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    const [, url] = await until('the port', () => /listening on http:\/\/([\d.:]+)\//.exec(text));
    child.stdout.destroy();
    child.stderr.destroy();
    for (let i = 0; i < 20; i++) {
      const page = new WebSocket(`ws://${url}/socketServer?u=alice`);
      await once(page, 'open');
      page.close();
      await once(page, 'close');
    }
    assert.equal((await fetch(`http://${url}/healthz`)).status, 200);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });
}

test('a reader that does not read is waited for by nobody: what it misses is counted, and told when it reads again', () => {
  const held: (() => void)[] = [];
  let text = '';
  const stdout = new Writable({
    highWaterMark: 1,
    write(chunk, _encoding, done) {
      text += chunk;
      held.push(done);
    },
  });
  const output = logOutput({ logLevel: 'debug', logFormat: 'json' }, 'a', { stdout, stderr: stdout });
  for (let i = 0; i < 20_000; i++) output.log('debug', 'x'.repeat(200), { event: 'e', i });
  assert.ok(stdout.writableLength < 2 ** 20 + 1000, String(stdout.writableLength));
  for (let done = held.shift(); done !== undefined; done = held.shift()) done();
  return until('all that waited', () => {
    for (let done = held.shift(); done !== undefined; done = held.shift()) done();
    return stdout.writableLength === 0;
  }).then(() => {
    output.log('debug', 'it reads again', { event: 'e' });
    for (let done = held.shift(); done !== undefined; done = held.shift()) done();
    const lines = linesOf(text);
    const lost = lines.at(-2)!;
    assert.equal(lost['event'], 'log-lines-lost');
    assert.equal((lost['lines'] as number) + lines.length - 2, 20_000);
    assert.equal(lines.at(-1)!['message'], 'it reads again');
  });
});

test('no field can pretend to be another one', () => {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  const streams = { stdout: stream, stderr: stream };
  const fields = { event: 'e', level: 'error', time: 'never', message: 'no', user: 'a" level=error x="' };
  logOutput({ logLevel: 'info', logFormat: 'json' }, 'a', streams).log('info', 'm', fields);
  const [line] = linesOf(text);
  assert.deepEqual([line!['level'], line!['message'], line!['user']], ['info', 'm', fields.user]);
  text = '';
  logOutput({ logLevel: 'info', logFormat: 'text' }, 'a', streams).log('info', 'm', {
    event: 'e',
    user: fields.user,
  });
  assert.match(text, /^\S+ info e: m instance=a user="a\\" level=error x=\\""\n$/);
});
