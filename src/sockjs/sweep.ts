/** One interval for the heartbeats and time limits of all sessions of a SockJS server. */
import type { SockJsSession } from './session.ts';

export class Sweep {
  readonly #sessions = new Map<SockJsSession, () => void>();
  readonly #timer: NodeJS.Timeout;

  /** @param shortest the shortest time, in milliseconds, that it has to tell */
  constructor(shortest: number) {
    this.#timer = setInterval(() => this.#look(), Math.min(1000, Math.max(10, shortest / 5))).unref();
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
    const now = performance.now();
    for (const [session, forget] of this.#sessions) {
      if (session.deadline > now || !session.overdue(now)) continue;
      this.#sessions.delete(session);
      forget();
    }
  }
}
