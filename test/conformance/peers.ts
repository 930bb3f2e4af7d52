/**
 * The peers that `npm run conformance` judges: echo servers, and clients that echo what the listening runner sends.
 * Each runs in a process of its own: `peers.ts server NAME`, or `peers.ts client NAME ADDRESS PARALLEL`.
 */
import { spawn } from 'node:child_process';
import { type EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { argv, exit, stdout } from 'node:process';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** tidings runs with its defaults; a server of it, as one of ws, has to be told to compress. */
const defaults = { perMessageDeflate: true };

/** What others need to pass: room for the largest message (16 MiB) and the most fragments of one (65,537). */
const raised = {
  maxPayload: 64 * 1024 * 1024,
  maxFragments: 0,
  maxBufferedChunks: 0,
  perMessageDeflate: true,
};

export interface Peer {
  /** Starts an echo server and resolves with its port. */
  server?: () => Promise<number>;
  /** Runs one case, echoing until the connection is gone; or, for other addresses, resolves with what came. */
  client?: (address: string) => Promise<string>;
  /** Both on streams of HTTP/2. Default: by upgrades. */
  http2?: true;
}

/** What tidings/ws and ws have in common. */
function likeWs(
  library: Pick<typeof import('ws'), 'WebSocket' | 'WebSocketServer'>,
  settings: { perMessageDeflate: boolean },
): Peer {
  const { WebSocket, WebSocketServer } = library;
  return {
    async server() {
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...settings });
      server.on('connection', (socket) => {
        // A broken connection is told by 'close' as well.
        socket.on('error', () => {});
        socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
      });
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    },
    client(address) {
      const socket = new WebSocket(address, settings);
      let last = '';
      socket.on('message', (data, isBinary) => {
        last = isBinary ? '' : data.toString();
        socket.send(data, { binary: isBinary });
      });
      socket.on('error', () => {});
      return new Promise((resolve) => socket.on('close', () => resolve(last)));
    },
  };
}

async function tidings(): Promise<Peer> {
  return likeWs((await import('../../src/ws.ts')) as unknown as typeof import('ws'), defaults);
}

/** As `tidings`, whose server listens by itself, but on Node's HTTP server. */
async function tidingsOnHttp(): Promise<Peer> {
  const { WebSocketServer } = await import('../../src/ws.ts');
  return {
    async server() {
      const http = createServer();
      const server = new WebSocketServer({ server: http, ...defaults });
      server.on('connection', (socket) => {
        socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }));
      });
      http.listen(0, '127.0.0.1');
      await once(http, 'listening');
      return (http.address() as AddressInfo).port;
    },
  };
}

/** As `tidings`, on streams of one session of HTTP/2 (RFC 8441). */
async function tidingsOnHttp2(): Promise<Peer> {
  const { WebSocket, WebSocketServer } = await import('../../src/ws.ts');
  const sessions = new Map<string, ClientHttp2Session>();
  return {
    http2: true,
    async server() {
      const http = http2.createServer({ settings: { maxConcurrentStreams: 1000 } });
      const server = new WebSocketServer({ server: http, ...defaults });
      server.on('connection', (socket) => {
        socket.on('error', () => {});
        socket.on('message', (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }));
      });
      http.listen(0, '127.0.0.1');
      await once(http, 'listening');
      return (http.address() as AddressInfo).port;
    },
    client(address) {
      const { host } = new URL(address);
      const session = sessions.get(host) ?? http2.connect(`http://${host}`);
      sessions.set(host, session);
      const socket = new WebSocket(address, { ...defaults, http2: session });
      let last = '';
      socket.on('message', (data, isBinary) => {
        last = isBinary ? '' : data.toString();
        socket.send(data as Buffer, { binary: isBinary });
      });
      socket.on('error', () => {});
      return new Promise((resolve) =>
        socket.on('close', () => {
          if (socket.fallbackReason !== undefined) throw new Error(socket.fallbackReason);
          resolve(last);
        }),
      );
    },
  };
}

async function ws(): Promise<Peer> {
  return likeWs(await import('ws'), raised);
}

async function undici(): Promise<Peer> {
  const { WebSocket } = await import('undici');
  return {
    client(address) {
      const socket = new WebSocket(address);
      socket.binaryType = 'arraybuffer';
      let last = '';
      socket.addEventListener('message', ({ data }: { data: string | ArrayBuffer }) => {
        last = typeof data === 'string' ? data : '';
        socket.send(data);
      });
      return new Promise((resolve) => {
        socket.addEventListener('close', () => resolve(last));
      });
    },
  };
}

/** What is used of faye-websocket, which has no types. */
interface Faye extends EventEmitter {
  send(data: string | Buffer): boolean;
}

interface FayeLibrary {
  new (request: IncomingMessage, socket: Duplex, head: Buffer, protocols: string[], options: object): Faye;
  Client: new (address: string, protocols: string[], options: object) => Faye;
}

async function faye(): Promise<Peer> {
  const require = createRequire(import.meta.url);
  const Library = require('faye-websocket') as FayeLibrary;
  const options = {
    maxLength: raised.maxPayload,
    extensions: [require('permessage-deflate')],
  };
  const echo = (socket: Faye): { last: string } => {
    const seen = { last: '' };
    // A broken connection is told by 'close' as well.
    socket.on('error', () => {});
    socket.on('message', ({ data }: { data: string | Buffer }) => {
      seen.last = typeof data === 'string' ? data : '';
      socket.send(data);
    });
    return seen;
  };
  return {
    async server() {
      const server = createServer();
      server.on('upgrade', (request, socket, head) => {
        echo(new Library(request, socket, head, [], options));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    },
    client(address) {
      const socket = new Library.Client(address, [], options);
      const seen = echo(socket);
      return new Promise((resolve) => socket.on('close', () => resolve(seen.last)));
    },
  };
}

/** Bun's own server, as the benches start it. */
async function bun(): Promise<Peer> {
  const { buildBench } = await import('../../bench/build.ts');
  const { command, peerNamed } = await import('../../bench/roster.ts');
  const { listeningPort } = await import('../../bench/processes.ts');
  return {
    async server() {
      await buildBench();
      const { file, args, env } = command(peerNamed('bun'), { mode: 'echo', deflate: true });
      const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
      process.on('exit', () => child.kill());
      return listeningPort(child, 'bun');
    },
  };
}

export const peers: Record<string, () => Promise<Peer>> = {
  tidings,
  'tidings-http': tidingsOnHttp,
  'tidings-http2': tidingsOnHttp2,
  ws,
  faye,
  undici,
  bun,
};

/** Runs all cases of the listening runner at `address`, `parallel` at a time, and asks for the report. */
async function drive(
  client: (address: string) => Promise<string>,
  name: string,
  address: string,
  parallel: number,
) {
  const count = Number(await client(`${address}/getCaseCount`));
  let next = 1;
  const worker = async (): Promise<void> => {
    while (next <= count) await client(`${address}/runCase?case=${next++}&agent=${name}`);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  await client(`${address}/updateReports?agent=${name}`);
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [role, name = '', address = '', parallel = '8'] = argv.slice(2);
  // Ends with the program that started it, however that ends.
  process.stdin.on('end', () => exit(0)).resume();
  process.on('SIGTERM', () => exit(0));
  // Ctrl-C goes to both; that program needs this one a moment longer.
  process.on('SIGINT', () => {});
  const peer = await peers[name]?.();
  if (role === 'server' && peer?.server) {
    stdout.write(`port ${await peer.server()}\n`);
  } else if (role === 'client' && peer?.client) {
    await drive(peer.client, name, address, Number(parallel));
    exit(0);
  } else {
    exit(1);
  }
}
