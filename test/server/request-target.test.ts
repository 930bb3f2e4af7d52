import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OriginPolicy } from '../../src/server/origin.ts';
import { requestTarget } from '../../src/server/request-target.ts';
import { WebSocketServer } from '../../src/ws.ts';
import { listen, listenHttp, RawPeer, REQUEST } from './support.ts';

for (const [url, path, query, host] of [
  ['/chat', '/chat', '', undefined],
  ['/chat?a=b?c', '/chat', 'a=b?c', undefined],
  ['/', '/', '', undefined],
  ['/?', '/', '', undefined],
  ['//host/chat', '//host/chat', '', undefined],
  ['/a://b/c', '/a://b/c', '', undefined],
  ['http://host/chat', '/chat', '', 'host'],
  ['https://host:8443/chat?a=b', '/chat', 'a=b', 'host:8443'],
  ['HTTP://Host/chat', '/chat', '', 'Host'],
  ['ws://host/chat', '/chat', '', 'host'],
  ['http://user:pass@host/chat', '/chat', '', 'host'],
  ['http://a@b@host/chat@x', '/chat@x', '', 'host'],
  ['http://[::1]:80/chat', '/chat', '', '[::1]:80'],
  ['http://host', '/', '', 'host'],
  ['http://host?a=/b', '/', 'a=/b', 'host'],
  ['http://host/?a', '/', 'a', 'host'],
  ['http://host//chat', '//chat', '', 'host'],
  ['*', '*', '', undefined],
  ['host:443', 'host:443', '', undefined],
  ['', '', '', undefined],
] as const) {
  test(`RFC 9112 §3.2: ${url || 'nothing'} is the path ${path} and the query ${query || '(none)'}`, () => {
    assert.deepEqual(requestTarget({ url }), { path, query, host });
  });
}

test('a target of many at signs is read once', () => {
  const url = `http://${'a@'.repeat(50_000)}`;
  assert.equal(requestTarget({ url }).host, '');
});

for (const target of [
  'http://host/chat',
  'https://host/chat?x=y',
  'HTTP://host:80/chat?',
  'http://user@host/chat',
]) {
  test(`RFC 9112 §3.2.2: ${target} opens what /chat does, on a port of ours and on an http.Server`, async () => {
    const own = await listen({ path: '/chat' });
    const { http, port } = await listenHttp();
    const shared = new WebSocketServer({ server: http, path: '/chat' });
    for (const at of [own.port, port]) {
      const ask = async (url: string): Promise<string> => {
        const peer = await RawPeer.connect(at);
        peer.socket.write(`${REQUEST.replace('GET / ', `GET ${url} `)}\r\n`);
        return peer.head();
      };
      assert.match(await ask(target), /^HTTP\/1\.1 101 /);
      assert.match(await ask(target.replace('/chat', '/other')), /^HTTP\/1\.1 400 /);
    }
    for (const client of shared.clients!) client.terminate();
    await shared.close({});
  });
}

test('RFC 9112 §3.2.2: the host of an absolute target counts, not the Host header', () => {
  const request = (url: string) => ({
    url,
    headers: { host: 'evil.example', origin: 'http://app.example' },
    socket: {},
  });
  const policy = new OriginPolicy();
  assert.equal(policy.allows(request('/chat')), false);
  assert.equal(policy.allows(request('http://app.example/chat')), true);
  assert.equal(policy.allows(request('http://user@app.example/chat')), true);
  assert.equal(policy.allows(request('http://app.example@other.example/chat')), false);
});
