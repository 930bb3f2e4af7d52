/**
 * A broker over a store that instances share: which of its parts does what, when the store is there, and in which order all
 * of it ends. How messages are stored and rung is each store's own.
 */
import type { Attendance } from './attendance.ts';
import { Availability } from './availability.ts';
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
} from './broker.ts';
import type { Channels } from './channels.ts';
import type { ControlStore } from './control-store.ts';
import { Faults } from './faults.ts';
import { LeasedControl } from './leased-control.ts';
import type { Mark, Marked, Removal } from './marks.ts';
import { RewindWatch } from './rewind-watch.ts';
import type { StoredMarks } from './stored-marks.ts';
import type { StoredSchedule } from './stored-schedule.ts';

/** Milliseconds that something is tried again while the store is away or refuses. */
export const DEFAULT_MAX_WAIT = 10_000;

/** Who does what. */
export interface Parts {
  channels: Channels;
  writer: { close(): void };
  marks: StoredMarks;
  reader: Pick<Broker, 'read' | 'tops' | 'opening'> & {
    /** Gives a channel another epoch if its log lacks what is known of it. */
    compare(channel: string, known: Position): Promise<void>;
  };
  devices: Pick<Required<Broker>, 'acknowledgeAll' | 'cursors'>;
  presence: Pick<Broker, 'announce' | 'withdraw' | 'online' | 'attendance'> & {
    of(user: string): Promise<PresenceEntry[]>;
    /** The store is back, and may have lost what was written. */
    returned(): void;
    close(): Promise<void>;
  };
}

export abstract class StoredBroker implements Broker {
  abstract readonly control: LeasedControl;
  abstract readonly schedule: StoredSchedule;
  protected abstract readonly parts: Parts;
  protected readonly faults = new Faults({
    warn: (message, fields) => this.listener?.warn?.(message, fields),
    mended: (message, fields) => this.listener?.mended?.(message, fields),
  });
  protected readonly watch = new RewindWatch(
    async (channel, { position, version }) => {
      if (position !== undefined) await this.parts.reader.compare(channel, position);
      if (version !== undefined) await this.parts.marks.compare(channel);
    },
    (channel, error) => this.parts.channels.blame('compare', channel, error),
    (error) => this.parts.channels.failures.mayPass(error),
  );
  protected readonly availability = new Availability(
    {
      down: (error) => this.listener!.down(error),
      up: () => {
        this.parts.presence.returned();
        this.listener!.up();
      },
    },
    async (isCurrent) => {
      await this.prepare(isCurrent);
      await Promise.all([this.control.hold(isCurrent), this.watch.compare(isCurrent)]);
    },
  );
  protected listener: BrokerListener | undefined;
  /** Whether all connections are there, and everything that is rung is heard. */
  protected isWhole = false;
  protected isClosed = false;

  get faultCount(): number {
    return this.faults.count;
  }

  abstract open(listener: BrokerListener): Promise<void>;
  abstract accept(maxMessage: number): void;
  abstract publish(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    options: PublishOptions,
  ): Promise<Receipt>;
  abstract notify(channel: string, payload: Buffer): Promise<void>;
  abstract subscribe(channel: string): Promise<void>;
  abstract unsubscribe(channel: string): Promise<void>;

  /** Whatever has to be there before the store can be used, each time that it is back. */
  protected async prepare(_isCurrent: () => boolean): Promise<void> {}

  /** Ends what is neither a part nor a connection. */
  protected abstract stop(): Promise<void>;
  protected abstract disconnect(): Promise<void>;
  /** For who waits for a store that is closed. */
  protected abstract closed(): Error;

  /** The control log that is kept there. */
  protected leased(store: ControlStore): LeasedControl {
    return new LeasedControl(
      store,
      {
        lapsed: (error) => this.availability.lost(error),
        // Where the connections are there, nobody else says that it goes on.
        renewed: () => {
          if (this.isWhole) this.availability.whole();
        },
      },
      this.faults,
    );
  }

  protected lost(error: Error): void {
    this.isWhole = false;
    this.watch.doubt();
    this.availability.lost(error);
  }

  protected whole(): void {
    this.isWhole = true;
    this.availability.whole();
  }

  /** What came on a channel could not be handled: it ends no process. */
  protected failed(channel: string, error: unknown): void {
    const what = `what came on ${JSON.stringify(channel)} could not be handled: ${String(error)}`;
    this.faults.met(`heard ${channel}`, what, { event: 'doorbell-failed', channel, error: String(error) });
  }

  mark(channel: string, mark: Mark): Promise<Marked & { changed: number }> {
    return this.parts.marks.mark(channel, mark);
  }

  marks(channel: string): Promise<Marked> {
    return this.parts.marks.marks(channel);
  }

  remove(channel: string, which: Removal): Promise<boolean> {
    return this.parts.marks.remove(channel, which);
  }

  read(channel: string, offset: number, limit: number): Promise<LogPage> {
    return this.parts.reader.read(channel, offset, limit);
  }

  tops(channels: string[]): Promise<(Position | Error)[]> {
    return this.parts.reader.tops(channels);
  }

  opening(channel: string): Promise<Opening> {
    return this.parts.reader.opening(channel);
  }

  acknowledge(cursor: Cursor, ttl: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (_: number, error: unknown): void => (error === undefined ? resolve() : reject(error));
      this.parts.devices.acknowledgeAll([cursor], ttl, done);
    });
  }

  acknowledgeAll(
    cursors: readonly Cursor[],
    ttl: number,
    done: (index: number, error: unknown) => void,
  ): void {
    this.parts.devices.acknowledgeAll(cursors, ttl, done);
  }

  cursors(channel: string): Promise<Cursor[]> {
    return this.parts.devices.cursors(channel);
  }

  announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    return this.parts.presence.announce(entries, ttl);
  }

  withdraw(entries: PresenceEntry[]): Promise<void> {
    return this.parts.presence.withdraw(entries);
  }

  presence(user: string): Promise<PresenceEntry[]> {
    return this.parts.presence.of(user);
  }

  online(users: readonly string[]): Promise<Set<string>> {
    return this.parts.presence.online(users);
  }

  attendance(topic: string, limit: number): Promise<Attendance> {
    return this.parts.presence.attendance(topic, limit);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.availability.close(this.closed());
    this.parts.writer.close();
    this.parts.marks.close();
    this.schedule.close();
    await Promise.all([this.stop(), this.parts.presence.close(), this.control.close()]);
    await this.disconnect();
    this.watch.clear();
  }
}
