/** Until when subscriptions may last that a ticket has permitted: no timer for each. */
import { monotonicNow } from '../../clock.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { type Due, Wheel } from '../wheel.ts';
import type { Session } from './session.ts';

interface Term extends Due {
  readonly session: Session;
  readonly subscription: Subscription;
}

export class TopicTerms {
  readonly #terms = new WeakMap<Subscription, Term>();
  readonly #wheel: Wheel<Term>;

  /** @param over the session's subscription to the topic has ended; must not throw */
  constructor(over: (session: Session, subscription: Subscription) => void) {
    this.#wheel = new Wheel(({ session, subscription }) => over(session, subscription));
  }

  /** Subscriptions that will end by themselves. */
  get size(): number {
    return this.#wheel.size;
  }

  /** @param left milliseconds; undefined: it does not end by itself. Said again, the last word counts */
  set(session: Session, subscription: Subscription, left: number | undefined): void {
    let term = this.#terms.get(subscription);
    if (left === undefined) {
      if (term !== undefined) this.#wheel.delete(term);
      return;
    }
    if (term === undefined) {
      term = { due: 0, session, subscription };
      this.#terms.set(subscription, term);
      subscription.whenClosed(() => this.#wheel.delete(term!));
    }
    this.#wheel.add(term, monotonicNow() + left);
  }

  /** Once a second. @param now milliseconds of the monotonic clock */
  sweep(now: number): void {
    this.#wheel.sweep(now);
  }
}
