/** Every program in examples/ runs against the package as it is installed, and does what it is there for. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { until } from './support/net.ts';
import { type InstalledPackage, installPackage } from './support/package.ts';
import { uncovered } from './support/programs.ts';

let installed: InstalledPackage;
before(async () => {
  installed = await installPackage();
  symlinkSync(realpathSync('node_modules/express'), join(installed.folder, 'node_modules/express'));
});
after(() => installed?.remove());

async function start(t: TestContext, name: string): Promise<{ url: string; stop(): Promise<unknown> }> {
  copyFileSync(join('examples', name), join(installed.folder, name));
  const child = spawn(process.execPath, [name], {
    cwd: installed.folder,
    env: { ...uncovered, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const match = await until(name, () => /listening on (http:\S+)\//.exec(output), 60_000);
  return {
    url: match[1] as string,
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

test('no example is without its test', () => {
  // embed.mjs is the program of the README: test/readme.test.ts. The ws-*.mjs: test/ws/users.test.ts.
  const others = readdirSync('examples').filter((name) => name !== 'embed.mjs' && !name.startsWith('ws-'));
  // tickets/: test/tickets.test.ts. spring-mvc/: test/story. react-inbox/ and vue-inbox/: test/browser/hooks.test.ts.
  assert.deepEqual(others.sort(), [
    'ask-application.mjs',
    'cookie-session.mjs',
    'express.mjs',
    'react-inbox',
    'spring-mvc',
    'tickets',
    'vue-inbox',
  ]);
});
