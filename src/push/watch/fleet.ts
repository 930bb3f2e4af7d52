/** All instances, each with what it is doing: every one answers for itself. */
import { monotonicNow } from '../../clock.ts';
import { loopDelay } from '../../metrics/event-loop.ts';
import type { Family } from '../../metrics/family.ts';
import { afterReading } from '../../waiting.ts';
import type { WatchBus } from './bus.ts';
import type { Health } from './health.ts';
import type { Stats } from './stats.ts';

/** Milliseconds for the answers. */
const PATIENCE = 400;
/** Milliseconds for which an instance that does not answer any more is waited for. */
const REMEMBERED = 10_000;
/** Milliseconds for which answers are used again. */
const FRESH = 500;
/** Answers that are taken at the most. */
const MOST = 1_000;
/** Characters of one answer. */
const LONGEST = 20_000;

/** An instance as it sees itself. Counts are since its start. */
export interface InstanceReport extends Stats {
  /** Of tidings. */
  version: string;
  /** Milliseconds since 1970 by its own clock, when it said so. */
  time: number;
  /** Milliseconds since 1970 by its own clock, when its process has started. */
  started: number;
  /** Whether new pages are welcome there. */
  ready: boolean;
  /** Why not: see `Health`. */
  reason?: string;
  /** Sessions whose outbox is full. */
  slowSessions: number;
  /** Bytes that wait for pages to read them. */
  outboxBytes: number;
  /** Frames that have come from pages. */
  receivedFrames: number;
  /** Frames that were sent to pages. */
  sentFrames: number;
  /** Bytes of the frames that have come. */
  receivedBytes: number;
  /** Bytes of the frames that were sent. */
  sentBytes: number;
  /** Messages written to sessions. */
  deliveries: number;
  /** Handshakes that were refused, by reason; none that is 0. */
  refusals: Record<string, number>;
  /** Processor time of its process. */
  cpuSeconds: number;
  /** Memory of its process. */
  memoryBytes: number;
  /** How late its event loop was: the 99th percentile of the worst ten seconds of the last minute, in milliseconds. */
  loopDelay: number;
}

export function reportOf(stats: Stats, health: Health, families: readonly Family[]): InstanceReport {
  const samples = (name: string) => {
    const family = families.find((each) => each.name === name);
    if (family === undefined) throw new Error(`there is no metric ${name}`);
    return family.samples;
  };
  const sum = (name: string): number => samples(name).reduce((total, { value }) => total + value, 0);
  const refusals = samples('tidings_refusals_total').filter(({ value }) => value > 0);
  return {
    ...stats,
    version: samples('tidings_build_info')[0]?.labels['version'] ?? '',
    time: Date.now(),
    started: Math.round(sum('tidings_start_time_seconds') * 1000),
    ready: health.ready,
    ...(health.reason !== undefined && { reason: health.reason }),
    slowSessions: sum('tidings_slow_sessions'),
    outboxBytes: sum('tidings_outbox_bytes'),
    receivedFrames: sum('tidings_received_frames_total'),
    sentFrames: sum('tidings_sent_frames_total'),
    receivedBytes: sum('tidings_received_bytes_total'),
    sentBytes: sum('tidings_sent_bytes_total'),
    deliveries: sum('tidings_deliveries_total'),
    refusals: Object.fromEntries(refusals.map(({ labels, value }) => [String(labels['reason']), value])),
    cpuSeconds: sum('tidings_cpu_seconds_total'),
    memoryBytes: sum('tidings_resident_memory_bytes'),
    loopDelay: loopDelay().p99,
  };
}

export class Fleet {
  readonly #bus: WatchBus;
  /** By address: when it was last heard of. */
  readonly #known = new Map<string, number>();
  #gathering: { id: number; reports: Map<string, InstanceReport>; changed(): void } | undefined;
  #running: Promise<InstanceReport[]> | undefined;
  #ended = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(bus: WatchBus, report: () => InstanceReport) {
    this.#bus = bus;
    bus.on('ask', ({ id }, from) => {
      if (Number.isSafeInteger(id)) bus.tell(from, 'report', { id, report: report() });
    });
    bus.on('report', ({ id, report: told }, from) => this.#take(id, told, from));
  }

  /** In the order of their names. Whoever has not answered in time is not among them. */
  instances(): Promise<InstanceReport[]> {
    // All who ask at the same time ask once.
    if (this.#running === undefined || monotonicNow() - this.#ended > FRESH) {
      this.#ended = Number.POSITIVE_INFINITY;
      this.#running = this.#gather().finally(() => {
        this.#ended = monotonicNow();
      });
    }
    return this.#running;
  }

  async #gather(): Promise<InstanceReport[]> {
    const now = monotonicNow();
    for (const [address, heard] of this.#known) if (now - heard > REMEMBERED) this.#known.delete(address);
    // Newcomers are only found by waiting for them: now and then to the end.
    const isWhole = this.#count++ % 5 === 0;
    const reports = new Map<string, InstanceReport>();
    await new Promise<void>((resolve) => {
      const callOff = afterReading(PATIENCE, resolve);
      const changed = (): void => {
        if (isWhole || [...this.#known.keys()].some((address) => !reports.has(address))) return;
        callOff();
        resolve();
      };
      this.#gathering = { id: this.#count, reports, changed };
      this.#bus.tellAll('ask', { id: this.#count });
    });
    this.#gathering = undefined;
    return [...reports.values()].sort((a, b) => (a.instance < b.instance ? -1 : 1));
  }

  #take(id: unknown, told: unknown, from: string): void {
    const gathering = this.#gathering;
    if (gathering === undefined || id !== gathering.id || gathering.reports.size >= MOST || !isReport(told))
      return;
    this.#known.set(from, monotonicNow());
    gathering.reports.set(from, told);
    gathering.changed();
  }
}

/** What another instance says, perhaps of another version, or anybody who may PUBLISH. */
function isReport(told: unknown): told is InstanceReport {
  if (typeof told !== 'object' || told === null || JSON.stringify(told).length > LONGEST) return false;
  const { instance, sessions, time, refusals } = told as Partial<Record<string, unknown>>;
  const isCounted = typeof refusals === 'object' && refusals !== null;
  return (
    typeof instance === 'string' && typeof sessions === 'number' && typeof time === 'number' && isCounted
  );
}
