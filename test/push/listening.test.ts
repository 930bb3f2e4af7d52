/** A port that can't be had is told, once; and what comes to the path of a WebSocket without asking for one. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createPlain } from 'node:net';
import { type TestContext, test } from 'node:test';
import { PushServer, queryUser } from '../../src/index.ts';
import { typescript, uncovered } from '../support/programs.ts';
import { Page, startPush } from './support.ts';

async function takenPort(t: TestContext): Promise<number> {
  const server = createPlain().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

for (const sockjs of [undefined, { prefix: '/sockjs' }]) {
  const what = sockjs === undefined ? 'a port of its own' : 'a port of its own with SockJS';
  test(`${what} that is taken: \`ready\` rejects, and one line is logged`, async (t) => {
    const log: string[] = [];
    const push = new PushServer({
      port: await takenPort(t),
      host: '127.0.0.1',
      ...(sockjs && { sockjs }),
      log: (level, message) => log.push(`${level}: ${message}`),
    });
    t.after(() => push.close());
    await assert.rejects(push.ready, { code: 'EADDRINUSE' });
    assert.equal(log.length, 1, log.join('\n'));
    assert.match(log[0]!, /^error: .*EADDRINUSE/);
  });
}

test('the error of a server that is shared is its owner’s, who alone is told', async (t) => {
  const log: string[] = [];
  const http = createServer();
  const servers = [1, 2].map(
    (n) =>
      new PushServer({
        server: http,
        path: `/${n}`,
        sockjs: { prefix: `/s${n}` },
        log: (level, line) => level === 'info' || log.push(line),
      }),
  );
  t.after(() => Promise.all(servers.map((push) => push.close())));
  const told = once(http, 'error');
  http.listen(await takenPort(t), '127.0.0.1').removeAllListeners('listening');
  const [error] = await told;
  assert.equal(error.code, 'EADDRINUSE');
  assert.deepEqual(log, []);
});

test('where its owner does not listen for it, it ends the process, as it would without a push server', async (t) => {
  const port = await takenPort(t);
  const source = new URL('../../src/index.ts', import.meta.url);
  const program = `
    import { createServer } from 'node:http';
    import { PushServer } from ${JSON.stringify(source)};
    const http = createServer();
    new PushServer({ server: http, policy: { port: 0, allow: [{ domain: 'a.example', ports: '80' }] } });
    http.listen(${port}, '127.0.0.1');
    setInterval(() => {}, 1000);
  `;
  const args = [...typescript, '--input-type=module', '-e', program];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], env: uncovered });
  t.after(() => child.kill('SIGKILL'));
  let errors = '';
  child.stderr.on('data', (text) => {
    errors += text;
  });
  const [status] = await once(child, 'exit');
  assert.equal(status, 1);
  assert.match(errors, /EADDRINUSE/);
});

test('a request that does not ask for a WebSocket gets 426 on the path, 404 elsewhere; pages come in beside it', async (t) => {
  for (const options of [{}, { sockjs: { prefix: '/sockjs' } }]) {
    const { push, url } = await startPush(options);
    t.after(() => push.close());
    const base = url.replace('ws:', 'http:').replace('/socketServer', '');
    for (const method of ['GET', 'HEAD', 'POST']) {
      const answer = await fetch(`${base}/socketServer?user=a`, { method });
      assert.deepEqual([answer.status, answer.headers.get('upgrade')], [426, 'websocket'], method);
    }
    if ('sockjs' in options) assert.equal((await fetch(`${base}/elsewhere`)).status, 404);
    assert.equal((await Page.plain(url, 'a')).socket.readyState, 1);
  }
});

test('on a server that is shared, requests are the application’s, on the path as well', async (t) => {
  const http = createServer((_request, response) => response.end('the application'));
  const push = new PushServer({
    server: http,
    path: '/',
    interceptors: [queryUser('user')],
    sockjs: { prefix: '/s' },
  });
  t.after(async () => {
    await push.close();
    http.close();
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'the application');
  assert.equal((await Page.plain(`ws://127.0.0.1:${port}/`, 'a')).socket.readyState, 1);
});
