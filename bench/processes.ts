/** Server processes: started, watched through /proc, ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { command, type Peer, type ServerOptions } from './roster.ts';

export interface RunningServer {
  peer: Peer;
  port: number;
  /** The server's own process and those it has forked. */
  pids: number[];
  stop(): Promise<void>;
}

const START_TIMEOUT = 120_000;
const STOP_TIMEOUT = 60_000;

/** Resolves once it listens. */
export async function startServer(peer: Peer, options: ServerOptions): Promise<RunningServer> {
  const { file, args, env } = command(peer, options);
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', options.isSilent ? 'pipe' : 'inherit'],
    env,
  });
  let complaints = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const port = await listeningPort(child, peer.name).catch((error: Error) => {
    throw complaints === '' ? error : new Error(`${error.message} ${complaints.trim()}`);
  });
  return {
    peer,
    port,
    pids: processTree(child.pid!),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`${peer.name} ended by itself with ${child.exitCode ?? child.signalCode}`);
      }
      child.kill('SIGTERM');
      // Workers too, which would go on without their primary.
      const cut = setTimeout(() => processTree(child.pid!).forEach(kill), STOP_TIMEOUT);
      const [status, signal] = await once(child, 'exit');
      clearTimeout(cut);
      if (complaints !== '') throw new Error(`${peer.name} said: ${complaints.trim()}`);
      if (status !== 0)
        throw new Error(`${peer.name} ended on SIGTERM with ${signal ?? `status ${status}`}, not 0`);
    },
  };
}

/** Reads the line `listening on ws://HOST:PORT/`. */
export function listeningPort(child: ChildProcess, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${name} did not say in ${START_TIMEOUT} ms where it listens; it said: ${output}`));
    }, START_TIMEOUT);
    child.stdout!.on('data', (text) => {
      output += text;
      const match = /listening on \w+:\/\/[^\s/]*:(\d+)/.exec(output);
      if (!match) return;
      clearTimeout(timer);
      resolve(Number(match[1]));
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`${name} could not be started: ${error.message}`));
    });
    child.once('exit', (status, signal) => {
      clearTimeout(timer);
      reject(new Error(`${name} ended with ${signal ?? `status ${status}`} before it listened: ${output}`));
    });
  });
}

/** A process and all its descendants. */
function processTree(root: number): number[] {
  const parents = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    try {
      // The name, in parentheses, may hold anything: the parent is the second field behind the last one.
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      parents.set(parent, [...(parents.get(parent) ?? []), pid]);
    } catch {
      // It ended while we looked.
    }
  }
  const tree: number[] = [];
  for (const next = [root]; next.length > 0; ) {
    const pid = next.pop()!;
    tree.push(pid);
    next.push(...(parents.get(pid) ?? []));
  }
  return tree;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
