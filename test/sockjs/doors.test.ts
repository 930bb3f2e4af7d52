/** Who comes in by SockJS, by which door, and what is left of those who don't. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import { SockJsServer } from '../../src/sockjs/index.ts';
import { until } from '../support/net.ts';
import { client, echo, session, startSockJs } from './support.ts';

async function start(t: TestContext, options: PushServerOptions = {}) {
  const push = new PushServer({
    port: 0,
    host: '127.0.0.1',
    sockjs: { prefix: '/echo', disconnectDelay: 120_000, heartbeatDelay: 120_000, hixie76: true },
    interceptors: [queryUser('user')],
    authorize: { subscribe: () => true },
    log: () => {},
    ...options,
  });
  await push.ready;
  t.after(() => push.close());
  const { port } = push.address() as AddressInfo;
  return { push, port, http: client(port) };
}

const HIXIE = {
  Connection: 'Upgrade',
  Upgrade: 'WebSocket',
  'Sec-WebSocket-Key1': '4 @1  46546xW%0l 1 5',
  'Sec-WebSocket-Key2': '12998 5 Y3 1  .P00',
};

test('hixie-76: a hundred handshakes whose nonce never comes, or whose keys are wrong, lock nobody out', async (t) => {
  const { port, http } = await start(t, { limits: { handshakes: 10, sessions: 50, sessionsPerAddress: 50 } });
  for (let round = 0; round < 2; round++) {
    const sockets = Array.from({ length: 40 }, (_, n) => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      const headers = n % 2 === 0 ? HIXIE : { ...HIXIE, 'Sec-WebSocket-Key1': '123' };
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      socket.write(`GET ${session()}/websocket?user=u${n} HTTP/1.1\r\nHost: x\r\n${lines.join('')}\r\n`);
      return socket;
    });
    await Promise.all(sockets.slice(0, 5).map((socket) => once(socket, 'data')));
    for (const socket of sockets) socket.destroy();
  }
  const last = await Promise.all(
    Array.from({ length: 20 }, () => http.post(`${session()}/xhr?user=alice`).then(({ body }) => body)),
  );
  assert.deepEqual(new Set(last), new Set(['o\n']));
});

test('a foreign page opens nothing by elements: Sec-Fetch-Site counts on every transport', async (t) => {
  const { push, http } = await start(t);
  const cookie = { Cookie: 'sid=1' };
  const ask = async (path: string, headers: Record<string, string>, method: 'get' | 'post' = 'get') => {
    const open = method === 'get' ? http.openGet : http.openPost;
    const answer = await open.call(http, `${session()}/${path}`, { headers });
    answer.wire.socket.destroy();
    return answer.status;
  };
  for (const [path, method] of [
    ['eventsource?user=a', 'get'],
    ['htmlfile?user=a&c=f', 'get'],
    ['jsonp?user=a&c=f', 'get'],
    ['xhr?user=a', 'post'],
    ['xhr_streaming?user=a', 'post'],
    ['xhr_send?user=a', 'post'],
    ['jsonp_send?user=a', 'post'],
  ] as const)
    for (const site of ['cross-site', 'same-site'])
      for (const more of [{}, cookie, { Referer: 'http://evil.example/' }] as Record<string, string>[])
        assert.equal(await ask(path, { 'Sec-Fetch-Site': site, ...more }, method), 403, `${path} ${site}`);
  const old = { ...cookie, Referer: 'http://evil.example/' };
  assert.equal(await ask('eventsource?user=a', old), 403);
  assert.equal(push.stats().opened, 0);
  // A page of ours, by a browser that says so, by one that doesn't, and a program.
  assert.equal(await ask('eventsource?user=a', { ...cookie, 'Sec-Fetch-Site': 'same-origin' }), 200);
  assert.equal(
    await ask('eventsource?user=a', {
      ...cookie,
      Referer: 'http://localhost/',
    }),
    200,
  );
  assert.equal(await ask('eventsource?user=a', {}), 200);
});

test('a full house sends a newcomer away of whom nobody knows whose page he is, and not a page of the user', async (t) => {
  const { push, http } = await start(t, { limits: { sessionsPerUser: 3, sessionsPerAddress: 10 } });
  const own = [1, 2, 3].map(() => session());
  const known = { Cookie: 'sid=1', 'Sec-Fetch-Site': 'same-origin' };
  for (const path of own) await http.post(`${path}/xhr?user=alice`, { headers: known });
  const headers = { Cookie: 'sid=1' };
  for (let n = 0; n < 30; n++) {
    const path = session();
    assert.equal((await http.post(`${path}/xhr?user=alice`, { headers })).status, 200);
    assert.match((await http.post(`${path}/xhr`, { headers })).body, /^c\[4509,/);
  }
  assert.equal(push.stats().sessions, 3);
  await push.send('alice', 'hello');
  for (const path of own)
    assert.equal((await http.post(`${path}/xhr`, { headers: known })).body, 'a["hello"]\n');
  // A page of his own takes the oldest one's place, as ever.
  await http.post(`${session()}/xhr?user=alice`, { headers: known });
  assert.match((await http.post(`${own[0]}/xhr`, { headers: known })).body, /^c\[4509,/);
});

test('Sec-WebSocket-Origin of version 8 is an origin', async (t) => {
  const { port } = await start(t);
  for (const path of ['/socketServer', `${session()}/websocket`, '/echo/websocket'])
    for (const [origin, isAllowed] of [
      ['http://evil.example', false],
      ['http://localhost', true],
    ] as const) {
      const headers = {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Version': '8',
        'Sec-WebSocket-Origin': origin,
      };
      const answer = await client(port).openGet(`${path}?user=alice`, { headers });
      assert.equal(answer.status, isAllowed ? 101 : 403, `${path} ${origin}`);
      answer.wire.socket.destroy();
    }
});

test('the raw WebSocket is a connection like any other: bounded, told of drain, counted, and gone when it is gone', async (t) => {
  const { push, port } = await start(t, { limits: { outbox: 200_000, stall: 500, sessionsPerUser: 0 } });
  const url = `ws://127.0.0.1:${port}/echo/websocket?user=alice`;
  const socket = new WebSocket(url, 'tidings.1');
  await once(socket, 'open');
  let welcomed = false;
  socket.on('message', (data) => {
    welcomed ||= String(data).includes('"welcome"');
  });
  socket.send(JSON.stringify({ type: 'hello', topics: ['news'] }));
  await until('welcome', () => welcomed);
  const [own] = push.localSessions();
  socket.pause();
  let most = 0;
  let closed = 0;
  socket.on('close', (code) => {
    closed = code;
  });
  for (let n = 0; n < 400 && push.stats().sessions > 0; n++) {
    await push.publish('news', 'x'.repeat(100_000));
    most = Math.max(most, own!.bufferedAmount);
  }
  await until('its end', () => push.stats().sessions === 0);
  assert.ok(most < 3_000_000, `${most} bytes waited`);
  socket.resume();
  await until('the close', () => closed > 0);
  // What a broadcast is for many, it is for these.
  const seen: string[] = [];
  const other = new WebSocket(url, 'tidings.1');
  other.on('message', (data) => seen.push(JSON.parse(String(data)).type));
  await once(other, 'open');
  other.send(JSON.stringify({ type: 'hello' }));
  await until('welcome', () => seen.includes('welcome'));
  await push.broadcast('to all');
  await until('the broadcast', () => seen.includes('transient'));
  const closing = push.close({ drain: 2_000 });
  await until('drain', () => seen.includes('drain'));
  other.terminate();
  await closing;
});

test('upgrades below the prefix are hidden from the other listeners of the server, as requests are', async (t) => {
  const http = createServer((_, response) => response.end('other')).listen(0, '127.0.0.1');
  await once(http, 'listening');
  const others: string[] = [];
  http.on('upgrade', (request, socket) => {
    others.push(request.url ?? '');
    socket.end('HTTP/1.1 418 I am a teapot\r\nConnection: close\r\n\r\n');
  });
  const sockjs = new SockJsServer({ server: http, prefix: '/echo', handler: echo });
  http.prependListener('upgrade', (request) => void others.push(`early ${request.url}`));
  t.after(() => {
    sockjs.close();
    http.close();
    http.closeAllConnections();
  });
  const { port } = http.address() as AddressInfo;
  const socket = new WebSocket(`ws://127.0.0.1:${port}${session()}/websocket`);
  socket.on('error', () => {});
  const [first] = await once(socket, 'message');
  assert.equal(String(first), 'o');
  socket.terminate();
  const upgrade = { Connection: 'Upgrade', Upgrade: 'h2c' };
  assert.equal((await client(port).get('/echo/info', { headers: upgrade })).status, 200);
  assert.equal(
    (await client(port).openGet('/echo/nothing', { headers: { ...upgrade, Upgrade: 'websocket' } })).status,
    404,
  );
  assert.deepEqual(others, []);
  assert.equal((await client(port).openGet('/elsewhere', { headers: upgrade })).status, 418);
  assert.deepEqual(others, ['early /elsewhere', '/elsewhere']);
});

test('the id of a session alone opens nothing: it is bound to address and cookies, or to the user', async (t) => {
  const { push, http } = await start(t, { proxies: ['127.0.0.1'] });
  const at = (address: string, cookie = '') => ({
    headers: { 'X-Forwarded-For': address, ...(cookie !== '' && { Cookie: cookie }) },
  });
  const path = session();
  await http.post(`${path}/xhr?user=alice`, at('192.0.2.1', 'sid=1; JSESSIONID=x'));
  await push.send('alice', 'secret');
  const strangers = [
    ['', at('192.0.2.2', 'sid=1')],
    ['', at('192.0.2.1')],
    ['', at('192.0.2.1', 'sid=2')],
    ['?user=eve', at('192.0.2.9', 'sid=9')],
    ['?user=eve', at('192.0.2.1', 'sid=9')],
  ] as const;
  for (const [query, parts] of strangers) {
    const told = JSON.stringify([query, parts]);
    assert.equal((await http.post(`${path}/xhr${query}`, parts)).status, 404, told);
    const sent = await http.post(`${path}/xhr_send${query}`, { ...parts, body: '["ping"]' });
    assert.equal(sent.status, 404, told);
    for (const get of [`eventsource${query}`, `jsonp${query}${query && '&'}${query ? '' : '?'}c=f`])
      assert.equal(
        (await http.get(`${path}/${get}`, { headers: { ...parts.headers, 'Sec-Fetch-Site': 'same-origin' } }))
          .status,
        404,
        get,
      );
  }
  assert.equal(push.stats().sessions, 1);
  const own = at('192.0.2.1', 'new=1; sid=1; JSESSIONID=y');
  assert.equal((await http.post(`${path}/xhr`, own)).body, 'a["secret"]\n');
  // The same user from another network, who shows it.
  const moved = at('198.51.100.7');
  assert.equal((await http.post(`${path}/xhr_send?user=alice`, { ...moved, body: '["ping"]' })).status, 204);
  assert.equal((await http.post(`${path}/xhr?user=alice`, moved)).body, 'a["hb_ok"]\n');
  assert.equal(push.stats().sessions, 1);
});

test('eventsource: a percent sign is none, to clients that decode escapes and to those that do not', async () => {
  const { port } = await startSockJs();
  const http = client(port);
  const path = session();
  const stream = await http.openGet(`${path}/eventsource`);
  await stream.chunk();
  await stream.chunk();
  const text = '50% off %20 %zz a%41b %25';
  await http.post(`${path}/xhr_send`, { body: JSON.stringify([text]) });
  const frame = /^data: a(.*)\r\n\r\n$/.exec(await stream.chunk())![1]!;
  assert.deepEqual(JSON.parse(frame), [text]);
  assert.deepEqual(JSON.parse(decodeURI(frame)), [text]);
});
