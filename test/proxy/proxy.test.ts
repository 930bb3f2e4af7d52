/** The push server behind real proxies, with the configurations that docs/deploy.md shows. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { fallbackTransport } from '../../src/client/fallback.ts';
import { Client, webSocketTransport } from '../../src/client/index.ts';
import { sockJsTransport } from '../../src/client/sockjs-transport.ts';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import { client, session } from '../sockjs/support.ts';
import { freePort, until } from '../support/net.ts';
import { nginxArguments } from '../support/nginx.ts';
import { find, needs } from '../support/programs.ts';
import { type ProxyOptions, startProxy } from './proxies.ts';

test('docs/deploy.md shows the files that are run here', () => {
  const docs = readFileSync('docs/deploy.md', 'utf8');
  for (const file of ['deploy/nginx.conf', 'deploy/haproxy.cfg']) {
    assert.ok(docs.includes(`\n${readFileSync(file, 'utf8')}\`\`\``), file);
  }
});

for (const name of ['nginx', 'haproxy'] as const) {
  describe(`behind ${name}`, needs(name), () => {
    async function start(
      t: TestContext,
      options: PushServerOptions = {},
      proxyOptions: Partial<Omit<ProxyOptions, 'targets'>> = {},
    ) {
      const http = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1');
      await once(http, 'listening');
      const push = new PushServer({
        server: http,
        sockjs: { prefix: '/sockjs/socketServer', heartbeatDelay: 400 },
        heartbeat: { ping: 400 },
        interceptors: [queryUser('user')],
        proxies: ['127.0.0.1'],
        log: () => {},
        ...options,
      });
      await push.ready;
      const { port } = http.address() as AddressInfo;
      const proxy = await startProxy(name, { targets: [port], ...proxyOptions });
      t.after(async () => {
        await push.close();
        await proxy.stop();
        http.close();
        http.closeAllConnections();
      });
      // HAProxy sends nobody there before its first check.
      await until('the way through', async () => {
        const answer = await client(proxy.port)
          .get('/')
          .catch(() => undefined);
        return answer?.status === 200;
      });
      return { push, proxy };
    }

    test('what is for operators is not passed on', async (t) => {
      const { proxy } = await start(t);
      const status = async (path: string) => (await client(proxy.port).get(path)).status;
      for (const path of ['/api/stats', '/api/', '/admin', '/admin/page.js', '/metrics', '/openapi.json']) {
        assert.equal(await status(path), 404, path);
      }
      // Others decide by what such a path means; tidings itself takes it as it is, and has nothing there.
      const tricks = ['//api/stats', '/x/../api/stats', '/%61pi/stats', '/./metrics'];
      if (name === 'nginx') for (const path of tricks) assert.equal(await status(path), 404, path);
      for (const path of ['/', '/readyz', '/apis', '/administrators'])
        assert.equal(await status(path), 200, path);
    });

    /**
     * Where this process is held up for longer than the proxy's limit, nothing can keep a connection: then another
     * one must last.
     */
    const oneLasts = (attempt: () => Promise<boolean>): Promise<unknown> =>
      until('a connection that lasts', () => attempt().catch(() => false), 90_000);

    test('wss: pings keep an idle connection far beyond the proxy’s limit', async (t) => {
      const { push, proxy } = await start(t, {}, { idle: 1 });
      const url = `wss://localhost:${proxy.tlsPort}/socketServer?user=alice`;
      await oneLasts(async () => {
        const socket = new WebSocket(url, { ca: proxy.certificates.ca });
        t.after(() => socket.terminate());
        let pings = 0;
        let isClosed = false;
        const messages: string[] = [];
        socket.on('error', () => {});
        socket.on('ping', () => void pings++);
        socket.on('message', (data) => messages.push(String(data)));
        socket.on('close', () => {
          isClosed = true;
        });
        // Each at least 400 ms after the one before: five times the limit.
        await until('15 pings', () => pings >= 15 || isClosed);
        await push.send('alice', 'still here');
        await until('the message', () => messages.length === 1 || isClosed);
        return messages.length === 1;
      });
    });

    test('without pings the proxy cuts an idle connection: the limit is in force', async (t) => {
      const { proxy } = await start(t, { heartbeat: { ping: 0 } }, { idle: 1 });
      const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/socketServer?user=alice`);
      t.after(() => socket.terminate());
      await once(socket, 'open');
      const [code] = await once(socket, 'close');
      assert.equal(code, 1006);
    });

    test('SockJS: heartbeats keep an idle stream, and frames are not held back', async (t) => {
      const { push, proxy } = await start(t, {}, { idle: 1 });
      await oneLasts(async () => {
        const path = session('/sockjs/socketServer');
        const stream = await client(proxy.port).openPost(`${path}/xhr_streaming?user=alice`);
        let text = '';
        const read = async (wanted: RegExp): Promise<boolean> => {
          while (!wanted.test(text)) {
            const chunk = await stream.chunk();
            if (chunk === '') return false;
            text += chunk;
          }
          return true;
        };
        if (!(await read(/\no\n(h\n){8}/))) return false;
        await push.send('alice', 'still here');
        return read(/a\["still here"\]\n/);
      });
    });

    test('SockJS polling: a poll that waits is answered by heartbeats within the limit', async (t) => {
      const { proxy } = await start(t, {}, { idle: 1 });
      const http = client(proxy.port);
      await oneLasts(async () => {
        const path = session('/sockjs/socketServer');
        const poll = async (url: string): Promise<string> => (await http.post(url)).body;
        if ((await poll(`${path}/xhr?user=alice`)) !== 'o\n') return false;
        for (let i = 0; i < 3; i++) if ((await poll(`${path}/xhr`)) !== 'h\n') return false;
        return true;
      });
    });

    test('where it blocks upgrades the client falls back, and mail arrives', async (t) => {
      const { push, proxy } = await start(t, {}, { blocksUpgrades: true });
      const entries = new Map<string, string>();
      const page = new Client({
        url: `http://127.0.0.1:${proxy.port}/socketServer`,
        user: 'alice',
        userParameter: 'user',
        transport: fallbackTransport({
          webSocket: webSocketTransport(WebSocket as never),
          storage: {
            getItem: (key) => entries.get(key) ?? null,
            setItem: (key, value) => void entries.set(key, value),
          },
          patience: 10_000,
          retry: 600_000,
        }),
        connectTimeout: 60_000,
      });
      t.after(() => page.close());
      const received: unknown[] = [];
      page.on('message', ({ data }) => void received.push(data));
      await until('a connection', () => page.state.name === 'connected', 60_000);
      assert.equal(JSON.parse(entries.get('tidings:transport')!).way, 1);
      for (let i = 0; i < 10; i++) await push.send('alice', i);
      await until('the mail', () => received.length === 10, 60_000);
      assert.deepEqual(received, [...Array(10).keys()]);
    });

    for (const [proxies, address] of [
      [['127.0.0.1'], '127.0.0.2'],
      [[], '127.0.0.1'],
    ] as const) {
      test(`X-Forwarded-For with ${proxies.length} trusted proxies: the address is ${address}`, async (t) => {
        const addresses: string[] = [];
        const { proxy } = await start(t, {
          proxies: [...proxies],
          handler: { opened: (opened) => void addresses.push(opened.address) },
        });
        // What the client itself claims is never believed.
        const headers = { 'X-Forwarded-For': '192.0.2.66' };
        const url = `ws://127.0.0.1:${proxy.port}/socketServer?user=alice`;
        const socket = new WebSocket(url, { headers, localAddress: '127.0.0.2' });
        t.after(() => socket.terminate());
        await once(socket, 'open');
        await until('the session', () => addresses.length > 0);
        assert.deepEqual(addresses, [address]);
      });
    }
  });
}

for (const readme of ['README.md', 'README.zh-CN.md']) {
  test(`what ${readme} shows of nginx carries WebSocket and SockJS`, needs('nginx'), async (t) => {
    const snippet = /```nginx\n([^`]*)```/.exec(readFileSync(readme, 'utf8'))![1]!;
    const push = new PushServer({
      port: 0,
      host: '127.0.0.1',
      sockjs: { prefix: '/sockjs/socketServer' },
      interceptors: [queryUser('user')],
      proxies: ['127.0.0.1'],
      log: () => {},
    });
    await push.ready;
    const { port: target } = push.address() as AddressInfo;
    const folder = mkdtempSync(join(tmpdir(), 'tidings-readme-'));
    const port = await freePort();
    assert.ok(snippet.includes('http://127.0.0.1:8080;'));
    const location = snippet.replaceAll('127.0.0.1:8080', `127.0.0.1:${target}`);
    const nginx = spawn(
      find('nginx')!,
      nginxArguments(folder, `server { listen 127.0.0.1:${port}; ${location} }`),
      { stdio: 'ignore' },
    );
    t.after(async () => {
      nginx.kill('SIGKILL');
      await once(nginx, 'exit');
      await push.close();
      rmSync(folder, { recursive: true });
    });
    const open = async (): Promise<boolean> => {
      const answer = await fetch(`http://127.0.0.1:${port}/sockjs/socketServer/info`).catch(() => undefined);
      return answer?.status === 200;
    };
    await until('the way through', open);
    const received: string[] = [];
    for (const transport of [
      webSocketTransport(WebSocket as never),
      sockJsTransport(undefined, 'xhr_streaming'),
      sockJsTransport(undefined, 'xhr'),
    ]) {
      const url = `http://127.0.0.1:${port}/socketServer`;
      const page = new Client({ url, user: 'alice', userParameter: 'user', transport });
      t.after(() => page.close());
      page.on('message', ({ data }) => void received.push(String(data)));
      await until('a connection', () => page.state.name === 'connected', 60_000);
    }
    await push.send('alice', 'hello');
    await until('the mail', () => received.length === 3);
    assert.equal((await fetch(`http://127.0.0.1:${port}/api/stats`)).status, 404);
  });
}
