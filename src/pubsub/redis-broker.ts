/**
 * The broker over Redis. Each channel is a stream that Lua scripts append to; publishing rings a doorbell that
 * carries the whole message, so that a subscriber only reads the stream where it missed something.
 */

import { Availability } from './availability.ts';
import {
  type Broker,
  type BrokerListener,
  type Cursor,
  DamagedChannelError,
  type LogPage,
  type PayloadKind,
  type Position,
  type PresenceEntry,
  type PublishOptions,
  type Receipt,
  type StoredMessage,
} from './broker.ts';
import { Faults } from './faults.ts';
import { type Item, Lanes, type Outcome } from './lanes.ts';
import { lua } from './lua.ts';
import { epochId, messageId } from './random-id.ts';
import { isForbidden, RedisError, RedisReplyError, wasNotExecuted } from './redis-errors.ts';
import { RedisIntake } from './redis-intake.ts';
import {
  ACK_MAGIC,
  ChannelKeys,
  copyOf,
  decodeDoorbell,
  isCursor,
  kindOf,
  letterOf,
  MESSAGE_MAGIC,
  presenceKey,
} from './redis-layout.ts';
import { DEFAULT_MAX_REPLY, type RedisOptions } from './redis-options.ts';
import { type RedisTarget, topologyOf } from './redis-target.ts';
import type { RedisTopology } from './redis-topology.ts';
import type { RespArgument } from './resp-encoder.ts';
import { RewindWatch } from './rewind-watch.ts';
import { Script } from './script.ts';
import { retry } from './waiting.ts';

const script = (...names: (keyof typeof lua)[]): Script =>
  new Script(names.map((name) => lua[name]).join('\n'));
const publishScript = script('retention', 'rewind', 'publish');
const readScript = script('retention', 'rewind', 'read');
const renewScript = script('rewind', 'renew');
const acknowledgeScript = script('acknowledge');
const announceScript = script('announce');
const liveScript = script('live');

/** The bound on one page of `read`, in bytes of payload. */
const PAGE_BYTES = 1024 * 1024;
const DEFAULT_IDEMPOTENCY_WINDOW = 24 * 60 * 60 * 1000;
const DEFAULT_IDLE_CHANNEL_TTL = 30 * 24 * 60 * 60 * 1000;
const DEFAULT_REPLICA_TIMEOUT = 1000;
/** Bytes that a page of the log may take besides one message: the others, and what goes with each. */
const PAGE_OVERHEAD = 2 * PAGE_BYTES;

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

/** The message is stored, but fewer replicas than asked for confirmed it in time. */
export class ReplicationError extends RedisError {
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
  const { prefix, idleChannelTtl, publishMaxWait, intake, ...connection } = options;
  if (publishMaxWait !== undefined) connection.queueMaxWait = publishMaxWait;
  return new RedisBroker(topologyOf(target, connection), options);
}

class RedisBroker implements Broker {
  readonly #topology: RedisTopology;
  readonly #prefix: string;
  readonly #options: RedisBrokerOptions;
  readonly #idleChannelTtl: string;
  readonly #lanes: Lanes;
  readonly #faults = new Faults((message) => this.#listener?.warn?.(message));
  readonly #watch = new RewindWatch(
    (channel, position) => this.#renewUnlessThere(channel, position),
    (channel, error) => this.#blame('compare', channel, error),
  );
  readonly #availability = new Availability(
    { down: (error) => this.#listener!.down(error), up: () => this.#listener!.up() },
    (isCurrent) => this.#watch.compare(isCurrent),
  );
  #maxReply: number;
  #listener: BrokerListener | undefined;
  #intake: RedisIntake | undefined;
  #isClosed = false;

  constructor(topology: RedisTopology, options: RedisBrokerOptions) {
    this.#topology = topology;
    this.#options = options;
    this.#prefix = options.prefix ?? 'tidings';
    if (this.#prefix === '' || /[{}]/.test(this.#prefix)) {
      throw new TypeError(`a prefix of keys must not be empty or hold braces: ${this.#prefix}`);
    }
    this.#idleChannelTtl = String(options.idleChannelTtl ?? DEFAULT_IDLE_CHANNEL_TTL);
    this.#maxReply = options.maxReplySize ?? DEFAULT_MAX_REPLY;
    this.#lanes = new Lanes({
      maxWait: options.publishMaxWait ?? 10_000,
      maxBytes: options.queueMaxBytes ?? 16 * 1024 * 1024,
      maxCount: options.queueMaxCommands ?? 10_000,
      isThere: () => this.#availability.isThere,
      call: (items) => this.#store(items),
    });
  }

  get faultCount(): number {
    return this.#faults.count;
  }

  async open(listener: BrokerListener): Promise<void> {
    this.#listener = listener;
    this.#fit(listener.maxMessage);
    const { opened } = this.#availability;
    this.#topology.open({
      message: (bus, bytes, start, end) => this.#ring(bus, bytes, start, end),
      lost: (error) => {
        this.#watch.doubt();
        this.#availability.lost(error);
      },
      whole: () => this.#availability.whole(),
      moving: (bus) => this.#watch.doubt(bus),
      missed: (bus) => void this.#missed(bus),
    });
    await opened;
    if (listener.intake === undefined || this.#isClosed || this.#options.intake === false) return;
    this.#intake = new RedisIntake(
      this.#topology,
      this.#prefix,
      (message) => listener.intake!(message),
      this.#faults,
    );
    this.#intake.start();
  }

  /** What may be published must be readable. */
  #fit(maxMessage: number | undefined): void {
    const needed = (maxMessage ?? 0) + PAGE_OVERHEAD;
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
    this.#checkSize(payload);
    const id = messageId();
    const keys = this.#keys(channel);
    const reply = await this.#about(
      'publish',
      channel,
      this.#lanes.add(channel, { keys, kind, payload, options, id }),
    );
    const receipt = toReceipt(channel, reply, id);
    const { epoch, offset } = receipt;
    if (!receipt.duplicate) this.#watch.stored(keys.bus, channel, { epoch, offset, id });
    const { replicas = 0, replicaTimeout = DEFAULT_REPLICA_TIMEOUT } = options;
    if (replicas <= 0) return receipt;
    const { meta, mark } = keys;
    const position = { epoch, offset, id: receipt.id };
    const confirmed = await retry(
      () => this.#topology.replicated({ meta, mark, position }, replicas, replicaTimeout),
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
    const keys = this.#keys(channel);
    await this.#lanes.add(channel, { keys, kind: 'binary', payload, options: undefined, id: '' });
  }

  #checkSize(payload: Buffer): void {
    const limit = this.#maxReply - PAGE_OVERHEAD;
    if (payload.length <= limit) return;
    throw new RangeError(
      `a message of ${payload.length} bytes could not be read again: ${limit} bytes fit into a reply (maxReplySize)`,
    );
  }

  /** The call of a lane: all that waits for one channel. */
  async #store(items: Item[]): Promise<Outcome[]> {
    const [first] = items;
    const own = first!.keys;
    const { bus } = own;
    const { publishCommand } = this.#topology;
    if (items.length === 1 && first!.options === undefined) {
      await this.#topology.command(bus, [publishCommand, bus, first!.payload]);
      return [''];
    }
    const keys = [own.meta, own.log];
    const known = this.#watch.knownOf(bus);
    const args: RespArgument[] = [epochId(), this.#idleChannelTtl, publishCommand, bus, MESSAGE_MAGIC];
    args.push(...toArguments(known));
    for (const { id, kind, payload, options } of items) {
      if (options === undefined) {
        args.push('', '', payload, 0, 0, 0, 0);
        continue;
      }
      const { idempotencyKey: key, idempotencyWindow, retention } = options;
      const number = key === undefined ? 0 : keys.push(own.receipt(key));
      const window = idempotencyWindow ?? DEFAULT_IDEMPOTENCY_WINDOW;
      const { maxMessages, maxAge } = retention;
      args.push(id, letterOf(kind), payload, Math.max(1, maxMessages), Math.max(1, maxAge), window, number);
    }
    const reply = (await this.#topology.evaluate({ script: publishScript, keys, args })) as string | string[];
    if (typeof reply === 'string') return [reply];
    return reply.map((text) =>
      text.startsWith('E ') ? new RedisReplyError(text.slice(2), 'EVALSHA') : text,
    );
  }

  #keys(channel: string): ChannelKeys {
    return new ChannelKeys(this.#prefix, channel, this.#topology.database);
  }

  /**
   * What a channel's own commands answer: an error that no other attempt would change is said to be one, and counts
   * as a fault until the channel can be used.
   */
  async #about<T>(what: string, channel: string, answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      this.#faults.over(`${what} ${channel}`);
      return value;
    } catch (error) {
      throw this.#blame(what, channel, error);
    }
  }

  #blame(what: string, channel: string, error: unknown): unknown {
    const subject = `${what} ${channel}`;
    if (error instanceof RedisError && error.code === 'REDIS_REPLY_TOO_LONG') {
      this.#faults.met(subject, `${JSON.stringify(channel)} can't be read: ${error.message}`);
      return error;
    }
    const isDamage =
      error instanceof RedisReplyError && ['WRONGTYPE', 'ERR'].includes(error.prefix) && !isForbidden(error);
    if (!isDamage || wasNotExecuted(error)) return error;
    const { meta } = this.#keys(channel);
    const why = `${error.reply}; see the keys that begin with ${meta.slice(0, -':meta'.length)}`;
    const damaged = new DamagedChannelError(channel, why, { cause: error });
    this.#faults.met(subject, damaged.message);
    return damaged;
  }

  async #renewUnlessThere(channel: string, { epoch, offset, id }: Position): Promise<void> {
    const { meta, log } = this.#keys(channel);
    const args = [epoch, offset, id, epochId()];
    await this.#topology.evaluate({ script: renewScript, keys: [meta, log], args });
  }

  async #missed(bus: string): Promise<void> {
    await this.#watch.compareOne(bus);
    const channel = this.#watch.channelOf(bus);
    if (channel !== undefined && !this.#isClosed) this.#listener!.missed?.(channel);
  }

  subscribe(channel: string): Promise<void> {
    const { bus } = this.#keys(channel);
    this.#watch.subscribe(bus, channel);
    return this.#topology.subscribe(bus);
  }

  unsubscribe(channel: string): Promise<void> {
    const { bus } = this.#keys(channel);
    this.#watch.unsubscribe(bus);
    return this.#topology.unsubscribe(bus);
  }

  async read(channel: string, offset: number, limit: number): Promise<LogPage> {
    const keys = this.#keys(channel);
    const reply = (await this.#about(
      'read',
      channel,
      this.#topology.evaluate({
        script: readScript,
        keys: [keys.meta, keys.log],
        args: [
          epochId(),
          offset,
          limit,
          PAGE_BYTES,
          this.#idleChannelTtl,
          ...toArguments(this.#watch.knownOf(keys.bus)),
        ],
        returnBuffers: true,
      }),
    )) as Buffer[];
    const [epoch, top, id, first] = reply.slice(0, 4).map(String) as [string, string, string, string];
    this.#watch.learned(keys.bus, { epoch, offset: Number(top), id });
    const messages: StoredMessage[] = [];
    for (let i = 4; i < reply.length; i += 5) {
      messages.push({
        channel,
        epoch,
        offset: Number(reply[i]),
        id: String(reply[i + 1]),
        time: Number(reply[i + 2]),
        kind: kindOf(String(reply[i + 3])),
        payload: reply[i + 4]!,
      });
    }
    return { messages, top: { epoch, offset: Number(top), id }, first: Number(first) };
  }

  async tops(channels: string[]): Promise<(Position | Error)[]> {
    const tops = await Promise.allSettled(channels.map((channel) => this.#top(channel)));
    const failed = tops.find(
      (top) => top.status === 'rejected' && !(top.reason instanceof DamagedChannelError),
    );
    // The store is away, or refuses: that is about all of them.
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
    return tops.map((top) => (top.status === 'fulfilled' ? top.value : (top.reason as Error)));
  }

  async #top(channel: string): Promise<Position> {
    const { meta, bus } = this.#keys(channel);
    const asked = this.#topology.command(meta, ['HMGET', meta, 'epoch', 'offset', 'id']);
    const [epoch, offset, id] = (await this.#about('top', channel, asked)) as (string | null)[];
    const top = { epoch: epoch ?? '', offset: Number(offset ?? 0), id: id ?? '' };
    this.#watch.learned(bus, top);
    return top;
  }

  async acknowledge({ channel, device, position }: Cursor, ttl: number): Promise<void> {
    const keys = this.#keys(channel);
    const { epoch, offset, id } = position;
    await this.#about(
      'acknowledge',
      channel,
      this.#topology.evaluate({
        script: acknowledgeScript,
        keys: [keys.meta, keys.cursors],
        args: [device, epoch, offset, id, ttl, this.#topology.publishCommand, keys.bus, ACK_MAGIC],
      }),
    );
  }

  async cursors(channel: string): Promise<Cursor[]> {
    const { cursors } = this.#keys(channel);
    const reply = (await this.#about(
      'cursors',
      channel,
      this.#topology.evaluate({ script: liveScript, keys: [cursors], args: [] }),
    )) as string[];
    const result: Cursor[] = [];
    for (let i = 0; i < reply.length; i += 2) {
      const [epoch, offset, id] = reply[i + 1]!.split(' ');
      // What is none was not written here, and moves nothing.
      if (epoch === undefined || id === undefined || !Number.isSafeInteger(Number(offset))) continue;
      result.push({ channel, device: reply[i]!, position: { epoch, offset: Number(offset), id } });
    }
    return result;
  }

  async announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    await Promise.all(
      byUser(entries).map(([user, sessions]) => {
        const args = [ttl, ...sessions.flatMap((entry) => [entry.session, JSON.stringify(entry)])];
        const keys = [presenceKey(this.#prefix, user)];
        const told = this.#topology.evaluate({ script: announceScript, keys, args });
        return this.#about('announce', `user:${user}`, told);
      }),
    );
  }

  async withdraw(entries: PresenceEntry[]): Promise<void> {
    await Promise.all(
      byUser(entries).map(([user, sessions]) => {
        const key = presenceKey(this.#prefix, user);
        return this.#topology.command(key, ['HDEL', key, ...sessions.map((entry) => entry.session)]);
      }),
    );
  }

  async presence(user: string): Promise<PresenceEntry[]> {
    const key = presenceKey(this.#prefix, user);
    const asked = this.#topology.evaluate({ script: liveScript, keys: [key], args: [] });
    const reply = (await this.#about('presence', `user:${user}`, asked)) as string[];
    const entries: PresenceEntry[] = [];
    for (let i = 1; i < reply.length; i += 2) {
      try {
        entries.push(JSON.parse(reply[i]!) as PresenceEntry);
      } catch {
        // Not written here, so it is no session; it expires.
      }
    }
    return entries;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const { address } = this.#topology;
    this.#availability.close(
      new RedisError('REDIS_CLOSED', `Redis at ${address} was closed before it was reached`),
    );
    this.#lanes.close();
    await this.#intake?.stop();
    await this.#topology.close();
    this.#watch.clear();
  }

  #ring(bus: string, bytes: Buffer, start: number, end: number): void {
    const channel = this.#watch.channelOf(bus);
    if (channel === undefined || this.#isClosed) return;
    const doorbell = decodeDoorbell(channel, bytes, start, end);
    const listener = this.#listener!;
    try {
      if (doorbell === undefined) listener.transient(channel, copyOf(bytes, start, end));
      else if (doorbell === null) return;
      else if (isCursor(doorbell)) listener.acknowledged(doorbell);
      else {
        this.#watch.heard(bus, doorbell);
        listener.message(doorbell);
      }
    } catch (error) {
      // Anybody may publish anything: it ends no process, not even by a fault of the listener's.
      const what = `what came on ${JSON.stringify(channel)} could not be handled: ${String(error)}`;
      this.#faults.met(`heard ${channel}`, what);
    }
  }
}

/** For the scripts: epoch, offset and id of a message that the log must still have, or have had trimmed. */
function toArguments(known: Position | undefined): readonly [string, number, string] {
  return known === undefined ? ['', 0, ''] : [known.epoch, known.offset, known.id];
}

/** @param id that this call chose: a receipt with it is of this call's own first attempt, and no duplicate */
function toReceipt(channel: string, reply: string, id: string): Receipt {
  const [known, epoch, offset, stored] = reply.split(' ') as [string, string, string, string];
  return { channel, epoch, offset: Number(offset), id: stored, duplicate: known === '1' && stored !== id };
}

function byUser(entries: PresenceEntry[]): [string, PresenceEntry[]][] {
  const users = new Map<string, PresenceEntry[]>();
  for (const entry of entries) {
    const sessions = users.get(entry.user);
    if (sessions === undefined) users.set(entry.user, [entry]);
    else sessions.push(entry);
  }
  return [...users];
}
