/** Every program in examples/ runs against the package as it is installed, and does what it is there for. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { until } from './support/net.ts';
import { type InstalledPackage, installPackage } from './support/package.ts';
import { startPostgres } from './support/postgres.ts';
import { needs, uncovered } from './support/programs.ts';
import { startRedis } from './support/redis.ts';

let installed: InstalledPackage;
before(async () => {
  installed = await installPackage();
  symlinkSync(realpathSync('node_modules/express'), join(installed.folder, 'node_modules/express'));
});
after(() => installed?.remove());

interface Running {
  url: string;
  process: ChildProcess;
  stop(): Promise<unknown>;
}

/** @param redis where the program keeps what it sends, in place of its memory */
async function start(
  t: TestContext,
  name: string,
  redis?: string,
  environment: NodeJS.ProcessEnv = {},
): Promise<Running> {
  let program = readFileSync(join('examples', name), 'utf8');
  let file = name;
  if (redis !== undefined) {
    file = `redis-${name}`;
    program = program
      .replace(/import \{(.*)\} from 'tidings';/, "import {$1, redisBroker} from 'tidings';")
      .replace('new PushServer({', `new PushServer({ broker: redisBroker('${redis}'),`);
  }
  // It says no address, being for the first screen of the README.
  if (name === 'embed.mjs') {
    program +=
      "http.on('listening', () => console.log('listening on http://127.0.0.1:' + http.address().port + '/'));";
  }
  writeFileSync(join(installed.folder, file), program);
  const child = spawn(process.execPath, [file], {
    cwd: installed.folder,
    env: { ...uncovered, PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', redis === undefined ? 'inherit' : 'ignore'],
  });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const match = await until(name, () => /listening on (http:\S+)\//.exec(output), 60_000);
  return {
    url: match[1] as string,
    process: child,
    async stop() {
      child.kill('SIGTERM');
      return (await once(child, 'exit'))[0];
    },
  };
}

async function page(t: TestContext, url: string, headers: Record<string, string> = {}) {
  const socket = new WebSocket(url.replace('http', 'ws'), { headers });
  t.after(() => socket.terminate());
  const messages: unknown[] = [];
  socket.on('message', (data) => messages.push(JSON.parse(String(data))));
  await once(socket, 'open');
  return messages;
}

test('express.mjs: what is posted to the Express application reaches the page', async (t) => {
  const { url, stop } = await start(t, 'express.mjs');
  const messages = await page(t, `${url}/socketServer?operator=alice`);
  const answer = await fetch(`${url}/mail`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ to: 'alice', text: 'hello' }),
  });
  assert.equal(answer.status, 201);
  await until('the message', () => messages.length === 1);
  assert.deepEqual(messages, [{ text: 'hello' }]);
  assert.equal(await stop(), 0);
});

test('cookie-session.mjs: a cookie from signing in says who the page is, and nothing else does', async (t) => {
  const { url, stop } = await start(t, 'cookie-session.mjs');
  const post = (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    fetch(url + path, { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' });
  const signIn = async (name: string) => {
    const [cookie = ''] = (await post('/login', { name })).headers.getSetCookie();
    assert.match(cookie, /HttpOnly/);
    return { Cookie: cookie.split(';')[0] as string };
  };
  const [alice, bob] = [await signIn('alice'), await signIn('bob')];
  const inboxes = [await page(t, `${url}/socketServer`, alice), await page(t, `${url}/socketServer`, bob)];
  await post('/mail', { to: 'bob', text: 'hello' }, alice);
  await until('the mail', () => inboxes[1]?.length === 1);
  assert.deepEqual(inboxes, [[], [{ from: 'alice', text: 'hello' }]]);

  const stranger = new WebSocket(`${url.replace('http', 'ws')}/socketServer?operator=alice`);
  stranger.on('error', () => {});
  const [, refusal] = (await once(stranger, 'unexpected-response')) as [unknown, { statusCode: number }];
  assert.equal(refusal.statusCode, 401);
  stranger.terminate();
  assert.equal(await stop(), 0);
});

test('ask-application.mjs: signing out ends the pages of that session, and no others', async (t) => {
  const { url, stop } = await start(t, 'ask-application.mjs');
  const post = (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    fetch(url + path, { method: 'POST', body: new URLSearchParams(form), headers, redirect: 'manual' });
  const signIn = async () => {
    const [cookie = ''] = (await post('/login', { name: 'alice' })).headers.getSetCookie();
    return { Cookie: cookie.split(';')[0] as string };
  };
  const open = async (headers: Record<string, string>) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/socketServer`, { headers });
    t.after(() => socket.terminate());
    await once(socket, 'open');
    return { socket, ended: once(socket, 'close') as Promise<[number]> };
  };
  const [first, second] = [await signIn(), await signIn()];
  const pages = [await open(first), await open(first), await open(second)];
  assert.equal((await post('/logout', {}, first)).status, 303);
  for (const { ended } of pages.slice(0, 2)) assert.equal((await ended)[0], 4501);
  assert.equal(pages[2]?.socket.readyState, WebSocket.OPEN);
  const stranger = new WebSocket(`${url.replace('http', 'ws')}/socketServer`, { headers: first });
  stranger.on('error', () => {});
  const [, refusal] = (await once(stranger, 'unexpected-response')) as [unknown, { statusCode: number }];
  assert.equal(refusal.statusCode, 401);
  stranger.terminate();
  assert.equal(await stop(), 0);
});

/** What nobody's browser sends. @returns the first line of the answer, or none */
function raw(url: string, bytes: string, isAborted = false): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => {
      socket.write(bytes, 'latin1', () => {
        if (isAborted) setTimeout(() => socket.resetAndDestroy(), 50);
      });
    });
    let text = '';
    socket.setTimeout(20_000, () => socket.destroy());
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
      if (text.includes('\r\n\r\n')) socket.destroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text.split('\r\n')[0] as string));
  });
}

const UPGRADE = 'Host: a\r\nConnection: Upgrade\r\nUpgrade: ';
const SOCKET = `${UPGRADE}websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n`;

/** Requests that are wrong in themselves, whatever the application does. */
async function comeOddly(url: string, post: string): Promise<void> {
  const odd = [
    `GET // HTTP/1.1\r\nHost: a\r\n\r\n`,
    `GET /%zz?%ff HTTP/1.1\r\nHost: a\r\nCookie: =;;session=%;\xff\r\n\r\n`,
    `GET * HTTP/1.1\r\nHost: a\r\n\r\n`,
    `HEAD / HTTP/1.1\r\nHost: a\r\n\r\n`,
    `DELETE ${post} HTTP/1.1\r\nHost: a\r\n\r\n`,
    `POST ${post} HTTP/1.1\r\nHost: a\r\nContent-Type: \xff\r\nContent-Length: 3\r\n\r\n\xff\0=`,
    `POST ${post} HTTP/1.1\r\n${UPGRADE}h2c\r\nContent-Length: 3\r\n\r\na=b`,
    `POST ${post} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    `GET /elsewhere HTTP/1.1\r\n${SOCKET}\r\n`,
    `GET /socketServer HTTP/1.1\r\n${SOCKET}Cookie: session=\xff\r\n\r\n`,
    'no HTTP at all\r\n\r\n',
  ];
  for (const bytes of odd) assert.match(await raw(url, bytes), /^HTTP\/1\.1 \d/, bytes);
  // Uploads that end half-way, many at once.
  const half = `POST ${post} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"to`;
  await Promise.all(Array.from({ length: 20 }, () => raw(url, half, true)));
}

const LONG = 'x'.repeat(1_000_000);
/** Forms that are no mail, and what they are answered with. */
const BAD_MAIL: [form: string, status: number][] = [
  ['to=&text=hi', 400],
  ['text=hi', 400],
  ['', 400],
  ['to=a%00b&text=hi', 400],
  [`to=${'x'.repeat(200)}&text=hi`, 400],
  [`to=bob&text=${LONG}`, 400],
];

for (const [name, paths] of [
  ['cookie-session.mjs', { login: '/login', post: '/mail' }],
  ['ask-application.mjs', { login: '/login', post: '/logout' }],
] as const) {
  test(`${name} survives what nobody's browser sends`, async (t) => {
    const { url, stop } = await start(t, name);
    const post = (path: string, body: string, headers: Record<string, string> = {}) =>
      fetch(url + path, {
        method: 'POST',
        body,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
        redirect: 'manual',
      });
    for (const bad of ['', 'name=', 'name=%00', `name=${LONG}`, 'name=a%0Ab', 'name=%F0%9F%98%80']) {
      assert.equal((await post(paths.login, bad)).status, 400, bad.slice(0, 20));
    }
    const answer = await post(paths.login, 'name=alice');
    const alice = { Cookie: (answer.headers.getSetCookie()[0] as string).split(';')[0] as string };
    await comeOddly(url, paths.post);
    if (paths.post === '/mail') {
      for (const [form, status] of BAD_MAIL) {
        assert.equal((await post('/mail', form, alice)).status, status, form.slice(0, 40));
      }
      const inbox = await page(t, `${url}/socketServer`, alice);
      assert.equal((await post('/mail', 'to=alice&text=hi', alice)).status, 303);
      await until('mail', () => inbox.length === 1);
    } else {
      await page(t, `${url}/socketServer`, alice);
      assert.equal((await post('/logout', 'x=1', alice)).status, 303);
    }
    assert.equal(await stop(), 0);
  });
}

test('express.mjs survives bodies that are no mail, and shows a page', async (t) => {
  const { url, stop } = await start(t, 'express.mjs');
  const post = async (body: string, type = 'application/json') => {
    const answer = await fetch(`${url}/mail`, { method: 'POST', body, headers: { 'Content-Type': type } });
    const text = await answer.text();
    assert.doesNotMatch(text, /node_modules|at .*:\d+:\d+/, 'no stack for strangers');
    return answer.status;
  };
  for (const body of [
    ...['{', 'null', '[]', '1', '"x"', '{}', '{"to":5,"text":"x"}', '{"to":"","text":"hi"}'],
    ...[
      '{"to":["alice"],"text":"x"}',
      '{"to":"a\\u0000b","text":"x"}',
      '{"to":"alice"}',
      '{"to":"\\ud800","text":"x"}',
    ],
  ]) {
    assert.equal(await post(body), 400, body);
  }
  assert.equal(await post(`{"to":"alice","text":"${LONG}"}`), 413);
  assert.equal(await post('to=alice&text=hi', 'application/x-www-form-urlencoded'), 400);
  assert.equal(await post('{"to":"alice","text":"x"}', 'application/json; charset=nonsense'), 415);
  await comeOddly(url, '/mail');
  assert.match(await (await fetch(url)).text(), /tidings\.connect/);
  assert.match(await (await fetch(`${url}/tidings.js`)).text(), /tidings/);
  assert.equal(await post('{"to":"alice","text":"hi"}'), 201);
  assert.equal(await stop(), 0);
});

test('embed.mjs survives requests that are none', async (t) => {
  const { url, process } = await start(t, 'embed.mjs');
  await comeOddly(url, '/');
  assert.equal((await fetch(url)).status, 200);
  assert.equal(process.exitCode, null);
});

test('an example whose store dies says so, lives, and goes on', {
  ...needs('redis'),
  concurrency: true,
}, async (t) => {
  const redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']);
  t.after(() => redis.stop());
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
  const [embed, cookies, express] = await Promise.all(
    ['embed.mjs', 'cookie-session.mjs', 'express.mjs'].map((name) => start(t, name, redis.url)),
  );
  const post = (url: string, body: string, headers: Record<string, string>) =>
    fetch(url, { method: 'POST', body, headers, redirect: 'manual' });
  const login = await post(`${cookies!.url}/login`, 'name=alice', form);
  const alice = { ...form, Cookie: (login.headers.getSetCookie()[0] as string).split(';')[0] as string };
  const mail = async () =>
    (await post(`${cookies!.url}/mail`, 'to=alice&text=hi', alice)).status +
    (await post(`${express!.url}/mail`, '{"to":"alice","text":"hi"}', { 'Content-Type': 'application/json' }))
      .status;
  assert.equal(await mail(), 303 + 201);
  const ticks = await page(t, `${embed!.url}/socketServer?operator=alice`);
  await until('a tick', () => ticks.length > 0);
  await redis.kill();
  // Longer than a command may take, several times over for the clock of embed.mjs.
  assert.equal(await mail(), 503 + 503);
  for (const each of [embed, cookies, express]) assert.equal(each!.process.exitCode, null);
  await redis.start();
  await until('the store', async () => (await mail()) === 303 + 201);
  const before = ticks.length;
  await until('a tick', () => ticks.length > before);
  await redis.kill();
  for (const each of [cookies, express])
    assert.equal(await each!.stop(), 0, 'a clean end, with the store gone');
});

test('tracing.mjs: the request, the message, the page and its acknowledgement are one trace', async (t) => {
  const folder = join(installed.folder, 'node_modules/@opentelemetry');
  symlinkSync(realpathSync('node_modules/@opentelemetry'), folder);
  writeFileSync(join(installed.folder, 'tracing.mjs'), readFileSync('examples/tracing.mjs'));
  const child = spawn(process.execPath, ['tracing.mjs'], {
    cwd: installed.folder,
    env: uncovered,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  assert.equal((await once(child, 'close'))[0], 0);
  const [, documented] = /It prints:\n\n```\n([^`]+)```/.exec(readFileSync('docs/tracing.md', 'utf8'))!;
  assert.deepEqual(output.split('\n').toSorted(), documented!.split('\n').toSorted());
});

test(
  'outbox.mjs: who orders is told of it, once the order is committed, and of no order that is rolled back',
  needs('postgres'),
  async (t) => {
    const server = await startPostgres();
    t.after(() => server.stop());
    const database = await server.database();
    const cli = join(installed.folder, 'node_modules/tidings/dist/cli.js');
    const { stdout: sql } = spawnSync(process.execPath, [cli, 'source-table', 'postgres'], {
      encoding: 'utf8',
    });
    await server.query(sql, database);
    const pg = join(installed.folder, 'node_modules/pg');
    if (!existsSync(pg)) symlinkSync(realpathSync('node_modules/pg'), pg);
    const { url, stop } = await start(t, 'outbox.mjs', undefined, { DATABASE_URL: database });
    const socket = new WebSocket(`${url.replace('http', 'ws')}/socketServer?user=alice`);
    t.after(() => socket.terminate());
    const messages: unknown[] = [];
    socket.on('message', (data) => messages.push(JSON.parse(String(data))));
    await once(socket, 'open');
    const order = async (what: string): Promise<number> => {
      const query = new URLSearchParams({ user: 'alice', what });
      return (await fetch(`${url}/orders?${query}`, { method: 'POST' })).status;
    };
    assert.equal(await order('tea'), 201);
    assert.equal(await order('nothing'), 409);
    assert.equal(await order('coffee'), 201);
    await until('both', () => messages.length === 2);
    assert.deepEqual(
      messages.map((each) => (each as { what: string }).what),
      ['tea', 'coffee'],
    );
    assert.match(await (await fetch(url)).text(), /tidings\.js/);
    assert.equal(await stop(), 0);
  },
);

test('no example is without its test', () => {
  // embed.mjs is the program of the README, too: test/readme.test.ts. The ws-*.mjs: test/ws/users.test.ts.
  const others = readdirSync('examples').filter((name) => name !== 'embed.mjs' && !name.startsWith('ws-'));
  // languages/: test/languages.test.ts. tickets/: test/tickets.test.ts. spring-mvc/: test/story. react-inbox/ and vue-inbox/: test/browser/hooks.test.ts.
  assert.deepEqual(others.sort(), [
    'ask-application.mjs',
    'cookie-session.mjs',
    'express.mjs',
    'languages',
    'outbox.mjs',
    'react-inbox',
    'spring-mvc',
    'tickets',
    'tracing.mjs',
    'vue-inbox',
  ]);
});
