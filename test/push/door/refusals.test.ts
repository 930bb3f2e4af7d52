/** How those are told who may not come in, and what of them is left behind. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { SignJWT } from 'jose';
import { WebSocket } from 'ws';
import { type Interceptor, jwt, PushServer, signedTicket, signTicket } from '../../../src/index.ts';
import { until } from '../../support/net.ts';
import { Page, startPush } from '../support.ts';

const secret = 'a secret of more than 16 bytes';
const refusing = (status: number, text: string): Interceptor => ({
  before: async () => new Response(text, { status }),
});

/** The HTTP status, or the close code and its reason. */
async function outcome(
  url: string,
  protocols: string[],
  headers: Record<string, string> = {},
): Promise<unknown> {
  const socket = new WebSocket(url, protocols, { headers });
  socket.on('error', () => {});
  return Promise.race([
    once(socket, 'unexpected-response').then(([request, response]) => {
      request.destroy();
      return response.statusCode;
    }),
    once(socket, 'close').then(([code, reason]) => `${code} ${reason}`),
  ]);
}

test('a page in tidings.1 is told by a close code, a program by the status', async () => {
  const expired = signTicket('alice', { secret, lifetime: 1 });
  const { url } = await startPush({ interceptors: [signedTicket({ secret })] });
  await until('the ticket to be over', () => Date.now() % 10 === 0);
  assert.equal(await outcome(url, []), 401);
  assert.equal(await outcome(url, ['ticket.forged']), 401);
  assert.equal(await outcome(url, ['tidings.1']), '4501 no authenticated user');
  assert.equal(await outcome(url, ['tidings.1', 'ticket.forged']), '4501 not a t1 ticket');
  assert.match(
    String(await outcome(url, ['tidings.1', `ticket.${expired}`])),
    /^4501 the ticket expired at /,
  );
  const foreign = { Origin: 'https://evil.example' };
  assert.match(String(await outcome(url, ['tidings.1'], foreign)), /^4503 pages of https:\/\/evil.example/);
  assert.equal(await outcome(url, [], foreign), 403);
});

test('expired and forged tickets and tokens, and who may not come in: the same code over both doors, the status to programs', async (t) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const key = 'a secret of at least 32 bytes, for tokens';
  const exp = Math.floor(Date.now() / 1000);
  const token = (end: number, by = key): Promise<string> =>
    new SignJWT({ sub: 'alice', exp: end }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(by));
  const { push } = await startPush({
    server,
    sockjs: { prefix: '/sockjs' },
    interceptors: [
      jwt({ secret: key }),
      signedTicket({ secret }),
      {
        before: (_request, { user }) =>
          user === 'locked' ? new Response('locked', { status: 403 }) : undefined,
      },
    ],
    authorize: { connect: ({ user }: { user: string }) => user !== 'barred' },
  });
  const { port } = server.address() as AddressInfo;
  for (const [ticket, status, code] of [
    [signTicket('alice', { secret, lifetime: -1 }), 401, 4501],
    [signTicket('alice', { secret: 'another secret of 16 bytes' }), 401, 4501],
    [await token(exp - 100), 401, 4501],
    [await token(exp + 100, 'another secret of at least 32 bytes'), 401, 4501],
    ['nonsense', 401, 4501],
    ['', 401, 4501],
    [signTicket('locked', { secret }), 403, 4503],
    [signTicket('barred', { secret }), 403, 4503],
  ] as const) {
    const query = ticket === '' ? '' : `ticket=${ticket}`;
    const url = `ws://127.0.0.1:${port}/socketServer?${query}`;
    assert.equal(await outcome(url, []), status, ticket);
    assert.match(String(await outcome(url, ['tidings.1'])), new RegExp(`^${code} .`), ticket);
    const session = `http://127.0.0.1:${port}/sockjs/000/${Math.random().toString(36).slice(2)}`;
    const frames: string[] = [];
    while (!frames.at(-1)?.startsWith('c') && frames.length < 5) {
      const answer = await fetch(`${session}/xhr?protocol=tidings.1&${query}`, { method: 'POST' });
      frames.push(await answer.text());
    }
    assert.match(frames.at(-1)!, new RegExp(`^c\\[${code},".`), ticket);
  }
  assert.equal(push.stats().sessions, 0);
});

test('whatever the application answers: 401, 403 and 400 are final, the rest may be otherwise the next time', async () => {
  for (const [status, told] of [
    [401, '4501 why'],
    [403, '4503 why'],
    [400, '4500 why'],
    [404, 404],
    [429, 429],
    [503, 503],
  ] as const) {
    const { url } = await startPush({ interceptors: [refusing(status, 'why\nmore')] });
    assert.equal(await outcome(url, ['tidings.1']), told);
  }
  const { url } = await startPush({ interceptors: [refusing(403, 'ü'.repeat(100))] });
  assert.equal(await outcome(url, ['tidings.1']), `4503 ${'ü'.repeat(61)}`);
});

test('the option says otherwise: everybody by the status, or everybody by a close code', async () => {
  const http = await startPush({ refusals: 'http' });
  assert.equal(await outcome(http.url, ['tidings.1']), 401);
  const close = await startPush({ refusals: 'close' });
  assert.equal(await outcome(close.url, []), '4501 no authenticated user');
  assert.throws(() => new PushServer({ refusals: 'status' as never }), /refusals is status/);
});

test('who is refused so was no session: no handler, no interceptor after, no place taken', async () => {
  const told: string[] = [];
  const spy = (name: string): Interceptor => ({
    before: () => void told.push(`${name} before`),
    after: (_request, transport, error) =>
      void told.push(`${name} ${transport === undefined} ${error?.message}`),
  });
  const { push, url } = await startPush({
    limits: { sessions: 2, handshakes: 2 },
    interceptors: [
      spy('first'),
      { before: (request) => (request.headers['x-no'] ? new Response('no', { status: 403 }) : undefined) },
      spy('last'),
      {
        before: (_request, attributes) => {
          attributes.user = 'alice';
        },
      },
    ],
    handler: { opened: () => void told.push('opened'), closed: () => void told.push('closed') },
  });
  for (let n = 0; n < 20; n++) assert.equal(await outcome(url, ['tidings.1'], { 'X-No': '1' }), '4503 no');
  assert.deepEqual(
    new Set(told),
    new Set(['first before', 'first true An interceptor refused the handshake with 403']),
  );
  const pages = await Promise.all([Page.open(url, ''), Page.open(url, '')]);
  assert.equal(push.stats().sessions, 2);
  for (const page of pages) page.socket.terminate();
});
