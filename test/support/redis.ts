/** A real Redis (or Valkey) server of the test's own, on a free loopback port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { freePort, until } from './net.ts';
import { find } from './programs.ts';
import { dataFolder, killed } from './server-process.ts';

export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** The folder with its snapshot and append-only file. */
  readonly folder: string;
  readonly process: ChildProcess;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same folder. */
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

/**
 * @param args more command-line settings, such as `['--appendonly', 'yes']`; or all of them, given the folder, for
 *   a Sentinel
 */
export async function startRedis(
  args: string[] | ((folder: string) => string[]) = [],
  port?: number,
): Promise<RedisServer> {
  const program = find('redis');
  if (program === undefined) throw new Error('redis-server is not on PATH');
  const chosen = port ?? (await freePort());
  const folder = dataFolder('redis');
  const own = ['--port', String(chosen), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  // Replicas of a test come one at a time: waiting for more of them would cost five seconds each.
  own.push('--repl-diskless-sync-delay', '0');
  const settings = typeof args === 'function' ? args(folder) : [...own, ...args];
  let child: ChildProcess;

  const start = async (): Promise<void> => {
    child = spawn(program, settings, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout?.on('data', (text) => {
      output += text;
    });
    await until('redis-server to start', () => {
      if (child.exitCode !== null) throw new Error(`redis-server did not start:\n${output}`);
      return accepts(chosen);
    });
  };
  const kill = (): Promise<void> => killed(child);

  await start();
  return {
    port: chosen,
    url: `redis://127.0.0.1:${chosen}`,
    folder,
    get process() {
      return child;
    },
    start,
    kill,
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** True once the server answers PING (or asks for a password): a port that is open may still be loading. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.setTimeout(1000, () => socket.destroy());
    socket.once('data', (data) => {
      const answer = data.toString();
      resolve(answer.startsWith('+PONG') || answer.startsWith('-NOAUTH'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
