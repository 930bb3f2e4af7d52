/** What sources have counted, as metrics. docs/metrics.md says what each means. */
import { counter, type Family, gauge, type Labelled } from '../metrics/family.ts';
import { DELAYS, Histogram } from '../metrics/histogram.ts';
import type { Observed } from '../metrics/otel.ts';

/** What a source has done since its start, and how it is now. */
export class SourceCounts {
  /** Whether it is connected. */
  connected = false;
  /** Messages that are stored, and acknowledged or about to be. */
  stored = 0;
  /** Messages that were stored before. */
  duplicates = 0;
  /** Messages for the dead letters. */
  dead = 0;
  /** Messages of which `map` wanted nothing, and those for no users at all. */
  skipped = 0;
  /** Messages that were given back, as the connection was lost or the source closed: they come again. */
  released = 0;
  /** Attempts to store that have failed and were made again. */
  retries = 0;
  /** How often the source had lost messages before they were read. */
  missed = 0;
  /** How often the connection was lost. */
  losses = 0;
  /** Messages that are under way. */
  underWay = 0;
  /** Bytes of them. */
  underWayBytes = 0;
}

const RESULTS = [
  ['stored', 'stored'],
  ['duplicate', 'duplicates'],
  ['dead', 'dead'],
  ['skipped', 'skipped'],
  ['released', 'released'],
] as const;

export class SourceMetrics {
  readonly counts = new SourceCounts();
  /** From being written at the source to being stored. */
  readonly delays = new Histogram(DELAYS);
  readonly #labels: Record<string, string>;

  constructor(source: string, kind: string) {
    this.#labels = { source, kind };
  }

  families(): Family[] {
    const { counts } = this;
    const one = (value: number): Labelled[] => [[this.#labels, value]];
    return [
      counter(
        'tidings_source_messages_total',
        'Messages that sources have brought, by what became of them.',
        RESULTS.map(([result, name]) => [{ ...this.#labels, result }, counts[name]]),
      ),
      gauge(
        'tidings_source_connected',
        'Whether the source is connected.',
        one(Number(counts.connected)),
        'min',
      ),
      counter(
        'tidings_source_losses_total',
        'How often the connection to the source was lost.',
        one(counts.losses),
      ),
      counter(
        'tidings_source_missed_total',
        'How often the source had lost messages before they were read.',
        one(counts.missed),
      ),
      counter(
        'tidings_source_retries_total',
        'Attempts to store a message of the source that have failed and were made again.',
        one(counts.retries),
      ),
      gauge('tidings_source_under_way', 'Messages that are being stored.', one(counts.underWay)),
      gauge('tidings_source_under_way_bytes', 'Bytes of them.', one(counts.underWayBytes)),
    ];
  }

  histograms(): ReturnType<Observed['histograms']> {
    return [
      {
        name: 'tidings_source_delay_seconds',
        help: 'From being written at the source, where it says when that was, to being stored.',
        of: [[this.#labels, this.delays]],
      },
    ];
  }
}
