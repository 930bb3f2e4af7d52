import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import {
  buildPolicyFile,
  isPolicyRequest,
  PolicyServer,
  type PolicyServerOptions,
} from '../../src/policy/index.ts';
import { until } from '../support/net.ts';
import { needs, typescript } from '../support/programs.ts';

const allow = [{ domain: 'app.example.com', ports: '8080' }];
const REQUEST = '<policy-file-request/>\0';
const REFUSAL = '请求无法识别\0';

async function start(t: TestContext, options: Partial<PolicyServerOptions> = {}): Promise<number> {
  // A timeout that no busy machine reaches, but where it is what is tested.
  const server = new PolicyServer({ port: 0, host: '127.0.0.1', allow, timeout: 600_000, ...options });
  t.after(() => server.close());
  return server.listen();
}

/** Everything that comes until the other side has closed, or reset. */
async function readAll(socket: Socket): Promise<string> {
  socket.on('error', () => {});
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(chunks).toString('utf8');
}

function ask(port: number, ...pieces: (string | Buffer)[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  void (async () => {
    for (const piece of pieces) {
      await new Promise((resolve) => socket.write(piece, resolve));
      await new Promise(setImmediate);
    }
  })();
  return readAll(socket);
}

test('a policy request gets the policy and a NUL, and the connection closes', async (t) => {
  const port = await start(t);
  assert.equal(await ask(port, REQUEST), `${buildPolicyFile({ allow })}\0`);
});

test('the same byte by byte', async (t) => {
  const port = await start(t);
  assert.equal(await ask(port, ...REQUEST), `${buildPolicyFile({ allow })}\0`);
});

test('bytes after the request do not matter', async (t) => {
  const port = await start(t);
  assert.equal(await ask(port, `${REQUEST}GET / HTTP/1.1\r\n\r\n`), `${buildPolicyFile({ allow })}\0`);
});

test("printf '<policy-file-request/>\\0' | nc gets the policy", needs('nc'), async (t) => {
  const port = await start(t);
  const shell = spawn('sh', ['-c', `printf '<policy-file-request/>\\0' | nc 127.0.0.1 ${port}`]);
  let output = '';
  shell.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  await once(shell, 'close');
  assert.equal(output, `${buildPolicyFile({ allow })}\0`);
});

test('anything else gets 请求无法识别 and a NUL', async (t) => {
  const port = await start(t);
  for (const request of [
    'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    '\0',
    '<policy-file-request />\0',
    '<policy-file-request/>\n\0',
    '<policy-file-request/>x',
    Buffer.alloc(100_000, '<'),
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]),
  ]) {
    assert.equal(await ask(port, request), REFUSAL);
  }
});

test('a request that ends too early is not recognised; a connection that says nothing gets nothing', async (t) => {
  const port = await start(t);
  const half = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  half.end('<policy-file-request/>');
  assert.equal(await readAll(half), REFUSAL);
  const silent = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  silent.end();
  assert.equal(await readAll(silent), '');
});

test('a request that never ends is cut, however often another byte comes', async (t) => {
  const port = await start(t, { timeout: 300 });
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const bytes = REQUEST[Symbol.iterator]();
  const drip = setInterval(() => socket.write(bytes.next().value ?? ''), 100);
  t.after(() => clearInterval(drip));
  assert.equal(await readAll(socket), '');
});

test('a client that keeps its side open after the answer is cut', async (t) => {
  const port = await start(t, { timeout: 300 });
  // A busy machine may take all of the time before it has read the request.
  const answer = await until('an answer', () => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.write(REQUEST);
    const flood = setInterval(() => socket.write('more'), 20);
    socket.on('close', () => clearInterval(flood));
    return readAll(socket);
  });
  assert.equal(answer, `${buildPolicyFile({ allow })}\0`);
});

test('connections over the limit are closed unheard', async (t) => {
  const port = await start(t, { maxConnections: 2 });
  const waiting = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  for (const socket of waiting) {
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    await once(socket, 'connect');
  }
  // The kernel completes connections before the server has counted them.
  await until('a third connection to be closed', async () => (await ask(port, REQUEST)) === '');
  waiting[0]?.destroy();
  await until('the policy again', async () => (await ask(port, REQUEST)).startsWith('<?xml'));
});

test('a port in use and a port without privilege are explained', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  await assert.rejects(
    new PolicyServer({ port, host: '127.0.0.1', allow }).listen(),
    (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' && /another program does.*ss -ltnp/.test(error.message),
  );
});

const isRoot = process.getuid?.() === 0;
test('EACCES names setcap, authbind and a redirect', async () => {
  // As root every port may be bound, so the test steps down to nobody in a process of its own.
  const script = `
    import('./src/policy/index.ts').then(async ({ PolicyServer }) => {
      ${isRoot ? 'process.setgid(65534); process.setuid(65534);' : ''}
      await new PolicyServer({ host: '127.0.0.1', allow: [] }).listen();
      console.log('bound');
      process.exit();
    }).catch((error) => console.log(error.code, error.message));`;
  const child = spawn(process.execPath, [...typescript, '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  await once(child, 'close');
  // Machines may lower the first unprivileged port (net.ipv4.ip_unprivileged_port_start).
  if (output.trim() !== 'bound') assert.match(output, /^EACCES .*setcap .*authbind .*REDIRECT/s);
});

test('a policy that no player will believe is reported when the port is known', async (t) => {
  const warnings: string[] = [];
  const port = await start(t, {
    allow: [{ domain: '*', ports: 80 }],
    onWarning: (text) => warnings.push(text),
  });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', new RegExp(`port ${port} grants ports below 1024`));
});

test('isPolicyRequest tells complete, partial and other from the first bytes', () => {
  assert.equal(isPolicyRequest(Buffer.from(REQUEST)), 'complete');
  assert.equal(isPolicyRequest(Buffer.from('<pol')), 'partial');
  assert.equal(isPolicyRequest(Buffer.from('icy-f'), 4), 'partial');
  assert.equal(isPolicyRequest(Buffer.from('icy-x'), 4), 'other');
  assert.equal(isPolicyRequest(Buffer.from('\0trailing'), 22), 'complete');
  assert.equal(isPolicyRequest(Buffer.from('GET')), 'other');
  assert.equal(isPolicyRequest(Buffer.alloc(0)), 'partial');
});
