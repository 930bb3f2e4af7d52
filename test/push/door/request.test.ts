import assert from 'node:assert/strict';
import test from 'node:test';
import { clientAddress, cookies, queryParameter, trustedProxies } from '../../../src/push/door/request.ts';
import type { HandshakeRequest } from '../../../src/server/transport.ts';

const request = (parts: Partial<HandshakeRequest>, remoteAddress = '203.0.113.9'): HandshakeRequest => ({
  headers: {},
  socket: { remoteAddress },
  ...parts,
});

test('a query parameter is found in whatever a client sends as its URL', () => {
  assert.equal(queryParameter(request({ url: '/s?a=1&operator=J%C3%BCrgen+M' }), 'operator'), 'Jürgen M');
  assert.equal(queryParameter(request({ url: '/s?operator=a%&%=b' }), 'operator'), 'a%');
  assert.equal(queryParameter(request({ url: '/s?operator=%zz%4' }), 'operator'), '%zz%4');
  assert.equal(
    queryParameter(request({ url: '/s?%6fperator=%EF%BB%BFx&operator=y' }), 'operator'),
    '\ufeffx',
  );
  // Node hands bytes that are no ASCII on as Latin-1.
  assert.equal(queryParameter(request({ url: '/s?operator=\u00c3\u00bc' }), 'operator'), 'ü');
  assert.equal(queryParameter(request({ url: '//[?operator=x' }), 'operator'), 'x');
  assert.equal(queryParameter(request({ url: '/s' }), 'operator'), undefined);
  // RFC 9112 §3.2.2: as a proxy sends it.
  assert.equal(queryParameter(request({ url: 'http://a?operator=x' }), 'operator'), 'x');
  assert.equal(queryParameter(request({ url: 'http://a/s?b&operator=x' }), 'operator'), 'x');
});

test('a query parameter that is not UTF-8 is refused, so that no two become the same', () => {
  for (const value of [
    '%D5%C5',
    '%C0%EE',
    '%ff',
    'a%ED%A0%80',
    '%C0%AF',
    '%F4%90%80%80',
    '\u00d5\u00c5',
    '%E2%82',
  ]) {
    const url = `/s?x=%ff&operator=${value}`;
    assert.throws(() => queryParameter(request({ url }), 'operator'), { name: 'NotUtf8Error' }, value);
    assert.equal(queryParameter(request({ url }), 'other'), undefined);
  }
});

test('RFC 6265 §5.4: the first cookie of a name counts, values may be quoted or encoded or broken', () => {
  const found = cookies(
    request({ headers: { cookie: 'sid="a%20b"; sid=second;x=%zz; =y; __proto__=p; z' } }),
  );
  assert.deepEqual(
    [...found],
    [
      ['sid', 'a b'],
      ['x', '%zz'],
      ['__proto__', 'p'],
    ],
  );
});

test('X-Forwarded-For is believed from trusted proxies only, hop by hop', () => {
  const proxies = trustedProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8']);
  const headers = { 'x-forwarded-for': '1.1.1.1, 198.51.100.7, 10.2.3.4' };
  assert.equal(clientAddress(request({ headers }), proxies), '203.0.113.9');
  assert.equal(clientAddress(request({ headers }, '127.0.0.1'), proxies), '198.51.100.7');
  assert.equal(clientAddress(request({ headers }, '::ffff:127.0.0.1'), proxies), '198.51.100.7');
  assert.equal(clientAddress(request({ headers }, 'fd00::1'), proxies), '198.51.100.7');
  const garbage = { 'x-forwarded-for': '<script>, 10.9.9.9' };
  assert.equal(clientAddress(request({ headers: garbage }, '127.0.0.1'), proxies), '10.9.9.9');
  assert.equal(clientAddress(request({}, '127.0.0.1'), proxies), '127.0.0.1');
  assert.throws(() => trustedProxies(['nginx']), /no address/);
});

test('X-Forwarded-For: with ports, in brackets and in quotes, as proxies write it', () => {
  const proxies = trustedProxies(['127.0.0.1']);
  for (const [hop, address] of [
    ['203.0.113.7:51008', '203.0.113.7'],
    ['[2001:db8::7]', '2001:db8::7'],
    ['[2001:db8::7]:51008', '2001:db8::7'],
    ['2001:db8::7', '2001:db8::7'],
    ['"[2001:db8::7]:443"', '2001:db8::7'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['[::ffff:203.0.113.7]:1', '203.0.113.7'],
    // None of these is an address: the proxy's own stays.
    ['unknown', '127.0.0.1'],
    ['_hidden', '127.0.0.1'],
    ['[2001:db8::7', '127.0.0.1'],
    ['203.0.113.7:', '127.0.0.1'],
    ['203.0.113.7:1:2', '127.0.0.1'],
    ['203.0.113:80', '127.0.0.1'],
  ] as const) {
    const headers = { 'x-forwarded-for': `198.51.100.1, ${hop}` };
    assert.equal(clientAddress(request({ headers }, '127.0.0.1'), proxies), address, hop);
  }
});

test('on a Unix socket the peer has no address, and is trusted where proxies say unix:', () => {
  const headers = { 'x-forwarded-for': '1.1.1.1, 203.0.113.7:51008' };
  const own = { ...request({ headers }), socket: {} };
  assert.equal(clientAddress(own, trustedProxies(['127.0.0.1'])), '');
  assert.equal(clientAddress(own, trustedProxies(['unix:'])), '203.0.113.7');
  assert.equal(clientAddress(own, trustedProxies(['203.0.113.0/24', 'unix:'])), '1.1.1.1');
  assert.equal(clientAddress(request({ headers }, '127.0.0.1'), trustedProxies(['unix:'])), '127.0.0.1');
});
