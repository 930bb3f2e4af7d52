/** What the client does with the page around it: storage, waking up, going away. In a real browser. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { coreBundle } from '../../scripts/client-bundle.ts';
import { at, ScriptedServer } from '../client/scripted-server.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';

describe('the client in Chromium', needs('chromium'), () => {
  let browser: Browser;
  let http: Server;
  let server: ScriptedServer;
  let page: Page;
  let errors: string[];

  before(async () => {
    const { outputFiles } = await build({ ...coreBundle, sourcemap: false, write: false });
    const script = outputFiles[0]!.text;
    http = createServer((request, response) => {
      const isScript = request.url === '/tidings.js';
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
      response.end(
        isScript
          ? script
          : '<!doctype html><title>t</title><link rel="icon" href="data:,"><script src="/tidings.js"></script>',
      );
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    browser = await launchChromium();
  });
  after(async () => {
    await browser?.close();
    http?.closeAllConnections();
    http?.close();
  });
  beforeEach(async () => {
    server = await ScriptedServer.start();
    page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(60_000);
    errors = recordErrors(page);
    await page.goto(address());
  });
  afterEach(async () => {
    await page.context().close();
    await server.stop();
    assert.deepEqual(errors, []);
  });

  const address = () => `http://127.0.0.1:${(http.address() as AddressInfo).port}/`;

  /** Runs `tidings.connect` in the page; `client` and `log` are globals there from then on. */
  async function connect(options: object = {}): Promise<void> {
    await page.evaluate(`
      var log = [];
      var client = tidings.connect({ url: ${JSON.stringify(server.url)}, ...${JSON.stringify(options)} });
      for (const name of ['open', 'message', 'gap', 'close', 'state'])
        client.on(name, (value) => { log.push([name, value]); });
    `);
  }

  const state = () => page.evaluate('client.state.name');
  const isConnected = () => until('connected', async () => (await state()) === 'connected', 60_000);

  test('the device is kept in localStorage, so that a reload is the same device', async () => {
    await connect();
    const first = await server.next();
    const { device } = await first.frame('hello');
    assert.match(device!, /^[0-9a-f]{32}$/);
    await first.welcome();
    await isConnected();
    await page.reload();
    await connect();
    assert.equal((await (await server.next()).frame('hello')).device, device);
  });

  test('messages reach the page, binary ones as bytes', async () => {
    await connect();
    const connection = await server.next();
    await connection.welcome();
    connection.message(1, { text: 'ü\u2028' });
    connection.send({
      type: 'message',
      channel: 'inbox',
      ...at(2),
      time: 1,
      data: '/wA=',
      encoding: 'base64',
    });
    const seen = `log.filter(([name]) => name === 'message').map(([, m]) => m.data instanceof Uint8Array ? [...m.data] : m.data)`;
    await until('both', async () => ((await page.evaluate(seen)) as unknown[]).length === 2);
    assert.deepEqual(await page.evaluate(seen), [{ text: 'ü\u2028' }, [255, 0]]);
  });

  test('a page that waits is woken when the network is back', async () => {
    await connect({ reconnect: { mode: 'fixed', delay: 3_600_000 } });
    const first = await server.next();
    await first.welcome();
    await isConnected();
    first.socket.terminate();
    await until('waiting', async () => (await state()) === 'waiting');
    // The page can be told before its network is, and would then wait again.
    await until('an attempt', async () => {
      if ((await state()) === 'waiting') {
        await page.context().setOffline(true);
        await page.context().setOffline(false);
      }
      return server.connections.length > 1;
    });
    const second = await server.next();
    await second.welcome();
    await isConnected();
  });

  test('a page that is hidden or left says at once what it has to acknowledge', async () => {
    await connect({ ackDelay: 3_600_000 });
    const connection = await server.next();
    await connection.welcome();
    connection.message(1);
    await until('the message', () => page.evaluate(`log.some(([name]) => name === 'message')`));
    await page.goto('about:blank');
    assert.deepEqual((await connection.frame('ack')).position, at(1));
  });

  test('a page that the reader comes back to is connected again', async () => {
    await connect();
    await (await server.next()).welcome();
    await isConnected();
    await page.goto('about:blank');
    await page.goBack();
    // From the back/forward cache the page goes on as it was; otherwise it was loaded anew.
    if (await page.evaluate('typeof client === "undefined"')) await connect();
    await (await server.next()).welcome();
    await isConnected();
  });

  test('after close() the page has no listener of the client left', async () => {
    await page.evaluate(`
      var listening = 0;
      for (const target of [window, document])
        for (const [method, step] of [['addEventListener', 1], ['removeEventListener', -1]]) {
          const original = target[method];
          target[method] = function (...args) { listening += step; return original.apply(this, args); };
        }
    `);
    await connect();
    await (await server.next()).welcome();
    await isConnected();
    assert.ok(((await page.evaluate('listening')) as number) > 0);
    await page.evaluate('client.close()');
    assert.equal(await page.evaluate('listening'), 0);
  });
});
