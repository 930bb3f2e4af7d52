/** The acknowledgement of the inbox on its way: gathered for a moment, the newest only, and said again after a reconnect. */
import type { WirePosition } from '../push/talk/wire.ts';

export class Acks {
  readonly #delay: number;
  readonly #due: () => void;
  /** What was sent may have been lost with its connection. */
  #newest: WirePosition | undefined;
  #isUnsent = false;
  #isConnected = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param due called while there is a connection: `take` has something */
  constructor(delay: number, due: () => void) {
    this.#delay = delay;
    this.#due = due;
  }

  add(position: WirePosition): void {
    const newest = this.#newest;
    if (newest?.epoch === position.epoch && newest.offset >= position.offset) return;
    this.#newest = position;
    this.#isUnsent = true;
    if (this.#isConnected) this.#timer ??= setTimeout(this.#due, this.#delay);
  }

  /** What is to be said now, if anything. */
  take(): WirePosition | undefined {
    if (!this.#isConnected || !this.#isUnsent) return undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isUnsent = false;
    return this.#newest;
  }

  connected(): void {
    this.#isConnected = true;
    this.#isUnsent = this.#newest !== undefined;
    if (this.#isUnsent) this.#due();
  }

  disconnected(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isConnected = false;
  }

  /** What was to be acknowledged is of a log that is gone, or another user's. */
  clear(): void {
    this.#newest = undefined;
    this.#isUnsent = false;
  }
}
