/** The application is asked who a page is: what it is told, what it may answer, and what it may do to us. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { arrived } from '../../../src/push/door/arrival.ts';
import {
  type AskApplicationOptions,
  askApplication,
  NUMBERS,
} from '../../../src/push/door/ask-application.ts';
import type { Attributes, HandshakeRequest } from '../../../src/server/transport.ts';
import { makeCertificates } from '../../support/certificates.ts';
import { freePort, until } from '../../support/net.ts';
import { AnApplication, type Answering, byCookie, say, saying } from './an-application.ts';

interface Outcome {
  status: number | undefined;
  retryAfter: string | null | undefined;
  attributes: Attributes;
}

interface Door {
  log: string[];
  /** A page comes. */
  come(request?: Partial<HandshakeRequest>, attributes?: Attributes): Promise<Outcome>;
}

function door(options: AskApplicationOptions, address = '203.0.113.7'): Door {
  const interceptor = askApplication(options);
  const log: string[] = [];
  return {
    log,
    async come(given = {}, attributes = {}) {
      const request = { headers: {}, socket: {}, url: '/socketServer', ...given };
      arrived(request, { address, log: (level, message) => log.push(`${level}: ${message}`) });
      const response = await interceptor.before!(request, attributes);
      return { status: response?.status, retryAfter: response?.headers.get('retry-after'), attributes };
    },
  };
}

/** A TCP server that is no HTTP server. */
async function startRaw(t: TestContext, serve: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/who`;
}

const cookie = (text: string): Partial<HandshakeRequest> => ({ headers: { cookie: text } });

// ── what it is told ────────────────────────────────────────────────────────────────────────────────────

test('cookies, query, address and origin go to the application, and nothing else', async (t) => {
  const application = await AnApplication.start(t, saying({ user: 'alice' }));
  const { come } = door({ url: application.url });
  await come({
    url: '/socketServer?operator=a%20b&x=%0d%0aY:%20z',
    headers: {
      host: 'push.example.com',
      cookie: 'sid=42; theme=dark',
      origin: 'https://push.example.com',
      'x-forwarded-for': '10.9.8.7',
      'x-real-ip': '10.9.8.7',
      forwarded: 'for=10.9.8.7',
      authorization: 'Bearer mine',
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'user-agent': 'a browser',
      referer: 'https://push.example.com/mail',
    },
  });
  const [asked] = application.asked;
  assert.equal(asked!.method, 'GET');
  assert.equal(asked!.url, '/who?operator=a%20b&x=%0d%0aY:%20z');
  assert.deepEqual(
    { ...asked!.headers },
    {
      host: `127.0.0.1:${application.port}`,
      connection: 'keep-alive',
      accept: 'application/json',
      'accept-encoding': 'identity',
      'user-agent': 'tidings',
      cookie: 'sid=42; theme=dark',
      origin: 'https://push.example.com',
      'x-forwarded-for': '203.0.113.7',
    },
  );
});

test('which headers go along can be chosen; who comes by a Unix socket has no address', async (t) => {
  const application = await AnApplication.start(t, saying({ user: 'alice' }));
  const { come } = door({ url: application.url, headers: ['Authorization', 'X-Tenant'] }, '');
  await come({ headers: { authorization: 'Bearer it', 'x-tenant': 'blue', cookie: 'a=b', origin: 'null' } });
  const { headers } = application.asked[0]!;
  assert.equal(headers.authorization, 'Bearer it');
  assert.equal(headers['x-tenant'], 'blue');
  for (const name of ['cookie', 'origin', 'x-forwarded-for']) assert.equal(headers[name], undefined, name);
});

test('headers that are between a page and us, or that tell whose word it is, are never passed on', () => {
  const url = 'http://127.0.0.1/who';
  for (const name of [
    'Connection',
    'keep-alive',
    'TE',
    'transfer-encoding',
    'Upgrade',
    'proxy-authorization',
    'Host',
    'Content-Length',
    'content_length',
    'X-Forwarded-For',
    'X_Forwarded_For',
    'x-forwarded-proto',
    'Forwarded',
    'x-real-ip',
    'CF-Connecting-IP',
    'True-Client-IP',
    'X-Original-URL',
    'X-HTTP-Method-Override',
    'sec-websocket-protocol',
    'expect',
    'accept-encoding',
    'if-none-match',
    'a b',
    'x:y',
    'x\r\ny',
    '',
  ]) {
    assert.throws(() => askApplication({ url, headers: [name] }), TypeError, name);
  }
});

test('a page can not say again what the address of the application says already', async (t) => {
  const application = await AnApplication.start(t, saying({ user: 'alice' }));
  const { come } = door({ url: `${application.url}?key=s3cret&from.us=1` });
  const tries = [
    'key=x',
    'KEY=x',
    '%6bey=x',
    '+key=x',
    'key[]=x',
    'key%5B0%5D=x',
    'from_us=2',
    'from.us=2',
    'key',
  ];
  for (const query of tries) {
    await come({ url: `/socketServer?${query}&user=alice` });
    assert.equal(application.asked.pop()!.url, '/who?key=s3cret&from.us=1&user=alice', query);
  }
  await come({ url: '/socketServer?a=1;key=x' });
  assert.equal(application.asked.pop()!.url, '/who?key=s3cret&from.us=1&a=1%3Bkey=x');
});

test('whatever a page says stays within the line of the request and within its header', async (t) => {
  const application = await AnApplication.start(t, saying({ user: 'alice' }));
  const { come } = door({ url: application.url });
  const lines = [
    'x=1\r\nX-Forwarded-For: 1.2.3.4',
    'x= HTTP/1.1\r\n\r\nGET /admin',
    'x=\u0000',
    'x=ä',
    'x=#y',
    'x=好',
  ];
  for (const query of lines) assert.equal((await come({ url: `/socketServer?${query}` })).status, undefined);
  for (const { url, headers } of application.asked) {
    assert.match(url!, /^\/who\?x=[!-~]*$/);
    assert.ok(!url!.includes('#'));
    assert.equal(headers['x-forwarded-for'], '203.0.113.7');
  }
  const before = application.asked.length;
  for (const text of ['a=1\r\nx-admin: 1', 'a=\u0000', 'a=好', 'a=\u007f']) {
    assert.equal((await come(cookie(text))).status, 400, JSON.stringify(text));
  }
  assert.equal(application.asked.length, before);
});

test('a ticket in the name of a subprotocol reaches the application as the parameter `ticket`', async (t) => {
  const application = await AnApplication.start(t, saying({ user: 'alice' }));
  const { come } = door({ url: application.url });
  const headers = { 'sec-websocket-protocol': 'tidings.1, ticket.a+b' };
  await come({ url: '/socketServer?ticket=old&x=1', headers });
  assert.equal(application.asked[0]!.url, '/who?x=1&ticket=a%2Bb');
});

test('who is known already is let through, and the application is not asked', async (t) => {
  const application = await AnApplication.start(t, saying({ user: 'alice' }));
  const { come } = door({ url: application.url });
  const { status, attributes } = await come({}, { user: 'bob' });
  assert.deepEqual([status, attributes, application.asked.length], [undefined, { user: 'bob' }, 0]);
});

// ── what it may answer ─────────────────────────────────────────────────────────────────────────────────

test('an answer says who it is, by which login, until when, with which topics, and what else', async (t) => {
  const expires = Date.now() + 60_000;
  const said = {
    user: 'alice',
    login: 'L1',
    expires,
    topics: ['news'],
    attributes: { role: 'admin' },
    more: 1,
  };
  const application = await AnApplication.start(t, saying(said));
  const { come } = door({ url: application.url });
  const { status, attributes } = await come();
  assert.equal(status, undefined);
  assert.deepEqual(attributes, { user: 'alice', login: 'L1', expires, topics: ['news'], role: 'admin' });
  application.answering = saying({ user: 'bob', login: null, expires: null, topics: null, attributes: null });
  assert.deepEqual((await come()).attributes, { user: 'bob' });
});

test('an attribute can not become what attributes are made from', async (t) => {
  const application = await AnApplication.start(t, (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end('{"user":"alice","attributes":{"__proto__":{"isAdmin":true},"constructor":1,"role":"x"}}');
  });
  const { attributes } = await door({ url: application.url }).come();
  assert.equal(attributes['isAdmin'], undefined);
  assert.equal(Object.getPrototypeOf(attributes), Object.prototype);
  assert.deepEqual(Object.keys(attributes).sort(), ['constructor', 'role', 'user']);
});

test('401 and 403 of the application are those of the page, however long their text is', async (t) => {
  const application = await AnApplication.start(t, (_request, response) => {
    response.writeHead(401);
    const more = (): void => {
      if (!response.destroyed) response.write('x'.repeat(1000), () => setImmediate(more));
    };
    more();
  });
  const { come, log } = door({ url: application.url, concurrency: 1 });
  for (let i = 0; i < 3; i++) assert.equal((await come()).status, 401);
  application.answering = (_request, response) => response.writeHead(403).end('no');
  const { status, attributes } = await come();
  assert.deepEqual([status, attributes], [403, {}]);
  assert.deepEqual(log, []);
});

const json = { 'Content-Type': 'application/json' };
const secretBody = '{"user":"alice","login":"S3CRET"';
const unusable: Record<string, Answering> = {
  'a redirect': (_, response) => response.writeHead(302, { Location: 'http://127.0.0.1:1/S3CRET' }).end(),
  'a status of its own': (_, response) => response.writeHead(500).end('S3CRET'),
  'not found': (_, response) => response.writeHead(404).end(),
  'no content': (_, response) => response.writeHead(204).end(),
  'a part': (_, response) => response.writeHead(206, json).end('{"user":"alice"}'),
  'a page': (_, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end('<p>S3CRET'),
  'JSON that is not said to be any': (_, response) => response.writeHead(200).end('{"user":"alice"}'),
  'another character set': (_, response) =>
    response.writeHead(200, { 'Content-Type': 'application/json; charset=latin1' }).end('{"user":"alice"}'),
  'half of an object': (_, response) => response.writeHead(200, json).end(secretBody),
  nothing: (_, response) => response.writeHead(200, json).end(),
  'bytes that are no UTF-8': (_, response) =>
    response.writeHead(200, json).end(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])),
  'what is compressed': (_, response) =>
    response.writeHead(200, { ...json, 'Content-Encoding': 'gzip' }).end(gzipSync('{"user":"alice"}')),
  '64 KiB and a byte, announced': (_, response) => {
    const body = `{"user":"alice"}${' '.repeat(64 * 1024 - 15)}`;
    response.writeHead(200, { ...json, 'Content-Length': body.length }).end(body);
  },
  '64 KiB and a byte, in pieces': (_, response) => {
    response.writeHead(200, json).write('{"user":"alice"}');
    response.end(' '.repeat(64 * 1024 - 15));
  },
  'a body without end': (_, response) => {
    response.writeHead(200, json).write('{"user":"alice"}');
    const more = (): void => {
      if (!response.destroyed) response.write(' '.repeat(1000), () => setImmediate(more));
    };
    more();
  },
  ...Object.fromEntries(
    [
      [],
      null,
      'alice',
      {},
      { user: null },
      { user: '' },
      { user: 42 },
      { user: ['alice'] },
      { user: { name: 'alice' } },
      { user: 'a\nb' },
      { user: 'S3CRET\u0000' },
      { user: '\ud800' },
      { user: 'x'.repeat(129) },
      { user: 'alice', login: 7 },
      { user: 'alice', login: '' },
      { user: 'alice', expires: '2030-01-01' },
      { user: 'alice', topics: 'news' },
      { user: 'alice', topics: ['user:bob'] },
      { user: 'alice', topics: [1] },
      { user: 'alice', attributes: ['admin'] },
      { user: 'alice', attributes: { user: 'root' } },
      { user: 'alice', attributes: { expires: 1 } },
      { User: 'alice' },
    ].map((said) => [JSON.stringify(said).slice(0, 60), saying(said)]),
  ),
  'a number that JSON has, and numbers have not': (_, response) =>
    response.writeHead(200, json).end('{"user":12345678901234567890}'),
  'a time that is no number any more': (_, response) =>
    response.writeHead(200, json).end('{"user":"alice","expires":1e999}'),
};

for (const [what, answering] of Object.entries(unusable)) {
  test(`the application is not well: ${what}`, async (t) => {
    const application = await AnApplication.start(t, answering);
    const { come, log } = door({ url: application.url, timeout: 5_000 });
    const secret = { url: '/socketServer?q=S3CRET', headers: { cookie: 'sid=S3CRET' } };
    for (let i = 0; i < 3; i++) {
      const { status, retryAfter, attributes } = await come(secret);
      assert.equal(status, 503);
      assert.match(retryAfter!, /^[1-9]\d*$/);
      assert.deepEqual(attributes, {});
    }
    assert.equal(log.length, 1, log.join('\n'));
    assert.match(
      log[0]!,
      /^warn: who a page is can't be asked of the application at http:\/\/127\.0\.0\.1:\d+\/who: /,
    );
    assert.ok(!log.join().includes('S3CRET'));
    // Whatever one page is answered, others may be let in.
    application.answering = saying({ user: 'alice' });
    assert.equal((await come()).status, undefined);
  });
}

test('an answer of 64 KiB is taken', async (t) => {
  const said = `{"user":"alice"${' '.repeat(64 * 1024 - 16)}}`;
  const application = await AnApplication.start(t, (_, response) => response.writeHead(200, json).end(said));
  assert.equal((await door({ url: application.url }).come()).attributes.user, 'alice');
});

test('an answer in a thousand pieces, with a byte order mark, of a vendor’s JSON, is taken', async (t) => {
  const application = await AnApplication.start(t, (_, response) => {
    response.writeHead(200, { 'Content-Type': 'application/problem+json; Charset="UTF-8"' });
    for (const byte of Buffer.from(`\ufeff{"user":"älice"${' '.repeat(3000)}}`))
      response.write(Buffer.of(byte));
    response.end();
  });
  assert.equal((await door({ url: application.url }).come()).attributes.user, 'älice');
});

test('no redirect is followed: cookies go to no other address', async (t) => {
  const other = await AnApplication.start(t, saying({ user: 'mallory' }));
  const application = await AnApplication.start(t, (_, response) =>
    response.writeHead(307, { Location: other.url }).end(),
  );
  assert.equal((await door({ url: application.url }).come(cookie('sid=42'))).status, 503);
  assert.equal(other.asked.length, 0);
});

// ── what it may do ─────────────────────────────────────────────────────────────────────────────────────

const silent: Record<string, (socket: Socket) => void> = {
  'says nothing': () => {},
  'closes at once': (socket) => socket.destroy(),
  'closes after the question': (socket) => socket.once('data', () => socket.end()),
  'is no HTTP server': (socket) => socket.write('220 mail.example.com ESMTP\r\n'),
  'answers half a head': (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Type: app'),
  'answers a head without end': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n');
    const more = (): void => {
      if (!socket.destroyed) socket.write(`X: ${'x'.repeat(100)}\r\n`, () => setImmediate(more));
    };
    more();
  },
  'answers half a body': (socket) =>
    socket.write(
      'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"user":"al',
    ),
  'breaks off in a body': (socket) =>
    socket.once('data', () =>
      socket.end(
        'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"user":"alice"}',
      ),
    ),
  'breaks off between chunks': (socket) =>
    socket.once('data', () =>
      socket.end(
        'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"user":"alice"}\r\n',
      ),
    ),
  'switches protocols': (socket) =>
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'),
    ),
};

describe('an application that', { concurrency: true }, () => {
  for (const [what, serve] of Object.entries(silent)) {
    test(`${what} is away: 503 within the time limit, and one line in the log`, async (t) => {
      const { come, log } = door({ url: await startRaw(t, serve), timeout: 2_000, failures: 100 });
      const outcomes = await Promise.all([
        come(cookie('a=S3CRET')),
        come(cookie('a=2')),
        come(cookie('a=3')),
      ]);
      for (const { status, retryAfter } of outcomes) assert.deepEqual([status, retryAfter], [503, '5']);
      assert.equal(log.length, 1, log.join('\n'));
      assert.ok(!log[0]!.includes('S3CRET'));
    });
  }
});

test('an answer that ends with the connection is one', async (t) => {
  const url = await startRaw(t, (socket) =>
    socket.once('data', () =>
      socket.end('HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"user":"alice"}'),
    ),
  );
  assert.equal((await door({ url }).come()).attributes.user, 'alice');
});

test('an answer that comes in time but slowly is taken, and one that is too late ends nothing', async (t) => {
  const held: ServerResponse[] = [];
  const application = await AnApplication.start(t, (_, response) => held.push(response));
  const { come } = door({ url: application.url, timeout: 3_000 });
  const slow = come(cookie('a=1'));
  const late = come(cookie('a=2'));
  await until('two questions', () => held.length === 2);
  const [first, second] = application.asked[0]!.headers.cookie === 'a=1' ? held : held.reverse();
  say(first!, { user: 'alice' });
  assert.equal((await slow).attributes.user, 'alice');
  assert.equal((await late).status, 503);
  say(second!, { user: 'bob' });
  application.answering = byCookie;
  assert.equal((await come(cookie('user=carol'))).attributes.user, 'carol');
});

test('a hundred pages with the same cookies at once are one question', async (t) => {
  const application = await AnApplication.start(t, (_, response) =>
    setImmediate(() => say(response, { user: 'alice', attributes: { list: [1] } })),
  );
  const { come } = door({ url: application.url });
  const outcomes = await Promise.all(Array.from({ length: 100 }, () => come(cookie('sid=1'))));
  for (const { attributes } of outcomes) assert.equal(attributes.user, 'alice');
  assert.equal(application.asked.length, 1);
  assert.equal((await come(cookie('sid=1'))).attributes.user, 'alice');
  assert.equal(application.asked.length, 2, 'what was answered is not kept');
});

test('tabs that come by SockJS, each request with a time of its own, are one question', async (t) => {
  const application = await AnApplication.start(t, (_, response) =>
    setImmediate(() => say(response, { user: 'alice' })),
  );
  const { come } = door({ url: application.url });
  const paths = [1, 2, 3].map((n) => `/sockjs/socketServer/000/s${n}/xhr_streaming?user=a&t=170000000${n}`);
  await Promise.all(paths.map((url) => come({ url })));
  assert.deepEqual(
    application.asked.map(({ url }) => url),
    ['/who?user=a'],
  );
});

test('a hundred pages with cookies of their own: so many are asked about at a time, and each gets its own answer', async (t) => {
  let now = 0;
  let most = 0;
  const application = await AnApplication.start(t, (request, response) => {
    most = Math.max(most, ++now);
    setImmediate(() => {
      now--;
      byCookie(request, response);
    });
  });
  const { come } = door({ url: application.url, concurrency: 4 });
  const users = Array.from({ length: 100 }, (_, n) => `u${n}`);
  const outcomes = await Promise.all(users.map((user) => come(cookie(`user=${user}`))));
  assert.deepEqual(
    outcomes.map(({ attributes }) => attributes.user),
    users,
  );
  assert.ok(most <= 4, `${most} at once`);
  const sockets = new Set(application.asked.map(({ socket }) => socket));
  assert.ok(sockets.size <= 4, `${sockets.size} connections`);
});

test('more questions than may wait are refused at once; who waits too long is not asked about any more', async (t) => {
  const application = await AnApplication.start(t, () => {});
  const { come, log } = door({
    url: application.url,
    concurrency: 1,
    waiting: 2,
    timeout: 300,
    failures: 100,
  });
  const pages = Array.from({ length: 5 }, (_, n) => come(cookie(`a=${n}`)));
  const refused = await Promise.race([pages[3]!, pages[4]!]);
  assert.equal(refused.status, 503);
  assert.ok(application.asked.length <= 1);
  for (const { status } of await Promise.all(pages)) assert.equal(status, 503);
  assert.ok(application.asked.length <= 2, String(application.asked.length));
  assert.ok(log.some((line) => line.includes('2 questions wait already')));
});

test('where none may wait, those that need not are asked about', async (t) => {
  const application = await AnApplication.start(t, byCookie);
  const { come } = door({ url: application.url, concurrency: 2, waiting: 0 });
  const outcomes = await Promise.all(Array.from({ length: 5 }, (_, n) => come(cookie(`user=u${n}`))));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    [undefined, undefined, 503, 503, 503],
  );
  await until('the next one', async () => (await come(cookie('user=u5'))).status === undefined);
});

test('an application that was killed and is back is asked again, also over connections that were kept', async (t) => {
  const application = await AnApplication.start(t, byCookie);
  const { come } = door({ url: application.url, failures: 100 });
  const many = (tag: string) =>
    Promise.all(Array.from({ length: 8 }, (_, n) => come(cookie(`user=${tag}${n}`))));
  for (const { status } of await many('a')) assert.equal(status, undefined);
  await application.stop();
  for (const { status } of await many('b')) assert.equal(status, 503);
  await application.start();
  for (const { status } of await many('c')) assert.equal(status, undefined);
});

test('a kept connection that is closed when it is used again costs no page its answer', async (t) => {
  let served = 0;
  const url = await startRaw(t, (socket) => {
    let isSecond = false;
    socket.on('data', () => {
      // Says that the connection may be used again, and takes no second question.
      if (isSecond) return void socket.destroy();
      isSecond = true;
      served++;
      socket.write(
        'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"user":"alice"}',
      );
    });
  });
  const { come, log } = door({ url });
  for (let i = 0; i < 6; i++) assert.equal((await come()).attributes.user, 'alice', `page ${i}`);
  assert.equal(served, 6);
  assert.deepEqual(log, []);
});

test('what is answered without having been asked is nobody’s answer', async (t) => {
  const answer = (user: string): string => {
    const body = JSON.stringify({ user });
    return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  };
  const url = await startRaw(t, (socket) =>
    socket.on('data', (question) => {
      const user = /user=(\w+)/.exec(String(question))![1]!;
      socket.write(answer(user) + answer('mallory'));
    }),
  );
  const { come } = door({ url, concurrency: 1 });
  for (const user of ['alice', 'bob', 'carol']) {
    assert.equal((await come(cookie(`user=${user}`))).attributes.user, user);
  }
});

test('who does not answer several times in a row is left alone, then asked once, and then by all', async (t) => {
  const port = await freePort();
  const application = new AnApplication(byCookie, { host: '127.0.0.1', port });
  t.after(() => application.stop());
  const { come, log } = door({
    url: `http://127.0.0.1:${port}/who`,
    failures: 3,
    pause: { min: 100, max: 200 },
  });
  for (let i = 0; i < 3; i++) assert.equal((await come(cookie(`user=a${i}`))).status, 503);
  assert.ok(log.some((line) => line.includes(`at http://127.0.0.1:${port}/who is away: asked again in `)));
  application.answering = () => {};
  await application.start();
  // Of many that come when it is time, one is the question whose outcome decides.
  await until('the first question', async () => {
    void Promise.all(Array.from({ length: 10 }, (_, n) => come(cookie(`user=c${n}`))));
    return application.asked.length > 0;
  });
  assert.equal(application.asked.length, 1);
  application.answering = byCookie;
  await application.stop();
  await application.start();
  await until('an answer', async () => (await come(cookie('user=d'))).status === undefined);
  assert.ok(log.some((line) => line.startsWith('warn: ') && line.endsWith(' is back')));
  const outcomes = await Promise.all(Array.from({ length: 10 }, (_, n) => come(cookie(`user=e${n}`))));
  for (const { status } of outcomes) assert.equal(status, undefined);
});

test('a page that is answered nonsense can not keep others from being asked about', async (t) => {
  const application = await AnApplication.start(t, (request, response) => {
    if (request.url!.includes('break')) response.writeHead(500).end();
    else byCookie(request, response);
  });
  const { come } = door({ url: application.url, failures: 2 });
  for (let i = 0; i < 10; i++) assert.equal((await come({ url: `/socketServer?break=${i}` })).status, 503);
  assert.equal((await come(cookie('user=alice'))).attributes.user, 'alice');
});

test('a gateway that says that the application is away is believed', async (t) => {
  const application = await AnApplication.start(t, (_, response) => response.writeHead(502).end());
  const { come } = door({ url: application.url, failures: 2, pause: { min: 60_000, max: 60_000 } });
  for (let i = 0; i < 10; i++) assert.equal((await come(cookie(`a=${i}`))).status, 503);
  assert.equal(application.asked.length, 2);
  assert.ok(Number((await come()).retryAfter) > 5);
});

test('those that wait for their turn are not asked about when it is known that nobody answers', async (t) => {
  const application = await AnApplication.start(t, (_, response) => response.writeHead(503).end());
  const options = { concurrency: 1, failures: 1, pause: { min: 60_000, max: 60_000 } };
  const { come } = door({ url: application.url, ...options });
  const outcomes = await Promise.all(Array.from({ length: 10 }, (_, n) => come(cookie(`a=${n}`))));
  for (const { status } of outcomes) assert.equal(status, 503);
  assert.equal(application.asked.length, 1);
});

// ── where it may be ────────────────────────────────────────────────────────────────────────────────────

test('https: only a certificate that is trusted is', async (t) => {
  const certificates = makeCertificates();
  t.after(() => certificates.remove());
  const { ca } = certificates;
  const own = { key: readFileSync(certificates.keyFile), cert: readFileSync(certificates.certFile) };
  const server = createSecureServer(own, (_, response) => say(response, { user: 'alice' }));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const outcome = async (host: string, options: Partial<AskApplicationOptions>) =>
    (await door({ url: `https://${host}:${port}/who`, ...options }).come()).status;
  assert.equal(await outcome('localhost', { ca }), undefined);
  assert.equal(await outcome('localhost', {}), 503);
});

test('IPv6, a Unix socket, and user information in the address', async (t) => {
  const six = await AnApplication.start(t, byCookie, { host: '::1' });
  const { come } = door({ url: `http://tidings:p%40ss@[::1]:${six.port}/who` });
  assert.equal((await come(cookie('user=alice'))).attributes.user, 'alice');
  const basic = `Basic ${Buffer.from('tidings:p@ss').toString('base64')}`;
  assert.equal(six.asked[0]!.headers.authorization, basic);
  assert.equal(six.asked[0]!.headers.host, `[::1]:${six.port}`);

  const path = join(tmpdir(), `tidings-ask-${process.pid}.sock`);
  const local = await AnApplication.start(t, byCookie, { path });
  const door2 = door({ url: `http+unix://${encodeURIComponent(path)}/who?x=1` });
  assert.equal((await door2.come(cookie('user=bob'))).attributes.user, 'bob');
  assert.deepEqual([local.asked[0]!.url, local.asked[0]!.headers.host], ['/who?x=1', 'localhost']);
});

test('what is wrong with an address is said without the password in it', async () => {
  const { come, log } = door({ url: 'http://tidings:S3CRET@127.0.0.1:1/who?key=S3CRET' });
  assert.equal((await come()).status, 503);
  assert.equal(log.length, 1);
  assert.ok(!log[0]!.includes('S3CRET'), log[0]);
});

test('options that make no sense are refused', () => {
  const url = 'http://127.0.0.1/who';
  for (const wrong of [
    { url: 'who' },
    { url: 'ftp://127.0.0.1/' },
    { url: 'http+unix:///run/app.sock' },
    { url, timeout: 0 },
    { url, timeout: 2 ** 31 },
    { url, recheck: -1 },
    { url, grace: Number.NaN },
    { url, concurrency: 0 },
    { url, failures: 0 },
    { url, pause: { min: 0 } },
    { url, pause: { min: 50_000 } },
    { url, headers: 'cookie' as never },
  ]) {
    assert.throws(() => askApplication(wrong), TypeError, JSON.stringify(wrong));
  }
});

test('docs/authentication.md has the defaults', () => {
  const rows = readFileSync('docs/authentication.md', 'utf8').matchAll(/^\| `(\w+)` \| ([\d,]+) \|/gm);
  const documented = Object.fromEntries(
    [...rows].map(([, name, value]) => [name, Number(value!.replaceAll(',', ''))]),
  );
  const actual = Object.entries(NUMBERS).map(([name, { fallback }]) => [name, fallback]);
  assert.deepEqual(documented, Object.fromEntries(actual));
});
