/** Commands that go on streams of HTTP/2 (RFC 8441): `tidings listen --http2` and `tidings check --http2`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { PushServer, queryUser } from '../../src/index.ts';
import { WebSocket, WebSocketServer } from '../../src/ws.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { type Program, tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';

/** A case of each kind: frames, pings, codes, compression, and messages longer than any window. */
const CASES = ['--cases', '1.1.6,2.2,3.2,5.3,7.1.1,7.3.2,9.2.1,10.1.1,12.1.3', '--messages', '20'];

describe('on streams of HTTP/2', needs('openssl'), () => {
  let certificates: Certificates;
  let tls: { cert: Buffer; key: Buffer };
  let trusting: { environment: Record<string, string> };
  before(() => {
    certificates = makeCertificates();
    tls = { cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) };
    trusting = { environment: { NODE_EXTRA_CA_CERTS: certificates.caFile } };
  });
  after(() => certificates.remove());

  async function serve(t: TestContext, options: { http2?: boolean } = {}) {
    const versions: unknown[] = [];
    const push = new PushServer({
      port: 0,
      host: '127.0.0.1',
      tls,
      ...options,
      interceptors: [
        { before: (request) => void versions.push((request as { httpVersion?: string }).httpVersion) },
        queryUser('operator'),
      ],
      log: () => {},
    });
    t.after(() => push.close());
    await push.ready;
    return { push, versions, port: (push.address() as AddressInfo).port };
  }

  const listen = (t: TestContext, port: number, settings: object): Program =>
    tidings(
      t,
      ['listen', '--user', 'alice', '--http2', '--url', `https://localhost:${port}`, '--give-up', '20'],
      settings,
    );

  test('tidings listen --http2 says how it came, and goes on when it is cut', async (t) => {
    const { push, versions, port } = await serve(t);
    // What `tidings serve` would read there is not about this one call.
    writeFileSync(join(certificates.folder, 'tidings.json'), '{ "http2": "off" }');
    const listener = listen(t, port, { ...trusting, cwd: certificates.folder });
    const isConnected = (times: number) => () =>
      listener.stderr.split('as alice by HTTP/2\n').length === times + 1;
    await until('a connection', isConnected(1));
    await push.send('alice', 'one');
    await listener.line(/"data":"one"/);
    for (const session of push.localSessions()) session.close(4408, 'again');
    await until('another', isConnected(2));
    await push.send('alice', 'two');
    await listener.line(/"data":"two"/);
    assert.deepEqual(new Set(versions), new Set(['2.0']));
    listener.process.kill('SIGTERM');
    assert.equal(await listener.status(), 0);
  });

  test('without HTTP/2 it comes by HTTP/1.1, and says why', async (t) => {
    const { versions, port } = await serve(t, { http2: false });
    const listener = listen(t, port, trusting);
    await until('a connection', () =>
      /as alice by HTTP\/1\.1, as there is no HTTP\/2: \S/.test(listener.stderr),
    );
    assert.deepEqual(versions, ['1.1']);
    listener.process.kill('SIGINT');
    assert.equal(await listener.status(), 0);
  });

  test('of a certificate that is not trusted all commands say what to do', async (t) => {
    const { port } = await serve(t);
    const listener = listen(t, port, {});
    await until('the hint', () => /no connection: .*certificate.*NODE_EXTRA_CA_CERTS/.test(listener.stderr));
    listener.process.kill('SIGINT');
    const where = `https://localhost:${port}`;
    for (const args of [
      ['send', 'alice', 'x', '--token', 'x', '--url', where],
      ['check', `wss://localhost:${port}/`],
      ['check', `wss://localhost:${port}/`, '--http2'],
    ]) {
      const program = tidings(t, args);
      assert.equal(await program.status(), 1);
      assert.match(program.stderr, /NODE_EXTRA_CA_CERTS/, args.join(' '));
      assert.doesNotMatch(program.stderr, /Warning/);
    }
  });

  test('tidings check --http2 judges a server on streams of one session', async (t) => {
    const sessions = new Set<unknown>();
    const server = http2.createSecureServer({ ...tls, allowHTTP1: true });
    server.on('session', (session) => sessions.add(session));
    const wss = new WebSocketServer({ server, perMessageDeflate: true });
    wss.on('connection', (websocket) => {
      websocket.on('error', () => {});
      websocket.on('message', (data, isBinary) => websocket.send(data as Buffer, { binary: isBinary }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      for (const each of wss.clients) each.terminate();
      wss.close();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const args = ['check', `wss://localhost:${port}/`, '--http2', '--strict', '--json', ...CASES];
    const program = tidings(t, args, trusting);
    assert.equal(await program.status(), 0, program.stdout + program.stderr);
    assert.equal(JSON.parse(program.stdout).passed, 9);
    assert.equal(sessions.size, 1);
  });

  for (const [what, settings, said] of [
    ['takes no WebSockets there', {}, /no ENABLE_CONNECT_PROTOCOL/],
    ['speaks HTTP/1.1 only', { ALPNProtocols: ['http/1.1'] }, /no WebSocket connection to wss/],
  ] as const) {
    test(`a server that ${what} is told as such`, async (t) => {
      const server = http2.createSecureServer({ ...tls, ...settings });
      server.on('sessionError', () => {});
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      const { port } = server.address() as AddressInfo;
      const program = tidings(t, ['check', `wss://localhost:${port}/`, '--http2'], trusting);
      assert.equal(await program.status(), 1);
      assert.match(program.stderr, said);
    });
  }

  test('a server that refuses streams fails the check with its answer', async (t) => {
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', tls, verifyClient: () => false });
    await once(wss, 'listening');
    t.after(() => wss.close());
    const { port } = wss.address() as AddressInfo;
    const program = tidings(t, ['check', `wss://localhost:${port}/`, '--http2'], trusting);
    assert.equal(await program.status(), 1);
    assert.match(program.stderr, /the server answered «HTTP\/2 401»/);
  });

  test('tidings check --listen --http2 judges clients on streams', async (t) => {
    const program = tidings(t, ['check', '--listen', '0', '--http2', '--strict', '--json', ...CASES]);
    await until('the port', () =>
      /listening on ws:\S+ HTTP\/2 without TLS, with 9 cases/.test(program.stderr),
    );
    const [, port] = /listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(program.stderr)!;
    const session = http2.connect(`http://127.0.0.1:${port}`);
    t.after(() => session.destroy());
    const run = (path: string): Promise<string> => {
      const websocket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { http2: session });
      let last = '';
      websocket.on('message', (data, isBinary) => {
        last = String(data);
        websocket.send(data as Buffer, { binary: isBinary });
      });
      websocket.on('error', (error) => {
        last = error.message;
      });
      return new Promise((resolve) =>
        websocket.on('close', () => {
          assert.equal(websocket.fallbackReason, undefined);
          resolve(last);
        }),
      );
    };
    assert.equal(await run('/getCaseCount'), '9');
    assert.match(await run('/nothing'), /400/);
    for (let i = 1; i <= 9; i++) await run(`/runCase?case=${i}&agent=own`);
    await run('/updateReports?agent=own');
    await program.line(/"role":"client"/);
    assert.equal(JSON.parse(program.stdout).passed, 9, program.stdout);
    program.process.kill('SIGINT');
    assert.equal(await program.status(), 0);
  });
});
