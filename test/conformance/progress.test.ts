/** Progress, and what is kept on Ctrl-C, of `tidings check` in both roles. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { checkServer, Progress, selectCases } from '../../src/check/index.ts';
import { type Program, tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { typescript, uncovered } from '../support/programs.ts';
import { startBrokenServer } from './broken-server.ts';

/** It answers 1.1.* at once and leaves 2.2 waiting, with much patience for ever. */
async function serverWithoutPongs(t: TestContext): Promise<string> {
  const server = await startBrokenServer('sends no pongs');
  t.after(() => server.close());
  return server.url.href;
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tidings-check-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** Sends SIGINT when standard error matches. */
async function interrupt(program: Program, pattern: RegExp): Promise<number | null> {
  await until(`${pattern} on standard error`, () => pattern.test(program.stderr), 60_000);
  program.process.kill('SIGINT');
  return program.status();
}

test('Ctrl-C keeps what a check of a server has: table, report, what was not run, status 130', async (t) => {
  const outdir = folder(t);
  const program = tidings(t, [
    ...['check', await serverWithoutPongs(t), '--cases', '1.1.*,2.2,12.1.*', '--parallel', '1'],
    ...['--patience', '1000', '--outdir', outdir, '--agent', 'quiet'],
  ]);
  assert.equal(await interrupt(program, /^quiet: 1 Framing: 8 cases: 8 passed, 0 failed$/m), 130);
  assert.match(program.stdout, /^ 1 Framing +8 +8 +0 +0 +0$/m);
  assert.match(program.stdout, /^2\.2: cut off, waiting for the (opening handshake|pong Hello, world!)$/m);
  assert.match(program.stdout, /^server quiet: 8 cases: 8 passed, 0 failed$/m);
  assert.match(program.stdout, /^interrupted: 19 cases were not run: 2\.\*, 12\.\*$/m);
  const index = JSON.parse(readFileSync(join(outdir, 'index.json'), 'utf8'));
  assert.equal(Object.keys(index.quiet).length, 8);
  const page = readFileSync(join(outdir, 'index.html'), 'utf8');
  assert.match(page, /Not run: 2\.\*, 12\.\*\./);
});

test('Ctrl-C with --json leaves JSON on standard output, progress and report on standard error', async (t) => {
  const outdir = folder(t);
  const program = tidings(t, [
    ...['check', await serverWithoutPongs(t), '--cases', '1.1.*,2.2,2.3', '--parallel', '1', '--json'],
    ...['--patience', '1000', '--outdir', outdir],
  ]);
  assert.equal(await interrupt(program, /1 Framing: 8 cases/), 130);
  const { passed, interrupted, results } = JSON.parse(program.stdout);
  assert.equal(passed, 8);
  assert.equal(results.length, 8);
  assert.deepEqual(interrupted.notRun, ['2.2', '2.3']);
  assert.deepEqual(
    interrupted.cut.map(({ id }: { id: string }) => id),
    ['2.2'],
  );
  assert.match(interrupted.cut[0].waitedFor, /^the (opening handshake|pong Hello, world!)$/);
  assert.match(program.stderr, /^report: /m);
});

/** Echoes until the connection is gone. */
async function echo(address: string): Promise<void> {
  const socket = new WebSocket(address);
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  await once(socket, 'close');
}

async function listen(t: TestContext, ...more: string[]): Promise<{ program: Program; address: string }> {
  const program = tidings(t, ['check', '--listen', '0', '--cases', '1.1.1,1.1.2,2.1', ...more]);
  const pattern = /listening on (ws:\S+)\/ with 3 cases/;
  await until('the listener', () => pattern.test(program.stdout + program.stderr), 60_000);
  return { program, address: pattern.exec(program.stdout + program.stderr)![1]! };
}

test('Ctrl-C of a check that listens keeps the cases of a client that has not ended, status 130', async (t) => {
  const outdir = folder(t);
  const { program, address } = await listen(t, '--outdir', outdir, '--patience', '1000');
  await echo(`${address}/runCase?case=1&agent=half`);
  const silent = new WebSocket(`${address}/runCase?case=2&agent=half`);
  await once(silent, 'message');
  await echo(`${address}/runCase?case=1&agent=whole`);
  await echo(`${address}/updateReports?agent=whole`);
  await program.line(/client whole: 1 cases: 1 passed/);
  program.process.kill('SIGINT');
  assert.equal(await program.status(), 130);
  assert.match(program.stdout, /^client half: 1 cases: 1 passed, 0 failed$/m);
  assert.match(program.stdout, /^1\.1\.2: cut off, waiting for the text message \*+/m);
  assert.match(program.stdout, /^interrupted: 2 cases were not run: 1\.1\.2, 2\.\*$/m);
  const index = JSON.parse(readFileSync(join(outdir, 'index.json'), 'utf8'));
  assert.deepEqual(Object.keys(index).sort(), ['half', 'whole']);
});

test('Ctrl-C of a check that listens is its end where every client has its report: status 0', async (t) => {
  const { program, address } = await listen(t, '--json');
  for (const number of [1, 2, 3]) await echo(`${address}/runCase?case=${number}&agent=ws`);
  await echo(`${address}/updateReports?agent=ws`);
  await until('the report', () => program.stdout.endsWith('\n'), 60_000);
  program.process.kill('SIGINT');
  assert.equal(await program.status(), 0);
  assert.equal(JSON.parse(program.stdout).passed, 3);
  assert.match(program.stderr, /^ws: 1 Framing: 2 cases: 2 passed, 0 failed$/m);
});

test('the second Ctrl-C ends the program at once', async () => {
  const source = `
    import { interruptible } from './src/check/index.ts';
    interruptible().addEventListener('abort', () => console.log('aborted'));
    setInterval(() => {}, 1000);
    console.log('ready');`;
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: uncovered,
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const exit = once(child, 'exit');
  await until('the start', () => output.includes('ready'), 60_000);
  child.kill('SIGINT');
  await until('the first Ctrl-C', () => output.includes('aborted'), 60_000);
  child.kill('SIGINT');
  assert.deepEqual(await exit, [null, 'SIGINT']);
});

test('many cases at a time are no reason for a warning on standard error', async (t) => {
  const server = await startBrokenServer();
  t.after(() => server.close());
  const args = ['check', server.url.href, '--cases', '6.22.*', '--parallel', '30', '--agent', 'server'];
  const program = tidings(t, args);
  assert.equal(await program.status(), 0);
  assert.equal(program.stderr, 'server: 6 UTF-8: 34 cases: 34 passed, 0 failed\n');
});

test('what only goes against a SHOULD is status 0, and 1 with isStrict', async () => {
  const server = await startBrokenServer('accepts long length forms', 'leaves the TCP connection open');
  const settings = { patterns: ['T.3', 'T.4', 'T.5', '7.3.1'], patience: 4, write: () => {} };
  assert.equal(await checkServer(server.url.href, settings), 0);
  assert.equal(await checkServer(server.url.href, { ...settings, isStrict: true }), 1);
  await server.close();
});

test('a check that was interrupted before it began runs nothing', async () => {
  const server = await startBrokenServer();
  let output = '';
  const write = (text: string): void => {
    output += text;
  };
  const signal = AbortSignal.abort('SIGTERM');
  const status = await checkServer(server.url.href, { patterns: ['1.1.*'], signal, write });
  await server.close();
  assert.equal(status, 143);
  assert.match(output, /interrupted: 8 cases were not run: 1\.\*\n$/);
});

test('on a terminal progress is one line, drawn anew, no wider than the terminal', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const written: string[] = [];
  const stream = { isTTY: true, columns: 40, write: (text: string) => written.push(text) };
  const progress = new Progress('server', selectCases(['1.1.*']), stream);
  progress.started({ id: '1.1.1', since: performance.now() - 3000, waitsFor: () => 'x'.repeat(100) });
  t.mock.timers.tick(1000);
  progress.end();
  t.mock.timers.tick(10_000);
  assert.deepEqual(written, [
    `\r\u001b[Kserver: 0 of 8, 1.1.1 waits 3 s for xxxx`.slice(0, 43),
    '\r\u001b[K',
  ]);
});

test('a group is told once, when all of its cases are done', async (t) => {
  const server = await startBrokenServer('echoes text as binary');
  t.after(() => server.close());
  let shown = '';
  await checkServer(server.url.href, {
    patterns: ['1.1.1', '1.2.*', '7.3.1'],
    agent: 'server',
    patience: 4,
    parallel: 4,
    progress: {
      write: (text) => {
        shown += text;
      },
    },
    write: () => {},
  });
  assert.deepEqual(shown.trim().split('\n').sort(), [
    'server: 1 Framing: 9 cases: 8 passed, 1 failed',
    'server: 7 Closing: 1 cases: 1 passed, 0 failed',
  ]);
});
