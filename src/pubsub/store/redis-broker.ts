/**
 * The broker over Redis. Each channel is a list that a Lua script appends to; publishing rings a doorbell that carries
 * the whole message, so that a subscriber only reads the list where it missed something. What is said in one turn goes
 * to Redis in one call.
 */

import { retry } from '../../waiting.ts';
import { isForbidden, RedisError, RedisReplyError, wasNotExecuted } from '../redis/errors.ts';
import { DEFAULT_MAX_REPLY, type RedisOptions } from '../redis/options.ts';
import type { RespArgument } from '../redis/resp-encoder.ts';
import { Script } from '../redis/script.ts';
import { type RedisTarget, topologyOf } from '../redis/target.ts';
import type { RedisTopology } from '../redis/topology.ts';
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
import { newStart, unusedEpoch } from './epochs.ts';
import { Faults } from './faults.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { type Item, Lanes, type Outcome } from './lanes.ts';
import { lua } from './lua.ts';
import { messageId } from './random-id.ts';
import { RedisIntake } from './redis-intake.ts';
import {
  ACK_MAGIC,
  ChannelKeys,
  copyOf,
  decodeDoorbell,
  decodeEntry,
  decodeTop,
  encodeKnown,
  encodeMessage,
  isCursor,
  MESSAGE_MAGIC,
  originKey,
  type Top,
} from './redis-layout.ts';
import { RedisPresence } from './redis-presence.ts';
import { RewindWatch } from './rewind-watch.ts';

const script = (...names: (keyof typeof lua)[]): Script =>
  new Script(names.map((name) => lua[name]).join('\n'));
const publishScript = script('channel', 'publish');
const readScript = script('channel', 'read');
const renewScript = script('channel', 'renew');
const acknowledgeScript = script('channel', 'acknowledge');

/** The bound on one page of `read`, in bytes of payload. */
const PAGE_BYTES = 1024 * 1024;
/** Bytes that an entry of a log is taken to have at most, unless it is known to be otherwise. */
const USUAL_ENTRY = 4096;
/** Bytes of an entry besides its payload, at most. */
const ENTRY_OVERHEAD = 80;
/** Messages that a channel may have got since it was last heard of, for a plain read to be enough. */
const SLACK = 4;
/** Devices of a user whose cursors are kept. */
const MAX_DEVICES = 32;
/** Channels that are asked for in one command. */
const TOPS_AT_ONCE = 200;
/** Milliseconds: numbers in a channel's top have six bytes. */
const LONGEST = 2 ** 45;
const MOST_MESSAGES = 2 ** 31;
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

/** Messages of one channel that are stored together, or something that is only handed on. */
interface Run {
  bus: string;
  keys: ChannelKeys;
  known: Buffer;
  items: Item[];
}

/** What a lane sends at a time. */
interface Shipment extends Part {
  runs: Run[];
}

class RedisBroker implements Broker {
  readonly #topology: RedisTopology;
  readonly #prefix: string;
  readonly #options: RedisBrokerOptions;
  readonly #idleChannelTtl: number;
  readonly #lanes: Lanes;
  readonly #calls: JoinedCalls<Shipment, Outcome[]>;
  readonly #presence: RedisPresence;
  /** Of channels with entries that are larger than usual, by name on the bus: the bytes of the largest. */
  readonly #big = new Map<string, number>();
  readonly #faults = new Faults((message) => this.#listener?.warn?.(message));
  readonly #watch = new RewindWatch(
    (channel, position) => this.#renewUnlessThere(channel, position),
    (channel, error) => this.#blame('compare', channel, error),
  );
  readonly #availability = new Availability(
    {
      down: (error) => this.#listener!.down(error),
      up: () => {
        this.#presence.returned();
        this.#listener!.up();
      },
    },
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
    this.#idleChannelTtl = bounded(options.idleChannelTtl ?? DEFAULT_IDLE_CHANNEL_TTL, LONGEST);
    this.#calls = new JoinedCalls((shipments, slot) => this.#ship(shipments, slot));
    this.#presence = new RedisPresence(topology, this.#prefix, (user, answer) =>
      this.#about('announce', `user:${user}`, answer),
    );
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
    const { keys } = first!;
    const { bus } = keys;
    if (items.length === 1 && first!.options === undefined) {
      await this.#topology.command(bus, [this.#topology.publishCommand, bus, first!.payload]);
      return [''];
    }
    const known = encodeKnown(this.#watch.knownOf(bus));
    const shipment: Shipment = { runs: [], count: items.length, bytes: 0 };
    let run: Run | undefined;
    for (const item of items) {
      shipment.bytes += item.payload.length;
      const last = run?.items[0]?.options;
      if (run === undefined || last === undefined || !isKeptAlike(last, item.options)) {
        run = { bus, keys, known, items: [] };
        shipment.runs.push(run);
      }
      run.items.push(item);
    }
    const outcomes = await this.#calls.add(this.#topology.slotOf(keys.top), shipment);
    // What the server refuses to do just now was not done, and neither shall be what comes after it.
    const refused = outcomes.findIndex((outcome) => outcome instanceof Error && wasNotExecuted(outcome));
    if (refused === 0) throw outcomes[0];
    return refused === -1 ? outcomes : outcomes.slice(0, refused);
  }

  /** One call for all that goes to one node. */
  async #ship(shipments: Shipment[], slot: number | undefined): Promise<Outcome[][]> {
    const keys = [originKey(this.#prefix, slot)];
    const args: RespArgument[] = [];
    const numbers: number[] = [];
    for (const { runs } of shipments) for (const run of runs) addRun(run, keys, args, numbers);
    const { publishCommand } = this.#topology;
    args.unshift(publishCommand, newStart(), this.#idleChannelTtl, MESSAGE_MAGIC, numbers.length, ...numbers);
    const call = { script: publishScript, keys, args };
    const replies = (await this.#topology.evaluate(call)) as (string | number | Error)[];
    let at = 0;
    return shipments.map(({ runs }) => {
      const outcomes: Outcome[] = [];
      for (const { items } of runs) {
        const epoch = replies[at++]!;
        if (items[0]!.options === undefined) outcomes.push(toOutcome(epoch));
        else for (const { id } of items) outcomes.push(toOutcome(replies[at++]!, epoch as string, id));
      }
      return outcomes;
    });
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
    const { top } = this.#keys(channel);
    const why = `${error.reply}; see the keys that begin with ${top.slice(0, -':top'.length)}`;
    const damaged = new DamagedChannelError(channel, why, { cause: error });
    this.#faults.met(subject, damaged.message);
    return damaged;
  }

  async #renewUnlessThere(channel: string, position: Position): Promise<void> {
    const { top, list } = this.#keys(channel);
    const keys = [top, list, originKey(this.#prefix, this.#topology.slotOf(top))];
    const args = [newStart(), this.#idleChannelTtl, encodeKnown(position)];
    await this.#topology.evaluate({ script: renewScript, keys, args });
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
    this.#big.delete(bus);
    return this.#topology.unsubscribe(bus);
  }

  async read(channel: string, offset: number, limit: number): Promise<LogPage> {
    return this.#about('read', channel, this.#page(channel, offset, limit));
  }

  async #page(channel: string, offset: number, limit: number): Promise<LogPage> {
    const plain = await this.#plainPage(channel, offset, limit).catch((error) => {
      if (error instanceof RedisError && error.code === 'REDIS_REPLY_TOO_LONG') return undefined;
      // A Redis that is full refuses every transaction, as it has to be collected.
      if (error instanceof RedisReplyError && error.prefix === 'OOM') return undefined;
      throw error;
    });
    return plain ?? this.#scriptPage(channel, offset, limit);
  }

  /**
   * With plain commands, which cost a quarter of the script; `undefined` where they are not enough. The clock of this
   * process only says which way is taken.
   */
  async #plainPage(channel: string, offset: number, limit: number): Promise<LogPage | undefined> {
    const keys = this.#keys(channel);
    const known = this.#watch.knownOf(keys.bus);
    if (known === undefined) return undefined;
    const behind = Math.max(0, known.offset - offset);
    const wanted = Math.min(limit, behind);
    if (wanted * (this.#big.get(keys.bus) ?? USUAL_ENTRY) > PAGE_BYTES) return undefined;
    const from = -(behind + SLACK);
    const [stored, length, entries] = (await this.#topology.transaction(keys.top, [
      ['GET', keys.top],
      ['LLEN', keys.list],
      ['LRANGE', keys.list, from, Math.min(-1, from + limit + SLACK - 1)],
    ])) as [Buffer | null, number, Buffer[]];
    if (stored === null) return undefined;
    const top = decodeTop(stored);
    const now = Date.now();
    if (hasRewound(known, top) || now >= top.renew || top.head <= now - top.age) return undefined;
    this.#learn(keys.bus, top);
    const first = top.offset - Math.min(length, top.most) + 1;
    const messages = this.#decode(channel, top.epoch, entries);
    const next = Math.max(offset + 1, first);
    const start = messages.findIndex((message) => message.offset >= next);
    if (next <= top.offset && messages[start]?.offset !== next) return undefined;
    const page: StoredMessage[] = [];
    let bytes = 0;
    for (let i = start; i !== -1 && i < messages.length && page.length < limit && bytes < PAGE_BYTES; i++) {
      if (messages[i]!.offset !== next + page.length) return undefined;
      page.push(messages[i]!);
      bytes += messages[i]!.payload.length;
    }
    // The range began before the log does.
    const isShort = page.length < limit && bytes < PAGE_BYTES && next + page.length <= top.offset;
    return isShort ? undefined : { messages: page, top: positionOf(top), first };
  }

  async #scriptPage(channel: string, offset: number, limit: number): Promise<LogPage> {
    const keys = this.#keys(channel);
    const known = encodeKnown(this.#watch.knownOf(keys.bus));
    const reply = (await this.#topology.evaluate({
      script: readScript,
      keys: [keys.top, keys.list, originKey(this.#prefix, this.#topology.slotOf(keys.top))],
      args: [newStart(), this.#idleChannelTtl, known, offset, limit, PAGE_BYTES],
      returnBuffers: true,
    })) as [Buffer, number | Buffer, ...(number | Buffer)[]];
    const [stored, second, ...rest] = reply;
    if (stored.length === 0) {
      const now = Number(rest[0]);
      const epoch = unusedEpoch(String(second), now - this.#idleChannelTtl, now);
      return { messages: [], top: { epoch, offset: 0, id: '' }, first: 1 };
    }
    const top = decodeTop(stored);
    this.#learn(keys.bus, top);
    const messages = this.#decode(channel, top.epoch, rest as Buffer[]);
    return { messages, top: positionOf(top), first: Number(second) };
  }

  #decode(channel: string, epoch: string, entries: Buffer[]): StoredMessage[] {
    return entries.map((entry) => {
      const message = decodeEntry(channel, epoch, entry, 0, entry.length);
      if (message === undefined) throw new RedisReplyError('ERR an entry of the log that is no message');
      return message;
    });
  }

  #learn(bus: string, top: Top): void {
    this.#watch.learned(bus, positionOf(top));
    if (top.big > USUAL_ENTRY && this.#watch.channelOf(bus) !== undefined) this.#big.set(bus, top.big);
  }

  async tops(channels: string[]): Promise<(Position | Error)[]> {
    const tops: (Position | Error)[] = new Array(channels.length);
    const groups = new Map<number | undefined, number[]>();
    const calls: Promise<void>[] = [];
    for (const [i, channel] of channels.entries()) {
      const slot = this.#topology.slotOf(this.#keys(channel).top);
      const group = groups.get(slot);
      if (group !== undefined && group.length < TOPS_AT_ONCE) group.push(i);
      else {
        const opened = [i];
        groups.set(slot, opened);
        // With all that the loop adds to it.
        calls.push(Promise.resolve().then(() => this.#askTops(channels, opened, tops)));
      }
    }
    await Promise.all(calls);
    return tops;
  }

  async #askTops(channels: string[], which: number[], tops: (Position | Error)[]): Promise<void> {
    const keys = which.map((i) => this.#keys(channels[i]!));
    const names = keys.map(({ top }) => top);
    const command = ['MGET', ...names] as const;
    const stored = (await this.#topology.commandBuffers(names[0]!, command)) as (Buffer | null)[];
    await Promise.all(
      which.map(async (i, k) => {
        try {
          tops[i] = await this.#about(
            'top',
            channels[i]!,
            this.#judgeTop(channels[i]!, keys[k]!, stored[k]!),
          );
        } catch (error) {
          // Otherwise the store is away, or refuses: that is about all of them.
          if (!(error instanceof DamagedChannelError)) throw error;
          tops[i] = error;
        }
      }),
    );
  }

  async #judgeTop(channel: string, { bus, top: key }: ChannelKeys, stored: Buffer | null): Promise<Position> {
    const known = this.#watch.knownOf(bus);
    // MGET passes over what is no string.
    const value =
      stored ?? (known === undefined ? null : await this.#topology.commandBuffers(key, ['GET', key]));
    if (value === null) return { epoch: '', offset: 0, id: '' };
    const top = decodeTop(value as Buffer);
    if (hasRewound(known, top) || Date.now() >= top.renew) return (await this.#scriptPage(channel, 0, 0)).top;
    this.#learn(bus, top);
    return positionOf(top);
  }

  async acknowledge({ channel, device, position }: Cursor, ttl: number): Promise<void> {
    const keys = this.#keys(channel);
    const { epoch, offset, id } = position;
    const { publishCommand } = this.#topology;
    await this.#about(
      'acknowledge',
      channel,
      this.#topology.evaluate({
        script: acknowledgeScript,
        keys: [keys.top, keys.list, keys.devices],
        args: [
          device,
          epoch,
          offset,
          id,
          bounded(ttl, LONGEST),
          MAX_DEVICES,
          publishCommand,
          keys.bus,
          ACK_MAGIC,
        ],
      }),
    );
  }

  async cursors(channel: string): Promise<Cursor[]> {
    const { devices } = this.#keys(channel);
    const asked = this.#topology.command(devices, ['HGETALL', devices]);
    const reply = (await this.#about('cursors', channel, asked)) as string[];
    const now = Date.now();
    const result: Cursor[] = [];
    for (let i = 0; i + 1 < reply.length; i += 2) {
      const [expires, epoch, offset, id] = reply[i + 1]!.split(' ');
      // What is none was not written here, and moves nothing.
      if (epoch === undefined || id === undefined || !Number.isSafeInteger(Number(offset))) continue;
      if (!(Number(expires) > now)) continue;
      result.push({ channel, device: reply[i]!, position: { epoch, offset: Number(offset), id } });
    }
    return result;
  }

  announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    return this.#presence.announce(entries, ttl);
  }

  withdraw(entries: PresenceEntry[]): Promise<void> {
    return this.#presence.withdraw(entries);
  }

  presence(user: string): Promise<PresenceEntry[]> {
    return this.#about('presence', `user:${user}`, this.#presence.of(user));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const { address } = this.#topology;
    this.#availability.close(
      new RedisError('REDIS_CLOSED', `Redis at ${address} was closed before it was reached`),
    );
    this.#lanes.close();
    await this.#intake?.stop();
    await this.#presence.close();
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
      else for (const message of doorbell) this.#heard(bus, message);
    } catch (error) {
      // Anybody may publish anything: it ends no process, not even by a fault of the listener's.
      const what = `what came on ${JSON.stringify(channel)} could not be handled: ${String(error)}`;
      this.#faults.met(`heard ${channel}`, what);
    }
  }

  #heard(bus: string, message: StoredMessage): void {
    this.#watch.heard(bus, message);
    if (message.payload.length > USUAL_ENTRY / 2) this.#learnSize(bus, message.payload.length);
    this.#listener!.message(message);
  }

  #learnSize(bus: string, bytes: number): void {
    this.#big.set(bus, Math.max(this.#big.get(bus) ?? USUAL_ENTRY, bytes + ENTRY_OVERHEAD));
  }
}

function isKeptAlike(one: PublishOptions, other: PublishOptions | undefined): boolean {
  if (other === undefined) return false;
  const { maxAge, maxMessages } = one.retention;
  return other.retention.maxAge === maxAge && other.retention.maxMessages === maxMessages;
}

/** Adds a run as lua/publish.lua takes it. */
function addRun(run: Run, keys: string[], args: RespArgument[], numbers: number[]): void {
  const { items, known } = run;
  const { options, payload } = items[0]!;
  if (options === undefined) {
    args.push(run.bus, HANDED_ON, payload);
    return;
  }
  keys.push(run.keys.top, run.keys.list);
  const what = Buffer.allocUnsafe(3 + items.length + known.length);
  what[0] = items.length;
  what[1] = numberOf(bounded(options.retention.maxAge, LONGEST), numbers);
  what[2] = numberOf(bounded(options.retention.maxMessages, MOST_MESSAGES), numbers);
  known.copy(what, 3 + items.length);
  args.push(run.bus, what);
  for (const [i, { id, kind, payload, options }] of items.entries()) {
    const { idempotencyKey, idempotencyWindow = DEFAULT_IDEMPOTENCY_WINDOW } = options!;
    what[3 + i] = 0;
    if (idempotencyKey !== undefined) {
      what[3 + i] = numberOf(bounded(idempotencyWindow, LONGEST), numbers);
      keys.push(run.keys.receipt(idempotencyKey));
    }
    args.push(encodeMessage(id, kind, payload));
  }
}
const HANDED_ON = Buffer.alloc(1);

/** Which one it is, from 1 on; it is added if it is none yet. */
function numberOf(value: number, numbers: number[]): number {
  const at = numbers.indexOf(value);
  return at === -1 ? numbers.push(value) : at + 1;
}

/** What became of a message, of what the script answered for it. */
function toOutcome(reply: string | number | Error, epoch = '', id = ''): Outcome {
  if (typeof reply === 'number') return `0 ${epoch} ${reply} ${id}`;
  if (typeof reply === 'string') return reply === '' ? '' : `1 ${reply}`;
  return new RedisReplyError(reply.message, 'EVALSHA');
}

/** Whether the log of `top` has lost a message that it is known to have had. */
function hasRewound(known: Position | undefined, top: Position): boolean {
  if (known === undefined || known.epoch !== top.epoch) return false;
  return known.offset > top.offset || (known.offset === top.offset && known.id !== top.id);
}

/** Whether a channel that stands at `top` has the message. */
function reaches(top: Position, { epoch, offset, id }: Position): boolean {
  return top.epoch === epoch && (top.offset > offset || (top.offset === offset && top.id === id));
}

function positionOf({ epoch, offset, id }: Position): Position {
  return { epoch, offset, id };
}

function bounded(value: number, most: number): number {
  return Math.max(1, Math.min(Math.ceil(value), most));
}

/** @param id that this call chose: a receipt with it is of this call's own first attempt, and no duplicate */
function toReceipt(channel: string, reply: string, id: string): Receipt {
  const [known, epoch, offset, stored] = reply.split(' ') as [string, string, string, string];
  return { channel, epoch, offset: Number(offset), id: stored, duplicate: known === '1' && stored !== id };
}
