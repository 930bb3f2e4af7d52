/** Sends numbered messages on several streams, each message until it was promised, with an idempotency key. */

export interface Numbered {
  n: number;
  padding?: string;
}

/** Resolves when the message is promised. */
export type Send = (stream: string, data: Numbered, key: string) => Promise<{ duplicate: boolean }>;

export class Publisher {
  /** By stream: the number of the last message that was promised. */
  readonly promised = new Map<string, number>();
  /** Attempts without a promise. */
  failures = 0;
  /** Receipts that said that an earlier attempt had stored it. */
  duplicates = 0;
  lastFailure = '';
  readonly #send: Send;
  readonly #interval: number;
  readonly #padding: Pick<Numbered, 'padding'>;
  readonly #running: Promise<void>[] = [];
  #isStopped = false;
  readonly #run = Math.random().toString(36).slice(2);

  /**
   * @param interval milliseconds from a promise to the next message of the same stream
   * @param padding bytes by which each message is larger
   */
  constructor(streams: string[], interval: number, padding: number, send: Send) {
    this.#interval = interval;
    this.#padding = padding > 0 ? { padding: 'x'.repeat(padding) } : {};
    this.#send = send;
    for (const stream of streams) this.promised.set(stream, 0);
  }

  get total(): number {
    let sum = 0;
    for (const n of this.promised.values()) sum += n;
    return sum;
  }

  start(): void {
    for (const stream of this.promised.keys()) {
      const running = this.#publish(stream);
      // Whoever stops it is told.
      running.catch(() => {});
      this.#running.push(running);
    }
  }

  /** Resolves when the last message under way is promised; rejects if one can't be. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  async #publish(stream: string): Promise<void> {
    for (let n = 1; !this.#isStopped; n++) {
      await this.#promise(stream, n);
      this.promised.set(stream, n);
      await pause(this.#interval);
    }
  }

  async #promise(stream: string, n: number): Promise<void> {
    const deadline = performance.now() + 120_000;
    for (;;) {
      try {
        const { duplicate } = await this.#send(
          stream,
          { n, ...this.#padding },
          `${this.#run}-${stream}-${n}`,
        );
        if (duplicate) this.duplicates++;
        return;
      } catch (error) {
        this.failures++;
        this.lastFailure = String(error);
        if (performance.now() > deadline)
          throw new Error(`message ${n} of ${stream} can't be sent: ${error}`);
        await pause(25);
      }
    }
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
