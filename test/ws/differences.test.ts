/** docs/ws-compatibility.md says what differs: here both do what it says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { test } from 'node:test';
import type { ServerOptions } from 'ws';
import { cleanUp, frame, listenHttp, RawPeer, REQUEST } from '../server/support.ts';
import { until } from '../support/net.ts';
import { type Implementation, implementations, serve } from './implementations.ts';

const [ws, tidings] = implementations as [Implementation, Implementation];

/** Runs it with both, and compares with what each is said to do. */
function differs<T>(
  what: string,
  row: string,
  run: (implementation: Implementation) => Promise<T>,
  theirs: T,
  ours: T,
): void {
  test(`${what}: ws ${JSON.stringify(theirs)}, tidings/ws ${JSON.stringify(ours)}`, async () => {
    assert.ok(readFileSync('docs/ws-compatibility.md', 'utf8').includes(row), `the document has: ${row}`);
    assert.deepEqual(await run(ws), theirs);
    assert.deepEqual(await run(tidings), ours);
  });
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
  'a path that others may serve',
  'it is left to them',
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
  'a flood of pings to a peer that does not read',
  'One pong is pending',
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
  'no Connection: Upgrade, to handleUpgrade',
  '400 without it',
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
  'an unknown version',
  '426 where it is a version',
  (implementation) => status(implementation, REQUEST.replace('Version: 13', 'Version: 99')),
  400,
  426,
);

differs(
  'a bad offer of permessage-deflate',
  'It is declined',
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
  'a length in a longer form than it needs',
  'WS_ERR_INVALID_PAYLOAD_LENGTH',
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
  'serverMaxWindowBits: 8',
  'It throws a RangeError',
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
  'pause() with more messages read',
  'The message at hand is the last one',
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
    await new Promise((resolve) => setTimeout(resolve, 20));
    return messages;
  },
  3,
  1,
);

differs(
  'binaryType fragments',
  'an array of one Buffer',
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
  'contexts of permessage-deflate',
  'By default it does not',
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
  'handshakeTimeout of a client, with a byte now and then',
  'the time for the whole handshake',
  async ({ WebSocket }) => {
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
      }, 20);
      socket.write('HTTP/1.1 101 ');
      socket.on('close', () => clearInterval(drip));
      cleanUp(() => socket.destroy());
    }).listen(0, '127.0.0.1');
    cleanUp(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    for (;;) {
      [drips, longestPause, last] = [0, 0, performance.now()];
      const client = new WebSocket(`ws://127.0.0.1:${port}`, { handshakeTimeout: 300 });
      let isFailed = false;
      client.on('error', () => {
        isFailed = true;
      });
      // Counted, as that takes longer on a busy machine than any timer.
      await until('the timeout, or three times as long', () => isFailed || drips >= 50);
      const result = isFailed;
      client.terminate();
      // Where the machine has slept there was a time without a byte.
      if (!result || Math.max(longestPause, performance.now() - last) < 150) return result;
    }
  },
  false,
  true,
);

for (const implementation of implementations) {
  test(`${implementation.name}: an error without a listener`, async () => {
    const { wss, port } = await serve(implementation);
    const thrown = new Promise<string>((resolve) => {
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
    assert.equal(await thrown, implementation.name === 'ws' ? 'thrown' : 'closed');
  });
}
