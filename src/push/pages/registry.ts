/**
 * The sessions of one instance, by user, and the places that they take. A place is taken before anything is waited for
 * and given back when the handshake has failed or the connection has ended, so that no number of newcomers at once gets
 * past a limit.
 */
import { SmallSet } from '../../small.ts';
import type { Limits } from '../options.ts';
import type { Session } from './session.ts';
import { SessionCounts } from './session-counts.ts';

export type PlaceLimits = Pick<Limits, 'sessions' | 'sessionsPerAddress' | 'sessionsPerUser'>;

export class SessionRegistry {
  readonly #limits: PlaceLimits;
  readonly #all = new Set<Session>();
  /** In the order in which they came. */
  readonly #byUser = new Map<string, SmallSet<Session>>();
  readonly counts = new SessionCounts();
  #places = 0;
  readonly #placesByAddress = new Map<string, number>();
  /** By user: whose place was taken by a newer one, and whose connection has not ended yet. */
  readonly #leaving = new Map<string, Session>();

  constructor(limits: PlaceLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): Iterator<Session> {
    return this.#all[Symbol.iterator]();
  }

  /** Bytes that wait for all of them to read. */
  get bufferedAmount(): number {
    let bytes = 0;
    for (const { transport } of this.#all) bytes += transport.bufferedAmount;
    for (const { transport } of this.#leaving.values()) bytes += transport.bufferedAmount;
    return bytes;
  }

  of(user: string): Iterable<Session> & { readonly size: number } {
    return this.#byUser.get(user) ?? NONE;
  }

  /** Also those who have to go as newer ones took their places: something may still wait to leave for them. */
  *everyone(): Generator<Session> {
    yield* this.#all;
    yield* this.#leaving.values();
  }

  /** The same of one user. */
  everyoneOf(user: string): Session[] {
    const leaving = this.#leaving.get(user);
    return leaving === undefined ? [...this.of(user)] : [...this.of(user), leaving];
  }

  /** Takes a place for somebody at this address; says what is full where there is none. */
  reserve(address: string): 'instance' | 'address' | undefined {
    const ofAddress = this.#placesByAddress.get(address) ?? 0;
    if (isOver(this.#places, this.#limits.sessions)) return 'instance';
    if (isOver(ofAddress, this.#limits.sessionsPerAddress)) return 'address';
    this.#places++;
    this.#placesByAddress.set(address, ofAddress + 1);
    return undefined;
  }

  /** Whether one more session of the user closes an older one. */
  isUserFull(user: string): boolean {
    return isOver(this.of(user).size, this.#limits.sessionsPerUser);
  }

  /** Gives a place back. */
  free(address: string): void {
    this.#places--;
    const left = (this.#placesByAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#placesByAddress.set(address, left);
    else this.#placesByAddress.delete(address);
  }

  /**
   * Returns the user's oldest sessions if there are now too many: they are not among the user's any more, `closing` is
   * to be closed. Whoever had to go before and has not gone yet is `ending`, and is to be cut, so that peers that never
   * answer a close don't pile up.
   */
  add(session: Session): { closing: Session | undefined; ending: Session | undefined } {
    const { user } = session;
    let own = this.#byUser.get(user);
    if (own === undefined) {
      own = new SmallSet();
      this.#byUser.set(user, own);
    }
    const closing = isOver(own.size, this.#limits.sessionsPerUser) ? first(own) : undefined;
    this.#all.add(session);
    this.counts.opens(session);
    own.add(session);
    if (closing === undefined) return { closing, ending: undefined };
    this.#all.delete(closing);
    this.counts.leaves(closing);
    own.delete(closing);
    const ending = this.#leaving.get(user);
    this.#leaving.set(user, closing);
    return { closing, ending };
  }

  delete(session: Session): void {
    const { user } = session;
    if (this.#leaving.get(user) === session) this.#leaving.delete(user);
    if (!this.#all.delete(session)) return;
    this.counts.leaves(session);
    const own = this.#byUser.get(user)!;
    own.delete(session);
    if (own.size === 0) this.#byUser.delete(user);
  }
}

const NONE = new SmallSet<Session>();

function isOver(count: number, limit: number): boolean {
  return limit > 0 && count >= limit;
}

function first<T>(set: Iterable<T>): T | undefined {
  for (const element of set) return element;
  return undefined;
}
