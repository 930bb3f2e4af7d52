/** Instances as child processes: built once, started, killed, and started again on the same port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { inlineFilesOfSources } from '../../scripts/inline-files.ts';
import type { PushServerOptions } from '../../src/index.ts';
import { freePort } from '../support/net.ts';
import type { StoreTarget } from './store-target.ts';

export interface InstanceSettings {
  port: number;
  /** Of a Unix socket at which it can be reached, too. */
  path?: string;
  store: StoreTarget;
  /** Milliseconds that SIGTERM gives sessions to go. */
  drain: number;
  options: PushServerOptions;
  /** Milliseconds that an interceptor takes over each handshake, as one with a session store does. */
  handshakeTime?: number;
  /** URLs of sources that it reads. */
  sources?: string[];
  /** The application's callbacks throw, reject and hang for whoever asks for it by name (see instance.ts). */
  isFaulty?: boolean;
}

/** How instances are started. */
export interface Program {
  file: string;
  args: string[];
}

const folder = fileURLToPath(new URL(`dist/${process.pid}/`, import.meta.url));
let program: Promise<Program> | undefined;

/** Compiles the instance program to plain JavaScript, as every start would otherwise pay for a loader. */
export function instanceProgram(): Promise<Program> {
  program ??= (async () => {
    mkdirSync(folder, { recursive: true });
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'instance.js');
    await build({
      entryPoints: [fileURLToPath(new URL('instance.ts', import.meta.url))],
      outfile: file,
      bundle: true,
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: 'es2023',
      logLevel: 'warning',
      plugins: [inlineFilesOfSources],
    });
    return { file: process.execPath, args: ['--expose-gc', file] };
  })();
  return program;
}

export class Instance {
  readonly port: number;
  readonly path: string | undefined;
  /** What it has written to standard error. */
  log = '';
  readonly #program: Program;
  readonly #settings: InstanceSettings;
  #child: ChildProcess | undefined;
  #isToEnd = false;

  private constructor(program: Program, settings: InstanceSettings) {
    this.#program = program;
    this.#settings = settings;
    this.port = settings.port;
    this.path = settings.path;
  }

  static async start(program: Program, settings: Omit<InstanceSettings, 'port'>): Promise<Instance> {
    const instance = new Instance(program, { ...settings, port: await freePort() });
    await instance.start();
    return instance;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** It has ended, and nobody has ended it. */
  get hasCrashed(): boolean {
    return !this.isRunning && !this.#isToEnd;
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    this.#isToEnd = false;
    const { file, args } = this.#program;
    const child = spawn(file, args, {
      env: { ...process.env, CHAOS_INSTANCE: JSON.stringify(this.#settings) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.log = (this.log + text).slice(-20_000);
    });
    let output = '';
    await new Promise<void>((resolve, reject) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (output.includes('listening on ')) resolve();
      });
      child.on('exit', (code, signal) =>
        reject(new Error(`an instance ended (${code ?? signal}):\n${this.log}`)),
      );
    });
  }

  async kill(): Promise<void> {
    if (!this.isRunning) return;
    this.#isToEnd = true;
    this.#child!.kill('SIGKILL');
    await once(this.#child!, 'exit');
  }

  /** Stands still, as a machine that swaps or a process in a debugger does. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child!.kill(name);
  }

  /** Ends it as a deploy does. Resolves with its exit status. */
  async terminate(): Promise<number | null> {
    const child = this.#child!;
    this.#isToEnd = true;
    const exited = once(child, 'exit') as Promise<[number | null]>;
    child.kill('SIGTERM');
    const [status] = await exited;
    return status;
  }

  async ask<T>(path: string, init: RequestInit = {}): Promise<T> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      signal: AbortSignal.timeout(20_000),
      ...init,
    });
    const body = await response.json();
    if (!response.ok) throw new Error(`${response.status}: ${JSON.stringify(body)}`);
    return body as T;
  }
}
