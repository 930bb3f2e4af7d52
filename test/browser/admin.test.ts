/** `/admin` in Chromium: what it shows of two instances and of a user, and what it does to him. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { AdminTokens } from '../../src/admin/tokens.ts';
import { sites } from '../../src/cli/site.ts';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { Page as Client } from '../push/support.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { axe } from './bell-site.ts';

/** A name, a topic and data that would be markup. */
const HOSTILE = `<img src=x onerror="document.title='run'">&'"`;

describe('/admin', needs('chromium'), () => {
  let browser: Browser;
  let url = '';
  let clients = '';
  const servers: Server[] = [];
  const pushes: PushServer[] = [];
  const errors: string[][] = [];

  async function instance(name: string, broker: ReturnType<typeof memoryBroker>, showData: boolean) {
    const http = createServer();
    const push = new PushServer({
      server: http,
      instance: name,
      broker,
      interceptors: [queryUser('user')],
      authorize: { subscribe: () => true },
      log: () => {},
    });
    const { main } = sites({
      push,
      tokens: new AdminTokens(['T', 'read=R']),
      log: push.log,
      maxBody: 10_000,
      storeGrace: 60_000,
      showData,
      proxies: [],
      hasAdminPort: false,
      path: '/socketServer',
    });
    http.on('request', main).listen(0, '127.0.0.1');
    await once(http, 'listening');
    servers.push(http);
    pushes.push(push);
    await push.ready;
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  }

  before(async () => {
    browser = await launchChromium();
    const store = new MemoryStore();
    url = await instance('one', memoryBroker(store), false);
    const other = await instance(HOSTILE, memoryBroker(store), true);
    clients = `${other.replace('http', 'ws')}/socketServer`;
  });
  after(async () => {
    await browser?.close();
    for (const push of pushes) await push.close();
    for (const http of servers) http.close().closeAllConnections();
  });
  afterEach(() => assert.deepEqual(errors.flat(), []));

  async function open(options: BrowserContextOptions = {}, address = `${url}/admin`): Promise<Page> {
    const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    errors.push(recordErrors(page));
    await page.goto(address);
    return page;
  }

  async function signIn(page: Page, token = 'T'): Promise<void> {
    await page.getByLabel('Admin token').fill(token);
    await page.keyboard.press('Enter');
  }

  async function find(page: Page, user: string): Promise<void> {
    await page.getByLabel('Name').fill(user);
    await page.keyboard.press('Enter');
    await page.locator('#who', { hasText: user }).waitFor();
  }

  test('it takes a right token, keeps it in the tab only, and shows all instances, in any look and size', async () => {
    const answer = await fetch(`${url}/admin`);
    const policy = answer.headers.get('content-security-policy') ?? '';
    for (const part of [
      "default-src 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
    ]) {
      assert.ok(policy.includes(part), part);
    }
    assert.doesNotMatch(policy, /unsafe|\*/);
    for (const [colorScheme, viewport] of [
      ['light', { width: 1200, height: 800 }],
      ['dark', { width: 360, height: 740 }],
    ] as const) {
      const page = await open({ colorScheme, viewport });
      assert.deepEqual(await axe(page), [], colorScheme);
      await signIn(page, 'wrong');
      await page.getByText('not an admin token').waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
      await signIn(page);
      const rows = page.locator('#instances tbody tr');
      await rows.nth(1).waitFor();
      assert.deepEqual(
        (await rows.locator('td:first-child').allTextContents()).sort(),
        [HOSTILE, 'one'].sort(),
      );
      await page.getByText('2 instances, 0 sessions').waitFor();
      await find(page, HOSTILE);
      assert.deepEqual(await axe(page), [], colorScheme);
      assert.ok(
        await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
        'nothing but tables is wider than the page',
      );
      assert.equal(await page.evaluate(() => localStorage.length), 0);
      assert.ok(!page.url().includes('T='));
      if (colorScheme === 'light') {
        await page.reload();
        await page.locator('#who', { hasText: HOSTILE }).waitFor();
        await page.getByRole('button', { name: 'Sign out' }).click();
        assert.equal(await page.evaluate(() => sessionStorage.length), 0);
        assert.equal(await page.locator('#signed-in').isVisible(), false);
      }
      await page.context().close();
    }
  });

  test('it follows a user, sends to him, disconnects and blocks him, by the keyboard', async () => {
    const client = await Client.open(clients, HOSTILE, { topics: [HOSTILE], device: HOSTILE.slice(0, 60) });
    const page = await open();
    await signIn(page);
    await find(page, HOSTILE);
    await page.locator('#sessions tbody tr').first().waitFor();
    const frames = page.locator('#frames li');
    await page.getByRole('button', { name: 'Follow' }).press('Enter');
    await page.getByText('Following; data is hidden.').waitFor();
    await frames.filter({ hasText: 'is there' }).waitFor();

    await page.getByLabel('Test message').fill(JSON.stringify({ text: HOSTILE }));
    await page.getByRole('button', { name: 'Send' }).press('Enter');
    await page.getByText('Stored with offset 1.').waitFor();
    await frames.filter({ hasText: '"data":"…"' }).waitFor();
    await until('the message', () => JSON.stringify(client.received).includes('onerror'));
    client.say({ type: 'subscribe', channel: 'x', ticket: 'secret-ticket' });
    await frames.filter({ hasText: '"ticket":"…"' }).waitFor();

    await page.getByRole('button', { name: 'Disconnect all' }).press('Enter');
    await page.getByRole('dialog').getByText('End all sessions of').waitFor();
    // What ends things is not what has the focus.
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Disconnect all' }).press('Enter');
    assert.deepEqual(await axe(page), []);
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await page.getByText('1 session ended.').waitFor();
    await until('the end', () => client.closeCode === 4501);
    await frames.filter({ hasText: 'closed' }).waitFor();

    await page.getByLabel('Reason').fill(HOSTILE);
    await page.getByRole('button', { name: 'Block' }).press('Enter');
    await page.locator('#yes').press('Enter');
    await page.getByText('Blocked; 0 sessions ended.').waitFor();
    await page.locator('dd', { hasText: HOSTILE }).first().waitFor();
    const late = new Client(clients, HOSTILE);
    await until('a refusal', () => late.refusal === 403);
    await page.getByRole('button', { name: 'Unblock' }).press('Enter');
    await page.getByText('Unblocked.').waitFor();
    await page.locator('#refusals tbody tr', { hasText: 'blocked' }).waitFor();

    await page.getByRole('button', { name: 'Follow' }).press('Enter');
    assert.equal(await frames.filter({ hasText: 'onerror' }).locator('img').count(), 0);
    assert.equal(await page.title(), 'tidings admin');
    await page.context().close();
    await until('the end of following', () => pushes.every((push) => [...push.localSessions()].length === 0));
  });

  test('a token that may only read sees, and is told what it may not; data is shown where that is allowed', async () => {
    const client = await Client.open(clients, 'alice');
    const page = await open({}, `${clients.replace('ws', 'http').replace('socketServer', 'admin')}#alice`);
    await signIn(page, 'R');
    await page.locator('#who', { hasText: 'alice' }).waitFor();
    await page.getByRole('button', { name: 'Follow' }).click();
    await page.getByText('Following, with data.').waitFor();
    await pushes[0]!.send('alice', { text: HOSTILE });
    await page.locator('#frames li', { hasText: '"text"' }).waitFor();
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('this takes a token with the scope send').waitFor();
    await page.getByRole('button', { name: 'Disconnect session' }).click();
    await page.locator('#yes').click();
    await page.getByText('this takes a token with the scope control').waitFor();
    assert.equal(client.closeCode, undefined);
    await page.context().close();
    client.socket.close();
  });
});
