/**
 * Sending what was scheduled. Of all instances, one takes out of the store what is due and publishes it. Each
 * is published with an idempotency key and removed after it was stored, so that whoever dies in between leaves nothing
 * undone, and nothing is done twice.
 */
import { clearTimeout, MAX_DELAY, setImmediate, setTimeout } from '../../clock.ts';
import { DELAYS, Histogram } from '../../metrics/histogram.ts';
import { wasNotExecutedByPostgres } from '../../pubsub/postgres/errors.ts';
import { wasNotExecuted } from '../../pubsub/redis/errors.ts';
import { DamagedChannelError } from '../../pubsub/store/broker.ts';
import { DEFAULT_LEASE, Lease, now } from '../../pubsub/store/control.ts';
import { isFinal } from '../../pubsub/store/failures.ts';
import { randomId } from '../../pubsub/store/random-id.ts';
import {
  BELL,
  type Damaged,
  type LaterMessage,
  type Schedule,
  type Settled,
} from '../../pubsub/store/schedule.ts';
import { Queue } from '../../queue.ts';
import { delayOf, retry, within } from '../../waiting.ts';
import { explain, printable } from '../explain.ts';
import type { Log } from '../options.ts';
import { type Decode, decodeData } from '../payload.ts';
import { Trouble } from '../trouble.ts';
import { type Scheduled, schedule } from './schedule.ts';
import { listScheduled, type ScheduledPage, type ScheduledSettings } from './schedule-list.ts';

/** Milliseconds between two looks of the instance that sends, at the most. */
const TICK = 1_000;
/** Milliseconds between two looks, at the least. */
const LEAST_PAUSE = 10;
/** What is on its way at a time. */
const MOST = 1024;
const MOST_BYTES = 8 * 1024 * 1024;
/** What is taken at a time. */
const AT_ONCE = 128;
const BYTES_AT_ONCE = 1024 * 1024;
/** Milliseconds for which a channel that can't be written to is left alone, the first time. */
const HOLD = 1_000;
const ATTEMPTS = { min: 100, max: 5_000 };
/** Milliseconds that are waited for what is on its way, when it ends. */
const CLOSE_TIMEOUT = 1_500;
/** Milliseconds that the clocks of store and instance may differ before that is told. */
const CLOCKS = 5_000;

export interface SchedulerSettings {
  /** `scheduled`: messages that may be; 0: no limit. */
  limits: { readonly scheduled: number };
  /** Milliseconds after which another instance takes over from one that is gone. */
  lease: number | undefined;
  /** Milliseconds between two looks while nothing is scheduled, should the bell not have been heard. */
  checkInterval: number;
  /** Whether the store can't be reached. */
  isAway(): boolean;
  /** Stores what is due, with the idempotency key that it has. Rejects as `BrokerListener.intake` does. */
  store(message: LaterMessage & { settings: { idempotencyKey: string } }): Promise<unknown>;
  log: Log;
}

/** A message on its way. */
interface Job {
  message: LaterMessage;
  /** To whom it was handed out. */
  holder: string;
}

/** The messages of a channel that are on their way: one after the other. */
interface Lane {
  readonly jobs: Queue<Job>;
  /** Resolves when there are no more. */
  work: Promise<void>;
}

interface Report {
  settled: Settled;
  holder: string;
  bytes: number;
  done(): void;
}

export class Scheduler {
  /** Where the bell rings. */
  readonly channel = BELL;
  /** What was done with messages through this instance. */
  readonly counts = { added: 0, cancelled: 0, sent: 0, failed: 0, postponed: 0 };
  /** Of those that were sent. */
  readonly lateness = new Histogram(DELAYS);
  readonly #schedule: Schedule;
  readonly #settings: SchedulerSettings;
  readonly #length: number;
  readonly #name = randomId(9);
  /** Another one each time that it may not be known what was handed out, and that something went back. */
  #generation = 0;
  readonly #lease = new Lease();
  /** By channel. */
  readonly #lanes = new Map<string, Lane>();
  #count = 0;
  #bytes = 0;
  readonly #reports = new Queue<Report>();
  #reporting: Promise<void> | undefined;
  #round: Promise<unknown> = Promise.resolve();
  #running: Promise<void> | undefined;
  readonly #stopping = new AbortController();
  #wake: (() => void) | undefined;
  #isRung = false;
  /** Whether another instance sends. */
  #isIdle = false;
  readonly #taking: Trouble;
  readonly #storing: Trouble;
  #isClockTold = false;

  constructor(schedule: Schedule, settings: SchedulerSettings) {
    this.#schedule = schedule;
    this.#settings = settings;
    const { log } = settings;
    this.#taking = new Trouble(
      log,
      { event: 'scheduler-failing', message: 'messages that are scheduled have to wait' },
      { event: 'scheduler-back', message: 'messages that are scheduled are sent again' },
    );
    this.#storing = new Trouble(
      log,
      { event: 'scheduled-messages-wait', message: "what is due can't be stored now and is tried again" },
      { event: 'scheduled-messages-go-on', message: 'what is due is stored again' },
    );
    this.#length = settings.lease ?? DEFAULT_LEASE;
  }

  /** @throws {RangeError} where as many are scheduled as may be */
  async add(message: Omit<LaterMessage, 'id'>): Promise<Scheduled> {
    const scheduled = await schedule(this.#schedule, this.#settings.limits.scheduled, message);
    if (!scheduled.duplicate) this.counts.added++;
    // The bell tells it, too.
    if (!scheduled.duplicate) this.ring();
    return scheduled;
  }

  /** @param decode what becomes of data */
  list(settings: ScheduledSettings, decode: Decode = decodeData): Promise<ScheduledPage> {
    return listScheduled(this.#schedule, settings, decode);
  }

  async cancel(id: string): Promise<boolean> {
    if (typeof id !== 'string' || id === '') throw new TypeError('give the id of a scheduled message');
    const isDone = await this.#schedule.cancel(id);
    if (isDone) this.counts.cancelled++;
    return isDone;
  }

  /** Messages that this instance has taken out to send them. */
  get underWay(): number {
    return this.#count;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** The bell. */
  heard(): void {
    this.ring();
  }

  /** Something is due earlier than all before. */
  ring(): void {
    this.#isRung = true;
    if (!this.#isIdle) this.#wake?.();
  }

  /** The store was away and is back. */
  lookAgain(): void {
    this.#generation++;
    this.#isIdle = false;
    this.ring();
  }

  /** Ends what is on its way, and leaves the rest to others. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    if (this.#running === undefined) return;
    await within(CLOSE_TIMEOUT, this.#settled());
    if (this.#lease.isOver) return;
    await within(CLOSE_TIMEOUT, this.#schedule.settle(this.#holder, [], true));
  }

  /** Nothing is on its way any more. */
  async #settled(): Promise<void> {
    await this.#running;
    await Promise.all([...this.#lanes.values()].map(({ work }) => work));
    await this.#reporting;
  }

  get #holder(): string {
    return `${this.#name}.${this.#generation}`;
  }

  get #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  // ── taking ─────────────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    for (let failures = 0; !this.#isStopped; ) {
      this.#isRung = false;
      let delay: number;
      try {
        const round = this.#take();
        this.#round = round;
        delay = await round;
        failures = 0;
        this.#taking.worked();
      } catch (error) {
        // Something may have been handed out nevertheless.
        this.#generation++;
        this.#complain(error);
        delay = delayOf(failures++, ATTEMPTS);
      }
      if (delay > 0) await this.#sleep(delay);
    }
  }

  /** @returns milliseconds until the next look */
  async #take(): Promise<number> {
    const holder = this.#holder;
    const sent = now();
    const room = this.#bytes < MOST_BYTES ? Math.min(MOST - this.#count, AT_ONCE) : 0;
    const taken = await this.#schedule.take(holder, {
      now: sent.wall,
      lease: this.#length,
      most: room,
      bytes: BYTES_AT_ONCE,
    });
    this.#isIdle = taken.state === 'other';
    if (taken.state === 'none') return Math.max(this.#settings.checkInterval, LEAST_PAUSE);
    if (taken.state === 'other') return Math.max(taken.left, LEAST_PAUSE);
    this.#lease.begin(sent, this.#length * 0.9);
    this.#compareClocks(taken.time, sent.wall, Date.now());
    for (const message of taken.messages) this.#begin(message, holder);
    const renewal = Math.min(TICK, this.#length / 3);
    if (this.#count >= MOST || this.#bytes >= MOST_BYTES) return renewal;
    if (taken.messages.length > 0) return 0;
    return Math.max(1, Math.min(renewal, taken.next - Math.min(taken.time, Date.now())));
  }

  #sleep(milliseconds: number): Promise<void> {
    if (this.#isStopped || (this.#isRung && !this.#isIdle)) return Promise.resolve();
    return new Promise((resolve) => {
      const proceed = (): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(proceed, Math.min(milliseconds, MAX_DELAY)).unref();
      this.#wake = proceed;
    });
  }

  #complain(error: unknown): void {
    // Of a store that is away and of what is damaged the broker tells.
    if (this.#settings.isAway() || error instanceof DamagedChannelError) return;
    this.#taking.failed(error);
  }

  #compareClocks(time: number, sent: number, came: number): void {
    const difference = time > came ? time - came : Math.min(0, time - sent);
    const isApart = Math.abs(difference) > CLOCKS;
    if (isApart && !this.#isClockTold) {
      const seconds = Math.round(Math.abs(difference) / 1000);
      const who = difference > 0 ? 'behind' : 'ahead of';
      this.#settings.log(
        'warn',
        `this instance's clock is ${seconds} s ${who} the store's: messages that are scheduled are late by that`,
        { event: 'clocks-apart', difference: -difference },
      );
    }
    if (!isApart && this.#isClockTold)
      this.#settings.log('warn', "this instance's clock and the store's agree again", {
        event: 'clocks-agree',
      });
    this.#isClockTold = isApart;
  }

  // ── sending ────────────────────────────────────────────────────────────────────────────────────

  #begin(message: LaterMessage | Damaged, holder: string): void {
    const bytes = 'damage' in message ? 0 : message.payload.length;
    this.#count++;
    this.#bytes += bytes;
    if ('damage' in message) {
      void this.#report(holder, bytes, this.#failed({ id: message.id, channel: '', at: 0 }, message.damage));
      return;
    }
    const { channel } = message;
    const known = this.#lanes.get(channel);
    if (known !== undefined) {
      known.jobs.add({ message, holder });
      return;
    }
    const jobs = new Queue<Job>();
    jobs.add({ message, holder });
    this.#lanes.set(channel, { jobs, work: this.#work(channel, jobs) });
  }

  /** The messages of a channel, in order. What comes meanwhile is added to `jobs`. */
  async #work(channel: string, jobs: Queue<Job>): Promise<void> {
    for (let job = jobs.take(); job !== undefined; job = jobs.take()) {
      const settled = await this.#deliver(job);
      const reported = this.#report(job.holder, job.message.payload.length, settled);
      if (!('milliseconds' in settled)) continue;
      await reported;
      await this.#holdRest(jobs);
    }
    this.#lanes.delete(channel);
  }

  /**
   * Nothing of the channel overtakes what has failed: neither what is here, nor what was handed out before the store knew
   * of that.
   */
  async #holdRest(jobs: Queue<Job>): Promise<void> {
    for (;;) {
      await this.#round.catch(() => {});
      const reported: Promise<void>[] = [];
      for (let job = jobs.take(); job !== undefined; job = jobs.take()) {
        const { id, payload } = job.message;
        reported.push(this.#report(job.holder, payload.length, { id, what: 'held', milliseconds: HOLD }));
      }
      if (reported.length === 0) return;
      await Promise.all(reported);
    }
  }

  async #deliver({ message, holder }: Job): Promise<Settled> {
    const { id } = message;
    // What was handed out meanwhile to the same holder goes back as well: it must not overtake this one.
    if (holder === this.#holder && this.#lease.isOver) this.#generation++;
    if (this.#isStopped || holder !== this.#holder) return { id, what: 'back' };
    const { idempotencyKey = `at:${id}` } = message.settings;
    try {
      await this.#settings.store({ ...message, settings: { ...message.settings, idempotencyKey } });
      this.counts.sent++;
      this.lateness.observe(Math.max(0, Date.now() - message.at));
      this.#storing.worked();
      return { id, what: 'stored' };
    } catch (error) {
      if (isFinal(error)) return this.#failed(message, explain(error));
      this.counts.postponed++;
      this.#storing.failed(error, { channel: message.channel });
      const isNotThere = wasNotExecuted(error) || wasNotExecutedByPostgres(error);
      return { id, what: isNotThere ? 'held' : 'unknown', milliseconds: HOLD };
    }
  }

  #failed({ id, channel, at }: Pick<LaterMessage, 'id' | 'channel' | 'at'>, reason: string): Settled {
    this.counts.failed++;
    const whose = channel === '' ? '' : ` of ${printable(channel)}`;
    this.#settings.log('error', `the scheduled message ${id}${whose} can't be stored: ${reason}`, {
      event: 'scheduled-message-failed',
      id,
      channel: channel === '' ? undefined : channel,
      error: reason,
    });
    return { id, what: 'failed', failure: { id, channel, at, time: Date.now(), reason } };
  }

  // ── what became of it ──────────────────────────────────────────────────────────────────────────

  /** Resolves when the store knows. */
  #report(holder: string, bytes: number, settled: Settled): Promise<void> {
    return new Promise((done) => {
      this.#reports.add({ settled, holder, bytes, done });
      this.#reporting ??= this.#tell();
    });
  }

  async #tell(): Promise<void> {
    // With all that is settled in this turn.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (let first = this.#reports.first; first !== undefined; first = this.#reports.first) {
      const { holder } = first;
      const part: Report[] = [];
      while (part.length < AT_ONCE && this.#reports.first?.holder === holder)
        part.push(this.#reports.take()!);
      const outcomes = part.map(({ settled }) => settled);
      try {
        await retry(() => this.#schedule.settle(holder, outcomes), {
          ...ATTEMPTS,
          maxWait: Number.POSITIVE_INFINITY,
          signal: this.#stopping.signal,
          mayRepeat: (error) => {
            this.#complain(error);
            return true;
          },
        });
      } catch {
        // This instance ends. What nobody is told of is handed out again, and found to be stored.
        break;
      }
      for (const { bytes, done } of part) {
        this.#count--;
        this.#bytes -= bytes;
        done();
      }
      if (this.#count <= MOST / 2) this.#wake?.();
    }
    this.#reporting = undefined;
  }
}
