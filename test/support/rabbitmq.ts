/** A real RabbitMQ of the test's own, on free loopback ports. It takes seconds to start: one for all tests of a file. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, until } from './net.ts';
import { find } from './programs.ts';
import { dataFolder, killed } from './server-process.ts';

export interface RabbitServer {
  readonly port: number;
  /** With the user and the password that it begins with. */
  readonly url: string;
  /** Its own tool, such as `ctl('set_vm_memory_high_watermark', '0')`: what it says. */
  ctl(...args: string[]): Promise<string>;
  /**
   * Has it write down which queues and streams there are: it does so every three minutes only, and forgets those that are
   * younger when it is killed, whatever was confirmed in them.
   */
  remember(): Promise<void>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Stands still, as a machine that swaps does. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Starts it again on the same port with what it had stored. */
  start(): Promise<void>;
  /** Ends it with all that it has started, and removes its folder. */
  stop(): Promise<void>;
}

/** Debian's own scripts change the user and keep to one server for each machine: these are what they start. */
const SCRIPTS = '/usr/lib/rabbitmq/bin';

/** @param lines more settings, as lines of `rabbitmq.conf` */
export async function startRabbit(lines: string[] = []): Promise<RabbitServer> {
  const wrapper = find('rabbitmq');
  const mapper = find('epmd');
  if (wrapper === undefined || mapper === undefined)
    throw new Error('rabbitmq-server or epmd is not on PATH');
  const script = (name: string): string => {
    const inner = join(SCRIPTS, name);
    return existsSync(inner) ? inner : join(wrapper, '..', name);
  };
  const [port, distributionPort, mapperPort] = [await freePort(), await freePort(), await freePort()];
  const folder = dataFolder('rabbitmq');
  const inside = (name: string): string => join(folder, name);
  mkdirSync(inside('home'));
  writeFileSync(inside('plugins'), '[].\n');
  writeFileSync(
    inside('rabbitmq.conf'),
    ['loopback_users = none', 'disk_free_limit.absolute = 1MB', ...lines, ''].join('\n'),
  );
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    HOME: inside('home'),
    LANG: 'C.UTF-8',
    ERL_EPMD_PORT: String(mapperPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `tidings-${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_BASE: folder,
    RABBITMQ_MNESIA_BASE: inside('data'),
    RABBITMQ_LOG_BASE: inside('log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_CONFIG_FILE: inside('rabbitmq.conf'),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_ENABLED_PLUGINS_FILE: inside('plugins'),
    RABBITMQ_PLUGINS_EXPAND_DIR: inside('expanded'),
    // The script becomes the server, in place of being its parent: what is killed is the server.
    RABBITMQ_ALLOW_INPUT: '1',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none',
  };
  // The server would start one that stays behind.
  const names = spawn(mapper, ['-port', String(mapperPort), '-address', '127.0.0.1'], { stdio: 'ignore' });
  let child: ChildProcess | undefined;

  const start = async (): Promise<void> => {
    const started = spawn(script('rabbitmq-server'), ['-noinput'], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = started;
    let output = '';
    for (const stream of [started.stdout, started.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-20_000);
      });
    await until('rabbitmq-server to start', () => {
      if (started.exitCode !== null) throw new Error(`rabbitmq-server did not start:\n${output}`);
      return /started TCP listener on/.test(output);
    });
  };
  const kill = async (): Promise<void> => {
    if (child !== undefined) await killed(child);
  };
  const stop = async (): Promise<void> => {
    await kill();
    await killed(names);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };

  const ctl = async (...args: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(script('rabbitmqctl'), args, { env, timeout: 60_000 });
    return stdout;
  };

  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    ctl,
    async remember() {
      await ctl('eval', '[ok = dets:sync(Table) || Table <- dets:all()].');
    },
    kill,
    signal: (name) => void child!.kill(name),
    start,
    stop,
  };
}
