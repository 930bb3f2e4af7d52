import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import Ws from 'ws';
import type { Interceptor } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { listen, RawPeer, REQUEST } from './support.ts';

/** What a client is answered by a server with these interceptors, and what each of them was told in the end. */
async function refusal(interceptors: Interceptor[]): Promise<{ text: string; told: string[] }> {
  const told: string[] = [];
  const { wss, port } = await listen({
    interceptors: interceptors.map((each, i) => ({
      ...each,
      after: (_request, transport, error) => told.push(`${i} ${transport === undefined} ${error?.message}`),
    })),
  });
  wss.on('connection', () => assert.fail('must not be connected'));
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}\r\n`);
  const text = await peer.rest();
  await wss.close({});
  return { text, told };
}

test('interceptors run in order, now or later; what they put into attributes is on the connection', async () => {
  const calls: string[] = [];
  const { wss, url } = await listen({
    interceptors: [
      {
        before(request, attributes) {
          calls.push('first');
          attributes.user = String(request.url).slice(1);
        },
        after: (_request, transport) => calls.push(`after first ${transport?.attributes.user}`),
      },
      {
        async before(_request, attributes) {
          await new Promise((resolve) => setImmediate(resolve));
          calls.push('second');
          attributes['more'] = 1;
        },
        after: () => calls.push('after second'),
      },
      {},
    ],
  });
  const connection = once(wss, 'connection');
  const client = new Ws(`${url}/alice`);
  await once(client, 'open');
  const [ws] = await connection;
  assert.deepEqual(ws.attributes, { user: 'alice', more: 1 });
  assert.deepEqual(calls, ['first', 'second', 'after second', 'after first alice']);
  client.terminate();
  await wss.close({});
});

for (const kind of ['now', 'later']) {
  test(`a Response given ${kind} refuses with its status, headers and body; later interceptors are not asked`, async () => {
    const response = (): Response =>
      new Response('who are you?', {
        status: 401,
        headers: [
          ['WWW-Authenticate', 'Basic'],
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
        ],
      });
    const { text, told } = await refusal([
      { before: kind === 'now' ? response : async () => response() },
      { before: () => assert.fail('must not be asked') },
    ]);
    assert.match(text, /^HTTP\/1\.1 401 Unauthorized\r\n/);
    assert.match(text, /\r\nWww-Authenticate: Basic\r\n/);
    assert.match(text, /\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n/);
    assert.match(text, /\r\nContent-Length: 12\r\n/);
    assert.match(text, /\r\n\r\nwho are you\?$/);
    assert.deepEqual(told, ['0 true An interceptor refused the handshake with 401']);
  });

  test(`an interceptor that fails ${kind} refuses with 500 and says nothing of the error`, async () => {
    const { text, told } = await refusal([
      {
        before:
          kind === 'now'
            ? () => {
                throw new Error('secret');
              }
            : async () => {
                throw new Error('secret');
              },
      },
    ]);
    assert.match(text, /^HTTP\/1\.1 500 /);
    assert.doesNotMatch(text, /secret/);
    assert.deepEqual(told, ['0 true secret']);
  });
}

test('an interceptor that never answers is cut off by handshakeTimeout', async () => {
  let isAsked = false;
  const { wss, port } = await listen({
    handshakeTimeout: 100,
    interceptors: [
      {
        before: () => {
          isAsked = true;
          return new Promise(() => {});
        },
      },
    ],
  });
  let answer = '';
  // A busy machine may take all of the time before it has read the request.
  while (!isAsked) {
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST}\r\n`);
    answer = await peer.rest();
  }
  assert.match(answer, /^HTTP\/1\.1 503 /);
  await wss.close({});
});

test('a client that goes while it is being asked about is told to `after`, and never connected', async () => {
  let isAsked = false;
  let told: Error | undefined;
  let decide = (): void => {};
  const { wss, port } = await listen({
    interceptors: [
      {
        before: () => {
          isAsked = true;
          return new Promise((resolve) => {
            decide = () => resolve(undefined);
          });
        },
        after: (_request, _transport, error) => {
          told = error;
        },
      },
    ],
  });
  wss.on('connection', () => assert.fail('must not be connected'));
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}\r\n`);
  await until('the interceptor is asked', () => isAsked);
  peer.socket.resetAndDestroy();
  await until('the interceptor is told', () => told);
  assert.match(String(told), /client has gone/);
  decide();
  await wss.close({});
});

test('what a client sends while it is being asked about waits, bounded by the socket’s buffer', async () => {
  let isAsked = false;
  let decide = (): void => {};
  const { wss, port } = await listen({
    interceptors: [
      {
        before: () => {
          isAsked = true;
          return new Promise((resolve) => {
            decide = () => resolve(undefined);
          });
        },
      },
    ],
  });
  const opened = new Promise<void>((resolve) => wss.once('connection', () => resolve()));
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}\r\n`);
  await until('the interceptor is asked', () => isAsked);
  // 64 MiB that nobody reads: the kernel's buffers and the stream's take some, and then it stops.
  let isFull = false;
  for (let i = 0; i < 1024; i++) isFull = !peer.socket.write(Buffer.alloc(65536)) || isFull;
  assert.ok(isFull);
  assert.ok(peer.socket.writableLength > 32 * 1024 * 1024, 'most of it has not been taken');
  decide();
  await opened;
  peer.socket.destroy();
  await wss.close({});
});

test('verifyClient: by its value, by its callback, and the client’s origin', async () => {
  const { wss, url, port } = await listen({
    verifyClient: ({ origin, secure }) => origin === 'http://a' && !secure,
  });
  const client = new Ws(url, { origin: 'http://a' });
  await once(client, 'open');
  client.terminate();
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}Origin: http://b\r\n\r\n`);
  assert.match(await peer.rest(), /^HTTP\/1\.1 401 Unauthorized\r\n/);
  await wss.close({});

  const second = await listen({
    verifyClient: (_info, done) => {
      setImmediate(done, false, 403, 'no way', { 'X-Why': 'because' });
    },
  });
  const refused = await RawPeer.connect(second.port);
  refused.socket.write(`${REQUEST}\r\n`);
  const text = await refused.rest();
  assert.match(text, /^HTTP\/1\.1 403 Forbidden\r\n/);
  assert.match(text, /\r\nX-Why: because\r\n/);
  assert.match(text, /\r\n\r\nno way$/);
  await second.wss.close({});
});
