/** The `tidings` program as a child process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { until } from './net.ts';
import { programFile } from './program-file.ts';

export interface Program {
  readonly process: ChildProcess;
  /** What it has printed so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Waits for a line of standard output and returns the groups of the match. */
  line(pattern: RegExp): Promise<string[]>;
  /** Waits for its end. */
  status(): Promise<number | null>;
}

/** Ends with the test. The environment has no TIDINGS_ variables but those of `environment`. */
export function tidings(
  t: TestContext,
  args: string[],
  {
    environment = {},
    input,
    cwd,
    program: file = programFile,
  }: {
    environment?: Record<string, string>;
    input?: string;
    cwd?: string;
    /** Of another version: its `dist/cli.js`. */
    program?: string;
  } = {},
): Program {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('TIDINGS_'));
  const child = spawn(process.execPath, [file, ...args], {
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  child.stdin.on('error', () => {
    // It has ended without reading.
  });
  child.stdin.end(input);
  const exited = once(child, 'close') as Promise<[number | null]>;
  let isOver = false;
  child.once('close', () => {
    isOver = true;
  });
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
  });
  const program: Program = {
    process: child,
    get stdout() {
      return stdout;
    },
    get stderr() {
      return stderr;
    },
    async line(pattern) {
      const match = await until(
        `${pattern} of tidings ${args[0]}`,
        () => {
          // A line that has not come as a whole yet is none.
          const found = pattern.exec(stdout.slice(0, stdout.lastIndexOf('\n') + 1));
          if (found === null && isOver) {
            throw new Error(`tidings ${args[0]} ended with ${child.exitCode}:\n${stdout}${stderr}`);
          }
          return found;
        },
        60_000,
      );
      return match.slice(1);
    },
    async status() {
      const [status] = await exited;
      return status;
    },
  };
  return program;
}
