/** Servers that are silent, slow, wrong or hostile, a hundred clients at once: one error and one close for each. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { createServer as createSecureServer } from 'node:tls';
import { acceptKey } from '../../src/protocol/index.ts';
import { type ClientOptions, WebSocket } from '../../src/ws.ts';
import { cleanUp } from '../server/support.ts';
import { until } from '../support/net.ts';
import { certificates } from './client-support.ts';

const CLIENTS = 100;
const SHORT = { handshakeTimeout: 500 };

interface Peer {
  url: string;
  sockets: Set<Socket>;
}

/** A server of bytes: `answer` gets each connection, and the head of its request where `waits`. */
async function listen(server: Server, scheme: string): Promise<Peer> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 511 });
  await once(server, 'listening');
  cleanUp(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

type Answer = (socket: Socket, head: string) => void;

function answering(answer: Answer): (socket: Socket) => void {
  return (socket) => {
    let head = '';
    socket.on('error', () => {});
    socket.on('data', function read(chunk) {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.off('data', read);
      socket.resume();
      answer(socket, head);
    });
  };
}

/** Writes it again and again until the connection is over. */
function endlessly(socket: Socket, text: string, everyMs = 0): void {
  const timer = setInterval(() => socket.write(text), everyMs);
  socket.on('close', () => clearInterval(timer));
}

function accepted(head: string, lines = ''): string {
  const key = /sec-websocket-key: (.*)\r\n/i.exec(head)![1]!;
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n${lines}\r\n`;
}

/** A hundred clients; what each was told. */
async function crowd(
  peer: Peer,
  options: ClientOptions = {},
  prepare: (client: WebSocket) => void = () => {},
): Promise<unknown[][]> {
  const stories: unknown[][] = [];
  for (let count = 0; count < CLIENTS; count++) {
    const client = new WebSocket(peer.url, { ...SHORT, ca: certificates.ca, ...options });
    const told: unknown[] = [];
    stories.push(told);
    client.on('open', () => told.push('open'));
    client.on('error', (error: NodeJS.ErrnoException) => told.push(`error ${error.message}`));
    client.on('close', (code) => {
      told.push(`close ${code}`);
      assert.equal(client.readyState, WebSocket.CLOSED);
    });
    prepare(client);
  }
  const isOver = (told: unknown[]) => told.some((each) => String(each).startsWith('close'));
  await until('every client has closed', () => stories.every(isOver));
  // One that does not read does not hear of the end.
  for (const socket of peer.sockets) socket.resume();
  await until('no connection is left', () => peer.sockets.size === 0);
  return stories;
}

const TIMED_OUT = /^Opening handshake has timed out$/;
/** Where something else than the time ends it, a slow machine must not be what does. */
const PATIENT = { handshakeTimeout: 60_000 };
const BROKEN = /hang up|ECONNRESET|EPIPE|disconnected/;

/** All of them end with one error, and one close with 1006. */
async function fails(
  peer: Peer,
  message: RegExp,
  options: ClientOptions = {},
  prepare?: (client: WebSocket) => void,
): Promise<void> {
  for (const told of await crowd(peer, options, prepare)) {
    assert.equal(told.length, 2, String(told));
    assert.match(String(told[0]).replace(/^error /, ''), message);
    assert.equal(told[1], 'close 1006');
  }
}

function refuses(what: string, message: RegExp, answer: Answer, options?: ClientOptions): void {
  test(`a server that ${what}`, async () => {
    await fails(
      await listen(createServer(answering(answer)), 'ws'),
      message,
      message === TIMED_OUT ? options : { ...PATIENT, ...options },
    );
  });
}

// ── silent and slow ───────────────────────────────────────────────────────────────────────────────

refuses('is silent', TIMED_OUT, () => {});
refuses('sends a byte now and then', TIMED_OUT, (socket) => {
  let at = 0;
  const timer = setInterval(
    () => socket.write('HTTP/1.1 101 Switching Protocols\r\nX: y\r\n'.charAt(at++) || 'y'),
    20,
  );
  socket.on('close', () => clearInterval(timer));
});
refuses('sends half a head', TIMED_OUT, (socket) =>
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgra'),
);
refuses('sends 103 for ever (RFC 9110 §15.2)', TIMED_OUT, (socket) =>
  endlessly(socket, 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n', 5),
);
refuses('sends 100 for ever', TIMED_OUT, (socket) => endlessly(socket, 'HTTP/1.1 100 Continue\r\n\r\n', 5));
refuses(
  'sends 101 without Upgrade and Connection',
  /timed out|^Unexpected server response: 101$/,
  (socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n'),
  SHORT,
);
refuses(
  'redirects to itself slowly',
  TIMED_OUT,
  (socket) => {
    setTimeout(() => socket.end('HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\n\r\n'), 30);
  },
  { followRedirects: true, maxRedirects: 1e6 },
);

test('a server that does not read, nor answer, nor close', async () => {
  const server = createServer({ pauseOnConnect: true });
  await fails(await listen(server, 'ws'), TIMED_OUT);
});

// ── too much ──────────────────────────────────────────────────────────────────────────────────────

refuses('sends header lines without end', /overflow/i, (socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\n');
  endlessly(socket, 'X-Line: abcdefgh\r\n'.repeat(200));
});
refuses('sends one header line without end', /overflow/i, (socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nX: ');
  endlessly(socket, 'x'.repeat(4096));
});
refuses(
  'sends a status line without end',
  /Parse Error|overflow|timed out/i,
  (socket) => {
    socket.write('HTTP/1.1 101 ');
    endlessly(socket, 'x'.repeat(4096));
  },
  SHORT,
);
refuses('answers 200 with a body without end', /^Unexpected server response: 200$/, (socket) => {
  socket.write('HTTP/1.1 200 OK\r\n\r\n');
  endlessly(socket, 'x'.repeat(4096));
});
refuses(
  'redirects with a body without end, in a circle',
  /^Maximum redirects exceeded$/,
  (socket) => {
    socket.write('HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n');
    endlessly(socket, 'x'.repeat(4096));
  },
  { followRedirects: true },
);

test('a server that answers 401 with a body without end, which a listener reads', async () => {
  const peer = await listen(
    createServer(
      answering((socket) => {
        socket.write('HTTP/1.1 401 Unauthorized\r\n\r\n');
        endlessly(socket, 'x'.repeat(512), 5);
      }),
    ),
    'ws',
  );
  await fails(peer, TIMED_OUT, {}, (client) =>
    client.on('unexpected-response', (_request, response) => response.on('error', () => {}).resume()),
  );
});

for (const [how, end] of [
  ['resets', (socket: Socket) => setTimeout(() => socket.resetAndDestroy(), 20)],
  ['resets at once', (socket: Socket) => socket.resetAndDestroy()],
  ['ends', (socket: Socket) => socket.end()],
  ['ends a little later', (socket: Socket) => setTimeout(() => socket.end(), 20)],
] as const) {
  test(`a server that answers 401 and ${how} in the middle of a body that a listener reads`, async () => {
    const peer = await listen(
      createServer(
        answering((socket) => {
          socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nno', () => end(socket));
        }),
      ),
      'ws',
    );
    await fails(peer, BROKEN, PATIENT, (client) =>
      client.on('unexpected-response', (_request, response) => response.on('error', () => {}).resume()),
    );
  });
}

// ── wrong ─────────────────────────────────────────────────────────────────────────────────────────

refuses('speaks something else', /Parse Error/, (socket) =>
  socket.write('\x00\x01SSH-2.0-OpenSSH\r\n\r\n\r\n'),
);
refuses('ends at once', BROKEN, (socket) => socket.end());
refuses('resets at once', BROKEN, (socket) => socket.resetAndDestroy());
refuses('ends in the middle of its head', BROKEN, (socket) => socket.end('HTTP/1.1 101 Swi'));
refuses('resets in the middle of its head', BROKEN, (socket) => {
  socket.write('HTTP/1.1 101 Swi', () => socket.resetAndDestroy());
});
refuses('ends behind 103', BROKEN, (socket) => socket.end('HTTP/1.1 103 Early Hints\r\n\r\n'));
refuses('answers 204', /^Unexpected server response: 204$/, (socket) =>
  socket.end('HTTP/1.1 204 No Content\r\n\r\n'),
);
refuses(
  'answers 304',
  /^Unexpected server response: 304$/,
  (socket) => socket.end('HTTP/1.1 304 Not Modified\r\n\r\n'),
  {
    followRedirects: true,
  },
);
refuses(
  'redirects to nowhere',
  /^Unexpected server response: 302$/,
  (socket) => {
    socket.end('HTTP/1.1 302 Found\r\nLocation:\r\n\r\n');
  },
  { followRedirects: true },
);
refuses(
  'redirects in a circle',
  /^Maximum redirects exceeded$/,
  (socket) => {
    socket.end('HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n');
  },
  { followRedirects: true },
);
refuses('accepts a key of its own', /^Invalid Sec-WebSocket-Accept header$/, (socket, head) =>
  socket.write(accepted(head.replace(/(sec-websocket-key: )..../i, '$1AAAA'))),
);
refuses('accepts twice in one head', /^Invalid Sec-WebSocket-Accept header$/, (socket, head) => {
  const [line] = /Sec-WebSocket-Accept.*\r\n/.exec(accepted(head))!;
  socket.write(accepted(head, line));
});
refuses('upgrades to something else', /^Invalid Upgrade header$/, (socket, head) =>
  socket.write(accepted(head).replace('Upgrade: websocket', 'Upgrade: h2c')),
);
refuses(
  'picks a subprotocol that nobody asked for',
  /^Server sent a subprotocol but none was requested$/,
  (socket, head) => socket.write(accepted(head, 'Sec-WebSocket-Protocol: chat\r\n')),
);
refuses(
  'picks an extension that nobody asked for',
  /^Server indicated an extension that was not requested$/,
  (socket, head) => socket.write(accepted(head, 'Sec-WebSocket-Extensions: x-unknown\r\n')),
);
refuses(
  'answers with wrong parameters of permessage-deflate',
  /Invalid|permessage-deflate|parameter/i,
  (socket, head) =>
    socket.write(
      accepted(head, 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n'),
    ),
);
refuses(
  'has answered before it was asked',
  /^(Invalid Sec-WebSocket-Accept header|Parse Error.*)$/,
  (socket) =>
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    ),
);

// ── accepted, and then ────────────────────────────────────────────────────────────────────────────

function opens(what: string, expected: RegExp[], answer: Answer): void {
  test(`a server that accepts, and ${what}: open, then what is wrong once, and one close`, async () => {
    for (const told of await crowd(await listen(createServer(answering(answer)), 'ws'), PATIENT)) {
      assert.equal(told.length, expected.length, String(told));
      for (const [at, pattern] of expected.entries()) assert.match(String(told[at]), pattern);
    }
  });
}

const WRONG_FRAME = [/^open$/, /^error Invalid WebSocket frame/, /^close 100[26]$/];
opens('has garbage behind it in the same packet', WRONG_FRAME, (socket, head) =>
  socket.write(`${accepted(head)}garbage!`),
);
opens('sends garbage a moment later', WRONG_FRAME, (socket, head) => {
  socket.write(accepted(head));
  setImmediate(() => socket.write('garbage!'));
});
opens('accepts once more', WRONG_FRAME, (socket, head) => socket.write(accepted(head) + accepted(head)));
opens('sends a page of HTML', WRONG_FRAME, (socket, head) => socket.end(`${accepted(head)}<html>`.repeat(1)));
opens('ends at once', [/^open$/, /^close 1006$/], (socket, head) => socket.end(accepted(head)));
opens('resets at once', [/^open$/, /^close 1006$/], (socket, head) => {
  socket.write(accepted(head), () => setTimeout(() => socket.resetAndDestroy(), 20));
});
opens('closes in the same packet', [/^open$/, /^close 1001$/], (socket, head) =>
  socket.end(Buffer.concat([Buffer.from(accepted(head)), Buffer.from([0x88, 2, 3, 0xe9])])),
);
opens('had sent 100, 102 and 103 before it', [/^open$/, /^close 1000$/], (socket, head) => {
  socket.write(
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
  );
  setTimeout(() => {
    socket.end(Buffer.concat([Buffer.from(accepted(head)), Buffer.from([0x88, 2, 3, 0xe8])]));
  }, 20);
});
opens('says so byte by byte', [/^open$/, /^close 1000$/], (socket, head) => {
  const bytes = Buffer.concat([Buffer.from(accepted(head)), Buffer.from([0x88, 2, 3, 0xe8])]);
  socket.setNoDelay(true);
  let at = 0;
  const timer = setInterval(() => {
    socket.write(bytes.subarray(at, ++at));
    if (at === bytes.length) {
      clearInterval(timer);
      socket.end();
    }
  }, 0);
});

// ── TLS ───────────────────────────────────────────────────────────────────────────────────────────

for (const [what, message, behave] of [
  ['is silent', TIMED_OUT, () => {}],
  ['ends at once', BROKEN, (socket: Socket) => socket.end()],
  ['resets at once', BROKEN, (socket: Socket) => socket.resetAndDestroy()],
  ['ends behind the ClientHello', BROKEN, (socket: Socket) => socket.once('data', () => socket.end())],
  [
    'resets behind the ClientHello',
    BROKEN,
    (socket: Socket) => socket.once('data', () => socket.resetAndDestroy()),
  ],
  [
    'speaks HTTP',
    /SSL|TLS|EPROTO|packet/i,
    (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  ],
  [
    'sends an alert',
    /alert|SSL/i,
    (socket: Socket) => socket.once('data', () => socket.end(Buffer.from([21, 3, 3, 0, 2, 2, 40]))),
  ],
  [
    'sends half a record',
    TIMED_OUT,
    (socket: Socket) => socket.once('data', () => socket.write(Buffer.from([22, 3, 3, 1, 0, 2]))),
  ],
] as const) {
  test(`a TLS server that ${what}`, async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.resume();
      behave(socket);
    });
    await fails(await listen(server, 'wss'), message, message === TIMED_OUT ? {} : PATIENT);
  });
}

test('a TLS server that ends behind its handshake', async () => {
  const server = createSecureServer(
    { cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) },
    (socket) => {
      socket.on('error', () => {});
      socket.destroy();
    },
  );
  server.on('tlsClientError', () => {});
  await fails(await listen(server, 'wss'), BROKEN, PATIENT);
});
