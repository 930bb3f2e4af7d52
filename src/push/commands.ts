/** What instances tell one another to do, by the broker's control log: each kind of command has one who carries it out. */
import type { Log } from '../log-fields.ts';
import {
  type ControlCommand,
  type ControlListener,
  type ControlLog,
  type Mark,
  RESTORED,
  type RecordChange,
} from '../pubsub/store/control.ts';
import { explain, explainFully, printable } from './explain.ts';
import { isRecord } from './is-record.ts';

/**
 * Carries out one kind of command, now: nothing of it may be waited for. Returns how many it was about.
 *
 * @param body as it was said, but from another instance, perhaps of another version
 */
export type CarryOut = (body: Record<string, unknown>, mark: Mark, command: ControlCommand) => number;

export interface CommandEvents {
  /** Nothing that came from the store may leave any more. */
  lapsed(): void;
  /** Every session has to come anew. */
  missed(): void;
}

export class Commands implements ControlListener {
  readonly name: string;
  readonly #control: ControlLog;
  readonly #timeout: number | undefined;
  readonly #log: Log;
  readonly #events: CommandEvents;
  readonly #kinds = new Map<string, CarryOut[]>();

  /** @param timeout milliseconds until a command has to be confirmed; undefined for the log's own */
  constructor(
    name: string,
    control: ControlLog,
    timeout: number | undefined,
    log: Log,
    events: CommandEvents,
  ) {
    this.name = name;
    this.#control = control;
    this.#timeout = timeout;
    this.#log = log;
    this.#events = events;
  }

  /** Who carries out the commands of a kind; there may be several. */
  on(kind: string, carryOut: CarryOut): void {
    const known = this.#kinds.get(kind);
    if (known === undefined) this.#kinds.set(kind, [carryOut]);
    else known.push(carryOut);
  }

  /**
   * See `ControlLog.say`.
   *
   * @param change a record to change with it, in one step
   */
  say(kind: string, body: Record<string, unknown>, change?: RecordChange): Promise<number> {
    return this.#control.say(kind, body, {
      ...(change !== undefined && { change }),
      ...(this.#timeout !== undefined && { timeout: this.#timeout }),
    });
  }

  obey(command: ControlCommand, mark: Mark): number {
    const { kind, body } = command;
    const known = this.#kinds.get(kind);
    if (known === undefined && kind !== RESTORED) {
      const what = `a command of the kind ${printable(kind)}, of a newer instance perhaps, is not known here: nothing is done`;
      this.#log('warn', what, { event: 'command-unknown', kind });
    }
    let count = 0;
    for (const carryOut of (isRecord(body) && known) || []) {
      try {
        count += carryOut(body as Record<string, unknown>, mark, command);
      } catch (error) {
        this.#log('error', `the command ${JSON.stringify(kind)} failed here: ${explainFully(error)}`, {
          event: 'command-failed',
          command: kind,
          error: explain(error),
        });
      }
    }
    return count;
  }

  lapsed(): void {
    this.#log('warn', 'the lease is over: nothing is delivered until the store is back', {
      event: 'lease-over',
    });
    this.#events.lapsed();
  }

  missed(): void {
    this.#log('warn', 'too much was missed while the store was away: all sessions have to come again', {
      event: 'sessions-sent-away',
    });
    this.#events.missed();
  }
}
