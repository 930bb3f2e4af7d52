/** The programs of examples/languages, each in its own language, against `tidings serve` as it comes. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { tidings } from './support/cli.ts';
import { until } from './support/net.ts';
import { needs, type ProgramName, uncovered } from './support/programs.ts';

type Command = [program: string, ...args: string[]];

interface Language {
  name: string;
  folder: string;
  program: ProgramName;
  /** What makes programs of the files, if anything must. */
  build?(folder: string, out: string): Command[];
  run(what: 'send' | 'ticket' | 'listen', folder: string, out: string): Command;
  /** What a line of its listener says. Default: the line is the data. */
  dataOf?(line: unknown): unknown;
  /** Whether its listener speaks `tidings.1`, and misses nothing. */
  recovers: boolean;
}

const capital = (word: string): string => word[0]!.toUpperCase() + word.slice(1);
const MONO_LIBRARIES = ['System.Net.Http', 'System.Runtime.Serialization', 'System.Xml.Linq'].map(
  (name) => `-r:${name}`,
);
const FILES = ['send', 'ticket', 'listen'] as const;

const languages: Language[] = [
  {
    name: 'Java',
    folder: 'java',
    program: 'java',
    build: (folder, out) => [
      ['javac', '-d', out, ...FILES.map((file) => join(folder, `${capital(file)}.java`))],
    ],
    run: (what, _, out) => ['java', '-cp', out, capital(what)],
    recovers: false,
  },
  {
    name: 'PHP',
    folder: 'php',
    program: 'php',
    run: (what, folder) => ['php', join(folder, `${what}.php`)],
    recovers: true,
  },
  {
    name: 'Python',
    folder: 'python',
    program: 'python',
    run: (what, folder) => ['python3', join(folder, `${what}.py`)],
    recovers: true,
  },
  {
    name: 'Go',
    folder: 'go',
    program: 'go',
    build: (folder, out) =>
      FILES.map((file) => ['go', 'build', '-o', join(out, file), join(folder, `${file}.go`)] as Command),
    run: (what, _, out) => [join(out, what)],
    recovers: true,
  },
  {
    name: 'C#',
    folder: 'csharp',
    program: 'mono',
    build: (folder, out) =>
      FILES.map(
        (file) =>
          [
            'mcs',
            ...MONO_LIBRARIES,
            `-out:${join(out, `${file}.exe`)}`,
            join(folder, `${capital(file)}.cs`),
          ] as Command,
      ),
    run: (what, _, out) => ['mono', join(out, `${what}.exe`)],
    dataOf: (frame) => (frame as { data: unknown }).data,
    recovers: true,
  },
];

const JWT_SECRET = 'thirty-two bytes or more: ü 密 …………';
const TOKEN = 'an-admin-token';

/** Between a listener and the server, to be cut. */
async function line(t: TestContext, target: number) {
  const sockets = new Set<Socket>();
  let isDown = false;
  const server = createServer((client) => {
    if (isDown) return void client.destroy();
    const upstream = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }).listen(0, '127.0.0.1');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    set isDown(down: boolean) {
      isDown = down;
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function speaks(
  t: TestContext,
  { folder: name, build, run, dataOf = (line) => line, recovers }: Language,
  server: string,
) {
  const folder = join('examples/languages', name);
  const out = mkdtempSync(join(tmpdir(), 'tidings-language-'));
  t.after(() => rmSync(out, { recursive: true }));
  const env = {
    ...uncovered,
    LC_ALL: 'C.UTF-8',
    TIDINGS_URL: server,
    TIDINGS_ADMIN_TOKEN: TOKEN,
    TIDINGS_JWT_SECRET: JWT_SECRET,
  };
  for (const [program, ...args] of build?.(folder, out) ?? []) await promisify(execFile)(program, args);

  /** Standard output; what a program prints on standard error is in what is thrown. */
  const call = async (what: 'send' | 'ticket', args: string[], more: NodeJS.ProcessEnv = {}) => {
    const [program, ...first] = run(what, folder, out);
    const options = { env: { ...env, ...more } };
    return (await promisify(execFile)(program, [...first, ...args], options)).stdout;
  };
  const refusal = async (args: string[], more: NodeJS.ProcessEnv = {}): Promise<string> => {
    const error = await call('send', args, more).then(
      (text) => assert.fail(`it was sent: ${text}`),
      (reason: { code: number; stderr: string }) => reason,
    );
    assert.equal(error.code, 1, error.stderr);
    return error.stderr;
  };
  const listen = (url: string, ticket: string) => {
    const [program, ...args] = run('listen', folder, out);
    const child = spawn(program, [...args, ticket], { env: { ...env, TIDINGS_URL: url } });
    t.after(() => child.kill('SIGKILL'));
    const listener = { lines: [] as unknown[], errors: '', exited: once(child, 'exit') };
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const lines = text.split(/\r?\n/);
      text = lines.pop()!;
      listener.lines.push(...lines.map((line) => dataOf(JSON.parse(line))));
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      listener.errors += chunk;
    });
    return listener;
  };

  const user = `张伟 ü/%?"\\+${name}`;
  const api = `${server}/api/users/${encodeURIComponent(user)}/sessions`;
  const sessions = async (): Promise<number> =>
    ((await (await fetch(api, { headers: { Authorization: `Bearer ${TOKEN}` } })).json()) as unknown[])
      .length;
  const through = await line(t, Number(new URL(server).port));
  const listener = listen(through.url, (await call('ticket', [user, '300'])).trim());
  await until(`${name} listens: ${listener.errors}`, async () => (await sessions()) === 1);

  const data = { subject: `a "quoted" word, ü 😀 and \\`, list: [1, 0.5, null, true] };
  const [sent, again] = [
    await call('send', [user, JSON.stringify(data), 'mail-1']),
    await call('send', [user, JSON.stringify(data), 'mail-1']),
  ].map((text) => JSON.parse(text));
  assert.equal(sent.channel, `user:${user}`);
  assert.deepEqual(again, { ...sent, duplicate: true });
  await until(`${name} prints it`, () => listener.lines.length === 1);
  assert.deepEqual(listener.lines, [data]);

  assert.match(await refusal([user, '{"a":']), /not sent/);
  assert.match(await refusal([user, '1'], { TIDINGS_ADMIN_TOKEN: 'another' }), /not sent.*401/s);

  // The line is cut, and there is mail before it is there again.
  through.isDown = true;
  await until('the session’s end', async () => recovers || (await sessions()) === 0);
  if (recovers) await call('send', [user, '2']);
  through.isDown = false;
  if (!recovers) {
    await until(`${name} is back: ${listener.errors}`, async () => (await sessions()) === 1);
    await call('send', [user, '2']);
  }
  // More than one response of SockJS carries.
  const long = { body: 'x'.repeat(100_000) };
  for (let n = 0; n < 2; n++) {
    const headers = { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' };
    const address = `${server}/api/users/${encodeURIComponent(user)}/messages`;
    await fetch(address, { method: 'POST', headers, body: JSON.stringify(long) });
  }
  await until(`${name} goes on: ${listener.errors}`, () => listener.lines.length >= 4);
  assert.deepEqual(listener.lines, [data, 2, long, long]);

  const stranger = listen(server, 'no.such.ticket');
  const [status] = await stranger.exited;
  assert.equal(status, 1, stranger.errors);
}

test('who sends, signs and listens in another language', { concurrency: true }, async (t) => {
  const serve = tidings(t, [
    'serve',
    ...['--port', '0', '--jwt-secret', JWT_SECRET, '--admin-token', TOKEN],
    // Its caller comes from one address here.
    ...['--limit', 'sessionsPerAddress=100'],
  ]);
  const [server] = await serve.line(/listening on (http:\S+)\//);
  await Promise.all(
    languages.map((language) =>
      t.test(language.name, needs(language.program), (t) => speaks(t, language, server!)),
    ),
  );
});

test('each of them is tested', () => {
  assert.deepEqual(
    readdirSync('examples/languages')
      .filter((name) => !name.includes('.'))
      .sort(),
    languages.map(({ folder }) => folder).sort(),
  );
  for (const { folder } of languages) {
    assert.equal(readdirSync(join('examples/languages', folder)).length, FILES.length, folder);
    assert.ok(existsSync(join('examples/languages', folder)));
  }
});
