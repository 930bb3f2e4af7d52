/** The store as the push server asks it, with how often it does, and how long that takes: plain numbers, for metrics. */
import { monotonicNow } from '../../clock.ts';
import { Histogram, ROUND_TRIPS } from '../../metrics/histogram.ts';
import { zeros } from '../../metrics/zeros.ts';
import type { Attendance } from '../../pubsub/store/attendance.ts';
import type {
  Broker,
  BrokerListener,
  Cursor,
  LogPage,
  Opening,
  PayloadKind,
  Position,
  PresenceEntry,
  PublishOptions,
  Receipt,
} from '../../pubsub/store/broker.ts';
import type { ControlLog } from '../../pubsub/store/control.ts';
import type { Mark, Marked, Removal } from '../../pubsub/store/marks.ts';
import type { Schedule } from '../../pubsub/store/schedule.ts';

/** What the store is asked for, and of which kind that is. */
const KINDS = {
  publish: 'publish',
  notify: 'publish',
  subscribe: 'subscribe',
  unsubscribe: 'subscribe',
  read: 'read',
  tops: 'read',
  opening: 'read',
  marks: 'read',
  cursors: 'read',
  presence: 'read',
  online: 'read',
  attendance: 'read',
  mark: 'write',
  remove: 'write',
  acknowledge: 'write',
  announce: 'write',
  withdraw: 'write',
} as const;
export type StoreOperation = keyof typeof KINDS;
export type StoreKind = (typeof KINDS)[StoreOperation];
export const STORE_OPERATIONS = Object.keys(KINDS) as StoreOperation[];
export const STORE_KINDS: readonly StoreKind[] = ['publish', 'subscribe', 'read', 'write'];

/** Calls that are timed in a second. More would cost more than they tell. */
const TIMED = 100;

export class CountedBroker implements Broker {
  readonly control: ControlLog;
  readonly schedule: Schedule;
  readonly #broker: Broker;
  readonly calls = zeros(STORE_OPERATIONS);
  readonly failures = zeros(STORE_OPERATIONS);
  /** Of the calls that were timed. */
  readonly times: Record<StoreKind, Histogram>;
  #untimed = TIMED;
  readonly acknowledgeAll?: NonNullable<Broker['acknowledgeAll']>;

  constructor(broker: Broker) {
    this.#broker = broker;
    this.control = broker.control;
    this.schedule = broker.schedule;
    this.times = Object.fromEntries(STORE_KINDS.map((kind) => [kind, new Histogram(ROUND_TRIPS)])) as Record<
      StoreKind,
      Histogram
    >;
    if (broker.acknowledgeAll === undefined) return;
    this.acknowledgeAll = (cursors, ttl, done) => {
      this.calls.acknowledge += cursors.length;
      broker.acknowledgeAll!(cursors, ttl, (index, error) => {
        if (error !== undefined) this.failures.acknowledge++;
        done(index, error);
      });
    };
  }

  /** Once a second. */
  sweep(): void {
    this.#untimed = TIMED;
  }

  /** Whoever is answered is so as if nobody counted. */
  #counted<T>(operation: StoreOperation, answer: Promise<T>): Promise<T> {
    this.calls[operation]++;
    const began = this.#begin();
    // A broker of the application's may answer with anything.
    Promise.resolve(answer).then(
      () => this.#end(operation, began),
      () => {
        this.failures[operation]++;
      },
    );
    return answer;
  }

  /** When it was, in milliseconds of the monotonic clock; 0 where it is not timed. */
  #begin(): number {
    if (this.#untimed === 0) return 0;
    this.#untimed--;
    return monotonicNow();
  }

  #end(operation: StoreOperation, began: number): void {
    if (began > 0) this.times[KINDS[operation]].observe(monotonicNow() - began);
  }

  get faultCount(): number {
    return this.#broker.faultCount ?? 0;
  }

  accept(maxMessage: number): void {
    this.#broker.accept?.(maxMessage);
  }

  open(listener: BrokerListener): Promise<void> {
    return this.#broker.open(listener);
  }

  /** Thousands a second: one that is not timed costs nothing, so its failure is counted by who asks. */
  publish(channel: string, kind: PayloadKind, payload: Buffer, options: PublishOptions): Promise<Receipt> {
    this.calls.publish++;
    const answer = this.#broker.publish(channel, kind, payload, options);
    const began = this.#begin();
    if (began > 0) {
      Promise.resolve(answer).then(
        () => this.#end('publish', began),
        () => {},
      );
    }
    return answer;
  }

  notify(channel: string, payload: Buffer): Promise<void> {
    return this.#counted('notify', this.#broker.notify(channel, payload));
  }

  subscribe(channel: string): Promise<void> {
    return this.#counted('subscribe', this.#broker.subscribe(channel));
  }

  unsubscribe(channel: string): Promise<void> {
    return this.#counted('unsubscribe', this.#broker.unsubscribe(channel));
  }

  read(channel: string, offset: number, limit: number): Promise<LogPage> {
    return this.#counted('read', this.#broker.read(channel, offset, limit));
  }

  tops(channels: string[]): Promise<(Position | Error)[]> {
    return this.#counted('tops', this.#broker.tops(channels));
  }

  mark(channel: string, mark: Mark): Promise<Marked & { changed: number }> {
    return this.#counted('mark', this.#broker.mark(channel, mark));
  }

  marks(channel: string): Promise<Marked> {
    return this.#counted('marks', this.#broker.marks(channel));
  }

  remove(channel: string, which: Removal): Promise<boolean> {
    return this.#counted('remove', this.#broker.remove(channel, which));
  }

  opening(channel: string): Promise<Opening> {
    return this.#counted('opening', this.#broker.opening(channel));
  }

  acknowledge(cursor: Cursor, ttl: number): Promise<void> {
    return this.#counted('acknowledge', this.#broker.acknowledge(cursor, ttl));
  }

  cursors(channel: string): Promise<Cursor[]> {
    return this.#counted('cursors', this.#broker.cursors(channel));
  }

  announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    return this.#counted('announce', this.#broker.announce(entries, ttl));
  }

  withdraw(entries: PresenceEntry[]): Promise<void> {
    return this.#counted('withdraw', this.#broker.withdraw(entries));
  }

  presence(user: string): Promise<PresenceEntry[]> {
    return this.#counted('presence', this.#broker.presence(user));
  }

  online(users: readonly string[]): Promise<Set<string>> {
    return this.#counted('online', this.#broker.online(users));
  }

  attendance(topic: string, limit: number): Promise<Attendance> {
    return this.#counted('attendance', this.#broker.attendance(topic, limit));
  }

  close(): Promise<void> {
    return this.#broker.close();
  }
}
