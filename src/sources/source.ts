/**
 * The engine of sources: takes messages of a driver, decodes them, stores each in the order of its channels, and says what has
 * become of it. What can't be stored now is tried again in its place; what never can goes to the dead letters; only what is
 * stored is acknowledged. A connection that is lost is made again.
 */
import { setMaxListeners } from 'node:events';
import { monotonicNow } from '../clock.ts';
import type { Family } from '../metrics/family.ts';
import { explain, printable } from '../push/explain.ts';
import type { PushServer } from '../push/index.ts';
import { type Part, Parts } from '../push/parts.ts';
import { type Backoff, delayOf, pause, within } from '../waiting.ts';
import { Decoding } from './decoding.ts';
import {
  type Intake,
  MessageError,
  type Outcome,
  type Sending,
  type SourceDriver,
  type SourceMessage,
  SourceSetupError,
} from './driver.ts';
import { ChannelLanes } from './lanes.ts';
import type { EngineSettings } from './options.ts';
import { MAX_REASON, SourceLog } from './source-log.ts';
import { type SourceCounts, SourceMetrics } from './source-metrics.ts';
import { channelsOf, keyOf, type StoringEvents, store } from './storing.ts';

/** Between two connections. */
const CONNECTING: Backoff = { min: 100, max: 10_000 };
/** Milliseconds for which a connection has to hold for the next one to be made at once. */
const HELD = 10_000;
/** Milliseconds for the last acknowledgements and for disconnecting. */
const GOODBYE = 3_000;
/** Milliseconds between two looks whether the store is there again. */
const LOOK = 250;
/** Bytes that a message counts besides its body. */
const OVERHEAD = 500;

const DONE: Outcome = { what: 'done' };
const RELEASED: Outcome = { what: 'released' };

/** A source that runs. */
export interface RunningSource {
  /** As log lines and metrics call it. */
  readonly name: string;
  /** Resolves when it is connected for the first time; rejects if it can never be, or is closed before. */
  readonly ready: Promise<void>;
  /** What it has done since its start, and how it is now. */
  readonly counts: Readonly<SourceCounts>;
  /**
   * Takes no more, waits up to `closeTimeout` until what is under way is stored and acknowledged, gives the rest back and
   * disconnects. `close` of the push server does it, too. Calling it again waits for the same end.
   */
  close(): Promise<void>;
}

/** One message on its way. */
interface Job {
  readonly message: SourceMessage;
  readonly run: Run;
  readonly size: number;
  isSettled: boolean;
  readonly settle: (outcome: Outcome) => void;
}

/** One connection of the driver. */
class Run {
  readonly jobs = new Set<Job>();
  /** Aborted: nothing of this connection is begun any more. */
  readonly over = new AbortController();
  connectedAt: number | undefined;
  /** Something of it was stored, or is known to be. */
  hasDone = false;

  constructor() {
    setMaxListeners(0, this.over.signal);
  }

  /** What is under way goes back. */
  end(): void {
    this.over.abort();
    for (const job of [...this.jobs]) job.settle(RELEASED);
  }
}

export class Source implements RunningSource, Part {
  readonly name: string;
  readonly ready: Promise<void>;
  readonly #push: PushServer;
  readonly #parts: Parts;
  readonly #driver: SourceDriver;
  readonly #settings: EngineSettings;
  readonly #scope: string;
  readonly #metrics: SourceMetrics;
  readonly #decoding: Decoding;
  readonly #lanes = new ChannelLanes();
  /** When all messages are in their lanes that came so far. */
  #entered: Promise<void> = Promise.resolve();
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  readonly #says: SourceLog;
  /** Messages that had to be tried again, and are not stored yet. */
  #waitingCount = 0;
  #run: Run | undefined;
  #whenRoom: (() => void)[] = [];
  #opened!: { resolve(): void; reject(error: Error): void };
  #wasConnected = false;
  /** Connections one after the other that were made, but of no use. */
  #useless = 0;
  #closing: Promise<void> | undefined;

  /** @throws {TypeError} for what is no push server */
  constructor(push: PushServer, driver: SourceDriver, settings: EngineSettings) {
    this.#parts = Parts.of(push);
    this.#push = push;
    this.#driver = driver;
    this.#settings = settings;
    this.name = settings.name ?? driver.name;
    this.#scope = settings.name ?? driver.scope;
    this.#metrics = new SourceMetrics(this.name, driver.kind);
    this.#decoding = new Decoding(driver, settings, this.#parts.limits);
    this.#says = new SourceLog(push.log, this.name);
    this.ready = new Promise((resolve, reject) => {
      this.#opened = { resolve, reject };
    });
    // Whoever does not ask still gets the log line.
    this.ready.catch(() => {});
    setMaxListeners(0, this.#stopping.signal);
    this.#parts.add(this);
    this.#running = this.#runs();
  }

  get counts(): Readonly<SourceCounts> {
    return this.#metrics.counts;
  }

  families(): Family[] {
    return this.#metrics.families();
  }

  histograms(): ReturnType<Part['histograms']> {
    return this.#metrics.histograms();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { closeTimeout } = this.#settings;
    this.#stopping.abort();
    this.#opened.reject(new Error(`the source ${this.name} was closed before it was connected`));
    // Nothing is under way over a connection that is still being made.
    if (this.#run?.connectedAt !== undefined) await within(closeTimeout, this.#running);
    // What is not stored by now comes again.
    this.#run?.end();
    await within(GOODBYE, this.#running);
    this.#parts.remove(this);
    this.#says.closed(this.counts);
  }

  // ── connections ────────────────────────────────────────────────────────────────────────────────

  /** One connection after another. Never rejects. */
  async #runs(): Promise<void> {
    // Whoever has just made it may still add listeners to what it gives.
    await Promise.resolve();
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const run = new Run();
      this.#run = run;
      let failure: unknown = new Error('the connection has ended');
      try {
        await this.#driver.run(this.#intake(run), signal);
      } catch (error) {
        failure = error;
      }
      run.end();
      this.#metrics.counts.connected = false;
      if (signal.aborted) return;
      if (run.connectedAt !== undefined) {
        this.#metrics.counts.losses++;
        const hasHeld = monotonicNow() - run.connectedAt > HELD;
        if (hasHeld) attempt = 0;
        this.#useless = hasHeld || run.hasDone ? 0 : this.#useless + 1;
      }
      if (failure instanceof SourceSetupError && !this.#wasConnected) {
        this.#fail(failure);
        return;
      }
      this.#says.away.failed(failure);
      await pause(delayOf(attempt, CONNECTING), signal);
      if (this.#wasConnected) await this.#storeIsBack(signal);
    }
  }

  /**
   * What is read while the store is away only goes back when the connection is lost again, and a queue may count how often
   * that happens to a message, and drop it.
   */
  async #storeIsBack(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#push.health().storeAwayFor !== undefined) await pause(LOOK, signal);
  }

  /** It will never work. */
  #fail(error: SourceSetupError): void {
    this.#says.failed(error);
    this.#opened.reject(error);
  }

  #connected(run: Run): void {
    if (run.over.signal.aborted || run.connectedAt !== undefined) return;
    run.connectedAt = monotonicNow();
    this.#metrics.counts.connected = true;
    void this.#isBack(run);
    if (this.#wasConnected) return;
    this.#wasConnected = true;
    this.#says.connected();
    this.#opened.resolve();
  }

  /** What is refused each time once it is connected is back when it has held. */
  async #isBack({ over: { signal } }: Run): Promise<void> {
    if (this.#useless > 1) await pause(HELD, signal);
    if (!signal.aborted) this.#says.away.worked();
  }

  #intake(run: Run): Intake {
    const { prefetch, prefetchBytes } = this.#settings;
    const { counts } = this.#metrics;
    const decoding = this.#decoding;
    return {
      connected: () => this.#connected(run),
      take: (message) => this.#take(run, message),
      dead: (id, reason) => void this.#tellDead(id, reason),
      missed: (reason) => this.#missed(reason),
      endangered: (reason) => this.#says.endangered(reason),
      free: {
        get messages() {
          return prefetch - counts.underWay;
        },
        get bytes() {
          return prefetchBytes - counts.underWayBytes;
        },
      },
      room: () => this.#room(run),
      prefetch,
      prefetchBytes,
      get maxBody() {
        return decoding.maxBody;
      },
    };
  }

  // ── room ───────────────────────────────────────────────────────────────────────────────────────

  #room(run: Run): Promise<void> {
    const { signal } = run.over;
    if (this.#hasRoom || signal.aborted || this.#stopping.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const proceed = (): void => {
        signal.removeEventListener('abort', proceed);
        this.#stopping.signal.removeEventListener('abort', proceed);
        resolve();
      };
      signal.addEventListener('abort', proceed);
      this.#stopping.signal.addEventListener('abort', proceed);
      this.#whenRoom.push(proceed);
    });
  }

  get #hasRoom(): boolean {
    const { prefetch, prefetchBytes } = this.#settings;
    const { underWay, underWayBytes } = this.#metrics.counts;
    return underWay <= (prefetch * 3) / 4 && underWayBytes <= (prefetchBytes * 3) / 4;
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────

  #take(run: Run, message: SourceMessage): Promise<Outcome> {
    if (run.over.signal.aborted) return Promise.resolve(RELEASED);
    const { counts } = this.#metrics;
    const size = message.body.length + OVERHEAD;
    counts.underWay++;
    counts.underWayBytes += size;
    return new Promise((resolve) => {
      const job: Job = {
        message,
        run,
        size,
        isSettled: false,
        settle: (outcome) => {
          if (job.isSettled) return;
          job.isSettled = true;
          run.jobs.delete(job);
          if (outcome.what === 'released') counts.released++;
          counts.underWay--;
          counts.underWayBytes -= size;
          if (this.#hasRoom) for (const proceed of this.#whenRoom.splice(0)) proceed();
          resolve(outcome);
        },
      };
      run.jobs.add(job);
      const decoded = this.#decoding.decode(message);
      // It may fail before it is its turn.
      decoded.catch(() => {});
      // One after the other, so that what takes longer to be decoded is not overtaken.
      this.#entered = this.#entered
        .then(() => decoded)
        .then(
          (sendings) => this.#enter(job, sendings),
          (error) => job.settle(this.#dead(job, error)),
        );
    });
  }

  #enter(job: Job, sendings: readonly Sending[]): void {
    if (job.isSettled) return;
    const channels = [...new Set(sendings.flatMap(channelsOf))];
    if (channels.length === 0 && sendings.every(({ users }) => users?.length === 0)) {
      this.#metrics.counts.skipped++;
      job.settle(DONE);
      return;
    }
    this.#lanes.add(channels, () => this.#work(job, sendings));
  }

  /** Stores a message, when it is its turn. Never rejects. */
  async #work(job: Job, sendings: readonly Sending[]): Promise<void> {
    const { counts, delays } = this.#metrics;
    let isNew = false;
    let isWaiting = false;
    const events: StoringEvents = {
      failed: (error) => {
        counts.retries++;
        if (!isWaiting) this.#waitingCount++;
        isWaiting = true;
        this.#says.waiting.failed(error);
      },
      stored: (isDuplicate) => {
        isNew ||= !isDuplicate;
      },
    };
    let outcome: Outcome;
    try {
      outcome = (await this.#stored(job, sendings, events)) ? DONE : RELEASED;
    } catch (error) {
      outcome = this.#dead(job, error);
    }
    if (isWaiting) this.#waitingCount--;
    if (outcome !== RELEASED && this.#waitingCount === 0) this.#says.waiting.worked();
    if (outcome === DONE && !job.isSettled) {
      job.run.hasDone = true;
      this.#says.away.worked();
      if (isNew) counts.stored++;
      else counts.duplicates++;
      const { time } = job.message;
      if (isNew && Number.isFinite(time)) delays.observe(Math.max(0, Date.now() - time!));
    }
    job.settle(outcome);
  }

  /** @returns false where it is given back */
  async #stored(job: Job, sendings: readonly Sending[], events: StoringEvents): Promise<boolean> {
    const { signal } = job.run.over;
    for (const [index, sending] of sendings.entries()) {
      const key = keyOf(this.#scope, job.message.id, index);
      if (job.isSettled || !(await store(this.#push, sending, key, signal, events))) return false;
    }
    return true;
  }

  /** It can never be stored. */
  #dead(job: Job, error: unknown): Outcome {
    if (job.isSettled) return RELEASED;
    const reason = error instanceof MessageError ? error.message : explain(error);
    return { what: 'dead', reason: this.#tellDead(job.message.id, reason) };
  }

  #missed(reason: string): void {
    this.#metrics.counts.missed++;
    this.#says.missed(reason);
  }

  #tellDead(id: string, given: string): string {
    const reason = printable(given, MAX_REASON);
    this.#metrics.counts.dead++;
    this.#says.dead(id, reason);
    return reason;
  }
}
