/** The clock of a run: it stands still with this program, as what comes meanwhile is read only after that. */

/** Milliseconds between two looks, and those that one may take: what is more is a machine that stood still. */
const LOOK = 50;
const MOST = 250;

export class RunningTime {
  #passed = 0;
  #looked = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.now, LOOK).unref();
  }

  /** Milliseconds in which the program has run since this was made. */
  get now(): number {
    const now = performance.now();
    this.#passed += Math.min(now - this.#looked, MOST);
    this.#looked = now;
    return this.#passed;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
