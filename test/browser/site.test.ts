/** The site of docs/: `npm run docs` builds it with the API reference, and a reader finds his way in two languages. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Browser, Page } from 'playwright-core';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { needs, uncovered } from '../support/programs.ts';

const PATIENCE = 60_000;
const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
};

describe('the site of docs/', { timeout: 540_000, ...needs('chromium') }, () => {
  let http: Server;
  let browser: Browser;
  let page: Page;
  let errors: string[];
  let base: string;

  before(async () => {
    // Dead links and public names without words end it with an error.
    await promisify(execFile)('npm', ['run', 'docs'], { env: uncovered });
    http = createServer(({ url = '/' }, response) => {
      const { pathname } = new URL(url, 'http://127.0.0.1');
      const file = join('site/dist', decodeURIComponent(pathname).replace(/\/$/, '/index.html'));
      if (!existsSync(file)) return response.writeHead(404).end('not found');
      response.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream');
      response.end(readFileSync(file));
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    base = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    browser = await launchChromium();
    page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
    page.setDefaultTimeout(PATIENCE);
    errors = recordErrors(page);
    page.on('response', (response) => {
      if (response.status() >= 400) errors.push(`${response.status()} ${response.url()}`);
    });
  });
  after(async () => {
    await browser?.close();
    http?.close();
  });

  async function search(words: string, title: RegExp): Promise<void> {
    await page.locator('.VPNavBarSearch button').first().click();
    await page.locator('.VPLocalSearchBox input').fill(words);
    await page.locator('.VPLocalSearchBox .result', { hasText: title }).first().click();
    await page.locator('.VPLocalSearchBox').waitFor({ state: 'detached' });
  }
  const heading = (text: string | RegExp): Promise<void> =>
    page.locator('.vp-doc h1', { hasText: text }).waitFor();

  test('begins with README, and its links and pictures are there', async () => {
    await page.goto(`${base}/`);
    await heading('tidings');
    await page.locator('.vp-doc').getByRole('link', { name: 'docs/endings.md' }).click();
    await heading('session');
    await page.goBack();
    await heading('tidings');
    const pictures = await page
      .locator('.vp-doc img')
      .evaluateAll((images) => images.map((image) => (image as { naturalWidth?: number }).naturalWidth));
    assert.equal(pictures.length, 3);
    assert.ok(pictures.every((width) => width! > 0));
    assert.deepEqual(errors, []);
  });

  test('is searched in English, the reference too', async () => {
    await search('full jitter doubles', /client/i);
    await heading('client');
    await search('isPolicyRequest', /isPolicyRequest/);
    await heading('tidings/policy');
    assert.deepEqual(errors, []);
  });

  test('has the same page in Chinese where there is one, and is searched in Chinese', async () => {
    await page.goto(`${base}/tutorial.html`);
    await page.locator('.VPNavBarTranslations button').hover();
    await page.locator('.VPNavBarTranslations').getByRole('link', { name: '中文' }).click();
    await heading('站内信');
    await search('滚动重启', /接下来/);
    await heading('站内信');
    await page.locator('.vp-doc').getByRole('link', { name: 'spring' }).click();
    await heading('Spring');
    assert.match(page.url(), /\/zh\/spring/);
    // A page without a Chinese text leads to the English one.
    await page
      .locator('.VPSidebar')
      .getByRole('link', { name: /协议一致性/ })
      .click();
    await heading('Conformance');
    await page.locator('.VPNavBarTranslations button').hover();
    await page.locator('.VPNavBarTranslations').getByRole('link', { name: '中文' }).click();
    await page.waitForURL(/\/zh\/$/);
    assert.deepEqual(errors, []);
  });

  test('has the files that pages refer to', async () => {
    await page.goto(`${base}/client.html`);
    const links = await page
      .locator('.vp-doc a[href^="/files/"]')
      .evaluateAll((all) => all.map((link) => (link as unknown as { href: string }).href));
    assert.ok(links.length > 0);
    for (const link of links) assert.equal((await fetch(link)).status, 200, link);
  });
});
