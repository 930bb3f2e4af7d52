/**
 * The second part of `npm run bench -- http2`: how quickly large messages come in on a stream of HTTP/2, by the window that
 * the server gives to streams and to the session, near by and over a line that takes its time. HTTP/1.1 beside it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2, { type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { makeCertificates } from '../test/support/certificates.ts';
import { median, spread } from './statistics.ts';

const KIB = 1024;
/** Of a stream and of the session; none: HTTP/1.1. */
const WINDOWS: readonly (readonly [stream: number, session: number] | null)[] = [
  null,
  [64 * KIB - 1, 64 * KIB - 1],
  [64 * KIB - 1, KIB * KIB],
  [256 * KIB, 64 * KIB - 1],
  [256 * KIB, KIB * KIB],
  [KIB * KIB, KIB * KIB],
];
const DELAYS = [0, 10];
const SOCKETS = [1, 16];
const MESSAGE = Buffer.alloc(KIB * KIB, 'x');

export async function benchWindows(rounds: number, megabytes: number): Promise<void> {
  const certificates = makeCertificates();
  try {
    for (const delay of DELAYS) {
      for (const sockets of SOCKETS) {
        console.log(
          `\nmessages of 1 MiB to the server, ${sockets} ${sockets === 1 ? 'socket' : 'sockets'}, ${delay} ms on the way: MB/s, ms of server CPU a MB, median of ${rounds}`,
        );
        const figures = WINDOWS.map(() => [] as { speed: number; cpu: number }[]);
        for (let round = 0; round < rounds; round++) {
          for (let i = 0; i < WINDOWS.length; i++) {
            const at = (i + round) % WINDOWS.length;
            const amount = delay === 0 ? megabytes : Math.ceil(megabytes / 4);
            figures[at]!.push(await measure(WINDOWS[at]!, delay, sockets, amount, certificates));
          }
        }
        for (const [i, window] of WINDOWS.entries()) {
          const speeds = figures[i]!.map(({ speed }) => speed);
          const cpu = median(figures[i]!.map((each) => each.cpu));
          const name =
            window === null
              ? 'HTTP/1.1'
              : `stream ${Math.ceil(window[0] / KIB)} KiB, session ${Math.ceil(window[1] / KIB)} KiB`;
          console.log(
            `  ${name.padEnd(34)} ${median(speeds).toFixed(1).padStart(8)} ±${(spread(speeds) * 100).toFixed(0).padStart(3)} % ${cpu.toFixed(2).padStart(8)}`,
          );
        }
      }
    }
  } finally {
    certificates.remove();
  }
}

async function measure(
  window: (typeof WINDOWS)[number],
  delay: number,
  sockets: number,
  megabytes: number,
  certificates: ReturnType<typeof makeCertificates>,
): Promise<{ speed: number; cpu: number }> {
  const [stream, session] = window ?? [0, 0];
  const args = [String(stream), String(session), certificates.certFile, certificates.keyFile];
  const child = fork(fileURLToPath(import.meta.url), args, { execArgv: process.execArgv });
  const [port] = (await once(child, 'message')) as [number];
  const way = delay === 0 ? undefined : await slowWay(port, delay);
  const { WebSocket } = await import('../src/ws.ts');
  const ca = certificates.ca;
  const target = way?.port ?? port;
  const shared = window === null ? undefined : http2.connect(`https://localhost:${target}`, { ca });
  const open: InstanceType<typeof WebSocket>[] = [];
  for (let i = 0; i < sockets; i++) {
    const websocket = new WebSocket(`wss://localhost:${target}/`, {
      ca,
      perMessageDeflate: false,
      ...(shared && { http2: shared }),
    });
    await once(websocket, 'open');
    open.push(websocket);
  }
  // What they have sent before counts as warming up.
  await sendAll(open, sockets);
  const before = await usageOf(child);
  const begin = performance.now();
  await sendAll(open, megabytes);
  const seconds = (performance.now() - begin) / 1000;
  const cpu = ((await usageOf(child)) - before) / 1000 / megabytes;
  for (const each of open) each.terminate();
  shared?.destroy();
  way?.close();
  child.kill('SIGKILL');
  await once(child, 'exit');
  return { speed: megabytes / seconds, cpu };
}

/** So many messages in all; resolves when the last one was answered. */
async function sendAll(
  sockets: { send(data: Buffer): void; once(event: 'message', f: () => void): unknown }[],
  count: number,
): Promise<void> {
  let left = count;
  await Promise.all(
    sockets.map(async (socket) => {
      while (left-- > 0) {
        socket.send(MESSAGE);
        await new Promise<void>((resolve) => socket.once('message', resolve));
      }
    }),
  );
}

async function usageOf(child: ChildProcess): Promise<number> {
  child.send('usage');
  return (await once(child, 'message'))[0] as number;
}

/** What passes takes so many milliseconds, in each direction. */
async function slowWay(target: number, delay: number): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (from) => {
    const to = connect({ port: target, host: '127.0.0.1', noDelay: true });
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => other.destroy());
      one.on('data', (chunk) => setTimeout(() => other.writable && other.write(chunk), delay));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      for (const each of sockets) each.destroy();
      server.close();
    },
  };
}

/** The server's process. It answers each message with a short one. */
async function serve(window: number, session: number, certFile: string, keyFile: string): Promise<void> {
  const server = http2.createSecureServer({
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    allowHTTP1: true,
    settings: { enableConnectProtocol: true, ...(window > 0 && { initialWindowSize: window }) },
  });
  const { WebSocketServer } = await import('../src/ws.ts');
  const wss = new WebSocketServer({ server });
  wss.on('connection', (websocket, request) => {
    const { stream } = request as { stream?: ServerHttp2Stream };
    // The server has widened it.
    if (session > 0) stream?.session?.setLocalWindowSize(session);
    websocket.on('error', () => {});
    websocket.on('message', () => websocket.send('x'));
  });
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.(user + system);
  });
  server.listen(0, 'localhost', () => process.send?.((server.address() as AddressInfo).port));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [stream, session, certFile = '', keyFile = ''] = process.argv.slice(2);
  await serve(Number(stream), Number(session), certFile, keyFile);
}
