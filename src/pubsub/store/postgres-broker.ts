/**
 * The broker over PostgreSQL. Each channel is a row and its messages; publishing rings by NOTIFY, in the same transaction,
 * with the whole message where that is not too large. All instances hear all bells on one connection each.
 */
import { setTimeout } from '../../clock.ts';
import { checkNames, type Names } from '../../option-names.ts';
import { delayOf, pause } from '../../waiting.ts';
import { PostgresError } from '../postgres/errors.ts';
import { PostgresLink } from '../postgres/link.ts';
import {
  POSTGRES_OPTIONS,
  type PostgresOptions,
  type PostgresTarget,
  resolvePostgresOptions,
} from '../postgres/options.ts';
import { loadPg } from '../postgres/pg.ts';
import { migrate } from '../postgres/schema.ts';
import { bounded, DEFAULT_IDLE_CHANNEL_TTL, LONGEST } from './bounds.ts';
import type { Broker, BrokerListener, PayloadKind, PublishOptions, Receipt } from './broker.ts';
import type { LeasedControl } from './leased-control.ts';
import { checkLife } from './marks.ts';
import { PostgresChannels } from './postgres-channels.ts';
import { PostgresControl } from './postgres-control.ts';
import { PostgresDevices } from './postgres-devices.ts';
import { PostgresDoorbells } from './postgres-doorbells.ts';
import { PostgresMarks } from './postgres-marks.ts';
import { PostgresPresence } from './postgres-presence.ts';
import { PostgresReader } from './postgres-reader.ts';
import { PostgresSchedule } from './postgres-schedule.ts';
import { PostgresStandbys } from './postgres-standbys.ts';
import { PostgresTidy } from './postgres-tidy.ts';
import { PostgresWriter, toReceipt } from './postgres-writer.ts';
import { messageId } from './random-id.ts';
import { DEFAULT_MAX_WAIT, type Parts, StoredBroker } from './stored-broker.ts';
import { StoredSchedule } from './stored-schedule.ts';

/** Bytes of a message: what PostgreSQL can give back is not much more. */
const MAX_BYTES = 128 * 1024 * 1024;
/** Milliseconds between two looks at a database that can't be used as it is. */
const AGAIN = { min: 100, max: 5_000 };

/** What `postgresBroker` takes besides where PostgreSQL is. */
export interface PostgresBrokerOptions extends PostgresOptions {
  /** Of all tables and functions. Letters, digits, _ and -. Default `tidings`. */
  schema?: string;
  /**
   * Milliseconds after its last use that a channel keeps its epoch and offset. After that it begins anew, and a
   * client with an older position is told so. Default 30 days.
   */
  idleChannelTtl?: number;
  /**
   * Milliseconds that `publish` goes on trying while PostgreSQL is away or can't do it just now, as long as nothing can
   * have been stored twice. Default 10_000; 0 fails at once.
   */
  publishMaxWait?: number;
}

const NAMES: Names<PostgresBrokerOptions> = {
  ...POSTGRES_OPTIONS,
  schema: true,
  idleChannelTtl: true,
  publishMaxWait: true,
};

/**
 * A broker over PostgreSQL 14 or later. It needs the package `pg`, and makes what it needs in the database, in a schema of
 * its own.
 *
 * @throws {TypeError} if the target or an option can't be used
 */
export function postgresBroker(target: PostgresTarget, options: PostgresBrokerOptions = {}): Broker {
  checkNames('postgresBroker', options, NAMES);
  return new PostgresBroker(target, options);
}

class PostgresBroker extends StoredBroker {
  override readonly control: LeasedControl;
  override readonly schedule: StoredSchedule;
  protected override readonly parts: Parts;
  readonly #link: PostgresLink;
  readonly #writer: PostgresWriter;
  readonly #reader: PostgresReader;
  readonly #doorbells: PostgresDoorbells;
  readonly #standbys: PostgresStandbys;
  readonly #tidy: PostgresTidy;
  /** Who waits until everything that is rung is heard. */
  #waiting: { resolve(): void; reject(error: Error): void }[] = [];
  /** Bytes of the largest message. */
  #maxMessage = 0;

  constructor(target: PostgresTarget, options: PostgresBrokerOptions) {
    super();
    const {
      schema = 'tidings',
      idleChannelTtl = DEFAULT_IDLE_CHANNEL_TTL,
      publishMaxWait: maxWait = DEFAULT_MAX_WAIT,
      ...others
    } = options;
    if (typeof schema !== 'string' || !/^[\w-]{1,48}$/.test(schema)) {
      throw new TypeError(`a schema is named by 1 to 48 letters, digits, _ and -: ${String(schema)}`);
    }
    if (options.publishMaxWait !== undefined) others.queueMaxWait ??= maxWait;
    const settings = resolvePostgresOptions(target, others);
    const link = new PostgresLink(settings, schema);
    this.#link = link;
    this.#standbys = new PostgresStandbys(link);
    const channels = new PostgresChannels(
      link,
      bounded(idleChannelTtl, LONGEST),
      this.faults,
      settings.connections,
    );
    this.#writer = new PostgresWriter(channels, this.watch, {
      maxWait,
      maxBytes: settings.queueMaxBytes,
      maxCount: settings.queueMaxStatements,
      isThere: () => this.availability.isThere,
    });
    const marks = new PostgresMarks(channels, this.watch, maxWait);
    this.#reader = new PostgresReader(channels, this.watch, marks);
    this.parts = {
      channels,
      writer: this.#writer,
      marks,
      reader: this.#reader,
      devices: new PostgresDevices(channels),
      presence: new PostgresPresence(link, (what, channel, answer) => channels.about(what, channel, answer)),
    };
    this.schedule = new StoredSchedule(new PostgresSchedule(link), channels, this.faults, maxWait);
    this.#doorbells = this.#hear(marks);
    this.#tidy = new PostgresTidy(
      link,
      () => this.#writer.longest,
      () => this.availability.isThere,
      () => ({
        idle: channels.idleTtl,
        maxMessage: this.#maxMessage,
        retentions: this.listener?.retentions,
      }),
      this.faults,
    );
    this.control = this.leased(new PostgresControl(link));
    link.hear('c', () => this.control.rung());
  }

  override async open(listener: BrokerListener): Promise<void> {
    this.listener = listener;
    this.#maxMessage = listener.maxMessage ?? 0;
    if (listener.control !== undefined) this.control.open(listener.control, listener.lease);
    const { opened } = this.availability;
    this.#link.open({
      lost: (error) => {
        this.#doorbells.lost();
        this.lost(error);
        // Too old, or not in UTF8: that is not over by itself.
        if ((error as PostgresError).code === 'POSTGRES_SCHEMA') this.availability.refuse(error);
      },
      whole: () => {
        this.whole();
        this.#heardFromNowOn();
      },
    });
    // Where the package is missing, waiting helps nothing.
    await Promise.all([loadPg(), opened]);
    this.#tidy.open();
  }

  override accept(maxMessage: number): void {
    this.#maxMessage = maxMessage;
    if (this.availability.isThere) void this.#tidy.tidy();
  }

  override async publish(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    options: PublishOptions,
  ): Promise<Receipt> {
    checkLife(options);
    checkSize(payload);
    const id = messageId();
    const stored = this.#writer.add(channel, { kind, payload, options, id });
    const receipt = toReceipt(channel, await this.parts.channels.about('publish', channel, stored), id);
    const { epoch, offset } = receipt;
    if (!receipt.duplicate) this.watch.stored(channel, channel, { epoch, offset, id });
    if (options.replicas !== undefined) await this.#standbys.confirm(receipt, options.replicas);
    return receipt;
  }

  override async notify(channel: string, payload: Buffer): Promise<void> {
    checkSize(payload);
    await this.#writer.add(channel, { kind: 'binary', payload, options: undefined, id: '' });
  }

  override async subscribe(channel: string): Promise<void> {
    if (this.isClosed) throw this.closed();
    this.watch.subscribe(channel, channel);
    if (this.#link.isTuned) return;
    await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  override async unsubscribe(channel: string): Promise<void> {
    this.watch.unsubscribe(channel);
  }

  protected override async stop(): Promise<void> {
    for (const { reject } of this.#waiting.splice(0)) reject(this.closed());
    this.#tidy.close();
  }

  protected override disconnect(): Promise<void> {
    return this.#link.close();
  }

  protected override closed(): PostgresError {
    return new PostgresError(
      'POSTGRES_CLOSED',
      `PostgreSQL at ${this.#link.address} was closed before it was reached`,
    );
  }

  #heardFromNowOn(): void {
    if (!this.#link.isTuned) return;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  /** Makes the schema, or brings it up to date; asked again as long as that may help. */
  protected override async prepare(isCurrent: () => boolean): Promise<void> {
    for (let attempt = 0; isCurrent(); attempt++) {
      try {
        await migrate(this.#link);
        await this.#link.tune();
        this.#heardFromNowOn();
        await this.#tidy.say();
        this.faults.over('schema');
        return;
      } catch (error) {
        if (!isCurrent()) return;
        const message = `the schema in PostgreSQL could not be looked at: ${(error as Error).message}`;
        this.faults.met('schema', message, { event: 'postgres-schema', error: (error as Error).message });
        if (
          !this.parts.channels.failures.mayPass(error) ||
          (error as PostgresError).code === 'POSTGRES_SCHEMA'
        ) {
          // Whoever opens it is told; who has been here before waits for somebody to change it.
          setTimeout(() => {
            if (this.isWhole && !this.isClosed) this.availability.whole();
          }, AGAIN.max).unref();
          throw error;
        }
        await pause(delayOf(attempt, AGAIN));
      }
    }
  }

  #hear(marks: PostgresMarks): PostgresDoorbells {
    return new PostgresDoorbells(this.#link, {
      has: (channel) => this.watch.channelOf(channel) !== undefined && !this.isClosed,
      transient: (channel, payload) => this.listener!.transient(channel, payload),
      acknowledged: (cursor) => this.listener!.acknowledged(cursor),
      message: (message) => {
        this.watch.heard(message.channel, message);
        this.listener!.message(message);
      },
      marked: (channel, marked) => {
        this.watch.learnedVersion(channel, marked.marks.version);
        this.listener!.marked?.(channel, marked);
      },
      missed: (channel) => this.listener!.missed?.(channel),
      read: (channel, offset, limit) => this.#reader.page(channel, offset, limit),
      look: (channel) => marks.look(channel),
      failed: (channel, error) => this.failed(channel, error),
    });
  }
}

/** @throws {RangeError} for what could not be read again */
function checkSize({ length }: Buffer): void {
  if (length <= MAX_BYTES) return;
  throw new RangeError(`a message of ${length} bytes: PostgreSQL is given ${MAX_BYTES} at the most`);
}
