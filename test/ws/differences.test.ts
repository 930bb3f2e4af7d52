/** docs/ws-compatibility.md says what differs: here both do what it says. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import type { ServerOptions } from 'ws';
import { cleanUp, frame, listen, listenHttp, RawPeer, REQUEST } from '../server/support.ts';
import { until } from '../support/net.ts';
import { type Implementation, implementations, serve } from './implementations.ts';

const [ws, tidings] = implementations as [Implementation, Implementation];

/** The rows and points of the document that are checked, by how they begin. */
const checked: string[] = [];

/** Runs it with both, and compares with what each is said to do. `row` is how the row begins, in the document. */
function differs<T>(
  row: string,
  run: (implementation: Implementation) => Promise<T> | T,
  theirs: T,
  ours: T,
): void {
  checked.push(row);
  test(`${row}: ws ${JSON.stringify(theirs)}, tidings/ws ${JSON.stringify(ours)}`, async () => {
    assert.deepEqual(await run(ws), theirs);
    assert.deepEqual(await run(tidings), ours);
  });
}

/** For what only tidings/ws has. */
function has(row: string, run: () => Promise<void> | void): void {
  checked.push(row);
  test(`${row}: as the document says`, run);
}

/** For what another test holds. */
function heldBy(row: string, file: string, title: string): void {
  checked.push(row);
  test(`${row}: held by ${file}`, () => {
    assert.ok(readFileSync(file, 'utf8').includes(title), `${file} has the test: ${title}`);
  });
}

/** Lets the event loop turn, so that what is on its way at once comes. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The status line's code that a request is answered with. */
async function status(
  implementation: Implementation,
  request: string,
  options: ServerOptions = {},
): Promise<number> {
  const { port } = await serve(implementation, options);
  const peer = await RawPeer.connect(port);
  peer.socket.write(`${request}\r\n`);
  return Number((await peer.head()).split(' ')[1]);
}

differs(
  'With `path`, an upgrade to another path',
  async ({ WebSocketServer }) => {
    const { http, port } = await listenHttp();
    new WebSocketServer({ server: http, path: '/ours' });
    http.on('upgrade', (_request, socket) => {
      // What another server would do, a moment later.
      setImmediate(() => socket.writable && socket.end('HTTP/1.1 418 Mine\r\n\r\n'));
    });
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST.replace('GET / ', 'GET /theirs ')}\r\n`);
    return Number((await peer.head()).split(' ')[1]);
  },
  400,
  418,
);

differs(
  'After 60 pings to which',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    let pings = 0;
    wss.on('connection', (socket) => {
      socket.on('ping', () => pings++);
      // More than the kernel takes.
      socket.send(Buffer.alloc(50_000_000));
    });
    const peer = await RawPeer.open(port);
    peer.socket.pause();
    await until('the connection', () => wss.clients.size === 1);
    for (let i = 0; i < 200; i++) peer.socket.write(frame(9, `${i}`));
    await until('the pings, or the end', () => pings === 200 || wss.clients.size === 0);
    // One that is terminated counts until its socket is closed.
    return [...wss.clients].filter((client) => client.readyState === client.OPEN).length;
  },
  0,
  1,
);

differs(
  '`Connection: Upgrade` is not checked',
  async ({ WebSocketServer }) => {
    const { http, port } = await listenHttp();
    const wss = new WebSocketServer({ noServer: true });
    http.on('upgrade', (request, socket, head) => {
      request.headers.connection = 'close';
      wss.handleUpgrade(request, socket, head, (client) => cleanUp(() => client.terminate()));
    });
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST}\r\n`);
    return Number((await peer.head()).split(' ')[1]);
  },
  101,
  400,
);

differs(
  'An unknown version',
  (implementation) => status(implementation, REQUEST.replace('Version: 13', 'Version: 99')),
  400,
  426,
);

differs(
  'An offer of permessage-deflate with wrong parameters',
  (implementation) =>
    status(
      implementation,
      `${REQUEST}Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n`,
      { perMessageDeflate: true },
    ),
  400,
  101,
);

differs(
  'A payload length in a longer form',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    const result = new Promise<string>((resolve) => {
      wss.on('connection', (socket) => {
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
        socket.on('message', (data) => resolve(`message ${data}`));
      });
    });
    const peer = await RawPeer.open(port);
    peer.socket.write(Buffer.concat([Buffer.from([0x81, 0xfe, 0, 1, 0, 0, 0, 0]), Buffer.from('a')]));
    return result;
  },
  'message a',
  'WS_ERR_INVALID_PAYLOAD_LENGTH',
);

differs(
  '`serverMaxWindowBits: 8`',
  async ({ WebSocketServer }) => {
    try {
      new WebSocketServer({ noServer: true, perMessageDeflate: { serverMaxWindowBits: 8 } });
      return 'accepted';
    } catch (error) {
      return (error as Error).name;
    }
  },
  'accepted',
  'RangeError',
);

differs(
  '`pause()` lets the rest',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    let messages = 0;
    wss.on('connection', (socket) => {
      socket.on('message', () => {
        messages++;
        socket.pause();
      });
    });
    const peer = await RawPeer.open(port);
    peer.socket.write(Buffer.concat([frame(1, 'a'), frame(1, 'b'), frame(1, 'c')]));
    await until('a message', () => messages > 0);
    await turns(10);
    return messages;
  },
  3,
  1,
);

differs(
  "`binaryType: 'fragments'`",
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    const result = new Promise<number>((resolve) => {
      wss.on('connection', (socket) => {
        socket.binaryType = 'fragments';
        socket.on('message', (data) => resolve((data as Buffer[]).length));
      });
    });
    const peer = await RawPeer.open(port);
    peer.socket.write(Buffer.concat([frame(2, 'a', { fin: false }), frame(0, 'b')]));
    return result;
  },
  2,
  1,
);

differs(
  'permessage-deflate keeps contexts',
  async (implementation) => {
    const { port } = await serve(implementation, { perMessageDeflate: true });
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n`);
    return (await peer.head()).includes('server_no_context_takeover');
  },
  false,
  true,
);

differs(
  "A client's `handshakeTimeout`",
  async ({ WebSocket }) => {
    const PACE = 20;
    let drips = 0;
    let last = performance.now();
    let longestPause = 0;
    const server = createNetServer((socket) => {
      socket.on('error', () => {});
      const drip = setInterval(() => {
        socket.write('x');
        drips++;
        longestPause = Math.max(longestPause, performance.now() - last);
        last = performance.now();
      }, PACE);
      socket.write('HTTP/1.1 101 ');
      socket.on('close', () => clearInterval(drip));
      cleanUp(() => socket.destroy());
    }).listen(0, '127.0.0.1');
    cleanUp(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    // Twice as long each time, until no pause of the machine is as long as half of it.
    for (let timeout = 300; timeout < 20_000; timeout *= 2) {
      [drips, longestPause, last] = [0, 0, performance.now()];
      const client = new WebSocket(`ws://127.0.0.1:${port}`, { handshakeTimeout: timeout });
      let isFailed = false;
      client.on('error', () => {
        isFailed = true;
      });
      // Counted, as that takes longer on a busy machine than any timer.
      const enough = (3 * timeout) / PACE;
      await until(
        'the timeout, or three times as long',
        () => isFailed || drips >= enough,
        60_000 + 20 * timeout,
      );
      const result = isFailed;
      client.terminate();
      // Where the machine has slept there was a time without a byte.
      if (!result || Math.max(longestPause, performance.now() - last) < timeout / 2) return result;
    }
    throw new Error('the machine pauses for longer than 9 s each time');
  },
  false,
  true,
);

differs(
  'An `error` event without a listener',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    const ended = new Promise<string>((resolve) => {
      wss.on('connection', (socket) => {
        const { emit } = socket;
        socket.emit = function (this: typeof socket, ...args: Parameters<typeof emit>) {
          try {
            return emit.apply(this, args);
          } catch {
            resolve('thrown');
            return true;
          }
        } as typeof emit;
        socket.on('close', () => resolve('closed'));
      });
    });
    const peer = await RawPeer.open(port);
    peer.socket.write(frame(3));
    return ended;
  },
  'thrown',
  'closed',
);

differs(
  'An upgrade to another protocol',
  async ({ WebSocketServer }) => {
    const { http, port } = await listenHttp(createServer((_request, response) => response.end('route')));
    const wss = new WebSocketServer({ server: http });
    cleanUp(() => wss.close());
    const peer = await RawPeer.connect(port);
    peer.socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
    return Number((await peer.head()).split(' ')[1]);
  },
  400,
  200,
);

differs(
  'A handshake behind requests',
  async ({ WebSocketServer }) => {
    const { http, port } = await listenHttp(
      createServer((_request, response) => {
        turns(10).then(() => response.end('late'));
      }),
    );
    const wss = new WebSocketServer({ server: http });
    cleanUp(() => wss.close());
    const peer = await RawPeer.connect(port);
    peer.socket.write(`GET /first HTTP/1.1\r\nHost: a\r\n\r\n${REQUEST}\r\n`);
    return Number((await peer.head()).split(' ')[1]);
  },
  101,
  200,
);

heldBy('`server` of `node:http2`', 'test/server/http2-client.test.ts', 'carries as many WebSockets');
heldBy("`others: 'ignore'`", 'test/server/plain-request.test.ts', 'unless all say `others: ignore`');
heldBy('A handshake may take for ever', 'test/server/admission.test.ts', 'handshakeTimeout');

differs(
  'A subprotocol or header line from the application',
  async ({ WebSocketServer }) => {
    const { http, port } = await listenHttp();
    const wss = new WebSocketServer({ noServer: true, handleProtocols: () => 'a\r\nX-Mine: 1' });
    http.on('upgrade', (request, socket, head) => {
      try {
        wss.handleUpgrade(request, socket, head, (client) => cleanUp(() => client.terminate()));
      } catch (error) {
        assert.ok(error instanceof TypeError);
      }
    });
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST}Sec-WebSocket-Protocol: a\r\n\r\n`);
    const head = await peer.head();
    return [Number(head.split(' ')[1]), head.includes('X-Mine: 1')];
  },
  [101, true],
  [500, false],
);

differs(
  'What `verifyClient`, `handleProtocols`',
  async ({ WebSocketServer }) => {
    const { http, port } = await listenHttp();
    const wss = new WebSocketServer({
      noServer: true,
      verifyClient: () => {
        throw new Error('mine');
      },
    });
    let thrown = '';
    http.on('upgrade', (request, socket, head) => {
      try {
        wss.handleUpgrade(request, socket, head, () => assert.fail());
      } catch (error) {
        thrown = (error as Error).message;
      }
    });
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST}\r\n`);
    await until('the error', () => thrown);
    await turns(10);
    return [thrown, peer.received.toString('latin1', 9, 12)];
  },
  ['mine', ''],
  ['mine', '500'],
);

differs(
  'A promise from `verifyClient`',
  async (implementation) =>
    status(implementation, REQUEST, { verifyClient: (async (_info: unknown) => false) as never }),
  101,
  401,
);

differs(
  'A limit, time or close code that is nonsense',
  ({ WebSocketServer }) => {
    try {
      new WebSocketServer({
        noServer: true,
        closeTimeout: Number.NaN,
        maxPayload: Number.NaN,
      } as ServerOptions);
      return 'accepted';
    } catch (error) {
      return (error as Error).name;
    }
  },
  'accepted',
  'RangeError',
);

differs(
  'What follows a handshake that announces a body',
  (implementation) => status(implementation, `${REQUEST}Content-Length: 5\r\n`),
  101,
  400,
);

differs(
  'With `path`, a target in absolute-form',
  (implementation) =>
    status(implementation, REQUEST.replace('GET / ', 'GET http://localhost/chat '), { path: '/chat' }),
  400,
  101,
);

differs(
  "The server's `mask: true`",
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    wss.on('connection', (socket) => socket.send('hi', { mask: true }));
    const peer = await RawPeer.open(port);
    await until('a frame', () => peer.received.length >= 4);
    return peer.received[1]! & 0x80;
  },
  0x80,
  0,
);

differs(
  '`port` opens an http.Server',
  (implementation) =>
    status(implementation, REQUEST + Array.from({ length: 150 }, (_, i) => `X-${i}: 1\r\n`).join('')),
  101,
  431,
);

differs(
  'A `data` listener on `_socket`',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    let bytes = 0;
    const message = new Promise((resolve) => {
      wss.on('connection', (socket) => {
        const { _socket } = socket as unknown as { _socket: Socket };
        _socket.prependListener('data', (chunk) => {
          bytes += chunk.length;
        });
        socket.on('message', resolve);
      });
    });
    const peer = await RawPeer.open(port);
    peer.socket.write(frame(1, 'hi'));
    await message;
    return bytes;
  },
  8,
  0,
);

differs(
  'Every `send` writes',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    const written = new Promise<number[]>((resolve) => {
      wss.on('connection', (socket) => {
        setImmediate(() => {
          const { _socket } = socket as unknown as { _socket: Socket };
          const before = _socket.bytesWritten;
          socket.send('a');
          const first = _socket.bytesWritten - before;
          socket.send('b');
          resolve([first, _socket.bytesWritten - before]);
        });
      });
    });
    await RawPeer.open(port);
    return written;
  },
  [3, 6],
  [3, 3],
);

differs(
  '`zlibDeflateOptions` and `zlibInflateOptions`',
  ({ WebSocketServer }) => {
    try {
      new WebSocketServer({ noServer: true, perMessageDeflate: { zlibDeflateOptions: { level: 99 } } });
      return 'accepted';
    } catch (error) {
      return (error as Error).name;
    }
  },
  'accepted',
  'RangeError',
);

differs(
  '`maxBufferedChunks` bounds',
  async (implementation) => {
    const { wss, port } = await serve(implementation, { maxBufferedChunks: 1 });
    const sockets: Socket[] = [];
    const end = new Promise<string>((resolve) => {
      wss.on('connection', (socket) => {
        sockets.push((socket as unknown as { _socket: Socket })._socket);
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
        socket.on('message', (data) => resolve(String(data)));
      });
    });
    const peer = await RawPeer.open(port);
    await until('the connection', () => sockets.length === 1);
    let sent = sockets[0]!.bytesRead;
    for (const byte of frame(1, 'abcd')) {
      peer.socket.write(Buffer.from([byte]));
      sent++;
      await until('the byte', () => sockets[0]!.bytesRead === sent || sockets[0]!.destroyed);
    }
    return end;
  },
  'WS_ERR_TOO_MANY_BUFFERED_PARTS',
  'abcd',
);

differs<string | number>(
  '`maxFragments` is 16,384',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    const end = new Promise<string | number>((resolve) => {
      wss.on('connection', (socket) => {
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
        socket.on('message', (data) => resolve((data as Buffer).length));
      });
    });
    const peer = await RawPeer.open(port);
    const piece = frame(0, 'x', { fin: false });
    const pieces = Buffer.concat(Array.from({ length: 20_000 }, () => piece));
    peer.socket.write(Buffer.concat([frame(1, 'x', { fin: false }), pieces, frame(0, 'x')]));
    return end;
  },
  'WS_ERR_TOO_MANY_BUFFERED_PARTS',
  20_002,
);

differs<string | number>(
  "`maxPayload` bounds a message's compressed bytes",
  async (implementation) => {
    const { wss, port } = await serve(implementation, { maxPayload: 1000, perMessageDeflate: true });
    const end = new Promise<string | number>((resolve) => {
      wss.on('connection', (socket) => {
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
        socket.on('message', (data) => resolve((data as Buffer).length));
      });
    });
    const peer = await RawPeer.open(port, 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
    const compressed = deflateRawSync(randomBytes(1000), { finishFlush: constants.Z_SYNC_FLUSH });
    assert.ok(compressed.length - 4 > 1000);
    peer.socket.write(frame(2, compressed.subarray(0, -4), { rsv: 4 }));
    return end;
  },
  'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
  1000,
);

heldBy(
  'What `send` was given and the kernel has not taken',
  'test/server/sender.test.ts',
  "what send has returned from is the caller's again",
);
heldBy(
  'A client hands every option to Node',
  'test/ws/client-target.test.ts',
  'the address alone says where a request goes, whatever options say',
);
heldBy(
  'A redirect to another host takes a client certificate',
  'test/ws/client-redirects.test.ts',
  'a client certificate and the name for SNI are for the first host alone',
);
heldBy(
  'A response that an `unexpected-response` listener has read',
  'test/ws/client-giving-up.test.ts',
  'a refusal that a listener has read to its end leaves no connection',
);
heldBy(
  'What `finishRequest` throws',
  'test/ws/client-giving-up.test.ts',
  "what finishRequest throws is the constructor's error",
);
heldBy(
  'What `generateMask` throws',
  'test/server/application-errors.test.ts',
  'a generateMask that throws: uncaught',
);
heldBy(
  'The path of a socket in a `ws+unix:` address',
  'test/ws/client-target.test.ts',
  'a path of a unix socket is percent-decoded',
);
heldBy(
  'A `Location` without a host',
  'test/ws/client-redirects.test.ts',
  'a path as Location stays on its unix socket',
);

// ── not there ──────────────────────────────────────────────────────────────────────────────────────

differs(
  'What ws does not document',
  async ({ name }) => {
    const all = (name === 'ws' ? await import('ws') : await import('../../src/ws.ts')) as Record<
      string,
      unknown
    >;
    return ['Receiver', 'Sender', 'PerMessageDeflate', 'extension', 'subprotocol'].map((each) => each in all);
  },
  [true, true, true, true, true],
  [false, false, false, false, false],
);

differs(
  'A Blob as the data of `ping`',
  async (implementation) => {
    const { wss, port } = await serve(implementation);
    const result = new Promise<string>((resolve) => {
      wss.on('connection', (socket) => {
        try {
          socket.ping(new Blob(['x']));
          resolve('sent');
        } catch (error) {
          resolve((error as Error).name);
        }
      });
    });
    await RawPeer.open(port);
    return result;
  },
  'sent',
  'TypeError',
);

heldBy('The environment variables', 'package.json', '"redis-parser"');

// ── what is more ───────────────────────────────────────────────────────────────────────────────────

has('`send()`', async () => {
  const { wss, port } = await listen({ maxBackpressure: 1_000_000, backpressurePolicy: 'drop' });
  const results = new Promise<string[]>((resolve) => {
    wss.on('connection', (socket) => {
      const big = Buffer.alloc(50_000_000);
      const first = socket.send('a');
      const sent = [first, socket.send(big), socket.send(big)];
      socket.on('drain', () => resolve(sent));
    });
  });
  await RawPeer.open(port);
  assert.deepEqual(await results, ['sent', 'queued', 'dropped']);
});

has('`maxBackpressure`, `backpressurePolicy`', async () => {
  const { wss, port } = await listen({ maxBackpressure: 1_000_000 });
  const results = new Promise<unknown[]>((resolve) => {
    wss.on('connection', (socket) => {
      const big = Buffer.alloc(50_000_000);
      const sent = [socket.send(big), socket.send(big)];
      socket.on('close', (code) => resolve([...sent, code]));
    });
  });
  const peer = await RawPeer.open(port);
  peer.socket.pause();
  await until('the close', () => [...wss.clients].every((client) => client.readyState !== client.OPEN));
  peer.socket.destroy();
  assert.deepEqual(await results, ['queued', 'dropped', 1013]);
});

heldBy('`pingInterval`, `pongTimeout`', 'test/server/heartbeat.test.ts', 'pingInterval');
heldBy('`server.broadcast(message, filter?)`', 'test/server/fan-out.test.ts', 'broadcast');
heldBy('`ws.subscribe(topic)`', 'test/ws/drop-in.test.ts', 'publish counts those who are there');
heldBy(
  '`new PreparedMessage(data)`',
  'test/server/websocket-server.test.ts',
  'a prepared message is one encoding',
);
heldBy('`interceptors`, `handler`', 'test/server/admission.test.ts', 'interceptors');
heldBy('`partial: true`', 'test/server/connection.test.ts', 'partial');
heldBy('`for await (const message of ws)`', 'test/server/message-iterator.test.ts', 'gets them all in order');
heldBy(
  '`server.close({ code, reason, drain, deadline })`',
  'test/server/options.test.ts',
  'close({ deadline }) cuts',
);
heldBy('`maxConnections`', 'test/server/options.test.ts', 'maxConnections bounds the connections');
heldBy('`ProtocolError`', 'test/ws/drop-in.test.ts', 'ProtocolError is what a broken frame');
heldBy('`node:diagnostics_channel`', 'test/server/acceptor.test.ts', 'refused upgrades are told');

// ── the client's handshake ────────────────────────────────────────────────────────────────────────

differs(
  'A client hands every option to Node',
  async ({ WebSocket }) => {
    const heads: string[] = [];
    const server = createNetServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => heads.push(data.toString('latin1')));
    }).listen(0, '127.0.0.1');
    cleanUp(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = new WebSocket(`ws://127.0.0.1:${port}`, { setHost: false } as object);
    client.on('error', () => {});
    const head = await until('a request', () => heads[0]);
    client.terminate();
    return /^Host: /im.test(head);
  },
  false,
  true,
);

differs(
  'A redirect to another host takes a client certificate',
  async (implementation) => {
    const { wss, url } = await serve(ws);
    const connection = once(wss, 'connection');
    const { http, url: from } = await listenHttp();
    http.on('upgrade', (_request, socket) => socket.end(`HTTP/1.1 302 Found\r\nLocation: ${url}\r\n\r\n`));
    const client = new implementation.WebSocket(from, {
      followRedirects: true,
      headers: { 'Proxy-Authorization': 'Basic x' },
    });
    const [, request] = await connection;
    client.on('error', () => {}).terminate();
    return request.headers['proxy-authorization'] ?? null;
  },
  'Basic x',
  null,
);

heldBy(
  'A response that an `unexpected-response` listener has read',
  'test/ws/client-giving-up.test.ts',
  'a refusal that a listener has read to its end leaves no connection',
);
heldBy('What `finishRequest` throws', 'test/ws/client-giving-up.test.ts', 'what finishRequest throws is');
heldBy("A client's `headers`", 'test/ws/client-request.test.ts', 'headers may be an object, pairs, a Map');

/** A server on a unix socket, and how a client of `address` ends. */
async function unixSocket(
  { WebSocket }: Implementation,
  name: string,
  answer: (url: string, socket: Duplex) => void,
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-differences-'));
  const http = createServer().listen(join(folder, name));
  cleanUp(() => {
    http.close();
    rmSync(folder, { recursive: true, force: true });
  });
  await once(http, 'listening');
  http.on('upgrade', ({ url }, socket) => answer(url!, socket));
  const client = new WebSocket(`ws+unix:${folder}/${name}:/`, { followRedirects: true });
  const error = await new Promise<NodeJS.ErrnoException>((resolve) => client.on('error', resolve));
  return error.code ?? error.message;
}

differs(
  'The path of a socket in a `ws+unix:` address',
  (implementation) =>
    unixSocket(implementation, 'a b', (_url, socket) => socket.end('HTTP/1.1 418 Here\r\n\r\n')),
  'ENOENT',
  'Unexpected server response: 418',
);

differs(
  'A `Location` without a host',
  (implementation) =>
    unixSocket(implementation, 'socket', (url, socket) =>
      socket.end(
        url === '/' ? 'HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n' : 'HTTP/1.1 418 There\r\n\r\n',
      ),
    ),
  'ENOENT',
  'Unexpected server response: 418',
);

heldBy(
  '`tls`, `http2`, `maxStreams`',
  'test/server/tls-port.test.ts',
  'HTTP/2, HTTP/1.1 by ALPN, and HTTP/1.1 of who has no ALPN',
);

test('every row and point of the document has a check, and every check a row', () => {
  const text = readFileSync('docs/ws-compatibility.md', 'utf8');
  const differences = text.slice(text.indexOf('## What differs'));
  const rows = [...differences.matchAll(/^(?:\| (?!ws \|)|- )(.*)$/gm)].map(([, row]) => row!);
  const points = rows.filter((row) => !/^\|/.test(row) && row.trim() !== '');
  assert.ok(points.length > 30);
  for (const row of points) {
    assert.ok(
      checked.some((each) => row.startsWith(each)),
      `no check for: ${row}`,
    );
  }
  for (const each of checked) {
    assert.ok(
      points.some((row) => row.startsWith(each)),
      `no row that begins with: ${each}`,
    );
  }
});
