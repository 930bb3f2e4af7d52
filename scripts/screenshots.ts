/**
 * `npm run screenshots`: takes the pictures of README.md and docs/bell.md, of the demo as it is: light and dark, desktop
 * and phone. Needs Chromium, and fonts that have Chinese.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import { site } from '../src/cli/site.ts';
import { demoSite } from '../src/demo/index.ts';
import { memoryBroker, PushServer, queryUser } from '../src/index.ts';
import { launchChromium } from '../test/support/chromium.ts';
import { placeScripts } from '../test/support/scripts.ts';
import { smallPng } from './small-png.ts';

const MINUTE = 60_000;
const MAILS: [minutesAgo: number, from: string, subject: string, text: string][] = [
  [3 * 24 * 60, 'Library', 'Your book is ready', 'You can pick it up until Saturday.'],
  [26 * 60, 'Mei', '周末去爬山吗？', '天气预报说是晴天。'],
  [300, 'Accounts', 'Invoice 2024-117 was paid', 'Thank you. The receipt is in your documents.'],
  [95, 'Dispatch', 'Line 3 runs late', 'Please allow for ten minutes more on your way home today.'],
  [
    42,
    'bob',
    'Slides for Thursday',
    'They are in the usual place. Could you look through the numbers on page 7?',
  ],
  [6, 'Mei', 'Lunch?', 'At twelve, in the garden.\n\nI bring the tea, you bring the cake.'],
];

await placeScripts();
const http = createServer().listen(0, '127.0.0.1');
await once(http, 'listening');
const push = new PushServer({
  server: http,
  instance: 'tidings-1',
  broker: memoryBroker(),
  interceptors: [queryUser('operator')],
});
const demo = demoSite({ push, instance: 'tidings-1' });
http.on('request', site({ has: () => false, listener: async () => {} }, { path: '/socketServer', demo }));
const { port } = http.address() as AddressInfo;
const browser = await launchChromium({ windows: true });
const { now } = Date;
// Sent one after another, as time went by.
for (const [ago, from, subject, text] of MAILS) {
  Date.now = () => now() - ago * MINUTE;
  await push.send('alice', { from, subject, text });
}
Date.now = now;
for (const { id } of (await push.inbox('alice', { limit: 3 })).messages.slice(1, 2))
  await push.mark('alice', { as: 'read', ids: [id] });

async function picture(name: string, options: object, prepare: (page: Page) => Promise<void>): Promise<void> {
  const context = await browser.newContext({ locale: 'en-GB', reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${port}/?operator=alice`);
  await page.locator('[data-state=connected]').waitFor();
  await page
    .locator('#list li')
    .nth(MAILS.length - 1)
    .waitFor();
  await prepare(page);
  const png = smallPng(await page.screenshot());
  writeFileSync(`docs/${name}.png`, png);
  console.log(`docs/${name}.png: ${(png.length / 1024).toFixed(0)} KiB`);
  await context.close();
}

const bell = (page: Page) => page.locator('tidings-bell');
const openBell = async (page: Page): Promise<void> => {
  await bell(page).locator('[part=button]').click();
  await bell(page)
    .locator('li')
    .nth(MAILS.length - 1)
    .waitFor();
};
const read = (page: Page) => page.locator('#list button').first().click();
for (const colorScheme of ['light', 'dark'] as const) {
  const desktop = { colorScheme, viewport: { width: 1180, height: 700 } };
  await picture(`demo-${colorScheme}`, desktop, async (page) => {
    if (colorScheme === 'light') await openBell(page);
    else await read(page);
  });
  const phone = { colorScheme, viewport: { width: 390, height: 700 }, hasTouch: true };
  await picture(`demo-phone-${colorScheme}`, phone, async (page) => {
    if (colorScheme === 'dark') await openBell(page);
  });
}
await browser.close();
await push.close({ drain: 0 });
http.closeAllConnections();
http.close();
