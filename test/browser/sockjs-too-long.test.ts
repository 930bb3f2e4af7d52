/** What is too long, over each transport of the stock sockjs-client in Chromium: its page is told by 1009. */
import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { PushServer, queryUser } from '../../src/index.ts';
import { launchChromium } from '../support/chromium.ts';
import { needs } from '../support/programs.ts';
import { startPage, TRANSPORTS } from './sockjs-page.ts';

const MESSAGE = 100_000;
/** As long as it may be, and several times that on its way: quotes in JSON in a form, and three bytes each as percent signs. */
const LONGEST = ['"'.repeat(MESSAGE), '邮'.repeat(Math.floor(MESSAGE / 3)), '\\'.repeat(MESSAGE)];

describe('what is too long, above sockjs-client in Chromium', {
  timeout: 540_000,
  ...needs('chromium'),
}, () => {
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
      sockjs: { prefix: '/sockjs', disconnectDelay: 20_000 },
      interceptors: [queryUser('user')],
      limits: { message: MESSAGE, messagesPerSecond: 0, bytesPerSecond: 0, subscriptions: 1 },
      handler: { message: (session, data) => void session.send(`got ${data.toString()}`) },
    });
    browser = await launchChromium();
  });
  after(async () => {
    await browser?.close();
    await push?.close();
    http?.closeAllConnections();
    http?.close();
  });

  /** Sends the texts one after another, each when the one before was answered. Resolves with the end, or the last answer. */
  async function talk(
    transport: string,
    texts: string[],
  ): Promise<{ used: string; got: string[]; code?: number }> {
    const tab = await browser.newPage();
    try {
      await tab.goto(`http://${base}/`);
      return await tab.evaluate(
        ({ transport, texts }) =>
          new Promise<{ used: string; got: string[]; code?: number }>((resolve) => {
            const SockJS = (globalThis as unknown as Record<string, new (...args: unknown[]) => WebSocket>)[
              'SockJS'
            ]!;
            const options = { transports: [transport], timeout: 50_000 };
            const socket = new SockJS(`/sockjs?user=${transport}`, null, options);
            const state = { used: '', got: [] as string[] };
            const rest = [...texts];
            const next = (): void => {
              const text = rest.shift();
              if (text === undefined) resolve(state);
              else socket.send(text);
            };
            socket.onopen = () => {
              state.used = (socket as unknown as { transport: string }).transport;
              next();
            };
            socket.onmessage = ({ data }) => {
              state.got.push(data);
              next();
            };
            socket.onclose = ({ code }) => resolve({ ...state, code });
          }),
        { transport, texts },
      );
    } finally {
      await tab.close();
    }
  }

  for (const transport of TRANSPORTS) {
    test(`${transport}: messages of just the limit arrive, whatever they consist of`, async () => {
      const { used, got, code } = await talk(transport, LONGEST);
      assert.equal(code, undefined);
      assert.equal(used, transport);
      assert.deepEqual(
        got.map((text, i) => text === `got ${LONGEST[i]}`),
        [true, true, true],
      );
    });

    for (const [what, text] of [
      ['a little', 'x'.repeat(MESSAGE + 1)],
      ['much', 'x'.repeat(40 * MESSAGE)],
      ['by the bytes of its characters', '邮'.repeat(MESSAGE / 2)],
    ] as const) {
      test(`${transport}: one that is too long, ${what}, ends it with 1009`, async () => {
        assert.deepEqual(await talk(transport, ['first', text]), {
          used: transport,
          got: ['got first'],
          code: 1009,
        });
      });
    }
  }
});
