/** `tidings prove` as a program: what it prints, with which status it ends, what it refuses, and how it is interrupted. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { main } from '../../src/cli/main.ts';
import type { Result, Unproven } from '../../src/prove/index.ts';
import { type Program, tidings } from '../support/cli.ts';
import { freePort, until } from '../support/net.ts';
import { command, serverCommand } from './servers/commands.ts';
import { streamServer } from './servers/stream.ts';
import { listening } from './support.ts';

const URL_OF_NOBODY = 'http://127.0.0.1:1/';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const wrong: [args: string[], message: RegExp][] = [
  [[], /give the URL of a push server/],
  [['nonsense'], /'nonsense' is not an http\(s\) or ws\(s\) URL/],
  [['ftp://127.0.0.1/'], /is not an http\(s\) or ws\(s\) URL/],
  [['http://'], /is not an http\(s\) or ws\(s\) URL/],
  [['http://me:secret@127.0.0.1/'], /^tidings prove: the URL is one without a name or password$/m],
  [[URL_OF_NOBODY, URL_OF_NOBODY], /the same URL is given twice/],
  [[URL_OF_NOBODY], /give the --token/],
  [[URL_OF_NOBODY, '--adapter', 'nobody'], /--adapter 'nobody' is neither a file nor one of/],
  [[URL_OF_NOBODY, '--adapter', 'sse', '--send', '/send'], /has no \{user\} in it/],
  [[URL_OF_NOBODY, '--set', 'told'], /--set 'told' must be NAME=VALUE/],
  [[URL_OF_NOBODY, '--set', '=x'], /must be NAME=VALUE/],
  [[URL_OF_NOBODY, '--set', 'a=1', '--set', 'a=2'], /names the same twice/],
  [[URL_OF_NOBODY, '--adapter', 'sse', '--set', 'constructor=1'], /the adapter sse knows/],
  [[URL_OF_NOBODY, '--faults', 'cut,kil'], /has no fault 'kil'/],
  [[URL_OF_NOBODY, '--faults', 'kill'], /--faults kill needs --run, --allow-kill or --allow-freeze/],
  [[URL_OF_NOBODY, '--seed', 'x'], /--seed 'x' must be a whole number/],
  [[URL_OF_NOBODY, '--seed', '-1'], /must be a whole number/],
  [[URL_OF_NOBODY, '--seed', '99999999999'], /must be a whole number/],
  [[URL_OF_NOBODY, '--time', '1h'], /must be a whole number of seconds/],
  [[URL_OF_NOBODY, '--users', '0'], /must be a whole number from 1/],
  [[URL_OF_NOBODY, '--allow-kill', '77'], /--allow-kill needs --restart/],
  [[URL_OF_NOBODY, '--restart', 'x'], /--restart is for what --allow-kill names/],
  [[URL_OF_NOBODY, '--allow-freeze', '1'], /process 1 is none to be touched/],
  [[URL_OF_NOBODY, '--allow-kill', 'no.pid', '--restart', 'x'], /no\.pid is not a file with a process id/],
  [[URL_OF_NOBODY, '--outdir', 'package.json/x'], /--outdir 'package\.json\/x' can't be written/],
  [[URL_OF_NOBODY, '--user', '3'], /did you mean --users/],
];

test('what can not be obeyed is refused with status 2, saying what is wrong, before anything is done', async (t) => {
  let said = '';
  t.mock.method(console, 'error', (text: string) => {
    said += `${text}\n`;
  });
  for (const [args, message] of wrong) {
    said = '';
    assert.equal(await main(['prove', ...args], {}), 2, args.join(' '));
    assert.match(said, message);
    assert.doesNotMatch(said, /secret/);
  }
});

describe('tidings prove', { concurrency: 4, timeout: 120_000 }, () => {
  test('where nobody is, nothing is proven: status 1, and why', async (t) => {
    const port = await freePort();
    const program = tidings(t, ['prove', `http://127.0.0.1:${port}/`, '--adapter', 'sse', '--patience', '1']);
    assert.equal(await program.status(), 1);
    assert.match(
      program.stderr,
      /nothing is proven: page 1 of .* and 9 more have no connection: .*ECONNREFUSED/,
    );
    assert.equal(program.stdout, '');
  });

  test('where nothing is proven, JSON and report say so, whatever stood there before', async (t) => {
    const port = await freePort();
    const outdir = join(folder(t), 'report');
    mkdirSync(outdir);
    writeFileSync(join(outdir, 'index.json'), '{"tool":"tidings prove","verdict":"passed"}');
    writeFileSync(join(outdir, 'index.html'), 'tidings prove: passed');
    const args = ['--adapter', 'sse', '--patience', '1', '--json', '--outdir', outdir, '--seed', '3'];
    const program = tidings(t, ['prove', `http://127.0.0.1:${port}/?key=hidden`, ...args]);
    assert.equal(await program.status(), 1);
    const { failures, ...rest } = JSON.parse(program.stdout) as Unproven;
    assert.match(failures[0], /no connection: .*ECONNREFUSED/);
    const urls = [`http://127.0.0.1:${port}/`];
    assert.deepEqual(rest, { tool: 'tidings prove', adapter: 'sse', urls, seed: 3, verdict: 'unproven' });
    assert.deepEqual(JSON.parse(readFileSync(join(outdir, 'index.json'), 'utf8')), { ...rest, failures });
    const page = readFileSync(join(outdir, 'index.html'), 'utf8');
    assert.match(page, /nothing is proven: .*ECONNREFUSED/);
    assert.doesNotMatch(page.replace(/<style>.*<\/style>/s, '') + program.stdout, /passed|hidden/);
    assert.deepEqual(readdirSync(outdir).sort(), ['index.html', 'index.json']);
  });

  test('a folder with an index.html of somebody else is left as it is: status 2', async (t) => {
    const outdir = folder(t);
    const path = join(outdir, 'index.html');
    writeFileSync(path, '<h1>my site</h1>');
    const args = ['--adapter', 'sse', '--patience', '1', '--outdir', outdir];
    const program = tidings(t, ['prove', URL_OF_NOBODY, ...args]);
    assert.equal(await program.status(), 2);
    assert.match(program.stderr, /index\.html there is no report of tidings prove: give another folder/);
    assert.deepEqual([readdirSync(outdir), readFileSync(path, 'utf8')], [['index.html'], '<h1>my site</h1>']);
  });

  test('a server that was there before, and is not the one that is started and killed, proves nothing', async (t) => {
    const server = streamServer();
    const url = await listening(server);
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    const second = join(folder(t), 'second.mjs');
    const { port } = new URL(url);
    writeFileSync(
      second,
      `import { createServer } from 'node:http'; createServer().listen(${port}, '127.0.0.1');`,
    );
    const run = command(second);
    const args = ['--adapter', 'sse', '--run', run, '--time', '4', '--away', '0', '--faults', 'cut,kill'];
    const program = tidings(t, ['prove', url, ...args]);
    assert.equal(await program.status(), 1);
    assert.match(
      program.stderr,
      /nothing is proven: another server was at http\S+ before .* ended by itself/,
    );
    assert.match(program.stderr, /EADDRINUSE/);
    assert.equal(program.stdout, '');
  });

  test('a token that the server does not take is said at once, and is not tried until the server takes it for a guess', async (t) => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/`;
    const tokens = ['--admin-token', 'T', '--admin-token', 'read=Reader'];
    const server = tidings(t, [
      'serve',
      '--port',
      `${port}`,
      '--query-user',
      'operator',
      '--policy-port',
      'off',
      ...tokens,
    ]);
    await until('the server', () =>
      fetch(url).then(
        () => true,
        () => false,
      ),
    );
    for (const [token, why] of [
      ['wrong', /nothing is proven: no message was accepted: 401 .*not an admin token of this server/],
      ['Reader', /nothing is proven: no message was accepted: 403 .*a token with the scope send/],
    ] as const) {
      const patient = ['--patience', '3600', '--users', '20', '--json'];
      const program = tidings(t, ['prove', url, '--token', token, ...patient]);
      assert.equal(await program.status(), 1);
      assert.match(program.stderr, why);
      assert.equal((JSON.parse(program.stdout) as Unproven).verdict, 'unproven');
    }
    server.process.kill('SIGKILL');
    // Another one than that which is to be proven.
    const stranger = createServer((request, response) => {
      if (request.method === 'POST') response.writeHead(401);
      else response.writeHead(200, { 'content-type': 'text/event-stream' }).write(':\n\n');
      if (request.method === 'POST') response.end('who are you?');
    });
    const address = await listening(stranger);
    t.after(() => {
      stranger.close();
      stranger.closeAllConnections();
    });
    const program = tidings(t, [
      'prove',
      address,
      '--adapter',
      'sse',
      '--run',
      'sleep 1000',
      '--patience',
      '3600',
    ]);
    assert.equal(await program.status(), 1);
    assert.match(program.stderr, /no message was accepted: 401 who are you\?\nanother server was at http/);
  });

  test('a reader that has left does not make a success of it', async (t) => {
    const program = tidings(t, ['prove', URL_OF_NOBODY, '--adapter', 'sse', '--patience', '1', '--json']);
    program.process.stdout!.destroy();
    assert.equal(await program.status(), 1);
  });

  test('Ctrl-C while pages are opened, or before the first message: status 130, and nothing is proven', async (t) => {
    const place = folder(t);
    const never = join(place, 'never.mjs');
    writeFileSync(
      never,
      `export default () => ({ name: 'x', open: () => new Promise(() => {}), async send() {} });`,
    );
    const deaf = createServer(() => {});
    const url = await listening(deaf);
    t.after(() => {
      deaf.close();
      deaf.closeAllConnections();
    });
    for (const adapter of [never, 'sse']) {
      const outdir = join(place, 'report');
      const args = ['--adapter', adapter, '--patience', '600', '--json', '--outdir', outdir];
      const program = tidings(t, ['prove', url, ...args]);
      await until('the report that says nothing yet', () => existsSync(join(outdir, 'index.json')));
      if (adapter === 'sse') await until('the pages', () => program.stderr.includes('10 pages'));
      program.process.kill('SIGINT');
      assert.equal(await program.status(), 130);
      for (const text of [program.stdout, readFileSync(join(outdir, 'index.json'), 'utf8')])
        assert.deepEqual((JSON.parse(text) as Unproven).failures, ['interrupted before anything was proven']);
      rmSync(outdir, { recursive: true });
    }
  });

  test('prints the verdict, writes a report and names the command that repeats it: status 0 or 1', async (t) => {
    const outdir = join(folder(t), 'report');
    const server = streamServer({ fault: 'forget' });
    const url = await listening(server);
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    const args = ['--adapter', 'sse', '--time', '2', '--away', '100', '--interval', '5', '--token', 'hidden'];
    const program = tidings(t, ['prove', url, ...args, '--outdir', outdir, '--seed', '11']);
    assert.equal(await program.status(), 1);
    assert.match(program.stdout, new RegExp(`sse at ${url}: [\\d.]+ s, seed 11`));
    assert.match(program.stdout, /\nfailed: [\d,]+ lost\n$/);
    assert.match(
      program.stderr,
      /again: tidings prove http\S+ --adapter sse --time 2 .*--token '…' .*--seed 11\n/,
    );
    assert.doesNotMatch(program.stderr + program.stdout, /hidden/);
    const saved = JSON.parse(readFileSync(join(outdir, 'index.json'), 'utf8')) as Result;
    assert.equal(saved.verdict, 'failed');
    assert.match(readFileSync(join(outdir, 'index.html'), 'utf8'), /<h1 class="failed">/);
  });

  test('as JSON there is nothing else on standard output; a named process is killed and frozen, and runs in the end', async (t) => {
    const port = await freePort();
    // Before the folder goes.
    t.after(() => process.kill(pid(), 'SIGKILL'));
    const place = folder(t);
    const pidFile = join(place, 'pid');
    const start = join(place, 'start.sh');
    writeFileSync(
      start,
      `${serverCommand('stored-stream', String(port), join(place, 'log'))} > /dev/null 2>&1 &\necho $! > ${pidFile}\n`,
    );
    execFileSync('sh', [start], { stdio: 'ignore' });
    const pid = (): number => Number(readFileSync(pidFile, 'utf8'));
    const begun = pid();
    const url = `http://127.0.0.1:${port}/`;
    const may = ['--allow-kill', pidFile, '--restart', `sh ${start}`, '--faults', 'cut kill freeze'];
    const program = tidings(t, [
      'prove',
      url,
      '--adapter',
      'sse',
      '--json',
      '--time',
      '6',
      '--away',
      '0',
      '--seed',
      '5',
      ...may,
    ]);
    assert.equal(await program.status(), 0, program.stderr);
    const result = JSON.parse(program.stdout) as Result;
    assert.deepEqual([result.verdict, result.failures, result.seed], ['passed', [], 5]);
    assert.ok(
      result.faults.some(({ kind }) => kind === 'kill') && pid() !== begun,
      JSON.stringify(result.faults),
    );
    await until('it to answer', () =>
      fetch(`${url}none`).then(
        ({ status }) => status === 404,
        () => false,
      ),
    );
  });

  /** A run of ten minutes on a server that it starts, once faults happen. */
  const breaking = async (t: TestContext, ...more: string[]): Promise<{ program: Program; url: string }> => {
    const port = await freePort();
    const command = serverCommand('stored-stream', String(port), join(folder(t), 'log'));
    const url = `http://127.0.0.1:${port}/`;
    const args = ['--adapter', 'sse', '--run', command, '--time', '600', ...more];
    const program = tidings(t, ['prove', url, ...args]);
    await until('the faults', () => program.stderr.includes('s of faults'));
    return { program, url };
  };

  test('Ctrl-C ends the faults, says what there is, and leaves no process behind: status 130', async (t) => {
    const { program, url } = await breaking(t, '--json');
    program.process.kill('SIGINT');
    assert.equal(await program.status(), 130);
    const result = JSON.parse(program.stdout) as Result;
    assert.equal(result.isInterrupted, true);
    assert.equal(result.lost, 0, program.stdout);
    await assert.rejects(fetch(url));
  });

  test('killed itself, it leaves nothing behind that it has started, and nothing that stands still', async (t) => {
    const bystander = spawn('sleep', ['1000']);
    t.after(() => bystander.kill('SIGKILL'));
    const stat = `/proc/${bystander.pid}/stat`;
    const stands = (): boolean => / T \d/.test(readFileSync(stat, 'utf8'));
    const frozen = ['--allow-freeze', String(bystander.pid), '--faults', 'freeze'];
    const { program, url } = await breaking(t, ...frozen);
    await until('it to stand still', stands);
    program.process.kill('SIGKILL');
    await program.status();
    await until('it to go on', () => !stands());
    await until('the end of the server', () =>
      fetch(url).then(
        () => false,
        () => true,
      ),
    );
  });

  test('a second Ctrl-C ends it at once, and what it has started as well', async (t) => {
    const { program, url } = await breaking(t, '--faults', 'silent');
    program.process.kill('SIGINT');
    await until('the first to be heard', () => program.stderr.includes('interrupted'));
    program.process.kill('SIGINT');
    assert.equal(await program.status(), 130);
    await until('the end of the server', () =>
      fetch(url).then(
        () => false,
        () => true,
      ),
    );
  });
});
