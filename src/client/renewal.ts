/**
 * When to bring a new ticket: ahead of the session's end, at a moment that is chance, as many were let in together with
 * this page. Whatever becomes of an attempt, the next one comes at a part of what is left of the time.
 */
import { MAX_DELAY } from './heartbeat.ts';
import type { Talk } from './talk.ts';

/** Milliseconds of which no part is worth an attempt. */
const SHORT = 500;

export class Renewal {
  readonly #renew: () => void;
  #end = 0;
  /** When it is time, by a clock that goes on while the machine sleeps, as timers may not. */
  #due = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param renew asks for a ticket and sends it; must not throw */
  constructor(renew: () => void) {
    this.#renew = renew;
  }

  /** @param left milliseconds until the session ends; 0: it does not, or is over */
  begin(left = 0): void {
    clearTimeout(this.#timer);
    this.#due = Number.POSITIVE_INFINITY;
    const now = Date.now();
    this.#end = now + left;
    if (left < SHORT) return;
    const wait = Math.min(left, MAX_DELAY) * (0.5 + Math.random() / 4);
    this.#due = now + wait;
    this.#timer = setTimeout(() => this.#go(), wait);
  }

  /** The page has woken up. */
  look(): void {
    if (Date.now() >= this.#due) this.#go();
  }

  #go(): void {
    this.begin(this.#end - Date.now());
    this.#renew();
  }
}

/**
 * A page whose ticket is a function stays beyond the end of its session.
 * @returns a function that brings a ticket for the session that is there
 */
export function addRenewal({ add, connection, failed, isPlain, send }: Talk): () => Promise<void> {
  const renew = async (): Promise<void> => {
    const turn = connection.turn();
    try {
      const ticket = await connection.askTicket();
      if (turn === connection.turn() && ticket && !isPlain) send({ type: 'renew', ticket });
    } catch (error) {
      if (turn === connection.turn()) failed(error);
    }
  };
  const renewal = new Renewal(renew);
  const begin = ({ expiresIn }: { expiresIn?: number }): void =>
    renewal.begin(connection.hasTickets() ? expiresIn : 0);
  add({
    frames: { renewed: ['type', begin] },
    welcome: begin,
    woke: () => renewal.look(),
    lost: () => renewal.begin(),
  });
  return renew;
}
