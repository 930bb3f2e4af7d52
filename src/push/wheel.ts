/**
 * What is due at some second: one sweep for all, and no timer for each. Slots of a second go round, and who is due in a
 * later round stays in the slot, so it costs one place in a set, however far away the time is.
 */
import { setImmediate } from '../clock.ts';

export interface Due {
  /** Owned by the wheel: whole seconds of the monotonic clock; 0: it is in none. */
  due: number;
}

const SLOTS = 64;
/** Done in one turn of the event loop; more wait for the next. */
const BATCH = 100;
/** Seconds: the most that is a small integer to V8. 68 years. */
const NEVER = 2 ** 31 - 1;

export class Wheel<T extends Due> {
  readonly #slots: (Set<T> | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  readonly #ready = new Set<T>();
  readonly #happen: (item: T) => void;
  /** The second of the last sweep: it is looked at again, as it was not over. */
  #swept = 0;
  #size = 0;

  /** @param happen called once for each that is due, which is in the wheel no more; must not throw */
  constructor(happen: (item: T) => void) {
    this.#happen = happen;
  }

  get size(): number {
    return this.#size;
  }

  /** @param time milliseconds of the monotonic clock; never earlier than this it happens. One that is in it is moved */
  add(item: T, time: number): void {
    this.delete(item);
    item.due = Math.min(Math.max(Math.ceil(time / 1000), this.#swept, 1), NEVER);
    const slot = item.due % SLOTS;
    const items = this.#slots[slot] ?? new Set();
    this.#slots[slot] = items.add(item);
    this.#size++;
  }

  delete(item: T): void {
    if (item.due === 0) return;
    const slot = item.due % SLOTS;
    const items = this.#slots[slot];
    if (this.#ready.delete(item) || items?.delete(item)) this.#size--;
    if (items?.size === 0) this.#slots[slot] = undefined;
    item.due = 0;
  }

  /** Once a second. @param now milliseconds of the monotonic clock */
  sweep(now: number): void {
    const second = Math.floor(now / 1000);
    const isIdle = this.#ready.size === 0;
    // After a long pause every slot is looked at once.
    for (let at = Math.max(this.#swept, second - SLOTS + 1); at <= second; at++)
      this.#collect(at % SLOTS, second);
    this.#swept = second;
    if (isIdle) this.#work();
  }

  #collect(slot: number, second: number): void {
    const items = this.#slots[slot];
    if (items === undefined) return;
    for (const item of items) {
      if (item.due > second) continue;
      items.delete(item);
      this.#ready.add(item);
    }
    if (items.size === 0) this.#slots[slot] = undefined;
  }

  #work(): void {
    let room = BATCH;
    for (const item of this.#ready) {
      if (room-- === 0) {
        setImmediate(() => this.#work());
        return;
      }
      this.delete(item);
      this.#happen(item);
    }
  }
}
