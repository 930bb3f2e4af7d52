/**
 * The broker over Redis. Each channel is a stream that Lua scripts append to; publishing rings a doorbell that
 * carries the whole message, so that a subscriber only reads the stream where it missed something.
 */
import { monotonicNow, setTimeout } from '../clock.ts';
import type {
  Broker,
  BrokerListener,
  Cursor,
  LogPage,
  PayloadKind,
  Position,
  PresenceEntry,
  PublishOptions,
  Receipt,
  StoredMessage,
} from './broker.ts';
import { lua } from './lua.ts';
import { epochId, messageId } from './random-id.ts';
import { RedisError, wasNotExecuted } from './redis-errors.ts';
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
import type { RedisOptions } from './redis-options.ts';
import { type RedisTarget, topologyOf } from './redis-target.ts';
import type { RedisTopology, ScriptCall } from './redis-topology.ts';
import { Script } from './script.ts';

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
/** Channels without a subscription whose last receipt is remembered. */
const MAX_SENT = 10_000;
const NOTHING_KNOWN = ['', 0, ''] as const;
/** Positions that are compared with a store that came back at a time. */
const COMPARED_AT_ONCE = 256;

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

interface Subscribed {
  channel: string;
  /** The last message that the log is known to have had. */
  last: Position | undefined;
}

class RedisBroker implements Broker {
  readonly #topology: RedisTopology;
  readonly #prefix: string;
  readonly #idleChannelTtl: string;
  readonly #publishMaxWait: number;
  /** By the name on the bus. */
  readonly #subscribed = new Map<string, Subscribed>();
  /**
   * Of channels without a subscription, by name on the bus: the last message that was stored from here. A store
   * that has not got one of these, or of those that were heard, has rewound.
   */
  readonly #sent = new Map<string, Subscribed>();
  /** Counts losses of the store, so that a comparison that was overtaken by one is known. */
  #losses = 0;
  #isAway = false;
  #listener: BrokerListener | undefined;
  readonly #takesIn: boolean;
  #intake: RedisIntake | undefined;
  #isClosed = false;

  constructor(topology: RedisTopology, options: RedisBrokerOptions) {
    this.#topology = topology;
    this.#prefix = options.prefix ?? 'tidings';
    if (this.#prefix === '' || /[{}]/.test(this.#prefix)) {
      throw new TypeError(`a prefix of keys must not be empty or hold braces: ${this.#prefix}`);
    }
    this.#idleChannelTtl = String(options.idleChannelTtl ?? DEFAULT_IDLE_CHANNEL_TTL);
    this.#publishMaxWait = options.publishMaxWait ?? 10_000;
    this.#takesIn = options.intake ?? true;
  }

  async open(listener: BrokerListener): Promise<void> {
    this.#listener = listener;
    await this.#topology.open({
      message: (bus, bytes, start, end) => this.#ring(bus, bytes, start, end),
      down: (error) => {
        this.#losses++;
        // Lost again before all was compared: the first loss is not over yet.
        if (this.#isAway) return;
        this.#isAway = true;
        listener.down(error);
      },
      up: () => void this.#returned(listener),
    });
    if (listener.intake === undefined || this.#isClosed || !this.#takesIn) return;
    this.#intake = new RedisIntake(this.#topology, this.#prefix, (message) => listener.intake!(message));
    this.#intake.start();
  }

  async publish(
    channel: string,
    kind: PayloadKind,
    payload: Buffer,
    options: PublishOptions,
  ): Promise<Receipt> {
    const keys = new ChannelKeys(this.#prefix, channel);
    const id = messageId();
    const key = options.idempotencyKey;
    const call: ScriptCall = {
      script: publishScript,
      keys: key === undefined ? [keys.meta, keys.log] : [keys.meta, keys.log, keys.receipt(key)],
      args: [
        epochId(),
        id,
        letterOf(kind),
        payload,
        Math.max(1, options.retention.maxMessages),
        Math.max(1, options.retention.maxAge),
        options.idempotencyWindow ?? DEFAULT_IDEMPOTENCY_WINDOW,
        this.#idleChannelTtl,
        this.#topology.publishCommand,
        keys.bus,
        MESSAGE_MAGIC,
        ...this.#knownOf(keys.bus),
      ],
    };
    const { replicas, replicaTimeout } = options;
    if (replicas !== undefined && replicas > 0) {
      const timeout = replicaTimeout ?? DEFAULT_REPLICA_TIMEOUT;
      const [reply, confirmed] = await this.#persist(key !== undefined, () =>
        this.#topology.evaluateReplicated(call, replicas, timeout),
      );
      const receipt = this.#remember(toReceipt(channel, reply as string, id), keys.bus);
      if (confirmed < replicas) throw new ReplicationError(receipt, confirmed, replicas);
      return receipt;
    }
    const reply = await this.#persist(key !== undefined, () => this.#topology.evaluate(call));
    return this.#remember(toReceipt(channel, reply as string, id), keys.bus);
  }

  #remember(receipt: Receipt, bus: string): Receipt {
    if (receipt.duplicate) return receipt;
    const { channel, epoch, offset, id } = receipt;
    const subscribed = this.#subscribed.get(bus);
    if (subscribed === undefined) this.#keep(bus, { channel, last: { epoch, offset, id } });
    else if (subscribed.last?.epoch !== epoch || subscribed.last.offset < offset) {
      subscribed.last = { epoch, offset, id };
    }
    return receipt;
  }

  #keep(bus: string, known: Subscribed): void {
    this.#sent.delete(bus);
    this.#sent.set(bus, known);
    if (this.#sent.size > MAX_SENT) this.#sent.delete(this.#sent.keys().next().value!);
  }

  /** For the scripts: epoch, offset and id of a message that the log must still have, or have had trimmed. */
  #knownOf(bus: string): readonly [string, number, string] {
    const last = (this.#subscribed.get(bus) ?? this.#sent.get(bus))?.last;
    return last === undefined ? NOTHING_KNOWN : [last.epoch, last.offset, last.id];
  }

  /** The store is back. Where it lacks what this process knows it had, all positions in that channel end. */
  async #returned(listener: BrokerListener): Promise<void> {
    const losses = this.#losses;
    const known = [...this.#subscribed.values(), ...this.#sent.values()];
    for (let i = 0; i < known.length && losses === this.#losses && !this.#isClosed; i += COMPARED_AT_ONCE) {
      const part = known.slice(i, i + COMPARED_AT_ONCE);
      // One that fails does so because the store is away again, and will be compared when it is back.
      await Promise.allSettled(part.map((one) => this.#renewUnlessThere(one)));
    }
    if (losses !== this.#losses || this.#isClosed) return;
    this.#isAway = false;
    listener.up();
  }

  async #renewUnlessThere({ channel, last }: Subscribed): Promise<void> {
    if (last === undefined) return;
    const { meta, log } = new ChannelKeys(this.#prefix, channel);
    await this.#topology.evaluate({
      script: renewScript,
      keys: [meta, log],
      args: [last.epoch, last.offset, last.id, epochId()],
    });
  }

  /**
   * Tries again what certainly was not executed, or can't be executed twice, for as long as `publish` may take.
   * The first error is thrown in the end where it says more than the last.
   */
  async #persist<T>(isIdempotent: boolean, attempt: () => Promise<T>): Promise<T> {
    const deadline = monotonicNow() + this.#publishMaxWait;
    for (let delay = 25; ; delay = Math.min(delay * 2, 400)) {
      try {
        return await attempt();
      } catch (error) {
        const isUnknown = error instanceof RedisError && error.code === 'REDIS_OUTCOME_UNKNOWN';
        const mayRepeat = wasNotExecuted(error) || (isIdempotent && isUnknown);
        if (!mayRepeat || this.#isClosed || monotonicNow() + delay > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    }
  }

  async notify(channel: string, payload: Buffer): Promise<void> {
    const { bus } = new ChannelKeys(this.#prefix, channel);
    await this.#topology.command(bus, [this.#topology.publishCommand, bus, payload]);
  }

  subscribe(channel: string): Promise<void> {
    const { bus } = new ChannelKeys(this.#prefix, channel);
    if (!this.#subscribed.has(bus)) {
      this.#subscribed.set(bus, this.#sent.get(bus) ?? { channel, last: undefined });
      this.#sent.delete(bus);
    }
    return this.#topology.subscribe(bus);
  }

  unsubscribe(channel: string): Promise<void> {
    const { bus } = new ChannelKeys(this.#prefix, channel);
    const known = this.#subscribed.get(bus);
    this.#subscribed.delete(bus);
    if (known?.last !== undefined) this.#keep(bus, known);
    return this.#topology.unsubscribe(bus);
  }

  async read(channel: string, offset: number, limit: number): Promise<LogPage> {
    const keys = new ChannelKeys(this.#prefix, channel);
    const reply = (await this.#topology.evaluate({
      script: readScript,
      keys: [keys.meta, keys.log],
      args: [epochId(), offset, limit, PAGE_BYTES, this.#idleChannelTtl, ...this.#knownOf(keys.bus)],
      returnBuffers: true,
    })) as Buffer[];
    const [epoch, top, id, first] = reply.slice(0, 4).map(String) as [string, string, string, string];
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

  async tops(channels: string[]): Promise<Position[]> {
    const replies = await Promise.all(
      channels.map((channel) => {
        const { meta } = new ChannelKeys(this.#prefix, channel);
        return this.#topology.command(meta, ['HMGET', meta, 'epoch', 'offset', 'id']);
      }),
    );
    return replies.map((reply) => {
      const [epoch, offset, id] = reply as (string | null)[];
      return { epoch: epoch ?? '', offset: Number(offset ?? 0), id: id ?? '' };
    });
  }

  async acknowledge({ channel, device, position }: Cursor, ttl: number): Promise<void> {
    const keys = new ChannelKeys(this.#prefix, channel);
    const { epoch, offset, id } = position;
    await this.#topology.evaluate({
      script: acknowledgeScript,
      keys: [keys.meta, keys.cursors],
      args: [device, epoch, offset, id, ttl, this.#topology.publishCommand, keys.bus, ACK_MAGIC],
    });
  }

  async cursors(channel: string): Promise<Cursor[]> {
    const { cursors } = new ChannelKeys(this.#prefix, channel);
    const reply = (await this.#topology.evaluate({
      script: liveScript,
      keys: [cursors],
      args: [],
    })) as string[];
    const result: Cursor[] = [];
    for (let i = 0; i < reply.length; i += 2) {
      const [epoch, offset, id] = reply[i + 1]!.split(' ') as [string, string, string];
      result.push({ channel, device: reply[i]!, position: { epoch, offset: Number(offset), id } });
    }
    return result;
  }

  async announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    await Promise.all(
      byUser(entries).map(([user, sessions]) =>
        this.#topology.evaluate({
          script: announceScript,
          keys: [presenceKey(this.#prefix, user)],
          args: [ttl, ...sessions.flatMap((entry) => [entry.session, JSON.stringify(entry)])],
        }),
      ),
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
    const reply = (await this.#topology.evaluate({ script: liveScript, keys: [key], args: [] })) as string[];
    return reply.filter((_, i) => i % 2 === 1).map((text) => JSON.parse(text) as PresenceEntry);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#intake?.stop();
    await this.#topology.close();
    this.#subscribed.clear();
  }

  #ring(bus: string, bytes: Buffer, start: number, end: number): void {
    const subscribed = this.#subscribed.get(bus);
    if (subscribed === undefined || this.#isClosed) return;
    const { channel } = subscribed;
    const doorbell = decodeDoorbell(channel, bytes, start, end);
    const listener = this.#listener!;
    if (doorbell === undefined) listener.transient(channel, copyOf(bytes, start, end));
    else if (doorbell === null) return;
    else if (isCursor(doorbell)) listener.acknowledged(doorbell);
    else {
      // Only the position: the message itself may be large.
      const { epoch, offset, id } = doorbell;
      subscribed.last = { epoch, offset, id };
      listener.message(doorbell);
    }
  }
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
