/** WebSocket as ws 8 documents it, the same tests for ws and for tidings/ws. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';
import type { ClientOptions, WebSocket as WebSocketType } from 'ws';
import { cleanUp, listenHttp } from '../server/support.ts';
import { until } from '../support/net.ts';
import { type Implementation, implementations, serve } from './implementations.ts';

/** A connected client and its server's side. */
async function pair(
  implementation: Implementation,
  serverOptions = {},
  clientOptions: ClientOptions = {},
): Promise<{ client: WebSocketType; server: WebSocketType }> {
  const { wss, url } = await serve(implementation, serverOptions);
  const connection = once(wss, 'connection');
  const client = new implementation.WebSocket(url, clientOptions);
  const [[server]] = await Promise.all([connection, once(client, 'open')]);
  return { client, server };
}

for (const implementation of implementations) {
  const { name, WebSocket, createWebSocketStream } = implementation;

  // ── the constructor ────────────────────────────────────────────────────────────────────────────

  test(`${name}: constants, on the class and on instances`, () => {
    for (const [value, state] of ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'].entries()) {
      const key = state as 'OPEN';
      assert.equal(WebSocket[key], value);
      assert.equal(WebSocket.prototype[key], value);
      assert.ok(Object.getOwnPropertyDescriptor(WebSocket, key)?.enumerable);
    }
  });

  test(`${name}: addresses that can't be`, () => {
    for (const [address, message] of [
      ['foo', 'Invalid URL: foo'],
      ['bad://websocket', /The URL's protocol must be one of/],
      ['ws+unix:', "The URL's pathname is empty"],
      ['wss://websocket#foo', 'The URL contains a fragment identifier'],
    ] as const) {
      assert.throws(() => new WebSocket(address), { name: 'SyntaxError', message });
    }
  });

  test(`${name}: http: and https: are ws: and wss:; url is the address; a URL object does as well`, () => {
    for (const [address, url] of [
      ['http://127.0.0.1:1', 'ws://127.0.0.1:1/'],
      ['https://127.0.0.1:1/x?y', 'wss://127.0.0.1:1/x?y'],
      [new URL('ws://127.0.0.1:1/'), 'ws://127.0.0.1:1/'],
    ] as const) {
      const client = new WebSocket(address);
      client.on('error', () => {});
      assert.equal(client.url, url);
      assert.equal(client.readyState, WebSocket.CONNECTING);
      client.terminate();
    }
  });

  test(`${name}: subprotocols that can't be`, () => {
    for (const protocols of [['foo', 'foo'], ['a b'], ['a,b'], ['']]) {
      assert.throws(() => new WebSocket('ws://127.0.0.1:1', protocols), {
        name: 'SyntaxError',
        message: 'An invalid or duplicated subprotocol was specified',
      });
    }
    assert.throws(() => new WebSocket('ws://127.0.0.1:1', { protocolVersion: 1000 }), RangeError);
  });

  test(`${name}: the request: headers, origin, version, Authorization of the address, subprotocols`, async () => {
    const { wss, url } = await serve(implementation);
    const requests: IncomingMessage[] = [];
    wss.on('connection', (_ws, request) => requests.push(request));
    const clients: WebSocketType[] = [];
    for (const connect of [
      () =>
        new WebSocket(url.replace('//', '//user:p%40ss@'), ['a', 'b'], {
          headers: { Foo: 'bar' },
          origin: 'https://o',
        }),
      () => new WebSocket(url, { protocolVersion: 8, origin: 'https://o' }),
      () => new WebSocket(url, 'a', { perMessageDeflate: false }),
    ]) {
      clients.push(connect());
      await once(clients.at(-1)!, 'open');
    }
    assert.equal(requests.length, 3);
    const [first, second, third] = requests.map(({ headers }) => headers);
    assert.equal(first!['foo'], 'bar');
    assert.equal(first!['origin'], 'https://o');
    assert.equal(first!['authorization'], `Basic ${Buffer.from('user:p@ss').toString('base64')}`);
    assert.equal(first!['sec-websocket-protocol'], 'a,b');
    assert.equal(first!['sec-websocket-version'], '13');
    assert.equal(first!['sec-websocket-extensions'], 'permessage-deflate; client_max_window_bits');
    assert.equal(second!['sec-websocket-version'], '8');
    assert.equal(second!['sec-websocket-origin'], 'https://o');
    assert.equal(third!['sec-websocket-extensions'], undefined);
    for (const client of clients) client.terminate();
  });

  test(`${name}: finishRequest may change the request, and sends it`, async () => {
    const { wss, url } = await serve(implementation);
    const connection = once(wss, 'connection');
    const client = new WebSocket(url, {
      finishRequest(request, websocket) {
        assert.ok(websocket instanceof WebSocket);
        setImmediate(() => {
          request.setHeader('Cookie', 'a=1');
          request.end();
        });
      },
    });
    const [, request] = await connection;
    assert.equal(request.headers.cookie, 'a=1');
    await once(client, 'open');
    client.terminate();
  });

  test(`${name}: a unix socket`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ws-'));
    cleanUp(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'socket');
    const http = createServer().listen(path);
    await once(http, 'listening');
    const wss = new implementation.WebSocketServer({ server: http });
    wss.on('connection', (ws, request) => ws.send(request.url!));
    const client = new WebSocket(`ws+unix:${path}:/foo?bar=1`);
    assert.equal(String((await once(client, 'message'))[0]), '/foo?bar=1');
    client.terminate();
    http.close();
  });

  // ── the opening handshake ──────────────────────────────────────────────────────────────────────

  test(`${name}: a refused connection is error, then close with 1006`, async () => {
    const client = new WebSocket('ws://127.0.0.1:1');
    const events: unknown[] = [];
    client.on('error', (error: NodeJS.ErrnoException) => events.push(error.code, client.readyState));
    client.on('close', (code, reason) => events.push(code, reason.length, client.readyState));
    await until('close', () => events.length === 5);
    assert.deepEqual(events, ['ECONNREFUSED', WebSocket.CLOSING, 1006, 0, WebSocket.CLOSED]);
  });

  for (const [what, response, message] of [
    [
      'another status',
      'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n',
      'Unexpected server response: 401',
    ],
    ['a wrong accept key', upgrade('Sec-WebSocket-Accept: foo'), 'Invalid Sec-WebSocket-Accept header'],
    ['no accept key', upgrade(''), 'Invalid Sec-WebSocket-Accept header'],
    [
      'another upgrade',
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n',
      'Invalid Upgrade header',
    ],
    [
      'a subprotocol not asked for',
      'ACCEPT\r\nSec-WebSocket-Protocol: foo',
      'Server sent a subprotocol but none was requested',
    ],
    [
      'an extension not asked for',
      'ACCEPT\r\nSec-WebSocket-Extensions: foo',
      'Server indicated an extension that was not requested',
    ],
    [
      'a broken extension header',
      'ACCEPT\r\nSec-WebSocket-Extensions: foo;=',
      'Invalid Sec-WebSocket-Extensions header',
    ],
    [
      'a parameter not offered',
      'ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate; foo=1',
      'Invalid Sec-WebSocket-Extensions header',
    ],
  ] as const) {
    test(`${name}: ${what} fails the handshake: ${message}`, async () => {
      const { createHash } = await import('node:crypto');
      const server = createNetServer((socket) => {
        let head = '';
        socket.on('error', () => {});
        socket.on('data', (chunk) => {
          head += chunk;
          const key = /Sec-WebSocket-Key: (.*)\r\n/.exec(head)?.[1];
          if (!head.endsWith('\r\n\r\n')) return;
          const accept = createHash('sha1')
            .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
            .digest('base64');
          const [first, ...rest] = response.split('\r\n');
          socket.write(
            first === 'ACCEPT'
              ? upgrade([`Sec-WebSocket-Accept: ${accept}`, ...rest].join('\r\n'))
              : response,
          );
        });
      }).listen(0, '127.0.0.1');
      cleanUp(() => server.close());
      await once(server, 'listening');
      const { port } = server.address() as import('node:net').AddressInfo;
      const client = new WebSocket(`ws://127.0.0.1:${port}`);
      const errors: string[] = [];
      client.on('error', (error) => errors.push(error.message));
      const code = await new Promise((resolve) => client.on('close', resolve));
      assert.deepEqual(errors, [message]);
      assert.equal(code, 1006);
      assert.equal(client.readyState, WebSocket.CLOSED);
    });
  }

  test(`${name}: handshakeTimeout`, async () => {
    const server = createNetServer().listen(0, '127.0.0.1');
    cleanUp(() => server.close());
    await once(server, 'listening');
    server.on('connection', (socket) => cleanUp(() => socket.destroy()));
    const { port } = server.address() as import('node:net').AddressInfo;
    const client = new WebSocket(`ws://127.0.0.1:${port}`, { handshakeTimeout: 100 });
    const error = await new Promise<Error>((resolve) => client.on('error', resolve));
    assert.equal(error.message, 'Opening handshake has timed out');
  });

  for (const method of ['close', 'terminate'] as const) {
    test(`${name}: ${method}() while connecting is error, then close`, async () => {
      const client = new WebSocket('ws://127.0.0.1:1');
      const events: string[] = [];
      client.on('error', (error) => events.push(error.message));
      client.on('close', (code) => events.push(String(code)));
      client[method]();
      assert.equal(client.readyState, WebSocket.CLOSING);
      await until('close', () => events.length === 2);
      assert.deepEqual(events, ['WebSocket was closed before the connection was established', '1006']);
      client[method]();
    });
  }

  test(`${name}: send, ping and pong throw while connecting`, () => {
    const client = new WebSocket('ws://127.0.0.1:1');
    client.on('error', () => {});
    for (const method of ['send', 'ping', 'pong'] as const) {
      assert.throws(() => client[method]('x'), /WebSocket is not open: readyState 0 \(CONNECTING\)/);
    }
    client.pause();
    assert.equal(client.isPaused, false);
    client.terminate();
  });

  // ── redirects ──────────────────────────────────────────────────────────────────────────────────

  test(`${name}: followRedirects follows, tells url and redirect; without it 302 is an error`, async () => {
    const { wss, url } = await serve(implementation);
    wss.on('connection', (ws, request) => ws.send(String(request.headers.authorization)));
    const { http, url: from } = await listenHttp();
    http.on('upgrade', (_request, socket) =>
      socket.end(`HTTP/1.1 302 Found\r\nLocation: ${url}/there\r\n\r\n`),
    );
    const client = new WebSocket(from, { followRedirects: true, headers: { Authorization: 'Basic x' } });
    const redirects: string[] = [];
    client.on('redirect', (to) => redirects.push(to));
    const [data] = await once(client, 'message');
    assert.equal(client.url, `${url}/there`);
    assert.deepEqual(redirects, [`${url}/there`]);
    assert.equal(String(data), 'Basic x', 'with a redirect listener the headers are its business');
    client.terminate();

    const strict = new WebSocket(from);
    const error = await new Promise<Error>((resolve) => strict.on('error', resolve));
    assert.equal(error.message, 'Unexpected server response: 302');
    http.close();
  });

  test(`${name}: a redirect to another host loses Authorization, Cookie and Host`, async () => {
    const { wss, url } = await serve(implementation);
    wss.on('connection', (ws, { headers }) =>
      ws.send(JSON.stringify([headers.authorization, headers.cookie, headers.host, headers['x-kept']])),
    );
    const { http, url: from } = await listenHttp();
    http.on('upgrade', (_request, socket) => socket.end(`HTTP/1.1 302 Found\r\nLocation: ${url}/\r\n\r\n`));
    const client = new WebSocket(from.replace('//', '//user:pass@'), {
      followRedirects: true,
      headers: { authorization: 'Basic x', cookie: 'a=1', host: 'foo', 'X-Kept': 'yes' },
    });
    const [data] = await once(client, 'message');
    assert.deepEqual(JSON.parse(String(data)), [null, null, new URL(url).host, 'yes']);
    client.terminate();
    http.close();
  });

  test(`${name}: maxRedirects`, async () => {
    const { http, url } = await listenHttp();
    http.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n'));
    const client = new WebSocket(url, { followRedirects: true, maxRedirects: 1 });
    const errors: string[] = [];
    client.on('error', (error) => errors.push(error.message));
    await new Promise((resolve) => client.on('close', resolve));
    assert.deepEqual(errors, ['Maximum redirects exceeded']);
    http.close();
  });

  // ── events ─────────────────────────────────────────────────────────────────────────────────────

  test(`${name}: message gives a Buffer and isBinary; send takes all that ws's documentation lists`, async () => {
    const { client, server } = await pair(implementation);
    const seen: [string, boolean][] = [];
    server.on('message', (data: Buffer, isBinary: boolean) => {
      assert.ok(Buffer.isBuffer(data));
      seen.push([data.toString('latin1'), isBinary]);
    });
    const bytes = new Uint8Array([97, 98, 99, 100]);
    const float = new Float32Array([1.5]);
    const values: [Parameters<WebSocketType['send']>[0], string, boolean][] = [
      ['text', 'text', false],
      ['', '', false],
      [Buffer.from('buffer'), 'buffer', true],
      [bytes, 'abcd', true],
      [bytes.buffer, 'abcd', true],
      [new DataView(bytes.buffer, 1, 2), 'bc', true],
      [float, Buffer.from(float.buffer).toString('latin1'), true],
      [[1, 2, 3], '\x01\x02\x03', true],
      [42, '42', false],
      [new Blob(['blob']), 'blob', true],
    ];
    for (const [value] of values) client.send(value);
    client.send('as binary', { binary: true });
    client.send(Buffer.from('as text'), { binary: false });
    await until('all', () => seen.length === values.length + 2);
    assert.deepEqual(seen, [
      ...values.map(([, text, isBinary]) => [text, isBinary]),
      ['as binary', true],
      ['as text', false],
    ]);
    client.terminate();
  });

  test(`${name}: options of send: none, null, something else, and binary with all that it may be`, async () => {
    const { client, server } = await pair(implementation);
    const seen: boolean[] = [];
    server.on('message', (_data, isBinary) => seen.push(isBinary));
    const send = client.send.bind(client) as (data: unknown, options?: unknown) => void;
    const bytes = Buffer.from('bytes');
    const blob = new Blob(['blob']);
    for (const options of [undefined, null, 5, 'abc', {}, { fin: true }]) {
      for (const data of ['text', 7, bytes, blob]) send(data, options);
    }
    await until('all', () => seen.length === 24);
    assert.deepEqual(
      seen,
      Array.from({ length: 24 }, (_, i) => i % 4 > 1),
    );
    seen.length = 0;
    for (const binary of [undefined, null, 0, '', false])
      for (const data of [bytes, 'text', blob]) send(data, { binary });
    for (const binary of [1, 'yes', true]) for (const data of [bytes, 'text', blob]) send(data, { binary });
    await until('all', () => seen.length === 24);
    assert.deepEqual(
      seen,
      Array.from({ length: 24 }, (_, i) => i > 14),
    );
    client.send('with a callback', null as never, () => client.close());
    await once(server, 'close');
    assert.equal(seen.length, 25);
  });

  test(`${name}: a Blob of another package than Node is one, too`, async () => {
    class Other {
      readonly type = '';
      readonly size = 2;
      readonly [Symbol.toStringTag] = 'Blob';
      readonly #fails: boolean;
      constructor(fails = false) {
        this.#fails = fails;
      }
      stream(): void {}
      arrayBuffer(): Promise<ArrayBuffer> {
        if (this.#fails) throw new Error('gone');
        return runInNewContext('Promise.resolve(new Uint8Array([111, 107]).buffer)');
      }
    }
    const { client, server } = await pair(implementation);
    const seen: string[] = [];
    server.on('message', (data) => seen.push(String(data)));
    const send = client.send.bind(client) as (data: unknown, done?: (error?: Error) => void) => void;
    send(new Other());
    send('behind');
    await until('both', () => seen.length === 2);
    assert.deepEqual(seen, ['ok', 'behind']);
    if (name !== 'ws') {
      client.on('error', () => {});
      const failed = new Promise((resolve) => send(new Other(true), resolve));
      assert.match(String(await failed), /gone/);
      assert.equal((await once(client, 'close'))[0], 1006);
    }
    client.close();
    send(new Other());
    assert.ok(client.bufferedAmount >= 2);
  });

  test(`${name}: what is sent behind a Blob stays behind it`, async () => {
    const { client, server } = await pair(implementation);
    const seen: string[] = [];
    server.on('message', (data) => seen.push(String(data)));
    server.on('ping', (data) => seen.push(String(data)));
    client.send(new Blob(['1']));
    client.send('2');
    client.ping('3');
    client.send(new Blob(['4']));
    client.send(Buffer.from('5'), (error) => assert.ok(!error));
    client.close(1000);
    const [code] = await once(server, 'close');
    assert.deepEqual(seen, ['1', '2', '3', '4', '5']);
    assert.equal(code, 1000);
  });

  test(`${name}: text is taken by copy, so that changing a small buffer after send changes nothing sent`, async () => {
    const { client, server } = await pair(implementation);
    const buffer = Buffer.from('before');
    const message = once(server, 'message');
    client.send(buffer);
    buffer.fill('x');
    assert.equal(String((await message)[0]), 'before');
    client.terminate();
  });

  test(`${name}: ping and pong with data, number, callback; 125 bytes at most`, async () => {
    const { client, server } = await pair(implementation);
    const seen: string[] = [];
    server.on('ping', (data) => seen.push(`ping ${data}`));
    server.on('pong', (data) => seen.push(`pong ${data}`));
    client.on('pong', (data) => seen.push(`answer ${data}`));
    client.ping();
    client.ping('a');
    client.ping(1, true);
    client.pong(Buffer.from('b'));
    client.pong(undefined, undefined, () => seen.push('written'));
    assert.throws(() => client.ping('x'.repeat(126)), {
      name: 'RangeError',
      message: 'The data size must not be greater than 125 bytes',
    });
    assert.throws(() => client.pong(Buffer.alloc(126)), RangeError);
    await until('all', () => seen.length === 9);
    assert.deepEqual(
      seen.filter((each) => each.startsWith('p')),
      ['ping ', 'ping a', 'ping 1', 'pong b', 'pong '],
    );
    assert.deepEqual(
      seen.filter((each) => each.startsWith('a')),
      ['answer ', 'answer a', 'answer 1'],
    );
    client.terminate();
  });

  test(`${name}: after close, send calls back with an error and counts in bufferedAmount`, async () => {
    const { client } = await pair(implementation);
    client.close();
    await once(client, 'close');
    const error = await new Promise<Error | undefined>((resolve) => client.send('hello', resolve));
    assert.equal(error?.message, 'WebSocket is not open: readyState 3 (CLOSED)');
    assert.equal(client.bufferedAmount, 5);
    const second = await new Promise<Error | undefined>((resolve) => client.ping('x', undefined, resolve));
    assert.match(String(second), /not open/);
    client.close();
    client.terminate();
  });

  test(`${name}: close with code and reason; what can't be sent throws`, async () => {
    const { client, server } = await pair(implementation);
    assert.throws(() => client.close(1004), {
      name: 'TypeError',
      message: 'First argument must be a valid error code number',
    });
    assert.throws(() => client.close(1006), TypeError);
    assert.throws(() => client.close('1000' as unknown as number), TypeError);
    assert.throws(() => client.close(1000, 'x'.repeat(124)), {
      name: 'RangeError',
      message: 'The message must not be greater than 123 bytes',
    });
    assert.equal(client.readyState, WebSocket.OPEN);
    client.close(3000, Buffer.from('because'));
    assert.equal(client.readyState, WebSocket.CLOSING);
    const [code, reason] = await once(server, 'close');
    assert.equal(code, 3000);
    assert.ok(Buffer.isBuffer(reason));
    assert.equal(String(reason), 'because');
  });

  test(`${name}: terminate is 1006 on both sides`, async () => {
    const { client, server } = await pair(implementation);
    const codes = Promise.all([once(client, 'close'), once(server, 'close')]);
    client.terminate();
    assert.equal(client.readyState, WebSocket.CLOSING);
    assert.deepEqual(
      (await codes).map(([code]) => code),
      [1006, 1006],
    );
  });

  test(`${name}: closeTimeout cuts a peer that does not close`, async () => {
    const { http, url } = await listenHttp();
    http.on('upgrade', (request, socket) => {
      cleanUp(() => socket.destroy());
      const key = request.headers['sec-websocket-key'];
      import('node:crypto').then(({ createHash }) => {
        const accept = createHash('sha1')
          .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64');
        socket.write(upgrade(`Sec-WebSocket-Accept: ${accept}`));
      });
    });
    const client = new WebSocket(url, { closeTimeout: 100 } as ClientOptions);
    await once(client, 'open');
    client.close();
    const [code] = await once(client, 'close');
    assert.equal(code, 1006);
    http.close();
  });

  test(`${name}: pause and resume`, async () => {
    const { client, server } = await pair(implementation);
    const seen: string[] = [];
    server.on('message', (data) => seen.push(String(data)));
    server.pause();
    assert.equal(server.isPaused, true);
    client.send('x');
    // What is sent later, to the same process, has come: so has the message.
    const other = await pair(implementation);
    const later = once(other.server, 'message');
    other.client.send('later');
    await later;
    other.client.terminate();
    assert.deepEqual(seen, []);
    server.resume();
    assert.equal(server.isPaused, false);
    await until('the message', () => seen.length === 1);
    client.terminate();
  });

  test(`${name}: permessage-deflate is negotiated and told in extensions`, async () => {
    const { client, server } = await pair(implementation, { perMessageDeflate: { threshold: 0 } });
    assert.equal(client.extensions, 'permessage-deflate');
    assert.equal(server.extensions, 'permessage-deflate');
    server.on('message', (data, isBinary) => server.send(data, { binary: isBinary, compress: true }));
    for (const text of ['', 'x', 'hello '.repeat(1000), 'y'.repeat(200_000)]) {
      client.send(text, { compress: text.length % 2 === 0 });
      assert.equal(String((await once(client, 'message'))[0]), text);
    }
    client.terminate();
  });

  test(`${name}: generateMask makes the keys`, async () => {
    let calls = 0;
    const { client, server } = await pair(
      implementation,
      {},
      {
        generateMask(mask: Buffer) {
          calls++;
          mask.fill(0x55);
        },
      },
    );
    const message = once(server, 'message');
    client.send('masked by it');
    assert.equal(String((await message)[0]), 'masked by it');
    assert.equal(calls, 1);
    client.terminate();
  });

  test(`${name}: skipUTF8Validation lets invalid text through`, async () => {
    const { client, server } = await pair(implementation, { skipUTF8Validation: true });
    const message = once(server, 'message');
    client.send(Buffer.from([0xff, 0xfe]), { binary: false });
    const [data, isBinary] = await message;
    assert.deepEqual([...data], [0xff, 0xfe]);
    assert.equal(isBinary, false);
    client.terminate();
  });

  // ── EventTarget ────────────────────────────────────────────────────────────────────────────────

  test(`${name}: onopen, onmessage, onclose and their events`, async () => {
    const { wss, url } = await serve(implementation);
    wss.on('connection', (ws) => {
      ws.send('text');
      ws.send(Buffer.from('binary'));
      ws.close(4000, 'bye');
    });
    const client = new WebSocket(url);
    assert.equal(client.onopen, null);
    const seen: unknown[] = [];
    client.onopen = (event) => seen.push(event.type, event.target === client);
    client.onmessage = (event) => seen.push(event.type, event.data);
    const onclose = (event: { type: string; code: number; reason: string; wasClean: boolean }): void => {
      seen.push(event.type, event.code, event.reason, event.wasClean);
    };
    client.onclose = onclose;
    assert.equal(client.onclose, onclose);
    await until('the end', () => seen.includes('close'));
    assert.deepEqual(seen, [
      'open',
      true,
      'message',
      'text',
      'message',
      Buffer.from('binary'),
      'close',
      4000,
      'bye',
      true,
    ]);
  });

  test(`${name}: onerror and its event`, async () => {
    const client = new WebSocket('ws://127.0.0.1:1');
    const event = await new Promise<{ type: string; message: string; error: Error; target: unknown }>(
      (resolve) => {
        client.onerror = resolve;
      },
    );
    assert.equal(event.type, 'error');
    assert.match(event.message, /ECONNREFUSED/);
    assert.ok(event.error instanceof Error);
    assert.equal(event.target, client);
  });

  test(`${name}: addEventListener: once, objects, twice the same, removal, attributes replaced`, async () => {
    const { client, server } = await pair(implementation);
    const seen: string[] = [];
    const twice = (): number => seen.push('twice');
    client.addEventListener('message', twice);
    client.addEventListener('message', twice);
    client.addEventListener('message', () => seen.push('once'), { once: true });
    client.addEventListener('message', {
      handleEvent(event: { data: unknown }) {
        seen.push(`object ${event.data}`);
      },
    });
    const removed = (): never => assert.fail();
    client.addEventListener('message', removed);
    client.removeEventListener('message', removed);
    client.onmessage = removed;
    client.onmessage = () => seen.push('attribute');
    client.addEventListener('unknown' as 'message', removed);
    assert.equal(client.listenerCount('message'), 4);
    server.send('a');
    await until('the first', () => seen.length === 4);
    server.send('b');
    await until('the second', () => seen.length === 7);
    assert.deepEqual(seen, ['twice', 'once', 'object a', 'attribute', 'twice', 'object b', 'attribute']);
    client.onmessage = null;
    assert.equal(client.listenerCount('message'), 2);
    client.terminate();
  });

  test(`${name}: binaryType: nodebuffer, arraybuffer, fragments, blob; text is not touched by it`, async () => {
    const { client, server } = await pair(implementation);
    assert.equal(client.binaryType, 'nodebuffer');
    client.binaryType = 'foo' as 'nodebuffer';
    assert.equal(client.binaryType, 'nodebuffer');
    const check = async (type: string, test: (data: unknown) => unknown): Promise<void> => {
      client.binaryType = type as 'nodebuffer';
      const message = once(client, 'message');
      server.send(Buffer.from('abc'));
      const [data] = await message;
      assert.ok(await test(data), type);
      const text = once(client, 'message');
      server.send('text');
      assert.ok(Buffer.isBuffer((await text)[0]));
    };
    await check('nodebuffer', (data) => Buffer.isBuffer(data) && String(data) === 'abc');
    await check(
      'arraybuffer',
      (data) => data instanceof ArrayBuffer && Buffer.from(data).toString() === 'abc',
    );
    await check('fragments', (data) => Array.isArray(data) && Buffer.concat(data).toString() === 'abc');
    await check('blob', async (data) => data instanceof Blob && (await data.text()) === 'abc');
    client.terminate();
  });

  // ── createWebSocketStream ──────────────────────────────────────────────────────────────────────

  test(`${name}: a Duplex: both directions, end ends the connection`, async () => {
    const { client, server } = await pair(implementation);
    const theirs = createWebSocketStream(server);
    theirs.pipe(theirs);
    const stream = createWebSocketStream(client, { encoding: 'utf8' });
    let text = '';
    stream.on('data', (chunk) => {
      text += chunk;
    });
    const blocks = Array.from({ length: 50 }, (_, i) => String(i % 10).repeat(50_000));
    for (const block of blocks) if (!stream.write(block)) await once(stream, 'drain');
    // Not before all of it is back: the close of `end` overtakes what the other side has yet to echo.
    await until('the whole echo', () => text.length === blocks.length * 50_000);
    stream.end();
    await once(stream, 'close');
    assert.equal(text.length, blocks.join('').length);
    assert.equal(text, blocks.join(''));
    assert.equal(client.readyState, WebSocket.CLOSED);
  });

  test(`${name}: a Duplex in object mode gives a chunk for each message`, async () => {
    const { client, server } = await pair(implementation);
    const stream = createWebSocketStream(client, { readableObjectMode: true });
    const chunks: unknown[] = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    server.send('text');
    server.send(Buffer.from('binary'));
    server.close();
    await once(stream, 'end');
    assert.deepEqual(chunks, ['text', Buffer.from('binary')]);
    stream.destroy();
  });

  test(`${name}: a Duplex that is destroyed terminates, one of a failed handshake fails`, async () => {
    const { client, server } = await pair(implementation);
    const closed = once(server, 'close');
    const stream = createWebSocketStream(client);
    stream.destroy(new Error('foo'));
    const error = await new Promise((resolve) => stream.on('error', resolve));
    assert.equal(String(error), 'Error: foo');
    assert.equal((await closed)[0], 1006);

    const failed = createWebSocketStream(new WebSocket('ws://127.0.0.1:1'));
    failed.write('x');
    const failure = await new Promise<NodeJS.ErrnoException>((resolve) => failed.on('error', resolve));
    assert.equal(failure.code, 'ECONNREFUSED');
  });
}

function upgrade(lines: string): string {
  return `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${lines}${lines && '\r\n'}\r\n`;
}
