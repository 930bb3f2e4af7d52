/** What signals mean to `tidings serve`. */
import { closeSync, openSync } from 'node:fs';

export interface SignalParts {
  /** SIGHUP. */
  reload(): void;
  /** A second SIGTERM or SIGINT: ends the process at once. */
  kill(): void;
}

/** Resolves on the first SIGTERM or SIGINT, and where the terminal is gone that it was started at. */
export function listenToSignals({ reload, kill }: SignalParts): Promise<void> {
  const isAtTerminal = process.stdin.isTTY === true;
  return new Promise((resolve) => {
    let isSecond = false;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (isSecond) kill();
        isSecond = true;
        resolve();
      });
    }
    process.on('SIGHUP', () => {
      if (isAtTerminal && !hasTerminal()) {
        isSecond = true;
        process.once('exit', endAsBefore);
        resolve();
      } else reload();
    });
  });
}

/** Node would fail to give the terminal its mode back, and dump core: ends as SIGHUP ends a process that does not heed it. */
function endAsBefore(): void {
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
}

/** Whoever closes its window sends SIGHUP, too, and means the end. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}
