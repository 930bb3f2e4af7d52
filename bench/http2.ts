/**
 * `npm run bench -- http2`: what a WebSocket costs a server over TLS, by HTTP/1.1 and on a stream of HTTP/2, all sockets on
 * one connection or each on its own; `ws` beside it, which has HTTP/1.1 only. Clients and rounds are the same for all.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2, { type ClientHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { makeCertificates } from '../test/support/certificates.ts';
import { median, spread } from './statistics.ts';

const WAYS = ['ws, HTTP/1.1', 'HTTP/1.1', 'HTTP/2, one connection', 'HTTP/2, one each'] as const;
type Way = (typeof WAYS)[number];

interface Shape {
  name: string;
  sockets: number;
  /** Messages under way on each socket; 0: none, and the memory of sockets is measured. */
  depth: number;
}

const SHAPES: Shape[] = [
  { name: 'echo 125 B, 1 socket, 1 outstanding', sockets: 1, depth: 1 },
  { name: 'echo 125 B, 64 sockets, 1 outstanding', sockets: 64, depth: 1 },
  { name: 'echo 125 B, 64 sockets, 16 outstanding', sockets: 64, depth: 16 },
  { name: 'idle', sockets: 500, depth: 0 },
];
const LOOKS = 8;
const MESSAGE = Buffer.alloc(125, 'x');

/** What the server tells of itself: microseconds of processor time, and bytes. */
interface Usage {
  cpu: number;
  rss: number;
}

export async function benchHttp2(rounds: number, seconds: number, isShort: boolean): Promise<void> {
  const shapes = isShort
    ? SHAPES.map((shape) => ({ ...shape, sockets: Math.min(shape.sockets, 8) }))
    : SHAPES;
  const certificates = makeCertificates();
  try {
    for (const shape of shapes) {
      const figures = new Map<Way, number[]>(WAYS.map((way) => [way, []]));
      for (let round = 0; round < rounds; round++) {
        // Whoever begins differs from round to round.
        for (let i = 0; i < WAYS.length; i++) {
          const way = WAYS[(i + round) % WAYS.length]!;
          figures.get(way)!.push(await measure(way, shape, seconds, certificates));
        }
      }
      const unit = shape.depth === 0 ? 'kB RSS a socket' : 'µs of server CPU a message';
      console.log(`\n${shape.name}: ${unit}, median of ${rounds}`);
      const reference = median(figures.get('ws, HTTP/1.1')!);
      for (const [way, values] of figures) {
        const own = median(values);
        const around = (spread(values) * 100).toFixed(0).padStart(3);
        const ratio = (reference / own).toFixed(2);
        console.log(`  ${way.padEnd(24)} ${own.toFixed(2).padStart(8)} ±${around} %   ws ÷ own ${ratio}`);
      }
    }
  } finally {
    certificates.remove();
  }
}

async function measure(
  way: Way,
  { sockets, depth }: Shape,
  seconds: number,
  certificates: ReturnType<typeof makeCertificates>,
): Promise<number> {
  const child = fork(fileURLToPath(import.meta.url), [way, certificates.certFile, certificates.keyFile], {
    execArgv: [...process.execArgv, '--expose-gc'],
  });
  const [port] = (await once(child, 'message')) as [number];
  const { WebSocket } = await import('../src/ws.ts');
  const open: InstanceType<typeof WebSocket>[] = [];
  const sessions: ClientHttp2Session[] = [];
  const before = await usageOf(child);
  for (let i = 0; i < sockets; i++) {
    let session: ClientHttp2Session | undefined;
    if (way.startsWith('HTTP/2')) {
      session = way === 'HTTP/2, one connection' ? sessions[0] : undefined;
      if (session === undefined) {
        session = http2.connect(`https://localhost:${port}`, { ca: certificates.ca });
        sessions.push(session);
      }
    }
    const options = { ca: certificates.ca, perMessageDeflate: false, ...(session && { http2: session }) };
    const websocket = new WebSocket(`wss://localhost:${port}/`, options);
    await once(websocket, 'open');
    if (websocket.fallbackReason !== undefined) throw new Error(websocket.fallbackReason);
    open.push(websocket);
  }
  let figure: number;
  if (depth === 0) figure = ((await usageOf(child)).rss - before.rss) / sockets / 1000;
  else {
    let count = 0;
    for (const websocket of open) {
      websocket.on('message', () => {
        count++;
        websocket.send(MESSAGE);
      });
      for (let i = 0; i < depth; i++) websocket.send(MESSAGE);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    figure = Number.POSITIVE_INFINITY;
    // Whatever else the machine does makes a message dearer, never cheaper: so the least of several looks is it.
    for (let look = 0; look < LOOKS; look++) {
      const [begin, first] = [await usageOf(child, false), count];
      await new Promise((resolve) => setTimeout(resolve, (seconds * 1000) / LOOKS));
      const [end, last] = [await usageOf(child, false), count];
      figure = Math.min(figure, (end.cpu - begin.cpu) / (last - first));
    }
  }
  for (const websocket of open) websocket.terminate();
  for (const session of sessions) session.destroy();
  child.kill('SIGKILL');
  await once(child, 'exit');
  return figure;
}

async function usageOf(child: ChildProcess, isSettled = true): Promise<Usage> {
  child.send(isSettled);
  return (await once(child, 'message'))[0] as Usage;
}

/** The server's process. */
async function serve(way: Way, certFile: string, keyFile: string): Promise<void> {
  const server = http2.createSecureServer({
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    allowHTTP1: true,
    settings: { enableConnectProtocol: true, maxConcurrentStreams: 1000 },
  });
  const { WebSocketServer } =
    way === 'ws, HTTP/1.1'
      ? await import('ws')
      : ((await import('../src/ws.ts')) as unknown as typeof import('ws'));
  const wss = new WebSocketServer({ server: server as never });
  wss.on('connection', (websocket) => {
    websocket.on('error', () => {});
    websocket.on('message', (data) => websocket.send(data));
  });
  process.on('message', async (isSettled) => {
    for (let i = 0; i < 3 && isSettled; i++) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const { user, system } = process.cpuUsage();
    process.send?.({ cpu: user + system, rss: process.memoryUsage.rss() } satisfies Usage);
  });
  server.listen(0, 'localhost', () => process.send?.((server.address() as AddressInfo).port));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [way, certFile = '', keyFile = ''] = process.argv.slice(2);
  await serve(way as Way, certFile, keyFile);
}
