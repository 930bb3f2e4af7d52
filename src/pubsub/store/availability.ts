/**
 * Whether the store is there: the one place that says so. A topology tells of every loss and of every moment at
 * which all of it is connected, as often as it likes; the listener is told each loss once, and its end once.
 */
export class Availability {
  /** `comparing`: all is connected, and it is being looked at what the store still has. */
  #state: 'away' | 'comparing' | 'there' | 'closed' = 'away';
  #losses = 0;
  #isDownTold = false;
  readonly #told: { down(error: Error): void; up(): void };
  readonly #compare: (isCurrent: () => boolean) => Promise<void>;
  #resolve!: () => void;
  #reject!: (error: Error) => void;
  /** Resolves when the store is there for the first time; rejects if it can't be used or is closed before. */
  readonly opened: Promise<void>;

  /**
   * @param compare resolves once all is compared, or `isCurrent` says that it is in vain; it rejects where the store can't be
   *   used, which ends the waiting for it
   */
  constructor(
    told: { down(error: Error): void; up(): void },
    compare: (isCurrent: () => boolean) => Promise<void>,
  ) {
    this.#told = told;
    this.#compare = compare;
    this.opened = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever opens it awaits it; whoever closes it without having opened it does not.
    this.opened.catch(() => {});
  }

  get isThere(): boolean {
    return this.#state === 'there';
  }

  /** A connection was lost or could not be made. */
  lost(error: Error): void {
    if (this.#state === 'closed') return;
    this.#losses++;
    this.#state = 'away';
    if (this.#isDownTold) return;
    this.#isDownTold = true;
    this.#told.down(error);
  }

  /** All that is needed is connected, and every subscription in force. */
  whole(): void {
    if (this.#state !== 'away') return;
    this.#state = 'comparing';
    const losses = this.#losses;
    const isCurrent = (): boolean => this.#losses === losses && this.#state === 'comparing';
    void this.#compare(isCurrent).then(
      () => {
        if (!isCurrent()) return;
        this.#state = 'there';
        if (this.#isDownTold) {
          this.#isDownTold = false;
          this.#told.up();
        }
        this.#resolve();
      },
      (error: Error) => {
        this.lost(error);
        this.refuse(error);
      },
    );
  }

  /** What is there can't be used: whoever waits for it to be there for the first time waits no longer. */
  refuse(error: Error): void {
    this.#reject(error);
  }

  close(error: Error): void {
    this.#state = 'closed';
    this.#reject(error);
  }
}
