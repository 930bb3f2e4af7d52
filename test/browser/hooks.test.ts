/** The hooks of examples/react-inbox and examples/vue-inbox, as their pages use them, side by side in Chromium. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import type { Page } from 'playwright-core';
import { PushServer, queryUser } from '../../src/index.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';

async function script(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`examples/${entry}`],
    alias: { 'tidings/client': resolve('src/client/index.ts') },
    define: {
      'process.env.NODE_ENV': '"development"',
      __VUE_OPTIONS_API__: 'true',
      __VUE_PROD_DEVTOOLS__: 'false',
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
    },
    jsx: 'automatic',
    bundle: true,
    write: false,
  });
  return outputFiles[0]!.text;
}

test('React and Vue show an inbox, and what is done in one is done in the other', {
  timeout: 120_000,
  ...needs('chromium'),
}, async (t) => {
  const scripts = new Map([
    ['/react.js', await script('react-inbox/app.jsx')],
    ['/vue.js', await script('vue-inbox/app.js')],
  ]);
  const http = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://x');
    const found = scripts.get(pathname);
    response.setHeader('Content-Type', found ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(
      found ??
        `<!doctype html><title>t</title><link rel="icon" href="data:,"><div id="app"></div><script src="${pathname}.js"></script>`,
    );
  });
  const push = new PushServer({ server: http, interceptors: [queryUser('operator')], log: () => {} });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  await push.ready;
  const browser = await launchChromium();
  t.after(async () => {
    await browser.close();
    await push.close();
    http.closeAllConnections();
    http.close();
  });
  const errors: string[][] = [];
  const { port } = http.address() as AddressInfo;
  const open = async (name: string): Promise<Page> => {
    const page = await (await browser.newContext()).newPage();
    errors.push(recordErrors(page));
    await page.goto(`http://127.0.0.1:${port}/${name}?user=alice`);
    return page;
  };
  for (const subject of ['one', 'two']) await push.send('alice', { subject });
  const pages = [await open('react'), await open('vue')];
  /** What a page shows: its badge and its rows. */
  const shown = (page: Page) =>
    page.evaluate(`[document.querySelector('b')?.textContent,
      ...[...document.querySelectorAll('li')].map((row) => row.firstChild.textContent + ' ' + row.className)].join()`);
  const both = (what: string) =>
    until(
      `both to show ${what}`,
      async () => {
        const all = await Promise.all(pages.map(shown));
        return all.every((one) => one === what);
      },
      30_000,
    );

  await both('2,two unseen,one unseen');
  await push.send('alice', { subject: 'three' });
  await both('3,three unseen,two unseen,one unseen');
  await pages[0]!.click('li:nth-child(2) button');
  await both('2,three unseen,two read,one unseen');
  await pages[1]!.click('li:nth-child(3) button + button');
  await both('1,three unseen,two read');
  await push.send('alice', { subject: 'brief' }, { replaces: 'key' });
  await push.send('alice', { subject: 'brief again' }, { replaces: 'key' });
  await both('2,brief again unseen,three unseen,two read');
  await pages[0]!.click('#all');
  await both('0,brief again read,three read,two read');
  // Who has left hears nothing, and who comes back sees it all.
  for (const page of pages) await page.click('#toggle');
  await both('');
  await push.send('alice', { subject: 'meanwhile' });
  for (const page of pages) await page.click('#toggle');
  await both('1,meanwhile unseen,brief again read,three read,two read');
  assert.deepEqual(errors.flat(), []);
});
