/** Every server that can be started: by name, with the program that runs it and the wire it speaks. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { baseFolder, benchFolder, outFolder } from './build.ts';
import type { PageWire, SenderKind } from './pages/job.ts';

/** How the load generator opens a connection and what it puts on it. */
export type Wire = 'websocket' | 'raw' | 'socket.io' | 'sockjs';
export type Mode = 'echo' | 'broadcast' | 'idle';
/**
 * How an echo is answered: at once; in another turn of the event loop, all that came in together; with a
 * callback for each send; or with a large message that the server holds, named by the number in the request.
 */
export type Answers = 'now' | 'later' | 'callback' | 'stored';

/** Named as the option of `npm run peer`. */
export type Limit = 'max-payload' | 'max-fragments' | 'max-buffered-chunks';

export interface Peer {
  name: string;
  /** For the report. */
  what: string;
  runtime: 'node' | 'bun' | 'deno';
  /** The file in peers/, without its ending. */
  entry: string;
  wire: Wire;
  /** It needs nothing of bench/package.json. */
  isOwn?: boolean;
  /** It can negotiate permessage-deflate. */
  deflate: boolean;
  /** What `npm run peer` can limit. */
  limits?: Limit[];
  /** It can be run as several processes on one port. */
  workers?: boolean;
  /** It can answer in every way of `Answers`. */
  answers?: boolean;
  /** The folder of its program below bench/dist, where that isn't peers. */
  folder?: string;
  /** Of its handshake, where that isn't /. */
  path?: string;
  /** For the rows of push servers: what its pages speak, and through what they are sent to. */
  pages?: {
    wire: PageWire;
    path: string;
    /** Through Redis. Left out: the server runs without one. */
    sender?: SenderKind;
    /** A page that comes back gets what it has missed. */
    recovers?: boolean;
    /** It has no device, and so acknowledges nothing. */
    isQuiet?: boolean;
  };
  args?: string[];
  env?: Record<string, string>;
}

const SOCKET_IO = '/socket.io/?EIO=4&transport=websocket';

const list: Peer[] = [
  { name: 'ws', what: 'ws with bufferutil', runtime: 'node', entry: 'ws', wire: 'websocket', deflate: true },
  {
    name: 'ws-js',
    what: 'ws without bufferutil',
    runtime: 'node',
    entry: 'ws',
    wire: 'websocket',
    deflate: true,
    env: { WS_NO_BUFFER_UTIL: '1' },
  },
  {
    name: 'tidings',
    what: 'tidings, its own listener',
    runtime: 'node',
    entry: 'tidings',
    wire: 'websocket',
    deflate: true,
    isOwn: true,
  },
  {
    name: 'tidings-embedded',
    what: 'tidings on an http.Server',
    runtime: 'node',
    entry: 'tidings',
    wire: 'websocket',
    deflate: true,
    isOwn: true,
    args: ['--embedded'],
  },
  ...Object.entries({
    events: ['tidings, message events as with ws', '--api', 'events'],
    copies: ['tidings, messages that may be kept', '--api', 'copies'],
    plain: ['tidings without the shared read buffer', '--plain-reads'],
  }).map(
    ([variant, [what, ...args]]): Peer => ({
      name: `tidings-${variant}`,
      what: what!,
      runtime: 'node',
      entry: 'tidings',
      wire: 'websocket',
      deflate: true,
      args,
    }),
  ),
  { name: 'faye', what: 'faye-websocket', runtime: 'node', entry: 'faye', wire: 'websocket', deflate: false },
  {
    name: 'net',
    what: 'raw net, no protocol',
    runtime: 'node',
    entry: 'net',
    wire: 'raw',
    deflate: false,
    isOwn: true,
  },
  { name: 'bun', what: 'Bun, native', runtime: 'bun', entry: 'bun', wire: 'websocket', deflate: true },
  { name: 'deno', what: 'Deno, native', runtime: 'deno', entry: 'deno', wire: 'websocket', deflate: false },
  {
    name: 'socket.io',
    what: 'Socket.IO',
    runtime: 'node',
    entry: 'socketio',
    wire: 'socket.io',
    deflate: true,
  },
  { name: 'sockjs', what: 'sockjs-node', runtime: 'node', entry: 'sockjs', wire: 'sockjs', deflate: false },
  {
    name: 'sockjs-test',
    what: 'tidings, the services that SockJS protocol suites expect',
    runtime: 'node',
    entry: 'sockjs-test',
    wire: 'sockjs',
    deflate: false,
    isOwn: true,
  },
  {
    name: 'push',
    what: 'tidings, the push server: one user, all pages',
    runtime: 'node',
    entry: 'push',
    wire: 'websocket',
    deflate: false,
    path: '/socketServer?operator=bench',
  },
  ...(['plain', 'tidings.1'] as const).flatMap((wire) =>
    [true, false].map(
      (hasRedis): Peer => ({
        name: `push-${wire}${hasRedis ? '' : '-memory'}`,
        what: `tidings, the push server, pages in ${wire}${hasRedis ? '' : ', without Redis'}`,
        runtime: 'node',
        entry: 'push',
        wire: 'websocket',
        deflate: false,
        pages: {
          wire,
          path: '/socketServer',
          recovers: wire === 'tidings.1',
          ...(hasRedis && { sender: 'push' }),
        },
      }),
    ),
  ),
  {
    name: 'push-tidings.1-quiet',
    what: 'tidings, the push server, pages in tidings.1 that acknowledge nothing',
    runtime: 'node',
    entry: 'push',
    wire: 'websocket',
    deflate: false,
    pages: { wire: 'tidings.1', path: '/socketServer', recovers: true, isQuiet: true, sender: 'push' },
  },
  ...(
    [
      ['marks', 'to inboxes whose messages are marked'],
      ['ttl', 'each message with a lifetime'],
      ['keys', 'each message with a key, under which nothing is there yet'],
      ['replaces', 'each message in the place of the one before'],
    ] as const
  ).map(
    ([life, what]): Peer => ({
      name: `push-${life}`,
      what: `tidings, the push server, pages in tidings.1 that acknowledge nothing; ${what}`,
      runtime: 'node',
      entry: 'push',
      wire: 'websocket',
      deflate: false,
      pages: {
        wire: 'tidings.1',
        path: '/socketServer',
        recovers: true,
        isQuiet: true,
        sender: `push-${life}`,
      },
    }),
  ),
  {
    name: 'ws-pages',
    what: 'ws alone, which sends nothing',
    runtime: 'node',
    entry: 'ws',
    wire: 'websocket',
    deflate: false,
    pages: { wire: 'plain', path: '/' },
  },
  {
    name: 'ws+ioredis',
    what: 'ws and ioredis by hand; needs --redis',
    runtime: 'node',
    entry: 'ws-redis',
    wire: 'websocket',
    deflate: false,
    pages: { wire: 'plain', path: '/', sender: 'ioredis' },
  },
  {
    name: 'socket.io+redis',
    what: 'Socket.IO and its Redis adapter; needs --redis',
    runtime: 'node',
    entry: 'socketio-redis',
    wire: 'socket.io',
    deflate: false,
    pages: { wire: 'socket.io', path: SOCKET_IO, sender: 'socket.io' },
  },
  {
    name: 'socket.io+streams',
    what: 'Socket.IO, its adapter for Redis streams and connection state recovery; needs --redis',
    runtime: 'node',
    entry: 'socketio-redis',
    wire: 'socket.io',
    deflate: false,
    args: ['--streams'],
    pages: { wire: 'socket.io', path: SOCKET_IO, sender: 'socket.io-streams', recovers: true },
  },
];

const LIMITS: [entry: string, ...limits: Limit[]][] = [
  ['ws', 'max-payload', 'max-fragments', 'max-buffered-chunks'],
  ['tidings', 'max-payload', 'max-fragments'],
  ['faye', 'max-payload'],
  ['bun', 'max-payload'],
];
for (const peer of list) peer.limits = LIMITS.find(([entry]) => entry === peer.entry)?.slice(1) as Limit[];

const CLUSTERED = ['ws', 'ws-js', 'tidings', 'tidings-embedded', 'net'];
for (const peer of list) {
  peer.workers = CLUSTERED.includes(peer.name);
  peer.answers = peer.entry === 'ws' || peer.entry === 'tidings';
}

export const roster: ReadonlyMap<string, Peer> = new Map(list.map((peer) => [peer.name, peer]));

/** Behind the name of a tidings: that of the checkout that it is compared with (`--base`). */
export const BASE = '@base';

/** Where the program is that measures by itself, and what it knows the subject as. */
export function measuring(name: string): { folder: string; subject: string } {
  if (name.endsWith(BASE)) return { folder: baseFolder, subject: name.slice(0, -BASE.length) };
  return { folder: outFolder, subject: name };
}

export function peerNamed(name: string): Peer {
  if (name.endsWith(BASE)) return { ...peerNamed(name.slice(0, -BASE.length)), name, folder: 'base' };
  const peer = roster.get(name);
  if (!peer) throw new Error(`no peer is called ${name}; there are ${[...roster.keys()].join(', ')}`);
  return peer;
}

export interface ServerOptions {
  port?: number;
  host?: string;
  mode: Mode;
  answers?: Answers;
  /** Bytes of each stored answer. */
  answerSize?: number;
  deflate?: boolean;
  workers?: number;
  /** Of the raw wire: a byte for each connection that was accepted. */
  greet?: boolean;
  /** End with status 1 where a connection had an error: what a bench measures has none. */
  isStrict?: boolean;
  /** It has nothing to say on standard error: whatever it says there fails the run. */
  isSilent?: boolean;
  /** URL of a Redis that instances share. */
  redis?: string;
  limits?: { [name in Limit]?: number };
  /** Lets the collector be asked for (SIGUSR2), for measuring memory at rest. */
  exposeGc?: boolean;
  /** More flags for node, such as --cpu-prof. */
  nodeFlags?: string[];
}

/** The program and arguments that start a peer, from the JavaScript that `buildBench` made. */
export function command(
  peer: Peer,
  options: ServerOptions,
): { file: string; args: string[]; env: NodeJS.ProcessEnv } {
  const script = join(outFolder, peer.folder ?? 'peers', `${peer.entry}.js`);
  if (!existsSync(script)) throw new Error(`${peer.name} is not here yet: no bench/peers/${peer.entry}.ts`);
  const flags: string[] = [];
  let file = process.execPath;
  if (peer.runtime === 'node') {
    if (options.exposeGc) flags.push('--expose-gc');
    flags.push(...(options.nodeFlags ?? []));
  } else {
    file = nativeProgram(peer.runtime);
    if (peer.runtime === 'bun') flags.push('run');
    else
      flags.push(
        'run',
        '--allow-all',
        '--no-config',
        '--no-lock',
        ...(options.exposeGc ? ['--v8-flags=--expose-gc'] : []),
      );
  }
  const own = ['--port', String(options.port ?? 0), '--mode', options.mode];
  if (options.host) own.push('--host', options.host);
  if (options.workers && options.workers > 1) own.push('--workers', String(options.workers));
  if (options.greet) own.push('--greet');
  if (options.redis) own.push('--redis', options.redis);
  if (options.deflate) own.push('--deflate');
  for (const [limit, value] of Object.entries(options.limits ?? {})) own.push(`--${limit}`, String(value));
  if (options.answers) own.push('--answers', options.answers);
  if (options.answerSize) own.push('--answer-size', String(options.answerSize));
  if (options.isStrict) own.push('--strict');
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    NODE_ENV: 'production',
    DENO_NO_UPDATE_CHECK: '1',
    DENO_NO_PACKAGE_JSON: '1',
    ...peer.env,
  };
  // Nobody measures code that is counted line by line.
  delete env['NODE_V8_COVERAGE'];
  return { file, args: [...flags, script, ...own, ...(peer.args ?? [])], env };
}

/**
 * Where npm has put the program: in the package itself where its install script ran, in the platform's
 * package where scripts are off.
 */
export function nativeProgram(name: 'bun' | 'deno'): string {
  const modules = join(benchFolder, 'node_modules');
  const scope = join(modules, name === 'bun' ? '@oven' : '@deno');
  const platforms = existsSync(scope)
    ? readdirSync(scope).flatMap((folder) => [join(scope, folder, 'bin', name), join(scope, folder, name)])
    : [];
  const own = name === 'bun' ? join(modules, 'bun', 'bin', 'bun.exe') : join(modules, 'deno', 'deno');
  for (const path of [own, ...platforms]) {
    // The package's own file is a placeholder of some hundred bytes until its install script has run.
    if (existsSync(path) && statSync(path).size > 1_000_000) return path;
  }
  throw new Error(`${name} is not installed: npm ci --prefix bench`);
}

/** A peer that can't run here says why; undefined for one that can. */
export function whyNot(peer: Peer): string | undefined {
  try {
    command(peer, { mode: 'echo' });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
