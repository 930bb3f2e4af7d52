/** Ctrl-C: the first one ends the check with what it has, the second one ends the program at once. */
import { constants } from 'node:os';

type Interruption = 'SIGINT' | 'SIGTERM';

const interruptions: Interruption[] = ['SIGINT', 'SIGTERM'];

/** The signal is aborted by the first SIGINT or SIGTERM, with its name as the reason. */
export function interruptible(): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: Interruption): void => {
    // What comes next does what Node does with it: it ends the program.
    for (const other of interruptions) process.off(other, onSignal);
    controller.abort(name);
  };
  for (const name of interruptions) process.on(name, onSignal);
  return controller.signal;
}

/** The exit status that shells give a program which a signal has ended: 130 for SIGINT, 143 for SIGTERM. */
export function statusOf(signal: AbortSignal): number {
  return 128 + (constants.signals[signal.reason as Interruption] ?? constants.signals.SIGINT);
}
