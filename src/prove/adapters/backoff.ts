/** When a page without a client of its own tries again: at once at first, at the latest after a second. */
export class Backoff {
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #isOver = false;

  succeeded(): void {
    this.#failures = 0;
  }

  /** @param least milliseconds that the server has asked for */
  again(attempt: () => void, least = 0): void {
    if (this.#isOver) return;
    clearTimeout(this.#timer);
    const delay = Math.min(1000, 50 * 2 ** Math.min(this.#failures++, 6)) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(attempt, Math.max(delay, least));
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }
}
