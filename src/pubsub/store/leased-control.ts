/**
 * The control log of a store that instances share. Every instance holds a lease there and renews it by one call, which also
 * brings the commands that it has not carried out: whoever could not hear of a command can't lengthen its lease either. The
 * doorbell only makes it faster.
 */
import { clearInterval, clearTimeout, monotonicNow, setInterval, setTimeout } from '../../clock.ts';
import { delayOf, pause, within } from '../../waiting.ts';
import {
  type ControlListener,
  type ControlLog,
  type ControlRecord,
  DEFAULT_CONFIRM_TIMEOUT,
  DEFAULT_LEASE,
  Lease,
  MAX_RECORDS,
  type Mark,
  now,
  RESTORED,
  type RecordChange,
  type SaySettings,
  tooManyRecords,
} from './control.ts';
import type { ControlStore, Entry, KeptRecord, LeaseReply, Place } from './control-store.ts';
import type { Faults } from './faults.ts';
import { messageId, randomId } from './random-id.ts';
import { Saying } from './saying.ts';
import { LAYOUT, NewerStoreError } from './versions.ts';

/** Commands that are kept. */
export const MAX_COMMANDS = 10_000;
/** Commands that come with one renewal. */
const AT_ONCE = 1_000;
/** Removed records that are remembered. */
const MAX_REMOVED = 1_000;
/** Records among which those are looked for that are over: twice as many as there are of others. */
const MANY_RECORDS = 2 * (MAX_RECORDS + MAX_REMOVED);
/** The part of a lease that is not made use of: clocks don't run alike. */
const MARGIN = 0.1;
/** Milliseconds by which the clocks of two servers may differ, where one takes over from the other. */
const CLOCKS = 60_000;
/** Milliseconds that a command is worth being written again for. */
const WORTH = 600_000;
/** Milliseconds between two looks at who has carried out a command. */
const LOOKS = { min: 8, max: 250 };
const ATTEMPTS = { min: 50, max: 1_000 };
/** Milliseconds that saying goodbye may take. */
const CLOSE_TIMEOUT = 500;

export interface ControlHooks {
  /** The lease is over. */
  lapsed(error: Error): void;
  /** It is back. */
  renewed(): void;
}

/** What is said, as it stands in the log. */
interface Said {
  kind: string;
  body: unknown;
  change?: { key: string; value?: string; until?: number | undefined };
}

interface Known {
  time: number;
  json: string;
}

export class LeasedControl implements ControlLog {
  readonly #store: ControlStore;
  readonly #hooks: ControlHooks;
  readonly #faults: Faults;
  readonly #instance = randomId(9);
  #listener: ControlListener | undefined;
  #length = DEFAULT_LEASE;
  readonly #lease = new Lease();
  /** Whether the lease is not known to be over. */
  #isHeld = false;
  #renewer: NodeJS.Timeout | undefined;
  #ender: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;
  #again = false;
  /** Why it could not be renewed. */
  #failure: unknown;
  /** Until when others who know what was lost are waited for, in milliseconds of the monotonic clock. */
  #notBefore = Number.NEGATIVE_INFINITY;
  #isSubscribed = false;
  #isClosed = false;
  /** The last command that was carried out. */
  #place: Place = { epoch: '', number: 0, id: '' };
  /** The store's clock when it was asked last, in milliseconds since 1970, and when that was on the monotonic clock. */
  #time = 0;
  #timeAt = 0;
  /** What commands were about that are not acknowledged yet. */
  #counts: [id: string, count: number][] = [];
  /** By id, oldest first. */
  readonly #known = new Map<string, Known>();
  readonly #records = new Map<string, KeptRecord>();
  readonly #removed = new Set<string>();

  constructor(store: ControlStore, hooks: ControlHooks, faults: Faults) {
    this.#store = store;
    this.#hooks = hooks;
    this.#faults = faults;
  }

  get mark(): Mark {
    const { epoch, number } = this.#place;
    return { epoch, number };
  }

  mayDeliver(): boolean {
    if (this.#listener === undefined) return true;
    if (this.#isHeld && this.#lease.isOver) this.#lapse();
    return this.#isHeld;
  }

  record(key: string): ControlRecord | undefined {
    const record = this.#records.get(key)?.record;
    return record !== undefined && record.until > this.#storeTime ? record : undefined;
  }

  /** By the one clock that all instances share: theirs may be set. */
  get #storeTime(): number {
    return this.#time === 0 ? Date.now() : this.#time + monotonicNow() - this.#timeAt;
  }

  records(): Map<string, ControlRecord> {
    const found = new Map<string, ControlRecord>();
    for (const key of this.#records.keys()) {
      const record = this.record(key);
      if (record !== undefined) found.set(key, record);
    }
    return found;
  }

  /** @param lease milliseconds */
  open(listener: ControlListener, lease = DEFAULT_LEASE): void {
    this.#listener = listener;
    this.#length = lease;
    this.#renewer = setInterval(() => void this.renew(), lease / 3).unref();
  }

  /**
   * Resolves when this instance has its lease, or `isCurrent` says that it is in vain. Who only writes has none.
   * @throws {NewerStoreError} for who has none
   */
  async hold(isCurrent: () => boolean): Promise<void> {
    if (this.#listener === undefined) return this.#checkLayout();
    for (let attempt = 0; isCurrent() && !this.#isClosed; attempt++) {
      if (!this.#isSubscribed) await this.#subscribe();
      await this.renew();
      if (this.mayDeliver()) return;
      await pause(delayOf(attempt, ATTEMPTS));
    }
  }

  async #checkLayout(): Promise<void> {
    const layout = await this.#store.layout().catch(() => undefined);
    if (layout !== undefined && layout > LAYOUT) throw new NewerStoreError(this.#store.newer, layout);
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#store.subscribe();
      this.#isSubscribed = true;
    } catch {
      // It is only slower without.
    }
  }

  /** Something was said, perhaps. */
  rung(): void {
    if (this.#listener !== undefined) void this.renew();
  }

  /** Resolves when the lease was renewed after the call, or could not be. */
  renew(): Promise<void> {
    this.#again = true;
    this.#renewing ??= this.#renewAll();
    return this.#renewing;
  }

  async #renewAll(): Promise<void> {
    try {
      while (this.#again && !this.#isClosed) {
        this.#again = false;
        await this.#renewOnce();
      }
      this.#failure = undefined;
      this.#faults.over('lease');
    } catch (error) {
      this.#again = false;
      this.#failure = error;
      if (error instanceof NewerStoreError) this.#refuse(error);
      // What passes by itself is told when the lease is over.
      if (['refused', 'forbidden'].includes(this.#store.failureOf(error)) && error instanceof Error)
        this.#faults.met('lease', `no lease, so nothing is delivered: ${error.message}`, {
          event: 'lease-refused',
          error: error.message,
        });
    } finally {
      this.#renewing = undefined;
    }
  }

  async #renewOnce(): Promise<void> {
    const listener = this.#listener!;
    const counts = this.#counts.slice(0, AT_ONCE);
    const sent = now();
    const reply = await this.#store.lease({
      instance: this.#instance,
      name: listener.name,
      length: Math.ceil(this.#length),
      place: this.#place,
      most: AT_ONCE,
      layout: LAYOUT,
      counts,
    });
    if (this.#isClosed) return;
    if (reply.status === 'newer') throw new NewerStoreError(this.#store.newer, reply.layout);
    if (reply.status === 'lost') {
      await this.#restore();
      this.#again = true;
      return;
    }
    this.#counts = this.#counts.slice(counts.length);
    if (reply.status === 'missed') listener.missed();
    this.#carryOut(reply);
    // What was carried out is acknowledged, and more may have come.
    if (reply.entries.length > 0 || this.#counts.length > 0) this.#again = true;
    if (reply.isAll) this.#begin(sent);
  }

  #carryOut({ status, place, time, entries, records }: LeaseReply & { status: 'ok' | 'missed' }): void {
    const isAnew = status === 'missed' || this.#place.epoch === '';
    if (isAnew) this.#takeRecords(records);
    this.#place = place;
    this.#setTime(time);
    // Somebody may have come in before the store was reached.
    let isRestored = isAnew && this.#records.size > 0;
    for (const entry of entries) isRestored = this.#take(entry) || isRestored;
    // Once for all of them.
    if (isRestored) this.#tellRestored();
  }

  #setTime(time: number): void {
    this.#time = time;
    this.#timeAt = monotonicNow();
  }

  #begin(sent: ReturnType<typeof now>): void {
    if (monotonicNow() < this.#notBefore) return;
    this.#lease.begin(sent, this.#length * (1 - MARGIN));
    if (this.#lease.isOver) return;
    clearTimeout(this.#ender);
    this.#ender = setTimeout(() => this.mayDeliver(), this.#lease.left + 1).unref();
    if (this.#isHeld) return;
    this.#isHeld = true;
    this.#hooks.renewed();
  }

  #lapse(): void {
    this.#isHeld = false;
    const why = this.#failure instanceof Error ? `: ${this.#failure.message}` : '';
    const message = `the lease of this instance could not be renewed${why}`;
    this.#hooks.lapsed(this.#store.away(message));
    this.#listener!.lapsed();
    void this.renew();
  }

  /** Not at the end of the lease: what this instance would deliver until then it might misread. */
  #refuse(error: NewerStoreError): void {
    this.#faults.met('lease', error.message, { event: 'store-newer', layout: error.layout, known: LAYOUT });
    this.#lease.end();
    if (this.#isHeld) this.#lapse();
  }

  /** Carries out an entry of the log, unless that was done before. True if all it says is that a record is back. */
  #take({ number, id, time, said: json }: Entry, isWanted = true): boolean {
    this.#place = { epoch: this.#place.epoch, number, id };
    if (this.#known.has(id)) return false;
    this.#known.set(id, { time, json });
    if (this.#known.size > MAX_COMMANDS) this.#known.delete(this.#known.keys().next().value!);
    const said = saidOf(json);
    if (said === undefined || !isWanted) return false;
    if (said.change !== undefined) this.#change(said.change, time);
    const { kind, body } = said;
    if (kind === RESTORED) return true;
    this.#counts.push([id, this.#listener!.obey({ id, kind, body, time }, this.mark)]);
    return false;
  }

  #change({ key, value, until }: NonNullable<Said['change']>, time: number): void {
    this.#keep(key, {
      time,
      record: value === undefined ? undefined : { value, until: until ?? Number.POSITIVE_INFINITY },
    });
  }

  #keep(key: string, kept: KeptRecord): void {
    this.#records.set(key, kept);
    this.#removed.delete(key);
    if (this.#records.size > MANY_RECORDS) this.#dropOver();
    if (kept.record !== undefined) return;
    this.#removed.add(key);
    if (this.#removed.size <= MAX_REMOVED) return;
    const oldest = this.#removed.values().next().value!;
    this.#removed.delete(oldest);
    this.#records.delete(oldest);
  }

  /** The store drops what is over without a word. */
  #dropOver(): void {
    for (const [key, { record }] of this.#records)
      if (record !== undefined && record.until <= this.#storeTime) this.#records.delete(key);
  }

  /** There are no others. */
  #takeRecords(records: [key: string, kept: KeptRecord][]): void {
    this.#records.clear();
    this.#removed.clear();
    for (const [key, kept] of records) this.#keep(key, kept);
  }

  #tellRestored(): void {
    this.#listener!.obey({ id: '', kind: RESTORED, body: {}, time: this.#time }, this.mark);
  }

  /** The store has lost commands, or all of them: says what this instance knows, and takes what it does not. */
  async #restore(): Promise<void> {
    // Whoever had his lease all the time has missed nothing that was promised. Others wait for those who know more.
    const mayLack = !this.mayDeliver();
    const records = [...this.#records].map(([key, kept]) => {
      const said: Said = { kind: RESTORED, body: {}, change: changeOf({ key, record: kept.record }) };
      return { key, kept, id: messageId(), said: JSON.stringify(said) };
    });
    const commands = [...this.#known]
      .filter(([, { time }]) => time > this.#time - WORTH)
      .map(([id, { time, json }]) => ({ id, time, said: json }));
    const restored = await this.#store.restore(records, commands);
    const { place, time, since: began } = restored;
    if (mayLack) this.#notBefore = monotonicNow() + began + this.#length - time;
    this.#place = { ...this.#place, epoch: place.epoch };
    const since = this.#time - CLOCKS;
    for (const entry of restored.entries) this.#take(entry, entry.time > since);
    this.#takeRecords(restored.records);
    this.#place = place;
    this.#setTime(time);
    this.#tellRestored();
  }

  async say(kind: string, body: unknown, settings: SaySettings = {}): Promise<number> {
    const { change, timeout = DEFAULT_CONFIRM_TIMEOUT } = settings;
    const id = messageId();
    const said: Said = { kind, body, ...(change !== undefined && { change: changeOf(change) }) };
    const command = { id, said: JSON.stringify(said), change };
    const attempt = new Saying(timeout, (error) => this.#store.failureOf(error));
    while (!attempt.isOver) {
      const place = await attempt.ask(() => this.#store.command(command));
      if (place === undefined) continue;
      if (place === 'full') throw tooManyRecords();
      // This instance need not wait for its own doorbell.
      this.rung();
      const count = await this.#confirmed(attempt, { ...place, id });
      if (count !== undefined) return count;
    }
    throw attempt.error();
  }

  /** Undefined where the log has lost the command, or the time is over. */
  async #confirmed(attempt: Saying, place: Place): Promise<number | undefined> {
    for (let look = 0; !attempt.isOver; look++) {
      await pause(Math.min(delayOf(look, LOOKS), attempt.left));
      const progress = await attempt.ask(() => this.#store.progress(place, Math.ceil(this.#length)));
      if (progress === undefined) continue;
      if (progress === 'lost') return undefined;
      const { pending, unknown, count } = progress;
      attempt.waitsFor(pending, unknown);
      if (pending.length === 0 && unknown === 0) return count;
    }
    return undefined;
  }

  /** What was not said to the end of the lease is over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#renewer);
    clearTimeout(this.#ender);
    if (this.#listener === undefined || this.#place.epoch === '') return;
    this.#isHeld = false;
    await within(CLOSE_TIMEOUT, this.#store.leave(this.#instance));
  }
}

function changeOf({ key, record }: RecordChange): NonNullable<Said['change']> {
  if (record === undefined) return { key };
  const { value, until } = record;
  return { key, value, ...(Number.isFinite(until) && { until }) };
}

/** Undefined for what is no command: nobody could carry it out. */
function saidOf(json: string): Said | undefined {
  try {
    const said = JSON.parse(json) as Said;
    const { key, value, until } = said.change ?? { key: '' };
    const isFit =
      typeof said.kind === 'string' &&
      typeof key === 'string' &&
      (value === undefined || typeof value === 'string') &&
      (until === undefined || typeof until === 'number');
    return isFit ? said : undefined;
  } catch {
    return undefined;
  }
}
