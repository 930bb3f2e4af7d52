/** What a client's request says: header lines, Authorization, subprotocols. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import type { ClientOptions as WsClientOptions } from 'ws';
import { type ClientOptions, WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { line, lines, place, request } from './client-support.ts';
import { implementations, serve } from './implementations.ts';

// ── header lines ──────────────────────────────────────────────────────────────────────────────────

test('header names are on the wire as they were given, with and without followRedirects', async () => {
  const here = await place();
  for (const followRedirects of [false, true]) {
    const { request: message } = await request(here, here.url, {
      followRedirects,
      headers: {
        'X-CamelCase': '1',
        'x-lower': '2',
        'X-ODD-case': ['3', '4'],
        AUTHORIZATION: 'x',
        cOOkie: 'a=1',
      },
    });
    const given = lines(message).filter(([name]) => /^(x-|auth|cook)/i.test(name));
    assert.deepEqual(given, [
      ['X-CamelCase', '1'],
      ['x-lower', '2'],
      ['X-ODD-case', '3'],
      ['X-ODD-case', '4'],
      ['AUTHORIZATION', 'x'],
      ['cOOkie', 'a=1'],
    ]);
  }
});

test('RFC 6455 §4.1: lines of the handshake come once and are ours, in whatever case others are given', async () => {
  const here = await place();
  for (const spell of [
    (name: string) => name,
    (name: string) => name.toLowerCase(),
    (name: string) => name.toUpperCase(),
  ]) {
    const headers = Object.fromEntries(
      [
        'Upgrade',
        'Connection',
        'Sec-WebSocket-Key',
        'Sec-WebSocket-Version',
        'Sec-WebSocket-Protocol',
        'Sec-WebSocket-Extensions',
        'Origin',
      ].map((name) => [spell(name), 'theirs']),
    );
    const requests: IncomingMessage[] = [];
    here.server.once('upgrade', (message) => requests.push(message));
    const client = new WebSocket(here.url, ['chat'], {
      headers,
      origin: 'https://o',
      handshakeTimeout: 60_000,
    });
    client.on('error', () => {});
    const message = await until('a request', () => requests[0]);
    client.terminate();
    assert.deepEqual(line(message, 'upgrade'), ['websocket']);
    assert.deepEqual(line(message, 'connection'), ['Upgrade']);
    assert.deepEqual(line(message, 'sec-websocket-version'), ['13']);
    assert.match(line(message, 'sec-websocket-key').join(), /^[+/0-9A-Za-z]{22}==$/);
    assert.deepEqual(line(message, 'sec-websocket-protocol'), ['chat']);
    assert.deepEqual(line(message, 'sec-websocket-extensions'), [
      'permessage-deflate; client_max_window_bits',
    ]);
    assert.deepEqual(line(message, 'origin'), ['https://o']);
  }
});

test('a Host line of the application is sent, in any case, once', async () => {
  const here = await place();
  for (const name of ['Host', 'host', 'HOST']) {
    const { request: message } = await request(here, here.url, { headers: { [name]: 'virtual.example' } });
    assert.deepEqual(line(message, 'host'), ['virtual.example']);
  }
});

test('headers may be an object, pairs, a Map, Headers, or a flat list', async () => {
  const here = await place();
  for (const headers of [
    { 'X-A': '1', 'X-B': '2' },
    [
      ['X-A', '1'],
      ['X-B', '2'],
    ],
    new Map([
      ['X-A', '1'],
      ['X-B', '2'],
    ]),
    new Headers([
      ['X-A', '1'],
      ['X-B', '2'],
    ]),
    ['X-A', '1', 'X-B', '2'],
  ]) {
    const { request: message } = await request(here, here.url, { headers });
    assert.deepEqual([line(message, 'x-a'), line(message, 'x-b')], [['1'], ['2']]);
    assert.deepEqual(line(message, 'host'), [`127.0.0.1:${here.port}`]);
    assert.deepEqual(line(message, 'upgrade'), ['websocket']);
  }
  const { request: twice } = await request(here, here.url, { headers: ['X-A', '1', 'x-a', '2', 'X-A', '3'] });
  assert.deepEqual(line(twice, 'x-a'), ['1', '2', '3']);
});

test('a header that would end its line is refused, and opens no connection', async () => {
  const here = await place();
  let connections = 0;
  here.server.on('connection', () => connections++);
  for (const headers of [
    { 'X-A': 'a\r\nX-B: b' },
    { 'X-A\r\nX-B': 'b' },
    { 'X-A': undefined },
    ['X-A', 'a\nb'],
    { '': 'x' },
  ]) {
    assert.throws(() => new WebSocket(here.url, { headers } as ClientOptions), TypeError);
  }
  await request(here, here.url);
  assert.equal(connections, 1);
});

test('Authorization: a header line before the address, the address before the option auth', async () => {
  const here = await place();
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  const withUser = here.url.replace('//', '//us%40er:p%3Ass@');
  for (const followRedirects of [false, true]) {
    for (const [address, options, expected] of [
      [withUser, {}, basic('us@er:p:ss')],
      [here.url, { auth: 'o:o' }, basic('o:o')],
      [withUser, { auth: 'o:o' }, basic('us@er:p:ss')],
      [withUser, { auth: 'o:o', headers: { aUthorization: 'Bearer x' } }, 'Bearer x'],
      [here.url.replace('//', '//:secret@'), {}, basic(':secret')],
      [here.url, { auth: null }, undefined],
    ] as const) {
      const { request: message } = await request(here, address, { followRedirects, ...options });
      assert.deepEqual(line(message, 'authorization'), expected === undefined ? [] : [expected]);
    }
  }
});

// ── subprotocols ──────────────────────────────────────────────────────────────────────────────────

for (const { name, WebSocket: Either } of implementations) {
  test(`${name}: RFC 6455 §4.1: a subprotocol is a token, and comes once: SyntaxError for all else`, () => {
    const wrong: unknown[] = [
      null,
      [null],
      [undefined],
      [''],
      '',
      ['a', 'a'],
      'a,b',
      'a b',
      'a\r\nb',
      'a\0',
      '\x7f',
      'ü',
      [1],
      0,
      1,
      false,
      true,
      [true],
      [{}],
      [[]],
      [['a']],
      [Symbol('a')],
      [new String('a')],
      [['a'], 'b'],
      Array(1),
      Object.assign(Array(3), { 0: 'a', 2: 'b' }),
      ['a', null],
      ['(', 'a'],
      ['a/b'],
      ['a;b'],
      ['a=b'],
      ['"a"'],
      ' a',
      'a ',
      'a\t',
      () => {},
      Symbol('a'),
      1n,
    ];
    for (const protocols of wrong) {
      const ways: [string, () => unknown][] = [
        ['the argument', () => new Either('ws://127.0.0.1:1', protocols as string)],
        ['the option', () => new Either('ws://127.0.0.1:1', { protocols } as WsClientOptions)],
        [
          'the option, behind undefined',
          () => new Either('ws://127.0.0.1:1', undefined, { protocols } as WsClientOptions),
        ],
      ];
      for (const [way, make] of ways) {
        assert.throws(
          make,
          { name: 'SyntaxError', message: 'An invalid or duplicated subprotocol was specified' },
          way,
        );
      }
    }
  });

  test(`${name}: the argument comes before the option protocols, and undefined means the option`, async () => {
    const { wss, url } = await serve({
      ...implementations[0]!,
      WebSocketServer: implementations[0]!.WebSocketServer,
    });
    for (const [args, expected] of [
      [[undefined, { protocols: ['x'] }], 'x'],
      [[['a', 'b'], { protocols: ['x'] }], 'a'],
      [['a', { protocols: ['x'] }], 'a'],
      [[[], { protocols: ['x'] }], ''],
      [[undefined, { protocols: undefined }], ''],
      [[undefined, null], ''],
      [[[], null], ''],
      [[{ protocols: 'x' }], 'x'],
    ] as [[unknown, unknown?], string][]) {
      const connection = once(wss, 'connection');
      const client = new (Either as unknown as new (url: string, ...args: unknown[]) => WebSocket)(
        url,
        ...args,
      );
      await Promise.all([connection, once(client, 'open')]);
      assert.equal(client.protocol, expected);
      client.terminate();
    }
  });
}
