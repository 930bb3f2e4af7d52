/** What nobody may do to the server: too much, too long, from where they should not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import type { Transport } from '../../src/server/transport.ts';
import { until } from '../support/net.ts';
import { countWork } from '../support/work.ts';
import { client, echo, session, startSockJs, Wire } from './support.ts';

const UPGRADE = {
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'x3JJHMbDL1EzLkh9GBhXDw==',
};

const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' };
const TOO_BIG = 'c[1009,"a message may have 100 bytes"]\n';

/** What sockjs-client writes as something longer: texts of a hundred bytes, or little less. */
const ESCAPED = ['\n', '\u0301', 'क़', '\u{1f600}', 'a\u0300'].map((each) =>
  each.repeat(Math.floor(100 / Buffer.byteLength(each))),
);
/** How sockjs-client writes a message. */
const { quote } = createRequire(import.meta.url)('sockjs-client/lib/utils/escape') as {
  quote(text: string): string;
};

/** What a form makes of it: each byte that is not plain becomes three. */
const field = (body: string): string => `d=${encodeURIComponent(body)}`;

for (const suffix of ['xhr_send', 'jsonp_send', 'jsonp_send by a form']) {
  const isForm = suffix.endsWith('form');
  const [transport] = suffix.split(' ') as [string];
  const post = (path: string, body: string, port: number) =>
    client(port).post(`${path}/${transport}`, {
      ...(isForm && { headers: FORM }),
      body: isForm ? field(body) : body,
    });
  const send = (path: string, messages: string[], port: number) => post(path, JSON.stringify(messages), port);

  test(`${suffix}: a body over the limit ends the session with 1009, and gets 413 after that`, async () => {
    const closes: [number, string][] = [];
    const { port } = await startSockJs({
      maxMessage: 100,
      handler: { closed: (_, code, reason) => void closes.push([code, reason]) },
    });
    const http = client(port);
    const path = session();
    const stream = await http.openPost(`${path}/xhr_streaming`);
    await stream.chunk();
    assert.equal(await stream.chunk(), 'o\n');
    let isAnswered = false;
    const answered = send(path, ['x'.repeat(2000)], port).then((answer) => {
      isAnswered = true;
      return answer;
    });
    assert.equal(await stream.chunk(), TOO_BIG);
    assert.equal(isAnswered, false, 'the status is ahead of the close frame');
    const answer = await answered;
    assert.deepEqual([answer.status, answer.header('connection')], [413, 'close']);
    assert.deepEqual(closes, [[1009, 'a message may have 100 bytes']]);
    assert.equal((await send(path, ['a'], port)).status, 404);
  });

  test(`${suffix}: one message of several that is too long ends the session, and none is delivered`, async () => {
    const told: string[] = [];
    const { port } = await startSockJs({
      maxMessage: 100,
      handler: { message: (_, data) => void told.push(data.toString()) },
    });
    const http = client(port);
    const path = session();
    await http.post(`${path}/xhr`);
    const polled = http.post(`${path}/xhr`);
    assert.equal(
      (await send(path, ['a', 'é'.repeat(51), 'b'], port)).status,
      isForm || transport === 'jsonp_send' ? 200 : 204,
    );
    assert.equal((await polled).body, TOO_BIG);
    assert.deepEqual(told, []);
  });

  test(`${suffix}: what is written longer than it is counts as long as it is`, async () => {
    const { port } = await startSockJs({ maxMessage: 100 });
    const http = client(port);
    const path = session();
    await http.post(`${path}/xhr`);
    for (const text of [
      '"'.repeat(100),
      '\\'.repeat(100),
      '邮'.repeat(33),
      '\u{1f600}'.repeat(25),
      '%'.repeat(100),
      ...ESCAPED,
    ]) {
      for (const body of [JSON.stringify([text]), `[${quote(text)}]`]) {
        const { status } = await post(path, body, port);
        assert.ok(status === 200 || status === 204, `${status} for ${body}`);
        assert.deepEqual(JSON.parse((await http.post(`${path}/xhr`)).body.slice(1)), [text]);
      }
    }
  });
}

test('by a WebSocket, too, a message counts as long as it is, and one that is longer ends the session', async () => {
  const closes: number[] = [];
  const { port } = await startSockJs({
    maxMessage: 100,
    handler: { ...echo, closed: (_, code) => void closes.push(code) },
  });
  const say = async (text: string, body = JSON.stringify([text])) => {
    const frames: string[] = [];
    const socket = new WebSocket(`ws://127.0.0.1:${port}${session()}/websocket`);
    socket.on('message', (data) => {
      frames.push(data.toString());
      if (frames.length > 1) socket.close();
    });
    await once(socket, 'open');
    socket.send(body);
    const [code] = await once(socket, 'close');
    return { frames, code };
  };
  const quotes = '"'.repeat(100);
  assert.deepEqual((await say(quotes)).frames, ['o', `a[${JSON.stringify(quotes)}]`]);
  for (const text of ESCAPED) {
    const { frames } = await say(text, `[${quote(text)}]`);
    assert.deepEqual(JSON.parse(frames[1]!.slice(1)), [text]);
  }
  assert.deepEqual((await say('x'.repeat(101))).frames, ['o', TOO_BIG.trim()]);
  assert.equal(closes.at(-1), 1009);
  // A frame that is too long in any case is not read to its end.
  assert.deepEqual(await say('x'.repeat(1000)), { frames: ['o'], code: 1009 });
});

test('a body in chunks, without a length, is held to the same limit', async () => {
  const { port } = await startSockJs({ maxMessage: 100 });
  const http = client(port);
  const path = session();
  await http.post(`${path}/xhr`);
  const wire = new Wire(port);
  const head = `POST ${path}/xhr_send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
  wire.socket.write(`${head}${`28\r\n${'x'.repeat(40)}\r\n`.repeat(12)}`);
  await until('an answer', () => wire.received.includes('\r\n\r\n'));
  assert.match(wire.received.toString(), /^HTTP\/1\.1 413 /);
  assert.equal((await http.post(`${path}/xhr`)).body, TOO_BIG);
});

test('a body for a session that is not there is not read', async () => {
  const { port } = await startSockJs();
  const wire = new Wire(port);
  wire.socket.write(`POST ${session()}/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n`);
  await until('an answer', () => wire.received.includes('\r\n\r\n'));
  assert.match(wire.received.toString(), /^HTTP\/1\.1 404 /);
});

test('a session whose client never reads is closed with 4430, and its bytes are let go', async () => {
  const sessions: Transport[] = [];
  const closes: [number, string][] = [];
  const { port } = await startSockJs({
    maxBuffered: 1000,
    handler: {
      opened: (opened) => void sessions.push(opened),
      closed: (_, code, reason) => void closes.push([code, reason]),
    },
  });
  const http = client(port);
  const path = session();
  await http.post(`${path}/xhr`);
  const [opened] = sessions as [Transport];
  // One message may be longer than the limit.
  assert.equal(opened.send('x'.repeat(1200)), 'queued');
  assert.ok(opened.bufferedAmount > 1200);
  assert.equal(opened.send('y'), 'dropped');
  assert.deepEqual(closes, [[4430, 'Too slow']]);
  assert.equal(opened.bufferedAmount, 0);
  assert.equal(opened.send('z'), 'dropped');
  assert.equal((await http.post(`${path}/xhr`)).body, 'c[4430,"Too slow"]\n');
});

test('sessions of one address and in all are limited; one that ends makes room', async () => {
  const addressOf = (request: { headers: Record<string, unknown> }) => String(request.headers['x-address']);
  const { port } = await startSockJs({
    maxSessions: 3,
    maxSessionsPerAddress: 2,
    disconnectDelay: 100,
    addressOf,
  });
  const http = client(port);
  const from = (address: string) => ({ headers: { 'X-Address': address } });
  // Streams, as a session lasts as long as it has a receiver.
  const open = (address: string) => http.openPost(`${session()}/xhr_streaming`, from(address));
  const first = await open('a');
  const rest = [await open('a'), await open('a'), await open('b'), await open('b')];
  assert.deepEqual(
    [first, ...rest].map(({ status }) => status),
    [200, 200, 429, 200, 503],
  );
  first.close();
  await until('room for a', async () => (await open('a')).status === 200);
});

test('a session without a receiver is over after the delay', async () => {
  const closes: [number, string][] = [];
  const { port } = await startSockJs({
    disconnectDelay: 100,
    handler: { closed: (_, code, reason) => void closes.push([code, reason]) },
  });
  const http = client(port);
  const path = session();
  await http.post(`${path}/xhr`);
  await until('its end', () => closes.length === 1);
  assert.deepEqual(closes, [[1006, 'Session timed out']]);
  assert.equal((await http.post(`${path}/xhr`)).body, 'o\n');
});

test('a pause of the process is not counted as the client’s', async () => {
  const { port } = await startSockJs({ disconnectDelay: 400 });
  let path: string;
  let wire: Wire;
  let from: number;
  // Only a session that a slow machine has left some of its time can tell.
  do {
    path = session();
    wire = new Wire(port);
    await once(wire.socket, 'connect');
    from = performance.now();
    await client(port).post(`${path}/xhr`);
  } while (performance.now() - from > 200);
  const head = `POST ${path}/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n`;
  wire.socket.write(`${head}["a"]`);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  await until('an answer', () => wire.received.includes('\r\n\r\n'));
  assert.match(wire.received.toString(), /^HTTP\/1\.1 204 /);
});

test('heartbeats come while a receiver waits', async () => {
  const { port } = await startSockJs({ heartbeatDelay: 50 });
  const http = client(port);
  const path = session();
  const stream = await http.openPost(`${path}/xhr_streaming`);
  await stream.chunk();
  assert.deepEqual([await stream.chunk(), await stream.chunk(), await stream.chunk()], ['o\n', 'h\n', 'h\n']);
});

// ── interceptors ─────────────────────────────────────────────────────────────────────────────────

test('interceptors fill attributes, at once or later, for every transport', async () => {
  const told: string[] = [];
  const { port } = await startSockJs({
    interceptors: [
      {
        before: (_, attributes) => {
          attributes['first'] = 1;
          return undefined;
        },
      },
      {
        before: async (_, attributes) => {
          await new Promise((resolve) => setImmediate(resolve));
          attributes.user = 'alice';
        },
        after: (_request, transport) => void told.push(transport === undefined ? 'refused' : 'opened'),
      },
    ],
    handler: { opened: (opened) => void opened.send(JSON.stringify(opened.attributes)) },
  });
  const http = client(port);
  const expected = JSON.stringify(JSON.stringify({ first: 1, user: 'alice' }));
  const path = session();
  assert.equal((await http.post(`${path}/xhr`)).body, 'o\n');
  assert.equal((await http.post(`${path}/xhr`)).body, `a[${expected}]\n`);
  const stream = await http.openPost(`${session()}/xhr_streaming`);
  await stream.chunk();
  assert.deepEqual([await stream.chunk(), await stream.chunk()], ['o\n', `a[${expected}]\n`]);
  assert.deepEqual(told, ['opened', 'opened']);
});

test('a refusal is the interceptor’s own answer, with CORS so that the page can read it', async () => {
  const { port } = await startSockJs({
    origins: ['http://app.example'],
    interceptors: [
      { before: () => new Response('who are you?', { status: 401, headers: { 'X-Reason': 'none' } }) },
    ],
  });
  const http = client(port);
  const headers = { Origin: 'http://app.example' };
  for (const [open, path] of [
    [http.post, `${session()}/xhr`],
    [http.post, `${session()}/xhr_streaming`],
    [http.get, `${session()}/eventsource`],
  ] as const) {
    const answer = await open(path, { headers });
    assert.deepEqual([answer.status, answer.body], [401, 'who are you?'], path);
    assert.equal(answer.header('x-reason'), 'none');
    assert.equal(answer.header('access-control-allow-origin'), 'http://app.example');
  }
});

test('an interceptor that throws refuses with 500, and the session’s place is free again', async () => {
  const { port } = await startSockJs({
    maxSessions: 1,
    interceptors: [
      {
        before: async () => {
          throw new Error('no database');
        },
      },
    ],
  });
  const http = client(port);
  const path = session();
  for (let i = 0; i < 2; i++) {
    const answer = await http.post(`${path}/xhr`);
    assert.equal(answer.status, 500);
    assert.ok(!answer.body.includes('database'));
  }
});

test('a client that leaves while an interceptor thinks leaves nothing behind', async () => {
  const thinking: (() => void)[] = [];
  const failures: (Error | undefined)[] = [];
  const { port } = await startSockJs({
    maxSessions: 1,
    interceptors: [
      {
        before: () => new Promise<void>((resolve) => void thinking.push(resolve)),
        after: (_request, _transport, error) => void failures.push(error),
      },
    ],
  });
  const wire = new Wire(port);
  wire.socket.write(`POST ${session()}/xhr HTTP/1.1\r\nHost: x\r\n\r\n`);
  await until('the interceptor', () => thinking.length === 1);
  wire.socket.destroy();
  await until('the end', () => failures.length === 1);
  assert.ok(failures[0] instanceof Error);
  const next = client(port).post(`${session()}/xhr`);
  await until('the interceptor again', () => thinking.length === 2);
  for (const resolve of thinking) resolve();
  assert.equal((await next).body, 'o\n');
});

// ── origins ──────────────────────────────────────────────────────────────────────────────────────

test('by default only pages of the same host may connect', async () => {
  const { port } = await startSockJs();
  const http = client(port);
  for (const [origin, isAllowed] of [
    ['http://localhost', true],
    ['https://localhost', true],
    ['http://evil.example', false],
    ['null', false],
    ['http://localhost.evil.example', false],
  ] as const) {
    const headers = { Origin: origin };
    const polled = await http.post(`${session()}/xhr`, { headers });
    assert.equal(polled.status, isAllowed ? 200 : 403, origin);
    assert.equal(polled.header('access-control-allow-origin'), isAllowed ? origin : undefined);
    assert.equal((await http.get('/echo/info', { headers })).status, isAllowed ? 200 : 403, origin);
    assert.equal((await http.options(`${session()}/xhr`, { headers })).status, isAllowed ? 204 : 403);
    for (const path of [`${session()}/websocket`, '/echo/websocket']) {
      const answer = await http.openGet(path, { headers: { ...headers, ...UPGRADE } });
      assert.equal(answer.status, isAllowed ? 101 : 403, `${path} ${origin}`);
      answer.close();
    }
  }
});

test('an allow-list lets its origins in, and * anyone', async () => {
  const listed = client((await startSockJs({ origins: ['http://app.example', 'null'] })).port);
  for (const [origin, status] of [
    ['http://app.example', 200],
    ['null', 200],
    ['http://app.example:81', 403],
  ] as const) {
    assert.equal((await listed.post(`${session()}/xhr`, { headers: { Origin: origin } })).status, status);
  }
  const open = client((await startSockJs({ origins: '*' })).port);
  const answer = await open.post(`${session()}/xhr`, { headers: { Origin: 'http://evil.example' } });
  assert.equal(answer.header('access-control-allow-origin'), 'http://evil.example');
});

test('jsonp and htmlfile, which browsers send without Origin, are judged by Sec-Fetch-Site or Referer', async () => {
  const { port } = await startSockJs({ origins: ['http://app.example'] });
  const http = client(port);
  const cases: [Record<string, string>, number][] = [
    [{}, 403],
    [{ 'Sec-Fetch-Site': 'same-origin' }, 200],
    [{ 'Sec-Fetch-Site': 'cross-site' }, 403],
    [{ 'Sec-Fetch-Site': 'same-site', Referer: 'http://evil.localhost/' }, 403],
    [{ Referer: 'http://localhost/page' }, 200],
    [{ Referer: 'http://app.example/page?x' }, 200],
    [{ Referer: 'http://evil.example/?http://app.example' }, 403],
    [{ Referer: 'nonsense' }, 403],
  ];
  for (const [headers, status] of cases) {
    const polled = await http.get(`${session()}/jsonp?c=x`, { headers });
    assert.equal(polled.status, status, JSON.stringify(headers));
    const page = await http.openGet(`${session()}/htmlfile?c=x`, { headers });
    assert.equal(page.status, status, JSON.stringify(headers));
    page.close();
  }
});

test('only allowed origins may frame the iframe page', async () => {
  const policy = async (options: Parameters<typeof startSockJs>[0]) => {
    const answer = await client((await startSockJs(options)).port).get('/echo/iframe.html');
    return answer.header('content-security-policy');
  };
  assert.equal(await policy({}), "frame-ancestors 'self'");
  assert.equal(
    await policy({ origins: ['http://app.example'] }),
    "frame-ancestors 'self' http://app.example",
  );
  assert.equal(await policy({ origins: '*' }), undefined);
});

test('the iframe page loads the client that the server names, and nothing that breaks out', async () => {
  const { port } = await startSockJs({ clientUrl: 'https://cdn.example/sockjs.js' });
  const { body } = await client(port).get('/echo/iframe.html');
  assert.ok(body.includes('<script src="https://cdn.example/sockjs.js"></script>'));
  for (const clientUrl of ['x.js', 'javascript:alert(1)', '/"><script>', 'https://a/ b']) {
    await assert.rejects(startSockJs({ clientUrl }), TypeError, clientUrl);
  }
});

// ── text ─────────────────────────────────────────────────────────────────────────────────────────

test('</script> and comments in a message can’t end an htmlfile script', async () => {
  const text = '</script><script>alert(1)</script><!-- </SCRIPT';
  const { port } = await startSockJs({ handler: { opened: (opened) => void opened.send(text) } });
  const headers = { 'Sec-Fetch-Site': 'same-origin' };
  const answer = await client(port).openGet(`${session()}/htmlfile?c=x`, { headers });
  await answer.chunk();
  await answer.chunk();
  const frame = await answer.chunk();
  const [, literal = ''] = /^<script>\np\((.*)\);\n<\/script>\r\n$/.exec(frame) ?? [];
  assert.ok(!/<\/|<!--/.test(literal), literal);
  // What the browser makes of the literal is the frame.
  assert.equal(JSON.parse(new Function(`return ${literal}`)().slice(1))[0], text);
});

test('lone surrogates travel as lower-case escapes', async () => {
  const { port } = await startSockJs({
    handler: { opened: (opened) => void opened.send('\ud83d \udE00 😀') },
  });
  const http = client(port);
  const path = session();
  await http.post(`${path}/xhr`);
  assert.equal((await http.post(`${path}/xhr`)).body, 'a["\\ud83d \\ude00 😀"]\n');
});

test('bytes go as base64', async () => {
  const { port } = await startSockJs({
    handler: { opened: (opened) => void opened.send(Buffer.from([0, 255])) },
  });
  const http = client(port);
  const path = session();
  await http.post(`${path}/xhr`);
  assert.equal((await http.post(`${path}/xhr`)).body, 'a["AP8="]\n');
});

// ── the server around it ─────────────────────────────────────────────────────────────────────────

test('other requests stay the application’s, also after SockJS is closed', async () => {
  const { port, http: server, sockjs } = await startSockJs();
  const http = client(port);
  for (const path of ['/', '/echoes', '/echo2/info', '/other']) {
    const answer = await http.get(path);
    assert.deepEqual([answer.status, answer.body], [418, 'application'], path);
  }
  assert.equal((await http.get('/echo')).status, 200);
  sockjs.close();
  assert.equal((await http.get('/echo')).status, 418);
  assert.equal(server.listenerCount('upgrade'), 0);
});

test('closing tells every session; what waits is closed with the code', async () => {
  const closes: number[] = [];
  const { port, sockjs } = await startSockJs({
    handler: { ...echo, closed: (_, code) => void closes.push(code) },
  });
  const http = client(port);
  const stream = await http.openPost(`${session()}/xhr_streaming`);
  await stream.chunk();
  await stream.chunk();
  sockjs.close(1012, 'restart');
  assert.equal(await stream.chunk(), 'c[1012,"restart"]\n');
  assert.equal(await stream.chunk(), '');
  assert.deepEqual(closes, [1012]);
});

test('hixie-76 is off unless it is asked for by name; bad keys get 400', async () => {
  const keys = {
    Connection: 'Upgrade',
    Upgrade: 'WebSocket',
    Origin: 'http://localhost',
    'Sec-WebSocket-Key1': '4 @1  46546xW%0l 1 5',
    'Sec-WebSocket-Key2': '12998 5 Y3 1  .P00',
  };
  const off = client((await startSockJs()).port);
  const refused = await off.openGet(`${session()}/websocket`, { headers: keys });
  assert.ok(refused.status >= 400 && refused.status < 500, String(refused.status));
  const on = client((await startSockJs({ hixie76: true })).port);
  for (const key of ['123', ' ', '99999999999 9999', '1 2']) {
    const headers = { ...keys, 'Sec-WebSocket-Key1': key };
    const answer = await on.openGet(`${session()}/websocket`, { headers });
    // "1 2" is 12 divided by one space, a good key.
    assert.equal(answer.status, key === '1 2' ? 101 : 400, key);
  }
});

test('a hixie-76 message without an end is cut at the limit, with 1009', async () => {
  const { port } = await startSockJs({ hixie76: true, maxMessage: 1000 });
  const answer = await client(port).openGet(`${session()}/websocket`, {
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'WebSocket',
      'Sec-WebSocket-Key1': '4 @1  46546xW%0l 1 5',
      'Sec-WebSocket-Key2': '12998 5 Y3 1  .P00',
    },
  });
  assert.equal(answer.status, 101);
  const { socket } = answer.wire;
  socket.write('aaaaaaaa');
  await answer.wire.read(19);
  socket.write(Buffer.concat([Buffer.of(0), Buffer.alloc(4000, 'x')]));
  await answer.wire.ended();
  assert.match(answer.wire.received.toString('latin1'), /c\[1009,"a message may have 1000 bytes"\]/);
});

test('a hixie-76 client that never sends its nonce is let go', async () => {
  const { port } = await startSockJs({ hixie76: true });
  const answer = await client(port).openGet(`${session()}/websocket`, {
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'WebSocket',
      'Sec-WebSocket-Key1': '4 @1  46546xW%0l 1 5',
      'Sec-WebSocket-Key2': '12998 5 Y3 1  .P00',
    },
  });
  assert.equal(answer.status, 101);
  await answer.wire.ended();
});

test('a body that does not end in time ends its connection, and nothing of it is delivered', async () => {
  const { port } = await startSockJs();
  const http = client(port);
  const path = session();
  const stream = await http.openPost(`${path}/xhr_streaming`);
  await stream.chunk();
  assert.equal(await stream.chunk(), 'o\n');
  const wire = new Wire(port);
  wire.socket.write(`POST ${path}/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n["a"`);
  await wire.ended();
  assert.equal((await http.post(`${path}/xhr_send`, { body: '["b"]' })).status, 204);
  for (let frame = 'h\n'; ; frame = await stream.chunk()) {
    if (frame === 'h\n') continue;
    assert.equal(frame, 'a["b"]\n');
    break;
  }
});

test('RFC 9112 §3.2.2: a target in absolute-form is the same session', async () => {
  const { port } = await startSockJs();
  const http = client(port);
  const path = session();
  const absolute = (scheme: string) => `${scheme}://user@localhost:80${path}`;
  assert.equal((await http.post(`${absolute('http')}/xhr?t=1`)).body, 'o\n');
  assert.equal((await http.post(`${absolute('HTTPS')}/xhr_send`, { body: '["a"]' })).status, 204);
  assert.equal((await http.post(`${path}/xhr`)).body, 'a["a"]\n');
  assert.equal((await http.get('http://localhost/echo?x')).body, 'Welcome to SockJS!\n');
  assert.equal((await http.get('http://localhost')).status, 418);
  const upgraded = await http.openGet(`http://localhost${session()}/websocket`, { headers: UPGRADE });
  assert.equal(upgraded.status, 101);
  const raw = await http.openGet('http://localhost/echo/websocket?x', { headers: UPGRADE });
  assert.equal(raw.status, 101);
});

test('frames of one turn are chunks of their own on a stream, and so is the prelude', async () => {
  const { port } = await startSockJs({
    handler: {
      opened: (opened) => {
        opened.send('a');
        opened.send('b');
        setImmediate(() => {
          opened.send('c');
          opened.send('d');
          opened.close(3000, 'e');
        });
      },
    },
  });
  const stream = await client(port).openPost(`${session()}/xhr_streaming`);
  await stream.chunk();
  for (const frame of ['o', 'a["a"]', 'a["b"]', 'a["c"]', 'a["d"]', 'c[3000,"e"]']) {
    assert.equal(await stream.chunk(), `${frame}\n`);
  }
  assert.equal(await stream.chunk(), '');
});

// ── work ─────────────────────────────────────────────────────────────────────────────────────────

test('what comes byte by byte costs work in proportion to its length, over hixie-76 and in bodies', async () => {
  const received: number[] = [];
  const { port } = await startSockJs({
    hixie76: true,
    handler: { message: (_, data) => void received.push(data.length) },
  });
  const hixie = async (): Promise<Wire> => {
    const { wire } = await client(port).openGet(`${session()}/websocket`, {
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'WebSocket',
        Origin: 'http://localhost',
        'Sec-WebSocket-Key1': '4 @1  46546xW%0l 1 5',
        'Sec-WebSocket-Key2': '12998 5 Y3 1  .P00',
      },
    });
    for (const byte of 'aaaaaaaa') await new Promise((resolve) => wire.socket.write(byte, resolve));
    await wire.read(19);
    return wire;
  };
  const post = async (): Promise<Wire> => {
    const path = session();
    await client(port).post(`${path}/xhr`);
    const wire = new Wire(port);
    wire.socket.write(`POST ${path}/xhr_send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
    return wire;
  };
  /** Bytes looked at for each byte of a message, and what reads it not counted. */
  const work = async (wire: Wire, pieces: (text: string) => string[], bytes: number): Promise<number> => {
    const count = countWork();
    try {
      for (const piece of pieces(`["${'x'.repeat(bytes)}"]`)) {
        await new Promise((resolve) => wire.socket.write(Buffer.from(piece, 'latin1'), resolve));
        // So that it is read by itself.
        await new Promise(setImmediate);
      }
      await until('the message', () => received.length === 1);
    } finally {
      count.stop();
    }
    assert.equal(received.pop(), bytes);
    return count.stop() / bytes;
  };
  for (const [name, open, pieces] of [
    ['hixie-76', hixie, (text: string) => ['\0', ...text, '\xff']],
    ['xhr_send', post, (text: string) => [...[...text].map((each) => `1\r\n${each}\r\n`), '0\r\n\r\n']],
  ] as const) {
    const small = await work(await open(), pieces, 500);
    const large = await work(await open(), pieces, 8_000);
    assert.ok(large < 2 * small, `${name}: ${small} bytes looked at for each byte, then ${large}`);
  }
});
