/** The stock sockjs-client 1.6.1 in Chromium with each of its transports, and the demo without WebSocket. */
import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { SockJsServer } from '../../src/sockjs/index.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { placeScripts } from '../support/scripts.ts';
import { ANY_ORIGIN, everyCharacter, startPage, TRANSPORTS, wellFormed } from './sockjs-page.ts';

const TEXTS: string[] = [
  '"double" \'single\' \\',
  '😀 \u0000\u001f \u2028\u2029 \ufeff\uffff',
  '</script><!--',
  'x'.repeat(5000),
  // What any layer could take for an escape of its own: URLs, JSON, scripts, comments, lines, events.
  '100 % 50% off %20 a%41b %25 %2525 %E4 %zz %u0041 %',
  '\\u0041 \\n \\\\ \\x41 &amp; &#65; <!--<script> ]]> */ // data: id: retry: \r\n\r data\n\n',
  'c[3000,"Go away!"] a["x"] o h',
  // Lone surrogates, and a pair in the wrong order.
  '\ud800 \udc00 \udc00\ud800 x',
  ...everyCharacter(0x800),
];

interface Outcome {
  transport: string;
  received: string[];
  code: number;
  reason: string;
}

describe('sockjs-client in Chromium', needs('chromium'), () => {
  let browser: Browser;
  let page: Page;
  let http: Server;
  let port: number;
  const ends: number[] = [];
  const services: SockJsServer[] = [];

  before(async () => {
    ({ http, port } = await startPage());
    const shared = {
      server: http,
      origins: [`http://127.0.0.1:${port}`],
      disconnectDelay: 20_000,
      responseLimit: 8_000_000,
    };
    services.push(
      new SockJsServer({
        ...shared,
        prefix: '/echo',
        handler: {
          message: (session, data) => {
            session.send(data.toString());
          },
          closed: (_, code) => void ends.push(code),
        },
      }),
      new SockJsServer({
        ...shared,
        prefix: '/close',
        handler: { opened: (session) => session.close(3000, 'Go away!') },
      }),
    );
    browser = await launchChromium();
    page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    await page.goto(`http://127.0.0.1:${port}/`);
  });
  after(async () => {
    await browser?.close();
    for (const service of services) service.close();
    http?.closeAllConnections();
    http?.close();
  });

  /** Opens, sends the texts, waits for as many, closes; or waits for the server to close. */
  function run(url: string, transport: string, texts: string[]): Promise<Outcome> {
    return page.evaluate(
      ({ url, transport, texts }) =>
        new Promise<Outcome>((resolve, reject) => {
          const SockJS = (globalThis as unknown as { SockJS: new (...args: unknown[]) => WebSocket }).SockJS;
          const socket = new SockJS(url, null, { transports: [transport], timeout: 50_000 });
          const received: string[] = [];
          setTimeout(() => reject(new Error(`${transport}: ${received.length} messages in 55 s`)), 55_000);
          let used = '';
          socket.onopen = () => {
            used = (socket as unknown as { transport: string }).transport;
            for (const text of texts) socket.send(text);
          };
          socket.onmessage = ({ data }) => {
            received.push(data);
            if (received.length === texts.length) socket.close(1000, 'enough');
          };
          socket.onclose = ({ code, reason }) => resolve({ transport: used, received, code, reason });
        }),
      { url, transport, texts },
    );
  }

  for (const [where, host, transports] of [
    ['same origin', '127.0.0.1', TRANSPORTS],
    ['another origin', 'localhost', ANY_ORIGIN],
  ] as const) {
    for (const transport of transports) {
      test(`${transport}, ${where}: echo in order, client close, server close`, async () => {
        const before = ends.length;
        const base = `http://${host}:${port}`;
        const echoed = await run(`${base}/echo`, transport, TEXTS);
        assert.deepEqual(echoed, {
          transport,
          received: TEXTS.map(wellFormed),
          code: 1000,
          reason: 'enough',
        });
        await until('the end at the server', () => ends.length > before, 60_000);

        const closed = await run(`${base}/close`, transport, []);
        assert.deepEqual(closed, { transport, received: [], code: 3000, reason: 'Go away!' });
      });
    }
  }

  test('htmlfile, another origin: the client does not offer it, and says so', async () => {
    const refused = await run(`http://localhost:${port}/echo`, 'htmlfile', TEXTS);
    assert.deepEqual([refused.transport, refused.code], ['', 2000]);
  });

  test('a page of an origin that is not allowed gets nothing by any transport', async () => {
    const context = await browser.newContext();
    const foreign = await context.newPage();
    foreign.setDefaultTimeout(60_000);
    await foreign.goto(`http://localhost:${port}/`);
    const saved = page;
    page = foreign;
    try {
      for (const transport of ANY_ORIGIN) {
        const outcome = await run(`http://127.0.0.1:${port}/echo`, transport, TEXTS);
        assert.deepEqual(outcome.received, [], transport);
        assert.notEqual(outcome.code, 1000, transport);
      }
    } finally {
      page = saved;
      await context.close();
    }
  });
});

test('the demo receives mail where the browser has no WebSocket', needs('chromium'), async (t) => {
  await placeScripts();
  const program = tidings(t, ['serve', '--demo', '--port', '0', '--policy-port', 'off']);
  const [url = ''] = await program.line(/^listening on (http:\S+)\/$/m);
  await program.line(/^listening on http:\S+\/sockjs\/socketServer$/m);
  const browser = await launchChromium();
  t.after(() => browser.close());
  const context = await browser.newContext({ locale: 'en-GB' });
  context.setDefaultTimeout(60_000);
  await context.addInitScript('delete globalThis.WebSocket');
  const page = await context.newPage();
  const errors = recordErrors(page);
  await page.goto(`${url}/?operator=alice`);
  assert.equal(await page.evaluate('typeof WebSocket'), 'undefined');
  await page.locator('[data-state=connected]').waitFor();
  await page.getByRole('button', { name: 'Write' }).click();
  await page.getByRole('textbox', { name: 'To' }).fill('alice');
  await page.getByRole('textbox', { name: 'Subject' }).fill('By other ways');
  await page.getByRole('textbox', { name: 'Message' }).fill('It came.');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('listitem').filter({ hasText: 'By other ways' }).first().waitFor();
  assert.deepEqual(errors, []);
});
