/** docs/tutorial.md: every file and every command of it, as it stands there, in one folder, with two users in Chromium. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { freePort, until } from '../support/net.ts';
import { type InstalledPackage, installPackage } from '../support/package.ts';
import { needs, uncovered } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const PATIENCE = 60_000;
const english = readFileSync('docs/tutorial.md', 'utf8');
const chinese = readFileSync('docs/tutorial.zh-CN.md', 'utf8');

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, block]) => block!);
}

const [program = ''] = blocks(english, 'js');
const [prepare = '', run = '', instances = '', send = ''] = blocks(english, 'sh');

let project: InstalledPackage;
let browser: Browser;
before(async () => {
  [project, browser] = await Promise.all([installPackage(), launchChromium()]);
  writeFileSync(join(project.folder, 'site.mjs'), program);
});
after(async () => {
  await browser?.close();
  project?.remove();
});

/** Runs a command of the page in the folder, in the shell, until `stop`. */
async function start(
  command: string,
  port: number,
): Promise<{ url: string; kill(signal: NodeJS.Signals): Promise<void> }> {
  const child = spawn('sh', ['-c', `exec env ${command}`], {
    cwd: project.folder,
    env: { ...uncovered, PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const url = `http://127.0.0.1:${port}/`;
  await until('the site', () => fetch(url).catch(() => undefined), PATIENCE);
  return {
    url,
    async kill(signal) {
      child.kill(signal);
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

async function open(url: string, errors: string[][]): Promise<Page> {
  const context = await browser.newContext();
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  errors.push(recordErrors(page));
  await page.goto(url);
  return page;
}

async function signIn(page: Page, user: string): Promise<void> {
  await page.locator('[name=user]').fill(user);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('tidings-bell').waitFor();
}

async function mail(page: Page, to: string, subject: string): Promise<void> {
  await page.locator('[name=to]').fill(to);
  await page.locator('[name=subject]').fill(subject);
  await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Send' }).click()]);
}

const unread = (page: Page, count: number): Promise<void> =>
  page
    .waitForFunction(
      (expected) =>
        (document.querySelector('tidings-bell') as unknown as { counts?: { unread: number } }).counts
          ?.unread === expected,
      count,
    )
    .then(() => {});

test('both languages have the same commands and the same program', () => {
  for (const language of ['sh', 'js']) assert.deepEqual(blocks(chinese, language), blocks(english, language));
  assert.match(prepare, /^npm install tidings$/m);
  assert.equal(run, 'node site.mjs\n');
});

test(
  'two users write to each other, read, go away and come back, and sign out',
  needs('chromium'),
  async (t) => {
    const errors: string[][] = [];
    const site = await start(run, await freePort());
    t.after(() => site.kill('SIGTERM'));
    const [alice, bob] = await Promise.all([open(site.url, errors), open(site.url, errors)]);
    await Promise.all([signIn(alice, 'alice'), signIn(bob, 'bob')]);
    const second = await bob.context().newPage();
    errors.push(recordErrors(second));
    await second.goto(site.url);

    await mail(alice, 'bob', 'Lunch?');
    await Promise.all([unread(bob, 1), unread(second, 1)]);
    // Read in one tab, read in the other.
    await bob.locator('tidings-bell').getByRole('button').first().click();
    await bob.locator('tidings-bell').getByText('Lunch?').first().click();
    await Promise.all([unread(bob, 0), unread(second, 0)]);

    await Promise.all([bob.close(), second.close()]);
    await mail(alice, 'bob', 'You were away');
    await mail(alice, 'bob', 'Still?');
    const again = await bob.context().newPage();
    errors.push(recordErrors(again));
    await again.goto(site.url);
    await unread(again, 2);

    const other = await again.context().newPage();
    errors.push(recordErrors(other));
    await other.goto(site.url);
    await unread(other, 2);
    await again.getByRole('button', { name: 'Sign out' }).click();
    await again.locator('[name=user]').waitFor();
    await other.waitForFunction(
      () => (document.querySelector('tidings-bell') as unknown as { state: string }).state === 'signed-out',
    );
    assert.deepEqual(errors.flat(), []);
  },
);

test('a name or a request that can’t be is answered, and the site goes on', needs(), async (t) => {
  const site = await start(run, await freePort());
  t.after(() => site.kill('SIGTERM'));
  const post = (path: string, body: string, cookie = ''): Promise<Response> =>
    fetch(site.url + path, { method: 'POST', body, headers: { cookie }, redirect: 'manual' });
  assert.equal((await post('sign-in', 'user=%3Cb%3E')).status, 400);
  assert.equal((await post('mail', 'to=bob&subject=x')).status, 303);
  const cookie = (await post('sign-in', 'user=alice')).headers.get('set-cookie')!.split(';')[0]!;
  assert.equal((await post('mail', 'to=&subject=x', cookie)).status, 400);
  assert.equal((await post('mail', 'to=bob&subject=x', cookie)).status, 303);
  assert.equal((await fetch(site.url, { headers: { cookie: 'tidings_ticket=t1.x.y' } })).status, 200);
});

test(
  'two instances, one of which is killed, and mail from the shell',
  needs('chromium', 'redis'),
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const ports = [await freePort(), await freePort()];
    const commands = instances
      .trim()
      .split('\n')
      .map((line, i) =>
        line.replace('redis://127.0.0.1:6379', redis.url).replace(/PORT=\d+/, `PORT=${ports[i]}`),
      );
    assert.equal(commands.length, 2);
    const errors: string[][] = [];
    const sites = await Promise.all(commands.map((command, i) => start(command, ports[i]!)));
    t.after(() => Promise.all(sites.map((site) => site.kill('SIGTERM'))));
    const [alice, bob] = await Promise.all([open(sites[0]!.url, errors), open(sites[1]!.url, errors)]);
    await Promise.all([signIn(alice, 'alice'), signIn(bob, 'bob')]);
    await mail(alice, 'bob', 'One');
    await unread(bob, 1);

    await sites[1]!.kill('SIGKILL');
    await mail(alice, 'bob', 'Two');
    sites[1] = await start(commands[1]!, ports[1]!);
    await unread(bob, 2);

    const command = send.trim().replace('redis://127.0.0.1:6379', redis.url);
    const receipt = execFileSync('sh', ['-c', command], {
      cwd: project.folder,
      env: uncovered,
      encoding: 'utf8',
    });
    assert.equal(JSON.parse(receipt).channel, 'user:bob');
    await unread(bob, 3);
    assert.deepEqual(errors.flat(), []);
  },
);
