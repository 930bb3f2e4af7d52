/** The mail demo in a real browser: two users, two instances, one Redis. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { placeScripts } from '../support/scripts.ts';
import { axe, bellOf } from './bell-site.ts';
import { Balancer, type Instance, startInstance } from './instances.ts';

/** Milliseconds; the machine may have other things to do. */
const PATIENCE = 60_000;

describe('the mail demo', needs('redis', 'chromium'), () => {
  let redis: RedisServer;
  let one: Instance;
  let two: Instance;
  /** Prefers instance one. */
  let first: Balancer;
  /** Prefers instance two. */
  let second: Balancer;
  let browser: Browser;

  before(async () => {
    await placeScripts();
    redis = await startRedis();
    [one, two, browser] = await Promise.all([
      startInstance('one', ['--redis', redis.url]),
      startInstance('two', ['--redis', redis.url]),
      launchChromium(),
    ]);
    [first, second] = await Promise.all([Balancer.start(one, two), Balancer.start(two, one)]);
  });
  after(async () => {
    await browser?.close();
    await Promise.all([first?.stop(), second?.stop()]);
    await Promise.all([one?.kill(), two?.kill()]);
    await redis?.stop();
  });

  async function newPage(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ locale: 'en-GB', ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    pages.set(page, recordErrors(page));
    return page;
  }

  /** With the errors that happened in them. */
  const pages = new Map<Page, string[]>();

  async function close(...closing: Page[]): Promise<void> {
    for (const page of closing) {
      assert.deepEqual(pages.get(page), []);
      await page.context().close();
    }
  }

  async function inbox(balancer: Balancer, user: string, options?: BrowserContextOptions): Promise<Page> {
    const page = await newPage(options);
    await page.goto(`${balancer.url}/?operator=${encodeURIComponent(user)}`);
    await page.locator('[data-state=connected]').waitFor();
    return page;
  }

  async function write(page: Page, to: string, subject: string, text: string): Promise<void> {
    await page.getByRole('button', { name: 'Write' }).click();
    await page.getByRole('textbox', { name: 'To' }).fill(to);
    await page.getByRole('textbox', { name: 'Subject' }).fill(subject);
    await page.getByRole('textbox', { name: 'Message' }).fill(text);
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText(`Sent to ${to}.`).waitFor();
  }

  const mail = (page: Page, subject: string): Locator =>
    page.locator('#list .mail').filter({ hasText: subject });
  const served = (page: Page) => page.locator('#status-detail').textContent();
  const unread = (page: Page, text: string) => page.locator('#unread').filter({ hasText: text }).waitFor();

  test('signing in by name, a mail sent on one instance appears on the other, in the list and in the bell', async () => {
    const alice = await newPage();
    await alice.goto(first.url);
    await alice.getByLabel('Your name').fill('alice');
    await alice.getByRole('button', { name: 'Open inbox' }).click();
    await alice.locator('[data-state=connected]').waitFor();
    const bob = await inbox(second, 'bob');
    assert.match((await served(alice)) ?? '', /one/);
    assert.match((await served(bob)) ?? '', /two/);

    await write(bob, 'alice', 'Lunch?', 'At twelve, in the garden.');
    await mail(alice, 'Lunch?').waitFor();
    await unread(alice, '1 unread');
    const bell = bellOf(alice);
    await bell.toasts.filter({ hasText: 'Lunch?' }).waitFor();
    await until('the title', async () => (await alice.title()) === '(1) Inbox of alice – tidings mail');

    // Pressed in the bell it is read on the page.
    await bell.open();
    await bell.row('Lunch?').locator('.main').click();
    await alice.locator('#read-text').filter({ hasText: 'At twelve, in the garden.' }).waitFor();
    await alice.locator('#unread').waitFor({ state: 'hidden' });
    await bell.badge.waitFor({ state: 'hidden' });
    assert.equal(await bell.panel.isVisible(), false);
    await alice.getByRole('button', { name: 'Reply' }).click();
    assert.equal(await alice.getByRole('textbox', { name: 'To' }).inputValue(), 'bob');
    assert.equal(await alice.getByRole('textbox', { name: 'Subject' }).inputValue(), 'Re: Lunch?');
    await close(alice, bob);
  });

  test('the inbox outlives a reload, and what is done on one page is done on the others, in any order', async () => {
    const carol = await inbox(first, 'carol');
    const phone = await inbox(second, 'carol');
    const bob = await inbox(second, 'bob');
    for (const subject of ['first', 'second', 'third']) await write(bob, 'carol', subject, '');
    for (const page of [carol, phone]) await mail(page, 'third').waitFor();

    await carol.reload();
    await mail(carol, 'third').waitFor();
    assert.deepEqual(await carol.locator('.mail-subject').allTextContents(), ['third', 'second', 'first']);
    await unread(carol, '3 unread');
    await mail(carol, 'third').getByRole('button').click();
    for (const page of [carol, phone]) await unread(page, '2 unread');
    await carol.reload();
    await unread(carol, '2 unread');
    await mail(carol, 'third').getByRole('button').click();
    await carol.getByRole('button', { name: 'Mark as unread' }).click();
    await unread(phone, '3 unread');
    await carol.getByRole('button', { name: 'Mark all as read' }).click();
    await phone.locator('#unread').waitFor({ state: 'hidden' });

    await mail(carol, 'second').getByRole('button').click();
    await carol.getByRole('button', { name: 'Archive', exact: true }).click();
    await mail(phone, 'second').waitFor({ state: 'detached' });
    await phone.getByRole('button', { name: 'Archived' }).click();
    await mail(phone, 'second').getByRole('button').click();
    await phone.getByRole('button', { name: 'Move to the inbox' }).click();
    await mail(carol, 'second').waitFor();
    await mail(carol, 'first').getByRole('button').click();
    await carol.getByRole('button', { name: 'Delete' }).click();
    await mail(carol, 'first').waitFor({ state: 'detached' });
    await carol.reload();
    await mail(carol, 'third').waitFor();
    assert.deepEqual(await carol.locator('.mail-subject').allTextContents(), ['third', 'second']);
    await close(carol, phone, bob);
  });

  test('anything else that is sent shows as well, and nothing of it is taken for markup', async () => {
    const dora = await inbox(first, 'dora');
    const send = async (data: unknown) => {
      const response = await fetch(`${second.url}/api/users/dora/messages`, {
        method: 'POST',
        headers: { Authorization: 'Bearer demo', 'Content-Type': 'application/json' },
        body: JSON.stringify(data),
      });
      assert.equal(response.status, 201);
    };
    await send('hello');
    await send({
      subject: '<img src=x onerror=alert(1)>',
      text: '<script>alert(2)</script>',
      from: '<b>eve</b>',
      href: 'javascript:alert(3)',
    });
    await mail(dora, 'hello').getByText('System').waitFor();
    await mail(dora, '<img src=x onerror=alert(1)>').getByRole('button').click();
    await dora.locator('#read-text').filter({ hasText: '<script>alert(2)</script>' }).waitFor();
    assert.equal(await dora.locator('#mail img, #mail script, #mail b').count(), 0);
    assert.equal(await dora.locator('#read-link').isVisible(), false);
    await close(dora);
  });

  test('everything can be done from the keyboard, and the focus can be seen', async () => {
    const fay = await newPage();
    await fay.goto(first.url);
    const focused = () => fay.evaluate(() => document.activeElement?.id || document.activeElement?.className);
    const outline = () => fay.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle);
    assert.equal(await focused(), 'name');
    await fay.keyboard.type('fay');
    await fay.keyboard.press('Enter');
    await fay.locator('[data-state=connected]').waitFor();
    assert.equal(await focused(), 'main');
    await fay.keyboard.press('Tab');
    assert.equal(await focused(), 'write');
    assert.equal(await outline(), 'solid');
    await fay.keyboard.press('Enter');
    for (const [id, text] of [
      ['to', 'fay'],
      ['subject', 'Note to self'],
      ['text', 'Buy bread'],
    ]) {
      assert.equal(await focused(), id);
      assert.equal(await outline(), 'solid');
      await fay.keyboard.type(text!);
      await fay.keyboard.press('Tab');
    }
    await fay.keyboard.press('Enter');
    await fay.getByText('Sent to fay.').waitFor();
    await mail(fay, 'Note to self').waitFor();
    await until('the focus to come back', async () => (await focused()) === 'write');
    for (let i = 0; (await focused()) !== 'mail-head'; i++) {
      assert.ok(i < 8);
      await fay.keyboard.press('Tab');
    }
    assert.equal(await outline(), 'solid');
    await fay.keyboard.press('Enter');
    await fay.getByText('Buy bread').first().waitFor();
    assert.equal(await focused(), 'read');
    for (let i = 0; (await focused()) !== 'archive'; i++) {
      assert.ok(i < 8);
      await fay.keyboard.press('Tab');
    }
    await fay.keyboard.press('Enter');
    await mail(fay, 'Note to self').waitFor({ state: 'detached' });
    await until('the focus not to be lost', async () => (await focused()) === 'main');
    await close(fay);
  });

  for (const colorScheme of ['light', 'dark'] as const)
    for (const viewport of [
      { width: 1280, height: 800 },
      { width: 390, height: 780 },
    ])
      test(`axe-core finds nothing on it: ${colorScheme}, ${viewport.width} px`, async () => {
        const user = `gil-${colorScheme}-${viewport.width}`;
        const gil = await newPage({ colorScheme, viewport, reducedMotion: 'reduce', bypassCSP: true });
        const check = async (what: string) => {
          assert.deepEqual(await axe(gil), [], what);
          assert.equal(await gil.locator('h1:visible').count(), 1, `${what}: one heading of the page`);
        };
        await gil.goto(first.url);
        await check('signing in');
        await gil.goto(`${first.url}/?operator=${user}`);
        await gil.locator('[data-state=connected]').waitFor();
        await check('empty');
        await write(gil, user, 'one', 'some text');
        await mail(gil, 'one').waitFor();
        await bellOf(gil).toasts.first().waitFor();
        await check('a mail and a toast');
        await bellOf(gil).open();
        await bellOf(gil).row('one').waitFor();
        await check('the bell');
        await gil.keyboard.press('Escape');
        await mail(gil, 'one').getByRole('button').click();
        await check('reading');
        await gil.getByRole('button', { name: 'Reply' }).click();
        await check('writing');
        await close(gil);
      });

  test('the connection’s state is shown: heartbeat, countdown, try now', async () => {
    const own = await startInstance('own');
    const balancer = await Balancer.start(own);
    const kim = await newPage();
    await kim.clock.install();
    await kim.goto(`${balancer.url}/?operator=kim`);
    await kim.locator('[data-state=connected]').waitFor();
    await kim.clock.fastForward(16_000);
    await kim.getByText(/heartbeat answered in \d+ ms/).waitFor();

    await own.kill();
    await kim.getByText(/Reconnecting in \d+ s/).waitFor();
    await kim.getByText('The connection is lost. Reconnecting…').waitFor({ state: 'attached' });
    const tries = kim.waitForEvent('websocket');
    // The clock may have run on to a try of its own: the button is there again after it.
    await kim.getByRole('button', { name: 'Try now' }).click();
    await tries;
    await close(kim);
    await balancer.stop();
  });

  test('at the width of a phone nothing needs scrolling sideways, and controls are big enough for a finger', async () => {
    const user = 'h'.repeat(60);
    // What comes in by an animation is small at first.
    const hal = await inbox(first, user, { viewport: { width: 320, height: 640 }, reducedMotion: 'reduce' });
    const check = async () => {
      const { content, width } = await hal.evaluate(() => ({
        content: document.documentElement.scrollWidth,
        width: innerWidth,
      }));
      assert.equal(content, width);
      for (const control of await hal.locator('button:visible, input:visible').all())
        assert.ok(
          ((await control.boundingBox())?.height ?? 0) >= 44,
          await control.evaluate((e) => e.outerHTML),
        );
    };
    await write(hal, user, 'W'.repeat(200), `${'w'.repeat(300)}\n`);
    await mail(hal, 'WWW').waitFor();
    await check();
    await bellOf(hal).open();
    await check();
    await hal.keyboard.press('Escape');
    await mail(hal, 'WWW').getByRole('button').click();
    assert.equal(await hal.locator('#list').isVisible(), false);
    await check();
    await hal.getByRole('button', { name: 'Back' }).click();
    assert.equal(await hal.locator('#list').isVisible(), true);
    await close(hal);
  });

  test('Chinese for readers of Chinese; the switch to English and to dark is remembered', async () => {
    const ivy = await inbox(first, '小爱', { locale: 'zh-CN' });
    assert.equal(await ivy.locator('html').getAttribute('lang'), 'zh');
    assert.equal(await ivy.title(), '小爱 的收件箱 – tidings 站内信');
    await ivy.getByRole('button', { name: '写信' }).click();
    await ivy.getByLabel('收件人').fill('小爱');
    await ivy.getByLabel('主题').fill('你好');
    await ivy.getByRole('button', { name: '发送' }).click();
    await ivy.getByText('已发送给 小爱。').waitFor();
    await ivy.getByText('1 封未读').waitFor();
    await until(
      'the bell',
      async () => (await bellOf(ivy).button.getAttribute('aria-label')) === '站内信, 1 条未读',
    );
    assert.equal(await ivy.locator('#status-text').textContent(), '已连接');

    await ivy.getByRole('button', { name: 'English' }).click();
    await ivy.getByRole('button', { name: 'Dark' }).click();
    await ivy.reload();
    await ivy.getByRole('heading', { name: 'Inbox' }).waitFor();
    await mail(ivy, '你好').waitFor();
    assert.equal(await ivy.locator('html').getAttribute('lang'), 'en');
    assert.equal(
      await ivy.evaluate(() => getComputedStyle(document.body).backgroundColor),
      'rgb(16, 21, 30)',
    );
    const left = (await ivy.locator('body').allInnerTexts()).join();
    assert.deepEqual(
      left.match(/\p{Script=Han}+/gu)?.filter((text) => !['小爱', '小', '你好', '中文'].includes(text)) ?? [],
      [],
    );
    await close(ivy);
  });

  for (const [file, arrives] of [
    ['docs/client.md', (page: Page) => page.getByRole('listitem').filter({ hasText: '"hello"' }).waitFor()],
    [
      'docs/bell.md',
      async (page: Page) => {
        await bellOf(page).toasts.filter({ hasText: 'hello' }).waitFor();
        await until('the title', async () => (await page.title()) === '(1) A page with a bell');
      },
    ],
  ] as const)
    test(`the page in ${file} works when pasted`, async () => {
      const open = await startInstance('open', ['--origins', '*']);
      const site = createServer((_, response) => {
        const [, html] = readFileSync(file, 'utf8').match(/```html\n(.*?)```/s)!;
        response.setHeader('Content-Type', 'text/html');
        response.end(html!.replaceAll('127.0.0.1:8080', `127.0.0.1:${open.port}`));
      }).listen(0, '127.0.0.1');
      try {
        await once(site, 'listening');
        const page = await newPage();
        await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
        const alice = `http://127.0.0.1:${open.port}/api/users/alice`;
        const headers = { Authorization: 'Bearer demo', 'Content-Type': 'application/json' };
        // With its device from when it has said hello.
        await until('the page', async () => {
          const sessions = (await (await fetch(`${alice}/sessions`, { headers })).json()) as {
            device?: string;
          }[];
          return sessions.some(({ device }) => device !== undefined);
        });
        const response = await fetch(`${alice}/messages`, {
          method: 'POST',
          headers,
          body: '"hello"',
        });
        assert.equal(response.status, 201);
        await arrives(page);
        await close(page);
      } finally {
        site.close();
        site.closeAllConnections();
        await open.kill();
      }
    });

  // Last, as it takes an instance away.
  test('an instance is killed: its page comes back on the other by itself, and has missed nothing', async () => {
    const jo = await inbox(first, 'jo');
    const bob = await inbox(second, 'bob');
    assert.match((await served(jo)) ?? '', /one/);
    const states = await jo.evaluateHandle(() => {
      const seen: (string | undefined)[] = [];
      const status = document.getElementById('status')!;
      new MutationObserver(() => seen.push(status.dataset['state'])).observe(status, {
        attributeFilter: ['data-state'],
      });
      return seen;
    });
    await one.kill();
    await write(bob, 'jo', 'while you were away', '');
    await mail(jo, 'while you were away').waitFor();
    await until('the other instance', async () => /two/.test((await served(jo)) ?? ''), PATIENCE);
    assert.ok((await states.jsonValue()).includes('waiting'));
    await unread(jo, '1 unread');

    await write(jo, 'bob', 'I am back', '');
    await mail(bob, 'I am back').waitFor();
    await close(jo, bob);
  });
});
