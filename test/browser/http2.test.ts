/** A site on HTTP/2 in Chromium: pages, requests and every WebSocket of all tabs share one connection. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { clientBundle } from '../../scripts/client-bundle.ts';
import { PushServer, queryUser } from '../../src/index.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { scriptOf } from '../support/scripts.ts';

const TABS = 10;

describe('a site on HTTP/2 in Chromium', needs('chromium', 'openssl'), () => {
  let browser: Browser;
  let context: BrowserContext;
  let server: Http2SecureServer;
  let push: PushServer;
  let base: string;
  let certificates: Certificates | undefined;
  const sessions = new Set<ServerHttp2Session>();
  /** By stream, what asked for it. */
  const connects: string[] = [];
  let upgrades = 0;

  before(async () => {
    const script = await scriptOf(clientBundle);
    certificates = makeCertificates();
    server = createSecureServer({
      cert: readFileSync(certificates.certFile),
      key: readFileSync(certificates.keyFile),
      allowHTTP1: true,
      settings: { enableConnectProtocol: true, maxConcurrentStreams: 1000 },
    });
    server.on('request', ({ url }, response) => {
      const isScript = url === '/tidings.js';
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
      response.end(
        isScript
          ? script
          : '<!doctype html><link rel="icon" href="data:,"><script src="/tidings.js"></script><body>',
      );
    });
    server.on('session', (session) => {
      sessions.add(session);
      session.on('close', () => sessions.delete(session));
    });
    server.prependListener('stream', (_, headers) => {
      if (headers[':method'] === 'CONNECT') connects.push(String(headers[':path']));
    });
    server.on('upgrade', () => upgrades++);
    push = new PushServer({
      server,
      sockjs: { prefix: '/sockjs/socketServer' },
      interceptors: [queryUser('operator')],
      authorize: { publish: () => true, subscribe: () => true },
      log: () => {},
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    browser = await launchChromium();
  });
  after(async () => {
    await browser?.close();
    await push?.close();
    for (const session of sessions) session.destroy();
    server?.close();
    certificates?.remove();
  });
  beforeEach(async () => {
    connects.length = upgrades = 0;
    context = await browser.newContext({ ignoreHTTPSErrors: true });
  });
  afterEach(() => context.close());

  const open = async (options: string): Promise<{ page: Page; errors: string[] }> => {
    const page = await context.newPage();
    const errors = recordErrors(page);
    await page.goto(base);
    await page.evaluate(
      `var seen = []; var client = tidings.connect(${options}); client.on('message', ({ data }) => seen.push(data));`,
    );
    return { page, errors };
  };
  const seenBy = (page: Page): Promise<unknown[]> => page.evaluate('seen');
  const isConnected = (page: Page) => page.evaluate(`client.state.name === 'connected'`);

  test('ten tabs have one connection, and a fetch beside them is answered', async () => {
    const tabs: Awaited<ReturnType<typeof open>>[] = [];
    for (let i = 0; i < TABS; i++) tabs.push(await open(`{ user: 'alice', topics: ['room'] }`));
    for (const { page } of tabs) await until('a connection', () => isConnected(page));
    assert.equal([...push.localSessions()].length, TABS);
    assert.equal(sessions.size, 1);
    assert.equal(upgrades, 0);
    for (let i = 0; i < 20; i++) await push.send('alice', i);
    for (const { page } of tabs) await until('all', async () => (await seenBy(page)).length === 20);
    assert.equal(await tabs[3]!.page.evaluate(`fetch('/x').then((answer) => answer.status)`), 200);
    // A message as long as a window and more, in both directions.
    const long = 'x'.repeat(200_000);
    await push.send('alice', long);
    for (const { page, errors } of tabs) {
      await until('the long one', async () => (await seenBy(page)).at(-1) === long);
      assert.deepEqual(errors, []);
    }
    await tabs[0]!.page.evaluate(`client.publish('room', 'y'.repeat(200_000))`);
    await until('what it said', async () => (await seenBy(tabs[9]!.page)).at(-1) === 'y'.repeat(200_000));
    assert.equal(sessions.size, 1);
    for (const { page } of tabs) await page.close();
    await until('nobody', () => [...push.localSessions()].length === 0);
  });

  test('a session that is cut is replaced, and nothing is lost', async () => {
    const { page } = await open(`{ user: 'bob' }`);
    await until('a connection', () => isConnected(page));
    await push.send('bob', 1);
    for (const session of sessions) session.destroy();
    await push.send('bob', 2);
    await until('both', async () => JSON.stringify(await seenBy(page)) === '[1,2]');
  });

  test('without WebSocket it is SockJS on the same connection', async () => {
    const page = await context.newPage();
    const errors = recordErrors(page);
    await page.goto(base);
    await page.evaluate(`
      globalThis.WebSocket = class { constructor() { setTimeout(() => this.onclose?.({ code: 1006 })); } close() {} send() {} };
      var seen = []; var client = tidings.connect({ user: 'carol', topics: ['room'] }); client.on('message', ({ data }) => seen.push(data));
    `);
    await until('a connection', () => isConnected(page));
    assert.deepEqual(connects, []);
    const all = [];
    for (let i = 0; i < 50; i++) {
      all.push(`${i} ${'z'.repeat(10_000)}`);
      await push.send('carol', all[i]);
    }
    await until('all', async () => (await seenBy(page)).length === 50);
    assert.deepEqual(await seenBy(page), all);
    await page.evaluate(`client.publish('room', 'back')`);
    await until('what it said', async () => (await seenBy(page)).at(-1) === 'back');
    assert.equal(sessions.size, 1);
    assert.deepEqual(errors, []);
  });
});
