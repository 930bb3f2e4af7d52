/** How those are told who may not come in, and what of them is left behind. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { type Interceptor, signedTicket, signTicket } from '../../../src/index.ts';
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
