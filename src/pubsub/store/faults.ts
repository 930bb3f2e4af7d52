/**
 * What is wrong with a store that can be reached: a channel whose keys somebody damaged, a command that is refused.
 * Each is logged once, and counts until it is over or was not met for a while.
 */
import { monotonicNow } from '../../clock.ts';
import type { LogFields } from '../../log-fields.ts';

/** Milliseconds without meeting it again after which a fault counts no more. */
const MEMORY = 5 * 60_000;
const MAX_FAULTS = 1000;

export interface FaultEvents {
  warn(message: string, fields: LogFields): void;
  /** Of what was told by `warn`. */
  mended(message: string, fields: LogFields): void;
}

export class Faults {
  readonly #met = new Map<string, { time: number; message: string; fields: LogFields }>();
  readonly #noted = new Set<string>();
  readonly #events: FaultEvents;

  constructor(events: FaultEvents) {
    this.#events = events;
  }

  /** How many there are. One may show in several ways. */
  get count(): number {
    const since = monotonicNow() - MEMORY;
    for (const [subject, { time }] of this.#met) if (time < since) this.#met.delete(subject);
    return new Set([...this.#met.values()].map(({ message }) => message)).size;
  }

  get isEmpty(): boolean {
    return this.#met.size === 0;
  }

  met(subject: string, message: string, fields: LogFields): void {
    const isKnown = this.#met.has(subject);
    const isTold = isKnown || [...this.#met.values()].some((fault) => fault.message === message);
    if (!isKnown && this.#met.size >= MAX_FAULTS) this.#met.delete(this.#met.keys().next().value!);
    this.#met.set(subject, { time: monotonicNow(), message, fields });
    if (!isTold) this.#events.warn(message, fields);
  }

  /** Something that nothing suffers from, to be told once. */
  note(message: string, fields: LogFields): void {
    if (this.#noted.size >= MAX_FAULTS || this.#noted.has(message)) return;
    this.#noted.add(message);
    this.#events.warn(message, fields);
  }

  over(subject: string): void {
    const fault = this.#met.get(subject);
    if (fault === undefined) return;
    this.#met.delete(subject);
    // It may still show in another way.
    for (const { message } of this.#met.values()) if (message === fault.message) return;
    const { event, error: _, ...fields } = fault.fields;
    this.#events.mended(`it is over that ${fault.message}`, {
      ...fields,
      event: 'store-fault-over',
      fault: event,
    });
  }
}
