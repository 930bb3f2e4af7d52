/** Where a push server's log lines go: to the application's `log` or the console, and to a diagnostics channel. */
import { channel as diagnosticsChannel } from 'node:diagnostics_channel';
import { attempt } from '../server/handler-calls.ts';
import { explain } from './explain.ts';
import type { Log } from './options.ts';

const logged = diagnosticsChannel('tidings:log');

/** @param log the application's; undefined for the console, which gets warnings and errors */
export function logOf(instance: string, log: Log | undefined): Log {
  return (level, message) => {
    if (logged.hasSubscribers) logged.publish({ level, message, instance });
    if (log !== undefined) {
      attempt(
        () => log(level, message),
        (error) => console.error(`tidings: ${message} (and \`log\` failed: ${explain(error)})`),
      );
    } else if (level !== 'info') console.error(`tidings: ${message}`);
  };
}
