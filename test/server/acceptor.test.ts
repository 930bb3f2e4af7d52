/** An upgrade up to its 101: what the application may do on the way, and what it may do wrong. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer, type IncomingMessage } from 'node:http';
import { mock, test } from 'node:test';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { cleanUp, frame, listen, listenHttp, RawPeer, REQUEST } from './support.ts';

/** What surfaces as an uncaught exception from here on, in place of failing the test. */
function catchUncaught(): unknown[] {
  const caught: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => caught.push(error));
  cleanUp(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of others) process.on('uncaughtException', listener);
  });
  return caught;
}

async function answerTo(port: number, headers = ''): Promise<string> {
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${REQUEST}${headers}\r\n`);
  return peer.head();
}

const boom = (): never => {
  throw new Error('mine');
};
class Broken extends WebSocket {
  constructor() {
    super(null);
    boom();
  }
}
class NoWebSocket {}

const failures: [what: string, options: WebSocketServerOptions, prepare?: (wss: WebSocketServer) => void][] =
  [
    ['verifyClient', { verifyClient: (_info) => boom() }],
    ['verifyClient with a callback', { verifyClient: (_info, _done) => boom() }],
    ['an async verifyClient', { verifyClient: async (_info) => boom() }],
    ['an async verifyClient with a callback', { verifyClient: async (_info, _done) => boom() }],
    ['handleProtocols', { handleProtocols: boom }],
    ['a headers listener', {}, (wss) => wss.on('headers', boom)],
    ['a subprotocol with a line end', { handleProtocols: () => 'a\r\nX: mine' }],
    ['a header line with a line end', {}, (wss) => wss.on('headers', (lines) => lines.push('X: a\r\nY: b'))],
    [
      'a header line with what becomes a line end as latin1',
      {},
      (wss) => wss.on('headers', (lines) => lines.push('X: a\u010d\u010aY: mine')),
    ],
    ['a line that is no string', {}, (wss) => wss.on('headers', (lines) => lines.push(7 as never))],
    ['shouldHandle', {}, (wss) => Object.assign(wss, { shouldHandle: boom })],
    ['the class of the connections', { WebSocket: Broken }],
    ['a class that is none', { WebSocket: NoWebSocket as unknown as typeof WebSocket }],
    ['an option set later', {}, (wss) => Object.assign(wss.options, { tooSlowCode: 1006 })],
  ];

for (const [what, options, prepare] of failures) {
  test(`${what} that fails: the client gets 500, and the error surfaces once`, async () => {
    const caught = catchUncaught();
    for (const where of ['port', 'server', 'noServer'] as const) {
      caught.length = 0;
      const thrown: unknown[] = [];
      let port: number;
      let wss: WebSocketServer;
      if (where === 'port') {
        ({ wss, port } = await listen(options));
      } else {
        const { http, port: httpPort } = await listenHttp();
        wss = new WebSocketServer(
          where === 'server' ? { ...options, server: http } : { ...options, noServer: true },
        );
        cleanUp(() => wss.close());
        port = httpPort;
        if (where === 'noServer') {
          http.on('upgrade', (request, socket, head) => {
            try {
              wss.handleUpgrade(request, socket, head, () => thrown.push('admitted'));
            } catch (error) {
              thrown.push(error);
            }
          });
        }
      }
      prepare?.(wss);
      const connections = mock.fn();
      wss.on('connection', connections);
      assert.match(await answerTo(port, 'Sec-WebSocket-Protocol: a\r\n'), /^HTTP\/1\.1 500 /);
      await until('the error', () => caught.length + thrown.length > 0);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(caught.length + thrown.length, 1, where);
      assert.ok([...caught, ...thrown][0] instanceof Error);
      assert.equal(connections.mock.callCount(), 0);
      assert.equal(wss.clients.size, 0);
    }
  });
}

test('a hundred failures at once: a hundred answers, and the next client is served', async () => {
  const caught = catchUncaught();
  let fails = true;
  const { port } = await listen({
    verifyClient: async () => {
      if (fails) boom();
      return true;
    },
  });
  const answers = await Promise.all(Array.from({ length: 100 }, () => answerTo(port)));
  assert.ok(answers.every((answer) => answer.startsWith('HTTP/1.1 500 ')));
  await until('the errors', () => caught.length === 100);
  fails = false;
  assert.match(await answerTo(port), /^HTTP\/1\.1 101 /);
});

test('a connection listener that throws: it surfaces once, and the connection is there', async () => {
  const caught = catchUncaught();
  const { wss, port } = await listen();
  wss.on('connection', boom);
  assert.match(await answerTo(port), /^HTTP\/1\.1 101 /);
  await until('the error', () => caught.length > 0);
  assert.equal(caught.length, 1);
  assert.equal(wss.clients.size, 1);
});

test('verifyClient’s callback, called twice, late or with nonsense, answers once', async () => {
  const { port } = await listen({
    verifyClient: (_info, done) => {
      done(false, 403, 'no');
      done(true);
      done(false, 404);
    },
  });
  assert.match(await answerTo(port), /^HTTP\/1\.1 403 /);
  const nonsense = [0, -1, 99, 1000, Number.NaN, 4.5, '200\r\nX: y' as unknown as number];
  for (const code of nonsense) {
    const { port: other } = await listen({ verifyClient: (_info, done) => done(false, code, 7 as never) });
    // None is 401, as in ws.
    assert.match(await answerTo(other), code ? /^HTTP\/1\.1 500 / : /^HTTP\/1\.1 401 /, String(code));
  }
});

test('an async verifyClient is waited for: true admits, false and nothing refuse with 401', async () => {
  for (const [verdict, status] of [
    [true, 101],
    [false, 401],
    [undefined, 401],
  ] as const) {
    const { port } = await listen({ verifyClient: async (_info) => verdict });
    assert.match(await answerTo(port), new RegExp(`^HTTP/1\\.1 ${status} `));
  }
});

test('an interceptor that returns what is no Response refuses with 500', async () => {
  for (const answer of [false, null, 'no', { status: 403 }]) {
    for (const before of [() => answer, async () => answer]) {
      const { port } = await listen({ interceptors: [{ before: before as never }] });
      assert.match(await answerTo(port), /^HTTP\/1\.1 500 /);
    }
  }
});

test('a refusal’s header with what becomes a line end as latin1 stays one line', async () => {
  const { port } = await listen({
    verifyClient: (_info, done) => done(false, 403, 'no', { 'X-Why': 'a\u010d\u010aSet-Cookie: x=1' }),
  });
  assert.doesNotMatch(await answerTo(port), /\n *Set-Cookie/);
});

test('shouldHandle is asked once about each upgrade, on a port, a server, and by handleUpgrade', async () => {
  const asked = mock.fn((request: IncomingMessage) => request.url === '/');
  class Asking extends WebSocketServer {
    override shouldHandle(request: IncomingMessage): boolean {
      return asked(request);
    }
  }
  const http = createServer();
  const { port } = await listenHttp(http);
  const own = new Asking({ host: '127.0.0.1', port: 0 });
  const embedded = new Asking({ server: http });
  cleanUp(() => {
    own.close();
    embedded.close();
  });
  await until('the port', () => own.address());
  const { port: ownPort } = own.address() as { port: number };
  for (const each of [port, ownPort]) {
    asked.mock.resetCalls();
    assert.match(await answerTo(each), /^HTTP\/1\.1 101 /);
    assert.equal(asked.mock.callCount(), 1);
  }
});

test('handleUpgrade of a subclass is called for the upgrades of a port and of a server', async () => {
  let calls = 0;
  class Counting extends WebSocketServer {
    override handleUpgrade(...args: Parameters<WebSocketServer['handleUpgrade']>): void {
      calls++;
      super.handleUpgrade(...args);
    }
  }
  const { http, port } = await listenHttp();
  const wss = new Counting({ server: http });
  cleanUp(() => wss.close());
  assert.match(await answerTo(port), /^HTTP\/1\.1 101 /);
  assert.equal(calls, 1);
});

test('headers listeners get the lines of the response, and what they make of them is sent', async () => {
  const { wss, port } = await listen({ perMessageDeflate: true });
  let seen: string[] = [];
  wss.on('headers', (lines) => {
    seen = [...lines];
    lines.push('Set-Cookie: a=1', 'X-Text: Grüße');
  });
  const head = await answerTo(
    port,
    'Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n',
  );
  assert.deepEqual(seen, [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    'Sec-WebSocket-Protocol: a',
    'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover',
  ]);
  assert.equal(head, `${[...seen, 'Set-Cookie: a=1', 'X-Text: Grüße'].join('\r\n')}\r\n\r\n`);
});

test('what is set in server.options later holds for the connections that come then', async () => {
  const { wss, port } = await listen();
  assert.equal(wss.options.maxPayload, 100 * 1024 * 1024);
  const before = await RawPeer.open(port);
  Object.assign(wss.options, { maxPayload: 3 });
  const after = await RawPeer.open(port);
  for (const peer of [before, after]) peer.socket.write(frame(1, 'four'));
  assert.equal(await after.closeCode(), 1009);

  wss.options.verifyClient = (_info) => false;
  assert.match(await answerTo(port), /^HTTP\/1\.1 401 /);
  wss.options.verifyClient = null;

  wss.options.perMessageDeflate = true;
  assert.match(
    await answerTo(port, 'Sec-WebSocket-Extensions: permessage-deflate\r\n'),
    /permessage-deflate/,
  );
  wss.options.handleProtocols = () => 'b';
  assert.match(await answerTo(port, 'Sec-WebSocket-Protocol: a, b\r\n'), /Protocol: b\r\n/);
  wss.options.path = '/elsewhere';
  assert.match(await answerTo(port), /^HTTP\/1\.1 400 /);
  wss.options.path = '/';
  class Mine extends WebSocket {}
  wss.options.WebSocket = Mine;
  assert.match(await answerTo(port), /^HTTP\/1\.1 101 /);
  assert.ok([...wss.clients].at(-1) instanceof Mine);
  // The one from before has what it was made with.
  before.socket.write(frame(9, 'x'));
  assert.equal((await before.frame()).opcode, 10);
});

test('a class of the application’s is constructed with null, undefined and the server’s options', async () => {
  const given: unknown[][] = [];
  class Mine extends WebSocket {
    constructor(...args: unknown[]) {
      super(null);
      given.push(args);
    }
  }
  const { wss, port } = await listen({ WebSocket: Mine as unknown as typeof WebSocket });
  await RawPeer.open(port);
  assert.deepEqual(given, [[null, undefined, wss.options]]);
  assert.equal(given[0]![2], wss.options);
});

test('refused upgrades are told with their status, whatever refused them', async () => {
  const statuses: number[] = [];
  const listener = (message: unknown): void => {
    statuses.push((message as { status: number }).status);
  };
  subscribe('tidings:websocket:refused', listener);
  cleanUp(() => unsubscribe('tidings:websocket:refused', listener));
  catchUncaught();
  const { wss, port } = await listen({ path: '/' });
  wss.options.verifyClient = (_info) => boom();
  await answerTo(port);
  wss.options.verifyClient = (_info) => false;
  await answerTo(port);
  wss.options.path = '/x';
  await answerTo(port);
  assert.deepEqual(statuses, [500, 401, 400]);
});
