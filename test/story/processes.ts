/** The story's programs as child processes, none of which outlives it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { until } from '../support/net.ts';
import { uncovered } from '../support/programs.ts';

/** Milliseconds that a program has to end by itself. */
const PATIENCE = 10_000;

export interface Running {
  readonly name: string;
  /** All that it has printed, to both streams. */
  readonly output: string;
  readonly hasEnded: boolean;
  /** Its end, of itself, with status 0; rejects with what it has printed if it is another one. */
  finished(): Promise<void>;
  /** Waits for a line of its output; rejects if it ends before. */
  line(pattern: RegExp): Promise<RegExpExecArray>;
  /** SIGTERM, and then SIGKILL if it takes too long. */
  stop(): Promise<void>;
  /** As a crash would. */
  kill(): Promise<void>;
}

const running = new Map<ChildProcess, Running>();

// However this process ends, but for a SIGKILL of its own.
process.on('exit', () => {
  for (const child of running.keys()) child.kill('SIGKILL');
});

/** All that are not stopped yet, for a report. */
export function* programs(): Iterable<Running> {
  yield* running.values();
}

export function start(
  name: string,
  [file, ...args]: [string, ...string[]],
  environment: Record<string, string> = {},
): Running {
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...uncovered, ...environment },
  });
  let output = '';
  let hasEnded = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  child.on('error', (error) => {
    output += `${error.message}\n`;
  });
  child.on('close', () => {
    hasEnded = true;
    running.delete(child);
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (hasEnded) return;
    const closed = once(child, 'close');
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
    await closed;
    clearTimeout(late);
  };
  const self: Running = {
    name,
    get output() {
      return output;
    },
    get hasEnded() {
      return hasEnded;
    },
    async finished() {
      if (!hasEnded) await once(child, 'close');
      if (child.exitCode !== 0) throw new Error(`${name} has failed:\n${output}`);
    },
    line: (pattern) =>
      until(`${pattern} of ${name}`, () => {
        const match = pattern.exec(output);
        if (match === null && hasEnded) throw new Error(`${name} has ended:\n${output}`);
        return match;
      }),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
  running.set(child, self);
  return self;
}

export async function stopAll(): Promise<void> {
  await Promise.all([...running.values()].map((program) => program.stop()));
}
