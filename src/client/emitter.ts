/** Typed events: what `Client` is built on. A listener that throws disturbs neither the others nor the connection. */

export type Listener<T> = (event: T) => unknown;

export class Emitter<Events extends object> {
  #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** @returns a function that removes the listener again */
  on<E extends keyof Events>(event: E, listener: Listener<Events[E]>): () => void {
    const listeners = this.#listeners.get(event) ?? new Set<Listener<never>>();
    this.#listeners.set(event, listeners.add(listener));
    return () => this.off(event, listener);
  }

  /** Removes a listener; does nothing where it is not one. */
  off<E extends keyof Events>(event: E, listener: Listener<Events[E]>): void {
    this.#listeners.get(event)?.delete(listener);
  }

  /**
   * Calls the listeners in the order of their registration. What they throw becomes an uncaught error.
   * @returns what each of them returned; FAILED where it threw
   */
  protected emit<E extends keyof Events>(event: E, value: Events[E]): unknown[] {
    return [...(this.#listeners.get(event) ?? [])].map((listener) => {
      try {
        return (listener as Listener<Events[E]>)(value);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
        return FAILED;
      }
    });
  }
}

/** Stands for a listener that threw, in the results of `emit`: rejected, but not an error of its own. */
const FAILED = Promise.reject<never>();
FAILED.catch(() => {});
