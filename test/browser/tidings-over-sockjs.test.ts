/** `tidings.1` above each transport of the stock sockjs-client, in Chromium: cut in the middle, nothing is lost or changed. */
import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page as Tab } from 'playwright-core';
import { PushServer, queryUser } from '../../src/index.ts';
import { Page } from '../push/support.ts';
import { launchChromium } from '../support/chromium.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { everyCharacter, startPage, TRANSPORTS, wellFormed } from './sockjs-page.ts';

const TEXTS: string[] = [
  '"double" \'single\' \\ 😀 \u0000\u001f \u2028\u2029 \ufeff\uffff </script><!--',
  '100 % 50% off %20 a%41b %25 %2525 %E4 %zz %u0041 %',
  '\\u0041 \\n &amp; &#65; <!--<script> ]]> */ // data: id: retry: \r\n\r data\n\n',
  'c[3000,"Go away!"] a["x"] o h \ud800 \udc00 x',
  'x%'.repeat(150_000),
  ...everyCharacter(0x1000),
];

describe('tidings.1 above sockjs-client in Chromium', { timeout: 540_000, ...needs('chromium') }, () => {
  let browser: Browser;
  let http: Server;
  let push: PushServer;
  let base: string;

  before(async () => {
    const page = await startPage();
    http = page.http;
    base = `127.0.0.1:${page.port}`;
    push = new PushServer({
      server: http,
      sockjs: { prefix: '/sockjs', disconnectDelay: 20_000, responseLimit: 8_000_000 },
      interceptors: [queryUser('user')],
      authorize: { subscribe: () => true, publish: () => true },
      limits: { messagesPerSecond: 0, bytesPerSecond: 0 },
      log: () => {},
    });
    browser = await launchChromium();
  });
  after(async () => {
    await browser?.close();
    await push?.close();
    http?.closeAllConnections();
    http?.close();
  });

  /** A page by hand, as docs/wire.md has it: comes back with its position, asks again for what was not answered. */
  async function open(tab: Tab, user: string, transport: string): Promise<void> {
    await tab.goto(`http://${base}/`);
    await tab.evaluate(
      ({ user, transport, texts }) => {
        const global = globalThis as unknown as Record<string, unknown>;
        const SockJS = global['SockJS'] as new (...args: unknown[]) => WebSocket;
        const state = { data: [] as string[], told: [] as unknown[], used: '', opens: 0, answered: 0 };
        global['state'] = state;
        let position: unknown;
        const unanswered = new Map(texts.map((text, i) => [`${i}`, text]));
        const connect = (): void => {
          const url = `/sockjs?user=${user}&protocol=tidings.1`;
          const socket = new SockJS(url, null, { transports: [transport], timeout: 50_000 });
          // One after another: together they are longer than a body may be.
          const publishNext = (): void => {
            const [next] = unanswered;
            if (next === undefined) return;
            const [ref, text] = next;
            const frame = { type: 'publish', channel: user, data: text, ref, idempotencyKey: ref };
            socket.send(JSON.stringify(frame));
          };
          // Not every browser tells a page that the response it listens to has broken off: docs/wire.md, ping.
          let heard = Date.now();
          const heartbeat = setInterval(() => {
            if (Date.now() - heard > 10_000) socket.close();
            else if (socket.readyState === 1) socket.send('{"type":"ping"}');
          }, 2_000);
          socket.onopen = () => {
            state.used = (socket as unknown as { transport: string }).transport;
            socket.send(JSON.stringify({ type: 'hello', positions: position && { inbox: position } }));
          };
          socket.onmessage = ({ data }) => {
            heard = Date.now();
            const frame = JSON.parse(data);
            if (frame.type === 'pong') return;
            const { epoch, offset, id } = frame;
            if (frame.type === 'welcome') {
              state.opens++;
              const { inbox } = frame.channels;
              if (!inbox.recovered) state.told.push(frame);
              position = inbox.position;
              publishNext();
            } else if (frame.type === 'message') {
              position = { epoch, offset, id };
              state.data.push(frame.data);
            } else if (frame.type === 'published') {
              if (unanswered.delete(frame.ref)) state.answered++;
              publishNext();
            } else state.told.push(frame);
          };
          socket.onclose = () => {
            clearInterval(heartbeat);
            setTimeout(connect, 20);
          };
        };
        connect();
      },
      { user, transport, texts: TEXTS },
    );
  }

  for (const transport of TRANSPORTS) {
    test(`${transport}: every character, long messages, both ways, cut in the middle`, async (t) => {
      const user = transport;
      const reader = await Page.open(`ws://${base}/socketServer`, 'reader', { topics: [user] });
      const tab = await browser.newPage();
      t.after(() => tab.close());
      tab.setDefaultTimeout(60_000);
      await open(tab, user, transport);
      const look = () =>
        tab.evaluate(
          () =>
            (
              globalThis as unknown as {
                state: { data: string[]; told: unknown[]; used: string; opens: number; answered: number };
              }
            ).state,
        );
      await until('a welcome', async () => (await look()).opens >= 1, 60_000);
      for (const [i, text] of TEXTS.entries()) {
        await push.send(user, text);
        if (i % 7 !== 3) continue;
        // Without a word, in the middle of what is on its way.
        for (const session of push.localSessions()) if (session.user === user) session.terminate();
        if (i % 2 === 0) http.closeAllConnections();
      }
      await until('all of them', async () => (await look()).data.length >= TEXTS.length, 60_000);
      await until('all answers', async () => (await look()).answered === TEXTS.length, 60_000);
      const { data, told, used, opens } = await look();
      assert.equal(used, transport);
      assert.deepEqual(data, TEXTS.map(wellFormed));
      assert.deepEqual(told, []);
      assert.ok(opens > 1);
      await until('what it published', () => reader.data(user).length >= TEXTS.length, 60_000);
      assert.deepEqual([...reader.data(user)].sort(), TEXTS.map(wellFormed).sort());
      reader.cut();
    });
  }
});
