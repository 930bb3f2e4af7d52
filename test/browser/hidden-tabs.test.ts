/** Tabs of one site that all go by SockJS, over HTTP/1.1: a browser gives them six connections in all. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { clientBundle } from '../../scripts/client-bundle.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { scriptOf } from '../support/scripts.ts';

test(
  'nine tabs over SockJS, eight of them hidden: the ninth loads, and nobody has lost anything',
  needs('chromium'),
  async (t) => {
    const script = await scriptOf(clientBundle);
    const http = createServer((request, response) => {
      const isScript = request.url === '/tidings.js';
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
      response.end(
        isScript
          ? script
          : '<!doctype html><link rel="icon" href="data:,"><script src="/tidings.js"></script>',
      );
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    const push = new PushServer({
      server: http,
      sockjs: { prefix: '/sockjs/socketServer' },
      interceptors: [queryUser('operator')],
      authorize: { publish: () => true },
      log: () => {},
    });
    await push.ready;
    const browser = await launchChromium();
    t.after(async () => {
      await browser.close();
      await push.close();
      http.close();
      http.closeAllConnections();
    });
    const context = await browser.newContext();
    context.setDefaultTimeout(60_000);
    // All tabs of a headless browser count as shown.
    await context.addInitScript(`
    delete globalThis.WebSocket;
    let visibility = 'visible';
    Object.defineProperty(document, 'visibilityState', { get: () => visibility });
    globalThis.look = (state) => { visibility = state; document.dispatchEvent(new Event('visibilitychange')); }
  `);
    const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;
    const errors: string[] = [];
    const open = async (n: number): Promise<Page> => {
      const page = await context.newPage();
      page.on('pageerror', (error) => errors.push(String(error)));
      recordErrors(page);
      await page.goto(url);
      await page.evaluate(`
      var seen = [], errors = [];
      var client = tidings.connect({ user: 'alice', device: 'd${n}' });
      client.on('message', ({ data }) => { seen.push(data); });
      client.on('error', (error) => { errors.push(error); });
    `);
      await until(`tab ${n}`, async () => (await page.evaluate('client.state.name')) === 'connected', 60_000);
      return page;
    };
    const hide = async (tabs: Page[]): Promise<void> => {
      for (const tab of tabs) await tab.evaluate(`look('hidden')`);
      for (const tab of tabs)
        await until('paused', async () => (await tab.evaluate('client.state.name')) === 'paused', 60_000);
    };
    const tabs: Page[] = [];
    // With six streams no connection would be left for what tabs send.
    for (let n = 1; n <= 9; n++) {
      if (n % 4 === 1) await hide(tabs);
      tabs.push(await open(n));
    }
    await push.send('alice', 'while they were hidden');
    // Who has something to say while hidden comes back for it.
    await tabs[0]!.evaluate(`client.publish('news', 1)`);
    await until('the message', () => tabs[0]!.evaluate('seen.length'));
    await hide(tabs.slice(0, 1));
    for (const shown of [tabs.slice(1, 5), tabs.slice(5, 8)]) {
      for (const tab of shown) {
        assert.equal(await tab.evaluate('seen.length'), 0);
        await tab.evaluate(`look('visible')`);
        await until('the message', () => tab.evaluate('seen.length'));
      }
      await hide(shown);
    }
    for (const tab of tabs) {
      assert.deepEqual(await tab.evaluate('seen.length ? seen : null'), ['while they were hidden']);
      assert.deepEqual(await tab.evaluate('errors'), []);
    }
    assert.deepEqual(errors, []);
  },
);
