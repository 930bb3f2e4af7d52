/** What is done for this program where it was killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';

/**
 * What is to happen should this program be killed, and can't see to it itself: a shell waits for its end, which it notices as its
 * input ends, and sends a signal then.
 */
export class LastWill {
  readonly #shell: ChildProcess;

  /** @param target of a process; negative: of a group */
  constructor(signal: 'KILL' | 'CONT', target: number) {
    const script = 'read -r line; kill -s "$1" -- "$2"';
    this.#shell = spawn('/bin/sh', ['-c', script, 'sh', signal, String(target)], {
      // Not of the group that Ctrl-C reaches.
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    // Without a shell there is none; what can be done here is done.
    this.#shell.on('error', () => {}).unref();
    this.#shell.stdin?.on('error', () => {});
    (this.#shell.stdin as Socket | null)?.unref();
  }

  cancel(): void {
    this.#shell.kill('SIGKILL');
  }
}
