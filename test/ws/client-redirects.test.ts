/** Where redirects lead a client, and what it does not take along. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { type ClientOptions, WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { certificates, line, type Place, place, request, socketFolder } from './client-support.ts';

// ── redirects ─────────────────────────────────────────────────────────────────────────────────────

/** What must not be told to another host, by every way in which it can be given. */
const SECRETS: [string, (url: string) => string, object][] = [
  [
    'header lines',
    (url) => url,
    { headers: { AUTHORIZATION: 'Bearer s', Cookie: 's=1', 'proxy-authorization': 's' } },
  ],
  ['a list of header lines', (url) => url, { headers: ['authorization', 'Bearer s', 'COOKIE', 's=1'] }],
  ['the address', (url) => url.replace('://', '://user:s@'), {}],
  ['the option auth', (url) => url, { auth: 'user:s' }],
];

test('a redirect to another host, port, scheme that can be listened to, or socket takes no credentials along', async () => {
  const folder = socketFolder();
  const unix = await place(undefined, { socketPath: join(folder, 'unix') });
  const unix2 = await place(undefined, { socketPath: join(folder, 'unix2') });
  const plain = await place();
  const secure = await place(undefined, { isSecure: true });
  let location = '';
  const from = {
    plain: await place(() => location),
    secure: await place(() => location, { isSecure: true }),
    unix: await place(() => location, { socketPath: join(folder, 'from') }),
  };
  const ways: [Place, Place, string?][] = [
    [from.plain, plain],
    [from.plain, plain, `ws://localhost:${plain.port}`],
    [from.plain, secure],
    [from.plain, unix],
    [from.secure, plain],
    [from.secure, secure],
    [from.secure, unix],
    [from.unix, plain],
    [from.unix, secure],
    [from.unix, unix2],
  ];
  for (const [start, end, to = end.url] of ways) {
    for (const [what, address, options] of SECRETS) {
      const userinfo = to.startsWith('ws+unix') ? to : to.replace('://', '://theirs:theirs@');
      for (const there of [`${to}/there`, `${userinfo}/there`]) {
        location = there;
        if (what === 'the address' && start === from.unix) continue;
        const { request: message, client } = await request(end, `${address(start.url)}/`, {
          ca: certificates.ca,
          followRedirects: true,
          ...options,
        });
        const where = `${what}: ${start.url} to ${there}`;
        assert.equal(message.url, '/there', where);
        assert.equal(client.url, new URL(there).href, where);
        for (const name of ['authorization', 'cookie', 'proxy-authorization']) {
          assert.deepEqual(line(message, name), [], `${name}, ${where}`);
        }
      }
    }
  }
});

test('from wss: to ws: of the same host and port, credentials stay behind, and do not come back', async () => {
  const seen: IncomingMessage[] = [];
  const ways = ['ws://tidings.invalid:1/2', 'wss://tidings.invalid:1/3', undefined];
  const secure = await place((message) => ways[seen.push(message) - 1], { isSecure: true });
  const plain = await place((message) => ways[seen.push(message) - 1]);
  for (const [, address, options] of SECRETS) {
    seen.length = 0;
    const client = new WebSocket(address('wss://tidings.invalid:1/1'), {
      followRedirects: true,
      ...options,
      createConnection: (() => {
        const isTls = seen.length !== 1;
        const socket = connect(isTls ? secure.port : plain.port, '127.0.0.1');
        return isTls ? connectTls({ socket, ca: certificates.ca, servername: 'localhost' }) : socket;
      }) as unknown as ClientOptions['createConnection'],
    });
    await once(client, 'open');
    client.terminate();
    assert.deepEqual(
      seen.map(({ url }) => url),
      ['/1', '/2', '/3'],
    );
    assert.equal(line(seen[0]!, 'authorization').length, 1);
    for (const message of seen.slice(1)) {
      for (const name of ['authorization', 'cookie']) assert.deepEqual(line(message, name), []);
    }
  }
});

test('on the same host, credentials go along; on another, only Host and credentials are left out', async () => {
  const here = await place(({ url }) => (url === '/' ? '/there' : undefined));
  for (const [, address, options] of SECRETS) {
    const client = new WebSocket(address(here.url), { followRedirects: true, ...options });
    await once(client, 'open');
    client.terminate();
    const [first, second] = here.requests.splice(0);
    assert.deepEqual(line(second!, 'authorization'), line(first!, 'authorization'));
    assert.equal(line(second!, 'authorization').length, 1);
    assert.deepEqual(line(second!, 'cookie'), line(first!, 'cookie'));
  }
  const other = await place();
  const from = await place(() => other.url);
  const { request: message } = await request(other, from.url, {
    followRedirects: true,
    headers: { hOst: 'virtual', 'X-Kept': '1', authorization: 'x' },
  });
  assert.deepEqual(line(message, 'host'), [`127.0.0.1:${other.port}`]);
  assert.deepEqual(line(message, 'x-kept'), ['1']);
});

test('a client certificate and the name for SNI are for the first host alone, even with a redirect listener', async () => {
  const other = await place(undefined, { isSecure: true });
  const here = await place(({ url }) => (url === '/' ? '/again' : other.url), { isSecure: true });
  const named = (message: IncomingMessage) => {
    const socket = message.socket as TLSSocket & { servername: unknown };
    return [socket.servername || '', Object.keys(socket.getPeerCertificate()).length > 0];
  };
  const found: unknown[] = [];
  for (const place of [here, other]) place.server.on('upgrade', (message) => found.push(named(message)));
  const { client } = await request(other, here.url, {
    followRedirects: true,
    ca: certificates.ca,
    cert: readFileSync(certificates.certFile),
    key: readFileSync(certificates.keyFile),
    servername: 'localhost',
  });
  assert.equal(client.url, `${other.url}/`);
  assert.deepEqual(found, [
    ['localhost', true],
    ['localhost', true],
    ['', false],
  ]);
});

test('a path as Location stays on its unix socket, and takes the credentials along', async () => {
  const folder = socketFolder();
  const here = await place(({ url }) => (url === '/a/b?c' ? '../d?e=f:g' : undefined), {
    socketPath: join(folder, 'a b'),
  });
  const client = new WebSocket(`${here.url}/a/b?c`, { followRedirects: true, headers: { Cookie: 's=1' } });
  await once(client, 'open');
  client.terminate();
  assert.deepEqual(
    here.requests.map(({ url }) => url),
    ['/a/b?c', '/d?e=f:g'],
  );
  assert.deepEqual(line(here.requests[1]!, 'cookie'), ['s=1']);
  assert.equal(client.url, `ws+unix:${folder}/a%20b:/d?e=f:g`);
});

test('a Location that is no address is one error and one close, whatever it is', async () => {
  let location = '';
  const here = await place(() => location);
  const agent = new Agent();
  for (const [to, message] of [
    ['ftp://a/', /protocol must be one of/],
    ['http://', /Invalid URL/],
    ['//', /Invalid URL/],
    ['/a#b', /fragment/],
    ['ws://a:99999/', /Invalid URL/],
    ['ws+unix:', /pathname is empty/],
    ['ws+unix:/a%00:/', /null character/],
    ['ws+unix:a:b c', /unescaped characters/],
    [`wss://127.0.0.1:${here.port}/`, /Protocol "https:" not supported/],
  ] as const) {
    location = to;
    const client = new WebSocket(here.url, { followRedirects: true, agent });
    const told: unknown[] = [];
    client.on('error', (error) => told.push(error.message));
    client.on('close', (code) => told.push(code));
    await until('the close event', () => told.includes(1006));
    assert.equal(told.length, 2, to);
    assert.match(String(told[0]), message);
  }
});
