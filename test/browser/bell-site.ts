/** A site with bells on its pages, under a content policy that forbids whatever is not asked for. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo, Socket } from 'node:net';
import { basename } from 'node:path';
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { bellBundle, shareBundle } from '../../scripts/client-bundle.ts';
import { PushServer, queryUser, signedTicket } from '../../src/index.ts';
import { recordErrors } from '../support/chromium.ts';
import { scriptOf } from '../support/scripts.ts';

/** Milliseconds; the machine may have other things to do. */
const PATIENCE = 60_000;
export const SECRET = 'a secret that is long enough for tests';
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'none'; connect-src 'self' ws:; frame-src 'self'; base-uri 'none'; " +
  "require-trusted-types-for 'script'";

export interface Site {
  readonly push: PushServer;
  readonly url: string;
  /** Answers what is asked at /ticket. */
  ticket: (request: IncomingMessage, response: ServerResponse) => void;
  /** A page with this in its body; `head` may have what comes before the bell's script. */
  open(body: string, options?: PageOptions): Promise<Page>;
  /** Whoever is connected is cut off, and nobody comes in until `up()`. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** The errors of all pages, once: scripts, content policy, uncaught rejections. */
  errors(): string[];
  closePages(): Promise<void>;
  stop(): Promise<void>;
}

export interface PageOptions extends BrowserContextOptions {
  context?: BrowserContext;
  lang?: string;
  dir?: string;
  /** Runs before all scripts of the page. */
  before?: string;
}

export async function startSite(browser: Browser): Promise<Site> {
  const scripts = new Map<string, string>();
  for (const bundle of [bellBundle, shareBundle])
    scripts.set(`/${basename(bundle.outfile)}`, await scriptOf(bundle));
  const pages = new Map<string, string>();
  const errors: string[] = [];
  const contexts = new Set<BrowserContext>();
  const sockets = new Set<Socket>();
  const http: Server = createServer((request, response) => {
    const path = request.url?.split('?')[0] ?? '';
    if (path === '/ticket') return site.ticket(request, response);
    const script = scripts.get(path);
    const body = script ?? pages.get(path);
    response.statusCode = body === undefined ? 404 : 200;
    response.setHeader('Content-Security-Policy', POLICY);
    response.setHeader('Content-Type', script === undefined ? 'text/html; charset=utf-8' : 'text/javascript');
    response.end(body ?? 'nothing here');
  });
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const push = new PushServer({
    server: http,
    interceptors: [signedTicket({ secret: SECRET }), queryUser('operator')],
    // Of sandboxed frames.
    origins: ['null'],
    log: (level, message) => {
      if (level === 'error') errors.push(message);
    },
  });
  let number = 0;
  const site: Site = {
    push,
    url: `http://127.0.0.1:${port}`,
    ticket: (_, response) => void response.writeHead(404).end(),
    async open(body, { context, lang = 'en', dir = 'ltr', before, ...options } = {}) {
      const own = context ?? (await browser.newContext({ locale: 'en-GB', ...options }));
      own.setDefaultTimeout(PATIENCE);
      contexts.add(own);
      const page = await own.newPage();
      page.on('close', () => errors.push(...mine.splice(0)));
      const mine = recordErrors(page);
      all.push(mine);
      const path = `/page-${++number}`;
      pages.set(
        path,
        `<!doctype html><html lang="${lang}" dir="${dir}"><head><meta charset="utf-8"><title>A page</title>` +
          `<meta name="viewport" content="width=device-width, initial-scale=1">` +
          `<script src="/tidings-bell.js" defer></script></head><body>${body}</body></html>`,
      );
      if (before !== undefined) await page.addInitScript(before);
      await page.goto(site.url + path);
      return page;
    },
    async down() {
      http.close();
      for (const socket of sockets) socket.destroy();
      await once(http, 'close');
    },
    async up() {
      http.listen(port, '127.0.0.1');
      await once(http, 'listening');
    },
    errors: () => [...errors.splice(0), ...all.flatMap((mine) => mine.splice(0))],
    async closePages() {
      for (const context of contexts) await context.close();
      contexts.clear();
    },
    async stop() {
      await site.closePages();
      await push.close({ drain: 0 });
      http.closeAllConnections();
      http.close();
    },
  };
  const all: string[][] = [];
  return site;
}

/** What there is of a bell; the selectors go through its shadow. */
export function bellOf(page: Page, which = 'tidings-bell') {
  const inside = (selector: string): Locator => page.locator(`${which} ${selector}`);
  return {
    element: page.locator(which),
    button: inside('[part=button]'),
    badge: inside('[part=badge]'),
    panel: inside('[part=panel]'),
    rows: inside('li'),
    row: (text: string): Locator => inside('li').filter({ hasText: text }),
    toasts: inside('[part=toast]'),
    announced: inside('[role=status]'),
    inside,
    async open(): Promise<void> {
      await inside('[part=button]').click();
      await inside('[part=panel]').waitFor();
    },
  };
}

const axeScript = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe-core has against the page: rule and place. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(axeScript);
  return page.evaluate(async () => {
    const { axe } = window as unknown as {
      axe: {
        run(): Promise<{
          violations: { id: string; nodes: { target: unknown; failureSummary: string }[] }[];
        }>;
      };
    };
    const { violations } = await axe.run();
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id}: ${JSON.stringify(target)} ${failureSummary}`),
    );
  });
}
