import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  acceptKey,
  asksForWebSocket,
  createRequest,
  formatResponse,
  HandshakeError,
  parseRequest,
  parseResponse,
} from '../../src/protocol/index.ts';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

type Headers = Record<string, string | string[] | undefined>;
function request(changed: Headers = {}, rest: { method?: string; httpVersion?: string } = {}) {
  const headers: Headers = {
    host: 'server.example.com',
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': KEY,
    'sec-websocket-version': '13',
    ...changed,
  };
  return { method: 'GET', httpVersion: '1.1', ...rest, headers };
}
function refused(name: string, changed: Headers, status: number, headers: Record<string, string> = {}): void {
  test(name, () => {
    assert.throws(
      () => parseRequest(request(changed)),
      (error) => {
        assert.ok(error instanceof HandshakeError);
        assert.equal(error.status, status);
        assert.deepEqual(error.headers, headers);
        return true;
      },
    );
  });
}

test('§1.3: the example key gives the example accept value', () => {
  assert.equal(acceptKey(KEY), ACCEPT);
});

test('§4.2.1: the request of §1.2 is accepted', () => {
  const parsed = parseRequest(
    request({ origin: 'http://example.com', 'sec-websocket-protocol': 'chat, superchat' }),
  );
  assert.deepEqual(parsed, { key: KEY, version: 13, protocols: ['chat', 'superchat'], extensions: [] });
});
test('§4.2.1: header values are lists of tokens, in any case', () => {
  const headers = { upgrade: 'h2c, WebSocket', connection: 'keep-alive,  Upgrade' };
  assert.equal(parseRequest(request(headers)).key, KEY);
});
test('version 8 is spoken too', () => {
  assert.equal(parseRequest(request({ 'sec-websocket-version': '8' })).version, 8);
});

test('§4.2.1: another method is answered with 405', () => {
  for (const method of ['POST', 'HEAD', 'get', undefined]) {
    assert.throws(() => parseRequest({ ...request(), method }), { status: 405, headers: { Allow: 'GET' } });
  }
});
test('§4.2.1: HTTP/1.0 is answered with 400', () => {
  assert.throws(() => parseRequest(request({}, { httpVersion: '1.0' })), { status: 400 });
});
refused('§4.2.1: no Upgrade is answered with 400', { upgrade: undefined }, 400);
refused('§4.2.1: another Upgrade is answered with 400', { upgrade: 'websockets' }, 400);
refused('§4.2.1: no Connection is answered with 400', { connection: undefined }, 400);
refused('§4.2.1: another Connection is answered with 400', { connection: 'keep-alive' }, 400);
const spoken = { 'Sec-WebSocket-Version': '13, 8' };
refused(
  '§4.4: another version is answered with 426 and the one spoken',
  { 'sec-websocket-version': '25' },
  426,
  {
    ...spoken,
    Upgrade: 'websocket',
  },
);
refused('§4.2.1: a body is answered with 400', { 'content-length': '5' }, 400);
refused('§4.2.1: a body in chunks is answered with 400', { 'transfer-encoding': 'chunked' }, 400);

test('RFC 9110 §7.8: what asks for a WebSocket, and what does not', () => {
  const asks = (headers: Record<string, string | undefined>, httpVersion = '1.1') =>
    asksForWebSocket(request(headers, { httpVersion }));
  for (const upgrade of ['websocket', 'WebSocket', 'h2c, websocket', 'websocket ,\tx/1']) {
    assert.equal(asks({ upgrade }), true, upgrade);
  }
  for (const upgrade of [undefined, '', 'h2c', 'websockets', 'websocket/13', 'web socket', 'TLS/1.0, h2c']) {
    assert.equal(asks({ upgrade }), false, upgrade);
  }
  assert.equal(asks({ connection: 'keep-alive, UPGRADE' }), true);
  assert.equal(asks({ connection: 'keep-alive' }), false);
  assert.equal(asks({ connection: undefined }), false);
  assert.equal(asks({}, '1.0'), false);
});

refused('§4.2.1: no version is answered with 400', { 'sec-websocket-version': undefined }, 400, spoken);
refused(
  '§4.2.1: a version that is no number is answered with 400',
  { 'sec-websocket-version': 'x' },
  400,
  spoken,
);
refused(
  '§11.3.5: a version given twice is answered with 400',
  { 'sec-websocket-version': ['13', '13'] },
  400,
  spoken,
);
refused('§4.2.1: no key is answered with 400', { 'sec-websocket-key': undefined }, 400);
refused('§11.3.1: a key given twice is answered with 400', { 'sec-websocket-key': [KEY, KEY] }, 400);
refused(
  '§11.3.1: a key given twice and joined is answered with 400',
  { 'sec-websocket-key': `${KEY}, ${KEY}` },
  400,
);
for (const key of [
  '',
  'short==',
  `${KEY}=`,
  KEY.slice(0, -1),
  `${'A'.repeat(21)}*==`,
  ` ${KEY}`,
  'A'.repeat(24),
]) {
  refused(`§4.2.1: the key ${JSON.stringify(key)} is not 16 bytes`, { 'sec-websocket-key': key }, 400);
}
for (const protocols of ['', ',', 'a,', 'a,,b', 'a b', 'a, a', 'a\u0001', 'ä', 'a;b', '"a"']) {
  refused(
    `§4.1: the subprotocols ${JSON.stringify(protocols)}`,
    { 'sec-websocket-protocol': protocols },
    400,
  );
}
for (const extensions of [
  '',
  ',',
  'a,',
  'a;',
  'a; b=',
  'a; b="',
  'a; b=""',
  'a; b="c d"',
  'a b',
  'a=b',
  '; a',
]) {
  refused(
    `§9.1: the extensions ${JSON.stringify(extensions)}`,
    { 'sec-websocket-extensions': extensions },
    400,
  );
}

test('§4.2.2: the response of §1.3', () => {
  assert.equal(
    formatResponse({
      key: KEY,
      protocol: 'chat',
      extensions: 'x; y=1',
      headers: [['Set-Cookie', 'a=b'], 'X-Y: z'],
    }),
    'HTTP/1.1 101 Switching Protocols\r\n' +
      'Upgrade: websocket\r\n' +
      'Connection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${ACCEPT}\r\n` +
      'Sec-WebSocket-Protocol: chat\r\n' +
      'Sec-WebSocket-Extensions: x; y=1\r\n' +
      'Set-Cookie: a=b\r\n' +
      'X-Y: z\r\n' +
      '\r\n',
  );
});

test('header injection: nothing that goes into a head may end its line', () => {
  for (const bad of ['a\r\nSet-Cookie: x', 'a\nb', 'a\rb', 'a\0b', 'ž']) {
    assert.throws(() => formatResponse({ key: KEY, protocol: bad }), TypeError);
    assert.throws(() => formatResponse({ key: KEY, extensions: bad }), TypeError);
    assert.throws(() => formatResponse({ key: KEY, headers: [['A', bad]] }), TypeError);
    assert.throws(() => formatResponse({ key: KEY, headers: [[bad, 'a']] }), TypeError);
    assert.throws(() => formatResponse({ key: KEY, headers: [`A: ${bad}`] }), TypeError);
    assert.throws(() => createRequest({ protocols: [bad] }), SyntaxError);
    assert.throws(() => createRequest({ extensions: bad }), TypeError);
  }
  assert.throws(() => formatResponse({ key: KEY, headers: ['no colon'] }), TypeError);
});

test("§4.1: a client's request is one that the server accepts, with a new key each time", () => {
  const first = createRequest({ protocols: ['a', 'b'], extensions: 'x' });
  const headers = Object.fromEntries(
    Object.entries(first.headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  assert.deepEqual(parseRequest({ method: 'GET', headers }), {
    key: first.key,
    version: 13,
    protocols: ['a', 'b'],
    extensions: [{ name: 'x', parameters: [] }],
  });
  assert.notEqual(createRequest().key, first.key);
});
test('§4.1: a client refuses to ask for a subprotocol twice', () => {
  assert.throws(() => createRequest({ protocols: ['a', 'a'] }), SyntaxError);
});

function response(changed: Headers = {}, status = 101) {
  const headers: Headers = {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-accept': ACCEPT,
    ...changed,
  };
  return { status, headers };
}
test('§4.1: a valid response', () => {
  assert.deepEqual(parseResponse(response(), KEY), { protocol: '', extensions: [] });
  assert.deepEqual(
    parseResponse(response({ 'sec-websocket-protocol': 'b', 'sec-websocket-extensions': 'x; y' }), KEY, {
      protocols: ['a', 'b'],
      extensions: ['x'],
    }),
    { protocol: 'b', extensions: [{ name: 'x', parameters: [{ name: 'y', value: undefined }] }] },
  );
});
const bad: [string, Headers, object, RegExp][] = [
  ['no Upgrade', { upgrade: undefined }, {}, /^Invalid Upgrade header$/],
  ['another Upgrade', { upgrade: 'foo' }, {}, /^Invalid Upgrade header$/],
  ['no Connection', { connection: undefined }, {}, /^Invalid Connection header$/],
  ['no accept value', { 'sec-websocket-accept': undefined }, {}, /^Invalid Sec-WebSocket-Accept header$/],
  ['a wrong accept value', { 'sec-websocket-accept': KEY }, {}, /^Invalid Sec-WebSocket-Accept header$/],
  ['an accept value given twice', { 'sec-websocket-accept': [ACCEPT, ACCEPT] }, {}, /Accept header$/],
  ['a subprotocol that nobody asked for', { 'sec-websocket-protocol': 'a' }, {}, /none was requested$/],
  ['another subprotocol', { 'sec-websocket-protocol': 'a' }, { protocols: ['b'] }, /invalid subprotocol$/],
  [
    'two subprotocols',
    { 'sec-websocket-protocol': ['a', 'b'] },
    { protocols: ['a', 'b'] },
    /invalid subprotocol$/,
  ],
  ['no subprotocol, though asked', {}, { protocols: ['a'] }, /^Server sent no subprotocol$/],
  [
    'an extension, though none was asked for',
    { 'sec-websocket-extensions': 'x' },
    {},
    /no extension was requested$/,
  ],
  ['another extension', { 'sec-websocket-extensions': 'y' }, { extensions: ['x'] }, /was not requested$/],
  [
    'an extension twice',
    { 'sec-websocket-extensions': 'x, x' },
    { extensions: ['x'] },
    /^Invalid Sec-WebSocket-Ext/,
  ],
  [
    'malformed extensions',
    { 'sec-websocket-extensions': 'x;' },
    { extensions: ['x'] },
    /^Invalid Sec-WebSocket-Ext/,
  ],
];
for (const [name, headers, offered, message] of bad) {
  test(`§4.1: a client fails the connection on ${name}`, () => {
    assert.throws(() => parseResponse(response(headers), KEY, offered), { name: 'HandshakeError', message });
  });
}
test('§4.1: a client fails the connection on another status', () => {
  assert.throws(() => parseResponse(response({}, 200), KEY), {
    message: 'Unexpected server response: 200',
    status: 200,
  });
});
