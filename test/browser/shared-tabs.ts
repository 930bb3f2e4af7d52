/** A site whose pages share a connection, in a Chromium with back-forward cache and throttled timers. */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { clientBundle, shareBundle } from '../../scripts/client-bundle.ts';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import { launchChromium } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { scriptOf } from '../support/scripts.ts';

/** A host name that is no secure origin. */
export const INSECURE = 'intranet.test';

const PAGE =
  '<!doctype html><title>t</title><link rel="icon" href="data:,"><script src="/tidings.js"></script><p>here';

/** What automation switches off by default. */
const NATURAL = [
  '--disable-back-forward-cache',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-ipc-flooding-protection',
];

export interface Tab {
  page: Page;
  /** Uncaught errors and `error` events that the page saw. */
  errors: string[];
}

export class Site {
  push: PushServer;
  readonly http: Server;
  readonly browser: Browser;
  context!: BrowserContext;
  /** Content-Security-Policy of pages. */
  policy = '';
  /** Answers that pages stand still for; undefined: for none. */
  #held: ServerResponse[] | undefined;

  private constructor(http: Server, push: PushServer, browser: Browser) {
    this.http = http;
    this.push = push;
    this.browser = browser;
  }

  static async start(options: Partial<PushServerOptions> = {}): Promise<Site> {
    const scripts = new Map<string | undefined, string>();
    for (const bundle of [clientBundle, shareBundle])
      scripts.set(`/${basename(bundle.outfile)}`, await scriptOf(bundle));
    const http = createServer((request, response) => {
      if (request.url === '/standstill' && site.#held) {
        site.#held.push(response);
        return;
      }
      const script = scripts.get(request.url);
      response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html; charset=utf-8');
      response.setHeader('Cache-Control', 'max-age=60');
      if (site.policy) response.setHeader('Content-Security-Policy', site.policy);
      response.end(script ?? PAGE);
    }).listen(0, '127.0.0.1');
    await once(http, 'listening');
    const push = await serve(http, options);
    const browser = await launchChromium({
      windows: true,
      ignoreDefaultArgs: NATURAL,
      args: [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--site-per-process',
        `--host-resolver-rules=MAP ${INSECURE} 127.0.0.1`,
      ],
    });
    const site = new Site(http, push, browser);
    await site.fresh();
    return site;
  }

  /** Another server in the place of this one. */
  async restart(options: Partial<PushServerOptions>): Promise<void> {
    await this.push.close();
    this.push = await serve(this.http, options);
  }

  /** Another profile, as it were: nothing is shared with the one before. */
  async fresh(): Promise<void> {
    await this.context?.close();
    this.context = await this.browser.newContext();
    this.context.setDefaultTimeout(60_000);
    await this.context.addInitScript(`
      if (globalThis.WebSocket) globalThis.WebSocket = class extends WebSocket {
        constructor(...args) { super(...args); globalThis.socket = this; }
      }
    `);
  }

  /** The page stands still, with all that its scripts have to do, until `act` has ended. */
  async standstill({ page }: Tab, act: () => Promise<unknown>): Promise<void> {
    const held: ServerResponse[] = [];
    this.#held = held;
    const isOver = page.evaluate(`{
      const request = new XMLHttpRequest();
      request.open('GET', '/standstill', false);
      request.send();
    }`);
    try {
      await act();
    } finally {
      this.#held = undefined;
      for (const response of held) response.end();
    }
    await isOver;
  }

  url(host = 'localhost'): string {
    return `http://${host}:${(this.http.address() as AddressInfo).port}/`;
  }

  async stop(): Promise<void> {
    await this.browser.close();
    await this.push.close();
    this.http.close();
    this.http.closeAllConnections();
  }

  /** @param options of `connect`, as source */
  async open(options = `{ user: 'alice' }`, host?: string): Promise<Tab> {
    const page = await this.context.newPage();
    const tab: Tab = { page, errors: [] };
    page.on('pageerror', (error) => tab.errors.push(String(error)));
    await page.goto(this.url(host));
    await connect(tab, options);
    return tab;
  }

  async openMany(count: number, options?: string, host?: string): Promise<Tab[]> {
    const tabs: Tab[] = [];
    for (let n = 0; n < count; n++) tabs.push(await this.open(options, host));
    await this.untilOne();
    return this.leaderFirst(tabs);
  }

  /** Which one leads can change on a busy machine. Of tabs over SockJS the first. */
  async leaderFirst(tabs: Tab[]): Promise<Tab[]> {
    for (const tab of tabs)
      if (await tab.page.evaluate('globalThis.socket?.readyState === 1'))
        return [tab, ...tabs.filter((other) => other !== tab)];
    return tabs;
  }

  async untilOne(user = 'alice'): Promise<string> {
    return until(`one session of ${user}`, async () => {
      const sessions = await this.push.sessions(user);
      return sessions.length === 1 && sessions[0]!.session;
    });
  }
}

async function serve(http: Server, options: Partial<PushServerOptions>): Promise<PushServer> {
  const push = new PushServer({
    server: http,
    sockjs: { prefix: '/sockjs/socketServer' },
    origins: '*',
    interceptors: [queryUser('operator')],
    authorize: { publish: () => true, subscribe: () => true },
    log: () => {},
    ...options,
  });
  await push.ready;
  return push;
}

/** `client`, `seen` and `log` are globals of the page from then on. */
export async function connect({ page }: Tab, options: string): Promise<void> {
  await page.evaluate(`
    var seen = [], times = [], log = [];
    var client = tidings.connect({ share: true, ...${options} });
    client.on('message', ({ data }) => { seen.push(data); times.push(Date.now()); });
    for (const name of ['open', 'gap', 'close', 'state', 'error', 'signed-out', 'presence'])
      client.on(name, (value) => { log.push([name, value]); });
  `);
  await isConnected(page);
}

export async function isConnected(page: Page): Promise<void> {
  await until('connected', async () => (await page.evaluate('client.state.name')) === 'connected');
}
