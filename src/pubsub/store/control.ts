/**
 * The control log: commands that every instance carries out, such as to end a user's sessions, and the lease without
 * which an instance delivers nothing. Whoever has said a command knows in the end that each instance has carried it out,
 * or delivers nothing before it has.
 */
import { monotonicNow } from '../../clock.ts';

/** What all instances keep, under a key, until its time is over or it is removed. */
export interface ControlRecord {
  value: string;
  /** Milliseconds since 1970; `Infinity` for ever. */
  until: number;
}

/** Sets the record of a key, or removes it. */
export interface RecordChange {
  key: string;
  record: ControlRecord | undefined;
}

export interface ControlCommand {
  /** Unique and unguessable. */
  readonly id: string;
  readonly kind: string;
  /** What JSON can say. */
  readonly body: unknown;
  /** Milliseconds since 1970 by the store's clock. */
  readonly time: number;
}

/** A place in the log. Numbers count 1, 2, 3 … within an epoch. */
export interface Mark {
  epoch: string;
  number: number;
}

/** The kind of a command that is said where records may have changed without a command that anybody has heard of. */
export const RESTORED = 'restored';

/** None of it may throw. */
export interface ControlListener {
  /** For messages about this instance. */
  readonly name: string;
  /**
   * Carries a command out, now: when it returns, nothing more is delivered against it. Returns how many it was about,
   * which are added up for who has said it.
   */
  obey(command: ControlCommand, mark: Mark): number;
  /** The lease is over: nothing that came from the store may leave any more, not even what is on its way to pages. */
  lapsed(): void;
  /** Commands were missed that nobody can tell any more: every session has to come anew. */
  missed(): void;
}

export interface SaySettings {
  /** Changed with the command, in one step. */
  change?: RecordChange;
  /** Milliseconds until it has to be confirmed. Default 10,000. */
  timeout?: number;
}

/** Commands for all instances, in one order: a `Broker` has one. */
export interface ControlLog {
  /**
   * Whether this instance may deliver at this moment, by the clock of this process. The first time that it may not, the
   * listener is told before this returns.
   */
  mayDeliver(): boolean;

  /** How far this instance has carried commands out. */
  readonly mark: Mark;

  /**
   * Says a command to all instances. Resolves when each of them has carried it out or delivers nothing before it has,
   * with the sum of what they have returned.
   *
   * @throws {UnconfirmedError} where that is not so in time; the command may be carried out nevertheless
   * @throws {RangeError} where there are as many records as there may be
   */
  say(kind: string, body: unknown, settings?: SaySettings): Promise<number>;

  /** The record of a key, as this instance knows it. */
  record(key: string): ControlRecord | undefined;
  /** All of them, by key. */
  records(): Map<string, ControlRecord>;
}

/** It can't be promised that every instance has carried the command out. */
export class UnconfirmedError extends Error {
  /** The instances that are the reason; none where it is the store. */
  readonly instances: readonly string[];

  constructor(message: string, instances: readonly string[], options?: ErrorOptions) {
    super(message, options);
    this.name = 'UnconfirmedError';
    this.instances = instances;
  }
}

export const DEFAULT_LEASE = 5_000;
export const DEFAULT_CONFIRM_TIMEOUT = 10_000;
/** Records that are kept at most. */
export const MAX_RECORDS = 10_000;

/** As many are kept as may be. */
export function tooManyRecords(): RangeError {
  return new RangeError(`there are ${MAX_RECORDS} records, which is as many as there may be`);
}

/** A moment by both clocks. */
export interface Moment {
  monotonic: number;
  /** Milliseconds since 1970. */
  wall: number;
}

export function now(): Moment {
  return { monotonic: monotonicNow(), wall: Date.now() };
}

/** A span of time that ends by whichever clock is there first: a machine that was suspended may show it on one only. */
export class Lease {
  #monotonicEnd = Number.NEGATIVE_INFINITY;
  #wallEnd = Number.NEGATIVE_INFINITY;

  get isOver(): boolean {
    return monotonicNow() >= this.#monotonicEnd || Date.now() >= this.#wallEnd;
  }

  /** Milliseconds that are left. */
  get left(): number {
    return Math.max(0, Math.min(this.#monotonicEnd - monotonicNow(), this.#wallEnd - Date.now()));
  }

  begin({ monotonic, wall }: Moment, milliseconds: number): void {
    this.#monotonicEnd = monotonic + milliseconds;
    this.#wallEnd = wall + milliseconds;
  }

  end(): void {
    this.#monotonicEnd = Number.NEGATIVE_INFINITY;
  }
}
