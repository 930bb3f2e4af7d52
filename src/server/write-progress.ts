/**
 * Whether a peer that has more to read than it takes still takes something: slow is not dead. How far a plain socket is,
 * only Node knows, and says when the socket's timeout is over; of all others the outbox counts what has left.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { monotonicNow } from '../clock.ts';
import type { Outbox } from './outbox.ts';

export class WriteProgress {
  readonly #socket: Duplex;
  readonly #outbox: Outbox;
  readonly #owner: { pulseLost(): void };
  /** How far it was, and since when, on the monotonic clock. */
  #last = -1;
  #lastAt = 0;
  /** While the socket's timeout is ours: how long that is, and the application's. */
  #timeouts: { own: number; others: number } | null = null;
  /** When the write that is under way was found to be stuck, on the monotonic clock. */
  #stuckSince = Number.NEGATIVE_INFINITY;
  readonly #onTimeout = (): void => this.#stuck((this.#socket as Socket).timeout!);

  /** @param owner is told where nothing has moved on a plain socket */
  constructor(socket: Duplex, outbox: Outbox, owner: { pulseLost(): void }) {
    this.#socket = socket;
    this.#outbox = outbox;
    this.#owner = owner;
  }

  /** Whether something has left within `ms`. Of a plain socket that is always so: its owner is told otherwise. */
  isWithin(ms: number): boolean {
    const { progress } = this.#outbox;
    if (progress === undefined) {
      this.#watch(Math.ceil(ms / 3));
      return true;
    }
    const now = monotonicNow();
    if (progress !== this.#last) {
      this.#last = progress;
      this.#lastAt = now;
    }
    return now - this.#lastAt < ms;
  }

  /** When this time is over, Node looks at what the kernel has taken of the write that is under way. */
  #watch(ms: number): void {
    if (this.#timeouts !== null) return;
    const socket = this.#socket as Socket;
    this.#timeouts = { own: ms, others: socket.timeout ?? 0 };
    socket.setTimeout(ms, this.#onTimeout);
  }

  /** Nothing moved for `ms`. If it was this process that stood still, what has come meanwhile is seen by the next time. */
  #stuck(ms: number): void {
    const now = monotonicNow();
    // With progress in between, the next time comes two of them later at the soonest.
    if (now - this.#stuckSince < 1.5 * ms) {
      this.#owner.pulseLost();
      return;
    }
    this.#stuckSince = now;
    (this.#socket as Socket).setTimeout(ms, this.#onTimeout);
  }

  /** The peer has caught up: the timeout is the application's again. */
  end(): void {
    if (this.#timeouts === null) return;
    const { own, others } = this.#timeouts;
    const socket = this.#socket as Socket;
    this.#timeouts = null;
    socket.removeListener('timeout', this.#onTimeout);
    // The application may have set another one meanwhile.
    if (socket.timeout === own) socket.setTimeout(others);
  }
}
