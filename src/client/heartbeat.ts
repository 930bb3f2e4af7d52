/**
 * Notices a connection that died without a word: after `interval` of silence it pings, and after `timeout`
 * more it gives up. One timer, which messages never touch: it looks at the time of the last one when it fires.
 */
export class Heartbeat {
  readonly #interval: number;
  readonly #timeout: number;
  readonly #ping: () => void;
  readonly #dead: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard = Date.now();
  #pinged = 0;
  #patience = 0;

  /** @param interval milliseconds; 0 turns it off */
  constructor(interval: number, timeout: number, ping: () => void, dead: () => void) {
    this.#interval = interval;
    this.#timeout = timeout;
    this.#ping = ping;
    this.#dead = dead;
    this.#arm(interval);
  }

  /** Something came from the server. Returns the milliseconds since the ping that it answers, if it does. */
  heard(): number | undefined {
    this.#heard = Date.now();
    if (this.#pinged === 0) return undefined;
    const roundTrip = this.#heard - this.#pinged;
    this.#pinged = 0;
    this.#arm(this.#interval);
    return roundTrip;
  }

  /** The page woke up or the network changed: ask now, and wait no longer than `patience` ms for the answer. */
  probe(patience: number): void {
    if (this.#interval === 0 || Date.now() - this.#heard < patience) return;
    if (this.#pinged === 0 || this.#patience > patience) this.#ask(Math.min(patience, this.#timeout));
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #ask(patience: number): void {
    this.#pinged = Date.now();
    this.#patience = patience;
    this.#arm(patience);
    this.#ping();
  }

  #arm(delay: number): void {
    clearTimeout(this.#timer);
    if (this.#interval > 0) this.#timer = setTimeout(() => this.#check(), delay);
  }

  #check(): void {
    const silence = Date.now() - this.#heard;
    if (this.#pinged > 0) this.#dead();
    else if (silence >= this.#interval) this.#ask(this.#timeout);
    // The clock may have been set back meanwhile: never wait for more than the interval.
    else this.#arm(Math.min(this.#interval, this.#interval - silence));
  }
}
