/**
 * The control log in Redis. Every instance holds a lease there and renews it by one script, which also brings the commands
 * that it has not carried out: whoever could not hear of a command can't lengthen its lease either. The doorbell only
 * makes it faster.
 */
import { clearInterval, clearTimeout, monotonicNow, setInterval, setTimeout } from '../../clock.ts';
import { delayOf, inTime, pause, TimeoutError, within } from '../../waiting.ts';
import { isForbidden, RedisError, RedisReplyError, wasNotExecuted } from '../redis/errors.ts';
import type { RespArgument } from '../redis/resp-encoder.ts';
import { Script } from '../redis/script.ts';
import type { RedisTopology } from '../redis/topology.ts';
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
  UnconfirmedError,
} from './control.ts';
import type { Faults } from './faults.ts';
import { lua } from './lua.ts';
import { messageId, randomId } from './random-id.ts';
import { ChannelKeys } from './redis-layout.ts';
import { LAYOUT, NewerStoreError } from './versions.ts';

const script = (name: 'lease' | 'command' | 'progress' | 'restore'): Script =>
  new Script(`${lua.control}\n${lua[name]}`);
const leaseScript = script('lease');
const commandScript = script('command');
const progressScript = script('progress');
const restoreScript = script('restore');

/** No topic and no user has a name with a line break. */
const NAME = 'control\n';
/** Commands that are kept. */
const MAX_COMMANDS = 10_000;
/** Commands that come with one renewal. */
const AT_ONCE = 1_000;
/** Removed records that are remembered. */
const MAX_REMOVED = 1_000;
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
const FOREVER = 'inf';

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

/** A record, or that there is none any more. */
interface KeptRecord {
  time: number;
  record: ControlRecord | undefined;
}

export class RedisControl implements ControlLog {
  /** Where it rings. */
  readonly bus: string;
  readonly #topology: RedisTopology;
  readonly #keys: string[];
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
  #epoch = '';
  #number = 0;
  #id = '';
  /** The store's clock when it was asked last, in milliseconds since 1970, and when that was on the monotonic clock. */
  #time = 0;
  #timeAt = 0;
  /** What commands were about that are not acknowledged yet. */
  #counts: [id: string, count: number][] = [];
  /** By id, oldest first. */
  readonly #known = new Map<string, Known>();
  readonly #records = new Map<string, KeptRecord>();
  readonly #removed = new Set<string>();

  constructor(topology: RedisTopology, prefix: string, hooks: ControlHooks, faults: Faults) {
    this.#topology = topology;
    this.#hooks = hooks;
    this.#faults = faults;
    const keys = new ChannelKeys(prefix, NAME, topology.database);
    this.bus = keys.bus;
    this.#keys = ['state', 'log', 'leases', 'records', 'lease:', 'count:'].map((name) => keys.own(name));
  }

  get mark(): Mark {
    return { epoch: this.#epoch, number: this.#number };
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
    const state = this.#keys[0]!;
    const layout = await this.#topology.command(state, ['HGET', state, 'layout']).catch(() => null);
    if (Number(layout) > LAYOUT) throw new NewerStoreError(this.#topology.address, Number(layout));
  }

  async #subscribe(): Promise<void> {
    try {
      await this.#topology.subscribe(this.bus);
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
      if (error instanceof RedisReplyError && !wasNotExecuted(error))
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
    const reply = (await this.#evaluate(leaseScript, [
      this.#instance,
      listener.name,
      Math.ceil(this.#length),
      this.#epoch,
      this.#number,
      this.#id,
      AT_ONCE,
      LAYOUT,
      ...counts.flat(),
    ])) as [string, string, number, string, number, string[], string[]];
    if (this.#isClosed) return;
    const [status, epoch, number, id, time, entries, records] = reply;
    if (status === 'newer') throw new NewerStoreError(this.#topology.address, Number(epoch));
    if (status === 'lost') {
      await this.#restore();
      this.#again = true;
      return;
    }
    this.#counts = this.#counts.slice(counts.length);
    if (status === 'missed') listener.missed();
    const isAnew = status === 'missed' || this.#epoch === '';
    if (isAnew) this.#takeRecords(records);
    this.#goOn(epoch, number, id);
    this.#setTime(time);
    // Somebody may have come in before the store was reached.
    let isRestored = isAnew && this.#records.size > 0;
    for (const entry of entries) isRestored = this.#take(entry) || isRestored;
    // Once for all of them.
    if (isRestored) this.#tellRestored();
    // What was carried out is acknowledged, and more may have come.
    if (entries.length > 0 || this.#counts.length > 0) this.#again = true;
    if (entries.length < AT_ONCE) this.#begin(sent);
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
    this.#hooks.lapsed(new RedisError('REDIS_UNAVAILABLE', message));
    this.#listener!.lapsed();
    void this.renew();
  }

  /** Not at the end of the lease: what this instance would deliver until then it might misread. */
  #refuse(error: NewerStoreError): void {
    this.#faults.met('lease', error.message, { event: 'store-newer', layout: error.layout, known: LAYOUT });
    this.#lease.end();
    if (this.#isHeld) this.#lapse();
  }

  #goOn(epoch: string, number: number, id: string): void {
    this.#epoch = epoch;
    this.#number = number;
    this.#id = id;
  }

  /** Carries out an entry of the log, unless that was done before. True if all it says is that a record is back. */
  #take(entry: string, isWanted = true): boolean {
    const [, number, id, time, json] = /^(\d+) (\S+) (\d+) (.*)$/s.exec(entry) ?? [];
    if (number === undefined) return false;
    this.#goOn(this.#epoch, Number(number), id!);
    if (this.#known.has(id!)) return false;
    this.#known.set(id!, { time: Number(time), json: json! });
    if (this.#known.size > MAX_COMMANDS) this.#known.delete(this.#known.keys().next().value!);
    const said = saidOf(json!);
    if (said === undefined || !isWanted) return false;
    if (said.change !== undefined) this.#change(said.change, Number(time));
    const { kind, body } = said;
    if (kind === RESTORED) return true;
    const command = { id: id!, kind, body, time: Number(time) };
    this.#counts.push([id!, this.#listener!.obey(command, this.mark)]);
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
    if (kept.record !== undefined) return;
    this.#removed.add(key);
    if (this.#removed.size <= MAX_REMOVED) return;
    const oldest = this.#removed.values().next().value!;
    this.#removed.delete(oldest);
    this.#records.delete(oldest);
  }

  /** There are no others. */
  #takeRecords(fields: string[]): void {
    this.#records.clear();
    this.#removed.clear();
    for (let i = 0; i + 1 < fields.length; i += 2) {
      const [, time, until, value] = /^(\d+) (\S+) (.*)$/s.exec(fields[i + 1]!) ?? [];
      if (time === undefined) continue;
      const kept = { value: value!, until: until === FOREVER ? Number.POSITIVE_INFINITY : Number(until) };
      this.#keep(fields[i]!, { time: Number(time), record: kept });
    }
  }

  #tellRestored(): void {
    this.#listener!.obey({ id: '', kind: RESTORED, body: {}, time: this.#time }, this.mark);
  }

  /** The store has lost commands, or all of them: says what this instance knows, and takes what it does not. */
  async #restore(): Promise<void> {
    // Whoever had his lease all the time has missed nothing that was promised. Others wait for those who know more.
    const mayLack = !this.mayDeliver();
    const records = [...this.#records].flatMap(([key, { time, record }]) => {
      const said: Said = { kind: RESTORED, body: {}, change: changeOf({ key, record }) };
      return [key, time, untilOf(record), record?.value ?? '', messageId(), JSON.stringify(said)];
    });
    const commands = [...this.#known]
      .filter(([, { time }]) => time > this.#time - WORTH)
      .flatMap(([id, { time, json }]) => [id, time, json]);
    const reply = (await this.#evaluate(restoreScript, [
      MAX_COMMANDS,
      this.#topology.publishCommand,
      this.bus,
      this.#records.size,
      ...records,
      ...commands,
    ])) as [string, number, string, number, number, string[], string[]];
    const [epoch, number, id, time, began, entries, fields] = reply;
    if (mayLack) this.#notBefore = monotonicNow() + began + this.#length - time;
    this.#epoch = epoch;
    const since = this.#time - CLOCKS;
    for (const entry of entries) this.#take(entry, Number(entry.split(' ', 3)[2]) > since);
    this.#takeRecords(fields);
    this.#goOn(epoch, number, id);
    this.#setTime(time);
    this.#tellRestored();
  }

  async say(kind: string, body: unknown, settings: SaySettings = {}): Promise<number> {
    const { change, timeout = DEFAULT_CONFIRM_TIMEOUT } = settings;
    const id = messageId();
    const said: Said = { kind, body, ...(change !== undefined && { change: changeOf(change) }) };
    const args = [
      id,
      JSON.stringify(said),
      MAX_COMMANDS,
      this.#topology.publishCommand,
      this.bus,
      MAX_RECORDS,
      change?.key ?? '',
      change?.record === undefined ? '' : untilOf(change.record),
      change?.record?.value ?? '',
    ];
    const attempt = new Saying(timeout);
    while (!attempt.isOver) {
      const place = (await attempt.ask(() => this.#evaluate(commandScript, args))) as
        | [string, number]
        | undefined;
      if (place === undefined) continue;
      const [epoch, number] = place;
      if (epoch === 'full')
        throw new RangeError(`there are ${MAX_RECORDS} records, which is as many as there may be`);
      // This instance need not wait for its own doorbell.
      this.rung();
      const count = await this.#confirmed(attempt, epoch, number, id);
      if (count !== undefined) return count;
    }
    throw attempt.error();
  }

  /** Undefined where the log has lost the command, or the time is over. */
  async #confirmed(attempt: Saying, epoch: string, number: number, id: string): Promise<number | undefined> {
    for (let look = 0; !attempt.isOver; look++) {
      await pause(Math.min(delayOf(look, LOOKS), attempt.left));
      const reply = await attempt.ask(() =>
        this.#evaluate(progressScript, [epoch, number, id, Math.ceil(this.#length)]),
      );
      if (reply === undefined) continue;
      const [status, unknown, pending, counts] = reply as [string, number, (string | number)[], string[]];
      if (status === 'lost') return undefined;
      attempt.waitsFor(pending, unknown);
      if (pending.length === 0 && unknown === 0) return counts.reduce((sum, one) => sum + Number(one), 0);
    }
    return undefined;
  }

  /** What was not said to the end of the lease is over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#renewer);
    clearTimeout(this.#ender);
    if (this.#listener === undefined || this.#epoch === '') return;
    this.#isHeld = false;
    const key = this.#keys[4]! + this.#instance;
    await within(CLOSE_TIMEOUT, this.#topology.command(key, ['DEL', key]));
  }

  #evaluate(call: Script, args: RespArgument[]): Promise<unknown> {
    return this.#topology.evaluate({ script: call, keys: this.#keys, args: [randomId(9), ...args] });
  }
}

/** The time in which a command has to be confirmed, and why it is not. */
class Saying {
  readonly #timeout: number;
  readonly #end: number;
  #attempts = 0;
  #failure: unknown;
  #pending: string[] = [];
  #unknown = 0;

  constructor(timeout: number) {
    this.#timeout = timeout;
    this.#end = monotonicNow() + timeout;
  }

  get left(): number {
    return Math.max(0, this.#end - monotonicNow());
  }

  get isOver(): boolean {
    return this.left === 0;
  }

  /** Undefined where the store does not answer, which may be otherwise the next time. @throws what it refuses for good */
  async ask(question: () => Promise<unknown>): Promise<unknown> {
    try {
      const answer = await inTime(Math.max(1, this.left), question());
      this.#failure = undefined;
      return answer;
    } catch (error) {
      if (isClosed(error)) throw new UnconfirmedError('the store was closed', [], { cause: error });
      if (isForbidden(error))
        throw new UnconfirmedError(`the store refuses it: ${String(error)}`, [], { cause: error });
      // What the store has said tells more than that it has said nothing since, when the time was almost over.
      if (!(error instanceof TimeoutError)) this.#failure = error;
      else this.#failure ??= error;
      await pause(Math.min(delayOf(this.#attempts++, ATTEMPTS), this.left));
      return undefined;
    }
  }

  /** @param unknown milliseconds until no lease can be in force that the store does not know of */
  waitsFor(pending: (string | number)[], unknown: number): void {
    this.#pending = pending.filter((_, i) => i % 2 === 0).map(String);
    this.#unknown = unknown;
  }

  error(): UnconfirmedError {
    const within = `within ${this.#timeout} ms`;
    if (this.#pending.length > 0) {
      const names = this.#pending.join(', ');
      return new UnconfirmedError(
        `not confirmed ${within} by ${names}, which may still deliver`,
        this.#pending,
      );
    }
    if (this.#unknown > 0) {
      const message = `the store has not been there for as long as a lease, so ${within} nobody could say who holds one`;
      return new UnconfirmedError(message, []);
    }
    const why = this.#failure instanceof Error ? `: ${this.#failure.message}` : '';
    return new UnconfirmedError(`the store could not be told ${within}${why}`, [], { cause: this.#failure });
  }
}

function isClosed(error: unknown): boolean {
  return error instanceof RedisError && error.code === 'REDIS_CLOSED';
}

function changeOf({ key, record }: RecordChange): NonNullable<Said['change']> {
  if (record === undefined) return { key };
  const { value, until } = record;
  return { key, value, ...(Number.isFinite(until) && { until }) };
}

function untilOf(record: ControlRecord | undefined): string {
  if (record === undefined) return '';
  return Number.isFinite(record.until) ? String(Math.ceil(record.until)) : FOREVER;
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
