/**
 * How much more two workers of `tidings serve --workers` carry than one: messages to users, through a real Redis, to pages in
 * `tidings.1`. Where Redis, the pages and the sender share the cores with the workers, throughput says nothing of that. So
 * each worker gets the same load, far from what it could take, and counted is the CPU time that it takes: a worker is full when
 * that is a second each second. What all carry then is what makes the busiest process full, be it a worker or the primary.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { PushServer, redisBroker } from '../src/index.ts';
import { startRedis } from '../test/support/redis.ts';
import { cpuTime } from './proc.ts';
import { median, spread } from './statistics.ts';

export interface WorkersOptions {
  /** Pages and messages a second of each worker. */
  pages: number;
  rate: number;
  rounds: number;
  /** Seconds of each window. */
  seconds: number;
  progress: ((text: string) => void) | undefined;
}

export interface WorkersResult {
  /** Messages that all processes together can carry in a second, by the busiest, in each round. */
  one: number[];
  two: number[];
  /** Of the medians. */
  ratio: number;
  spread: number;
}

const TICK = 10;

/** @throws {Error} where a message was lost, or the sender could not keep up */
export async function measureWorkers(options: WorkersOptions): Promise<WorkersResult> {
  const one: number[] = [];
  const two: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    one.push(await measure(1, options));
    two.push(await measure(2, options));
    options.progress?.(
      `round ${round + 1}: 1 worker ${one.at(-1)!.toFixed(0)}/s, 2 workers ${two.at(-1)!.toFixed(0)}/s`,
    );
  }
  const ratios = two.map((carried, i) => carried / one[i]!);
  return { one, two, ratio: median(two) / median(one), spread: spread(ratios) };
}

async function measure(count: number, { pages, rate, seconds, progress }: WorkersOptions): Promise<number> {
  const redis = await startRedis();
  const args = [
    '--port',
    '0',
    '--policy-port',
    'off',
    '--query-user',
    'user',
    '--drain',
    '0',
    '--log-level',
    'warn',
  ];
  const program = spawn(
    process.execPath,
    ['dist/cli.js', 'serve', ...args, '--redis', redis.url, '--workers', String(count)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const push = new PushServer({ broker: redisBroker(redis.url, { intake: false }), log: () => {} });
  const sockets: WebSocket[] = [];
  try {
    const url = await urlOf(program.stdout);
    let received = 0;
    const users = Array.from({ length: pages * count }, (_, i) => `u${i}`);
    for (let i = 0; i < users.length; i += 50) {
      await Promise.all(
        users.slice(i, i + 50).map(async (user) => {
          const socket = new WebSocket(`${url}?user=${user}`, ['tidings.1']);
          sockets.push(socket);
          socket.on('message', (data: Buffer) => {
            if (data.indexOf('"type":"message"') >= 0) received++;
          });
          await once(socket, 'open');
          socket.send('{"type":"hello"}');
          await once(socket, 'message');
        }),
      );
    }
    const processes = [program.pid!, ...childrenOf(program.pid!)];
    let sent = 0;
    let late = 0;
    const data = { subject: 'You have mail', text: 'x'.repeat(80) };
    const run = async (time: number): Promise<void> => {
      const begun = performance.now();
      const first = sent;
      while (performance.now() - begun < time) {
        const due = Math.floor(((performance.now() - begun) / 1000) * rate * count) - (sent - first);
        late = Math.max(late, due);
        const calls: Promise<unknown>[] = [];
        for (let i = 0; i < due; i++) calls.push(push.send(users[sent++ % users.length]!, data));
        await Promise.all([sleep(TICK), ...calls]);
      }
    };
    await run(2_000);
    late = 0;
    const before = processes.map((pid) => cpuTime([pid]).total);
    const first = sent;
    const begun = performance.now();
    await run(seconds * 1000);
    const elapsed = (performance.now() - begun) / 1000;
    const used = processes.map((pid, i) => (cpuTime([pid]).total - before[i]!) / 1e9);
    const messages = sent - first;
    for (let i = 0; i < 500 && received < sent; i++) await sleep(10);
    if (received !== sent) throw new Error(`${received} of ${sent} messages have come`);
    const [primary, ...workers] = used.map((time) => `${((time / elapsed) * 100).toFixed(1)} %`);
    progress?.(
      `  ${count}: ${(messages / elapsed).toFixed(0)} messages/s, primary ${primary}, workers ${workers.join(' and ')}, ` +
        `the sender was at most ${late} messages late`,
    );
    return messages / Math.max(...used);
  } finally {
    for (const socket of sockets) socket.terminate();
    await push.close();
    const ended = once(program, 'exit');
    if (program.exitCode === null) {
      program.kill('SIGTERM');
      await ended;
    }
    await redis.stop();
  }
}

async function urlOf(stdout: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of stdout) {
    text += chunk;
    const [, url] = /^listening on (ws:\S+)$/m.exec(text) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error('tidings serve has ended');
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.trim().split(' ').filter(Boolean).map(Number);
}
