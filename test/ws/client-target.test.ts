/** A client's address says where its request goes, and nothing else does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { parse as parseUrl } from 'node:url';
import { WebSocket } from '../../src/ws.ts';
import { cleanUp } from '../server/support.ts';
import { certificates, line, type Place, place, request, socketFolder } from './client-support.ts';

// ── the address, and nothing else ─────────────────────────────────────────────────────────────────

/** What has been an option of some function of Node that says where to, and a server that must not be asked. */
function elsewhere({ port }: Place, socketPath: string): Record<string, object> {
  const there = `ws://user:secret@localhost:${port}/there?x=1`;
  const parsed = parseUrl(there);
  return {
    host: { host: 'localhost' },
    hostname: { hostname: 'localhost' },
    'host and port': { host: 'localhost', port },
    'hostname and port': { hostname: 'localhost', port },
    port: { port },
    'port as a string': { port: String(port) },
    path: { path: '/there' },
    pathname: { pathname: '/there', search: '?x=1', query: 'x=1' },
    href: { href: there },
    protocol: { protocol: 'https:' },
    'a subprotocol as protocol': { protocol: 'chat' },
    method: { method: 'POST' },
    socketPath: { socketPath },
    'a legacy URL': { ...parsed, auth: null },
    'the properties of a URL': {
      ...Object.fromEntries(
        ['protocol', 'host', 'hostname', 'port', 'pathname', 'search', 'href', 'origin'].map((name) => [
          name,
          new URL(there)[name as 'host'],
        ]),
      ),
      origin: undefined,
    },
    defaultPort: { defaultPort: port },
    _defaultAgent: { _defaultAgent: new Agent({ ...({ port, host: 'localhost' } as object) }) },
    setHost: { setHost: false },
    timeout: { timeout: 1 },
    fd: { fd: 0 },
    handle: { handle: {} },
    onread: { onread: { buffer: Buffer.alloc(10), callback: () => true } },
    'objectMode and allowHalfOpen': { objectMode: true, readableObjectMode: true, allowHalfOpen: true },
    'writable and readable': { readable: false, writable: false },
  };
}

test('the address alone says where a request goes, whatever options say, with and without an agent', async () => {
  const folder = socketFolder();
  const other = await place();
  const otherUnix = await place(undefined, { socketPath: join(folder, 'other') });
  const here = await place();
  const agent = new Agent({ keepAlive: true });
  cleanUp(() => agent.destroy());
  for (const [what, options] of Object.entries(elsewhere(other, join(folder, 'other')))) {
    for (const more of [{}, { agent }, { agent: false }]) {
      const { request: message } = await request(here, `${here.url}/here?y=2`, {
        headers: { Authorization: 'Bearer secret' },
        ...options,
        ...more,
      });
      assert.equal(message.method, 'GET', what);
      assert.equal(message.url, '/here?y=2', what);
      assert.deepEqual(line(message, 'host'), [`127.0.0.1:${here.port}`], what);
      assert.deepEqual(line(message, 'authorization'), ['Bearer secret'], what);
    }
  }
  assert.equal(other.requests.length + otherUnix.requests.length, 0, 'nothing was sent elsewhere');
});

test('the address of a unix socket alone says where a request goes, and what its Host is', async () => {
  const folder = socketFolder();
  const other = await place();
  const here = await place(undefined, { socketPath: join(folder, 'here') });
  for (const [what, options] of Object.entries(elsewhere(other, join(folder, 'other')))) {
    const { request: message } = await request(here, `${here.url}/here?y=2`, options);
    assert.equal(message.url, '/here?y=2', what);
    assert.deepEqual(line(message, 'host'), ['localhost'], what);
  }
  assert.equal(other.requests.length, 0);
});

test("the address of a TLS server alone says where a request goes; Node's options of TLS are obeyed", async () => {
  const other = await place(undefined, { isSecure: true });
  const here = await place(undefined, { isSecure: true });
  for (const [what, options] of Object.entries(elsewhere(other, '/nowhere'))) {
    const { request: message } = await request(here, `${here.url}/here?y=2`, {
      ca: certificates.ca,
      ...options,
    });
    assert.equal(message.url, '/here?y=2', what);
    assert.deepEqual(line(message, 'host'), [`127.0.0.1:${here.port}`], what);
  }
  assert.equal(other.requests.length, 0);
  const { request: named } = await request(here, here.url, { ca: certificates.ca, servername: 'localhost' });
  assert.equal((named.socket as TLSSocket & { servername: string }).servername, 'localhost');
  const checked: string[] = [];
  await request(here, here.url, {
    ca: certificates.ca,
    checkServerIdentity: (name: string) => void checked.push(name),
  });
  assert.deepEqual(checked, ['127.0.0.1']);
  const refused = new WebSocket(here.url);
  const [error] = await once(refused, 'error');
  assert.match(error.message, /certificate/);
});

test('port 0 of an address is not the default port', async () => {
  const client = new WebSocket('ws://127.0.0.1:0/');
  const [error] = await once(client, 'error');
  assert.equal((error as { port?: number }).port ?? 0, 0);
  assert.notEqual((error as { port?: number }).port, 80);
});

test('a default port is not in the Host line, another is, and IPv6 keeps its brackets', async () => {
  for (const [address, host] of [
    ['ws://localhost:80', 'localhost'],
    ['ws://localhost:443', 'localhost:443'],
    ['wss://localhost:443', 'localhost'],
    ['wss://localhost:80', 'localhost:80'],
    ['ws://[::1]', '[::1]'],
    ['ws://[::1]:8080', '[::1]:8080'],
    ['https://localhost', 'localhost'],
  ]) {
    let found: unknown;
    const client = new WebSocket(address!, {
      defaultPort: 8080,
      lookup() {},
      createConnection: undefined,
      finishRequest: (request: { getHeader(name: string): unknown }, websocket: WebSocket) => {
        found = request.getHeader('host');
        websocket.terminate();
      },
    } as object);
    client.on('error', () => {});
    assert.equal(found, host);
    await new Promise((resolve) => client.on('close', resolve));
  }
});

test('lookup, family, localAddress, agent and createConnection are obeyed: they are how to get there', async () => {
  const here = await place();
  const looked: string[] = [];
  await request(here, `ws://tidings.invalid:${here.port}`, {
    lookup: (
      name: string,
      _options: object,
      done: (error: null, all: { address: string; family: number }[]) => void,
    ) => {
      looked.push(name);
      done(null, [{ address: '127.0.0.1', family: 4 }]);
    },
  });
  assert.deepEqual(looked, ['tidings.invalid']);
  const { request: local } = await request(here, here.url, { localAddress: '127.0.0.2' });
  assert.equal(local.socket.remoteAddress, '127.0.0.2');

  let given: { host?: string; port?: string | number; path?: string } = {};
  const { request: own } = await request(here, `ws://tidings.invalid:${here.port}/p`, {
    createConnection: (options: typeof given) => {
      given = options;
      return connect(here.port, '127.0.0.1');
    },
  });
  assert.equal(given.host, 'tidings.invalid');
  assert.equal(Number(given.port), here.port);
  assert.equal(own.url, '/p');

  class Tunnel extends Agent {
    asked: object[] = [];
    override createConnection(options: object): Socket {
      this.asked.push(options);
      return connect(here.port, '127.0.0.1');
    }
  }
  const agent = new Tunnel();
  await request(here, 'ws://tidings.invalid/', { agent });
  assert.equal(agent.asked.length, 1);
});

// ── unix sockets ──────────────────────────────────────────────────────────────────────────────────

test('a path of a unix socket is percent-decoded, the path of its request is not', async () => {
  const folder = socketFolder();
  for (const name of ['a b', 'ü', 'a:b', '100%', 'a?b', 'a#b', 'a%20b']) {
    const here = await place(undefined, { socketPath: join(folder, name) });
    const { request: message } = await request(
      here,
      `ws+unix:${folder}/${encodeURIComponent(name)}:/a%20b?c%3Ad:e`,
    );
    assert.equal(message.url, '/a%20b?c%3Ad:e', name);
  }
  for (const name of ['c d', '100%done', '50% ü']) {
    const here = await place(undefined, { socketPath: join(folder, name) });
    for (const start of ['ws+unix:', 'ws+unix://']) {
      const { request: message } = await request(here, `${start}${folder}/${name}:/`);
      assert.equal(message.url, '/', 'not encoded at all');
    }
  }
  assert.throws(() => new WebSocket(`ws+unix:${folder}/a%20b%00c:/`), { name: 'SyntaxError' });
});
