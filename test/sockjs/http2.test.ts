/** SockJS on a server of HTTP/2: its WebSockets are streams (RFC 8441), its requests what they are. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http2, { type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { SockJsServer } from '../../src/sockjs/index.ts';
import { WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { typescript } from '../support/programs.ts';
import { echo } from './support.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

async function start(): Promise<{ own: ClientHttp2Session; url: string; origin: string }> {
  const server = http2.createServer();
  const sockjs = new SockJsServer({
    server,
    prefix: '/echo',
    handler: echo,
    hixie76: true,
    origins: ['http://friend.example'],
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const own = http2.connect(`http://127.0.0.1:${port}`);
  own.on('error', () => {});
  await once(own, 'remoteSettings');
  cleanups.push(() => {
    sockjs.close();
    own.destroy();
    server.close();
  });
  return { own, url: `ws://127.0.0.1:${port}/echo`, origin: `http://127.0.0.1:${port}` };
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

async function ask(own: ClientHttp2Session, headers: Record<string, string>, body?: string): Promise<Answer> {
  const stream = own.request(headers);
  if (body !== undefined) stream.end(body);
  const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  let text = '';
  for await (const chunk of stream) text += chunk;
  return { status: Number(answer[':status']), headers: answer, body: text };
}

for (const [path, sent, expected] of [
  ['/000/abc/websocket', '["one","\\u00e9"]', ['o', 'a["one"]', 'a["é"]']],
  ['/websocket', 'one', ['one']],
] as const) {
  test(`${path}: frames go both ways, and the end is told`, async () => {
    const { own, url, origin } = await start();
    const websocket = new WebSocket(url + path, { http2: own, origin });
    const frames: string[] = [];
    websocket.on('message', (data) => frames.push(String(data)));
    await once(websocket, 'open');
    assert.equal(websocket.fallbackReason, undefined);
    websocket.send(sent);
    await until('the echo', () => frames.length === expected.length);
    assert.deepEqual(frames, expected);
    const closed = once(websocket, 'close');
    websocket.close(1000);
    assert.equal((await closed)[0], 1000);
  });

  test(`${path}: only pages of this origin, and those that are allowed`, async () => {
    const { own, url } = await start();
    for (const [origin, ends] of [
      ['http://friend.example', 'open'],
      ['http://foreign.example', 'Unexpected server response: 403'],
    ] as const) {
      const websocket = new WebSocket(url + path, { http2: own, origin });
      const end = await new Promise((resolve) => {
        websocket.on('open', () => resolve('open'));
        websocket.on('error', ({ message }) => resolve(message));
      });
      // `/websocket` by itself has only the interceptors' checks where somebody else owns it; here it has this one.
      assert.equal(end, ends);
      websocket.terminate();
    }
  });
}

test('a handshake of 2010 and a WebSocket where none is are refused as any other', async () => {
  const { own } = await start();
  const connect = { ':method': 'CONNECT', ':protocol': 'websocket', 'sec-websocket-version': '13' };
  const asked = async (headers: Record<string, string>): Promise<number> => {
    const stream = own.request({ ...connect, ...headers }, { endStream: false });
    stream.on('error', () => {});
    const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    stream.close();
    return Number(answer[':status']);
  };
  for (const path of ['/echo/000/abc/xhr', '/echo/nothing', '/echo'])
    assert.equal(await asked({ ':path': path }), 404);
  const keys = { 'sec-websocket-key1': '4 @1  46546xW%0l 1 5', 'sec-websocket-key2': '12998 5 Y3 1  .P00' };
  assert.equal(
    await asked({ ':path': '/echo/000/abc/websocket', ...keys, 'sec-websocket-version': '' }),
    400,
  );
});

test('polling, streaming and its limits, and what is sent, by requests of HTTP/2', async () => {
  const { own } = await start();
  const at = (transport: string) => ({ ':method': 'POST', ':path': `/echo/000/abc/${transport}` });
  assert.equal((await ask(own, { ':path': '/echo/info' })).status, 200);
  assert.equal((await ask(own, at('xhr'), '')).body, 'o\n');
  assert.equal((await ask(own, at('xhr_send'), '["hello"]')).status, 204);
  assert.equal((await ask(own, at('xhr'), '')).body, 'a["hello"]\n');
  assert.equal((await ask(own, at('xhr_send'), 'broken')).status, 500);
  const stream = own.request(at('xhr_streaming'));
  stream.end();
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  await until('the prelude', () => text.length > 2048);
  assert.equal((await ask(own, at('xhr_send'), JSON.stringify(['x'.repeat(100_000)]))).status, 204);
  await until('the long one', () => text.endsWith(`a["${'x'.repeat(100_000)}"]\n`));
  // Gone without a word: who comes again gets what is there.
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await until('a free place', async () => {
    const { body } = await ask(own, at('xhr_send'), '["again"]').then(() => ask(own, at('xhr'), ''));
    return /again/.test(body) || /^c/.test(body);
  });
});

/** Runs a program. @returns the status that it ends with, null where it does not within 20 s, or otherwise than by itself */
async function statusOf(program: string): Promise<number | null> {
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', program], {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  const [status] = await once(child, 'exit');
  return status;
}

test('a body that does not come to its end is not waited for: its stream, or connection, is cut', async () => {
  // In a process of its own, whose time is short: it would be half a minute.
  const program = `
    import { once } from 'node:events';
    import http from 'node:http';
    import http2 from 'node:http2';
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (call, ms, ...rest) => setTimeout(call, ms / 100, ...rest);
    const { SockJsServer } = await import(${JSON.stringify(new URL('../../src/sockjs/index.ts', import.meta.url).href)});
    globalThis.setTimeout = setTimeout;
    for (const module of [http2, http]) {
      const server = module.createServer();
      const opened = new Promise((resolve) => {
        new SockJsServer({ server, prefix: '/echo', handler: { opened: resolve } });
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const origin = 'http://127.0.0.1:' + server.address().port;
      const own = module === http2 ? http2.connect(origin) : undefined;
      const ask = (path) => {
        const request = own
          ? own.request({ ':method': 'POST', ':path': path })
          : http.request(origin + path, { method: 'POST' });
        return request.on('error', () => {}).on('response', (response) => response.resume?.());
      };
      ask('/echo/000/one/xhr_streaming').end();
      await opened;
      for (const sender of ['xhr_send', 'jsonp_send']) {
        const late = ask('/echo/000/one/' + sender);
        late.write('["');
        await new Promise((resolve) => late.on('close', resolve));
      }
    }
    process.exit(0);`;
  assert.equal(await statusOf(program), 0);
});

// In a process of its own, as it would stand still, or end: Node may do either where that is done within the event.
for (const [when, what, action] of [
  ['at the end of one', 'cuts others', 'others.forEach((other) => other.terminate())'],
  ['at the end of one', 'ends the session', 'sessions.forEach((session) => session.destroy())'],
  ['while one leaves its handshake', 'cuts others', 'others.forEach((other) => other.terminate())'],
  ['while one leaves its handshake', 'refuses others', 'asked.forEach((refuse) => refuse())'],
  ['in a message of one', 'cuts others', 'others.forEach((other) => other.terminate())'],
] as const) {
  test(`an application that ${what} ${when} stands on`, async () => {
    const program = `
      import { once } from 'node:events';
      import http2 from 'node:http2';
      import { SockJsServer } from ${JSON.stringify(new URL('../../src/sockjs/index.ts', import.meta.url).href)};
      const server = http2.createServer();
      const [sessions, others, asked] = [[], [], []];
      server.on('session', (session) => sessions.push(session));
      let isDone = false;
      const act = () => {
        if (isDone) return;
        isDone = true;
        ${action};
      };
      const handler = {
        opened: (session, { url }) => url.includes('/one/') || others.push(session),
        message: act,
        closed: (session) => others.includes(session) || act(),
      };
      const before = ({ url }) => {
        if (url.includes('/leaves/')) return new Promise(() => {});
        if (url.includes('/asked/')) {
          return new Promise((resolve) => asked.push(() => resolve(new Response('no', { status: 403 }))));
        }
      };
      const after = ({ url }) => url.includes('/leaves/') && act();
      new SockJsServer({ server, prefix: '/echo', handler, interceptors: [{ before, after }] });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const own = http2.connect('http://127.0.0.1:' + server.address().port);
      own.on('error', () => {});
      const ask = (path, body) => {
        const stream = own.request({ ':method': 'POST', ':path': '/echo/000/' + path });
        stream.on('error', () => {}).end(body);
        return stream.resume();
      };
      const streams = ['others', 'asked', 'leaves', 'one'].map((id) => ask(id + '/xhr_streaming'));
      await Promise.all([streams[0], streams[3]].map((stream) => once(stream, 'response')));
      await new Promise((resolve) => own.ping(resolve));
      const ended = once(streams[${action.startsWith('asked') ? 1 : 0}], 'close');
      ${
        when === 'in a message of one'
          ? `ask('one/xhr_send', '["x"]')`
          : `streams[${when === 'at the end of one' ? 3 : 2}].close(http2.constants.NGHTTP2_CANCEL)`
      };
      await ended;
      process.exit(isDone ? 0 : 1);`;
    assert.equal(await statusOf(program), 0);
  });
}
