/**
 * The schedule: messages that are sent later. The store keeps them, encoded, until their time has come, and hands them
 * out to one instance at a time, under a lease. That instance publishes each with an idempotency key and then says what
 * became of it; what was handed out to an instance that is gone, is handed out to another one.
 */
import type { PayloadKind } from './payload-kind.ts';

/** How a message is stored when its time has come: as `PublishOptions` of broker.ts. */
export interface LaterSettings {
  idempotencyKey?: string;
  idempotencyWindow?: number;
  ttl?: number;
  replaces?: string;
  trace?: string;
}

export interface LaterMessage {
  /** Tells it from all others, in the whole store. */
  id: string;
  channel: string;
  kind: PayloadKind;
  payload: Buffer;
  /** Milliseconds since 1970 before which it is not handed out. */
  at: number;
  settings: LaterSettings;
}

/** What is listed has a place, from which the list goes on. */
export interface Place {
  /** Milliseconds since 1970 when it is handed out: `at`, or later where its channel could not be written to. */
  due: number;
  at: number;
  /** How many were scheduled before it. */
  number: number;
}

/** What to list. */
export interface Listing {
  /** Left out: of all. */
  channel?: string;
  /** Only what comes behind this in the list. */
  before?: Place;
  /** Messages, at the most. */
  limit: number;
}

export interface ListedMessage extends LaterMessage {
  place: Place;
}

export interface ListedPage {
  /** How many are scheduled in all. */
  count: number;
  /** The latest first. */
  messages: ListedMessage[];
  /** Whether there are more. */
  hasMore: boolean;
}

/** A message that could never be stored. */
export interface FailedMessage {
  id: string;
  channel: string;
  at: number;
  /** Milliseconds since 1970 when that was found out. */
  time: number;
  reason: string;
}

/** Of a message that is due. */
export interface Damaged {
  id: string;
  /** Why nobody can say what it is. */
  damage: string;
}

export interface Wanted {
  /** Milliseconds since 1970 by the instance's own clock: what is due by this and by the store's is handed out. */
  now: number;
  /** Milliseconds of the lease. */
  lease: number;
  /** Messages, at the most. */
  most: number;
  /** Bytes of them, at the most; one message by itself may be more. */
  bytes: number;
}

export type Taken =
  /** Nothing is scheduled. The bell rings when something is. */
  | { state: 'none' }
  /** Another instance has the lease, for so many milliseconds unless it renews it. */
  | { state: 'other'; left: number }
  /** The lease was renewed. */
  | {
      state: 'held';
      /** In the order in which they are due, of one moment in the order in which they were scheduled. */
      messages: (LaterMessage | Damaged)[];
      /** Milliseconds since 1970 by the store's clock. */
      time: number;
      /** When the next one is due. `Infinity`: there is none. */
      next: number;
    };

/** What became of a message that was handed out. */
export type Settled =
  /** The store has it. */
  | { id: string; what: 'stored' }
  /** It can never be stored. Listed as failed; of those, the newest 1,000 are kept. */
  | { id: string; what: 'failed'; failure: FailedMessage }
  /**
   * It was not stored now (`held`), or that is not known. Nothing of its channel is handed out for so many milliseconds,
   * twice as many each time that this comes again, a minute at the most. Nor does any of it overtake these then, although
   * it was due before that time was over.
   */
  | { id: string; what: 'held' | 'unknown'; milliseconds: number }
  /** Nothing was tried: it is handed out again in its place. */
  | { id: string; what: 'back' };

/** The channel on which the bell rings, as a transient payload. No topic and no user has a name with a line break. */
export const BELL = 'schedule\n';

/** Messages that could never be stored, of which so many are remembered. */
export const MAX_FAILED = 1_000;
/** Bytes of a page of the list, but for one message. */
export const LIST_BYTES = 1024 * 1024;

/** Messages that are sent later, as a `Broker` keeps them. */
export interface Schedule {
  /**
   * Keeps a message. One whose id is there already is left as it is. Rings where it is due before all others.
   *
   * @param most how many may be scheduled at once; 0: no limit
   * @returns when the one with this id is due, and whether it was there before
   * @throws {RangeError} with code `TOO_MANY_SCHEDULED`
   */
  add(message: LaterMessage, most: number): Promise<{ at: number; wasThere: boolean }>;

  /** Takes one out. True: it will never be handed out. False: there is none, or it may have been stored. */
  cancel(id: string): Promise<boolean>;

  /** What is scheduled, but for what is being sent. Of one channel, or of all. */
  list(which: Listing): Promise<ListedPage>;

  /** What could never be stored, the newest first. */
  failed(limit: number): Promise<FailedMessage[]>;

  /**
   * Hands out what is due, and takes or renews the lease.
   *
   * @param holder the instance's name, a point, and a number: another one after each call that failed, each time that the
   *   store was away, and when its lease was over before all was sent. What the former has not settled is handed out again.
   */
  take(holder: string, wanted: Wanted): Promise<Taken>;

  /**
   * Says what became of messages that were handed out to `holder`. Those that go back do so only if he still has the lease.
   *
   * @param isLast whether the lease is given back
   */
  settle(holder: string, outcomes: readonly Settled[], isLast?: boolean): Promise<void>;
}

/** As many are scheduled as may be. */
export function tooMany(most: number): RangeError {
  const message = `${most} messages are scheduled, which is as many as there may be (limits.scheduled)`;
  return Object.assign(new RangeError(message), { code: 'TOO_MANY_SCHEDULED' });
}
