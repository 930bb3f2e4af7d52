/** Typed events: what `Client` is built on. A listener that throws disturbs neither the others nor the connection. */

export type Listener<T> = (event: T) => unknown;

export class Emitter<Events extends object> {
  #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** @returns a function that removes the listener again */
  on<E extends keyof Events>(event: E, listener: Listener<Events[E]>): () => void {
    let set = this.#listeners.get(event);
    if (set === undefined) {
      set = new Set();
      this.#listeners.set(event, set);
    }
    set.add(listener);
    return () => this.off(event, listener);
  }

  off<E extends keyof Events>(event: E, listener: Listener<Events[E]>): void {
    this.#listeners.get(event)?.delete(listener);
  }

  /**
   * Calls the listeners in the order of their registration. What they throw becomes an uncaught error.
   * @returns what each of them returned; FAILED where it threw
   */
  protected emit<E extends keyof Events>(event: E, value: Events[E]): unknown[] {
    const results: unknown[] = [];
    for (const listener of [...(this.#listeners.get(event) ?? [])] as Listener<Events[E]>[]) {
      try {
        results.push(listener(value));
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
        results.push(FAILED);
      }
    }
    return results;
  }
}

/** Stands for a listener that threw, in the results of `emit`. */
export const FAILED = Symbol('failed');
