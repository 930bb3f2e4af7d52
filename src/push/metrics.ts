/** What a push server has counted, as metrics. Who counts what is in the rooms; the names are here, and in docs/metrics.md. */
import { watchLoop } from '../metrics/event-loop.ts';
import { counter, type Family, gauge } from '../metrics/family.ts';
import { processFamilies } from '../metrics/process.ts';
import type { Rooms } from './rooms.ts';

export class PushMetrics {
  readonly #rooms: Rooms;
  #stopWatching: (() => void) | undefined;
  #isClosed = false;

  constructor(rooms: Rooms) {
    this.#rooms = rooms;
  }

  families(): Family[] {
    if (!this.#isClosed) this.#stopWatching ??= watchLoop();
    const { registry, router, publisher, isDraining } = this.#rooms;
    return [
      gauge('tidings_sessions', 'Sessions that are open.', registry.size),
      gauge('tidings_channels', 'Channels that somebody here needs.', router.size),
      counter('tidings_published_total', 'Messages stored through this instance.', publisher.published),
      gauge('tidings_store_up', 'Whether the store can be reached.', Number(!router.isAway), 'min'),
      gauge(
        'tidings_store_faults',
        'What is wrong with a store that can be reached, such as damaged channels.',
        router.broker.faultCount ?? 0,
        'max',
      ),
      gauge('tidings_draining', 'Whether this instance is going.', Number(isDraining), 'max'),
      ...processFamilies(),
    ];
  }

  close(): void {
    this.#isClosed = true;
    this.#stopWatching?.();
  }
}
