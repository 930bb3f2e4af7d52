/** `<tidings-bell>` in Chromium, with a real push server, under a content policy without any `unsafe-`. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { signTicket } from '../../src/index.ts';
import { launchChromium } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { axe, bellOf, SECRET, type Site, startSite } from './bell-site.ts';

describe('the bell', needs('chromium'), () => {
  let browser: Browser;
  let site: Site;
  let users = 0;

  before(async () => {
    browser = await launchChromium();
    site = await startSite(browser);
  });
  after(async () => {
    await site?.stop();
    await browser?.close();
  });
  afterEach(async () => {
    // Or they would tell of what later tests do to their server.
    await site.closePages();
    assert.deepEqual(site.errors(), []);
  });

  /** A user whom no other test knows. */
  const newUser = (): string => `user-${++users}`;
  const send = (user: string, data: unknown) => site.push.send(user, data);
  async function sendMany(user: string, count: number): Promise<void> {
    for (let n = 1; n <= count; n++) await send(user, { subject: `mail ${n}`, text: `text ${n}\nmore` });
  }
  const tag = (user: string, attributes = ''): string =>
    `<tidings-bell user="${user}" ${attributes}></tidings-bell>`;
  const focused = (page: Page) =>
    page.evaluate(() => {
      let active = document.activeElement;
      while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
      return active?.getAttribute('part') ?? active?.id ?? active?.tagName;
    });
  const shown = (page: Page, count: number | string) =>
    bellOf(page)
      .badge.filter({ hasText: `${count}` })
      .waitFor();

  test('it counts, lists, reads and archives, and all of the user’s pages agree', async () => {
    const user = newUser();
    await send(user, { subject: 'Lunch?', text: 'At twelve.\nIn the garden.', from: 'bob' });
    await send(user, { subject: 'Invoice 7', from: 'accounts' });
    const page = await site.open(tag(user));
    const phone = await site.open(tag(user));
    for (const one of [page, phone]) await shown(one, 2);
    const bell = bellOf(page);
    assert.equal(await bell.button.getAttribute('aria-label'), 'Messages, 2 unread');
    await bell.open();
    assert.equal(await bell.rows.count(), 2);
    assert.match((await bell.rows.first().textContent()) ?? '', /Invoice 7/);

    await bell.row('Lunch?').locator('.main').click();
    await bell.inside('[part=body]').filter({ hasText: 'In the garden.' }).waitFor();
    for (const one of [page, phone]) await shown(one, 1);
    await bell.row('Lunch?').getByRole('button', { name: 'Mark as unread' }).click();
    await shown(phone, 2);
    await bell.inside('[part=mark-all]').click();
    await bellOf(phone).badge.waitFor({ state: 'hidden' });
    assert.equal(await bell.button.getAttribute('aria-label'), 'Messages');

    await bellOf(phone).open();
    await bell.row('Invoice 7').getByRole('button', { name: 'Archive' }).click();
    await until('the phone', async () => (await bellOf(phone).rows.count()) === 1);
    await bell.inside('[part=undo]').click();
    await bell.row('Invoice 7').waitFor();
    await bellOf(phone).row('Invoice 7').waitFor();
    assert.deepEqual(await site.push.counts(user), { unseen: 0, unread: 0, all: 2 });
  });

  test('opened, it has been seen; what it counts is chosen', async () => {
    const user = newUser();
    await send(user, 'hello');
    const page = await site.open(tag(user, 'count="unseen"'));
    await shown(page, 1);
    await bellOf(page).open();
    await bellOf(page).badge.waitFor({ state: 'hidden' });
    await until('seen', async () => (await site.push.counts(user)).unseen === 0);
    assert.equal((await site.push.counts(user)).unread, 1);
    // While it is open, what comes is seen at once.
    await send(user, 'again');
    await bellOf(page).row('again').waitFor();
    await until('seen', async () => (await site.push.counts(user)).unseen === 0);
  });

  test('whatever was sent is text: no markup, no script, no link that is not one', async () => {
    const user = newUser();
    const page = await site.open(tag(user));
    const word = 'W'.repeat(10_000);
    const nasty: [data: unknown, subject: string][] = [
      [
        { subject: '<img src=x onerror=alert(1)>', text: '<script>alert(2)</script>' },
        '<img src=x onerror=alert(1)>',
      ],
      [{ subject: `${word}`, from: word, text: word }, 'WWW'],
      [{ subject: '\u202egpj.exe\u2066 evil', from: '\u202e\u202eeve' }, 'gpj.exe evil'],
      [{ subject: 'js', href: 'javascript:alert(1)' }, 'js'],
      ['plain words', 'plain words'],
      [42, '42'],
      [null, '(no subject)'],
      [true, 'true'],
      [[1, [2]], '[1,[2]]'],
      [{}, '(no subject)'],
      [{ kind: 'order', n: 7 }, '{"kind":"order","n":7}'],
      [{ subject: 5, text: { deep: 1 }, from: [], href: 9 }, '5'],
      [{ title: 'by title', body: 'and body' }, 'by title'],
      [{ subject: '', text: '' }, '(no subject)'],
      [{ subject: '{count} {from}', from: '$& $1' }, '{count} {from}'],
      [{ __proto__: null, constructor: 'x', toString: 'y' }, '"constructor":"x"'],
    ];
    const bell = bellOf(page);
    for (const [data] of nasty) await send(user, data);
    await shown(page, nasty.length);
    await bell.open();
    await until('all rows', async () => (await bell.rows.count()) === nasty.length);
    for (const [i, [, subject]] of nasty.toReversed().entries()) {
      const text = (await bell.rows.nth(i).locator('[part=subject]').textContent()) ?? '';
      assert.ok(text.includes(subject), `${text.slice(0, 50)} is not ${subject}`);
      await bell.rows.nth(i).locator('.main').click();
    }
    assert.equal(await bell.inside(':is(img, script, a[href])').count(), 0);
    // Nothing is wider than the panel.
    const sizes = await bell.panel.evaluate((panel) => {
      const { left, right } = panel.getBoundingClientRect();
      const out = [...panel.querySelectorAll('*')].filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 1 && (box.left < left - 1 || box.right > right + 1);
      });
      return {
        out: out.map((element) => element.outerHTML.slice(0, 80)),
        scrolls: document.body.scrollWidth > innerWidth,
      };
    });
    assert.deepEqual(sizes, { out: [], scrolls: false });
    assert.deepEqual(await bell.inside('[style]').count(), 0);
  });

  test('a mail leads only to http, https and what is relative to the page', async () => {
    const user = newUser();
    const base = site.url;
    const links: [href: unknown, target: string | null][] = [
      ['/orders/7', `${base}/orders/7`],
      ['orders/7?x=1#y', `${base}/orders/7?x=1#y`],
      ['#here', 'page'],
      ['https://example.com/a b', 'https://example.com/a%20b'],
      ['HTTP://example.com', 'http://example.com/'],
      ['//example.com/x', 'http://example.com/x'],
      ['javascript:alert(1)', null],
      [' \tjava\nscript:alert(1)', null],
      ['JaVaScRiPt:alert(1)', null],
      ['data:text/html,<script>alert(1)</script>', null],
      ['vbscript:x', null],
      ['blob:https://example.com/1', null],
      ['file:///etc/passwd', null],
      ['mailto:a@example.com', null],
      ['http://[', null],
      ['', null],
      [7, null],
      [{}, null],
    ];
    for (const [i, [href]] of links.entries()) await send(user, { subject: `link ${i}.`, href });
    const page = await site.open(tag(user, 'limit="50" target="_blank"'));
    const bell = bellOf(page);
    await shown(page, links.length);
    await bell.open();
    for (const [i, [href, target]] of links.entries()) {
      const main = bell.row(`link ${i}.`).locator('.main');
      const to = await main.evaluate((element) => (element as HTMLAnchorElement).href ?? null);
      if (target === 'page') assert.ok(to.endsWith('#here'));
      else assert.equal(to, target, `${href}`);
      if (target === null) assert.equal(await main.evaluate((element) => element.tagName), 'BUTTON');
      else assert.equal(await main.getAttribute('rel'), 'noopener');
    }
  });

  test('a link that is followed is read on the page it leads to', async () => {
    const user = newUser();
    await send(user, { subject: 'an order', href: '/elsewhere' });
    const page = await site.open(tag(user));
    await shown(page, 1);
    await bellOf(page).open();
    await bellOf(page).row('an order').locator('a').click();
    await page.waitForURL('**/elsewhere');
    await until('it is read', async () => (await site.push.counts(user)).unread === 0);
  });

  for (const viewport of [
    { width: 320, height: 640 },
    { width: 1280, height: 800 },
  ])
    test(`a toast covers a corner at most, whatever it says: ${viewport.width} px`, async () => {
      const user = newUser();
      const page = await site.open(`<h1>A page</h1>${tag(user)}`, { viewport });
      const bell = bellOf(page);
      await until('connected', () => isConnected(page));
      for (const subject of [
        'x'.repeat(10_000),
        'many words '.repeat(50),
        '\n\n\n\n\n\n\n\nlines\n'.repeat(9),
      ]) {
        await send(user, { subject, from: 'f'.repeat(500), text: 't'.repeat(5_000) });
        await until('a toast', async () => (await bell.toasts.count()) > 0);
        for (const toast of await bell.toasts.all()) {
          const box = await toast.boundingBox();
          assert.ok(box !== null && box.height < 150, `${box?.height} px high`);
          assert.ok(box.x >= 0 && box.x + box.width <= viewport.width && box.width <= 400, 'beside the page');
          assert.ok(box.y >= 0 && box.y + box.height <= viewport.height);
        }
      }
      assert.ok((await bell.toasts.count()) <= 3);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
    });

  test('a toast tells of new mail, opens it, and goes when it is read elsewhere; many are one', async () => {
    const user = newUser();
    const page = await site.open(`<input id="field">${tag(user)}`);
    const other = await site.open(tag(user, 'toast="off"'));
    const bell = bellOf(page);
    for (const one of [page, other]) await until('connected', () => isConnected(one));
    await send(user, { subject: 'first', from: 'bob', text: 'one\ntwo' });
    await bell.toasts.filter({ hasText: 'first' }).waitFor();
    assert.match((await bell.announced.textContent()) ?? '', /New message from .bob.: .first./u);
    assert.equal(await bellOf(other).toasts.count(), 0);
    await bellOf(other).open();
    await bellOf(other).inside('[part=mark-all]').click();
    await until('the toast to go', async () => (await bell.toasts.count()) === 0);
    // An open list has seen what comes, so nobody else is told.
    await other.keyboard.press('Escape');

    await send(user, { subject: 'second', text: 'one\ntwo' });
    await bell.toasts.locator('.main').click();
    await bell.row('second').locator('[part=body]').filter({ hasText: 'two' }).waitFor();
    await page.keyboard.press('Escape');
    await Promise.all(['a', 'b', 'c', 'd'].map((subject) => send(user, { subject })));
    await bell.toasts.filter({ hasText: '4 new messages' }).waitFor();
    assert.equal(await bell.toasts.count(), 1);

    // The list has what they tell.
    await bell.open();
    await until('the toast to go', async () => (await bell.toasts.count()) === 0);
    await page.keyboard.press('Escape');
    await send(user, { subject: 'last' });
    await bell.toasts.filter({ hasText: 'last' }).waitFor();

    // The focus comes back to where it was.
    await page.locator('#field').focus();
    await bell.toasts.locator('[part=dismiss]').focus();
    await page.keyboard.press('Escape');
    await until('the toast to go', async () => (await bell.toasts.count()) === 0);
    assert.equal(await focused(page), 'field');
  });

  test('all by the keyboard: the focus goes in, through the list, out and back, and is never lost', async () => {
    const user = newUser();
    await sendMany(user, 3);
    const page = await site.open(`<button id="before">b</button>${tag(user)}<button id="after">a</button>`);
    const bell = bellOf(page);
    await shown(page, 3);
    await page.locator('#before').focus();
    await page.keyboard.press('Tab');
    assert.equal(await focused(page), 'button');
    await page.keyboard.press('Enter');
    await bell.row('mail 3').waitFor();
    assert.equal(await focused(page), 'panel');
    assert.equal(await bell.button.getAttribute('aria-expanded'), 'true');
    const visible = () =>
      page.evaluate(() => getComputedStyle(document.activeElement!.shadowRoot!.activeElement!).outlineStyle);
    const parts: (string | undefined)[] = [];
    for (let i = 0; i < 5; i++) {
      await page.keyboard.press('Tab');
      parts.push((await focused(page)) ?? '');
      assert.equal(await visible(), 'solid');
    }
    assert.deepEqual(parts, ['mark-all', 'close', 'mail', 'action', 'action']);
    const at = () =>
      page.evaluate(
        () => document.activeElement!.shadowRoot!.activeElement!.closest('li')?.textContent ?? '',
      );
    await page.keyboard.press('ArrowDown');
    assert.match(await at(), /mail 2/);
    await page.keyboard.press('End');
    assert.match(await at(), /mail 1/);
    await page.keyboard.press('ArrowDown');
    assert.match(await at(), /mail 1/, 'no trap and no wrap');
    await page.keyboard.press('Home');
    await page.keyboard.press('Enter');
    await shown(page, 2);
    assert.equal(await bell.row('mail 3').locator('.main').getAttribute('aria-expanded'), 'true');

    // Archived from the keyboard: the focus goes to the next one.
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await until('two rows', async () => (await bell.rows.count()) === 2);
    assert.match(await at(), /mail 2/);
    await page.keyboard.press('Escape');
    await bell.panel.waitFor({ state: 'hidden' });
    assert.equal(await focused(page), 'button');
    assert.equal(await bell.button.getAttribute('aria-expanded'), 'false');

    // On with Tab from the last control: the panel is left, and has closed.
    await page.keyboard.press('Enter');
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(page), 'button');
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(page), 'before');
    await bell.panel.waitFor({ state: 'hidden' });
    await bell.button.focus();
    await page.keyboard.press('Enter');
    for (let i = 0; (await focused(page)) !== 'after'; i++) {
      assert.ok(i < 12, 'no way out');
      await page.keyboard.press('Tab');
    }
    await bell.panel.waitFor({ state: 'hidden' });
    assert.equal(await focused(page), 'after');

    // A press elsewhere closes it, and leaves the focus there.
    await bell.open();
    await page.locator('#before').click();
    await bell.panel.waitFor({ state: 'hidden' });
    assert.equal(await focused(page), 'before');
  });

  test('Escape closes the list or a toast, and not the dialog of the page around it', async () => {
    const user = newUser();
    const page = await site.open(`<dialog>${tag(user)}</dialog>`);
    await page.locator('dialog').evaluate((dialog: HTMLDialogElement) => dialog.showModal());
    await bellOf(page).open();
    await page.keyboard.press('Escape');
    await bellOf(page).panel.waitFor({ state: 'hidden' });
    assert.equal(await page.locator('dialog').evaluate((dialog: HTMLDialogElement) => dialog.open), true);
    await send(user, 'hello');
    await bellOf(page).toasts.first().locator('.main').focus();
    await page.keyboard.press('Escape');
    await until('the toast to go', async () => (await bellOf(page).toasts.count()) === 0);
    assert.equal(await page.locator('dialog').evaluate((dialog: HTMLDialogElement) => dialog.open), true);
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('dialog').evaluate((dialog: HTMLDialogElement) => dialog.open), false);
  });

  test('the server goes and comes back: it says so, keeps the list, and misses nothing', async () => {
    const user = newUser();
    await send(user, 'before');
    const page = await site.open(tag(user));
    const bell = bellOf(page);
    await shown(page, 1);
    await bell.open();
    await bell.row('before').waitFor();
    const states = await page.evaluateHandle(() => {
      const seen: string[] = [];
      document.addEventListener('tidings-state', (event) => seen.push((event as CustomEvent).detail.state));
      return seen;
    });
    await site.down();
    await bell.inside('[part=note]').filter({ hasText: 'No connection' }).waitFor();
    assert.equal(await bell.rows.count(), 1);
    await bell.announced.filter({ hasText: 'No connection' }).waitFor({ state: 'attached' });
    await bell.inside('[part=try-now]').focus();
    await send(user, 'meanwhile');
    await site.up();
    await page.keyboard.press('Enter');
    await bell.row('meanwhile').waitFor();
    await bell.inside('[part=note]').waitFor({ state: 'hidden' });
    // The button that had the focus is hidden now.
    assert.equal(await focused(page), 'panel');
    assert.deepEqual(await states.jsonValue(), ['offline', 'connected']);
  });

  test('signed out: nothing of the user’s is shown any more, and there is a way to sign in', async () => {
    const user = newUser();
    await send(user, 'a secret');
    const page = await site.open(tag(user, 'sign-in-url="/login" title-badge'));
    const bell = bellOf(page);
    await shown(page, 1);
    await bell.open();
    await bell.row('a secret').waitFor();
    assert.equal(await page.title(), '(1) A page');
    await site.push.disconnect(user);
    await bell.inside('[part=said]').filter({ hasText: 'You are signed out.' }).waitFor();
    assert.equal(await bell.rows.count(), 0);
    assert.equal(await bell.badge.isVisible(), false);
    assert.equal(await page.title(), 'A page');
    assert.equal(await bell.inside('[part=sign-in]').getAttribute('href'), `${site.url}/login`);
    await page
      .locator('tidings-bell')
      .evaluate((element) => element.setAttribute('sign-in-url', 'javascript:alert(1)'));
    await bell.inside('[part=sign-in]').waitFor({ state: 'hidden' });
  });

  test('a ticket from an address: nobody signed in, a form to sign in, an error, and one that holds', async () => {
    const user = newUser();
    await send(user, 'by ticket');
    for (const [status, type, body] of [
      [401, 'text/plain', ''],
      [403, 'text/plain', 'no'],
      [200, 'text/html; charset=utf-8', '<form>sign in</form>'],
      [200, 'text/plain', ''],
    ] as const) {
      site.ticket = (_, response) => void response.writeHead(status, { 'Content-Type': type }).end(body);
      const page = await site.open('<tidings-bell ticket-url="/ticket" open></tidings-bell>');
      await bellOf(page).inside('[part=said]').filter({ hasText: 'You are signed out.' }).waitFor();
      await page.context().close();
    }
    let asked = 0;
    site.ticket = (_, response) => {
      if (asked++ === 0) response.writeHead(500).end();
      else response.end(`${signTicket(user, { secret: SECRET, lifetime: 60_000 })}\n`);
    };
    const page = await site.open('<tidings-bell ticket-url="/ticket"></tidings-bell>');
    await shown(page, 1);
    assert.ok(asked > 1);

    const ticket = signTicket(user, { secret: SECRET, lifetime: 60_000 });
    const other = await site.open('<tidings-bell></tidings-bell>', {
      before: `document.addEventListener('DOMContentLoaded', () => {
        document.querySelector('tidings-bell').ticket = async () => '${ticket}'; }, true);`,
    });
    await shown(other, 1);
  });

  test('several bells of a page: one session, one toast, one number in the title; each opens by itself', async () => {
    const user = newUser();
    const page = await site.open(
      `<p id="one">${tag(user, 'title-badge')}</p><p id="two">${tag(user, 'title-badge')}</p>`,
    );
    await until('connected', () => isConnected(page));
    await send(user, 'for both');
    for (const which of ['#one tidings-bell', '#two tidings-bell']) await bellOf(page, which).badge.waitFor();
    await bellOf(page).toasts.first().waitFor();
    assert.equal(await bellOf(page).toasts.count(), 1);
    assert.equal(await page.title(), '(1) A page');
    assert.equal((await site.push.sessions(user)).length, 1);
    await bellOf(page, '#two tidings-bell').open();
    assert.equal(await bellOf(page, '#one tidings-bell').panel.isVisible(), false);
    await page.keyboard.press('Escape');
    await bellOf(page, '#one tidings-bell').open();
    await bellOf(page, '#one tidings-bell').row('for both').locator('.main').click();
    for (const which of ['#one tidings-bell', '#two tidings-bell'])
      await bellOf(page, which).badge.waitFor({ state: 'hidden' });
    assert.equal(await page.title(), 'A page');
    // Bells of two users have their own.
    const other = newUser();
    await send(other, 'for the other');
    await page.evaluate((name) => {
      document.querySelector('#two tidings-bell')!.setAttribute('user', name);
    }, other);
    await bellOf(page, '#two tidings-bell').badge.waitFor();
    assert.equal(await bellOf(page, '#one tidings-bell').badge.isVisible(), false);
  });

  test('bells in all tabs of a browser: one session, each tells of new mail, one reads for all', async () => {
    const user = newUser();
    const context = await browser.newContext({ locale: 'en-GB' });
    const pages: Page[] = [];
    for (let i = 0; i < 4; i++) pages.push(await site.open(tag(user), { context }));
    for (const page of pages) await until('connected', () => isConnected(page));
    await send(user, 'for all tabs');
    for (const page of pages) await bellOf(page).toasts.filter({ hasText: 'for all tabs' }).waitFor();
    assert.equal((await site.push.sessions(user)).length, 1);
    // The one that was there first, and so has the connection, goes.
    await pages.shift()!.close();
    await bellOf(pages[0]!).toasts.locator('.main').click();
    for (const page of pages) await bellOf(page).badge.waitFor({ state: 'hidden' });
    await send(user, 'more');
    for (const page of pages) await shown(page, 1);
    assert.equal((await site.push.sessions(user)).length, 1);
  });

  test('moved, it stays connected; removed, it leaves; put back, it is there again', async () => {
    const user = newUser();
    await send(user, 'hello');
    const page = await site.open(`<div id="a">${tag(user, 'open')}</div><div id="b"></div>`);
    const bell = bellOf(page);
    await bell.row('hello').waitFor();
    const [session] = await site.push.sessions(user);
    await page.evaluate(() => document.querySelector('#b')!.append(document.querySelector('tidings-bell')!));
    await shown(page, 1);
    assert.equal(await bell.panel.isVisible(), false);
    assert.equal((await site.push.sessions(user))[0]?.session, session?.session);
    await page.evaluate(() => {
      const element = document.querySelector('tidings-bell')!;
      Object.assign(window, { element });
      element.remove();
    });
    await until('it to leave', async () => (await site.push.sessions(user)).length === 0);
    await send(user, 'meanwhile');
    await page.evaluate('document.body.append(element)');
    await shown(page, 2);
    await bell.open();
    await bell.row('meanwhile').waitFor();
    await bell.row('hello').waitFor();
  });

  for (const mode of ['open', 'closed'] as const)
    test(`in a shadow root that is ${mode} it can be used, what is pressed beside it closes it, and its language counts`, async () => {
      const user = newUser();
      await send(user, 'hello');
      const page = await site.open('<p id="page">page</p><div id="host" lang="en"></div>');
      await page.evaluate(`
        var bell = document.createElement('tidings-bell'), beside = document.createElement('p');
        var inside = (selector) => bell.shadowRoot.querySelector(selector);
        bell.setAttribute('user', '${user}');
        beside.textContent = 'beside';
        document.querySelector('#host').attachShadow({ mode: '${mode}' }).append(beside, bell);
      `);
      const press = async (element: string): Promise<void> => {
        const [x, y] = (await page.evaluate(`(() => {
          const { x, y } = ${element}.getBoundingClientRect();
          return [x + 3, y + 3];
        })()`)) as [number, number];
        await page.mouse.click(x, y);
      };
      const isOpen = () => page.evaluate('bell.open');
      await until('a mail', () => page.evaluate('bell.counts?.unread === 1'));
      for (const beside of ['beside', `document.querySelector('#page')`]) {
        await press(`inside('[part=button]')`);
        assert.equal(await isOpen(), true);
        await press(beside);
        assert.equal(await isOpen(), false);
      }
      await press(`inside('[part=button]')`);
      await until('the row', () => page.evaluate(`inside('li .main') !== null`));
      await press(`inside('li .main')`);
      await until('it to be read', async () => (await site.push.counts(user)).unread === 0);
      assert.equal(await isOpen(), true);
      await page.evaluate(`document.querySelector('#host').lang = 'zh'`);
      await until('Chinese', () => page.evaluate(`inside('[part=title]').textContent === '站内信'`));
    });

  test('English, Chinese, texts of one’s own; the language can change at any time', async () => {
    const user = newUser();
    await send(user, { subject: 'x', from: '张伟' });
    const page = await site.open(tag(user, 'open'), { lang: 'zh-CN' });
    const bell = bellOf(page);
    const title = (text: string) => bell.inside('[part=title]').filter({ hasText: text }).waitFor();
    await title('站内信');
    await until(
      'the name',
      async () => (await bell.button.getAttribute('aria-label')) === '站内信, 1 条未读',
    );
    await page.evaluate(() => (document.documentElement.lang = 'en'));
    await title('Messages');
    await page.evaluate(() => (document.body.lang = 'zh'));
    await title('站内信');
    await page.evaluate(() => document.body.removeAttribute('lang'));
    await title('Messages');
    assert.equal(await bell.row('x').getByRole('button', { name: 'Mark as read' }).count(), 1);
    await page.evaluate(() => document.querySelector('tidings-bell')!.setAttribute('lang', 'zh-TW'));
    await title('站内信');
    await page.evaluate(() => document.querySelector('tidings-bell')!.setAttribute('lang', 'xx-no such'));
    await title('Messages');
    await page.evaluate(() =>
      document
        .querySelector('tidings-bell')!
        .setAttribute('texts', '{"title":"Nachrichten","close":null,"more":7}'),
    );
    await title('Nachrichten');
    assert.equal(await bell.inside('[part=close]').getAttribute('aria-label'), 'Close');
    await page.evaluate(`
      customElements.get('tidings-bell').texts.fr = { title: 'Courrier' };
      document.querySelector('tidings-bell').removeAttribute('texts');
      document.querySelector('tidings-bell').lang = 'fr-CA';`);
    await title('Courrier');
    await page.evaluate(`document.querySelector('tidings-bell').texts = { title: 'Post' }`);
    await title('Post');
  });

  test('a language that a script below the bell’s adds while the page is parsed holds for the bell', async () => {
    const page = await site.open(tag(newUser(), 'open'), {
      lang: 'de',
      before: `customElements.whenDefined('tidings-bell').then(({ texts }) => { texts.de = { title: 'Nachrichten' }; });`,
    });
    await bellOf(page).inside('[part=title]').filter({ hasText: 'Nachrichten' }).waitFor();
  });

  test('right to left it is mirrored, and stays within the window', async () => {
    const user = newUser();
    await send(user, { subject: 'שלום', from: 'דנה' });
    for (const width of [1000, 340]) {
      const page = await site.open(`<div>${tag(user)}</div>`, {
        dir: 'rtl',
        lang: 'he',
        viewport: { width, height: 600 },
      });
      const bell = bellOf(page);
      await shown(page, 1);
      await bell.open();
      await bell.row('שלום').waitFor();
      const [panel, dot, close] = await Promise.all(
        ['[part=panel]', '[part=dot]', '[part=close]'].map((part) => bell.inside(part).boundingBox()),
      );
      assert.ok(panel!.x >= 0 && panel!.x + panel!.width <= width);
      assert.ok(dot!.x > panel!.x + panel!.width - 40, 'the dot is on the right');
      assert.ok(close!.x < panel!.x + 40, 'the cross is on the left');
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
    }
  });

  test('at the bottom of a page it opens upwards, and never over itself or out of the window', async () => {
    const user = newUser();
    await sendMany(user, 12);
    for (const place of [
      'bottom: 4px; left: 4px',
      'bottom: 4px; right: 4px',
      'top: 4px; left: 4px',
      'top: 50%; left: 50%',
    ]) {
      const page = await site.open(`<p id="place">${tag(user)}</p>`, {
        viewport: { width: 900, height: 600 },
      });
      await page.evaluate((style) => {
        document.getElementById('place')!.style.cssText = `position: fixed; margin: 0; ${style}`;
      }, place);
      const bell = bellOf(page);
      await shown(page, 12);
      await bell.open();
      await bell.row('mail 1t').waitFor();
      const [button, panel] = await Promise.all([bell.button.boundingBox(), bell.panel.boundingBox()]);
      assert.ok(panel!.x >= 0 && panel!.x + panel!.width <= 900, place);
      assert.ok(panel!.y >= 0 && panel!.y + panel!.height <= 600, place);
      assert.ok(panel!.y >= button!.y + button!.height || panel!.y + panel!.height <= button!.y, place);
      await page.context().close();
    }
  });

  test('dark and light, by the page’s color-scheme and by attribute; whoever wants less motion gets none', async () => {
    const user = newUser();
    const background = (page: Page) =>
      bellOf(page).panel.evaluate((panel) => getComputedStyle(panel).backgroundColor);
    const [light, dark] = ['rgb(255, 255, 255)', 'rgb(26, 34, 48)'];
    const page = await site.open(tag(user, 'open'), { colorScheme: 'dark', reducedMotion: 'reduce' });
    await bellOf(page).panel.waitFor();
    assert.equal(await background(page), light, 'as the page knows no dark');
    await page.evaluate(() => {
      const meta = document.createElement('meta');
      meta.name = 'color-scheme';
      meta.content = 'light dark';
      document.head.append(meta);
    });
    await until('dark', async () => (await background(page)) === dark);
    await page.emulateMedia({ colorScheme: 'light' });
    await until('light', async () => (await background(page)) === light);
    await page.evaluate(() => document.querySelector('tidings-bell')!.setAttribute('theme', 'dark'));
    assert.equal(await background(page), dark);
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.evaluate(() => document.querySelector('tidings-bell')!.setAttribute('theme', 'light'));
    assert.equal(await background(page), light);
    const animation = () => bellOf(page).panel.evaluate((panel) => getComputedStyle(panel).animationName);
    assert.equal(await animation(), 'none');
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    assert.notEqual(await animation(), 'none');
  });

  test('the title has the number, whatever the page does to its title', async () => {
    const user = newUser();
    await sendMany(user, 2);
    const page = await site.open(tag(user, 'title-badge'));
    await until('(2)', async () => (await page.title()) === '(2) A page');
    await page.evaluate(() => (document.title = 'Another'));
    await until('(2) Another', async () => (await page.title()) === '(2) Another');
    await send(user, 'one more');
    await until('(3) Another', async () => (await page.title()) === '(3) Another');
    await page.evaluate(() => document.querySelector('tidings-bell')!.removeAttribute('title-badge'));
    await until('Another', async () => (await page.title()) === 'Another');
  });

  test('the title has the number as long as one bell of the page shows it there', async () => {
    const user = newUser();
    await sendMany(user, 2);
    const page = await site.open(
      `${tag(user, 'title-badge id="one"')}${tag(user, 'title-badge')}${tag(user)}`,
    );
    const title = (text: string) => until(text, async () => (await page.title()) === text);
    await title('(2) A page');
    await send(user, 'one more');
    await title('(3) A page');
    await page.evaluate(`document.querySelector('#one').remove()`);
    await page.evaluate('new Promise((resolve) => setTimeout(resolve, 20))');
    await title('(3) A page');
    await page.evaluate(`document.querySelector('tidings-bell').remove()`);
    await title('A page');
  });

  test('removed, nothing of it stays: no listener, timer, observer or lock, and its memory is given back', async () => {
    const user = newUser();
    const page = await site.open('<main></main>', {
      before: `
        Object.assign(window, { timers: new Set(), watched: new Set() });
        for (const [set, clear] of [['setInterval', 'clearInterval'], ['setTimeout', 'clearTimeout']]) {
          const [begin, end] = [window[set], window[clear]];
          window[set] = (act, ...rest) => {
            const id = begin(() => { if (set === 'setTimeout') timers.delete(id); act(); }, ...rest);
            timers.add(id);
            return id;
          };
          window[clear] = (id) => { timers.delete(id); end(id); };
        }
        var { observe, disconnect } = MutationObserver.prototype;
        MutationObserver.prototype.observe = function (...rest) { watched.add(this); return observe.apply(this, rest); };
        MutationObserver.prototype.disconnect = function () { watched.delete(this); return disconnect.call(this); };`,
    });
    const session = await page.context().newCDPSession(page);
    const kept = async (): Promise<string[]> => {
      const all = [`${await page.evaluate('watched.size')} observers`];
      for (const expression of ['window', 'document']) {
        const { result } = await session.send('Runtime.evaluate', { expression });
        const found = await session.send('DOMDebugger.getEventListeners', { objectId: result.objectId! });
        all.push(...found.listeners.map(({ type }) => `${expression} ${type}`));
      }
      return all.sort();
    };
    const round = async (): Promise<void> => {
      await page.evaluate((name) => {
        const bell = document.createElement('tidings-bell');
        for (const [key, value] of Object.entries({
          user: name,
          'title-badge': '',
          notifications: '',
          toast: '30000',
        }))
          bell.setAttribute(key, value);
        document.querySelector('main')!.append(bell);
        Object.assign(window, { gone: new WeakRef(bell) });
      }, user);
      await until('connected', () => isConnected(page));
      await send(user, 'a toast');
      await bellOf(page).toasts.first().waitFor();
      await bellOf(page).open();
      await bellOf(page).rows.first().getByRole('button', { name: 'Archive' }).click();
      await send(user, 'another');
      await bellOf(page).row('another').first().waitFor();
      await page.evaluate(`document.querySelector('tidings-bell').remove()`);
      await until('it to leave', async () => (await site.push.sessions(user)).length === 0);
      const left = () =>
        page.evaluate(`navigator.locks.query().then(({ held, pending }) =>
          [timers.size, held.length, pending.length, document.title].join())`);
      await until('no timer and no lock', async () => (await left()) === '0,0,0,A page');
    };
    // What is made once for all bells of a page, and for the test, is made.
    await round();
    const before = await kept();
    await round();
    assert.deepEqual(await kept(), before);
    await until('its memory', async () => {
      await session.send('HeapProfiler.collectGarbage');
      return page.evaluate('gone.deref() === undefined');
    });
  });

  test('in a sandboxed frame, which has no storage and no locks, it connects by itself, and all of it can be used', async () => {
    const user = newUser();
    await send(user, 'hello');
    const inner = await site.open(tag(user, 'notifications title-badge'));
    const path = inner.url();
    const page = await site.open('<main></main>');
    await page.evaluate((src) => {
      const frame = document.createElement('iframe');
      frame.setAttribute('sandbox', 'allow-scripts');
      Object.assign(frame, { src, width: 600, height: 500 });
      document.querySelector('main')!.append(frame);
    }, path);
    const frame = page.frameLocator('iframe').locator('tidings-bell');
    const inside = (selector: string) => frame.locator(selector);
    await inside('[part=badge]').filter({ hasText: '1' }).waitFor();
    await until('two sessions', async () => (await site.push.sessions(user)).length === 2);
    await send(user, 'another');
    await inside('[part=toast]').filter({ hasText: 'another' }).waitFor();
    await inside('[part=button]').click();
    await inside('li').filter({ hasText: 'hello' }).locator('.main').click();
    await until('it to be read', async () => (await site.push.counts(user)).unread === 1);
    // A frame of no origin may not notify.
    await inside('[part=notify]').filter({ hasText: 'blocks notifications' }).waitFor();
    await page.keyboard.press('Escape');
    await inside('[part=panel]').waitFor({ state: 'hidden' });
  });

  test('notifications of the system: asked for by a click, shown while no tab is seen, once', async () => {
    const user = newUser();
    const context = await browser.newContext({ locale: 'en-GB' });
    // What Chromium would show on a desktop, and asks; tabs of a test can't be hidden otherwise.
    const before = `
      Object.assign(window, { asked: 0, notices: [], isHidden: false, permission: 'default' });
      window.Notification = class { constructor(title, options) { notices.push([title, options.tag]); } close() {}
        static get permission() { return permission; }
        static async requestPermission() { asked++; permission = 'granted'; return permission; } };
      Object.defineProperty(Document.prototype, 'hidden', { get: () => isHidden });
      window.hide = (on) => { isHidden = on; document.dispatchEvent(new Event('visibilitychange')); };
      window.mails = [];
      document.addEventListener('tidings-mail', ({ detail }) => mails.push(detail.data));`;
    const [page, other] = [
      await site.open(tag(user, 'notifications'), { context, before }),
      await site.open(tag(user, 'notifications'), {
        context,
        before: before.replace("'default'", "'granted'"),
      }),
    ];
    for (const one of [page, other]) await until('connected', () => isConnected(one));
    await page.evaluate('hide(true)');
    await other.evaluate('hide(true)');
    await send(user, 'too early');
    await shown(page, 1);
    assert.equal(await page.evaluate('asked + notices.length'), 0);
    await page.evaluate('hide(false)');
    const bell = bellOf(page);
    await bell.open();
    await bell.inside('[part=notify]').filter({ hasText: 'Notify me' }).click();
    await bell.inside('[part=notify]').filter({ hasText: 'Don’t notify' }).waitFor();
    assert.equal(await page.evaluate('asked'), 1);
    await page.keyboard.press('Escape');

    // One tab is seen: the other, which is not, keeps quiet.
    await send(user, 'seen');
    await shown(other, 2);
    await bell.toasts.first().waitFor();
    await until('the other one is told', () => other.evaluate(`mails.includes('seen')`));
    // Locks are asked for in turn: what the other one has asked for is decided by now.
    const isHeld = `navigator.locks.request('tidings-bell:notify', { ifAvailable: true }, (lock) => lock === null)`;
    assert.equal(await other.evaluate(isHeld), true);
    assert.equal(await other.evaluate('notices.length'), 0);
    await page.evaluate('hide(true)');
    await send(user, { subject: 'hidden', from: 'bob' });
    await until('a notification', () =>
      page.evaluate('notices.length > 0 && notices.at(-1)[0].includes("hidden")'),
    );
    const tags = new Set<unknown>();
    for (const one of [page, other])
      for (const [, id] of (await one.evaluate('notices')) as [string, string][]) tags.add(id);
    assert.equal(tags.size, 1, 'the system shows one of those with the same tag');
    await page.evaluate('hide(false)');
    await bell.open();
    await bell.inside('[part=notify]').click();
    await bell.inside('[part=notify]').filter({ hasText: 'Notify me' }).waitFor();
    await page.evaluate('hide(true)');
    await send(user, 'no more');
    await shown(page, 4);
    assert.equal(await page.evaluate(`notices.some(([title]) => title.includes('no more'))`), false);
  });

  test('rows of one’s own: a template or a function; what they throw ends nothing but themselves', async () => {
    const user = newUser();
    await send(user, { subject: '<b>bold</b>', from: 'eve', extra: 'more' });
    const page = await site.open(`
      <tidings-bell user="${user}" open><template><strong data-field="subject"></strong> by <i data-field="from"></i></template>
      </tidings-bell>`);
    const bell = bellOf(page);
    await page.locator('tidings-bell > [slot] > strong').waitFor();
    assert.equal(await page.locator('tidings-bell > [slot]').textContent(), '<b>bold</b> by eve');
    await page.evaluate(`
      var bell = document.querySelector('tidings-bell');
      bell.row = (item, mail) => { const p = document.createElement('p'); p.textContent = mail.subject + ' ' + item.data.extra; return p; };`);
    await page.locator('tidings-bell > [slot] > p').waitFor();
    assert.equal(await page.locator('tidings-bell > [slot]').count(), 1);
    assert.equal(await page.locator('tidings-bell > [slot] > p').textContent(), '<b>bold</b> more');
    await page.evaluate(
      `bell.replaceChildren(); bell.row = null; bell.mail = (data) => ({ subject: 'own ' + data.extra, href: 'javascript:1' })`,
    );
    await bell.row('own more').waitFor();
    assert.equal(await bell.inside('li a').count(), 0);
    await page.evaluate(`bell.mail = () => { throw new Error('of the page'); }`);
    await bell.row('<b>bold</b>').waitFor();
    assert.deepEqual([...new Set(site.errors())], ['Error: of the page']);
  });

  test('a page can deal with new mail and with what is pressed itself', async () => {
    const user = newUser();
    const page = await site.open(tag(user));
    const bell = bellOf(page);
    await until('connected', () => isConnected(page));
    await page.evaluate(`
      var heard = [];
      for (const name of ['tidings-mail', 'tidings-open', 'tidings-toggle', 'tidings-counts'])
        document.addEventListener(name, (event) => {
          heard.push([name, event.detail.mail?.subject ?? event.detail.open ?? event.detail.unread]);
          if (name === 'tidings-mail' || name === 'tidings-open') event.preventDefault();
        });`);
    await send(user, { subject: 'quiet', href: '/elsewhere' });
    await shown(page, 1);
    await until('the event', () => page.evaluate(`heard.some(([name]) => name === 'tidings-mail')`));
    await bell.open();
    await bell.row('quiet').locator('a').click();
    await until('the event', () => page.evaluate(`heard.some(([name]) => name === 'tidings-open')`));
    assert.equal(await bell.toasts.count(), 0);
    assert.equal(await bell.announced.textContent(), '');
    assert.ok(!page.url().includes('elsewhere'));
    assert.equal((await site.push.counts(user)).unread, 1);
    const heard = (await page.evaluate('heard')) as [string, unknown][];
    for (const one of [
      ['tidings-mail', 'quiet'],
      ['tidings-open', 'quiet'],
      ['tidings-toggle', true],
      ['tidings-counts', 1],
    ])
      assert.ok(
        heard.some(([name, value]) => name === one[0] && value === one[1]),
        `${one}`,
      );
  });

  test('two hundred messages: page by page, and the focus goes on', async () => {
    const user = newUser();
    await sendMany(user, 200);
    const page = await site.open(tag(user, 'limit="50"'));
    const bell = bellOf(page);
    await shown(page, '99+');
    assert.equal(await bell.button.getAttribute('aria-label'), 'Messages, 200 unread');
    await bell.open();
    for (const count of [50, 100, 150, 200]) {
      await until(`${count} rows`, async () => (await bell.rows.count()) === count);
      if (count < 200) await bell.inside('[part=more]').click();
    }
    await bell.inside('[part=more]').waitFor({ state: 'hidden' });
    assert.match((await bell.rows.last().textContent()) ?? '', /mail 1t/);
    assert.ok((await focused(page)) !== 'BODY');
    await bell.inside('[part=mark-all]').click();
    await bell.badge.waitFor({ state: 'hidden' });
    assert.equal(await focused(page), 'panel');
    await until('all', async () => (await site.push.counts(user)).unread === 0);
  });

  test('set before the script is there, properties count; a client of the page’s own is used, and stays the page’s', async () => {
    const user = newUser();
    await send(user, 'hello');
    const page = await site.open('<main></main>');
    await page.evaluate((name) => {
      const bell = document.createElement('tidings-bell');
      const { tidings } = globalThis as unknown as { tidings: { connect(options: object): unknown } };
      const client = tidings.connect({ user: name });
      Object.assign(window, { bell, client });
      Object.assign(bell, { client, open: true });
      document.querySelector('main')!.append(bell);
    }, user);
    await bellOf(page).row('hello').waitFor();
    assert.equal((await site.push.sessions(user)).length, 1);
    await page.evaluate('bell.remove()');
    await page.evaluate('new Promise((resolve) => setTimeout(resolve, 20))');
    assert.equal(await page.evaluate('client.state.name'), 'connected');

    const early = await site.open('<tidings-bell></tidings-bell>', {
      before: `document.addEventListener('readystatechange', () => {
        const bell = document.querySelector('tidings-bell');
        if (bell && !customElements.get('tidings-bell')) { bell.texts = { title: 'Early' }; bell.open = true; } });`,
    });
    await bellOf(early).inside('[part=title]').filter({ hasText: 'Early' }).waitFor();
  });

  test('numbers that a client of the page’s own gives, and settings that make no sense, break nothing', async () => {
    const page = await site.open('<tidings-bell limit="-3" toast="x" count="y" theme="z"></tidings-bell>');
    await page.evaluate(`
      var counts = undefined;
      var inbox = { get counts() { return counts; }, items: [{ id: 'a', time: 1e300, data: undefined, state: 'other' }, { id: 'b' }],
        hasMore: false, load: async () => {}, markAllSeen: async () => {}, on: () => () => {} };
      var bell = document.querySelector('tidings-bell');
      bell.client = { state: { name: 'connected' }, inbox, on: () => () => {}, connect() {}, close() {} };
      bell.open = true;`);
    const bell = bellOf(page);
    await until('rows', async () => (await bell.rows.count()) === 2);
    for (const [count, text] of [
      [1e300, '99+'],
      [Number.POSITIVE_INFINITY, '99+'],
      [Number.MAX_SAFE_INTEGER, '99+'],
      [99, '99'],
      [1.7, '1'],
      [-5, ''],
      [Number.NaN, ''],
      ['12', ''],
      [null, ''],
    ] as const) {
      await page.evaluate((value) => {
        Object.assign(window, { counts: { unseen: 0, unread: value, all: 0 } });
        document.querySelector('tidings-bell')!.toggleAttribute('title-badge');
      }, count);
      await until(
        `${count}`,
        async () => ((await bell.badge.isVisible()) ? await bell.badge.textContent() : '') === text,
      );
      const box = await bell.badge.boundingBox();
      assert.ok((box?.width ?? 0) < 40);
    }
  });

  for (const colorScheme of ['light', 'dark'] as const)
    test(`axe-core finds nothing, in any state: ${colorScheme}`, async () => {
      const user = newUser();
      const page = await site.open(
        `<main><h1>A page</h1>${tag(user, `theme="${colorScheme}" notifications sign-in-url="/in"`)}</main>`,
      );
      await page.evaluate(
        (scheme) =>
          document.head.append(
            Object.assign(document.createElement('meta'), { name: 'color-scheme', content: scheme }),
          ),
        colorScheme,
      );
      const bell = bellOf(page);
      await page.emulateMedia({ reducedMotion: 'reduce' });
      const check = async (state: string) => assert.deepEqual(await axe(page), [], state);
      await until('connected', () => isConnected(page));
      await check('closed');
      await bell.open();
      await bell.inside('[part=empty]').waitFor();
      await check('empty');
      await page.keyboard.press('Escape');
      await send(user, { subject: 'a toast', from: 'bob' });
      await bell.toasts.first().waitFor();
      await check('toast');
      await sendMany(user, 3);
      await send(user, { subject: 'a link', href: '/x', text: 'and words' });
      await shown(page, 5);
      await bell.open();
      await bell.row('mail 2').locator('.main').click();
      await bell.row('a link').hover();
      await check('list, a message unfolded, one pointed at');
      await bell.row('mail 1').getByRole('button', { name: 'Archive' }).click();
      await bell.inside('[part=undo]').waitFor();
      await check('undo');
      await bell.inside('[part=mark-all]').click();
      await check('all read');
      await site.down();
      await bell.inside('[part=note]').waitFor();
      await check('offline');
      await site.up();
      await bell.inside('[part=note]').waitFor({ state: 'hidden' });
      await site.push.disconnect(user);
      await bell.inside('[part=sign-in]').waitFor();
      await check('signed out');
    });
});

/** Whether the page's bell is connected. */
function isConnected(page: Page): Promise<boolean> {
  return page
    .locator('tidings-bell')
    .first()
    .evaluate((bell) => (bell as { state?: string }).state === 'connected');
}
