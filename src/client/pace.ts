/**
 * What the page sends, no faster than the server takes it: a burst, then an even pace. A server counts frames
 * by the second (100, as long as it was not told otherwise), and closes with 4429 on who goes on above it.
 */

/** Frames that may go at once, and as many more each second: with both, less than 100 within any second. */
const PACE = 45;
const SLOWEST = 1;

export class Pace {
  readonly #send: (text: string) => void;
  #queue: (() => string | undefined)[] = [];
  #next = 0;
  #pace = PACE;
  #room = PACE;
  #time = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param send only called between `start` and `stop` */
  constructor(send: (text: string) => void) {
    this.#send = send;
  }

  /** There is a new connection, and nothing waits for it yet. */
  start(): void {
    this.stop();
    this.#time = Date.now();
    this.#room = this.#pace;
  }

  /** The connection is gone, and with it what was waiting. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#queue = [];
    this.#next = 0;
  }

  /** It was too fast for this server. */
  slower(): void {
    this.#pace = Math.max(SLOWEST, this.#pace / 2);
  }

  /** In its turn, or as the next. What has nothing to say any more by then returns undefined. */
  add(frame: () => string | undefined, isNext = false): void {
    if (isNext) this.#queue.splice(this.#next, 0, frame);
    else this.#queue.push(frame);
    this.#timer ?? this.#go();
  }

  /** Out of turn: what can't wait. */
  now(text: string): void {
    this.#room--;
    this.#send(text);
  }

  #go(): void {
    this.#timer = undefined;
    const now = Date.now();
    // A clock that was set back is not held against anybody.
    this.#room = Math.min(this.#pace, this.#room + (Math.max(0, now - this.#time) * this.#pace) / 1000);
    this.#time = now;
    const queue = this.#queue;
    while (this.#next < queue.length && this.#room >= 1) {
      const text = queue[this.#next++]!();
      if (text !== undefined) this.now(text);
      // Sending can end the connection, and this queue with it.
      if (queue !== this.#queue) return;
    }
    if (this.#next < queue.length)
      this.#timer = setTimeout(() => this.#go(), ((1 - this.#room) * 1000) / this.#pace);
    else {
      this.#queue = [];
      this.#next = 0;
    }
  }
}
