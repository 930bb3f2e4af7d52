/** WebSockets of HTTP/2 through real proxies, and by the client of others: what each of them makes of RFC 8441. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http2, { type Http2Server } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client, webSocketTransport } from '../../src/client/index.ts';
import { PushServer, queryUser } from '../../src/index.ts';
import { WebSocket } from '../../src/ws.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { freePort, until } from '../support/net.ts';
import { nginxArguments } from '../support/nginx.ts';
import { find, needs, type ProgramName } from '../support/programs.ts';

const SOCKETS = 12;

/** A server of `kind` behind the proxy, and what is said of it there. */
const BACKENDS = {
  'HTTP/1.1': { line: '', version: '1.1' },
  'HTTP/2 without TLS (proto h2)': { line: 'proto h2', version: '2.0' },
  'HTTP/2 with TLS (ssl alpn h2)': { line: 'ssl verify none alpn h2', version: '2.0' },
} as const;

interface Backend {
  push: PushServer;
  port: number;
  /** The HTTP version of each request for a WebSocket. */
  versions: string[];
  /** TCP connections that came. */
  connections(): number;
  stop(): Promise<void>;
}

async function startBackend(name: keyof typeof BACKENDS, certificates: Certificates): Promise<Backend> {
  const versions: string[] = [];
  const options = {
    interceptors: [
      { before: ({ httpVersion }: { httpVersion?: string }) => void versions.push(String(httpVersion)) },
      queryUser('user'),
    ],
    proxies: ['127.0.0.1'],
    log: () => {},
  };
  const seen = new Set<unknown>();
  const note = ({ remotePort }: { remotePort?: number | undefined }): void => void seen.add(remotePort);
  const counting = {
    before: (request: { socket?: { remotePort?: number } }) => note(request.socket ?? {}),
  };
  const interceptors = [counting, ...options.interceptors] as never;
  let server: Http2Server | undefined;
  let push: PushServer;
  if (name === 'HTTP/2 without TLS (proto h2)') {
    server = http2.createServer();
    server.on('request', (_, response) => response.end('ok'));
    push = new PushServer({ ...options, interceptors, server });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  } else {
    const tls = { cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) };
    push = new PushServer({
      ...options,
      interceptors,
      port: 0,
      host: '127.0.0.1',
      sockjs: { prefix: '/sockjs' },
      ...(name === 'HTTP/2 with TLS (ssl alpn h2)' && { tls }),
    });
  }
  await push.ready;
  const { port } = push.address() as AddressInfo;
  return {
    push,
    port,
    versions,
    connections: () => seen.size,
    async stop() {
      await push.close();
      server?.close();
    },
  };
}

/** Resolves when it listens. */
async function run(name: ProgramName, args: string[], port: number): Promise<ChildProcess> {
  const child = spawn(find(name)!, args, { stdio: 'ignore' });
  await until(`${name} to listen`, async () => {
    if (child.exitCode !== null) throw new Error(`${name} ended`);
    const socket = connect(port, '127.0.0.1');
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      new Promise((resolve) => socket.once('error', () => resolve(false))),
    ]).catch(() => false);
    socket.destroy();
    return isOpen;
  });
  return child;
}

describe('WebSockets of HTTP/2', needs('openssl'), () => {
  let certificates: Certificates;
  let folder: string;
  before(() => {
    certificates = makeCertificates();
    folder = mkdtempSync(join(tmpdir(), 'tidings-http2-'));
  });
  after(() => {
    certificates?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  const page = (port: number, user: string | undefined, options: object = { http2: true }): WebSocket =>
    new WebSocket(`wss://localhost:${port}/socketServer${user === undefined ? '' : `?user=${user}`}`, {
      ca: certificates.ca,
      ...options,
    });

  for (const [name, { line, version }] of Object.entries(BACKENDS)) {
    test(`HAProxy takes them, and passes them on by ${name}`, needs('haproxy'), async (t) => {
      const backend = await startBackend(name as keyof typeof BACKENDS, certificates);
      t.after(() => backend.stop());
      const port = await freePort();
      const both = join(folder, 'both.pem');
      writeFileSync(
        both,
        readFileSync(certificates.certFile, 'utf8') + readFileSync(certificates.keyFile, 'utf8'),
      );
      const file = join(folder, `${version}${line.length}.cfg`);
      writeFileSync(
        file,
        `defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend push
  bind 127.0.0.1:${port} ssl crt ${both} alpn h2,http/1.1
  option forwardfor
  default_backend tidings
backend tidings
  server one 127.0.0.1:${backend.port} ${line}
`,
      );
      const haproxy = await run('haproxy', ['-f', file, '-db'], port);
      t.after(() => haproxy.kill('SIGKILL'));
      const session = http2.connect(`https://localhost:${port}`, { ca: certificates.ca });
      t.after(() => session.destroy());
      session.on('error', () => {});
      const pages: WebSocket[] = [];
      const mail: string[][] = [];
      for (let i = 0; i < SOCKETS; i++) {
        const each = page(port, 'alice', { http2: session });
        const seen: string[] = [];
        each.on('message', (data) => seen.push(String(data)));
        await once(each, 'open');
        assert.equal(each.fallbackReason, undefined);
        pages.push(each);
        mail.push(seen);
      }
      assert.deepEqual(new Set(backend.versions), new Set([version]));
      // Where it knows before it connects that it may, HAProxy has one connection for those of one client.
      assert.equal(backend.connections(), line === 'proto h2' ? 1 : SOCKETS);
      const long = 'x'.repeat(300_000);
      await backend.push.send('alice', long);
      await until('the mail', () => mail.every((seen) => seen[0] === long));
      // A refusal is a status, a page that leaves is told, and one that is cut as well.
      const refused = page(port, undefined, { http2: session });
      const [error] = await once(refused, 'error');
      assert.match((error as Error).message, /401/);
      const half = pages.splice(0, SOCKETS / 2);
      for (const each of half) each.close(1000);
      await Promise.all(half.map((each) => once(each, 'close')));
      for (const each of pages.splice(0, 3)) each.terminate();
      await until('those who are left', () => [...backend.push.localSessions()].length === 3);
      const codes = Promise.all(pages.map(async (each) => (await once(each, 'close'))[0]));
      await backend.push.close();
      assert.deepEqual(await codes, [1012, 1012, 1012]);
    });
  }

  test(
    'nginx takes HTTP/2, but no WebSockets on it: they come by HTTP/1.1, and why is said',
    needs('nginx'),
    async (t) => {
      const backend = await startBackend('HTTP/1.1', certificates);
      t.after(() => backend.stop());
      const port = await freePort();
      const own = mkdtempSync(join(tmpdir(), 'tidings-http2-nginx-'));
      t.after(() => rmSync(own, { recursive: true, force: true }));
      const site = `server {
      listen 127.0.0.1:${port} ssl http2;
      ssl_certificate ${certificates.certFile}; ssl_certificate_key ${certificates.keyFile};
      location / {
        proxy_pass http://127.0.0.1:${backend.port};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection upgrade;
      }
    }`;
      const nginx = await run('nginx', nginxArguments(own, site), port);
      t.after(() => nginx.kill('SIGKILL'));
      const session = http2.connect(`https://localhost:${port}`, { ca: certificates.ca });
      t.after(() => session.destroy());
      await once(session, 'remoteSettings');
      const stream = session.request({ ':path': '/nothing' });
      const [headers] = await once(stream, 'response');
      assert.equal(headers[':status'], 404);
      const websocket = page(port, 'alice');
      await once(websocket, 'open');
      assert.match(websocket.fallbackReason!, /ENABLE_CONNECT_PROTOCOL/);
      assert.deepEqual(backend.versions, ['1.1']);
      const mail = once(websocket, 'message');
      await backend.push.send('alice', 'hello');
      assert.equal(String((await mail)[0]), 'hello');
      websocket.terminate();
    },
  );

  for (const version of [7, 8]) {
    const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
    const isCarried = version === 7 || major > 22 || (major === 22 && minor >= 19);
    const settings = isCarried ? {} : { skip: 'this Node does not carry it' };
    test(`the WebSocket of undici ${version} comes by HTTP/2`, settings, async (t) => {
      const name = version === 7 ? 'undici' : 'undici-8';
      const undici = (await import(name)) as typeof import('undici');
      const backend = await startBackend('HTTP/2 with TLS (ssl alpn h2)', certificates);
      t.after(() => backend.stop());
      const dispatcher = new undici.Agent({ allowH2: true, connect: { ca: certificates.ca } });
      t.after(() => dispatcher.destroy());
      const open = async (): Promise<InstanceType<typeof undici.WebSocket>> => {
        const websocket = new undici.WebSocket(`wss://localhost:${backend.port}/socketServer?user=alice`, {
          dispatcher,
        });
        await new Promise((resolve, reject) => {
          websocket.addEventListener('open', resolve);
          websocket.addEventListener('error', ({ error }) => reject(error ?? new Error('it failed')));
        });
        return websocket;
      };
      const all = [await open(), await open(), await open(), await open()];
      assert.deepEqual(new Set(backend.versions), new Set(['2.0']));
      assert.equal(backend.connections(), version === 7 ? all.length : 1);
      const mail = all.map(
        (each) => new Promise((resolve) => each.addEventListener('message', ({ data }) => resolve(data))),
      );
      const long = 'y'.repeat(200_000);
      await backend.push.send('alice', long);
      for (const data of await Promise.all(mail)) assert.equal(data, long);
      const codes = all.map(
        (each) => new Promise((resolve) => each.addEventListener('close', ({ code }) => resolve(code))),
      );
      await backend.push.close();
      // That of undici 7 hears no code on a stream.
      for (const code of await Promise.all(codes)) assert.equal(code, version === 7 ? 1006 : 1012);
    });
  }

  test('the page’s client on Node by HTTP/2: a session that is cut is replaced, and nothing is lost', async (t) => {
    const backend = await startBackend('HTTP/2 with TLS (ssl alpn h2)', certificates);
    t.after(() => backend.stop());
    const { ca } = certificates;
    const own = class extends WebSocket {
      constructor(url: string, protocols?: string[]) {
        super(url, protocols, { http2: true, ca });
      }
    };
    const received: unknown[][] = [];
    const pages = Array.from({ length: 5 }, (_, i) => {
      const client = new Client({
        url: `https://localhost:${backend.port}/socketServer`,
        user: 'alice',
        userParameter: 'user',
        transport: webSocketTransport(own as never),
        reconnect: { minDelay: 10, maxDelay: 50 } as never,
      });
      received.push([]);
      client.on('message', ({ data }) => void received[i]!.push(data));
      t.after(() => client.close());
      return client;
    });
    await until('all', () => pages.every(({ state }) => state.name === 'connected'));
    assert.deepEqual(new Set(backend.versions), new Set(['2.0']));
    assert.equal(backend.connections(), 1);
    for (let i = 0; i < 5; i++) {
      await backend.push.send('alice', i);
      for (const each of backend.push.localSessions()) if (i === 2) each.close(4408, 'again');
    }
    await until('all of it', () => received.every(({ length }) => length === 5));
    for (const each of received) assert.deepEqual(each, [0, 1, 2, 3, 4]);
  });
});
