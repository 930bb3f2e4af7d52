/**
 * The rules of SockJS protocol 0.3.3 on raw sockets, against `npm run peer -- sockjs-test`'s own program.
 * Each test is named after the one of the published suite that asks for the same.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { until } from '../support/net.ts';
import { typescript } from '../support/programs.ts';
import { type Answer, client, session, Wire } from './support.ts';

let port = 0;
let http: ReturnType<typeof client>;
let stop: () => void;

before(async () => {
  const program = new URL('../../bench/peers/sockjs-test.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [...typescript, program, '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  stop = () => child.kill();
  let output = '';
  child.stdout.on('data', (text) => {
    output += text;
  });
  const [, found] = await until('its port', () => /^listening on http:\/\/.*:(\d+)\/$/m.exec(output), 60_000);
  port = Number(found);
  http = client(port);
});
after(() => stop?.());

const UNCACHED = 'no-store, no-cache, no-transform, must-revalidate, max-age=0';

function type(answer: Answer): string | undefined {
  return answer.header('content-type')?.replaceAll(' ', '');
}

function assertCors(answer: Answer, origin?: string): void {
  assert.equal(answer.header('access-control-allow-origin'), origin ?? '*');
  assert.equal(answer.header('access-control-allow-credentials'), origin === undefined ? undefined : 'true');
}

function assertUncached(answer: Answer): void {
  assert.equal(answer.header('cache-control'), UNCACHED);
  assert.equal(answer.header('expires'), undefined);
  assert.equal(answer.header('last-modified'), undefined);
}

function assertCachedForAYear(answer: Answer): void {
  assert.match(answer.header('cache-control') ?? '', /public.*max-age=31536000/);
  assert.ok(Date.parse(answer.header('expires') ?? '') > Date.now() + 300 * 86_400_000);
}

async function assertPreflight(path: string, method: string): Promise<void> {
  for (const origin of ['test', 'null']) {
    const headers = { Origin: origin, 'Access-Control-Request-Method': method };
    const answer = await http.options(path, { headers });
    assert.equal(answer.status, 204);
    assertCachedForAYear(answer);
    assert.ok(Number(answer.header('access-control-max-age')) > 1_000_000);
    assert.equal(answer.header('access-control-allow-methods'), `OPTIONS, ${method}`);
    assertCors(answer, origin);
  }
}

const REFUSED = 'c[2010,"Another connection still open"]\n';

async function poll(path: string, expected: string): Promise<Answer> {
  const answer = await http.post(`${path}/xhr`);
  assert.deepEqual([answer.status, answer.body], [200, expected]);
  return answer;
}

/** Two polls at once, of which one must be refused. Returns the one that waits. */
async function pollTwice(path: string): Promise<Wire> {
  const wires = [new Wire(port), new Wire(port)];
  const answers = wires.map((wire) => wire.request('POST', `${path}/xhr`));
  for (const answer of answers) answer.catch(() => {});
  const [refused, waiting] = await Promise.race([
    answers[0]!.then((answer) => [answer, wires[1]!] as const),
    answers[1]!.then((answer) => [answer, wires[0]!] as const),
  ]);
  assert.equal((await refused.whole()).body, REFUSED);
  return waiting;
}

async function send(path: string, body: string): Promise<void> {
  const answer = await http.post(`${path}/xhr_send`, { body });
  assert.deepEqual([answer.status, answer.body], [204, '']);
}

/** A stream with its prelude read, which must come in a chunk of its own. */
async function stream(path: string): Promise<Answer> {
  const answer = await http.openPost(`${path}/xhr_streaming`);
  assert.equal(answer.status, 200);
  assert.equal(await answer.chunk(), `${'h'.repeat(2048)}\n`);
  return answer;
}

function sendForm(path: string, body: string, contentType = 'application/x-www-form-urlencoded') {
  return http.post(`${path}/jsonp_send`, { body, headers: { 'Content-Type': contentType } });
}

/** A WebSocket that keeps what it gets. */
async function dial(path: string) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  const received: string[] = [];
  socket.on('message', (data) => received.push(String(data)));
  const closed = new Promise<[number, string]>((resolve) =>
    socket.on('close', (code, reason) => resolve([code, String(reason)])),
  );
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('open', resolve));
  const frame = (n: number) => until(`frame ${n}`, () => received[n], 60_000);
  return { socket, received, closed, frame };
}

// ── BaseUrlGreeting ──────────────────────────────────────────────────────────────────────────────

test('BaseUrlGreeting.test_greeting: plain text, with and without a slash, no cookie', async () => {
  for (const path of ['/echo', '/echo/']) {
    const answer = await http.get(path);
    assert.deepEqual([answer.status, answer.body], [200, 'Welcome to SockJS!\n']);
    assert.equal(type(answer), 'text/plain;charset=UTF-8');
    assert.equal(answer.header('set-cookie'), undefined);
  }
});

test('BaseUrlGreeting.test_notFound: 404 for what is nothing', async () => {
  for (const suffix of ['/a', '/a.html', '//', '///', '/a/a', '/a/a/', '/a/']) {
    assert.equal((await http.get(`/echo${suffix}`)).status, 404, suffix);
  }
});

// ── IframePage ───────────────────────────────────────────────────────────────────────────────────

async function assertIframe(path: string): Promise<void> {
  const answer = await http.get(path);
  assert.equal(answer.status, 200, path);
  assert.equal(type(answer), 'text/html;charset=UTF-8');
  assertCachedForAYear(answer);
  assert.match(answer.header('etag') ?? '', /^"[^"]+"$/);
  assert.equal(answer.header('last-modified'), undefined);
  assert.equal(answer.header('set-cookie'), undefined);
  assert.match(
    answer.body,
    /^<!DOCTYPE html>\n<html>\n<head>\n {2}<meta http-equiv="X-UA-Compatible" content="IE=edge" \/>\n {2}<meta http-equiv="Content-Type" content="text\/html; charset=UTF-8" \/>\n {2}<script src="(?:\/|http)[^"]*"><\/script>\n {2}<script>\n {4}document\.domain = document\.domain;\n {4}SockJS\.bootstrap_iframe\(\);\n {2}<\/script>\n<\/head>\n<body>\n {2}<h2>Don't panic!<\/h2>\n {2}<p>This is a SockJS hidden iframe\. It's used for cross domain magic\.<\/p>\n<\/body>\n<\/html>$/,
  );
}

test('IframePage.test_simpleUrl: the page is exactly as clients expect it', () =>
  assertIframe('/echo/iframe.html'));

test('IframePage.test_versionedUrl: any version gets it', async () => {
  for (const version of ['-a', '-', '-0.1.2', '-0.1.2abc-dirty.2144']) {
    await assertIframe(`/echo/iframe${version}.html`);
  }
});

test('IframePage.test_queriedUrl: a query changes nothing', async () => {
  for (const rest of ['-a.html?t=1234', '-0.1.2.html?t=123414', '-0.1.2abc-dirty.2144.html?t=qweqweq']) {
    await assertIframe(`/echo/iframe${rest}`);
  }
});

test('IframePage.test_invalidUrl: 404 for what only looks like it', async () => {
  for (const name of ['iframe.htm', 'iframe', 'IFRAME.HTML', 'IFRAME', 'iframe.HTML', 'iframe.xml']) {
    assert.equal((await http.get(`/echo/${name}`)).status, 404, name);
  }
  assert.equal((await http.get('/echo/iframe-/.html')).status, 404);
});

test('IframePage.test_cacheability: 304 without a body and a content type', async () => {
  const etag = (await http.get('/echo/iframe.html')).header('etag')!;
  assert.equal((await http.get('/echo/iframe.html')).header('etag'), etag);
  const answer = await http.get('/echo/iframe.html', { headers: { 'If-None-Match': etag } });
  assert.equal(answer.status, 304);
  assert.equal(answer.header('content-type'), undefined);
  assert.equal(answer.wire.received.length, 0);
});

// ── InfoTest ─────────────────────────────────────────────────────────────────────────────────────

test('InfoTest.test_basic: what the server can, uncached, with CORS', async () => {
  const answer = await http.get('/echo/info', { headers: { Origin: 'test' } });
  assert.equal(answer.status, 200);
  assert.equal(type(answer), 'application/json;charset=UTF-8');
  assert.equal(answer.header('set-cookie'), undefined);
  assertUncached(answer);
  assertCors(answer, 'test');
  const { entropy, ...info } = JSON.parse(answer.body);
  assert.deepEqual(info, { websocket: true, cookie_needed: false, origins: ['*:*'] });
  assert.ok(Number.isInteger(entropy) && entropy >= 0 && entropy < 2 ** 32);
});

test('InfoTest.test_entropy: another number each time', async () => {
  const numbers = [];
  for (let i = 0; i < 3; i++) numbers.push(JSON.parse((await http.get('/echo/info')).body).entropy);
  assert.equal(new Set(numbers).size, 3);
});

test('InfoTest.test_options: the preflight may be cached', () => assertPreflight('/echo/info', 'GET'));

test('InfoTest.test_options_null_origin: the origin null is echoed', async () => {
  const headers = { Origin: 'null', 'Access-Control-Request-Method': 'POST' };
  const answer = await http.options('/echo/info', { headers });
  assert.deepEqual([answer.status, answer.body], [204, '']);
  assert.equal(answer.header('access-control-allow-origin'), 'null');
});

test('InfoTest.test_disabled_websocket: it is told', async () => {
  assert.equal(JSON.parse((await http.get('/disabled_websocket_echo/info')).body).websocket, false);
});

// ── SessionURLs ──────────────────────────────────────────────────────────────────────────────────

test('SessionURLs.test_anyValue: any server and session part', async () => {
  const r = `${process.pid}`;
  for (const path of [`/a/a${r}`, `/_/_${r}`, `/1/${r}`, `/abcdefgh_i-j%20/abcdefg_i-j%20${r}`]) {
    await poll(`/echo${path}`, 'o\n');
  }
});

test('SessionURLs.test_invalidPaths: nothing empty, no dots', async () => {
  for (const path of ['//', '/a./a', '/a/a.', '/./.', '/', '///']) {
    assert.equal((await http.get(`/echo${path}/xhr`)).status, 404, path);
    assert.equal((await http.post(`/echo${path}/xhr`)).status, 404, path);
  }
});

test('SessionURLs.test_ignoringServerId: only the session part counts', async () => {
  const path = session();
  await poll(path, 'o\n');
  await send(path, '["a"]');
  await poll(path.replace('/000/', '/999/'), 'a["a"]\n');
});

// ── Protocol ─────────────────────────────────────────────────────────────────────────────────────

test('Protocol.test_simpleSession: open, send, receive; one receiver at a time', async () => {
  const path = session();
  await poll(path, 'o\n');
  await send(path, '["a"]');
  await poll(path, 'a["a"]\n');
  assert.equal((await http.post('/echo/000/bad_session/xhr_send', { body: '["a"]' })).status, 404);

  await pollTwice(path);
});

test('Protocol.test_closeSession: every later receive gets the close frame', async () => {
  const path = session('/close');
  await poll(path, 'o\n');
  await poll(path, 'c[3000,"Go away!"]\n');
  await poll(path, 'c[3000,"Go away!"]\n');
});

// ── WebsocketHttpErrors ──────────────────────────────────────────────────────────────────────────

test('WebsocketHttpErrors.test_httpMethod: a plain GET gets 400', async () => {
  assert.equal((await http.get('/echo/0/0/websocket')).status, 400);
});

test('WebsocketHttpErrors.test_invalidConnectionHeader: Upgrade with Connection: close gets 400', async () => {
  const headers = { Upgrade: 'WebSocket', Connection: 'close' };
  const answer = await http.get('/echo/0/0/websocket', { headers });
  assert.equal(answer.status, 400);
  assert.notEqual(answer.body, '');
});

test('WebsocketHttpErrors.test_invalidMethod: POST gets a bare 405, with and without upgrade headers', async () => {
  for (const headers of [{ Upgrade: 'WebSocket', Connection: 'Upgrade' }, {}] as Record<string, string>[]) {
    const answer = await http.post('/echo/0/0/websocket', { headers });
    assert.deepEqual([answer.status, answer.body], [405, '']);
    assert.equal(answer.header('content-type'), undefined);
    assert.equal(answer.header('allow'), 'GET');
  }
});

// ── Websocket ────────────────────────────────────────────────────────────────────────────────────

test('Websocket.test_transport: SockJS frames in text frames', async () => {
  const { socket, frame } = await dial(`${session()}/websocket`);
  assert.equal(await frame(0), 'o');
  socket.send('["a"]');
  assert.equal(await frame(1), 'a["a"]');
  // A message alone is allowed here, too.
  socket.send('"b"');
  assert.equal(await frame(2), 'a["b"]');
  socket.close();
});

test('Websocket.test_close: the close frame, then the end', async () => {
  const { frame, closed } = await dial(`${session('/close')}/websocket`);
  assert.deepEqual([await frame(0), await frame(1)], ['o', 'c[3000,"Go away!"]']);
  await closed;
});

test('Websocket.test_headersSanity: RFC 6455 §4.2.2, without a Content-Length', async () => {
  const headers = {
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Origin': 'http://asd',
    'Sec-WebSocket-Key': 'x3JJHMbDL1EzLkh9GBhXDw==',
  };
  const answer = await http.openGet(`${session()}/websocket`, { headers });
  assert.equal(answer.status, 101);
  assert.equal(answer.header('sec-websocket-accept'), 'HSmrc0sMlYUkAGmm5OPpG2HaGWk=');
  assert.equal(answer.header('connection')?.toLowerCase(), 'upgrade');
  assert.equal(answer.header('upgrade')?.toLowerCase(), 'websocket');
  assert.equal(answer.header('content-length'), undefined);
});

test('Websocket.test_empty_frame: no text and no messages are ignored', async () => {
  const { socket, frame } = await dial(`${session()}/websocket`);
  assert.equal(await frame(0), 'o');
  for (const text of ['', '[]', '["a"]']) socket.send(text);
  assert.equal(await frame(1), 'a["a"]');
  socket.close();
});

test('Websocket.test_reuseSessionId: each WebSocket is a session of its own', async () => {
  const path = `${session()}/websocket`;
  const [first, second] = [await dial(path), await dial(path)];
  first.socket.send('["a"]');
  assert.equal(await first.frame(1), 'a["a"]');
  second.socket.send('["b"]');
  assert.equal(await second.frame(1), 'a["b"]');
  for (const { socket } of [first, second]) socket.close();
  await Promise.all([first.closed, second.closed]);
  const third = await dial(path);
  assert.equal(await third.frame(0), 'o');
  third.socket.send('["c"]');
  assert.equal(await third.frame(1), 'a["c"]');
  third.socket.close();
});

const HIXIE = {
  Connection: 'Upgrade',
  Upgrade: 'WebSocket',
  Origin: 'http://localhost',
  'Sec-WebSocket-Key1': '4 @1  46546xW%0l 1 5',
  'Sec-WebSocket-Key2': '12998 5 Y3 1  .P00',
};

test('Websocket.test_haproxy: hixie-76 is answered before its nonce comes', async () => {
  const path = `${session()}/websocket`;
  const answer = await http.openGet(path, { headers: HIXIE });
  assert.equal(answer.status, 101);
  assert.equal(answer.header('connection')?.toLowerCase(), 'upgrade');
  assert.equal(answer.header('upgrade')?.toLowerCase(), 'websocket');
  assert.equal(answer.header('sec-websocket-location'), `ws://localhost${path}`);
  assert.equal(answer.header('sec-websocket-origin'), 'http://localhost');
  assert.equal(answer.header('content-length'), undefined);
  assert.equal(answer.wire.received.length, 0);
  answer.wire.socket.write('aaaaaaaa');
  const digest = (await answer.wire.read(16)).toString('latin1');
  assert.equal(digest, '\xca4\x00\xd8\xa5\x08G\x97,\xd5qZ\xba\xbfC{');
  assert.equal((await answer.wire.read(3)).toString('latin1'), '\x00o\xff');
  answer.wire.socket.write(Buffer.from('\x00["ü"]\xff'.replace('ü', '\xc3\xbc'), 'latin1'));
  assert.equal((await answer.wire.read(9)).toString('latin1'), '\x00a["\xc3\xbc"]\xff');
  // The closing handshake of the draft (§5.3).
  answer.wire.socket.write(Buffer.from([0xff, 0x00]));
  assert.deepEqual([...(await answer.wire.read(2))], [0xff, 0x00]);
  await answer.wire.ended();
});

test('Websocket.test_broken_json: the connection is cut', async () => {
  const { socket, frame, received, closed } = await dial(`${session()}/websocket`);
  assert.equal(await frame(0), 'o');
  socket.send('["a');
  assert.deepEqual(await closed, [1006, '']);
  assert.deepEqual(received, ['o']);
});

// ── XhrPolling ───────────────────────────────────────────────────────────────────────────────────

test('XhrPolling.test_options: preflights of both URLs', async () => {
  await assertPreflight('/echo/abc/abc/xhr', 'POST');
  await assertPreflight('/echo/abc/abc/xhr_send', 'POST');
});

test('XhrPolling.test_transport: types, CORS and caching of both URLs', async () => {
  const path = session();
  const headers = { Origin: 'test' };
  const opened = await http.post(`${path}/xhr`, { headers });
  assert.deepEqual([opened.status, opened.body], [200, 'o\n']);
  assert.equal(type(opened), 'application/javascript;charset=UTF-8');
  assertCors(opened, 'test');
  assertUncached(opened);
  const sent = await http.post(`${path}/xhr_send`, { headers, body: '["x"]' });
  assert.deepEqual([sent.status, sent.body], [204, '']);
  assert.equal(type(sent), 'text/plain;charset=UTF-8');
  assertCors(sent, 'test');
  assertUncached(sent);
  await poll(path, 'a["x"]\n');
});

test('XhrPolling.test_invalid_session: sending to nobody gets 404', async () => {
  assert.equal((await http.post(`${session()}/xhr_send`, { body: '["x"]' })).status, 404);
});

test('XhrPolling.test_invalid_json: 500 with the reason, and the session lives', async () => {
  const path = session();
  await poll(path, 'o\n');
  for (const [body, reason] of [
    ['["x', 'Broken JSON encoding.'],
    ['', 'Payload expected.'],
    ['{"x":1}', 'Broken JSON encoding.'],
    ['[1]', 'Broken JSON encoding.'],
  ] as const) {
    const answer = await http.post(`${path}/xhr_send`, { body });
    assert.deepEqual([answer.status, answer.body], [500, reason]);
  }
  await send(path, '["a"]');
  await poll(path, 'a["a"]\n');
});

test('XhrPolling.test_content_types: the content type of a body means nothing', async () => {
  const path = session();
  await poll(path, 'o\n');
  const types = ['text/plain', 'T', 'application/json', 'application/xml', '', 'text/xml; charset=utf-8'];
  for (const contentType of types) {
    const headers = { 'Content-Type': contentType };
    assert.equal((await http.post(`${path}/xhr_send`, { headers, body: '["a"]' })).status, 204);
  }
  await poll(path, `a[${types.map(() => '"a"').join(',')}]\n`);
});

test('XhrPolling.test_request_headers_cors: asked-for headers are allowed, and only those', async () => {
  for (const [asked, allowed] of [
    ['a, b, c', 'a, b, c'],
    ['', undefined],
    [undefined, undefined],
  ] as const) {
    const answer = await http.options(`${session()}/xhr`, {
      headers: {
        Origin: 'test',
        'Access-Control-Request-Method': 'POST',
        ...(asked !== undefined && { 'Access-Control-Request-Headers': asked }),
      },
    });
    assert.equal(answer.status, 204);
    assertCors(answer, 'test');
    assert.equal(answer.header('access-control-allow-headers'), allowed);
  }
});

test('XhrPolling.test_sending_empty_frame: no messages are allowed', async () => {
  const path = session();
  await poll(path, 'o\n');
  await send(path, '[]');
  await send(path, '["a"]');
  await poll(path, 'a["a"]\n');
});

// ── XhrStreaming ─────────────────────────────────────────────────────────────────────────────────

test('XhrStreaming.test_options: the preflight may be cached', () =>
  assertPreflight('/echo/abc/abc/xhr_streaming', 'POST'));

test('XhrStreaming.test_transport: prelude and frames, each in a chunk of its own', async () => {
  const path = session();
  const answer = await http.openPost(`${path}/xhr_streaming`, { headers: { Origin: 'test' } });
  assert.equal(answer.status, 200);
  assert.equal(type(answer), 'application/javascript;charset=UTF-8');
  assert.equal(answer.header('content-length'), undefined);
  assertCors(answer, 'test');
  assertUncached(answer);
  assert.equal(await answer.chunk(), `${'h'.repeat(2048)}\n`);
  assert.equal(await answer.chunk(), 'o\n');
  await send(path, '["x"]');
  assert.equal(await answer.chunk(), 'a["x"]\n');
});

test('XhrStreaming.test_response_limit: ends after 4,096 bytes of frames, the prelude not counted', async () => {
  const path = session();
  const answer = await stream(path);
  assert.equal(await answer.chunk(), 'o\n');
  const message = `["${'x'.repeat(128)}"]`;
  for (let i = 0; i < 31; i++) {
    await send(path, message);
    assert.equal(await answer.chunk(), `a${message}\n`);
  }
  assert.equal(await answer.chunk(), '');
});

// ── EventSource ──────────────────────────────────────────────────────────────────────────────────

test('EventSource.test_transport: events, after an empty line', async () => {
  const path = session();
  const answer = await http.openGet(`${path}/eventsource`);
  assert.equal(answer.status, 200);
  assert.equal(type(answer), 'text/event-stream');
  assertUncached(answer);
  assert.equal(await answer.chunk(), '\r\n');
  assert.equal(await answer.chunk(), 'data: o\r\n\r\n');
  await send(path, '["x"]');
  assert.equal(await answer.chunk(), 'data: a["x"]\r\n\r\n');
  await send(path, '["  \\u0000\\n\\r "]');
  assert.equal(await answer.chunk(), 'data: a["  \\u0000\\n\\r "]\r\n\r\n');
});

test('EventSource.test_response_limit: ends after 4,096 bytes of frames', async () => {
  const path = session();
  const answer = await http.openGet(`${path}/eventsource`);
  assert.equal(await answer.chunk(), '\r\n');
  assert.equal(await answer.chunk(), 'data: o\r\n\r\n');
  const message = `["${'x'.repeat(4096)}"]`;
  await send(path, message);
  assert.equal(await answer.chunk(), `data: a${message}\r\n\r\n`);
  assert.equal(await answer.chunk(), '');
});

// ── HtmlFile ─────────────────────────────────────────────────────────────────────────────────────

const HTML_HEAD = `<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.callback;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>`;

test('HtmlFile.test_transport: script elements, after a head of more than 1,024 bytes', async () => {
  const path = session();
  const answer = await http.openGet(`${path}/htmlfile?c=%63allback`);
  assert.equal(answer.status, 200);
  assert.equal(type(answer), 'text/html;charset=UTF-8');
  assertUncached(answer);
  const head = await answer.chunk();
  assert.equal(head.trim(), HTML_HEAD);
  assert.ok(head.length > 1024);
  assert.equal(await answer.chunk(), '<script>\np("o");\n</script>\r\n');
  await send(path, '["x"]');
  assert.equal(await answer.chunk(), '<script>\np("a[\\"x\\"]");\n</script>\r\n');
});

for (const [group, transport] of [
  ['HtmlFile', 'htmlfile'],
  ['JsonPolling', 'jsonp'],
] as const) {
  test(`${group}.test_no_callback: 500 with the reason`, async () => {
    const answer = await http.get(`/echo/a/a/${transport}`);
    assert.deepEqual([answer.status, answer.body], [500, '"callback" parameter required']);
  });

  test(`${group}.test_invalid_callback: 500 for what is no name`, async () => {
    for (const name of ['%20', '*', 'abc(', 'abc%28', 'a'.repeat(129), '%3Cscript%3E', 'a%0Ab']) {
      const answer = await http.get(`/echo/a/a/${transport}?c=${name}`);
      assert.deepEqual([answer.status, answer.body], [500, 'invalid "callback" parameter'], name);
    }
  });
}

test('HtmlFile.test_response_limit: ends after 4,096 bytes of frames', async () => {
  const path = session();
  const answer = await http.openGet(`${path}/htmlfile?c=callback`);
  await answer.chunk();
  assert.equal(await answer.chunk(), '<script>\np("o");\n</script>\r\n');
  const text = 'x'.repeat(4096);
  await send(path, `["${text}"]`);
  assert.equal(await answer.chunk(), `<script>\np("a[\\"${text}\\"]");\n</script>\r\n`);
  assert.equal(await answer.chunk(), '');
});

// ── JsonPolling ──────────────────────────────────────────────────────────────────────────────────

async function jsonp(path: string, expected: string): Promise<Answer> {
  const answer = await http.get(`${path}/jsonp?c=%63allback`);
  assert.deepEqual([answer.status, answer.body], [200, `/**/callback(${JSON.stringify(expected)});\r\n`]);
  return answer;
}

test('JsonPolling.test_transport: a call of the page, and ok for what is sent', async () => {
  const path = session();
  const opened = await jsonp(path, 'o');
  assert.equal(type(opened), 'application/javascript;charset=UTF-8');
  assertUncached(opened);
  const sent = await sendForm(path, 'd=%5B%22x%22%5D');
  assert.deepEqual([sent.status, sent.body], [200, 'ok']);
  assert.equal(type(sent), 'text/plain;charset=UTF-8');
  assertUncached(sent);
  await jsonp(path, 'a["x"]');
});

test('JsonPolling.test_invalid_json: 500 with the reason, and the session lives', async () => {
  const path = session();
  await jsonp(path, 'o');
  const broken = await sendForm(path, 'd=%5B%22x');
  assert.deepEqual([broken.status, broken.body], [500, 'Broken JSON encoding.']);
  for (const body of ['', 'd=', 'p=p']) {
    const answer = await sendForm(path, body);
    assert.deepEqual([answer.status, answer.body], [500, 'Payload expected.']);
  }
  assert.equal((await sendForm(path, 'd=%5B%22b%22%5D')).body, 'ok');
  await jsonp(path, 'a["b"]');
});

test('JsonPolling.test_content_types: a form is decoded, anything else is JSON as it stands', async () => {
  const path = session();
  await jsonp(path, 'o');
  assert.equal((await sendForm(path, 'd=%5B%22abc%22%5D')).body, 'ok');
  assert.equal((await sendForm(path, '["%61bc"]', 'text/plain')).body, 'ok');
  await jsonp(path, 'a["abc","%61bc"]');
});

test('JsonPolling.test_close: every later receive gets the close frame', async () => {
  const path = session('/close');
  await jsonp(path, 'o');
  await jsonp(path, 'c[3000,"Go away!"]');
  await jsonp(path, 'c[3000,"Go away!"]');
});

test('JsonPolling.test_sending_empty_frame: no messages are allowed', async () => {
  const path = session();
  await jsonp(path, 'o');
  assert.equal((await sendForm(path, 'd=%5B%5D')).body, 'ok');
  assert.equal((await sendForm(path, 'd=%5B%22x%22%5D')).body, 'ok');
  await jsonp(path, 'a["x"]');
});

// ── JsessionidCookie ─────────────────────────────────────────────────────────────────────────────

const COOKIE = 'JSESSIONID=dummy; path=/';

test('JsessionidCookie.test_basic: told in /info, where no cookie is set', async () => {
  const answer = await http.get('/cookie_needed_echo/info');
  assert.equal(answer.header('set-cookie'), undefined);
  assert.equal(JSON.parse(answer.body).cookie_needed, true);
});

test('JsessionidCookie.test_xhr: set, and echoed where it is set', async () => {
  const opened = await http.post(`${session('/cookie_needed_echo')}/xhr`);
  assert.equal(opened.header('set-cookie'), COOKIE);
  const headers = { Cookie: 'other=1; JSESSIONID=abcdef' };
  const again = await http.post(`${session('/cookie_needed_echo')}/xhr`, { headers });
  assert.equal(again.header('set-cookie'), 'JSESSIONID=abcdef; path=/');
});

test('JsessionidCookie.test_xhr_streaming: set', async () => {
  const answer = await http.openPost(`${session('/cookie_needed_echo')}/xhr_streaming`);
  assert.equal(answer.header('set-cookie'), COOKIE);
});

test('JsessionidCookie.test_eventsource: set', async () => {
  const answer = await http.openGet(`${session('/cookie_needed_echo')}/eventsource`);
  assert.equal(answer.header('set-cookie'), COOKIE);
});

test('JsessionidCookie.test_htmlfile: set', async () => {
  const answer = await http.openGet(`${session('/cookie_needed_echo')}/htmlfile?c=x`);
  assert.equal(answer.header('set-cookie'), COOKIE);
});

test('JsessionidCookie.test_jsonp: set on receiving and on sending', async () => {
  const path = session('/cookie_needed_echo');
  assert.equal((await jsonp(path, 'o')).header('set-cookie'), COOKIE);
  const sent = await sendForm(path, 'd=%5B%22x%22%5D');
  assert.deepEqual([sent.status, sent.body, sent.header('set-cookie')], [200, 'ok', COOKIE]);
});

// ── RawWebsocket ─────────────────────────────────────────────────────────────────────────────────

test('RawWebsocket.test_transport: no frames but the message', async () => {
  const { socket, frame } = await dial('/echo/websocket');
  socket.send('Hello world!\uffff');
  assert.equal(await frame(0), 'Hello world!\uffff');
  socket.close();
});

test('RawWebsocket.test_close: code and reason are those of the WebSocket', async () => {
  const { closed, received } = await dial('/close/websocket');
  assert.deepEqual(await closed, [3000, 'Go away!']);
  assert.deepEqual(received, []);
});

// ── JSONEncoding ─────────────────────────────────────────────────────────────────────────────────

function characters(pattern: RegExp, from: number): string {
  let text = '';
  for (let code = from; code < 0x10000; code++) {
    const character = String.fromCharCode(code);
    if (pattern.test(character)) text += character;
  }
  return text;
}

const escaped = (text: string) =>
  [...text].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');

test('JSONEncoding.test_xhr_server_encodes: what browsers mangle travels escaped', async () => {
  const killers = characters(/[\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff]/, 255);
  const path = session();
  await poll(path, 'o\n');
  await send(path, `["${killers}"]`);
  await poll(path, `a["${escaped(killers)}"]\n`);
});

test('JSONEncoding.test_xhr_server_decodes: escaped characters come through', async () => {
  const text = characters(/[^\ud800-\udfff]/, 0);
  const path = session();
  await poll(path, 'o\n');
  await send(path, `["${escaped(text)}"]`);
  const answer = await http.post(`${path}/xhr`);
  assert.equal(JSON.parse(answer.body.slice(1))[0], text);
  assert.ok(answer.body.startsWith('a["\\u0000\\u0001'));
});

// ── HandlingClose ────────────────────────────────────────────────────────────────────────────────

test('HandlingClose.test_close_frame: a closed session has no receiver any more', async () => {
  const path = session('/close');
  const first = await stream(path);
  assert.deepEqual([await first.chunk(), await first.chunk()], ['o\n', 'c[3000,"Go away!"]\n']);
  const second = await stream(path);
  assert.equal(await second.chunk(), 'c[3000,"Go away!"]\n');
  assert.deepEqual([await first.chunk(), await second.chunk()], ['', '']);
});

test('HandlingClose.test_close_request: the second receiver is refused and ended', async () => {
  const path = session();
  const first = await stream(path);
  assert.equal(await first.chunk(), 'o\n');
  const second = await stream(path);
  assert.equal(await second.chunk(), REFUSED);
  assert.equal(await second.chunk(), '');
});

/** The server may hear of a new connection before it has dealt with the end of another. */
function chunkAfterAbort(path: string): Promise<string> {
  return until('the abort to be noticed', async () => {
    const chunk = await (await stream(path)).chunk();
    return chunk !== REFUSED && chunk;
  });
}

test('HandlingClose.test_abort_xhr_streaming: a broken receiver is the end of the session', async () => {
  const path = session();
  const first = await stream(path);
  assert.equal(await first.chunk(), 'o\n');
  const second = await stream(path);
  assert.equal(await second.chunk(), REFUSED);
  first.close();
  assert.equal(await chunkAfterAbort(path), 'c[1002,"Connection interrupted"]\n');
});

test('HandlingClose.test_abort_xhr_polling: for polling as well', async () => {
  const path = session();
  await poll(path, 'o\n');
  const waiting = await pollTwice(path);
  waiting.socket.destroy();
  const later = await until('the abort to be noticed', async () => {
    const { body } = await http.post(`${path}/xhr`);
    return body !== REFUSED && body;
  });
  assert.equal(later, 'c[1002,"Connection interrupted"]\n');
});

// ── Http10, Http11 ───────────────────────────────────────────────────────────────────────────────

const KEEP_ALIVE = { Connection: 'Keep-Alive' };

test('Http10.test_synchronous: with a length, and the connection kept if asked', async () => {
  const wire = new Wire(port);
  const first = await (await wire.request('GET', '/echo', { version: '1.0', headers: KEEP_ALIVE })).whole();
  assert.equal(first.header('transfer-encoding'), undefined);
  assert.deepEqual([first.header('content-length'), first.body], ['19', 'Welcome to SockJS!\n']);
  assert.equal(first.header('connection')?.toLowerCase(), 'keep-alive');
  const second = await wire.request('GET', '/echo', { version: '1.0', headers: KEEP_ALIVE });
  assert.equal(second.status, 200);
});

test('Http10.test_streaming: without chunks and without a length, until the end', async () => {
  const answer = await http.openPost(`${session('/close')}/xhr_streaming`, {
    version: '1.0',
    headers: KEEP_ALIVE,
  });
  assert.equal(answer.status, 200);
  assert.equal(answer.header('transfer-encoding'), undefined);
  assert.equal(answer.header('content-length'), undefined);
  assert.equal((await answer.wire.read(2049)).toString(), `${'h'.repeat(2048)}\n`);
  assert.equal((await answer.wire.read(2)).toString(), 'o\n');
  assert.equal((await answer.wire.read(19)).toString(), 'c[3000,"Go away!"]\n');
  await answer.wire.ended();
  assert.equal(answer.wire.received.length, 0);
});

test('Http11.test_synchronous: the connection is kept', async () => {
  const wire = new Wire(port);
  const first = await (await wire.request('GET', '/echo', { headers: KEEP_ALIVE })).whole();
  assert.equal(first.body, 'Welcome to SockJS!\n');
  assert.equal(first.header('connection')?.toLowerCase(), 'keep-alive');
  assert.equal((await wire.request('GET', '/echo', { headers: KEEP_ALIVE })).status, 200);
});

test('Http11.test_streaming: in chunks, without a length', async () => {
  const answer = await http.openPost(`${session('/close')}/xhr_streaming`, { headers: KEEP_ALIVE });
  assert.equal(answer.header('transfer-encoding'), 'chunked');
  assert.equal(answer.header('content-length'), undefined);
  assert.equal((await answer.chunk())[0], 'h');
  assert.deepEqual([await answer.chunk(), await answer.chunk()], ['o\n', 'c[3000,"Go away!"]\n']);
  assert.equal(await answer.chunk(), '');
});
