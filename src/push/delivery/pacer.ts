/** Waits for peers to read. One timer for all, and none while nobody waits. */
import { clearInterval, setInterval } from '../../clock.ts';
import type { Transport } from '../../server/transport.ts';

const INTERVAL = 20;

interface Waiting {
  transport: Transport;
  below: number;
  proceed: () => void;
}

export class Pacer {
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;

  /** Resolves when less than `below` bytes wait for the peer, or when the transport is no longer open. */
  wait(transport: Transport, below: number): Promise<void> {
    if (isReady(transport, below)) return Promise.resolve();
    return new Promise((proceed) => {
      this.#waiting.add({ transport, below, proceed });
      this.#timer ??= setInterval(() => this.#look(), INTERVAL);
    });
  }

  #look(): void {
    for (const waiting of this.#waiting) {
      if (!isReady(waiting.transport, waiting.below)) continue;
      this.#waiting.delete(waiting);
      waiting.proceed();
    }
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function isReady(transport: Transport, below: number): boolean {
  return transport.readyState !== 1 || transport.bufferedAmount < below;
}
