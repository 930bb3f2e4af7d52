/** What may be killed, frozen and started again, and the processes among it that are started here. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { LastWill } from './last-will.ts';

export interface Victim {
  /** How people call it. */
  readonly name: string;
  /** Whether it can be killed now, as it comes again. */
  readonly isMortal: boolean;
  /** What people have to know when the server does not come back, in a line; and the last of what it has written. */
  readonly trouble: string | undefined;
  readonly output: string;
  /** Ends it at once, as a crash does. False where it wasn't there. */
  kill(): Promise<boolean>;
  /** Asks it to end, and ends it where it doesn't. False where it wasn't there. Undefined where it may not be asked. */
  terminate?(): Promise<boolean>;
  /** Starts it again after its end. What has ended otherwise, and was not started here, stays as it is. */
  revive(): Promise<void>;
  /** It stands still, as a machine that swaps. False where it isn't there. */
  freeze(): boolean;
  thaw(): void;
  /** This program ends, and has no time to wait: nothing is left behind that it has started or frozen. */
  leave(): void;
}

/** Of all runs that are not over. */
const guarded = new Set<Victim>();

process.on('exit', () => {
  for (const victim of guarded) victim.leave();
});

/** Sees to it that they are left in order should this program end before the run does. @returns what ends that */
export function guard(victims: readonly Victim[]): () => void {
  for (const victim of victims) guarded.add(victim);
  return () => {
    for (const victim of victims) guarded.delete(victim);
  };
}

/** Milliseconds that a process gets to end when it is asked to. */
const GRACE = 10_000;
/** Milliseconds after which what has ended by itself is started again, as a supervisor would. */
const SUPERVISION = 300;
const MAX_OUTPUT = 4000;

/** A command that is started here, with all that it starts. */
export class OwnProcess implements Victim {
  readonly name: string;
  readonly isMortal = true;
  /** How many times it has ended by itself. */
  crashes = 0;
  /** The last of what it has written. */
  output = '';
  readonly #command: string;
  #child: ChildProcess | undefined;
  #will: LastWill | undefined;
  #isToEnd = false;
  #isOver = false;

  constructor(command: string) {
    this.#command = command;
    this.name = nameOf(command);
  }

  start(): void {
    this.#isToEnd = false;
    const child = spawn(this.#command, {
      shell: true,
      // A group of its own, so that a signal reaches all of it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#will?.cancel();
    this.#will = child.pid === undefined ? undefined : new LastWill('KILL', -child.pid);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-MAX_OUTPUT);
      });
    }
    child.on('exit', () => {
      if (this.#child !== child || this.#isToEnd) return;
      this.crashes++;
      this.#signal('SIGKILL');
      setTimeout(() => {
        if (this.#child === child && !this.#isToEnd && !this.#isOver) this.start();
      }, SUPERVISION).unref();
    });
    child.on('error', (error) => {
      this.output += error.message;
    });
  }

  get isRunning(): boolean {
    const child = this.#child;
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
  }

  get trouble(): string | undefined {
    return this.crashes === 0 ? undefined : `${this.name} has ended by itself`;
  }

  async kill(): Promise<boolean> {
    this.#isToEnd = true;
    return this.#end('SIGKILL');
  }

  async terminate(): Promise<boolean> {
    this.#isToEnd = true;
    const limit = setTimeout(() => this.#signal('SIGKILL'), GRACE);
    const hasEnded = await this.#end('SIGTERM');
    clearTimeout(limit);
    return hasEnded;
  }

  async revive(): Promise<void> {
    if (!this.#isOver) this.start();
  }

  freeze(): boolean {
    return this.isRunning && this.#signal('SIGSTOP');
  }

  thaw(): void {
    this.#signal('SIGCONT');
  }

  /** Ends it for good. */
  async stop(): Promise<void> {
    this.#isOver = true;
    this.#isToEnd = true;
    this.thaw();
    await this.terminate();
    this.leave();
  }

  leave(): void {
    this.#isOver = true;
    this.#signal('SIGKILL');
    this.#will?.cancel();
  }

  async #end(signal: NodeJS.Signals): Promise<boolean> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return false;
    const exited = once(child, 'exit');
    this.#signal(signal);
    await exited;
    // What the shell has started and left.
    this.#signal('SIGKILL');
    return true;
  }

  #signal(signal: NodeJS.Signals): boolean {
    const pid = this.#child?.pid;
    return pid !== undefined && send(-pid, signal);
  }
}

/** @returns false where there is no such process any more */
export function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    // It has ended, or belongs to somebody else by now.
    return false;
  }
}

/** The words of a command that tell most about it. */
function nameOf(command: string): string {
  const words = command.split(/\s+/).filter((word) => !/^[A-Z_]+=|^-/.test(word));
  const named = words.map((word) => word.replace(/^.*\//, '')).slice(0, 3);
  return named.join(' ').slice(0, 40);
}
