/** `client.inbox` of the script that pages load, in Chromium: by WebSocket and by SockJS, with two instances on each store. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { BrowserContext, Page } from 'playwright-core';
import { clientBundle } from '../../scripts/client-bundle.ts';
import { PushServer, queryUser } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { onEachStore } from '../push/stores.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { scriptOf } from '../support/scripts.ts';

interface Site {
  push: PushServer;
  address: string;
}

/** An instance, and a page that has the script. */
async function site(t: TestContext, broker: Broker, script: string): Promise<Site> {
  const http = createServer((request, response) => {
    const isScript = request.url === '/tidings.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
    const page =
      '<!doctype html><title>t</title><link rel="icon" href="data:,"><script src="/tidings.js"></script>';
    response.end(isScript ? script : page);
  });
  const push = new PushServer({
    server: http,
    broker,
    sockjs: { prefix: '/sockjs/socketServer' },
    interceptors: [queryUser('operator')],
    authorize: { subscribe: () => true },
    log: () => {},
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  await push.ready;
  t.after(async () => {
    await push.close();
    http.closeAllConnections();
    http.close();
  });
  return { push, address: `http://127.0.0.1:${(http.address() as AddressInfo).port}/` };
}

const CONNECT = `
  var withdrawn = [], messages = [], told = [], lost = [];
  var client = tidings.connect({ user: 'alice', topics: ['news'], reconnect: { min: 1, max: 50 } });
  var inbox = client.inbox;
  client.on('withdrawn', ({ channel, id }) => withdrawn.push(channel + ' ' + id));
  client.on('message', ({ data }) => messages.push(data));
  client.on('error', (error) => lost.push(error));
  inbox.on('counts', (counts) => told.push(counts));
  var show = () => inbox.items.map(({ data, state }) => data + ' ' + state).join();
`;

onEachStore('the inbox of a page in Chromium', async (broker, t) => {
  const { skip } = needs('chromium');
  if (skip) return t.skip(skip);
  const script = await scriptOf(clientBundle);
  const sites = [await site(t, broker(), script), await site(t, broker(), script)];
  const [first, second] = sites as [Site, Site];
  const browser = await launchChromium();
  t.after(() => browser.close());
  const errors: string[][] = [];
  const contexts: BrowserContext[] = [];
  const open = async ({ address }: Site, before = ''): Promise<Page> => {
    const context = await browser.newContext();
    contexts.push(context);
    const page = await context.newPage();
    errors.push(recordErrors(page));
    await page.goto(address);
    await page.evaluate(before + CONNECT);
    await until('counts', () => page.evaluate('inbox.counts !== undefined'));
    return page;
  };
  const one = await open(first);
  const other = await open(second, 'delete window.WebSocket;');
  const both = (what: string) =>
    until(`both to show ${what}`, async () => {
      const shown = await Promise.all([one, other].map((page) => page.evaluate('show()')));
      return shown.every((text) => text === what);
    });

  for (const text of ['a', 'b', 'c', 'd']) await first.push.send('alice', text);
  await both('d unseen,c unseen,b unseen,a unseen');
  assert.equal(await other.evaluate('inbox.markAllSeen()'), 4);
  assert.equal(await one.evaluate('inbox.markRead([inbox.items[0], inbox.items[1].id])'), 2);
  assert.equal(await other.evaluate('inbox.archive(inbox.items[3])'), 1);
  await both('d read,c read,b seen');
  assert.deepEqual(await one.evaluate('inbox.counts'), { unseen: 0, unread: 1, all: 3 });
  assert.deepEqual(await other.evaluate('inbox.counts'), await second.push.counts('alice'));

  // Without a network marks show, and wait.
  await contexts[0]!.setOffline(true);
  await one.evaluate('client.close(), client.connect()');
  await one.evaluate(
    'var answer = inbox.markUnread(inbox.items[0]); answer.then(() => { answer = "kept" }); 0',
  );
  assert.equal(await one.evaluate('show()'), 'd seen,c read,b seen');
  const { id } = await second.push.send('alice', 'e', { replaces: 'e' });
  await second.push.send('alice', 'f', { replaces: 'e' });
  await second.push.withdraw('alice', { id: (await second.push.inbox('alice')).messages.at(-1)!.id });
  await until('f', async () => (await other.evaluate('show()')) === 'f unseen,d read,c read');
  await contexts[0]!.setOffline(false);
  await both('f unseen,d seen,c read');
  await until('said', async () => (await one.evaluate('answer')) === 'kept');
  assert.deepEqual(await one.evaluate('messages'), ['a', 'b', 'c', 'd', 'f']);
  assert.ok(((await other.evaluate('withdrawn')) as string[]).includes(`inbox ${id}`));

  // A topic, and what a page that opens later has.
  const { id: news } = await first.push.publish('news', 'n');
  await until('news', async () => ((await one.evaluate('messages')) as string[]).includes('n'));
  await second.push.withdrawFrom('news', { id: news });
  await until('told', async () => ((await one.evaluate('withdrawn')) as string[]).includes(`news ${news}`));
  await other.reload();
  await other.evaluate(`delete window.WebSocket; ${CONNECT}`);
  await until('counts', () => other.evaluate('inbox.counts !== undefined'));
  assert.deepEqual(
    await other.evaluate('inbox.load({ limit: 2 }).then((items) => items.map(({ data }) => data))'),
    ['f', 'd'],
  );
  assert.equal(await other.evaluate('inbox.load().then(() => inbox.hasMore)'), false);
  await both('f unseen,d seen,c read');
  assert.deepEqual(
    await other.evaluate(
      `inbox.list({ state: 'archived' }).then(({ items }) => items.map(({ data, archived }) => data + archived))`,
    ),
    ['atrue'],
  );
  assert.deepEqual([await one.evaluate('lost'), await other.evaluate('lost')], [[], []]);
  assert.deepEqual(errors.flat(), []);
});
