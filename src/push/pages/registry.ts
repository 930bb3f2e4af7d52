/** The sessions of one instance: by user, by address, and how many there may be. */
import type { Limits } from '../options.ts';
import type { Session } from './session.ts';

export class SessionRegistry {
  readonly #limits: Limits;
  readonly #all = new Set<Session>();
  /** In the order in which they came. */
  readonly #byUser = new Map<string, Set<Session>>();
  readonly #byAddress = new Map<string, number>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): Iterator<Session> {
    return this.#all[Symbol.iterator]();
  }

  of(user: string): ReadonlySet<Session> {
    return this.#byUser.get(user) ?? NONE;
  }

  /** Whether there is no room for one more session. */
  isFull(): boolean {
    return isOver(this.#all.size, this.#limits.sessions);
  }

  /** Whether the address has as many sessions as it may have. */
  isAddressFull(address: string): boolean {
    return isOver(this.#byAddress.get(address) ?? 0, this.#limits.sessionsPerAddress);
  }

  /** Returns the user's oldest session if there are now too many. */
  add(session: Session): Session | undefined {
    this.#all.add(session);
    this.#byAddress.set(session.address, (this.#byAddress.get(session.address) ?? 0) + 1);
    let own = this.#byUser.get(session.user);
    if (own === undefined) {
      own = new Set();
      this.#byUser.set(session.user, own);
    }
    const oldest = isOver(own.size, this.#limits.sessionsPerUser) ? first(own) : undefined;
    own.add(session);
    return oldest;
  }

  delete(session: Session): void {
    if (!this.#all.delete(session)) return;
    const count = this.#byAddress.get(session.address)! - 1;
    if (count > 0) this.#byAddress.set(session.address, count);
    else this.#byAddress.delete(session.address);
    const own = this.#byUser.get(session.user)!;
    own.delete(session);
    if (own.size === 0) this.#byUser.delete(session.user);
  }
}

const NONE: ReadonlySet<Session> = new Set();

function isOver(count: number, limit: number): boolean {
  return limit > 0 && count >= limit;
}

function first<T>(set: Set<T>): T | undefined {
  for (const element of set) return element;
  return undefined;
}
