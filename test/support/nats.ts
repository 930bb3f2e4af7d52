/** A real NATS server with JetStream of the test's own, on a free loopback port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { freePort, until } from './net.ts';
import { find } from './programs.ts';
import { dataFolder, killed } from './server-process.ts';

export interface NatsServer {
  readonly port: number;
  readonly url: string;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Stands still, as a machine that swaps does. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Starts it again on the same port with what it had stored. */
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

/** @param args more command-line settings, such as `['--user', 'app', '--pass', 'secret']` */
export async function startNats(args: string[] = []): Promise<NatsServer> {
  const program = find('nats');
  if (program === undefined) throw new Error('nats-server is not on PATH');
  const port = await freePort();
  const folder = dataFolder('nats');
  let child: ChildProcess;

  const start = async (): Promise<void> => {
    const started = spawn(
      program,
      ['--addr', '127.0.0.1', '--port', String(port), '--jetstream', '--store_dir', folder, ...args],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    child = started;
    let output = '';
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-20_000);
    });
    await until('nats-server to start', () => {
      if (started.exitCode !== null) throw new Error(`nats-server did not start:\n${output}`);
      return accepts(port);
    });
  };
  const kill = (): Promise<void> => killed(child);

  await start();
  return {
    port,
    url: `nats://127.0.0.1:${port}`,
    kill,
    signal: (name) => void child.kill(name),
    start,
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** True once the server greets. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1');
    socket.setTimeout(1000, () => socket.destroy());
    socket.once('data', (data) => {
      resolve(data.toString('latin1').startsWith('INFO '));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
