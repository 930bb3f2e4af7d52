import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { AnApplication, byCookie } from '../push/door/an-application.ts';
import { type Program, tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const secret = 'a secret of more than 16 bytes';

async function serve(t: TestContext, ...args: string[]) {
  const program = tidings(t, ['serve', '--port', '0', '--policy-port', 'off', ...args]);
  const [url = ''] = await program.line(/^listening on (http:\S+)\/$/m);
  const [ws = ''] = await program.line(/^listening on (ws:\S+)$/m);
  return { program, url, ws };
}

/** A page in plain mode, as a peer's client speaks it. */
async function page(t: TestContext, url: string, options: { headers?: Record<string, string> } = {}) {
  const socket = new WebSocket(url, options);
  const messages: string[] = [];
  socket.on('message', (data) => messages.push(String(data)));
  t.after(() => socket.terminate());
  await once(socket, 'open');
  return { socket, messages };
}

async function output(t: TestContext, args: string[], input?: string): Promise<string> {
  const program: Program = tidings(t, args, input === undefined ? {} : { input });
  assert.equal(await program.status(), 0, program.stderr);
  return program.stdout;
}

test('it names its endpoints when it is ready, and ends on SIGTERM with status 0', async (t) => {
  const { program, url, ws } = await serve(t, '--query-user', 'operator', '--instance', 'left');
  assert.match(ws, /^ws:\/\/127\.0\.0\.1:\d+\/socketServer$/);
  const health = await fetch(`${url}/healthz`);
  assert.equal(health.status, 200);
  const state = (await health.json()) as { ok: boolean; instance: string };
  assert.deepEqual([state.ok, state.instance], [true, 'left']);

  const missing = await fetch(`${url}/nothing`);
  assert.equal(missing.status, 404);
  assert.equal(((await missing.json()) as { error: string }).error, 'not_found');
  const posted = await fetch(`${url}/healthz`, { method: 'POST' });
  assert.deepEqual([posted.status, posted.headers.get('allow')], [405, 'GET, HEAD']);

  const { socket } = await page(t, `${ws}?operator=alice`);
  const closed = once(socket, 'close');
  program.process.kill('SIGTERM');
  assert.equal((await closed)[0], 1012);
  assert.equal(await program.status(), 0, program.stderr);
});

test('a second signal ends it at once', async (t) => {
  const { program, ws } = await serve(t, '--query-user', 'operator', '--drain', '600000');
  await page(t, `${ws}?operator=alice`);
  program.process.kill('SIGINT');
  await until('the drain', () => program.stderr.includes('once more to end at once'));
  program.process.kill('SIGINT');
  assert.equal(await program.status(), 1);
});

test('a port in use ends it with status 1 and a message that names it', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const program = tidings(t, ['serve', '--query-user', 'operator', '--port', String(port)]);
  assert.equal(await program.status(), 1);
  assert.match(program.stderr, new RegExp(`^tidings serve: .*127\\.0\\.0\\.1:${port}.*in use\\n$`, 'm'));
});

test('a request to the path of the WebSocket that does not ask for one gets 426', async (t) => {
  const { url } = await serve(t, '--query-user', 'operator', '--demo');
  const answer = await fetch(`${url}/socketServer?operator=alice`);
  assert.deepEqual([answer.status, answer.headers.get('upgrade')], [426, 'websocket']);
  assert.equal((await fetch(`${url}/socketServer/more`)).status, 404);
});

test('send and publish through the admin API reach pages; ping is answered hb_ok', async (t) => {
  const { url, ws } = await serve(t, '--query-user', 'operator', '--admin-token', 'T');
  const { socket, messages } = await page(t, `${ws}?operator=alice`);
  socket.send('ping');
  await until('the answer to ping', () => messages.includes('hb_ok'));

  const receipt = JSON.parse(await output(t, ['send', 'alice', 'hello 世界', '--url', url, '--token', 'T']));
  assert.deepEqual([receipt.channel, receipt.offset, receipt.duplicate], ['user:alice', 1, false]);
  await output(t, ['send', 'alice', '{"a":1}', '--json', '--url', url, '--token', 'T']);
  await output(t, ['send', 'alice', '-', '--url', url, '--token', 'T'], 'from stdin\n');
  await until('three messages', () => messages.length === 4);
  assert.deepEqual(messages.slice(1), ['hello 世界', '{"a":1}', 'from stdin']);

  const key = ['--idempotency-key', 'k', '--url', url, '--token', 'T'];
  const first = JSON.parse(await output(t, ['publish', 'news', 'x', ...key]));
  assert.deepEqual(JSON.parse(await output(t, ['publish', 'news', 'x', ...key])), {
    ...first,
    duplicate: true,
  });

  const stats = JSON.parse(await output(t, ['top', '--once', '--url', url, '--token', 'T']));
  assert.equal(stats.sessions, 1);
  const wrong = tidings(t, ['send', 'alice', 'x', '--url', url, '--token', 'wrong']);
  assert.equal(await wrong.status(), 1);
  assert.match(wrong.stderr, /answered 401: this is not an admin token/);
});

test('a page that has no WebSocket gets its messages over SockJS', async (t) => {
  const { program, url } = await serve(t, '--query-user', 'operator', '--admin-token', 'T');
  const [sockjs = ''] = await program.line(/^listening on (http:\S+\/sockjs\S+)$/m);
  assert.equal(sockjs, `${url}/sockjs/socketServer`);
  const ask = (transport: string) =>
    fetch(`${sockjs}/000/abc/${transport}?operator=alice`, { method: 'POST' });
  assert.equal(await (await ask('xhr')).text(), 'o\n');
  // Always one that waits, as a program takes its time to start: a session that nobody asks ends after 5 s, and one
  // that has nothing to say for 25 s sends a heartbeat.
  const message = (async () => {
    for (;;) {
      const frame = await (await ask('xhr')).text();
      if (!/^[oh]\n$/.test(frame)) return frame;
    }
  })();
  await output(t, ['send', 'alice', 'hello', '--url', url, '--token', 'T']);
  assert.equal(await message, 'a["hello"]\n');

  // Its headers say that the session has taken it.
  const stream = await ask('xhr_streaming');
  program.process.kill('SIGTERM');
  assert.match(await stream.text(), /^h{2048}\n(?:o\n)?c\[1012,.*\]\n$/);
  assert.equal(await program.status(), 0, program.stderr);
});

test('listen prints messages as JSON lines, topics too', async (t) => {
  const { url } = await serve(t, '--query-user', 'operator', '--admin-token', 'T', '--topics', 'news*');
  const listener = tidings(t, ['listen', '--user', 'alice', '--url', url, '--topics', 'news-de,room']);
  await until('the connection', () => listener.stderr.includes(': connected to '), 60_000);
  await output(t, ['send', 'alice', '{"subject":"hello"}', '--json', '--url', url, '--token', 'T']);
  await output(t, ['publish', 'news-de', 'extra', '--url', url, '--token', 'T']);
  await listener.line(/"extra".*\n/);
  const [inbox, topic] = listener.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual([inbox.data, topic.channel, topic.data], [{ subject: 'hello' }, 'news-de', 'extra']);
  await until('the refusal', () =>
    listener.stderr.includes(': room: not permitted to subscribe (forbidden)\n'),
  );
  const given = `${url}/api/users/alice/topics/news-de`;
  await fetch(given, { method: 'DELETE', headers: { Authorization: 'Bearer T' } });
  await until('the end of it', () => listener.stderr.includes(': no more of news-de (unsubscribed)\n'));
  listener.process.kill('SIGTERM');
  assert.equal(await listener.status(), 0);
});

test('--limit reaches the push server and the admin API', async (t) => {
  const args = ['--query-user', 'operator', '--admin-token', 'T', '--limit', 'message=100'];
  const { url, ws } = await serve(t, ...args);
  const body = JSON.stringify('x'.repeat(100));
  const headers = { Authorization: 'Bearer T', 'Content-Type': 'application/json' };
  const answer = await fetch(`${url}/api/users/alice/messages`, { method: 'POST', headers, body });
  assert.equal(answer.status, 413);
  const { socket } = await page(t, `${ws}?operator=alice`);
  const closed = once(socket, 'close');
  socket.send(body);
  assert.equal((await closed)[0], 1009);
});

test(
  '--plain-counts: a plain page is told what is unread, also of what is sent through Redis',
  needs('redis'),
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const args = ['--query-user', 'operator', '--admin-token', 'T', '--redis', redis.url, '--plain-counts'];
    const { url, ws } = await serve(t, ...args);
    const { messages } = await page(t, `${ws}?operator=alice`);
    const counts = (unseen: number, unread: number, all: number): string =>
      JSON.stringify({ type: 'counts', unseen, unread, all });
    await until('the first counts', () => messages.length === 1);
    const life = ['--replaces', 'orders', '--ttl', '600000', '--redis', redis.url];
    await output(t, ['send', 'alice', '1 order', ...life]);
    await output(t, ['send', 'alice', '2 orders', ...life]);
    await until('both', () => messages.includes('2 orders') && messages.at(-1) === counts(1, 1, 1));
    const admin = ['--url', url, '--token', 'T'];
    assert.match(
      await output(t, ['inbox', 'alice', ...admin]),
      /unseen {2}2 orders\n1 unseen, 1 unread, 1 in all/,
    );
    assert.match(await output(t, ['withdraw', 'alice', '--key', 'orders', ...admin]), /"withdrawn":true/);
    await until('none', () => messages.at(-1) === counts(0, 0, 0));
  },
);

test('with --secret, tickets let pages in and nothing else does', async (t) => {
  const { url, ws } = await serve(t, '--secret', secret, '--admin-token', 'T');
  const stranger = new WebSocket(`${ws}?operator=alice`);
  stranger.on('error', () => {});
  const [, refusal] = (await once(stranger, 'unexpected-response')) as [unknown, { statusCode: number }];
  assert.equal(refusal.statusCode, 401);
  stranger.terminate();

  const ticket = (await output(t, ['ticket', 'alice', '--secret', secret])).trim();
  const { messages } = await page(t, `${ws}?ticket=${ticket}`);
  await output(t, ['send', 'alice', 'hello', '--url', url, '--token', 'T']);
  await until('the message', () => messages.includes('hello'));
});

test('with --auth-url, the application says whose a page is, and whether it may stay', async (t) => {
  const application = await AnApplication.start(t, byCookie);
  const { program, url, ws } = await serve(
    t,
    ...[
      '--auth-url',
      `${application.url}?key=S3CRET`,
      '--auth-headers',
      'cookie,x-tenant',
      '--auth-timeout',
      '60',
    ],
    ...['--recheck', '0', '--auth-grace', '60', '--admin-token', 'T'],
  );
  const stranger = new WebSocket(`${ws}?operator=alice`);
  stranger.on('error', () => {});
  const [, refusal] = (await once(stranger, 'unexpected-response')) as [unknown, { statusCode: number }];
  assert.equal(refusal.statusCode, 401);
  stranger.terminate();

  const headers = { Cookie: 'user=alice; key=C00KIE', 'X-Tenant': 'blue', Origin: url };
  const { socket, messages } = await page(t, `${ws}?operator=bob`, { headers });
  await output(t, ['send', 'alice', 'hello', '--url', url, '--token', 'T']);
  await until('the message', () => messages.includes('hello'));
  const asked = application.asked.at(-1)!;
  assert.equal(asked.url, '/who?key=S3CRET&operator=bob');
  assert.deepEqual([asked.headers['x-tenant'], asked.headers.origin], ['blue', undefined]);

  const ended = once(socket, 'close') as Promise<[number]>;
  const recheck = async () => {
    const request = { method: 'POST', headers: { Authorization: 'Bearer T' } };
    return (await fetch(`${url}/api/users/alice/recheck`, request)).json();
  };
  application.answering = (_request, response) => response.writeHead(500).end();
  assert.deepEqual(await recheck(), { sessions: 1, ended: 0, unanswered: 1 });
  application.answering = (_request, response) => response.writeHead(401).end();
  assert.deepEqual(await recheck(), { sessions: 1, ended: 1, unanswered: 0 });
  assert.equal((await ended)[0], 4501);
  await until('what it says of it', () =>
    /the application at http:\/\/127\.0\.0\.1:\d+\/who: it answers 500/.test(program.stderr),
  );
  assert.ok(!program.stderr.includes('S3CRET') && !program.stderr.includes('C00KIE'), program.stderr);
});

test('an --auth-url that can not be asked, and headers that are not passed on, are told at the start', async (t) => {
  const url = 'http://127.0.0.1:1/who';
  for (const [args, said] of [
    [['--auth-url', 'who'], /--auth-url: not an address/],
    [['--auth-url', 'ws://127.0.0.1/'], /--auth-url: ws:\/\/ is none of/],
    [
      ['--auth-url', url, '--auth-headers', 'X-Forwarded-For'],
      /--auth-headers: x-forwarded-for is not passed on/,
    ],
    [['--auth-url', url, '--auth-ca', 'package.json'], /--auth-ca is for an https: --auth-url/],
    [['--auth-url', url, '--recheck', '-1'], /--recheck/],
    [['--auth-headers', 'cookie'], /--auth-headers is for .*--auth-url/],
  ] as const) {
    const program = tidings(t, ['serve', '--port', '0', ...args]);
    assert.equal(await program.status(), 2);
    assert.match(program.stderr, said);
  }
});

test('pages of other origins are refused but those of --origins', async (t) => {
  const { ws } = await serve(t, '--query-user', 'operator', '--origins', 'https://app.example.com');
  await page(t, `${ws}?operator=alice`, { headers: { Origin: 'https://app.example.com' } });
  const foreign = new WebSocket(`${ws}?operator=alice`, { headers: { Origin: 'https://evil.example' } });
  foreign.on('error', () => {});
  const [, refusal] = (await once(foreign, 'unexpected-response')) as [unknown, { statusCode: number }];
  assert.equal(refusal.statusCode, 403);
  foreign.terminate();
});

test('two instances share one Redis: what is sent on one arrives on the other', needs('redis'), async (t) => {
  const redis = await startRedis();
  t.after(() => redis.stop());
  const common = ['--query-user', 'operator', '--admin-token', 'T', '--redis', redis.url];
  const [left, right] = [await serve(t, ...common), await serve(t, ...common)];
  const { messages } = await page(t, `${left.ws}?operator=alice`);

  await output(t, ['send', 'alice', 'through the other', '--url', right.url, '--token', 'T']);
  await until('a message from the other instance', () => messages.length === 1);
  const receipt = JSON.parse(await output(t, ['send', 'alice', 'through Redis', '--redis', redis.url]));
  assert.equal(receipt.offset, 2);
  await until('a message straight through Redis', () => messages.length === 2);

  const socket = connect(redis.port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  socket.write('PUBLISH tidings:user:alice rung\r\n');
  await until('a plain PUBLISH', () => messages.length === 3);
  socket.write('XADD tidings:in * channel user:alice data added\r\n');
  await until('a plain XADD', () => messages.length === 4);
  assert.deepEqual(messages, ['through the other', 'through Redis', 'rung', 'added']);
});

test(
  'while Redis is away, health is 503 and a send is 503, then all is well again',
  needs('redis'),
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const { url } = await serve(t, '--query-user', 'operator', '--admin-token', 'T', '--redis', redis.url);
    const send = async () => {
      const response = await fetch(`${url}/api/users/alice/messages`, {
        method: 'POST',
        headers: { Authorization: 'Bearer T', 'Content-Type': 'application/json' },
        body: '1',
      });
      return { status: response.status, error: ((await response.json()) as { error?: string }).error };
    };
    await redis.kill();
    await until('health to notice', async () => (await fetch(`${url}/healthz`)).status === 503, 60_000);
    assert.deepEqual(await send(), { status: 503, error: 'not_stored' });
    await redis.start();
    await until('health again', async () => (await fetch(`${url}/healthz`)).ok, 60_000);
    assert.equal((await send()).status, 201);
  },
);

test("printf '<policy-file-request/>\\0' | nc gets the configured policy, also on the HTTP port", async (t) => {
  const program = tidings(t, [
    ...['serve', '--port', '0', '--query-user', 'operator', '--policy-port', '0'],
    ...['--policy-allow', 'app.example.com:8080'],
  ]);
  const [http = ''] = await program.line(/^listening on http:\/\/127\.0\.0\.1:(\d+)\/$/m);
  const [policy = ''] = await program.line(/^listening on policy:\/\/127\.0\.0\.1:(\d+)$/m);
  for (const port of [http, policy]) {
    // Again where it has said nothing for so long that it was let go.
    const text = await until('an answer', async () => {
      const shell = spawn('sh', ['-c', `printf '<policy-file-request/>\\0' | nc 127.0.0.1 ${port}`]);
      let output = '';
      shell.stdout.setEncoding('utf8').on('data', (data) => {
        output += data;
      });
      await once(shell, 'close');
      return output;
    });
    assert.match(text, /^<\?xml.*<allow-access-from domain="app.example.com" to-ports="8080"\/>.*\0$/s);
  }
});

test('a policy port that is taken is reported, and the rest runs on', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const args = ['serve', '--port', '0', '--query-user', 'operator', '--policy-port', String(port)];
  const program = tidings(t, args);
  const [url = ''] = await program.line(/^listening on (http:\S+)\/$/m);
  await until('the report', () => program.stderr.includes(`127.0.0.1:${port}`));
  assert.ok((await fetch(`${url}/healthz`)).ok);
});

test('garbage on the HTTP port gets a 400, and the server runs on', async (t) => {
  const { url } = await serve(t, '--query-user', 'operator');
  const { port } = new URL(url);
  for (const garbage of [
    '\0\0\0\0',
    '<html>',
    'PING\r\n',
    `GET / HTTP/1.1\r\nX: ${'y'.repeat(20_000)}`,
    '\x16\x03\x01',
  ]) {
    const socket = connect(Number(port), '127.0.0.1');
    let answer = '';
    socket.setEncoding('latin1').on('data', (data) => {
      answer += data;
    });
    socket.on('error', () => {});
    socket.write(garbage);
    await new Promise((resolve) => socket.once('close', resolve));
    assert.match(answer, /^HTTP\/1\.1 4\d\d /, garbage.slice(0, 10));
  }
  assert.ok((await fetch(`${url}/healthz`)).ok);
});

test('a connection that says nothing, or stops half-way, is let go', async (t) => {
  const { url } = await serve(t, '--query-user', 'operator');
  const { port } = new URL(url);
  const answers = ['', 'GET / HT'].map(async (beginning) => {
    const socket = connect(Number(port), '127.0.0.1');
    t.after(() => socket.destroy());
    let answer = '';
    socket.setEncoding('latin1').on('data', (data) => {
      answer += data;
    });
    socket.on('error', () => {});
    socket.write(beginning);
    await new Promise((resolve) => socket.once('close', resolve));
    return answer.split('\r\n')[0];
  });
  assert.deepEqual(await Promise.all(answers), Array(2).fill('HTTP/1.1 408 Request Timeout'));
});

test('beyond loopback, the token of the demo is made up and printed', async (t) => {
  const { program } = await serve(t, '--demo', '--host', '0.0.0.0');
  const [url = '', token = ''] = await program.line(/ send alice "hello" --url (\S+) --token (\S+)$/m);
  assert.match(token, /^[\w-]{22}$/);
  const reachable = url.replace('0.0.0.0', '127.0.0.1');
  await output(t, ['send', 'alice', 'hello', '--url', reachable, '--token', token]);
});

test('the demo takes any name and the token demo, on loopback', async (t) => {
  const { url, ws } = await serve(t, '--demo');
  assert.match((await (await fetch(`${url}/`)).text()).toLowerCase(), /<!doctype html>/);
  const { messages } = await page(t, `${ws}?operator=alice`);
  await output(t, ['send', 'alice', 'hello', '--url', url, '--token', 'demo']);
  await until('the message', () => messages.length === 1);
});
