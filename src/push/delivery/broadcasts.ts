/** What is for all sessions of this instance: to most of them in one frame, to the others one by one. */
import type { Session } from '../pages/session.ts';
import { BROADCAST } from '../talk/wire.ts';
import type { FanOut } from './audience.ts';
import type { DeliveryCounts } from './delivery-counts.ts';
import type { OutgoingTransient } from './outgoing.ts';

export class Broadcasts {
  readonly #sessions: Iterable<Session> & { readonly size: number };
  readonly #fanOut: FanOut;
  readonly #mayDeliver: () => boolean;
  readonly #counts: DeliveryCounts;

  /** @param sessions all that are open, whenever it is iterated */
  constructor(
    sessions: Iterable<Session> & { readonly size: number },
    fanOut: FanOut,
    mayDeliver: () => boolean,
    counts: DeliveryCounts,
  ) {
    this.#counts = counts;
    this.#sessions = sessions;
    this.#fanOut = fanOut;
    this.#mayDeliver = mayDeliver;
  }

  hand(message: OutgoingTransient): void {
    if (this.#sessions.size === 0 || !this.#mayDeliver()) return;
    this.#counts.transient += this.#fanOut.publish(BROADCAST, message.prepared);
    for (const session of this.#sessions) if (!this.#isShared(session)) session.sendTransient(message);
  }

  /** The session may be one that is reached together with others now. */
  join(session: Session): void {
    if (this.#isShared(session)) this.#fanOut.join(BROADCAST, session.transport);
  }

  /** It is not, for now. */
  leave({ transport }: Session): void {
    if (this.#fanOut.reaches(transport)) this.#fanOut.leave(BROADCAST, transport);
  }

  #isShared({ isTidings, phase, isFull, transport }: Session): boolean {
    return isTidings && phase === 'open' && !isFull && this.#fanOut.reaches(transport);
  }
}
