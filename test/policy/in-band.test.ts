import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { answerInBand, buildPolicyFile } from '../../src/policy/index.ts';
import { until } from '../support/net.ts';

const policy = buildPolicyFile({ allow: [{ domain: 'app.example.com', ports: 8080 }] });
const REQUEST = '<policy-file-request/>\0';

/** The server's end of each connection, by the port of the other end. */
const accepted = new Map<number, Socket>();
const started: (() => void)[] = [];

async function start(t: TestContext, prepare?: (server: Server) => void): Promise<number> {
  const server = createServer((_, response) => response.end('hello'));
  server.on('connection', (socket) => accepted.set(socket.remotePort ?? 0, socket));
  started.push(answerInBand(server, policy));
  prepare?.(server);
  server.listen(0, '127.0.0.1');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Sends piece by piece, each when the last has been read; waits, where a pattern stands between them, until it has come. */
async function exchange(port: number, pieces: Iterable<string | RegExp>): Promise<string> {
  const socket: Socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.on('error', () => {});
  let text = '';
  socket.setEncoding('utf8').on('data', (data) => {
    text += data;
  });
  await once(socket, 'connect');
  const there = await until('the connection', () => accepted.get(socket.localPort ?? 0));
  for (const piece of pieces) {
    if (piece instanceof RegExp) {
      await until(`${piece}`, () => piece.test(text));
      continue;
    }
    if (!socket.writable) break;
    socket.write(piece);
    const isRead = (): boolean =>
      there.bytesRead >= socket.bytesWritten || there.destroyed || socket.destroyed;
    await until('the piece to be read', isRead);
  }
  // Not `once`, which an error would reject.
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

test('a policy request on an HTTP port is answered, whole', async (t) => {
  assert.equal(await exchange(await start(t), [REQUEST]), `${policy}\0`);
});

test('and byte by byte', async (t) => {
  const port = await start(t);
  // A machine that is too busy for it in five seconds is cut off.
  assert.equal(await until('an answer', () => exchange(port, REQUEST)), `${policy}\0`);
});

test('HTTP goes on as before', async (t) => {
  const port = await start(t);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'hello');
});

test("other parse errors keep Node's 400, also where they begin like a policy request", async (t) => {
  const port = await start(t);
  for (const pieces of [['garbage\r\n\r\n'], ['<html>'], [...'<policy-fool']]) {
    assert.match(await exchange(port, pieces), /^HTTP\/1\.1 400 Bad Request\r\n/);
  }
});

test('markup behind a request on a kept-alive connection is not a policy request', async (t) => {
  const port = await start(t);
  const text = await exchange(port, ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', /hello/, REQUEST]);
  assert.match(text, /hello.*HTTP\/1\.1 400 Bad Request/s);
});

test("the application's own clientError listener gets other errors, and only those", async (t) => {
  const seen: string[] = [];
  const port = await start(t, (server) =>
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      seen.push(error.code ?? '');
      socket.end('HTTP/1.1 418 Teapot\r\n\r\n');
    }),
  );
  assert.equal(await exchange(port, REQUEST), `${policy}\0`);
  assert.deepEqual(seen, []);
  assert.match(await exchange(port, ['<?xml']), /^HTTP\/1\.1 418/);
  assert.deepEqual(seen, ['HPE_INVALID_METHOD']);
});

test('it can be undone', async (t) => {
  const server = createServer();
  const emit = server.emit;
  answerInBand(server, policy)();
  assert.equal(server.emit, emit);
  t.after(() => server.close());
});

test('it can be undone by whom it was done, whoever has wrapped the server in the meantime', async (t) => {
  const undo: (() => void)[] = [];
  let seen = 0;
  const port = await start(t, (server) => {
    undo.push(answerInBand(server, policy));
    const { emit } = server;
    server.emit = function (this: Server, event: string, ...args: never[]) {
      if (event === 'clientError') seen++;
      return Reflect.apply(emit, this, [event, ...args]);
    } as Server['emit'];
    undo.push(answerInBand(server, policy));
    undo.push(answerInBand(server, policy));
  });
  undo.push(started.pop()!);
  while (undo.length > 0) {
    assert.equal(await exchange(port, [REQUEST]), `${policy}\0`);
    undo.shift()!();
  }
  assert.match(await exchange(port, [REQUEST]), /^HTTP\/1\.1 400 Bad Request\r\n/);
  assert.ok(seen > 0);
});
