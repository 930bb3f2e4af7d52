/**
 * The broker over Redis. Each channel is a list that a Lua script appends to; publishing rings a doorbell that carries
 * the whole message, so that a subscriber only reads the list where it missed something. What is said in one turn goes
 * to Redis in one call.
 */

import { checkNames, type Names } from '../../option-names.ts';
import { retry } from '../../waiting.ts';
import { isForbidden, RedisError } from '../redis/errors.ts';
import { DEFAULT_MAX_REPLY, REDIS_OPTIONS, type RedisOptions } from '../redis/options.ts';
import { type RedisTarget, topologyOf } from '../redis/target.ts';
import type { RedisTopology } from '../redis/topology.ts';
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
  StoredMessage,
} from './broker.ts';
import { newStart } from './epochs.ts';
import { Faults } from './faults.ts';
import { checkLife, type Mark, type Marked, type Removal } from './marks.ts';
import { messageId } from './random-id.ts';
import { channelScript, RedisChannels } from './redis-channels.ts';
import { RedisControl } from './redis-control.ts';
import { RedisDevices } from './redis-devices.ts';
import { copyOf, decodeDoorbell, isCursor, isMarked, letterOf } from './redis-doorbells.ts';
import { RedisIntake } from './redis-intake.ts';
import { bounded, decodeTop, encodeKnown, LONGEST } from './redis-layout.ts';
import { RedisMarks } from './redis-marks.ts';
import { RedisPresence } from './redis-presence.ts';
import { PAGE_BYTES, RedisReader } from './redis-reader.ts';
import { RedisSchedule } from './redis-schedule.ts';
import { RedisWriter, toReceipt } from './redis-writer.ts';
import { type Doubted, RewindWatch } from './rewind-watch.ts';

const renewScript = channelScript('renew');

const DEFAULT_IDLE_CHANNEL_TTL = 30 * 24 * 60 * 60 * 1000;
const DEFAULT_REPLICA_TIMEOUT = 1000;
/** Bytes that a page of the log may take besides one message: the others, and what goes with each. */
const PAGE_OVERHEAD = 2 * PAGE_BYTES;

/** What `redisBroker` takes besides where Redis is. */
export interface RedisBrokerOptions extends RedisOptions {
  /** Begins every key, and every channel on the bus: `<prefix>:<channel>`. Without braces. Default `tidings`. */
  prefix?: string;
  /**
   * Milliseconds after its last use that a channel keeps its epoch and offset. After that it begins anew, and a
   * client with an older position is told so. Default 30 days.
   */
  idleChannelTtl?: number;
  /**
   * Milliseconds that `publish` goes on trying while Redis is away or refuses because it is failing over, as
   * long as nothing can have been stored twice. Default 10_000; 0 fails at once.
   */
  publishMaxWait?: number;
  /**
   * Whether instances publish what other programs add to the stream `<prefix>:in`:
   * `XADD tidings:in * channel user:alice data hello` (and optionally `kind json`, `key <idempotency key>`).
   * Each entry is stored once and then deleted; one that can't be is moved to `<prefix>:in:rejected` with the
   * reason. Order between entries is kept only while there is one instance. Default true.
   */
  intake?: boolean;
}

const NAMES: Names<RedisBrokerOptions> = {
  ...REDIS_OPTIONS,
  prefix: true,
  idleChannelTtl: true,
  publishMaxWait: true,
  intake: true,
};

/** The message is stored, but fewer replicas than asked for confirmed it in time. */
export class ReplicationError extends RedisError {
  /** Where the message is stored. */
  readonly receipt: Receipt;
  /** How many replicas confirmed. */
  readonly confirmed: number;

  constructor(receipt: Receipt, confirmed: number, wanted: number) {
    super(
      'REDIS_NOT_REPLICATED',
      `message ${receipt.offset} of ${receipt.channel} is stored, but only ${confirmed} of ${wanted} replicas confirmed it in time`,
    );
    this.name = 'ReplicationError';
    this.receipt = receipt;
    this.confirmed = confirmed;
  }
}

/**
 * A broker over Redis 6.2 or later, or Valkey: one server, a master behind Sentinels, or a Cluster.
 *
 * @throws {TypeError} if the target or the prefix can't be used
 */
export function redisBroker(target: RedisTarget, options: RedisBrokerOptions = {}): Broker {
  checkNames('redisBroker', options, NAMES);
  const { prefix, idleChannelTtl, publishMaxWait, intake, ...connection } = options;
  if (publishMaxWait !== undefined) connection.queueMaxWait = publishMaxWait;
  return new RedisBroker(topologyOf(target, connection), options);
}

class RedisBroker implements Broker {
  readonly control: RedisControl;
  readonly schedule: RedisSchedule;
  readonly #topology: RedisTopology;
  readonly #options: RedisBrokerOptions;
  readonly #channels: RedisChannels;
  readonly #writer: RedisWriter;
  readonly #marks: RedisMarks;
  readonly #reader: RedisReader;
  readonly #devices: RedisDevices;
  readonly #presence: RedisPresence;
  readonly #faults = new Faults({
    warn: (message, fields) => this.#listener?.warn?.(message, fields),
    mended: (message, fields) => this.#listener?.mended?.(message, fields),
  });
  readonly #watch = new RewindWatch(
    (channel, doubted) => this.#renewUnlessThere(channel, doubted),
    (channel, error) => this.#channels.blame('compare', channel, error),
  );
  readonly #availability = new Availability(
    {
      down: (error) => this.#listener!.down(error),
      up: () => {
        this.#presence.returned();
        this.#listener!.up();
      },
    },
    async (isCurrent) => {
      await Promise.all([this.control.hold(isCurrent), this.#watch.compare(isCurrent)]);
    },
  );
  /** Whether all connections are there. */
  #isWhole = false;
  #maxReply: number;
  #listener: BrokerListener | undefined;
  #intake: RedisIntake | undefined;
  #isClosed = false;

  constructor(topology: RedisTopology, options: RedisBrokerOptions) {
    this.#topology = topology;
    this.#options = options;
    const prefix = options.prefix ?? 'tidings';
    if (prefix === '' || /[{}]/.test(prefix)) {
      throw new TypeError(`a prefix of keys must not be empty or hold braces: ${prefix}`);
    }
    const idleTtl = bounded(options.idleChannelTtl ?? DEFAULT_IDLE_CHANNEL_TTL, LONGEST);
    this.#channels = new RedisChannels(topology, prefix, idleTtl, this.#faults);
    const maxWait = options.publishMaxWait ?? 10_000;
    this.#writer = new RedisWriter(this.#channels, this.#watch, {
      maxWait,
      maxBytes: options.queueMaxBytes ?? 16 * 1024 * 1024,
      maxCount: options.queueMaxCommands ?? 10_000,
      isThere: () => this.#availability.isThere,
    });
    this.#marks = new RedisMarks(this.#channels, this.#watch, maxWait);
    this.schedule = new RedisSchedule(this.#channels, this.#faults, maxWait);
    this.#reader = new RedisReader(this.#channels, this.#watch, this.#marks);
    this.#devices = new RedisDevices(this.#channels);
    this.#presence = new RedisPresence(topology, prefix, (what, channel, answer) =>
      this.#channels.about(what, channel, answer),
    );
    this.#maxReply = options.maxReplySize ?? DEFAULT_MAX_REPLY;
    this.control = new RedisControl(
      topology,
      prefix,
      {
        lapsed: (error) => this.#availability.lost(error),
        // Where the connections are there, nobody else says that it goes on.
        renewed: () => {
          if (this.#isWhole) this.#availability.whole();
        },
      },
      this.#faults,
    );
  }

  get faultCount(): number {
    return this.#faults.count;
  }

  async open(listener: BrokerListener): Promise<void> {
    this.#listener = listener;
    this.accept(listener.maxMessage ?? 0);
    if (listener.control !== undefined) this.control.open(listener.control, listener.lease);
    const { opened } = this.#availability;
    this.#topology.open({
      message: (bus, bytes, start, end) => this.#ring(bus, bytes, start, end),
      lost: (error) => {
        this.#isWhole = false;
        this.#watch.doubt();
        this.#availability.lost(error);
      },
      whole: () => {
        this.#isWhole = true;
        this.#availability.whole();
      },
      moving: (bus) => this.#watch.doubt(bus),
      missed: (bus) => void this.#missed(bus),
    });
    await opened;
    if (listener.intake === undefined || this.#isClosed || this.#options.intake === false) return;
    this.#intake = new RedisIntake(
      this.#topology,
      this.#channels.prefix,
      (message) => listener.intake!(message),
      this.#faults,
    );
    this.#intake.start();
  }

  /** What may be published must be readable. */
  accept(maxMessage: number): void {
    const needed = maxMessage + PAGE_OVERHEAD;
    if (needed <= this.#maxReply) return;
    const { maxReplySize } = this.#options;
    if (maxReplySize !== undefined) {
      throw new RangeError(
        `messages of ${maxMessage} bytes can't be read with replies of ${maxReplySize} bytes (maxReplySize): give at ` +
          `least ${needed}, or leave it out`,
      );
    }
    this.#maxReply = needed;
    this.#topology.acceptReplies(needed);
  }

  async publish(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    options: PublishOptions,
  ): Promise<Receipt> {
    checkLife(options);
    this.#checkSize(payload);
    const id = messageId();
    const keys = this.#channels.keys(channel);
    const reply = await this.#channels.about(
      'publish',
      channel,
      this.#writer.add(channel, { keys, kind, payload, options, id }),
    );
    const receipt = toReceipt(channel, reply, id);
    const { epoch, offset } = receipt;
    if (!receipt.duplicate) this.#watch.stored(keys.bus, channel, { epoch, offset, id });
    const { replicas = 0, replicaTimeout = DEFAULT_REPLICA_TIMEOUT } = options;
    if (replicas <= 0) return receipt;
    const { top, mark } = keys;
    const position = { epoch, offset, id: receipt.id };
    const isThere = (stored: Buffer | null): boolean =>
      stored !== null && reaches(decodeTop(stored), position);
    const confirmed = await retry(
      () => this.#topology.replicated({ key: top, isThere, mark }, replicas, replicaTimeout),
      {
        maxWait: replicaTimeout,
        // The message is stored; what fails is only the asking.
        mayRepeat: (error) => error instanceof RedisError && error.code !== 'REDIS_REPLY' && !this.#isClosed,
        min: 20,
        max: 200,
      },
    ).catch((error) => {
      if (isForbidden(error)) throw error;
      return 0;
    });
    if (confirmed < replicas) throw new ReplicationError(receipt, confirmed, replicas);
    return receipt;
  }

  async notify(channel: string, payload: Buffer): Promise<void> {
    this.#checkSize(payload);
    const keys = this.#channels.keys(channel);
    await this.#writer.add(channel, { keys, kind: 'binary', payload, options: undefined, id: '' });
  }

  #checkSize(payload: Buffer): void {
    const limit = this.#maxReply - PAGE_OVERHEAD;
    if (payload.length <= limit) return;
    throw new RangeError(
      `a message of ${payload.length} bytes could not be read again: ${limit} bytes fit into a reply (maxReplySize)`,
    );
  }

  mark(channel: string, mark: Mark): Promise<Marked & { changed: number }> {
    return this.#marks.mark(channel, mark);
  }

  marks(channel: string): Promise<Marked> {
    return this.#marks.marks(channel);
  }

  remove(channel: string, which: Removal): Promise<boolean> {
    return this.#marks.remove(channel, which);
  }

  async #renewUnlessThere(channel: string, { position, version }: Doubted): Promise<void> {
    if (position !== undefined) {
      const keys = this.#channels.lookKeys(this.#channels.keys(channel));
      const args = [newStart(), this.#channels.idleTtl, encodeKnown(position)];
      await this.#topology.evaluate({ script: renewScript, keys, args });
    }
    if (version !== undefined) await this.#marks.compare(channel);
  }

  async #missed(bus: string): Promise<void> {
    await this.#watch.compareOne(bus);
    const channel = this.#watch.channelOf(bus);
    if (channel !== undefined && !this.#isClosed) this.#listener!.missed?.(channel);
  }

  subscribe(channel: string): Promise<void> {
    const { bus } = this.#channels.keys(channel);
    this.#watch.subscribe(bus, channel);
    return this.#topology.subscribe(bus);
  }

  unsubscribe(channel: string): Promise<void> {
    const { bus } = this.#channels.keys(channel);
    this.#watch.unsubscribe(bus);
    this.#reader.unsubscribed(bus);
    return this.#topology.unsubscribe(bus);
  }

  read(channel: string, offset: number, limit: number): Promise<LogPage> {
    return this.#reader.read(channel, offset, limit);
  }

  tops(channels: string[]): Promise<(Position | Error)[]> {
    return this.#reader.tops(channels);
  }

  opening(channel: string): Promise<Opening> {
    return this.#reader.opening(channel);
  }

  acknowledge(cursor: Cursor, ttl: number): Promise<void> {
    return this.#devices.acknowledge(cursor, ttl);
  }

  acknowledgeAll(
    cursors: readonly Cursor[],
    ttl: number,
    done: (index: number, error: unknown) => void,
  ): void {
    this.#devices.acknowledgeAll(cursors, ttl, done);
  }

  cursors(channel: string): Promise<Cursor[]> {
    return this.#devices.cursors(channel);
  }

  announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    return this.#presence.announce(entries, ttl);
  }

  withdraw(entries: PresenceEntry[]): Promise<void> {
    return this.#presence.withdraw(entries);
  }

  presence(user: string): Promise<PresenceEntry[]> {
    return this.#presence.of(user);
  }

  online(users: readonly string[]): Promise<Set<string>> {
    return this.#presence.online(users);
  }

  attendance(topic: string, limit: number): Promise<Attendance> {
    return this.#presence.attendance(topic, limit);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const { address } = this.#topology;
    this.#availability.close(
      new RedisError('REDIS_CLOSED', `Redis at ${address} was closed before it was reached`),
    );
    this.#writer.close();
    this.#marks.close();
    this.schedule.close();
    await Promise.all([this.#intake?.stop(), this.#presence.close(), this.control.close()]);
    await this.#topology.close();
    this.#watch.clear();
  }

  #ring(bus: string, bytes: Buffer, start: number, end: number): void {
    if (bus === this.control.bus) {
      this.control.rung();
      return;
    }
    const channel = this.#watch.channelOf(bus);
    if (channel === undefined || this.#isClosed) return;
    const doorbell = decodeDoorbell(channel, bytes, start, end);
    const listener = this.#listener!;
    try {
      if (doorbell === undefined) listener.transient(channel, copyOf(bytes, start, end));
      else if (doorbell === null) this.#missedUnread(channel, bus, bytes, start);
      else if (isCursor(doorbell)) listener.acknowledged(doorbell);
      else if (isMarked(doorbell)) {
        this.#watch.learnedVersion(bus, doorbell.marks.version);
        listener.marked?.(channel, doorbell);
      } else for (const message of doorbell) this.#heard(bus, message);
    } catch (error) {
      // Anybody may publish anything: it ends no process, not even by a fault of the listener's.
      const what = `what came on ${JSON.stringify(channel)} could not be handled: ${String(error)}`;
      this.#faults.met(`heard ${channel}`, what, { event: 'doorbell-failed', channel, error: String(error) });
    }
  }

  /** Whatever it was about stands in the log, and is read there. */
  #missedUnread(channel: string, bus: string, bytes: Buffer, start: number): void {
    const letter = JSON.stringify(letterOf(bytes, start));
    const what = `a doorbell of the kind ${letter} can't be read, which may be a newer version's; the log is read instead`;
    this.#faults.note(what, { event: 'doorbell-unknown', kind: letter, channel });
    void this.#missed(bus);
  }

  #heard(bus: string, message: StoredMessage): void {
    this.#watch.heard(bus, message);
    this.#reader.heard(bus, message.payload.length);
    this.#listener!.message(message);
  }
}

/** Whether a channel that stands at `top` has the message. */
function reaches(top: Position, { epoch, offset, id }: Position): boolean {
  return top.epoch === epoch && (top.offset > offset || (top.offset === offset && top.id === id));
}
