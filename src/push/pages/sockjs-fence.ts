/** Keeps back what waits in SockJS sessions where their user has been sent away meanwhile, or the lease is over. */
import type { ControlLog, Mark } from '../../pubsub/store/control.ts';
import type { Attributes } from '../../server/transport.ts';
import type { Fence } from '../../sockjs/index.ts';
import type { Endings } from './endings.ts';

export class SockJsFence implements Fence {
  readonly #log: ControlLog;
  readonly #endings: Endings;

  constructor(log: ControlLog, endings: Endings) {
    this.#log = log;
    this.#endings = endings;
  }

  look(): void {
    // Whoever finds out that it may not is told, and cuts what waits.
    this.#log.mayDeliver();
  }

  stamp({ user, login }: Attributes): string {
    return JSON.stringify({ user, login, mark: this.#log.mark });
  }

  mayPass(stamp: string): boolean {
    if (!this.#log.mayDeliver()) return false;
    try {
      const { user, login, mark } = JSON.parse(stamp) as { user: string; login?: string; mark: Mark };
      return !this.#endings.isEndedSince(mark, this.#log.mark, { user, login });
    } catch {
      // What is no stamp of an instance lets nothing pass.
      return false;
    }
  }
}
