import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { PushServer } from '../../src/index.ts';
import { SockJsServer } from '../../src/sockjs/index.ts';
import { WebSocketServer } from '../../src/ws.ts';

test('interceptors of another shape are refused where they are given, and never let anybody in', () => {
  const refuse = (): Response => new Response('no', { status: 418 });
  for (const interceptors of [
    [refuse],
    refuse,
    { before: refuse },
    [null],
    ['before'],
    [{ before: 'refuse' }],
    [{ before: refuse, after: 1 }],
    [{ before: refuse }, refuse],
  ]) {
    for (const make of [
      () => new WebSocketServer({ noServer: true, interceptors: interceptors as never }),
      () => new PushServer({ server: createServer(), interceptors: interceptors as never }),
      () => new SockJsServer({ prefix: '/s', interceptors: interceptors as never, handler: {} } as never),
    ]) {
      assert.throws(make, { name: 'TypeError', message: /interceptors must be an array of objects/ });
    }
  }
});
