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
import { bounded, DEFAULT_IDLE_CHANNEL_TTL, LONGEST, PAGE_BYTES } from './bounds.ts';
import {
  type Broker,
  type BrokerListener,
  type PayloadKind,
  type Position,
  type PublishOptions,
  type Receipt,
  ReplicationError,
  type StoredMessage,
} from './broker.ts';
import type { LeasedControl } from './leased-control.ts';
import { checkLife } from './marks.ts';
import { messageId } from './random-id.ts';
import { RedisChannels } from './redis-channels.ts';
import { RedisControl } from './redis-control.ts';
import { RedisDevices } from './redis-devices.ts';
import { copyOf, decodeDoorbell, isCursor, isMarked, letterOf } from './redis-doorbells.ts';
import { RedisIntake } from './redis-intake.ts';
import { decodeTop } from './redis-layout.ts';
import { RedisMarks } from './redis-marks.ts';
import { RedisPresence } from './redis-presence.ts';
import { RedisReader } from './redis-reader.ts';
import { RedisSchedule } from './redis-schedule.ts';
import { RedisWriter, toReceipt } from './redis-writer.ts';
import { DEFAULT_MAX_WAIT, type Parts, StoredBroker } from './stored-broker.ts';
import { StoredSchedule } from './stored-schedule.ts';

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

class RedisBroker extends StoredBroker {
  override readonly control: LeasedControl;
  override readonly schedule: StoredSchedule;
  protected override readonly parts: Parts;
  readonly #topology: RedisTopology;
  readonly #options: RedisBrokerOptions;
  readonly #channels: RedisChannels;
  readonly #writer: RedisWriter;
  readonly #reader: RedisReader;
  /** Where commands ring. */
  readonly #commands: string;
  #maxReply: number;
  #intake: RedisIntake | undefined;

  constructor(topology: RedisTopology, options: RedisBrokerOptions) {
    super();
    this.#topology = topology;
    this.#options = options;
    const prefix = options.prefix ?? 'tidings';
    if (prefix === '' || /[{}]/.test(prefix)) {
      throw new TypeError(`a prefix of keys must not be empty or hold braces: ${prefix}`);
    }
    const idleTtl = bounded(options.idleChannelTtl ?? DEFAULT_IDLE_CHANNEL_TTL, LONGEST);
    const channels = new RedisChannels(topology, prefix, idleTtl, this.faults);
    const maxWait = options.publishMaxWait ?? DEFAULT_MAX_WAIT;
    this.#channels = channels;
    this.#writer = new RedisWriter(channels, this.watch, {
      maxWait,
      maxBytes: options.queueMaxBytes ?? 16 * 1024 * 1024,
      maxCount: options.queueMaxCommands ?? 10_000,
      isThere: () => this.availability.isThere,
    });
    const marks = new RedisMarks(channels, this.watch, maxWait);
    this.#reader = new RedisReader(channels, this.watch, marks);
    this.parts = {
      channels,
      writer: this.#writer,
      marks,
      reader: this.#reader,
      devices: new RedisDevices(channels),
      presence: new RedisPresence(topology, prefix, (what, channel, answer) =>
        channels.about(what, channel, answer),
      ),
    };
    this.schedule = new StoredSchedule(new RedisSchedule(channels), channels, this.faults, maxWait);
    this.#maxReply = options.maxReplySize ?? DEFAULT_MAX_REPLY;
    const control = new RedisControl(topology, prefix);
    this.#commands = control.bus;
    this.control = this.leased(control);
  }

  override async open(listener: BrokerListener): Promise<void> {
    this.listener = listener;
    this.accept(listener.maxMessage ?? 0);
    if (listener.control !== undefined) this.control.open(listener.control, listener.lease);
    const { opened } = this.availability;
    this.#topology.open({
      message: (bus, bytes, start, end) => this.#ring(bus, bytes, start, end),
      lost: (error) => this.lost(error),
      whole: () => this.whole(),
      moving: (bus) => this.watch.doubt(bus),
      missed: (bus) => void this.#missed(bus),
    });
    await opened;
    if (listener.intake === undefined || this.isClosed || this.#options.intake === false) return;
    this.#intake = new RedisIntake(
      this.#topology,
      this.#channels.prefix,
      (message) => listener.intake!(message),
      this.faults,
    );
    this.#intake.start();
  }

  /** What may be published must be readable. */
  override accept(maxMessage: number): void {
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

  override async publish(
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
    if (!receipt.duplicate) this.watch.stored(keys.bus, channel, { epoch, offset, id });
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
        mayRepeat: (error) => error instanceof RedisError && error.code !== 'REDIS_REPLY' && !this.isClosed,
        min: 20,
        max: 200,
      },
    ).catch((error) => {
      if (isForbidden(error)) throw error;
      return 0;
    });
    if (confirmed >= replicas) return receipt;
    const why = `only ${confirmed} of ${replicas} replicas confirmed it in time`;
    throw new ReplicationError('REDIS_NOT_REPLICATED', receipt, confirmed, why);
  }

  override async notify(channel: string, payload: Buffer): Promise<void> {
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

  async #missed(bus: string): Promise<void> {
    await this.watch.compareOne(bus);
    const channel = this.watch.channelOf(bus);
    if (channel !== undefined && !this.isClosed) this.listener!.missed?.(channel);
  }

  override subscribe(channel: string): Promise<void> {
    const { bus } = this.#channels.keys(channel);
    this.watch.subscribe(bus, channel);
    return this.#topology.subscribe(bus);
  }

  override unsubscribe(channel: string): Promise<void> {
    const { bus } = this.#channels.keys(channel);
    this.watch.unsubscribe(bus);
    this.#reader.unsubscribed(bus);
    return this.#topology.unsubscribe(bus);
  }

  protected override async stop(): Promise<void> {
    await this.#intake?.stop();
  }

  protected override disconnect(): Promise<void> {
    return this.#topology.close();
  }

  protected override closed(): RedisError {
    const { address } = this.#topology;
    return new RedisError('REDIS_CLOSED', `Redis at ${address} was closed before it was reached`);
  }

  #ring(bus: string, bytes: Buffer, start: number, end: number): void {
    if (bus === this.#commands) {
      this.control.rung();
      return;
    }
    const channel = this.watch.channelOf(bus);
    if (channel === undefined || this.isClosed) return;
    const doorbell = decodeDoorbell(channel, bytes, start, end);
    const listener = this.listener!;
    try {
      if (doorbell === undefined) listener.transient(channel, copyOf(bytes, start, end));
      else if (doorbell === null) this.#missedUnread(channel, bus, bytes, start);
      else if (isCursor(doorbell)) listener.acknowledged(doorbell);
      else if (isMarked(doorbell)) {
        this.watch.learnedVersion(bus, doorbell.marks.version);
        listener.marked?.(channel, doorbell);
      } else for (const message of doorbell) this.#heard(bus, message);
    } catch (error) {
      // Anybody may publish anything: it ends no process, not even by a fault of the listener's.
      this.failed(channel, error);
    }
  }

  /** Whatever it was about stands in the log, and is read there. */
  #missedUnread(channel: string, bus: string, bytes: Buffer, start: number): void {
    const letter = JSON.stringify(letterOf(bytes, start));
    const what = `a doorbell of the kind ${letter} can't be read, which may be a newer version's; the log is read instead`;
    this.faults.note(what, { event: 'doorbell-unknown', kind: letter, channel });
    void this.#missed(bus);
  }

  #heard(bus: string, message: StoredMessage): void {
    this.watch.heard(bus, message);
    this.#reader.heard(bus, message.payload.length);
    this.listener!.message(message);
  }
}

/** Whether a channel that stands at `top` has the message. */
function reaches(top: Position, { epoch, offset, id }: Position): boolean {
  return top.epoch === epoch && (top.offset > offset || (top.offset === offset && top.id === id));
}
