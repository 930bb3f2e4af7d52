import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { helpOf } from '../../src/cli/command.ts';
import { commands, main } from '../../src/cli/main.ts';
import { schemaText } from '../../src/pubsub/postgres/schema.ts';
import { verifyTicket } from '../../src/push/door/ticket.ts';
import { tidings } from '../support/cli.ts';
import { freePort, until } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';

const secret = 'a secret of more than 16 bytes';

async function run(t: TestContext, args: string[], options: Parameters<typeof tidings>[2] = {}) {
  const program = tidings(t, args, options);
  const status = await program.status();
  return { status, stdout: program.stdout, stderr: program.stderr };
}

/** The same in this process, which is much faster. */
async function call(t: TestContext, args: string[], environment: Record<string, string> = {}) {
  const outputs = { log: '', error: '' };
  const mocks = (['log', 'error'] as const).map((stream) =>
    t.mock.method(console, stream, (line: string) => {
      outputs[stream] += `${line}\n`;
    }),
  );
  const status = await main(args, environment);
  for (const mock of mocks) mock.mock.restore();
  return { status, stdout: outputs.log, stderr: outputs.error };
}

test('--help lists every command, and each command has help with its options and examples', async (t) => {
  const overview = await call(t, ['--help']);
  assert.equal(overview.status, 0);
  for (const { name, summary } of commands) {
    assert.ok(overview.stdout.includes(name), name);
    assert.ok(summary.length < 80, summary);
  }
  for (const command of commands) {
    const help = helpOf(command);
    assert.ok(help.startsWith(`Usage: tidings ${command.name}`));
    for (const line of help.split('\n')) assert.ok(line.length <= 132, `${command.name}: ${line}`);
    assert.ok(command.examples.length > 0, command.name);
  }
  assert.deepEqual(await call(t, ['help', 'serve']), await call(t, ['serve', '--help']));
});

test('no command at all shows the overview; --version the version', async (t) => {
  assert.match((await call(t, [])).stdout, /^Usage: tidings COMMAND/);
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  assert.equal((await run(t, ['--version'])).stdout, `${version}\n`);
});

test('what is longer than a pipe holds is printed whole, and its end is no failure where nobody reads on', async (t) => {
  // A pipe of the shell, and somebody who is slow to read: what Node makes for a child is a socket, which holds more.
  const line = '"$0" "$1" postgres-schema | { sleep 1; cat; }';
  const { stdout } = await promisify(execFile)('sh', ['-c', line, process.execPath, programFile]);
  assert.equal(stdout, schemaText('tidings'));
  assert.ok(stdout.length > 64 * 1024);
  const left = tidings(t, ['postgres-schema']);
  left.process.stdout!.destroy();
  assert.equal(await left.status(), 0);
});

test('wrong usage ends with status 2 and says what was meant', async (t) => {
  for (const [args, message] of [
    [['sevre'], /unknown command 'sevre'; did you mean serve\?/],
    [['serve', '--prot', '1'], /tidings serve: unknown option --prot; did you mean --port\?/],
    [['serve', 'now'], /serve takes only options/],
    [['send'], /give a USER/],
    [['send', 'alice', 'a', 'b'], /in quotes/],
    [['send', 'alice', 'hello'], /give the --token/],
    [['send', 'alice', 'hello', '--token', ''], /--token is empty/],
    [['send', 'alice', '{', '--json', '--token', 'x'], /TEXT must be JSON/],
    [['ticket', 'alice'], /--secret/],
    [['ticket', 'alice', '--secret', 'short'], /at least 16 bytes/],
    [['listen'], /--user or --ticket/],
    [['check'], /one address, or --listen/],
    [['check', 'http://127.0.0.1/'], /not a ws/],
    [['serve', '--admin-token', 'two words'], /without spaces/],
    [['serve', '--path', 'socketServer'], /must begin with \//],
    [['serve', '--policy-allow', 'example.com'], /--policy-allow: .* is not a domain/],
    [['serve', '--policy-port', 'http'], /must be a port or off/],
    [['top', '--url', 'ftp://x', '--token', 'x'], /not an http/],
    [
      ['inbox', 'alice', '--url', 'http://u:hunter2@x', '--token', 'x'],
      /^(?!.*hunter2).*without a name or pass/s,
    ],
  ] as [string[], RegExp][]) {
    const { status, stderr, stdout } = await call(t, args);
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, message);
    assert.equal(stdout, '');
  }
});

test('ticket signs what the server verifies; the secret can come from tidings.json', async (t) => {
  const { stdout } = await call(t, ['ticket', 'alice', '--ttl', '60'], { TIDINGS_SECRET: secret });
  assert.equal(verifyTicket(stdout.trim(), { secret }).user, 'alice');

  const cwd = mkdtempSync(join(tmpdir(), 'tidings-config-'));
  t.after(() => rmSync(cwd, { recursive: true }));
  writeFileSync(join(cwd, 'tidings.json'), JSON.stringify({ secret, port: 1 }));
  const fromFile = await run(t, ['ticket', 'bob'], { cwd });
  assert.equal(verifyTicket(fromFile.stdout.trim(), { secret }).user, 'bob');
});

test('a server that is not there is status 1 and named', async (t) => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const { status, stderr } = await call(t, ['send', 'alice', 'x', '--token', 'x', '--url', url]);
  assert.equal(status, 1);
  assert.match(stderr, new RegExp(`^tidings send: no answer from ${url}: .*ECONNREFUSED`));
});

test('listen tells a refusal from a server that is not there, and ends with a status for each', async (t) => {
  const server = tidings(t, [
    'serve',
    '--port',
    '0',
    '--secret',
    'sixteen bytes or more',
    '--policy-port',
    'off',
  ]);
  const [url = ''] = await server.line(/^listening on (http:\S+)\/$/m);
  const nobody = await freePort();
  for (const [args, status, said] of [
    [['--ticket', 'none', '--url', url], 3, /the server ended it: 4501/],
    [['--user', 'alice', '--url', url], 3, /the server ended it: 4501/],
    [['--ticket', 'none', '--url', `${url}/elsewhere`], 3, /the server answers 404: there is no tidings/],
    [
      ['--ticket', 'none', '--url', `http://127.0.0.1:${nobody}`, '--give-up', '3'],
      4,
      /ECONNREFUSED.*no connection for 3 s/s,
    ],
  ] as [string[], number, RegExp][]) {
    const listener = tidings(t, ['listen', ...args]);
    assert.equal(await listener.status(), status, listener.stderr);
    assert.match(listener.stderr, said);
    assert.equal(listener.stdout, '');
  }
  const { stdout } = await call(t, ['ticket', 'alice', '--secret', 'sixteen bytes or more', '--json']);
  const { ticket, expires } = JSON.parse(stdout);
  assert.ok(expires > Date.now());
  const welcome = tidings(t, ['listen', '--ticket', ticket, '--url', url]);
  await until('a connection', () => welcome.stderr.includes('as alice'));
  welcome.process.kill('SIGINT');
  assert.equal(await welcome.status(), 0);
});
