/** Calls about one channel, made one after another in the order in which they were asked for. */
import { isIn } from '../../waiting.ts';
import { patienceOf } from './failures.ts';

export class CallOrder {
  readonly #patience: number;
  readonly #late: (message: string) => Error;
  /** By channel: what its next call waits for. */
  readonly #lanes = new Map<string, Promise<void>>();

  /**
   * @param maxWait milliseconds that a call is tried again: what has waited longer behind others is not made any more, as
   *   all of them wait for the same store
   * @param late makes the error for that
   */
  constructor(maxWait: number, late: (message: string) => Error) {
    this.#patience = patienceOf(maxWait);
    this.#late = late;
  }

  run<T>(channel: string, work: () => Promise<T>): Promise<T> {
    const former = this.#lanes.get(channel);
    const own = former === undefined ? work() : this.#behind(former, channel, work);
    const settled = Promise.allSettled([former, own]).then(() => {
      if (this.#lanes.get(channel) === settled) this.#lanes.delete(channel);
    });
    this.#lanes.set(channel, settled);
    return own;
  }

  async #behind<T>(former: Promise<void>, channel: string, work: () => Promise<T>): Promise<T> {
    if (await isIn(former, this.#patience)) return work();
    throw this.#late(`a mark of ${channel} waited ${this.#patience} ms behind others, nothing was sent`);
  }
}
