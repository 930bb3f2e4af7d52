/** The people of the story in Chromium: a context for each browser, a tab for each page. */
import assert from 'node:assert/strict';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';

/** `plain`: the page with its own script. `client`: the one with tidings.js. */
export type Kind = 'plain' | 'client';

const PATHS: Record<Kind, string> = { plain: '/', client: '/client' };

export class Person {
  readonly name: string;
  readonly context: BrowserContext;
  readonly tabs: Tab[] = [];

  private constructor(name: string, context: BrowserContext) {
    this.name = name;
    this.context = context;
  }

  /** A browser of the person's own, in which nobody is signed in. */
  static async open(browser: Browser, url: string, name: string): Promise<Person> {
    const context = await browser.newContext({ baseURL: url, ignoreHTTPSErrors: true });
    context.setDefaultTimeout(30_000);
    return new Person(name, context);
  }

  /** Fills in the form. @returns what the page says against it, if it does */
  async signIn(password: string): Promise<string | undefined> {
    const page = await this.context.newPage();
    await page.goto('/');
    assert.equal(new URL(page.url()).pathname, '/login', 'who is not signed in is sent to the form');
    await page.fill('[name=name]', this.name);
    await page.fill('[name=password]', password);
    await page.click('button');
    const answer = page.locator('#problem, #mail');
    await answer.waitFor({ state: 'attached' });
    const refusal = (await answer.getAttribute('id')) === 'problem' ? await answer.textContent() : null;
    await page.close();
    return refusal ?? undefined;
  }

  /** A tab more, connected. */
  async open(kind: Kind): Promise<Tab> {
    const page = await this.context.newPage();
    // Plain pages wait 10 and 60 seconds by their own clock: the story puts it forward.
    if (kind === 'plain') await page.clock.install();
    const tab = new Tab(`${this.name} ${this.tabs.length + 1} (${kind})`, kind, page);
    this.tabs.push(tab);
    await page.goto(PATHS[kind]);
    await tab.connected();
    return tab;
  }

  /** What went wrong inside the pages. */
  errors(): string[] {
    return this.tabs.flatMap((tab) => tab.errors.map((error) => `${tab.name}: ${error}`));
  }
}

export class Tab {
  readonly name: string;
  readonly kind: Kind;
  readonly page: Page;
  readonly errors: string[];
  /** Frames that the page's sockets got. */
  readonly frames: string[] = [];
  /** When its last connection ended. */
  closed = Number.NaN;

  constructor(name: string, kind: Kind, page: Page) {
    this.name = name;
    this.kind = kind;
    this.page = page;
    this.errors = recordErrors(page);
    page.on('websocket', (socket) => {
      socket.on('framereceived', ({ payload }) => this.frames.push(String(payload)));
      socket.on('close', () => {
        this.closed = performance.now();
      });
    });
  }

  async connected(): Promise<void> {
    await until(`${this.name} to be connected`, async () => (await this.state()) === '已连接');
  }

  state(): Promise<string> {
    return this.page.evaluate(`document.getElementById('state')?.textContent ?? ''`);
  }

  /** The ids of the mail that it shows, in its order. */
  mail(): Promise<string[]> {
    return this.page.evaluate(`[...document.querySelectorAll('#mail li')].map((line) => line.id)`);
  }

  text(id: string): Promise<string> {
    return this.page.evaluate(`document.getElementById(${JSON.stringify(id)})?.textContent ?? ''`);
  }

  /** The number on the bell; 0 where it shows none. */
  async unread(): Promise<number> {
    const badge = this.page.locator('#bell [part=badge]');
    return (await badge.isVisible()) ? Number(await badge.textContent()) : 0;
  }

  /** Opens the bell, and there the mail with this text. */
  async read(text: string): Promise<void> {
    await this.page.bringToFront();
    await this.page.locator('#bell [part=button]').click();
    await this.page.locator('#bell [part~=row]').filter({ hasText: text }).locator('[part~=mail]').click();
    await this.page.keyboard.press('Escape');
  }

  async has(id: string): Promise<void> {
    await until(`${id} in ${this.name}`, async () => (await this.mail()).includes(id));
  }

  /** Writes a mail in the page's form. @returns its id */
  async write(to: string, text: string, way: string): Promise<string> {
    // Chromium draws those behind twice a second.
    await this.page.bringToFront();
    await this.page.fill('[name=to]', to);
    await this.page.fill('[name=text]', text);
    await this.page.selectOption('[name=way]', way);
    await this.page.click('#write button');
    const sent = this.page.locator('#sent');
    const said = await until(`${this.name} to have sent`, () => sent.textContent());
    assert.equal(said, '已发送', `sent by ${way}`);
    return (await sent.getAttribute('title')) ?? '';
  }

  /** Waits for the page to be signed out. @returns what it was told */
  async left(): Promise<string> {
    const reason = await until(`${this.name} to be signed out`, () =>
      this.page.evaluate<string>(`document.getElementById('left')?.textContent ?? ''`),
    );
    // Its connection may be that of another tab.
    if (Number.isNaN(this.closed)) this.closed = performance.now();
    return reason;
  }

  /** Presses the button. @returns when it was answered */
  async signOut(): Promise<number> {
    await this.page.bringToFront();
    const answer = this.page.waitForResponse((response) => response.url().endsWith('/logout'));
    await this.page.click('#logout button');
    await answer;
    return performance.now();
  }

  /** Puts the clock of a plain page forward. */
  async later(seconds: number): Promise<void> {
    await this.page.clock.fastForward(seconds * 1000);
  }
}
