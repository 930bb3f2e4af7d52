/** One interval for the heartbeats and time limits of all sessions of a SockJS server. */
import { clearInterval, monotonicNow, setInterval } from '../clock.ts';
import type { SockJsSession } from './session.ts';

export class Sweep {
  readonly #sessions = new Map<SockJsSession, () => void>();
  readonly #interval: number;
  readonly #timer: NodeJS.Timeout;
  #last = monotonicNow();

  /** @param shortest the shortest time, in milliseconds, that it has to tell */
  constructor(shortest: number) {
    this.#interval = Math.min(1000, Math.max(10, shortest / 5));
    this.#timer = setInterval(() => this.#look(), this.#interval).unref();
  }

  /** Watches a session until it can be forgotten. */
  add(session: SockJsSession, forget: () => void): void {
    this.#sessions.set(session, forget);
  }

  delete(session: SockJsSession): void {
    this.#sessions.delete(session);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#sessions.clear();
  }

  #look(): void {
    const now = monotonicNow();
    // This process was paused: what clients have sent meanwhile is yet to be read.
    const pause = now - this.#last - this.#interval;
    this.#last = now;
    if (pause > this.#interval) for (const session of this.#sessions.keys()) session.deadline += pause;
    for (const [session, forget] of this.#sessions) {
      if (session.deadline > now || !session.overdue(now)) continue;
      this.#sessions.delete(session);
      forget();
    }
  }
}
