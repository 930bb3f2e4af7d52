/**
 * What systemd wants to hear of a service of `Type=notify` (sd_notify(3)), and the sockets that it hands over
 * (sd_listen_fds(3)). Node has no datagram sockets of Unix: systemd's own systemd-notify says it, so the unit needs
 * `NotifyAccess=all`.
 */
import { spawn } from 'node:child_process';
import type { Log } from '../log-fields.ts';
import { UsageError } from './usage-error.ts';

/** Milliseconds for one call of systemd-notify. */
const PATIENCE = 5_000;
/** The first descriptor that is handed over. */
const FIRST = 3;

/** What a socket may be called in its unit (`FileDescriptorName=`). */
export type SocketName = 'http' | 'admin';

/**
 * The descriptors of listening sockets that this process was handed, by name; a single one may have any name, and is
 * `http`. Of the environment nothing is left of them: they are not for processes that this one starts.
 *
 * @throws {UsageError} where one has no use here
 */
export function handedSockets(env: NodeJS.ProcessEnv = process.env): Map<SocketName, number> {
  const { LISTEN_PID: pid, LISTEN_FDS: count = '0', LISTEN_FDNAMES: list = '' } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  const sockets = new Map<SocketName, number>();
  // They may be for the process that has started this one.
  if (Number(pid) !== process.pid) return sockets;
  const names = list.split(':');
  const isSingle = Number(count) === 1;
  for (let i = 0; i < Number(count); i++) {
    const name = isSingle && names[0] !== 'admin' ? 'http' : names[i];
    if (name !== 'http' && name !== 'admin') {
      throw new UsageError(
        `the socket ${JSON.stringify(name ?? '')} that systemd has handed over is of no use: FileDescriptorName= may be http or admin`,
      );
    }
    if (sockets.has(name)) throw new UsageError(`systemd has handed over two sockets by the name ${name}`);
    sockets.set(name, FIRST + i);
  }
  return sockets;
}

export interface ServiceManager {
  /** The service can be used. */
  ready(status: string): void;
  /** Its settings are taken anew; `ready` comes after that. */
  reloading(): void;
  /** It ends. Signs of life go on until then. */
  stopping(status: string): void;
  /** Resolves when all was told: a process that ends before has told nothing. */
  told(): Promise<void>;
}

/** @returns what says nothing where no service manager listens */
export function serviceManager(log: Log, env: NodeJS.ProcessEnv = process.env): ServiceManager {
  const nothing = () => {};
  if (!env.NOTIFY_SOCKET)
    return { ready: nothing, reloading: nothing, stopping: nothing, told: async () => {} };
  let last: Promise<void> = Promise.resolve();
  let hasFailed = false;
  const failed = (why: string): void => {
    if (!hasFailed) {
      log('warn', `systemd can't be told how it is: ${why}`, { event: 'service-manager-not-told' });
    }
    hasFailed = true;
  };
  // One after the other: what is told first is heard first.
  const tell = (...words: string[]): void => {
    last = last.then(() => notify(words, env, failed));
  };
  let isSaying = false;
  watch(env, () => {
    // One that hangs is not joined by others.
    if (isSaying) return;
    isSaying = true;
    tell('WATCHDOG=1');
    void last.then(() => {
      isSaying = false;
    });
  });
  return {
    ready: (status) => tell('READY=1', `STATUS=${status}`),
    reloading: () => {
      tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`, 'STATUS=taking settings anew');
    },
    stopping: (status) => tell('STOPPING=1', `STATUS=${status}`),
    told: () => last,
  };
}

/** A sign of life in each half of the time that the watchdog waits: as long as the event loop turns. */
function watch(
  { WATCHDOG_USEC: microseconds, WATCHDOG_PID: pid }: NodeJS.ProcessEnv,
  tell: () => void,
): void {
  const milliseconds = Number(microseconds) / 1000;
  if (!(milliseconds > 0) || (pid !== undefined && Number(pid) !== process.pid)) return;
  setInterval(tell, Math.max(milliseconds / 2, 1)).unref();
}

function notify(words: string[], env: NodeJS.ProcessEnv, failed: (why: string) => void): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn('systemd-notify', words, {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: PATIENCE,
      killSignal: 'SIGKILL',
      env,
    });
    let complaint = '';
    child.stderr.on('data', (text) => {
      complaint = `${complaint}${text}`.slice(0, 200);
    });
    child.once('error', (error) => {
      failed(error.message);
      resolve();
    });
    child.once('close', (status, signal) => {
      if (status !== 0)
        failed(complaint.trim() || `systemd-notify ended with ${signal ?? `status ${status}`}`);
      resolve();
    });
  });
}
