/**
 * Which shares of the table this instance reads. Each share is a lock that one connection has; how many instances there are
 * shows in locks as well: each has one of the places. Everybody takes his part, and gives back what is more, so that all have
 * about the same.
 */
import { monotonicNow } from '../../clock.ts';
import { SHARES, type TableConnection } from './outbox.ts';

/** Milliseconds between two looks. */
export const BALANCE = 1_000;
/** Instances that are told from each other. More of them share as if they were as many. */
const PLACES = 32;
const placeName = (place: number): string => `place ${place}`;
const shareName = (share: number): string => `share ${share}`;

export class Shares {
  readonly #connection: TableConnection;
  readonly #held = new Set<number>();
  /** Held until nothing of it is under way. */
  readonly #leaving = new Set<number>();
  #hasPlace = false;
  #looked = Number.NEGATIVE_INFINITY;

  constructor(connection: TableConnection) {
    this.#connection = connection;
  }

  /** Those that are read. */
  get active(): number[] {
    return [...this.#held].filter((share) => !this.#leaving.has(share));
  }

  isActive(share: number): boolean {
    return this.#held.has(share) && !this.#leaving.has(share);
  }

  /**
   * Takes shares or gives them back, if it is time to look.
   *
   * @param isBusy whether rows of a share are under way
   */
  async balance(isBusy: (share: number) => boolean): Promise<void> {
    await this.#leave(isBusy);
    const now = monotonicNow();
    if (now - this.#looked < BALANCE) return;
    this.#looked = now;
    if (!this.#hasPlace) await this.#takePlace();
    const others = await this.#connection.countLocked(Array.from({ length: PLACES }, (_, i) => placeName(i)));
    const part = Math.ceil(SHARES.length / Math.max(1, others));
    const active = shuffled(this.active);
    for (const share of active.slice(part)) this.#leaving.add(share);
    await this.#leave(isBusy);
    if (active.length < part) await this.#take(part - active.length);
  }

  /** Somebody has given something back, perhaps. */
  lookSoon(): void {
    if (this.#held.size < SHARES.length) this.#looked = Number.NEGATIVE_INFINITY;
  }

  async #takePlace(): Promise<void> {
    for (const place of shuffled(Array.from({ length: PLACES }, (_, i) => i))) {
      const got = await this.#connection.lock([placeName(place)]);
      this.#hasPlace = got.length > 0;
      if (this.#hasPlace) return;
    }
  }

  async #take(most: number): Promise<void> {
    // What it is about to leave it may as well keep.
    for (const share of this.#leaving) {
      if (most === 0) return;
      this.#leaving.delete(share);
      most--;
    }
    const others = shuffled(SHARES.filter((share) => !this.#held.has(share)));
    while (most > 0 && others.length > 0) {
      const got = await this.#connection.lock(others.splice(0, most).map(shareName));
      for (const name of got) this.#held.add(Number(name.split(' ')[1]));
      most -= got.length;
    }
  }

  async #leave(isBusy: (share: number) => boolean): Promise<void> {
    const free = [...this.#leaving].filter((share) => !isBusy(share));
    if (free.length === 0) return;
    await this.#connection.unlock(free.map(shareName));
    for (const share of free) {
      this.#leaving.delete(share);
      this.#held.delete(share);
    }
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, by: Math.random() }))
    .sort((a, b) => a.by - b.by)
    .map(({ item }) => item);
}
