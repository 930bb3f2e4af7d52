/** What a source says in the log. docs/logs.md has its events. */
import { explain, printable } from '../push/explain.ts';
import type { Log } from '../push/options.ts';
import { Trouble } from '../push/trouble.ts';
import type { SourceCounts } from './source-metrics.ts';

/** Characters of a reason. */
export const MAX_REASON = 1_000;

export class SourceLog {
  /** It can't be reached. */
  readonly away: Trouble;
  /** Its messages can't be stored. */
  readonly waiting: Trouble;
  readonly #log: Log;
  readonly #name: string;

  constructor(log: Log, source: string) {
    this.#log = log;
    this.#name = source;
    this.away = new Trouble(
      log,
      { event: 'source-away', message: `the source ${source} can't be reached`, source },
      { event: 'source-back', message: `the source ${source} is back`, source },
    );
    this.waiting = new Trouble(
      log,
      { event: 'source-waits', message: `messages of the source ${source} can't be stored now`, source },
      { event: 'source-goes-on', message: `messages of the source ${source} are stored again`, source },
    );
  }

  connected(): void {
    const source = this.#name;
    this.#log('info', `the source ${source} is connected`, { event: 'source-connected', source });
  }

  /** It will never work. */
  failed(error: Error): void {
    const source = this.#name;
    const why = explain(error);
    this.#log('error', `the source ${source} can't be used: ${why}`, {
      event: 'source-failed',
      source,
      error: why,
    });
  }

  /** @param reason at most MAX_REASON printable characters */
  dead(id: string, reason: string): void {
    const source = this.#name;
    this.#log(
      'error',
      `the message ${printable(id, 256)} of the source ${source} can't be stored: ${reason}`,
      { event: 'source-message-dead', source, id, error: reason },
    );
  }

  missed(given: string): void {
    const source = this.#name;
    const error = printable(given, MAX_REASON);
    this.#log('error', `the source ${source} has lost messages that were not read: ${error}`, {
      event: 'source-messages-missed',
      source,
      error,
    });
  }

  endangered(given: string): void {
    const source = this.#name;
    const error = printable(given, MAX_REASON);
    this.#log('warn', `messages of the source ${source} may get lost: ${error}`, {
      event: 'source-messages-endangered',
      source,
      error,
    });
  }

  closed({ underWay: _, underWayBytes: __, connected: ___, ...counts }: Readonly<SourceCounts>): void {
    const source = this.#name;
    this.#log('info', `the source ${source} is closed`, { event: 'source-closed', source, ...counts });
  }
}
