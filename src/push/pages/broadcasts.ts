/** What is for all sessions of this instance: to most of them in one frame, to the others one by one. */

import type { FanOut } from '../delivery/audience.ts';
import type { DeliveryCounts } from '../delivery/delivery-counts.ts';
import type { OutgoingTransient } from '../delivery/outgoing.ts';
import { BROADCAST } from '../talk/wire.ts';
import type { Session } from './session.ts';

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
    for (const session of this.#sessions)
      if (!isReached(session, this.#fanOut)) session.sendTransient(message);
  }

  /** The session may be one that is reached together with others now. */
  join(session: Session): void {
    if (isReached(session, this.#fanOut)) this.#fanOut.join(BROADCAST, session.transport);
  }

  /** It is not, for now. */
  leave({ transport }: Session): void {
    if (this.#fanOut.reaches(transport)) this.#fanOut.leave(BROADCAST, transport);
  }
}

/** Whether the session gets what is for all by the fan-out, together with others. */
export function isReached({ isTidings, phase, isFull, transport }: Session, fanOut: FanOut): boolean {
  return isTidings && phase === 'open' && !isFull && fanOut.reaches(transport);
}
