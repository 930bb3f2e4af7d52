/** What instances tell one another to do, by the broker's control log: each kind of command has one who carries it out. */
import type { LogFields } from '../log-fields.ts';
import {
  type ControlCommand,
  type ControlListener,
  type ControlLog,
  type Mark,
  RESTORED,
  type RecordChange,
} from '../pubsub/store/control.ts';
import { explain, explainFully } from './explain.ts';

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
  failed(message: string, fields: LogFields): void;
  /** A newer instance has said what this one has no word for, and does not do. */
  unknown(kind: string): void;
}

export class Commands implements ControlListener {
  readonly name: string;
  readonly #log: ControlLog;
  readonly #timeout: number | undefined;
  readonly #events: CommandEvents;
  readonly #kinds = new Map<string, CarryOut[]>();

  /** @param timeout milliseconds until a command has to be confirmed; undefined for the log's own */
  constructor(name: string, log: ControlLog, timeout: number | undefined, events: CommandEvents) {
    this.name = name;
    this.#log = log;
    this.#timeout = timeout;
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
    return this.#log.say(kind, body, {
      ...(change !== undefined && { change }),
      ...(this.#timeout !== undefined && { timeout: this.#timeout }),
    });
  }

  obey(command: ControlCommand, mark: Mark): number {
    const { kind, body } = command;
    const isBody = typeof body === 'object' && body !== null && !Array.isArray(body);
    const known = this.#kinds.get(kind);
    if (known === undefined && kind !== RESTORED) this.#events.unknown(kind);
    let count = 0;
    for (const carryOut of (isBody && known) || []) {
      try {
        count += carryOut(body as Record<string, unknown>, mark, command);
      } catch (error) {
        this.#events.failed(`the command ${JSON.stringify(kind)} failed here: ${explainFully(error)}`, {
          event: 'command-failed',
          command: kind,
          error: explain(error),
        });
      }
    }
    return count;
  }

  lapsed(): void {
    this.#events.lapsed();
  }

  missed(): void {
    this.#events.missed();
  }
}
