/** `tidings serve` with a certificate of its own: TLS on its ports, HTTP/2 beside HTTP/1.1, renewed while it runs. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import http2, { type IncomingHttpHeaders } from 'node:http2';
import https from 'node:https';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, describe, type TestContext, test } from 'node:test';
import { WebSocket } from '../../src/ws.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { launchChromium, recordErrors } from '../support/chromium.ts';
import { type Program, tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { placeScripts } from '../support/scripts.ts';

describe('tidings serve --tls-cert', needs('openssl'), () => {
  let certificates: Certificates;
  before(() => {
    certificates = makeCertificates();
  });
  after(() => certificates.remove());

  const files = ({ certFile, keyFile }: Certificates) => ['--tls-cert', certFile, '--tls-key', keyFile];

  async function start(t: TestContext, ...args: string[]): Promise<{ program: Program; port: number }> {
    const program = tidings(t, ['serve', '--port', '0', '--policy-port', 'off', ...args]);
    const [port] = await program.line(/^listening on https:\/\/127\.0\.0\.1:(\d+)\/$/m);
    return { program, port: Number(port) };
  }

  async function openPage(t: TestContext, port: number, options: object): Promise<WebSocket> {
    const page = new WebSocket(`wss://localhost:${port}/socketServer?operator=alice`, options);
    t.after(() => page.terminate());
    await once(page, 'open');
    return page;
  }

  async function statusOf(port: number, ca: Buffer, path: string): Promise<number> {
    const [response] = await once(https.get({ host: 'localhost', port, path, ca }), 'response');
    return response.resume().statusCode;
  }

  test('both ports, both versions; what it prints is where it is; and the end', async (t) => {
    const { program, port } = await start(t, ...files(certificates), '--demo', '--admin-port', '0');
    const { ca } = certificates;
    await program.line(new RegExp(`^listening on (wss)://127.0.0.1:${port}/socketServer$`, 'm'));
    const [adminPort] = await program.line(/^listening on https:\/\/127\.0\.0\.1:(\d+)\/admin$/m);
    assert.deepEqual(
      [await statusOf(port, ca, '/readyz'), await statusOf(Number(adminPort), ca, '/admin')],
      [200, 200],
    );
    const session = http2.connect(`https://localhost:${port}`, { ca });
    t.after(() => session.destroy());
    const pages = [await openPage(t, port, { ca, http2: session }), await openPage(t, port, { ca })];
    assert.equal(pages[0]!.fallbackReason, undefined);
    const mail = pages.map((page) => once(page, 'message'));
    // What there is on the site is answered over HTTP/2 as well, whatever is asked for.
    for (const [path, method, status] of [
      ['/', 'GET', 200],
      ['/socketServer', 'GET', 405],
      ['/socketServer', 'DELETE', 405],
      ['/nothing', 'GET', 404],
      ['/sockjs/socketServer/info', 'GET', 200],
      ['/sockjs/socketServer/000/abcdefgh/xhr_send', 'POST', 404],
      ['*', 'OPTIONS', 404],
    ] as const) {
      const stream = session.request({ ':path': path, ':method': method });
      stream.resume().end();
      const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
      assert.equal(headers[':status'], status, `${method} ${path}`);
    }
    const send = tidings(
      t,
      ['send', 'alice', 'hello', '--url', `https://localhost:${adminPort}`, '--token', 'demo'],
      {
        environment: { NODE_EXTRA_CA_CERTS: certificates.caFile },
      },
    );
    assert.equal(await send.status(), 0, send.stderr);
    for (const [data] of await Promise.all(mail)) assert.equal(String(data), 'hello');
    program.process.kill('SIGTERM');
    assert.equal(await program.status(), 0);
  });

  test('--http2 off: HTTP/1.1 only', async (t) => {
    const { port } = await start(t, ...files(certificates), '--demo', '--http2', 'off');
    const page = await openPage(t, port, { ca: certificates.ca, http2: true });
    assert.match(page.fallbackReason!, /\S/);
  });

  test('a certificate that is renewed on the disk is shown from SIGHUP on; one that is none changes nothing', async (t) => {
    const own = makeCertificates();
    const next = makeCertificates();
    t.after(() => own.remove());
    t.after(() => next.remove());
    const { program, port } = await start(t, ...files(own), '--demo');
    const page = await openPage(t, port, { ca: own.ca, http2: true });
    const reload = async (event: string): Promise<void> => {
      const count = (): number => program.stderr.split(` ${event}: `).length;
      const before = count();
      program.process.kill('SIGHUP');
      await until(event, () => count() > before);
    };
    // Half of a renewal.
    copyFileSync(next.certFile, own.certFile);
    await reload('reload-failed');
    await openPage(t, port, { ca: own.ca });
    copyFileSync(next.keyFile, own.keyFile);
    await reload('reloaded');
    assert.match(program.stderr, /taken anew: --tls-cert, --tls-key/);
    assert.doesNotMatch(program.stderr, /PRIVATE KEY/);
    for (const options of [{}, { http2: true }]) {
      await openPage(t, port, { ca: next.ca, ...options });
      const refused = new WebSocket(`wss://localhost:${port}/`, { ca: own.ca, ...options });
      await once(refused, 'error');
    }
    assert.equal(page.readyState, WebSocket.OPEN);
  });

  for (const [what, args, wanted] of [
    ['a key without its certificate', ['--tls-key', 'KEY'], /give --tls-cert, too/],
    ['a certificate without its key', ['--tls-cert', 'CERT'], /give --tls-key, too/],
    ['what is no certificate', ['--tls-cert', 'KEY', '--tls-key', 'KEY'], /can't be used/],
    ['a key of another certificate', ['--tls-cert', 'CA', '--tls-key', 'KEY'], /can't be used/],
    ['--http2 without TLS', ['--http2', 'off'], /is for TLS/],
  ] as const) {
    test(`${what} is refused`, async (t) => {
      const names: Record<string, string> = {
        KEY: certificates.keyFile,
        CERT: certificates.certFile,
        CA: certificates.caFile,
      };
      const program = tidings(t, ['serve', '--port', '0', ...args.map((each) => names[each] ?? each)]);
      assert.equal(await program.status(), 2);
      assert.match(program.stderr, wanted);
    });
  }

  test(
    'in Chromium the pages of the demo have one connection, their WebSockets as well',
    needs('chromium'),
    async (t) => {
      await placeScripts();
      const { port: target } = await start(t, ...files(certificates), '--demo');
      const sockets = new Set<Socket>();
      const relay = createServer((from) => {
        sockets.add(from);
        const to = connect(target, '127.0.0.1');
        from.pipe(to).pipe(from);
        for (const each of [from, to]) each.on('error', () => {});
        from.on('close', () => {
          sockets.delete(from);
          to.destroy();
        });
        to.on('close', () => from.destroy());
      }).listen(0, '127.0.0.1');
      await once(relay, 'listening');
      t.after(() => relay.close());
      const { port } = relay.address() as AddressInfo;
      const browser = await launchChromium();
      t.after(() => browser.close());
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      const protocols = new Set<unknown>();
      const pages = [];
      const errors: string[][] = [];
      for (let i = 0; i < 8; i++) {
        const page = await context.newPage();
        errors.push(recordErrors(page));
        await page.goto(`https://localhost:${port}/?operator=alice`);
        await page.evaluate(
          `import('/tidings.js').catch(() => {}).then(() => new Promise((opened, failed) => {
          var socket = globalThis.socket = new WebSocket('wss://localhost:${port}/socketServer?operator=alice');
          socket.onopen = opened; socket.onerror = failed; socket.onmessage = ({ data }) => { globalThis.mail = data; };
        }))`,
        );
        protocols.add(await page.evaluate(`performance.getEntriesByType('navigation')[0].nextHopProtocol`));
        pages.push(page);
      }
      assert.deepEqual([...protocols], ['h2']);
      const answer = await pages[0]!.evaluate(
        `fetch('/api/users/alice/messages', { method: 'POST', headers: { Authorization: 'Bearer demo', 'Content-Type': 'application/json' }, body: '"hello"' }).then((answer) => answer.status)`,
      );
      assert.equal(answer, 201);
      for (const page of pages) await until('the mail', () => page.evaluate(`globalThis.mail === 'hello'`));
      assert.deepEqual(errors.flat(), []);
      // One, and another one that the browser may have opened in case it needs it.
      assert.ok(sockets.size <= 2, `${sockets.size} connections`);
    },
  );
});
