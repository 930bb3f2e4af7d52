/**
 * Notices a connection that died without a word: after `interval` of silence it pings, and after `timeout`
 * more it gives up. One timer, which messages never touch: it looks at the time of the last one when it fires.
 */

/** Milliseconds: the longest that a timer can wait. */
export const MAX_DELAY = 2 ** 31 - 1;

export class Heartbeat {
  readonly #interval: number;
  readonly #timeout: number;
  readonly #ping: () => void;
  readonly #dead: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard = Date.now();
  /** When the ping went out that nothing has answered yet; 0: there is none. */
  #pinged = 0;
  /** Milliseconds without a word that end a probe; 0: there is none. */
  #patience = 0;

  /** @param interval milliseconds; 0 turns it off, but for probes */
  constructor(interval: number, timeout: number, ping: () => void, dead: () => void) {
    this.#interval = interval;
    this.#timeout = timeout;
    this.#ping = ping;
    this.#dead = dead;
    this.#arm(interval);
  }

  /**
   * Something came from the server. Returns the milliseconds since the ping that it answers, if it does. While a
   * probe is out, only a `pong` answers it: what else comes may have come before the connection died, and lain here.
   */
  heard(isPong: boolean): number | undefined {
    this.#heard = Date.now();
    if (this.#patience > 0 && !isPong) this.#arm(this.#patience);
    if (this.#pinged === 0 || (this.#patience > 0 && !isPong)) return undefined;
    const roundTrip = this.#heard - this.#pinged;
    this.#pinged = this.#patience = 0;
    this.#arm(this.#interval);
    return roundTrip;
  }

  /** The page woke up or the network changed: ask now, and wait no longer than `patience` ms for the answer. */
  probe(patience: number): void {
    if (this.#patience > 0) return;
    this.#patience = patience;
    this.#ask(patience);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #ask(patience: number): void {
    this.#pinged = Date.now();
    this.#arm(patience);
    this.#ping();
  }

  #arm(delay: number): void {
    clearTimeout(this.#timer);
    const isOn = this.#interval > 0 || this.#patience > 0;
    if (isOn) this.#timer = setTimeout(() => this.#check(), Math.min(delay, MAX_DELAY));
  }

  #check(): void {
    const silence = Date.now() - this.#heard;
    if (this.#pinged > 0) this.#dead();
    else if (silence >= this.#interval) this.#ask(this.#timeout);
    // The clock may have been set back meanwhile: never wait for more than the interval.
    else this.#arm(Math.min(this.#interval, this.#interval - silence));
  }
}
