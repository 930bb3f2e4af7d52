/** The push server's sessions over SockJS: the same as over WebSocket. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { PushServer, type PushServerOptions, queryUser, type Session } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { client, session } from './support.ts';

async function start(options: PushServerOptions = {}) {
  const push = new PushServer({
    port: 0,
    host: '127.0.0.1',
    sockjs: { prefix: '/echo', disconnectDelay: 120_000, heartbeatDelay: 120_000 },
    interceptors: [queryUser('user')],
    log: () => {},
    ...options,
  });
  await push.ready;
  return { push, http: client((push.address() as AddressInfo).port) };
}

test('plain mode: messages as they are, ping answered by hb_ok', async (t) => {
  const { push, http } = await start();
  t.after(() => push.close());
  const path = session();
  assert.equal((await http.post(`${path}/xhr?user=alice`)).body, 'o\n');
  await push.send('alice', 'hello');
  assert.equal((await http.post(`${path}/xhr`)).body, 'a["hello"]\n');
  assert.equal((await http.post(`${path}/xhr_send`, { body: '["ping"]' })).status, 204);
  assert.equal((await http.post(`${path}/xhr`)).body, 'a["hb_ok"]\n');
  assert.equal((await push.sessions('alice')).length, 1);
});

test('tidings.1 by the query parameter protocol: greeting, message, position', async (t) => {
  const { push, http } = await start();
  t.after(() => push.close());
  const path = session();
  await http.post(`${path}/xhr?user=alice&protocol=tidings.1`);
  const hello = JSON.stringify([JSON.stringify({ type: 'hello', device: 'd' })]);
  await http.post(`${path}/xhr_send`, { body: hello });
  const read = async () => JSON.parse((await http.post(`${path}/xhr`)).body.slice(1)).map(JSON.parse);
  assert.equal((await read())[0].type, 'welcome');
  const receipt = await push.send('alice', { n: 1 });
  const [message] = await read();
  assert.deepEqual([message.type, message.id, message.data], ['message', receipt.id, { n: 1 }]);
});

test('who is unknown is told 4501, a foreign page gets 403, and a full address 429', async (t) => {
  const { push, http } = await start({ limits: { sessionsPerAddress: 1 } });
  t.after(() => push.close());
  const path = session();
  assert.equal((await http.post(`${path}/xhr`)).body, 'o\n');
  for (let again = 0; again < 2; again++)
    assert.equal((await http.post(`${path}/xhr`)).body, 'c[4501,"no authenticated user"]\n');
  assert.equal((await http.post(`${path}/xhr_send`, { body: '["x"]' })).status, 404);
  const headers = { Origin: 'http://evil.example' };
  assert.equal((await http.post(`${session()}/xhr?user=a`, { headers })).status, 403);
  assert.equal((await http.post(`${session()}/xhr?user=a`)).status, 200);
  assert.equal((await http.post(`${session()}/xhr?user=a`)).status, 429);
});

test('the address is the proxy’s word only where the proxy is trusted', async (t) => {
  const addresses: string[] = [];
  const handler = { opened: (opened: Session) => void addresses.push(opened.address) };
  const headers = { 'X-Forwarded-For': '192.0.2.7' };
  for (const proxies of [[], ['127.0.0.1']]) {
    const { push, http } = await start({ handler, proxies });
    t.after(() => push.close());
    await http.post(`${session()}/xhr?user=a`, { headers });
  }
  assert.deepEqual(addresses, ['127.0.0.1', '192.0.2.7']);
});

test('a page that does not read is closed with 4430, once it has taken nothing for limits.stall', async (t) => {
  const { push, http } = await start({ limits: { outbox: 1000, stall: 500 } });
  t.after(() => push.close());
  const path = session();
  await http.post(`${path}/xhr?user=alice`);
  for (let i = 0; i < 5; i++) await push.send('alice', 'x'.repeat(600));
  await until('its end', () => push.stats().sessions === 0);
  assert.match((await http.post(`${path}/xhr`)).body, /^c\[4430,/);
});

test('a server that closes sends SockJS sessions away and refuses new ones', async () => {
  const { push, http } = await start();
  const path = session();
  const stream = await http.openPost(`${path}/xhr_streaming?user=alice`);
  await stream.chunk();
  await stream.chunk();
  const closing = push.close();
  assert.match(await stream.chunk(), /^c\[1012,/);
  await closing;
});

test('sockjs without a place to listen is a mistake', () => {
  assert.throws(() => new PushServer({ sockjs: { prefix: '/echo' } }), TypeError);
});

test('what is sent before the session is closed arrives before the close frame, over polling as well', async (t) => {
  const { push, http } = await start();
  t.after(() => push.close());
  const path = session();
  await http.post(`${path}/xhr?user=alice`);
  const [opened] = push.localSessions();
  opened!.send('one');
  opened!.send('two');
  opened!.close(3000, 'bye');
  assert.equal((await http.post(`${path}/xhr`)).body, 'a["one","two"]\n');
  assert.equal((await http.post(`${path}/xhr`)).body, 'c[3000,"bye"]\n');
  assert.equal((await http.post(`${path}/xhr`)).body, 'c[3000,"bye"]\n');
  const other = session();
  await http.post(`${other}/xhr?user=bob`);
  const [streamed] = push.localSessions();
  streamed!.send('three');
  streamed!.close(3000, 'bye');
  const stream = await http.openPost(`${other}/xhr_streaming`);
  assert.match(await stream.chunk(), /^h+\n$/);
  assert.equal(await stream.chunk(), 'a["three"]\n');
  assert.equal(await stream.chunk(), 'c[3000,"bye"]\n');
});
