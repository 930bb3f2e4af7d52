/**
 * Finds peers that are gone without a word: pings whoever has been silent, and gives up on whoever stays
 * so. One timer sweeps all connections of all servers, a slice at a time, so that ten thousand pings
 * don't leave in one burst.
 */
import { AsyncResource } from 'node:async_hooks';
import { clearInterval, setInterval } from '../clock.ts';

export interface Pulse {
  /** Sweeps since a byte came from the peer. The reading side sets it to 0, nothing else to pay there. */
  silence: number;
  /** Whether there is another reason for the silence; `ms` is how long one may last without any progress. */
  excuse(ms: number): boolean;
  /** The peer has been silent: ask it. */
  ping(): void;
  /** It has not answered. */
  pulseLost(): void;
}

/** Every connection is looked at this many times per interval, so it is pinged before the interval is over. */
const VISITS_PER_INTERVAL = 2;
const MAX_STEP_MS = 1000;

/** One timer for many: what it does must not happen in the context of whoever came first. */
const ofNobody = new AsyncResource('tidings.heartbeat');

const shared = new Map<string, Heartbeat>();

/** The connections with the same two times. */
export class Heartbeat {
  readonly #members = new Set<Pulse>();
  readonly #visitMs: number;
  readonly #stepMs: number;
  readonly #patience: number;
  /**
   * How long what waits to be written may stand still. Operating systems tell of progress in steps of up to a
   * megabyte, so this is more than a silent peer is given.
   */
  readonly #progressMs: number;
  #cursor: Iterator<Pulse> | undefined;
  /** Visits that are due, with the fraction carried over from step to step. */
  #credit = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param interval milliseconds: a peer that was silent for this long has been pinged
   * @param timeout milliseconds of further silence after which it is lost
   */
  constructor(interval: number, timeout: number) {
    this.#visitMs = interval / VISITS_PER_INTERVAL;
    this.#stepMs = Math.min(MAX_STEP_MS, this.#visitMs);
    this.#progressMs = 4 * (interval + timeout);
    this.#patience = 1 + Math.max(1, Math.ceil(timeout / this.#visitMs));
  }

  /** The one for these times, of all connections that share them. */
  static shared(interval: number, timeout: number): Heartbeat {
    const key = `${interval} ${timeout}`;
    let heartbeat = shared.get(key);
    if (heartbeat === undefined) {
      heartbeat = new Heartbeat(interval, timeout);
      shared.set(key, heartbeat);
    }
    return heartbeat;
  }

  get size(): number {
    return this.#members.size;
  }

  add(member: Pulse): void {
    this.#members.add(member);
    if (this.#timer === undefined) {
      this.#timer = ofNobody.runInAsyncScope(setInterval, undefined, () => this.#sweep(), this.#stepMs);
      this.#timer.unref();
    }
  }

  delete(member: Pulse): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#cursor = undefined;
    this.#credit = 0;
  }

  /** Looks at the share of the members that is due in one step; going around takes one visit time. */
  #sweep(): void {
    this.#credit += (this.#members.size * this.#stepMs) / this.#visitMs;
    for (; this.#credit >= 1 && this.#members.size > 0; this.#credit--) {
      this.#cursor ??= this.#members.values();
      let next = this.#cursor.next();
      if (next.done) {
        this.#cursor = this.#members.values();
        next = this.#cursor.next();
      }
      if (!next.done) this.#visit(next.value);
    }
  }

  #visit(member: Pulse): void {
    const silence = member.silence++;
    if (silence === 0) return;
    if (member.excuse(this.#progressMs)) {
      member.silence = 0;
      return;
    }
    if (silence >= this.#patience) member.pulseLost();
    else member.ping();
  }
}
