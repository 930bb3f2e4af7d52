/**
 * docs/tutorial.md: every file and every command of it, as it stands there, with two users in Chromium. The Chinese page is
 * played from an empty folder to its end; only ports are others, and the package is the one that was packed here.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { blocks as allBlocks } from '../support/markdown.ts';
import { freePort, until } from '../support/net.ts';
import { type InstalledPackage, installPackage } from '../support/package.ts';
import { needs, uncovered } from '../support/programs.ts';

const PATIENCE = 60_000;
const english = readFileSync('docs/tutorial.md', 'utf8');
const chinese = readFileSync('docs/tutorial.zh-CN.md', 'utf8');

const blocks = (page: string, language: string): string[] =>
  allBlocks(page).flatMap(([of, text]) => (of === language ? [text] : []));

const [program = ''] = blocks(english, 'js');
const [prepare = '', run = ''] = blocks(english, 'sh');

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
  assert.deepEqual(allBlocks(chinese), allBlocks(english));
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

type Step = { command: string } | { file: string; text: string };

/** Everything of a page that is in blocks, in order: commands, and files by the name that the sentence before them says. */
function steps(page: string): Step[] {
  let above = '';
  return page.split(/^```/m).flatMap((part, i): Step[] => {
    if (i % 2 === 0) {
      above = part;
      return [];
    }
    const text = part.slice(part.indexOf('\n') + 1);
    if (part.startsWith('sh\n'))
      return text
        .trim()
        .split('\n')
        .map((command) => ({ command }));
    const file = [...above.matchAll(/`([\w-]+\.(?:mjs|conf|yml))`/g)].at(-1)?.[1];
    assert.ok(file, above);
    return [{ file, text }];
  });
}

test('the Chinese page leads from an empty folder to two instances behind nginx with metrics', {
  timeout: 540_000,
  ...needs('chromium', 'redis', 'nginx'),
}, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'tidings-tutorial-'));
  let folder = home;
  const programs: { command: string; child: ChildProcess }[] = [];
  const stop = async (command: string, signal: NodeJS.Signals): Promise<void> => {
    const { child } = programs.find((program) => program.command === command)!;
    programs.splice(0, programs.length, ...programs.filter((program) => program.command !== command));
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
  t.after(async () => {
    for (const { command } of [...programs].reverse()) await stop(command, 'SIGTERM');
    rmSync(home, { recursive: true, force: true });
  });

  const ports = new Map<string, number>();
  for (const port of ['6379', '8080', '8081', '8082', '9081', '9082']) ports.set(port, await freePort());
  const here = (text: string): string =>
    text.replace(/(?<!\d)(6379|808[0-2]|908[12])(?!\d)/g, (port) => String(ports.get(port)));
  const url = (port: string): string => `http://127.0.0.1:${ports.get(port)}/`;
  const answers = (port: string): Promise<unknown> =>
    until(`port ${port}`, () => fetch(url(port)).catch(() => undefined), PATIENCE);
  const shell = (command: string): string =>
    execFileSync('sh', ['-c', command], { cwd: folder, env: uncovered, encoding: 'utf8' });
  /** In a terminal of its own. */
  const runs = (command: string): void => {
    const env = { ...uncovered, PORT: String(ports.get('8080')), PATH: `${process.env.PATH}:/usr/sbin` };
    const child = spawn('sh', ['-c', `exec env ${here(command)}`], { cwd: folder, env, stdio: 'ignore' });
    programs.push({ command, child });
  };

  const errors: string[][] = [];
  let alice: Page | undefined;
  let bob: Page | undefined;
  const wait = new Map<RegExp, () => unknown>([
    [/^node site.mjs/, () => answers('8080')],
    [/PORT=8082/, () => Promise.all([answers('8081'), answers('8082')])],
    [/^nginx/, () => answers('8080')],
  ]);
  const instances: string[] = [];
  let mails = 0;
  for (const step of steps(chinese)) {
    if ('file' in step) {
      writeFileSync(join(folder, step.file), here(step.text));
      continue;
    }
    const { command } = step;
    if (command === 'mkdir mail && cd mail') {
      assert.deepEqual(readdirSync(home), []);
      shell('mkdir mail');
      folder = join(home, 'mail');
    } else if (command === 'npm install tidings') {
      const flags = '--offline --install-links --no-audit --no-fund';
      const dependencies = ['redis-parser', 'redis-errors'].map((name) => resolve('node_modules', name));
      shell(`npm install ${flags} ${project.tarball} ${dependencies.join(' ')}`);
    } else if (/^(node|redis-server|nginx|REDIS=)/.test(command)) {
      if (command.startsWith('redis-server')) await stop('node site.mjs', 'SIGINT');
      runs(command);
      for (const [pattern, waited] of wait) if (pattern.test(command)) await waited();
      if (command.startsWith('REDIS=')) instances.push(command);
    } else if (command.startsWith('npx tidings send')) {
      [alice, bob] = await Promise.all([open(url('8081'), errors), open(url('8082'), errors)]);
      await Promise.all([signIn(alice, 'alice'), signIn(bob, 'bob')]);
      await mail(alice, 'bob', 'One');
      await unread(bob, ++mails);
      await stop(instances[1]!, 'SIGKILL');
      await mail(alice, 'bob', 'Two');
      runs(instances[1]!);
      await unread(bob, ++mails);
      assert.equal(JSON.parse(shell(here(command))).channel, 'user:bob');
      await unread(bob, ++mails);
    } else if (command.startsWith('curl')) {
      assert.match(shell(here(command)), /^tidings_sessions\{.*\} \d+$/m);
    } else shell(here(command));
    if (!command.startsWith('nginx')) continue;

    // By the one address, while the instances are exchanged one after the other.
    [alice, bob] = await Promise.all([open(url('8080'), errors), open(url('8080'), errors)]);
    await Promise.all([signIn(alice, 'alice'), signIn(bob, 'bob')]);
    await unread(bob, mails);
    for (const instance of instances) {
      await stop(instance, 'SIGTERM');
      await mail(alice, 'bob', 'During a change');
      await unread(bob, ++mails);
      runs(instance);
      await Promise.all([answers('8081'), answers('8082')]);
    }
  }
  assert.deepEqual(
    readdirSync(folder)
      .filter((name) => /^(site|nginx|prometheus)\.(?!pid)/.test(name))
      .sort(),
    ['nginx.conf', 'prometheus.yml', 'site.mjs'],
  );
  assert.deepEqual(errors.flat(), []);
});
