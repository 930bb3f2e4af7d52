/** A push server on an application's server of HTTP/2 that ends as docs/http2.md says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2, { type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { PushServer, queryUser } from '../../src/index.ts';
import { WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';

for (const isToldFirst of [true, false]) {
  const what = isToldFirst ? 'GOAWAY comes first: pages' : 'Without it pages are refused, or';
  test(`${what} come back by another connection`, async (t) => {
    const server = http2.createServer();
    const sessions = new Set<ServerHttp2Session>();
    server.on('session', (session) => {
      sessions.add(session);
      session.once('close', () => sessions.delete(session));
    });
    const push = new PushServer({ server, interceptors: [queryUser('user')], log: () => {} });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(async () => {
      await push.close();
      for (const session of sessions) session.destroy();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const open = (): WebSocket =>
      new WebSocket(`ws://127.0.0.1:${port}/socketServer?user=alice`, { http2: true });
    const codes: number[] = [];
    const refusals: string[] = [];
    let received = 0;
    for (let i = 0; i < 3; i++) {
      const page = open();
      await once(page, 'open');
      page.on('message', () => received++);
      page.on('close', (code) => {
        codes.push(code);
        open().on('error', ({ message }) => refusals.push(message));
      });
    }
    assert.equal(sessions.size, 1);
    server.close();
    if (isToldFirst) for (const session of sessions) session.close();
    // They live on meanwhile.
    await push.send('alice', 'still here');
    await until('the message', () => received === 3);
    await push.close({ drain: 500 });
    await until('what became of them', () => refusals.length === 3);
    assert.deepEqual(codes, [1012, 1012, 1012]);
    const isElsewhere = refusals.map((message) => /ECONNREFUSED/.test(message));
    if (isToldFirst) assert.deepEqual(isElsewhere, [true, true, true]);
    // Newer versions of Node tell sessions by themselves that the server closes.
    else assert.match(refusals[0]!, /503|ECONNREFUSED/);
    if (isToldFirst) await until('no session', () => sessions.size === 0);
  });
}
