/** What an application's handler throws is logged, and ends neither the process nor a session. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { until } from '../support/net.ts';
import { Page, startPush } from './support.ts';

for (const isAsync of [false, true]) {
  test(`a handler that ${isAsync ? 'rejects' : 'throws'}, over WebSocket and SockJS`, async (t) => {
    const fails = (what: string): undefined => {
      if (isAsync) return Promise.reject(new Error(what)) as unknown as undefined;
      throw new Error(what);
    };
    const http = createServer().listen(0, '127.0.0.1');
    t.after(() => void http.close().closeAllConnections());
    await until('an open port', () => http.address());
    const { push, log } = await startPush({
      server: http,
      port: undefined,
      sockjs: { prefix: '/sockjs' },
      handler: {
        opened: () => fails('opened failed'),
        message: () => fails('message failed'),
        closed: () => fails('closed failed'),
      },
    });
    const logged = (what: string, count: number): Promise<boolean> =>
      until(
        what,
        () => log.filter((line) => line.includes(`the handler threw: Error: ${what}`)).length === count,
      );

    const { port } = http.address() as AddressInfo;
    const page = new Page(`ws://127.0.0.1:${port}/socketServer`, 'alice');
    await logged('opened failed', 1);
    await until('the page', () => page.socket.readyState === 1);
    page.socket.send('anything');
    await logged('message failed', 1);

    const session = `http://127.0.0.1:${port}/sockjs/000/s${isAsync}`;
    const post = (path: string, body = '') => fetch(`${session}/${path}`, { method: 'POST', body });
    assert.equal(await (await post('xhr?user=alice')).text(), 'o\n');
    assert.equal((await post('xhr_send', '["anything"]')).status, 204);
    await logged('message failed', 2);

    await push.send('alice', 'hello');
    assert.equal(await (await post('xhr')).text(), 'a["hello"]\n');
    await until('the message', () => page.received.includes('hello'));
    page.socket.close();
    await logged('closed failed', 1);
    await push.close();
    await logged('closed failed', 2);
  });
}
