/** A process that a person has named as one that may be touched: that one, and no other one that has its number by now. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { pause, within } from '../waiting.ts';
import { AdapterError } from './adapter.ts';
import { LastWill } from './last-will.ts';
import { send, type Victim } from './processes.ts';

/** A process that runs already. */
export class NamedProcess implements Victim {
  readonly name: string;
  trouble: string | undefined;
  readonly output = '';
  readonly #source: string;
  readonly #restart: string | undefined;
  readonly #isKnownByFile: boolean;
  /** When the process of this number was born, as the system counts it. */
  readonly #birth: number | undefined;
  /** The one that was killed the last. */
  #killed: number | undefined;
  #frozen: { pid: number; will: LastWill } | undefined;

  /**
   * @param source a process id, or a file that has it
   * @param restart a command that starts it again; without one it is not killed
   * @throws {AdapterError} where there is no such process, or it may not be touched
   */
  constructor(source: string, restart: string | undefined) {
    this.#source = source;
    this.#isKnownByFile = !/^\d+$/.test(source);
    this.name = this.#isKnownByFile ? source : `process ${source}`;
    this.#restart = restart;
    const pid = this.#number();
    if (pid === undefined) throw new AdapterError(`${source} is not a file with a process id in it`);
    if (!isTouchable(pid)) throw new AdapterError(`${source}: process ${pid} is none to be touched`);
    const problem = problemOf(pid);
    if (problem !== undefined) throw new AdapterError(`${source}: ${problem}`);
    if (this.#isKnownByFile && isYounger(pid, source)) {
      const why = 'it was started after the file was written';
      throw new AdapterError(`${source}: process ${pid} is another one than the file means: ${why}`);
    }
    this.#birth = birthOf(pid);
  }

  /** Of a process that is known by its number alone, nobody knows the number after it was started again. */
  get isMortal(): boolean {
    return this.#restart !== undefined && (this.#isKnownByFile || this.#killed === undefined);
  }

  async kill(): Promise<boolean> {
    const pid = this.#find();
    if (pid === undefined || !send(pid, 'SIGKILL')) return false;
    this.#killed = pid;
    // One whose parent doesn't look stays in the list of processes.
    for (let i = 0; i < 200 && send(pid, 0); i++) await pause(10);
    return true;
  }

  /** Waits for the command for a moment: it may as well be the server itself. It outlives this program. */
  async revive(): Promise<void> {
    if (this.#killed === undefined || this.#find() !== undefined) return;
    const child = spawn(this.#restart!, { shell: true, detached: true, stdio: 'ignore' });
    child.unref();
    child.on('error', (error) => {
      this.trouble = `--restart: ${error.message}`;
    });
    child.on('exit', (status, signal) => {
      this.trouble = status === 0 ? undefined : `--restart has ended with ${signal ?? `status ${status}`}`;
    });
    await within(1000, once(child, 'exit'));
  }

  freeze(): boolean {
    const pid = this.#find();
    if (pid === undefined) return false;
    const will = new LastWill('CONT', pid);
    if (!send(pid, 'SIGSTOP')) {
      will.cancel();
      return false;
    }
    this.#frozen = { pid, will };
    return true;
  }

  thaw(): void {
    if (this.#frozen === undefined) return;
    send(this.#frozen.pid, 'SIGCONT');
    this.#frozen.will.cancel();
    this.#frozen = undefined;
  }

  leave(): void {
    this.thaw();
  }

  #number(): number | undefined {
    return this.#isKnownByFile ? pidIn(this.#source) : Number(this.#source);
  }

  /** The process as it is now; undefined where there is none that is surely the one that was meant. */
  #find(): number | undefined {
    const pid = this.#number();
    if (pid === undefined || !isTouchable(pid) || pid === this.#killed || problemOf(pid) !== undefined)
      return undefined;
    // The number may be another one's by now.
    const isIt = this.#isKnownByFile ? !isYounger(pid, this.#source) : birthOf(pid) === this.#birth;
    return isIt ? pid : undefined;
  }
}

const isTouchable = (pid: number): boolean => pid > 1 && pid !== process.pid && pid !== process.ppid;

/** Why nothing can be done to it. */
function problemOf(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
    return undefined;
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ESRCH';
    return isMissing ? `there is no process ${pid}` : `not permitted to touch process ${pid}`;
  }
}

function pidIn(file: string): number | undefined {
  try {
    const text = readFileSync(file, 'utf8').trim();
    return /^\d+$/.test(text) && Number(text) > 1 ? Number(text) : undefined;
  } catch {
    // There is no file: whoever writes it has not begun, or has ended.
    return undefined;
  }
}

/** Ticks of the system from its start to that of the process; undefined where it doesn't say (it is Linux that does). */
function birthOf(pid: number): number | undefined {
  try {
    // The name of the program, in parentheses, may have anything in it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[19]);
  } catch {
    // No Linux, or the process has just ended: then signals find nobody, either.
    return undefined;
  }
}

/** Linux counts a hundred a second for programs. */
const TICK = 10;
/** Milliseconds by which clocks may differ. */
const SLACK = 5000;

/** Whether the process began after the file was written: its number was another one's then. */
function isYounger(pid: number, file: string): boolean {
  const birth = birthOf(pid);
  if (birth === undefined) return false;
  try {
    const start = /^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1];
    return Number(start) * 1000 + birth * TICK > statSync(file).mtimeMs + SLACK;
  } catch {
    // The file is gone, just now: nobody knows any more whom it means.
    return true;
  }
}
