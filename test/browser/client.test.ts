/** What the client does with the page around it: storage, waking up, going away. In a real browser. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { clientBundle } from '../../scripts/client-bundle.ts';
import { nonsense, welcomes } from '../client/nonsense.ts';
import { at, ScriptedServer } from '../client/scripted-server.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { scriptOf } from '../support/scripts.ts';

describe('the client in Chromium', needs('chromium'), () => {
  let browser: Browser;
  let http: Server;
  let server: ScriptedServer;
  let page: Page;
  let errors: string[];

  before(async () => {
    const script = await scriptOf(clientBundle);
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
      var client = tidings.connect({ url: ${JSON.stringify(server.url)}, fallback: false, ...${JSON.stringify(options)} });
      for (const name of ['open', 'message', 'gap', 'close', 'state', 'error', 'heartbeat'])
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

  test('whatever the server says, the page is told and comes back from where it was', async () => {
    await connect({ reconnect: { min: 1, max: 5 } });
    let seen = 0;
    for (const [name, frame] of Object.entries({ ...nonsense, ...welcomes })) {
      const connection = await server.next();
      const hello = await connection.frame('hello');
      if (seen > 0) assert.deepEqual(hello.positions, { inbox: at(seen) }, name);
      if (name in nonsense) {
        connection.sendWelcome({ channels: { inbox: { position: at(seen), recovered: true } } });
        connection.message(++seen);
      }
      connection.socket.send(frame);
    }
    await (await server.next()).welcome();
    await isConnected();
    const told = (await page.evaluate(
      `log.filter(([name]) => name === 'error').map(([, e]) => e.code)`,
    )) as string[];
    const count = Object.keys(nonsense).length + Object.keys(welcomes).length;
    assert.deepEqual(told, Array(count).fill('malformed'));
    const texts = await page.evaluate(`log.filter(([name]) => name === 'message').map(([, m]) => m.data)`);
    assert.deepEqual(
      texts,
      Array.from({ length: seen }, (_, n) => `m${n + 1}`),
    );
  });

  test('a page may close with any code and reason', async () => {
    for (const [code, reason] of [
      [1001, 'x'],
      [1007, ''],
      [99_999, 'y'],
      [3000, 'ü'.repeat(200)],
      [4000, 'z'.repeat(4000)],
    ]) {
      await connect();
      const connection = await server.next();
      await connection.welcome();
      await isConnected();
      await page.evaluate(`client.close(${JSON.stringify(code)}, ${JSON.stringify(reason)})`);
      await until('closed', () => connection.closed);
      assert.equal(await state(), 'closed');
    }
  });

  test('a page that wakes up when its ticket is nearly over brings another one at once, and stays', async () => {
    await page.evaluate(`
      var asked = 0, signedOut = [];
      var client = tidings.connect({
        url: ${JSON.stringify(server.url)},
        fallback: false,
        ticketParameter: 'ticket',
        ticket: async () => 'n' + ++asked,
      });
      client.on('signed-out', (event) => signedOut.push(event));
      const now = Date.now;
      var slept = 0;
      Date.now = () => now() + slept;
    `);
    const connection = await server.next();
    await connection.welcome({ expires: Date.now() + 36_000_000, expiresIn: 36_000_000 });
    await isConnected();
    const wakes = [
      `window.dispatchEvent(new Event('online'))`,
      `window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`,
      `document.dispatchEvent(new Event('visibilitychange'))`,
      // The clock alone tells it.
      '',
    ];
    for (const [n, wake] of wakes.entries()) {
      await page.evaluate(wake);
      assert.equal(connection.frames.filter(({ type }) => type === 'renew').length, n);
      await page.evaluate(`slept += 30_000_000; ${wake}`);
      connection.send({ type: 'pong' });
      assert.deepEqual(await connection.frame('renew', n), { type: 'renew', ticket: `n${n + 2}` });
      connection.send({ type: 'pong' });
      connection.send({ type: 'renewed', expires: Date.now() + 36_000_000, expiresIn: 36_000_000 });
    }
    assert.equal(server.connections.length, 1);
    connection.socket.close(4503, 'locked');
    await until('signed out', () => page.evaluate('signedOut.length'));
    assert.deepEqual(await page.evaluate('signedOut'), [{ code: 4503, reason: 'locked' }]);
    await page.evaluate(`client.connect({ ticket: 'another' })`);
    assert.equal((await server.next()).url, '/socketServer?ticket=another');
  });

  for (const [what, event] of [
    ['the network is back', `window.dispatchEvent(new Event('online'))`],
    [
      'the page is shown from a cache',
      `window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`,
    ],
    ['the page is shown', `document.dispatchEvent(new Event('visibilitychange'))`],
    ['the page is thawed', `document.dispatchEvent(new Event('resume'))`],
  ] as const)
    test(`${what}: asks at once, however lately something was heard, and is away from what is dead in seconds`, async () => {
      await connect({ reconnect: { min: 1, max: 5 } });
      const first = await server.next();
      await first.welcome();
      await isConnected();
      // Each is answered: a connection that lives stays.
      for (let n = 1; n <= 3; n++) {
        first.message(n);
        await until('the message', () => page.evaluate(`log.some(([, m]) => m.data === 'm${n}')`));
        await page.evaluate(event);
        await first.frame('ping', n - 1);
        first.send({ type: 'pong' });
        await until('the answer', async () =>
          page.evaluate(
            `log.filter(([name, h]) => name === 'heartbeat' && h.roundTrip >= 0).length === ${n}`,
          ),
        );
      }
      assert.equal(server.connections.length, 1);
      await page.evaluate(event);
      // What lay in the browser's buffers is no answer.
      first.message(4);
      const asked = Date.now();
      await (await server.next()).frame('hello');
      assert.ok(Date.now() - asked < 60_000);
      assert.equal(await page.evaluate(`log.some(([name, c]) => name === 'close' && c.code === 4408)`), true);
    });

  test('a machine that slept makes sure, although nothing tells the page', async () => {
    await connect();
    const connection = await server.next();
    await connection.welcome();
    await isConnected();
    await page.evaluate(`{
      const now = Date.now;
      Date.now = () => now() + 30_000;
    }`);
    await connection.frame('ping');
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
